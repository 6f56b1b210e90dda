/* Codes and weights, the parts that are worth inlining. */
#ifndef TSLT_WEIGHTS_H
#define TSLT_WEIGHTS_H

#include "internal.h"

#define TSLT_LOG2_E 1.4426950408889634

/* Spec [PREC-3]: the weight of a shifted logit (<= 0).  The casts are floor, because nothing is negative. */
static inline int64_t tslt_mass(double shifted) {
  double y = -shifted < 64.0 ? -shifted : 64.0;
  uint32_t n = (uint32_t)(int32_t)(y * TSLT_LOG2_E * 65536.0 + 0.5);
  uint64_t product = (uint64_t)tslt_coarse[n >> 8 & 255] * tslt_fine[n & 255];
  unsigned octaves = (n >> 16) + 32;
  return (int64_t)(product >> (octaves < 63 ? octaves : 63));
}

double tslt_half_value(uint32_t code);
double tslt_single_value(uint32_t bits);

#endif
