/* Rows, residuals and races of random logits, settings, changes and lists: what must hold for each of them is checked,
 * and nothing may touch memory that is not its own (this is built with sanitizers; see `make sanitize`).
 *
 *   ./fuzz_rows SEED TIMES */
#include <math.h>

#include "../../examples/embed_c/lines.h"

enum { MOST = 1400, TAIL_PARTS = 32 };
static const double NEAR = 1e-9;

static uint64_t state;
static unsigned rows, refused, residuals;

static uint32_t below(uint32_t count) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(((state >> 32) * count) >> 32);
}

/* Uniform in [0, 1), and often its ends. */
static double uniform(void) {
  switch (below(8)) {
  case 0:
    return 0;
  case 1:
    return 1 - 0x1p-53;
  default:
    return below(1u << 31) / 0x1p31;
  }
}

static void must(int holds, const char *what, unsigned at) {
  if (holds)
    return;
  printf("fuzz_rows: %s in case %u\n", what, at);
  exit(1);
}

/* A number of any kind: near others, far from all, equal to many, and what is none. */
static double some_logit(unsigned kind) {
  if (!below(50))
    return below(2) ? -INFINITY : 0;
  if (kind == 0) /* ties */
    return (double)below(4) - 2;
  if (kind == 1) /* flat */
    return below(1000) * 1e-4;
  if (kind == 2) /* few far above the rest */
    return below(40) ? below(1000) * 1e-3 : 10 + below(1000) * 0.02;
  if (kind == 3) /* any magnitude, denormal ones too */
    return (below(2) ? 1 : -1) * ldexp(1 + below(1000) * 1e-3, (int)below(280) - 150);
  return (below(1u << 20) / 0x1p20 + below(1u << 20) / 0x1p20 + below(1u << 20) / 0x1p20 - 1.5) * 8;
}

static void put(uint8_t *to, int dtype, double value) {
  float single = (float)value;
  uint32_t bits;
  memcpy(&bits, &single, sizeof bits);
  if (dtype == TSLT_FLOAT64) {
    memcpy(to, &value, sizeof value);
  } else if (dtype == TSLT_FLOAT32) {
    memcpy(to, &single, sizeof single);
  } else if (dtype == TSLT_BFLOAT16) {
    uint16_t upper = (uint16_t)(bits >> 16);
    memcpy(to, &upper, sizeof upper);
  } else { /* binary16, cut: what is too small is 0, what is too large infinite */
    int exponent = (int)(bits >> 23 & 0xFF) - 112;
    uint16_t half = (uint16_t)(exponent <= 0 ? 0 : exponent >= 31 ? 0x7C00 : exponent << 10 | (int)(bits >> 13 & 0x3FF));
    half |= (uint16_t)(bits >> 16 & 0x8000);
    memcpy(to, &half, sizeof half);
  }
}

/* Exactly as many bytes as there are logits, so that a checker sees every step beyond. */
static uint8_t *some_logits(uint32_t size, int dtype) {
  size_t item = dtype == TSLT_FLOAT64 ? 8 : dtype == TSLT_FLOAT32 ? 4 : 2;
  uint8_t *logits = room(size, item);
  unsigned kind = below(5);
  if (!below(12)) /* any bytes at all */
    for (size_t i = 0; i < size * item; i++)
      logits[i] = (uint8_t)below(256);
  else
    for (uint32_t i = 0; i < size; i++)
      put(logits + i * item, dtype, some_logit(kind));
  if (!below(20))
    put(logits + below(size) * item, dtype, below(2) ? NAN : INFINITY);
  return logits;
}

static tslt_sampling some_sampling(void) {
  static const double temperatures[] = {0, 1e-300, 0.3, 0.7, 1, 2.5, 1e300}, parts[] = {0, 1e-12, 0.05, 0.5, 1},
                      masses[] = {1, 1, 1e-300, 0.5, 0.9, 0.999999, 1 - 0x1p-53};
  return (tslt_sampling){.temperature = temperatures[below(7)],
                         .top_k = below(2) ? 0 : 1 + below(below(2) ? 8 : 2 * MOST),
                         .top_p = below(2) ? masses[below(7)] : 0.001 * (1 + below(1000)),
                         .min_p = below(2) ? 0 : parts[below(5)]};
}

