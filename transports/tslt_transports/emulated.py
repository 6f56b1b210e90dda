"""An in-process link with a rate and a round trip, in real time or in virtual time: for tests, demos and benchmarks.

A frame waits until those before it have left (FIFO), takes its bytes over the rate to leave and half a round trip to
arrive.  Its bytes are those of the QUIC transport, length prefix included, since that is what a thin link would carry;
packet headers are in ``Network.packet_overhead``, and, as with the other transports, in no counter.

Virtual time: each end has a ``VirtualClock`` of its own, which its owner advances for computing.  A frame leaves at the
sender's time and carries its arrival; receiving it sets the receiver's clock to that, if it is not later already.  So
times do not depend on how tasks are scheduled, two ends may compute at the same time, and equal runs are equal to the
last bit.  What waits for something else than a frame (a full window, an end of the link) costs no virtual time.
"""

from __future__ import annotations

import math
import random
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from tslt_transports.checks import check_kind, check_number, check_whole
from tslt_transports.flow_control import Parting, PeerGone
from tslt_transports.framing import prefix_bytes
from tslt_transports.inprocess import InProcessLink
from tslt_transports.link import LinkOptions

PACKET_BYTES: Final = 1200
"""Most bytes of a packet: what QUIC may send anywhere."""

_CONTROL_PREFIX_BYTES: Final = 2
"""Bytes in front of a control message (see ``framing``), and about what the end of a stream costs."""

_BITS_A_BYTE: Final = 8
_MAX_SEED: Final = (1 << 64) - 1
_DEFAULT_OPTIONS: Final = LinkOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What lies between a device and an edge.

    Raises ``ValueError`` for what cannot be, ``TypeError`` for what is no number.
    """

    uplink_bit_s: float = math.inf
    """Bits a second from the device to the edge."""
    downlink_bit_s: float = math.inf
    """Bits a second from the edge to the device."""
    rtt_s: float = 0.0
    """Seconds an empty frame and its echo take; half each way."""
    jitter_s: float = 0.0
    """Mean of an exponentially distributed delay that each frame has on top; order is kept."""
    loss: float = 0.0
    """Probability that a packet of ``PACKET_BYTES`` is lost.  It is sent again after a round trip, and what comes after
    it waits, as on every ordered and reliable link."""
    packet_overhead: int = 0
    """Bytes of headers that each packet adds on the way (UDP, IP and QUIC: about 60).  0: rates are goodput."""
    seed: int = 0
    """Of jitter and loss, each direction with its own numbers."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name in ("uplink_bit_s", "downlink_bit_s"):
            check_number(name, getattr(self, name), unit="bit/s")
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be above 0 bit/s")
        for name in ("rtt_s", "jitter_s"):
            check_number(name, getattr(self, name), high=sys.float_info.max, unit="seconds")
        check_number("loss", self.loss)
        if self.loss >= 1:
            raise ValueError(f"loss must be in [0, 1), not {self.loss}")
        check_whole("packet_overhead", self.packet_overhead, low=0, high=PACKET_BYTES)
        check_whole("seed", self.seed, low=0, high=_MAX_SEED)


class VirtualClock:
    """Seconds that pass only when told to.  Call it for the time."""

    def __init__(self, now: float = 0.0) -> None:
        """``now``: seconds."""
        check_number("now", now, unit="seconds")
        self._now = now

    def __call__(self) -> float:
        """The time in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass; ``ValueError`` if they are negative, ``TypeError`` if they are no number."""
        check_number("seconds (time does not go back)", seconds, unit="seconds")
        self._now += seconds

    def advance_to(self, time: float) -> None:
        """Let it be ``time``, if it is not later already."""
        self._now = max(self._now, time)


