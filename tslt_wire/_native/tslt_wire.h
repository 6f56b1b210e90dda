/* tslt-wire: the codec of spec/tslt-wire.md as plain C11, without dependencies.
 *
 * What it does: truncate and quantise logits (sparsify), write and read lone lists, write and read DRAFT_LIST frames,
 * and what an edge decides with: target rows, residuals, races.
 * The bytes, and the error that is reported for bytes that are no message, are those of the specification.
 *
 * All functions are reentrant.  A context holds tables and scratch memory; use each in one thread at a time.  Pointers
 * in results point into the context and are valid until its next call.  Memory is bounded by the input and the limits,
 * and every allocation that bytes from a peer ask for is made after it was compared with the bytes that are there.
 *
 * Copy the *.c and *.h files of this folder into your tree, compile them with -std=c11 -O3 -ffp-contract=off and never
 * with -ffast-math: both ends must round alike.
 */
#ifndef TSLT_WIRE_H
#define TSLT_WIRE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TSLT_SPEC_VERSION 1
#define TSLT_MAX_VOCAB_SIZE (1u << 20)

/* Results.  Positive ones are the codes of spec section 9: of bytes that were read, and of a list or a draft to be written
 * that no bytes can say (TSLT_BAD_LIST, TSLT_BAD_TREE).  Negative ones are the caller's trouble.  More codes are in
 * tslt_device.h, and tslt_error_name, which has a name for each. */
enum {
  TSLT_OK = 0,
  TSLT_TRUNCATED = 1,
  TSLT_TRAILING_BYTES = 2,
  TSLT_BAD_CHECKSUM = 3,
  TSLT_UNKNOWN_KIND = 4,
  TSLT_RESERVED_BITS = 5,
  TSLT_NON_CANONICAL = 6,
  TSLT_LIMIT_EXCEEDED = 7,
  TSLT_OUT_OF_RANGE = 8,
  TSLT_BAD_TREE = 9,
  TSLT_BAD_LIST = 10,
  TSLT_UNKNOWN_CRITICAL_EXTENSION = 12,
  TSLT_BAD_ARGUMENT = -1, /* a value that no encoder can send, or a setting that does not exist */
  TSLT_NO_MEMORY = -2,
  TSLT_NO_SPACE = -3, /* the caller's buffer is too small */
  TSLT_BAD_LOGITS = -4 /* NaN, +inf, or nothing finite */
};

/* Ids of spec section 4.1. */
enum {
  TSLT_F32 = 0,
  TSLT_F16 = 1,
  TSLT_BF16 = 2,
  TSLT_LOG2_0 = 3,
  TSLT_LOG2_1 = 4,
  TSLT_LOG2_2 = 5,
  TSLT_LOG2_3 = 6,
  TSLT_LOG2_4 = 7
};

enum { TSLT_ENTROPY_NONE = 0, TSLT_ENTROPY_RANGE = 1 };

typedef struct tslt_context tslt_context;

/* A new context, or NULL if there is no memory. */
tslt_context *tslt_context_new(void);
void tslt_context_free(tslt_context *context);

/* A prior (spec section 4.4) as running sums of weights, V + 1 numbers each, the first of them 0. */
typedef struct {
  const int64_t *tail;    /* of r, for tokens of the tail */
  const int64_t *rows[4]; /* of a table's first four rows; all NULL if the prior is no table */
} tslt_prior;

/* Fill `starts`, vocab_size + 1 numbers, with the running sums of the prior `uniform`, of `density`, of a table's row. */
void tslt_uniform_starts(uint32_t vocab_size, int64_t *starts);
void tslt_density_starts(uint32_t vocab_size, int64_t *starts);
int tslt_table_starts(uint32_t vocab_size, const uint8_t *codes, int64_t *starts);

/* What both ends agreed on (spec section 3.1). */
typedef struct {
  uint32_t vocab_size;
  int precision; /* of lone lists; frames name theirs */
  int entropy;
  const tslt_prior *prior; /* NULL: none */
} tslt_profile;

/* Spec section 8. */
typedef struct {
  uint64_t max_frame_bytes, max_nodes, max_leaves, max_depth, max_entries, max_extensions;
} tslt_limits;

/* The defaults that section 8 recommends. */
tslt_limits tslt_default_limits(void);

/* A truncated distribution.  ids ascend; codes are what travels; weights are what they stand for. */
typedef struct {
  uint32_t count;
  uint32_t tail; /* 32nds of the probability that unlisted tokens have */
  const int32_t *ids;
  const uint32_t *codes;
  const int64_t *weights; /* encoders do not look at them: they may be NULL */
  double left_out;        /* of tslt_sparsify with a prior: what unlisted tokens had; not sent */
} tslt_list;

/* ------------------------------------------------------------------------------------------------------- sparsify */

enum { TSLT_FLOAT32 = 0, TSLT_FLOAT64 = 1, TSLT_FLOAT16 = 2, TSLT_BFLOAT16 = 3 };

