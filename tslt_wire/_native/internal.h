/* What the files of the kernel share: context, tables, bit fields.  Not for other code. */
#ifndef TSLT_INTERNAL_H
#define TSLT_INTERNAL_H

#include <stdbool.h>
#include <string.h>

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

/* ---------------------------------------------------------------------------------------------------------- tables */

extern const uint32_t tslt_log_table[16], tslt_coarse[256], tslt_fine[256];

void tslt_make_steps(tslt_context *context);
const uint16_t *tslt_make_urn(tslt_context *context, int inner, unsigned share, unsigned n);

/* The urn of n draws, of those below the root if `inner`; `share` is a class. */
static inline const uint16_t *tslt_urn(tslt_context *context, int inner, unsigned share, unsigned n) {
  if (context->urn_ready[inner][share][n - 1])
    return context->urns[inner][share][n - 1];
  return tslt_make_urn(context, inner, share, n);
}

/* ------------------------------------------------------------------------------------------------------------- bits */

static inline unsigned bit_length(uint64_t value) {
#if defined(__GNUC__) || defined(__clang__)
  return value ? 64u - (unsigned)__builtin_clzll(value) : 0;
#else
  unsigned bits = 0;
  for (; value; value >>= 1)
    bits++;
  return bits;
#endif
}

/* The place of the lowest 1 bit; there is one. */
static inline unsigned lowest_bit(uint64_t bits) {
#if defined(__GNUC__) || defined(__clang__)
  return (unsigned)__builtin_ctzll(bits);
#else
  return bit_length(bits & (0u - bits)) - 1;
#endif
}

/* How many of `count` ascending ids are below `token`.  No branch hangs on the ids: which way it went could not be
 * guessed, and a wrong guess costs more than all of this. */
static inline uint32_t count_below(const int32_t *ids, uint32_t count, int64_t token) {
  const int32_t *at = ids;
  while (count > 1) {
    uint32_t half = count / 2;
    at += half & (0u - (uint32_t)(at[half - 1] < token));
    count -= half;
  }
  return (uint32_t)(at - ids) + (count && *at < token);
}

/* Bits of one id: spec, bitlen(V - 1). */
static inline unsigned id_bits(uint32_t vocab_size) { return bit_length(vocab_size - 1); }

/* Eight bytes as a number.  Compilers that are told so make one instruction of it. */
#if defined(__GNUC__) && defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static inline uint64_t load_le64(const uint8_t *p) {
  uint64_t value;
  memcpy(&value, p, sizeof value);
  return value;
}

static inline uint64_t load_be64(const uint8_t *p) { return __builtin_bswap64(load_le64(p)); }

static inline void store_le64(uint8_t *p, uint64_t value) { memcpy(p, &value, sizeof value); }
static inline void store_be64(uint8_t *p, uint64_t value) { store_le64(p, __builtin_bswap64(value)); }
#else
static inline uint64_t load_le64(const uint8_t *p) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; i--)
    value = value << 8 | p[i];
  return value;
}

static inline void store_le64(uint8_t *p, uint64_t value) {
  for (int i = 0; i < 8; i++, value >>= 8)
    p[i] = (uint8_t)value;
}

static inline uint64_t load_be64(const uint8_t *p) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++)
    value = value << 8 | p[i];
  return value;
}

static inline void store_be64(uint8_t *p, uint64_t value) {
  for (int i = 7; i >= 0; i--, value >>= 8)
    p[i] = (uint8_t)value;
}
#endif

/* Fields are appended to `out`; a full buffer is found out by the caller, who looks at `error` at the end. */
typedef struct {
  uint8_t *out;
  size_t capacity, size; /* whole bytes that were written */
  uint64_t pending;
  unsigned pending_bits; /* less than 8 */
  int error;
} bit_writer;

void tslt_put_bits(bit_writer *w, uint32_t value, unsigned width);
void tslt_put_varint(bit_writer *w, uint32_t value);
void tslt_put_array(bit_writer *w, const uint32_t *values, size_t count, unsigned width);
void tslt_put_align(bit_writer *w);

/* The first error stays; fields read after it are 0. */
typedef struct {
  const uint8_t *data;
  uint64_t at, end; /* bits */
  int error;
} bit_reader;

