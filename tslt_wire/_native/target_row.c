/* Target rows: logits and sampling settings to a distribution that is asked for, never written down.  Spec section 7.2.
 *
 * One pass finds the largest score and the weights' sums by blocks.  Weights are not kept: a draw makes those of one block. */
#include "target_row.h"

#include <stdlib.h>

#if defined(TSLT_GATHERS)
#include <immintrin.h>
#endif

#include "narrow.h"
#include "weights.h"

/* 1 / temperature is kept in this range: what is beyond it is greedy, or uniform, all the same. */
#define MOST_SCALE 0x1p1000
#define LEAST_SCALE 0x1p-1000
/* Blocks that are gone over at once, and octaves that the largest score may be above `base`. */
enum { RUN = 16, MOST_OCTAVES = 500 };
/* Tokens that are looked at beforehand, and how many times the heaviest of them they weigh in a flat row. */
enum { SAMPLE = 128, FLAT = 8 };

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

/* Logits of blocks as binary32, where they are or in `buffer`; NULL for binary64. */
static const float *singles(const tslt_row *row, uint32_t block, uint32_t blocks, float *buffer) {
  size_t first = (size_t)block * ROW_BLOCK, left = row->vocab_size - first, count = (size_t)blocks * ROW_BLOCK;
  if (row->dtype == TSLT_FLOAT32)
    return (const float *)row->logits + first;
  if (row->dtype == TSLT_FLOAT64)
    return NULL;
  tslt_widen((const uint16_t *)row->logits + first, row->dtype, left < count ? left : count, buffer);
  return buffer;
}

