/* Lists: bit-packed (spec 5.1) and under the range coder (spec 5.4). */
#include "seen.h"

static const uint32_t SIZE_STARTS[22] = {0,   6,   12,  20,  32,  56,  80,  104, 112, 118, 121,
                                         123, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133};
static const uint8_t TAIL_NEAR[8] = {12, 10, 8, 6, 5, 4, 3, 2};
enum { LONG = 128, FEW_IDS = 1024, TAIL_PARTS = 32, FREE_ENTRIES = 256, ENTRIES_A_BYTE = 8, TAIL_BITS = 5, CODE_WIDTH_BITS = 4 };

bool tslt_more_entries(tslt_context *context, uint64_t count) {
  uint64_t wanted = context->entries + count;
  if (wanted > SIZE_MAX / 32)
    return false;
  /* 8 more: leaves and vectors may write behind the end. */
  size_t room = (size_t)wanted + 8;
  return tslt_reserve(&context->ids, room, sizeof(int32_t)) && tslt_reserve(&context->codes, room, sizeof(uint32_t)) &&
         tslt_reserve(&context->weights, room, sizeof(int64_t));
}

void tslt_point(const tslt_context *context, tslt_list *list, uint64_t first) {
  list->ids = (const int32_t *)context->ids.at + first;
  list->codes = (const uint32_t *)context->codes.at + first;
  list->weights = (const int64_t *)context->weights.at + first;
}

/* ------------------------------------------------------------------------------------------------------ bit-packed */

void write_plain_list(bit_writer *w, const tslt_profile *profile, int precision, const tslt_list *list) {
  put_varint(w, list->count - 1);
  if (list->count < profile->vocab_size) {
    if (profile->prior)
      put_bits(w, list->tail, TAIL_BITS);
    put_array(w, (const uint32_t *)list->ids, list->count, id_bits(profile->vocab_size));
  }
  unsigned width = code_bits(precision);
  if (is_log(precision)) {
    uint32_t all = 0;
    for (uint32_t i = 0; i < list->count; i++)
      all |= list->codes[i];
    width = bit_length(all);
    put_bits(w, width, CODE_WIDTH_BITS);
  }
  put_array(w, list->codes, list->count, width);
}

int read_plain_list(tslt_context *context, bit_reader *r, const tslt_profile *profile, int precision,
                    uint64_t max_entries, tslt_list *list) {
  uint32_t vocab_size = profile->vocab_size;
  unsigned bits = id_bits(vocab_size);
  uint64_t count = (uint64_t)get_varint(r) + 1;
  if (r->error)
    return r->error;
  if (count > vocab_size)
    return TSLT_BAD_LIST;
  if (count > max_entries)
    return TSLT_LIMIT_EXCEEDED;
  *list = (tslt_list){.count = (uint32_t)count};
  if (count < vocab_size) {
    list->tail = profile->prior ? get_bits(r, TAIL_BITS) : 0;
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
    get_array(r, (uint32_t *)ids, (size_t)count, bits);
  unsigned most = code_bits(precision), width = most;
  if (is_log(precision)) {
    width = get_bits(r, CODE_WIDTH_BITS);
    if (r->error)
      return r->error;
    if (width > most)
      return TSLT_OUT_OF_RANGE;
  }
  if (get_array(r, codes, (size_t)count, width))
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

void list_model_start(list_model *m, tslt_context *context, range_coder *coder, const tslt_profile *profile,
                      int precision) {
  m->context = context;
  m->coder = coder;
  m->vocab_size = profile->vocab_size;
  m->precision = precision;
  m->prior = profile->prior;
  m->tail = m->size = m->lists = 0;
  m->entries = 0;
  seen_start(m);
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
  static const seen_ids NOTHING;
  const seen_ids *seen = size <= SHARED ? &context->seen[m->seen] : &NOTHING;
  *fresh = (fresh_ids){.ids = ids, .seen = seen};
  if (size == m->vocab_size)
    return TSLT_OK;
  fresh->count = size;
  if (seen->count) {
    fresh->ids = tslt_reserve(&context->keys, (size_t)size + 8, sizeof(int32_t));
    if (!fresh->ids)
      return TSLT_NO_MEMORY;
    fresh->count = c->reads ? seen_read(m, size) : seen_write(m, ids, size, fresh->ids);
    if (c->error)
      return c->error;
  }
  fresh->gaps = fresh->count > LONG && m->vocab_size - seen->count > FEW_IDS && !starts;
  if (!fresh->gaps)
    code_ids(context, c, fresh->ids, fresh->count, m->vocab_size, seen, starts);
  return c->error;
}

/* All ids of a list that was read. */
static void join_ids(const list_model *m, const fresh_ids *fresh, int32_t *ids, uint32_t size) {
  if (size == m->vocab_size)
    for (uint32_t i = 0; i < size; i++)
      ids[i] = (int32_t)i;
  else if (fresh->ids != ids)
    seen_merge(m, fresh->ids, fresh->count, ids, size);
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
      count_levels(codes, size, most, counts);
      prefix_lengths(counts, most + 1, size, lengths);
    }
    if (code_lengths(c, lengths, &levels, size, most))
      return c->error;
  }
  *tail = code_tail(m, *tail, size);
  error = range_leave(c, &plain);
  if (!error && fresh.gaps)
    error = code_gap_ids(context, &plain, fresh.ids, fresh.count, m->vocab_size, fresh.seen);
  if (error)
    return error;
  if (c->reads)
    join_ids(m, &fresh, ids, size);
  if (!is_log(m->precision))
    error = plain_fields(&plain, codes, size, code_bits(m->precision));
  else if (levels > 1)
    error = plain_symbols(&plain, codes, size, lengths, levels);
  else if (c->reads)
    memset(codes, 0, size * sizeof *codes);
  if (error)
    return error;
  if (c->reads && levels > 1) {
    count_levels(codes, size, levels - 1, counts);
    prefix_lengths(counts, levels, size, found);
    if (memcmp(found, lengths, levels) != 0)
      return TSLT_NON_CANONICAL;
  }
  return range_resume(c, &plain);
}