/* Ascending tokens of a vocabulary, none of them twice; how many.  Each is taken with probability 1 / `every`. */
static uint32_t some_tokens(uint32_t size, uint32_t every, int32_t *ids) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < size; i++)
    if (!below(every))
      ids[count++] = (int32_t)i;
  return count;
}

static tslt_changes some_changes(uint32_t size, int32_t *ids, double *scores, uint8_t *allowed) {
  tslt_changes changes = {0, ids, scores, NULL};
  if (below(2)) {
    changes.count = some_tokens(size, 1 + below(100), ids);
    for (size_t i = 0; i < changes.count; i++)
      scores[i] = below(10) ? some_logit(4) : -INFINITY;
    if (changes.count && !below(30))
      scores[below((uint32_t)changes.count)] = NAN;
  }
  if (!below(3)) {
    uint32_t share = 1 + below(20);
    for (uint32_t i = 0; i < size; i++)
      allowed[i] = (uint8_t)(below(share) ? 1 + below(255) : 0);
    changes.allowed = allowed;
  }
  return changes;
}

/* A draw is a token that can come, and not one that is far from where the running sum passes u. */
static void check_draw(uint32_t token, double u, const double *probs, double total, uint32_t size, unsigned at) {
  double before = 0;
  must(token < size && probs[token] > 0, "a token that cannot come is drawn", at);
  for (uint32_t i = 0; i < token; i++)
    before += probs[i];
  must(before <= u * total + NEAR && before + probs[token] >= u * total - NEAR, "a draw is another token", at);
}

static void check_row(const tslt_row *row, const tslt_changes *changes, uint32_t size,
                      double *probs, unsigned at) {
  double total = 0;
  tslt_row_probs(row, probs);
  for (uint32_t i = 0; i < size; i++) {
    total += probs[i];
    must(probs[i] >= 0 && probs[i] <= 1, "a probability is none", at);
    must(fabs(tslt_row_prob(row, i) - probs[i]) <= 1e-15, "a probability is not that of all of them", at);
    must(!changes->allowed || changes->allowed[i] || probs[i] == 0, "a forbidden token has a probability", at);
  }
  must(fabs(total - 1) < NEAR, "probabilities have another sum", at);
  must(tslt_row_prob(row, size) == 0, "a token that is none has a probability", at);
  for (int i = 0; i < 4; i++) {
    double u = uniform();
    check_draw(tslt_row_draw(row, u), u, probs, 1, size, at);
  }
  uint8_t key[8];
  for (int i = 0; i < 8; i++)
    key[i] = (uint8_t)below(256);
  uint32_t epoch = below(1000), position = below(1u << 31), winner = tslt_row_race(row, key, epoch, position);
  must(winner < size && probs[winner] > 0, "a token that cannot come wins a race", at);
  double first = INFINITY, own = INFINITY, times[5];
  for (int32_t i = 0; i < (int32_t)size; i++) {
    double number;
    tslt_uniforms(key, epoch, position, &i, 1, &number);
    double time = probs[i] > 0 ? -log(number) / probs[i] : INFINITY;
    first = time < first ? time : first;
    own = i == (int32_t)winner ? time : own;
  }
  must(own <= first * (1 + NEAR), "a race is won by another token", at);
  uint32_t some[5], count = tslt_row_first(row, key, epoch, position, 5, some, times);
  must(count > 0 && some[0] == winner, "the first of a race has not won it", at);
  for (uint32_t i = 0; i < count; i++) {
    must(some[i] < size && probs[some[i]] > 0, "a token that cannot come arrives", at);
    must(!i || times[i] >= times[i - 1], "who arrives later is earlier", at);
  }
}

/* What is left out is nowhere more probable, before the cuts, than what is kept; of which there is enough. */
static void check_cuts(const tslt_row *row, const tslt_row *uncut, const tslt_sampling *sampling, uint32_t size,
                       unsigned at) {
  double least = 2, most = 0, mass = 0;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < size; i++) {
    double prob = tslt_row_prob(uncut, i);
    if (tslt_row_prob(row, i) > 0) {
      least = prob < least ? prob : least;
      mass += prob;
      kept++;
    } else {
      most = prob > most ? prob : most;
    }
  }
  must(most <= least * (1 + NEAR), "a token is kept, and a more probable one is not", at);
  if (sampling->temperature == 0) {
    must(kept == 1, "greedy keeps several", at);
  } else if (!sampling->top_k && sampling->min_p == 0) {
    must(mass >= sampling->top_p - NEAR, "top-p keeps too little", at);
    must(sampling->top_p == 1 || mass - least < sampling->top_p + NEAR, "top-p keeps too much", at);
  } else if (sampling->top_p == 1 && sampling->min_p == 0) {
    uint32_t more = 0; /* all equals of the k-th are kept */
    for (uint32_t i = 0; i < size; i++)
      more += tslt_row_prob(uncut, i) > least;
    must(!sampling->top_k || more < sampling->top_k, "top-k keeps too much", at);
  }
}

