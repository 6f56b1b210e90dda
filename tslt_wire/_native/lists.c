/* Lists: bit-packed (spec 5.1) and under the range coder (spec 5.4). */
#include "lists.h"

#include "ids.h"
#include "levels.h"
#include "seen.h"
#include "weights.h"

static const uint32_t SIZE_STARTS[22] = {0,   6,   12,  20,  32,  56,  80,  104, 112, 118, 121,
                                         123, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133};
static const uint8_t TAIL_NEAR[8] = {12, 10, 8, 6, 5, 4, 3, 2};
enum {
  LONG = 128,
  FEW_IDS = 1024,
  TAIL_PARTS = 32,
  FREE_ENTRIES = 256,
  ENTRIES_A_BYTE = 8,
  TAIL_BITS = 5,
  CODE_WIDTH_BITS = 4
};

/* ------------------------------------------------------------------------------------------------------ bit-packed */

void tslt_write_plain_list(bit_writer *w, const tslt_profile *profile, int precision, const tslt_list *list) {
  tslt_put_varint(w, list->count - 1);
  if (list->count < profile->vocab_size) {
    if (profile->prior)
      tslt_put_bits(w, list->tail, TAIL_BITS);
    tslt_put_array(w, (const uint32_t *)list->ids, list->count, id_bits(profile->vocab_size));
  }
  unsigned width = code_bits(precision);
  if (is_log(precision)) {
    uint32_t all = 0;
    for (uint32_t i = 0; i < list->count; i++)
      all |= list->codes[i];
    width = bit_length(all);
    tslt_put_bits(w, width, CODE_WIDTH_BITS);
  }
  tslt_put_array(w, list->codes, list->count, width);
}

int tslt_read_plain_list(tslt_context *context, bit_reader *r, const tslt_profile *profile, int precision,
                         uint64_t max_entries, tslt_list *list) {
  uint32_t vocab_size = profile->vocab_size;
  unsigned bits = id_bits(vocab_size);
  uint64_t count = (uint64_t)tslt_get_varint(r) + 1;
  if (r->error)
    return r->error;
  if (count > vocab_size)
    return TSLT_BAD_LIST;
  if (count > max_entries)
    return TSLT_LIMIT_EXCEEDED;
  *list = (tslt_list){.count = (uint32_t)count};
  if (count < vocab_size) {
    list->tail = profile->prior ? tslt_get_bits(r, TAIL_BITS) : 0;
    if (r->error || count * bits > bits_left(r))
      return TSLT_TRUNCATED;
  }
  if (!tslt_more_entries(context, count))
    return TSLT_NO_MEMORY;
  uint64_t first = context->entries;
  int32_t *ids = (int32_t *)context->ids.at + first;
  uint32_t *codes = (uint32_t *)context->codes.at + first;
  if (count == vocab_size)
    for (uint32_t i = 0; i < vocab_size; i++)
      ids[i] = (int32_t)i;
  else
    tslt_get_array(r, (uint32_t *)ids, (size_t)count, bits);
  unsigned most = code_bits(precision), width = most;
  if (is_log(precision)) {
    width = tslt_get_bits(r, CODE_WIDTH_BITS);
    if (r->error)
      return r->error;
    if (width > most)
      return TSLT_OUT_OF_RANGE;
  }
  if (tslt_get_array(r, codes, (size_t)count, width))
    return r->error;
  if (is_log(precision)) {
    uint32_t all = 0;
    for (uint64_t i = 0; i < count; i++)
      all |= codes[i];
    if (bit_length(all) != width)
      return TSLT_NON_CANONICAL;
  }
  bool good = true;
  for (uint64_t i = 1; i < count; i++)
    good &= ids[i - 1] < ids[i];
  if (!good || ids[count - 1] >= (int64_t)vocab_size)
    return TSLT_BAD_LIST;
  if (!tslt_weigh(precision, codes, (size_t)count, (int64_t *)context->weights.at + first))
    return TSLT_BAD_LIST;
  tslt_point(context, list, first);
  context->entries += count;
  return TSLT_OK;
}

/* ----------------------------------------------------------------------------------------------------- range coder */

void tslt_list_model_start(list_model *m, tslt_context *context, range_coder *coder, const tslt_profile *profile,
                           int precision) {
  m->context = context;
  m->coder = coder;
  m->vocab_size = profile->vocab_size;
  m->precision = precision;
  m->prior = profile->prior;
  m->tail = m->size = m->lists = 0;
  m->entries = 0;
  tslt_seen_start(m);
}

