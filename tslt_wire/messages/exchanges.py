"""Messages between a draft and its last answer: proposals and requests for more, a list that was asked for.

Spec sections 6.7 (evidence ``scalar``) and 6.8 (evidence ``lazy``).
"""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.probability_grid import BELOW
from tslt_wire.messages.extensions import Extension, check_range

MOST_PROPOSALS = 256
"""Proposals of one frame."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A token of the target's that the device may take, and its probability, rounded (``verification.proposals``)."""

    token: int
    code: int
    """Code of the greatest number of the grid that is not above the probability; 4095: there is none."""
    up: bool = False
    """Whether the device uses the next larger number in place of the probability; else it uses this one."""

    def __post_init__(self) -> None:
        check_range("token", self.token, MAX_VOCAB_SIZE)
        check_range("code", self.code, BELOW + 1)
        if self.up and self.code in (0, BELOW):
            raise ValueError(f"code {self.code} has no next larger number to use")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """The edge's answer to a scalar draft of which it rejects a token (VERDICT_PROPOSALS, spec section 6.7).

    The prefix grows by the path to ``node``, and then by the proposal that the device takes.
    """

    round: int
    node: int
    """Last accepted node, -1 if none was."""
    proposals: tuple[Proposal, ...]
    """1 to 256 of them, in the order in which the device tries them."""
    batch: int = 0
    """0 in the answer to the draft, 1 in that to the first MORE, and so on."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        check_range("round", self.round, 1 << 32)
        check_range("node + 1", self.node + 1, 1 << 32)
        check_range("batch", self.batch, 1 << 32)
        object.__setattr__(self, "proposals", tuple(self.proposals))
        if not 1 <= len(self.proposals) <= MOST_PROPOSALS:
            raise ValueError(f"1 to {MOST_PROPOSALS} proposals are needed, got {len(self.proposals)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """The device took none of the proposals and wants others (spec section 6.7)."""

    round: int
    batch: int
    """Number of the batch that is wanted, 1 upwards."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        check_range("round", self.round, 1 << 32)
        check_range("batch - 1", self.batch - 1, 1 << 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskList:
    """The edge's answer to a lazy draft of which it rejects a token: it wants a list (spec section 6.8)."""

    round: int
    node: int
    """Last accepted node, -1 if none was; the list that the token after it was drawn from is wanted."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        check_range("round", self.round, 1 << 32)
        check_range("node + 1", self.node + 1, 1 << 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReply:
    """The list that the edge asked for (LIST, spec section 6.8)."""

    round: int
    q: SparseDistribution
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        check_range("round", self.round, 1 << 32)
