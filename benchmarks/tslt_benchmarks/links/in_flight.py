"""What drafts in flight and drafting ahead gain over the best chain that waits for its verdict, and what they cost.

On links that are far away: tokens a second over those of the best synchronous chain against the edge's time a token
over that chain's, for every length and window, by the closed form that ``--evidence auto`` goes by
(``tslt_wire.throughput.flight``), a pass of the draft model taken to be as long whatever the number of its nodes.
Beside them the bound, 1 / (1 - alpha) tokens in a round trip and the slower model's time for them, and the best tree
that waits for its verdict and in flight.  ``--live``: real sessions of five choices on each link, over an emulated link
in real time, beside what the closed form says for the times of the models and the acceptance that they had, and for the
way that the first of them had, and what its rounds took besides: an event loop and threads take some milliseconds.

    python -m tslt_benchmarks.links.in_flight --json in_flight.json --png in_flight.png --live
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tslt_transports import Network

from tslt_benchmarks.links.draft_ahead import settings_of, write
from tslt_benchmarks.links.in_flight_plot import draw
from tslt_benchmarks.links.sleeping_models import made_up_tables
from tslt_benchmarks.options import above_zero, command_parser, output_file, whole_number, write_json, zero_or_more
from tslt_wire.throughput import (
    Agreed,
    Compute,
    ExpectedRound,
    Link,
    Mode,
    Planner,
    chain_tokens,
    default_modes,
    default_shapes,
    expected_in_flight,
    expected_round,
)
from tslt_wire.throughput.flight import Guesses, ready_part

SCHEMA_VERSION = 3
SIBLINGS = 4
RACES = 200
"""Of each row of the tables: their acceptance is known to .003."""
_LIVE = ("alpha", "tokens_per_s", "over_model", "gain", "edge", "nodes_ahead_per_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to draft on a link."""

    window: int
    length: int
    ahead: int
    tokens_per_s: float
    gain: float
    """Over the best chain that waits for its verdict."""
    edge: float
    """The edge's time a token over that chain's."""
    tree: tuple[int, ...] = ()
    """Children a node at each of its ``length`` levels; empty for a chain."""

    @property
    def name(self) -> str:
        """For people."""
        return f"<{','.join(map(str, self.tree))}>" if self.tree else f"chain of {self.length}"


def races(tables: tuple[Any, Any], temperature: float, seed: int) -> NDArray[np.float64]:
    """Acceptance of 1, 2, ... siblings with ``coupled``, in the mean over the target's own text."""
    p, q = (np.exp(table / temperature) for table in tables)
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    often = np.full(len(p), 1 / len(p))
    for _ in range(50):
        often = often @ p
    rng = np.random.default_rng(seed)
    kept = np.zeros((len(p), SIBLINGS))
    for row in range(len(p)):
        numbers = rng.exponential(size=(RACES, p.shape[1]))
        won = (numbers / p[row]).argmin(1)
        raced = numbers / q[row]
        first = np.argpartition(raced, SIBLINGS, axis=1)[:, :SIBLINGS]
        drafted = np.take_along_axis(first, np.take_along_axis(raced, first, 1).argsort(1), 1)
        kept[row] = np.cumsum(drafted == won[:, None], axis=1).mean(0)
    found: NDArray[np.float64] = often @ kept
    return found


def tables_for(alpha: float, temperature: float, seed: int) -> tuple[tuple[Any, Any], NDArray[np.float64]]:
    """Tables of two models whose ``coupled`` drafts are accepted with ``alpha``, and the acceptance of siblings."""
    low, high = alpha, 1.0  # coupled drafts are accepted less often than those with whole distributions
    while True:
        common = (low + high) / 2
        tables = made_up_tables(common, temperature, seed)
        found = races(tables, temperature, seed)
        if abs(found[0] - alpha) < 0.004 or high - low < 1e-3:
            return tables, found
        low, high = (common, high) if found[0] < alpha else (low, common)


