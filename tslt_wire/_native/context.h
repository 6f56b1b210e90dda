/* A context: growing memory, and tables that are made when they are first needed. */
#ifndef TSLT_CONTEXT_H
#define TSLT_CONTEXT_H

#include <stdbool.h>

#include "tslt_wire.h"

enum { MAX_URN = 32, SHARE_CLASSES = 74, LEAF = 32, URN_SLOTS = 32, LANES = 16, CLASSES = 8, COLUMNS = 6 };

/* Scratch memory: growing, or a part of a block of the caller's, which it cannot leave. */
typedef struct {
  void *at;
  size_t bytes;
  bool fixed;
} buffer;

/* Tokens that a frame remembers (spec [RLIST-8]) of lists of up to SHARED, ascending. */
enum { SHARED = 512, MAX_SEEN = 2048, FACTS = 32 };
typedef struct {
  uint32_t count;
  int32_t *ids;
  uint8_t *facts; /* seen.c */
} seen_ids;

struct tslt_context {
  /* Lists that were read, one after another. */
  buffer ids, codes, weights;
  uint64_t entries;
  /* Trees. */
  buffer parents, tokens, degrees, first, depths, lists, list_parents, list_of, siblings, removed, sums, keys;
  /* Sparsify. */
  buffer logits, picked, maxima, masses, keys32;
  /* Target rows: what a cut looks at. */
  buffer row_weights, row_values, row_peaks;
  /* Long lists. */
  buffer places;
  /* The list that is written. */
  buffer given_ids, given_codes;
  seen_ids seen[2];
  int64_t *gone;
  int32_t *old;
  uint64_t *marks; /* a bit a token; 0 but while a list is written */
  uint32_t choose[LEAF + 1][LEAF + 2]; /* [n][f]: C(f, n) */
  uint8_t share_class[4097];           /* by the lower part's share in 4096ths, rounded down */
  uint16_t share_value[SHARE_CLASSES];
  uint16_t step[LANES][LANES]; /* levels.c */
  /* Urns are made when they are needed and not there: 16-bit running sums after 0, ..., n - 1 draws; one cache line each.
   * An urn has one place, which it shares with others where there are fewer places than urns. */
  uint16_t (*urns)[URN_SLOTS];
  uint16_t *urn_at; /* which urn a place holds, counted from 1 */
  unsigned urn_mask;
};

/* Places of a context that holds every urn. */
enum { ALL_URNS = 8192 };
/* Logits of the largest blocks; how many are looked at together where blocks are smaller (select.h). */
enum { SELECT_ROWS = 256, SELECT_STEP = 512 };

/* Memory that is laid out in a row: first counted, then given away. */
typedef struct {
  uint8_t *block; /* NULL: it is counted */
  uint64_t used;  /* counted so that no sum wraps where addresses have 32 bits; nothing is laid out that has not been counted */
} layout;

/* The next `count` things of `size` bytes, aligned for any of them; NULL while they are counted. */
void *tslt_take(layout *l, uint64_t count, size_t size);
void tslt_clear(void *block, size_t size); /* zeros, for a new layout */
/* What a context has besides its buffers: marks for `vocab_size` tokens, `seen` remembered ids, `urns` places, a power of
 * 2.  The memory is all 0. */
void tslt_lay_tables(tslt_context *context, layout *l, uint32_t vocab_size, uint32_t seen, unsigned urns);
/* Tables that do not change; after tslt_lay_tables. */
void tslt_fill_tables(tslt_context *context);

/* Memory for `count` things of `size` bytes, what was there kept; NULL if there is none. */
void *tslt_reserve(buffer *scratch, size_t count, size_t size);

/* Room for `count` more entries in the context's arrays; false if there is no memory. */
bool tslt_more_entries(tslt_context *context, uint64_t count);
/* Pointers of a list whose entries start at `first` of the context's arrays. */
void tslt_point(const tslt_context *context, tslt_list *list, uint64_t first);

/* ---------------------------------------------------------------------------------------------------------- tables */

extern const uint32_t tslt_log_table[16], tslt_coarse[256], tslt_fine[256];

const uint16_t *tslt_make_urn(tslt_context *context, int inner, unsigned share, unsigned n);

/* The urn of n draws, of those below the root if `inner`; `share` is a class. */
static inline const uint16_t *tslt_urn(tslt_context *context, int inner, unsigned share, unsigned n) {
  unsigned urn = ((unsigned)inner * SHARE_CLASSES + share) * MAX_URN + n, place = urn & context->urn_mask;
  return context->urn_at[place] == urn ? context->urns[place] : tslt_make_urn(context, inner, share, n);
}

#endif
