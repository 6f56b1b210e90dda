"""How often each kind of evidence accepts, by the number of siblings: what ``tslt_wire.throughput`` starts from.

Exact for each position of the drafts (``coupled``: mean over races): ``match`` tries the draft's most probable tokens,
``list`` and ``full`` follow the paper's Algorithm 5 with siblings drawn with replacement, ``coupled`` compares two
races over the same exponential variates (siblings: the first few of the draft's), ``scalar`` and ``lazy`` are for
chains and lose what their grid rounds off.  Lists are those of the catalogue in ``tslt_wire.throughput``, tails
included, and so are their bytes.

    python -m tslt_benchmarks.acceptance.evidence_acceptance --json evidence.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.drafts import DRAFT, TARGET, Logits, Positions, Settings, drafts_for
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.probability_grid import GRID, codes_above, codes_below
from tslt_wire.lists.truncation import Truncation

SCHEMA_VERSION = 2
WIDTHS = (1, 2, 3, 4)
DEFAULT_LEAST = 0.015
LISTS = ((64, DEFAULT_LEAST, "log2/0"), (16, 0.0, "log2/0"), (64, 0.0, "log2/0"), (320, 0.0, "log2/1"))
"""(K, least probability, precision) of the lists that a planner chooses from."""
FULL = "log2/1"
TAIL = tw.TailScale().scale
"""Tails as a session starts with them."""
LEAST_DRAFT = 0.3
"""A greedy target still gets a draft that is sampled, for those kinds that need one."""
RACES = 24
"""For each position, to estimate ``coupled``."""
Vector = npt.NDArray[np.float64]
Key = tuple[str, int, float, str]
"""Kind of evidence, K, least probability, precision."""


@dataclass(frozen=True, slots=True)
class Row:
    """Mean acceptance of one kind of evidence at one target temperature."""

    temperature: float
    evidence: str
    k: int
    """Entries of a list; 0: none, or the whole vocabulary."""
    min_prob: float
    precision: str
    bytes: float
    """Of a list, range-coded, without the frame."""
    packed_bytes: float
    """The same, bit-packed (entropy ``none``)."""
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
    """Part of ``races`` in which the winner on ``p`` is among the first w on ``q``."""
    hits = np.zeros(len(WIDTHS))
    with np.errstate(divide="ignore"):
        p_inverse, q_inverse = 1 / p, 1 / q
    for _ in range(races):
        times = rng.exponential(size=len(p))
        arrivals = times * q_inverse
        place = int((arrivals < arrivals[(times * p_inverse).argmin()]).sum())
        hits += place < np.array(WIDTHS)
    return [float(h) for h in hits / races]


class Bench:
    """Acceptance and bytes at all positions."""

    def __init__(self, positions: Positions, *, races: int, seed: int) -> None:
        """``races``: for each position."""
        self._positions, self._races, self._seed = positions, races, seed
        vocab_size = positions.draft.shape[1]
        prior = plain_prior(tw.DEFAULTS.prior, vocab_size)
        self._prior = prior
        self._coders = {
            precision: [
                tw.Profile(vocab_size=vocab_size, precision=precision, entropy=name, prior=prior)
                for name in ("range", "none")
            ]
            for precision in (FULL, *(each[-1] for each in LISTS))
        }

    def measure(self, temperature: float) -> list[Row]:
        """Means of all kinds for a target at ``temperature``."""
        means: dict[Key, Vector] = {key: np.mean(values, axis=0) for key, values in self.positions(temperature).items()}
        return [
            Row(temperature, *key, round(mean[0], 1), round(mean[1], 1), tuple(mean[2:].round(4).tolist()))
            for key, mean in means.items()
        ]

    def positions(self, temperature: float) -> dict[Key, list[tuple[float, ...]]]:
        """Bytes, packed bytes and acceptance by width, at each position; the draft's temperature is at least 0.3."""
        rng = np.random.default_rng(self._seed)
        sampling = tw.Sampling(temperature=temperature)
        draft_temperature = max(temperature, LEAST_DRAFT)
        drafting = tw.Sampling(temperature=draft_temperature)
        found: dict[Key, list[tuple[float, ...]]] = {}
        for p_logits, q_logits in zip(self._positions.target, self._positions.draft, strict=True):
            p, q = tw.target_probs(p_logits, sampling), tw.target_probs(q_logits, drafting)
            rows: list[tuple[Key, list[float], list[float]]] = [
                (("match", 0, 0.0, ""), [0.0, 0.0], match(p, q)),
                (("coupled", 0, 0.0, ""), [0.0, 0.0], coupled(p, q, rng, self._races)),
                (("scalar", 0, 0.0, ""), [0.0, 0.0], scalar(p, q)),
            ]
            for kind, k, least, precision in (*(("list", *each) for each in LISTS), ("full", 0, 0.0, FULL)):
                listed = self._list(q_logits, k, least, precision, draft_temperature)
                sizes = [float(len(tw.encode_list(listed, coder))) for coder in self._coders[precision]]
                rows.append(((kind, k, least, precision), sizes, verified(p, listed.dense())))
                if kind == "list":
                    rows.append((("lazy", k, least, precision), sizes, lazy(p, listed.dense())))
            for key, sizes, alphas in rows:
                found.setdefault(key, []).append((*sizes, *alphas))
        return found

    def _list(self, logits: Logits, k: int, least: float, precision: str, temperature: float) -> tw.SparseDistribution:
        rule: Truncation | None = tw.TopK(k) if k else None
        if least:
            rule = tw.TopK(k) & tw.MinProb(least)
            temperature *= tw.DEFAULTS.draft_temperature
        return tw.sparsify(
            logits, temperature=temperature, truncation=rule, precision=precision, prior=self._prior, tail_scale=TAIL
        )


