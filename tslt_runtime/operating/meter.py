"""What an edge has done, in plain numbers: devices, rounds, frames, passes, refusals, errors.

Counting is a few additions a frame; ``operating.prometheus`` shows the numbers to a Prometheus server.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

import tslt_wire as tw
from tslt_runtime.edge_driver import EdgeRound
from tslt_runtime.scheduler import Pass
from tslt_wire.frames.codec import HANDSHAKE_PROFILE, KIND_MASK
from tslt_wire.frames.kinds import Kind

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the classes of times."""
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ROWS = (1, 4, 16, 64, 128, 256, 512, 1024, 4096)
MOST_NAMES = 100
"""Devices that are counted by name; what comes after them is counted as ``OTHERS``."""
OTHERS = "other"
_KINDS = {kind.value: kind.name.lower() for kind in Kind}


class Histogram:
    """How often a number was in which class."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds``: upper ends, ascending; what is larger than all is a class of its own."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a number; it belongs to the first class whose upper end is not below it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class EdgeMeter:
    """The numbers of one edge since it started, for one event loop to count and anybody to read."""

    def __init__(self, *, most_names: int = MOST_NAMES) -> None:
        """``most_names``: authenticated devices that are counted by name; there may be many more of them."""
        self.links = 0
        """Links now."""
        self.accepted = 0
        """Links that were served."""
        self.refused: Counter[str] = Counter()
        """Links that were not, by reason."""
        self.sessions = 0
        """Handshakes that ended in WELCOME."""
        self.rounds: Counter[str] = Counter()
        """Rounds by evidence."""
        self.drafted: Counter[str] = Counter()
        """Nodes of their drafts."""
        self.accepted_nodes: Counter[str] = Counter()
        """Nodes of these that the target kept."""
        self.tokens: Counter[str] = Counter()
        """Tokens that texts grew by, by the device's name: "" where nothing proved one."""
        self.frames_in: Counter[str] = Counter()
        """Frames of devices by kind."""
        self.bytes_in: Counter[str] = Counter()
        self.frames_out: Counter[str] = Counter()
        self.bytes_out: Counter[str] = Counter()
        self.errors: Counter[tuple[str, str]] = Counter()
        """ERROR frames by who sent them, "edge" or "device", and the code's name."""
        self.paced: Counter[str] = Counter()
        """Requests that had to wait for a budget, by its name."""
        self.steps = Histogram(SECONDS)
        """Seconds from a frame's arrival to the last frame that it was answered with."""
        self.passes = Histogram(SECONDS)
        """Seconds of passes of the model."""
        self.waits = Histogram(SECONDS)
        """Seconds that requests waited for their first pass."""
        self.texts = Histogram(TEXTS)
        """Texts in a pass."""
        self.rows = Histogram(ROWS)
        """Tokens and nodes in a pass."""
        self._names: set[str] = set()
        self._most_names = most_names

    def came(self) -> None:
        """A link is served."""
        self.links += 1
        self.accepted += 1

    def left(self) -> None:
        """A link that was served is over."""
        self.links -= 1

    def heard(self, frame: bytes) -> None:
        """A frame came from a device; it may be anything."""
        kind = _KINDS.get(frame[0] & KIND_MASK, "unknown") if frame else "unknown"
        self.frames_in[kind] += 1
        self.bytes_in[kind] += len(frame)
        if kind == "error":
            self.errors["device", _code_of(frame)] += 1

    def said(self, frames: Iterable[bytes]) -> None:
        """These frames went to a device."""
        for frame in frames:
            kind = _KINDS[frame[0] & KIND_MASK]
            self.frames_out[kind] += 1
            self.bytes_out[kind] += len(frame)
            if kind == "welcome":
                self.sessions += 1
            elif kind == "error":
                self.errors["edge", _code_of(frame)] += 1

    def round(self, round_: EdgeRound, identity: str) -> None:
        """A round of the device with this authenticated name is over; "" where nothing proved one."""
        evidence = round_.evidence
        self.rounds[evidence] += 1
        self.drafted[evidence] += round_.nodes
        self.accepted_nodes[evidence] += round_.accepted
        self.tokens[self._name(identity)] += round_.tokens

    def waited(self, budget: str) -> None:
        """A request waits until there is budget of this name again."""
        self.paced[budget] += 1

    def passed(self, pass_: Pass) -> None:
        """A pass of the model is over."""
        self.passes.add(pass_.seconds)
        self.texts.add(pass_.texts)
        self.rows.add(pass_.rows)
        for wait in pass_.waits:
            self.waits.add(wait)

    def _name(self, identity: str) -> str:
        names = self._names
        if not identity or identity in names:
            return identity
        if len(names) >= self._most_names:
            return OTHERS
        names.add(identity)
        return identity


def _code_of(frame: bytes) -> str:
    """The name of the code of an ERROR, of those that are known: a peer cannot make up names."""
    try:
        message = tw.decode(frame, HANDSHAKE_PROFILE)
    except tw.DecodeError:
        return "unknown"
    known = isinstance(message, tw.ErrorMessage) and message.code in set(tw.ErrorCode)
    return message.name if known and isinstance(message, tw.ErrorMessage) else "unknown"
