/* Figures of a device in C: memory of a session, and time of a round outside of the callback.  `make device-figures`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tslt_device.h"

enum { V = 128256, LEVELS = 4, LISTED = 32, ROUNDS = 400, TEXT = 2048, WARM = 50 };

static float rows[LEVELS][V];
static uint64_t numbers = 88172645463325252u;

static uint64_t below(void *unused, uint64_t size) {
  (void)unused;
  numbers ^= numbers << 13;
  numbers ^= numbers >> 7;
  numbers ^= numbers << 17;
  return numbers % size;
}

static double uniform(void *unused) { return (double)(below(unused, (uint64_t)1 << 53)) * 0x1p-53; }

static int logits(void *unused, const tslt_nodes *nodes, const void **out, size_t *row_bytes) {
  (void)unused;
  *out = rows[nodes->count];
  *row_bytes = sizeof rows[0];
  return 0;
}

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void put(uint8_t *out, size_t *size, const void *data, size_t count) {
  memcpy(out + *size, data, count);
  *size += count;
}

static size_t end_frame(uint8_t *frame, size_t size) {
  uint32_t crc = tslt_crc32(0, frame, size);
  for (unsigned i = 0; i < 4; i++)
    frame[size++] = (uint8_t)(crc >> 8 * i);
  return size;
}

/* A name or a short key of a control map. */
static void text(uint8_t *out, size_t *size, const char *name) {
  out[(*size)++] = (uint8_t)(0xA0 | strlen(name));
  put(out, size, name, strlen(name));
}

