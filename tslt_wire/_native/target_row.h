/* A target row: what is kept of a row of logits, and its sums by blocks.  Spec section 7.2. */
#ifndef TSLT_TARGET_ROW_H
#define TSLT_TARGET_ROW_H

#include "clones.h"
#include "context.h"
#include "exponential.h"

enum { ROW_BLOCK = 256, ROW_LANES = 8, MAX_LANES = 32 };

struct tslt_row {
  const void *logits;
  const uint8_t *allowed; /* NULL: all */
  const int32_t *changed; /* tokens whose score is not the logit, ascending */
  const double *scores;
  size_t changes;
  double *maxima; /* largest score of each block */
  double *sums;   /* weight of each block's kept tokens */
  double *ends;   /* their running sums */
  double top;         /* the largest score */
  double base, scale; /* a score x has the weight 2^((x - base) * scale) */
  /* Kept are tokens above `border`, those at it up to the id `last`, and of them those with a weight of `least`. */
  double border, least;
  double total;
  uint32_t last;
  bool is_cut; /* whether there is a border or a least weight */
  int dtype;
  uint32_t vocab_size, blocks;
};

/* Tokens of a block: ROW_BLOCK but in the last one. */
static inline uint32_t tslt_block_size(const tslt_row *row, uint32_t block) {
  uint32_t left = row->vocab_size - block * ROW_BLOCK;
  return left < ROW_BLOCK ? left : ROW_BLOCK;
}

/* The weight of a score. */
static inline double tslt_row_weight(const tslt_row *row, double score) {
  return tslt_exp2((score - row->base) * row->scale);
}

/* The score of one token. */
double tslt_row_score(const tslt_row *row, uint32_t token);
/* Scores of block `block`; -inf behind the last token. */
void tslt_row_scores(const tslt_row *row, uint32_t block, double *scores);
/* Weights of a block's tokens, 0 for those that are not kept; their sum. */
double tslt_row_weights(const tslt_row *row, uint32_t block, double *weights);

/* Leave out of a block's weights what is not kept; the sum of what is. */
double tslt_row_cut(const tslt_row *row, uint32_t block, double *weights);

static inline int tslt_row_keeps(const tslt_row *row, double score, uint32_t token) {
  return score > row->border || (score == row->border && token <= row->last);
}

/* Sums have a fixed order of lanes. */
static inline double tslt_lane_sum(const double *lanes) {
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

static inline double tslt_block_sum(const double *x) {
  double lanes[ROW_LANES] = {0};
  for (unsigned i = 0; i < ROW_BLOCK; i += ROW_LANES)
    for (unsigned j = 0; j < ROW_LANES; j++)
      lanes[j] += x[i + j];
  return tslt_lane_sum(lanes);
}

/* cuts.c.  The score of the k-th largest, 0 < k < V. */
int tslt_kth_score(tslt_context *context, const tslt_row *row, uint32_t k, double *score);
/* Cut by top-p, then by min-p; the sums become those of what is kept.  `weights`: all of the row's, or NULL; lost. */
int tslt_cut_mass(tslt_context *context, tslt_row *row, double *weights, double top_p, double min_p);

#endif
