"""The device's loop: draft, send, wait for the verdict, repeat.

Everything that can go wrong on the other side ends in an ``EdgeError`` whose message says what to do; the tokens that
were received before are good and stay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from tslt_transports.link import Link, LinkClosed

import tslt_wire as tw
from tslt_runtime.engines.transformers.draft import DraftSession, Pick
from tslt_runtime.round_end import CODED, Answered, evidence_of, settle
from tslt_runtime.untrusted import printable
from tslt_wire.lists.truncation import Truncation
from tslt_wire.session.negotiation import OUR_EVIDENCE, context_of


class EdgeError(Exception):
    """The edge refused, vanished or stayed silent; the message says which and what to try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftSettings:
    """How the device drafts; free to choose, the output does not depend on it (only the speed does)."""

    expansion: tuple[int, ...] = (1, 1, 1, 1)
    """Children a node at each level; ``(1,) * L`` is a chain of L tokens."""
    temperature: float = 1.0
    """Temperature of the draft model; 0 drafts the most probable token."""
    truncation: Truncation | None = field(default_factory=lambda: tw.TopK(32))
    precision: str = "log2/2"
    replacement: bool = True
    """Whether siblings are sampled with replacement; evidence ``list`` alone."""
    evidence: str = "list"
    """What travels with the tokens, and so how they are chosen and checked: one of the specification's names."""

    def __post_init__(self) -> None:
        if self.evidence not in OUR_EVIDENCE:
            raise ValueError(f"evidence must be one of {list(OUR_EVIDENCE)}, got {self.evidence!r}")
        if self.evidence in CODED and any(count != 1 for count in self.expansion):
            raise ValueError(f"evidence {self.evidence} is for chains, got the expansion {self.expansion}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One finished round."""

    accepted: tuple[int, ...]
    """Drafted tokens that the edge kept."""
    token: int
    """The target's own token after them."""
    end: bool
    drafted: int
    """Depth of the draft: the most tokens that could have been accepted."""
    tried: int
    """Positions at which the edge tested the draft: the accepted ones and, if there was one, the rejected one."""
    lists: int
    """Distributions in the draft."""
    nodes: int
    uplink_bytes: int
    """The device's frames, the draft and what may follow it, with what the transport adds to them."""
    downlink_bytes: int
    """The edge's frames, likewise."""
    draft_s: float
    """Seconds spent drafting and encoding."""
    link_s: float
    """Seconds on the way, both ways, queues included."""
    verify_s: float
    """Seconds the edge says it took."""
    trips: int = 1
    """Round trips: more than one if the edge was asked for more proposals, or asked for a list."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """What the text grew by."""
        return (*self.accepted, self.token)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A frame each way."""

    uplink_bytes: int
    downlink_bytes: int
    seconds: float
    """From the first byte out to the last one in, the edge's part included."""


class Device:
    """A device with one link to one edge."""

    def __init__(
        self,
        link: Link,
        text: DraftSession,
        hello: tw.Hello,
        *,
        rng: np.random.Generator,
        reply_timeout_s: float = 60.0,
        tables: Sequence[tw.Prior] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``tables``: the trained tables that ``hello.priors`` names.  ``clock``: seconds, for the rounds' times."""
        self._link = link
        self._clock = clock
        self._text = text
        self._rng = rng
        self._reply_timeout_s = reply_timeout_s
        self.session = tw.DeviceSession(hello, tables)
        self._tails = tw.TailScale()
        self.handshake = Exchange(0, 0, 0.0)
        """HELLO and WELCOME, once they are there: what the link is like before the first round."""

    async def open(self) -> tw.Welcome:
        """Shake hands; raises EdgeError if the edge does not fit."""
        started = self._clock()
        event = await self._exchange()
        self.handshake = Exchange(self._link.bytes_sent, self._link.bytes_received, self._clock() - started)
        if not isinstance(event, tw.Welcomed):
            raise EdgeError(f"the edge at {self._link.peer} answered HELLO with {type(event).__name__}")
        self._welcome = event.welcome
        return event.welcome

    @property
    def prior(self) -> tw.Prior | None:
        """The prior that both ends agreed on; None if lists have no tails, or before ``open``."""
        return self.session.profile.prior

    @property
    def tail_scale(self) -> float:
        """Part of the probability a list leaves out that its tail has, as the verdicts so far suggest."""
        # A greedy target has one token to offer, and hardly ever one that a prior would guess.
        return self._tails.scale if self.prior and self.session.hello.sampling.temperature > 0 else 0.0

    async def prompt(self, tokens: Sequence[int], *, keep: int = 0) -> None:
        """Set the text to be continued: ``prefix[:keep] + tokens``."""
        self.session.send_prompt(tokens, keep=keep)
        await self._flush()
        # Both models read the prompt at the same time: the edge got it first.
        await asyncio.to_thread(self._text.set_prefix, list(self.session.prefix))

    async def generate(self, max_tokens: int, settings: DraftSettings) -> AsyncIterator[Round]:
        """Yield rounds until ``max_tokens`` tokens, the end of the text, or the end of either context window.

        Raises EdgeError if the edge has not agreed to the evidence.
        """
        if settings.evidence not in self._welcome.evidence:
            raise EdgeError(f"the edge at {self._link.peer} takes {list(self._welcome.evidence)}, not this evidence")
        self._check_expansion(settings.expansion)
        left = max_tokens
        while round_ := await self.round(left, settings):
            left -= len(round_.tokens)
            yield round_

    async def round(self, max_tokens: int, settings: DraftSettings) -> Round | None:
        """One round of at most ``max_tokens`` tokens; None if there is nothing left to do.  ``settings`` must fit."""
        if max_tokens < 1 or self.room < 0 or self.session.state is not tw.State.IDLE:
            return None
        return await self._round(settings.expansion[: min(max_tokens - 1, self.room)], settings)

    async def close(self) -> None:
        """Say goodbye and close the link."""
        self.session.close()
        with suppress(EdgeError):  # if it went first, there is nobody left to say goodbye to
            await self._flush()
        await self._link.close()

    def _check_expansion(self, expansion: tuple[int, ...]) -> None:
        limit, width, nodes = self._welcome.limits.max_nodes, 1, 0
        for k in expansion:
            width *= k
            nodes += width
            if nodes > limit:
                raise ValueError(f"the edge takes trees of {limit} nodes, {expansion} has more")

    @property
    def room(self) -> int:
        """Tokens that both models' contexts still hold, the target's own token not counted; below 0: none at all."""
        return min(self._text.room, context_of(self._welcome) - len(self.session.prefix))

    async def _round(self, expansion: tuple[int, ...], settings: DraftSettings) -> Round:
        started = self._clock()
        has_lists = settings.evidence in ("list", "lazy")
        tree, lists = await asyncio.to_thread(
            self._text.draft,
            expansion,
            temperature=settings.temperature,
            truncation=settings.truncation,
            precision=tw.Precision.F32 if settings.evidence == "scalar" else settings.precision,  # it never travels
            rng=self._rng,
            replacement=settings.replacement,
            prior=self.prior if has_lists else None,
            tail_scale=self.tail_scale,
            pick=self._pick(settings),
        )
        sent, received = self._link.bytes_sent, self._link.bytes_received
        draft = self.session.send_draft(tree, evidence_of(settings.evidence, tree, lists, settings.replacement))
        drafted = self._clock()
        done = await settle(self.session, self._rng, self._answer)
        answered = self._clock()
        path = tree.path(done.node)
        self._text.commit(path, done.tokens[-1])
        if done.verdict is not None and has_lists:
            self._tails.learn(draft, done.verdict, lists)
        verify_s = min(done.verify_s, answered - drafted)
        return Round(
            accepted=done.tokens[:-1],
            token=done.tokens[-1],
            end=done.end,
            drafted=len(expansion),
            # A verdict that was cut at an end token accepted that token: it counts as the target's, not as a rejection.
            tried=len(path) + bool(tree.children(done.node) and not (done.verdict and done.end)),
            lists=len(draft.lists),
            nodes=len(tree),
            uplink_bytes=self._link.bytes_sent - sent,
            downlink_bytes=self._link.bytes_received - received,
            draft_s=drafted - started,
            link_s=answered - drafted - verify_s,
            verify_s=verify_s,
            trips=done.trips,
        )

    async def _answer(self) -> Answered:
        """Send what is queued, a draft or what follows it, and return its answer."""
        event = await self._exchange()
        if not isinstance(event, Answered):
            raise EdgeError(f"the edge at {self._link.peer} answered a draft with {type(event).__name__}")
        return event

    def _pick(self, settings: DraftSettings) -> Pick | None:
        """How children are chosen if they are not sampled from a list that is sent."""
        if settings.evidence == "match":
            # The edge samples on its own: the best bet is what it is most likely to draw.
            return lambda q, count, position: q.likeliest(count)
        if settings.evidence == "coupled" and self.session.coupling is not None:
            return self.session.coupling.children
        return None

    async def _exchange(self) -> tw.Event:
        """Send what is queued and return the next event."""
        await self._flush()
        try:
            async with asyncio.timeout(self._reply_timeout_s):
                while True:
                    events = self.session.receive_data(await self._link.receive())
                    for event in events:
                        return self._no_failure(event)
        except TimeoutError:
            waited = f"did not answer within {self._reply_timeout_s:g} s"
            raise EdgeError(f"the edge at {self._link.peer} {waited}; the text so far is good") from None
        except LinkClosed as closed:
            raise EdgeError(f"{closed}; the text so far is good; start again when the edge is back") from closed
        except (tw.DecodeError, tw.RemoteProtocolError) as error:
            await self._flush()
            raise EdgeError(f"the edge at {self._link.peer} broke the protocol: {printable(str(error))}") from error

    def _no_failure(self, event: tw.Event) -> tw.Event:
        if isinstance(event, tw.PeerFailed):
            raise EdgeError(
                f"the edge at {self._link.peer} refused: {printable(event.error.message) or event.error.name}"
            )
        if isinstance(event, tw.PeerClosed):
            raise EdgeError(f"the edge at {self._link.peer} ended the session; the text so far is good")
        return event

    async def _flush(self) -> None:
        try:
            while frame := self.session.data_to_send():
                await self._link.send(frame)
        except LinkClosed as closed:
            raise EdgeError(f"{closed}; the text so far is good; start again when the edge is back") from closed
