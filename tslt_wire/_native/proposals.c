/* Proposals after a rejection of evidence `scalar`: spec section 6.7. */
#include "grid.h"
#include "target_row.h"

/* A token of the target's, and its probability as a code, rounded up or down at random. */
static tslt_proposal propose(const tslt_row *row, double (*next)(void *), void *state) {
  tslt_proposal made = {.token = tslt_row_draw(row, next(state))};
  double prob = tslt_row_prob(row, made.token);
  made.code = tslt_grid_down(prob);
  double low = tslt_grid(made.code);
  if (made.code != GRID_BELOW && prob != low) {
    double high = tslt_grid(made.code - 1);
    /* (1 / p - 1 / high) / (1 / low - 1 / high): the mean of what is sent is then 1 / p. */
    made.up = !(next(state) < low * (high - prob) / (prob * (high - low)));
  }
  return made;
}

void tslt_row_propose(const tslt_row *row, double (*next)(void *), void *state, uint32_t count,
                      tslt_proposal *proposals) {
  for (uint32_t i = 0; i < count; i++)
    proposals[i] = propose(row, next, state);
}