/* Which tokens are kept.  Each rule sees the whole distribution, and what all of them keep is kept. */
typedef struct {
  uint32_t top_k;  /* most tokens; 0: off */
  double top_p;    /* probability of the smallest set that is kept; 1 or more: off */
  double min_prob; /* least probability of a token; 0: off */
} tslt_truncation;

typedef struct {
  double temperature; /* finite, >= 0; 0 keeps the most probable token */
  int precision;
  int truncate;               /* 0: keep all */
  tslt_truncation truncation; /* used if truncate is not 0 */
  double tail_scale;          /* part of what is left out that becomes the tail, 0 to 1 */
  double least_tail;          /* a list that leaves out less has no tail */
  int has_prior;              /* 0: no tails */
} tslt_sparsify_options;

/* Sparsify `rows` rows of `vocab_size` logits each, `row_bytes` from one to the next, into `lists`, whose arrays are the
 * context's.  No byte decides by more than binary64 basic operations and integers, so any machine makes the same lists.
 * TSLT_BAD_LOGITS, TSLT_BAD_ARGUMENT, TSLT_NO_MEMORY. */
int tslt_sparsify(tslt_context *context, const void *logits, int dtype, uint32_t vocab_size, size_t rows,
                  size_t row_bytes, const tslt_sparsify_options *options, tslt_list *lists);

/* ---------------------------------------------------------------------------------------------------------- lists */

/* Bytes that are room enough for one list, or for one draft of `nodes` nodes whose lists have `entries` tokens in all;
 * extensions come on top.  lists.c derives it. */
size_t tslt_encode_bound(uint32_t vocab_size, uint64_t entries, uint64_t lists, uint64_t nodes);

/* Write a lone list to `out`; its length to `size`.  TSLT_NO_SPACE, TSLT_BAD_LIST (no such list can be sent). */
int tslt_encode_list(tslt_context *context, const tslt_profile *profile, const tslt_list *list, uint8_t *out,
                     size_t capacity, size_t *size);

/* Read a lone list; its arrays are the context's. */
int tslt_decode_list(tslt_context *context, const tslt_profile *profile, const tslt_limits *limits, const uint8_t *data,
                     size_t size, tslt_list *list);

/* --------------------------------------------------------------------------------------------------------- drafts */

/* Kind of the frames that this kernel writes and reads (spec section 3.4), in the low 6 bits of their first byte. */
enum { TSLT_DRAFT_LIST = 0x10 };

/* A DRAFT_LIST frame (spec section 6.1).  Lists are in ascending order of their parents, -1 first: one for each
 * parent.  `extensions` is the block of section 3.4 from its count on, as it is on the wire; empty if there is none. */
typedef struct {
  uint32_t round, prefix_length, prefix_hash;
  int precision; /* of all lists; 0 if there are none */
  int without_replacement;
  uint32_t node_count;
  const int32_t *parents;
  const int32_t *tokens;
  uint32_t list_count;
  const int32_t *list_parents; /* encoders do not look at them: they may be NULL */
  const tslt_list *lists;
  const uint8_t *extensions;
  size_t extensions_size;
} tslt_draft;

/* Write a frame.  TSLT_BAD_LIST, TSLT_BAD_TREE or TSLT_BAD_ARGUMENT if no frame can carry this draft, TSLT_NO_SPACE. */
int tslt_encode_draft(tslt_context *context, const tslt_profile *profile, const tslt_draft *draft, uint8_t *out,
                      size_t capacity, size_t *size);

/* Read a frame of the kind DRAFT_LIST; another kind of the specification is TSLT_BAD_ARGUMENT. */
int tslt_decode_draft(tslt_context *context, const tslt_profile *profile, const tslt_limits *limits,
                      const uint8_t *data, size_t size, tslt_draft *draft);

/* --------------------------------------------------------------------------------------------------- target rows */

/* How logits become the target's distribution (spec section 7.2). */
typedef struct {
  double temperature; /* finite, >= 0; 0: the largest alone, the lowest id of equals */
  uint32_t top_k;     /* keep the k largest, and all equals of the k-th; 0: off */
  double top_p;       /* of these the largest up to where their share reaches it, above 0; 1: off */
  double min_p;       /* of these those with at least this part of the largest probability; 0: off */
} tslt_sampling;

/* What comes before the temperature: scores in the place of logits (penalties, biases, -inf for a token that is
 * suppressed), and a byte for each token that is 0 where a grammar forbids it. */
typedef struct {
  size_t count;
  const int32_t *ids; /* ascending */
  const double *scores;
  const uint8_t *allowed; /* vocab_size bytes, which must outlive the row; NULL: all */
} tslt_changes;

/* A token of a text, and how often its output has it: 0 for one of the prompt alone. */
typedef struct {
  int32_t id;
  uint32_t times;
} tslt_seen;

/* The tokens of a text, ascending, each once; how many.  `seen` has room for all of them.  Where only what the output has
 * counts, the prompt is left out. */
size_t tslt_count_tokens(const int32_t *prompt, size_t before, const int32_t *output, size_t after, tslt_seen *seen);
/* Add `more` tokens of the output, those on the path to a node say, to `count` that are there. */
size_t tslt_count_more(tslt_seen *seen, size_t count, const int32_t *tokens, size_t more);

