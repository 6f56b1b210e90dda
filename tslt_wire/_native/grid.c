/* The grid of probabilities of spec section 6.6. */
#include "context.h"
#include "grid.h"

double tslt_grid(uint32_t code) {
  return code > GRID_LAST ? 0 : (double)tslt_coarse[2 * (code % 128)] / (double)((uint64_t)1 << (31 + code / 128));
}

uint32_t tslt_grid_up(double q) {
  uint32_t low = 0, high = GRID_LAST; /* the largest code whose number is not below q */
  while (low < high) {
    uint32_t middle = (low + high + 1) / 2;
    if (tslt_grid(middle) >= q)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

uint32_t tslt_grid_down(double p) {
  uint32_t low = 0, high = GRID_LAST + 1; /* the smallest code whose number is not above p */
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (tslt_grid(middle) <= p)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}
