/* Changed conversations of a device: frames that are damaged, lost, or come twice, and calls that nobody should make.
 *
 *   python tests/native/device_conversations.py | ./fuzz_device SEED TIMES
 *
 * Each conversation goes TIMES times as it is written, less what is changed; the first time nothing is.  Built with the
 * sanitizers, and with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc: a session that allocates ends the program.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tslt_device.h"

enum { V = 16, MOST_LINES = 20000, MOST_FRAME = 4096, MOST_NUMBERS = 64, MOST_LISTS = 8 };

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);

static int set_up; /* a session is there: it has all of its memory */

static void none(void) {
  if (set_up) {
    fprintf(stderr, "fuzz_device: a session allocates\n");
    abort();
  }
}

void *__wrap_malloc(size_t size) { return none(), __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return none(), __real_calloc(count, size); }
void *__wrap_realloc(void *at, size_t size) { return none(), __real_realloc(at, size); }

typedef struct {
  char what;
  int count;
  int32_t numbers[MOST_NUMBERS];
  size_t size;
  uint8_t *frame;
} line;

static line lines[MOST_LINES];
static int line_count, list_count, list_after[MOST_LISTS];
static tslt_list lists[MOST_LISTS];
static int32_t list_ids[MOST_LISTS][MOST_NUMBERS];
static uint32_t list_codes[MOST_LISTS][MOST_NUMBERS];
static uint64_t state = 1;
static long heard, refused, rounds, called;

