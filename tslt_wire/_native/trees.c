/* Shapes of token trees: spec section 5.2. */
#include "trees.h"

enum { CHAIN = 0, EXPANSION = 1, LEVELS = 2, PARENTS = 3 };
#define MOST_NODES (1u << 30)

/* The first form that fits, and for EXPANSION its layers' degrees to context->degrees, how many to `layers`. */
static int form_of(tslt_context *context, const int32_t *parents, uint32_t count, uint32_t *layers) {
  bool chain = true, sorted = true;
  /* Two loops: clang 14 to 16 make one of them to code that takes no tree for a chain. */
  for (uint32_t i = 0; i < count; i++)
    chain &= parents[i] == (int32_t)i - 1;
  for (uint32_t i = 1; i < count; i++)
    sorted &= parents[i] >= parents[i - 1];
  if (chain)
    return CHAIN;
  if (!sorted)
    return PARENTS;
  uint32_t *found = tslt_reserve(&context->degrees, (size_t)count + 1, sizeof(uint32_t));
  if (!found)
    return TSLT_NO_MEMORY;
  /* A layer of `width` parents from `first` on; all must have as many children as the first of them. */
  uint32_t at = 0, width = 1;
  int64_t first = -1;
  *layers = 0;
  while (at < count) {
    uint32_t degree = 0;
    while (at + degree < count && parents[at + degree] == first)
      degree++;
    uint64_t below = (uint64_t)degree * width;
    if (!degree || below > count - at)
      return LEVELS;
    for (uint32_t i = 0; i < below; i++)
      if (parents[at + i] != first + i / degree)
        return LEVELS;
    found[(*layers)++] = degree;
    first = at;
    width = (uint32_t)below;
    at += (uint32_t)below;
  }
  return EXPANSION;
}

int tslt_write_shape(tslt_context *context, bit_writer *w, const int32_t *parents, uint32_t count) {
  uint32_t layers = 0;
  /* It has the memory of tslt_find_inner, which came first. */
  int form = form_of(context, parents, count, &layers);
  tslt_put_varint(w, (form == EXPANSION ? layers : count) << 2 | (uint32_t)form);
  if (form == EXPANSION) {
    const uint32_t *degrees = context->degrees.at;
    for (uint32_t i = 0; i < layers; i++)
      tslt_put_varint(w, degrees[i]);
  } else if (form == LEVELS) {
    int32_t node = -1;
    for (uint32_t i = 0; i < count; i++) {
      for (; node < parents[i]; node++)
        tslt_put_bits(w, 0, 1);
      tslt_put_bits(w, 1, 1);
    }
  } else if (form == PARENTS) {
    for (uint32_t i = 0; i < count; i++)
      tslt_put_bits(w, (uint32_t)(parents[i] + 1), bit_length(i));
  }
  return w->error;
}

static int read_expansion(tslt_context *context, bit_reader *r, uint64_t layers, const tslt_limits *limits,
                          uint32_t *count) {
  uint64_t nodes = 0, width = 1;
  if (layers > limits->max_depth)
    return TSLT_LIMIT_EXCEEDED;
  int32_t *parents = context->parents.at;
  int64_t first = -1;
  for (uint64_t layer = 0; layer < layers; layer++) {
    uint64_t degree = tslt_get_varint(r);
    if (r->error)
      return r->error;
    if (degree < 1)
      return TSLT_BAD_TREE;
    uint64_t below = degree * width;
    if (below > limits->max_nodes || nodes + below > limits->max_nodes || nodes + below > MOST_NODES)
      return TSLT_LIMIT_EXCEEDED;
    parents = tslt_reserve(&context->parents, (size_t)(nodes + below), sizeof(int32_t));
    if (!parents)
      return TSLT_NO_MEMORY;
    for (uint64_t i = 0; i < below; i++)
      parents[nodes + i] = (int32_t)(first + (int64_t)(i / degree));
    first = (int64_t)nodes;
    nodes += below;
    width = below;
  }
  *count = (uint32_t)nodes;
  return TSLT_OK;
}

