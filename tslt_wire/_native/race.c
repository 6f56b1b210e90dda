/* The race of spec [RACE-2] on a row: who arrives first.
 *
 * All numbers are made, but few arrival times: -ln(u) is at least 1 - u, so that a token whose number is not near enough
 * to 1 cannot be among the first so far, whatever weight it has in its block. */
#include <math.h>

#include "philox.h"
#include "target_row.h"

/* The upper words of the numbers of a block's tokens, and the lower ones. */
TSLT_CLONES
static void block_numbers(uint32_t first, uint32_t position, uint32_t epoch, uint32_t k0, uint32_t k1, uint32_t *high,
                          uint32_t *low) {
  uint32_t w[4][ROW_BLOCK / 2];
  for (uint32_t i = 0; i < ROW_BLOCK / 2; i++) {
    philox_block found = tslt_philox((philox_block){{(first >> 1) + i, position, epoch, 0}}, k0, k1);
    for (unsigned j = 0; j < 4; j++)
      w[j][i] = found.word[j];
  }
  for (uint32_t i = 0; i < ROW_BLOCK / 2; i++) {
    high[2 * i] = w[0][i];
    low[2 * i] = w[1][i];
    high[2 * i + 1] = w[2][i];
    low[2 * i + 1] = w[3][i];
  }
}

/* A token that arrives: it takes its place among the first ones so far, the lower token of equals before the other. */
static uint32_t take_place(double time, uint32_t token, uint32_t found, uint32_t count, uint32_t *tokens,
                           double *times) {
  uint32_t at = found < count ? found++ : count - 1;
  for (; at && (time < times[at - 1] || (time == times[at - 1] && token < tokens[at - 1])); at--) {
    times[at] = times[at - 1];
    tokens[at] = tokens[at - 1];
  }
  times[at] = time;
  tokens[at] = token;
  return found;
}

uint32_t tslt_row_first(const tslt_row *row, const uint8_t key[8], uint32_t epoch, uint32_t position, uint32_t count,
                        uint32_t *tokens, double *times) {
  uint32_t k0, k1, high[ROW_BLOCK], low[ROW_BLOCK], found = 0;
  double weights[ROW_BLOCK];
  if (!count)
    return 0;
  tslt_philox_key(key, &k0, &k1);
  /* The block with the largest token first: it makes the time to beat small. */
  uint32_t start = 0;
  while (row->sums[start] <= 0 || row->maxima[start] != row->top)
    start++;
  for (uint32_t n = 0; n <= row->blocks; n++) {
    uint32_t b = n ? n - 1 : start;
    if (row->sums[b] <= 0 || (n && b == start))
      continue;
    block_numbers(b * ROW_BLOCK, position, epoch, k0, k1, high, low);
    /* u is at most (high + 1) / 2^32. */
    double most = tslt_row_weight(row, row->maxima[b]);
    double reach = found < count ? INFINITY : times[count - 1] * most * 1.000001 * 0x1p32;
    uint32_t enough = !(reach < 0x1p32 - 2) ? 0 : UINT32_MAX - (uint32_t)reach - 1;
    bool made = false;
    for (uint32_t i = 0; i < ROW_BLOCK; i++) {
      if (high[i] < enough)
        continue;
      if (!made)
        tslt_row_weights(row, b, weights);
      made = true;
      if (weights[i] <= 0)
        continue;
      double time = tslt_arrival(tslt_number(high[i], low[i])) / weights[i];
      uint32_t token = b * ROW_BLOCK + i;
      if (found < count || time < times[count - 1] || (time == times[count - 1] && token < tokens[count - 1]))
        found = take_place(time, token, found, count, tokens, times);
    }
  }
  return found;
}

uint32_t tslt_row_race(const tslt_row *row, const uint8_t key[8], uint32_t epoch,
                       uint32_t position) {
  uint32_t winner = UINT32_MAX;
  double time;
  tslt_row_first(row, key, epoch, position, 1, &winner, &time);
  return winner;
}
