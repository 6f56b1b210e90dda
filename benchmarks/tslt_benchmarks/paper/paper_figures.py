"""The TSLT paper's figures on this pair and on made-up sharp rows: mass, acceptance, bounds, speedup, misprints.

Speedup is reckoned twice: by the paper's equations, corrected, and from real rounds whose bytes, both ways and framing
included, cross an emulated link.  The paper's models (68M and 7B Llama on two A800) are not at hand and it prints no
times: theirs are given here, all lines use the same.  K are the paper's, as parts of a vocabulary of 32,000.

    python -m tslt_benchmarks.paper.paper_figures --json paper.json --png paper.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from tslt_benchmarks.draft_options import add_position_options, positions_for
from tslt_benchmarks.drafts import EXPANSION
from tslt_benchmarks.links.recorded_rounds import PromptedModels
from tslt_benchmarks.options import above_zero, command_parser, output_file, whole_number, write_json, zero_or_more
from tslt_benchmarks.pairs import Models
from tslt_benchmarks.paper import equations, laws
from tslt_benchmarks.paper.equations import Times
from tslt_benchmarks.paper.laws import Misprint, Place
from tslt_benchmarks.paper.plots import plot_figures
from tslt_benchmarks.paper.rounds import run_sessions, ways
from tslt_benchmarks.prompts import PROMPTS, read_prompts
from tslt_benchmarks.speed.made_up_rounds import made_up_rows
from tslt_wire.throughput import Link

SCHEMA_VERSION = 1
VOCAB = 32_000
"""The paper's."""
KS = (32, 320, 3_200, 32_000)
CHAIN, TREE = (1, 1, 1), EXPANSION
"""Three levels each: single candidates, and the paper's <2,2,2>."""
MASS_KS = (1, 2, 4, 8, 16, 32, 64, 128, 320, 640, 1_280, 3_200, 10_000, 32_000)
UPLINKS = (1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9)
"""Bit/s."""
LENGTH_ALPHAS, LENGTH_RATIOS = (0.5, 0.6, 0.7, 0.8, 0.9), (2.0, 5.0, 10.0, 20.0)
_ROWS = 8
"""Places of one made-up text."""
_WIDTH = 130
"""Columns that the tables need."""
Say = Callable[[str], None]


def scaled(ks: Sequence[int], vocab_size: int) -> list[int]:
    """The paper's K as parts of another vocabulary."""
    return list(dict.fromkeys(max(1, round(k * vocab_size / VOCAB)) for k in ks))


