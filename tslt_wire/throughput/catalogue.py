"""What a planner can choose from: ways to make evidence with their bytes, and shapes of drafts.

Design section 4.  The figures are where a session starts, not what it relies on: a planner replaces them by what it
sees.  Acceptance is that of the default pair (benchmarks/results/evidence_acceptance.json), bytes of lists those of
whole frames (benchmarks/results/bytes_per_token.json), of other kinds the sizes in the specification.
"""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire.throughput.model import Wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way to make evidence, with what is known about it before a session."""

    evidence: str
    """Name in HELLO and WELCOME: ``match``, ``coupled``, ``scalar``, ``lazy``, ``list`` or ``full``."""
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

    def __post_init__(self) -> None:
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
_ALPHAS: dict[tuple[str, int], tuple[tuple[float, ...], ...]] = {
    ("match", 0): ((0.192, 0.294, 0.347, 0.386), (0.356, 0.517, 0.584, 0.634), (0.648, 0.844, 0.867, 0.914)),
    ("coupled", 0): ((0.724, 0.834, 0.880, 0.901), (0.706, 0.817, 0.859, 0.881), (0.557, 0.679, 0.738, 0.776)),
    ("list", 8): ((0.464, 0.474, 0.477, 0.478), (0.651, 0.695, 0.713, 0.722), (0.567, 0.686, 0.743, 0.777)),
    ("list", 16): ((0.536, 0.555, 0.562, 0.565), (0.693, 0.742, 0.767, 0.781), (0.564, 0.683, 0.740, 0.775)),
    ("list", 32): ((0.593, 0.620, 0.631, 0.636), (0.719, 0.774, 0.801, 0.818), (0.563, 0.683, 0.740, 0.774)),
    ("list", 64): ((0.636, 0.670, 0.685, 0.693), (0.735, 0.793, 0.822, 0.841), (0.563, 0.682, 0.739, 0.774)),
    ("list", 320): ((0.703, 0.750, 0.771, 0.783), (0.752, 0.815, 0.846, 0.866), (0.563, 0.682, 0.739, 0.774)),
    ("full", 0): ((0.787, 0.851, 0.880, 0.898), (0.762, 0.825, 0.858, 0.878), (0.563, 0.683, 0.740, 0.775)),
}
"""Acceptance of 1, 2, 3 and 4 siblings at each of ``_TEMPERATURES``, by evidence and K."""
_LIST_BYTES = {
    "range": {
        "log2/0": {8: 10.4, 16: 19.5, 32: 37.0, 64: 70.5, 320: 300.0},
        "log2/1": {8: 11.2, 16: 21.2, 32: 40.3, 64: 77.0, 320: 335.0},
    },
    "none": {
        "log2/0": {8: 18.9, 16: 37.0, 32: 74.3, 64: 148.8, 320: 759.0},
        "log2/2": {8: 20.7, 16: 40.8, 32: 82.0, 64: 164.0, 320: 837.0},
    },
}
"""Bytes of a list in a frame, by entropy coder, precision and K."""
_COARSE = 0.004
"""What ``log2/0`` accepts less than finer lists."""
_FRAME, _ID, _SCALAR = 10.0, 2.5, 3.5
"""Bytes of a DRAFT without tokens, of a drafted id, and of q(x) beside it."""
_PROPOSALS, _PROPOSAL_BYTES = 16, 4.5
"""``scalar``: (y, p(y)) that a rejection brings, and bytes of each; below 100 bytes in all."""


def default_modes(vocab_size: int = 32_000, *, temperature: float = 1.0, entropy: str = "range") -> tuple[Mode, ...]:
    """Modes to choose from for a target at ``temperature`` (the nearest one measured is taken).

    ``entropy``: the session's coder, which decides how long lists are; what is not ``range`` counts as ``none``.
    """
    at = min(range(len(_TEMPERATURES)), key=lambda i: abs(_TEMPERATURES[i] - temperature))
    draft_temperature = max(temperature, _LEAST_DRAFT)

    def mode(evidence: str, wire: Wire, alphas: tuple[float, ...], k: int = 0, precision: str = "") -> Mode:
        greedy = evidence == "match"
        return Mode(
            evidence=evidence,
            wire=wire,
            alphas=alphas,
            k=k,
            entries=(k or vocab_size) if wire.parent else 0,
            precision=precision,
            draft_temperature=0.0 if greedy else draft_temperature,
        )

    ids = Wire(frame=_FRAME, node=_ID)
    alphas = {key: values[at] for key, values in _ALPHAS.items()}
    lists = _LIST_BYTES["range" if entropy == "range" else "none"]
    best = list(lists)[-1]
    found = [
        mode("match", ids, alphas["match", 0]),
        mode("coupled", ids, alphas["coupled", 0]),
        mode(
            "scalar",
            Wire(
                frame=_FRAME,
                node=_ID + _SCALAR,
                rejection_down=10 + _PROPOSALS * _PROPOSAL_BYTES,
                proposals=_PROPOSALS,
            ),
            alphas["full", 0][:1],
        ),
    ]
    for k in (64, 320):
        wire = Wire(
            frame=_FRAME,
            node=_ID + _SCALAR,
            rejection_down=10.0,
            rejection_up=10 + lists[best][k],
            rejection_trips=1.0,
        )
        found.append(mode("lazy", wire, alphas["list", k][:1], k, best))
    for precision, sizes in lists.items():
        for k, size in sizes.items():
            less = _COARSE if precision == "log2/0" else 0.0
            values = tuple(a - less for a in alphas["list", k])
            found.append(mode("list", Wire(frame=_FRAME, node=1.0, parent=size), values, k, precision))
    found.append(
        mode("full", Wire(frame=_FRAME, node=_ID, parent=2.0 * vocab_size), alphas["full", 0], precision="f16")
    )
    return tuple(found)


def default_shapes(longest: int = 16) -> tuple[tuple[int, ...], ...]:
    """No draft, chains of 1 to ``longest`` tokens, and some trees of at most 30 nodes."""
    chains = [(1,) * length for length in range(longest + 1)]
    trees = [(2,), (3,), (4,), (2, 1), (2, 2), (3, 2), (4, 2), (2, 1, 1), (2, 2, 1), (3, 2, 1), (2, 2, 2)]
    trees += [(3, 2, 2), (2, 1, 1, 1), (2, 2, 1, 1), (3, 2, 1, 1), (2, 2, 2, 1), (2, 2, 2, 2), (2, 2, 1, 1, 1, 1)]
    trees += [(2, 1, 1, 1, 1, 1, 1, 1), (3, 1, 1, 1, 1, 1, 1, 1)]
    return tuple(chains + trees)
