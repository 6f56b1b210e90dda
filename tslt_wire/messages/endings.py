"""ERROR and BYE: how a session ends.

Spec sections 7.5 and 7.6.
"""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire.errors import ErrorCode
from tslt_wire.messages.extensions import Extension
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The sender is done; nothing follows (spec section 7.6)."""

    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_items(self, "extensions", Extension)
