/* Codes under the range coder: how many entries each level has, then which entry has which. */
#include "levels.h"

enum { LARGE = 1024, MOST_LEVELS = 481, BLOCKS = 32 };

/* Weights of an entry's rank class (rows) at the octave class of its id (columns). */
static const uint16_t AFFINITY[CLASSES][COLUMNS] = {{47, 26, 13, 5, 4, 4},    {34, 24, 18, 9, 7, 4},
                                                    {27, 25, 21, 11, 8, 4},   {24, 22, 21, 15, 9, 5},
                                                    {19, 22, 20, 18, 11, 7},  {15, 18, 17, 18, 17, 11},
                                                    {12, 14, 17, 19, 19, 16}, {8, 8, 13, 17, 22, 27}};

int code_floats(range_coder *c, uint32_t *codes, uint32_t size, unsigned width) {
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

uint32_t nth_code(const uint32_t *codes, uint32_t size, uint32_t n) {
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

static int code_counts(range_coder *c, const uint32_t *codes, uint32_t size, int precision, level_counts *counts) {
  uint32_t given[MOST_LEVELS], top = max_code(precision), twice = 2u << log_scale(precision);
  if (!c->reads) {
    memset(given, 0, (top + 1) * sizeof *given);
    for (uint32_t i = 0; i < size; i++)
      given[codes[i]]++;
  }
  uint32_t done = 0;
  counts->count = 0;
  for (uint32_t level = 0; done < size; level++) {
    uint32_t n = 0;
    if (level == top) {
      n = size - done; /* what is left cannot be elsewhere */
    } else {
      n = level == 0;
      if (c->reads) {
        while (done + n < size && code_chance(c, 0, done + n + 1, (uint64_t)done + n + 1 + twice) && !c->error)
          n++;
      } else {
        while (n < given[level]) {
          code_chance(c, 1, done + n + 1, (uint64_t)done + n + 1 + twice);
          n++;
        }
        if (done + n < size)
          code_chance(c, 0, done + n + 1, (uint64_t)done + n + 1 + twice);
      }
      if (c->error)
        return c->error;
    }
    if (n) {
      counts->level[counts->count] = (uint16_t)level;
      counts->entries[counts->count++] = n;
    }
    done += n;
  }
  return c->error;
}

/* Codes of a list so long that frequencies that stay as they are cost nothing. */
static int code_large(range_coder *c, uint32_t *codes, uint32_t size, const level_counts *counts) {
  uint32_t starts[MOST_LEVELS + 1], found[MOST_LEVELS] = {0};
  uint16_t index[MOST_LEVELS], guide[1025];
  unsigned shift = bit_length(size) - 10, k = 0;
  starts[0] = 0;
  for (unsigned i = 0; i < counts->count; i++) {
    starts[i + 1] = starts[i] + counts->entries[i];
    index[counts->level[i]] = (uint16_t)i;
  }
  /* Where to start looking: the level that has the first entry of each 1024th. */
  for (uint32_t i = 0; i <= 1024 && (uint64_t)i << shift < size; i++) {
    while (starts[k + 1] <= i << shift)
      k++;
    guide[i] = (uint16_t)k;
  }
  for (uint32_t i = 0; i < size; i++) {
    uint64_t part = c->range / size;
    if (c->reads) {
      uint32_t at = (uint32_t)range_find(c, part, size);
      if (c->error)
        return c->error;
      k = guide[at >> shift];
      while (starts[k + 1] <= at)
        k++;
      codes[i] = counts->level[k];
      found[k]++;
      range_take(c, part, starts[k], counts->entries[k]);
    } else {
      k = index[codes[i]];
      range_put(c, part, starts[k], counts->entries[k]);
    }
  }
  if (c->reads && !c->error && memcmp(found, counts->entries, counts->count * sizeof *found) != 0)
    return TSLT_NON_CANONICAL;
  return c->error;
}

/* Running sums of what is left, in a form that one pass over 16 lanes searches or changes: the entries of the levels
 * within blocks of 16, of the blocks, and by class; and the weights of the classes in each column. */
typedef struct {
  uint16_t inside[BLOCKS][LANES], blocks[BLOCKS], classes[CLASSES], weights[COLUMNS][CLASSES];
} sums;

static void sums_start(sums *s, const level_counts *counts, uint8_t *class_of) {
  uint32_t before = 0, weights[COLUMNS] = {0};
  unsigned at = 0;
  memset(s, 0xFF, sizeof *s); /* what is behind the end is never reached */
  for (unsigned k = 0; k < counts->count; k++) {
    unsigned class = bit_length(before + counts->entries[k] / 2);
    class_of[k] = (uint8_t)(class < 7 ? class : 7);
    before += counts->entries[k];
  }
  before = 0;
  for (unsigned class = 0; class < CLASSES; class++) {
    for (; at < counts->count && class_of[at] == class; at++) {
      uint16_t first = at % LANES ? s->inside[at / LANES][at % LANES - 1] : 0;
      s->inside[at / LANES][at % LANES] = (uint16_t)(first + counts->entries[at]);
      before += counts->entries[at];
      s->blocks[at / LANES] = (uint16_t)before;
      for (unsigned o = 0; o < COLUMNS; o++)
        weights[o] += counts->entries[at] * AFFINITY[class][o];
    }
    s->classes[class] = (uint16_t)before;
    for (unsigned o = 0; o < COLUMNS; o++)
      s->weights[o][class] = (uint16_t)weights[o]; /* at most 1024 * 47 */
  }
}

static inline void sums_take(sums *s, const tslt_context *context, unsigned blocks, unsigned k, unsigned class) {
  unsigned block = k / LANES;
  const uint16_t *restrict step = context->step[k % LANES], *restrict drop = context->drop[class][0];
  uint16_t *restrict inside = s->inside[block], *restrict classes = s->classes, *restrict weights = s->weights[0];
  for (unsigned i = 0; i < LANES; i++)
    inside[i] = (uint16_t)(inside[i] - step[i]);
  step = context->step[class];
  for (unsigned i = 0; i < CLASSES; i++)
    classes[i] = (uint16_t)(classes[i] - step[i]);
  for (unsigned i = 0; i < COLUMNS * CLASSES; i++)
    weights[i] = (uint16_t)(weights[i] - drop[i]);
  for (unsigned i = block; i < blocks; i++)
    s->blocks[i]--;
}

/* What one entry less takes from running sums: of lanes, and of the weights of classes. */
void tslt_make_steps(tslt_context *context) {
  for (unsigned k = 0; k < LANES; k++)
    for (unsigned i = 0; i < LANES; i++)
      context->step[k][i] = i >= k;
  for (unsigned class = 0; class < CLASSES; class++)
    for (unsigned o = 0; o < COLUMNS; o++)
      for (unsigned i = 0; i < CLASSES; i++)
        context->drop[class][o][i] = i >= class ? AFFINITY[class][o] : 0;
}

static int code_small(const tslt_context *context, range_coder *c, const int32_t *ids, uint32_t *codes, uint32_t size, const level_counts *counts) {
  sums s;
  uint8_t class_of[MOST_LEVELS];
  uint16_t index[MOST_LEVELS];
  unsigned blocks = (counts->count + LANES - 1) / LANES;
  sums_start(&s, counts, class_of);
  for (unsigned i = 0; i < counts->count; i++)
    index[counts->level[i]] = (uint16_t)i;
  for (uint32_t i = 0; i < size && !c->error; i++) {
    unsigned bits = bit_length((uint32_t)ids[i]), column = bits < 8 ? 0 : bits - 8 < 5 ? bits - 8 : 5, k, class;
    const uint16_t *weights = s.weights[column];
    uint64_t part = c->range / weights[CLASSES - 1];
    if (c->reads) {
      uint16_t found = (uint16_t)range_find(c, part, weights[CLASSES - 1]);
      uint16_t smaller = 0;
      for (unsigned j = 0; j < CLASSES; j++)
        smaller = (uint16_t)(smaller + (weights[j] <= found));
      class = smaller;
      uint32_t entry = (class ? s.classes[class - 1] : 0u) +
                       (found - (class ? weights[class - 1] : 0u)) / AFFINITY[class][column];
      unsigned block = 0;
      while (s.blocks[block] <= entry)
        block++;
      uint16_t rest = (uint16_t)(entry - (block ? s.blocks[block - 1] : 0u));
      smaller = 0;
      for (unsigned j = 0; j < LANES; j++)
        smaller = (uint16_t)(smaller + (s.inside[block][j] <= rest));
      k = block * LANES + smaller;
      codes[i] = counts->level[k];
    } else {
      k = index[codes[i]];
      class = class_of[k];
    }
    unsigned block = k / LANES, lane = k % LANES;
    uint32_t start = lane ? s.inside[block][lane - 1] : 0u;
    uint32_t n = s.inside[block][lane] - start;
    start += (block ? s.blocks[block - 1] : 0u) - (class ? s.classes[class - 1] : 0u);
    start = (class ? weights[class - 1] : 0u) + start * AFFINITY[class][column];
    n *= AFFINITY[class][column];
    if (c->reads)
      range_take(c, part, start, n);
    else
      range_put(c, part, start, n);
    sums_take(&s, context, blocks, k, class);
  }
  return c->error;
}

int code_levels(tslt_context *context, range_coder *c, const int32_t *ids, uint32_t *codes, uint32_t size,
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
  return size > LARGE ? code_large(c, codes, size, &counts) : code_small(context, c, ids, codes, size, &counts);
}
