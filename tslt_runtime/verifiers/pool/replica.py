"""One replica: a verifier in a process of its own, and what it has cached of the texts that gateways send it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import tslt_wire as tw
from tslt_runtime.engines.protocol import ContextFull
from tslt_runtime.overload import Overloaded
from tslt_runtime.verifiers.answering import after, at_rejection
from tslt_runtime.verifiers.pool.protocol import Call, Offer, Told
from tslt_runtime.verifiers.protocol import Reply, Request, Spent, Verifier

TEXTS = 4096
"""Texts that a replica remembers, unless told otherwise: gateways that die release nothing."""
OWN_ERRORS = (ContextFull, Overloaded)
"""What a verifier raises of its own; all else is a fault of the replica's."""


@dataclass(slots=True)
class _Text:
    handle: Any
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Two gateways may ask at once: one whose device has left it, and the one that it came to."""
    calls: int = 0
    """Under way, or in turn."""
    holder: str = ""
    place: tuple[tuple[int, ...], tw.Sampling, int] | None = None
    """Where ``row`` stands: all that it depends on."""
    row: Any = None


class Replica:
    """Answers calls with a verifier; belongs to one event loop."""

    def __init__(self, verifier: Verifier, offer: Offer, *, texts: int = TEXTS) -> None:
        """``offer``: what it serves; ``texts``: that are remembered."""
        self._verifier, self._offer, self._digest, self._most = verifier, offer, offer.digest, texts
        self._texts: OrderedDict[str, _Text] = OrderedDict()  # who was called last is at the end

    def __len__(self) -> int:
        """Texts that are remembered."""
        return len(self._texts)

    def offer(self) -> Offer:
        """What it serves."""
        return self._offer

    async def turn(self) -> None:
        """Return when the thread that runs the model answers, or the server does."""
        turn: Callable[[], Awaitable[None]] | None = getattr(self._verifier, "turn", None)
        if turn is not None:
            await turn()

    async def read(self, call: Call) -> Told:
        """See ``Verifier.read``."""
        return await self._told(call, self._read)

    async def answer(self, call: Call) -> Told:
        """See ``Verifier.answer``."""
        return await self._told(call, self._answer)

    def release(self, call: Call) -> None:
        """Drop a text, unless somebody else has called for it since."""
        text = self._texts.get(call.text)
        if text is not None and text.holder == call.holder and not text.calls:
            self._drop(call.text)

    def close(self) -> None:
        """Drop all texts, and the model."""
        for name in list(self._texts):
            self._drop(name)
        self._verifier.close()

    async def _told(self, call: Call, do: Callable[[_Text, Call], Awaitable[Reply | None]]) -> Told:
        async with self._turn_of(call) as text:
            before, error, reply = self._verifier.spent(text.handle), None, None
            try:
                reply = await do(text, call)
            except OWN_ERRORS as said:
                error = said
            after = self._verifier.spent(text.handle)
        spent = Spent(seconds=after.seconds - before.seconds, tokens=after.tokens - before.tokens)
        if reply is None:
            return Told(self._digest, spent, error=error)
        return Told(self._digest, spent, replace(reply, row=None))

    async def _read(self, text: _Text, call: Call) -> None:
        await self._verifier.read(text.handle, call.prefix)

    async def _answer(self, text: _Text, call: Call) -> Reply:
        request = call.request
        if request is None:
            raise ValueError("a call for an answer needs a request")
        asked = request.asked
        if not isinstance(asked, tw.DraftReceived):
            # The row of what was said last spares a pass, if it is the same row: it is made anew otherwise.
            known = text.row if text.place == _place(at_rejection(request, asked)) else None
            request = replace(request, asked=replace(asked, row=known))
        text.place = text.row = None
        reply: Reply = await self._verifier.answer(text.handle, request)
        if reply.row is not None:
            text.place, text.row = _place(_rejected_at(request, reply.answer)), reply.row
        return reply

    @asynccontextmanager
    async def _turn_of(self, call: Call) -> AsyncIterator[_Text]:
        text = self._texts.get(call.text)
        if text is None:
            text = self._texts[call.text] = _Text(self._verifier.open())
            self._make_room()
        self._texts.move_to_end(call.text)
        text.holder = call.holder
        text.calls += 1
        try:
            async with text.turn:
                yield text
        finally:
            text.calls -= 1

    def _make_room(self) -> None:
        """Drop the texts that were not called for longest, as long as there are too many."""
        idle = (name for name, text in self._texts.items() if not text.calls)
        for name in list(idle)[: max(0, len(self._texts) - self._most)]:
            self._drop(name)

    def _drop(self, name: str) -> None:
        self._verifier.release(self._texts.pop(name).handle)


def _place(request: Request) -> tuple[tuple[int, ...], tw.Sampling, int]:
    """All that the row after a request's prefix depends on."""
    return request.prefix, request.sampling, request.prompt_length


def _rejected_at(request: Request, answer: tw.Answer) -> Request:
    """``request`` with the prefix after which ``answer`` rejected a token."""
    asked = request.asked
    return after(request, asked.draft.tree, answer.node) if isinstance(asked, tw.DraftReceived) else request
