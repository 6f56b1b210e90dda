/* Target rows: logits and sampling settings to a distribution that is asked for, never written down.  Spec section 7.2.
 *
 * One pass finds the largest score, one the weights; their sums are kept by blocks, so that a draw looks at one block. */
#include "target_row.h"

#include <stdlib.h>

#if !defined(__STDC_NO_ATOMICS__)
#include <stdatomic.h>
#endif

#include "weights.h"

/* 1 / temperature is kept in this range: what is beyond it is greedy, or uniform, all the same. */
#define MOST_SCALE 0x1p1000
#define LEAST_SCALE 0x1p-1000
#define LOG2_E 1.4426950408889634

/* A number that no other row has had; 0 where there is no way to be sure. */
static uint64_t new_serial(void) {
#if !defined(__STDC_NO_ATOMICS__)
  static _Atomic uint64_t rows;
  return (uint64_t)atomic_fetch_add(&rows, 1) + 1;
#else
  return 0;
#endif
}

/* Binary16 to binary32 without a branch. */
static inline float half_to_single(uint16_t half) {
  uint32_t magnitude = half & 0x7FFFu, sign = (uint32_t)(half & 0x8000u) << 16;
  /* Exponents differ by 112; that of infinities and NaN is all ones in both.  A subnormal number is a whole number of
   * 2^-24: what is added to its bits is that number's exponent, and is taken off again. */
  uint32_t bits = (magnitude << 13) + (magnitude >= 0x7C00u ? 0x70000000u : 0x38000000u), small = magnitude << 13;
  float value, whole;
  memcpy(&value, &bits, sizeof value);
  small += 0x38800000u;
  memcpy(&whole, &small, sizeof whole);
  value = magnitude < 0x400u ? whole - 0x1p-14f : value;
  memcpy(&bits, &value, sizeof bits);
  bits |= sign;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float bfloat_to_single(uint16_t upper) {
  uint32_t bits = (uint32_t)upper << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

#if defined(TSLT_GATHERS)
#include <immintrin.h>

/* The same conversion in one step, of a multiple of 16 numbers. */
__attribute__((target("avx512f"))) static void halves_512(const uint16_t *x, size_t count, float *out) {
  for (size_t i = 0; i < count; i += 16)
    _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(x + i))));
}
#endif

static void halves_to_singles(const uint16_t *x, size_t count, float *out) {
  size_t i = 0;
#if defined(TSLT_GATHERS)
  if (__builtin_cpu_supports("avx512f")) {
    i = count & ~(size_t)15;
    halves_512(x, i, out);
  }
#endif
  for (; i < count; i++)
    out[i] = half_to_single(x[i]);
}

TSLT_CLONES
static void bfloats_to_singles(const uint16_t *restrict x, size_t count, float *restrict out) {
  for (size_t i = 0; i < count; i++)
    out[i] = bfloat_to_single(x[i]);
}

static double negative_infinity(void) { return -1e308 * 10; }

static double weight_of(const tslt_row *row, double score) { return tslt_exp2((score - row->top) * row->scale); }

