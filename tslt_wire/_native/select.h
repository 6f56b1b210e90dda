/* The n largest of V numbers, for one type of number: REAL, with KEY and SKEY, unsigned and signed integers as wide.
 * sparsify.c includes this once for binary32 and once for binary64.
 *
 * A lower bound of the n-th largest comes from maxima of strided blocks (n blocks have n numbers that are as large as
 * the n-th of their maxima); few numbers pass it, and only these are looked at closely. */

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

/* Maxima of blocks of at most `rows` numbers, SELECT_LANES apart; the last few numbers are blocks of their own.  Returns
 * how many blocks, or 0 if there is a NaN. */
TSLT_CLONES
static size_t NAME(block_maxima)(const REAL *x, size_t count, size_t rows, REAL *maxima) {
  size_t blocks = 0, at = 0;
  SKEY bad[SELECT_LANES] = {0};
  while (count - at >= SELECT_LANES) {
    size_t end = (count - at) / SELECT_LANES;
    end = at + SELECT_LANES * (end < rows ? end : rows);
    REAL most[SELECT_LANES];
    for (size_t i = 0; i < SELECT_LANES; i++)
      most[i] = x[at + i];
    for (; at < end; at += SELECT_LANES) {
      const REAL *p = x + at;
      for (size_t i = 0; i < SELECT_LANES; i++) {
        most[i] = p[i] > most[i] ? p[i] : most[i];
        bad[i] |= p[i] != p[i];
      }
    }
    for (size_t i = 0; i < SELECT_LANES; i++)
      maxima[blocks + i] = most[i];
    blocks += SELECT_LANES;
  }
  SKEY any = 0;
  for (; at < count; at++) {
    any |= x[at] != x[at];
    maxima[blocks++] = x[at];
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

/* The same where there is room for `room` places; more than that if there may be more. */
static size_t NAME(collect)(const REAL *x, size_t count, REAL border, uint32_t *places, size_t room) {
  if (room >= count + 16)
    return NAME(collect_all)(x, count, border, places);
  size_t found = 0;
  for (size_t start = 0; start < count; start += SELECT_STEP) {
    if (found + SELECT_STEP + 16 > room)
      return room + 1;
    size_t size = count - start < SELECT_STEP ? count - start : SELECT_STEP;
    size_t more = NAME(collect_all)(x + start, size, border, places + found);
    for (size_t i = 0; i < more; i++)
      places[found++] += (uint32_t)start;
  }
  return found;
}

/* The n-th largest, slowly and in no memory: what reaches the middle of a range of keys is counted, and halves it. */
static REAL NAME(slow_nth)(const REAL *x, size_t count, size_t n) {
  KEY low = NAME(key)(x[0]), high = low;
  for (size_t i = 1; i < count; i++) {
    KEY key = NAME(key)(x[i]);
    low = key < low ? key : low;
    high = key > high ? key : high;
  }
  while (low < high) {
    KEY middle = high - (high - low) / 2;
    size_t reached = 0;
    for (size_t i = 0; i < count; i++)
      reached += NAME(key)(x[i]) >= middle;
    if (reached >= n)
      low = middle;
    else
      high = middle - 1;
  }
  return NAME(unkey)(low);
}

/* Of `count` places, or of all numbers if `from` is NULL, those of the n largest; `border` is the n-th largest. */
static void NAME(keep)(const REAL *x, const uint32_t *from, size_t count, REAL border, size_t n, uint32_t *places) {
  size_t above = 0, kept = 0;
  for (size_t i = 0; i < count; i++)
    above += x[from ? from[i] : i] > border;
  size_t ties = n - above;
  for (size_t i = 0; i < count && kept < n; i++) {
    size_t place = from ? from[i] : i;
    bool tie = x[place] == border && ties > 0;
    ties -= tie;
    places[kept] = (uint32_t)place;
    kept += tie || x[place] > border;
  }
}

/* The largest number to `top`; TSLT_BAD_LOGITS if it is not finite or there is a NaN. */
static int NAME(top)(tslt_context *context, const REAL *x, size_t count, size_t rows, size_t *blocks, double *top) {
  REAL *maxima = tslt_reserve(&context->maxima, count / rows + 3 * SELECT_LANES, sizeof(REAL));
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

/* Places of the `n` largest, n < count, ties to the lowest places; ascending, to context->picked. */
static int NAME(select)(tslt_context *context, const REAL *x, size_t count, size_t blocks, uint32_t n) {
  const REAL *maxima = context->maxima.at;
  bool fixed = context->picked.fixed;
  uint32_t *places = fixed ? context->picked.at : tslt_reserve(&context->picked, (size_t)count + 16, sizeof(uint32_t));
  KEY *keys = fixed ? context->keys32.at : tslt_reserve(&context->keys32, count + 1, sizeof(KEY));
  size_t room = context->picked.bytes / sizeof *places, key_room = context->keys32.bytes / sizeof *keys;
  if (!places || !keys || n > room)
    return TSLT_NO_MEMORY;
  room = room < key_room ? room : key_room;
  size_t found = count;
  if (n <= blocks && blocks <= key_room) {
    for (size_t i = 0; i < blocks; i++)
      keys[i] = NAME(key)(maxima[i]);
    found = NAME(collect)(x, count, NAME(unkey)(NAME(nth)(keys, blocks, n, n / 8)), places, room);
  } else if (found <= room) {
    for (size_t i = 0; i < count; i++)
      places[i] = (uint32_t)i;
  }
  if (found == n)
    return TSLT_OK;
  if (found > room) { /* a fixed part, and more numbers near the n-th largest than it holds */
    NAME(keep)(x, NULL, count, NAME(slow_nth)(x, count, n), n, places);
    return TSLT_OK;
  }
  for (size_t i = 0; i < found; i++)
    keys[i] = NAME(key)(x[places[i]]);
  NAME(keep)(x, places, found, NAME(unkey)(NAME(nth)(keys, found, n, 0)), n, places);
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
  size_t rows = context->maxima.fixed ? FIXED_ROWS : 64, wanted = by_mass && n > 256 ? 256 : n;
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
    error = NAME(select)(context, x, count, blocks, n);
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
