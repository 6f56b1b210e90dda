"""The grid of probabilities: the numbers next to any probability, one at a time and many at once."""

from __future__ import annotations

import numpy as np

from tslt_wire.lists import probability_grid as grid


def test_neighbours_are_the_least_above_and_the_greatest_below():
    numbers = [*grid.GRID[:3], grid.GRID[-1], 0.0, 1e-12, 0.3, np.nextafter(1, 0), np.nextafter(grid.GRID[-1], 0)]
    above, below = grid.codes_above(numbers).tolist(), grid.codes_below(numbers).tolist()
    assert above == [grid.code_above(p) for p in numbers]
    assert below == [grid.code_below(p) for p in numbers]
    for p, up, down in zip(numbers, above, below, strict=True):
        assert grid.GRID[up] >= p or (up, p) == (0, 1)
        assert up == grid.LAST or grid.GRID[up + 1] < p
        assert grid.GRID[down] <= p if down != grid.BELOW else p < grid.GRID[grid.LAST]
        assert down == 0 or grid.GRID[down - 1] > p
