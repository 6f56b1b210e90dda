/* Powers and logarithms of binary64 basic operations alone: every machine gets the same bits, and compilers make vectors of it. */
#ifndef TSLT_EXPONENTIAL_H
#define TSLT_EXPONENTIAL_H

#include <stdint.h>
#include <string.h>

/* Below this a power of 2 is 0 here: 2^-1021 is no subnormal number, which some machines treat as 0. */
#define TSLT_LEAST_EXPONENT (-1021.0)

/* 2^y for y <= 0, to a few units of the last place; 0 below TSLT_LEAST_EXPONENT. */
static inline double tslt_exp2(double y) {
  /* 2^y = 2^k 2^f with |f| <= 1/2; adding 1.5 * 2^52 leaves k in the low bits, and the difference is exact. */
  double c = y > TSLT_LEAST_EXPONENT ? y : TSLT_LEAST_EXPONENT, shifted = c + 0x1.8p52, f = c - (shifted - 0x1.8p52);
  /* (2^f - 1) / f, Chebyshev, within 9e-16. */
  double e = 0x1.e5e9f550503fcp-28;
  e = e * f + 0x1.b6571deaf97c8p-24;
  e = e * f + 0x1.62bfe4611405ap-20;
  e = e * f + 0x1.ffcb7678915a9p-17;
  e = e * f + 0x1.430913037846ep-13;
  e = e * f + 0x1.5d87fe908f8a8p-10;
  e = e * f + 0x1.3b2ab6fba385fp-7;
  e = e * f + 0x1.c6b08d7044119p-5;
  e = e * f + 0x1.ebfbdff82c590p-3;
  e = e * f + 0x1.62e42fefa39f7p-1;
  e = e * f + 1.0;
  uint64_t bits;
  double scale;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 1023) << 52;
  memcpy(&scale, &bits, sizeof scale);
  return y > TSLT_LEAST_EXPONENT ? e * scale : 0.0;
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
