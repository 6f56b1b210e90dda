"""What stands between a device and an edge, step by step: who answers, who may talk, what fits, and how fast it is.

Each step is a finding in words; the first one that fails is the last.  Link and models are measured by rounds of the
session itself, so that what is found is what ``tslt device`` will get.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tslt_transports import Link, LinkError
from tslt_transports.untrusted import printable

import tslt_wire as tw
from tslt_runtime.autopilot import Autopilot, planner_for
from tslt_runtime.connection import EdgeError
from tslt_runtime.device import Device
from tslt_runtime.dialing import Dialer
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.protocol import EngineFacts
from tslt_runtime.rounds import Round, Tally
from tslt_runtime.token_map import TokenMap
from tslt_wire import throughput
from tslt_wire.messages.handshake import SPEC_VERSION
from tslt_wire.session.negotiation import context_of
from tslt_wire.throughput.explain import rate_name

SMALL_ROUNDS, LARGE_ROUNDS = 5, 3
"""Rounds of a few bytes, which give the round trip, and of many, which give the rate of the uplink."""
LARGE_ENTRIES, MOST_LISTS = 8192, 16
"""Listed tokens of the large ones, in so many lists at most: tens of kilobytes, a second at half a megabit."""
TELLING, LEAST_S = 3.0, 0.002
"""How many times as long as the spread of the small rounds, and how many seconds, a large one must take longer for its
rate to be told."""
GUESS_BIT_S = 4e6
"""What a link carries where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One step."""

    name: str
    good: bool
    said: str
    """In words: what was found, or what is wrong and what to do."""


@dataclass(slots=True)
class Checkup:
    """All that was found."""

    findings: list[Finding] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """What was measured: seconds, bytes, bits a second, rates; for scripts."""

    @property
    def good(self) -> bool:
        """Whether a device would get its text."""
        return all(finding.good for finding in self.findings)

    def note(self, name: str, said: str, *, good: bool = True) -> None:
        """Add a finding."""
        self.findings.append(Finding(name, good, said))


async def reach(found: Checkup, dialer: Dialer, timeout_s: float, *, with_key: bool) -> Link | None:
    """Open a link, and say who is there; None if nobody is."""
    started = time.perf_counter()
    try:
        link = await dialer.reach(timeout_s)
    except LinkError as error:
        found.note("edge", str(error), good=False)
        return None
    found.figures["connect_s"] = took = time.perf_counter() - started
    found.note("edge", f"{link.peer} answers after {1e3 * took:.0f} ms")
    if link.identity:
        found.note("keys", f"the edge is {printable(link.identity)}, by its key")
    elif with_key:
        found.note("keys", "this device has shown its key; the edge is who its certificate says")
    else:
        found.note("keys", "none: anybody may talk to this edge, and it may be anybody")
    return link


async def shake_hands(found: Checkup, device: Device) -> tw.Welcome | None:
    """Say HELLO, and what is agreed on; None if the edge refuses."""
    try:
        welcome = await device.open()
    except (EdgeError, LinkError, tw.ProtocolError) as error:
        found.note("handshake", str(error), good=False)
        return None
    shaken = device.handshake
    found.figures["handshake"] = {
        "seconds": shaken.seconds,
        "uplink_bytes": shaken.uplink_bytes,
        "downlink_bytes": shaken.downlink_bytes,
    }
    found.figures["version"] = welcome.version
    found.note("handshake", f"version {welcome.version} of the protocol (this end: {SPEC_VERSION})")
    found.note(
        "target",
        f"{printable(welcome.model)}, texts of {context_of(welcome)} tokens, evidence {', '.join(welcome.evidence)}, "
        f"trees of {welcome.limits.max_nodes} nodes and {welcome.limits.max_leaves} leaves",
    )
    return welcome


FITS = {
    tw.Fit.SAME: "{target} tokens, the same for both models",
    tw.Fit.PADDED: "one tokenizer; {draft} logits of the draft, {target} of the target: what one lacks is not drafted",
    tw.Fit.RENAMED: "{target} tokens: the ordinary ones are the same, special ones differ and are never drafted",
}
"""How vocabularies go together, in words."""


def compare(found: Checkup, facts: EngineFacts, device: Device, token_map: TokenMap | None = None) -> None:
    """Say how draft and target fit; ``token_map``: between their tokenizers, if these differ."""
    welcome, fit = device.welcome, device.session.fit or tw.Fit.SAME
    if token_map is None:
        found.figures["fit"] = fit.value
        found.note("vocabulary", FITS[fit].format(draft=facts.vocab_size, target=welcome.vocab_size))
    else:
        found.figures["fit"] = "other tokenizer"
        shared = f"{len(token_map.ids)} of the target's {welcome.vocab_size} tokens"
        found.note("vocabulary", f"two tokenizers: {shared} are the draft's as well, the others are not drafted")
    context = context_of(welcome)
    short = f"; texts go on to {context}, beyond that its window slides" if facts.context < context else ""
    found.note("draft", f"{facts.model}, {facts.dtype}, {facts.context} tokens{short}")
    for remark in facts.remarks:
        found.note("draft", remark)


async def measure(found: Checkup, device: Device, prompt: list[int], tokens: int) -> None:
    """Run small rounds, large ones, and ``tokens`` tokens as ``auto`` drafts them; what is measured is noted."""
    try:
        await device.prompt(prompt)
        link = await _measure_link(found, device)
        if link is None:
            found.note("rounds", "the text ends at once: name another --prompt", good=False)
            return
        await device.prompt(prompt)
        await _run_auto(found, Autopilot(device, planner_for(device, link=link)), tokens)
    except (EdgeError, LinkError, tw.ProtocolError) as error:
        found.note("rounds", str(error), good=False)


async def _measure_link(found: Checkup, device: Device) -> throughput.Link | None:
    """The link for a planner to start from; None if the text ends before anything was measured."""
    welcome = device.welcome
    kind = "match" if "match" in welcome.evidence else welcome.evidence[0]
    small = await _rounds(device, SMALL_ROUNDS, DraftSettings(expansion=(1,), evidence=kind, truncation=tw.TopK(1)))
    if not small:
        return None
    trips = [round_.link_s / round_.trips for round_ in small]
    trip, noise = median(trips), sorted(trips)[-2] - min(trips) if len(trips) > 1 else 0.0
    found.figures["round_trip_s"] = trip
    said, uplink = f"round trip {1e3 * trip:.1f} ms", GUESS_BIT_S
    if "list" in welcome.evidence:
        entries = min(LARGE_ENTRIES, welcome.vocab_size, welcome.limits.max_entries)
        precision = "f32" if "f32" in welcome.precisions else welcome.precisions[0]
        lists = min(MOST_LISTS, -(-LARGE_ENTRIES // entries), welcome.limits.max_entries // entries)
        draft = DraftSettings(expansion=(1,) * lists, truncation=tw.TopK(entries), precision=precision)
        large = await _rounds(device, LARGE_ROUNDS, draft, tokens=lists + 1)
        sent = median(one.uplink_bytes for one in large) - median(one.uplink_bytes for one in small) if large else 0
        if sent > 0:
            longer = min(one.link_s / one.trips for one in large) - trip
            told = longer > TELLING * noise and longer > LEAST_S
            uplink = 8 * sent / max(longer, TELLING * noise, LEAST_S)
            found.figures["uplink"] = {"bytes": sent, "seconds": longer, "bit_s": uplink if told else None}
            if told:
                said += f"; uplink {rate_name(uplink)}: {sent:.0f} bytes took {1e3 * longer:.1f} ms more"
            else:
                said += f"; uplink above {rate_name(uplink)}: {sent:.0f} bytes took no longer than a few do"
    found.note("link", f"{said}; downlink not measured: an edge sends nothing long")
    return throughput.Link(uplink_bit_s=uplink, downlink_bit_s=max(uplink, GUESS_BIT_S), rtt_s=max(0.0, trip))


async def _rounds(device: Device, count: int, settings: DraftSettings, *, tokens: int = 2) -> list[Round]:
    found: list[Round] = []
    while len(found) < count and (round_ := await device.round(tokens, settings)):
        found.append(round_)
    return found


async def _run_auto(found: Checkup, pilot: Autopilot, tokens: int) -> None:
    started = time.perf_counter()
    tally = Tally([round_ async for round_ in pilot.generate(tokens)])
    tally.wall_s = time.perf_counter() - started
    up, down = tally.per_token("uplink_bytes"), tally.per_token("downlink_bytes")
    planner, best = pilot.planner, pilot.planner.ranking()[0]
    found.figures["rounds"] = {
        "tokens": tally.tokens,
        "rounds": len(tally.rounds),
        "seconds": tally.wall_s,
        "alpha": tally.alpha if tally.tried else None,
        "uplink_bytes_per_token": up,
        "downlink_bytes_per_token": down,
    }
    found.figures["auto"] = {
        "plan": best.name,
        "tokens_per_s": best.expected.tokens_per_s,
        "draft_s": planner.compute.draft_s,
        "verify_s": planner.compute.verify_s if planner.tells_time else None,
        "explanation": planner.explain(),
    }
    alpha = f"{tally.alpha:.0%} of the drafted tokens accepted, " if tally.tried else ""
    found.note(
        "rounds",
        f"{tally.tokens} tokens in {len(tally.rounds)} rounds and {tally.wall_s:.1f} s, {alpha}{up:.0f} bytes up and "
        f"{down:.0f} down a token",
    )
    found.note("auto", planner.explain())


@asynccontextmanager
async def closing(device: Device) -> AsyncIterator[Device]:
    """``device``, closed at the end whatever happens."""
    try:
        yield device
    finally:
        await device.close()


def screen(found: Checkup, show: Callable[[str], None]) -> None:
    """Show what was found, a line a finding or some."""
    width = max(len(finding.name) for finding in found.findings)
    for finding in found.findings:
        mark = "ok  " if finding.good else "FAIL"
        first, *others = finding.said.splitlines()
        show(f"{mark} {finding.name:<{width}}  {first}")
        for line in others:
            show(f"{'':{width + 5}}  {line}")
