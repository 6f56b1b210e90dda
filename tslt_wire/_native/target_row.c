/* Target rows: logits and sampling settings to a distribution that is asked for, never written down.  Spec section 7.2.
 *
 * One pass finds the largest score, one the weights; their sums are kept by blocks, so that a draw looks at one block. */
#include "target_row.h"

#include <stdlib.h>

#if !defined(__STDC_NO_ATOMICS__)
#include <stdatomic.h>
#endif

#include "narrow.h"
#include "weights.h"

/* 1 / temperature is kept in this range: what is beyond it is greedy, or uniform, all the same. */
#define MOST_SCALE 0x1p1000
#define LEAST_SCALE 0x1p-1000

/* A number that no other row has had; 0 where there is no way to be sure. */
static uint64_t new_serial(void) {
#if !defined(__STDC_NO_ATOMICS__)
  static _Atomic uint64_t rows;
  return (uint64_t)atomic_fetch_add(&rows, 1) + 1;
#else
  return 0;
#endif
}

static double negative_infinity(void) { return -1e308 * 10; }

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

/* Which changes are of a block's tokens: the first to `from`, and what is behind the last. */
static size_t changes_in(const tslt_row *row, uint32_t block, size_t *from) {
  *from = row->changes ? changes_below(row, block * ROW_BLOCK) : 0;
  size_t to = *from;
  while (to < row->changes && (uint32_t)row->changed[to] / ROW_BLOCK == block)
    to++;
  return to;
}

/* Logits of a block as binary32, where they are or in `buffer`; NULL for binary64. */
static const float *singles(const tslt_row *row, uint32_t block, float *buffer) {
  size_t first = (size_t)block * ROW_BLOCK;
  if (row->dtype == TSLT_FLOAT32)
    return (const float *)row->logits + first;
  if (row->dtype == TSLT_FLOAT64)
    return NULL;
  tslt_widen((const uint16_t *)row->logits + first, row->dtype, tslt_block_size(row, block), buffer);
  return buffer;
}

/* Whether the scores of a block are its logits, all ROW_BLOCK of them. */
static bool plain_block(const tslt_row *row, uint32_t block) {
  size_t from;
  return !row->allowed && tslt_block_size(row, block) == ROW_BLOCK && changes_in(row, block, &from) == from;
}

void tslt_row_scores(const tslt_row *row, uint32_t block, double *scores) {
  uint32_t first = block * ROW_BLOCK, count = tslt_block_size(row, block);
  float buffer[ROW_BLOCK];
  const float *x = singles(row, block, buffer);
  if (x)
    for (size_t i = 0; i < count; i++)
      scores[i] = (double)x[i];
  else
    memcpy(scores, (const double *)row->logits + first, count * sizeof *scores);
  for (size_t i = count; i < ROW_BLOCK; i++)
    scores[i] = negative_infinity();
  size_t from, to = changes_in(row, block, &from);
  for (size_t i = from; i < to; i++)
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
  const float *x = row->allowed || tslt_block_size(row, block) < ROW_BLOCK ? NULL : singles(row, block, buffer);
  if (!x) {
    double scores[ROW_BLOCK];
    tslt_row_scores(row, block, scores);
    return weigh_double(scores, ROW_BLOCK, row->top, row->scale, weights);
  }
  double sum = weigh_single(x, ROW_BLOCK, row->top, row->scale, weights);
  /* The weights of changed tokens, whose logits may be above the largest score, are made again. */
  size_t from, to = changes_in(row, block, &from);
  for (size_t i = from; i < to; i++)
    weights[(uint32_t)row->changed[i] - first] = tslt_row_weight(row, row->scores[i]);
  return from < to ? tslt_block_sum(weights) : sum;
}

/* Leave out what weighs less than `least`; the sum of the others. */
TSLT_CLONES
static double cut_light(double *weights, size_t count, double least) {
  for (size_t i = 0; i < count; i++)
    weights[i] = weights[i] >= least ? weights[i] : 0;
  return tslt_block_sum(weights);
}

double tslt_row_cut(const tslt_row *row, uint32_t block, double *weights) {
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
    tslt_row_cut(row, block, buffer);
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
  row->scale = (scale < LEAST_SCALE ? LEAST_SCALE : scale < MOST_SCALE ? scale : MOST_SCALE) * TSLT_LOG2_E;
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
    if (row->is_cut && (row->maxima[b] < row->border || tslt_row_weight(row, row->maxima[b]) < row->least * 0.999)) {
      memset(to, 0, ROW_BLOCK * sizeof *to);
      row->sums[b] = 0;
      continue;
    }
    row->sums[b] = weigh(row, b, to);
    if (row->is_cut)
      row->sums[b] = tslt_row_cut(row, b, to);
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
    score = (double)tslt_half_value(((const uint16_t *)row->logits)[token]);
  else
    score = (double)tslt_bfloat_value(((const uint16_t *)row->logits)[token]);
  size_t at = changes_below(row, token);
  if (at < row->changes && (uint32_t)row->changed[at] == token)
    score = row->scores[at];
  return row->allowed && !row->allowed[token] ? negative_infinity() : score;
}

double tslt_row_prob(const tslt_row *row, uint32_t token) {
  if (token >= row->vocab_size)
    return 0;
  double score = tslt_row_score(row, token), weight = tslt_row_weight(row, score);
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
    uint32_t first = b * ROW_BLOCK, count = tslt_block_size(row, b);
    if (row->sums[b] <= 0) {
      memset(probs + first, 0, count * sizeof *probs);
      continue;
    }
    const double *weights = tslt_row_weights(context, row, b, buffer);
    for (uint32_t i = 0; i < count; i++)
      probs[first + i] = weights[i] / row->total;
  }
}
