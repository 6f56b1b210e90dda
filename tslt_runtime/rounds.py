"""What a device knows of a round once it is over."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One finished round."""

    accepted: tuple[int, ...]
    """Drafted tokens that the edge kept."""
    token: int
    """The target's own token after them."""
    end: bool
    """Whether the text ends with it."""
    drafted: int
    """Depth of the draft: the most tokens that could have been accepted."""
    tried: int
    """Positions at which the edge tested the draft: the accepted ones and, if there was one, the rejected one."""
    lists: int
    """Distributions in the draft."""
    nodes: int
    """Nodes of the draft."""
    uplink_bytes: int
    """The device's frames, the draft and what may follow it, with what the transport adds to them."""
    downlink_bytes: int
    """The edge's frames, likewise."""
    draft_s: float
    """Seconds spent drafting and encoding."""
    link_s: float
    """Seconds on the way, both ways, queues included."""
    verify_s: float
    """Seconds the edge says it took."""
    trips: int = 1
    """Round trips: more than one if the edge was asked for more proposals, or asked for a list."""
    reconnects: int = 0
    """Links that broke in it: its times and bytes have what that cost."""
    log_probs: tuple[float, ...] = ()
    """Log probability of each of ``tokens`` in the target's distribution, sampling settings applied, in nats, off by
    1/2048 at most; none unless HELLO asks for them (``tslt_wire.messages.log_probs.WANTED``) and the edge says."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """What the text grew by."""
        return (*self.accepted, self.token)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A frame each way."""

    uplink_bytes: int
    downlink_bytes: int
    seconds: float
    """From the first byte out to the last one in, the edge's part included."""
