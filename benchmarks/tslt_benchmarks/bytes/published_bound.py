"""Range-coded lists against the K-SQS formula and its own lattice, and what a tail adds, on any pair's drafts.

The formula, log2 C(V, K) + log2 C(l + K - 1, K - 1) bits, is what a list costs that spreads l parts over K of V tokens;
nobody has shipped a bitstream that reaches it.  alpha is the mean of 1 - TV to the target; differences are paired, with
their standard errors.  Three tables: single lists, with nothing but the id density and with a trained table; the lists
of a <2,2,2> tree inside one frame; single lists with a tail.

    python -m tslt_benchmarks.bytes.published_bound --drafts drafts.npz --table prior.table --json ksqs.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.acceptance.rate_grid import overlap, standard_error
from tslt_benchmarks.bytes.format_base import Floats
from tslt_benchmarks.bytes.formats import Meter, TsltFrame
from tslt_benchmarks.bytes.other_formats import KSqs
from tslt_benchmarks.drafts import Drafts, Settings, add_options, drafts_for
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.range_coded import ListModel

KS = (16, 32, 64, 320)
PRECISIONS = ("log2/0", "log2/1", "log2/2")
FLAT_ENTROPY = 6.0
"""Bits; the target is called flat at positions where its entropy is above this, and else sharp."""


@dataclass(frozen=True, slots=True)
class Row:
    """One setting, against K-SQS at the same K and temperature."""

    table: str
    """``lists``, ``tree`` or ``tail``."""
    temperature: float
    k: int
    precision: str
    prior: str
    """``none``, ``uniform``, ``density`` or ``table``."""
    where: str
    """``all`` positions, or those where the target is ``flat`` or ``sharp``."""
    positions: int
    bytes: float
    """Mean of ``encode_list``; of the tree table: of the whole frame, divided by its lists."""
    ideal: float
    """Mean code length of the lists under their own model, divided by 8."""
    formula: float
    """Bytes of the K-SQS formula."""
    alpha: float
    other_alpha: float
    """Of K-SQS's lattice; of the tail table: of the same lists without a tail."""
    gain: float
    gain_se: float
    other_bytes: float = 0.0
    """Tail table: bytes of the same lists in a session without a prior."""
    tails: float = 0.0
    """Tail table: part of the lists that have a tail."""


@dataclass
class Bench:
    """Drafts, and what is measured on them."""

    drafts: Drafts
    temperatures: Sequence[float]
    table: tw.Prior | None
    rows: list[Row] = field(default_factory=list)

    def run(self, say: Callable[[str], None]) -> list[Row]:
        """Measure everything."""
        for temperature in self.temperatures:
            sampling = tw.Sampling(temperature=temperature)
            targets = [tw.target_probs(row, sampling) for row in self.drafts.positions.target]
            for k in KS:
                if k > self.drafts.vocab_size:
                    continue
                say(f"T = {temperature:g}, K = {k}")
                self._lists(temperature, k, targets)
                self._tree(temperature, k)
                self._tails(temperature, k, targets)
        return self.rows

    def _sparse(
        self, temperature: float, k: int, precision: str, prior: tw.Prior | None
    ) -> list[tw.SparseDistribution]:
        return [
            tw.sparsify(row, temperature=temperature, truncation=tw.TopK(k), precision=precision, prior=prior)
            for row in self.drafts.positions.draft
        ]

    def _lists(self, temperature: float, k: int, targets: Sequence[Floats]) -> None:
        formula = KSqs(self.drafts.vocab_size)
        items = [formula.prepare(row, k=k, temperature=temperature) for row in self.drafts.positions.draft]
        size = float(np.mean([formula.size(item) for item in items]))
        lattice = np.array([overlap(formula.lists(item)[0], p) for item, p in zip(items, targets, strict=True)])
        for precision in PRECISIONS:
            lists = self._sparse(temperature, k, precision, None)
            alphas = np.array([overlap(q, p) for q, p in zip(lists, targets, strict=True)])
            for prior in (None, self.table) if self.table else (None,):
                profile = self._profile(precision, prior)
                self.rows.append(
                    Row(
                        "lists",
                        temperature,
                        k,
                        precision,
                        "table" if prior else "none",
                        "all",
                        len(lists),
                        float(np.mean([len(tw.encode_list(q, profile)) for q in lists])),
                        float(np.mean([ideal_bytes([q], profile) for q in lists])),
                        size,
                        float(alphas.mean()),
                        float(lattice.mean()),
                        float((alphas - lattice).mean()),
                        standard_error(alphas - lattice),
                    )
                )

    def _tree(self, temperature: float, k: int) -> None:
        formula = KSqs(self.drafts.vocab_size)
        for precision in PRECISIONS[:2]:
            writer = TsltFrame(self.drafts.vocab_size, tw.Precision(precision), "tree", "range")
            sizes, ideals, sizes_formula = [], [], []
            for source in self.drafts.trees():
                draft = writer.prepare(source, k=k, temperature=temperature)
                lists = list(draft.lists.values())
                sizes.append(len(tw.encode(draft, writer.profile)) / len(lists))
                ideals.append(ideal_bytes(lists, writer.profile) / len(lists))
                item = formula.prepare(source.draft[0], k=k, temperature=temperature)
                sizes_formula.append(formula.size(item))
            size, ideal, other = (float(np.mean(values)) for values in (sizes, ideals, sizes_formula))
            self.rows.append(
                Row("tree", temperature, k, precision, "none", "all", len(sizes), size, ideal, other, 0, 0, 0, 0)
            )

    def _tails(self, temperature: float, k: int, targets: Sequence[Floats]) -> None:
        precision = PRECISIONS[1]
        plain = self._sparse(temperature, k, precision, None)
        before = np.array([overlap(q, p) for q, p in zip(plain, targets, strict=True)])
        small = np.array([len(tw.encode_list(q, self._profile(precision, None))) for q in plain])
        flat = np.array([entropy_bits(p) > FLAT_ENTROPY for p in targets])
        plain_priors = [plain_prior(name, self.drafts.vocab_size) for name in ("uniform", "density")]
        for prior in filter(None, [*plain_priors, self.table]):
            lists = self._sparse(temperature, k, precision, prior)
            profile = self._profile(precision, prior)
            after = np.array([overlap(q, p) for q, p in zip(lists, targets, strict=True)])
            sizes = np.array([len(tw.encode_list(q, profile)) for q in lists])
            tails = np.array([q.tail > 0 for q in lists])
            for where, mask in (("all", np.ones(len(flat), bool)), ("flat", flat), ("sharp", ~flat)):
                if mask.sum() < 8:
                    continue
                gain = after[mask] - before[mask]
                self.rows.append(
                    Row(
                        "tail",
                        temperature,
                        k,
                        precision,
                        prior.name.split(":")[0],
                        where,
                        int(mask.sum()),
                        float(sizes[mask].mean()),
                        0,
                        0,
                        float(after[mask].mean()),
                        float(before[mask].mean()),
                        float(gain.mean()),
                        standard_error(gain),
                        float(small[mask].mean()),
                        float(tails[mask].mean()),
                    )
                )

    def _profile(self, precision: str, prior: tw.Prior | None) -> tw.Profile:
        return tw.Profile(vocab_size=self.drafts.vocab_size, precision=precision, entropy="range", prior=prior)


