"""A verifier that keeps one device to its budget: requests wait for their turn, and are charged by what they cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import tslt_wire as tw
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.operating.budgets import Account
from tslt_runtime.verifiers.protocol import Reply, Request, Spent, Verifier

MORE_PAUSE_S = 0.1
"""Seconds that a MORE waits after too many of its round."""


class BudgetedVerifier:
    """Answers what ``inner`` answers, for the texts of one device (see ``verifiers.protocol.Verifier``)."""

    def __init__(self, inner: Verifier, account: Account, limits: EdgeLimits) -> None:
        """``account``: the device's."""
        self._inner, self._account, self._limits = inner, account, limits
        self.facts = inner.facts

    def open(self, name: str = "") -> Any:
        """See ``Verifier.open``."""
        return self._inner.open(name)

    def release(self, text: Any) -> None:
        """See ``Verifier.release``."""
        self._inner.release(text)

    def spent(self, text: Any) -> Spent:
        """See ``Verifier.spent``."""
        return self._inner.spent(text)

    async def read(self, text: Any, prefix: tuple[int, ...]) -> None:
        """See ``Verifier.read``; raises Overloaded, too."""
        async with self._paid(text):
            await self._inner.read(text, prefix)

    async def answer(self, text: Any, request: Request) -> Reply:
        """See ``Verifier.answer``; raises Overloaded, too."""
        asked = request.asked
        if isinstance(asked, tw.MoreAsked) and asked.proposals.batch >= self._limits.mores:
            # To refuse it would end a round in the middle, and bias the text: it is slow instead.
            await asyncio.sleep(MORE_PAUSE_S)
        async with self._paid(text):
            return await self._inner.answer(text, request)

    def close(self) -> None:
        """Does nothing: others use ``inner``, too."""

    @asynccontextmanager
    async def _paid(self, text: Any) -> AsyncIterator[None]:
        async with self._account.turn():
            before = self._inner.spent(text)
            try:
                yield
            finally:
                after = self._inner.spent(text)
                self._account.charge(seconds=after.seconds - before.seconds, tokens=after.tokens - before.tokens)