class Cell:
    """One link and one pair."""

    def __init__(self, alphas: Sequence[float], rtt_s: float, args: argparse.Namespace) -> None:
        """``alphas``: acceptance of 1, 2, ... siblings."""
        self.alphas, self.alpha, self.args = alphas, float(alphas[0]), args
        self.mode = replace(
            next(mode for mode in default_modes(temperature=args.temperature) if mode.evidence == "coupled"),
            alphas=tuple(map(float, alphas)), parent_s=0.0, token_s=0.0,
        )  # fmt: skip
        self.link = Link(uplink_bit_s=args.rate, downlink_bit_s=args.rate, rtt_s=rtt_s)
        self.compute = Compute(draft_s=args.draft_ms / 1e3, verify_s=args.target_ms / 1e3)
        alone = [self.choice(self.expected(1, length, 0), 1, length, 0, None) for length in range(1, args.longest + 1)]
        self.best = max(alone, key=lambda choice: choice.tokens_per_s)

    def expected(self, window: int, length: int, ahead: int) -> ExpectedRound:
        """By the closed form."""
        return expected_of(self.mode, self.alphas, self.link, self.compute, window, length, ahead)

    def choice(self, found: ExpectedRound, window: int, length: int, ahead: int, best: Choice | None) -> Choice:
        """``edge`` and ``gain`` are absolute where there is nothing to compare with."""
        edge_s = found.edge_s / found.tokens
        return Choice(
            window=window, length=length, ahead=ahead, tokens_per_s=found.tokens_per_s,
            gain=found.tokens_per_s / best.tokens_per_s if best else 1.0,
            edge=edge_s / best.edge if best else edge_s,
        )  # fmt: skip

    def choices(self, window: int, ahead: int) -> list[Choice]:
        """Of every length."""
        return [
            self.choice(self.expected(window, length, ahead), window, length, ahead, self.best)
            for length in range(1, self.args.longest + 1)
        ]

    def within(self, found: Sequence[Choice]) -> Choice:
        """The fastest of those that cost the edge no more than is allowed."""
        cheap = [choice for choice in found if choice.edge <= self.args.most_edge]
        return max(cheap, key=lambda choice: choice.gain)

    @property
    def bound(self) -> float:
        """Of 1 / (1 - alpha) tokens in a round trip and the slower model's time for them."""
        tokens = 1 / (1 - self.alpha)
        seconds = self.link.rtt_s + max(self.compute.verify_s, tokens * self.compute.draft_s)
        return tokens / seconds / self.best.tokens_per_s

    def best_tree(self, window: int) -> Choice:
        """The fastest of all trees with so many in flight, where siblings cost neither model any time."""
        shapes = [shape for shape in default_shapes(self.args.longest) if max(shape, default=0) > 1]
        plans = [self._planner(window, [shape]).ranking()[0] for shape in shapes]
        plan = max(plans, key=lambda plan: plan.expected.tokens_per_s)
        choice = self.choice(plan.expected, plan.window, len(plan.expansion), 0, self.best)
        return replace(choice, tree=plan.expansion)

    def tree_rate(self, choice: Choice, alpha: float, link: Link, compute: Compute) -> float:
        """Tokens a second of a tree whose first tokens are accepted with ``alpha``, and the others as often as here."""
        other = [(each - self.alpha) / (1 - self.alpha) for each in self.alphas]
        mode = replace(self.mode, alphas=tuple(alpha + (1 - alpha) * each for each in other))
        found = self._planner(choice.window, [choice.tree], mode, link, compute).ranking()[0]
        return found.expected.tokens_per_s

    def _planner(
        self,
        window: int,
        shapes: Sequence[tuple[int, ...]],
        mode: Mode | None = None,
        link: Link | None = None,
        compute: Compute | None = None,
    ) -> Planner:
        agreed = Agreed(evidence=("coupled",), window=window)
        return Planner([mode or self.mode], agreed, shapes=shapes, link=link or self.link,
                       compute=compute or self.compute, budget=0)  # fmt: skip


def expected_of(
    mode: Mode, alphas: Sequence[float], link: Link, compute: Compute, window: int, length: int, ahead: int
) -> ExpectedRound:
    """By the closed form; a window of 1 with what drafting ahead has ready."""
    second = (alphas[1] - alphas[0]) / (1 - alphas[0])
    if window > 1:
        return expected_in_flight(
            mode.wire, length, alphas[0], link, compute, window=window, ahead=ahead, right=second
        )  # fmt: skip
    alone = expected_round(mode.wire, (1,) * length, (alphas[0],) * length, link, compute)
    if not ahead:
        return alone
    draft_s = length * compute.draft_s
    kept = np.cumprod(np.full((1, length), alphas[0]), axis=1)
    passes = (alone.seconds - draft_s) / max(compute.draft_s, 1e-9)
    guesses = Guesses(np.array([alphas[0]]), np.array([second]))
    ready = float(ready_part(kept, np.array([float(length)]), guesses, most=ahead, passes=np.array([passes]))[0])
    return replace(alone, seconds=alone.seconds - ready * draft_s)


# ---------------------------------------------------------------------------------------------------------------- live


