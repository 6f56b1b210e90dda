/* Codes of lists that are not long, under the range coder: spec [RLIST-6] and [RLIST-7]. */
#ifndef TSLT_LEVELS_H
#define TSLT_LEVELS_H

#include "context.h"
#include "plain.h"

/* Fill the context's masks of lanes. */
void tslt_make_steps(tslt_context *context);

int tslt_code_floats(range_coder *c, uint32_t *codes, uint32_t size, unsigned width);
int tslt_code_levels(tslt_context *context, range_coder *c, const int32_t *ids, uint32_t *codes, uint32_t size,
                     int precision);
/* The code that `n` of `size` (at most SHARED) codes come before in ascending order. */
uint32_t tslt_nth_code(const uint32_t *codes, uint32_t size, uint32_t n);

#endif