def ideal_bytes(lists: Sequence[tw.SparseDistribution], profile: tw.Profile) -> float:
    """Code length of the lists of one frame under their own model, divided by 8."""
    meter = Meter()
    model = ListModel(meter, profile, lists[0].precision)
    for q in lists:
        model.code(q, len(q))
    return meter.bits / 8


def entropy_bits(probs: Floats) -> float:
    """Shannon entropy."""
    kept = probs[probs > 0]
    return float(-(kept * np.log2(kept)).sum())


# --------------------------------------------------------------------------------------------------------------- output


def tables(rows: Sequence[Row]) -> list[Table]:
    """What is printed."""
    found = []
    for name, title, columns in (
        (
            "lists",
            "single lists against K-SQS",
            ("prior", "bytes", "ideal", "formula", "ratio", "alpha", "lattice", "gain"),
        ),
        ("tree", "a list in a <2,2,2> frame", ("ideal", "formula", "ratio", "frame / 7")),
        ("tail", "tails", ("prior", "where", "positions", "with tail", "bytes", "more", "alpha", "without", "gain")),
    ):
        table = Table(title=title, title_justify="left")
        for column in ("T", "K", "precision", *columns):
            table.add_column(column, justify="right")
        for row in rows:
            if row.table == name:
                table.add_row(f"{row.temperature:g}", str(row.k), row.precision, *_cells(row))
        found.append(table)
    return found


def _cells(row: Row) -> list[str]:
    alphas = [f"{row.alpha:.4f}", f"{row.other_alpha:.4f}", f"{row.gain:+.4f} ± {row.gain_se:.4f}"]
    if row.table == "lists":
        size = [f"{row.bytes:.2f}", f"{row.ideal:.2f}", f"{row.formula:.1f}", f"{row.bytes / row.formula:.3f}"]
        return [row.prior, *size, *alphas]
    if row.table == "tree":
        return [f"{row.ideal:.2f}", f"{row.formula:.1f}", f"{row.ideal / row.formula:.3f}", f"{row.bytes:.2f}"]
    more = [f"{row.tails:.2f}", f"{row.bytes:.2f}", f"{row.bytes - row.other_bytes:+.2f}"]
    return [row.prior, row.where, str(row.positions), *more, *alphas]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--table", type=Path, help="a trained table (examples.train_prior), not of these drafts")
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.7, 1.0], help="of draft and target, above 0")
    parser.add_argument("--json", type=Path, help="write all rows")
    args = parser.parse_args(argv)
    if min(args.temperature) <= 0:
        parser.error("--temperature must be above 0")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Make or load drafts, measure, print, write."""
    args = arguments(argv)
    console = Console()
    drafts = drafts_for(args.drafts, args.target, args.draft, Settings(), console=console)
    table = tw.table_from_bytes(args.table.read_bytes()) if args.table else None
    with console.status("measuring") as status:
        rows = Bench(drafts, args.temperature, table).run(status.update)
    for printed in tables(rows):
        Console(width=max(console.width, 120)).print(printed)
    if args.json:
        result: dict[str, Any] = {"benchmark": "ksqs", "drafts": drafts.meta, "rows": [asdict(row) for row in rows]}
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    lists = [row for row in rows if row.table == "lists" and row.precision == PRECISIONS[1] and row.prior == "none"]
    print("ksqs:", *(f"T{row.temperature:g}/K{row.k}={row.bytes / row.formula:.3f}" for row in lists))


if __name__ == "__main__":
    main()
