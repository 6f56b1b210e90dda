"""What a session learns about its link and its models from the times of its own rounds.

The times of ``model``, each of which is a linear function with coefficients >= 0: the link's of round trips and bytes,
the draft's of levels and parents, the target's of one pass and nodes.  ``LinearTime`` learns such coefficients: a
Kalman filter whose coefficients drift, with noise in proportion to the time, clipped outliers, and a second opinion on
jumps.  An edge that does not tell its time has it learnt as a part of the link's: one filter for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tslt_wire.checks import flag, integer, number
from tslt_wire.messages.flight import MOST_WINDOW
from tslt_wire.throughput.catalogue import Mode
from tslt_wire.throughput.model import Compute, Floats, Link

_CLIP = 2.5
"""Surprises beyond this many standard deviations count as if they were this large."""
_JUMP = 5.0
"""From here on a surprise is a jump: an outlier if it comes alone, else something changed."""
_DEAR = 8.0
"""A round that takes this many times as long as expected is believed at once: another one would be dear."""
_PATIENCE = 8
"""Rounds after a jump that cannot tell old from new before the old values get another chance; twice as many each time
that they fail."""
_FIRST_NOISE = 0.15
"""Noise of a time, as part of it, before any is seen: a guess, which the next thirty rounds replace."""
_LEAST_NOISE = 0.003
"""Noise below which no time is believed to be, as part of it: after a few equal times the next would be a jump."""
_NOISE_KEEP = 0.97
"""What the estimate of the noise keeps of itself with a round: it goes by the last thirty or so."""
_ALIKE = 3.0
"""Standard deviations of noise within which one round cannot tell two values apart."""
_DEVIATION_PER_ERROR = 1.25
"""Standard deviation of a normal variate over its mean absolute value, sqrt(pi / 2)."""
_DRIFT, _LINK_DRIFT = 0.005, 0.01
"""Part of a coefficient that may change with a round: rates of links change faster than models and latencies."""
_TRIP_S, _LEVEL_S, _PASS_S, _NODE_S, _MORE_S = 0.1, 0.02, 0.1, 0.01, 0.002
"""Seconds that a first guess may be wrong by at least: of a round trip, of a level of a draft, of a pass of the target
and of a node in it, and of what a draft or a parent takes more.  As much as a slow one takes: no guess is so sure of
itself that the first rounds cannot correct it."""
_GUESS = 2.0
"""The same for the models as part of the guess: it may be three times too small."""
_SLOW_UP, _SLOW_DOWN = 8 / 10e3, 8 / 80e3
"""Seconds a byte that must be reckoned with: 10 kbit/s up, 80 kbit/s down."""
_TOLD = 0.05
"""Standard deviation of a coefficient that the other end tells, as part of it."""
_KIND_S = 0.0015
"""Deviation of the guess of what a kind of evidence takes besides the models, more than the guess itself."""
_FLOOR_S = 2e-4
"""Seconds below which clocks and schedulers make the noise."""
MOST_S, MOST_BYTES = 1e9, 1e15
"""More than any round takes: 30 years, a petabyte.  The squares of such numbers are still far from what floats hold."""


Features = tuple[Floats, Floats, Floats]
"""What the times of the link, of the draft and of the target are linear in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One finished round, timed by the caller.

    ValueError for numbers that no round can have (negative, NaN, above ``MOST_S`` or ``MOST_BYTES``), TypeError for
    what is no number.
    """

    mode: Mode
    """``plan.mode``."""
    expansion: tuple[int, ...]
    """What was really drafted."""
    accepted: int
    """Levels that were accepted."""
    tried: int
    """Levels that were tested: the accepted ones and, if there was one, the rejected one."""
    uplink_bytes: float
    """All of the round's bytes, transport included."""
    downlink_bytes: float
    draft_s: float
    """Seconds spent drafting and encoding."""
    link_s: float
    """Seconds from the first frame to the last, without ``verify_s``."""
    verify_s: float | None = None
    """Seconds the edge says it took; None if it does not: ``link_s`` then contains it, and the planner
    learns both from that."""
    trips: int = 1
    """Round trips it took."""
    follows: bool = False
    """Whether the draft was in flight with one before it: then ``draft_s`` and ``link_s`` are those of several, and
    nothing is learnt from them."""
    ahead: int = 0
    """Levels that were drafted while the verdict before it was awaited; ``draft_s`` is without them."""
    guessed: bool = False
    """Whether that was to be: then ``ahead`` says how often guesses are right."""
    window: int = 1
    """Drafts that might be in flight meanwhile."""
    others: int = 0
    """For how many others the edge worked meanwhile, as far as it says."""
    row_s: float = 0.0
    """Seconds that a row, a token or a node, adds to a pass of the target, as the edge says; 0 if it does not."""

    def __post_init__(self) -> None:
        if not isinstance(self.mode, Mode):
            raise TypeError(f"mode must be a Mode, got {self.mode!r}")
        put = object.__setattr__
        put(self, "expansion", tuple(integer("each of expansion", width, 1, None) for width in self.expansion))
        for name, low in (("accepted", 0), ("tried", 0), ("trips", 1)):
            put(self, name, integer(name, getattr(self, name), low, None))
        for name in ("uplink_bytes", "downlink_bytes", "draft_s", "link_s", "verify_s", "row_s"):
            if name != "verify_s" or self.verify_s is not None:
                most = MOST_BYTES if name.endswith("bytes") else MOST_S
                put(self, name, number(name, getattr(self, name), 0, most))
        for name in ("follows", "guessed"):
            put(self, name, flag(name, getattr(self, name)))
        put(self, "ahead", integer("ahead", self.ahead, 0, len(self.expansion)))
        put(self, "others", integer("others", self.others, 0, None))
        put(self, "window", integer("window", self.window, 1, MOST_WINDOW))
        if not 0 <= self.accepted <= self.tried <= len(self.expansion) or self.tried > self.accepted + 1:
            raise ValueError(f"{self.accepted} accepted of {self.tried} tested in {len(self.expansion)} levels")

    @property
    def seconds(self) -> float:
        """The whole round; of one that follows another what the edge took, as the rest was the same time."""
        own = 0.0 if self.follows else self.draft_s + self.link_s
        return own + (self.verify_s or 0.0)


