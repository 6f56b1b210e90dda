/* Frames: spec sections 3.4, 6 and 7.  A reader for each kind, in a table. */
#include "device_frames.h"

#include "grid.h"
#include "lists.h"
#include "trees.h"

enum { CODE_BITS = 12, COUNT_BITS = 8, UNKNOWN_BITS = 0x40, FORMAT_RESERVED = 0x40, FORMAT_WITHOUT = 0x80 };

typedef struct {
  tslt_context *context;
  const tslt_profile *profile;
  const tslt_all_limits *limits;
  bit_reader r;
  tslt_message *message;
} frame_reader;

/* ------------------------------------------------------------------------------------------------------- extensions */

tslt_bytes tslt_extension(tslt_bytes block, uint32_t type) {
  bit_reader r = {.data = block.at, .end = 8 * (uint64_t)block.size};
  for (uint32_t left = block.size ? tslt_get_varint(&r) : 0; left; left--) {
    uint32_t found = tslt_get_varint(&r), size = tslt_get_varint(&r);
    if (found == type)
      return (tslt_bytes){block.at + r.at / 8, size};
    r.at += 8 * (uint64_t)size;
  }
  return (tslt_bytes){NULL, 0};
}

uint64_t tslt_little_endian(tslt_bytes data) {
  uint64_t value = 0;
  for (size_t i = data.size; i-- > 0;)
    value = value << 8 | data.at[i];
  return value;
}

static const extension_rule ANSWERS[] = {{EXT_VERIFY_TIME, 1, 8, EXT_NUMBER},
                                         {EXT_LOG_PROBS, 2, (1 << 17) - 2, EXT_PAIRS},
                                         {EXT_PADDING, 0, UINT32_MAX, EXT_ZEROS},
                                         {0}};
static const extension_rule ERRORS[] = {
    {EXT_RETRY_AFTER, 1, 4, EXT_NUMBER}, {EXT_PADDING, 0, UINT32_MAX, EXT_ZEROS}, {0}};
static const extension_rule OTHERS[] = {{EXT_PADDING, 0, UINT32_MAX, EXT_ZEROS}, {0}};

static const extension_rule *known_in(int kind) {
  if (kind >= TSLT_DRAFT_LIST && kind <= TSLT_DRAFT_LAZY)
    return tslt_draft_extensions;
  if (kind >= TSLT_VERDICT && kind <= TSLT_VERDICT_WHOLE)
    return ANSWERS;
  return kind == TSLT_ERROR ? ERRORS : OTHERS;
}

static int read_extensions(frame_reader *f, int kind) {
  bit_reader *r = &f->r;
  uint64_t start = r->at / 8;
  int error = tslt_check_extensions(r, f->limits->frame.max_extensions, known_in(kind));
  f->message->extensions = (tslt_bytes){r->data + start, error ? 0 : (size_t)(r->at / 8 - start)};
  return error;
}

/* ----------------------------------------------------------------------------------------------------------- bodies */

/* `count` ids to `out`, which may be NULL: they are checked alone. */
static int read_ids(frame_reader *f, uint32_t count, int32_t *out) {
  uint32_t vocab_size = f->profile->vocab_size;
  unsigned bits = id_bits(vocab_size);
  bool good = true;
  if ((uint64_t)count * bits > bits_left(&f->r))
    return TSLT_TRUNCATED;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t id = tslt_get_bits(&f->r, bits);
    good &= id < vocab_size;
    if (out)
      out[i] = (int32_t)id;
  }
  return good ? TSLT_OK : TSLT_OUT_OF_RANGE;
}

/* The same into the context's memory, if it has as much. */
static int keep_ids(frame_reader *f, uint32_t count) {
  if ((uint64_t)count * id_bits(f->profile->vocab_size) > bits_left(&f->r))
    return TSLT_TRUNCATED;
  int32_t *out = tslt_reserve(&f->context->tokens, (size_t)count + 1, sizeof *out);
  if (!out && !f->context->tokens.fixed)
    return TSLT_NO_MEMORY;
  f->message->count = count;
  f->message->tokens = out;
  return read_ids(f, count, out);
}

