/* Passes over a block of scores, for REAL numbers; included once for each kind.  `count` is a multiple of MAX_LANES. */

/* The largest, and whether one is no number. */
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

/* Weights of scores; their sum. */
TSLT_CLONES
static double NAME(weigh)(const REAL *restrict x, size_t count, double top, double scale, double *restrict weights) {
  for (size_t i = 0; i < count; i++)
    weights[i] = tslt_exp2(((double)x[i] - top) * scale);
  return tslt_block_sum(weights);
}

#undef REAL
#undef NAME
