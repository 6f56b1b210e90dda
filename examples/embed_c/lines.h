/* Reads the lines of vectors.py: what a program needs before it can call the kernel. */
#ifndef LINES_H
#define LINES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tslt_wire.h"

/* What a list points to, to be freed: the kernel's own pointers are const. */
typedef struct {
  int32_t *ids;
  uint32_t *codes;
  int64_t *weights;
} columns;

typedef struct {
  char kind[8], id[128];
  tslt_profile profile;
  tslt_prior prior;
  int64_t *starts; /* of the prior: one row, or five */
  tslt_limits limits;
  uint8_t *bytes; /* exactly as long as they are, so that a checker sees every step beyond */
  size_t size;
  int error; /* 0: valid */
  tslt_draft draft;
  tslt_list *lists; /* a list has one */
  columns *columns; /* of each of them */
  int32_t *parents, *tokens;
  uint8_t *extensions;
} vector;

static inline void *room(size_t count, size_t size) {
  void *at = malloc(count > 0 ? count * size : 1);
  if (!at)
    exit(3);
  return at;
}

static inline char *word(void) {
  char *found = strtok(NULL, " \n");
  if (!found) {
    fprintf(stderr, "a line ends too early\n");
    exit(3);
  }
  return found;
}

static inline int64_t number(void) { return strtoll(word(), NULL, 10); }

static inline uint8_t *hex(const char *text, size_t *size) {
  *size = strcmp(text, "-") ? strlen(text) / 2 : 0;
  uint8_t *bytes = room(*size, 1);
  for (size_t i = 0; i < *size; i++) {
    unsigned byte;
    sscanf(text + 2 * i, "%2x", &byte);
    bytes[i] = (uint8_t)byte;
  }
  return bytes;
}

static inline void read_prior(vector *v) {
  enum { HEAD = 12, ROWS = 5 };
  uint32_t size = v->profile.vocab_size;
  const char *name = word();
  v->starts = NULL;
  v->profile.prior = NULL;
  if (!strcmp(name, "none"))
    return;
  memset(&v->prior, 0, sizeof v->prior);
  v->starts = room((size_t)ROWS * (size + 1), sizeof(int64_t));
  v->prior.tail = v->starts;
  v->profile.prior = &v->prior;
  if (!strcmp(name, "uniform")) {
    tslt_uniform_starts(size, v->starts);
  } else if (!strcmp(name, "density")) {
    tslt_density_starts(size, v->starts);
  } else {
    size_t bytes;
    uint8_t *table = hex(name, &bytes);
    for (int row = 0; row < ROWS; row++) {
      int64_t *starts = v->starts + (size_t)row * (size + 1);
      if (bytes != HEAD + (size_t)ROWS * size || tslt_table_starts(size, table + HEAD + (size_t)row * size, starts))
        exit(3);
      if (row < ROWS - 1)
        v->prior.rows[row] = starts;
      else
        v->prior.tail = starts;
    }
    free(table);
  }
}

static inline void read_list(tslt_list *list, columns *own) {
  *list = (tslt_list){.count = (uint32_t)number()};
  list->tail = (uint32_t)number();
  list->ids = own->ids = room(list->count, sizeof *own->ids);
  list->codes = own->codes = room(list->count, sizeof *own->codes);
  list->weights = own->weights = room(list->count, sizeof *own->weights);
  for (uint32_t i = 0; i < list->count; i++)
    own->ids[i] = (int32_t)number();
  for (uint32_t i = 0; i < list->count; i++)
    own->codes[i] = (uint32_t)number();
  for (uint32_t i = 0; i < list->count; i++)
    own->weights[i] = number();
}

static inline void read_lists(vector *v, uint32_t count) {
  v->lists = room(count, sizeof *v->lists);
  v->columns = room(count, sizeof *v->columns);
  for (uint32_t i = 0; i < count; i++)
    read_list(&v->lists[i], &v->columns[i]);
}

