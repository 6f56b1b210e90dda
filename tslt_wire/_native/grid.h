/* Codes of the grid of spec section 6.6. */
#ifndef TSLT_GRID_H
#define TSLT_GRID_H

enum { GRID_LAST = 4094, GRID_BELOW = 4095 };

#endif
