"""What ``receive_data`` returns: things the peer did that the caller must know of.

Spec section 7.7.  Each event is complete when it is handed out and never changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.messages.answers import Proposals, Verdict, Whole
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.endings import ErrorMessage
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.handshake import Hello, Welcome
from tslt_wire.messages.resume import Rejection


@dataclass(frozen=True, slots=True)
class Welcomed:
    """Device: the edge accepted the session."""

    welcome: Welcome
    """What the session will use."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Device: the text goes on over the new link; RESUME is queued, and the open round's draft if one is open."""

    welcome: Welcome
    """What the session will use."""
    kept: int
    """Tokens of the text that the edge held."""


@dataclass(frozen=True, slots=True)
class VerdictReceived:
    """Device: the open draft was answered, and the prefix has grown."""

    draft: Draft
    """The draft that was answered."""
    verdict: Verdict
    tokens: tuple[int, ...]
    """What the prefix grew by: the accepted tokens, then the target's own token."""


@dataclass(frozen=True, slots=True)
class WholeReceived:
    """Device: the open draft, which goes on, was accepted whole, and the prefix has grown by its tokens alone.

    The next draft in flight is the open one; where there is none a draft may follow, and an empty one asks for the
    token that was left out.
    """

    draft: Draft
    """The draft that was answered."""
    verdict: Whole
    tokens: tuple[int, ...]
    """What the prefix grew by."""


@dataclass(frozen=True, slots=True)
class ProposalsReceived:
    """Device: a token of the open draft was rejected, and others are proposed; the prefix has grown by those before.

    Go on with ``DeviceSession.choose``, until it returns a token.
    """

    draft: Draft
    """The draft that was answered."""
    proposals: Proposals
    tokens: tuple[int, ...]
    """The accepted tokens."""


@dataclass(frozen=True, slots=True)
class ListAsked:
    """Device: a token of the open draft was rejected; answer with ``DeviceSession.send_list``."""

    draft: Draft
    node: int
    """The node after which it came (-1: the prefix): the list that it was drawn from is wanted."""
    extensions: tuple[Extension, ...] = ()
    """What the edge said besides, the time it took say."""


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
class TextResumed:
    """Edge: a text goes on that another link was used for; ``EdgeSession.prefix`` holds all of it."""

    keep: int
    """Tokens of the prefix that this edge held."""
    tokens: tuple[int, ...]
    """Tokens that the device sent after them."""


@dataclass(frozen=True, slots=True)
class DraftReceived:
    """Edge: a draft that fits the prefix; answer it with ``send_answer``."""

    draft: Draft
    chosen: int | None = None
    """The token that the device took of the last round's proposals: the prefix has grown by it."""
    rejection: Rejection | None = None
    """What the device has heard on another link: ``verify`` has to know, and answers given this."""

    @property
    def step(self) -> int:
        """Which frame of its round this is: 0; or the number of the batch that the device still waits for."""
        return self.rejection.batch if self.rejection else 0


@dataclass(frozen=True, slots=True)
class MoreAsked:
    """Edge: the device took none of these proposals; answer with ``send_answer`` of others, of the next batch."""

    draft: Draft
    """The open draft."""
    proposals: Proposals
    """What was sent last."""
    row: Any = field(default=None, compare=False, repr=False)
    """The target's row after ``proposals.node``, as it was given to ``send_answer``."""

    @property
    def step(self) -> int:
        """Which frame of its round this is: the number of the batch that is wanted."""
        return self.proposals.batch + 1


@dataclass(frozen=True, slots=True)
class ListReceived:
    """Edge: the list that was asked for, and gives the code that was drafted; answer it with ``send_answer``."""

    draft: Draft
    """The open draft."""
    node: int
    """The node after which the list stands."""
    q: SparseDistribution
    row: Any = field(default=None, compare=False, repr=False)
    """The target's row after ``node``, as it was given to ``send_answer``."""

    @property
    def step(self) -> int:
        """Which frame of its round this is: 1."""
        return 1


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """Both: the peer gave up; the session is over."""

    error: ErrorMessage
    """Code and message, as the peer sent them."""


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """Both: the peer said BYE; the session is over."""


Event = (
    Welcomed
    | Resumed
    | VerdictReceived
    | WholeReceived
    | ProposalsReceived
    | ListAsked
    | SessionOpened
    | PromptReceived
    | TextResumed
    | DraftReceived
    | MoreAsked
    | ListReceived
    | PeerFailed
    | PeerClosed
)