static uint64_t next64(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static uint64_t below(void *unused, uint64_t size) { return (void)unused, next64() % size; }
static double uniform(void *unused) { return (void)unused, (double)(next64() >> 11) * 0x1p-53; }
static unsigned one_in(unsigned n) { return next64() % n == 0; }

static void read_lines(void) {
  static char text[4 * MOST_FRAME];
  while (fgets(text, sizeof text, stdin) && line_count < MOST_LINES) {
    line *l = &lines[line_count++];
    char *at = text + 1;
    l->what = text[0];
    if (l->what == 'r') {
      l->frame = malloc(MOST_FRAME);
      for (at++; at[0] > ' ' && at[1] > ' '; at += 2) {
        unsigned byte;
        sscanf(at, "%2x", &byte);
        l->frame[l->size++] = (uint8_t)byte;
      }
      continue;
    }
    for (char *end; l->count < MOST_NUMBERS; at = end) {
      long number = strtol(at, &end, 10);
      if (end == at)
        break;
      l->numbers[l->count++] = (int32_t)number;
    }
    if (l->what == 'q') { /* a list: its parent, its size, ids, codes */
      uint32_t size = (uint32_t)l->numbers[1];
      for (uint32_t i = 0; i < size; i++) {
        list_ids[list_count][i] = l->numbers[2 + i];
        list_codes[list_count][i] = (uint32_t)l->numbers[2 + size + i];
      }
      list_after[list_count] = l->numbers[0];
      lists[list_count] = (tslt_list){.count = size, .ids = list_ids[list_count], .codes = list_codes[list_count]};
      list_count++;
      line_count--;
    }
  }
}

/* A draft whose tokens come from the lists that were given; a token that is not in its list makes it none. */
static int send(tslt_device *d, const line *l) {
  uint32_t nodes = (uint32_t)l->numbers[3];
  tslt_tree tree = {.evidence = l->numbers[0], .precision = TSLT_LOG2_1, .goes_on = l->numbers[1], .leaf = (uint32_t)l->numbers[2],
                    .node_count = nodes, .tokens = l->numbers + 4, .parents = l->numbers + 4 + nodes, .list_count = l->numbers[0] == 1 || l->numbers[0] == 2 ? 0 : nodes, .lists = lists};
  return tslt_device_send(d, &tree);
}

static int logits(void *unused, const tslt_nodes *nodes, const void **rows, size_t *row_bytes) {
  static float made[64][V];
  (void)unused;
  for (uint32_t i = 0; i < 64; i++)
    for (uint32_t j = 0; j < V; j++)
      made[i][j] = one_in(4) ? 1.0f : (float)(next64() % 1000) / 100;
  *rows = made;
  *row_bytes = sizeof made[0];
  return nodes->count > 60;
}

/* A call that may not be right now. */
static void any_call(tslt_device *d) {
  static const uint32_t SHAPES[][3] = {{1, 1, 1}, {2, 2, 1}, {3, 1, 2}, {9, 9, 9}};
  tslt_random random = {below, uniform, NULL};
  int32_t token, tokens[] = {3, 40, 5};
  uint32_t n[10]; /* one after another: C leaves open in which order an initialiser would draw them */
  called++;
  for (unsigned i = 0; i < sizeof n / sizeof *n; i++)
    n[i] = (uint32_t)(next64() >> 32);
  tslt_drafting how = {.evidence = (int)(n[0] % 6), .expansion = SHAPES[n[1] % 4], .levels = n[2] % 4,
                       .temperature = n[3] % 3 ? 1 : 0, .truncate = n[4] % 4 != 0,
                       .truncation = {n[5] % 5, n[6] % 2 ? 1 : 0.7, n[6] % 4 < 2 ? 0 : 0.01},
                       .precision = (int)(n[7] % 8), .without_replacement = n[8] % 2, .tail_scale = 0.5, .goes_on = n[8] % 4 < 2};
  switch (n[9] % 10) {
  case 0:
  case 1:
    tslt_device_draft(d, &how, logits, NULL, &random);
    return;
  case 2:
    tslt_device_choose(d, &random, &token);
    return;
  case 3:
    tslt_device_take(d, (uint32_t)(next64() % 4), &token);
    return;
  case 4:
    tslt_device_more(d);
    return;
  case 5:
    tslt_device_list(d);
    return;
  case 6:
    tslt_device_prompt(d, tokens, n[0] % 4, n[1] % 6, n[2] % 2);
    return;
  case 7:
    tslt_device_reconnect(d);
    return;
  case 8:
    tslt_device_fail(d, (int)(next64() % 50), "given up");
    return;
  default:
    tslt_device_again(d);
  }
}

/* A frame with a few bits or bytes changed, often with the right checksum. */
static size_t damage(uint8_t *frame, size_t size) {
  for (unsigned times = 1 + (unsigned)(next64() % 3); times && size; times--) {
    size_t at = next64() % size;
    if (one_in(3))
      frame[at] = (uint8_t)next64();
    else
      frame[at] ^= (uint8_t)(1u << next64() % 8);
    if (one_in(8))
      size = next64() % (size + 1);
  }
  if (size > 4 && !one_in(6)) {
    uint32_t crc = tslt_crc32(0, frame, size - 4);
    for (unsigned i = 0; i < 4; i++)
      frame[size - 4 + i] = (uint8_t)(crc >> 8 * i);
  }
  return size;
}

static void receive(tslt_device *d, const line *l, int changes) {
  tslt_event event;
  size_t size = l->size;
  set_up = 0;
  uint8_t *changed = malloc(size + 1), *frame;
  memcpy(changed, l->frame, size);
  if (changes && one_in(4))
    size = damage(changed, size);
  frame = malloc(size ? size : 1); /* exactly as long: what reads behind it is found */
  memcpy(frame, changed, size);
  set_up = 1;
  heard++;
  refused += tslt_device_receive(d, frame, size, &event) > 0;
  set_up = 0;
  free(frame);
  free(changed);
  set_up = 1;
}

static void call(tslt_device *d, const line *l) {
  int32_t token;
  switch (l->what) {
  case 'p':
    tslt_device_prompt(d, l->numbers + 2, (size_t)l->numbers[1], (size_t)l->numbers[0], 1);
    return;
  case 'd':
    rounds += send(d, l) == TSLT_OK;
    return;
  case 't':
    tslt_device_take(d, (uint32_t)l->numbers[0], &token);
    return;
  case 'm':
    tslt_device_more(d);
    return;
  case 'l':
    tslt_device_list(d);
    return;
  case 'x':
    tslt_device_reconnect(d);
    return;
  default:
    tslt_device_close(d);
  }
}

/* The lines of one conversation, up to the next `h`; with changes from the second time on. */
static void converse(int first, int end, int changes) {
  uint8_t tokenizer[32];
  for (unsigned i = 0; i < sizeof tokenizer; i++)
    tokenizer[i] = (uint8_t)i;
  static const int PRECISIONS[] = {TSLT_LOG2_1, TSLT_F16};
  tslt_hello hello = tslt_default_hello(V, tokenizer);
  hello.precisions = PRECISIONS;
  hello.precision_count = 2;
  hello.model = "draft";
  uint32_t less = changes ? (uint32_t)(next64() >> 32) : 0x3FF;
  tslt_device_room room = {.most_tokens = less % 4 ? 64 : 9, .most_nodes = less >> 2 & 3 ? 16 : 3,
                           .most_entries = less >> 4 & 3 ? 256 : 20, .most_listed = V, .most_window = 1 + (less >> 6 & 3),
                           .by_probability = 1, .queue_bytes = less >> 8 & 3 ? 0 : 700};
  size_t size = tslt_device_size(&hello, &room);
  void *block = malloc(size);
  tslt_device *d;
  set_up = 1;
  for (int sessions = 0; sessions < 2; sessions++) /* a block that another one had is as good */
    if (tslt_device_new(block, size, &hello, &room, &d))
      abort();
  for (int i = first; i < end; i++) {
    int again = 1 + (changes && one_in(12)), lost = changes && one_in(12);
    while (changes && one_in(6))
      any_call(d);
    for (; again && !lost; again--)
      if (lines[i].what == 'r')
        receive(d, &lines[i], changes);
      else
        call(d, &lines[i]);
    size_t sent;
    while (!(changes && one_in(5)) && tslt_device_next(d, &sent))
      ;
  }
  set_up = 0;
  free(block);
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  state = strtoull(argv[1], NULL, 10) * 0x9E3779B97F4A7C15u | 1;
  long times = strtol(argv[2], NULL, 10), conversations = 0;
  read_lines();
  for (long i = 0; i < times; i++)
    for (int first = 0, end; first < line_count; first = end) {
      for (end = first + 1; end < line_count && lines[end].what != 'h'; end++)
        ;
      if (end > first + 1)
        converse(first + 1, end, i > 0), conversations++;
    }
  printf("fuzz_device: %ld conversations, %ld frames heard, %ld refused, %ld rounds, %ld calls more\n", conversations, heard,
         refused, rounds, called);
  for (int i = 0; i < line_count; i++)
    free(lines[i].frame);
  return conversations && rounds && refused ? 0 : 1;
}
