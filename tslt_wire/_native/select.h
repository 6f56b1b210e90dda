/* The n largest of V numbers, for one type of number: REAL, with KEY and SKEY, unsigned and signed integers as wide.
 * sparsify.c includes this once for binary32 and once for binary64.
 *
 * A lower bound of the n-th largest comes from the maxima of blocks (n blocks have n numbers that are as large as the
 * n-th of their maxima).  Few numbers reach it, in few blocks: most of a row is read once. */

/* An integer that orders like the number; both zeros are equal. */
static inline KEY NAME(key)(REAL x) {
  KEY bits;
  x += 0;
  memcpy(&bits, &x, sizeof bits);
  return bits ^ (KEY)((KEY)((SKEY)bits >> (8 * sizeof bits - 1)) | (KEY)1 << (8 * sizeof bits - 1));
}

static inline REAL NAME(unkey)(KEY bits) {
  REAL x;
  KEY sign = (KEY)1 << (8 * sizeof bits - 1);
  bits ^= bits & sign ? sign : (KEY)~(KEY)0;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* A key that at least `n` and at most `n + slack` of `count` keys reach, if there is one; else the n-th largest.  Halves
 * the range of keys: counting is one pass of vectors, and no data is moved. */
TSLT_CLONES
static KEY NAME(nth)(const KEY *keys, size_t count, size_t n, size_t slack) {
  KEY low = keys[0], high = keys[0];
  for (size_t i = 1; i < count; i++) {
    low = keys[i] < low ? keys[i] : low;
    high = keys[i] > high ? keys[i] : high;
  }
  /* All reach `low`; at least n reach the answer, less than n the one above it. */
  while (low < high) {
    KEY middle = high - (high - low) / 2, reached = 0;
    for (size_t i = 0; i < count; i++)
      reached += keys[i] >= middle;
    if (reached >= n) {
      low = middle;
      if (reached <= n + slack)
        break;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

/* The largest of so many lanes, which are used up. */
static inline REAL NAME(largest_lane)(REAL *most) {
  for (size_t half = SELECT_LANES / 2; half; half /= 2)
    for (size_t i = 0; i < half; i++)
      most[i] = most[i + half] > most[i] ? most[i + half] : most[i];
  return most[0];
}

/* Maxima of blocks of `rows` numbers; of what is left behind them, one more.  Blocks of SELECT_ROWS follow each other;
 * shorter ones take every SELECT_LANES-th number, as vectors like it.  Returns how many, or 0 if there is a NaN. */
TSLT_CLONES
static size_t NAME(block_maxima)(const REAL *x, size_t count, size_t rows, REAL *maxima) {
  size_t blocks = 0, at = 0, group = rows < SELECT_ROWS ? rows * SELECT_LANES : rows;
  SKEY bad[SELECT_LANES] = {0};
  while (count - at >= group) {
    REAL most[SELECT_LANES];
    for (size_t i = 0; i < SELECT_LANES; i++)
      most[i] = x[at + i];
    for (size_t end = at + group; at < end; at += SELECT_LANES) {
      const REAL *p = x + at;
      for (size_t i = 0; i < SELECT_LANES; i++) {
        most[i] = p[i] > most[i] ? p[i] : most[i];
        bad[i] |= p[i] != p[i];
      }
    }
    if (group == rows) {
      maxima[blocks++] = NAME(largest_lane)(most);
      continue;
    }
    for (size_t i = 0; i < SELECT_LANES; i++)
      maxima[blocks++] = most[i];
  }
  SKEY any = 0;
  if (at < count)
    maxima[blocks++] = x[at];
  for (; at < count; at++) {
    any |= x[at] != x[at];
    maxima[blocks - 1] = x[at] > maxima[blocks - 1] ? x[at] : maxima[blocks - 1];
  }
  for (size_t i = 0; i < SELECT_LANES; i++)
    any |= bad[i];
  return any ? 0 : blocks;
}

/* Places of all numbers that are at least `border`, ascending; how many.  There is room for all of them, and 16 more. */
static size_t NAME(collect_all)(const REAL *x, size_t count, REAL border, uint32_t *places) {
  size_t at, found = collect_wide(x, sizeof *x, count, (double)border, places, &at);
  for (; at + 16 <= count; at += 16)
    for (unsigned bits = NAME(reaching)(x + at, border); bits; bits &= bits - 1)
      places[found++] = (uint32_t)at + lowest_bit(bits);
  for (; at < count; at++) {
    places[found] = (uint32_t)at;
    found += x[at] >= border;
  }
  return found;
}

/* Of `count` ascending places those of the `n` largest numbers, ties to the lowest places; the n-th largest is returned. */
static REAL NAME(keep)(const REAL *x, uint32_t *places, size_t count, size_t n, KEY *keys) {
  for (size_t i = 0; i < count; i++)
    keys[i] = NAME(key)(x[places[i]]);
  REAL border = NAME(unkey)(NAME(nth)(keys, count, n, 0));
  size_t above = 0, kept = 0;
  for (size_t i = 0; i < count; i++)
    above += x[places[i]] > border;
  size_t ties = n - above;
  for (size_t i = 0; i < count && kept < n; i++) {
    uint32_t place = places[i];
    bool tie = x[place] == border && ties > 0;
    ties -= tie;
    places[kept] = place;
    kept += tie || x[place] > border;
  }
  return border;
}

/* The largest number to `top`; TSLT_BAD_LOGITS if it is not finite or there is a NaN. */
static int NAME(top)(tslt_context *context, const REAL *x, size_t count, size_t rows, size_t *blocks, double *top) {
  REAL *maxima = tslt_reserve(&context->maxima, count / rows + 2, sizeof(REAL));
  if (!maxima)
    return TSLT_NO_MEMORY;
  *blocks = NAME(block_maxima)(x, count, rows, maxima);
  if (!*blocks)
    return TSLT_BAD_LOGITS;
  REAL most = maxima[0];
  for (size_t i = 1; i < *blocks; i++)
    most = maxima[i] > most ? maxima[i] : most;
  *top = most;
  return most - most == 0 ? TSLT_OK : TSLT_BAD_LOGITS; /* an infinity less itself is NaN */
}

/* Places of the `n` largest, n < count, ties to the lowest places; ascending, to context->picked.  Where its memory is
 * fixed and full, all but the n largest so far go, and what follows has to be larger than these. */
static int NAME(select)(tslt_context *context, const REAL *x, size_t count, size_t rows, size_t blocks, uint32_t n) {
  const REAL *maxima = context->maxima.at;
  bool fixed = context->picked.fixed;
  uint32_t *places = fixed ? context->picked.at : tslt_reserve(&context->picked, (size_t)count + 16, sizeof(uint32_t));
  KEY *keys = fixed ? context->keys32.at : tslt_reserve(&context->keys32, count + 1, sizeof(KEY));
  size_t room = context->picked.bytes / sizeof *places, step = rows < SELECT_ROWS ? SELECT_STEP : rows, found = 0;
  if (!places || !keys || (room < count + 16 && room < n + step + 16))
    return TSLT_NO_MEMORY;
  for (size_t i = 0; i < blocks; i++)
    keys[i] = NAME(key)(maxima[i]);
  REAL border = n <= blocks ? NAME(unkey)(NAME(nth)(keys, blocks, n, n / 8)) : (REAL)-INFINITY;
  for (size_t start = 0, size; start < count; start += size) {
    size = count - start < step ? count - start : step;
    if (step == rows && maxima[start / rows] < border)
      continue;
    if (room < count + 16 && room < found + size + 16) {
      border = NAME(unkey)(NAME(key)(NAME(keep)(x, places, found, n, keys)) + 1);
      found = n;
    }
    size_t more = NAME(collect_all)(x + start, size, border, places + found);
    for (size_t i = 0; i < more; i++)
      places[found++] += (uint32_t)start;
  }
  if (found > n)
    NAME(keep)(x, places, found, n, keys);
  return TSLT_OK;
}

/* Masses of all numbers, and their sum: tslt_mass in steps that vectors can do. */
TSLT_CLONES
static uint64_t NAME(masses)(const REAL *x, size_t count, double top, double temperature, uint32_t *masses) {
  uint64_t sum = 0;
  for (size_t at = 0; at < count; at += MASS_STEP) {
    int32_t steps[MASS_STEP];
    size_t n = count - at < MASS_STEP ? count - at : MASS_STEP;
    double down[MASS_STEP];
    for (size_t i = 0; i < n; i++)
      down[i] = top - (double)x[at + i];
    for (size_t i = 0; i < n && temperature != 1; i++) /* a division by 1 changes nothing, and is slow */
      down[i] /= temperature;
    for (size_t i = 0; i < n; i++)
      steps[i] = (int32_t)((down[i] < 64.0 ? down[i] : 64.0) * TSLT_LOG2_E * 65536.0 + 0.5);
    masses_of_steps(steps, n, masses + at);
    uint64_t part = 0;
    for (size_t i = 0; i < n; i++)
      part += masses[at + i];
    sum += part;
  }
  return sum;
}

/* Codes, for log precisions, of the numbers at `places`, or of the first `count`. */
TSLT_CLONES
static void NAME(log_codes)(const REAL *x, const uint32_t *places, size_t count, double top, double temperature,
                            double steps, uint32_t *codes) {
  for (size_t i = 0; i < count; i++) {
    double down = (top - (double)x[places ? places[i] : i]) / temperature;
    down = down < 64.0 ? down : 64.0;
    codes[i] = (uint32_t)(int32_t)(down * TSLT_LOG2_E * steps + 0.5);
  }
}

static int NAME(sparsify)(tslt_context *context, const REAL *x, uint32_t count, const tslt_sparsify_options *options,
                          tslt_list *list) {
  const tslt_truncation *rule = &options->truncation;
  bool by_mass = options->truncate && (rule->top_p < 1 || rule->min_prob > 0);
  uint32_t n = options->truncate && rule->top_k && rule->top_k < count ? rule->top_k : count;
  double top;
  size_t blocks;
  /* Three times as many blocks as are asked for bound the n-th largest well; so do hundreds for an unknown n. */
  size_t rows = SELECT_ROWS, wanted = by_mass && n > 256 ? 256 : n;
  while (rows > 1 && count / rows < 3 * wanted)
    rows /= 2;
  int error = NAME(top)(context, x, count, rows, &blocks, &top);
  if (error)
    return error;
  uint32_t *masses = NULL;
  uint64_t total = 0;
  if (options->temperature > 0 && options->truncate && (by_mass || (options->has_prior && n < count))) {
    masses = tslt_reserve(&context->masses, count, sizeof *masses);
    if (!masses)
      return TSLT_NO_MEMORY;
    total = NAME(masses)(x, count, top, options->temperature, masses);
  }
  if (options->temperature == 0) {
    n = 1;
  } else if (by_mass) {
    int64_t least = count_by_mass(context, masses, count, total, rule);
    if (least < 0)
      return TSLT_NO_MEMORY;
    n = least < n ? (uint32_t)least : n;
  }
  if (n < count) {
    error = NAME(select)(context, x, count, rows, blocks, n);
    if (error)
      return error;
  }
  const uint32_t *places = n < count ? context->picked.at : NULL;
  uint64_t first = context->entries, kept = 0;
  if (!tslt_more_entries(context, n))
    return TSLT_NO_MEMORY;
  int32_t *ids = (int32_t *)context->ids.at + first;
  uint32_t *codes = (uint32_t *)context->codes.at + first;
  int64_t *weights = (int64_t *)context->weights.at + first;
  for (uint32_t i = 0; i < n; i++)
    ids[i] = (int32_t)(places ? places[i] : i);
  for (uint32_t i = 0; i < n && masses; i++)
    kept += masses[ids[i]];
  if (options->temperature == 0) {
    codes[0] = 0;
  } else if (is_log(options->precision)) {
    NAME(log_codes)(x, places, n, top, options->temperature, (double)(1u << log_scale(options->precision)), codes);
  } else {
    for (uint32_t i = 0; i < n; i++)
      codes[i] = float_code(options->precision, ((double)x[ids[i]] - top) / options->temperature);
  }
  uint32_t size = drop_weightless(options->precision, ids, codes, weights, n);
  *list = (tslt_list){.count = size};
  double outside = total && options->has_prior ? 1 - (double)kept / (double)total : 0;
  list->left_out = outside;
  if (options->has_prior && outside >= options->least_tail && size < count) {
    uint32_t tail = (uint32_t)(outside * options->tail_scale * 32 + 0.5);
    list->tail = tail < 31 ? tail : 31;
  }
  context->entries += size;
  return TSLT_OK;
}

#undef REAL
#undef KEY
#undef SKEY
#undef NAME