static void number(uint8_t *out, size_t *size, uint32_t value) {
  const uint8_t bytes[] = {0xCE, (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
  if (value < 128)
    out[(*size)++] = (uint8_t)value;
  else if (value < 65536 && value >= 256)
    out[(*size)++] = 0xCD, put(out, size, bytes + 3, 2);
  else
    put(out, size, bytes, 5);
}

/* The WELCOME of an edge that takes lists of log2/2 under the range coder. */
static size_t welcome(uint8_t *out, const uint8_t *hello, size_t hello_size, const uint8_t *tokenizer) {
  static const char *const LIMITS[] = {"max_control_bytes", "max_depth",  "max_entries", "max_extensions",
                                       "max_frame_bytes",   "max_leaves", "max_nodes",   "max_prompt_tokens"};
  static const uint32_t VALUES[] = {8192, 256, 1 << 21, 16, 1 << 22, 1024, 1024, 1 << 18};
  uint8_t digest[32];
  size_t size = 0;
  tslt_sha256(hello, hello_size, digest);
  put(out, &size, "\x02TSLT\x01\xde\x00\x11", 9);
  text(out, &size, "context"), number(out, &size, 0);
  text(out, &size, "coupling"), put(out, &size, "\xc4\x00", 2);
  text(out, &size, "entropy"), text(out, &size, "range");
  text(out, &size, "eos_tokens"), put(out, &size, "\x90", 1);
  text(out, &size, "evidence"), put(out, &size, "\x91", 1), text(out, &size, "list");
  text(out, &size, "held"), put(out, &size, "\x00", 1);
  text(out, &size, "held_hash"), put(out, &size, "\x00", 1);
  text(out, &size, "limits"), put(out, &size, "\x88", 1);
  for (unsigned i = 0; i < 8; i++)
    text(out, &size, LIMITS[i]), number(out, &size, VALUES[i]);
  text(out, &size, "model"), put(out, &size, "\xa0", 1);
  text(out, &size, "precisions"), put(out, &size, "\x91", 1), text(out, &size, "log2/2");
  text(out, &size, "prior"), text(out, &size, "none");
  text(out, &size, "resume"), put(out, &size, "\xc4\x00", 2);
  text(out, &size, "resumed"), put(out, &size, "\xc2", 1);
  text(out, &size, "sampling"), put(out, &size, "\x80", 1);
  text(out, &size, "tokenizer"), put(out, &size, "\xc4\x20", 2), put(out, &size, tokenizer, 32);
  text(out, &size, "transcript"), put(out, &size, "\xc4\x10", 2), put(out, &size, digest, 16);
  text(out, &size, "vocab_size"), number(out, &size, V);
  return end_frame(out, size);
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* One look at each number of the rows, as many at a time as a vector holds: no draft takes less.  In us. */
static double read_rows(void) {
  static double took[ROUNDS];
  volatile float sink;
  for (unsigned i = 0; i < ROUNDS; i++) {
    double start = now_us();
    float most[32] = {0};
    for (const float *at = rows[0]; at < rows[0] + LEVELS * V; at += 32)
      for (unsigned j = 0; j < 32; j++)
        most[j] = at[j] > most[j] ? at[j] : most[j];
    sink = most[0] + most[31];
    took[i] = now_us() - start;
  }
  (void)sink;
  qsort(took, ROUNDS, sizeof *took, ascending);
  return took[ROUNDS / 2];
}

int main(void) {
  static uint8_t frame[1024];
  static double took[ROUNDS];
  uint8_t tokenizer[32] = {1};
  tslt_hello hello = tslt_default_hello(V, tokenizer);
  tslt_device_room room = {.most_tokens = TEXT, .most_nodes = LEVELS, .most_entries = LEVELS * LISTED, .most_listed = LISTED};
  size_t size = tslt_device_size(&hello, &room), sent, bytes = 0;
  room.most_tokens = 1;
  size_t without = tslt_device_size(&hello, &room);
  room.most_tokens = TEXT;
  void *block = malloc(size);
  tslt_device *d;
  tslt_event event;
  for (unsigned i = 0; i < LEVELS; i++)
    for (unsigned j = 0; j < V; j++)
      rows[i][j] = (float)(uniform(NULL) + uniform(NULL) + uniform(NULL)) * 8;
  if (!block || tslt_device_new(block, size, &hello, &room, &d))
    return 1;
  const uint8_t *said = tslt_device_next(d, &sent);
  if (tslt_device_receive(d, frame, welcome(frame, said, sent, tokenizer), &event) || event.kind != TSLT_WELCOMED)
    return 1;
  const int32_t prompt[] = {1, 2, 3};
  const uint32_t chain[] = {1, 1, 1, 1};
  tslt_random random = {below, uniform, NULL};
  tslt_drafting how = {.evidence = TSLT_EVIDENCE_LIST, .expansion = chain, .levels = LEVELS, .dtype = TSLT_FLOAT32,
                       .temperature = 1, .truncate = 1, .truncation = {LISTED, 1, 0}, .precision = TSLT_LOG2_2};
  for (unsigned i = 0; i < ROUNDS; i++) {
    if (i % 300 == 0 && tslt_device_prompt(d, prompt, 3, 0, 1))
      return 1;
    while (tslt_device_next(d, &sent))
      ;
    double start = now_us();
    int error = tslt_device_draft(d, &how, logits, NULL, &random);
    tslt_device_next(d, &sent);
    bytes += sent;
    uint8_t verdict[16] = {TSLT_VERDICT};
    uint32_t round = tslt_device_round(d) - 1;
    size_t at = 1;
    for (uint32_t rest = round; rest > 127; rest >>= 7)
      verdict[at++] = (uint8_t)(rest | 0x80);
    verdict[at] = (uint8_t)(round > 127 ? round >> 7 : round), at += 1;
    verdict[at++] = 0; /* nothing was accepted; token 5 of 17 bits; not the end */
    verdict[at++] = 5, verdict[at++] = 0, verdict[at++] = 0;
    size_t length = end_frame(verdict, at);
    if (error || tslt_device_receive(d, verdict, length, &event) || event.kind != TSLT_ANSWERED)
      return 1;
    took[i] = now_us() - start;
  }
  qsort(took + WARM, ROUNDS - WARM, sizeof *took, ascending);
  printf("memory of a session at V = %d, beside its text (most_tokens = 1): %zu bytes\n", V, without);
  printf("the same with a text of %d tokens, prompt included: %zu bytes; a token takes 4 in the session, and 2 to 3 in the queue\n", TEXT,
         size);
  printf("a round of a chain of %d, list, K = %d: %.0f us in the middle of %d, %.0f bytes\n", LEVELS, LISTED,
         took[WARM + (ROUNDS - WARM) / 2], ROUNDS - WARM, (double)bytes / ROUNDS);
  printf("reading its %d rows once: %.0f us\n", LEVELS, read_rows());
  free(block);
  return 0;
}
