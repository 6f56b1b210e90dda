"""``--evidence auto``: a planner picks each round's evidence, precision, K, draft temperature and shape.

It goes by the times of the session's own rounds; see ``tslt_wire.throughput``.  The output does not depend on its
choices, so they may depend on anything that happened before the round.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.evidence import kind_of_evidence
from tslt_runtime.rounds import Round
from tslt_wire.lists.truncation import Truncation
from tslt_wire.throughput import Agreed, Context, Mode, Observation, Plan, Planner, default_modes

log = logging.getLogger("tslt.device")

EXPLAIN_ROUNDS = 50
"""Rounds between two explanations in the log (``--verbose``)."""
ON_THE_WIRE = {"full": "list"}
"""Names of a planner's evidence that the wire calls otherwise: ``full`` is a list of everything."""


def settings_for(mode: Mode, expansion: tuple[int, ...]) -> DraftSettings:
    """How to draft what a planner chose."""
    name = ON_THE_WIRE.get(mode.evidence, mode.evidence)
    if name == "match":
        # Only the order counts, and no temperature changes it.
        return DraftSettings(expansion=expansion, truncation=tw.TopK(max(expansion, default=1)), evidence=name)
    truncation: Truncation | None = None
    if kind_of_evidence(name).sends_lists and mode.evidence not in ON_THE_WIRE:
        truncation = tw.TopK(mode.k)
        if mode.min_prob:
            truncation = truncation & tw.MinProb(mode.min_prob)
    return DraftSettings(
        expansion=expansion,
        temperature=mode.draft_temperature,
        truncation=truncation,
        precision=mode.precision or tw.Precision.F32.value,
        evidence=name,
    )


def planner_for(device: Device, **options: Any) -> Planner:
    """A planner for what ``device`` and its edge agreed on, which knows how long their handshake took.

    ``options``: more of ``Planner``'s, first guesses say.
    """
    welcome = device.welcome
    evidence = (*welcome.evidence, *(name for name, wire in ON_THE_WIRE.items() if wire in welcome.evidence))
    temperature = device.session.sampling.temperature
    planner = Planner(
        default_modes(welcome.vocab_size, temperature=temperature, entropy=welcome.entropy),
        Agreed(
            evidence=evidence,
            precisions=welcome.precisions,
            max_nodes=welcome.limits.max_nodes,
            max_leaves=min(welcome.limits.max_leaves, device.most_leaves or welcome.limits.max_leaves),
            max_entries=welcome.limits.max_entries,
            window=min(device.window, device.session.window),
            ahead=device.ahead.most,
        ),
        **options,
    )
    shaken = device.handshake
    planner.observe_exchange(shaken.uplink_bytes, shaken.downlink_bytes, shaken.seconds)
    return planner


def observation(mode: Mode, round_: Round, *, guessed: bool = False, window: int = 1) -> Observation:
    """What a planner learns from a round.  ``guessed``: whether it was to be drafted ahead of its time;
    ``window``: drafts that might be in flight."""
    settings, flight = round_.settings, round_.flight
    return Observation(
        mode=mode,
        expansion=settings.expansion if settings else (),
        accepted=len(round_.accepted),
        tried=round_.tried,
        # In flight the bytes between two answers are those of several drafts.
        uplink_bytes=round_.frame_bytes if flight and round_.trips == 1 else round_.uplink_bytes,
        downlink_bytes=round_.downlink_bytes,
        draft_s=round_.draft_s,
        link_s=max(0.0, round_.link_s),
        verify_s=round_.verify_s or None,
        others=round_.others,
        row_s=round_.row_s,
        trips=round_.trips,
        follows=flight is not None and flight.follows,
        ahead=min(round_.ahead, round_.drafted),
        guessed=guessed,
        window=window if flight else 1,
    )


class Autopilot:
    """Generates with a planner at the wheel."""

    def __init__(self, device: Device, planner: Planner | None = None) -> None:
        """``planner``: None makes the one that ``planner_for`` gives."""
        self._device = device
        self.planner = planner_for(device) if planner is None else planner
        self.chosen: Counter[str] = Counter()
        """Rounds by kind of evidence, in the planner's names."""
        self.last: Plan | None = None
        """What was planned last."""
        self._under_way: Plan | None = None
        """What a round that was cancelled is, until the next call gets it."""
        self._modes: dict[DraftSettings, Mode] = {}

    async def generate(self, max_tokens: int) -> AsyncIterator[Round]:
        """Like ``Device.generate``, each round as the planner chooses; logs its reasons now and then."""
        device = self._device
        most = device.window, device.ahead.most
        try:
            async for round_ in self._rounds(max_tokens):
                yield round_
        finally:
            device.window, device.ahead.most = most

    async def _rounds(self, max_tokens: int) -> AsyncIterator[Round]:
        left, device, guessed = max_tokens, self._device, False
        while left > 0:
            context = Context(tokens_left=left, room=max(0, device.room))
            plan = self._under_way = self._under_way or self.planner.plan(context)
            settings = settings_for(plan.mode, plan.expansion)
            self._modes[replace(settings, expansion=())] = plan.mode
            device.window, device.ahead.most = plan.window, plan.ahead
            round_ = await device.round(left, settings)
            self._under_way = None
            if round_ is None:
                return
            # One that was in flight may have been planned some rounds ago.
            mode = self._modes.get(replace(round_.settings or settings, expansion=()), plan.mode)
            if not round_.reconnects:  # its times say nothing of rounds to come
                self.planner.observe(observation(mode, round_, guessed=guessed, window=plan.window))
            guessed = plan.ahead > 0
            self.chosen[mode.evidence] += 1
            self.last = plan
            if self.chosen.total() % EXPLAIN_ROUNDS == 0:
                log.info("after %d rounds: %s", self.chosen.total(), self.planner.explain())
            left -= len(round_.tokens)
            yield round_

    def evidence_line(self) -> str:
        """What was chosen, by what part of the rounds."""
        rounds = max(1, self.chosen.total())
        return "auto: " + ", ".join(f"{kind} {number / rounds:.0%}" for kind, number in self.chosen.most_common())
