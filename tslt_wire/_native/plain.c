/* Plain bits: gaps whose widths follow the gaps before, prefix codes, fields. */
#include "plain.h"

enum { GAP_STEPS = 6, GAP_BITS = 20 };

/* ------------------------------------------------------------------------------------------ between parts of symbols */

/* The shortest ending in [low, low + range) after which any bytes may follow; like `ending`, modulo 2^64. */
static unsigned closed_ending(uint64_t low, uint64_t range, uint64_t *up) {
  uint64_t rest = RANGE_LEAST - 1; /* what may follow one byte */
  *up = (0 - low) & rest;
  if (*up < range - rest)
    return 1;
  *up = (0 - low) & rest >> 8;
  return 2;
}

int tslt_range_leave(range_coder *c, plain_bits *p) {
  uint64_t up;
  if (c->error)
    return c->error;
  p->reads = c->reads;
  if (c->reads) {
    uint64_t window = 0;
    for (size_t i = c->at - WINDOW_BYTES; i < c->at; i++)
      window = window << 8 | (i < c->size ? c->in[i] : 0);
    uint64_t low = window - c->low;
    unsigned count = closed_ending(low, c->range, &up);
    size_t first = c->at - WINDOW_BYTES + count;
    if (first > c->size)
      return TSLT_TRUNCATED;
    if (((low + up) ^ window) >> (64 - 8 * count))
      return TSLT_NON_CANONICAL;
    p->in = (bit_reader){.data = c->in, .at = 8 * (uint64_t)first, .end = 8 * (uint64_t)c->size};
    return TSLT_OK;
  }
  unsigned count = closed_ending(c->low, c->range, &up);
  uint64_t value = c->low + up;
  if (value < up)
    tslt_range_carry(c->out, c->at);
  if (c->at + WINDOW_BYTES > c->size)
    return TSLT_NO_SPACE;
  store_be64(c->out + c->at, value);
  p->out = (bit_writer){.out = c->out, .capacity = c->size, .size = c->at + count};
  return TSLT_OK;
}

int tslt_range_resume(range_coder *c, plain_bits *p) {
  c->range = UINT64_MAX;
  c->low = 0;
  if (!c->reads) {
    tslt_put_align(&p->out);
    c->at = p->out.size;
    return p->out.error;
  }
  if (tslt_get_align(&p->in))
    return p->in.error;
  size_t first = (size_t)(p->in.at / 8);
  for (size_t i = first; i < first + WINDOW_BYTES; i++)
    c->low = c->low << 8 | (i < c->size ? c->in[i] : 0);
  c->at = first + WINDOW_BYTES;
  return TSLT_OK;
}

/* ------------------------------------------------------------------------------------------------------------ fields */

/* A field of up to 56 bits; like the range coder's, a buffer without 8 bytes to spare is full. */
static inline void put_wide(bit_writer *w, uint64_t value, unsigned width) {
  w->pending |= value << w->pending_bits;
  width += w->pending_bits;
  if (w->size + 8 > w->capacity) {
    w->error = TSLT_NO_SPACE;
    w->pending = 0;
    w->pending_bits = 0;
    return;
  }
  store_le64(w->out + w->size, w->pending);
  w->size += width >> 3;
  w->pending >>= width & ~7u;
  w->pending_bits = width & 7;
}

int tslt_plain_fields(plain_bits *p, uint32_t *codes, uint32_t count, unsigned width) {
  if (p->reads)
    return tslt_get_array(&p->in, codes, count, width);
  for (uint32_t i = 0; i < count; i++)
    put_wide(&p->out, codes[i], width);
  return p->out.error;
}

/* Up to 57 bits from bit `at` on; 0 behind the end. */
static inline uint64_t bits_at(const bit_reader *r, uint64_t at) {
  uint64_t byte = at >> 3, bytes = r->end >> 3, value = 0;
  if (byte + 8 <= bytes)
    return load_le64(r->data + byte) >> (at & 7);
  for (unsigned i = 0; byte + i < bytes; i++)
    value |= (uint64_t)r->data[byte + i] << 8 * i;
  return value >> (at & 7);
}

/* -------------------------------------------------------------------------------------------------------------- gaps */

/* k, by 16 times the mean of the gaps before. */
static inline unsigned gap_width(uint32_t mean) { return bit_length(9 * mean >> 7 | 1) - 1; }

static inline uint32_t next_mean(uint32_t mean, uint32_t gap) {
  uint32_t largest = (mean >> 1) + 8;
  return mean - (mean >> 4) + (gap < largest ? gap : largest);
}

/* A gap of GAP_STEPS steps or more; how many bits it has to `used`.  Returns an error. */
static int read_long_gap(const bit_reader *r, uint64_t at, unsigned k, uint32_t *gap, unsigned *used) {
  uint64_t bits = bits_at(r, at), left = r->end - at;
  unsigned most = GAP_STEPS + GAP_BITS - k, zeros = bits ? lowest_bit(bits) : 64;
  if (zeros > most)
    return left <= most ? TSLT_TRUNCATED : TSLT_BAD_LIST;
  unsigned more = zeros - GAP_STEPS, width = k + more;
  *gap = ((GAP_STEPS - 1 + (1u << more)) << k) + ((uint32_t)(bits >> zeros >> 1) & ((1u << width) - 1));
  *used = zeros + 1 + width;
  return TSLT_OK;
}

