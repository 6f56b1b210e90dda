"""Picks each round's evidence, K, precision and draft length or tree, for the most tokens a second.

Paper eq. (1) to (10), extended (``model``): every candidate of the catalogue is put through the model of a round with
what the session has learnt so far.  Two rules lie on top: the choice is cautious (what is not known about a candidate's
time counts against it), and curiosity has a budget: a candidate that might be better is tried when the time it can
cost, taken pessimistically, fits into a small part of the session's time.  No random numbers: equal observations, equal
plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tslt_wire.checks import integer, number
from tslt_wire.throughput.acceptance import Acceptance
from tslt_wire.throughput.catalogue import Mode, default_shapes
from tslt_wire.throughput.estimates import MOST_BYTES, MOST_S, Features, Observation, Times
from tslt_wire.throughput.explain import explain
from tslt_wire.throughput.model import (
    Compute,
    Expectation,
    ExpectedRound,
    Floats,
    Ints,
    Link,
    expect,
    shape_counts,
    widths_of,
)
from tslt_wire.throughput.plan import ANYWHERE, Agreed, Context, Plan

_CAUTION = 1.0
"""Standard deviations of its time that a choice is charged with: one whose time is hardly known has to promise more."""
_OPTIMISM = 1.0
"""Standard deviations of time and acceptance that curiosity grants: what could be true of one candidate in six."""
_PESSIMISM = 2.0
"""Standard deviations of its time that a try is expected to take at worst: one in forty takes longer, so that the
budget is kept."""
_SHORTEST = 0.2
"""Part of its expected time that the most hopeful try takes at least: no deviation makes a round take nothing."""
_WORTHWHILE = 1.02
"""Times the best rate that a try must promise: less could not be told from noise before the text ends."""
_STEP = 0.2
"""Part of the variance of a dear try's time that a step towards it must take away, or the step teaches too little."""
_ALIKE = 1.25
"""Times what cheap tries promise that a dear one must promise: it may take a whole second of a session's budget."""
_ASIDE = 0.6
"""Part of the budget that cheap tries leave to dear ones, which would else never be paid for."""
_ADVANCE = 20.0
"""Rounds whose part of the budget may be spent before they are over: a session starts with tries, not with savings."""
_BYTES_KEEP = 0.95
"""What the ratio of bytes seen to bytes expected keeps of itself with a round: it goes by the last twenty."""
_MOST_BYTES = 10.0
"""Largest such ratio that is believed of one round: frames sent again are no sign of how long lists are."""
_LEAST_S = 1e-6
"""Seconds below which no round is expected to take."""
_START_LINK = Link(uplink_bit_s=1e6, downlink_bit_s=4e6, rtt_s=0.05)
_START_COMPUTE = Compute(draft_s=0.01, verify_s=0.03, draft_start_s=0.001, draft_parent_s=0.0003, verify_node_s=0.0003)
"""What is assumed before the first round; any guess is corrected by a few rounds."""


@dataclass(slots=True)
class _View:
    """All candidates, as they seem now; each (N,)."""

    load: Expectation
    seconds: Floats
    features: Features
    allowed: Ints
    """Indices of those that the context allows."""


