/* Codes under the range coder: how many entries each level has, then which entry has which. */
#include "levels.h"

#include "weights.h"

enum { FEW_LEVELS = 64 };

/* Weights of an entry's rank class (rows) at the octave class of its id (columns). */
static const uint16_t AFFINITY[CLASSES][COLUMNS] = {{47, 26, 13, 5, 4, 4},    {34, 24, 18, 9, 7, 4},
                                                    {27, 25, 21, 11, 8, 4},   {24, 22, 21, 15, 9, 5},
                                                    {19, 22, 20, 18, 11, 7},  {15, 18, 17, 18, 17, 11},
                                                    {12, 14, 17, 19, 19, 16}, {8, 8, 13, 17, 22, 27}};

/* Column of an id: 0 below 256, then by octaves. */
static inline unsigned octave_class(int32_t id) {
  unsigned bits = bit_length((uint32_t)id);
  return bits < 8 ? 0 : bits - 8 < 5 ? bits - 8 : 5;
}

int tslt_code_floats(range_coder *c, uint32_t *codes, uint32_t size, unsigned width) {
  for (uint32_t i = 0; i < size && !c->error; i++) {
    uint64_t part = c->range >> width;
    if (c->reads) {
      codes[i] = (uint32_t)range_find(c, part, (uint64_t)1 << width);
      range_take(c, part, codes[i], 1);
    } else {
      range_put(c, part, codes[i], 1);
    }
  }
  return c->error;
}

uint32_t tslt_nth_code(const uint32_t *codes, uint32_t size, uint32_t n) {
  /* By the bits of the answer, highest first; log precisions have few. */
  uint32_t top = 0, found = 0;
  for (uint32_t i = 0; i < size; i++)
    top = codes[i] > top ? codes[i] : top;
  for (unsigned bit = bit_length(top); bit-- > 0;) {
    uint32_t candidate = found | 1u << bit, smaller = 0;
    for (uint32_t i = 0; i < size; i++)
      smaller += codes[i] < candidate;
    if (smaller <= n)
      found = candidate;
  }
  return found;
}

/* The levels that have entries, and how many each. */
typedef struct {
  unsigned count;
  uint16_t level[MOST_LEVELS];
  uint32_t entries[MOST_LEVELS];
} level_counts;

static void keep_level(level_counts *counts, uint32_t level, uint32_t entries) {
  counts->level[counts->count] = (uint16_t)level;
  counts->entries[counts->count] = entries;
  counts->count += entries != 0;
}

/* One entry after another: without branches on what cannot be guessed. */
static inline void count_walking(range_coder *coder, const uint32_t *given, uint32_t size, uint32_t top, uint32_t twice,
                                 level_counts *counts, bool reads) {
  range_coder c = *coder;
  uint32_t found[MOST_LEVELS], level = 0, n = 1, done = 1;
  c.reads = reads;
  while (done < size && level < top) {
    bool another = code_chance(&c, !reads && n < given[level], done + 1, (uint64_t)done + 1 + twice);
    found[level] = n + another;
    done += another;
    n = another ? n + 1 : 0;
    level += !another;
  }
  found[level] = n + size - done; /* what is left at the last level cannot be elsewhere */
  for (uint32_t i = 0; i <= level; i++)
    keep_level(counts, i, found[i]);
  *coder = c;
}

static int code_counts(range_coder *c, const uint32_t *codes, uint32_t size, int precision, level_counts *counts) {
  uint32_t given[MOST_LEVELS], top = max_code(precision), twice = 2u << log_scale(precision);
  if (!c->reads) {
    memset(given, 0, (top + 1) * sizeof *given);
    for (uint32_t i = 0; i < size; i++)
      given[codes[i]]++;
  }
  counts->count = 0;
  if (c->reads)
    count_walking(c, NULL, size, top, twice, counts, true);
  else
    count_walking(c, given, size, top, twice, counts, false);
  return c->error;
}

static void rank_classes(const level_counts *counts, uint8_t *class_of) {
  uint32_t before = 0;
  for (unsigned k = 0; k < counts->count; k++) {
    unsigned class = bit_length(before + counts->entries[k] / 2);
    class_of[k] = (uint8_t)(class < 7 ? class : 7);
    before += counts->entries[k];
  }
}

/* Running sums, for one column, of the weights that are left: those of level 0, of levels 0 and 1, ...  A multiple of
 * LANES levels is kept up to date, so that one pass of vectors changes or searches all. */
static void sum_column(uint16_t *sums, const level_counts *counts, const uint8_t *class_of, unsigned column,
                       unsigned lanes) {
  uint32_t sum = 0;
  for (unsigned k = 0; k < counts->count; k++) {
    sum += counts->entries[k] * AFFINITY[class_of[k]][column];
    sums[k] = (uint16_t)sum; /* at most 128 * 47 */
  }
  /* What is behind the end is never reached: it falls by less than there is above the other sums. */
  for (unsigned k = counts->count; k < lanes; k++)
    sums[k] = UINT16_MAX;
}

