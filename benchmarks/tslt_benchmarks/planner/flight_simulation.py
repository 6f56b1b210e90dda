"""Drafts in flight by events: what the closed form of ``tslt_wire.throughput.flight`` is held to.

Device, uplink, edge and downlink each do one thing after the other; each token is accepted or not by a coin.  Nothing
of the closed form is used, no clock and no session.

A device that guesses drafts for some places at which the oldest draft may be rejected, and those after it that have
room, beside all else: where it was rejected there and the guess of the token is right, the next run's first draft is
there, or a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds, each the same whenever it is asked for."""

    draft_s: float
    """Of a drafted token."""
    verify_s: float
    """Of a pass, and ``node_s`` more a drafted token."""
    rtt_s: float
    up_s: float = 0.0
    """Of a draft on the uplink."""
    down_s: float = 0.0
    """Of an answer on the downlink."""
    node_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came out."""

    tokens_per_s: float
    edge_s_per_token: float
    drafts_per_token: float
    """That were sent, dropped ones among them."""


def simulate(
    times: Times,
    *,
    alpha: float,
    length: int,
    window: int,
    ahead: int = 0,
    right: float = 0.0,
    places: int = 0,
    siblings: Sequence[float] = (),
    nodes: int | None = None,
    runs: int = 2000,
    seed: int = 0,
) -> Simulated:
    """``runs`` runs of chains of ``length``, ``window`` in flight; each ends with a draft that is not accepted whole.

    ``window`` 1: a run is a round, and a draft that is accepted whole brings the target's own token, too.  ``ahead``:
    tokens of the next chain that are drafted while the window is full.  ``right``: how often the guess of the
    token in the place of a rejected one is; ``places``: guesses at a time.  ``siblings``: of a tree, for each level how
    often another token is accepted in the first one's place; ``nodes``: of it.
    """
    rng, coins = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    others = np.array(siblings or (0.0,) * length)
    verify_s = times.verify_s + (nodes or length) * times.node_s
    now = uplink = edge = downlink = tokens = 0.0
    passes = sent = there = 0
    at_a_time = max(1, places // length)
    for _ in range(runs):
        answers: list[float] = []
        drafter, left, there = now, length - there, 0
        over: float | None = None
        number = 0
        while True:
            # The device drafts, but where the window is full no more than ``ahead`` tokens before it opens.
            opens = answers[number - window] if number >= window else now
            early = left if number < window else min(left, ahead)
            paused = drafter + early * times.draft_s
            drafted = paused if early == left else max(paused, opens) + (left - early) * times.draft_s
            leaves = max(drafted, opens)
            if over is not None and leaves >= over:
                break
            uplink = max(leaves, uplink) + times.up_s
            drafter, left = drafted, length
            sent += 1
            if over is None:
                passes += 1
                edge = max(uplink + times.rtt_s / 2, edge) + verify_s
                downlink = max(edge, downlink) + times.down_s
                answers.append(downlink + times.rtt_s / 2)
                accepted = int(np.argmin(np.append(rng.random(length) < alpha, False)))
                whole = accepted == length
                if not whole and coins.random() < others[accepted]:
                    below = others[accepted + 1 :]
                    kept = coins.random(len(below)) < alpha + (1 - alpha) * below  # one of its level
                    accepted += 1 + int(np.argmin(np.append(kept, False)))
                tokens += accepted
                if not whole or window == 1:
                    tokens += 1
                    over = answers[-1]
                    if accepted < min(places, length) and rng.random() < right:
                        begun = max(leaves, answers[number - at_a_time] if number >= at_a_time else 0.0)
                        there = min(length, int((over - begun) / max(times.draft_s, 1e-9)))
            else:
                answers.append(float("inf"))
            number += 1
        # A pass that is under way when the device hears of it is waited for.
        busy = drafter <= over < drafter + left * times.draft_s and number < window
        begun = (over - drafter) % times.draft_s if busy and times.draft_s else 0.0
        now = over + (times.draft_s - begun if begun else 0.0)
    return Simulated(tokens / now, passes * verify_s / tokens, sent / tokens)
