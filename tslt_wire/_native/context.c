/* Contexts and their memory. */
#include <stdlib.h>

#include "levels.h"

static unsigned share_of(unsigned exact) {
  unsigned smaller = exact < 2048 ? exact : exact < 4096 ? 4095 - exact : 0; /* 4096: all of it */
  if (exact < 4096 && smaller >= 64)
    return (exact & ~63u) | 32;
  unsigned rounded = smaller > 1 ? 3u << bit_length(smaller) >> 2 : 1;
  return exact < 2048 ? rounded : 4096 - rounded;
}

tslt_context *tslt_context_new(void) {
  tslt_context *context = calloc(1, sizeof(tslt_context));
  if (!context)
    return NULL;
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
  return context;
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