def made_up_places(count: int) -> list[Place]:
    """Sharp rows of V = 32,000 (``speed.made_up_rounds``), each few of them a text."""
    found = []
    for seed in range(-(-count // _ROWS)):
        rows = made_up_rows(VOCAB, _ROWS - 1, seed)
        found += [Place(p, q, seed) for p, q in zip(rows.target, rows.draft, strict=True)]
    return found[:count]


def measure_laws(places: Sequence[Place], *, temperature: float, seed: int, say: Say) -> dict[str, Any]:
    """Figures 3 and 4, the theorems and the misprints' effects."""
    pairs = laws.pairs_at(places, temperature)
    size = len(pairs[0][0])
    ks, mass_ks = scaled(KS, size), scaled(MASS_KS, size)
    say("mass, acceptance, bounds")
    rows = laws.acceptance(places, pairs, ks, temperature=temperature, seed=seed)
    return {
        "vocab_size": size,
        "places": len(places),
        "mass": [{"k": k, **asdict(m)} for k, m in zip(mass_ks, laws.mass(places, pairs, mass_ks), strict=True)],
        "acceptance": [asdict(row) for row in rows],
        "bounds": [asdict(row) for row in laws.bounds(pairs, ks)],
        "misprints": [asdict(row) for row in laws.misprints(pairs, ks[min(1, len(ks) - 1)])],
    }


def reckoned(found: dict[str, Any], times: Times, uplinks: Sequence[float]) -> list[dict[str, Any]]:
    """Figures 5 and 6 by the corrected equations: a row a shape and K, a value an uplink."""
    rows = []
    for shape, expansion in (("chain", CHAIN), ("tree", TREE)):
        for row in found["acceptance"]:
            if row["name"] == "paper":
                alpha = row["single" if shape == "chain" else "double"]["value"]
                bits = equations.list_bits(row["k"], found["vocab_size"])
                values = [equations.speedup(alpha, expansion, times, bits / uplink) for uplink in uplinks]
                rows.append({"shape": shape, "k": row["k"], "alpha": alpha, "speedup": values})
    return rows


def formula_misprints(found: dict[str, Any], times: Times) -> list[Misprint]:
    """What the printed formulas would say, K = 320 at 1 Mbit/s, and the slips in sizes."""
    row = next(
        r for r in found["acceptance"] if r["name"] == "paper" and r["k"] == scaled([320], found["vocab_size"])[0]
    )
    single, double = row["single"]["value"], row["double"]["value"]
    list_s = equations.list_bits(row["k"], found["vocab_size"]) / 1e6
    size = found["vocab_size"]
    no_link = [speedup(double, TREE, times, 0) for speedup in (equations.speedup_printed_28, equations.speedup)]
    return [
        Misprint(
            "eq. (9)",
            f"1 - a at the draft's part alone: speedup, chain of 3, K = {row['k']}, 1 Mbit/s",
            equations.speedup_printed_9(single, len(CHAIN), times, list_s),
            equations.speedup(single, CHAIN, times, list_s),
            "times",
        ),
        Misprint(
            "eq. (28)",
            f"the same of a tree <2,2,2>; as printed never above 1, {no_link[0]:.2f} for {no_link[1]:.2f} with no link",
            equations.speedup_printed_28(double, TREE, times, list_s),
            equations.speedup(double, TREE, times, list_s),
            "times",
        ),
        Misprint(
            "eq. (3), Table 1",
            f"ids of {(size - 1).bit_length()} bits left out: bytes of a list of {row['k']}",
            equations.list_bits_table(row["k"]) / 8,
            equations.list_bits(row["k"], size) / 8,
            "bytes",
        ),
        Misprint(
            "section 1",
            "'roughly 500 KB' a token in FP16, V = 32,000: kilobytes (it is 0.5 Mbit)",
            500.0,
            equations.list_bits_table(VOCAB) / 8e3,
            "kB",
        ),
        Misprint(
            "eq. (34), (35), (56)",
            "Z^(i) = TV(P^(i), Q): places where Theorem 2's bound would be broken, all K",
            float(sum(r["broken_printed"] for r in found["bounds"])),
            float(sum(r["broken"] for r in found["bounds"])),
            "places",
        ),
    ]


def lengths() -> list[dict[str, float]]:
    """TK-SLT's optimal draft length by formula and by trying, T_LLM over what a drafted token takes."""
    rows = []
    for alpha in LENGTH_ALPHAS:
        for ratio in LENGTH_RATIOS:
            real, whole = equations.best_length(alpha, 1, ratio), equations.best_length_by_trying(alpha, 1, ratio)
            rate = equations.tokens_a_call(alpha, whole) / (whole + ratio)
            rounded = equations.tokens_a_call(alpha, round(real)) / (round(real) + ratio)
            rows.append({"alpha": alpha, "ratio": ratio, "formula": real, "best": whole, "lost": 1 - rounded / rate})
    return rows


def measure_rounds(prompted: PromptedModels, args: argparse.Namespace, say: Say) -> list[dict[str, Any]]:
    """Figures 5 and 6 from real rounds; the emulated link of the sessions themselves is the check."""
    times, size = times_of(args), prompted.models.vocab_size
    checked = Link(uplink_bit_s=1e6, downlink_bit_s=4e6, rtt_s=args.rtt)
    rows = []
    for shape, expansion in (("chain", CHAIN), ("tree", TREE)):
        sessions = run_sessions(
            prompted,
            ways(expansion, scaled(KS, size), size, args.temperature),
            checked,
            times,
            temperature=args.temperature,
            tokens=args.tokens,
            seed=args.seed,
            say=say,
        )
        for session in sessions:
            links = [Link(uplink_bit_s=up, downlink_bit_s=4 * up, rtt_s=args.rtt) for up in args.uplink]
            rows.append(
                {
                    "shape": shape,
                    "name": session.way.name,
                    "k": session.way.k,
                    "up_a_round": session.up_a_round,
                    "tokens_a_round": session.tokens_a_round,
                    "rounds": len(session.rounds),
                    "off_s": session.off_s,
                    "speedup": [session.speedup(link, times) for link in links],
                }
            )
    return rows


def times_of(args: argparse.Namespace) -> Times:
    """The models' times that the command line gives."""
    return Times(draft_s=args.draft_ms / 1e3, target_s=args.target_ms / 1e3)


# -------------------------------------------------------------------------------------------------------------- output


def settings_table(args: argparse.Namespace, vocab_size: int, draft: str, target: str) -> Table:
    """Table 1, beside what is measured here."""
    out = Table("", "paper, Table 1", "here", title="settings", title_justify="left")
    rows = (
        ("SLM, LLM", "68M-Llama, 7B-Llama", f"{draft}, {target}; and made-up sharp rows"),
        ("hardware", "2 NVIDIA A800 80GB", f"times are given: {args.draft_ms:g} and {args.target_ms:g} ms a pass"),
        ("vocabulary", "32K", f"{vocab_size:,}; K are parts of 32,000"),
        ("precision", "FP16, D_V = 0.5 Mbit", "FP16 and ids (eq. 3); ours as they are written"),
        ("truncation", "Top-K", "Top-K; the default profile"),
        ("expansion", "<2,2,2>", "<2,2,2>, and a chain of three"),
    )
    for row in rows:
        out.add_row(*row)
    return out


def _of(mean: dict[str, float] | None) -> str:
    return f"{mean['value']:.3f} ± {mean['error']:.3f}" if mean else "-"


def law_tables(name: str, found: dict[str, Any]) -> list[Table]:
    """Figures 3 and 4, the theorems, the misprints."""
    mass = Table("K", "mass", title=f"Fig. 3, top-K mass, {name}", title_justify="left")
    for row in found["mass"]:
        mass.add_row(f"{row['k']:,}", _of(row))
    acceptance = Table("", "K", "one candidate", "two", title=f"Fig. 4, acceptance, {name}", title_justify="left")
    for row in found["acceptance"]:
        acceptance.add_row(row["name"], f"{row['k']:,}" if row["k"] else "", _of(row["single"]), _of(row["double"]))
    bounds = Table(title=f"Theorems 1 and 2, means, {name}", title_justify="left")
    for column in ("K", "|b^ - b|", "sigma", "|b^(2) - b(2)|", "its bound", "bound >= 1", "broken", "as printed"):
        bounds.add_column(column, justify="right")
    for row in found["bounds"]:
        values = (row["gap_1"], row["bound_1"], row["gap_2"], row["bound_2"])
        cells = [f"{value:.4f}" for value in values]
        bounds.add_row(f"{row['k']:,}", *cells, f"{row['idle_2']:.0%}", str(row["broken"]), str(row["broken_printed"]))
    wrong = Table("where", "what", "as printed", "right", title=f"misprints by effect, {name}", title_justify="left")
    for row in found["misprints"]:
        wrong.add_row(row["place"], row["what"], f"{row['printed']:.4g} {row['unit']}", f"{row['right']:.4g}")
    return [mass, acceptance, bounds, wrong]


def speedup_table(
    uplinks: Sequence[float], by_equation: Sequence[dict[str, Any]], real: Sequence[dict[str, Any]]
) -> Table:
    """Figures 5 and 6."""
    out = Table(title="Fig. 5 and 6, speedup over the target alone by uplink, Mbit/s", title_justify="left")
    for column in ("shape", "by", "what", "bytes up", "tokens", *(f"{uplink / 1e6:g}" for uplink in uplinks)):
        out.add_column(column, justify="right")
    for row in by_equation:
        out.add_row(row["shape"], "equations", f"K = {row['k']:,}", "", "", *(f"{v:.2f}" for v in row["speedup"]))
    for row in real:
        size, tokens = f"{row['up_a_round']:,.0f}", f"{row['tokens_a_round']:.2f}"
        out.add_row(row["shape"], "rounds", row["name"], size, tokens, *(f"{v:.2f}" for v in row["speedup"]))
    return out


def length_table(rows: Sequence[dict[str, float]]) -> Table:
    """TK-SLT's length."""
    out = Table(title="optimal draft length: formula, and the best by trying", title_justify="left")
    for column in ("acceptance", *(f"T / c = {ratio:g}" for ratio in LENGTH_RATIOS)):
        out.add_column(column, justify="right")
    for alpha in LENGTH_ALPHAS:
        here = [row for row in rows if row["alpha"] == alpha]
        out.add_row(f"{alpha:g}", *(f"{row['formula']:.2f} / {row['best']:.0f}" for row in here))
    return out


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    add_position_options(parser, 192)
    parser.add_argument("--sharp", type=whole_number(1), default=96, help="made-up rows (%(default)s)")
    parser.add_argument("--temperature", type=above_zero, default=1.0, help="of draft and target (%(default)s)")
    parser.add_argument("--draft-ms", type=above_zero, default=2.0, help="a level of the draft (%(default)s)")
    parser.add_argument("--target-ms", type=above_zero, default=25.0, help="a pass of the target (%(default)s)")
    parser.add_argument("--rtt", type=zero_or_more, default=0.0, help="seconds, of real rounds; the paper has none")
    parser.add_argument("--uplink", type=above_zero, nargs="+", default=list(UPLINKS), help="bit/s")
    parser.add_argument("--tokens", type=whole_number(1), default=192, help="of each session (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="few of everything: for tests and a first look")
    parser.add_argument("--json", type=output_file, help="write everything")
    parser.add_argument("--png", type=output_file, help="draw the four figures")
    args = parser.parse_args(argv)
    if args.quick:
        args.positions, args.sharp, args.tokens = 16, 16, 12
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    args = arguments(argv)
    console = Console(width=_WIDTH)
    drafts = positions_for(args, console=console)
    positions = drafts.positions
    places = [Place(*each) for each in zip(positions.target, positions.draft, positions.prompt.tolist(), strict=True)]
    times = times_of(args)
    with console.status("measuring") as status:
        pair = measure_laws(places, temperature=args.temperature, seed=args.seed, say=status.update)
        sharp = measure_laws(
            made_up_places(args.sharp), temperature=args.temperature, seed=args.seed, say=status.update
        )
        real = []
        if all(path.exists() for path in (args.target, args.draft)):
            models = Models.load(args.target, args.draft, dtype="float32", self_check=False)
            prompted = PromptedModels.of(models, read_prompts(PROMPTS))
            real = measure_rounds(prompted, args, status.update)
    for found in (pair, sharp):
        found["misprints"] += [asdict(row) for row in formula_misprints(found, times)]
    by_equation = reckoned(pair, times, args.uplink)
    console.print(settings_table(args, pair["vocab_size"], str(drafts.meta["draft"]), str(drafts.meta["target"])))
    for name, found in (("the pair", pair), ("made-up sharp rows", sharp)):
        for table in law_tables(name, found):
            console.print(table)
    console.print(speedup_table(args.uplink, by_equation, real))
    console.print(length_table(lengths()))
    document = {
        "benchmark": "paper_figures",
        "schema": SCHEMA_VERSION,
        "settings": {
            **{key: getattr(args, key) for key in ("temperature", "draft_ms", "target_ms", "rtt", "tokens", "seed")},
            "uplink_bit_s": args.uplink,
        },
        "drafts": drafts.meta,
        "pair": pair,
        "sharp": sharp,
        "equations": by_equation,
        "rounds": real,
        "lengths": lengths(),
    }
    if args.json:
        write_json(document, args.json)
    if args.png:
        plot_figures(document, args.png)
    at = {row["k"]: row["value"] for row in sharp["mass"]}
    broken = sum(row["broken"] for found in (pair, sharp) for row in found["bounds"])
    off = max((row["off_s"] for row in real), default=0.0)
    print(f"paper_figures: sharp_mass_320={at[320]:.3f} bounds_broken={broken} rounds_off={off:.1e}")


if __name__ == "__main__":
    main()
