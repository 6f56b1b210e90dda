/* Passes over blocks of REAL numbers, included once for each kind.  LOAD_8 and LOAD_4 take so many as doubles into a vector. */

/* The largest, and whether one is no number.  `count` is a multiple of MAX_LANES. */
TSLT_CLONES
static REAL NAME(largest)(const REAL *restrict x, size_t count, int *nan) {
  REAL most[MAX_LANES];
  int32_t bad[MAX_LANES] = {0};
  for (unsigned j = 0; j < MAX_LANES; j++)
    most[j] = x[j];
  for (const REAL *end = x + count; x < end; x += MAX_LANES)
    for (unsigned j = 0; j < MAX_LANES; j++) {
      most[j] = x[j] > most[j] ? x[j] : most[j];
      bad[j] |= x[j] != x[j];
    }
  for (unsigned half = MAX_LANES / 2; half; half /= 2)
    for (unsigned j = 0; j < half; j++) {
      most[j] = most[j + half] > most[j] ? most[j + half] : most[j];
      bad[j] |= bad[j + half];
    }
  *nan |= bad[0];
  return most[0];
}

/* Weights of a block's scores.  The sum of what is no number is none. */
TSLT_CLONES
static double NAME(weights_of)(const REAL *restrict x, double base, double scale, double *restrict weights) {
  for (size_t i = 0; i < ROW_BLOCK; i++)
    weights[i] = tslt_exp2(((double)x[i] - base) * scale);
  return tslt_block_sum(weights);
}

#if defined(TSLT_GATHERS)
/* The same, and the largest number, for several blocks; `weights` may be NULL. */
__attribute__((target("avx512f"))) static void NAME(weigh_512)(const REAL *x, uint32_t blocks, double base, double scale,
                                                               double *maxima, double *sums, double *weights) {
  const __m512d fine_low = _mm512_loadu_pd(tslt_256ths), fine_high = _mm512_loadu_pd(tslt_256ths + 8);
  const __m512d low = _mm512_loadu_pd(tslt_sixteenths), high = _mm512_loadu_pd(tslt_sixteenths + 8);
  const __m512d shift = _mm512_set1_pd(TSLT_IN_256THS), least = _mm512_set1_pd(TSLT_LEAST_EXPONENT);
  for (uint32_t b = 0; b < blocks; b++) {
    __m512d sum = _mm512_setzero_pd(), most = LOAD_8(x);
    for (unsigned i = 0; i < ROW_BLOCK; i += 8, x += 8) {
      __m512d score = LOAD_8(x), y = _mm512_mul_pd(_mm512_sub_pd(score, _mm512_set1_pd(base)), _mm512_set1_pd(scale));
      __m512d shifted = _mm512_add_pd(y, shift), f = _mm512_sub_pd(y, _mm512_sub_pd(shifted, shift));
      __m512d rest = _mm512_add_pd(_mm512_mul_pd(_mm512_set1_pd(TSLT_POWER_3), f), _mm512_set1_pd(TSLT_POWER_2));
      rest = _mm512_add_pd(_mm512_mul_pd(rest, f), _mm512_set1_pd(TSLT_POWER_1));
      rest = _mm512_mul_pd(_mm512_add_pd(_mm512_mul_pd(rest, f), _mm512_set1_pd(TSLT_POWER_0)), f);
      __m512i bits = _mm512_castpd_si512(shifted);
      __m512d power = _mm512_mul_pd(_mm512_permutex2var_pd(fine_low, bits, fine_high),
                                    _mm512_permutex2var_pd(low, _mm512_srli_epi64(bits, 4), high));
      bits = _mm512_slli_epi64(_mm512_srli_epi64(bits, 8), 52);
      power = _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(power), bits));
      __mmask8 counts = _mm512_cmp_pd_mask(y, least, _CMP_NLE_UQ);
      power = _mm512_maskz_add_pd(counts, power, _mm512_mul_pd(power, rest));
      sum = _mm512_add_pd(sum, power);
      most = _mm512_max_pd(score, most); /* the second, where one is no number */
      if (weights)
        _mm512_storeu_pd(weights + (size_t)b * ROW_BLOCK + i, power);
    }
    double lanes[ROW_LANES];
    _mm512_storeu_pd(lanes, sum);
    sums[b] = tslt_lane_sum(lanes);
    maxima[b] = _mm512_reduce_max_pd(most);
  }
}

