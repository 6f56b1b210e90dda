"""Range-coded lists against the K-SQS formula and its own lattice, and what a tail adds, on any pair's drafts.

The formula, log2 C(V, K) + log2 C(l + K - 1, K - 1) bits, is what a list costs that spreads l parts over K of V tokens;
nobody has shipped a bitstream that reaches it.  alpha is the mean of 1 - TV to the target; differences are paired, with
their standard errors.  Three tables: single lists, with nothing but the id density and with a trained table; the lists
of a <2,2,2> tree inside one frame; single lists with a tail.

    python -m tslt_benchmarks.bytes.published_bound --drafts drafts.npz --table prior.table --json bound.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.bytes.format_base import Floats, overlap, prior_name, standard_error
from tslt_benchmarks.bytes.formats import Meter, TsltFrame
from tslt_benchmarks.bytes.other_formats import PublishedBound
from tslt_benchmarks.draft_options import add_draft_options, drafts_for
from tslt_benchmarks.drafting import Settings
from tslt_benchmarks.drafts import Drafts
from tslt_benchmarks.options import above_zero, command_parser, output_file, prior_table, write_json
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.range_coded import ListModel

KS = (16, 32, 64, 320)
TABLES = ("lists", "tree", "tail")
PRECISIONS = ("log2/0", "log2/1", "log2/2")
_LEAST_GROUP = 8
"""Nothing is said of fewer positions."""
_WIDTH = 120
"""Columns of a terminal that the tables need."""
FLAT_ENTROPY = 6.0
"""Bits; the target is called flat at positions where its entropy is above this, and else sharp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One setting, against K-SQS at the same K and temperature."""

    table: str
    """``lists``, ``tree`` or ``tail``."""
    temperature: float
    k: int
    precision: str
    prior: str
    """``none``, ``uniform``, ``density`` or ``table``."""
    positions: int
    bytes: float
    """Mean of ``encode_list``; of the tree table: of the whole frame, divided by its lists."""
    where: str = "all"
    """``all`` positions, or those where the target is ``flat`` or ``sharp``."""
    ideal: float = 0.0
    """Mean code length of the lists under their own model, divided by 8; 0 in the tail table."""
    formula: float = 0.0
    """Bytes of the K-SQS formula; 0 in the tail table."""
    alpha: float = 0.0
    """Acceptance; 0 in the tree table, as all that follows."""
    other_alpha: float = 0.0
    """Of K-SQS's lattice; of the tail table: of the same lists without a tail."""
    gain: float = 0.0
    gain_se: float = 0.0
    other_bytes: float = 0.0
    """Tail table: bytes of the same lists in a session without a prior."""
    tails: float = 0.0
    """Tail table: part of the lists that have a tail."""


@dataclass
class BoundComparison:
    """Drafts, and what is measured on them."""

    drafts: Drafts
    temperatures: Sequence[float]
    table: tw.Prior | None
    rows: list[Row] = field(default_factory=list)

    def run(self, say: Callable[[str], None], *, tables: Sequence[str] = TABLES) -> list[Row]:
        """Measure everything, or some of ``TABLES``."""
        for temperature in self.temperatures:
            sampling = tw.Sampling(temperature=temperature)
            targets = [tw.target_probs(row, sampling) for row in self.drafts.positions.target]
            for k in KS:
                if k > self.drafts.vocab_size:
                    continue
                say(f"T = {temperature:g}, K = {k}")
                if "lists" in tables:
                    self._lists(temperature, k, targets)
                if "tree" in tables:
                    self._tree(temperature, k)
                if "tail" in tables:
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
        formula = PublishedBound(self.drafts.vocab_size)
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
                        table="lists",
                        temperature=temperature,
                        k=k,
                        precision=precision,
                        prior="table" if prior else "none",
                        positions=len(lists),
                        bytes=float(np.mean([len(tw.encode_list(q, profile)) for q in lists])),
                        ideal=float(np.mean([ideal_bytes([q], profile) for q in lists])),
                        formula=size,
                        alpha=float(alphas.mean()),
                        other_alpha=float(lattice.mean()),
                        gain=float((alphas - lattice).mean()),
                        gain_se=standard_error(alphas - lattice),
                    )
                )

    def _tree(self, temperature: float, k: int) -> None:
        formula = PublishedBound(self.drafts.vocab_size)
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
                Row(
                    table="tree",
                    temperature=temperature,
                    k=k,
                    precision=precision,
                    prior="none",
                    positions=len(sizes),
                    bytes=size,
                    ideal=ideal,
                    formula=other,
                )
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
                if mask.sum() < _LEAST_GROUP:
                    continue
                gain = after[mask] - before[mask]
                self.rows.append(
                    Row(
                        table="tail",
                        temperature=temperature,
                        k=k,
                        precision=precision,
                        prior=prior_name(prior),
                        where=where,
                        positions=int(mask.sum()),
                        bytes=float(sizes[mask].mean()),
                        alpha=float(after[mask].mean()),
                        other_alpha=float(before[mask].mean()),
                        gain=float(gain.mean()),
                        gain_se=standard_error(gain),
                        other_bytes=float(small[mask].mean()),
                        tails=float(tails[mask].mean()),
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
    parser = command_parser(__doc__)
    add_draft_options(parser)
    parser.add_argument("--table", type=prior_table, help="file of a trained table, not of these drafts")
    parser.add_argument("--temperature", type=above_zero, nargs="+", default=[0.7, 1.0], help="of draft and target")
    parser.add_argument("--json", type=output_file, help="write all rows")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Make or load drafts, measure, print, write."""
    args = arguments(argv)
    console = Console()
    drafts = drafts_for(args, Settings(), console=console)
    with console.status("measuring") as status:
        rows = BoundComparison(drafts, args.temperature, args.table).run(status.update)
    for printed in tables(rows):
        Console(width=max(console.width, _WIDTH)).print(printed)
    if args.json:
        result = {
            "benchmark": "published_bound",
            "drafts": drafts.meta,
            "rows": [asdict(row) for row in rows],
        }
        write_json(result, args.json)
    lists = [row for row in rows if row.table == "lists" and row.precision == PRECISIONS[1] and row.prior == "none"]
    print("published_bound:", *(f"T{row.temperature:g}/K{row.k}={row.bytes / row.formula:.3f}" for row in lists))


if __name__ == "__main__":
    main()