/* How many of the changed tokens are below `id`. */
static size_t changes_below(const tslt_row *row, uint32_t id) {
  size_t low = 0, high = row->changes;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if ((uint32_t)row->changed[middle] < id)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static uint32_t block_size(const tslt_row *row, uint32_t block) {
  uint32_t left = row->vocab_size - block * ROW_BLOCK;
  return left < ROW_BLOCK ? left : ROW_BLOCK;
}

/* Logits of a block as binary32, where they are or in `buffer`; NULL for binary64. */
static const float *singles(const tslt_row *row, uint32_t block, float *buffer) {
  size_t first = (size_t)block * ROW_BLOCK;
  if (row->dtype == TSLT_FLOAT32)
    return (const float *)row->logits + first;
  if (row->dtype == TSLT_FLOAT64)
    return NULL;
  if (row->dtype == TSLT_FLOAT16)
    halves_to_singles((const uint16_t *)row->logits + first, block_size(row, block), buffer);
  else
    bfloats_to_singles((const uint16_t *)row->logits + first, block_size(row, block), buffer);
  return buffer;
}

/* Whether the scores of a block are its logits, all ROW_BLOCK of them. */
static bool plain_block(const tslt_row *row, uint32_t block) {
  if (row->allowed || block_size(row, block) < ROW_BLOCK)
    return false;
  size_t at = row->changes ? changes_below(row, block * ROW_BLOCK) : 0;
  return at == row->changes || (uint32_t)row->changed[at] >= (block + 1) * ROW_BLOCK;
}

void tslt_row_scores(const tslt_row *row, uint32_t block, double *scores) {
  uint32_t first = block * ROW_BLOCK, count = block_size(row, block);
  float buffer[ROW_BLOCK];
  const float *x = singles(row, block, buffer);
  if (x)
    for (size_t i = 0; i < count; i++)
      scores[i] = (double)x[i];
  else
    memcpy(scores, (const double *)row->logits + first, count * sizeof *scores);
  for (size_t i = count; i < ROW_BLOCK; i++)
    scores[i] = negative_infinity();
  if (row->changes)
    for (size_t i = changes_below(row, first); i < row->changes && (uint32_t)row->changed[i] < first + count; i++)
      scores[(uint32_t)row->changed[i] - first] = row->scores[i];
  if (row->allowed)
    for (size_t i = 0; i < count; i++)
      scores[i] = row->allowed[first + i] ? scores[i] : negative_infinity();
}

#define REAL float
#define NAME(word) word##_single
#include "blocks.h"

#define REAL double
#define NAME(word) word##_double
#include "blocks.h"

/* Weights of a block's scores, no cut applied; their sum. */
static double weigh(const tslt_row *row, uint32_t block, double *weights) {
  uint32_t first = block * ROW_BLOCK;
  float buffer[ROW_BLOCK];
  const float *x = row->allowed || block_size(row, block) < ROW_BLOCK ? NULL : singles(row, block, buffer);
  if (!x) {
    double scores[ROW_BLOCK];
    tslt_row_scores(row, block, scores);
    return weigh_double(scores, ROW_BLOCK, row->top, row->scale, weights);
  }
  double sum = weigh_single(x, ROW_BLOCK, row->top, row->scale, weights);
  size_t at = row->changes ? changes_below(row, first) : 0;
  if (at == row->changes || (uint32_t)row->changed[at] >= first + ROW_BLOCK)
    return sum;
  /* The weights of changed tokens, whose logits may be above the largest score, are made again. */
  for (; at < row->changes && (uint32_t)row->changed[at] < first + ROW_BLOCK; at++)
    weights[(uint32_t)row->changed[at] - first] = weight_of(row, row->scores[at]);
  return tslt_block_sum(weights);
}

/* Leave out what weighs less than `least`; the sum of the others. */
TSLT_CLONES
static double cut_light(double *weights, size_t count, double least) {
  for (size_t i = 0; i < count; i++)
    weights[i] = weights[i] >= least ? weights[i] : 0;
  return tslt_block_sum(weights);
}

/* Leave out what is not kept; the sum of what is. */
static double cut(const tslt_row *row, uint32_t block, double *weights) {
  uint32_t first = block * ROW_BLOCK;
  double scores[ROW_BLOCK];
  if (row->border > negative_infinity()) {
    tslt_row_scores(row, block, scores);
    for (uint32_t i = 0; i < ROW_BLOCK; i++)
      weights[i] = tslt_row_keeps(row, scores[i], first + i) ? weights[i] : 0;
  }
  return cut_light(weights, ROW_BLOCK, row->least);
}

const double *tslt_row_weights(tslt_context *context, const tslt_row *row, uint32_t block, double *buffer) {
  if (row->serial && context->row_serial == row->serial)
    return (const double *)context->row_weights.at + (size_t)block * ROW_BLOCK;
  weigh(row, block, buffer);
  if (row->is_cut)
    cut(row, block, buffer);
  return buffer;
}

/* Largest scores; TSLT_BAD_LOGITS if a score is no number, or none is finite, or one is infinite. */
static int find_top(tslt_row *row) {
  int nan = 0;
  double top = negative_infinity();
  for (uint32_t b = 0; b < row->blocks; b++) {
    float buffer[ROW_BLOCK];
    const float *x = plain_block(row, b) ? singles(row, b, buffer) : NULL;
    if (x) {
      row->maxima[b] = (double)largest_single(x, ROW_BLOCK, &nan);
    } else {
      double scores[ROW_BLOCK];
      tslt_row_scores(row, b, scores);
      row->maxima[b] = largest_double(scores, ROW_BLOCK, &nan);
    }
    top = row->maxima[b] > top ? row->maxima[b] : top;
  }
  row->top = top;
  return nan || !(top - top == 0) ? TSLT_BAD_LOGITS : TSLT_OK;
}

/* Temperature 0: the lowest id of the largest. */
static void be_greedy(tslt_row *row) {
  double scores[ROW_BLOCK];
  uint32_t b = 0, i = 0;
  while (row->maxima[b] != row->top)
    b++;
  tslt_row_scores(row, b, scores);
  while (scores[i] != row->top)
    i++;
  row->scale = MOST_SCALE;
  row->is_cut = true;
  row->border = row->top;
  row->last = b * ROW_BLOCK + i;
  row->sums[b] = row->total = 1;
}

static int weigh_all(tslt_context *context, tslt_row *row, const tslt_sampling *sampling) {
  double scale = 1 / sampling->temperature;
  row->scale = (scale < LEAST_SCALE ? LEAST_SCALE : scale < MOST_SCALE ? scale : MOST_SCALE) * LOG2_E;
  bool by_mass = sampling->top_p < 1, by_score = false;
  if (sampling->top_k && sampling->top_k < row->vocab_size) {
    int error = tslt_kth_score(context, row, sampling->top_k, &row->border);
    if (error)
      return error;
    by_score = true;
  }
  double *weights = tslt_reserve(&context->row_weights, (size_t)row->blocks * ROW_BLOCK, sizeof *weights);
  if (!weights)
    return TSLT_NO_MEMORY;
  context->row_serial = 0;
  /* A share is one of all that top-k left; min-p comes after it. */
  row->least = by_mass ? 0 : sampling->min_p;
  row->is_cut = by_score || row->least > 0;
  for (uint32_t b = 0; b < row->blocks; b++) {
    double *to = weights + (size_t)b * ROW_BLOCK;
    if (row->is_cut && (row->maxima[b] < row->border || weight_of(row, row->maxima[b]) < row->least * 0.999)) {
      memset(to, 0, ROW_BLOCK * sizeof *to);
      row->sums[b] = 0;
      continue;
    }
    row->sums[b] = weigh(row, b, to);
    if (row->is_cut)
      row->sums[b] = cut(row, b, to);
  }
  row->least = sampling->min_p;
  if (by_mass) {
    row->is_cut = true;
    return tslt_cut_mass(context, row, sampling->top_p);
  }
  context->row_serial = row->serial;
  return TSLT_OK;
}

static bool sampling_ok(const tslt_sampling *s) {
  return s->temperature >= 0 && s->temperature - s->temperature == 0 && s->top_p > 0 && s->top_p <= 1 &&
         s->min_p >= 0 && s->min_p <= 1;
}

static bool changes_ok(const tslt_changes *changes, uint32_t vocab_size) {
  for (size_t i = 0; i < changes->count; i++)
    if (changes->ids[i] < 0 || (uint32_t)changes->ids[i] >= vocab_size || (i && changes->ids[i] <= changes->ids[i - 1]))
      return false;
  return true;
}

int tslt_row_new(tslt_context *context, const void *logits, int dtype, uint32_t vocab_size,
                 const tslt_sampling *sampling, const tslt_changes *changes, tslt_row **row) {
  static const tslt_changes none = {0, NULL, NULL, NULL};
  changes = changes ? changes : &none;
  *row = NULL;
  if (vocab_size < 1 || vocab_size > TSLT_MAX_VOCAB_SIZE || dtype < TSLT_FLOAT32 || dtype > TSLT_BFLOAT16 ||
      !sampling_ok(sampling) || !changes_ok(changes, vocab_size))
    return TSLT_BAD_ARGUMENT;
  uint32_t blocks = (vocab_size + ROW_BLOCK - 1) / ROW_BLOCK;
  /* One piece of memory: the row, then arrays of doubles, then of int32. */
  size_t doubles = 2 * (size_t)blocks + changes->count;
  tslt_row *made = malloc(sizeof *made + doubles * sizeof(double) + changes->count * sizeof(int32_t));
  if (!made)
    return TSLT_NO_MEMORY;
  double *numbers = (double *)(made + 1), *scores = numbers + 2 * (size_t)blocks;
  int32_t *changed = (int32_t *)(scores + changes->count);
  if (changes->count) {
    memcpy(scores, changes->scores, changes->count * sizeof *scores);
    memcpy(changed, changes->ids, changes->count * sizeof *changed);
  }
  memset(numbers, 0, 2 * (size_t)blocks * sizeof *numbers);
  *made = (tslt_row){.logits = logits, .allowed = changes->allowed, .changed = changed, .scores = scores,
                     .changes = changes->count, .maxima = numbers, .sums = numbers + blocks, .serial = new_serial(),
                     .border = negative_infinity(), .last = UINT32_MAX, .dtype = dtype, .vocab_size = vocab_size,
                     .blocks = blocks};
  int error = find_top(made);
  if (!error && sampling->temperature == 0)
    be_greedy(made);
  else if (!error)
    error = weigh_all(context, made, sampling);
  if (error) {
    free(made);
    return error;
  }
  made->total = 0;
  for (uint32_t b = 0; b < blocks; b++)
    made->total += made->sums[b];
  *row = made;
  return TSLT_OK;
}

void tslt_row_free(tslt_row *row) { free(row); }

double tslt_row_score(const tslt_row *row, uint32_t token) {
  double score = 0;
  if (row->dtype == TSLT_FLOAT32)
    score = (double)((const float *)row->logits)[token];
  else if (row->dtype == TSLT_FLOAT64)
    score = ((const double *)row->logits)[token];
  else if (row->dtype == TSLT_FLOAT16)
    score = (double)half_to_single(((const uint16_t *)row->logits)[token]);
  else
    score = (double)bfloat_to_single(((const uint16_t *)row->logits)[token]);
  size_t at = changes_below(row, token);
  if (at < row->changes && (uint32_t)row->changed[at] == token)
    score = row->scores[at];
  return row->allowed && !row->allowed[token] ? negative_infinity() : score;
}

double tslt_row_prob(const tslt_row *row, uint32_t token) {
  if (token >= row->vocab_size)
    return 0;
  double score = tslt_row_score(row, token), weight = weight_of(row, score);
  return tslt_row_keeps(row, score, token) && weight >= row->least ? weight / row->total : 0;
}

uint32_t tslt_row_draw(tslt_context *context, const tslt_row *row, double u) {
  double buffer[ROW_BLOCK], target = u * row->total, sum = 0, before = 0;
  uint32_t block = 0, token = 0;
  for (uint32_t b = 0; b < row->blocks; b++) {
    if (row->sums[b] <= 0)
      continue;
    block = b;
    before = sum;
    sum += row->sums[b];
    if (sum > target)
      break;
  }
  const double *weights = tslt_row_weights(context, row, block, buffer);
  sum = before;
  for (uint32_t i = 0; i < ROW_BLOCK; i++) {
    if (weights[i] <= 0)
      continue;
    token = block * ROW_BLOCK + i; /* the last with a weight, where rounding leaves none above the target */
    sum += weights[i];
    if (sum > target)
      break;
  }
  return token;
}

void tslt_row_probs(tslt_context *context, const tslt_row *row, double *probs) {
  double buffer[ROW_BLOCK];
  for (uint32_t b = 0; b < row->blocks; b++) {
    uint32_t first = b * ROW_BLOCK, left = row->vocab_size - first, count = left < ROW_BLOCK ? left : ROW_BLOCK;
    if (row->sums[b] <= 0) {
      memset(probs + first, 0, count * sizeof *probs);
      continue;
    }
    const double *weights = tslt_row_weights(context, row, b, buffer);
    for (uint32_t i = 0; i < count; i++)
      probs[first + i] = weights[i] / row->total;
  }
}
