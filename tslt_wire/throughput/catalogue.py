"""What a planner can choose from: ways to make evidence with their bytes, and shapes of drafts.

Spec section 6 has the kinds of evidence.  The figures are where a session starts, not what it relies on: a planner
replaces them by what it sees.  They are the default pair's: acceptance and bytes of lists are those of
benchmarks/results/evidence_acceptance.json, other bytes those of real frames in benchmarks/results/best_evidence.json.
"""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire.checks import integer, number, one_of
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.lists.defaults import DEFAULTS
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.profile import ENTROPY_IDS
from tslt_wire.throughput.model import Wire

EVIDENCE = ("match", "coupled", "scalar", "lazy", "list", "full")
"""What a planner tells apart: the names of HELLO and WELCOME, and ``full``, a ``list`` of the whole vocabulary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way to make evidence, with what is known about it before a session.

    ValueError for a kind of evidence or a precision that there is not, an acceptance that is none, or a number out of
    range; TypeError for other types.
    """

    evidence: str
    """One of ``EVIDENCE``."""
    wire: Wire
    alphas: tuple[float, ...]
    """Expected acceptance of 1, 2, ... siblings, strictly between 0 and 1; one value: chains only."""
    k: int = 0
    """Entries of a list at most; 0: none, or the whole vocabulary."""
    entries: int = 0
    """Listed tokens of each parent in a DRAFT, at most: what ``limits.max_entries`` bounds."""
    min_prob: float = 0.0
    """Lists have no token less probable than this."""
    precision: str = ""
    """Of the list; empty: the kind of evidence has none."""
    draft_temperature: float = 1.0
    parent_s: float = 0.0
    """Seconds a parent that this kind may take at the device besides the draft model."""
    token_s: float = 0.0
    """Seconds a token of the text that it may take at the edge besides the target."""

    def __post_init__(self) -> None:
        one_of("evidence", self.evidence, EVIDENCE)
        if not isinstance(self.wire, Wire):
            raise TypeError(f"wire must be a Wire, got {self.wire!r}")
        put = object.__setattr__
        put(self, "alphas", tuple(number("each of alphas", alpha, 0, 1) for alpha in self.alphas))
        for name in ("k", "entries"):
            put(self, name, integer(name, getattr(self, name), 0, None))
        for name in ("min_prob", "draft_temperature", "parent_s", "token_s"):
            put(self, name, number(name, getattr(self, name), 0, 1 if name == "min_prob" else None))
        one_of("precision", self.precision, ("", *(precision.value for precision in Precision)))
        if not self.alphas or not all(0 < a < 1 for a in self.alphas) or list(self.alphas) != sorted(self.alphas):
            raise ValueError(f"alphas must ascend strictly between 0 and 1, got {self.alphas}")

    @property
    def name(self) -> str:
        """For people."""
        least = f"q>={self.min_prob:g}" if self.min_prob else ""
        parts = [self.evidence, least or (f"K={self.k}" if self.k else ""), self.precision]
        return " ".join(part for part in parts if part)


_TEMPERATURES = (1.0, 0.7, 0.0)
"""Of the target, measured; the draft's is the same, but at least ``_LEAST_DRAFT``."""
_LEAST_DRAFT = 0.3
Alphas = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Lists:
    """One way to make lists, measured; one value for each of ``_TEMPERATURES``."""

    k: int
    min_prob: float
    precision: str
    alphas: tuple[Alphas, Alphas, Alphas]
    """Acceptance of 1, 2, 3 and 4 siblings."""
    coded: tuple[float, float, float]
    """Bytes of a list, range-coded."""
    packed: tuple[float, float, float]
    """The same, bit-packed."""


_MATCH = ((0.192, 0.294, 0.347, 0.386), (0.356, 0.517, 0.584, 0.634), (0.648, 0.844, 0.867, 0.914))
_COUPLED = ((0.752, 0.882, 0.935, 0.955), (0.712, 0.862, 0.916, 0.940), (0.553, 0.778, 0.859, 0.895))
_LEAST = _Lists(
    64, 0.015, "log2/0",
    ((0.525, 0.561, 0.578, 0.590), (0.654, 0.700, 0.721, 0.732), (0.583, 0.688, 0.739, 0.770)),
    (12.8, 11.3, 5.9),
    (21.8, 18.9, 9.7),
)  # fmt: skip
_K16 = _Lists(
    16, 0.0, "log2/0",
    ((0.589, 0.631, 0.652, 0.665), (0.694, 0.748, 0.775, 0.791), (0.561, 0.681, 0.739, 0.774)),
    (21.3, 21.8, 24.6),
    (38.5, 39.4, 41.8),
)  # fmt: skip
_K64 = _Lists(
    64, 0.0, "log2/0",
    ((0.662, 0.711, 0.734, 0.749), (0.731, 0.793, 0.824, 0.843), (0.560, 0.680, 0.738, 0.773)),
    (74.3, 77.9, 85.2),
    (150.6, 153.8, 155.3),
)  # fmt: skip
_K320 = _Lists(
    320, 0.0, "log2/1",
    ((0.720, 0.774, 0.800, 0.816), (0.752, 0.815, 0.846, 0.866), (0.563, 0.682, 0.739, 0.774)),
    (376.1, 396.9, 247.6),
    (798.1, 821.8, 455.1),
)  # fmt: skip
_FULL = _Lists(
    0, 0.0, "log2/1",
    ((0.785, 0.848, 0.878, 0.897), (0.761, 0.825, 0.858, 0.878), (0.563, 0.682, 0.739, 0.774)),
    (15720.9, 16452.8, 569.5),
    (23972.8, 58153.8, 1257.8),
)  # fmt: skip
_FULL_VOCABULARY = 32_000
"""What ``_FULL`` was measured with."""
_FRAME, _LIST_FRAME, _VERDICT = 11.1, 12.3, 15.0
"""Bytes of a DRAFT without tokens, of one with lists, and of a VERDICT that tells its time, transport included."""
_ID, _CODE = 2.1, 1.35
"""Bytes of a drafted id, and of q(x) beside it; with a list, the id is next to nothing."""
_PROPOSALS, _REJECTED, _NAMED = 20, 80.0, 4.0
"""``scalar``: (y, p(y)) that a rejection brings, bytes of them all, and bytes that name the one that is taken."""
_RACE_S, _WRITE_S = 4e-8, 5e-8
"""Seconds for each token of the vocabulary that races, and for each entry of a list to write, or to read."""


