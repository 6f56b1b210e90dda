/* The cuts of a target row without sorting the vocabulary: the k-th largest score, and the border of a mass. */
#include "target_row.h"

#include <stdlib.h>

enum { BINS = 256, FEW = 48, MOST_ROUNDS = 12, SAMPLES = 4096, SAMPLE_BINS = 512, BORDERS = 4, SET = 8 };
/* No weight but 0 is below 2^-1022. */
#define LEAST_WEIGHT 0x1p-1022
/* More than weights can be off: below it two of them may be in another order than their scores. */
#define OFF 1e-12

/* The k-th largest (from 1) of x, which is put into another order. */
static double kth_largest(double *x, size_t count, size_t k) {
  size_t low = 0, high = count; /* it is among x[low] .. x[high - 1], all before are larger, all behind smaller */
  for (;;) {
    double a = x[low], b = x[low + (high - low) / 2], c = x[high - 1];
    double pivot = a > b ? (b > c ? b : a > c ? c : a) : (a > c ? a : b > c ? c : b);
    size_t larger = low, at = low, smaller = high;
    while (at < smaller) {
      double value = x[at];
      if (value > pivot) {
        x[at++] = x[larger];
        x[larger++] = value;
      } else if (value < pivot) {
        x[at] = x[--smaller];
        x[smaller] = value;
      } else {
        at++;
      }
    }
    if (k <= larger)
      high = larger;
    else if (k > smaller)
      low = smaller;
    else
      return pivot;
  }
}

/* The largest of each of count / SET sets of SET scores. */
TSLT_CLONES
static void set_maxima(const double *restrict scores, size_t count, double *restrict maxima) {
  for (size_t i = 0; i < count / SET; i++) {
    double most = scores[i];
    for (size_t j = 1; j < SET; j++)
      most = scores[i + j * (count / SET)] > most ? scores[i + j * (count / SET)] : most;
    maxima[i] = most;
  }
}

int tslt_kth_score(tslt_context *context, const tslt_row *row, uint32_t k, double *score) {
  double scores[ROW_BLOCK], border = row->border;
  double *found = tslt_reserve(&context->row_values, (size_t)row->blocks * ROW_BLOCK + 1, sizeof *found);
  if (!found)
    return TSLT_NO_MEMORY;
  /* k tokens are at least as large as the k-th of the largest of so many sets: of blocks, or of parts of them. */
  size_t sets = (size_t)row->blocks * (ROW_BLOCK / SET);
  if (k <= row->blocks) {
    memcpy(found, row->maxima, row->blocks * sizeof *found);
    border = kth_largest(found, row->blocks, k);
  } else if (k <= sets / 2) {
    for (uint32_t b = 0; b < row->blocks; b++) {
      tslt_row_scores(row, b, scores);
      set_maxima(scores, ROW_BLOCK, found + (size_t)b * (ROW_BLOCK / SET));
    }
    border = kth_largest(found, sets, k);
  }
  size_t count = 0;
  for (uint32_t b = 0; b < row->blocks; b++) {
    if (row->maxima[b] < border)
      continue;
    tslt_row_scores(row, b, scores);
    uint32_t size = tslt_block_size(row, b);
    for (uint32_t i = 0; i < size; i++) {
      found[count] = scores[i];
      count += scores[i] >= border;
    }
  }
  *score = kth_largest(found, count, k);
  return TSLT_OK;
}

typedef struct {
  double score;
  uint32_t id;
} candidate;

static int descending(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->score != y->score)
    return x->score < y->score ? 1 : -1;
  return x->id < y->id ? -1 : 1;
}

/* Places of the weights of a block with low <= weight < high; how many.  There is room for ROW_LANES more. */
#if defined(TSLT_GATHERS)
#include <immintrin.h>

__attribute__((target("avx512f"))) static size_t places_512(const double *w, double low, double high, uint8_t *places) {
  size_t count = 0;
  for (unsigned i = 0; i < ROW_BLOCK; i += 8) {
    __m512d x = _mm512_loadu_pd(w + i);
    unsigned in = _mm512_cmp_pd_mask(x, _mm512_set1_pd(low), _CMP_GE_OQ);
    in &= _mm512_cmp_pd_mask(x, _mm512_set1_pd(high), _CMP_LT_OQ);
    for (; in; in &= in - 1)
      places[count++] = (uint8_t)(i + (unsigned)__builtin_ctz(in));
  }
  return count;
}
#endif

