"""What a device sends between its draft and the end of its round: a request for proposals, a list that was asked for.

Spec sections 6.7 (evidence ``scalar``) and 6.8 (evidence ``lazy``).
"""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.fields import U32, set_integers, set_items


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """The device took none of the proposals and wants others (spec section 6.7)."""

    round: int
    batch: int
    """Number of the batch that is wanted, 1 upwards."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_integers(self, round=(0, U32), batch=(1, U32))
        set_items(self, "extensions", Extension)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReply:
    """The list that the edge asked for (LIST, spec section 6.8)."""

    round: int
    q: SparseDistribution
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_integers(self, round=(0, U32))
        if not isinstance(self.q, SparseDistribution):
            raise TypeError(f"q must be a SparseDistribution, got {self.q!r}")
        set_items(self, "extensions", Extension)