static uint32_t code_size(list_model *m, uint32_t size) {
  range_coder *c = m->coder;
  if (m->lists && !code_chance(c, size != m->size, 1, 8))
    return m->size;
  unsigned e = code_locate(c, bit_length(size) - 1, SIZE_STARTS, bit_length(m->vocab_size));
  uint32_t low = 1u << e, high = (2u << e) - 1;
  if (high > m->vocab_size)
    high = m->vocab_size;
  if (low < high && code_chance(c, size != low, 1, 2))
    size = low + 1 + (uint32_t)code_uniform(c, size - low - 1, high - low);
  else
    size = low;
  if (m->lists && size == m->size)
    range_fail(c, TSLT_NON_CANONICAL);
  m->size = size;
  return size;
}

/* Those of a list's ids that the frame does not remember. */
typedef struct {
  uint32_t count;
  int32_t *ids;
  const seen_ids *seen; /* those that it does, for this list */
  bool gaps;            /* the fresh ones have plain bits */
} fresh_ids;

/* The symbols of the ids. */
static int start_ids(list_model *m, fresh_ids *fresh, int32_t *ids, uint32_t size, const int64_t *starts) {
  tslt_context *context = m->context;
  range_coder *c = m->coder;
  static int32_t no_id;
  static const seen_ids NOTHING = {.ids = &no_id};
  const seen_ids *seen = size <= SHARED ? &context->seen[m->seen] : &NOTHING;
  *fresh = (fresh_ids){.ids = ids, .seen = seen};
  if (size == m->vocab_size)
    return TSLT_OK;
  fresh->count = size;
  if (seen->count) {
    fresh->ids = tslt_reserve(&context->keys, (size_t)size + 8, sizeof(int32_t));
    if (!fresh->ids)
      return TSLT_NO_MEMORY;
    fresh->count = c->reads ? tslt_seen_read(m, size) : tslt_seen_write(m, ids, size, fresh->ids);
    if (c->error)
      return c->error;
  }
  fresh->gaps = fresh->count > LONG && m->vocab_size - seen->count > FEW_IDS && !starts;
  if (!fresh->gaps)
    tslt_code_ids(context, c, fresh->ids, fresh->count, m->vocab_size, seen, starts);
  return c->error;
}

/* All ids of a list that was read. */
static void join_ids(const list_model *m, const fresh_ids *fresh, int32_t *ids, uint32_t size) {
  if (size == m->vocab_size)
    for (uint32_t i = 0; i < size; i++)
      ids[i] = (int32_t)i;
  else if (fresh->ids != ids)
    tslt_seen_merge(m, fresh->ids, fresh->count, ids, size);
}

static uint32_t code_tail(list_model *m, uint32_t tail, uint32_t size) {
  range_coder *c = m->coder;
  if (!m->prior || size == m->vocab_size)
    return 0;
  if (!m->lists) {
    m->tail = code_chance(c, tail > 0, 1, 2) ? (uint32_t)code_uniform(c, tail - 1, TAIL_PARTS - 1) + 1 : 0;
    return m->tail;
  }
  uint32_t starts[TAIL_PARTS + 1];
  starts[0] = 0;
  starts[1] = m->tail ? 30 : 160;
  for (uint32_t i = 1; i < TAIL_PARTS; i++) {
    uint32_t distance = i > m->tail ? i - m->tail : m->tail - i;
    starts[i + 1] = starts[i] + TAIL_NEAR[distance < 7 ? distance : 7];
  }
  m->tail = code_locate(c, tail, starts, TAIL_PARTS);
  return m->tail;
}

