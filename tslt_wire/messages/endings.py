"""ERROR and BYE: how a session ends.

Spec sections 7.5 and 7.6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tslt_wire.errors import ErrorCode
from tslt_wire.messages.extensions import RETRY_AFTER, RETRY_AFTER_BYTES, Extension, data_of, shortest
from tslt_wire.messages.fields import set_integers, set_items


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMessage:
    """Why the sender cannot go on, either way; the session is over (spec section 7.5)."""

    code: int
    """An ErrorCode, or a number this version does not know; below 2**16."""
    message: str
    """For people; says what was expected and what was found."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_items(self, "extensions", Extension)
        set_integers(self, code=(0, (1 << 16) - 1))
        if not isinstance(self.message, str):
            raise TypeError(f"message must be a string, got {self.message!r}")

    @property
    def name(self) -> str:
        """Name of the code in lower case, or ``error 123`` for an unknown one."""
        return ErrorCode(self.code).name.lower() if self.code in set(ErrorCode) else f"error {self.code}"

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which the sender takes the other end again; None if it does not say."""
        data = data_of(self.extensions, RETRY_AFTER)
        return None if data is None else int.from_bytes(data, "little") / 1000


def retry_after(seconds: float) -> Extension:
    """The extension of an ERROR that says to come again after ``seconds``, rounded up to milliseconds.

    49 days are the most that it can say; ValueError for less than 0 and for what is no number.
    """
    if not 0 <= seconds < math.inf:
        raise ValueError(f"the time to come again must be a number of seconds from 0 on, got {seconds!r}")
    millis = min(math.ceil(seconds * 1000), (1 << 8 * RETRY_AFTER_BYTES) - 1)
    return Extension(RETRY_AFTER, shortest(millis))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The sender is done; nothing follows (spec section 7.6)."""

    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_items(self, "extensions", Extension)
