/* Numbers of 16 bits, binary16 and bfloat16, as binary32: exact, and the same for all that reads them. */
#ifndef TSLT_NARROW_H
#define TSLT_NARROW_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Binary16, without a branch. */
static inline float tslt_half_value(uint16_t half) {
  uint32_t magnitude = half & 0x7FFFu, sign = (uint32_t)(half & 0x8000u) << 16;
  /* Exponents differ by 112; that of infinities and NaN is all ones in both.  A subnormal number is a whole number of
   * 2^-24: what is added to its bits is that number's exponent, and is taken off again. */
  uint32_t bits = (magnitude << 13) + (magnitude >= 0x7C00u ? 0x70000000u : 0x38000000u);
  uint32_t small = (magnitude << 13) + 0x38800000u;
  float value, whole;
  memcpy(&value, &bits, sizeof value);
  memcpy(&whole, &small, sizeof whole);
  value = magnitude < 0x400u ? whole - 0x1p-14f : value;
  memcpy(&bits, &value, sizeof bits);
  bits |= sign;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float tslt_bfloat_value(uint16_t upper) {
  uint32_t bits = (uint32_t)upper << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* `count` of them; `dtype` is TSLT_FLOAT16 or TSLT_BFLOAT16. */
void tslt_widen(const uint16_t *narrow, int dtype, size_t count, float *wide);

#endif
