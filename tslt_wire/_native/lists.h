/* Lists, bit-packed and under the range coder. */
#ifndef TSLT_LISTS_H
#define TSLT_LISTS_H

#include "context.h"
#include "range.h"

/* What lists of one range coder output know of each other (spec section 5.4). */
typedef struct {
  tslt_context *context;
  range_coder *coder;
  uint32_t vocab_size;
  int precision;
  const tslt_prior *prior;
  uint32_t tail, size, lists;
  uint64_t entries;
  int seen; /* which of the context's two */
  uint16_t hits[FACTS][3][2]; /* listed and met, in 32nds at first, by facts and lists so far */
} list_model;

void tslt_list_model_start(list_model *m, tslt_context *context, range_coder *coder, const tslt_profile *profile,
                           int precision);
/* Write `list`, or read one into the context's arrays (`list` then has offsets as counts only: see lists.c).  `last`:
 * no other list follows. */
int tslt_list_model_code(list_model *m, tslt_list *list, uint64_t max_entries, bool last);

int tslt_read_plain_list(tslt_context *context, bit_reader *r, const tslt_profile *profile, int precision,
                         uint64_t max_entries, tslt_list *list);
void tslt_write_plain_list(bit_writer *w, const tslt_profile *profile, int precision, const tslt_list *list);

#endif
