"""Captures: every frame of every link in one file, byte for byte, with its direction and time.

A ``Capture`` wraps links or a listener; what they carry does not change, and a file that cannot be written any more
ends the capture, not the session.  ``read_capture`` gives the frames back; ``tslt inspect`` shows them.

A file is 7 bytes ``TSLTcap`` and a byte, the version of this layout, 1; then one record a frame, each appended with one
write.  Integers are little-endian:

    length  4 bytes   bytes of the frame, 1 to 2**28 - 1
    link    4 bytes   number of the link, from 0 on in the order in which links came
    sender  1 byte    0: the device, 1: the edge
    time    8 bytes   microseconds since the first frame
    frame   length bytes

A frame is recorded when ``send`` took it or ``receive`` handed it out.  A capture holds all tokens of prompts and
texts: nobody but its owner may read it (mode 0600).
"""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from tslt_transports.link import MAX_FRAME_BYTES_CEILING, Link, Listener

from tslt_wire.frames.kinds import Role

log = logging.getLogger("tslt.capture")

MAGIC = b"TSLTcap"
VERSION = 1
START_BYTES = len(MAGIC) + 1
"""Bytes before the first record."""
MODE = 0o600
"""Who may read a capture: its owner."""
_HEAD = struct.Struct("<IIBQ")
_SENDERS = (Role.DEVICE, Role.EDGE)
_CHUNK_BYTES = 1 << 20
"""Most bytes that are asked for at once: what a damaged length costs where the bytes are not there."""


class CaptureError(ValueError):
    """A file is no capture, or one only up to a point; the message says where and why."""


class Record(NamedTuple):
    """One frame of a capture."""

    time_s: float
    """Seconds since the first frame."""
    link: int
    """Which link carried it."""
    sender: Role
    """Which end it came from."""
    frame: bytes


