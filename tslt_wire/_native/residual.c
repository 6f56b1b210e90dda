/* What the target still owes at a node, as children of it are given up: spec sections 6.3 and 6.8.
 *
 * Off the list p and q are both known by a formula: r = s * max(0, p - c * a), where a is the prior's weight of a token and
 * two numbers, s and c, follow from what is owed and all that was given up.  So only the list's tokens, and those that were drawn from
 * its tail, have a number of their own. */
#include <stdlib.h>

#include "grid.h"
#include "target_row.h"

enum { TAIL_PARTS = 32 };
/* What is left of a residual where p and q are equal but for rounding is below this. */
#define ROUNDING 0x1p-48

typedef struct {
  uint32_t id;
  int listed;     /* 0: drawn from the tail and gone */
  int64_t weight; /* of the list, 0 once gone */
  double rest;    /* of the residual */
} special;

struct tslt_residual {
  const tslt_row *row;
  const int64_t *prior; /* running sums; NULL: no tail */
  special *own;         /* ascending */
  double *off;          /* by blocks: max(0, p - c * a) of all other tokens */
  double s, c;
  double owed; /* sum of r */
  int64_t listed, gone; /* weight of the list that is left; the prior's weight of tokens of `own` */
  uint32_t count, room, tail;
  int replacement, lazy, started; /* until it is started, what is left is the row, and `rest` and `off` are not made */
};

static int64_t prior_weight(const tslt_residual *r, uint32_t id) { return r->prior[id + 1] - r->prior[id]; }

/* The tail's probability now, in 32nds. */
static uint32_t tail_now(const tslt_residual *r) {
  if (!r->prior || r->count == r->row->vocab_size)
    return 0;
  return r->listed ? r->tail : TAIL_PARTS;
}

/* Probability that the next child is a token of the tail, over the prior's weight of that token. */
static double tail_rate(const tslt_residual *r) {
  uint32_t tail = tail_now(r);
  return tail ? (double)tail / TAIL_PARTS / (double)(r->prior[r->row->vocab_size] - r->gone) : 0;
}

/* Probability that the next child is this one of the list. */
static double listed_prob(const tslt_residual *r, const special *own) {
  return own->weight ? (double)own->weight * ((1 - (double)tail_now(r) / TAIL_PARTS) / (double)r->listed) : 0;
}

