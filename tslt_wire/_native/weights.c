/* Codes and weights: spec sections 4.1 to 4.3. */
#include "weights.h"

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
  bool good = true, zero = false;
  for (size_t i = 0; i < count; i++) {
    int64_t weight = tslt_float_weight(precision, codes[i]);
    zero |= codes[i] == 0;
    good &= weight > 0;
    weights[i] = good ? weight : 1;
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
    if (tslt_float_weight(precision, list->codes[i]) <= 0)
      return false;
  }
  return true;
}