class Planner:
    """Chooses rounds and learns from them.  Not for two threads at once."""

    def __init__(
        self,
        modes: Sequence[Mode],
        agreed: Agreed,
        *,
        shapes: Sequence[tuple[int, ...]] | None = None,
        link: Link = _START_LINK,
        compute: Compute = _START_COMPUTE,
        budget: float = 0.02,
    ) -> None:
        """``modes``: the catalogue, of which only what the session agreed on is used (``agreed``).

        ``shapes``: drafts to choose from, ``default_shapes()`` if None.  ``link``, ``compute``: first guesses.
        ``budget``: part of the session's time that curiosity may cost, 0 for none.
        Raises ValueError if nothing is left to choose from, TypeError for other types.
        """
        if not isinstance(agreed, Agreed):
            raise TypeError(f"agreed must be an Agreed, got {agreed!r}")
        modes = tuple(modes)
        for what, kind, given in (("modes", Mode, modes), ("link", Link, (link,)), ("compute", Compute, (compute,))):
            if not all(isinstance(value, kind) for value in given):
                raise TypeError(f"{what} must be of {kind.__name__}, got {given!r}")
        budget = number("budget", budget, 0, 1)
        if budget == 1:
            raise ValueError("budget must be below 1, the whole of the session's time")
        self._modes = [mode for mode in modes if agreed.allows(mode)]
        if len(set(self._modes)) < len(self._modes):
            raise ValueError("the catalogue names a mode twice")
        every = [
            tuple(integer("each of a shape", width, 1, None) for width in shape)
            for shape in (default_shapes() if shapes is None else shapes)
        ]
        widths, wide = widths_of(every), [max(shape, default=1) for shape in every]
        _, parents, nodes = shape_counts(widths)
        pairs = [
            (i, j)
            for i, mode in enumerate(self._modes)
            for j in range(len(every))
            if wide[j] <= max(1, len(mode.alphas)) and agreed.fits(mode, parents[j], nodes[j])
        ]
        if not pairs:
            raise ValueError(
                f"the catalogue has nothing for evidence {sorted(agreed.evidence)} and {len(every)} shapes"
            )
        self._shapes = every
        self._mode_of, self._shape_of = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
        self._tree_of = np.array([wide[j] > 1 for j in self._shape_of], np.int64)
        self._widths = widths[self._shape_of]
        self._counts = shape_counts(self._widths)
        self._wires = np.array([self._modes[i].wire.row for i in self._mode_of])
        kinds = {m.evidence: (m.parent_s, m.token_s) for m in reversed(self._modes)}
        self._times = Times(link, compute, kinds)
        of_kind = [[float(m.evidence == kind) for kind in kinds] for m in self._modes]
        self._of_kind: Floats = np.array(of_kind)[self._mode_of]
        self._acceptance = Acceptance(self._modes, max(wide))
        self._sizes = np.ones((len(self._modes), 2))
        """Uplink bytes seen over bytes expected, of chains and trees."""
        self._budget = budget
        self._elapsed = self._spent = 0.0
        self._pending: Plan | None = None
        self._best_rate = 0.0
        self._last = -1

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What the session can use."""
        return tuple(self._modes)

    @property
    def link(self) -> Link:
        """The link as it seems now; if the edge tells no times, its RTT may have a part of a pass in it, or lack it."""
        return self._times.as_link()

    @property
    def compute(self) -> Compute:
        """The models as they seem now."""
        return self._times.as_compute()

    @property
    def tells_time(self) -> bool:
        """Whether the edge says how long it takes."""
        return self._times.verify_known

    @property
    def curiosity(self) -> float:
        """Part of the session's time that tries have cost so far."""
        return self._spent / self._elapsed if self._elapsed else 0.0

    def alpha(self, mode: Mode, siblings: int = 1) -> float:
        """Acceptance of ``mode`` as it seems now; ValueError for a mode this session has not, or another number."""
        siblings = integer("siblings", siblings, 1, int(self._widths.max(initial=1)))
        return float(self._acceptance.alphas()[self._modes.index(mode), int(siblings > 1), siblings])

    def parts(self, plan: Plan) -> dict[str, float]:
        """Seconds of an expected round by what takes them: draft, uplink, downlink, round trip, verify."""
        expected = plan.expected
        rows = self._times.features(
            np.array([[expected.trips, expected.uplink_bytes, expected.downlink_bytes]]),
            shape_counts(widths_of([plan.expansion])),
            np.array([expected.tokens]),
            self._of_kind[self._mode_of == self._modes.index(plan.mode)][:1],
        )
        return self._times.parts(rows)

    def plan(self, context: Context = ANYWHERE) -> Plan:
        """Choose the next round."""
        view = self._view(context)
        at = self._choose(view)
        self._last = best = at
        self._best_rate = float(view.load.tokens[at] / view.seconds[at])
        room = self._budget * (self._elapsed + _ADVANCE * float(view.seconds[at])) - self._spent
        # The first round is slow whatever it is, and would count as the price of a try.
        if room > 0 and self._elapsed:
            at = self._curious(view, best, room)
        self._pending = self._make_plan(view, at, exploring=at != best)
        return self._pending

    def observe_exchange(self, uplink_bytes: float, downlink_bytes: float, seconds: float) -> None:
        """Learn from frames that carried no draft, HELLO and WELCOME say: one round trip, ``seconds`` on the way.

        ValueError for what is negative, NaN or more than an ``Observation`` takes, TypeError for what is no number.
        """
        up, down = (
            number(name, value, 0, MOST_BYTES)
            for name, value in (("uplink_bytes", uplink_bytes), ("downlink_bytes", downlink_bytes))
        )
        self._times.learn_exchange(up, down, number("seconds", seconds, 0, MOST_S))

    def observe(self, seen: Observation) -> None:
        """Learn from a round; ValueError if its mode is not one of this session's, TypeError for what is no round."""
        if not isinstance(seen, Observation):
            raise TypeError(f"an Observation is needed, got {seen!r}")
        if seen.mode not in self._modes:
            raise ValueError(f"{seen.mode.name} is not in this session's catalogue")
        mode = self._modes.index(seen.mode)
        widths = widths_of([seen.expansion])
        tree = int((widths > 1).any())
        counts = shape_counts(widths)
        if self._pending is not None and self._pending.exploring and self._pending.mode is seen.mode:
            worth = self._pending.expected.tokens / self._best_rate
            self._spent += max(0.0, seen.seconds - worth)
        self._pending = None
        self._elapsed += seen.seconds
        alphas = self._acceptance.alphas()[mode, tree, widths]
        normal = expect(np.array([seen.mode.wire.row]), widths, alphas, counts)
        if seen.expansion:
            ratio = seen.uplink_bytes / max(float(normal.uplink[0]), 1e-9)
            self._sizes[mode, tree] = _BYTES_KEEP * self._sizes[mode, tree] + (1 - _BYTES_KEEP) * min(
                ratio, _MOST_BYTES
            )
        self._acceptance.learn(mode, widths[0], seen.accepted, seen.tried)
        self._times.learn(seen, counts)

    def ranking(self, context: Context = ANYWHERE) -> list[Plan]:
        """The best draft of every mode, best first, as they seem now and without caution."""
        view = self._view(context)
        rates = view.load.tokens / view.seconds
        found = []
        for mode in range(len(self._modes)):
            here = view.allowed[self._mode_of[view.allowed] == mode]
            if len(here):
                found.append(self._make_plan(view, int(here[rates[here].argmax()]), exploring=False))
        return sorted(found, key=lambda plan: -plan.expected.tokens_per_s)

    def explain(self, context: Context = ANYWHERE) -> str:
        """Say in a few lines what the link is like, what is best on it and why, and what comes next."""
        return explain(self, self.ranking(context))

    def _make_plan(self, view: _View, at: int, *, exploring: bool) -> Plan:
        load = view.load
        return Plan(
            mode=self._modes[self._mode_of[at]],
            expansion=self._shapes[self._shape_of[at]],
            expected=ExpectedRound(
                tokens=float(load.tokens[at]),
                seconds=float(view.seconds[at]),
                trips=float(load.trips[at]),
                uplink_bytes=float(load.uplink[at]),
                downlink_bytes=float(load.downlink[at]),
            ),
            exploring=exploring,
        )

    def _expect(self, deviations: float = 0.0, beside: tuple[int, int] | None = None) -> Expectation:
        alphas = self._acceptance.alphas(deviations, beside)
        each = alphas[self._mode_of[:, None], self._tree_of[:, None], self._widths]
        load = expect(self._wires, self._widths, each, self._counts)
        uplink = load.uplink * self._sizes[self._mode_of, self._tree_of]
        return Expectation(load.tokens, load.trips, uplink, load.downlink)

    def _view(self, context: Context) -> _View:
        if not isinstance(context, Context):
            raise TypeError(f"context must be a Context, got {context!r}")
        levels = self._counts[0]
        allowed = np.arange(len(levels))
        if context.depth is not None:
            allowed = np.flatnonzero(levels <= context.depth)
        if not len(allowed):
            allowed = np.flatnonzero(levels == levels.min())
        load = self._expect()
        wire = np.stack([load.trips, load.uplink, load.downlink], axis=1)
        features = self._times.features(wire, self._counts, load.tokens, self._of_kind)
        seconds = sum(self._times.predict(features)[0], np.zeros(len(levels)))
        return _View(load, np.maximum(seconds, _LEAST_S), features, allowed)

    def _apart(self, view: _View, at: int) -> Floats:
        """Standard deviation of every candidate's time less that of candidate ``at``, (N,)."""
        link, draft, verify = view.features
        _, (link, draft, verify) = self._times.predict((link - link[at], draft - draft[at], verify - verify[at]))
        # Before the first draft nothing is known of the models, and one round tells: no reason to be afraid of it.
        models = draft**2 + verify**2 if self._times.drafted else 0.0
        return np.sqrt(link**2 + models)

    def _choose(self, view: _View) -> int:
        """The best of all if times are taken to be a bit longer, where they are less certain than the last choice's."""
        last = self._last if self._last in view.allowed else int(view.allowed[view.load.uplink[view.allowed].argmin()])
        scores = view.load.tokens / (view.seconds + _CAUTION * self._apart(view, last))
        return int(view.allowed[scores[view.allowed].argmax()])

    def _curious(self, view: _View, best: int, room: float) -> int:
        """What to try for ``room`` seconds at most, in the worst case; ``best`` if there is nothing.

        That is the candidate that could be better by most.  If it is too dear, a step towards it: the candidate that
        says most about what the link would make of it.
        """
        here, rate = view.allowed, self._best_rate
        apart = self._apart(view, best)
        # Without a draft nothing is accepted: then it is no comfort that all kinds are better or worse together.
        beside = (int(self._mode_of[best]), int(self._tree_of[best])) if self._widths[best].any() else None
        tokens = self._expect(_OPTIMISM, beside).tokens
        hoped = tokens / np.maximum(view.seconds - _OPTIMISM * apart, _SHORTEST * view.seconds)
        loss = view.seconds + _PESSIMISM * apart - view.load.tokens / rate
        tries = here[hoped[here] > _WORTHWHILE * rate]
        payable = here[loss[here] <= room]
        if not len(tries) or not len(payable):
            return best
        dream = int(tries[hoped[tries].argmax()])
        kept = room - _ASIDE * self._budget * self._elapsed
        cheap = tries[loss[tries] <= kept]
        cheap_one = int(cheap[hoped[cheap].argmax()]) if len(cheap) else best
        if hoped[dream] <= _ALIKE * max(hoped[cheap_one], rate):
            return cheap_one
        if loss[dream] <= room:
            return dream
        link, draft, verify = view.features
        told = self._times.tell(
            (link[payable], draft[payable], verify[payable]),
            (link[dream] - link[best], draft[dream] - draft[best], verify[dream] - verify[best]),
        )
        return int(payable[told.argmax()]) if told.max() > _STEP else cheap_one
