/* Reads the lines of rounds.py: what an edge has before it decides, and what it should answer. */
#ifndef ROUNDS_H
#define ROUNDS_H

#include "lines.h"

enum { MOST_PROPOSALS = 256 };

typedef enum { BY_LIST, BY_MATCH, BY_COUPLED, BY_SCALAR, BY_LAZY } evidence;
static const char *const KINDS[] = {"list", "match", "coupled", "scalar", "lazy"};

/* Raw logits after one node, and what replaces or forbids some of them. */
typedef struct {
  int dtype;
  uint8_t *logits, *allowed;
  int32_t *ids;
  double *scores;
  tslt_changes changes;
} raw_row;

/* The last accepted node, and the token that follows it: or proposals for it, if there are any. */
typedef struct {
  int32_t node;
  uint32_t token, count;
  tslt_proposal proposals[MOST_PROPOSALS];
} answer;

typedef struct {
  char id[128];
  evidence evidence;
  vector own; /* the profile, the limits, a frame's or a list's bytes */
  tslt_sampling sampling;
  uint32_t nodes;
  raw_row *rows; /* 1 + nodes: after the prefix, and after each node */
  int32_t *parents, *tokens;
  uint32_t *codes;
  uint32_t proposals, epoch, prefix_length;
  uint8_t *key;
  double *numbers;
  uint32_t count, used; /* of numbers */
  answer expected;
} edge_round;

static inline double real(void) { return strtod(word(), NULL); }

static inline uint8_t *bytes_or_null(void) {
  size_t size;
  uint8_t *bytes = hex(word(), &size);
  if (size)
    return bytes;
  free(bytes);
  return NULL;
}

static inline void read_row(raw_row *row) {
  size_t size;
  row->dtype = (int)number();
  row->logits = hex(word(), &size);
  row->changes.count = (size_t)number();
  row->changes.ids = row->ids = read_numbers((uint32_t)row->changes.count);
  row->changes.scores = row->scores = room(row->changes.count, sizeof *row->scores);
  for (size_t i = 0; i < row->changes.count; i++)
    row->scores[i] = real();
  row->changes.allowed = row->allowed = bytes_or_null();
}

static inline void read_evidence(edge_round *r) {
  if (r->evidence == BY_LIST) { /* the frame has the tree */
    r->own.bytes = hex(word(), &r->own.size);
    return;
  }
  r->parents = read_numbers(r->nodes);
  r->tokens = read_numbers(r->nodes);
  if (r->evidence == BY_COUPLED) {
    r->key = bytes_or_null();
    r->epoch = (uint32_t)number();
    r->prefix_length = (uint32_t)number();
  }
  if (r->evidence == BY_SCALAR || r->evidence == BY_LAZY) {
    r->codes = room(r->nodes, sizeof *r->codes);
    for (uint32_t i = 0; i < r->nodes; i++)
      r->codes[i] = (uint32_t)number();
  }
  if (r->evidence == BY_SCALAR)
    r->proposals = (uint32_t)number();
  if (r->evidence == BY_LAZY) {
    r->own.profile.precision = (int)number();
    r->own.bytes = hex(word(), &r->own.size);
  }
}

static inline void read_answer(answer *a) {
  a->node = (int32_t)number();
  a->count = (uint32_t)number();
  for (uint32_t i = 0; i < a->count && i < MOST_PROPOSALS; i++) {
    a->proposals[i].token = (uint32_t)number();
    a->proposals[i].code = (uint32_t)number();
    a->proposals[i].up = (uint32_t)number();
  }
  if (!a->count)
    a->token = (uint32_t)number();
}

static inline void read_round(edge_round *r, char *line) {
  memset(r, 0, sizeof *r);
  strtok(line, " \n");
  snprintf(r->id, sizeof r->id, "%s", word());
  const char *kind = word();
  while (strcmp(kind, KINDS[r->evidence]))
    if (++r->evidence > BY_LAZY)
      exit(3);
  r->own.limits = tslt_default_limits();
  r->own.profile.vocab_size = (uint32_t)number();
  r->own.profile.entropy = (int)number();
  read_prior(&r->own);
  r->sampling.temperature = real();
  r->sampling.top_k = (uint32_t)number();
  r->sampling.top_p = real();
  r->sampling.min_p = real();
  r->nodes = (uint32_t)number();
  r->rows = room(1 + r->nodes, sizeof *r->rows);
  for (uint32_t i = 0; i <= r->nodes; i++)
    read_row(&r->rows[i]);
  read_evidence(r);
  r->count = (uint32_t)number();
  r->numbers = room(r->count, sizeof *r->numbers);
  for (uint32_t i = 0; i < r->count; i++)
    r->numbers[i] = (double)number() / 9007199254740992.0; /* 2^53 */
  if (strcmp(word(), "valid"))
    exit(3);
  read_answer(&r->expected);
}

static inline void free_round(edge_round *r) {
  for (uint32_t i = 0; i <= r->nodes; i++) {
    free(r->rows[i].logits);
    free(r->rows[i].allowed);
    free(r->rows[i].ids);
    free(r->rows[i].scores);
  }
  free(r->rows);
  free(r->parents);
  free(r->tokens);
  free(r->codes);
  free(r->key);
  free(r->numbers);
  free_vector(&r->own);
}

#endif
