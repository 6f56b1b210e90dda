/* Sets of token ids under the range coder: spec [RLIST-3] and [RLIST-4]. */
#include "ids.h"

enum { MASS_ROWS = 8 };

/* Masses of octaves, rows by bitlen(N). */
static const uint16_t MASSES[MASS_ROWS][13] = {
    {288, 562, 125, 25, 25, 25, 25, 25, 25, 25, 25, 25, 25}, {231, 544, 194, 25, 25, 25, 25, 25, 25, 25, 25, 25, 25},
    {175, 525, 256, 34, 25, 25, 25, 25, 25, 25, 25, 25, 25}, {133, 506, 284, 64, 25, 25, 25, 25, 25, 25, 25, 25, 25},
    {95, 490, 293, 97, 25, 25, 25, 25, 25, 25, 25, 25, 25},  {67, 439, 290, 146, 48, 25, 25, 25, 25, 25, 25, 25, 25},
    {52, 351, 308, 181, 83, 25, 25, 25, 25, 25, 25, 25, 25}, {42, 259, 304, 219, 119, 46, 25, 25, 25, 25, 25, 25, 25}};

/* The free ids: those below V that no earlier list of the frame had; and the weights that a table gives them. */
typedef struct {
  tslt_context *context;
  uint32_t vocab_size;
  const int32_t *excluded;
  const int64_t *starts; /* NULL if there is no table */
  const int64_t *gone;   /* weights of the excluded ids, running sums */
} free_ids;

/* An interval that waits: `n` ids from `at` on are in it; excluded ids from `first` to `end`. */
typedef struct {
  uint32_t low, high, n, at, first, end;
} interval;

/* The parts have less than 2^52, and one of them more than nothing: an interval that is halved has free ids, and each of
 * them a weight. */
static inline unsigned share_class(const free_ids *f, uint64_t left, uint64_t right) {
  return f->context->share_class[(left << 12) / (left + right)];
}

/* The same of counts of ids; divisions of 32 bits are quicker. */
static inline unsigned count_class(const free_ids *f, uint32_t left, uint32_t right) {
  return f->context->share_class[(left << 12) / (left + right)];
}

static inline unsigned code_urn(range_coder *c, unsigned k, const uint16_t *urn, unsigned n) {
  uint64_t part = c->range >> 16;
  if (c->reads) {
    uint16_t found = (uint16_t)range_find(c, part, 65536);
    k = count_not_above(urn, URN_SLOTS, found);
    k = k < n ? k : n; /* the slots behind the urn are as high as can be */
  }
  uint32_t start = k ? urn[k - 1] : 0, end = k < n ? urn[k] : 65536;
  if (c->reads)
    range_take(c, part, start, end - start);
  else
    range_put(c, part, start, end - start);
  return k;
}

/* How many of `n` ids are in the lower part, which has `left` free ids, the upper one `right`. */
static inline uint32_t code_split(const free_ids *f, range_coder *c, uint32_t k, uint32_t n, uint32_t left, uint32_t right,
                                  int inner, unsigned share) {
  bool turned = 2 * (uint64_t)n > left + right;
  if (turned) {
    k = left - k;
    n = left + right - n;
    share = count_class(f, left, right);
  }
  if (n > (left < right ? left : right)) {
    uint32_t first = n > right ? n - right : 0;
    k = first + (uint32_t)code_uniform(c, k - first, (n < left ? n : left) - first + 1);
  } else if (n <= MAX_URN) {
    k = code_urn(c, k, tslt_urn(f->context, inner, share, n), n);
  } else {
    uint64_t ways = (uint64_t)n + 1;
    uint32_t b = (uint32_t)((uint64_t)k * 33 / ways);
    b = code_urn(c, b, tslt_urn(f->context, inner, share, MAX_URN), MAX_URN);
    uint32_t first = (uint32_t)((b * ways + 32) / 33), end = (uint32_t)(((b + 1) * ways + 32) / 33);
    k = first + (uint32_t)code_uniform(c, k - first, end - first);
  }
  return turned ? left - k : k;
}

/* All free ids of an interval. */
static void all_free(const free_ids *f, const interval *v, int32_t *ids) {
  uint32_t end = v->high < f->vocab_size ? v->high : f->vocab_size, x = v->first, n = 0;
  for (uint32_t token = v->low; token < end; token++) {
    if (x < v->end && (uint32_t)f->excluded[x] == token)
      x++;
    else
      ids[n++] = (int32_t)token;
  }
}

