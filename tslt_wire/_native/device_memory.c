/* A session's memory: one block, whose parts follow each other.  The same function counts them and gives them away. */
#include "device_session.h"

enum { URN_PLACES = 128, HELLO_BYTES = 1024, SAMPLING_BYTES = 512, ENTRY_BYTES = 7, NODE_BYTES = 8,
       DRAFT_BYTES = 32, FRAME_BYTES = 256, SIBLING_BYTES = 64, BIAS_BYTES = 20, SUPPRESSED_BYTES = 6, ALIGNED = sizeof(int64_t) };

static size_t most(size_t a, size_t b) { return a > b ? a : b; }
static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static void part(buffer *scratch, layout *l, size_t count, size_t size) {
  *scratch = (buffer){tslt_take(l, count, size), count * size, true};
}

/* What the kernel needs for drafts of this size. */
static void lay_context(tslt_context *c, layout *l, const tslt_hello *hello, const tslt_device_room *room) {
  size_t nodes = (size_t)room->most_nodes + 2, listed = room->most_listed, entries = most(room->most_entries, listed) + 8;
  size_t real = room->dtype == TSLT_FLOAT64 ? sizeof(double) : sizeof(float), rows = hello->vocab_size;
  /* Blocks of a row that are looked at: select.h says how many. */
  size_t wanted = room->by_probability ? most(listed, 256) : listed;
  size_t blocks = most(rows / SELECT_ROWS, least(6 * wanted, rows)) + 2;
  size_t picks = least(2 * listed + 2 * SELECT_STEP, rows + 16), by_token = room->by_probability ? rows : 0;
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
  part(&c->sums, l, 2 * (size_t)room->most_entries + 1, sizeof(int64_t));
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

static size_t hello_bytes(const tslt_hello *h) {
  size_t size = HELLO_BYTES + (h->model ? strlen(h->model) : 0);
  for (size_t i = 0; i < h->prior_count; i++)
    size += strlen(h->priors[i].name) + 3;
  for (size_t i = 0; i < h->extra_count; i++)
    size += strlen(h->extra[i].name) + 3 + h->extra[i].size;
  return size;
}

static size_t sampling_bytes(const tslt_hello *h) {
  const tslt_sampling_request *s = &h->sampling;
  return SAMPLING_BYTES + (s->named & TSLT_LOGIT_BIAS ? BIAS_BYTES * s->biases : 0) +
         (s->named & TSLT_SUPPRESS_TOKENS ? SUPPRESSED_BYTES * s->suppressed_count : 0);
}

static size_t queue_bytes(const tslt_hello *h, const tslt_device_room *room) {
  size_t padding = tslt_most_padding(h), kept = ERROR_ROOM + padding;
  if (room->queue_bytes)
    return room->queue_bytes + kept;
  size_t text = (size_t)room->most_tokens * id_bits(room->vocab_size) / 8;
  size_t draft = ENTRY_BYTES * (size_t)room->most_entries + NODE_BYTES * (size_t)room->most_nodes + DRAFT_BYTES;
  draft = (draft + padding) * room->most_window;
  return most(hello_bytes(h) + sampling_bytes(h), text + draft) + FRAME_BYTES + padding + kept;
}

/* All of a session behind itself; `d` holds the pointers. */
static void lay_device(tslt_device *d, layout *l, const tslt_hello *hello, const tslt_device_room *room) {
  size_t nodes = room->most_nodes, entries = room->most_entries;
  lay_context(&d->context, l, hello, room);
  d->prefix = tslt_take(l, (size_t)room->most_tokens + 1, sizeof(int32_t));
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
  d->left = tslt_take(l, (size_t)room->most_listed + nodes, sizeof(int64_t));
  d->sampling_room = sampling_bytes(hello);
  d->sampling = tslt_take(l, d->sampling_room, 1);
  d->queue_size = queue_bytes(hello, room);
  d->queue = tslt_take(l, d->queue_size, 1);
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
         room->most_listed <= TSLT_MAX_VOCAB_SIZE && room->dtype >= TSLT_FLOAT32 && room->dtype <= TSLT_BFLOAT16;
}

size_t tslt_device_size(const tslt_hello *hello, const tslt_device_room *room) {
  tslt_device_room full = *room;
  tslt_device *none;
  layout l = {NULL, 0};
  tslt_device laid;
  if (!complete(hello, &full))
    return 0;
  none = tslt_take(&l, 1, sizeof *none);
  (void)none;
  lay_device(&laid, &l, hello, &full);
  return l.used;
}

int tslt_device_new(void *block, size_t size, const tslt_hello *hello, const tslt_device_room *room,
                    tslt_device **device) {
  tslt_device_room full = *room;
  size_t needed = complete(hello, &full) ? tslt_device_size(hello, &full) : 0;
  if (!needed || !block || (uintptr_t)block % ALIGNED)
    return TSLT_BAD_ARGUMENT;
  if (size < needed)
    return TSLT_NO_SPACE;
  memset(block, 0, needed);
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
