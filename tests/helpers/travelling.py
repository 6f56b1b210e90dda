"""What becomes of a value on its way to another process."""

from __future__ import annotations

import pickle
from typing import TypeVar

T = TypeVar("T")


def travelled(value: T) -> T:
    """As it comes out there."""
    found: T = pickle.loads(pickle.dumps(value))  # noqa: S301 - our own
    return found
