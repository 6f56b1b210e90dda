"""Drafts in flight and drafts made ahead of their time: what an answer takes where rounds overlap.

Spec section 6.10.  A *run* is what a device sends until a draft is not accepted whole; then it hears of it and begins
anew.  With w the probability that a chain is accepted whole, independent from chain to chain, a run has 1 / (1 - w)
answers.  The first comes a whole round after the run began; each later one after the slowest of draft, uplink and
target; and where the window W is full before the first answer is there, one of W waits for as long as that takes.  Of
all answers, then,

    1 - w                             are the first of a run,
    (1 - w) w^W / (1 - w^W)           wait for the window,
    the rest                          come at the pace of the slowest part,

exactly, if all drafts of a run take equally long.  Where the device guessed the token in the place of a rejected one,
the first draft of the next run is there when that begins, or a part of it.

A chain of probability a a token brings 1 / (1 - a) tokens a run, whatever its length: lengths and window decide how
long it takes, and how many passes.  A tree is accepted whole where the first token of each level is; where another one
is accepted in its place the run ends, with some tokens more.

Edges whose rule holds nodes until those below them are seen (spec section 6.3, ``list`` and ``full``) accept the end of
a chain more often than its first token: then 1 - w is too large here, by a few percent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tslt_wire.checks import integer, number
from tslt_wire.messages.flight import MOST_WINDOW
from tslt_wire.throughput.model import Compute, ExpectedRound, Floats, Ints, Link, Wire, expected_round

_MOST_ALPHA = 0.9999
"""Acceptance beyond which runs are reckoned with as if it were this: at 1 they would not end."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What one draft takes, as rows of what seconds are linear in; each float64 (N, n)."""

    draft: Floats
    drawn: Floats
    """Of it, what is not to be done where it was drawn ahead of its time."""
    uplink: Floats
    """Its bytes."""
    back: Floats
    """The round trip and its answer's bytes."""
    verify: Floats

    def _each(self) -> tuple[Floats, ...]:
        return self.draft, self.uplink, self.back, self.verify

    def seconds(self, cost: Floats) -> tuple[Floats, ...]:
        """Seconds of draft, uplink, way back and target, (N,) each; ``cost``: a second's worth of each column, (n,)."""
        return tuple(part @ cost for part in self._each())


@dataclass(frozen=True, slots=True)
class Overlap:
    """How N candidates overlap; (N,) each."""

    whole: Floats
    """Probability that all of a draft is accepted, 0 to below 1."""
    window: Ints
    """Drafts in flight, from 1 on."""
    drawn: Floats
    """Part of the next draft that is drafted while the window is full, 0 to 1."""
    ready: Floats
    """Part of the first draft of a run that is there when it begins, in the mean, 0 to 1."""
    levels: Floats
    """Passes of the draft model that a draft takes."""


def answer_rows(parts: Parts, cost: Floats, how: Overlap) -> Floats:
    """What an answer takes, in the mean, as rows (N, n); ``cost``: see ``Parts.seconds``.

    A window of 1: a run is a round, draft, way and target one after the other.
    """
    draft, uplink, back, verify = parts.seconds(cost)
    alone = parts.draft + parts.uplink + parts.back + parts.verify
    flying = how.window > 1
    window = how.window.astype(np.float64)
    whole = np.where(flying, how.whole, 0.0)
    first = 1 - whole
    waits = first * whole**window / (1 - whole**window)
    slowest = _pick(np.argmax([draft, uplink, verify], axis=0), parts.draft, parts.uplink, parts.verify)
    pace = slowest @ cost
    loop = alone - how.drawn[:, None] * parts.draft
    is_full = loop @ cost > window * pace
    gap = np.where(is_full[:, None], loop - (window - 1)[:, None] * slowest, slowest)
    ready = how.ready[:, None] * parts.drawn
    rows = first[:, None] * (alone - ready) + (whole - waits)[:, None] * slowest + waits[:, None] * gap
    # What was sent for nothing may still be on its way up when the next run's first draft is there.
    behind = (window - 1)[:, None] * parts.uplink - parts.back - parts.verify - parts.draft + ready
    rows += (first * (flying & (behind @ cost > 0) & (uplink > draft)))[:, None] * behind
    # And a pass of the draft model may be under way when the device hears that it was for nothing.
    busy = flying & ((window - 1 + how.drawn) * draft > uplink + back + verify)
    rows += (first * busy / (2 * np.maximum(how.levels, 1.0)))[:, None] * parts.draft
    return rows


def dropped(parts: Parts, cost: Floats, how: Overlap) -> Floats:
    """Drafts that were sent for nothing, an answer, in the mean, (N,): those behind the one that ends a run."""
    draft, uplink, back, verify = parts.seconds(cost)
    behind = np.floor((uplink + back + verify) / np.maximum(np.maximum(draft, uplink), 1e-9))
    most = (how.window - 1).astype(np.float64)
    return np.where(how.window > 1, (1 - how.whole) * np.minimum(most, behind), 0.0)


def _pick(which: Ints, *rows: Floats) -> Floats:
    stacked: Floats = np.stack(rows)[which, np.arange(len(which))]
    return stacked


@dataclass(frozen=True, slots=True)
class Guesses:
    """How often a device's guesses of the target's own token are right, N candidates, (N,) each."""

    last: Floats
    """After a draft that was accepted whole."""
    other: Floats
    """In the place of a rejected token."""