/* What the specification's section 6.3 says of a list and its tail, token by token. */
typedef struct {
  const tslt_list *list;
  const int64_t *starts;
  uint32_t size;
  int64_t weights[MOST]; /* of the list's tokens that are left, 0 for others */
  int gone[MOST];        /* no token of the tail */
  double q[MOST], rest[MOST], owed;
} plain_residual;

static void next_child(plain_residual *r) {
  double listed = 0, outside = 0;
  for (uint32_t i = 0; i < r->size; i++) {
    listed += (double)r->weights[i];
    outside += r->gone[i] ? 0 : (double)(r->starts[i + 1] - r->starts[i]);
  }
  double tail = !r->list->tail || outside == 0 ? 0 : listed > 0 ? (double)r->list->tail / TAIL_PARTS : 1;
  for (uint32_t i = 0; i < r->size; i++)
    r->q[i] = (listed > 0 ? (double)r->weights[i] / listed * (1 - tail) : 0) +
              (r->gone[i] || tail == 0 ? 0 : (double)(r->starts[i + 1] - r->starts[i]) / outside * tail);
}

static void start_plain(plain_residual *r, const tslt_row *row, const tslt_list *list, const int64_t *starts,
                        uint32_t size, double owed) {
  *r = (plain_residual){.list = list, .starts = starts, .size = size, .owed = owed};
  for (uint32_t i = 0; i < list->count; i++) {
    r->weights[list->ids[i]] = list->weights[i];
    r->gone[list->ids[i]] = 1;
  }
  for (uint32_t i = 0; i < size; i++)
    r->rest[i] = owed * tslt_row_prob(row, i);
  next_child(r);
}

/* False: what is left is rounding, which may differ. */
static int reject_plain(plain_residual *r, uint32_t token, int without_replacement) {
  double left = 0;
  for (uint32_t i = 0; i < r->size; i++)
    left += r->rest[i] > r->q[i] ? r->rest[i] - r->q[i] : 0;
  double given_up = 1 - r->owed + left;
  for (uint32_t i = 0; i < r->size; i++)
    r->rest[i] = r->rest[i] > r->q[i] ? (r->rest[i] - r->q[i]) / given_up : 0;
  r->owed = left / given_up;
  if (without_replacement) {
    r->weights[token] = 0;
    r->gone[token] = 1;
    next_child(r);
  }
  return given_up > 1e-3;
}

