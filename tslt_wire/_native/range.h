/* The range coder of spec section 5.3, for both directions, inline because everything waits for it.
 *
 * A model is described once: each function is given the value when it writes, and returns the one that travels.  The
 * first error stays in `error`; what is returned after it is a legal value, so that no caller leaves its tables. */
#ifndef TSLT_RANGE_H
#define TSLT_RANGE_H

#include "bits.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define RANGE_LEAST ((uint64_t)1 << 56)
enum { WINDOW_BYTES = 8 };

typedef struct range_coder {
  bool reads;
  int error;
  uint64_t low;   /* writer: the interval's lower end; reader: where the bytes are, counted from it */
  uint64_t range; /* the interval's size */
  const uint8_t *in;
  uint8_t *out;
  size_t size;  /* reader: bytes there are; writer: bytes that fit */
  size_t at;    /* bytes read (up to 8 behind the end) or written */
  size_t least; /* bytes that were promised */
} range_coder;

void tslt_range_write_start(range_coder *c, uint8_t *out, size_t capacity);
void tslt_range_read_start(range_coder *c, const uint8_t *data, size_t size);
/* The last bytes, of a coder without an error: `size` gets how many there are in all. */
int tslt_range_write_finish(range_coder *c, size_t *size);
int tslt_range_read_finish(range_coder *c);
void tslt_range_carry(uint8_t *out, size_t at);
/* By value: a coder whose address goes nowhere can live in registers. */
range_coder tslt_range_read_slowly(range_coder c, unsigned bytes);

static inline void range_fail(range_coder *c, int error) {
  if (!c->error)
    c->error = error;
}

/* Say that there are at least `least` bytes. */
static inline void range_promise(range_coder *c, uint64_t least) {
  if (c->reads && least > c->size)
    range_fail(c, TSLT_TRUNCATED);
  if (least > c->least)
    c->least = (size_t)least;
}

static inline void range_put(range_coder *c, uint64_t part, uint64_t start, uint64_t size) {
  uint64_t low = c->low + part * start;
  if (low < c->low)
    tslt_range_carry(c->out, c->at);
  uint64_t range = part * size;
  unsigned bytes = (64u - bit_length(range)) >> 3;
  if (c->at + WINDOW_BYTES <= c->size) {
    store_be64(c->out + c->at, low);
    c->at += bytes;
  } else {
    range_fail(c, TSLT_NO_SPACE);
  }
  c->low = low << 8 * bytes;
  c->range = range << 8 * bytes;
}

static inline void range_take(range_coder *c, uint64_t part, uint64_t start, uint64_t size) {
  c->low -= part * start;
  c->range = part * size;
  unsigned bytes = (64u - bit_length(c->range)) >> 3;
  if (c->at + WINDOW_BYTES <= c->size) {
    uint64_t next = load_be64(c->in + c->at);
    c->low = c->low << 8 * bytes | next >> 1 >> (63 - 8 * bytes);
    c->range <<= 8 * bytes;
    c->at += bytes;
  } else if (bytes) {
    *c = tslt_range_read_slowly(*c, bytes);
  }
}

/* Which part of `total` the bytes are in; `part` is the size of one. */
static inline uint64_t range_find(range_coder *c, uint64_t part, uint64_t total) {
  uint64_t found = c->low / part;
  if (found >= total) {
    range_fail(c, TSLT_NON_CANONICAL);
    c->low = 0;
    return 0;
  }
  return found;
}

static inline uint64_t code_uniform(range_coder *c, uint64_t value, uint64_t total) {
  if (total <= 1)
    return 0;
  uint64_t part = c->range / total;
  if (!c->reads) {
    range_put(c, part, value, 1);
    return value;
  }
  value = range_find(c, part, total);
  range_take(c, part, value, 1);
  return value;
}

/* 0 or 1, where 1 has `ones` of `total` parts, the last ones. */
static inline bool code_chance(range_coder *c, bool value, uint64_t ones, uint64_t total) {
  uint64_t part = c->range / total;
  uint64_t zeros = total - ones;
  if (c->reads) {
    value = c->low >= part * zeros;
    if (value && c->low >= part * total) {
      range_fail(c, TSLT_NON_CANONICAL);
      c->low = part * zeros;
    }
    range_take(c, part, value ? zeros : 0, value ? ones : zeros);
    return value;
  }
  range_put(c, part, value ? zeros : 0, value ? ones : zeros);
  return value;
}

/* How many of `count` ascending numbers, a multiple of 16, are at most x. */
static inline unsigned count_not_above(const uint16_t *numbers, unsigned count, uint16_t x) {
#if defined(__SSE2__)
  __m128i all = _mm_set1_epi16((short)x), none = _mm_setzero_si128();
  for (unsigned at = 0;; at += 16) {
    /* A saturating difference of 0 is "at most"; 16 lanes become 16 bits. */
    __m128i a = _mm_cmpeq_epi16(_mm_subs_epu16(_mm_loadu_si128((const __m128i *)(numbers + at)), all), none);
    __m128i b = _mm_cmpeq_epi16(_mm_subs_epu16(_mm_loadu_si128((const __m128i *)(numbers + at + 8)), all), none);
    unsigned bits = (unsigned)_mm_movemask_epi8(_mm_packs_epi16(a, b));
    if (bits != 0xFFFF || at + 16 == count)
      return at + lowest_bit(~bits);
  }
#else
  unsigned found = 0;
  for (unsigned i = 0; i < count; i++)
    found += numbers[i] <= x;
  return found;
#endif
}

/* An index by running sums: symbol i is the part from starts[i] to starts[i + 1] of starts[count]. */
static inline unsigned code_locate(range_coder *c, unsigned value, const uint32_t *starts, unsigned count) {
  uint64_t total = starts[count];
  uint64_t part = c->range / total;
  if (!c->reads) {
    range_put(c, part, starts[value], starts[value + 1] - starts[value]);
    return value;
  }
  uint64_t found = range_find(c, part, total);
  unsigned low = 0, high = count;
  while (high - low > 1) {
    unsigned middle = (low + high) / 2;
    if (starts[middle] <= found)
      low = middle;
    else
      high = middle;
  }
  range_take(c, part, starts[low], starts[low + 1] - starts[low]);
  return low;
}

#endif
