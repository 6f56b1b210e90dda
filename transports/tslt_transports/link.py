"""What a transport offers: links that carry opaque frames, their errors and their limits.

A frame is one of the protocol's (see ``spec/``), as one ZeroMQ message or one length-delimited unit of a QUIC stream; a
transport never looks inside one, and one is never empty.  A link delivers every frame once and in order, or it ends
with ``LinkClosed``: nothing is dropped in silence.  ``registry`` opens links by the
name of a transport.  All objects belong to the event loop that made them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from tslt_transports.checks import check_kind, check_number, check_whole

MIB: Final = 1024 * 1024
"""Bytes of a mebibyte."""

MAX_FRAME_BYTES_CEILING: Final = (1 << 28) - 1
"""Bytes.  The longest frame any transport can delimit: what four LEB128 bytes can say."""

MAX_COUNT: Final = (1 << 31) - 1
"""Most frames, bytes or links of a limit: what a C int holds, as libzmq's options are."""

MIN_TIME_S: Final = 0.001
"""Seconds.  The shortest time-out: time-outs travel in whole milliseconds."""

MAX_TIME_S: Final = 86_400.0
"""Seconds.  The longest time-out: a day."""


_SHA256: Final = re.compile("[0-9a-fA-F]{64}")


class LinkError(Exception):
    """Base of everything a transport raises on purpose; any other exception out of one is a bug or a misuse."""


class ConnectError(LinkError):
    """No link came to be: nobody answered, the edge refused, or TLS failed.

    ``address`` is what was asked for, ``reason`` what happened and ``hint`` what to try; the message has all three.
    """

    def __init__(self, *, address: str, reason: str, hint: str) -> None:
        """Make the message out of its three parts."""
        super().__init__(f"no link to {address}: {reason}; {hint}")
        self.address = address
        self.reason = reason
        self.hint = hint


class LinkClosed(LinkError):
    """The link is over.  ``clean`` is True where one side ended it on purpose, after everything it had sent.

    ``peer`` names the other side and ``reason`` says what happened; the message has both.
    """

    def __init__(self, *, peer: str, clean: bool, reason: str) -> None:
        """Make the message out of its parts."""
        super().__init__(f"link to {peer} {'closed' if clean else 'lost'}: {reason}")
        self.peer = peer
        self.clean = clean
        self.reason = reason


class FrameTooLarge(LinkError):
    """A frame to be sent has ``size`` bytes, and the smaller ``max_frame_bytes`` of the two ends is ``limit`` bytes.

    The frame was not sent and the link goes on.  A *peer* that exceeds the limit loses its link instead.
    """

    def __init__(self, *, size: int, limit: int) -> None:
        """``size`` and ``limit`` are in bytes."""
        super().__init__(f"a frame of {size} bytes exceeds the link's limit of {limit} bytes (max_frame_bytes)")
        self.size = size
        self.limit = limit


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """The limits of a link or of a listener.  Both ends of a link tell the other theirs; the smaller window counts.

    Counts are ints and times ints or floats.  Raises ``TypeError`` for anything else (a bool, a string, an integer of
    numpy's), ``ValueError`` for a limit that cannot work.
    """

    max_frame_bytes: int = 4 * MIB
    """Bytes.  A ``full`` draft of 16 nodes at V = 128,000 in f16 fits; a peer cannot make us hold more than one of
    these beyond ``queue_bytes``.  At most 2**28 - 1."""

    queue_frames: int = 64
    """Frames sent and not yet consumed by the other application, each way; ``send`` waits beyond it.  A session has one
    or two frames in flight, so 64 never waits in normal use, and bounds what many tiny frames cost."""

    queue_bytes: int = 8 * MIB
    """Bytes, likewise: a frame may start while fewer than this are unconsumed.  So a link holds fewer than
    ``queue_bytes + max_frame_bytes`` bytes each way, however large its frames."""

    connect_timeout_s: float = 5.0
    """Seconds until ``connect`` gives up, and until an edge drops a peer that has not said hello.  Several round trips
    over a bad mobile link."""

    heartbeat_s: float = 2.0
    """Seconds of silence after which a keepalive goes out.  At most half of ``peer_timeout_s``, so that one may go
    missing."""

    peer_timeout_s: float = 10.0
    """Seconds without a byte from the peer's transport after which it counts as lost.  Long enough for a hand-over
    between cells, short enough that a user waits rather than restarts.  An application that blocks its event loop
    this long loses its links: run models in a thread."""

    linger_s: float = 0.5
    """Seconds that closing waits for frames already sent to leave.  A round trip and a retransmission; a peer that
    they do not reach sees the link lost, never a clean end."""

    send_timeout_s: float = 30.0
    """Seconds that ``send`` waits for the peer's application to take frames; then the link is lost, and its place
    free.  Who reads at all takes one in that time; who does not costs the edge a place and ``queue_bytes``."""

    max_links: int = 256
    """Links an edge keeps at once; one more is refused with a reason.  One holds its place until its end was seen by
    ``receive``, or ``close`` was called on it.  Bounds memory: times 2 * (queue_bytes + max_frame_bytes)."""

    def __post_init__(self) -> None:
        """Refuse limits that cannot work."""
        check_whole("max_frame_bytes", self.max_frame_bytes, low=1, high=MAX_FRAME_BYTES_CEILING)
        for name in ("queue_frames", "queue_bytes", "max_links"):
            check_whole(name, getattr(self, name), low=1, high=MAX_COUNT)
        for name in ("connect_timeout_s", "heartbeat_s", "peer_timeout_s", "send_timeout_s"):
            check_number(name, getattr(self, name), low=MIN_TIME_S, high=MAX_TIME_S, unit="seconds")
        check_number("linger_s", self.linger_s, high=MAX_TIME_S, unit="seconds")
        if self.heartbeat_s * 2 > self.peer_timeout_s:
            raise ValueError(
                f"heartbeat_s ({self.heartbeat_s}) must be at most half of peer_timeout_s ({self.peer_timeout_s})"
            )


