"""What an inference server tells of its model's rows, whatever it is.

A server applies temperature and cuts itself and tells the probabilities of some tokens, some of them exactly those that
were asked for; it can also draw tokens, or tell a whole row, which takes long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import tslt_wire as tw

SETTINGS = ("temperature", "top_k", "top_p", "min_p")
"""Sampling settings that servers are asked for, in the order of spec section 7.2; all others need the text's own
logits."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token that a server drew, and its probability."""

    token: int
    prob: float


@dataclass(frozen=True, slots=True)
class Listed:
    """What a server told of one row."""

    probs: Mapping[int, float]
    """Probabilities of some tokens, settings applied."""
    whole: bool = False
    """Whether all other tokens have none."""
    drawn: tuple[Drawn, ...] = ()
    """Tokens that the server drew from the row."""


class ServerGone(Exception):
    """The server does not answer, or answers with what is none."""


class InferenceServer(Protocol):
    """An inference server; calls block, and come from several threads at once.

    All of them raise ServerGone.
    """

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def context(self) -> int:
        """Most tokens of a text, the one that is asked for included."""
        ...

    @property
    def most_top_k(self) -> int:
        """Up to this ``top_k`` ``listed`` tells whole rows."""
        ...

    @staticmethod
    def differs(sampling: tw.Sampling) -> str | None:
        """What of these settings, all among ``SETTINGS``, it applies in its own way; None if nothing."""
        ...

    def listed(
        self, prompts: Sequence[Sequence[int]], sampling: tw.Sampling, tokens: Sequence[int], seed: int
    ) -> list[Listed]:
        """Ask for the rows after ``prompts`` in one call, with the probabilities of ``tokens`` if it can.

        ``seed``: of what it draws for all of them: draws of different rows are not independent of each other.
        """
        ...

    def drawn(self, prompt: Sequence[int], sampling: tw.Sampling, count: int, seed: int) -> list[Drawn]:
        """Draw ``count`` tokens after ``prompt``, independent of each other; none if it cannot."""
        ...

    def row(self, prompt: Sequence[int], sampling: tw.Sampling) -> Mapping[int, float]:
        """The probabilities after ``prompt`` of all tokens that have one."""
        ...

    def alive(self) -> None:
        """Return if it answers."""
        ...

    def tokens_of(self, text: str) -> list[int]:
        """How the server's tokenizer cuts ``text``."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...