static inline int32_t *read_numbers(uint32_t count) {
  int32_t *found = room(count, sizeof *found);
  for (uint32_t i = 0; i < count; i++)
    found[i] = (int32_t)number();
  return found;
}

static inline void read_draft(vector *v) {
  tslt_draft *d = &v->draft;
  d->round = (uint32_t)number();
  d->prefix_length = (uint32_t)number();
  d->prefix_hash = (uint32_t)number();
  d->precision = (int)number();
  d->without_replacement = (int)number();
  d->extensions = v->extensions = hex(word(), &d->extensions_size);
  d->node_count = (uint32_t)number();
  d->parents = v->parents = read_numbers(d->node_count);
  d->tokens = v->tokens = read_numbers(d->node_count);
  d->list_count = (uint32_t)number();
  read_lists(v, d->list_count);
  d->lists = v->lists;
}

static inline void read_vector(vector *v, char *line) {
  memset(v, 0, sizeof *v);
  snprintf(v->kind, sizeof v->kind, "%s", strtok(line, " \n"));
  snprintf(v->id, sizeof v->id, "%s", word());
  v->profile.vocab_size = (uint32_t)number();
  if (!strcmp(v->kind, "list"))
    v->profile.precision = (int)number();
  v->profile.entropy = (int)number();
  read_prior(v);
  v->limits.max_frame_bytes = (uint64_t)number();
  v->limits.max_nodes = (uint64_t)number();
  v->limits.max_leaves = (uint64_t)number();
  v->limits.max_depth = (uint64_t)number();
  v->limits.max_entries = (uint64_t)number();
  v->limits.max_extensions = (uint64_t)number();
  v->bytes = hex(word(), &v->size);
  if (!strcmp(word(), "invalid")) {
    v->error = (int)number();
  } else if (!strcmp(v->kind, "list")) {
    v->draft.list_count = 1;
    read_lists(v, v->draft.list_count);
  } else {
    read_draft(v);
  }
}

/* Numbers that both ends of a session share, for some tokens. */
typedef struct {
  char id[128];
  uint8_t *key;
  uint32_t epoch, position, count;
  int32_t *ids;
  double *numbers;
} shared_numbers;

static inline int is_shared(const char *line) { return !strncmp(line, "uniforms ", 9); }

static inline void read_shared(shared_numbers *s, char *line) {
  size_t size;
  strtok(line, " \n");
  snprintf(s->id, sizeof s->id, "%s", word());
  s->key = hex(word(), &size);
  s->epoch = (uint32_t)number();
  s->position = (uint32_t)number();
  s->count = (uint32_t)number();
  s->ids = read_numbers(s->count);
  s->numbers = room(s->count, sizeof *s->numbers);
  if (size != 8 || strcmp(word(), "valid"))
    exit(3);
  for (uint32_t i = 0; i < s->count; i++)
    s->numbers[i] = (double)(number() + 1) / 9007199254740992.0; /* 2^53 */
}

static inline void free_shared(shared_numbers *s) {
  free(s->key);
  free(s->ids);
  free(s->numbers);
}

static inline void free_vector(vector *v) {
  for (uint32_t i = 0; i < v->draft.list_count; i++) {
    free(v->columns[i].ids);
    free(v->columns[i].codes);
    free(v->columns[i].weights);
  }
  free(v->columns);
  free(v->lists);
  free(v->parents);
  free(v->tokens);
  free(v->extensions);
  free(v->starts);
  free(v->bytes);
}

/* A line of any length; NULL at the end.  The caller frees it. */
static inline char *read_line(void) {
  size_t size = 0, capacity = 1 << 16;
  char *line = room(capacity, 1);
  while (fgets(line + size, (int)(capacity - size), stdin)) {
    size += strlen(line + size);
    if (size && line[size - 1] == '\n')
      return line;
    if (capacity - size < 2) {
      line = realloc(line, capacity *= 2);
      if (!line)
        exit(3);
    }
  }
  free(line);
  return NULL;
}

#endif
