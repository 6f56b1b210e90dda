"""What each device may take of an edge: links, places in the queue, tokens of prompts and the target's time.

Budgets go by the name that a device proved, or else by its address.  The two rates hold while somebody else is served,
too: a device that is alone may take all there is.  What was taken is known afterwards, so a request is let in where
nothing is owed and charged by what it cost; what is owed is waited for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from tslt_transports.link import Link

from tslt_runtime.limits import EdgeLimits
from tslt_runtime.overload import Overloaded

ACTIVE_S = 10.0
"""Seconds after its last request for which a device counts as being served."""
LEAST_WAIT_S = 0.001
"""Seconds for which it is not worth to wait; sums of seconds are off by less."""
FULL_AGAIN_S = 1.0
"""Seconds after which a link that was refused for want of places is worth another try."""
MOST_ACCOUNTS = 4096
"""Accounts that are kept; beyond it the oldest of those without links are forgotten."""


class Bucket:
    """A rate that may be exceeded for a while, by what was saved up; it may owe."""

    def __init__(self, rate: float, most: float, now: float) -> None:
        """``rate``: units a second; ``most``: units that can be saved up, it begins with these; ``now``: seconds."""
        self._rate, self._most = rate, most
        self._level, self._at = most, now

    def wait_s(self, now: float) -> float:
        """Seconds until nothing is owed."""
        self._fill(now)
        return max(0.0, -self._level / self._rate)

    def take(self, units: float, now: float, *, free: bool = False) -> None:
        """Take units that were used; ``free``: nobody else wanted them, so that no debt comes of it."""
        self._fill(now)
        least = min(self._level, 0.0) if free else -float("inf")
        self._level = max(self._level - units, least)

    def _fill(self, now: float) -> None:
        self._level = min(self._most, self._level + self._rate * max(0.0, now - self._at))
        self._at = max(self._at, now)


class Account:
    """What one device, or one address, has taken."""

    def __init__(self, budgets: Budgets, limits: EdgeLimits, now: float) -> None:
        """``budgets``: all of the edge's; ``now``: seconds."""
        self.links = 0
        """Its links now."""
        self.active_at = now
        """When it last asked for something or was given it."""
        self._budgets, self._limits = budgets, limits
        self._queue = asyncio.Semaphore(limits.peer_queue)
        self._seconds = Bucket(limits.target_ms_per_s / 1000, limits.burst_s * limits.target_ms_per_s / 1000, now)
        self._tokens = Bucket(limits.prompt_tokens_per_s, limits.burst_s * limits.prompt_tokens_per_s, now)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until there is budget for a request, and a place in the queue; for as long as the request takes.

        Raises Overloaded where the budget would take longer than ``EdgeLimits.pace_s``.
        """
        budgets, told = self._budgets, False
        while True:
            budgets.touch(self)
            budget, wait = self.owes()
            if wait < LEAST_WAIT_S:
                break
            if not told:
                budgets.on_wait(budget)
                told = True
            if wait > self._limits.pace_s:
                raise Overloaded(f"{budget} of this device are used up while others are served", retry_after_s=wait)
            await budgets.sleep(wait)
        async with self._queue:
            yield

    def owes(self) -> tuple[str, float]:
        """The budget that has to be waited for longest, and for how many seconds; 0 while nobody else is served."""
        if not self._budgets.others_served(self):
            return "", 0.0
        now = self._budgets.clock()
        waits = {"target milliseconds": self._seconds.wait_s(now), "prompt tokens": self._tokens.wait_s(now)}
        budget = max(waits, key=lambda name: waits[name])
        return budget, waits[budget]

    def charge(self, *, seconds: float, tokens: int) -> None:
        """Charge what a request has cost: seconds of the target, tokens that were read."""
        budgets = self._budgets
        free, now = not budgets.others_served(self), budgets.clock()
        self._seconds.take(seconds, now, free=free)
        self._tokens.take(tokens, now, free=free)
        budgets.touch(self)


class Budgets:
    """The accounts of all devices of an edge."""

    def __init__(
        self,
        limits: EdgeLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``clock`` and ``sleep``: of seconds; ``on_wait``: told the budget's name when a request waits for it."""
        self.clock, self.sleep, self.on_wait = clock, sleep, on_wait
        self._limits = limits
        self._served = 0  # links of all accounts
        self._accounts: dict[str, Account] = {}  # in the order in which they last got a link
        self._recent: list[Account] = []  # the two that were active last

    @contextmanager
    def admitted(self, link: Link) -> Iterator[Account]:
        """The account of a link's device, for as long as the link is served.

        Raises Overloaded if that device has too many, or the edge has.
        """
        key = peer_of(link)
        account = self._accounts.pop(key, None)
        if account is None:
            self._forget()
            account = Account(self, self._limits, self.clock())
        self._accounts[key] = account
        most = self._limits.peer_links
        if key and most is not None and account.links >= most:
            raise Overloaded(f"{most} links of this device are open", retry_after_s=FULL_AGAIN_S)
        if self._served >= self._limits.devices:
            raise Overloaded(f"{self._served} devices are served, no more fit", retry_after_s=FULL_AGAIN_S)
        account.links += 1
        self._served += 1
        try:
            yield account
        finally:
            account.links -= 1
            self._served -= 1

    def touch(self, account: Account) -> None:
        """An account is being served."""
        account.active_at = self.clock()
        if not self._recent or self._recent[0] is not account:
            self._recent = [account, *self._recent[:1]]

    def others_served(self, account: Account) -> bool:
        """Whether anybody else was served lately."""
        since = self.clock() - ACTIVE_S
        return any(other is not account and other.active_at > since for other in self._recent)

    def _forget(self) -> None:
        """Make room for another account: the oldest one without links goes.

        What it owed is forgotten, too; who comes from thousands of addresses owes nothing anyway.
        """
        if len(self._accounts) >= MOST_ACCOUNTS:
            oldest = next((key for key, account in self._accounts.items() if not account.links), None)
            if oldest is not None:
                del self._accounts[oldest]


def peer_of(link: Link) -> str:
    """Whose budget a link draws on: a name that was proved, or else an address; "" for links within this process."""
    if link.identity:
        return f"key {link.identity}"
    try:
        address = ipaddress.ip_address(link.address.partition("%")[0])
    except ValueError:
        return link.address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))  # what one host can choose from
    return str(address)