/* Which of the C(size, n) sets: spec, INDEX.  n is 1, or size at most 32. */
static inline void code_leaf(const free_ids *f, range_coder *c, const interval *v, uint32_t size, int32_t *ids) {
  uint32_t n = v->n, x = v->first;
  if (!c->reads) {
    uint64_t number = 0;
    for (uint32_t i = 0; i < n; i++) {
      while (x < v->end && f->excluded[x] < ids[i])
        x++;
      uint32_t rank = (uint32_t)ids[i] - v->low - (x - v->first);
      number += n == 1 ? rank : f->context->choose[i + 1][rank];
    }
    code_uniform(c, number, n == 1 ? size : f->context->choose[n][size]);
    return;
  }
  uint32_t number = (uint32_t)code_uniform(c, 0, n == 1 ? size : f->context->choose[n][size]);
  if (n == 1) {
    ids[0] = (int32_t)number;
  } else {
    uint32_t rank = size - 1;
    for (uint32_t i = n; i > 0; i--) {
      const uint32_t *row = f->context->choose[i];
      if (i == 1)
        rank = number; /* C(rank, 1) */
      while (row[rank] > number)
        rank--;
      number -= row[rank];
      ids[i - 1] = (int32_t)rank;
      rank -= i > 1;
    }
  }
  for (uint32_t i = 0; i < n; i++) {
    uint32_t token = v->low + (uint32_t)ids[i] + (x - v->first);
    while (x < v->end && (uint32_t)f->excluded[x] <= token) {
      x++;
      token++;
    }
    ids[i] = (int32_t)token;
  }
}

/* Weight of the ids below `token`, whose place among the excluded ids is `place`. */
static int64_t below(const free_ids *f, uint32_t token, uint32_t place) {
  return f->starts[token] - f->gone[place];
}

static uint32_t place_of(const free_ids *f, const interval *v, uint32_t token) {
  return v->first + count_below(f->excluded + v->first, v->end - v->first, token);
}

/* One id, by its weight: spec [RLIST-3]. */
static inline void code_one(const free_ids *f, range_coder *c, const interval *v, int32_t *id) {
  uint32_t low = v->low, high = v->high < f->vocab_size ? v->high : f->vocab_size;
  int64_t base = below(f, low, v->first);
  uint64_t total = (uint64_t)(below(f, high, v->end) - base), part = c->range / total;
  uint32_t token = c->reads ? 0 : (uint32_t)*id;
  if (c->reads) {
    int64_t found = base + (int64_t)range_find(c, part, total);
    /* The last id with no more than this below it; one that is excluded has no weight, so it is not the last. */
    while (high - low > 1) {
      uint32_t middle = (low + high) / 2;
      if (below(f, middle, place_of(f, v, middle)) <= found)
        low = middle;
      else
        high = middle;
    }
    token = low;
    *id = (int32_t)token;
  }
  int64_t start = below(f, token, place_of(f, v, token));
  uint64_t size = (uint64_t)(f->starts[token + 1] - f->starts[token]);
  if (c->reads)
    range_take(c, part, (uint64_t)(start - base), size);
  else
    range_put(c, part, (uint64_t)(start - base), size);
}

static inline void code_set(const free_ids *f, range_coder *coder, int32_t *ids, uint32_t count, uint32_t gone,
                            bool reads) {
  range_coder c = *coder; /* a copy that no other file sees, and so in registers */
  c.reads = reads;
  unsigned row = bit_length(count);
  const uint16_t *masses = MASSES[(row < MASS_ROWS ? row : MASS_ROWS) - 1]; /* larger sets are few, or have a table */
  unsigned bits = id_bits(f->vocab_size);
  interval waiting[32];
  unsigned depth = 0;
  waiting[depth++] = (interval){0, 1u << (bits > 8 ? bits : 8), count, 0, 0, gone};
  while (depth && !c.error) {
    interval v = waiting[--depth];
    if (!v.n)
      continue;
    uint32_t end = v.high < f->vocab_size ? v.high : f->vocab_size;
    uint32_t size = end - v.low - (v.end - v.first);
    bool top = v.low == 0 && v.high > 256;
    if (v.n == size) {
      if (reads)
        all_free(f, &v, ids + v.at);
      continue;
    }
    if (f->starts && v.n == 1) {
      code_one(f, &c, &v, ids + v.at);
      continue;
    }
    if (!f->starts && !top && (v.n == 1 || size <= LEAF)) {
      code_leaf(f, &c, &v, size, ids + v.at);
      continue;
    }
    uint32_t middle = (v.low + v.high) / 2;
    if (middle >= f->vocab_size) {
      v.high = middle;
      waiting[depth++] = v;
      continue;
    }
    uint32_t between = place_of(f, &v, middle);
    uint32_t left = middle - v.low - (between - v.first);
    unsigned share;
    if (f->starts) {
      int64_t border = below(f, middle, between);
      share = share_class(f, (uint64_t)(border - below(f, v.low, v.first)),
                          (uint64_t)(below(f, end, v.end) - border));
    } else if (top) {
      unsigned octave = bit_length(v.high) - 2 - 8;
      uint32_t lower = 0;
      for (unsigned i = 0; i <= octave; i++)
        lower += masses[i];
      /* middle is a power of two. */
      share = count_class(f, lower, (masses[octave + 1] * (end - middle) >> (octave + 8)) + 1);
    } else {
      share = count_class(f, left, size - left);
    }
    uint32_t k = reads ? 0 : count_below(ids + v.at, v.n, middle);
    k = code_split(f, &c, k, v.n, left, size - left, !top, share);
    waiting[depth++] = (interval){middle, v.high, v.n - k, v.at + k, between, v.end};
    waiting[depth++] = (interval){v.low, middle, k, v.at, v.first, between};
  }
  *coder = c;
}

