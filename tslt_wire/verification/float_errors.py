"""Verification is the same whatever its caller's numpy does about floating-point errors.

Spec section 6.3.  A probability that is too small for binary64 becomes 0, and a quotient of zeros is looked at
afterwards; where a program runs under ``np.errstate(all="raise")`` neither is an error here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")


def quiet(function: Callable[P, T]) -> Callable[P, T]:
    """Make ``function`` run without numpy's floating-point warnings and errors."""

    @wraps(function)
    def run(*args: P.args, **options: P.kwargs) -> T:
        # One errstate a call: in numpy 1 an errstate that is entered twice forgets what it has to restore.
        with np.errstate(all="ignore"):
            return function(*args, **options)

    return run