static size_t places_between(const double *w, double low, double high, uint8_t *places) {
#if defined(TSLT_GATHERS)
  if (__builtin_cpu_supports("avx512f"))
    return places_512(w, low, high, places);
#endif
  size_t count = 0;
  for (unsigned i = 0; i < ROW_BLOCK; i++) {
    places[count] = (uint8_t)i;
    count += (w[i] >= low) & (w[i] < high);
  }
  return count;
}

/* Weights between which the cut is looked for, descending.  Above and below are by weight, which follows the score;
 * among the tokens that are left in the end the scores decide. */
typedef struct {
  double at[BORDERS];
} borders;

/* Sums of the weights of a block that are at least each border. */
TSLT_CLONES
static void sums_from(const double *restrict w, size_t count, const borders *from, double *sums) {
  double lanes[BORDERS][ROW_LANES] = {{0}};
  for (const double *end = w + count; w < end; w += ROW_LANES)
    for (unsigned j = 0; j < ROW_LANES; j++) {
      lanes[0][j] += w[j] >= from->at[0] ? w[j] : 0;
      lanes[1][j] += w[j] >= from->at[1] ? w[j] : 0;
      lanes[2][j] += w[j] >= from->at[2] ? w[j] : 0;
      lanes[3][j] += w[j] >= from->at[3] ? w[j] : 0;
    }
  for (unsigned i = 0; i < BORDERS; i++)
    sums[i] = tslt_lane_sum(lanes[i]);
}

/* A number that grows with the logarithm of a weight, and the weight. */
static uint64_t key_of(double weight) {
  uint64_t key;
  memcpy(&key, &weight, sizeof key);
  return key;
}

static double weight_of_key(uint64_t key) {
  double weight;
  memcpy(&weight, &key, sizeof weight);
  return weight;
}

/* Borders from `high` to `low`, about evenly by logarithm. */
static borders spread(double high, double low) {
  uint64_t top = key_of(high), third = (top - key_of(low)) / 3;
  return (borders){{high, weight_of_key(top - third), weight_of_key(top - 2 * third), low}};
}

/* Where few blocks have large weights, their sums say soon how far down the mass reaches.  False: there are many; the mass
 * of all that is at least `high` is then `above`. */
static bool peaked(const tslt_row *row, const double *weights, const double *peaks, double target, borders *found,
                   double *high, double *above) {
  double most = tslt_row_weight(row, row->top);
  *high = 2 * most;
  *above = 0;
  for (double low = most / 8; low > LEAST_WEIGHT; low /= 16) {
    double sum = 0, sums[BORDERS];
    uint32_t touched = 0;
    for (uint32_t b = 0; b < row->blocks; b++)
      touched += peaks[b] >= low;
    if (touched > row->blocks / 3 + 4)
      return false;
    *found = spread(*high, low);
    for (uint32_t b = 0; b < row->blocks; b++) {
      if (peaks[b] < low)
        continue;
      sums_from(weights + (size_t)b * ROW_BLOCK, ROW_BLOCK, found, sums);
      sum += sums[BORDERS - 1];
    }
    if (sum >= target)
      return true;
    *high = low;
    *above = sum;
  }
  return false;
}

/* The weights of block `b` that are a sample of it; all samples have `each`. */
static const double *sample_of(const double *weights, uint32_t b, uint32_t each) {
  return weights + (size_t)b * ROW_BLOCK + b * ROW_LANES % (ROW_BLOCK - each + ROW_LANES);
}

/* Borders by a sample of the weights below `high`: where the mass is more and less than `target` by two margins.  `above`:
 * what is not below it; `rest`: what is. */
