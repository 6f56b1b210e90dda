/* Shapes of token trees, and the tokens of their nodes. */
#ifndef TSLT_TREES_H
#define TSLT_TREES_H

#include "context.h"
#include "range.h"

/* Read a shape into the context's parents, and what tslt_find_inner finds of them; how many nodes to `count`. */
int tslt_read_shape(tslt_context *context, bit_reader *r, const tslt_limits *limits, uint32_t *count, uint32_t *lists);
int tslt_write_shape(tslt_context *context, bit_writer *w, const int32_t *parents, uint32_t count);
/* Parents that have children, ascending, to context->list_parents; the list of parent p to context->list_of[p + 1]; how
 * many children each list has, and how many all before have, to context->degrees and context->first. */
int tslt_find_inner(tslt_context *context, const int32_t *parents, uint32_t nodes, uint32_t *lists);

/* Tokens of all nodes under the range coder (spec [RLIST-9]); after tslt_find_inner. */
int tslt_code_tokens(tslt_context *context, range_coder *c, const tslt_profile *profile, const tslt_draft *draft,
                     int32_t *tokens);
/* The position of a token in a list, or -1. */
int64_t tslt_rank(const tslt_list *list, int64_t token);

#endif
