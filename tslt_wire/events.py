"""What ``receive_data`` returns: things the peer did that the caller must know of.

Spec section 7.7.  Each event is complete when it is handed out and never changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire.messages import Draft, Error, Hello, Verdict, Welcome


@dataclass(frozen=True, slots=True)
class Welcomed:
    """Device: the edge accepted the session."""

    welcome: Welcome
    """What the session will use."""


@dataclass(frozen=True, slots=True)
class VerdictReceived:
    """Device: the open draft was answered, and the prefix has grown."""

    draft: Draft
    """The draft that was answered."""
    verdict: Verdict
    tokens: tuple[int, ...]
    """What the prefix grew by: the accepted tokens, then the target's own token."""


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """Edge: a device that fits said HELLO; WELCOME is queued."""

    hello: Hello
    """Who it is and the sampling settings it wants for the target."""


@dataclass(frozen=True, slots=True)
class PromptReceived:
    """Edge: the prefix was set; ``EdgeSession.prefix`` holds all of it."""

    keep: int
    """Tokens of the earlier prefix that stayed."""
    tokens: tuple[int, ...]
    """Tokens that were added after them."""


@dataclass(frozen=True, slots=True)
class DraftReceived:
    """Edge: a draft that fits the prefix; answer it with ``send_verdict``."""

    draft: Draft


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """Both: the peer gave up; the session is over."""

    error: Error
    """Code and message, as the peer sent them."""


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """Both: the peer said BYE; the session is over."""


Event = Welcomed | VerdictReceived | SessionOpened | PromptReceived | DraftReceived | PeerFailed | PeerClosed