def live(cell: Cell, tables: Any, choices: Sequence[Choice], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Real sessions of these choices in turns, and the closed form with their own times and acceptance."""
    network = Network(uplink_bit_s=args.rate, downlink_bit_s=args.rate, rtt_s=cell.link.rtt_s)
    totals = ("tokens", "seconds", "rounds", "accepted", "tried", "nodes", "whole")
    times = ("draft_s", "verify_s", "way_s", "own_s")
    found: list[dict[str, Any]] = [
        {**dict.fromkeys(totals, 0), **{name: list[float]() for name in times}} for _ in choices
    ]
    for text in range(args.texts):
        for choice, sums in zip(choices, found, strict=True):
            settings = settings_of("coupled", choice.length, args.temperature)
            if choice.tree:
                settings = replace(settings, expansion=choice.tree)
            tally, device = asyncio.run(
                write(tables, network, settings, ahead=choice.ahead, window=choice.window, text=text, args=args)
            )
            sums["tokens"] += tally.tokens
            sums["seconds"] += tally.wall_s
            sums["rounds"] += len(tally.rounds)
            sums["accepted"] += sum(len(round_.accepted) for round_ in tally.rounds)
            sums["tried"] += tally.tried
            sums["nodes"] += device.ahead.nodes
            sums["whole"] += sum(round_.token is None for round_ in tally.rounds)
            first = [r for r in tally.rounds if not (r.flight and r.flight.follows) and not r.ahead and r.drafted]
            sums["draft_s"] += [r.draft_s / r.drafted for r in first]
            sums["verify_s"] += [r.verify_s for r in tally.rounds]
            took = sum(r.draft_s + r.link_s + r.verify_s for r in tally.rounds)
            sums["own_s"].append((tally.wall_s - took) / len(tally.rounds))
            sums["way_s"] += [r.link_s - cell.link.seconds(r.uplink_bytes, r.downlink_bytes, 0) for r in tally.rounds]
    link, rows = replace(cell.link, rtt_s=mean(found[0]["way_s"])), list[dict[str, Any]]()
    for choice, sums in zip(choices, found, strict=True):
        alpha = sums["accepted"] / sums["tried"]
        compute = Compute(
            draft_s=mean(sums["draft_s"]), verify_s=mean(sums["verify_s"]), draft_start_s=mean(found[0]["own_s"])
        )
        rate = sums["tokens"] / sums["seconds"]
        if choice.tree:
            # A level of a tree is tried with all its siblings: how often its first token is accepted is what accepts
            # the path of the first ones whole.
            alpha = (max(0.5, sums["whole"]) / sums["rounds"]) ** (1 / choice.length)  # of few rounds perhaps none
            model = cell.tree_rate(choice, alpha, link, compute)
        else:
            alphas = (alpha, alpha + (1 - alpha) * (cell.alphas[1] - cell.alpha) / (1 - cell.alpha))
            found_ = expected_of(cell.mode, alphas, link, compute, choice.window, choice.length, choice.ahead)
            model = found_.tokens_per_s
        rows.append(
            {
                "window": choice.window, "length": choice.length, "tree": list(choice.tree), "ahead": choice.ahead,
                "name": choice.name, "tokens": sums["tokens"],
                "alpha": alpha, "draft_s": compute.draft_s, "verify_s": compute.verify_s, "tokens_per_s": rate,
                "model_tokens_per_s": model, "over_model": rate / model,
                "passes_per_token": sums["rounds"] / sums["tokens"], "expected_gain": choice.gain,
                "nodes_ahead_per_token": sums["nodes"] / sums["tokens"],
            }
        )  # fmt: skip
    for row in rows:
        row["gain"] = row["tokens_per_s"] / rows[0]["tokens_per_s"]
        row["edge"] = row["passes_per_token"] / rows[0]["passes_per_token"]
    return rows


# ---------------------------------------------------------------------------------------------------------------- all


def measure(cell: Cell, tables: Any, args: argparse.Namespace) -> dict[str, Any]:
    """All of one link."""
    plain, guessing = cell.choices(args.window, 0), cell.choices(args.window, args.ahead)
    alone_ahead = cell.choices(1, args.ahead)
    second = (cell.alphas[1] - cell.alphas[0]) / (1 - cell.alphas[0])
    picked = [replace(cell.best, edge=1.0), *(cell.within(found) for found in (alone_ahead, plain, guessing))]
    trees = [cell.best_tree(1), cell.best_tree(args.window)]
    return {
        "alpha": cell.alpha,
        "siblings": [float(alpha) for alpha in cell.alphas],
        "rtt_s": cell.link.rtt_s,
        "best": asdict(cell.best),
        "bound": cell.bound,
        "tokens_a_run": 1 / (1 - cell.alpha),
        "tokens_a_round_alone": chain_tokens(cell.alpha, cell.best.length),
        "best_tree": asdict(trees[0]),
        "tree_in_flight": asdict(trees[1]),
        "picked": [asdict(choice) for choice in picked],
        "in_flight": [asdict(choice) for choice in plain],
        "in_flight_ahead": [asdict(choice) for choice in guessing],
        "alone_ahead": [asdict(choice) for choice in alone_ahead],
        "guess_right": float(second),
        "live": live(cell, tables, [*picked, trees[1]], args) if args.live else [],
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--alpha", nargs="+", type=above_zero, default=[0.75, 0.9], help="of a drafted token (.75 .9)")
    parser.add_argument("--rtt", nargs="+", type=zero_or_more, default=[0.05, 0.1, 0.2], metavar="S")
    parser.add_argument("--rate", type=above_zero, default=1e6, help="bits a second, each way (%(default)g)")
    parser.add_argument("--draft-ms", type=above_zero, default=8.0, help="a pass of the draft model (%(default)s)")
    parser.add_argument("--target-ms", type=above_zero, default=40.0, help="of the target model (%(default)s)")
    parser.add_argument("--window", type=whole_number(2), default=4, help="drafts in flight (%(default)s)")
    parser.add_argument("--longest", type=whole_number(1), default=24, help="chain, in tokens (%(default)s)")
    parser.add_argument("--ahead", type=whole_number(1), default=256, help="nodes drafted ahead at most (%(default)s)")
    parser.add_argument("--most-edge", type=above_zero, default=1.25, help="edge's time a token, times (%(default)s)")
    parser.add_argument("--live", action="store_true", help="write texts, too: some minutes, hardly any processor")
    parser.add_argument("--texts", type=whole_number(1), default=3, help="of each choice (%(default)s)")
    parser.add_argument("--tokens", type=whole_number(1), default=128, help="of a text (%(default)s)")
    parser.add_argument("--temperature", type=above_zero, default=0.7)
    parser.add_argument("--seed", type=whole_number(0), default=0)
    parser.add_argument("--json", type=output_file, help="write all figures")
    parser.add_argument("--png", type=output_file, help="draw gains against the edge's time")
    args = parser.parse_args(argv)
    if max(args.alpha) >= 1:
        parser.error(f"--alpha is a probability below 1, got {max(args.alpha):g}")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Reckon, write texts, print."""
    args = arguments(argv)
    heads = ("alpha", "round trip", "best alone", "tokens/s", "ahead alone", "in flight", "edge", "and ahead", "edge",
             "bound", "best tree", "in flight", "edge")  # fmt: skip
    table, cells = Table(*heads), []
    for alpha in args.alpha:
        tables, alphas = tables_for(alpha, args.temperature, args.seed)
        for rtt_s in args.rtt:
            cell = Cell(alphas.tolist(), rtt_s, args)
            cells.append(found := measure(cell, tables, args))
            _, ahead, plain, guessing = found["picked"]
            table.add_row(
                f"{cell.alpha:.3f}", f"{1e3 * rtt_s:g} ms", f"chain of {cell.best.length}",
                f"{cell.best.tokens_per_s:.1f}", f"{ahead['gain']:.2f}", f"{plain['gain']:.2f} (of {plain['length']})",
                f"{plain['edge']:.2f}", f"{guessing['gain']:.2f} (of {guessing['length']})", f"{guessing['edge']:.2f}",
                f"{found['bound']:.2f}", f"{found['best_tree']['gain']:.2f}", f"{found['tree_in_flight']['gain']:.2f}",
                f"{found['tree_in_flight']['edge']:.2f}",
            )  # fmt: skip
    console = Console(width=120)
    console.print(table)
    rows = [row for found in cells for row in found["live"]]
    if rows:
        shown = Table("window", "draft", "ahead", "tokens", "alpha", "tokens/s", "over the model", "gain", "edge",
                      "nodes ahead/token")  # fmt: skip
        for row in rows:
            whole = (str(row[name]) for name in ("window", "name", "ahead", "tokens"))
            shown.add_row(*whole, *(f"{row[name]:.3f}" for name in _LIVE))
        console.print(shown)
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key not in {"json", "png"}}
        document = {"benchmark": "in_flight", "schema": SCHEMA_VERSION, "settings": settings, "links": cells}
        write_json(document, args.json)
    if args.png:
        draw(cells, args.most_edge, args.png)
    gains = [found["picked"][3]["gain"] for found in cells]
    trees = [found["tree_in_flight"]["gain"] for found in cells]
    print(
        f"in_flight: gains {min(gains):.3f} to {max(gains):.3f} at most {args.most_edge:g} times the edge's time, "
        f"with trees {min(trees):.3f} to {max(trees):.3f}"
    )


if __name__ == "__main__":
    main()