static int read_gaps(bit_reader *r, int32_t *places, uint32_t count, uint32_t free) {
  enum { AT_ONCE = 2 }; /* as the sum of gaps is below 2^20, k is below 20: short gaps have at most 26 bits */
  uint32_t mean = free / 2 / count, next = 0, gap, i = 0;
  uint64_t at = r->at;
  while (i < count) {
    uint64_t bits = bits_at(r, at);
    for (unsigned j = 0; j < AT_ONCE && i < count; j++) {
      unsigned k = gap_width(mean), used;
      if (bits & ((1u << GAP_STEPS) - 1)) {
        unsigned zeros = lowest_bit(bits);
        gap = (zeros << k) + ((uint32_t)(bits >> zeros >> 1) & ((1u << k) - 1));
        used = zeros + 1 + k;
        bits >>= used;
      } else {
        int error = read_long_gap(r, at, k, &gap, &used);
        if (error)
          return error;
        j = AT_ONCE;
      }
      at += used;
      next += gap;
      if (at > r->end)
        return TSLT_TRUNCATED;
      if (next >= free)
        return TSLT_BAD_LIST;
      places[i++] = (int32_t)next++;
      mean = next_mean(mean, gap);
    }
  }
  r->at = at;
  return TSLT_OK;
}

static int write_gaps(bit_writer *w, const int32_t *places, uint32_t count, uint32_t free) {
  uint32_t mean = free / 2 / count, next = 0;
  for (uint32_t i = 0; i < count; i++) {
    unsigned k = gap_width(mean);
    uint32_t gap = (uint32_t)places[i] - next, steps = gap >> k;
    if (steps < GAP_STEPS) {
      uint64_t rest = gap & ((1u << k) - 1);
      put_wide(w, (1 | rest << 1) << steps, steps + 1 + k);
    } else {
      unsigned more = bit_length(steps - (GAP_STEPS - 1)) - 1;
      uint64_t rest = gap - ((GAP_STEPS - 1 + (1u << more)) << k);
      put_wide(w, (1 | rest << 1) << (GAP_STEPS + more), GAP_STEPS + 2 * more + 1 + k);
    }
    next = (uint32_t)places[i] + 1;
    mean = next_mean(mean, gap);
  }
  return w->error;
}

int tslt_plain_gaps(plain_bits *p, int32_t *places, uint32_t count, uint32_t free) {
  return p->reads ? read_gaps(&p->in, places, count, free) : write_gaps(&p->out, places, count, free);
}

/* ----------------------------------------------------------------------------------------------------------- symbols */

/* The codes, first bit lowest, of each length in turn and in it of each level; returns the greatest length. */
static unsigned prefix_codes(const uint8_t *lengths, unsigned levels, uint16_t *codes) {
  unsigned of_length[MAX_LENGTH + 2] = {0}, next[MAX_LENGTH + 2], longest = 0;
  for (unsigned level = 0; level < levels; level++)
    of_length[lengths[level]]++;
  of_length[0] = 0;
  next[0] = 0;
  for (unsigned length = 1; length <= MAX_LENGTH; length++) {
    next[length] = (next[length - 1] + of_length[length - 1]) << 1;
    if (of_length[length])
      longest = length;
  }
  for (unsigned level = 0; level < levels; level++) {
    unsigned length = lengths[level], code = length ? next[length]++ : 0, turned = 0;
    for (unsigned i = 0; i < length; i++)
      turned |= (code >> i & 1) << (length - 1 - i);
    codes[level] = (uint16_t)turned;
  }
  return longest;
}

static int read_symbols(bit_reader *r, uint32_t *codes, uint32_t count, const uint8_t *lengths, unsigned levels) {
  enum { LENGTH_BITS = 6 }; /* a shift needs no more of an entry: its lowest 6 bits count */
  uint16_t code_of[MOST_LEVELS], table[1 << MAX_LENGTH];
  unsigned longest = prefix_codes(lengths, levels, code_of);
  for (unsigned level = 0; level < levels; level++)
    if (lengths[level])
      for (unsigned i = code_of[level]; i < 1u << longest; i += 1u << lengths[level])
        table[i] = (uint16_t)(level << LENGTH_BITS | lengths[level]);
  uint64_t mask = ((uint64_t)1 << longest) - 1, at = r->at;
  uint32_t i = 0;
  for (; i + 4 <= count; i += 4) {
    uint64_t bits = bits_at(r, at);
    for (unsigned j = 0; j < 4; j++) {
      unsigned entry = table[bits & mask];
      codes[i + j] = entry >> LENGTH_BITS;
      bits >>= entry & 63;
      at += entry & 63;
    }
  }
  for (; i < count; i++) {
    unsigned entry = table[bits_at(r, at) & mask];
    codes[i] = entry >> LENGTH_BITS;
    at += entry & 63;
  }
  if (at > r->end)
    return TSLT_TRUNCATED;
  r->at = at;
  return TSLT_OK;
}

int tslt_plain_symbols(plain_bits *p, uint32_t *codes, uint32_t count, const uint8_t *lengths, unsigned levels) {
  if (p->reads)
    return read_symbols(&p->in, codes, count, lengths, levels);
  uint16_t code_of[MOST_LEVELS];
  prefix_codes(lengths, levels, code_of);
  uint32_t i = 0;
  for (; i + 4 <= count; i += 4) {
    uint64_t value = 0;
    unsigned width = 0;
    for (unsigned j = 0; j < 4; j++) {
      value |= (uint64_t)code_of[codes[i + j]] << width;
      width += lengths[codes[i + j]];
    }
    put_wide(&p->out, value, width);
  }
  for (; i < count; i++)
    put_wide(&p->out, code_of[codes[i]], lengths[codes[i]]);
  return p->out.error;
}