static int read_levels(bit_reader *r, int32_t *parents, uint32_t count) {
  uint32_t placed = 0;
  for (int64_t node = -1; placed < count; node++) {
    if (node >= (int64_t)placed)
      return TSLT_BAD_TREE;
    while (placed < count && tslt_get_bits(r, 1))
      parents[placed++] = (int32_t)node;
    if (r->error)
      return r->error;
  }
  return TSLT_OK;
}

static int read_parents(bit_reader *r, int32_t *parents, uint32_t count) {
  for (uint32_t node = 0; node < count; node++) {
    int64_t parent = (int64_t)tslt_get_bits(r, bit_length(node)) - 1;
    if (r->error)
      return r->error;
    if (parent >= node)
      return TSLT_BAD_TREE;
    parents[node] = (int32_t)parent;
  }
  return TSLT_OK;
}

int tslt_read_shape(tslt_context *context, bit_reader *r, const tslt_limits *limits, uint32_t *count, uint32_t *lists) {
  uint32_t head = tslt_get_varint(r), layers;
  int form = head & 3;
  if (r->error)
    return r->error;
  *count = head >> 2;
  int error = TSLT_OK;
  if (form == EXPANSION) {
    error = read_expansion(context, r, *count, limits, count);
  } else {
    if (*count > limits->max_nodes)
      return TSLT_LIMIT_EXCEEDED;
    /* All but the first node of LEVELS and PARENTS cost a bit each; a CHAIN is bounded by the limit alone. */
    uint64_t room = form == CHAIN || *count < bits_left(r) ? *count : bits_left(r) + 2;
    int32_t *parents = tslt_reserve(&context->parents, (size_t)room, sizeof(int32_t));
    if (!parents)
      return TSLT_NO_MEMORY;
    if (form == CHAIN)
      for (uint32_t i = 0; i < *count; i++)
        parents[i] = (int32_t)i - 1;
    else
      error = form == LEVELS ? read_levels(r, parents, *count) : read_parents(r, parents, *count);
  }
  if (error)
    return error;
  const int32_t *parents = context->parents.at;
  int right = form_of(context, parents, *count, &layers);
  if (right < 0)
    return right;
  if (right != form)
    return TSLT_NON_CANONICAL;
  uint32_t *depths = tslt_reserve(&context->depths, (size_t)*count + 1, sizeof(uint32_t));
  if (!depths)
    return TSLT_NO_MEMORY;
  uint32_t deepest = 0;
  for (uint32_t i = 0; i < *count; i++) {
    depths[i] = parents[i] < 0 ? 1 : depths[parents[i]] + 1;
    deepest = depths[i] > deepest ? depths[i] : deepest;
  }
  if (deepest > limits->max_depth)
    return TSLT_LIMIT_EXCEEDED;
  error = tslt_find_inner(context, parents, *count, lists);
  if (error)
    return error;
  /* All nodes but those with a list are leaves; the prefix has one, too, and is no node. */
  return *count && (uint64_t)*count + 1 - *lists > limits->max_leaves ? TSLT_LIMIT_EXCEEDED : TSLT_OK;
}

int tslt_find_inner(tslt_context *context, const int32_t *parents, uint32_t nodes, uint32_t *lists) {
  uint32_t *list_of = tslt_reserve(&context->list_of, (size_t)nodes + 1, sizeof(uint32_t));
  uint32_t *degrees = tslt_reserve(&context->degrees, (size_t)nodes + 1, sizeof(uint32_t));
  uint32_t *first = tslt_reserve(&context->first, (size_t)nodes + 2, sizeof(uint32_t));
  int32_t *inner = tslt_reserve(&context->list_parents, (size_t)nodes + 1, sizeof(int32_t));
  if (!list_of || !degrees || !first || !inner)
    return TSLT_NO_MEMORY;
  memset(list_of, 0, ((size_t)nodes + 1) * sizeof *list_of);
  for (uint32_t i = 0; i < nodes; i++)
    list_of[parents[i] + 1]++;
  uint32_t n = 0;
  first[0] = 0;
  for (uint32_t p = 0; p <= nodes; p++) {
    if (!list_of[p])
      continue;
    inner[n] = (int32_t)p - 1;
    degrees[n] = list_of[p];
    first[n + 1] = first[n] + list_of[p];
    list_of[p] = n++;
  }
  *lists = n;
  return TSLT_OK;
}
