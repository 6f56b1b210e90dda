"""What a gateway and the replicas behind it say to each other.

All of it is plain and small, so that it travels between processes; a row of the target never does.  A replica answers
from the call alone: what it keeps is a cache, found by the text's name.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from typing import Protocol

from tslt_runtime.fingerprint import Vocabulary
from tslt_runtime.verifiers.protocol import Reply, Request, Spent, VerifierFacts

DIGEST_BYTES = 8
"""Of what names an offer: replicas are told apart by it, not attacked."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a replica serves: all that a gateway, which has no model, tells devices."""

    facts: VerifierFacts
    vocabulary: Vocabulary | bytes
    """See ``edge.edge_settings``."""
    chat_template: bytes = b""
    """Likewise."""

    @property
    def digest(self) -> bytes:
        """What names it: replicas with the same one stand in for each other."""
        said = pickle.dumps((self.facts.engine, self.facts.evidence, self.vocabulary, self.chat_template), protocol=5)
        return hashlib.sha256(said).digest()[:DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class Call:
    """Something a gateway asks a replica to do for a text."""

    text: str
    """The text's name: the session's own, so that all gateways call it the same, and find the same cache."""
    holder: str
    """The gateway's handle of it: who called last may drop the cache."""
    prefix: tuple[int, ...] = ()
    """The tokens to read, where there is no request."""
    request: Request | None = None
    """The draft to answer, or what followed it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it."""

    offer: bytes
    """``Offer.digest`` of the replica."""
    spent: Spent
    """What the call cost."""
    reply: Reply | None = None
    """Without its row, which stays where it was made."""
    error: Exception | None = None
    """In place of the reply: what ``Verifier.answer`` raises of its own."""


class ReplicaLost(Exception):
    """No replica has answered, or one ended meanwhile: the same call may be made again, of any other."""


class Pool(Protocol):
    """Replicas, and the way to the one that has a text."""

    async def offer(self) -> Offer:
        """What they serve; raises ReplicaLost."""
        ...

    async def call(self, method: str, call: Call) -> Told:
        """Let the replica of ``call.text`` do ``method``, "read" or "answer".

        Raises ReplicaLost, and what the replica raises.
        """
        ...

    def release(self, call: Call) -> None:
        """Tell that replica to drop the text, without waiting."""
        ...

    async def turn(self) -> None:
        """Return when some replica answers; raises ReplicaLost."""
        ...

    def close(self) -> None:
        """Let go of the replicas, which others may use."""
        ...
