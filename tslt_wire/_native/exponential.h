/* Powers and logarithms of binary64 basic operations alone: every machine gets the same bits, and compilers make vectors of it. */
#ifndef TSLT_EXPONENTIAL_H
#define TSLT_EXPONENTIAL_H

#include <stdint.h>
#include <string.h>

/* Below this a power of 2 is 0 here: 2^-1021 is no subnormal number, which some machines treat as 0. */
#define TSLT_LEAST_EXPONENT (-1021.0)
/* Added to y it leaves y in 256ths, rounded, in the low bits. */
#define TSLT_IN_256THS 0x1.8p44
/* (2^f - 1) / f for |f| <= 1/512, Chebyshev: 2^f is within 5e-18 of itself, but for rounding. */
#define TSLT_POWER_0 0x1.62e42fefa39d9p-1
#define TSLT_POWER_1 0x1.ebfbdff82c585p-3
#define TSLT_POWER_2 0x1.c6b0902b5a0abp-5
#define TSLT_POWER_3 0x1.3b2ab83eadfb0p-7

/* Powers of 2 of 0, 1, ..., 15 sixteenths, and 256ths. */
extern const double tslt_sixteenths[16], tslt_256ths[16];

/* 2^y for y < 1000, to a few units of the last place; 0 from TSLT_LEAST_EXPONENT on down; NaN for NaN. */
static inline double tslt_exp2(double y) {
  /* 2^y = 2^k 2^(j / 256) 2^f: the low bits of `shifted` have 256 k + j, and the difference is exact. */
  double shifted = y + TSLT_IN_256THS, f = y - (shifted - TSLT_IN_256THS);
  double rest = ((TSLT_POWER_3 * f + TSLT_POWER_2) * f + TSLT_POWER_1) * f + TSLT_POWER_0;
  uint64_t bits, power;
  memcpy(&bits, &shifted, sizeof bits);
  double scaled = tslt_256ths[bits & 15] * tslt_sixteenths[bits >> 4 & 15];
  memcpy(&power, &scaled, sizeof power);
  power += bits >> 8 << 52;
  memcpy(&scaled, &power, sizeof scaled);
  return !(y <= TSLT_LEAST_EXPONENT) ? scaled + scaled * (rest * f) : 0.0;
}

/* -ln(u) for 0 < u <= 1, u no subnormal number. */
static inline double tslt_arrival(double u) {
  uint64_t bits;
  memcpy(&bits, &u, sizeof bits);
  int64_t exponent = (int64_t)(bits >> 52) - 1023;
  bits = (bits & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000;
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent++;
  }
  /* ln(m) = 2 atanh(f); f^2 <= 0.0295, so that eleven terms are enough. */
  double f = (m - 1) / (m + 1), s = f * f, sum = 1.0 / 21;
  for (int odd = 19; odd > 0; odd -= 2)
    sum = sum * s + 1.0 / odd;
  return -(2 * f * sum) - (double)exponent * 0.6931471805599453;
}

#endif
