"""Picks each round's evidence, K, precision and draft length or tree, for the most tokens a second.

Paper eq. (1) to (10), extended (``model``): every candidate of the catalogue is put through the model of a round with
what the session has learnt so far.  Two rules lie on top: the choice is cautious (what is not known about a candidate's
time counts against it), and curiosity has a budget: a candidate that might be better is tried when the time it can
cost, taken pessimistically, fits into a small part of the session's time.  No random numbers: equal observations, equal
plans.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tslt_wire.checks import integer, number
from tslt_wire.throughput.acceptance import Acceptance
from tslt_wire.throughput.candidates import Candidates, View
from tslt_wire.throughput.catalogue import Mode, default_shapes
from tslt_wire.throughput.estimates import MOST_BYTES, MOST_S, Observation, Times
from tslt_wire.throughput.explain import explain
from tslt_wire.throughput.model import (
    Compute,
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
_HITS_KEEP = 0.95
"""What the ratio of drafting ahead that was of use to what was expected keeps of itself with a round."""
_WORTH_GUESSING = 0.01
"""Part of a round that drafting ahead must save, or it is left alone: it takes energy and heats the device."""
_OTHERS_LEARNED = 0.1
"""Weight of a round in what is known of how busy the edge is."""
_START_LINK = Link(uplink_bit_s=1e6, downlink_bit_s=4e6, rtt_s=0.05)
_START_COMPUTE = Compute(draft_s=0.01, verify_s=0.03, draft_start_s=0.001, draft_parent_s=0.0003, verify_node_s=0.0003)
"""What is assumed before the first round; any guess is corrected by a few rounds."""


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
        price: float = 0.0,
    ) -> None:
        """``modes``: the catalogue, of which only what the session agreed on is used (``agreed``).

        ``shapes``: drafts to choose from, ``default_shapes()`` if None.  ``link``, ``compute``: first guesses.
        ``budget``: part of the session's time that curiosity may cost, 0 for none.  ``price``: seconds of the session
        that a second of the edge's is worth, 0: none; what a draft adds to the edge's passes costs as much again for
        each of the others that the edge says it works for.

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
        shapes = default_shapes() if shapes is None else shapes
        self._all = Candidates(modes, agreed, shapes)
        self._times = Times(link, compute, self._all.kinds)
        self._acceptance = Acceptance(self._all.modes, self._all.widest)
        self._sizes = np.ones((len(self._all.modes), 2))
        """Uplink bytes seen over bytes expected, of chains and trees."""
        self._hits = 1.0
        self._others = 0.0
        self._row_s = 0.0
        self._price = number("price", price, 0, None)
        self._budget = budget
        self._elapsed = self._spent = 0.0
        self._pending: Plan | None = None
        self._best_rate = 0.0
        self._last = -1

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What the session can use."""
        return tuple(self._all.modes)

    @property
    def others(self) -> float:
        """For how many others the edge works, in the mean of late, as it says."""
        return self._others

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
        siblings = integer("siblings", siblings, 1, self._all.widest)
        return float(self._acceptance.alphas()[self._all.modes.index(mode), int(siblings > 1), siblings])

    def parts(self, plan: Plan) -> dict[str, float]:
        """Seconds of an expected round by what takes them: draft, uplink, downlink, round trip, verify."""
        view = self._view()
        at = self._all.place(plan.mode, plan.expansion, plan.window)
        return self._times.parts([rows[at : at + 1] for rows in view.features])

    def plan(self, context: Context = ANYWHERE) -> Plan:
        """Choose the next round."""
        view, allowed = self._view(), self._allowed(context)
        at = self._choose(view, allowed)
        self._last = best = at
        self._best_rate = float(self._rates(view)[at])
        room = self._budget * (self._elapsed + _ADVANCE * float(view.seconds[at])) - self._spent
        # The first round is slow whatever it is, and would count as the price of a try.
        if room > 0 and self._elapsed:
            at = self._curious(view, allowed, best, room)
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
        if seen.mode not in self._all.modes:
            raise ValueError(f"{seen.mode.name} is not in this session's catalogue")
        mode = self._all.modes.index(seen.mode)
        widths = widths_of([seen.expansion])
        tree = int((widths > 1).any())
        counts = shape_counts(widths)
        if self._pending is not None and self._pending.exploring and self._pending.mode is seen.mode:
            worth = self._pending.expected.tokens / self._best_rate
            self._spent += max(0.0, seen.seconds + self._price * (seen.verify_s or 0.0) - worth)
        self._pending = None
        self._elapsed += seen.seconds
        alphas = self._acceptance.alphas()[mode, tree, widths]
        normal = expect(np.array([seen.mode.wire.row]), widths, alphas, counts)
        if seen.guessed and not seen.follows:
            self._learn_hits(seen)
        if seen.expansion:
            ratio = seen.uplink_bytes / max(float(normal.uplink[0]), 1e-9)
            self._sizes[mode, tree] = _BYTES_KEEP * self._sizes[mode, tree] + (1 - _BYTES_KEEP) * min(
                ratio, _MOST_BYTES
            )
        self._acceptance.learn(mode, widths[0], seen.accepted, seen.tried)
        self._times.learn(seen, counts)
        self._others += _OTHERS_LEARNED * (seen.others - self._others)
        self._row_s = seen.row_s or self._row_s

    def ranking(self, context: Context = ANYWHERE) -> list[Plan]:
        """The best draft of every mode, best first, as they seem now and without caution."""
        view, allowed = self._view(), self._allowed(context)
        rates = self._rates(view)
        found = []
        for mode in range(len(self._all.modes)):
            here = allowed[self._all.mode_of[allowed] == mode]
            if len(here):
                at = int(here[rates[here].argmax()])
                found.append((rates[at], self._make_plan(view, at, exploring=False)))
        return [plan for _, plan in sorted(found, key=lambda pair: -pair[0])]

    def best_alone(self, context: Context = ANYWHERE) -> Plan:
        """The best draft of those that wait for each verdict, as they seem now and without caution."""
        view, allowed = self._view(), self._allowed(context)
        here = allowed[self._all.window[allowed] == 1]
        rates = self._rates(view)
        return self._make_plan(view, int(here[rates[here].argmax()]), exploring=False)

    def explain(self, context: Context = ANYWHERE) -> str:
        """Say in a few lines what the link is like, what is best on it and why, and what comes next."""
        return explain(self, self.ranking(context), self.best_alone(context))

    def _learn_hits(self, seen: Observation) -> None:
        """How often guesses are right, over what was expected."""
        try:
            at = self._all.place(seen.mode, seen.expansion, seen.window)
        except ValueError:
            return  # the end of a text: such drafts are not planned
        expected = float(self._view().ready[at]) / max(self._hits, 1e-9)
        if expected > 0:
            ratio = seen.ahead / len(seen.expansion) / expected
            self._hits = _HITS_KEEP * self._hits + (1 - _HITS_KEEP) * min(ratio, 1 / expected)

    def _make_plan(self, view: View, at: int, *, exploring: bool) -> Plan:
        every, window = self._all, int(self._all.window[at])
        return Plan(
            mode=every.modes[every.mode_of[at]],
            expansion=every.shapes[every.shape_of[at]],
            expected=ExpectedRound(
                tokens=float(view.tokens[at]),
                seconds=float(view.seconds[at]),
                trips=float(view.features[0][at, 0]),
                uplink_bytes=float(view.uplink[at]),
                downlink_bytes=float(view.load.downlink[at]),
                edge_s=float(view.edge_s[at]),
            ),
            exploring=exploring,
            window=window,
            ahead=every.ahead if view.saved[at] > _WORTH_GUESSING * view.seconds[at] else 0,
        )

    def _view(self) -> View:
        return self._all.view(self._acceptance, self._sizes, self._times, hits=self._hits)

    def _paid(self, view: View) -> Floats:
        """Seconds of every candidate, with those of the edge at their price, (N,).

        Each of the others that the edge works for waits for what a draft adds to a pass, too: its nodes, and the row of
        the token before them; and for the rows of drafts behind it that lose their ground, as they are in its pass.
        """
        rows = 1.0 + self._all.counts[2]
        grown = view.grown_s + self._row_s * (1.0 + view.lost * rows)
        return view.seconds + self._price * view.edge_s + self._others * grown

    def _rates(self, view: View) -> Floats:
        """Tokens a second of every candidate, the edge's time paid, (N,)."""
        return view.tokens / self._paid(view)

    def _allowed(self, context: Context) -> Ints:
        """Indices of the candidates that the context allows."""
        if not isinstance(context, Context):
            raise TypeError(f"context must be a Context, got {context!r}")
        levels = self._all.counts[0]
        allowed = np.arange(len(levels))
        if context.depth is not None:
            allowed = np.flatnonzero(levels <= context.depth)
        return allowed if len(allowed) else np.flatnonzero(levels == levels.min())

    def _apart(self, view: View, at: int) -> Floats:
        """Standard deviation of every candidate's time less that of candidate ``at``, (N,)."""
        link, draft, verify = view.features
        _, (link, draft, verify) = self._times.predict((link - link[at], draft - draft[at], verify - verify[at]))
        # Before the first draft nothing is known of the models, and one round tells: no reason to be afraid of it.
        models = draft**2 + verify**2 if self._times.drafted else 0.0
        return np.sqrt(link**2 + models)

    def _choose(self, view: View, allowed: Ints) -> int:
        """The best of all if times are taken to be a bit longer, where they are less certain than the last choice's."""
        last = self._last if self._last in allowed else int(allowed[view.uplink[allowed].argmin()])
        scores = view.tokens / (self._paid(view) + _CAUTION * self._apart(view, last))
        return int(allowed[scores[allowed].argmax()])

    def _curious(self, view: View, here: Ints, best: int, room: float) -> int:
        """What to try for ``room`` seconds at most, in the worst case; ``best`` if there is nothing.

        That is the candidate that could be better by most.  If it is too dear, a step towards it: the candidate that
        says most about what the link would make of it.
        """
        rate, paid = self._best_rate, self._paid(view)
        apart = self._apart(view, best)
        # Without a draft nothing is accepted: then it is no comfort that all kinds are better or worse together.
        beside = (int(self._all.mode_of[best]), int(self._all.tree[best])) if self._all.widths[best].any() else None
        alphas = self._acceptance.alphas(_OPTIMISM, beside)
        tokens = self._all.tokens(self._all.load(alphas, self._sizes), self._all.whole(alphas))
        hoped = tokens / np.maximum(paid - _OPTIMISM * apart, _SHORTEST * paid)
        loss = paid + _PESSIMISM * apart - view.tokens / rate
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
