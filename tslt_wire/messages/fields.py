"""What the fields of messages may hold, and how an immutable message puts a checked value into its own field.

Spec section 3.3: numbers are unsigned and below 2**32.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tslt_wire import checks

U32 = (1 << 32) - 1
"""Largest number of the format."""


def set_integers(message: Any, **bounds: tuple[int, int]) -> None:
    """Check the named fields, integers in (low, high), both included, and put them back as Python's.

    TypeError for another type, ValueError outside the bounds.
    """
    for name, (low, high) in bounds.items():
        value = getattr(message, name)
        if type(value) is not int or not low <= value <= high:
            object.__setattr__(message, name, checks.integer(name, value, low, high))


def set_items(message: Any, field: str, kind: type) -> None:
    """Check that a field is a sequence of ``kind``, and put it back as a tuple; TypeError."""
    value = getattr(message, field)
    if not isinstance(value, tuple):
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
            raise TypeError(f"{field} must be a sequence of {kind.__name__}, got {value!r}")
        value = tuple(value)
        object.__setattr__(message, field, value)
    for item in value:
        if not isinstance(item, kind):
            raise TypeError(f"{field} must hold {kind.__name__} alone, got {item!r}")


def set_ids(message: Any, field: str) -> None:
    """Check that a field is a sequence of integers, and put it back as a tuple of Python's; TypeError.

    For many of them: looks at all at once.
    """
    value = several(field, "integers", getattr(message, field))
    if bool in set(map(type, value)):
        raise TypeError(f"{field} must be integers, got True or False among them")
    object.__setattr__(message, field, tuple(map(operator.index, value)))


def check_extra(message: Any) -> None:
    """Check that ``extra`` is a mapping with names for keys; TypeError."""
    extra = message.extra
    if not isinstance(extra, Mapping) or not all(isinstance(name, str) for name in extra):
        raise TypeError(f"extra must be a mapping from names to values, got {extra!r}")


def set_names(message: Any, *fields: str) -> None:
    """Check that the named fields are sequences of strings, and put them back as tuples; TypeError.

    A string is not taken for a sequence of its letters.
    """
    for field in fields:
        names = several(field, "names", getattr(message, field))
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"{field} must be a sequence of names, got {names!r}")
        object.__setattr__(message, field, names)


def set_tokens(message: Any, field: str, vocab_size: int) -> None:
    """Check that a field is a sequence of ids below ``vocab_size``, and put it back as a tuple of Python's integers.

    TypeError for another type, ValueError for an id outside the vocabulary.
    """
    items = several(field, "token ids", getattr(message, field))
    object.__setattr__(message, field, tuple(checks.integer(f"each of {field}", t, 0, vocab_size - 1) for t in items))


def several(field: str, what: str, value: Any) -> tuple[Any, ...]:
    """``value`` as a tuple; TypeError for what has no items, a text, bytes, or a mapping of them to something else."""
    if isinstance(value, (str, bytes, bytearray, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{field} must be a sequence of {what}, got {value!r}")
    return tuple(value)


def check_bytes(name: str, value: Any, *sizes: int) -> None:
    """Raise TypeError unless ``value`` is bytes, ValueError unless it has one of ``sizes``."""
    if not isinstance(value, bytes):
        raise TypeError(f"{name} must be bytes, got {value!r}")
    if len(value) not in sizes:
        raise ValueError(f"{name} must have {' or '.join(map(str, sizes))} bytes, got {len(value)}")