def table(rows: Sequence[Row]) -> Table:
    """One row a kind of evidence and temperature."""
    out = Table(title="acceptance by number of siblings", title_justify="left")
    for name in ("target T", "evidence", "K", "least", "precision", "bytes", *(f"{w}" for w in WIDTHS)):
        out.add_column(name, justify="right")
    for row in rows:
        rule = (f"{row.k or ''}", f"{row.min_prob or ''}", row.precision, f"{row.bytes:,.1f}" if row.bytes else "")
        out.add_row(f"{row.temperature:g}", row.evidence, *rule, *(f"{a:.3f}" for a in row.alphas))
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, default=TARGET, metavar="FOLDER")
    parser.add_argument("--draft", type=Path, default=DRAFT, metavar="FOLDER")
    parser.add_argument("--drafts", type=Path, help="file of drafts to use, or to write if it is not there")
    parser.add_argument("--temperature", type=float, nargs="+", default=[1.0, 0.7, 0.0], help="of the target")
    parser.add_argument("--positions", type=int, default=128)
    parser.add_argument("--races", type=int, default=RACES, help="for each position, to estimate `coupled`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    console = Console(width=100)
    settings = Settings(lists=args.positions, rounds=1, seed=args.seed)
    drafts = drafts_for(args.drafts, args.target, args.draft, settings, console=console)
    bench = Bench(drafts.positions, races=args.races, seed=args.seed)
    rows = [row for temperature in args.temperature for row in bench.measure(temperature)]
    console.print(table(rows))
    if args.json is not None:
        keys = ("target", "draft", "target_sha256", "draft_sha256", "vocab_size")
        document: dict[str, Any] = {
            "benchmark": "evidence_acceptance",
            "schema": SCHEMA_VERSION,
            "settings": {"positions": len(drafts.positions.draft), "races": args.races, "seed": args.seed},
            "drafts": {key: drafts.meta.get(key) for key in keys},
            "widths": WIDTHS,
            "rows": [asdict(row) for row in rows],
        }
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
