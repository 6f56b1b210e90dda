/* A draft "model": the logits after each token, by that token alone, of which the largest are listed (make_table.py). */
#ifndef TABLE_H
#define TABLE_H

#include <math.h>

#include "words.h"

enum { FINGERPRINT = 32, HEAD = 2 * sizeof(uint32_t) + FINGERPRINT };

typedef struct {
  uint32_t vocab_size, listed;
  uint8_t tokenizer[FINGERPRINT];
  int32_t *ids;   /* `listed` for each token, ascending */
  float *logits;  /* likewise */
  char **texts;   /* of each token */
  float *rows;    /* MOST_NODES dense ones, for who asks */
} table;

static void table_close(table *t) {
  for (uint32_t i = 0; t->texts && i < t->vocab_size; i++)
    free(t->texts[i]);
  free(t->texts);
  free(t->ids);
  free(t->logits);
  free(t->rows);
}

/* The whole file is to be a table: numbers are compared with its size before there is memory for them. */
static const char *read_table(table *t, FILE *file) {
  uint32_t head[2];
  if (fread(head, sizeof head, 1, file) != 1 || fread(t->tokenizer, FINGERPRINT, 1, file) != 1)
    return "it has no head";
  size_t size = head[0], listed = head[1], entries = size * listed;
  if (size < 1 || size > TSLT_MAX_VOCAB_SIZE || listed < 1 || listed > size)
    return "it has no tokens, or lists none, or too many";
  if (fseek(file, 0, SEEK_END) || ftell(file) < (long)(HEAD + 8 * entries + size) || fseek(file, HEAD, SEEK_SET))
    return "it is shorter than its head says";
  t->vocab_size = head[0];
  t->listed = head[1];
  t->ids = calloc(entries, sizeof *t->ids);
  t->logits = calloc(entries, sizeof *t->logits);
  t->texts = calloc(size, sizeof *t->texts);
  t->rows = calloc(MOST_NODES * size, sizeof *t->rows);
  if (!t->ids || !t->logits || !t->texts || !t->rows)
    return "there is not memory for it";
  if (fread(t->ids, sizeof *t->ids, entries, file) != entries || fread(t->logits, sizeof *t->logits, entries, file) != entries)
    return "it cannot be read";
  for (size_t i = 0; i < entries; i++)
    if (t->ids[i] < 0 || t->ids[i] >= (int64_t)size || (i % listed && t->ids[i] <= t->ids[i - 1]) || !isfinite(t->logits[i]))
      return "it lists a token that is none, or one twice, or a logit that is no number";
  for (size_t i = 0; i < size; i++) {
    int length = fgetc(file);
    t->texts[i] = length < 0 ? NULL : calloc((size_t)length + 1, 1);
    if (!t->texts[i] || fread(t->texts[i], 1, (size_t)length, file) != (size_t)length)
      return "its texts end too soon";
  }
  return fgetc(file) == EOF ? NULL : "it goes on behind its end";
}

/* A table that is checked, or the exit status after a line about what is wrong. */
static int table_open(table *t, const char *path) {
  FILE *file = fopen(path, "rb");
  *t = (table){.vocab_size = 0};
  if (!file)
    return complain(MISUSED, "%s cannot be opened: %s; expected a file of make_table.py", path, strerror(errno));
  const char *wrong = read_table(t, file);
  fclose(file);
  if (!wrong)
    return 0;
  table_close(t);
  return complain(MISUSED, "%s is no table: %s; expected a file of make_table.py", path, wrong);
}

/* The row after a token: what is not listed does not come. */
static void table_row(const table *t, int32_t token, float *row) {
  for (uint32_t i = 0; i < t->vocab_size; i++)
    row[i] = -INFINITY;
  for (uint32_t i = 0; i < t->listed; i++)
    row[t->ids[(size_t)token * t->listed + i]] = t->logits[(size_t)token * t->listed + i];
}

#endif