static int read_map(frame_reader *f, int (*read)(const tslt_all_limits *, const uint8_t *, size_t, tslt_message *)) {
  bit_reader *r = &f->r;
  int error = read(f->limits, r->data + r->at / 8, (size_t)(bits_left(r) / 8), f->message);
  r->at = r->end;
  return error;
}

static int body_hello(frame_reader *f) { return read_map(f, tslt_read_hello); }
static int body_welcome(frame_reader *f) { return read_map(f, tslt_read_welcome); }
static int body_error(frame_reader *f) { return read_map(f, tslt_read_error); }

static int body_bye(frame_reader *f) { return f->r.error; }

static int read_transcript(frame_reader *f) {
  if (bits_left(&f->r) < 64)
    return TSLT_TRUNCATED;
  f->message->transcript = f->r.data + f->r.at / 8;
  f->r.at += 64;
  return TSLT_OK;
}

static int body_prompt(frame_reader *f) {
  tslt_message *m = f->message;
  int error = read_transcript(f);
  if (error)
    return error;
  m->epoch = tslt_get_varint(&f->r);
  if (!f->r.error && !m->epoch)
    return TSLT_OUT_OF_RANGE;
  m->keep = tslt_get_varint(&f->r);
  uint32_t count = tslt_get_varint(&f->r);
  if (f->r.error)
    return f->r.error;
  return count > f->limits->max_prompt_tokens ? TSLT_LIMIT_EXCEEDED : keep_ids(f, count);
}

static int body_resume(frame_reader *f) {
  tslt_message *m = f->message;
  bit_reader *r = &f->r;
  int error = read_transcript(f);
  if (error)
    return error;
  m->prefix_crc = tslt_get_bits(r, 32);
  m->epoch = tslt_get_varint(r);
  if (!r->error && !m->epoch)
    return TSLT_OUT_OF_RANGE;
  m->round = tslt_get_varint(r);
  m->prompt_length = tslt_get_varint(r);
  m->node = (int64_t)tslt_get_varint(r) - 2;
  m->batch = tslt_get_varint(r);
  if (!r->error && m->batch && m->node < -1)
    return TSLT_OUT_OF_RANGE;
  m->keep = tslt_get_varint(r);
  uint32_t count = tslt_get_varint(r);
  if (r->error)
    return r->error;
  if (count > f->limits->max_prompt_tokens)
    return TSLT_LIMIT_EXCEEDED;
  error = keep_ids(f, count);
  if (error)
    return error;
  m->end = (int)tslt_get_bits(r, 1);
  return r->error;
}

static void read_answer(frame_reader *f) {
  f->message->round = tslt_get_varint(&f->r);
  f->message->node = (int64_t)tslt_get_varint(&f->r) - 1;
}

static int body_verdict(frame_reader *f) {
  read_answer(f);
  uint32_t token = tslt_get_bits(&f->r, id_bits(f->profile->vocab_size));
  if (f->r.error)
    return f->r.error;
  if (token >= f->profile->vocab_size)
    return TSLT_OUT_OF_RANGE;
  f->message->token = (int32_t)token;
  f->message->end = (int)tslt_get_bits(&f->r, 1);
  return f->r.error;
}

static int body_proposals(frame_reader *f) {
  tslt_message *m = f->message;
  bit_reader *r = &f->r;
  int32_t tokens[1 << COUNT_BITS];
  read_answer(f);
  m->batch = tslt_get_varint(r);
  m->count = tslt_get_bits(r, COUNT_BITS) + 1;
  if (r->error)
    return r->error;
  int error = read_ids(f, m->count, tokens);
  if (error)
    return error;
  bool good = true;
  if ((uint64_t)m->count * CODE_BITS > bits_left(r))
    return TSLT_TRUNCATED;
  for (uint32_t i = 0; i < m->count; i++)
    m->proposals[i] = (tslt_proposal){(uint32_t)tokens[i], tslt_get_bits(r, CODE_BITS), 0};
  if (m->count > bits_left(r))
    return TSLT_TRUNCATED;
  for (uint32_t i = 0; i < m->count; i++) {
    m->proposals[i].up = tslt_get_bits(r, 1);
    good &= !m->proposals[i].up || (m->proposals[i].code && m->proposals[i].code != GRID_BELOW);
  }
  return good ? TSLT_OK : TSLT_OUT_OF_RANGE;
}