void tslt_row_scores(const tslt_row *row, uint32_t block, double *scores) {
  uint32_t first = block * ROW_BLOCK, count = tslt_block_size(row, block);
  float buffer[ROW_BLOCK];
  const float *x = singles(row, block, 1, buffer);
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
#define LOAD_8(x) _mm512_cvtps_pd(_mm256_loadu_ps(x))
#define LOAD_4(x) _mm256_cvtps_pd(_mm_loadu_ps(x))
#include "blocks.h"

#define REAL double
#define NAME(word) word##_double
#define LOAD_8(x) _mm512_loadu_pd(x)
#define LOAD_4(x) _mm256_loadu_pd(x)
#include "blocks.h"

/* Scores of some blocks: binary32, or where that is NULL binary64. */
typedef struct {
  uint32_t blocks;
  const float *single;
  const double *scores;
  union {
    float single[RUN * ROW_BLOCK];
    double scores[ROW_BLOCK];
  } buffer;
} run;

/* Scores from a block on: of at most RUN blocks whose scores are the logits, or of one.  `change` is the first change
 * that is not of a block before it, and is moved on. */
static void take_run(const tslt_row *row, uint32_t block, size_t *change, run *found) {
  uint32_t end = row->allowed ? block : row->vocab_size / ROW_BLOCK;
  end = end < block + RUN ? end : block + RUN;
  if (*change < row->changes && (uint32_t)row->changed[*change] / ROW_BLOCK < end)
    end = (uint32_t)row->changed[*change] / ROW_BLOCK;
  found->single = NULL;
  if (end > block) {
    found->blocks = end - block;
    found->single = singles(row, block, found->blocks, found->buffer.single);
    if (!found->single)
      found->scores = (const double *)row->logits + (size_t)block * ROW_BLOCK;
    return;
  }
  found->blocks = 1;
  found->scores = found->buffer.scores;
  tslt_row_scores(row, block, found->buffer.scores);
  while (*change < row->changes && (uint32_t)row->changed[*change] / ROW_BLOCK == block)
    ++*change;
}

static void weigh(const tslt_row *row, const run *of, double *maxima, double *sums, double *weights) {
  if (of->single)
    weigh_single(of->single, of->blocks, row->base, row->scale, maxima, sums, weights);
  else
    weigh_double(of->scores, of->blocks, row->base, row->scale, maxima, sums, weights);
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

double tslt_row_weights(const tslt_row *row, uint32_t block, double *weights) {
  run scores;
  double most, sum;
  size_t change = row->changes ? changes_below(row, block * ROW_BLOCK) : 0;
  take_run(row, block, &change, &scores);
  scores.blocks = 1;
  weigh(row, &scores, &most, &sum, weights);
  return row->is_cut ? tslt_row_cut(row, block, weights) : sum;
}

/* The largest score of each block, and of all; TSLT_BAD_LOGITS if one is no number, or the largest is not finite. */
static int find_top(tslt_row *row) {
  run scores;
  int nan = 0;
  size_t change = 0;
  row->top = negative_infinity();
  for (uint32_t b = 0; b < row->blocks;) {
    take_run(row, b, &change, &scores);
    for (size_t i = 0; i < scores.blocks; i++, b++) {
      row->maxima[b] = scores.single ? (double)largest_single(scores.single + i * ROW_BLOCK, ROW_BLOCK, &nan)
                                     : largest_double(scores.scores + i * ROW_BLOCK, ROW_BLOCK, &nan);
      row->top = row->maxima[b] > row->top ? row->maxima[b] : row->top;
    }
  }
  row->base = row->top;
  return nan || !(row->top - row->top == 0) ? TSLT_BAD_LOGITS : TSLT_OK;
}

/* A finite score of the first block that has one. */
static double first_score(const tslt_row *row) {
  double scores[ROW_BLOCK], most = negative_infinity();
  int nan = 0;
  for (uint32_t b = 0; b < row->blocks && !(most - most == 0); b++) {
    tslt_row_scores(row, b, scores);
    most = largest_double(scores, ROW_BLOCK, &nan);
  }
  return most;
}

/* find_top, and the weights' sums; the weights, if there is room for them. */
static int find_sums(tslt_row *row, double *weights) {
  row->base = first_score(row);
  for (;;) {
    run scores;
    size_t change = 0;
    double sum = 0;
    row->top = negative_infinity();
    for (uint32_t b = 0; b < row->blocks; b += scores.blocks) {
      take_run(row, b, &change, &scores);
      weigh(row, &scores, row->maxima + b, row->sums + b, weights ? weights + (size_t)b * ROW_BLOCK : NULL);
    }
    for (uint32_t b = 0; b < row->blocks; b++) {
      row->top = row->maxima[b] > row->top ? row->maxima[b] : row->top;
      sum += row->sums[b];
    }
    if (!(row->top - row->top == 0))
      return TSLT_BAD_LOGITS;
    if ((row->top - row->base) * row->scale <= MOST_OCTAVES)
      return sum == sum ? TSLT_OK : TSLT_BAD_LOGITS; /* what is no number weighs none */
    row->base = row->top;
  }
}

/* Temperature 0: the lowest id of the largest. */
static int be_greedy(tslt_row *row) {
  double scores[ROW_BLOCK];
  uint32_t b = 0, i = 0;
  int error = find_top(row);
  if (error)
    return error;
  while (row->maxima[b] != row->top)
    b++;
  tslt_row_scores(row, b, scores);
  while (scores[i] != row->top)
    i++;
  row->scale = MOST_SCALE;
  row->is_cut = true;
  row->border = row->top;
  row->last = b * ROW_BLOCK + i;
  row->sums[b] = 1;
  return TSLT_OK;
}

/* The sums of what a border or a least weight keeps, known before anything is weighed: most blocks need not be. */
static void find_kept_sums(tslt_row *row) {
  double weights[ROW_BLOCK];
  for (uint32_t b = 0; b < row->blocks; b++)
    if (row->maxima[b] >= row->border && tslt_row_weight(row, row->maxima[b]) >= row->least * 0.999)
      row->sums[b] = tslt_row_weights(row, b, weights);
}

/* Whether no few tokens are most of the mass, by a sample: the cut of top-p is then among so many that all weights are
 * needed twice. */
static bool is_flat(const tslt_row *row) {
  double largest = negative_infinity(), sum = 0;
  for (int pass = 0; pass < 2; pass++)
    for (uint32_t i = 0; i < SAMPLE; i++) {
      double score = tslt_row_score(row, (uint32_t)((uint64_t)row->vocab_size * i / SAMPLE));
      if (pass)
        sum += tslt_exp2((score - largest) * row->scale);
      else
        largest = score > largest ? score : largest;
    }
  return sum >= FLAT;
}

static int weigh_all(tslt_context *context, tslt_row *row, const tslt_sampling *sampling) {
  double scale = 1 / sampling->temperature, *weights = NULL;
  row->scale = (scale < LEAST_SCALE ? LEAST_SCALE : scale < MOST_SCALE ? scale : MOST_SCALE) * TSLT_LOG2_E;
  bool by_mass = sampling->top_p < 1, by_score = sampling->top_k && sampling->top_k < row->vocab_size;
  /* A share is one of all that top-k left; min-p comes after it. */
  row->is_cut = by_score || (sampling->min_p > 0 && !by_mass);
  if (row->is_cut) {
    int error = find_top(row);
    if (!error && by_score)
      error = tslt_kth_score(context, row, sampling->top_k, &row->border);
    if (error)
      return error;
    row->least = by_mass ? 0 : sampling->min_p; /* the largest weight is 1 */
    find_kept_sums(row);
  } else {
    if (by_mass && is_flat(row)) {
      weights = tslt_reserve(&context->row_weights, (size_t)row->blocks * ROW_BLOCK, sizeof *weights);
      if (!weights)
        return TSLT_NO_MEMORY;
    }
    int error = find_sums(row, weights);
    if (error)
      return error;
  }
  return by_mass ? tslt_cut_mass(context, row, weights, sampling->top_p, sampling->min_p) : TSLT_OK;
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
  size_t doubles = 3 * (size_t)blocks + changes->count;
  tslt_row *made = malloc(sizeof *made + doubles * sizeof(double) + changes->count * sizeof(int32_t));
  if (!made)
    return TSLT_NO_MEMORY;
  double *numbers = (double *)(made + 1), *scores = numbers + 3 * (size_t)blocks;
  int32_t *changed = (int32_t *)(scores + changes->count);
  if (changes->count) {
    memcpy(scores, changes->scores, changes->count * sizeof *scores);
    memcpy(changed, changes->ids, changes->count * sizeof *changed);
  }
  memset(numbers, 0, 3 * (size_t)blocks * sizeof *numbers);
  *made = (tslt_row){.logits = logits, .allowed = changes->allowed, .changed = changed, .scores = scores,
                     .changes = changes->count, .maxima = numbers, .sums = numbers + blocks, .ends = numbers + 2 * (size_t)blocks,
                     .border = negative_infinity(), .last = UINT32_MAX, .dtype = dtype, .vocab_size = vocab_size,
                     .blocks = blocks};
  int error = sampling->temperature == 0 ? be_greedy(made) : weigh_all(context, made, sampling);
  if (error) {
    free(made);
    return error;
  }
  made->total = 0;
  for (uint32_t b = 0; b < blocks; b++)
    made->ends[b] = made->total += made->sums[b];
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

uint32_t tslt_row_draw(const tslt_row *row, double u) {
  double weights[ROW_BLOCK], target = u * row->total;
  uint32_t block = 0, behind = row->blocks - 1, token = 0;
  while (block < behind) { /* the first at whose end the running sum is above the target */
    uint32_t middle = block + (behind - block) / 2;
    if (row->ends[middle] > target)
      behind = middle;
    else
      block = middle + 1;
  }
  while (row->sums[block] <= 0)
    block--; /* rounding left none above it */
  tslt_row_weights(row, block, weights);
  double sum = block ? row->ends[block - 1] : 0;
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

void tslt_row_probs(const tslt_row *row, double *probs) {
  double weights[ROW_BLOCK];
  for (uint32_t b = 0; b < row->blocks; b++) {
    uint32_t first = b * ROW_BLOCK, count = tslt_block_size(row, b);
    if (row->sums[b] <= 0) {
      memset(probs + first, 0, count * sizeof *probs);
      continue;
    }
    tslt_row_weights(row, b, weights);
    for (uint32_t i = 0; i < count; i++)
      probs[first + i] = weights[i] / row->total;
  }
}
