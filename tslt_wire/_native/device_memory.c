/* A session's memory: one block, whose parts follow each other.  The same function counts them and gives them away. */
#include "device_session.h"

enum { URN_PLACES = 128, HELLO_BYTES = 1024, SAMPLING_BYTES = 512, ENTRY_BYTES = 7, NODE_BYTES = 8,
       DRAFT_BYTES = 32, FRAME_BYTES = 256, SIBLING_BYTES = 64, BIAS_BYTES = 20, SUPPRESSED_BYTES = 6, ALIGNED = sizeof(int64_t) };

/* No object has more; and no sum of two of these and a few small numbers wraps. */
#define MOST_BYTES ((uint64_t)(SIZE_MAX / 2))

static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void part(buffer *scratch, layout *l, uint64_t count, size_t size) {
  *scratch = (buffer){tslt_take(l, count, size), (size_t)(count * size), true};
}

/* What the kernel needs for drafts of this size. */
static void lay_context(tslt_context *c, layout *l, const tslt_hello *hello, const tslt_device_room *room) {
  uint64_t nodes = (uint64_t)room->most_nodes + 2, listed = room->most_listed, entries = most(room->most_entries, listed) + 8;
  uint64_t rows = hello->vocab_size;
  size_t real = room->dtype == TSLT_FLOAT64 ? sizeof(double) : sizeof(float);
  /* Blocks of a row that are looked at: select.h says how many. */
  uint64_t wanted = room->by_probability ? most(listed, 256) : listed;
  uint64_t blocks = most(rows / SELECT_ROWS, least(6 * wanted, rows)) + 2;
  uint64_t picks = least(2 * listed + 2 * SELECT_STEP, rows + 16), by_token = room->by_probability ? rows : 0;
  bool half = room->dtype == TSLT_FLOAT16 || room->dtype == TSLT_BFLOAT16;
  buffer *unused[] = {&c->parents, &c->tokens, &c->depths, &c->row_weights, &c->row_values, &c->row_peaks};
  for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
    *unused[i] = (buffer){NULL, 0, true};
  part(&c->ids, l, entries, sizeof(int32_t));
  part(&c->codes, l, entries, sizeof(uint32_t));
  part(&c->weights, l, entries, sizeof(int64_t));
  part(&c->degrees, l, nodes, sizeof(uint32_t));
  part(&c->first, l, nodes, sizeof(uint32_t));
  part(&c->list_of, l, nodes, sizeof(uint32_t));
  part(&c->list_parents, l, nodes, sizeof(int32_t));
  part(&c->lists, l, nodes, sizeof(tslt_list));
  part(&c->siblings, l, nodes, SIBLING_BYTES);
  part(&c->removed, l, 2 * nodes, 2 * sizeof(int64_t));
  part(&c->sums, l, 2 * (uint64_t)room->most_entries + 1, sizeof(int64_t));
  part(&c->keys, l, most(listed, nodes) + 8, sizeof(uint32_t));
  part(&c->given_ids, l, listed, sizeof(int32_t));
  part(&c->given_codes, l, listed, sizeof(uint32_t));
  part(&c->places, l, 2 * listed, sizeof(int32_t)); /* ids.c: those that are listed, or that are not */
  part(&c->logits, l, half ? rows : 0, sizeof(float));
  part(&c->maxima, l, blocks, real);
  part(&c->picked, l, picks, sizeof(uint32_t));
  part(&c->keys32, l, most(most(blocks, picks) + 1, by_token + 1), real);
  part(&c->masses, l, by_token, sizeof(uint32_t));
  tslt_lay_tables(c, l, room->vocab_size, (uint32_t)least(MAX_SEEN, entries), URN_PLACES);
}

/* MOST_BYTES at most. */
static uint64_t hello_bytes(const tslt_hello *h) {
  uint64_t size = HELLO_BYTES + (h->model ? strlen(h->model) : 0);
  for (size_t i = 0; i < h->prior_count; i++)
    size += strlen(h->priors[i].name) + 3;
  for (size_t i = 0; i < h->extra_count; i++)
    size = least(least(size + strlen(h->extra[i].name) + 3, MOST_BYTES) + least(h->extra[i].size, MOST_BYTES), MOST_BYTES);
  return size;
}

static size_t sampling_bytes(const tslt_hello *h) { /* few: tslt_hello_ok bounds both lists */
  const tslt_sampling_request *s = &h->sampling;
  return SAMPLING_BYTES + (s->named & TSLT_LOGIT_BIAS ? BIAS_BYTES * s->biases : 0) +
         (s->named & TSLT_SUPPRESS_TOKENS ? SUPPRESSED_BYTES * s->suppressed_count : 0);
}