__attribute__((target("avx2"))) static void NAME(weigh_256)(const REAL *x, uint32_t blocks, double base, double scale,
                                                            double *maxima, double *sums, double *weights) {
  const __m256d shift = _mm256_set1_pd(TSLT_IN_256THS), least = _mm256_set1_pd(TSLT_LEAST_EXPONENT);
  const __m256i nibble = _mm256_set1_epi64x(15);
  for (uint32_t b = 0; b < blocks; b++) {
    __m256d sum[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()}, most = LOAD_4(x);
    for (unsigned i = 0; i < ROW_BLOCK; i += 4, x += 4) {
      __m256d score = LOAD_4(x), y = _mm256_mul_pd(_mm256_sub_pd(score, _mm256_set1_pd(base)), _mm256_set1_pd(scale));
      __m256d shifted = _mm256_add_pd(y, shift), f = _mm256_sub_pd(y, _mm256_sub_pd(shifted, shift));
      __m256d rest = _mm256_add_pd(_mm256_mul_pd(_mm256_set1_pd(TSLT_POWER_3), f), _mm256_set1_pd(TSLT_POWER_2));
      rest = _mm256_add_pd(_mm256_mul_pd(rest, f), _mm256_set1_pd(TSLT_POWER_1));
      rest = _mm256_mul_pd(_mm256_add_pd(_mm256_mul_pd(rest, f), _mm256_set1_pd(TSLT_POWER_0)), f);
      __m256i bits = _mm256_castpd_si256(shifted), high = _mm256_and_si256(_mm256_srli_epi64(bits, 4), nibble);
      __m256d power = _mm256_mul_pd(_mm256_i64gather_pd(tslt_256ths, _mm256_and_si256(bits, nibble), 8),
                                    _mm256_i64gather_pd(tslt_sixteenths, high, 8));
      bits = _mm256_slli_epi64(_mm256_srli_epi64(bits, 8), 52);
      power = _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(power), bits));
      power = _mm256_add_pd(power, _mm256_mul_pd(power, rest));
      power = _mm256_and_pd(power, _mm256_cmp_pd(y, least, _CMP_NLE_UQ));
      sum[i / 4 % 2] = _mm256_add_pd(sum[i / 4 % 2], power);
      most = _mm256_max_pd(score, most);
      if (weights)
        _mm256_storeu_pd(weights + (size_t)b * ROW_BLOCK + i, power);
    }
    double lanes[ROW_LANES];
    _mm256_storeu_pd(lanes, sum[0]);
    _mm256_storeu_pd(lanes + 4, sum[1]);
    sums[b] = tslt_lane_sum(lanes);
    _mm256_storeu_pd(lanes, most);
    for (unsigned i = 1; i < 4; i++)
      lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
    maxima[b] = lanes[0];
  }
}
#endif

static void NAME(weigh)(const REAL *x, uint32_t blocks, double base, double scale, double *maxima, double *sums,
                        double *weights) {
#if defined(TSLT_GATHERS)
  if (__builtin_cpu_supports("avx512f")) {
    NAME(weigh_512)(x, blocks, base, scale, maxima, sums, weights);
    return;
  }
  if (__builtin_cpu_supports("avx2")) {
    NAME(weigh_256)(x, blocks, base, scale, maxima, sums, weights);
    return;
  }
#endif
  double buffer[ROW_BLOCK];
  for (uint32_t b = 0; b < blocks; b++, x += ROW_BLOCK) {
    int nan = 0;
    maxima[b] = (double)NAME(largest)(x, ROW_BLOCK, &nan);
    sums[b] = NAME(weights_of)(x, base, scale, weights ? weights + (size_t)b * ROW_BLOCK : buffer);
  }
}

#undef REAL
#undef NAME
#undef LOAD_8
#undef LOAD_4
