/* What vectors alone do not reach: no memory at any place where some is asked for, too little room for any number of
 * bytes, and what no caller may give.  Each must be the error that it is, and nothing else may come of it.
 *
 *   python3 examples/embed_c/vectors.py | ./refusals
 *
 * Linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc (tests/coverage/kernel.py). */
#include "../../examples/embed_c/lines.h"
#include "levels.h"
#include "range.h"
#include "tslt_device.h"

enum { SMALL = 3000 };

static unsigned long until_none; /* the allocation that fails; 0: none does */
static unsigned wrong;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);

static int fails(void) { return until_none && --until_none == 0; }
void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return fails() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *at, size_t size) { return fails() ? NULL : __real_realloc(at, size); }

static void expect(int found, int wanted, const char *id, const char *what) {
  if (found != wanted) {
    printf("%s: %s: %d where %d was expected\n", id, what, found, wanted);
    wrong++;
  }
}

static int is_list(const vector *v) { return !strcmp(v->kind, "list"); }

static int decode(tslt_context *context, const vector *v) {
  tslt_list list;
  tslt_draft draft;
  return is_list(v) ? tslt_decode_list(context, &v->profile, &v->limits, v->bytes, v->size, &list)
                    : tslt_decode_draft(context, &v->profile, &v->limits, v->bytes, v->size, &draft);
}

static int encode(tslt_context *context, const vector *v, uint8_t *out, size_t capacity) {
  size_t size;
  return is_list(v) ? tslt_encode_list(context, &v->profile, &v->lists[0], out, capacity, &size)
                    : tslt_encode_draft(context, &v->profile, &v->draft, out, capacity, &size);
}

static size_t bound(const vector *v) {
  uint64_t entries = is_list(v) ? v->lists[0].count : 0;
  for (uint32_t i = 0; !is_list(v) && i < v->draft.list_count; i++)
    entries += v->lists[i].count;
  return tslt_encode_bound(v->profile.vocab_size, entries, v->draft.list_count + 1, v->draft.node_count) +
         v->draft.extensions_size;
}

/* Each allocation fails once; then all is as it was. */
static void without_memory(const vector *v, uint8_t *out, size_t capacity) {
  for (int writes = 0; writes <= !v->error; writes++)
    for (unsigned long n = 1;; n++) {
      tslt_context *context = tslt_context_new();
      until_none = n;
      int error = writes ? encode(context, v, out, capacity) : decode(context, v);
      int failed = !until_none;
      until_none = 0;
      expect(error, failed ? TSLT_NO_MEMORY : v->error, v->id, "without memory");
      expect(writes ? encode(context, v, out, capacity) : decode(context, v), v->error, v->id, "with memory again");
      tslt_context_free(context);
      if (!failed)
        break;
    }
}

static void without_room(tslt_context *context, const vector *v) {
  for (size_t size = 0; size < v->size; size++) {
    uint8_t *tight = room(size, 1);
    expect(encode(context, v, tight, size), TSLT_NO_SPACE, v->id, "without room");
    free(tight);
  }
}