static int body_whole(frame_reader *f) {
  f->message->round = tslt_get_varint(&f->r);
  return f->r.error;
}

static int body_ask_list(frame_reader *f) {
  read_answer(f);
  return f->r.error;
}

static int body_more(frame_reader *f) {
  f->message->round = tslt_get_varint(&f->r);
  uint32_t batch = tslt_get_varint(&f->r);
  f->message->batch = batch + 1;
  return f->r.error ? f->r.error : batch == UINT32_MAX ? TSLT_OUT_OF_RANGE : TSLT_OK;
}

static void read_head(frame_reader *f) {
  tslt_draft *d = &f->message->draft;
  f->message->round = d->round = tslt_get_varint(&f->r);
  d->prefix_length = tslt_get_varint(&f->r);
  d->prefix_hash = tslt_get_bits(&f->r, 16);
}

static int siblings_differ(const tslt_draft *d) {
  for (uint32_t i = 0; i < d->node_count; i++)
    for (uint32_t j = 0; j < i; j++)
      if (d->parents[i] == d->parents[j] && d->tokens[i] == d->tokens[j])
        return TSLT_BAD_TREE;
  return TSLT_OK;
}

static int body_draft_ids(frame_reader *f) {
  tslt_draft *d = &f->message->draft;
  uint32_t lists;
  read_head(f);
  if (f->r.error)
    return f->r.error;
  int error = tslt_read_shape(f->context, &f->r, &f->limits->frame, &d->node_count, &lists);
  if (error)
    return error;
  d->parents = f->context->parents.at;
  error = keep_ids(f, d->node_count);
  d->tokens = f->message->tokens;
  return error ? error : siblings_differ(d); /* where there was memory for parents there was for tokens */
}

static int body_draft_codes(frame_reader *f) {
  tslt_message *m = f->message;
  tslt_limits most = f->limits->frame;
  read_head(f);
  uint32_t count = tslt_get_varint(&f->r);
  if (f->r.error)
    return f->r.error;
  if (count > most.max_nodes || count > most.max_depth)
    return TSLT_LIMIT_EXCEEDED;
  int error = keep_ids(f, count);
  if (error)
    return error;
  m->draft.tokens = m->tokens;
  m->draft.node_count = count;
  if ((uint64_t)count * CODE_BITS > bits_left(&f->r))
    return TSLT_TRUNCATED;
  uint32_t *codes = tslt_reserve(&f->context->keys, (size_t)count + 1, sizeof *codes);
  if (!codes && !f->context->keys.fixed)
    return TSLT_NO_MEMORY;
  bool good = true;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t code = tslt_get_bits(&f->r, CODE_BITS);
    good &= code <= GRID_LAST;
    if (codes)
      codes[i] = code;
  }
  m->codes = codes;
  return good ? TSLT_OK : TSLT_OUT_OF_RANGE;
}

static int body_list(frame_reader *f) {
  tslt_message *m = f->message;
  const tslt_profile *p = f->profile;
  bit_reader *r = &f->r;
  m->round = tslt_get_varint(r);
  uint32_t format = tslt_get_bits(r, 8);
  if (r->error)
    return r->error;
  if (format & (FORMAT_RESERVED | FORMAT_WITHOUT))
    return TSLT_RESERVED_BITS;
  m->precision = (int)(format & 15);
  if (m->precision > TSLT_LOG2_4 || (int)(format >> 4 & 3) != p->entropy)
    return TSLT_OUT_OF_RANGE;
  f->context->entries = 0;
  if (p->entropy == TSLT_ENTROPY_NONE)
    return tslt_read_plain_list(f->context, r, p, m->precision, f->limits->frame.max_entries, &m->list);
  range_coder c;
  list_model model;
  tslt_range_read_start(&c, r->data + r->at / 8, (size_t)(bits_left(r) / 8));
  r->at = r->end;
  tslt_list_model_start(&model, f->context, &c, p, m->precision);
  int error = tslt_list_model_code(&model, &m->list, f->limits->frame.max_entries, true);
  return error ? error : tslt_range_read_finish(&c);
}

