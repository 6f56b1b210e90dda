"""Edges and their devices as a discrete-event simulation: passes with batching, links, drafts, texts and pauses.

A pass takes what was measured for its rows; who shares one, and who waits for the next, follows from when frames
arrive.  The rules are those of ``tslt_runtime.scheduler``: all that waits goes into the next pass, as far as its rows
allow, prompts in chunks, and a pass waits for devices that are about to ask where that is worth it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy

from tslt_runtime.limits import DEFAULT_LIMITS
from tslt_runtime.pass_waits import Habit as PassHabit
from tslt_runtime.pass_waits import worth_waiting
from tslt_runtime.scheduler import LEAST_CHUNK, WITH_PROMPTS
from tslt_wire.throughput import Link

NEAR = Link(uplink_bit_s=float("inf"), downlink_bit_s=float("inf"), rtt_s=0.0)
"""No link at all."""
Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What passes take, seconds."""

    pass_s: float
    """A pass of the target, whatever is in it."""
    row_s: float
    """And for each row: a token or a drafted node of any text."""
    jitter: float = 0.0
    """Standard deviation of ln(time) of a pass."""
    more_s: float = 0.0
    """What a round takes besides its pass, of one core for all devices of the edge: frames, comparing drafts."""
    own_draft_s: float = 0.0
    """A level of the draft model where the edge runs it too, for all its users together."""
    own_draft_row_s: float = 0.0
    """And for each user of it."""

    def seconds(self, rows: int, rng: np.random.Generator) -> float:
        """Of one pass."""
        return (self.pass_s + self.row_s * rows) * float(np.exp(rng.normal(0, self.jitter)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """What one kind of device does."""

    name: str
    link: Link
    draft_s: float
    """Of a draft, all its levels."""
    chain: int
    """Drafted tokens of a round; 0: none."""
    alpha: float
    """How likely each is accepted after those before it."""
    up: float
    """Bytes of a draft."""
    down: float
    """And of its answer."""
    rejected_up: float = 0.0
    """What goes up once more where a token is rejected, and takes another exchange if there is any."""
    rejected_down: float = 0.0
    share: float = 1.0
    """Of all devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What users do with their devices."""

    prompt: int = 40
    """Tokens of a prompt."""
    tokens: int = 200
    """Tokens of a text."""
    pause_s: float = 0.0
    """Between two texts, exponential; 0: none, the next text begins at once."""


@dataclass(slots=True)
class Found:
    """What was seen after the warm-up."""

    rounds_s: list[float] = field(default_factory=list)
    """From a frame's arrival at the edge to its answer."""
    texts_tokens_s: list[float] = field(default_factory=list)
    """Tokens a second of each text, as its user sees them."""
    tokens: int = 0
    rounds: int = 0
    up: float = 0.0
    """Bytes."""
    down: float = 0.0
    passes: int = 0
    rows: int = 0
    busy_s: float = 0.0
    """Of all edges."""
    seconds: float = 0.0

    def quantile(self, q: float) -> float:
        """Of the rounds; infinity where there is none."""
        return float(np.quantile(self.rounds_s, q)) if self.rounds_s else float("inf")

    def slowest(self, part: float) -> float:
        """Tokens a second that all but ``part`` of the texts get, at least."""
        return float(np.quantile(self.texts_tokens_s, part)) if self.texts_tokens_s else 0.0


@dataclass(slots=True)
class _Job:
    rows: int
    """Rows of its tree, or those of a prompt that are left to read."""
    prompt: bool
    done: simpy.Event
    user: _User


@dataclass(slots=True, eq=False)
class _User:
    habit: PassHabit = field(default_factory=PassHabit)


class Edge:
    """One target and its queue."""

    def __init__(self, env: simpy.Environment, service: Service, rng: np.random.Generator, found: Found) -> None:
        """``found``: where passes are counted."""
        self._env, self._service, self._rng, self._found = env, service, rng, found
        self._queue: list[_Job] = []
        self._users: set[_User] = set()
        self._came = env.event()
        self._core = simpy.Resource(env)
        self.counts_from = 0.0
        env.process(self._serve())

    def ask(self, user: _User, rows: int, *, prompt: bool = False) -> simpy.Event:
        """What happens once the rows are there."""
        user.habit.asks(self._env.now)
        self._users.add(user)
        job = _Job(rows, prompt, self._env.event(), user)
        self._queue.append(job)
        if not self._came.triggered:
            self._came.succeed()
        return job.done

    def compute(self, seconds: float) -> Process:
        """Let the core that frames and drafts are handled on do something, in turn."""
        if seconds:
            with self._core.request() as turn:
                yield turn
                yield self._env.timeout(seconds)

    def leave(self, user: _User) -> None:
        """A text is over."""
        self._users.discard(user)

    def _serve(self) -> Process:
        while True:
            if not self._queue:
                self._came = self._env.event()
                yield self._came
            yield from self._wait_for_others()
            parts = self._plan()
            rows = sum(rows for _, rows in parts)
            took = self._service.seconds(rows, self._rng)
            yield self._env.timeout(took)
            if self._env.now >= self.counts_from:
                self._found.passes += 1
                self._found.rows += rows
                self._found.busy_s += took
            for job, given in parts:
                job.rows -= given
                if job.rows <= 0:
                    self._queue.remove(job)
                    job.user.habit.answered = self._env.now
                    job.done.succeed()

    def _wait_for_others(self) -> Process:
        until = self._env.now + DEFAULT_LIMITS.wait * self._service.pass_s
        while (now := self._env.now) < until:
            rows = sum(job.rows for job in self._queue if not job.prompt)
            if rows >= DEFAULT_LIMITS.rows:
                break
            pass_s = self._service.pass_s + self._service.row_s * rows
            seconds = worth_waiting([user.habit for user in self._users], now, pass_s=pass_s, left_s=until - now)
            if seconds is None:
                break
            self._came = self._env.event()
            yield self._came | self._env.timeout(seconds)

    def _plan(self) -> list[tuple[_Job, int]]:
        """Who is in the next pass, with how many rows."""
        most, rows = DEFAULT_LIMITS.rows, 0
        parts: list[tuple[_Job, int]] = []
        for job in self._queue:
            if not job.prompt and (rows + job.rows <= most or not parts):
                parts.append((job, job.rows))
                rows += job.rows
        chunk = min(most - rows, DEFAULT_LIMITS.chunk)
        if rows:
            within = (WITH_PROMPTS - 1) * (self._service.pass_s / max(self._service.row_s, 1e-12) + rows)
            chunk = min(chunk, max(LEAST_CHUNK, int(within)))
        for job in self._queue:
            if job.prompt and chunk > 0:
                given = min(job.rows, chunk)
                parts.append((job, given))
                chunk -= given
        return parts


def device(
    env: simpy.Environment,
    habit: Habit,
    use: Use,
    service: Service,
    edge_of: Callable[[], Edge],
    rng: np.random.Generator,
    found: Found,
    counts_from: float,
) -> Process:
    """One device: text after text, each at the edge that ``edge_of`` says."""
    link = habit.link
    yield env.timeout(rng.exponential(use.pause_s) if use.pause_s else rng.uniform(0, 0.5))
    while True:
        user, edge, began, made = _User(), edge_of(), env.now, 0
        yield env.timeout(link.seconds(3.0 * use.prompt, 0, 0.5))
        yield edge.ask(user, use.prompt, prompt=True)
        yield env.timeout(link.seconds(0, habit.down, 0.5))
        while made < use.tokens:
            yield env.timeout(habit.draft_s + link.seconds(habit.up, 0, 0.5))
            asked = env.now
            yield from edge.compute(service.more_s)
            yield edge.ask(user, 1 + habit.chain)
            up, down = habit.up, habit.down
            counted = env.now >= counts_from
            if counted:
                found.rounds_s.append(env.now - asked)
            accepted = 0
            while accepted < habit.chain and rng.random() < habit.alpha:
                accepted += 1
            yield env.timeout(link.seconds(0, habit.down, 0.5))
            if accepted < habit.chain and (habit.rejected_up or habit.rejected_down):
                up, down = up + habit.rejected_up, down + habit.rejected_down
                trips = 1.0 if habit.rejected_up else 0.0
                yield env.timeout(link.seconds(habit.rejected_up, habit.rejected_down, trips))
            made += accepted + 1
            if counted:
                found.rounds += 1
                found.tokens += accepted + 1
                found.up += up
                found.down += down
        edge.leave(user)
        if env.now >= counts_from:
            found.texts_tokens_s.append(made / (env.now - began))
        if use.pause_s:
            yield env.timeout(rng.exponential(use.pause_s))


def simulate(
    service: Service,
    habits: list[Habit],
    use: Use,
    *,
    devices: int,
    edges: int = 1,
    seconds: float = 60.0,
    warm_s: float = 10.0,
    seed: int = 0,
) -> Found:
    """``devices`` at ``edges`` for so many seconds after the warm-up; a text is at an edge by the hash of its name."""
    env, found = simpy.Environment(), Found(seconds=seconds)
    streams = np.random.SeedSequence(seed).spawn(devices + edges + 1)
    chosen = np.random.default_rng(streams[0])
    places = [Edge(env, service, np.random.default_rng(stream), found) for stream in streams[1 : edges + 1]]
    for place in places:
        place.counts_from = warm_s
    # As many of each kind as its share says, whatever the seed.
    ends = np.cumsum([habit.share for habit in habits])
    for number, stream in enumerate(streams[edges + 1 :]):
        habit = habits[int(np.searchsorted(ends, (number + 0.5) / devices * ends[-1]))]
        rng = np.random.default_rng(stream)
        env.process(device(env, habit, use, service, lambda: places[chosen.integers(edges)], rng, found, warm_s))
    env.run(warm_s + seconds)
    return found
