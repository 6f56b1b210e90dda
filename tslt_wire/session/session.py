"""What device and edge sessions share: frames in and out, the state, the prefix.

Spec section 7.7.  Sans-IO: bytes in, events out; no socket, clock or randomness.  One call of ``receive_data`` takes
one frame, one call of ``data_to_send`` gives one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from tslt_wire import checks
from tslt_wire.errors import DecodeError, ErrorCode, LocalProtocolError, RemoteProtocolError
from tslt_wire.frames.codec import HANDSHAKE_PROFILE, KIND_MASK, decode, encode
from tslt_wire.frames.kinds import Kind, Role, kind_of
from tslt_wire.frames.padding import padded
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.profile import Profile
from tslt_wire.messages.answers import Proposals, Verdict
from tslt_wire.messages.draft import Draft, prefix_crc
from tslt_wire.messages.endings import Bye, ErrorMessage, retry_after
from tslt_wire.messages.extensions import RETRY_AFTER, Extension
from tslt_wire.messages.message import Message
from tslt_wire.messages.resume import Resume
from tslt_wire.messages.sampling import Sampling
from tslt_wire.session.events import Event, PeerClosed, PeerFailed
from tslt_wire.session.states import ANSWERS, NEED_PROFILE, OVER, Act, State, may_send, state_after
from tslt_wire.verification.coupling import Coupling

MAX_ERROR_TEXT = 1000
"""Characters of an error message that are sent: enough to say it, too few to echo a hostile frame."""
_OTHER_END = {Role.DEVICE: Role.EDGE, Role.EDGE: Role.DEVICE}


class Session(ABC):
    """Base of DeviceSession and EdgeSession."""

    role: Role

    def __init__(self, limits: DecodeLimits, padding: int = 0) -> None:
        self.profile: Profile = HANDSHAKE_PROFILE
        """What lists are made and written with, ``prior=session.profile.prior`` say, once WELCOME is there; before that
        a vocabulary of one token, with which no list can be made."""
        self.sampling = Sampling()
        """The target's settings in force, those of WELCOME, once it is there."""
        self.prompt_length = 0
        """Tokens of the prefix that the last PROMPT made; those after them are the text's output (spec section 7.2)."""
        self.open_draft: Draft | None = None
        """The draft whose round is not over."""
        self.proposals: Proposals | None = None
        """What was proposed last, until one of them is taken, as far as this end knows."""
        self.round = 0
        """Number of the next draft."""
        self.sent: Counter[Kind] = Counter()
        """Bytes sent by frame kind."""
        self.received: Counter[Kind] = Counter()
        """Bytes received by frame kind, damaged frames not counted."""
        self._state = State.START
        self._request = Kind.HELLO  # the last frame of the device that is answered
        self._limits = limits
        self._max_frame_bytes, self._max_extensions = limits.max_frame_bytes, limits.max_extensions
        self._padding = padding
        self._outbox: deque[bytes] = deque()
        self._prefix: list[int] = []
        self._prefix_read: tuple[int, ...] | None = ()  # the prefix as it was handed out; None: it has changed
        self._hash = 0
        self._transcript = bytes(8)
        self._key = b""
        self._epoch = 0

    # --------------------------------------------------------------------------------------------------------- state

    @property
    def state(self) -> State:
        """What has been said so far."""
        return self._state

    def _move(self, what: Kind | Act) -> None:
        """Go where the table says that ``what``, which must be allowed, leads: nothing else changes the state."""
        self._state = state_after(self._state, what)
        if isinstance(what, Kind) and what in ANSWERS:
            self._request = what

    # ------------------------------------------------------------------------------------------------------ bytes in

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Take one frame from the peer, of which no more than a copy is kept, and return what it means.

        Raises DecodeError for bytes that are no message, also for none at all, and RemoteProtocolError for a message
        that is not allowed now; both have a ``code``, the session is FAILED, and ``data_to_send`` holds the ERROR frame
        that tells the peer.  Frames that arrive after the end are ignored.  TypeError, and nothing has changed, for
        what is not bytes.
        """
        data = bytes(checks.octets("a frame", data))
        if self._state in OVER:
            return []
        with self._failing():
            if data and self._state in (State.START, State.GREETED) and data[0] & KIND_MASK in NEED_PROFILE:
                self._refuse_unread(Kind(data[0] & KIND_MASK))
            message = decode(data, self.profile, limits=self._limits)
            self.received[kind_of(message)] += len(data)
            return self._receive(message, data)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Where the peer's frame is refused within: FAILED, the peer is told, and the error goes on."""
        try:
            yield
        except (DecodeError, RemoteProtocolError) as error:
            self._fail(error.code, str(error), self._told_with(error.code))
            raise

    def _refuse_unread(self, kind: Kind) -> None:
        """Refuse a frame that came before the profile it is read with."""
        raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, f"a {kind.name} came before the handshake was done")

    def _receive(self, message: Message, data: bytes) -> list[Event]:
        kind, peer = kind_of(message), _OTHER_END[self.role]
        if not may_send(self._state, kind, peer, self._request):
            raise RemoteProtocolError(
                ErrorCode.PROTOCOL_VIOLATION, f"the {peer} must not send {kind.name} when the session is {self._state}"
            )
        # A handler may answer at once, so it has to find the state its answer starts from.
        self._move(_what(message))
        if isinstance(message, ErrorMessage):
            return [PeerFailed(message)]
        if isinstance(message, Bye):
            return [PeerClosed()]
        return self._handle(message, data)

    @abstractmethod
    def _handle(self, message: Message, data: bytes) -> list[Event]:
        """What a message that the state allows means to this end."""

    # ----------------------------------------------------------------------------------------------------- bytes out

    def data_to_send(self) -> bytes:
        """The next frame for the peer, or ``b""`` if there is none; call until it is empty."""
        return self._outbox.popleft() if self._outbox else b""

    def close(self) -> None:
        """Say BYE; does nothing if the session is over already."""
        if self._state not in OVER:
            self._send(Bye())

    def fail(self, code: ErrorCode, message: str, *, retry_after_s: float | None = None) -> None:
        """Tell the peer why this side cannot go on; the session is over.

        ``retry_after_s``: seconds after which it may come again (spec section 7.5).  TypeError or ValueError for what
        no ERROR can carry: then nothing has changed.
        """
        extensions = () if retry_after_s is None else (retry_after(retry_after_s),)
        ErrorMessage(code=code, message=message)
        if self._state not in OVER:
            self._fail(code, message, extensions)

    def _fail(self, code: ErrorCode, message: str, extensions: tuple[Extension, ...] = ()) -> None:
        # A peer with a tiny limit gets the code with less text, or nothing: the transport's end has to say it then.
        frame = encode(ErrorMessage(code=code, message=message[:MAX_ERROR_TEXT], extensions=extensions), self.profile)
        if len(frame) > self._max_frame_bytes:
            kept = tuple(extension for extension in extensions if extension.type == RETRY_AFTER)
            frame = encode(ErrorMessage(code=code, message="", extensions=kept), self.profile)
        self._move(Act.FAIL)
        if len(frame) <= self._max_frame_bytes:
            self._queue(Kind.ERROR, self._pad(frame))

    def _told_with(self, code: ErrorCode) -> tuple[Extension, ...]:
        """What an ERROR with this code has besides its message."""
        return ()

    def _send(self, message: Message, act: Act | None = None) -> bytes:
        """Queue ``message`` and move on, by ``act`` if it is one.

        LocalProtocolError if the state does not allow it, ValueError if it fits no frame or not the peer's limit.
        """
        kind = kind_of(message)
        if act is None and not may_send(self._state, kind, self.role, self._request):
            raise LocalProtocolError(f"the {self.role} cannot send {kind.name} when the session is {self._state}")
        frame = encode(message, self.profile, max_frame_bytes=self._max_frame_bytes)
        if len(frame) > self._max_frame_bytes:
            raise ValueError(
                f"the peer takes frames of {self._max_frame_bytes} bytes, this {kind.name} has {len(frame)}"
            )
        frame = self._pad(frame)
        self._queue(kind, frame)
        self._move(_what(message) if act is None else act)
        return frame

    def _pad(self, frame: bytes) -> bytes:
        if not self._padding:
            return frame
        limits = {"max_frame_bytes": self._max_frame_bytes, "max_extensions": self._max_extensions}
        return padded(frame, self._padding, **limits)

    def _queue(self, kind: Kind, frame: bytes) -> None:
        self._outbox.append(frame)
        self.sent[kind] += len(frame)

    # -------------------------------------------------------------------------------------------------------- prefix

    @property
    def prefix(self) -> tuple[int, ...]:
        """Tokens both sides agree on; a proposal that the device took is among its own at once."""
        if self._prefix_read is None:
            self._prefix_read = tuple(self._prefix)
        return self._prefix_read

    @property
    def prefix_hash(self) -> int:
        """Low 16 bits of the prefix's hash, as drafts carry it."""
        return self._hash & 0xFFFF

    @property
    def coupling(self) -> Coupling | None:
        """The shared random numbers of the text that is being written; None without evidence ``coupled``."""
        return Coupling(self._key, self._epoch) if self._key else None

    def _set_prefix(self, keep: int, tokens: tuple[int, ...]) -> None:
        self._prefix[keep:] = tokens
        self.prompt_length = len(self._prefix)
        self._prefix_read = None
        self._hash = prefix_crc(self._prefix)
        # A new text, even if it starts like the last one: the numbers of its positions must be new, too.  Each PROMPT
        # says its epoch, so the two ends never differ in it.
        self._epoch += 1

    def _grow_prefix(self, tokens: tuple[int, ...]) -> None:
        self._prefix += tokens
        self._prefix_read = None
        self._hash = prefix_crc(tokens, self._hash)


def _what(message: Message) -> Kind | Act:
    """What a message that is sent or received is in the state table."""
    if isinstance(message, Resume) and message.ended:
        return Act.RESUME_END
    return Act.VERDICT_END if isinstance(message, Verdict) and message.end else kind_of(message)
