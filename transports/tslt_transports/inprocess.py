"""A link inside one process and one event loop: for tests, and for a device and an edge in one program.

It has the windows, limits and ends of the other transports (``flow_control``), no bytes of overhead and no keepalive.
"""

from __future__ import annotations

from tslt_transports.accepting import BaseListener
from tslt_transports.control import ControlType, PeerLimits, encode_reason
from tslt_transports.flow_control import Channel, Parting, PeerGone
from tslt_transports.link import ConnectError, LinkOptions

_DEFAULT_OPTIONS = LinkOptions()


class InProcessLink(Channel):
    """One end of a pair."""

    def __init__(self, *, peer: str, options: LinkOptions, identity: str = "", address: str = "") -> None:
        """Make an end that leads nowhere yet; see ``join``.  ``identity``, ``address``: of the other end."""
        super().__init__(peer=peer, options=options, identity=identity, address=address)
        self._other: InProcessLink | None = None

    def join(self, other: InProcessLink) -> None:
        """Make ``self`` and ``other`` the two ends of one link."""
        for one, two in ((self, other), (other, self)):
            one._other = two
            one.negotiate(PeerLimits.of(two._options))

    def sever(self, reason: str = "severed") -> None:
        """Cut the link as a broken network would: both ends see it lost."""
        other = self._other
        self.lose(reason)
        if other is not None:
            other.lose(reason)

    def frame_overhead(self, size: int) -> int:
        """0: frames are handed over as they are."""
        return 0

    def _write_frame(self, frame: bytes) -> None:
        self._require_other().deliver_frame(frame)

    def _write_control(self, data: bytes) -> None:
        self._require_other().deliver_control(data)

    def _hang_up(self, parting: Parting, reason: str) -> None:
        other, self._other = self._other, None
        if other is not None and parting is not Parting.NOTHING:
            self._tell(other, parting, reason)

    def _tell(self, other: InProcessLink, parting: Parting, reason: str) -> None:
        if parting is Parting.CLEAN:
            other.deliver_end()
        else:
            other.deliver_control(encode_reason(ControlType.LOST, reason))

    def _require_other(self) -> InProcessLink:
        if self._other is None:
            raise PeerGone("the other end is gone")
        return self._other


def pair(options: LinkOptions = _DEFAULT_OPTIONS) -> tuple[InProcessLink, InProcessLink]:
    """The device's and the edge's end of a new link.  Needs a running event loop."""
    device = InProcessLink(peer="inproc:edge", options=options)
    edge = InProcessLink(peer="inproc:device", options=options)
    device.join(edge)
    return device, edge


class InProcessListener(BaseListener):
    """A ``Listener`` for links inside this process; devices use its ``connect``; its address is a name."""

    def __init__(self, options: LinkOptions = _DEFAULT_OPTIONS) -> None:
        """``options`` are the edge's; a device may have others."""
        super().__init__(address="inproc:edge", options=options)
        self._count = 0

    async def connect(
        self, *, options: LinkOptions = _DEFAULT_OPTIONS, identity: str = "", address: str = ""
    ) -> InProcessLink:
        """Open a link to this listener.  Raises ``ConnectError`` where it is closed or full.

        ``identity``, ``address``: of the device, as the edge's end shall have them.  Nothing proves them in a process.
        """
        refusal = self.backlog.refusal()
        if refusal is not None:
            raise ConnectError(address=self.address, reason=f"the edge refused: {refusal}", hint="close a link first")
        self._count += 1
        device = InProcessLink(peer=self.address, options=options)
        edge = InProcessLink(
            peer=f"inproc:device-{self._count}", options=self._options, identity=identity, address=address
        )
        device.join(edge)
        self.backlog.add(edge)
        return device

    async def _stop(self) -> None:
        pass  # there is no socket