/* Ids, codes and tail of a long list: all symbols, then the plain bits.  Spec [RLIST-13]. */
static int code_long(list_model *m, int32_t *ids, uint32_t *codes, uint32_t *tail, uint32_t size,
                     const int64_t *starts) {
  tslt_context *context = m->context;
  range_coder *c = m->coder;
  plain_bits plain;
  fresh_ids fresh;
  uint32_t counts[MOST_LEVELS];
  uint8_t lengths[MOST_LEVELS], found[MOST_LEVELS];
  unsigned levels = 0, most = is_log(m->precision) ? max_code(m->precision) : 0;
  int error = start_ids(m, &fresh, ids, size, starts);
  if (error)
    return error;
  if (is_log(m->precision)) {
    if (!c->reads) {
      tslt_count_levels(codes, size, most, counts);
      tslt_prefix_lengths(counts, most + 1, size, lengths);
    }
    if (tslt_code_lengths(c, lengths, &levels, size, most))
      return c->error;
  }
  *tail = code_tail(m, *tail, size);
  error = tslt_range_leave(c, &plain);
  if (!error && fresh.gaps)
    error = tslt_code_gap_ids(context, &plain, fresh.ids, fresh.count, m->vocab_size, fresh.seen);
  if (error)
    return error;
  if (c->reads)
    join_ids(m, &fresh, ids, size);
  if (!is_log(m->precision))
    error = tslt_plain_fields(&plain, codes, size, code_bits(m->precision));
  else if (levels > 1)
    error = tslt_plain_symbols(&plain, codes, size, lengths, levels);
  else if (c->reads)
    memset(codes, 0, size * sizeof *codes);
  if (error)
    return error;
  if (c->reads && levels > 1) {
    tslt_count_levels(codes, size, levels - 1, counts);
    tslt_prefix_lengths(counts, levels, size, found);
    if (memcmp(found, lengths, levels) != 0)
      return TSLT_NON_CANONICAL;
  }
  return tslt_range_resume(c, &plain);
}

static int code_short(list_model *m, int32_t *ids, uint32_t *codes, uint32_t *tail, uint32_t size,
                      const int64_t *starts) {
  fresh_ids fresh;
  int error = start_ids(m, &fresh, ids, size, starts);
  if (error)
    return error;
  if (m->coder->reads)
    join_ids(m, &fresh, ids, size);
  error = is_log(m->precision) ? tslt_code_levels(m->context, m->coder, ids, codes, size, m->precision)
                               : tslt_code_floats(m->coder, codes, size, code_bits(m->precision));
  *tail = code_tail(m, *tail, size);
  return error;
}

int tslt_list_model_code(list_model *m, tslt_list *list, uint64_t max_entries, bool last) {
  tslt_context *context = m->context;
  range_coder *c = m->coder;
  uint32_t size = code_size(m, c->reads ? 1 : list->count);
  if (c->error)
    return c->error;
  if (size > max_entries)
    return TSLT_LIMIT_EXCEEDED;
  m->entries += size;
  if (m->entries > FREE_ENTRIES)
    range_promise(c, (m->entries - FREE_ENTRIES + ENTRIES_A_BYTE - 1) / ENTRIES_A_BYTE);
  if (c->error)
    return c->error;
  int32_t *ids;
  uint32_t *codes;
  if (c->reads) {
    if (!tslt_more_entries(context, size))
      return TSLT_NO_MEMORY;
    *list = (tslt_list){.count = size};
    ids = (int32_t *)context->ids.at + context->entries;
    codes = (uint32_t *)context->codes.at + context->entries;
  } else {
    /* The code below goes both ways, so it gets a copy: the caller's are constant. */
    ids = tslt_reserve(&context->given_ids, size, sizeof *ids);
    codes = tslt_reserve(&context->given_codes, size, sizeof *codes);
    if (!ids || !codes)
      return TSLT_NO_MEMORY;
    memcpy(ids, list->ids, size * sizeof *ids);
    memcpy(codes, list->codes, size * sizeof *codes);
  }
  const int64_t *starts = m->prior ? m->prior->rows[size < 32 ? 0 : size < 128 ? 1 : size < 512 ? 2 : 3] : NULL;
  int error = (size > LONG ? code_long : code_short)(m, ids, codes, &list->tail, size, starts);
  if (error)
    return error;
  if (c->reads && !c->error) {
    if (!tslt_weigh(m->precision, codes, size, (int64_t *)context->weights.at + context->entries))
      return TSLT_BAD_LIST;
    tslt_point(context, list, context->entries);
    context->entries += size;
  }
  if (!last && !c->error)
    tslt_seen_learn(m, ids, codes, size);
  return c->error;
}

/* ------------------------------------------------------------------------------------------------------ lone lists */

static bool profile_ok(const tslt_profile *p) {
  return p->vocab_size >= 1 && p->vocab_size <= TSLT_MAX_VOCAB_SIZE && p->precision >= TSLT_F32 &&
         p->precision <= TSLT_LOG2_4 && (p->entropy == TSLT_ENTROPY_NONE || p->entropy == TSLT_ENTROPY_RANGE);
}