void tslt_code_ids(tslt_context *context, range_coder *c, int32_t *ids, uint32_t count, uint32_t vocab_size,
                   const seen_ids *seen, const int64_t *starts) {
  free_ids f = {context, vocab_size, seen->ids, starts, context->gone};
  if (!count)
    return;
  if (starts) {
    context->gone[0] = 0;
    for (uint32_t i = 0; i < seen->count; i++)
      context->gone[i + 1] = context->gone[i] + starts[seen->ids[i] + 1] - starts[seen->ids[i]];
  }
  if (c->reads)
    code_set(&f, c, ids, count, seen->count, true);
  else
    code_set(&f, c, ids, count, seen->count, false);
}

/* -------------------------------------------------------------------------------------------------------------- gaps */

/* Numbers below `total` that are not among `count` of `places`. */
static void other_places(const int32_t *places, uint32_t count, uint32_t total, int32_t *others) {
  int32_t place = 0;
  for (uint32_t i = 0; i <= count; i++) {
    int32_t end = i < count ? places[i] : (int32_t)total;
    while (place < end)
      *others++ = place++;
    place++;
  }
}

/* How many free ids come before each id.  Which comes next, an id or one that is not free, cannot be guessed: no branch
 * hangs on it. */
static void ids_to_places(const seen_ids *seen, const int32_t *ids, uint32_t count, int32_t *places) {
  uint32_t i = 0, x = 0;
  while (i < count && x < seen->count) {
    bool gone = seen->ids[x] < ids[i];
    places[i] = ids[i] - (int32_t)x;
    x += gone;
    i += !gone;
  }
  for (; i < count; i++)
    places[i] = ids[i] - (int32_t)x;
}

static void places_to_ids(const seen_ids *seen, const int32_t *places, uint32_t count, int32_t *ids) {
  uint32_t i = 0, x = 0;
  while (i < count && x < seen->count) {
    bool gone = (uint32_t)seen->ids[x] <= (uint32_t)places[i] + x;
    ids[i] = places[i] + (int32_t)x;
    x += gone;
    i += !gone;
  }
  for (; i < count; i++)
    ids[i] = places[i] + (int32_t)x;
}

/* There are some on either side: a list of all ids has no gaps, and one that is long does not remember ids (code_long). */
int tslt_code_gap_ids(tslt_context *context, plain_bits *p, int32_t *ids, uint32_t count, uint32_t vocab_size,
                      const seen_ids *seen) {
  uint32_t total = vocab_size - seen->count, rest = total - count;
  bool others = count > rest;
  uint32_t fewer = others ? rest : count;
  int32_t *places = ids, *coded = ids; /* those of the ids, and those that travel */
  if (seen->count || others) {
    int32_t *room = tslt_reserve(&context->places, (size_t)count + (others ? rest : 0), sizeof(int32_t));
    if (!room)
      return TSLT_NO_MEMORY;
    places = seen->count ? room : ids;
    coded = others ? room + count : places;
  }
  if (!p->reads) {
    if (seen->count)
      ids_to_places(seen, ids, count, places);
    if (others)
      other_places(places, count, total, coded);
  }
  int error = tslt_plain_gaps(p, coded, fewer, total);
  if (error || !p->reads)
    return error;
  if (others)
    other_places(coded, rest, total, places);
  if (seen->count)
    places_to_ids(seen, places, count, ids);
  return TSLT_OK;
}
