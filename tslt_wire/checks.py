"""Checks of what callers give: each argument is looked at where it is given, by one of these.

Numpy's numbers are as good as Python's.  Another type is a TypeError, a value that is not allowed a ValueError; both
name the argument.  What comes from a peer is not checked here: that is a ``DecodeError``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection
from numbers import Real
from typing import Any

import numpy as np


def integer(name: str, value: Any, low: int, high: int | None) -> int:
    """Return ``value`` as an int in ``low``..``high``, both included; ``high`` None: no upper bound.

    Takes whatever has ``__index__`` but bool.  TypeError for another type, ValueError outside the bounds.
    """
    if type(value) is int and low <= value and (high is None or value <= high):
        return value
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        found = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if found < low or (high is not None and found > high):
        raise ValueError(f"{name} must be {_span(low, high)}, got {found}")
    return found


def number(name: str, value: Any, low: float, high: float | None, *, above_low: bool = False) -> float:
    """Return ``value`` as a finite float in ``low``..``high``, both included; ``high`` None: no upper bound.

    ``above_low``: ``low`` itself is not allowed.  Takes real numbers but bool.  TypeError for another type, ValueError
    for NaN, infinities and what is outside the bounds.
    """
    found = value if type(value) is float else _real(name, value)
    # NaN compares false to everything.
    if (low < found < math.inf or (found == low and not above_low)) and (high is None or found <= high):
        return found
    finite = " and finite" if high is None else ""
    raise ValueError(f"{name} must be {_span(low, high, above_low)}{finite}, got {value!r:.40}")


def flag(name: str, value: Any) -> bool:
    """Return ``value``, True or False (or numpy's), as a bool; TypeError for anything else, 0 and 1 included."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def generator(name: str, value: Any) -> np.random.Generator:
    """Return ``value``, a ``numpy.random.Generator``; TypeError for anything else.

    The old ``RandomState``, the module ``numpy.random`` and a seed are none.
    """
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"{name} must be a numpy.random.Generator (numpy.random.default_rng(seed)), got {value!r}")
    return value


def octets(name: str, value: Any) -> bytes | memoryview:
    """Return bytes, or whatever has a buffer, as bytes or a memoryview of them; TypeError for anything else."""
    if type(value) is bytes:
        return value
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(f"{name} must be bytes, a bytearray or a memoryview, got {type(value).__name__}") from None
    return view.cast("B") if view.c_contiguous else view.tobytes()


def one_of(name: str, value: Any, names: Collection[str]) -> str:
    """Return ``value``, one of ``names``; TypeError for what is no string, ValueError for another string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(names)}, got {value!r}")
    if value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}, got {value!r}")
    return value


def _real(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _span(low: float, high: float | None, above_low: bool = False) -> str:
    if high is None:
        return f"{'above' if above_low else 'at least'} {low}"
    return f"above {low} and at most {high}" if above_low else f"in {low}..{high}"
