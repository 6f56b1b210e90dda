"""What a device knows of a round once it is over."""

from __future__ import annotations

from dataclasses import dataclass, field

from tslt_runtime.drafting import DraftSettings
from tslt_wire import Flight


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One finished round."""

    accepted: tuple[int, ...]
    """Drafted tokens that the edge kept."""
    token: int | None
    """The target's own token after them; None where all of a draft was accepted that goes on: the next one follows."""
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
    others: int = 0
    """For how many others the edge worked meanwhile, as it says; 0 if it does not."""
    row_s: float = 0.0
    """Seconds that a row adds to a pass of the target, as the edge says; 0 if it does not."""
    reconnects: int = 0
    """Links that broke in it: its times and bytes have what that cost."""
    ahead: int = 0
    """Levels of the draft that were drawn while the verdict before it was awaited."""
    dropped: int = 0
    """Drafts that were in flight after it, and lost their ground with its verdict."""
    flight: Flight | None = None
    """How its draft stood to those before and after it; None: alone.  Of one that follows the times are those of
    several."""
    frame_bytes: int = 0
    """The draft's own frame, without what the transport adds to it."""
    settings: DraftSettings | None = None
    """How it was drafted."""
    log_probs: tuple[float, ...] = ()
    """Log probability of each of ``tokens`` in the target's distribution, sampling settings applied, in nats, off by
    1/2048 at most; none unless HELLO asks for them (``tslt_wire.messages.log_probs.WANTED``) and the edge says."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """What the text grew by."""
        return self.accepted if self.token is None else (*self.accepted, self.token)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A frame each way."""

    uplink_bytes: int
    downlink_bytes: int
    seconds: float
    """From the first byte out to the last one in, the edge's part included."""


@dataclass(slots=True)
class Tally:
    """Sums over rounds."""

    rounds: list[Round] = field(default_factory=list)
    wall_s: float = 0.0
    """Seconds from the first draft to the last verdict."""

    @property
    def tokens(self) -> int:
        """Tokens generated."""
        return sum(len(r.tokens) for r in self.rounds)

    @property
    def tried(self) -> int:
        """Positions that were tested."""
        return sum(r.tried for r in self.rounds)

    @property
    def alpha(self) -> float:
        """Accepted positions over tested positions; 0.0 if none was tested."""
        return sum(len(r.accepted) for r in self.rounds) / self.tried if self.tried else 0.0

    def per_token(self, name: str) -> float:
        """Sum of a field of the rounds over the tokens generated."""
        total: float = sum(getattr(r, name) for r in self.rounds)
        return total / max(1, self.tokens)