static uint64_t queue_bytes(const tslt_hello *h, const tslt_device_room *room) {
  uint64_t padding = tslt_most_padding(h), kept = ERROR_ROOM + padding;
  if (room->queue_bytes)
    return room->queue_bytes + kept;
  uint64_t text = (uint64_t)room->most_tokens * id_bits(room->vocab_size) / 8;
  uint64_t draft = ENTRY_BYTES * (uint64_t)room->most_entries + NODE_BYTES * (uint64_t)room->most_nodes + DRAFT_BYTES;
  draft = (draft + padding) * room->most_window;
  return most(hello_bytes(h) + sampling_bytes(h), text + draft) + FRAME_BYTES + padding + kept;
}

/* All of a session behind itself; `d` holds the pointers. */
static void lay_device(tslt_device *d, layout *l, const tslt_hello *hello, const tslt_device_room *room) {
  uint64_t nodes = room->most_nodes, entries = room->most_entries, queue = queue_bytes(hello, room);
  lay_context(&d->context, l, hello, room);
  d->prefix = tslt_take(l, (uint64_t)room->most_tokens + 1, sizeof(int32_t));
  d->drafts = tslt_take(l, room->most_window, sizeof *d->drafts);
  for (uint32_t i = 0; i < room->most_window; i++) {
    device_draft none, *draft = d->drafts ? &d->drafts[i] : &none;
    draft->tokens = tslt_take(l, nodes + 1, sizeof(int32_t));
    draft->parents = tslt_take(l, nodes + 1, sizeof(int32_t));
    draft->codes = tslt_take(l, nodes + 1, sizeof(uint16_t));
    draft->list = tslt_take(l, nodes + 1, sizeof(tslt_list));
    draft->list_after = tslt_take(l, nodes + 1, sizeof(int32_t));
    draft->ids = tslt_take(l, entries, sizeof(int32_t));
    draft->list_codes = tslt_take(l, entries, sizeof(uint32_t));
    draft->weights = tslt_take(l, entries, sizeof(int64_t));
  }
  d->left = tslt_take(l, room->most_listed + nodes, sizeof(int64_t));
  d->sampling_room = sampling_bytes(hello);
  d->sampling = tslt_take(l, d->sampling_room, 1);
  d->queue_size = (size_t)queue;
  d->queue = tslt_take(l, queue, 1);
}

/* The numbers that a caller left to us; false for numbers that fit no session. */
static bool complete(const tslt_hello *hello, tslt_device_room *room) {
  if (!tslt_hello_ok(hello))
    return false;
  if (!room->vocab_size)
    room->vocab_size = hello->vocab_size;
  if (!room->most_window)
    room->most_window = 1;
  return room->most_window <= MOST_WINDOW && room->vocab_size <= TSLT_MAX_VOCAB_SIZE && room->most_tokens >= 1 &&
         room->most_tokens < 1u << 30 && room->most_nodes < 1u << 20 && room->most_entries < 1u << 28 && room->most_listed >= 1 &&
         room->most_listed <= TSLT_MAX_VOCAB_SIZE && room->dtype >= TSLT_FLOAT32 && room->dtype <= TSLT_BFLOAT16 &&
         room->queue_bytes <= MOST_BYTES;
}

size_t tslt_device_size(const tslt_hello *hello, const tslt_device_room *room) {
  layout l = {NULL, 0};
  tslt_device laid;
  if (!hello || !room)
    return 0;
  tslt_device_room full = *room;
  if (!complete(hello, &full))
    return 0;
  (void)tslt_take(&l, 1, sizeof laid);
  lay_device(&laid, &l, hello, &full);
  return l.used <= MOST_BYTES ? (size_t)l.used : 0;
}

int tslt_device_new(void *block, size_t size, const tslt_hello *hello, const tslt_device_room *room,
                    tslt_device **device) {
  size_t needed = tslt_device_size(hello, room);
  if (!needed || !device || !block || (uintptr_t)block % ALIGNED)
    return TSLT_BAD_ARGUMENT;
  if (size < needed)
    return TSLT_NO_SPACE;
  tslt_device_room full = *room;
  (void)complete(hello, &full); /* it is: it has a size */
  tslt_clear(block, needed);
  layout l = {block, 0};
  tslt_device *d = tslt_take(&l, 1, sizeof *d);
  lay_device(d, &l, hello, &full);
  tslt_fill_tables(&d->context);
  d->hello = hello;
  d->room = full;
  d->state = TSLT_START;
  d->request = TSLT_HELLO;
  d->choice = -1;
  d->run = RUNS - 1; /* the first run has the number after it */
  d->peer = hello->limits;
  int error = tslt_say_hello(d);
  *device = error ? NULL : d;
  return error;
}
