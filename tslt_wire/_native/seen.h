/* The ids that a frame remembers: spec [RLIST-5] and [RLIST-8]. */
#ifndef TSLT_SEEN_H
#define TSLT_SEEN_H

#include "lists.h"

void tslt_seen_start(list_model *m);
/* Write which remembered ids are among the `size` in `ids`; the others to `fresh`, which has room for `size`.  Returns how
 * many these are. */
uint32_t tslt_seen_write(list_model *m, const int32_t *ids, uint32_t size, int32_t *fresh);
/* Read which remembered ids are among `size`; returns how many others there are. */
uint32_t tslt_seen_read(list_model *m, uint32_t size);
/* The ids that were read, and `count` fresh ones, `size` in all, in order. */
void tslt_seen_merge(const list_model *m, const int32_t *fresh, uint32_t count, int32_t *ids, uint32_t size);
/* Remember a list. */
void tslt_seen_learn(list_model *m, const int32_t *ids, const uint32_t *codes, uint32_t size);

#endif
