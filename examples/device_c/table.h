/* A draft "model": the logits after each token, by that token alone, of which the largest are listed (make_table.py). */
#ifndef TABLE_H
#define TABLE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FINGERPRINT = 32, MOST_ROWS = 64 };

typedef struct {
  uint32_t vocab_size, listed;
  uint8_t tokenizer[FINGERPRINT];
  int32_t *ids;   /* `listed` for each token */
  float *logits;  /* likewise */
  char **texts;   /* of each token */
  float *rows;    /* MOST_ROWS dense ones, for who asks */
} table;

static void *read_all(FILE *file, size_t count, size_t size) {
  void *data = calloc(count + 1, size);
  if (!data || fread(data, size, count, file) != count) {
    fprintf(stderr, "the table ends too soon\n");
    exit(1);
  }
  return data;
}

static table table_open(const char *path) {
  table t;
  uint32_t head[2];
  FILE *file = fopen(path, "rb");
  if (!file || fread(head, sizeof head, 1, file) != 1 || fread(t.tokenizer, FINGERPRINT, 1, file) != 1) {
    fprintf(stderr, "%s is no table: python examples/device_c/make_table.py %s\n", path, path);
    exit(1);
  }
  t.vocab_size = head[0];
  t.listed = head[1];
  size_t entries = (size_t)t.vocab_size * t.listed;
  t.ids = read_all(file, entries, sizeof *t.ids);
  t.logits = read_all(file, entries, sizeof *t.logits);
  t.texts = read_all(file, 0, 1);
  t.texts = realloc(t.texts, t.vocab_size * sizeof *t.texts);
  for (uint32_t i = 0; i < t.vocab_size; i++) {
    uint8_t *size = read_all(file, 1, 1);
    t.texts[i] = read_all(file, *size, 1);
    free(size);
  }
  t.rows = malloc(MOST_ROWS * (size_t)t.vocab_size * sizeof *t.rows);
  fclose(file);
  return t;
}

/* The row after a token: what is not listed does not come. */
static void table_row(const table *t, int32_t token, float *row) {
  for (uint32_t i = 0; i < t->vocab_size; i++)
    row[i] = -INFINITY;
  for (uint32_t i = 0; i < t->listed; i++)
    row[t->ids[(size_t)token * t->listed + i]] = t->logits[(size_t)token * t->listed + i];
}

static void table_close(table *t) {
  for (uint32_t i = 0; i < t->vocab_size; i++)
    free(t->texts[i]);
  free(t->texts);
  free(t->ids);
  free(t->logits);
  free(t->rows);
}

#endif
