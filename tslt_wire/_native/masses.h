/* tslt_mass of many numbers at once: two table look-ups and a product each.  Compilers that tune for no machine in
 * particular do not use the gathers of vector units, so these are written out. */
#ifndef TSLT_MASSES_H
#define TSLT_MASSES_H

#include "weights.h"

static inline uint32_t mass_of_steps(int32_t steps) {
  uint64_t product = (uint64_t)tslt_coarse[steps >> 8 & 255] * tslt_fine[steps & 255];
  /* The upper half first: 32 of the places that are shifted out.  It has 30 bits. */
  uint32_t upper = (uint32_t)(product >> 32), octaves = (uint32_t)steps >> 16;
  return octaves < 31 ? upper >> octaves : 0;
}

#if defined(TSLT_GATHERS)
#include <immintrin.h>

__attribute__((target("avx512f"))) static void masses_512(const int32_t *steps, uint32_t *masses) {
  __m512i s = _mm512_loadu_si512(steps), low = _mm512_set1_epi32(255);
  __m512i a = _mm512_i32gather_epi32(_mm512_and_si512(_mm512_srli_epi32(s, 8), low), tslt_coarse, 4);
  __m512i b = _mm512_i32gather_epi32(_mm512_and_si512(s, low), tslt_fine, 4);
  __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(a, b), 32);
  __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
  __m512i upper = _mm512_mask_blend_epi32(0xAAAA, even, odd);
  _mm512_storeu_si512(masses, _mm512_srlv_epi32(upper, _mm512_srli_epi32(s, 16)));
}

__attribute__((target("avx2"))) static void masses_256(const int32_t *steps, uint32_t *masses) {
  __m256i s = _mm256_loadu_si256((const __m256i *)(const void *)steps), low = _mm256_set1_epi32(255);
  __m256i a = _mm256_i32gather_epi32((const int *)tslt_coarse, _mm256_and_si256(_mm256_srli_epi32(s, 8), low), 4);
  __m256i b = _mm256_i32gather_epi32((const int *)tslt_fine, _mm256_and_si256(s, low), 4);
  __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(a, b), 32);
  __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
  __m256i upper = _mm256_blend_epi32(even, odd, 0xAA);
  _mm256_storeu_si256((__m256i *)(void *)masses, _mm256_srlv_epi32(upper, _mm256_srli_epi32(s, 16)));
}
#endif

/* Masses by how many 65536ths of an octave a number is below the largest one. */
static void masses_of_steps(const int32_t *steps, size_t count, uint32_t *masses) {
  size_t i = 0;
#if defined(TSLT_GATHERS)
  if (__builtin_cpu_supports("avx512f"))
    for (; i + 16 <= count; i += 16)
      masses_512(steps + i, masses + i);
  else if (__builtin_cpu_supports("avx2"))
    for (; i + 8 <= count; i += 8)
      masses_256(steps + i, masses + i);
#endif
  for (; i < count; i++)
    masses[i] = mass_of_steps(steps[i]);
}

#endif
