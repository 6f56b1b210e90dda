/* Which numbers reach a border, 16 at a time and without a branch: where they are cannot be guessed. */
#ifndef TSLT_COLLECT_H
#define TSLT_COLLECT_H

#include <stddef.h>
#include <stdint.h>

#if defined(TSLT_GATHERS)
#include <immintrin.h>

/* Places of the numbers that are at least `border`, of the first `count`, a multiple of 16; how many.  There is room for
 * 16 more. */
__attribute__((target("avx512f,popcnt"))) static size_t collect_512(const float *x, size_t count, float border,
                                                                    uint32_t *places) {
  __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  size_t found = 0;
  for (size_t i = 0; i < count; i += 16) {
    __mmask16 reach = _mm512_cmp_ps_mask(_mm512_loadu_ps(x + i), _mm512_set1_ps(border), _CMP_GE_OQ);
    _mm512_storeu_si512(places + found, _mm512_maskz_compress_epi32(reach, at));
    found += (size_t)__builtin_popcount(reach);
    at = _mm512_add_epi32(at, _mm512_set1_epi32(16));
  }
  return found;
}
#endif

/* The same for the numbers that this machine can do quickly: how many numbers to `done`. */
static size_t collect_wide(const void *x, size_t size, size_t count, double border, uint32_t *places, size_t *done) {
#if defined(TSLT_GATHERS)
  if (size == sizeof(float) && __builtin_cpu_supports("avx512f")) {
    *done = count & ~(size_t)15;
    return collect_512(x, *done, (float)border, places);
  }
#endif
  (void)x, (void)size, (void)count, (void)border, (void)places;
  *done = 0;
  return 0;
}

#endif