static int code_short(list_model *m, int32_t *ids, uint32_t *codes, uint32_t *tail, uint32_t size,
                      const int64_t *starts) {
  fresh_ids fresh;
  int error = start_ids(m, &fresh, ids, size, starts);
  if (error)
    return error;
  if (m->coder->reads)
    join_ids(m, &fresh, ids, size);
  error = is_log(m->precision) ? code_levels(m->context, m->coder, ids, codes, size, m->precision)
                               : code_floats(m->coder, codes, size, code_bits(m->precision));
  *tail = code_tail(m, *tail, size);
  return error;
}

int list_model_code(list_model *m, tslt_list *list, uint64_t max_entries, bool last) {
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
  /* A writer's ids and codes are only read: the code below goes both ways. */
  int32_t *ids = (int32_t *)list->ids;
  uint32_t *codes = (uint32_t *)list->codes;
  if (c->reads) {
    if (!tslt_more_entries(context, size))
      return TSLT_NO_MEMORY;
    *list = (tslt_list){.count = size};
    ids = (int32_t *)context->ids.at + context->entries;
    codes = (uint32_t *)context->codes.at + context->entries;
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
    seen_learn(m, ids, codes, size);
  return c->error;
}

/* ------------------------------------------------------------------------------------------------------ lone lists */

static bool profile_ok(const tslt_profile *p) {
  return p->vocab_size >= 1 && p->vocab_size <= TSLT_MAX_VOCAB_SIZE && p->precision >= TSLT_F32 &&
         p->precision <= TSLT_LOG2_4 && (p->entropy == TSLT_ENTROPY_NONE || p->entropy == TSLT_ENTROPY_RANGE);
}

size_t tslt_encode_bound(uint32_t vocab_size, uint64_t entries, uint64_t lists, uint64_t nodes) {
  uint64_t splits = 20 * entries, dense = (uint64_t)vocab_size / 16 + 64;
  splits = splits < dense * lists ? splits : dense * lists;
  return (size_t)(64 + 12 * entries + 4 * splits + lists * (480 * 3 + MAX_SEEN * 2 + 64) + nodes * 16);
}

int tslt_encode_list(tslt_context *context, const tslt_profile *profile, const tslt_list *list, uint8_t *out,
                     size_t capacity, size_t *size) {
  if (!profile_ok(profile))
    return TSLT_BAD_ARGUMENT;
  if (!tslt_list_ok(profile->vocab_size, profile->precision, list, profile->prior != NULL))
    return TSLT_BAD_LIST;
  if (profile->entropy == TSLT_ENTROPY_NONE) {
    bit_writer w = {.out = out, .capacity = capacity};
    write_plain_list(&w, profile, profile->precision, list);
    put_align(&w);
    *size = w.size;
    return w.error;
  }
  range_coder c;
  list_model m;
  tslt_list copy = *list;
  range_write_start(&c, out, capacity);
  list_model_start(&m, context, &c, profile, profile->precision);
  int error = list_model_code(&m, &copy, list->count, true);
  return error ? error : range_write_finish(&c, size);
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
    int error = read_plain_list(context, &r, profile, profile->precision, limits->max_entries, list);
    return error ? error : get_finish(&r);
  }
  range_coder c;
  list_model m;
  range_read_start(&c, data, size);
  list_model_start(&m, context, &c, profile, profile->precision);
  int error = list_model_code(&m, list, limits->max_entries, true);
  return error ? error : range_read_finish(&c);
}
