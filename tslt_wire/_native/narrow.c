/* Numbers of 16 bits, many at a time. */
#include "narrow.h"

#include "clones.h"
#include "tslt_wire.h"

#if defined(TSLT_GATHERS)
#include <immintrin.h>

/* The same conversion in one step, of a multiple of 16 numbers. */
__attribute__((target("avx512f"))) static void widen_halves_512(const uint16_t *x, size_t count, float *out) {
  for (size_t i = 0; i < count; i += 16)
    _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(x + i))));
}
#endif

static void widen_halves(const uint16_t *x, size_t count, float *out) {
  size_t i = 0;
#if defined(TSLT_GATHERS)
  if (__builtin_cpu_supports("avx512f")) {
    i = count & ~(size_t)15;
    widen_halves_512(x, i, out);
  }
#endif
  for (; i < count; i++)
    out[i] = tslt_half_value(x[i]);
}

TSLT_CLONES
static void widen_bfloats(const uint16_t *restrict x, size_t count, float *restrict out) {
  for (size_t i = 0; i < count; i++)
    out[i] = tslt_bfloat_value(x[i]);
}

void tslt_widen(const uint16_t *narrow, int dtype, size_t count, float *wide) {
  if (dtype == TSLT_FLOAT16)
    widen_halves(narrow, count, wide);
  else
    widen_bfloats(narrow, count, wide);
}
