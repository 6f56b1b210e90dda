/* Drafted tokens under the range coder: spec [RLIST-9] and [PRIOR-2].
 *
 * Sums over a list are made once; without replacement the few tokens that are gone are kept beside them. */
#include "trees.h"

/* A child that is gone: its rank, or its id if it is of the tail, and the weight of this and all before it. */
typedef struct {
  int64_t place, weight;
} gone_child;

/* What is left of a list for the next child. */
typedef struct {
  int64_t *ends;      /* running sums of the weights: of ids[0] to ids[i] */
  int64_t *outside;   /* of the prior's weights of the listed ids; NULL until one is needed */
  gone_child *listed; /* ascending */
  gone_child *tail;   /* ascending */
  uint32_t listed_count, tail_count;
  bool summed, summed_outside;
} siblings;

int64_t tslt_rank(const tslt_list *list, int64_t token) {
  uint32_t rank = count_below(list->ids, list->count, token);
  return rank < list->count && list->ids[rank] == token ? (int64_t)rank : -1;
}

/* The weight of gone children whose place is below `place`. */
static int64_t gone_below(const gone_child *gone, uint32_t count, int64_t place) {
  uint32_t low = 0, high = count;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (gone[middle].place < place)
      low = middle + 1;
    else
      high = middle;
  }
  return low ? gone[low - 1].weight : 0;
}

static void take_away(gone_child *gone, uint32_t *count, int64_t place, int64_t weight) {
  uint32_t at = (*count)++;
  for (; at > 0 && gone[at - 1].place > place; at--) {
    gone[at] = gone[at - 1];
    gone[at].weight += weight;
  }
  gone[at] = (gone_child){place, weight + (at ? gone[at - 1].weight : 0)};
}

/* Sum of the weights of listed tokens before `rank` that are left. */
static int64_t listed_below(const siblings *s, uint32_t rank) {
  return (rank ? s->ends[rank - 1] : 0) - gone_below(s->listed, s->listed_count, rank);
}

/* Sum of the prior's weights of tokens below `token` that are left in the tail. */
static int64_t outside_below(const siblings *s, const tslt_list *list, const tslt_prior *prior, int64_t token) {
  uint32_t rank = count_below(list->ids, list->count, token);
  return prior->tail[token] - (rank ? s->outside[rank - 1] : 0) - gone_below(s->tail, s->tail_count, token);
}

static int32_t code_listed(range_coder *c, siblings *s, const tslt_list *list, uint32_t *rank) {
  uint64_t total = (uint64_t)listed_below(s, list->count), part = c->range / total;
  if (c->reads) {
    int64_t found = (int64_t)range_find(c, part, total);
    uint32_t low = 0, high = list->count;
    while (high - low > 1) {
      uint32_t middle = (low + high) / 2;
      if (listed_below(s, middle) <= found)
        low = middle;
      else
        high = middle;
    }
    *rank = low;
  }
  int64_t start = listed_below(s, *rank);
  uint64_t size = (uint64_t)(listed_below(s, *rank + 1) - start);
  if (c->reads)
    range_take(c, part, (uint64_t)start, size);
  else
    range_put(c, part, (uint64_t)start, size);
  return list->ids[*rank];
}

static int32_t code_outside(range_coder *c, siblings *s, const tslt_list *list, const tslt_prior *prior,
                            uint32_t vocab_size, int32_t token) {
  uint64_t total = (uint64_t)outside_below(s, list, prior, vocab_size), part = c->range / total;
  if (c->reads) {
    int64_t found = (int64_t)range_find(c, part, total);
    uint32_t low = 0, high = vocab_size;
    while (high - low > 1) {
      uint32_t middle = (low + high) / 2;
      if (outside_below(s, list, prior, middle) <= found)
        low = middle;
      else
        high = middle;
    }
    token = (int32_t)low;
  }
  int64_t start = outside_below(s, list, prior, token);
  uint64_t size = (uint64_t)(prior->tail[token + 1] - prior->tail[token]);
  if (c->reads)
    range_take(c, part, (uint64_t)start, size);
  else
    range_put(c, part, (uint64_t)start, size);
  return token;
}

int tslt_code_tokens(tslt_context *context, range_coder *c, const tslt_profile *profile, const tslt_draft *draft,
                     int32_t *tokens) {
  const uint32_t *list_of = context->list_of.at, *first = context->first.at;
  uint64_t entries = 0;
  for (uint32_t i = 0; i < draft->list_count; i++)
    entries += draft->lists[i].count;
  siblings *all = tslt_reserve(&context->siblings, (size_t)draft->list_count + 1, sizeof *all);
  gone_child *gone = tslt_reserve(&context->removed, 2 * (size_t)draft->node_count + 1, sizeof *gone);
  int64_t *sums = tslt_reserve(&context->sums, 2 * (size_t)entries + 1, sizeof *sums);
  if (!all || !gone || !sums)
    return TSLT_NO_MEMORY;
  for (uint32_t i = 0, at = 0; i < draft->list_count; at += draft->lists[i++].count) {
    gone_child *room = gone + 2 * (size_t)first[i];
    all[i] = (siblings){.ends = sums + at, .outside = sums + entries + at, .listed = room};
    all[i].tail = room + (first[i + 1] - first[i]);
  }
  for (uint32_t node = 0; node < draft->node_count && !c->error; node++) {
    uint32_t which = list_of[draft->parents[node] + 1];
    const tslt_list *list = &draft->lists[which];
    siblings *s = &all[which];
    if (!s->summed) {
      s->summed = true;
      int64_t sum = 0;
      for (uint32_t i = 0; i < list->count; i++)
        s->ends[i] = sum += list->weights[i];
    }
    bool any_listed = s->listed_count < list->count;
    uint32_t tail = !list->tail || list->count + s->tail_count == profile->vocab_size ? 0 : any_listed ? list->tail : 32;
    if (!any_listed && !tail)
      return TSLT_BAD_TREE;
    int32_t token = c->reads ? 0 : draft->tokens[node];
    int64_t rank = c->reads ? 0 : tslt_rank(list, token);
    bool outside = tail == 32;
    if (tail > 0 && tail < 32)
      outside = code_chance(c, rank < 0, tail, 32);
    if (outside) {
      if (!s->summed_outside) {
        s->summed_outside = true;
        int64_t sum = 0;
        for (uint32_t i = 0; i < list->count; i++)
          s->outside[i] = sum += profile->prior->tail[list->ids[i] + 1] - profile->prior->tail[list->ids[i]];
      }
      token = code_outside(c, s, list, profile->prior, profile->vocab_size, token);
      if (draft->without_replacement)
        take_away(s->tail, &s->tail_count, token, profile->prior->tail[token + 1] - profile->prior->tail[token]);
    } else {
      uint32_t place = (uint32_t)rank;
      token = code_listed(c, s, list, &place);
      if (draft->without_replacement)
        take_away(s->listed, &s->listed_count, place, list->weights[place]);
    }
    if (tokens)
      tokens[node] = token;
  }
  return c->error;
}