/* A list, some of whose tokens have been drawn: of one node, or the one that a lazy draft sends. */
static void check_residual(const tslt_row *row, uint32_t size, double *probs, unsigned at) {
  static plain_residual plain;
  int32_t *ids = room(size, sizeof *ids);
  int64_t *weights = room(size, sizeof *weights), *starts = room(size + 1, sizeof *starts);
  tslt_list list = {.count = some_tokens(size, 1 + below(below(2) ? 4 : size), ids), .ids = ids, .weights = weights};
  tslt_prior prior = {.tail = starts};
  if (!list.count)
    ids[list.count++] = (int32_t)below(size);
  for (uint32_t i = 0; i < list.count; i++)
    weights[i] = 1 + (int64_t)below(1u << below(31));
  (below(2) ? tslt_uniform_starts : tslt_density_starts)(size, starts);
  if (list.count < size && below(2))
    list.tail = 1 + below(TAIL_PARTS - 1);
  int without = (int)below(2), lazy = !below(4), known = !lazy;
  double owed = lazy || below(2) ? 1 : 1 - uniform();
  tslt_residual *left;
  int error = lazy ? tslt_residual_lazy(row, &list, &prior, &left)
                   : tslt_residual_new(row, &list, &prior, without, owed, &left);
  must(!error, "a list is refused", at);
  start_plain(&plain, row, &list, starts, size, owed);
  residuals++;
  for (int child = 0;; child++) {
    double total = 0, u = uniform();
    tslt_residual_probs(left, probs);
    for (uint32_t i = 0; i < size; i++) {
      must(probs[i] >= 0 && probs[i] < 1 + NEAR, "a part of a residual is none", at);
      must(!known || fabs(probs[i] - plain.rest[i]) < NEAR, "a residual is another", at);
      total += probs[i];
    }
    must(lazy ? total > 0 : fabs(total - tslt_residual_owed(left)) < NEAR, "a residual has another sum", at);
    must(!known || fabs(total - plain.owed) < NEAR, "more or less is owed", at);
    if (total > NEAR)
      check_draw(tslt_residual_draw(left, u), u, probs, total, size, at);
    if (child == 6 || lazy)
      break;
    uint32_t token = below(3) ? (uint32_t)ids[below(list.count)] : below(size);
    double share = tslt_residual_share(left, token), q = plain.q[token];
    must(share >= 0 && share <= 1, "a share is none", at);
    must(!known || fabs(share * q - (plain.rest[token] < q ? plain.rest[token] : q)) < NEAR, "another share", at);
    must(tslt_residual_share(left, size) == 0, "a token that is none has a share", at);
    must(!tslt_residual_reject(left, token), "a child cannot be rejected", at);
    /* A token that the list cannot give may be gone without a trace. */
    known = known && q > 0 && reject_plain(&plain, token, without);
  }
  must(tslt_residual_reject(left, size) == TSLT_BAD_ARGUMENT, "a token that is none is rejected", at);
  tslt_residual_free(left);
  owed = below(2) ? 0 : 1 + NEAR;
  must(tslt_residual_new(row, &list, &prior, without, owed, &left) == TSLT_BAD_ARGUMENT && !left,
       "nothing is owed, or more than all", at);
  free(ids);
  free(weights);
  free(starts);
}

/* Biases, penalties and tokens that never come, token by token. */
static void check_adjustments(const uint8_t *logits, int dtype, uint32_t size, unsigned at) {
  static const double factors[] = {1, 1.1, 0.5, 2}, parts[] = {0, 0.3, -1};
  static double plain[MOST];
  size_t before = below(20), after = below(20), more = below(4), count;
  int32_t *prompt = room(before + 1, sizeof *prompt), *output = room(after + 1, sizeof *output),
          *path = room(more + 1, sizeof *path), *biased = room(size, sizeof *biased), *never = room(size, sizeof *never);
  double *bias = room(size, sizeof *bias);
  tslt_seen *seen = room(before + after + more + 1, sizeof *seen);
  int wrong = !below(20);
  for (size_t i = 0; i < before; i++)
    prompt[i] = (int32_t)below(size);
  for (size_t i = 0; i < after; i++)
    output[i] = (int32_t)below(size);
  for (size_t i = 0; i < more; i++)
    path[i] = (int32_t)below(size);
  if (wrong)
    path[more++] = below(2) ? -1 : (int32_t)size;
  tslt_adjustments how = {factors[below(4)], parts[below(3)], parts[below(3)], 0, 0, biased, bias, never};
  how.biases = some_tokens(size, 1 + below(100), biased);
  how.nevers = some_tokens(size, 1 + below(100), never);
  for (size_t i = 0; i < how.biases; i++)
    bias[i] = some_logit(4);
  count = tslt_count_more(seen, tslt_count_tokens(prompt, before, output, after, seen), path, more);
  int32_t *ids = room(count + how.biases + how.nevers + 1, sizeof *ids);
  double *scores = room(count + how.biases + how.nevers + 1, sizeof *scores);
  int error = tslt_adjust(logits, dtype, size, &how, seen, count, ids, scores, &count);
  must(error == (wrong ? TSLT_BAD_ARGUMENT : TSLT_OK), "a token that is none is adjusted, or one that is there is not", at);
  for (size_t i = 0; !error && i < count; i++) {
    uint32_t times = 0;
    int known = 0, gone = 0;
    must(!i || ids[i - 1] < ids[i], "adjusted tokens are not ascending", at);
    must(!tslt_adjust(logits, dtype, size, &(tslt_adjustments){1, 0, 0, 1, 0, &ids[i], (double[]){0}, NULL}, NULL, 0,
                      &(int32_t){0}, &plain[i], &(size_t){0}), "a token has no score", at);
    for (size_t j = 0; j < how.biases; j++)
      plain[i] += biased[j] == ids[i] ? bias[j] : 0;
    for (size_t j = 0; j < before; j++)
      known |= prompt[j] == ids[i];
    for (size_t j = 0; j < after + more; j++)
      times += (j < after ? output[j] : path[j - after]) == ids[i];
    if ((known || times) && how.repetition != 1)
      plain[i] = plain[i] < 0 ? plain[i] * how.repetition : plain[i] / how.repetition;
    plain[i] -= how.frequency * times + (times ? how.presence : 0);
    for (size_t j = 0; j < how.nevers; j++)
      gone |= never[j] == ids[i];
    must(gone ? scores[i] == -INFINITY
              : isnan(plain[i]) ? isnan(scores[i]) : plain[i] == scores[i] || fabs(plain[i] - scores[i]) < NEAR * fabs(plain[i]) + NEAR,
         "another score", at);
  }
  free(prompt);
  free(output);
  free(path);
  free(biased);
  free(bias);
  free(never);
  free(seen);
  free(ids);
  free(scores);
}

