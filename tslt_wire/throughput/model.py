"""What a round costs and brings: seconds, bytes and tokens, expected before it is drafted.

Paper eq. (1) to (10) with the errata, extended by the downlink, the round trip, trees, and by what a
rejection costs with each kind of evidence:

    T = draft + uplink bytes / R_up + downlink bytes / R_down + round trips * RTT + verify

``expect`` works on many candidates at once; ``expected_round`` is the same for one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire.checks import integer, number

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MOST_ACCEPTANCE = 0.999
"""Acceptance beyond which a rejection's proposals are reckoned with as if it were this: at 1 none would ever fit."""


def _check(owner: object, *names: str) -> None:
    """Put the named fields, finite numbers of at least 0, back as floats; TypeError or ValueError."""
    for name in names:
        object.__setattr__(owner, name, number(name, getattr(owner, name), 0, None))


def _rate(name: str, value: Any) -> float:
    """``value``, a rate above 0, as a float; ``inf`` is one."""
    return math.inf if isinstance(value, float) and value == math.inf else number(name, value, 0, None, above_low=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link between a device and an edge.

    ValueError for rates that are not positive and a negative round trip, TypeError for what is no number.
    """

    uplink_bit_s: float
    """Goodput from the device to the edge, bits a second; may be ``inf``."""
    downlink_bit_s: float
    """Goodput from the edge to the device, bits a second; may be ``inf``."""
    rtt_s: float
    """Seconds an exchange of two empty frames takes."""

    def __post_init__(self) -> None:
        for name in ("uplink_bit_s", "downlink_bit_s"):
            object.__setattr__(self, name, _rate(name, getattr(self, name)))
        _check(self, "rtt_s")

    def seconds(self, uplink_bytes: float, downlink_bytes: float, trips: float = 1.0) -> float:
        """Seconds on the way for ``trips`` exchanges that carry so many bytes in all."""
        return trips * self.rtt_s + 8 * (uplink_bytes / self.uplink_bit_s + downlink_bytes / self.downlink_bit_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How long the models take.  ValueError for negative or infinite times, TypeError for what is no number."""

    draft_s: float
    """T_SLM: seconds of one pass of the draft model.  A chain of L tokens takes L, a tree one a level."""
    verify_s: float
    """T_LLM: seconds of one pass of the target, which checks a whole draft."""
    draft_start_s: float = 0.0
    """Seconds of a draft, however short, besides its passes: catching up with the text, writing the frame."""
    draft_parent_s: float = 0.0
    """Seconds that a pass of the draft model takes longer for each node it continues."""
    verify_node_s: float = 0.0
    """Seconds that a pass of the target takes longer for each drafted token."""

    def __post_init__(self) -> None:
        _check(self, *Compute.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What one kind of evidence puts on the wire, in bytes, frames and transport included.

    ValueError for negative or infinite numbers, TypeError for what is none.
    """

    frame: float
    """A DRAFT without tokens."""
    node: float
    """Each drafted token, with its q(x) if the kind sends that."""
    parent: float = 0.0
    """Each distribution; one for each node that has children (the prefix counts)."""
    verdict: float = 12.0
    """A VERDICT."""
    rejection_down: float = 0.0
    """More downlink when a token was rejected (``scalar``: proposals; ``lazy``: the request)."""
    rejection_up: float = 0.0
    """More uplink when a token was rejected (``lazy``: the list that was asked for)."""
    rejection_trips: float = 0.0
    """More round trips when a token was rejected (``lazy``: 1)."""
    proposals: int = 0
    """``scalar``: target proposals that a rejection brings.  The device may fit none of them and ask for as many
    again, which costs a round trip, ``request`` and ``rejection_down``; 0: it never asks."""
    request: float = 10.0
    """A frame that asks for more proposals."""

    def __post_init__(self) -> None:
        _check(self, *(name for name in Wire.__dataclass_fields__ if name != "proposals"))
        object.__setattr__(self, "proposals", integer("proposals", self.proposals, 0, None))

    @property
    def row(self) -> list[float]:
        """The fields in their order, for ``expect``."""
        return [float(getattr(self, name)) for name in Wire.__dataclass_fields__]


@dataclass(frozen=True, slots=True)
class Expectation:
    """Expected values of one round for N candidates; each float64 (N,)."""

    tokens: Floats
    """What the text grows by: the accepted depth and the target's own token."""
    trips: Floats
    """Round trips."""
    uplink: Floats
    """Bytes."""
    downlink: Floats
    """Bytes."""
    kept: Floats
    """Probability that at least so many levels are accepted, (N, D): the first column is that of one."""
    rejected: Floats
    """Of trips, uplink and downlink what rejections add, (N, 3)."""


def shape_counts(widths: Ints) -> tuple[Floats, Floats, Floats]:
    """(levels, parents, nodes) of trees ``<k1..kL>``, each (N,); ``widths`` is (N, D), filled up with zeros."""
    sizes = np.cumprod(widths, axis=1)
    parents = np.concatenate([np.ones((len(widths), 1), np.int64), sizes[:, :-1]], axis=1) * (widths > 0)
    return (widths > 0).sum(axis=1) * 1.0, parents.sum(axis=1) * 1.0, sizes.sum(axis=1) * 1.0


def widths_of(shapes: Sequence[Sequence[int]]) -> Ints:
    """Trees ``<k1..kL>`` as rows of an (N, D) array, filled up with zeros; one column at least."""
    deepest = max(1, max((len(shape) for shape in shapes), default=0))
    return np.array([[*shape, *[0] * (deepest - len(shape))] for shape in shapes], np.int64).reshape(-1, deepest)


def expect(wires: Floats, widths: Ints, alphas: Floats, counts: tuple[Floats, Floats, Floats]) -> Expectation:
    """Expected tokens, round trips and bytes of N candidates.

    ``wires``: ``Wire.row`` of each, (N, 9).  ``widths`` and ``counts``: see ``shape_counts``.  ``alphas``: probability
    that a level accepts one of its siblings when the level above did, (N, D); anything where ``widths`` is 0.
    """
    there = widths > 0
    kept = np.cumprod(np.where(there, alphas, 1.0), axis=1, dtype=np.float64)
    tokens = 1 + (kept * there).sum(axis=1)
    frame, node, parent, verdict, down, up, trips, proposals, request = wires.T
    rejected = 1 - kept[:, -1]
    # A proposal fits with probability 1 - alpha (the residual's mass), so none of m fits with alpha^m.
    first = np.minimum(alphas[:, 0], _MOST_ACCEPTANCE)
    missed = np.where(proposals > 0, first**proposals, 0.0)
    again = missed / (1 - missed)
    _, parents, nodes = counts
    more = rejected[:, None] * np.column_stack([trips + again, up + again * request, down + again * down])
    return Expectation(
        tokens=tokens,
        trips=1 + more[:, 0],
        uplink=frame + node * nodes + parent * parents + more[:, 1],
        downlink=verdict + more[:, 2],
        kept=kept,
        rejected=more,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedRound:
    """What one round is expected to bring and to take."""

    tokens: float
    seconds: float
    trips: float
    uplink_bytes: float
    downlink_bytes: float
    edge_s: float = 0.0
    """Seconds of the target, which the edge has to give."""

    @property
    def tokens_per_s(self) -> float:
        """Tokens a second if all rounds were like this one."""
        return self.tokens / self.seconds if self.seconds else math.inf


def expected_round(
    wire: Wire, expansion: Sequence[int], alphas: Sequence[float], link: Link, compute: Compute
) -> ExpectedRound:
    """Expect a round with the tree ``<k1..kL>`` (a chain: all 1; empty: no draft at all).

    ``alphas``: acceptance of each level, 0..1, as many as ``expansion`` has.  ValueError if they do not fit, TypeError
    for other types.
    """
    if not isinstance(wire, Wire) or not isinstance(link, Link) or not isinstance(compute, Compute):
        raise TypeError(f"a Wire, a Link and a Compute are needed, got {wire!r}, {link!r} and {compute!r}")
    if len(alphas) != len(expansion) or any(k < 1 for k in expansion) or not all(0 <= a <= 1 for a in alphas):
        raise ValueError(f"one alpha in 0..1 for each layer needed, got {tuple(alphas)} for {tuple(expansion)}")
    widths = widths_of([expansion])
    counts = shape_counts(widths)
    each = np.zeros(widths.shape)
    each[0, : len(alphas)] = alphas
    found = expect(np.array([wire.row]), widths, each, counts)
    tokens, trips, up, down = (float(v[0]) for v in (found.tokens, found.trips, found.uplink, found.downlink))
    levels, parents, nodes = (float(v[0]) for v in counts)
    seconds = (
        (levels > 0) * compute.draft_start_s
        + levels * compute.draft_s
        + parents * compute.draft_parent_s
        + link.seconds(up, down, trips)
        + compute.verify_s
        + nodes * compute.verify_node_s
    )
    edge_s = compute.verify_s + nodes * compute.verify_node_s
    return ExpectedRound(
        tokens=tokens, seconds=seconds, trips=trips, uplink_bytes=up, downlink_bytes=down, edge_s=edge_s
    )


def chain_tokens(alpha: float, length: float) -> float:
    """Expected tokens of a round with a chain: (1 - a^(L+1)) / (1 - a), paper eq. (8)."""
    if alpha == 1:
        return length + 1.0
    if alpha == 0:
        return 1.0
    return math.expm1((length + 1) * math.log(alpha)) / (alpha - 1)


def tree_tokens(alphas: Sequence[float]) -> float:
    """Expected tokens of a round with a tree: expected accepted depth + 1, ``alphas`` as in ``expected_round``."""
    kept: Any = np.cumprod(alphas)
    return 1 + float(kept.sum())


def streamed_tokens_per_s(verify_s: float, link: Link, *, token_bytes: float = 12.0, tokens: float = math.inf) -> float:
    """Tokens a second if the edge decodes alone and streams each token in a frame of ``token_bytes``.

    With ``tokens`` finite the one round trip of the request counts too.
    """
    each = max(verify_s, 8 * token_bytes / link.downlink_bit_s)
    seconds = each + link.rtt_s / tokens
    return 1 / seconds if seconds else math.inf


def speedup(tokens_per_s: float, verify_s: float) -> float:
    """Over the standalone target, which makes 1 / T_LLM tokens a second (paper Definition 2.2)."""
    return tokens_per_s * verify_s
