"""Checks of arguments, made where they are given: what was expected is said before anything is opened.

``TypeError`` for what is of another kind (a bool is no number here), ``ValueError`` for what is out of range.
"""

from __future__ import annotations

import math


def check_kind(name: str, value: object, *kinds: type) -> None:
    """Raise ``TypeError`` unless ``value``, the argument ``name``, is an instance of one of ``kinds``."""
    if not isinstance(value, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{name} must be {expected}, not {type(value).__name__} ({value!r})")


def check_whole(name: str, value: object, *, low: int, high: int) -> None:
    """Raise unless ``value`` is an int in ``low``..``high``, both included; no bool, and no integer of numpy's."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__} ({value!r})")
    if not low <= value <= high:
        raise ValueError(f"{name} must be in {low}..{high}, not {value}")


def check_number(name: str, value: object, *, low: float = 0.0, high: float = math.inf, unit: str = "") -> None:
    """Raise unless ``value`` is an int or a float in ``low``..``high``, both included; NaN and bools are refused."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number{unit and f' ({unit})'}, not {type(value).__name__} ({value!r})")
    if not low <= value <= high:
        raise ValueError(f"{name} must be in {low:g}..{high:g}{unit and f' {unit}'}, not {value}")
