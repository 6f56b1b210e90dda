/* The cuts of a target row without sorting the vocabulary: the k-th largest score, and the border of a mass. */
#include "target_row.h"

#include <stdlib.h>

enum { BINS = 256, FEW = 48, MOST_ROUNDS = 12, SAMPLES = 4096, SAMPLE_BINS = 512, BORDERS = 4, SET = 8 };
/* No weight but 0 is below 2^-1022. */
#define LEAST_WEIGHT 0x1p-1022
/* More than weights and their sums are off: two that differ by less may be in another order than their scores. */
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
  double score, weight;
  uint32_t id;
} candidate;

/* The blocks that may have a token that is kept, in order. */
typedef struct {
  uint32_t count;
  uint32_t *blocks;
  double *weights; /* ROW_BLOCK of each */
  double *peaks;   /* the largest of them, or a little more, so that no token is missed */
  double (*parts)[BORDERS];
} chosen;

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

#if defined(TSLT_GATHERS)
__attribute__((target("avx512f"))) static void sums_512(const double *w, const borders *from, double *sums) {
  __m512d lanes[BORDERS];
  for (unsigned j = 0; j < BORDERS; j++)
    lanes[j] = _mm512_setzero_pd();
  for (unsigned i = 0; i < ROW_BLOCK; i += ROW_LANES) {
    __m512d x = _mm512_loadu_pd(w + i);
    for (unsigned j = 0; j < BORDERS; j++)
      lanes[j] = _mm512_mask_add_pd(lanes[j], _mm512_cmp_pd_mask(x, _mm512_set1_pd(from->at[j]), _CMP_GE_OQ), lanes[j], x);
  }
  for (unsigned j = 0; j < BORDERS; j++) {
    double sum[ROW_LANES];
    _mm512_storeu_pd(sum, lanes[j]);
    sums[j] = tslt_lane_sum(sum);
  }
}
#endif