class LinearTime:
    """Coefficients >= 0 of a time that is linear in what is known of a round.  Not for two threads at once."""

    def __init__(self, guess: Sequence[float], spread: Sequence[float], drift: Sequence[float]) -> None:
        """All (n,).  ``guess``: seconds per unit.  ``spread``: deviations of the guess; as much may be new after a
        jump.  ``drift``: by what part a coefficient may change from one round to the next.
        """
        self._mean: Floats = np.array(guess, np.float64)
        self._spread: Floats = np.array(spread, np.float64)
        self._cov: Floats = np.diag(self._spread**2)
        self._drift: Floats = np.array(drift, np.float64)
        self._noise = _FIRST_NOISE
        self._jumped = False
        self._before: tuple[Floats, Floats] | None = None
        self._wait = self._patience = _PATIENCE

    @property
    def mean(self) -> Floats:
        """Coefficients as they seem now, (n,)."""
        return self._mean.copy()

    @property
    def spread(self) -> Floats:
        """Their standard deviations, (n,)."""
        deviations: Floats = np.sqrt(self._cov.diagonal())
        return deviations

    def predict(self, x: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Seconds and their standard deviation (of the mean, noise not included) for (..., n); both (...)."""
        rows = np.asarray(x, np.float64)
        variance = ((rows @ self._cov) * rows).sum(axis=-1)
        return rows @ self._mean, np.sqrt(np.maximum(variance, 0.0))

    def tells(self, x: Floats, about: Floats) -> tuple[Floats, float]:
        """Variance of the time of ``about`` (n,) that one round of each of ``x`` (N, n) takes away, and all of it."""
        part = x @ self._cov
        noise = self._noise * np.maximum(x @ self._mean, _FLOOR_S)
        known = (part * x).sum(axis=1) + noise**2
        return (part @ about) ** 2 / np.maximum(known, 1e-300), float(about @ self._cov @ about)

    def learn(self, x: npt.ArrayLike, seconds: float) -> None:
        """One observation: ``x`` (n,) took ``seconds``."""
        row = np.asarray(x, np.float64)
        self._drift_on()
        self._second_opinion(row, seconds)
        expected = float(row @ self._mean)
        error, size = seconds - expected, max(expected, _FLOOR_S)
        noise = self._noise * size
        deviation = float(np.sqrt(float(row @ self._cov @ row) + noise**2))
        if abs(error) > _JUMP * deviation:
            if self._jumped or seconds > _DEAR * size:
                self._believe(row, error, seconds)
            self._jumped = not self._jumped
            return
        self._jumped = False
        error = min(_CLIP * deviation, max(-_CLIP * deviation, error))
        self._update(row, error, noise)
        seen = _DEVIATION_PER_ERROR * abs(error) * (noise / deviation) / size
        self._noise = max(_LEAST_NOISE, _NOISE_KEEP * self._noise + (1 - _NOISE_KEEP) * seen)

    def told(self, place: int, seconds: float) -> None:
        """Somebody who knows says what coefficient ``place`` is."""
        row = np.zeros_like(self._mean)
        row[place] = 1.0
        self._update(row, seconds - float(self._mean[place]), _TOLD * seconds)

    def wait(self) -> None:
        """A round without an observation: what was known is less certain now."""
        self._drift_on()

    def _drift_on(self) -> None:
        self._cov = self._cov + np.diag((self._drift * self._mean) ** 2)
        least = np.minimum(1.0, self._spread / np.sqrt(self._cov.diagonal()))
        self._cov = self._cov * np.outer(least, least)

    def _believe(self, row: Floats, error: float, seconds: float) -> None:
        """Things are not as they were: start again from this round, but remember how it was."""
        if self._before is None:
            self._before = (self._mean, self._cov)
            self._wait = self._patience
        self._cov = np.diag(self._spread**2)
        self._update(row, error, self._noise * max(seconds, _FLOOR_S))

    def _second_opinion(self, row: Floats, seconds: float) -> None:
        """After a jump: go back to what was before if this round agrees with that, or if none could tell for long."""
        if self._before is None:
            return
        old, now = float(row @ self._before[0]), float(row @ self._mean)
        noise = self._noise * max(old, _FLOOR_S)
        if abs(old - now) < _ALIKE * noise:  # such a round takes as long either way
            self._wait -= 1
            if self._wait > 0:
                return
            self._patience *= 2  # if it jumps again, the next trial of the old values is later
            self._mean, self._cov = self._before
        elif abs(seconds - old) < min(abs(seconds - now), _ALIKE * noise):
            self._patience = _PATIENCE
            self._mean, self._cov = self._before
        self._before = None

    def _update(self, row: Floats, error: float, noise: float) -> None:
        part = self._cov @ row
        gain = part / (float(row @ part) + noise**2)
        self._mean = self._mean + gain * error
        self._cov = self._cov - np.outer(gain, part)
        for _ in range(len(row)):
            i = int(self._mean.argmin())
            if self._mean[i] >= 0:
                break
            # The most probable values with this coefficient at 0: the others take over what it had explained.
            self._mean = self._mean - self._cov[:, i] * (self._mean[i] / max(self._cov[i, i], 1e-300))
            self._mean[i] = 0.0
        self._mean = np.maximum(self._mean, 0.0)


class Times:
    """Estimates of a session's link and models, from its rounds.

    Kinds of evidence differ in what they take besides the models: races over the vocabulary, lists to write and to
    read.  So each has a time of its own for each parent at the device and for each token of the text at the edge.

    A pass of the target takes a time for itself and one for each node.  Rounds with one number of nodes do not tell the
    two apart: then both stay as near to their guesses as the sum allows, and other numbers of nodes stay uncertain
    (``predict``) until one is tried.

    Of a session's first round only the link's time is learnt, and not even that if the edge's is in it.
    """

    def __init__(self, link: Link, compute: Compute, kinds: Mapping[str, tuple[float, float]]) -> None:
        """What to assume before the first round: rough guesses will do.

        ``kinds``: by kind of evidence, seconds a parent at the device and a token at the edge besides the models.
        """
        self._kinds = tuple(kinds)
        device, edge = ([guess[i] for guess in kinds.values()] for i in (0, 1))
        device_spread, edge_spread = ([_KIND_S + guess for guess in guesses] for guesses in (device, edge))
        steady = [_DRIFT] * len(kinds)
        each, node = compute.verify_s, compute.verify_node_s
        target = (each, node, *edge)
        target_spread = (max(_PASS_S, _GUESS * each), max(_NODE_S, _GUESS * node), *edge_spread)
        self.verify = LinearTime(target, target_spread, (_DRIFT, _DRIFT, *steady))
        """Seconds a pass, a node, and more a token of the text with each kind of evidence."""
        up, down = 8 / link.uplink_bit_s, 8 / link.downlink_bit_s
        self.link = LinearTime(
            (link.rtt_s, up, down, *target),
            (max(_TRIP_S, link.rtt_s), max(_SLOW_UP, up), max(_SLOW_DOWN, down), *target_spread),
            (_DRIFT, _LINK_DRIFT, _LINK_DRIFT, _DRIFT, _DRIFT, *steady),
        )
        """Seconds a round trip, an uplink byte and a downlink byte; then those of ``verify``, which count here if the
        edge does not say how long it takes."""
        first, each, more = compute.draft_start_s, compute.draft_s, compute.draft_parent_s
        self.draft = LinearTime(
            (first, each, more, *device),
            (
                max(_MORE_S, first),
                max(_LEVEL_S, _GUESS * each),
                max(_MORE_S, _GUESS * more),
                *device_spread,
            ),
            (_DRIFT, _DRIFT, _DRIFT, *steady),
        )
        """Seconds a draft, a level, a parent, and more a parent with each kind of evidence."""
        self.drafted = False
        """Whether a draft has been timed yet."""
        self._cold = True
        self.verify_known = True
        """Whether the edge says how long it takes, as far as is known."""

    def features(self, wire: Floats, counts: Sequence[Floats], tokens: Floats, of_kind: Floats) -> Features:
        """What the times of the link, of the draft and of the target are linear in, for N rounds.

        ``wire``: round trips, uplink and downlink bytes, (N, 3).  ``counts``: levels, parents and nodes, each (N,).
        ``tokens``: of the text, (N,).  ``of_kind``: 1 at the round's kind of evidence, else 0, (N, kinds).
        """
        levels, parents, nodes = counts
        draft = np.column_stack([levels > 0, levels, parents, parents[:, None] * of_kind])
        target = np.column_stack([np.ones_like(nodes), nodes, tokens[:, None] * of_kind])
        told, hidden = (target, 0.0 * target) if self.verify_known else (0.0 * target, target)
        return np.column_stack([wire, hidden]), draft, told

    def learn(self, seen: Observation, counts: Sequence[Floats]) -> None:
        """One round, with the levels, parents and nodes of its tree, each (1,)."""
        self.verify_known = seen.verify_s is not None
        wire = np.array([[seen.trips, seen.uplink_bytes, seen.downlink_bytes]], np.float64)
        of_kind = np.array([[kind == seen.mode.evidence for kind in self._kinds]], np.float64)
        rows = self.features(wire, counts, np.array([seen.accepted + 1.0]), of_kind)
        link, draft, verify = (row[0] for row in rows)
        if seen.ahead:
            draft[1:] *= 1 - seen.ahead / len(seen.expansion)
        # The first pass of a model may take ten times as long as the next: caches are cold, kernels are loaded.
        cold, self._cold = self._cold, False
        if (self.verify_known or not cold) and not seen.follows:
            self.link.learn(link, seen.link_s)
        if cold:
            return
        if seen.expansion and not seen.follows:
            self.draft.learn(draft, seen.draft_s)
            self.drafted = True
        else:
            self.draft.wait()
        if seen.verify_s is not None:
            if seen.row_s:
                # Where others share passes a device's own rounds do not tell: all send shorter drafts at a time.
                self.verify.told(1, seen.row_s)
            self.verify.learn(verify, seen.verify_s)

    def learn_exchange(self, uplink_bytes: float, downlink_bytes: float, seconds: float) -> None:
        """Frames without a draft: one round trip."""
        self.link.learn((1.0, uplink_bytes, downlink_bytes, *[0.0] * (2 + len(self._kinds))), seconds)

    def parts(self, rows: Sequence[Floats]) -> dict[str, float]:
        """Seconds of the first round of ``rows`` by what takes them: draft, uplink, downlink, round trip, verify."""
        link, draft, verify = (row[0] for row in rows)
        trip, up, down, *hidden = (link * self.link.mean).tolist()
        return {
            "draft": float(draft @ self.draft.mean),
            "uplink": up,
            "downlink": down,
            "round trip": trip,
            "verify": float(verify @ self.verify.mean) + sum(hidden),
        }

    @property
    def cost(self) -> Floats:
        """Seconds a unit of each column of ``features``, those of link, draft and target one after the other."""
        return np.concatenate([self.link.mean, self.draft.mean, self.verify.mean])

    def predict(self, rows: Features) -> tuple[list[Floats], list[Floats]]:
        """Seconds of link, draft and target and their deviations, each (N,); ``rows``: see ``features``."""
        pairs = [part.predict(x) for part, x in zip((self.link, self.draft, self.verify), rows, strict=True)]
        return [mean for mean, _ in pairs], [deviation for _, deviation in pairs]

    def tell(self, rows: Features, about: Features) -> Floats:
        """Part of the variance of the time of ``about``, (n,) each, that each of N rounds takes away, (N,)."""
        parts = (self.link, self.draft, self.verify)
        told = [part.tells(x, each) for part, x, each in zip(parts, rows, about, strict=True)]
        taken: Floats = sum((taken for taken, _ in told), np.zeros(len(rows[0])))
        return taken / max(sum(whole for _, whole in told), 1e-300)

    def as_link(self) -> Link:
        """The link as it seems now; the rate that a coefficient of 0 stands for is ``inf``."""
        rtt, up, down, *_ = self.link.mean.tolist()
        rates = [8 / each if each > 0 else np.inf for each in (up, down)]
        return Link(uplink_bit_s=rates[0], downlink_bit_s=rates[1], rtt_s=rtt)

    def as_compute(self) -> Compute:
        """The models as they seem now, with the kind of evidence that takes least."""
        start, draft, parent, *_ = self.draft.mean.tolist()
        verify, node = (self.verify.mean[:2] if self.verify_known else self.link.mean[3:5]).tolist()
        return Compute(draft_s=draft, verify_s=verify, draft_start_s=start, draft_parent_s=parent, verify_node_s=node)
