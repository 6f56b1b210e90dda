"""What the constants of the range coder's list model would be if they were read off one pair's drafts.

Prints, beside the constants that ship (`coding.id_model`, `lists.range_coded`), what is measured: the part of a
list's ids in each octave, by size of the list; how much more often entries of a rank class have ids of an octave; how
often a token of the lists before is listed again in a tree.  What ships was read off such tables of the default pair's
target and of its first layers on novels, then smoothed and floored by hand, so that it is no exact function of any
pair; `tslt_benchmarks.bytes.published_bound` says what it gives on others.

    python -m tslt_benchmarks.bytes.fit_list_model --drafts drafts.npz
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.draft_options import add_draft_options, drafts_for
from tslt_benchmarks.drafting import Settings
from tslt_benchmarks.drafts import Drafts
from tslt_benchmarks.options import command_parser
from tslt_wire.coding.id_model import BASE_BITS, OCTAVE_MASSES
from tslt_wire.lists.range_coded import AFFINITY, HIT_PRIOR, HIT_PRIOR_LOOKS, octave_class, rank_classes

_PARTS = 1000
"""Octave masses are thousandths."""
_SIZES = (16, 32, 64)
"""Sizes of the lists that affinities and hits are measured on."""
_COLUMNS = len(AFFINITY[0])
_WIDTH = 120
"""Columns of a terminal that the tables need."""


def octave_masses(drafts: Drafts) -> dict[int, npt.NDArray[np.float64]]:
    """Thousandths of a list's ids below 2**8 and in each octave above, by bitlen of the size (middle of the class)."""
    found = {}
    bounds = [0, *(1 << bits for bits in range(BASE_BITS, BASE_BITS + len(OCTAVE_MASSES[0])))]
    for bits in range(1, len(OCTAVE_MASSES) + 1):
        size = 3 << bits >> 2 or 1
        if size * 2 > drafts.vocab_size:
            break
        ids = np.concatenate([np.argpartition(-row, size)[:size] for row in drafts.positions.draft])
        found[bits] = np.histogram(ids, bins=bounds)[0] / len(ids) * _PARTS
    return found


def affinities(drafts: Drafts) -> npt.NDArray[np.float64]:
    """By rank class and octave class: how often entries of the class have such ids, over how often all entries have.

    Rows are scaled to the sum that the shipped row has.
    """
    counts = np.zeros((len(AFFINITY), _COLUMNS))
    for row in drafts.positions.draft:
        for size in _SIZES:
            if 2 * size > drafts.vocab_size:
                continue
            q = tw.sparsify(row, truncation=tw.TopK(size), precision="log2/1")
            levels, sizes = np.unique(q.codes, return_counts=True)
            classes = dict(zip(levels.tolist(), rank_classes(sizes.tolist()), strict=True))
            for token, code in zip(q.ids.tolist(), q.codes.tolist(), strict=True):
                counts[classes[code], octave_class(token)] += 1
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    ratios = counts / np.maximum(expected, 1e-9)
    sums = np.maximum(ratios.sum(axis=1, keepdims=True), 1e-9)
    return np.asarray(ratios / sums * np.sum(AFFINITY, axis=1, keepdims=True), dtype=np.float64)


def hits(drafts: Drafts) -> dict[tuple[int, int, int], tuple[float, int]]:
    """Like ``HIT_PRIOR``: how many of ``HIT_PRIOR_LOOKS`` looks are hits, and how many looks there were."""
    seen_hits: dict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0, 0])
    for source in drafts.trees():
        for size in _SIZES:
            if 2 * size <= drafts.vocab_size:
                _count_hits(
                    [tw.sparsify(row, truncation=tw.TopK(size), precision="log2/1") for row in source.draft], seen_hits
                )
    return {key: (n / looks * HIT_PRIOR_LOOKS, looks) for key, (n, looks) in seen_hits.items()}


def _count_hits(lists: Sequence[tw.SparseDistribution], counts: dict[tuple[int, int, int], list[int]]) -> None:
    seen: dict[int, tuple[int, int, int]] = {}
    for number, q in enumerate(lists):
        listed = set(q.ids.tolist())
        for token, (times, last, rank) in seen.items():
            key = (min(times, len(HIT_PRIOR)), int(last == number), rank)
            counts[key][0] += token in listed
            counts[key][1] += 1
        order = np.sort(q.codes)
        best_eighth, better_half = order[len(order) // 8], order[len(order) // 2]
        for token, code in zip(q.ids.tolist(), q.codes.tolist(), strict=True):
            rank = 0 if code <= best_eighth else 1 if code <= better_half else 2
            times, _, best = seen.get(token, (0, 0, 2))
            seen[token] = (times + 1, number + 1, min(rank, best))


def tables(drafts: Drafts) -> list[Table]:
    """Measured and shipped, one under the other."""
    masses = Table(title="ids below 2^8 and by octave, thousandths", title_justify="left")
    for name in ("bitlen(K)", "", *map(str, range(len(OCTAVE_MASSES[0])))):
        masses.add_column(name, justify="right")
    for bits, row in octave_masses(drafts).items():
        masses.add_row(str(bits), "measured", *(f"{x:.0f}" for x in row))
        masses.add_row("", "ships", *map(str, OCTAVE_MASSES[bits - 1]))
    affinity = Table(title="affinity of rank classes (rows) to octaves of ids", title_justify="left")
    for name in ("class", "", *map(str, range(_COLUMNS))):
        affinity.add_column(name, justify="right")
    for c, (measured, ships) in enumerate(zip(affinities(drafts), AFFINITY, strict=True)):
        affinity.add_row(str(c), "measured", *(f"{x:.0f}" for x in measured))
        affinity.add_row("", "ships", *map(str, ships))
    again = Table(title=f"listed again, of {HIT_PRIOR_LOOKS} looks", title_justify="left")
    for name in ("lists that had it", "in the last", "class", "looks", "measured", "ships"):
        again.add_column(name, justify="right")
    for (times, last, rank), (hit, looks) in sorted(hits(drafts).items()):
        again.add_row(str(times), str(last), str(rank), str(looks), f"{hit:.1f}", str(HIT_PRIOR[times - 1][last][rank]))
    return [masses, affinity, again]


def main(argv: Sequence[str] | None = None) -> None:
    """Make or load drafts, measure, print."""
    parser = command_parser(__doc__)
    add_draft_options(parser)
    args = parser.parse_args(argv)
    console = Console()
    drafts = drafts_for(args, Settings(), console=console)
    for table in tables(drafts):
        Console(width=max(console.width, _WIDTH)).print(table)


if __name__ == "__main__":
    main()
