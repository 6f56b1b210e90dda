/* Plain bits between two parts of a range coder's output: spec [RANGE-6], [RLIST-14] and [RLIST-15]. */
#ifndef TSLT_PLAIN_H
#define TSLT_PLAIN_H

#include "range.h"

enum { MOST_LEVELS = 481, MAX_LENGTH = 14 };

/* Fields in both directions. */
typedef struct plain_bits {
  bool reads;
  bit_reader in;
  bit_writer out;
} plain_bits;

/* End the symbols for now, and start again behind the plain bits. */
int tslt_range_leave(range_coder *c, plain_bits *p);
int tslt_range_resume(range_coder *c, plain_bits *p);

/* `count` places below `free`, ascending. */
int tslt_plain_gaps(plain_bits *p, int32_t *places, uint32_t count, uint32_t free);
/* `count` levels by the prefix code of `lengths`. */
int tslt_plain_symbols(plain_bits *p, uint32_t *codes, uint32_t count, const uint8_t *lengths, unsigned levels);
/* `count` numbers of `width` bits. */
int tslt_plain_fields(plain_bits *p, uint32_t *codes, uint32_t count, unsigned width);

/* How many of `size` codes, at most `top`, are of each level: to counts[0] to counts[top]. */
void tslt_count_levels(const uint32_t *codes, uint32_t size, unsigned top, uint32_t *counts);
/* Lengths of a prefix code for levels 0 to `levels` - 1; 0 for levels that have no entries, and for one alone. */
void tslt_prefix_lengths(const uint32_t *counts, unsigned levels, uint32_t size, uint8_t *lengths);
/* Code the lengths (there is room for MOST_LEVELS) up to the highest level that has entries; `levels` gets how many. */
int tslt_code_lengths(range_coder *c, uint8_t *lengths, unsigned *levels, uint32_t size, unsigned max_code);

#endif
