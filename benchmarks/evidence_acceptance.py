"""How often each kind of evidence accepts, by the number of siblings: what ``tslt_wire.throughput`` starts from.

Exact for each position of the drafts (``coupled``: mean over races): ``match`` tries the draft's most probable tokens,
``list`` and ``full`` follow the paper's Algorithm 5 with siblings drawn with replacement, ``coupled`` compares two
races over the same exponential variates (siblings: the list version, the target takes the earliest of all races),
``scalar`` and ``lazy`` are for chains and lose what their grid rounds off.

    python -m benchmarks.evidence_acceptance --json evidence.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from benchmarks.drafts import DRAFT, TARGET, Positions, Settings, drafts_for
from tslt_wire.grid import GRID, codes_above, codes_below

SCHEMA_VERSION = 1
WIDTHS = (1, 2, 3, 4)
KS = (8, 16, 32, 64, 320)
LEAST_DRAFT = 0.3
"""A greedy target still gets a draft that is sampled, for those kinds that need one."""
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """Mean acceptance of one kind of evidence at one target temperature."""

    temperature: float
    evidence: str
    k: int
    """Entries of a list; 0: none, or the whole vocabulary."""
    alphas: tuple[float, ...]
    """Probability that one of w siblings is accepted, for w in ``WIDTHS``; of one alone where there can be no more."""


def match(p: Vector, q: Vector) -> list[float]:
    """The target's probability of the draft's w most probable tokens."""
    order = np.argsort(-q, kind="stable")
    return [float(p[order[:w]].sum()) for w in WIDTHS]


def verified(p: Vector, q: Vector) -> list[float]:
    """Acceptance of w siblings drawn from ``q`` with replacement (paper Algorithm 5 and Corollary 1)."""
    rest, missed, found = p, 1.0, []
    for _ in range(max(WIDTHS)):
        left = np.maximum(rest - q, 0)
        part = float(left.sum())
        missed *= part
        found.append(1 - missed)
        rest = left / part if part > 0 else rest
    return [found[w - 1] for w in WIDTHS]


def scalar(p: Vector, q: Vector) -> list[float]:
    """Acceptance with q rounded up and p rounded down to the grid (specification, section 6.6)."""
    below = np.append(GRID, 0.0)[codes_below(p)]
    return [float((q * np.minimum(1, below / GRID[codes_above(q)])).sum())]


def lazy(p: Vector, q: Vector) -> list[float]:
    """Acceptance with q rounded up."""
    return [float((q * np.minimum(1, p / GRID[codes_above(q)])).sum())]


def coupled(p: Vector, q: Vector, rng: np.random.Generator, races: int) -> list[float]:
    """Part of ``races`` in which the winner on ``p`` is among the winners on ``q``."""
    hits = np.zeros(len(WIDTHS))
    with np.errstate(divide="ignore"):
        p_inverse, q_inverse = 1 / p, 1 / q
    for _ in range(races):
        times = rng.exponential(size=(max(WIDTHS), len(p)))
        drafted = (times * q_inverse).argmin(axis=1)
        for i, w in enumerate(WIDTHS):
            hits[i] += int((times[:w].min(axis=0) * p_inverse).argmin()) in drafted[:w]
    return [float(h) for h in hits / races]


def measure(positions: Positions, temperature: float, *, races: int, seed: int) -> list[Row]:
    """All kinds at all positions; ``temperature`` is the target's, the draft's is the same but at least 0.3."""
    rng = np.random.default_rng(seed)
    sampling, drafting = tw.Sampling(temperature=temperature), tw.Sampling(temperature=max(temperature, LEAST_DRAFT))
    found: dict[tuple[str, int], list[list[float]]] = {}
    for p_logits, q_logits in zip(positions.target, positions.draft, strict=True):
        p, q = sampling.probs(p_logits), drafting.probs(q_logits)
        found.setdefault(("match", 0), []).append(match(p, q))
        found.setdefault(("coupled", 0), []).append(coupled(p, q, rng, races))
        for k in KS:
            rule = tw.TopK(k)
            listed = tw.sparsify(q_logits, temperature=drafting.temperature, truncation=rule, precision="log2/1")
            found.setdefault(("list", k), []).append(verified(p, listed.dense()))
            found.setdefault(("lazy", k), []).append(lazy(p, listed.dense()))
        found.setdefault(("scalar", 0), []).append(scalar(p, q))
        found.setdefault(("full", 0), []).append(verified(p, q))
    return [
        Row(temperature, evidence, k, tuple(np.mean(rows, axis=0).round(4).tolist()))
        for (evidence, k), rows in found.items()
    ]


def table(rows: Sequence[Row]) -> Table:
    """One row a kind of evidence and temperature."""
    out = Table(title="acceptance by number of siblings", title_justify="left")
    for name in ("target T", "evidence", "K", *(f"{w}" for w in WIDTHS)):
        out.add_column(name, justify="right")
    for row in rows:
        out.add_row(f"{row.temperature:g}", row.evidence, f"{row.k or ''}", *(f"{a:.3f}" for a in row.alphas))
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, default=TARGET, metavar="FOLDER")
    parser.add_argument("--draft", type=Path, default=DRAFT, metavar="FOLDER")
    parser.add_argument("--drafts", type=Path, help="file of drafts to use, or to write if it is not there")
    parser.add_argument("--temperature", type=float, nargs="+", default=[1.0, 0.7, 0.0], help="of the target")
    parser.add_argument("--positions", type=int, default=128)
    parser.add_argument("--races", type=int, default=24, help="for each position, to estimate `coupled`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    console = Console(width=100)
    settings = Settings(lists=args.positions, rounds=1, seed=args.seed)
    drafts = drafts_for(args.drafts, args.target, args.draft, settings, console=console)
    rows = [row for t in args.temperature for row in measure(drafts.positions, t, races=args.races, seed=args.seed)]
    console.print(table(rows))
    if args.json is not None:
        keys = ("target", "draft", "target_sha256", "draft_sha256", "vocab_size")
        document: dict[str, Any] = {
            "benchmark": "evidence_acceptance",
            "schema": SCHEMA_VERSION,
            "settings": {"positions": len(drafts.positions.draft), "races": args.races, "seed": args.seed},
            "drafts": {key: drafts.meta.get(key) for key in keys},
            "widths": WIDTHS,
            "rows": [
                {"temperature": r.temperature, "evidence": r.evidence, "k": r.k, "alphas": r.alphas} for r in rows
            ],
        }
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
