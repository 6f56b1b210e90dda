/* The ends of the range coder, and what happens rarely. */
#include "range.h"

void tslt_range_write_start(range_coder *c, uint8_t *out, size_t capacity) {
  *c = (range_coder){.range = UINT64_MAX, .out = out, .size = capacity};
}

void tslt_range_read_start(range_coder *c, const uint8_t *data, size_t size) {
  *c = (range_coder){.reads = true, .range = UINT64_MAX, .in = data, .size = size, .at = WINDOW_BYTES};
  for (size_t i = 0; i < WINDOW_BYTES; i++)
    c->low = c->low << 8 | (i < size ? data[i] : 0);
}

void tslt_range_carry(uint8_t *out, size_t at) {
  /* All that was written is below 1, so that a carry ends at a byte that is there. */
  while (++out[--at] == 0) {
  }
}

range_coder tslt_range_read_slowly(range_coder c, unsigned bytes) {
  for (; bytes; bytes--) {
    if (c.at >= c.size + WINDOW_BYTES) {
      range_fail(&c, TSLT_TRUNCATED);
      c.low = 0;
      c.range = UINT64_MAX;
      break;
    }
    c.low = c.low << 8 | (c.at < c.size ? c.in[c.at] : 0);
    c.range <<= 8;
    c.at++;
  }
  return c;
}

/* The shortest ending in [low, low + range): how many bytes of the window; `up` is what must be added to low.  All in
 * arithmetic modulo 2^64, where low + up may be 2^64, written 0.  A range has RANGE_LEAST or more, so one byte will do. */
static unsigned ending(uint64_t low, uint64_t range, uint64_t *up) {
  *up = 0 - low;
  if (*up < range)
    return 0;
  *up &= RANGE_LEAST - 1;
  return 1;
}

int tslt_range_write_finish(range_coder *c, size_t *size) {
  uint64_t up;
  unsigned count = ending(c->low, c->range, &up);
  uint64_t value = c->low + up;
  if (value < up)
    tslt_range_carry(c->out, c->at);
  size_t length = c->at + count;
  if (c->at + WINDOW_BYTES > c->size || c->least > c->size)
    return TSLT_NO_SPACE;
  store_be64(c->out + c->at, value);
  if (length < c->least) {
    memset(c->out + length, 0, c->least - length);
    length = c->least;
  }
  *size = length;
  return TSLT_OK;
}

int tslt_range_read_finish(range_coder *c) {
  uint64_t window = 0, up;
  for (size_t i = c->at - WINDOW_BYTES; i < c->at; i++)
    window = window << 8 | (i < c->size ? c->in[i] : 0);
  unsigned count = ending(window - c->low, c->range, &up);
  size_t size = c->at - WINDOW_BYTES + count;
  if (size < c->least)
    size = c->least;
  if (c->size > size)
    return TSLT_TRAILING_BYTES;
  /* low + up and the window are both in the interval, so they are equal if they are so modulo 2^64.  Bytes that are not
   * there were read as zeros, which end with no byte: they are no fewer than `size`. */
  if (up != c->low)
    return TSLT_NON_CANONICAL;
  for (size_t i = c->at; i < c->size; i++)
    if (c->in[i])
      return TSLT_NON_CANONICAL;
  return TSLT_OK;
}