static borders guess(const tslt_row *row, const double *weights, double high, double above, double rest, double target) {
  static const double margins[BORDERS] = {-0.03, -0.008, 0.008, 0.03};
  double masses[SAMPLE_BINS] = {0}, sampled = 0, sum = 0, largest = 0, least = high;
  uint32_t each = SAMPLES / row->blocks / ROW_LANES * ROW_LANES;
  each = each < ROW_LANES ? ROW_LANES : each > ROW_BLOCK ? ROW_BLOCK : each;
  /* What weighs less weighs less than a margin together. */
  double light = 0.03 * rest / (double)row->vocab_size;
  for (uint32_t b = 0; b < row->blocks; b++) {
    const double *w = sample_of(weights, b, each);
    for (uint32_t i = 0; i < each; i++) {
      double weight = w[i] < high ? w[i] : 0;
      sampled += weight;
      largest = weight > largest ? weight : largest;
      least = weight >= light && weight < least ? weight : least;
    }
  }
  if (!(largest > least))
    return spread(high, LEAST_WEIGHT);
  uint64_t first = key_of(largest), range = first - key_of(least);
  unsigned shift = 0;
  while (range >> shift >= SAMPLE_BINS)
    shift++;
  for (uint32_t b = 0; b < row->blocks; b++) {
    const double *w = sample_of(weights, b, each);
    for (uint32_t i = 0; i < each; i++)
      if (w[i] >= least && w[i] < high)
        masses[(first - key_of(w[i])) >> shift] += w[i];
  }
  borders found = {{high, high, LEAST_WEIGHT, LEAST_WEIGHT}};
  unsigned next = 0;
  double before = high;
  for (uint64_t i = 0; i < SAMPLE_BINS && i << shift <= range && next < BORDERS; i++) {
    double below = weight_of_key(first - (i << shift) - (((uint64_t)1 << shift) - 1));
    sum += masses[i] / sampled * rest;
    for (; next < BORDERS && above + sum >= target + margins[next] * rest; next++)
      found.at[next] = margins[next] < 0 ? before : below;
    before = below;
  }
  return found;
}

/* Which part between two borders has the cut: the borders were guesses, and are made right.  The row's sums become those
 * of what is above it; `inside` says which blocks have tokens in it.  Returns its lower border; `above` is the mass. */
static unsigned confirm(tslt_row *row, const double *weights, const double *peaks, double target, borders *found,
                        double *above, double (*parts)[BORDERS]) {
  for (;;) {
    double sums[BORDERS] = {0};
    for (uint32_t b = 0; b < row->blocks; b++) {
      memset(parts[b], 0, sizeof parts[b]);
      if (peaks[b] < found->at[BORDERS - 1])
        continue;
      sums_from(weights + (size_t)b * ROW_BLOCK, ROW_BLOCK, found, parts[b]);
      for (unsigned i = 0; i < BORDERS; i++)
        sums[i] += parts[b][i];
    }
    unsigned part = 0;
    while (part < BORDERS && sums[part] < target)
      part++;
    if (part == BORDERS && found->at[BORDERS - 1] <= LEAST_WEIGHT)
      part = BORDERS - 1; /* rounding alone */
    if (part == 0) {
      *found = spread(2 * tslt_row_weight(row, row->top), found->at[0]);
    } else if (part == BORDERS) {
      *found = spread(found->at[BORDERS - 1], LEAST_WEIGHT);
    } else {
      *above = sums[part - 1];
      return part;
    }
  }
}

/* Tokens of low <= weight < high, in the order of their ids; how many to `count`.  NULL: no memory. */
static candidate *collect(tslt_context *context, const tslt_row *row, const double *weights, double low, double high,
                          const uint8_t *inside, size_t *count) {
  /* Where scores are the logits, they are looked up; else a block of them is made. */
  const float *plain = row->dtype == TSLT_FLOAT32 && !row->changes && !row->allowed ? row->logits : NULL;
  double scores[ROW_BLOCK];
  uint8_t places[ROW_BLOCK + ROW_LANES];
  *count = 0;
  for (uint32_t b = 0; b < row->blocks; b++) {
    if (!inside[b])
      continue;
    size_t n = places_between(weights + (size_t)b * ROW_BLOCK, low, high, places);
    candidate *found = tslt_reserve(&context->row_values, *count + n + 1, sizeof *found);
    if (!found)
      return NULL;
    if (!plain && n)
      tslt_row_scores(row, b, scores);
    for (size_t i = 0; i < n; i++) {
      uint32_t id = b * ROW_BLOCK + places[i];
      found[(*count)++] = (candidate){plain ? (double)plain[id] : scores[places[i]], id};
    }
  }
  return tslt_reserve(&context->row_values, 2 * *count + 1, sizeof(candidate));
}