/* What no row can be made of. */
static void check_refusals(tslt_context *context) {
  static const float logits[4] = {0};
  static const int32_t wrong[] = {1, 1, 4, -1};
  static const double scores[2] = {0};
  tslt_sampling good = {1, 0, 1, 0}, bad[] = {{-1, 0, 1, 0}, {NAN, 0, 1, 0}, {INFINITY, 0, 1, 0}, {1, 0, 0, 0},
                                              {1, 0, 1.5, 0}, {1, 0, NAN, 0}, {1, 0, 1, -1}, {1, 0, 1, 2}};
  tslt_row *row;
  for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
    must(tslt_row_new(context, logits, TSLT_FLOAT32, 4, &bad[i], NULL, &row) == TSLT_BAD_ARGUMENT && !row, "settings", i);
  must(tslt_row_new(context, logits, 4, 4, &good, NULL, &row) == TSLT_BAD_ARGUMENT, "a dtype", 0);
  must(tslt_row_new(context, logits, TSLT_FLOAT32, 0, &good, NULL, &row) == TSLT_BAD_ARGUMENT, "no tokens", 0);
  for (unsigned i = 0; i < 3; i++) {
    tslt_changes changes = {i ? 1 : 2, wrong + (i ? i + 1 : 0), scores, NULL};
    must(tslt_row_new(context, logits, TSLT_FLOAT32, 4, &good, &changes, &row) == TSLT_BAD_ARGUMENT, "changes", i);
  }
}

int main(int argc, char **argv) {
  state = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
  unsigned times = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
  tslt_context *context = tslt_context_new();
  static const uint32_t sizes[] = {1, 2, 255, 256, 257, 512, 1024};
  static double probs[MOST], scores[MOST];
  static int32_t ids[MOST];
  check_refusals(context);
  for (unsigned i = 0; i < times; i++) {
    uint32_t size = below(3) ? 1 + below(below(4) ? 300 : MOST) : sizes[below(7)];
    int dtype = (int)below(4);
    uint8_t *logits = some_logits(size, dtype), *allowed = room(size, 1);
    tslt_sampling sampling = some_sampling();
    tslt_changes changes = some_changes(size, ids, scores, allowed);
    check_adjustments(logits, dtype, size, i);
    tslt_row *row, *other;
    int error = tslt_row_new(context, logits, dtype, size, &sampling, &changes, &row);
    must(!error || (error == TSLT_BAD_LOGITS && !row), "another error", i);
    *(error ? &refused : &rows) += 1;
    if (!error) {
      check_row(row, &changes, size, probs, i);
      /* Another row is made in the same context: this one must not depend on it. */
      tslt_sampling uncut = {sampling.temperature > 0 ? sampling.temperature : 1, 0, 1, 0};
      must(!tslt_row_new(context, logits, dtype, size, &uncut, &changes, &other), "it is a row only with cuts", i);
      if (below(2))
        check_row(row, &changes, size, probs, i);
      check_cuts(row, other, &sampling, size, i);
      check_residual(row, size, probs, i);
      check_residual(other, size, probs, i);
      tslt_row_free(other);
    }
    tslt_row_free(row);
    free(logits);
    free(allowed);
  }
  tslt_context_free(context);
  printf("fuzz_rows: %u rows, %u refused, %u residuals\n", rows, refused, residuals);
  return !rows || !refused || !residuals;
}
