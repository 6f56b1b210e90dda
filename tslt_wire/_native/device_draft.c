/* A token tree is drawn level by level from the draft model's logits: spec section 4.4, paper Algorithm 4.
 *
 * Children are drawn from exactly the lists that travel, never from the model's own distribution: that is what keeps
 * evidence `list` lossless whatever is left out.  The same numbers from `random` give the tree, and so the bytes, of
 * tslt_runtime/drafting.py. */
#include "device_session.h"
#include "exponential.h"
#include "trees.h"

enum { TAIL_PARTS = 32 };
#define LEAST_TAIL 0.25 /* of the probability: a list that leaves out less has no tail */

/* What is left of a list for the next child. */
typedef struct {
  const tslt_list *list;
  const tslt_prior *prior;
  uint32_t vocab_size;
  bool replacement;
  int64_t *left; /* weights, one a listed token */
  int64_t *gone; /* tokens of the tail that were drawn */
  uint32_t gone_count;
} rest;

static int64_t listed_left(const rest *s) {
  int64_t sum = 0;
  for (uint32_t i = 0; i < s->list->count; i++)
    sum += s->left[i];
  return sum;
}

static uint32_t tail_left(const rest *s, int64_t listed) {
  if (!s->list->tail || s->list->count + s->gone_count == s->vocab_size)
    return 0;
  return listed ? s->list->tail : TAIL_PARTS;
}

/* Weight of the tail's tokens below `token` that are left. */
static int64_t tail_below(const rest *s, uint32_t token) {
  const int64_t *starts = s->prior->tail;
  int64_t sum = starts[token];
  for (uint32_t i = 0; i < s->list->count && s->list->ids[i] < (int64_t)token; i++)
    sum -= starts[s->list->ids[i] + 1] - starts[s->list->ids[i]];
  for (uint32_t i = 0; i < s->gone_count; i++)
    if (s->gone[i] < (int64_t)token)
      sum -= starts[s->gone[i] + 1] - starts[s->gone[i]];
  return sum;
}

static int32_t draw_outside(rest *s, const tslt_random *random) {
  int64_t part = (int64_t)random->below(random->state, (uint64_t)tail_below(s, s->vocab_size));
  uint32_t low = 0, high = s->vocab_size; /* the last token with no more than this below it */
  while (high - low > 1) {
    uint32_t middle = (low + high) / 2;
    if (tail_below(s, middle) <= part)
      low = middle;
    else
      high = middle;
  }
  if (!s->replacement)
    s->gone[s->gone_count++] = low;
  return (int32_t)low;
}

static int32_t draw_child(rest *s, uint32_t tail, int64_t listed, const tslt_random *random) {
  if (tail == TAIL_PARTS || (tail && random->below(random->state, TAIL_PARTS) < tail))
    return draw_outside(s, random);
  int64_t part = (int64_t)random->below(random->state, (uint64_t)listed);
  uint32_t at = 0;
  for (; at + 1 < s->list->count && part >= s->left[at]; at++) /* whatever the caller's numbers are, it ends here */
    part -= s->left[at];
  if (!s->replacement)
    s->left[at] = 0;
  return s->list->ids[at];
}

/* ----------------------------------------------------------------------------------------------- choosing children */

/* Children are chosen from a list into `children`, `count` of them at most; how many. */
typedef struct {
  tslt_device *d;
  const tslt_drafting *how;
  const tslt_random *random;
  uint32_t position; /* tokens before the children */
} choice;

static uint32_t sampled(const choice *c, const tslt_list *list, uint32_t count, int32_t *children) {
  tslt_device *d = c->d;
  uint32_t found = 0;
  rest s = {list, d->welcome.profile.prior, d->welcome.vocab_size, !c->how->without_replacement, d->left,
            d->left + d->room.most_listed, 0};
  memcpy(s.left, list->weights, list->count * sizeof *s.left);
  while (found < count) {
    int64_t listed = listed_left(&s);
    uint32_t tail = tail_left(&s, listed);
    if (!tail && !listed)
      break;
    children[found++] = draw_child(&s, tail, listed, c->random);
  }
  return found;
}

/* The edge samples on its own: the best bet is what it is most likely to draw.  Lower ids first among equals. */
static uint32_t likeliest(const choice *c, const tslt_list *list, uint32_t count, int32_t *children) {
  int64_t *left = c->d->left;
  memcpy(left, list->weights, list->count * sizeof *left);
  uint32_t found = 0;
  for (; found < count && found < list->count; found++) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < list->count; i++)
      best = left[i] > left[best] ? i : best;
    left[best] = -1;
    children[found] = list->ids[best];
  }
  return found;
}

/* The first to arrive in the race that the edge runs, too: spec section 6.5. */
static uint32_t arrivals(const choice *c, const tslt_list *list, uint32_t count, int32_t *children) {
  double *times = (double *)c->d->left;
  tslt_uniforms(c->d->coupling, c->d->epoch, c->position, list->ids, list->count, times);
  for (uint32_t i = 0; i < list->count; i++)
    times[i] = tslt_arrival(times[i]) / (double)list->weights[i];
  uint32_t found = 0;
  for (; found < count && found < list->count; found++) {
    uint32_t best = list->count;
    for (uint32_t i = 0; i < list->count; i++)
      if (times[i] >= 0 && (best == list->count || times[i] < times[best]))
        best = i;
    times[best] = -1;
    children[found] = list->ids[best];
  }
  return found;
}