/* The candidate at which the mass, `above` and then from the largest score, reaches `target`.  `some` is overwritten. */
static candidate reaching(candidate *some, size_t count, const double *weights, double above, double target) {
  for (unsigned round = 0; count > FEW && round < MOST_ROUNDS; round++) {
    double low = some[0].score, high = low;
    for (size_t i = 1; i < count; i++) {
      low = some[i].score < low ? some[i].score : low;
      high = some[i].score > high ? some[i].score : high;
    }
    double masses[BINS] = {0}, steps = (BINS - 1) / (high - low);
    if (!(high > low) || !(steps <= 0x1p1000))
      break; /* equals are in the order of their ids */
    for (size_t i = 0; i < count; i++)
      masses[(unsigned)((high - some[i].score) * steps)] += weights[some[i].id];
    unsigned bin = 0;
    double sum = above;
    for (unsigned i = 0; i < BINS && sum < target; i++) {
      if (masses[i] <= 0)
        continue;
      bin = i;
      above = sum;
      sum += masses[i];
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
      candidate c = some[i];
      some[kept] = c;
      kept += (unsigned)((high - c.score) * steps) == bin;
    }
    count = kept;
  }
  qsort(some, count, sizeof *some, descending);
  size_t i = 0;
  while (i < count - 1 && (above += weights[some[i].id]) < target)
    i++;
  return some[i];
}

int tslt_cut_mass(tslt_context *context, tslt_row *row, double top_p) {
  double *weights = context->row_weights.at;
  /* For each block: its largest weight, sums above the borders, and whether it has a token where the cut is. */
  double *peaks = tslt_reserve(&context->row_peaks, row->blocks, (1 + BORDERS) * sizeof *peaks + 1);
  if (!peaks)
    return TSLT_NO_MEMORY;
  double (*parts)[BORDERS] = (double (*)[BORDERS])(peaks + row->blocks), total = 0, above;
  uint8_t *inside = (uint8_t *)(parts + row->blocks);
  for (uint32_t b = 0; b < row->blocks; b++) {
    total += row->sums[b];
    /* A little more, so that no token of the block is missed. */
    peaks[b] = row->sums[b] > 0 ? tslt_row_weight(row, row->maxima[b]) * 1.000001 : 0;
  }
  double target = top_p * total;
  borders found;
  double high, certain;
  if (!peaked(row, weights, peaks, target, &found, &high, &certain))
    found = guess(row, weights, high, certain, total - certain, target);
  unsigned part = confirm(row, weights, peaks, target, &found, &above, parts);
  for (uint32_t b = 0; b < row->blocks; b++) {
    row->sums[b] = parts[b][part - 1];
    inside[b] = parts[b][part] > row->sums[b];
  }
  size_t count;
  candidate *some = collect(context, row, weights, found.at[part], found.at[part - 1], inside, &count);
  if (!some)
    return TSLT_NO_MEMORY;
  memcpy(some + count, some, count * sizeof *some);
  candidate last = reaching(some + count, count, weights, above, target);
  row->border = last.score;
  row->last = last.id;
  double border = tslt_row_weight(row, last.score);
  bool near = border * (1 + OFF) >= found.at[part - 1] || border * (1 - OFF) <= found.at[part];
  if (near || row->least > 0) { /* the weights are not needed any more */
    for (uint32_t b = 0; b < row->blocks; b++)
      row->sums[b] = peaks[b] >= border && peaks[b] >= row->least
                         ? tslt_row_cut(row, b, weights + (size_t)b * ROW_BLOCK) : 0;
    return TSLT_OK;
  }
  for (size_t i = 0; i < count; i++)
    if (tslt_row_keeps(row, some[i].score, some[i].id))
      row->sums[some[i].id / ROW_BLOCK] += weights[some[i].id];
  return TSLT_OK;
}
