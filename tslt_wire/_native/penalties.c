/* What settings make of logits before temperature and cuts: biases, penalties, tokens that never come.  Spec section 7.2. */
#include <stdlib.h>

#include "target_row.h"

static int by_id(const void *a, const void *b) {
  int32_t x = ((const tslt_seen *)a)->id, y = ((const tslt_seen *)b)->id;
  return (x > y) - (x < y);
}

size_t tslt_count_tokens(const int32_t *prompt, size_t before, const int32_t *output, size_t after, tslt_seen *seen) {
  size_t kept = 0;
  for (size_t i = 0; i < before; i++)
    seen[i] = (tslt_seen){prompt[i], 0};
  for (size_t i = 0; i < after; i++)
    seen[before + i] = (tslt_seen){output[i], 1};
  qsort(seen, before + after, sizeof *seen, by_id);
  for (size_t i = 0; i < before + after; i++)
    if (kept && seen[kept - 1].id == seen[i].id)
      seen[kept - 1].times += seen[i].times;
    else
      seen[kept++] = seen[i];
  return kept;
}

size_t tslt_count_more(tslt_seen *seen, size_t count, const int32_t *tokens, size_t more) {
  for (size_t i = 0; i < more; i++) {
    size_t at = count;
    while (at && seen[at - 1].id > tokens[i])
      at--;
    if (at && seen[at - 1].id == tokens[i]) {
      seen[at - 1].times++;
      continue;
    }
    memmove(seen + at + 1, seen + at, (count++ - at) * sizeof *seen);
    seen[at] = (tslt_seen){tokens[i], 1};
  }
  return count;
}

static double penalised(double score, const tslt_adjustments *how, uint32_t times) {
  if (how->repetition != 1)
    score = score < 0 ? score * how->repetition : score / how->repetition;
  /* In this order, each step rounded. */
  score -= how->frequency * (double)times;
  return score - (times ? how->presence : 0);
}

int tslt_adjust(const void *logits, int dtype, uint32_t vocab_size, const tslt_adjustments *how, const tslt_seen *seen,
                size_t seen_count, int32_t *ids, double *scores, size_t *count) {
  tslt_row row = {.logits = logits, .dtype = dtype, .vocab_size = vocab_size};
  size_t s = 0, b = 0, n = 0;
  for (*count = 0; s < seen_count || b < how->biases || n < how->nevers; ++*count) {
    int32_t id = INT32_MAX;
    id = s < seen_count && seen[s].id < id ? seen[s].id : id;
    id = b < how->biases && how->biased[b] < id ? how->biased[b] : id;
    id = n < how->nevers && how->never[n] < id ? how->never[n] : id;
    if (id < 0 || (uint32_t)id >= vocab_size)
      return TSLT_BAD_ARGUMENT;
    double score = tslt_row_score(&row, (uint32_t)id);
    if (b < how->biases && how->biased[b] == id)
      score += how->bias[b++];
    if (s < seen_count && seen[s].id == id)
      score = penalised(score, how, seen[s++].times);
    if (n < how->nevers && how->never[n] == id)
      score = -1e308 * 10;
    while (n < how->nevers && how->never[n] == id)
      n++;
    ids[*count] = id;
    scores[*count] = score;
  }
  return TSLT_OK;
}