static inline void sums_take(uint16_t *sums, const tslt_context *context, unsigned lanes, unsigned k, uint16_t weight) {
  unsigned first = k & ~(LANES - 1u);
  const uint16_t *mask = context->step[k - first];
#if defined(__SSE2__)
  __m128i all = _mm_set1_epi16((short)weight), *part = (__m128i *)(void *)(sums + first);
  const __m128i *masks = (const __m128i *)(const void *)mask, *end = (const __m128i *)(const void *)(sums + lanes);
  part[0] = _mm_sub_epi16(part[0], _mm_and_si128(all, _mm_loadu_si128(masks)));
  part[1] = _mm_sub_epi16(part[1], _mm_and_si128(all, _mm_loadu_si128(masks + 1)));
  for (part += 2; part < end; part++)
    *part = _mm_sub_epi16(*part, all);
#else
  for (unsigned i = first; i < lanes; i++)
    sums[i] = (uint16_t)(sums[i] - (i < first + LANES ? mask[i - first] & weight : weight));
#endif
}

/* Which lanes an entry less changes. */
void tslt_make_steps(tslt_context *context) {
  for (unsigned k = 0; k < LANES; k++)
    for (unsigned i = 0; i < LANES; i++)
      context->step[k][i] = i >= k ? UINT16_MAX : 0;
}

/* Lists of up to FEW_LEVELS levels: nearly all.  `counts` is used up.  Ids ascend, and so do their columns: one column
 * at a time is enough. */
static inline void code_few(const tslt_context *context, range_coder *coder, const int32_t *ids, uint32_t *codes,
                            uint32_t size, level_counts *counts, bool reads) {
  _Alignas(16) uint16_t sums[FEW_LEVELS];
  uint8_t class_of[FEW_LEVELS];
  uint16_t index[MOST_LEVELS];
  range_coder c = *coder;
  unsigned lanes = (counts->count + LANES - 1u) & ~(LANES - 1u), column = COLUMNS;
  c.reads = reads;
  rank_classes(counts, class_of);
  for (unsigned i = 0; i < counts->count; i++)
    index[counts->level[i]] = (uint16_t)i;
  for (uint32_t i = 0; i < size && !c.error; i++) {
    if (octave_class(ids[i]) != column) {
      column = octave_class(ids[i]);
      sum_column(sums, counts, class_of, column, lanes);
    }
    uint32_t total = sums[counts->count - 1];
    uint64_t part = c.range / total;
    unsigned k = reads ? count_not_above(sums, lanes, (uint16_t)range_find(&c, part, total)) : index[codes[i]];
    uint32_t start = k ? sums[k - 1] : 0u;
    if (reads) {
      codes[i] = counts->level[k];
      range_take(&c, part, start, sums[k] - start);
    } else {
      range_put(&c, part, start, sums[k] - start);
    }
    counts->entries[k]--;
    sums_take(sums, context, lanes, k, AFFINITY[class_of[k]][column]);
  }
  *coder = c;
}

/* Any number of levels: entries that are left, by class and by blocks of LANES levels. */
static int code_many(range_coder *c, const int32_t *ids, uint32_t *codes, uint32_t size, const level_counts *counts) {
  uint8_t class_of[MOST_LEVELS];
  uint16_t index[MOST_LEVELS];
  uint32_t left[MOST_LEVELS], blocks[MOST_LEVELS / LANES + 1] = {0}, classes[CLASSES] = {0};
  rank_classes(counts, class_of);
  for (unsigned k = 0; k < counts->count; k++) {
    index[counts->level[k]] = (uint16_t)k;
    left[k] = counts->entries[k];
    blocks[k / LANES] += left[k];
    classes[class_of[k]] += left[k];
  }
  for (uint32_t i = 0; i < size && !c->error; i++) {
    unsigned column = octave_class(ids[i]), k = 0, class = 0, block = 0;
    uint32_t total = 0, below = 0, weight = 0;
    for (unsigned j = 0; j < CLASSES; j++)
      total += classes[j] * AFFINITY[j][column];
    uint64_t part = c->range / total;
    uint32_t found = c->reads ? (uint32_t)range_find(c, part, total) : 0;
    unsigned wanted = c->reads ? 0 : class_of[index[codes[i]]];
    /* The class: `weight` is what is in those below, `below` how many entries. */
    while (c->reads ? weight + classes[class] * AFFINITY[class][column] <= found : class < wanted) {
      weight += classes[class] * AFFINITY[class][column];
      below += classes[class++];
    }
    uint32_t entry = below + (found - weight) / AFFINITY[class][column], before = 0;
    if (!c->reads)
      k = index[codes[i]];
    while (c->reads ? before + blocks[block] <= entry : block < k / LANES)
      before += blocks[block++];
    unsigned at = block * LANES;
    while (c->reads ? before + left[at] <= entry : at < k)
      before += left[at++];
    uint32_t start = weight + (before - below) * AFFINITY[class][column];
    if (c->reads) {
      codes[i] = counts->level[at];
      range_take(c, part, start, left[at] * AFFINITY[class][column]);
    } else {
      range_put(c, part, start, left[at] * AFFINITY[class][column]);
    }
    left[at]--;
    blocks[block]--;
    classes[class]--;
  }
  return c->error;
}

int tslt_code_levels(tslt_context *context, range_coder *c, const int32_t *ids, uint32_t *codes, uint32_t size,
                     int precision) {
  level_counts counts;
  int error = code_counts(c, codes, size, precision, &counts);
  if (error)
    return error;
  if (counts.count == 1) {
    if (c->reads)
      memset(codes, 0, size * sizeof *codes);
    return TSLT_OK;
  }
  if (counts.count > FEW_LEVELS)
    return code_many(c, ids, codes, size, &counts);
  if (c->reads)
    code_few(context, c, ids, codes, size, &counts, true);
  else
    code_few(context, c, ids, codes, size, &counts, false);
  return c->error;
}