def default_modes(vocab_size: int = 32_000, *, temperature: float = 1.0, entropy: str = "range") -> tuple[Mode, ...]:
    """Modes to choose from for a target at ``temperature`` (the nearest one measured is taken).

    ``entropy``: the session's coder, which decides how long lists are; ``zstd`` counts as ``none``, since it shortens
    no list.  ValueError for another name or numbers out of range, TypeError for other types.
    """
    vocab_size = integer("vocab_size", vocab_size, 1, MAX_VOCAB_SIZE)
    temperature = number("temperature", temperature, 0, None)
    one_of("entropy", entropy, tuple(ENTROPY_IDS))
    at = min(range(len(_TEMPERATURES)), key=lambda i: abs(_TEMPERATURES[i] - temperature))
    drafted = max(temperature, _LEAST_DRAFT)

    def ids(evidence: str, alphas: Alphas, draft_temperature: float, race_s: float = 0.0) -> Mode:
        return Mode(
            evidence=evidence,
            wire=Wire(frame=_FRAME, node=_ID, verdict=_VERDICT),
            alphas=alphas,
            draft_temperature=draft_temperature,
            parent_s=race_s * vocab_size,
            token_s=race_s * vocab_size,
        )

    def lists(evidence: str, made: _Lists) -> Mode:
        size = (made.coded if entropy == "range" else made.packed)[at]
        alphas = made.alphas[at]
        if evidence == "full":
            size *= vocab_size / _FULL_VOCABULARY
        wire = Wire(frame=_LIST_FRAME, node=0.0, parent=size, verdict=_VERDICT)
        if evidence == "lazy":
            alphas = alphas[:1]
            wire = Wire(
                frame=_FRAME, node=_ID + _CODE, verdict=_VERDICT,
                rejection_down=_VERDICT, rejection_up=10 + size, rejection_trips=1.0,
            )  # fmt: skip
        entries = (made.k or vocab_size) if wire.parent else 0
        return Mode(
            evidence=evidence,
            wire=wire,
            alphas=alphas,
            k=made.k,
            min_prob=made.min_prob,
            entries=entries,
            precision=made.precision,
            draft_temperature=drafted * (DEFAULTS.draft_temperature if made.min_prob else 1.0),
            parent_s=_WRITE_S * entries,
            token_s=_WRITE_S * entries,
        )

    scalar = Wire(
        frame=_FRAME,
        node=_ID + _CODE,
        verdict=_VERDICT,
        rejection_down=_REJECTED,
        rejection_up=_NAMED,
        proposals=_PROPOSALS,
    )
    return (
        ids("match", _MATCH[at], 0.0),
        ids("coupled", _COUPLED[at], drafted, _RACE_S),
        Mode(evidence="scalar", wire=scalar, alphas=_FULL.alphas[at][:1], draft_temperature=drafted),
        *(lists("lazy", made) for made in (_LEAST, _K64, _K320)),
        *(lists("list", made) for made in (_LEAST, _K16, _K64, _K320)),
        lists("full", _FULL),
    )


def default_shapes(longest: int = 16) -> tuple[tuple[int, ...], ...]:
    """No draft, chains of 1 to ``longest`` tokens, and some trees of at most 30 nodes.  TypeError or ValueError."""
    longest = integer("longest", longest, 0, None)
    chains = [(1,) * length for length in range(longest + 1)]
    trees = [(2,), (3,), (4,), (2, 1), (2, 2), (3, 2), (4, 2), (2, 1, 1), (2, 2, 1), (3, 2, 1), (2, 2, 2)]
    trees += [(3, 2, 2), (2, 1, 1, 1), (2, 2, 1, 1), (3, 2, 1, 1), (2, 2, 2, 1), (2, 2, 2, 2), (2, 2, 1, 1, 1, 1)]
    trees += [(2, 1, 1, 1, 1, 1, 1, 1), (3, 1, 1, 1, 1, 1, 1, 1)]
    return tuple(chains + trees)
