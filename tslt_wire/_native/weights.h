/* Codes and weights, the parts that are worth inlining. */
#ifndef TSLT_WEIGHTS_H
#define TSLT_WEIGHTS_H

#include "bits.h"
#include "context.h"
#include "narrow.h"

#define TSLT_LOG2_E 1.4426950408889634

/* Spec [PREC-3]: the weight of a shifted logit (<= 0).  The casts are floor, because nothing is negative. */
static inline int64_t tslt_mass(double shifted) {
  double y = -shifted < 64.0 ? -shifted : 64.0;
  uint32_t n = (uint32_t)(int32_t)(y * TSLT_LOG2_E * 65536.0 + 0.5);
  uint64_t product = (uint64_t)tslt_coarse[n >> 8 & 255] * tslt_fine[n & 255];
  unsigned octaves = (n >> 16) + 32;
  return (int64_t)(product >> (octaves < 63 ? octaves : 63));
}

static inline bool is_log(int precision) { return precision >= TSLT_LOG2_0; }
static inline unsigned log_scale(int precision) { return (unsigned)(precision - TSLT_LOG2_0); }
static inline uint32_t max_code(int precision) {
  return is_log(precision) ? 30u << log_scale(precision) : precision == TSLT_F32 ? UINT32_MAX : 0xFFFFu;
}
static inline unsigned code_bits(int precision) { return bit_length(max_code(precision)); }

/* The weight of a code of a float precision; 0 for one that is none. */
static inline int64_t tslt_float_weight(int precision, uint32_t code) {
  uint32_t sign = precision == TSLT_F32 ? 0x80000000u : 0x8000u;
  uint32_t infinity = precision == TSLT_F32 ? 0xFF800000u : precision == TSLT_F16 ? 0xFC00u : 0xFF80u;
  if (code && (code <= sign || code >= infinity))
    return 0;
  float value;
  memcpy(&value, &code, sizeof value);
  return tslt_mass(precision == TSLT_F16   ? (double)tslt_half_value((uint16_t)code)
                   : precision == TSLT_F32 ? (double)value
                                           : (double)tslt_bfloat_value((uint16_t)code));
}

/* Weights of `count` codes; false if a code is not one of the precision's, none is 0, or a weight is 0. */
bool tslt_weigh(int precision, const uint32_t *codes, size_t count, int64_t *weights);
bool tslt_list_ok(uint32_t vocab_size, int precision, const tslt_list *list, bool has_prior);

#endif
