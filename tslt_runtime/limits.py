"""What an edge takes on, in one place: devices, times, sizes, and how its passes are made up."""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire import checks
from tslt_wire.messages.flight import MOST_WINDOW

LEAST_DOORWAY = 8
"""Links that any edge has beyond those that are served."""
LEAST_PEER_LINKS = 8
"""Links that one device or address may have at any edge: a small one is somebody's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLimits:
    """Limits of one edge; each bounds memory or the time of others."""

    devices: int = 256
    """Devices that are served at once; one more is told so, and when to come again."""
    hello_timeout_s: float = 10.0
    """Seconds a new link has to say HELLO: several round trips over a bad link."""
    idle_timeout_s: float = 300.0
    """Seconds a session may be silent: a user who reads before typing on, not one who left."""
    resume_s: float = 120.0
    """Seconds that a session without a link is kept for: a train in a tunnel.  After that its tokens are asked for."""
    parked: int = 256
    """Sessions without a link that are kept, the latest: each holds the tokens of its text, and its cache until others
    need the memory."""
    parked_each: int = 8
    """Sessions without a link of one device, or of one address where devices have no keys."""
    rows_bytes: int = 1 << 26
    """Bytes that the rows of one tree, (1 + nodes, V), would take in float64: bounds the largest tree that an edge
    offers to verify."""
    least_nodes: int = 16
    """Nodes that an edge offers to verify whatever the vocabulary: a chain that long is worth drafting."""
    most_entries: int = 1 << 18
    """Listed tokens of a draft: two whole distributions over the largest vocabulary that is in use."""
    rows: int = 512
    """Rows of one pass of the model, of all texts together: bounds its logits, rows x V numbers.  A larger tree has a
    pass for itself."""
    chunk: int = 512
    """Tokens of prompts in one pass: half a second or less on the models that run on a CPU.  Fewer while rounds go on,
    so that a pass takes about half as long again as without, at most."""
    cache_bytes: int = 4 << 30
    """Bytes of all texts' caches.  Beyond it the caches of idle texts are dropped, and read again when needed."""
    share_least: int = 32
    """Tokens with which two texts must start alike for the second to copy the first one's cache; 0: never."""
    wait: float = 1.0
    """How long a pass that could start waits for devices that are expected at any moment, as a part of what sharing it
    saves (1: nobody waits for longer than it can be worth); 0: never."""
    verify_threads: int = 1
    """Threads that compare drafts with the model's rows, beside the one that runs the model."""
    peer_links: int | None = None
    """Links of one device that proved its name, or else of one address (of one /64 of IPv6), at once; None: half of
    ``devices``, and 8 at least."""
    peer_queue: int = 32
    """Requests of one of these in the queue for the model at once; more wait outside."""
    target_ms_per_s: float = 500.0
    """Milliseconds of the target that one of these may take a second, while others are served, too: half of what there
    is.  Of passes that texts share each has its part by rows, and the time of comparing drafts counts as well."""
    prompt_tokens_per_s: float = 1000.0
    """Tokens of prompts that the target reads for one of these a second, likewise."""
    burst_s: float = 10.0
    """Seconds of these two rates that may be taken at once after a rest."""
    pace_s: float = 10.0
    """Seconds that a request waits until there is budget for it again; where that is longer, the device is told how
    long to stay away."""
    window: int = 4
    """Drafts of a session that may be unanswered at a time: each but the first is held, scored with the one before it
    where both are there, and checked for nothing where that is not accepted whole."""
    window_links: int = 4
    """Links at once up to which a new session has that window, and else 1: where passes are shared, a device that waits
    costs the others nothing, and drafts in flight are more passes a token."""
    mores: int = 256
    """MOREs of a round that are answered at once; each one after them waits a tenth of a second."""

    @property
    def doorway(self) -> int:
        """Links beyond ``devices``: half for those that are told why they are not served, half for who comes in."""
        return max(LEAST_DOORWAY, self.devices // 8)

    @property
    def links(self) -> int:
        """Links that a listener has to have (``LinkOptions.max_links``), so that nobody in the doorway takes a
        device's place."""
        return self.devices + self.doorway

    def nodes(self, vocab_size: int) -> int:
        """Nodes of the largest tree that is verified, with rows of so many tokens."""
        return max(self.least_nodes, self.rows_bytes // (8 * vocab_size))

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError for limits that nothing could be served with."""
        least = dict.fromkeys(("devices", "rows_bytes", "rows", "chunk", "cache_bytes", "verify_threads"), 1)
        least |= dict.fromkeys(("most_entries", "peer_queue", "parked", "parked_each"), 1)
        if self.peer_links is None:
            object.__setattr__(self, "peer_links", max(LEAST_PEER_LINKS, self.devices // 2))
        object.__setattr__(self, "window", checks.integer("window", self.window, 1, MOST_WINDOW))
        for name, low in {
            **least,
            "least_nodes": 0,
            "share_least": 0,
            "peer_links": 1,
            "mores": 0,
            "window_links": 0,
        }.items():
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), low, None))
        above_0 = ["hello_timeout_s", "idle_timeout_s", "resume_s", "burst_s", "pace_s"]
        above_0 += ["target_ms_per_s", "prompt_tokens_per_s"]
        for name in above_0:
            if not 0 < getattr(self, name) < float("inf"):
                unit = "seconds" if name.endswith("_s") and "per" not in name else "units"
                raise ValueError(f"{name} must be a number of {unit} above 0, got {getattr(self, name)!r}")
        if not 0 <= self.wait <= 1:
            raise ValueError(f"wait must be a part of a pass, 0 to 1, got {self.wait!r}")


DEFAULT_LIMITS = EdgeLimits()
"""The limits of an edge that is told none."""