/* Sums of the weights of a block that are at least each border. */
static void sums_from(const double *w, const borders *from, double *sums) {
#if defined(TSLT_GATHERS)
  if (__builtin_cpu_supports("avx512f")) {
    sums_512(w, from, sums);
    return;
  }
#endif
  double lanes[BORDERS][ROW_LANES] = {{0}};
  for (const double *end = w + ROW_BLOCK; w < end; w += ROW_LANES)
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

/* Where few of many blocks have large weights, their sums say soon how far down the mass reaches.  False: there are many;
 * the mass of all that is at least `high` is then `above`. */
static bool peaked(const tslt_row *row, const chosen *of, double target, borders *found, double *high, double *above) {
  double most = tslt_row_weight(row, row->top);
  *high = 2 * most;
  *above = 0;
  for (double low = most / 8; low > LEAST_WEIGHT; low /= 16) {
    double sum = 0, sums[BORDERS];
    uint32_t touched = 0;
    for (uint32_t i = 0; i < of->count; i++)
      touched += of->peaks[i] >= low;
    if (touched > row->blocks / 3 + 4)
      return false;
    *found = spread(*high, low);
    for (uint32_t i = 0; i < of->count; i++) {
      if (of->peaks[i] < low)
        continue;
      sums_from(of->weights + (size_t)i * ROW_BLOCK, found, sums);
      sum += sums[BORDERS - 1];
    }
    if (sum >= target)
      return true;
    *high = low;
    *above = sum;
  }
  return false;
}

/* The weights of a block that are a sample of it; all samples have `each`. */
static const double *sample_of(const chosen *of, uint32_t i, uint32_t each) {
  return of->weights + (size_t)i * ROW_BLOCK + i * ROW_LANES % (ROW_BLOCK - each + ROW_LANES);
}

/* Borders by a sample of the weights below `high`: where the mass is more and less than `target` by two margins.  `above`:
 * what is not below it; `rest`: what is. */
static borders guess(const chosen *of, double high, double above, double rest, double target) {
  static const double margins[BORDERS] = {-0.03, -0.008, 0.008, 0.03};
  double masses[SAMPLE_BINS] = {0}, sampled = 0, sum = 0, largest = 0, least = high;
  uint32_t each = SAMPLES / of->count / ROW_LANES * ROW_LANES;
  each = each < ROW_LANES ? ROW_LANES : each > ROW_BLOCK ? ROW_BLOCK : each;
  /* What weighs less weighs less than a margin together. */
  double light = 0.03 * rest / ((double)of->count * ROW_BLOCK);
  for (uint32_t b = 0; b < of->count; b++) {
    const double *w = sample_of(of, b, each);
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
  for (uint32_t b = 0; b < of->count; b++) {
    const double *w = sample_of(of, b, each);
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

/* Which part between two borders has the cut: the borders were guesses, and are made right.  Returns its lower border;
 * `above` is the mass above it, and `parts` has that of each block at least each border. */
static unsigned confirm(const tslt_row *row, chosen *of, double target, borders *found, double *above) {
  for (;;) {
    double sums[BORDERS] = {0};
    for (uint32_t i = 0; i < of->count; i++) {
      memset(of->parts[i], 0, sizeof of->parts[i]);
      if (of->peaks[i] < found->at[BORDERS - 1])
        continue;
      sums_from(of->weights + (size_t)i * ROW_BLOCK, found, of->parts[i]);
      for (unsigned j = 0; j < BORDERS; j++)
        sums[j] += of->parts[i][j];
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
static candidate *collect(tslt_context *context, const tslt_row *row, const chosen *of, unsigned part,
                          const borders *found, size_t *count) {
  /* Where scores are the logits, they are looked up; else a block of them is made. */
  const float *plain = row->dtype == TSLT_FLOAT32 && !row->changes && !row->allowed ? row->logits : NULL;
  double scores[ROW_BLOCK];
  uint8_t places[ROW_BLOCK + ROW_LANES];
  *count = 0;
  for (uint32_t b = 0; b < of->count; b++) {
    if (!(of->parts[b][part] > of->parts[b][part - 1]))
      continue;
    const double *weights = of->weights + (size_t)b * ROW_BLOCK;
    size_t n = places_between(weights, found->at[part], found->at[part - 1], places);
    candidate *some = tslt_reserve(&context->row_values, *count + n + 1, sizeof *some);
    if (!some)
      return NULL;
    if (!plain && n)
      tslt_row_scores(row, of->blocks[b], scores);
    for (size_t i = 0; i < n; i++) {
      uint32_t id = of->blocks[b] * ROW_BLOCK + places[i];
      some[(*count)++] = (candidate){plain ? (double)plain[id] : scores[places[i]], weights[places[i]], id};
    }
  }
  return tslt_reserve(&context->row_values, 2 * *count + 1, sizeof(candidate));
}

/* The candidate at which the mass, `above` and then from the largest score, reaches `target`.  `some` is overwritten. */
static candidate reaching(candidate *some, size_t count, double above, double target) {
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
      masses[(unsigned)((high - some[i].score) * steps)] += some[i].weight;
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
  while (i < count - 1 && (above += some[i].weight) < target)
    i++;
  return some[i];
}

/* The most that tokens lighter than `low` can weigh together. */
TSLT_CLONES
static double most_below(const double *restrict peaks, const double *restrict sums, size_t count, double low) {
  double lanes[ROW_LANES] = {0};
  for (size_t i = 0; i < count; i += ROW_LANES)
    for (size_t j = 0; j < ROW_LANES; j++) {
      /* All of the block, or what its largest leaves, but no more than so many of nearly `low`. */
      double rest = peaks[i + j] < low ? sums[i + j] : sums[i + j] - peaks[i + j] * 0.999;
      lanes[j] += rest < low * ROW_BLOCK ? rest : low * ROW_BLOCK;
    }
  return tslt_lane_sum(lanes);
}

/* Choose blocks: those whose largest weight is not below what surely is left out, with their weights, which are in
 * `given` if all of them have been made.  False: no memory. */
static bool choose(tslt_context *context, tslt_row *row, double *given, double rest, chosen *of) {
  uint32_t room = (row->blocks + ROW_LANES - 1) / ROW_LANES * ROW_LANES;
  double *peaks = tslt_reserve(&context->row_peaks, room, (2 + BORDERS) * sizeof *peaks + sizeof *of->blocks);
  if (!peaks)
    return false;
  double *sums = peaks + room, low = tslt_row_weight(row, row->top);
  *of = (chosen){.weights = given, .peaks = peaks, .parts = (double (*)[BORDERS])(sums + room)};
  of->blocks = (uint32_t *)(of->parts + room);
  memset(sums, 0, room * sizeof *sums);
  for (uint32_t b = 0; b < room; b++)
    peaks[b] = b < row->blocks && row->sums[b] > 0 ? tslt_row_weight(row, row->maxima[b]) * 1.000001 : 0;
  memcpy(sums, row->sums, row->blocks * sizeof *sums);
  if (!given)
    while (low > LEAST_WEIGHT && !(most_below(peaks, sums, room, low) < rest))
      low /= 2;
  for (uint32_t b = 0; b < row->blocks; b++) {
    of->blocks[of->count] = b;
    peaks[of->count] = peaks[b];
    if (given || peaks[b] >= low)
      of->count++;
    else
      row->sums[b] = 0;
  }
  if (given)
    return true;
  of->weights = tslt_reserve(&context->row_weights, (size_t)of->count * ROW_BLOCK, sizeof *of->weights);
  for (uint32_t i = 0; of->weights && i < of->count; i++)
    tslt_row_weights(row, of->blocks[i], of->weights + (size_t)i * ROW_BLOCK);
  return of->weights != NULL;
}

int tslt_cut_mass(tslt_context *context, tslt_row *row, double *weights, double top_p, double min_p) {
  double total = 0, sum = 0, above, high, certain;
  chosen of;
  borders found;
  for (uint32_t b = 0; b < row->blocks; b++)
    total += row->sums[b];
  double target = top_p * total;
  if (!choose(context, row, weights, total - target - total * OFF, &of))
    return TSLT_NO_MEMORY;
  for (uint32_t i = 0; i < of.count; i++)
    sum += row->sums[of.blocks[i]];
  if (!peaked(row, &of, target, &found, &high, &certain))
    found = guess(&of, high, certain, sum - certain, target);
  unsigned part = confirm(row, &of, target, &found, &above);
  size_t count;
  candidate *some = collect(context, row, &of, part, &found, &count);
  if (!some)
    return TSLT_NO_MEMORY;
  memcpy(some + count, some, count * sizeof *some);
  candidate last = reaching(some + count, count, above, target);
  row->is_cut = true;
  row->border = last.score;
  row->last = last.id;
  row->least = min_p * tslt_row_weight(row, row->top);
  bool near = last.weight * (1 + OFF) >= found.at[part - 1] || last.weight * (1 - OFF) <= found.at[part];
  for (uint32_t i = 0; i < of.count; i++)
    if (near || row->least > 0)
      row->sums[of.blocks[i]] = tslt_row_cut(row, of.blocks[i], of.weights + (size_t)i * ROW_BLOCK);
    else
      row->sums[of.blocks[i]] = of.parts[i][part - 1];
  if (!near && !(row->least > 0))
    for (size_t i = 0; i < count; i++)
      if (tslt_row_keeps(row, some[i].score, some[i].id))
        row->sums[some[i].id / ROW_BLOCK] += some[i].weight;
  return TSLT_OK;
}
