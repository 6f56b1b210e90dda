/* Contexts and their memory. */
#include <stdlib.h>
#include <string.h>

#include "levels.h"

static unsigned share_of(unsigned exact) {
  unsigned smaller = exact < 2048 ? exact : exact < 4096 ? 4095 - exact : 0; /* 4096: all of it */
  if (exact < 4096 && smaller >= 64)
    return (exact & ~63u) | 32;
  unsigned rounded = smaller > 1 ? 3u << bit_length(smaller) >> 2 : 1;
  return exact < 2048 ? rounded : 4096 - rounded;
}

/* Where the sanitizer watches, a gap that nobody may touch follows each part of a block. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
enum { GAP = 32 };
#else
enum { GAP = 0 };
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

void tslt_clear(void *block, size_t size) {
  ASAN_UNPOISON_MEMORY_REGION(block, size); /* there may have been gaps of another session */
  memset(block, 0, size);
}

void *tslt_take(layout *l, uint64_t count, size_t size) {
  uint64_t start = (l->used + 15) & ~(uint64_t)15, end = start + count * size;
  l->used = end + GAP;
  if (!l->block)
    return NULL;
  ASAN_POISON_MEMORY_REGION(l->block + end, GAP);
  return l->block + start;
}

void tslt_lay_tables(tslt_context *context, layout *l, uint32_t vocab_size, uint32_t seen, unsigned urns) {
  for (unsigned i = 0; i < 2; i++) {
    context->seen[i].ids = tslt_take(l, seen, sizeof(int32_t));
    context->seen[i].facts = tslt_take(l, seen, 1);
  }
  context->gone = tslt_take(l, (size_t)seen + 1, sizeof(int64_t));
  context->old = tslt_take(l, seen, sizeof(int32_t));
  context->marks = tslt_take(l, vocab_size / 64 + 1, sizeof(uint64_t));
  context->urns = tslt_take(l, urns, sizeof *context->urns);
  context->urn_at = tslt_take(l, urns, sizeof(uint16_t));
  context->urn_mask = urns - 1;
}

tslt_context *tslt_context_new(void) {
  tslt_context laid;
  layout l = {NULL, 0};
  tslt_take(&l, 1, sizeof(tslt_context));
  tslt_lay_tables(&laid, &l, TSLT_MAX_VOCAB_SIZE, MAX_SEEN, ALL_URNS);
  uint8_t *block = calloc(1, (size_t)l.used);
  if (!block)
    return NULL;
  l = (layout){block, 0};
  tslt_context *context = tslt_take(&l, 1, sizeof *context);
  tslt_lay_tables(context, &l, TSLT_MAX_VOCAB_SIZE, MAX_SEEN, ALL_URNS);
  tslt_fill_tables(context);
  return context;
}

void tslt_fill_tables(tslt_context *context) {
  unsigned classes = 0;
  for (unsigned exact = 0; exact <= 4096; exact++) {
    unsigned value = share_of(exact);
    if (!classes || context->share_value[classes - 1] != value)
      context->share_value[classes++] = (uint16_t)value;
    context->share_class[exact] = (uint8_t)(classes - 1);
  }
  for (unsigned f = 0; f <= LEAF + 1; f++) {
    context->choose[0][f] = 1;
    for (unsigned n = 1; n <= LEAF; n++)
      context->choose[n][f] = f ? context->choose[n - 1][f - 1] + context->choose[n][f - 1] : 0;
  }
  tslt_make_steps(context);
}

void tslt_context_free(tslt_context *context) {
  if (!context)
    return;
  buffer *all[] = {&context->ids,    &context->codes,        &context->weights, &context->parents,  &context->tokens,
                   &context->degrees, &context->first,       &context->depths,  &context->lists,    &context->list_parents,
                   &context->list_of, &context->siblings,    &context->removed, &context->sums,     &context->keys,
                   &context->logits,  &context->picked,      &context->maxima,  &context->masses,   &context->keys32,
                   &context->places,  &context->given_ids,   &context->given_codes, &context->row_weights, &context->row_values,  &context->row_peaks};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    free(all[i]->at);
  free(context);
}

void *tslt_reserve(buffer *scratch, size_t count, size_t size) {
  if (count > SIZE_MAX / 2 / size)
    return NULL;
  size_t bytes = count * size;
  if (scratch->fixed)
    return bytes <= scratch->bytes ? scratch->at : NULL;
  if (bytes > scratch->bytes || !scratch->at) {
    size_t wanted = bytes < 4096 ? 4096 : bytes + bytes / 4;
    void *grown = realloc(scratch->at, wanted);
    if (!grown)
      return NULL;
    scratch->at = grown;
    scratch->bytes = wanted;
  }
  return scratch->at;
}

bool tslt_more_entries(tslt_context *context, uint64_t count) {
  uint64_t wanted = context->entries + count;
  if (wanted > SIZE_MAX / 32)
    return false;
  /* 8 more: leaves and vectors may write behind the end. */
  size_t room = (size_t)wanted + 8;
  return tslt_reserve(&context->ids, room, sizeof(int32_t)) && tslt_reserve(&context->codes, room, sizeof(uint32_t)) &&
         tslt_reserve(&context->weights, room, sizeof(int64_t));
}

void tslt_point(const tslt_context *context, tslt_list *list, uint64_t first) {
  list->ids = (const int32_t *)context->ids.at + first;
  list->codes = (const uint32_t *)context->codes.at + first;
  list->weights = (const int64_t *)context->weights.at + first;
}
