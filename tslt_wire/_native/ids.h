/* Sets of ids: spec [RLIST-3] and [RLIST-14]. */
#ifndef TSLT_IDS_H
#define TSLT_IDS_H

#include "context.h"
#include "plain.h"

/* Code a set of `count` ids among the free ones (spec [RLIST-3]); `ids` is read or written. */
void tslt_code_ids(tslt_context *context, range_coder *c, int32_t *ids, uint32_t count, uint32_t vocab_size,
                   const seen_ids *seen, const int64_t *starts);

/* The same of more ids, by their gaps: spec [RLIST-14]. */
int tslt_code_gap_ids(tslt_context *context, plain_bits *p, int32_t *ids, uint32_t count, uint32_t vocab_size,
                      const seen_ids *seen);

#endif
