/* Prefix codes of long lists: lengths that fit the levels, and how a reader learns them.  Spec [RLIST-13]. */
#include "plain.h"

enum { RAREST = 1024, LEVEL_BITS = 9, MOST_FEW = 24 };

void tslt_count_levels(const uint32_t *codes, uint32_t size, unsigned top, uint32_t *counts) {
  /* Neighbours are often of one level: two counters for each do not wait for each other. */
  uint32_t odd[MOST_LEVELS];
  memset(counts, 0, (top + 1) * sizeof *counts);
  memset(odd, 0, (top + 1) * sizeof *odd);
  for (uint32_t i = 0; i + 1 < size; i += 2) {
    counts[codes[i]]++;
    odd[codes[i + 1]]++;
  }
  if (size & 1)
    counts[codes[size - 1]]++;
  for (unsigned level = 0; level <= top; level++)
    counts[level] += odd[level];
}

/* Ascending; equal weights stay in order.  A key is a weight, above LEVEL_BITS of its level. */
static void sort_keys(uint32_t *keys, unsigned count, uint32_t most) {
  if (count <= MOST_FEW) {
    for (unsigned i = 1; i < count; i++) {
      uint32_t key = keys[i];
      unsigned j = i;
      for (; j && keys[j - 1] > key; j--)
        keys[j] = keys[j - 1];
      keys[j] = key;
    }
    return;
  }
  uint32_t other[MOST_LEVELS];
  for (unsigned shift = LEVEL_BITS; shift < 32 && most >> shift; shift += 8) {
    uint16_t first[257] = {0};
    for (unsigned i = 0; i < count; i++)
      first[(keys[i] >> shift & 255) + 1]++;
    for (unsigned digit = 0; digit < 256; digit++)
      first[digit + 1] = (uint16_t)(first[digit + 1] + first[digit]);
    for (unsigned i = 0; i < count; i++)
      other[first[keys[i] >> shift & 255]++] = keys[i];
    memcpy(keys, other, count * sizeof *keys);
  }
}

void tslt_prefix_lengths(const uint32_t *counts, unsigned levels, uint32_t size, uint8_t *lengths) {
  uint32_t keys[MOST_LEVELS], queue[2 * MOST_LEVELS], least = (size + RAREST - 1) / RAREST, most = 0;
  uint16_t parent[2 * MOST_LEVELS];
  uint8_t depth[2 * MOST_LEVELS];
  unsigned leaves = 0;
  memset(lengths, 0, levels);
  for (unsigned level = 0; level < levels; level++)
    if (counts[level]) {
      uint32_t key = (counts[level] > least ? counts[level] : least) << LEVEL_BITS | level;
      most = key > most ? key : most;
      keys[leaves++] = key;
    }
  if (leaves < 2)
    return;
  sort_keys(keys, leaves, most);
  for (unsigned i = 0; i < leaves; i++)
    queue[i] = keys[i] >> LEVEL_BITS;
  /* Two queues, both ascending: leaves, and inner nodes in the order in which they are made. */
  unsigned leaf = 0, inner = leaves, all = 2 * leaves - 1;
  for (unsigned node = leaves; node < all; node++) {
    uint32_t total = 0;
    for (unsigned i = 0; i < 2; i++) {
      unsigned taken = leaf < leaves && (inner == node || queue[leaf] <= queue[inner]) ? leaf++ : inner++;
      parent[taken] = (uint16_t)node;
      total += queue[taken];
    }
    queue[node] = total;
  }
  depth[all - 1] = 0;
  for (unsigned node = all - 1; node-- > 0;)
    depth[node] = (uint8_t)(depth[parent[node]] + 1);
  for (unsigned i = 0; i < leaves; i++)
    lengths[keys[i] & ((1u << LEVEL_BITS) - 1)] = depth[i];
}

int tslt_code_lengths(range_coder *c, uint8_t *lengths, unsigned *levels, uint32_t size, unsigned max_code) {
  static const uint8_t FIRST_LENGTH[] = {25, 48, 29, 6, 2, 1}, NEXT_NONE[] = {12, 80};
  static const uint8_t NEXT_LENGTH[2][7] = {{1, 3, 30, 72, 12, 3, 1}, {1, 1, 7, 36, 4, 1, 1}};
  uint32_t left = 1u << MAX_LENGTH;
  unsigned most = bit_length(size) < 11 ? bit_length(size) : 11, last = 0, level = 0;
  bool none = false;
  while (left && !c->error) {
    unsigned shortest = MAX_LENGTH + 1 - bit_length(left);
    if (level == max_code) {
      if (left & (left - 1))
        range_fail(c, TSLT_NON_CANONICAL);
      lengths[level++] = (uint8_t)shortest;
      break;
    }
    uint32_t starts[MAX_LENGTH + 2];
    starts[0] = 0;
    starts[1] = level ? NEXT_NONE[none] : 1;
    for (unsigned length = 1; length <= MAX_LENGTH; length++) {
      unsigned weight = 0;
      if (!level)
        weight = FIRST_LENGTH[length <= most && most - length < 5 ? most - length : 5];
      else if (length >= shortest)
        weight = NEXT_LENGTH[none][length + 3 < last ? 0 : length > last + 3 ? 6 : length + 3 - last];
      starts[length + 1] = starts[length] + weight;
    }
    unsigned length = code_locate(c, lengths[level], starts, MAX_LENGTH + 1);
    lengths[level] = (uint8_t)length;
    none = !length;
    if (length) {
      left -= 1u << (MAX_LENGTH - length);
      last = length;
    }
    if (!level++ && none)
      break;
  }
  *levels = level;
  return c->error;
}