class Line:
    """One direction: says when a frame that is handed over now arrives.  Usable without a link, to replay frames."""

    def __init__(self, network: Network, *, uplink: bool) -> None:
        """An idle line."""
        self._network = network
        self._bit_s = network.uplink_bit_s if uplink else network.downlink_bit_s
        self._random = random.Random(2 * network.seed + uplink)
        self._free_at = self._last_arrival = -math.inf

    def arrival(self, now: float, size: int) -> float:
        """Seconds at which ``size`` bytes that are handed over at ``now`` have arrived; ``now`` must not go back."""
        net = self._network
        packets = max(1, -(-size // PACKET_BYTES))
        start = max(now, self._free_at)
        self._free_at = start + self._seconds(size + packets * net.packet_overhead)
        arrival = self._free_at + net.rtt_s / 2
        if net.jitter_s:
            arrival += self._random.expovariate(1 / net.jitter_s)
        while net.loss and (packets := sum(self._random.random() < net.loss for _ in range(packets))):
            again = self._seconds(min(size, packets * PACKET_BYTES) + packets * net.packet_overhead)
            self._free_at += again
            arrival += net.rtt_s + again
        self._last_arrival = max(self._last_arrival, arrival)
        return self._last_arrival

    def _seconds(self, size: int) -> float:
        return _BITS_A_BYTE * size / self._bit_s


class EmulatedLink(InProcessLink):
    """One end of an ``emulated_pair``."""

    def __init__(self, *, peer: str, options: LinkOptions, line: Line, clock: VirtualClock | None) -> None:
        """``line``: from this end to the other."""
        super().__init__(peer=peer, options=options)
        self._line = line
        self.clock = clock
        """This end's virtual time; None: real time."""
        self._arrivals: deque[float] = deque()
        self._underway: deque[Callable[[], None]] = deque()

    def frame_overhead(self, size: int) -> int:
        """The bytes of the QUIC transport's length prefix, 1 to 4."""
        return prefix_bytes(size)

    async def receive(self) -> bytes:
        """See ``Link.receive``; in virtual time it is then the frame's arrival at least."""
        frame = await super().receive()
        if self.clock is not None:
            self.clock.advance_to(self._arrivals.popleft())
        return frame

    def _write_frame(self, frame: bytes) -> None:
        other = self._emulated_other()
        size = len(frame) + prefix_bytes(len(frame))
        if self.clock is None:
            self._later(size, partial(other.deliver_frame, frame))
        else:
            other._arrivals.append(self._line.arrival(self.clock(), size))
            other.deliver_frame(frame)

    def _write_control(self, data: bytes) -> None:
        other = self._emulated_other()
        if self.clock is None:
            self._later(len(data) + _CONTROL_PREFIX_BYTES, partial(other.deliver_control, data))
        else:
            other.deliver_control(data)

    def _tell(self, other: InProcessLink, parting: Parting, reason: str) -> None:
        tell = partial(super()._tell, other, parting, reason)
        if self.clock is None:
            self._later(_CONTROL_PREFIX_BYTES, tell)
        else:
            tell()

    def _later(self, size: int, deliver: Callable[[], None]) -> None:
        """Real time: ``deliver`` when ``size`` bytes have arrived, after all that was sent before."""
        self._underway.append(deliver)
        self._loop.call_at(self._line.arrival(self._loop.time(), size), self._deliver_next)

    def _deliver_next(self) -> None:
        # The first that was sent, whatever order the loop calls timers of one moment in.
        self._underway.popleft()()

    def _emulated_other(self) -> EmulatedLink:
        if not isinstance(self._other, EmulatedLink):
            raise PeerGone("the other end is gone")
        return self._other


def emulated_pair(
    network: Network,
    *,
    clocks: tuple[VirtualClock, VirtualClock] | None = None,
    options: LinkOptions = _DEFAULT_OPTIONS,
) -> tuple[EmulatedLink, EmulatedLink]:
    """The device's and the edge's end of a new link.  Needs a running event loop.

    ``clocks``: the device's and the edge's for virtual time, two objects; None: real time.  Raises ``ValueError`` if
    they are one.
    """
    check_kind("network", network, Network)
    if clocks is not None and clocks[0] is clocks[1]:
        raise ValueError("each end needs a clock of its own: both may compute at the same time")
    mine, theirs = clocks or (None, None)
    device = EmulatedLink(peer="emulated:edge", options=options, line=Line(network, uplink=True), clock=mine)
    edge = EmulatedLink(peer="emulated:device", options=options, line=Line(network, uplink=False), clock=theirs)
    device.join(edge)
    return device, edge
