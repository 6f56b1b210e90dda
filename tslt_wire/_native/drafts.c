/* DRAFT_LIST frames: spec sections 3.4 and 6.1. */
#include "lists.h"
#include "trees.h"
#include "weights.h"

enum { KIND = TSLT_DRAFT_LIST, KIND_MASK = 0x3F, HAS_EXTENSIONS = 0x40, RESERVED = 0x80, CRC_BYTES = 4 };
enum { FORMAT_PRECISION = 0x0F, FORMAT_RESERVED = 0x40, FORMAT_WITHOUT_REPLACEMENT = 0x80 };

/* 0x01 to 0x06, 0x08 to 0x0B, 0x10 to 0x16: a bit a kind. */
static const uint64_t KINDS = 0x7F0F7E;

/* Siblings that must differ are equal. */
static int check_siblings(tslt_context *context, const tslt_draft *draft) {
  const uint32_t *list_of = context->list_of.at, *first = context->first.at;
  int32_t *sorted = tslt_reserve(&context->siblings, (size_t)draft->node_count + 1, sizeof(int32_t));
  uint32_t *filled = tslt_reserve(&context->keys, (size_t)draft->list_count + 1, sizeof(uint32_t));
  if (!sorted || !filled)
    return TSLT_NO_MEMORY;
  memset(filled, 0, draft->list_count * sizeof *filled);
  for (uint32_t i = 0; i < draft->node_count; i++) {
    uint32_t list = list_of[draft->parents[i] + 1];
    int32_t *siblings = sorted + first[list];
    uint32_t at = count_below(siblings, filled[list], draft->tokens[i]);
    if (at < filled[list] && siblings[at] == draft->tokens[i])
      return TSLT_BAD_TREE;
    memmove(siblings + at + 1, siblings + at, (filled[list]++ - at) * sizeof *siblings);
    siblings[at] = draft->tokens[i];
  }
  return TSLT_OK;
}

static void write_plain_tokens(const tslt_context *context, bit_writer *w, const tslt_profile *profile,
                               const tslt_draft *draft) {
  const uint32_t *list_of = context->list_of.at;
  for (uint32_t i = 0; i < draft->node_count; i++) {
    const tslt_list *list = &draft->lists[list_of[draft->parents[i] + 1]];
    int64_t rank = tslt_rank(list, draft->tokens[i]);
    if (list->tail)
      tslt_put_bits(w, rank < 0, 1);
    if (rank < 0)
      tslt_put_bits(w, (uint32_t)draft->tokens[i], id_bits(profile->vocab_size));
    else
      tslt_put_bits(w, (uint32_t)rank, bit_length(list->count - 1));
  }
}

static int read_plain_tokens(const tslt_context *context, bit_reader *r, const tslt_profile *profile,
                             const tslt_draft *draft, int32_t *tokens) {
  const uint32_t *list_of = context->list_of.at;
  for (uint32_t i = 0; i < draft->node_count; i++) {
    const tslt_list *list = &draft->lists[list_of[draft->parents[i] + 1]];
    if (list->tail && tslt_get_bits(r, 1)) {
      uint32_t token = tslt_get_bits(r, id_bits(profile->vocab_size));
      if (r->error)
        return r->error;
      if (token >= profile->vocab_size || tslt_rank(list, token) >= 0)
        return TSLT_OUT_OF_RANGE;
      tokens[i] = (int32_t)token;
      continue;
    }
    uint32_t rank = tslt_get_bits(r, bit_length(list->count - 1));
    if (r->error)
      return r->error;
    if (rank >= list->count)
      return TSLT_OUT_OF_RANGE;
    tokens[i] = list->ids[rank];
  }
  return TSLT_OK;
}

/* ---------------------------------------------------------------------------------------------------------- writing */