static inline uint64_t bits_left(const bit_reader *r) { return r->end - r->at; }

uint32_t tslt_get_bits(bit_reader *r, unsigned width);
uint32_t tslt_get_varint(bit_reader *r);
int tslt_get_array(bit_reader *r, uint32_t *values, size_t count, unsigned width);
int tslt_get_align(bit_reader *r);
int tslt_get_finish(bit_reader *r);

/* ----------------------------------------------------------------------------------------------------------- lists */

static inline bool is_log(int precision) { return precision >= TSLT_LOG2_0; }
static inline unsigned log_scale(int precision) { return (unsigned)(precision - TSLT_LOG2_0); }
static inline uint32_t max_code(int precision) {
  return is_log(precision) ? 30u << log_scale(precision) : precision == TSLT_F32 ? UINT32_MAX : 0xFFFFu;
}
static inline unsigned code_bits(int precision) { return bit_length(max_code(precision)); }

/* Weights of `count` codes; false if a code is not one of the precision's, none is 0, or a weight is 0. */
bool tslt_weigh(int precision, const uint32_t *codes, size_t count, int64_t *weights);
bool tslt_list_ok(uint32_t vocab_size, int precision, const tslt_list *list, bool has_prior);

struct range_coder;

/* What lists of one range coder output know of each other (spec section 5.4). */
typedef struct {
  tslt_context *context;
  struct range_coder *coder;
  uint32_t vocab_size;
  int precision;
  const tslt_prior *prior;
  uint32_t tail, size, lists;
  uint64_t entries;
  int seen; /* which of the context's two */
  uint16_t hits[FACTS][3][2]; /* listed and met, in 32nds at first, by facts and lists so far */
} list_model;

void tslt_list_model_start(list_model *m, tslt_context *context, struct range_coder *coder, const tslt_profile *profile,
                           int precision);
/* Write `list`, or read one into the context's arrays (`list` then has offsets as counts only: see lists.c).  `last`:
 * no other list follows. */
int tslt_list_model_code(list_model *m, tslt_list *list, uint64_t max_entries, bool last);

/* Room for `count` more entries in the context's arrays; false if there is no memory. */
bool tslt_more_entries(tslt_context *context, uint64_t count);
/* Pointers of a list whose entries start at `first` of the context's arrays. */
void tslt_point(const tslt_context *context, tslt_list *list, uint64_t first);

int tslt_read_plain_list(tslt_context *context, bit_reader *r, const tslt_profile *profile, int precision,
                         uint64_t max_entries, tslt_list *list);
void tslt_write_plain_list(bit_writer *w, const tslt_profile *profile, int precision, const tslt_list *list);

/* Code a set of `count` ids among the free ones (spec [RLIST-3]); `ids` is read or written. */
void tslt_code_ids(tslt_context *context, struct range_coder *c, int32_t *ids, uint32_t count, uint32_t vocab_size,
                   const seen_ids *seen, const int64_t *starts);

struct plain_bits;
/* The same of more ids, by their gaps: spec [RLIST-14]. */
int tslt_code_gap_ids(tslt_context *context, struct plain_bits *p, int32_t *ids, uint32_t count, uint32_t vocab_size,
                      const seen_ids *seen);

/* ----------------------------------------------------------------------------------------------------------- trees */

/* Read a shape into the context's parents; how many nodes to `count`. */
int tslt_read_shape(tslt_context *context, bit_reader *r, const tslt_limits *limits, uint32_t *count);
int tslt_write_shape(tslt_context *context, bit_writer *w, const int32_t *parents, uint32_t count);
/* Parents that have children, ascending, to context->list_parents; the list of parent p to context->list_of[p + 1]; how
 * many children each list has, and how many all before have, to context->degrees and context->first. */
int tslt_find_inner(tslt_context *context, const int32_t *parents, uint32_t nodes, uint32_t *lists);

int tslt_check_extensions(bit_reader *r, uint64_t max_extensions);

/* Tokens of all nodes under the range coder (spec [RLIST-9]); after tslt_find_inner. */
int tslt_code_tokens(tslt_context *context, struct range_coder *c, const tslt_profile *profile, const tslt_draft *draft,
                     int32_t *tokens);
/* The position of a token in a list, or -1. */
int64_t tslt_rank(const tslt_list *list, int64_t token);

#endif
