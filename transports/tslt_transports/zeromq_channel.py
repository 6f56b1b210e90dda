"""What both ends of a ZeroMQ link share: what its messages mean.

A message of one part is a frame, as it is; a message of one empty part is the clean end of the link, which the other
side answers with another; a message of an empty part and a second one is a control message (see ``control``).  Nothing
else is valid.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence

from tslt_transports.control import ControlType, encode_reason
from tslt_transports.flow_control import Channel, Parting, PeerGone
from tslt_transports.link import LinkOptions
from tslt_transports.zmtp import LONG_FROM, LONG_HEADER_BYTES, SHORT_HEADER_BYTES


class ZmqChannel(Channel):
    """What the links of both ends share."""

    def __init__(self, *, peer: str, options: LinkOptions, identity: str = "", address: str = "") -> None:
        """See ``Channel``."""
        super().__init__(peer=peer, options=options, identity=identity, address=address)
        self._peer_ended = False  # cleanly: its end arrived
        self._we_ended = False
        self._over = asyncio.Event()  # both ended, or the peer is gone

    def frame_overhead(self, size: int) -> int:
        """The bytes of the ZMTP header: flags and a length of 1 byte up to 255, of 8 above."""
        return SHORT_HEADER_BYTES if size < LONG_FROM else LONG_HEADER_BYTES

    def _write_frame(self, frame: bytes) -> None:
        self._post([frame])

    def _write_control(self, data: bytes) -> None:
        self._post([b"", data])

    @abstractmethod
    def _post(self, parts: Sequence[bytes]) -> None:
        """Send a message.  Raises ``PeerGone``."""

    def deliver(self, parts: Sequence[bytes]) -> None:
        """Take one message from the peer."""
        match parts:
            case [b""]:
                self._peer_ended = True
                self._over.set()
                self.deliver_end()
            case [frame]:
                self.deliver_frame(frame)
            case [b"", control]:
                self.deliver_control(control)
            case _:
                self.lose(f"the peer sent a message of {len(parts)} parts", tell=True)

    def _hang_up(self, parting: Parting, reason: str) -> None:
        try:
            if parting is Parting.LOSS:
                self._post([b"", encode_reason(ControlType.LOST, reason)])
            elif parting is Parting.CLEAN or self._peer_ended:
                self._post([b""])
        except PeerGone:  # then nobody is left to tell
            self._over.set()
        if parting is Parting.CLEAN:
            self._we_ended = True
        else:
            self._dispose()

    async def _flush(self) -> None:
        # libzmq would go on by itself (LINGER), but not beyond the end of this process, which may come next.
        try:
            if self._we_ended:
                await asyncio.wait_for(self._over.wait(), self._options.linger_s)
        except TimeoutError:
            pass  # the peer sees a loss unless libzmq still gets it through
        finally:
            self._dispose()

    @abstractmethod
    def _dispose(self) -> None:
        """Let go of what the link holds.  Harmless when repeated."""
