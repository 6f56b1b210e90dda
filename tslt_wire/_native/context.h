/* A context: growing memory, and tables that are made when they are first needed. */
#ifndef TSLT_CONTEXT_H
#define TSLT_CONTEXT_H

#include <stdbool.h>

#include "tslt_wire.h"

enum { MAX_URN = 32, SHARE_CLASSES = 74, LEAF = 32, URN_SLOTS = 32, LANES = 16, CLASSES = 8, COLUMNS = 6 };

/* Growing scratch memory. */
typedef struct {
  void *at;
  size_t bytes;
} buffer;

/* Tokens that a frame remembers (spec [RLIST-8]) of lists of up to SHARED, ascending. */
enum { SHARED = 512, MAX_SEEN = 2048, FACTS = 32 };
typedef struct {
  uint32_t count;
  int32_t ids[MAX_SEEN];
  uint8_t facts[MAX_SEEN]; /* seen.c */
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
  int64_t gone[MAX_SEEN + 1];
  int32_t old[MAX_SEEN];
  uint64_t marks[TSLT_MAX_VOCAB_SIZE / 64]; /* a bit a token; 0 but while a list is written */
  uint32_t choose[LEAF + 1][LEAF + 2]; /* [n][f]: C(f, n) */
  uint8_t share_class[4097];           /* by the lower part's share in 4096ths, rounded down */
  uint16_t share_value[SHARE_CLASSES];
  uint16_t step[LANES][LANES]; /* levels.c */
  /* Urns are made when they are first needed: 16-bit running sums after 0, ..., n - 1 draws; one cache line each. */
  uint8_t urn_ready[2][SHARE_CLASSES][MAX_URN];
  uint16_t urns[2][SHARE_CLASSES][MAX_URN][URN_SLOTS];
};

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
  if (context->urn_ready[inner][share][n - 1])
    return context->urns[inner][share][n - 1];
  return tslt_make_urn(context, inner, share, n);
}

#endif
