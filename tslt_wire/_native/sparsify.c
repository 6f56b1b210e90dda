/* Logits to lists: truncate, quantise (spec section 4).  Binary64 basic operations and integers alone. */
#include "clones.h"

#include <math.h>

#include "collect.h"
#include "masses.h"
#include "narrow.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { DIGIT_BITS = 8, DIGITS = 1 << DIGIT_BITS, SELECT_LANES = 32, MASS_STEP = 256 };

/* Binary16 of a number <= 0, to nearest, ties to even; +0.0 for what rounds to zero. */
static uint32_t half_code(double x) {
  double a = -x;
  uint64_t bits;
  if (a >= 65520)
    return 0xFC00;
  if (a < 1.0 / 16384) {
    /* Subnormal: whole 2^-24ths.  Adding 2^52 rounds to whole numbers. */
    uint32_t fraction = (uint32_t)(a * 16777216 + 4503599627370496.0 - 4503599627370496.0);
    return fraction ? 0x8000 | fraction : 0;
  }
  memcpy(&bits, &a, sizeof bits);
  bits += 0x1FFFFFFFFFF + (bits >> 42 & 1);
  return 0x8000 | (uint32_t)((bits >> 42) - ((uint64_t)(1023 - 15) << 10));
}

static uint32_t single_code(double x) {
  float value = (float)(x > -3.0e38 ? x : -3.0e38);
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return value == 0 ? 0 : bits;
}

/* Code of a shifted logit (<= 0) for a float precision. */
static uint32_t float_code(int precision, double shifted) {
  if (precision == TSLT_F16)
    return half_code(shifted);
  uint32_t code = single_code(shifted);
  if (precision == TSLT_F32)
    return code;
  code = (code + 0x7FFF + (code >> 16 & 1)) >> 16;
  return code == 0x8000 ? 0 : code;
}

/* Leave out entries whose weight would be 0: they cannot be sampled.  Returns how many stay. */
static uint32_t drop_weightless(int precision, int32_t *ids, uint32_t *codes, int64_t *weights, uint32_t count) {
  if (is_log(precision) && tslt_weigh(precision, codes, count, weights))
    return count; /* no code is above the largest */
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t both[2] = {0, codes[i]};
    int64_t weighed[2], weight = 0;
    if (!is_log(precision))
      weight = tslt_float_weight(precision, codes[i]);
    else if (tslt_weigh(precision, both, 2, weighed))
      weight = weighed[1];
    ids[kept] = ids[i];
    codes[kept] = codes[i];
    weights[kept] = weight;
    kept += weight > 0;
  }
  return kept;
}

/* How many of the largest masses reach `target` together, counted from the largest. */
static uint32_t count_to(uint32_t *masses, size_t count, uint64_t target) {
  uint32_t histogram[DIGITS], before = 0;
  uint64_t sums[DIGITS];
  for (int shift = 24; shift >= 0; shift -= DIGIT_BITS) {
    memset(histogram, 0, sizeof histogram);
    memset(sums, 0, sizeof sums);
    for (size_t i = 0; i < count; i++) {
      unsigned digit = masses[i] >> shift & (DIGITS - 1);
      histogram[digit]++;
      sums[digit] += masses[i];
    }
    unsigned digit = DIGITS - 1;
    while (digit && sums[digit] < target) {
      before += histogram[digit];
      target -= sums[digit--];
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
      uint32_t mass = masses[i];
      masses[kept] = mass;
      kept += (mass >> shift & (DIGITS - 1)) == digit;
    }
    count = kept;
  }
  /* All that are left are equal. */
  return before + (uint32_t)(count && masses[0] ? (target + masses[0] - 1) / masses[0] : count);
}

/* The smallest whole number that is at least x >= 0. */
static uint64_t ceiling(double x) {
  uint64_t floor = (uint64_t)x;
  return floor + ((double)floor < x);
}

TSLT_CLONES
static uint64_t sum_from(const uint32_t *masses, size_t count, uint32_t border) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++)
    sum += masses[i] >= border ? masses[i] : 0;
  return sum;
}

TSLT_CLONES
static uint32_t count_from(const uint32_t *masses, size_t count, uint32_t border) {
  uint32_t found = 0;
  for (size_t i = 0; i < count; i++)
    found += masses[i] >= border;
  return found;
}

/* How many tokens the rules keep that go by probability, each at least one; -1 if there is no memory.  Masses and their
 * sums are whole, so a rule's real number can be rounded up to one. */