/* What each thing has at most, whatever its values are; a symbol that is w of W parts has log2(W / w) bits. */
enum {
  /* An id: as one of a table's interval, where the weights sum to less than 2^50 and the least is 1, 50 bits; as one of
   * a leaf 20; as a gap 6 + 2 * 20 + 1.  Its code: a float's 32 bits; else a step of the counts, 32 + 2 of 2 parts, and
   * a level, 128 * 47 of 4 parts, or a prefix code of 14 bits.  1 bit that is promised.  All in all 83 bits. */
  ENTRY_BYTES = 12,
  /* An urn has 2^16 parts; it is followed by a place among 1 + 2^20 / 33 if it stands for more than 32 ids, or replaced
   * by one among 2^20. */
  SPLIT_BYTES = 4,
  /* Intervals are halved from 2^20 ids on, so that an id is in 20 of them. */
  SPLIT_DEPTH = 20,
  /* The end of a level's count, 128 + 2 of 2 parts; or the length of its code, 1 of less than 256. */
  LEVEL_BYTES = 1,
  /* Whether an id that the frame remembers is listed again: 1 of at most 264 parts. */
  REMEMBERED_BYTES = 2,
  /* Size and tail of a list, 4 and 2 bytes; plain bits are aligned, and the coder ends before and starts after them,
   * with WINDOW_BYTES each. */
  LIST_BYTES = 64,
  /* A token: 1 of 2^50 parts, after 5 bits that say whether the tail has it; its parent, 30 bits, or its layer's width,
   * a varint. */
  NODE_BYTES = 16,
  /* Kind, numbers, hash, format, number of nodes, checksum; the window that a range coder writes ahead. */
  FRAME_BYTES = 64
};

size_t tslt_encode_bound(uint32_t vocab_size, uint64_t entries, uint64_t lists, uint64_t nodes) {
  /* An interval that is halved has a listed id, and more than one id; halving all gives less than V intervals. */
  uint64_t splits = SPLIT_DEPTH * entries, most = vocab_size * lists;
  splits = splits < most ? splits : most;
  return (size_t)(FRAME_BYTES + ENTRY_BYTES * entries + SPLIT_BYTES * splits + NODE_BYTES * nodes +
                  lists * (MOST_LEVELS * LEVEL_BYTES + MAX_SEEN * REMEMBERED_BYTES + LIST_BYTES));
}

int tslt_encode_list(tslt_context *context, const tslt_profile *profile, const tslt_list *list, uint8_t *out,
                     size_t capacity, size_t *size) {
  if (!profile_ok(profile))
    return TSLT_BAD_ARGUMENT;
  if (!tslt_list_ok(profile->vocab_size, profile->precision, list, profile->prior != NULL))
    return TSLT_BAD_LIST;
  if (profile->entropy == TSLT_ENTROPY_NONE) {
    bit_writer w = {.out = out, .capacity = capacity};
    tslt_write_plain_list(&w, profile, profile->precision, list);
    tslt_put_align(&w);
    *size = w.size;
    return w.error;
  }
  range_coder c;
  list_model m;
  tslt_list copy = *list;
  tslt_range_write_start(&c, out, capacity);
  tslt_list_model_start(&m, context, &c, profile, profile->precision);
  int error = tslt_list_model_code(&m, &copy, list->count, true);
  return error ? error : tslt_range_write_finish(&c, size);
}

int tslt_decode_list(tslt_context *context, const tslt_profile *profile, const tslt_limits *limits, const uint8_t *data,
                     size_t size, tslt_list *list) {
  if (!profile_ok(profile))
    return TSLT_BAD_ARGUMENT;
  if (size > limits->max_frame_bytes)
    return TSLT_LIMIT_EXCEEDED;
  context->entries = 0;
  if (profile->entropy == TSLT_ENTROPY_NONE) {
    bit_reader r = {.data = data, .end = 8 * (uint64_t)size};
    int error = tslt_read_plain_list(context, &r, profile, profile->precision, limits->max_entries, list);
    return error ? error : tslt_get_finish(&r);
  }
  range_coder c;
  list_model m;
  tslt_range_read_start(&c, data, size);
  tslt_list_model_start(&m, context, &c, profile, profile->precision);
  int error = tslt_list_model_code(&m, list, limits->max_entries, true);
  return error ? error : tslt_range_read_finish(&c);
}
