"""The sessions of an edge: their secrets, and those whose link is gone and which may go on over another one.

Spec section 7.8.  What an edge keeps of a session saves the device the tokens and the target their reading.  What it
must know, the session's random numbers, follows from the master secret and the token that the device brings.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import tslt_wire as tw
from tslt_runtime.limits import DEFAULT_LIMITS, EdgeLimits
from tslt_runtime.seeds import NONCE_BYTES, master_secret
from tslt_wire.messages.repeat import wants_repeat

log = logging.getLogger("tslt.edge")

REMEMBERED = 4096
"""HELLOs of which an edge with a seed remembers how often they came."""
_REPEAT_LABEL = b"tslt-wire repeated nonce 1"
_NONCE_LABEL = b"tslt-wire seeded nonce 1"


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a session without its link."""

    tokens: tuple[int, ...]
    """Of its text: ``tw.EdgeSession.kept``."""
    text: Any
    """The verifier's handle, with its cache; None: it has none any more."""
    round: int = 0
    """The earliest one that the device may go on with: ``tw.EdgeSession.kept_round``."""


class Holder(Protocol):
    """Who has a session's link."""

    def let_go(self) -> Left:
        """Give the session up, because another link has it now."""


@dataclass(frozen=True, slots=True)
class _Parked:
    left: Left
    owner: str
    ends: asyncio.TimerHandle


class Sessions:
    """Opens sessions and keeps those without a link; belongs to one event loop."""

    def __init__(
        self,
        *,
        master: bytes | None = None,
        seed: int | None = None,
        limits: EdgeLimits = DEFAULT_LIMITS,
        release: Callable[[Any], None] = lambda _: None,
    ) -> None:
        """``master``: the secret that all others follow from (``tw.SessionKeys``); None makes one, of ``seed`` if there
        is one.  ``seed``: a session's secret is then a function of its HELLO and of how many texts began with it,
        whatever other devices do.  ``release``: frees a handle of the verifier's.

        TypeError or ValueError for a secret that is none.
        """
        self._master = master_secret(seed) if master is None else master
        self._keys = tw.SessionKeys(self._master)
        self._seeded = seed is not None
        self._limits = limits
        self._release = release
        self._seen: OrderedDict[bytes, int] = OrderedDict()
        self._young: dict[bytes, bytes] = {}  # of the sessions of a seed that have no text yet, by token, their HELLO
        self._linked: dict[bytes, Holder] = {}
        self._parked: OrderedDict[bytes, _Parked] = OrderedDict()
        self._owned: Counter[str] = Counter()
        self.resumed = 0
        """Sessions that went on over another link."""
        self.forgotten = 0
        """Devices that brought a token that is none of this edge's."""

    def __len__(self) -> int:
        """Sessions without a link."""
        return len(self._parked)

    def open(self, hello: tw.Hello, frame: bytes, *, identity: str, holder: Holder) -> tuple[tw.Opening, Any]:
        """What HELLO is answered with, and the verifier's handle of its text if there is one; ``holder`` has it now."""
        found, text = None, None
        if hello.resume and (found := self._keys.resumed(hello.resume, identity)) is not None:
            left = self._left(found.token)
            if left is not None:
                found, text = replace(found, held=left.tokens, round=left.round), left.text
            self.resumed += 1
        if found is None:
            self.forgotten += bool(hello.resume)
            found = self._new(hello, frame, identity)
        if found.token:
            self._linked[found.token] = holder
        return found, text

    def park(self, token: bytes, holder: Holder, left: Left, owner: str) -> bool:
        """Keep what is left of a session whose link is gone; False if another link has it, or it had no text.

        ``owner``: whose it is, for the number that one may have.
        """
        if not self.forget(token, holder) or not left.tokens:
            return False
        if self._owned[owner] >= self._limits.parked_each:
            self._drop(next(token for token, parked in self._parked.items() if parked.owner == owner))
        elif len(self._parked) >= self._limits.parked:
            self._drop(next(iter(self._parked)))
        ends = asyncio.get_running_loop().call_later(self._limits.resume_s, self._drop, token)
        self._parked[token] = _Parked(left, owner, ends)
        self._owned[owner] += 1
        return True

    def forget(self, token: bytes, holder: Holder) -> bool:
        """A session is over; False if ``holder`` has it no more."""
        if self._linked.get(token) is not holder:
            return False
        del self._linked[token]
        self._young.pop(token, None)
        return True

    def began(self, token: bytes) -> None:
        """A session has a text.

        The same HELLO is another session from now on.  Before that it is the device's again, whose WELCOME was lost.
        """
        if (which := self._young.pop(token, None)) is not None:
            self._count(which)

    def close(self) -> None:
        """Drop all that is kept."""
        while self._parked:
            self._drop(next(iter(self._parked)))

    def _left(self, token: bytes) -> Left | None:
        """What there is of a session, wherever it is; it is nowhere else then."""
        holder = self._linked.pop(token, None)
        if holder is not None:
            return holder.let_go()
        parked = self._take(token)
        return None if parked is None else parked.left

    def _take(self, token: bytes) -> _Parked | None:
        parked = self._parked.pop(token, None)
        if parked is not None:
            parked.ends.cancel()
            self._owned -= Counter([parked.owner])
        return parked

    def _drop(self, token: bytes) -> None:
        parked = self._take(token)
        if parked is not None and parked.left.text is not None:
            self._release(parked.left.text)

    def _new(self, hello: tw.Hello, frame: bytes, identity: str) -> tw.Opening:
        if wants_repeat(hello):
            nonce = hmac.digest(self._master, _REPEAT_LABEL + identity.encode() + b"\0" + frame, hashlib.sha256)
            # Without a token: two of them may be open at a time, and neither goes on as the other.
            return tw.Opening(self._keys.new(nonce[:NONCE_BYTES], identity).secret, repeats=True)
        if not self._seeded:
            return self._keys.new(secrets.token_bytes(NONCE_BYTES), identity)
        which = hashlib.sha256(frame).digest()
        place = _NONCE_LABEL + which + self._seen.get(which, 0).to_bytes(8, "little")
        found = self._keys.new(hmac.digest(self._master, place, hashlib.sha256)[:NONCE_BYTES], identity)
        if any(hello.nonce):
            self._young[found.token] = which
        else:
            self._count(which)  # other devices say the same HELLO
        return found

    def _count(self, which: bytes) -> None:
        self._seen[which] = self._seen.pop(which, 0) + 1
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