static int check_draft(tslt_context *context, const tslt_profile *profile, const tslt_draft *draft) {
  if (profile->vocab_size < 1 || profile->vocab_size > TSLT_MAX_VOCAB_SIZE || draft->precision < TSLT_F32 ||
      draft->precision > TSLT_LOG2_4 || draft->prefix_hash > 0xFFFF || draft->node_count > 1u << 29 ||
      (profile->entropy != TSLT_ENTROPY_NONE && profile->entropy != TSLT_ENTROPY_RANGE) ||
      (!draft->node_count && draft->precision))
    return TSLT_BAD_ARGUMENT;
  for (uint32_t i = 0; i < draft->node_count; i++)
    if (draft->parents[i] < -1 || draft->parents[i] >= (int64_t)i)
      return TSLT_BAD_TREE;
  uint32_t lists;
  int error = tslt_find_inner(context, draft->parents, draft->node_count, &lists);
  if (error)
    return error;
  if (lists != draft->list_count)
    return TSLT_BAD_TREE;
  for (uint32_t i = 0; i < lists; i++)
    if (!tslt_list_ok(profile->vocab_size, draft->precision, &draft->lists[i], profile->prior != NULL))
      return TSLT_BAD_LIST;
  const uint32_t *list_of = context->list_of.at;
  for (uint32_t i = 0; i < draft->node_count; i++) {
    const tslt_list *list = &draft->lists[list_of[draft->parents[i] + 1]];
    if (draft->tokens[i] < 0 || draft->tokens[i] >= (int64_t)profile->vocab_size ||
        (!list->tail && tslt_rank(list, draft->tokens[i]) < 0))
      return TSLT_BAD_TREE;
  }
  if (draft->extensions_size) {
    bit_reader r = {.data = draft->extensions, .end = 8 * (uint64_t)draft->extensions_size};
    if (tslt_check_extensions(&r, UINT32_MAX, tslt_draft_extensions) || bits_left(&r))
      return TSLT_BAD_ARGUMENT;
  }
  return draft->without_replacement ? check_siblings(context, draft) : TSLT_OK;
}

/* A draft whose lists have weights, in the context's memory, whatever the caller's have. */
static int weigh_lists(tslt_context *context, tslt_draft *draft) {
  uint64_t entries = 0;
  for (uint32_t i = 0; i < draft->list_count; i++)
    entries += draft->lists[i].count;
  context->entries = 0;
  tslt_list *lists = tslt_reserve(&context->lists, (size_t)draft->list_count + 1, sizeof *lists);
  if (!lists || !tslt_more_entries(context, entries))
    return TSLT_NO_MEMORY;
  int64_t *weights = context->weights.at;
  for (uint32_t i = 0; i < draft->list_count; i++) {
    lists[i] = draft->lists[i];
    lists[i].weights = weights;
    tslt_weigh(draft->precision, lists[i].codes, lists[i].count, weights);
    weights += lists[i].count;
  }
  draft->lists = lists;
  return TSLT_OK;
}

static int write_range_body(tslt_context *context, bit_writer *w, const tslt_profile *profile, tslt_draft *draft) {
  range_coder c;
  list_model m;
  int weighed = weigh_lists(context, draft);
  if (weighed)
    return weighed;
  tslt_put_align(w);
  tslt_range_write_start(&c, w->out + w->size, w->capacity - w->size);
  tslt_list_model_start(&m, context, &c, profile, draft->precision);
  for (uint32_t i = 0; i < draft->list_count; i++) {
    tslt_list list = draft->lists[i];
    int error = tslt_list_model_code(&m, &list, list.count, i + 1 == draft->list_count);
    if (error)
      return error;
  }
  int error = tslt_code_tokens(context, &c, profile, draft, NULL);
  size_t size = 0;
  if (!error)
    error = tslt_range_write_finish(&c, &size);
  w->size += size;
  return error;
}

int tslt_encode_draft(tslt_context *context, const tslt_profile *profile, const tslt_draft *draft, uint8_t *out,
                      size_t capacity, size_t *size) {
  int error = check_draft(context, profile, draft);
  if (error)
    return error;
  if (capacity < CRC_BYTES)
    return TSLT_NO_SPACE;
  bit_writer w = {.out = out, .capacity = capacity - CRC_BYTES};
  tslt_put_bits(&w, draft->extensions_size ? KIND | HAS_EXTENSIONS : KIND, 8);
  for (size_t i = 0; i < draft->extensions_size; i++)
    tslt_put_bits(&w, draft->extensions[i], 8);
  tslt_put_varint(&w, draft->round);
  tslt_put_varint(&w, draft->prefix_length);
  tslt_put_bits(&w, draft->prefix_hash, 16);
  tslt_put_bits(&w, (uint32_t)draft->precision | (uint32_t)profile->entropy << 4 |
                   (draft->without_replacement ? FORMAT_WITHOUT_REPLACEMENT : 0u), 8);
  error = tslt_write_shape(context, &w, draft->parents, draft->node_count);
  uint32_t lists;
  if (!error)
    error = tslt_find_inner(context, draft->parents, draft->node_count, &lists); /* the shape used the same memory */
  if (error)
    return error;
  if (profile->entropy == TSLT_ENTROPY_NONE) {
    for (uint32_t i = 0; i < draft->list_count; i++)
      tslt_write_plain_list(&w, profile, draft->precision, &draft->lists[i]);
    write_plain_tokens(context, &w, profile, draft);
  } else if (draft->node_count) {
    tslt_draft copy = *draft;
    error = write_range_body(context, &w, profile, &copy);
  }
  tslt_put_align(&w);
  if (error || w.error)
    return error ? error : w.error;
  uint32_t crc = tslt_crc32(0, out, w.size);
  for (unsigned i = 0; i < CRC_BYTES; i++)
    out[w.size++] = (uint8_t)(crc >> 8 * i);
  *size = w.size;
  return TSLT_OK;
}