static uint32_t (*const CHOICES[EVIDENCES])(const choice *, const tslt_list *, uint32_t, int32_t *) = {
    [TSLT_EVIDENCE_LIST] = sampled,   [TSLT_EVIDENCE_MATCH] = likeliest, [TSLT_EVIDENCE_COUPLED] = arrivals,
    [TSLT_EVIDENCE_SCALAR] = sampled, [TSLT_EVIDENCE_LAZY] = sampled};

/* ---------------------------------------------------------------------------------------------------- level by level */

static bool sends_lists(int evidence) { return evidence == TSLT_EVIDENCE_LIST || evidence == TSLT_EVIDENCE_LAZY; }

static int check_how(const tslt_device *d, const tslt_drafting *how) {
  uint64_t width = 1, nodes = 0;
  if (!how || (how->levels && !how->expansion))
    return TSLT_BAD_ARGUMENT;
  if (how->evidence < 0 || how->evidence >= EVIDENCES || how->precision < TSLT_F32 || how->precision > TSLT_LOG2_4 ||
      how->dtype != d->room.dtype || !(d->welcome.evidence >> how->evidence & 1) || (how->goes_on && !how->levels))
    return TSLT_BAD_ARGUMENT;
  bool chain = how->evidence >= TSLT_EVIDENCE_SCALAR;
  for (uint32_t i = 0; i < how->levels; i++) {
    if (!how->expansion[i] || (chain && how->expansion[i] != 1))
      return TSLT_BAD_ARGUMENT;
    width *= how->expansion[i];
    nodes += width;
    if (nodes > d->room.most_nodes)
      return TSLT_NO_SPACE;
  }
  return TSLT_OK;
}

/* The row of one node becomes its list, its children go to the end of the tree. */
static int grow(const choice *c, const void *row, int32_t parent, uint32_t count, const tslt_sparsify_options *options) {
  tslt_device *d = c->d;
  device_draft *t = tslt_drawn(d);
  tslt_list list;
  uint32_t vocab_size = d->hello->vocab_size < d->welcome.vocab_size ? d->hello->vocab_size : d->welcome.vocab_size;
  int error = tslt_sparsify(&d->context, row, c->how->dtype, vocab_size, 1, 0, options, &list);
  if (error == TSLT_NO_MEMORY || (!error && list.count > d->room.most_listed))
    error = TSLT_NO_SPACE;
  if (!error && CHOICES[c->how->evidence] == sampled)
    error = tslt_keep_list(d, &list, parent);
  if (error)
    return error;
  uint32_t more = CHOICES[c->how->evidence](c, &list, count, t->tokens + t->nodes);
  for (uint32_t i = 0; i < more; i++)
    t->parents[t->nodes + i] = parent;
  t->nodes += more;
  return TSLT_OK;
}

/* Whether a callback's rows can be rows: one may be any number of bytes long, several do not overlap. */
static bool rows_ok(const tslt_device *d, uint32_t rows, size_t row_bytes) {
  static const size_t BYTES[] = {[TSLT_FLOAT32] = 4, [TSLT_FLOAT64] = 8, [TSLT_FLOAT16] = 2, [TSLT_BFLOAT16] = 2};
  size_t real = BYTES[d->room.dtype];
  return rows < 2 || (row_bytes >= d->hello->vocab_size * real && row_bytes % real == 0 && row_bytes <= PTRDIFF_MAX / rows);
}

/* The tree, level by level. */
static int draw(const choice *start, tslt_logits logits, void *state, const tslt_sparsify_options *options) {
  choice c = *start;
  device_draft *t = tslt_drawn(c.d);
  uint32_t first = 0;
  for (uint32_t level = 0; level < c.how->levels; level++, c.position++) {
    uint32_t end = t->nodes, parents = level ? end - first : 1;
    const void *rows = NULL;
    size_t row_bytes = 0;
    tslt_nodes nodes = {level ? first : 0, end, t->parents, t->tokens};
    if (logits(state, &nodes, &rows, &row_bytes) || !rows)
      return TSLT_CALLBACK_FAILED;
    if (!rows_ok(c.d, parents, row_bytes))
      return TSLT_BAD_ARGUMENT;
    for (uint32_t i = 0; i < parents; i++) {
      int error = grow(&c, (const uint8_t *)rows + i * row_bytes, level ? (int32_t)(first + i) : PREFIX,
                       c.how->expansion[level], options);
      if (error)
        return error;
    }
    first = end;
  }
  t->leaf = first;
  return TSLT_OK;
}

int tslt_device_draft(tslt_device *d, const tslt_drafting *how, tslt_logits logits, void *state,
                      const tslt_random *random) {
  device_draft *t = tslt_drawn(d);
  int error = tslt_may_draft(d);
  if (!error)
    error = check_how(d, how);
  if (error)
    return error;
  bool sends = sends_lists(how->evidence);
  t->evidence = how->evidence;
  t->precision = sends ? how->precision : TSLT_F32; /* what never travels costs nothing */
  t->without_replacement = how->evidence == TSLT_EVIDENCE_LIST && how->without_replacement;
  t->goes_on = how->goes_on != 0;
  t->nodes = t->lists = t->entries = 0;
  tslt_sparsify_options options = {.temperature = how->temperature, .precision = t->precision, .truncate = how->truncate,
                                   .truncation = how->truncation, .tail_scale = how->tail_scale, .least_tail = LEAST_TAIL,
                                   .has_prior = sends && d->welcome.profile.prior && how->tail_scale > 0};
  if (options.truncation.top_p == 0) /* off, as of the other two */
    options.truncation.top_p = 1;
  size_t length;
  tslt_device_ahead(d, &length);
  choice c = {d, how, random, (uint32_t)length};
  d->called = true;
  error = draw(&c, logits, state, &options);
  d->called = false;
  return error ? error : tslt_open_round(d);
}