/* What a caller gave wrong in `field` of a copy of the vector. */
#define WRONG(field, value, error)                                                                                     \
  do {                                                                                                                 \
    vector c = *v;                                                                                                     \
    c.field = (value);                                                                                                 \
    expect(encode(context, &c, out, capacity), error, v->id, #field " = " #value);                                     \
  } while (0)
#define WRONG_BOTH(field, value)                                                                                       \
  do {                                                                                                                 \
    vector c = *v;                                                                                                     \
    c.field = (value);                                                                                                 \
    expect(encode(context, &c, out, capacity), TSLT_BAD_ARGUMENT, v->id, #field " = " #value);                         \
    expect(decode(context, &c), TSLT_BAD_ARGUMENT, v->id, "reading, " #field " = " #value);                            \
  } while (0)
/* The same where the copy shares what it points to. */
#define WRONG_AT(place, value, error)                                                                                  \
  do {                                                                                                                 \
    __typeof__(place) kept = (place);                                                                                  \
    (place) = (value);                                                                                                 \
    expect(encode(context, v, out, capacity), error, v->id, #place " = " #value);                                      \
    (place) = kept;                                                                                                    \
  } while (0)

static void wrong_list(tslt_context *context, vector *v, tslt_list *list, columns *own, uint8_t *out,
                       size_t capacity) {
  uint32_t size = v->profile.vocab_size;
  WRONG_AT(list->count, 0, TSLT_BAD_LIST);
  WRONG_AT(list->count, size + 1, TSLT_BAD_LIST);
  WRONG_AT(list->tail, 32, TSLT_BAD_LIST);
  if (!v->profile.prior || list->count == size)
    WRONG_AT(list->tail, 1, TSLT_BAD_LIST);
  WRONG_AT(own->ids[0], -1, TSLT_BAD_LIST);
  WRONG_AT(own->ids[list->count - 1], (int32_t)size, TSLT_BAD_LIST);
  if (list->count == 1)
    WRONG_AT(own->codes[0], 1, TSLT_BAD_LIST);
  for (uint32_t i = 0; i < list->count; i++)
    if (own->codes[i]) {
      WRONG_AT(own->codes[i], UINT32_MAX, TSLT_BAD_LIST);
      break;
    }
}

static void wrong_arguments(tslt_context *context, vector *v, uint8_t *out, size_t capacity) {
  WRONG_BOTH(profile.vocab_size, 0);
  WRONG_BOTH(profile.vocab_size, (1u << 20) + 1);
  if (is_list(v)) {
    WRONG_BOTH(profile.precision, -1);
    WRONG_BOTH(profile.precision, 99);
    WRONG_BOTH(profile.entropy, 7);
    wrong_list(context, v, &v->lists[0], &v->columns[0], out, capacity);
    return;
  }
  WRONG(draft.precision, -1, TSLT_BAD_ARGUMENT);
  WRONG(draft.precision, 99, TSLT_BAD_ARGUMENT);
  WRONG(draft.prefix_hash, 1u << 16, TSLT_BAD_ARGUMENT);
  WRONG(draft.node_count, (1u << 29) + 1, TSLT_BAD_ARGUMENT);
  WRONG(profile.entropy, 7, TSLT_BAD_ARGUMENT);
  WRONG(draft.list_count, v->draft.list_count + 1, TSLT_BAD_TREE);
  vector c = *v;
  c.limits.max_frame_bytes = v->size - 1;
  expect(decode(context, &c), TSLT_LIMIT_EXCEEDED, v->id, "max_frame_bytes");
  if (v->draft.extensions_size) {
    WRONG(draft.extensions_size, v->draft.extensions_size - 1, TSLT_BAD_ARGUMENT);
    uint8_t *longer = room(v->draft.extensions_size + 1, 1);
    memcpy(longer, v->extensions, v->draft.extensions_size);
    longer[v->draft.extensions_size] = 0;
    c = *v;
    c.draft.extensions = longer;
    c.draft.extensions_size++;
    expect(encode(context, &c, out, capacity), TSLT_BAD_ARGUMENT, v->id, "a byte after the extensions");
    free(longer);
  }
  if (!v->draft.node_count) {
    WRONG(draft.precision, TSLT_LOG2_4, TSLT_BAD_ARGUMENT);
    return;
  }
  WRONG_AT(v->parents[0], -2, TSLT_BAD_TREE);
  WRONG_AT(v->parents[0], 0, TSLT_BAD_TREE);
  WRONG_AT(v->tokens[0], -1, TSLT_BAD_TREE);
  WRONG_AT(v->tokens[0], (int32_t)v->profile.vocab_size, TSLT_BAD_TREE);
  const tslt_list *list = &v->lists[0];
  uint32_t missing = 0;
  while (missing < list->count && list->ids[missing] == (int32_t)missing)
    missing++;
  if (!list->tail && missing < v->profile.vocab_size)
    WRONG_AT(v->tokens[0], (int32_t)missing, TSLT_BAD_TREE);
  wrong_list(context, v, &v->lists[0], &v->columns[0], out, capacity);
}

/* ------------------------------------------------------------------------------------------------- units of the kernel */

/* Bytes that stand for none of the parts of a symbol: the last ones of an interval that its parts do not fill. */
static void between_parts(void) {
  enum { PARTS = 3, SYMBOLS = 5 };
  uint8_t bytes[64] = {0};
  range_coder c;
  tslt_range_write_start(&c, bytes, sizeof bytes);
  for (unsigned i = 0; i < SYMBOLS; i++)
    code_uniform(&c, 1, PARTS);
  uint64_t last = c.low + c.range - 1;
  for (unsigned i = 0; i < WINDOW_BYTES; i++)
    bytes[c.at + i] = (uint8_t)(last >> 8 * (WINDOW_BYTES - 1 - i));
  for (unsigned total = 7; total < 14; total += 6) {
    tslt_range_read_start(&c, bytes, sizeof bytes);
    for (unsigned i = 0; i < SYMBOLS; i++)
      code_uniform(&c, 0, PARTS);
    expect(c.error, TSLT_OK, "range coder", "good symbols");
    int some_left = c.range % total != 0;
    code_chance(&c, false, 1, total);
    expect(c.error, some_left ? TSLT_NON_CANONICAL : TSLT_OK, "range coder", "a chance that is neither");
  }
}

/* Long lists that are written and read again: random ones, and one of which a level has more than 65,536 entries. */
static void long_lists(tslt_context *context) {
  enum { MOST = 70000, V = 1 << 20 };
  tslt_list list, found;
  int32_t *ids = room(MOST, sizeof *ids);
  uint32_t *codes = room(MOST, sizeof *codes), state = 1;
  tslt_profile profile = {.vocab_size = V, .precision = TSLT_LOG2_4, .entropy = TSLT_ENTROPY_RANGE};
  tslt_limits limits = tslt_default_limits();
  int64_t *starts = room(V + 1, sizeof *starts);
  tslt_uniform_starts(V, starts);
  tslt_prior prior = {.tail = starts};
  profile.prior = &prior;
  size_t capacity = tslt_encode_bound(V, MOST, 1, 0), size;
  uint8_t *out = room(capacity, 1);
  for (unsigned round = 0; round <= 3000; round++) {
    list = (tslt_list){.count = round ? 129 + round % 64 : MOST, .tail = round % 32, .ids = ids, .codes = codes};
    for (uint32_t i = 0; i < list.count; i++) {
      state = state * 1664525u + 1013904223u;
      ids[i] = (int32_t)(i ? (uint32_t)ids[i - 1] + 1 + (round ? state >> 20 : 0) : state >> 21);
      codes[i] = i < 30 ? i : round ? state >> 28 : 0;
    }
    expect(tslt_encode_list(context, &profile, &list, out, capacity, &size), TSLT_OK, "a long list", "written");
    expect(tslt_decode_list(context, &profile, &limits, out, size, &found), TSLT_OK, "a long list", "read");
    int same = found.count == list.count && !memcmp(found.ids, ids, list.count * sizeof *ids) &&
               !memcmp(found.codes, codes, list.count * sizeof *codes);
    expect(same, 1, "a long list", "the same again");
    for (size_t tight = 0; round && round < 40 && tight < 100; tight++)
      expect(tslt_encode_list(context, &profile, &list, out, tight, &size), TSLT_NO_SPACE, "a long list", "no room");
  }
  free(starts);
  free(ids);
  free(codes);
  free(out);
}

/* Eight bytes in a row that are others, at any place: what is wrong is the bytes, never the caller or the memory. */
static void spoilt(tslt_context *context, const vector *v) {
  uint8_t *bytes = room(v->size, 1);
  for (size_t i = 0; i < v->size && i < 400; i++)
    for (int value = 0; value < 256; value += 85) {
      memcpy(bytes, v->bytes, v->size);
      memset(bytes + i, value, v->size - i < 8 ? v->size - i : 8);
      vector c = *v;
      c.bytes = bytes;
      int error = decode(context, &c);
      expect(error >= TSLT_OK, 1, v->id, "spoilt bytes are refused as bytes");
    }
  free(bytes);
}

/* An expansion of 2^40 nodes, where the limits allow any number: it is refused before there is room for it. */
static void huge_tree(tslt_context *context) {
  uint8_t frame[] = {TSLT_DRAFT_LIST, 0, 0, 0, 0, 0, 2 << 2 | 1, 0x80, 0x80, 0x40, 0x80, 0x80, 0x40, 0, 0, 0, 0};
  size_t size = sizeof frame - 4;
  uint32_t crc = tslt_crc32(0, frame, size);
  for (unsigned i = 0; i < 4; i++)
    frame[size + i] = (uint8_t)(crc >> 8 * i);
  tslt_profile profile = {.vocab_size = 10, .entropy = TSLT_ENTROPY_NONE};
  tslt_limits limits = tslt_default_limits();
  limits.max_nodes = limits.max_leaves = limits.max_depth = UINT64_MAX;
  tslt_draft draft;
  expect(tslt_decode_draft(context, &profile, &limits, frame, sizeof frame, &draft), TSLT_LIMIT_EXCEEDED, "a draft",
         "2^40 nodes");
}

/* Frames of other kinds without memory for what is in them. */
static void frames_without_memory(void) {
  uint8_t frames[][24] = {{TSLT_PROMPT, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0x21},
                          {TSLT_DRAFT_MATCH, 0, 0, 0, 0, 0},
                          {TSLT_DRAFT_SCALAR, 0, 0, 0, 0, 1, 0x11, 0}};
  const size_t sizes[] = {13, 6, 8};
  tslt_profile profile = {.vocab_size = 10, .entropy = TSLT_ENTROPY_NONE};
  tslt_all_limits limits = tslt_default_all_limits();
  for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    uint32_t crc = tslt_crc32(0, frames[i], sizes[i]);
    for (unsigned byte = 0; byte < 4; byte++)
      frames[i][sizes[i] + byte] = (uint8_t)(crc >> 8 * byte);
    for (unsigned long n = 1;; n++) {
      tslt_message message;
      tslt_context *context = tslt_context_new();
      until_none = n;
      int error = tslt_decode_frame(context, &profile, &limits, frames[i], sizes[i] + 4, &message);
      int failed = !until_none;
      until_none = 0;
      expect(error, failed ? TSLT_NO_MEMORY : TSLT_OK, "a frame", "without memory");
      tslt_context_free(context);
      if (!failed)
        break;
    }
  }
}

static void too_much_memory(tslt_context *context) {
  buffer none = {0};
  expect(tslt_reserve(&none, SIZE_MAX, 8) == NULL, 1, "memory", "more than there are addresses");
  expect(tslt_more_entries(context, SIZE_MAX / 16), 0, "memory", "more entries than there are addresses");
}

int main(void) {
  unsigned vectors = 0;
  tslt_context_free(NULL);
  until_none = 1;
  if (tslt_context_new())
    return 4;
  until_none = 0;
  int64_t starts[2];
  expect(tslt_table_starts(1, (const uint8_t[]){255}, starts), TSLT_BAD_ARGUMENT, "table", "code 255");
  tslt_context *context = tslt_context_new();
  between_parts();
  long_lists(context);
  huge_tree(context);
  frames_without_memory();
  too_much_memory(context);
  for (char *line; (line = read_line()) != NULL; free(line)) {
    if (is_shared(line))
      continue;
    vector v;
    read_vector(&v, line);
    if (v.size <= SMALL) {
      size_t capacity = v.error ? 0 : bound(&v);
      uint8_t *out = room(capacity, 1);
      without_memory(&v, out, capacity);
      if (!v.error) {
        without_room(context, &v);
        wrong_arguments(context, &v, out, capacity);
        if (is_list(&v))
          spoilt(context, &v);
      }
      free(out);
      vectors++;
    }
    free_vector(&v);
  }
  tslt_context_free(context);
  printf("refusals: %u vectors, %u wrong\n", vectors, wrong);
  return wrong || !vectors;
}