/* ---------------------------------------------------------------------------------------------------------- reading */

static int read_body(tslt_context *context, bit_reader *r, const tslt_profile *profile, const tslt_limits *limits,
                     tslt_draft *draft) {
  draft->round = tslt_get_varint(r);
  draft->prefix_length = tslt_get_varint(r);
  draft->prefix_hash = tslt_get_bits(r, 16);
  uint32_t format = tslt_get_bits(r, 8);
  if (r->error)
    return r->error;
  if (format & FORMAT_RESERVED)
    return TSLT_RESERVED_BITS;
  draft->precision = format & FORMAT_PRECISION;
  draft->without_replacement = (format & FORMAT_WITHOUT_REPLACEMENT) != 0;
  if (draft->precision > TSLT_LOG2_4 || (int)(format >> 4 & 3) != profile->entropy)
    return TSLT_OUT_OF_RANGE;
  int error = tslt_read_shape(context, r, limits, &draft->node_count, &draft->list_count);
  if (error)
    return error;
  draft->parents = context->parents.at;
  if (!draft->node_count && draft->precision)
    return TSLT_NON_CANONICAL;
  tslt_list *lists = tslt_reserve(&context->lists, (size_t)draft->list_count + 1, sizeof(tslt_list));
  int32_t *tokens = tslt_reserve(&context->tokens, (size_t)draft->node_count + 1, sizeof(int32_t));
  if (!lists || !tokens)
    return TSLT_NO_MEMORY;
  draft->lists = lists;
  draft->tokens = tokens;
  draft->list_parents = context->list_parents.at;

  bool ranged = profile->entropy == TSLT_ENTROPY_RANGE;
  range_coder c;
  list_model m;
  if (ranged) {
    if (tslt_get_align(r))
      return r->error;
    if (!draft->node_count)
      return TSLT_OK;
    tslt_range_read_start(&c, r->data + r->at / 8, (size_t)(bits_left(r) / 8));
    r->at = r->end;
    tslt_list_model_start(&m, context, &c, profile, draft->precision);
  }
  uint64_t left = limits->max_entries;
  context->entries = 0;
  for (uint32_t i = 0; i < draft->list_count; i++) {
    error = ranged ? tslt_list_model_code(&m, &lists[i], left, i + 1 == draft->list_count)
                   : tslt_read_plain_list(context, r, profile, draft->precision, left, &lists[i]);
    if (error)
      return error;
    left -= lists[i].count;
  }
  uint64_t first = 0;
  for (uint32_t i = 0; i < draft->list_count; i++) {
    tslt_point(context, &lists[i], first); /* the arrays may have moved */
    first += lists[i].count;
  }
  if (ranged) {
    error = tslt_code_tokens(context, &c, profile, draft, tokens);
    return error ? error : tslt_range_read_finish(&c);
  }
  error = read_plain_tokens(context, r, profile, draft, tokens);
  if (!error && draft->without_replacement)
    error = check_siblings(context, draft);
  return error;
}

int tslt_decode_draft(tslt_context *context, const tslt_profile *profile, const tslt_limits *limits,
                      const uint8_t *data, size_t size, tslt_draft *draft) {
  memset(draft, 0, sizeof *draft);
  if (profile->vocab_size < 1 || profile->vocab_size > TSLT_MAX_VOCAB_SIZE)
    return TSLT_BAD_ARGUMENT;
  if (size > limits->max_frame_bytes)
    return TSLT_LIMIT_EXCEEDED;
  if (size < 1 + CRC_BYTES)
    return TSLT_TRUNCATED;
  size -= CRC_BYTES;
  uint32_t crc = tslt_crc32(0, data, size);
  for (unsigned i = 0; i < CRC_BYTES; i++)
    if (data[size + i] != (uint8_t)(crc >> 8 * i))
      return TSLT_BAD_CHECKSUM;
  if (data[0] & RESERVED)
    return TSLT_RESERVED_BITS;
  if (!(KINDS >> (data[0] & KIND_MASK) & 1))
    return TSLT_UNKNOWN_KIND;
  if ((data[0] & KIND_MASK) != KIND)
    return TSLT_BAD_ARGUMENT;
  bit_reader r = {.data = data, .at = 8, .end = 8 * (uint64_t)size};
  if (data[0] & HAS_EXTENSIONS) {
    int error = tslt_check_extensions(&r, limits->max_extensions, tslt_draft_extensions);
    if (error)
      return error;
    draft->extensions = data + 1;
    draft->extensions_size = (size_t)(r.at / 8 - 1);
  }
  int error = read_body(context, &r, profile, limits, draft);
  return error ? error : tslt_get_finish(&r);
}