static int64_t count_by_mass(tslt_context *context, const uint32_t *masses, uint32_t count, uint64_t total,
                             const tslt_truncation *rule) {
  uint32_t n = count;
  if (rule->min_prob > 0) {
    uint64_t least = ceiling(rule->min_prob * (double)total);
    uint32_t enough = least > UINT32_MAX ? 0 : count_from(masses, count, (uint32_t)least);
    n = enough ? enough : 1;
  }
  if (rule->top_p < 1) {
    uint64_t target = ceiling(rule->top_p * (double)total);
    uint32_t border = 1u << 26, *large = tslt_reserve(&context->keys32, (size_t)count + 1, sizeof *large);
    if (!large)
      return -1;
    while (border && sum_from(masses, count, border) < target)
      border >>= 4;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
      large[kept] = masses[i];
      kept += masses[i] >= border;
    }
    uint32_t reached = count_to(large, kept, target);
    n = reached < n ? reached : n;
  }
  return n;
}

/* A bit for each of 16 numbers that is at least `border`. */
static inline unsigned reaching_single(const float *x, float border) {
#if defined(__SSE2__)
  __m128 all = _mm_set1_ps(border);
  __m128i a = _mm_castps_si128(_mm_cmpge_ps(_mm_loadu_ps(x), all));
  __m128i b = _mm_castps_si128(_mm_cmpge_ps(_mm_loadu_ps(x + 4), all));
  __m128i c = _mm_castps_si128(_mm_cmpge_ps(_mm_loadu_ps(x + 8), all));
  __m128i d = _mm_castps_si128(_mm_cmpge_ps(_mm_loadu_ps(x + 12), all));
  return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d)));
#else
  unsigned bits = 0;
  for (unsigned i = 0; i < 16; i++)
    bits |= (unsigned)(x[i] >= border) << i;
  return bits;
#endif
}

static inline unsigned reaching_double(const double *x, double border) {
  unsigned bits = 0;
#if defined(__SSE2__)
  __m128d all = _mm_set1_pd(border);
  for (unsigned i = 0; i < 16; i += 2)
    bits |= (unsigned)_mm_movemask_pd(_mm_cmpge_pd(_mm_loadu_pd(x + i), all)) << i;
#else
  for (unsigned i = 0; i < 16; i++)
    bits |= (unsigned)(x[i] >= border) << i;
#endif
  return bits;
}

#define REAL float
#define KEY uint32_t
#define SKEY int32_t
#define NAME(word) word##_single
#include "select.h"

#define REAL double
#define KEY uint64_t
#define SKEY int64_t
#define NAME(word) word##_double
#include "select.h"

static int one_row(tslt_context *context, const uint8_t *row, int dtype, uint32_t vocab_size,
                   const tslt_sparsify_options *options, tslt_list *list) {
  if (dtype == TSLT_FLOAT64)
    return sparsify_double(context, (const double *)(const void *)row, vocab_size, options, list);
  if (dtype == TSLT_FLOAT32)
    return sparsify_single(context, (const float *)(const void *)row, vocab_size, options, list);
  float *wide = tslt_reserve(&context->logits, vocab_size, sizeof *wide);
  if (!wide)
    return TSLT_NO_MEMORY;
  tslt_widen((const uint16_t *)(const void *)row, dtype, vocab_size, wide);
  return sparsify_single(context, wide, vocab_size, options, list);
}

int tslt_sparsify(tslt_context *context, const void *logits, int dtype, uint32_t vocab_size, size_t rows,
                  size_t row_bytes, const tslt_sparsify_options *options, tslt_list *lists) {
  const tslt_truncation *rule = &options->truncation;
  if (vocab_size < 1 || vocab_size > TSLT_MAX_VOCAB_SIZE || dtype < TSLT_FLOAT32 || dtype > TSLT_BFLOAT16 ||
      options->precision < TSLT_F32 || options->precision > TSLT_LOG2_4 || !(options->temperature >= 0) ||
      options->temperature - options->temperature != 0 || !(options->tail_scale >= 0 && options->tail_scale <= 1))
    return TSLT_BAD_ARGUMENT;
  if (options->truncate && (!(rule->top_p > 0) || !(rule->min_prob >= 0 && rule->min_prob <= 1)))
    return TSLT_BAD_ARGUMENT;
  context->entries = 0;
  for (size_t i = 0; i < rows; i++) {
    int error = one_row(context, (const uint8_t *)logits + i * row_bytes, dtype, vocab_size, options, &lists[i]);
    if (error)
      return error;
  }
  uint64_t first = 0;
  for (size_t i = 0; i < rows; i++) {
    tslt_point(context, &lists[i], first);
    first += lists[i].count;
  }
  return TSLT_OK;
}