/* The first of `own` that is not below `id`. */
static uint32_t place_of(const tslt_residual *r, uint32_t id) {
  uint32_t low = 0, high = r->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (r->own[middle].id < id)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static special *find_own(const tslt_residual *r, uint32_t id) {
  uint32_t at = place_of(r, id);
  return at < r->count && r->own[at].id == id ? &r->own[at] : NULL;
}

/* Spec [LAZY-4]: what is left of p where q was proposed and the code of q told. */
static double lazy_rest(double p, double q) {
  double bound = tslt_grid(tslt_grid_up(q)), rest = p - q * (p < bound ? p / bound : 1);
  return rest > 0 ? rest : 0;
}

/* The least of the prior's weights of a block. */
TSLT_CLONES
static int64_t least_weight(const int64_t *starts, uint32_t count) {
  int64_t least = INT64_MAX;
  for (uint32_t i = 0; i < count; i++) {
    int64_t weight = starts[i + 1] - starts[i];
    least = weight < least ? weight : least;
  }
  return least;
}

TSLT_CLONES
static void subtract_tail(const double *weights, double total, const int64_t *starts, double c, uint32_t count,
                          double *out) {
  double part = 1 / total;
  for (uint32_t i = 0; i < count; i++) {
    /* To a double by way of its bits: few machines have vectors of int64 to double.  A weight is below 2^52. */
    uint64_t bits = (uint64_t)(starts[i + 1] - starts[i]) | 0x4330000000000000;
    double weight;
    memcpy(&weight, &bits, sizeof weight);
    double rest = weights[i] * part - c * (weight - 0x1p52);
    out[i] = rest > 0 ? rest : 0;
  }
}

/* max(0, p - c * a) of a block; 0 behind the last token, and for tokens of `own`. */
static void off_list(const tslt_residual *r, uint32_t block, double c, double *out) {
  const tslt_row *row = r->row;
  uint32_t first = block * ROW_BLOCK, count = tslt_block_size(row, block);
  double weights[ROW_BLOCK];
  tslt_row_weights(row, block, weights);
  if (r->lazy && c > 0)
    for (uint32_t i = 0; i < count; i++)
      out[i] = weights[i] > 0 ? lazy_rest(weights[i] / row->total, c * (double)prior_weight(r, first + i)) : 0;
  else if (c > 0)
    subtract_tail(weights, row->total, r->prior + first, c, count, out);
  else
    for (uint32_t i = 0; i < count; i++)
      out[i] = weights[i] / row->total;
  for (uint32_t i = count; i < ROW_BLOCK; i++)
    out[i] = 0;
  for (uint32_t i = place_of(r, first); i < r->count && r->own[i].id < first + ROW_BLOCK; i++)
    out[r->own[i].id - first] = 0;
}

static double off_sum(const tslt_residual *r, uint32_t block, double c) {
  const tslt_row *row = r->row;
  double out[ROW_BLOCK];
  if (row->sums[block] <= 0)
    return 0;
  /* Most blocks of a peaked row have no token for which p is more than the tail's part of q: none is weighed then. */
  if (c > 0 && !r->lazy) {
    const int64_t *starts = r->prior + block * ROW_BLOCK;
    uint32_t count = tslt_block_size(row, block);
    double most = tslt_row_weight(row, row->maxima[block]) / row->total * 1.000001;
    /* The least is no more than the mean, which is known. */
    if (most * count < c * (double)(starts[count] - starts[0]) && most < c * (double)least_weight(starts, count))
      return 0;
  }
  off_list(r, block, c, out);
  return tslt_block_sum(out);
}

/* What is owed of the tokens of `own`, and p of all others by blocks. */
static void start(tslt_residual *r) {
  const tslt_row *row = r->row;
  uint32_t at = 0;
  r->started = 1;
  for (uint32_t i = 0; i < r->count; i++)
    r->own[i].rest = tslt_row_prob(row, r->own[i].id);
  for (uint32_t b = 0; b < row->blocks; b++) {
    double all = row->sums[b] / row->total, own = 0;
    for (; at < r->count && r->own[at].id < (b + 1) * ROW_BLOCK; at++)
      own += r->own[at].rest;
    r->off[b] = all - own;
    /* What little is left of a difference is mostly rounding. */
    if (own > 0 && r->off[b] < all * 0x1p-20)
      r->off[b] = off_sum(r, b, 0);
  }
  for (uint32_t i = 0; i < r->count; i++)
    r->own[i].rest *= r->owed;
}

static int new_residual(const tslt_row *row, const tslt_list *list, const tslt_prior *prior,
                        tslt_residual **residual) {
  *residual = NULL;
  for (uint32_t i = 0; i < list->count; i++)
    if (list->ids[i] < 0 || (uint32_t)list->ids[i] >= row->vocab_size || (i && list->ids[i] <= list->ids[i - 1]) ||
        list->weights[i] < 0)
      return TSLT_BAD_ARGUMENT;
  if (list->tail && (!prior || list->tail >= TAIL_PARTS))
    return TSLT_BAD_ARGUMENT;
  tslt_residual *r = calloc(1, sizeof *r);
  if (!r)
    return TSLT_NO_MEMORY;
  r->row = row;
  r->room = list->count + 8;
  r->own = malloc(r->room * sizeof *r->own);
  r->off = malloc(row->blocks * sizeof *r->off);
  if (!r->own || !r->off) {
    tslt_residual_free(r);
    return TSLT_NO_MEMORY;
  }
  r->prior = list->tail ? prior->tail : NULL;
  r->tail = list->tail;
  r->s = r->owed = 1;
  r->count = list->count;
  for (uint32_t i = 0; i < list->count; i++) {
    uint32_t id = (uint32_t)list->ids[i];
    r->own[i] = (special){id, 1, list->weights[i], 0};
    r->listed += list->weights[i];
    r->gone += r->prior ? prior_weight(r, id) : 0;
  }
  *residual = r;
  return TSLT_OK;
}

int tslt_residual_new(const tslt_row *row, const tslt_list *list, const tslt_prior *prior,
                      int without_replacement, double owed, tslt_residual **residual) {
  *residual = NULL;
  if (!(owed > 0 && owed <= 1))
    return TSLT_BAD_ARGUMENT;
  int error = new_residual(row, list, prior, residual);
  if (!error) {
    (*residual)->replacement = !without_replacement;
    (*residual)->s = (*residual)->owed = owed;
  }
  return error;
}

double tslt_residual_owed(const tslt_residual *residual) { return residual->owed; }

static double off_total(const tslt_residual *r, const double *off) {
  double lanes[ROW_LANES] = {0};
  for (uint32_t b = 0; b < r->row->blocks; b++)
    lanes[b % ROW_LANES] += off[b];
  return tslt_lane_sum(lanes);
}

int tslt_residual_lazy(const tslt_row *row, const tslt_list *list, const tslt_prior *prior,
                       tslt_residual **residual) {
  int error = new_residual(row, list, prior, residual);
  if (error)
    return error;
  tslt_residual *r = *residual;
  start(r);
  r->lazy = 1;
  r->c = tail_rate(r);
  double total = 0;
  for (uint32_t i = 0; i < r->count; i++)
    total += lazy_rest(r->own[i].rest, listed_prob(r, &r->own[i]));
  if (r->c > 0)
    for (uint32_t b = 0; b < row->blocks; b++)
      r->off[b] = off_sum(r, b, r->c);
  if (total + off_total(r, r->off) > 0) {
    for (uint32_t i = 0; i < r->count; i++)
      r->own[i].rest = lazy_rest(r->own[i].rest, listed_prob(r, &r->own[i]));
  } else { /* rounding alone: p takes its place */
    r->c = 0;
    start(r);
  }
  return TSLT_OK;
}

void tslt_residual_free(tslt_residual *residual) {
  if (!residual)
    return;
  free(residual->own);
  free(residual->off);
  free(residual);
}

static double rest_of(const tslt_residual *r, uint32_t token) {
  if (!r->started)
    return r->owed * tslt_row_prob(r->row, token);
  const special *own = find_own(r, token);
  if (own)
    return own->rest;
  double p = tslt_row_prob(r->row, token), q = r->prior ? r->c * (double)prior_weight(r, token) : 0;
  double rest = r->lazy && q > 0 ? lazy_rest(p, q) : p - q;
  return rest > 0 ? rest * r->s : 0;
}

double tslt_residual_share(const tslt_residual *residual, uint32_t token) {
  if (token >= residual->row->vocab_size)
    return 0;
  const special *own = find_own(residual, token);
  double q = own ? listed_prob(residual, own)
                 : residual->prior ? tail_rate(residual) * (double)prior_weight(residual, token) : 0;
  double rest = rest_of(residual, token);
  return rest < q ? rest / q : 1;
}

/* Without replacement a token of the tail is one of `own` from now on. */
static int take_from_tail(tslt_residual *r, uint32_t token) {
  if (r->count == r->room) {
    special *grown = realloc(r->own, (r->room + 64) * sizeof *grown);
    if (!grown)
      return TSLT_NO_MEMORY;
    r->own = grown;
    r->room += 64;
  }
  double rest = rest_of(r, token);
  uint32_t at = place_of(r, token);
  memmove(r->own + at + 1, r->own + at, (r->count - at) * sizeof *r->own);
  r->own[at] = (special){token, 0, 0, rest};
  r->count++;
  r->gone += prior_weight(r, token);
  r->off[token / ROW_BLOCK] = off_sum(r, token / ROW_BLOCK, r->c);
  return TSLT_OK;
}

int tslt_residual_reject(tslt_residual *r, uint32_t token) {
  if (r->lazy || token >= r->row->vocab_size)
    return TSLT_BAD_ARGUMENT;
  const tslt_row *row = r->row;
  if (!r->started)
    start(r);
  double rate = tail_rate(r), c = r->c + rate / r->s, listed = 0, *off = r->off;
  if (rate > 0) {
    off = malloc(row->blocks * sizeof *off);
    if (!off)
      return TSLT_NO_MEMORY;
    for (uint32_t b = 0; b < row->blocks; b++)
      off[b] = off_sum(r, b, c);
  }
  for (uint32_t i = 0; i < r->count; i++) {
    double rest = r->own[i].rest - listed_prob(r, &r->own[i]);
    listed += rest > 0 ? rest : 0;
  }
  double left = listed + r->s * off_total(r, off), given_up = 1 - r->owed + left;
  if (given_up > ROUNDING) {
    for (uint32_t i = 0; i < r->count; i++) {
      double rest = r->own[i].rest - listed_prob(r, &r->own[i]);
      r->own[i].rest = rest > 0 ? rest / given_up : 0;
    }
    if (off != r->off)
      memcpy(r->off, off, row->blocks * sizeof *off);
    r->s /= given_up;
    r->c = c;
    r->owed = left / given_up;
  } /* else [VERIFY-5]: rounding alone, and the residual stays as it was */
  if (off != r->off)
    free(off);
  if (r->replacement)
    return TSLT_OK;
  special *own = find_own(r, token);
  if (!own)
    return r->prior ? take_from_tail(r, token) : TSLT_OK;
  r->listed -= own->weight;
  own->weight = 0;
  return TSLT_OK;
}

/* The residual of a block's tokens. */
static void block_rest(const tslt_residual *r, uint32_t block, double *out) {
  uint32_t first = block * ROW_BLOCK;
  if (r->row->sums[block] > 0)
    off_list(r, block, r->c, out);
  else
    memset(out, 0, ROW_BLOCK * sizeof *out);
  for (uint32_t i = 0; i < ROW_BLOCK; i++)
    out[i] *= r->s;
  for (uint32_t i = place_of(r, first); i < r->count && r->own[i].id < first + ROW_BLOCK; i++)
    out[r->own[i].id - first] = r->own[i].rest;
}

/* The first token of a block at which the running sum, `before` it, is above the target; else its last with something
 * left, or UINT32_MAX.  The sum behind it to `after`. */
static uint32_t draw_inside(const tslt_residual *r, uint32_t block, double before, double target,
                            double *after) {
  double out[ROW_BLOCK];
  uint32_t token = UINT32_MAX;
  block_rest(r, block, out);
  for (uint32_t i = 0; i < ROW_BLOCK && before <= target; i++) {
    token = out[i] > 0 ? block * ROW_BLOCK + i : token;
    before += out[i];
  }
  *after = before;
  return token;
}

uint32_t tslt_residual_draw(const tslt_residual *r, double u) {
  if (!r->started)
    return tslt_row_draw(r->row, u);
  uint32_t at = 0;
  double total = r->s * off_total(r, r->off), sum = 0, after;
  for (uint32_t i = 0; i < r->count; i++)
    total += r->own[i].rest;
  double target = u * total;
  for (uint32_t b = 0; b < r->row->blocks; b++) {
    double mass = r->s * r->off[b];
    for (; at < r->count && r->own[at].id < (b + 1) * ROW_BLOCK; at++)
      mass += r->own[at].rest;
    if (sum + mass > target) {
      uint32_t token = draw_inside(r, b, sum, target, &after);
      if (after > target)
        return token;
      sum = after;
    } else {
      sum += mass;
    }
  }
  /* Sums by blocks and sums by tokens differ in their rounding: the last token with something left. */
  for (uint32_t b = r->row->blocks; b-- > 0;) {
    uint32_t token = draw_inside(r, b, 0, total + 1, &after);
    if (token != UINT32_MAX)
      return token;
  }
  return tslt_row_draw(r->row, u);
}

void tslt_residual_probs(const tslt_residual *r, double *probs) {
  if (!r->started) {
    tslt_row_probs(r->row, probs);
    for (uint32_t i = 0; i < r->row->vocab_size; i++)
      probs[i] *= r->owed;
    return;
  }
  double out[ROW_BLOCK];
  for (uint32_t b = 0; b < r->row->blocks; b++) {
    block_rest(r, b, out);
    memcpy(probs + (size_t)b * ROW_BLOCK, out, tslt_block_size(r->row, b) * sizeof *out);
  }
}
