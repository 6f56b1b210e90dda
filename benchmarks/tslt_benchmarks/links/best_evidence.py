"""Which evidence wins on which link, and how near ``auto`` comes to it without knowing the link.

Real rounds of both models, recorded once for every choice, are replayed in virtual time on links from 10 kbit/s to
1 Gbit/s and from 1 to 200 ms.  Every fixed choice, the planner, and two ways to do without a device: the edge decodes
alone and streams, and the edge speculates with both models and streams.

    python -m tslt_benchmarks.links.best_evidence --json links.json --png links.png
    python -m tslt_benchmarks.links.best_evidence --draft-ms 8 --target-ms 40      # a phone and a 7B target
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console

import tslt_wire as tw
from tslt_benchmarks.link_grid import DOWNLINK_OVER_UPLINK, add_grid_options, draw, grid_table, shortfalls
from tslt_benchmarks.links.live import TEXT_TOKENS, LiveSessions, run_live
from tslt_benchmarks.links.recorded_rounds import (
    CHAINS,
    QUICK_SHAPES,
    TREES,
    PromptedModels,
    RecordedRounds,
    RecordingSettings,
    record,
)
from tslt_benchmarks.links.replay import (
    QUANTILE,
    LinkResult,
    Replay,
    Times,
    measure,
    recorded_over_expected,
    replay_planner,
    wire_fit,
)
from tslt_benchmarks.links.report import edge_line, kinds_table, map_entries
from tslt_benchmarks.links.text_acceptance import measure as measure_acceptance
from tslt_benchmarks.options import (
    above_zero,
    add_model_options,
    command_parser,
    output_file,
    require_models,
    whole_number,
    write_json,
    zero_or_more,
)
from tslt_benchmarks.pairs import Models
from tslt_benchmarks.prompts import read_prompts
from tslt_wire.throughput import Link
from tslt_wire.throughput.explain import rate_name

SCHEMA_VERSION = 2
QUICK_TEXTS, QUICK_TOKENS, QUICK_LIVE_TOKENS = 2, 12, 24
"""Texts, their tokens, and tokens of a live session with ``--quick``."""
_WIDTH = 150
"""Columns that the tables need."""
_REPLAYED_SEEDS = 5
"""Sessions of ``auto`` that are replayed for each live one: their mean is what it is compared with."""
LIVE = ((1e4, 0.2), (1e6, 0.05), (1e9, 0.005))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    add_model_options(parser)
    add_grid_options(parser)
    parser.add_argument("--recorded", type=output_file, help="file of recorded rounds: read if it exists, else written")
    parser.add_argument("--temperature", type=zero_or_more, default=1.0, help="of the target (%(default)s)")
    parser.add_argument(
        "--places", type=whole_number(1), default=96, help="places in texts where all is recorded (%(default)s)"
    )
    parser.add_argument("--tokens", type=whole_number(1), default=1500, help="of auto's sessions (%(default)s)")
    parser.add_argument("--seeds", type=whole_number(1), default=3, help="sessions of auto on each link (%(default)s)")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the recorded rounds")
    parser.add_argument(
        "--downlink", type=above_zero, default=DOWNLINK_OVER_UPLINK, help="times the uplink (%(default)s)"
    )
    times = parser.add_argument_group("model times", "measured here unless --draft-ms and --target-ms are given")
    times.add_argument("--draft-ms", type=above_zero, help="a level of the draft on the device")
    times.add_argument("--target-ms", type=above_zero, help="a pass of the target")
    times.add_argument(
        "--node-ms", type=zero_or_more, default=0.0, help="what a pass takes longer for each drafted token"
    )
    times.add_argument("--edge-draft-ms", type=above_zero, help="a level of the draft at the edge (as on the device)")
    parser.add_argument(
        "--live-tokens", type=whole_number(0), default=800, help="of each session of the live check; 0: no check"
    )
    parser.add_argument("--quick", action="store_true", help="few places, shapes and links: for tests")
    parser.add_argument("--json", type=output_file, help="write all links, settings and the live check")
    parser.add_argument("--png", type=output_file, help="draw a heat map")
    args = parser.parse_args(argv)
    if (args.draft_ms is None) != (args.target_ms is None):
        parser.error("--draft-ms and --target-ms belong together")
    if args.quick:
        args.places, args.seeds, args.tokens, args.live_tokens = 2, 1, 150, QUICK_LIVE_TOKENS
        args.uplink, args.rtt = [1e4, 1e7], [0.005, 0.1]
    return args


def recorded_rounds_for(args: argparse.Namespace, models: PromptedModels | None, console: Console) -> RecordedRounds:
    """Load the recorded rounds, or record them; ``models``: None only where they are to be loaded."""
    if models is None or (args.recorded is not None and args.recorded.exists()):
        return RecordedRounds.load(args.recorded)
    settings = RecordingSettings(
        temperature=args.temperature,
        places=args.places,
        tokens=QUICK_TOKENS if args.quick else TEXT_TOKENS,
        shapes=QUICK_SHAPES if args.quick else (*CHAINS, *TREES),
        seed=args.seed,
        warm_up=not args.quick,
    )
    with console.status("computing acceptance along texts ...") as status:
        acceptance = measure_acceptance(
            models.models,
            temperature=args.temperature,
            prompts=read_prompts()[:QUICK_TEXTS] if args.quick else read_prompts(),
            tokens=settings.tokens,
            seed=args.seed,
        )

        def progress(done: int) -> None:
            status.update(f"recording rounds, place {done} of {args.places} ...")

        recorded = asyncio.run(record(models, settings, acceptance, progress))
    if args.recorded is not None:
        recorded.save(args.recorded)
    return recorded


def model_times(replay: Replay) -> dict[str, Any]:
    """What the models take, and whether that was measured."""
    levels = [shape for shape in replay.recorded.shapes if shape == (1,) * len(shape)]
    return {
        "source": "given" if replay.times else f"measured, quantile {QUANTILE:g}",
        "draft_ms": {len(shape): round(1e3 * replay.bare(shape)[0], 3) for shape in levels},
        "target_ms": {len(shape): round(1e3 * replay.bare(shape)[1], 3) for shape in levels},
    }


def check_live(
    args: argparse.Namespace, models: PromptedModels, replay: Replay, results: Sequence[LinkResult], console: Console
) -> list[dict[str, Any]]:
    """Real sessions on a few links, beside what the replay says of them."""
    by_name = {choice.name: choice for choice in replay.recorded.choices}
    rows = []
    links = [(u, r) for u, r in LIVE if any((c.uplink_bit_s, c.rtt_s) == (u, r) for c in results)]
    for uplink, rtt in links or [(results[0].uplink_bit_s, results[0].rtt_s)]:
        link = Link(uplink_bit_s=uplink, downlink_bit_s=args.downlink * uplink, rtt_s=rtt)
        result = next(c for c in results if (c.uplink_bit_s, c.rtt_s) == (uplink, rtt))
        for what in (result.best, "auto"):
            choice = by_name.get(what, args.evidence)
            found: LiveSessions = asyncio.run(run_live(models, replay, link, choice, tokens=args.live_tokens))
            replayed = result.rate
            if what == "auto":
                replayed = float(
                    np.mean(
                        [
                            replay_planner(replay, link, set(args.evidence), tokens=args.live_tokens, seed=seed).rate
                            for seed in range(_REPLAYED_SEEDS)
                        ]
                    )
                )
            row = {
                "uplink_bit_s": uplink,
                "rtt_s": rtt,
                "what": what,
                "tokens": found.tokens,
                "live": found.rate,
                "replayed": replayed,
                "apart": found.rate / replayed - 1,
                "standard_error": found.error,
                "round_off_s": found.off,
                "chosen": dict(found.chosen.most_common(5)),
            }
            rows.append(row)
            console.print(
                f"live, {rate_name(uplink)}, {1e3 * rtt:g} ms, {what}: {found.rate:.1f} tokens/s, replayed "
                f"{replayed:.1f}, {row['apart']:+.1%} apart (standard error {found.error:.1%}); rounds off by "
                f"{1e6 * found.off:.1f} us at most",
                highlight=False,
                markup=False,
            )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Record or load, replay, check, print, write JSON and PNG."""
    import torch

    torch.set_num_threads(1)
    args = parse(argv)
    console = Console(width=_WIDTH)
    needed = args.live_tokens > 0 or args.recorded is None or not args.recorded.exists()
    if needed:
        require_models(args.target, args.draft)
    models = None
    if needed:
        loaded = Models.load(args.target, args.draft, dtype="float32", self_check=False)
        models = PromptedModels.of(loaded, read_prompts())
    recorded = recorded_rounds_for(args, models, console)
    times = None
    if args.draft_ms is not None:
        edge_draft_s = None if args.edge_draft_ms is None else args.edge_draft_ms / 1e3
        times = Times(
            draft_s=args.draft_ms / 1e3,
            target_s=args.target_ms / 1e3,
            node_s=args.node_ms / 1e3,
            edge_draft_s=edge_draft_s,
        )
    replay = Replay(recorded, times)
    results = []
    with console.status("replaying ...") as status:
        for uplink in args.uplink:
            for rtt in args.rtt:
                status.update(f"replaying, {rate_name(uplink)}, {1e3 * rtt:g} ms ...")
                link = Link(uplink_bit_s=uplink, downlink_bit_s=args.downlink * uplink, rtt_s=rtt)
                results.append(measure(replay, link, args.evidence, tokens=args.tokens, seeds=args.seeds))
    entries = map_entries(results)
    console.print(grid_table(entries, "best fixed choice, its tokens/s, and auto against it"))
    console.print(kinds_table(results))
    used = model_times(replay)
    console.print(edge_line(results), highlight=False)
    console.print(
        f"model times ({used['source']}): draft {used['draft_ms']} ms by levels, target {used['target_ms']} ms by "
        "drafted tokens; rates are goodput, bytes those of the QUIC transport's frames",
        highlight=False,
    )
    ratios = ", ".join(
        f"{kind} {ratio:.3f} +- {error:.3f}" for kind, (ratio, error) in recorded_over_expected(replay).items()
    )
    console.print(f"recorded tokens a round over expected ones: {ratios}", highlight=False)
    live = check_live(args, models, replay, results, console) if models is not None and args.live_tokens else []
    mean, worst = shortfalls([result.shortfall for result in results])
    console.print(
        f"best_evidence: links={len(results)} shortfall_mean={mean:.4f} shortfall_worst={worst:.4f}", soft_wrap=True
    )
    if args.json is not None:
        settings = {
            key: getattr(args, key) for key in ("evidence", "tokens", "seeds", "downlink", "node_ms", "edge_draft_ms")
        }
        document = {
            "benchmark": "best_evidence",
            "schema": SCHEMA_VERSION,
            "settings": {**settings, "recording": recorded.meta, "backend": tw.backend},
            "model_times": used,
            "summary": {"links": len(results), "shortfall_mean": mean, "shortfall_worst": worst},
            "wire_fit": wire_fit(recorded),
            "recorded_over_expected_tokens": recorded_over_expected(replay),
            "handshake_bytes": recorded.handshake,
            "links": [asdict(result) for result in results],
            "live": live,
        }
        write_json(document, args.json)
    if args.png is not None:
        draft, target = used["draft_ms"].get(1, 0.0), used["target_ms"][0]
        title = (
            f"Best fixed choice of {', '.join(args.evidence)}: tokens/s, and auto against it.\n{edge_line(results)}\n"
            f"A level of the draft {draft:.1f} ms, a pass of the target {target:.1f} ms ({used['source']}); downlink "
            f"{args.downlink:g} times the uplink; temperature {recorded.meta['temperature']:g}."
        )
        draw(entries, args.png, title)


if __name__ == "__main__":
    main()