/* How scores differ from logits.  Tokens are ascending. */
typedef struct {
  double repetition, frequency, presence; /* neutral: 1, 0, 0 */
  size_t biases, nevers;
  const int32_t *biased;
  const double *bias;   /* of each of `biased` */
  const int32_t *never; /* tokens that never come */
} tslt_adjustments;

/* The changes that they make of a row's logits, `count` of them, for which there is room: as many as there are tokens.
 * TSLT_BAD_ARGUMENT for a token that the row has not. */
int tslt_adjust(const void *logits, int dtype, uint32_t vocab_size, const tslt_adjustments *how, const tslt_seen *seen,
                size_t seen_count, int32_t *ids, double *scores, size_t *count);

/* The target's distribution after one node. */
typedef struct tslt_row tslt_row;

/* Make the row of `vocab_size` logits, which must outlive it; `changes` may be NULL.  TSLT_BAD_LOGITS (also where nothing
 * is left), TSLT_BAD_ARGUMENT, TSLT_NO_MEMORY. */
int tslt_row_new(tslt_context *context, const void *logits, int dtype, uint32_t vocab_size,
                 const tslt_sampling *sampling, const tslt_changes *changes, tslt_row **row);
void tslt_row_free(tslt_row *row);
/* The probability of a token; 0 for one that is none. */
double tslt_row_prob(const tslt_row *row, uint32_t token);
/* The smallest token at which the running sum of probabilities is above u, 0 <= u < 1: a sample, if u is uniform. */
uint32_t tslt_row_draw(const tslt_row *row, double u);
/* All probabilities, vocab_size of them. */
void tslt_row_probs(const tslt_row *row, double *probs);
/* The token that wins the race of spec [RACE-2]; `position` is of the token's place in the text. */
uint32_t tslt_row_race(const tslt_row *row, const uint8_t key[8], uint32_t epoch,
                       uint32_t position);
/* The first `count` of it in their order, what a device drafts of a row of its own (spec [RACE-5]): how many there are,
 * fewer where fewer tokens can come.  `times`, `count` numbers: when they arrive. */
uint32_t tslt_row_first(const tslt_row *row, const uint8_t key[8], uint32_t epoch, uint32_t position, uint32_t count,
                        uint32_t *tokens, double *times);

/* A token that the device may take after a rejection of evidence `scalar`, and the code of its probability; `up`: the next
 * larger number of the grid stands for it. */
typedef struct {
  uint32_t token, code, up;
} tslt_proposal;

/* `count` proposals (spec section 6.7); `next` gives numbers that are uniform in [0, 1). */
void tslt_row_propose(const tslt_row *row, double (*next)(void *), void *state, uint32_t count,
                      tslt_proposal *proposals);

/* What the target still owes at a node, as children of it are given up (spec section 6.3). */
typedef struct tslt_residual tslt_residual;

/* Start with the row itself and what is owed in all, 0 < owed <= 1: 1 at the prefix and where a child is settled, at a
 * child that is held its share.  `list` is the node's, `prior` that of the profile; neither they nor the row's logits may
 * change, and the row must outlive the residual. */
int tslt_residual_new(const tslt_row *row, const tslt_list *list, const tslt_prior *prior,
                      int without_replacement, double owed, tslt_residual **residual);
/* The same for a DRAFT_LAZY, after its one rejection (spec [LAZY-4]); there is nothing more to reject. */
int tslt_residual_lazy(const tslt_row *row, const tslt_list *list, const tslt_prior *prior,
                       tslt_residual **residual);
void tslt_residual_free(tslt_residual *residual);
/* What is owed now: probability that the text goes on from this node, if it has not gone on from a child so far. */
double tslt_residual_owed(const tslt_residual *residual);
/* Probability with which a child that has this token must be kept. */
double tslt_residual_share(const tslt_residual *residual, uint32_t token);
/* The child with this token was given up: go on to the next. */
int tslt_residual_reject(tslt_residual *residual, uint32_t token);
/* A sample of the residual, as tslt_row_draw. */
uint32_t tslt_residual_draw(const tslt_residual *residual, double u);
/* All of it, vocab_size numbers, whose sum is what is owed; of a DRAFT_LAZY not normalised. */
void tslt_residual_probs(const tslt_residual *residual, double *probs);

/* The grid of DRAFT_SCALAR and DRAFT_LAZY (spec section 6.6): G, UP, DOWN. */
double tslt_grid(uint32_t code);
uint32_t tslt_grid_up(double q);
uint32_t tslt_grid_down(double p);

/* The numbers of `count` tokens for evidence `coupled` (spec [RACE-1]), in (0, 1]; `position` is of the token's place in
 * the text.  ids are 0 and up; ascending ones are quickest. */
void tslt_uniforms(const uint8_t key[8], uint32_t epoch, uint32_t position, const int32_t *ids, size_t count,
                   double *numbers);

/* CRC-32/ISO-HDLC; `start` is that of the bytes before, 0 for none. */
uint32_t tslt_crc32(uint32_t start, const uint8_t *data, size_t size);

#ifdef __cplusplus
}
#endif

#endif