@runtime_checkable
class Link(Protocol):
    """One ordered, reliable way between a device and an edge, for opaque frames."""

    @property
    def peer(self) -> str:
        """The other side, for messages and logs only; see ``identity`` for what is proven."""

    @property
    def identity(self) -> str:
        """The authenticated name of the other side, "" where nothing proved one.  It does not change."""

    @property
    def address(self) -> str:
        """The host of the other side when the link was opened, without its port; "" where there is none."""

    @property
    def bytes_sent(self) -> int:
        """Bytes of frames sent, each with its own prefix (see ``frame_overhead``); control traffic is not in it."""

    @property
    def bytes_received(self) -> int:
        """Bytes of frames handed out by ``receive``, each with its own prefix."""

    @property
    def frames_sent(self) -> int:
        """Frames that ``send`` took."""

    @property
    def frames_received(self) -> int:
        """Frames that ``receive`` handed out."""

    def frame_overhead(self, size: int) -> int:
        """Bytes that this transport puts in front of a frame of ``size`` bytes (without TCP, UDP, IP, QUIC)."""

    async def send(self, frame: bytes) -> None:
        """Take ``frame`` (bytes, never empty); wait while the window of unconsumed frames is full.

        Where the peer takes none for ``send_timeout_s`` the link is lost.
        Cancelling it while it waits leaves the frame unsent.  Returning does not mean that the peer has the frame.
        Raises ``FrameTooLarge``, ``LinkClosed``, and ``TypeError`` or ``ValueError`` for what is no frame.
        """

    async def receive(self) -> bytes:
        """The next frame.  Frames that arrived before the end are handed out before ``LinkClosed`` is raised.

        Cancelling it loses nothing.
        """

    async def close(self) -> None:
        """End the link: the peer receives all that was sent, then a clean end.  Harmless when repeated.

        A pending ``send`` or ``receive`` of this side raises ``LinkClosed``; frames not yet received are let go.
        """


@runtime_checkable
class Listener(Protocol):
    """An edge's open door."""

    @property
    def address(self) -> str:
        """Where it listens, with the port that was bound, in the form that ``connect`` takes."""

    async def accept(self) -> Link:
        """The next device's link.  Raises ``LinkClosed`` once the listener is closed."""

    async def close(self) -> None:
        """Close every link cleanly and stop listening.  Harmless when repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """How a device checks the edge by its certificate.  There is no way to switch the check off.

    ``connect`` reads the file, and says so where it cannot.  Raises ``TypeError`` or ``ValueError`` for what is no path
    and no name.
    """

    ca_file: str | Path | None = None
    """PEM file of the authorities to trust; None: the public ones that certifi lists."""

    server_name: str | None = None
    """Name or IP address the certificate must be for; None: the host of the address."""

    cert_sha256: str | None = None
    """SHA-256 of the one certificate to take, 64 hexadecimal digits, with or without colons: in the place of an
    authority and a name."""

    def __post_init__(self) -> None:
        """Refuse what is no path, no name and no hash."""
        check_kind("ca_file", self.ca_file, str, Path, type(None))
        check_kind("server_name", self.server_name, str, type(None))
        check_kind("cert_sha256", self.cert_sha256, str, type(None))
        if self.cert_sha256 is not None:
            if not _SHA256.fullmatch(self.cert_sha256.replace(":", "")):
                raise ValueError(f"cert_sha256 must be 64 hexadecimal digits, not {self.cert_sha256[:80]!r}")
            if self.ca_file is not None or self.server_name is not None:
                raise ValueError("cert_sha256 takes the place of ca_file and server_name: give one or the other")
        if self.server_name == "":
            raise ValueError("server_name must be a name or an IP address, or None for the host of the address")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """What an edge shows.  ``python -m tslt_transports.devcert`` makes one for development.

    ``listen`` reads the files, and says so where it cannot.  Raises ``TypeError`` for what is no path.
    """

    cert_file: str | Path
    """PEM file: the certificate, then the rest of its chain."""

    key_file: str | Path
    """PEM file: the private key, unencrypted."""

    def __post_init__(self) -> None:
        """Refuse what is no path."""
        check_kind("cert_file", self.cert_file, str, Path)
        check_kind("key_file", self.key_file, str, Path)