class Capture:
    """A capture that is being written; ``link`` and ``listener`` say of what.  Close it, or use it with ``with``."""

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.perf_counter) -> None:
        """Make the file, which must not be there yet.  ``clock``: seconds.  OSError where it cannot be made."""
        self._path = Path(path)
        try:
            # Unbuffered: what was recorded is in the file, whatever becomes of this process.
            self._file = open(path, "xb", buffering=0, opener=_private)  # noqa: SIM115 - it stays open
        except FileExistsError:
            raise FileExistsError(f"{path} is there already, and a capture overwrites nothing") from None
        self._clock = clock
        self._first: float | None = None
        self._links = 0
        self.failure: OSError | None = None
        """Why the file could not be written any more; None as long as all is well."""
        self._append(MAGIC + bytes([VERSION]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def link(self, link: Link, *, end: Role) -> CapturedLink:
        """``link``, whose frames are recorded under the next number; ``end``: which end of it is here."""
        self._links += 1
        return CapturedLink(link, self, number=self._links - 1, end=Role(end))

    def listener(self, listener: Listener) -> CapturedListener:
        """An edge's ``listener``, all links of which are recorded."""
        return CapturedListener(listener, self)

    def record(self, number: int, sender: Role, frame: bytes) -> None:
        """Append a frame of the link ``number``.  A file that cannot be written is logged, once, and then let be."""
        now = self._clock()
        if self._first is None:
            self._first = now
        micros = max(0, round((now - self._first) * 1e6))
        self._append(_HEAD.pack(len(frame), number, _SENDERS.index(sender), micros) + frame)

    def _append(self, data: bytes) -> None:
        if self.failure is not None or self._file.closed:
            return
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.failure = error
            log.error("the capture %s ends here: %s; the session goes on", self._path, error.strerror or error)

    def close(self) -> None:
        """Record no more.  A file that no frame came to is removed.  Does nothing the second time."""
        if self._file.closed:
            return
        self._file.close()
        if self._first is None:
            self._path.unlink(missing_ok=True)


def capturing(path: str | Path | None) -> AbstractContextManager[Capture | None]:
    """A capture in the file ``path``, for ``with``; None: no capture."""
    return nullcontext() if path is None else Capture(path)


class CapturedLink:
    """A ``Link`` whose frames are recorded; see there."""

    def __init__(self, link: Link, capture: Capture, *, number: int, end: Role) -> None:
        """Made by ``Capture.link``."""
        self._link = link
        self._capture = capture
        self._number = number
        self._end = end

    @property
    def peer(self) -> str:
        """See ``Link.peer``."""
        return self._link.peer

    @property
    def identity(self) -> str:
        """See ``Link.identity``."""
        return self._link.identity

    @property
    def address(self) -> str:
        """See ``Link.address``."""
        return self._link.address

    @property
    def bytes_sent(self) -> int:
        """See ``Link.bytes_sent``."""
        return self._link.bytes_sent

    @property
    def bytes_received(self) -> int:
        """See ``Link.bytes_received``."""
        return self._link.bytes_received

    @property
    def frames_sent(self) -> int:
        """See ``Link.frames_sent``."""
        return self._link.frames_sent

    @property
    def frames_received(self) -> int:
        """See ``Link.frames_received``."""
        return self._link.frames_received

    def frame_overhead(self, size: int) -> int:
        """See ``Link.frame_overhead``."""
        return self._link.frame_overhead(size)

    async def send(self, frame: bytes) -> None:
        """See ``Link.send``; what it did not take is not recorded."""
        await self._link.send(frame)
        self._capture.record(self._number, self._end, frame)

    async def receive(self) -> bytes:
        """See ``Link.receive``."""
        frame = await self._link.receive()
        self._capture.record(self._number, _OTHER_END[self._end], frame)
        return frame

    async def close(self) -> None:
        """See ``Link.close``."""
        await self._link.close()


class CapturedListener:
    """A ``Listener`` whose links are recorded; see there."""

    def __init__(self, listener: Listener, capture: Capture) -> None:
        """Made by ``Capture.listener``."""
        self._listener = listener
        self._capture = capture

    @property
    def address(self) -> str:
        """See ``Listener.address``."""
        return self._listener.address

    async def accept(self) -> Link:
        """See ``Listener.accept``."""
        return self._capture.link(await self._listener.accept(), end=Role.EDGE)

    async def close(self) -> None:
        """See ``Listener.close``."""
        await self._listener.close()


_OTHER_END = {Role.DEVICE: Role.EDGE, Role.EDGE: Role.DEVICE}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, MODE)


def is_capture(start: bytes) -> bool:
    """Whether a file that starts with these bytes, at least 7, means to be a capture."""
    return start[: len(MAGIC)] == MAGIC


def read_capture(file: BinaryIO, *, start: bytes = b"") -> Iterator[Record]:
    """The records of a capture, as they are read; no more than one is held.

    ``start``: those of its first 8 bytes that were read already.  Raises CaptureError for what is no capture.  Of one
    that is damaged, or ends within a record, the records before that come first.
    """
    start += _read(file, START_BYTES - len(start))
    if not is_capture(start):
        raise CaptureError(f"no capture: one starts with {MAGIC.decode()}")
    if start[len(MAGIC) :] != bytes([VERSION]):
        said = f"version {start[-1]}" if len(start) > len(MAGIC) else "no version"
        raise CaptureError(f"a capture of {said}, and only version {VERSION} is known here")
    at = len(start)
    while head := _read(file, _HEAD.size):
        if len(head) < _HEAD.size:
            raise _cut(at)
        length, link, sender, micros = _HEAD.unpack(head)
        if not 0 < length <= MAX_FRAME_BYTES_CEILING or sender >= len(_SENDERS):
            raise CaptureError(f"the capture is damaged at byte {at}: no record starts like this")
        frame = _read(file, length)
        if len(frame) < length:
            raise _cut(at)
        yield Record(micros / 1e6, link, _SENDERS[sender], frame)
        at += len(head) + length


def _read(file: BinaryIO, count: int) -> bytes:
    """``count`` bytes, or what is left; memory is taken for what is there alone."""
    found = bytearray()
    while len(found) < count and (chunk := file.read(min(count - len(found), _CHUNK_BYTES))):
        found += chunk
    return bytes(found)


def _cut(at: int) -> CaptureError:
    return CaptureError(f"the capture ends within the record at byte {at}: whoever wrote it was stopped there")