static int (*const BODIES[])(frame_reader *) = {
    [TSLT_HELLO] = body_hello,           [TSLT_WELCOME] = body_welcome,
    [TSLT_PROMPT] = body_prompt,         [TSLT_ERROR] = body_error,
    [TSLT_BYE] = body_bye,               [TSLT_RESUME] = body_resume,
    [TSLT_VERDICT] = body_verdict,       [TSLT_VERDICT_PROPOSALS] = body_proposals,
    [TSLT_ASK_LIST] = body_ask_list,     [TSLT_VERDICT_WHOLE] = body_whole,
    [TSLT_DRAFT_LIST] = body_bye, /* the kernel's own */
    [TSLT_DRAFT_MATCH] = body_draft_ids, [TSLT_DRAFT_COUPLED] = body_draft_ids,
    [TSLT_DRAFT_SCALAR] = body_draft_codes, [TSLT_DRAFT_LAZY] = body_draft_codes,
    [TSLT_MORE] = body_more,             [TSLT_LIST] = body_list};

int tslt_decode_frame(tslt_context *context, const tslt_profile *profile, const tslt_all_limits *limits,
                      const uint8_t *data, size_t size, tslt_message *message) {
  memset(message, 0, sizeof *message);
  if (profile->vocab_size < 1 || profile->vocab_size > TSLT_MAX_VOCAB_SIZE ||
      (profile->entropy != TSLT_ENTROPY_NONE && profile->entropy != TSLT_ENTROPY_RANGE))
    return TSLT_BAD_ARGUMENT;
  if (size > limits->frame.max_frame_bytes)
    return TSLT_LIMIT_EXCEEDED;
  if (size < 1 + CRC_LENGTH)
    return TSLT_TRUNCATED;
  size -= CRC_LENGTH;
  if (tslt_crc32(0, data, size) != (uint32_t)tslt_little_endian((tslt_bytes){data + size, CRC_LENGTH}))
    return TSLT_BAD_CHECKSUM;
  int kind = data[0] & KIND_BITS;
  if (data[0] & COMPRESSED_FLAG)
    return TSLT_RESERVED_BITS;
  if (kind >= (int)(sizeof BODIES / sizeof *BODIES) || !BODIES[kind])
    return TSLT_UNKNOWN_KIND;
  message->kind = kind;
  if (kind == TSLT_DRAFT_LIST) {
    int error = tslt_decode_draft(context, profile, &limits->frame, data, size + CRC_LENGTH, &message->draft);
    message->round = message->draft.round;
    message->extensions = (tslt_bytes){message->draft.extensions, message->draft.extensions_size};
    return error;
  }
  frame_reader f = {context, profile, limits, {.data = data, .at = 8, .end = 8 * (uint64_t)size}, message};
  int error = data[0] & EXTENSION_FLAG ? read_extensions(&f, kind) : TSLT_OK;
  if (!error)
    error = BODIES[kind](&f);
  return error ? error : tslt_get_finish(&f.r);
}

/* ---------------------------------------------------------------------------------------------------------- writing */

bit_writer tslt_frame_start(uint8_t *out, size_t capacity, int kind, const tslt_bytes *extensions) {
  bit_writer w = {.out = out, .capacity = capacity > CRC_LENGTH ? capacity - CRC_LENGTH : 0};
  bool some = extensions && extensions->size;
  tslt_put_bits(&w, (uint32_t)kind | (some ? EXTENSION_FLAG : 0), 8);
  if (some)
    tslt_put_raw(&w, extensions->at, extensions->size);
  return w;
}

int tslt_frame_end(bit_writer *w, size_t *size) {
  tslt_put_align(w);
  if (w->error)
    return w->error;
  uint32_t crc = tslt_crc32(0, w->out, w->size);
  for (unsigned i = 0; i < CRC_LENGTH; i++)
    w->out[w->size++] = (uint8_t)(crc >> 8 * i);
  *size = w->size;
  return TSLT_OK;
}

void tslt_put_ids(bit_writer *w, const int32_t *ids, size_t count, uint32_t vocab_size) {
  for (size_t i = 0; i < count; i++)
    tslt_put_bits(w, (uint32_t)ids[i], id_bits(vocab_size));
}

void tslt_put_head(bit_writer *w, uint32_t round, uint32_t prefix_length, uint32_t prefix_hash) {
  tslt_put_varint(w, round);
  tslt_put_varint(w, prefix_length);
  tslt_put_bits(w, prefix_hash, 16);
}
