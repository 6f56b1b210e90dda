/* Codes and weights: spec sections 4.1 to 4.3. */
#include "weights.h"

#include "narrow.h"

static double single_value(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline int64_t log_weight(uint32_t code, unsigned scale) {
  return tslt_log_table[(code & ((1u << scale) - 1)) << (4 - scale)] >> (code >> scale & 31);
}

static bool weigh_log(int precision, const uint32_t *codes, size_t count, int64_t *weights) {
  enum { CODES = 512 }; /* more than there are */
  unsigned scale = log_scale(precision);
  uint32_t top = 0, least = UINT32_MAX;
  int64_t table[CODES];
  bool many = count > CODES;
  for (uint32_t code = 0; many && code < CODES; code++)
    table[code] = log_weight(code, scale);
  for (size_t i = 0; i < count; i++) {
    uint32_t code = codes[i];
    top = code > top ? code : top;
    least = code < least ? code : least;
    weights[i] = many ? table[code % CODES] : log_weight(code, scale);
  }
  return least == 0 && top <= max_code(precision);
}

bool tslt_weigh(int precision, const uint32_t *codes, size_t count, int64_t *weights) {
  if (is_log(precision))
    return weigh_log(precision, codes, count, weights);
  uint32_t sign = precision == TSLT_F32 ? 0x80000000u : 0x8000u;
  uint32_t infinity = precision == TSLT_F32 ? 0xFF800000u : precision == TSLT_F16 ? 0xFC00u : 0xFF80u;
  bool good = true, zero = false;
  for (size_t i = 0; i < count; i++) {
    uint32_t code = codes[i];
    zero |= code == 0;
    good &= code == 0 || (code > sign && code < infinity);
    double x = precision == TSLT_F16   ? (double)tslt_half_value((uint16_t)code)
               : precision == TSLT_F32 ? single_value(code)
                                       : (double)tslt_bfloat_value((uint16_t)code);
    weights[i] = good ? tslt_mass(x) : 1;
    good &= weights[i] > 0;
  }
  return good && zero;
}

bool tslt_list_ok(uint32_t vocab_size, int precision, const tslt_list *list, bool has_prior) {
  if (list->count < 1 || list->count > vocab_size || list->tail > 31)
    return false;
  if (list->tail && (!has_prior || list->count == vocab_size))
    return false;
  int64_t last = -1;
  bool good = true;
  for (uint32_t i = 0; i < list->count; i++) {
    good &= list->ids[i] > last;
    last = list->ids[i];
  }
  if (!good || last >= (int64_t)vocab_size)
    return false;
  uint32_t top = 0, least = UINT32_MAX;
  for (uint32_t i = 0; i < list->count; i++) {
    uint32_t code = list->codes[i];
    top = code > top ? code : top;
    least = code < least ? code : least;
  }
  if (least != 0)
    return false;
  if (is_log(precision))
    return top <= max_code(precision);
  for (uint32_t i = 0; i < list->count; i++) {
    uint32_t codes[2] = {0, list->codes[i]};
    int64_t weights[2];
    if (!tslt_weigh(precision, codes, 2, weights))
      return false;
  }
  return true;
}