def ready_part(kept: Floats, lengths: Floats, guesses: Guesses, *, most: int, passes: Floats) -> Floats:
    """Part of the next chain that is there when the verdict comes, in the mean, (N,): of drafting ahead.

    ``kept``: probability that so many tokens of a chain and no fewer are accepted at least, (N, D), the first column
    that of 1; ``lengths``: of the chains.  ``most``: nodes run ahead, at most.  ``passes``: of the draft model that fit
    into the wait.
    """
    count, depth = kept.shape
    before = np.concatenate([np.ones((count, 1)), kept], axis=1)
    places = np.arange(depth + 1)[None, :]
    last = places == lengths[:, None]
    stops = np.where(last, before, before - np.concatenate([kept, np.zeros((count, 1))], axis=1))
    chances = np.where(places <= lengths[:, None], stops, 0.0)
    chances = chances * np.where(last, guesses.last[:, None], guesses.other[:, None])
    many = np.maximum(1, most // (1 + lengths.astype(np.int64)))
    best = -np.sort(-chances, axis=1)
    right = (best * (places < many[:, None])).sum(axis=1)
    # The draft's last token and the guess behind it take a pass each before the first level is drawn.
    levels = np.clip(np.minimum(passes - 1, most - 1), 0.0, lengths)
    return np.where(lengths > 0, right * levels / np.maximum(lengths, 1.0), 0.0)


def ready_in_flight(
    kept: Floats, lengths: Floats, right: Floats, *, most: int, passes: Floats, between: Floats
) -> Floats:
    """Part of a run's first chain that is there when the run begins, in the mean, (N,): guesses off drafts in flight.

    ``kept``, ``lengths``, ``most``: see ``ready_part``; ``right``: how often a guess in the place of a rejected token
    is, (N,).  ``passes``: of the draft model that fit into the wait for the first answer of a run; ``between``: into
    the time from one answer to the next.
    """
    many = np.maximum(1, most // (1 + lengths.astype(np.int64)))
    longest = np.maximum(lengths, 1.0)
    whole = _kept(kept, lengths.astype(np.int64))
    # The likeliest places are the first ones of the oldest draft; as that is accepted, those of the next one.
    rejected = np.maximum(1 - whole, 1e-12)
    told = (1 - _kept(kept, np.minimum(many, lengths.astype(np.int64)))) / rejected
    at_a_time = np.maximum(1, many // longest)
    first, later = (np.clip(np.floor(each), 0, longest) for each in (passes, between * at_a_time))
    levels = np.minimum((1 - whole) * first + whole * later, max(most - 1, 0))
    return np.where(lengths > 0, right * told * levels / longest, 0.0)


def _kept(kept: Floats, count: Ints) -> Floats:
    """Probability that the first ``count`` tokens are accepted, (N,)."""
    before = np.concatenate([np.ones((len(kept), 1)), kept], axis=1)
    found: Floats = np.take_along_axis(before, count[:, None], axis=1)[:, 0]
    return found


def expected_in_flight(
    wire: Wire,
    length: int,
    alpha: float,
    link: Link,
    compute: Compute,
    *,
    window: int = 1,
    ahead: int = 0,
    right: float = 0.0,
) -> ExpectedRound:
    """Expect one answer where chains of ``length`` tokens are in flight, ``window`` of them at most.

    ``alpha``: acceptance of a token, 0 to below 1.  ``ahead``: tokens that the device drafts of the next chain while
    the window is full, and nodes for rejections, whose token it guesses ``right`` so often.

    Seconds are those from an answer to the next one, bytes those that are sent in it, with the
    drafts that are dropped; ``edge_s`` is one pass.  ValueError for numbers out of range, TypeError for other types.
    """
    length = integer("length", length, 0, None)
    window, ahead = integer("window", window, 1, MOST_WINDOW), integer("ahead", ahead, 0, None)
    alpha, right = number("alpha", alpha, 0, 1), number("right", right, 0, 1)
    alone = expected_round(wire, (1,) * length, (alpha,) * length, link, compute)
    whole = min(alpha, _MOST_ALPHA) ** length if length else 0.0
    if window == 1 or not length:
        return alone
    up = wire.frame + length * (wire.node + wire.parent)
    drawn_s = length * (compute.draft_s + compute.draft_parent_s)
    seconds = (
        compute.draft_start_s + drawn_s,
        drawn_s,
        link.seconds(up, 0, 0),
        link.seconds(0, wire.verdict, 1),
        compute.verify_s + length * compute.verify_node_s,
    )
    parts, one = Parts(*(np.array([[each]]) for each in seconds)), np.ones(1)
    pass_s = max(drawn_s / length, 1e-9)
    ready = ready_in_flight(
        np.cumprod(np.full((1, length), min(alpha, _MOST_ALPHA)), axis=1), length * one, right * one, most=ahead,
        passes=sum(seconds[2:]) / pass_s * one, between=max(seconds[0], seconds[2], seconds[4]) / pass_s * one,
    )  # fmt: skip
    how = Overlap(whole * one, np.array([window]), min(1.0, ahead / length) * one, ready * (ahead > 0), length * one)
    rejections = link.seconds(alone.uplink_bytes - up, alone.downlink_bytes - wire.verdict, alone.trips - 1)
    return ExpectedRound(
        tokens=alone.tokens - whole,
        seconds=float(answer_rows(parts, one, how)[0, 0]) + rejections,
        trips=alone.trips - whole * (1 - (1 - whole) * whole ** (window - 1) / (1 - whole**window)),
        uplink_bytes=alone.uplink_bytes + up * float(dropped(parts, one, how)[0]),
        downlink_bytes=alone.downlink_bytes,
        edge_s=seconds[4],
    )
