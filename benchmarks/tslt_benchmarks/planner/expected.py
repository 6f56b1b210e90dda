"""What to expect of two models and a link that were not measured yet: tokens a second by ``auto``'s own model.

Nothing is run: the times of the models, the link and the acceptance are what you say.  Beside it what the edge would
stream if it decoded alone; a split that is slower than that saves the edge's time, and not the user's.

    python -m tslt_benchmarks.planner.expected --draft-ms 50 --target-ms 40 --alpha 0.7
    python -m tslt_benchmarks.planner.expected --draft-ms 20 --target-ms 30 --alpha 0.8 --rtt 0.01 0.05
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from rich.console import Console
from rich.table import Table

from tslt_benchmarks.options import above_zero, command_parser, output_file, whole_number, write_json, zero_or_more
from tslt_benchmarks.planner.simulation import COMPUTE
from tslt_wire.throughput import Agreed, Compute, Link, Mode, Planner, default_modes, streamed_tokens_per_s
from tslt_wire.throughput.explain import rate_name
from tslt_wire.throughput.plan import shape_name

SCHEMA_VERSION = 1
DOWNLINK_OVER_UPLINK = 4.0
EVIDENCE = ("match", "coupled", "scalar", "lazy", "list", "full")


@dataclass(frozen=True, slots=True)
class Expected:
    """One link."""

    uplink_bit_s: float
    rtt_s: float
    choice: str
    """What ``auto`` would choose."""
    tokens_per_s: float
    streamed: float
    """Tokens a second if the edge decodes alone and streams."""
    passes_per_token: float
    """Passes of the target for a token, of which a text that the edge decodes alone takes one."""
    uplink_bytes_per_token: float


def modes_at(alpha: float, *, vocab_size: int, temperature: float) -> tuple[Mode, ...]:
    """The catalogue, as if a drafted token of a whole distribution were accepted with probability ``alpha``.

    The catalogue is one pair's; of another one every acceptance is as much likelier, by its odds.
    """
    modes = default_modes(vocab_size, temperature=temperature)
    here = next(mode.alphas[0] for mode in modes if mode.evidence == "full")
    odds = (alpha / (1 - alpha)) / (here / (1 - here))

    def moved(value: float) -> float:
        return odds * value / (1 - value + odds * value)

    return tuple(replace(mode, alphas=tuple(map(moved, mode.alphas))) for mode in modes)


def expect(link: Link, compute: Compute, modes: Sequence[Mode]) -> Expected:
    """What the planner expects of its best choice."""
    plan = Planner(modes, Agreed(evidence=EVIDENCE), link=link, compute=compute).ranking()[0]
    tokens = plan.expected.tokens
    return Expected(
        uplink_bit_s=link.uplink_bit_s,
        rtt_s=link.rtt_s,
        choice=f"{plan.mode.name}, {shape_name(plan.expansion)}",
        tokens_per_s=plan.expected.tokens_per_s,
        streamed=streamed_tokens_per_s(compute.verify_s, link),
        passes_per_token=1 / tokens,
        uplink_bytes_per_token=plan.expected.uplink_bytes / tokens,
    )


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--draft-ms", type=above_zero, required=True, help="a pass of the draft model over one token")
    parser.add_argument("--target-ms", type=above_zero, required=True, help="a pass of the target over a draft")
    parser.add_argument("--node-ms", type=zero_or_more, default=0.0, help="and for each drafted token (%(default)g)")
    parser.add_argument(
        "--alpha", type=above_zero, nargs="+", default=[0.7], help="acceptance of a drafted token (0.7)"
    )
    parser.add_argument(
        "--rtt", type=zero_or_more, nargs="+", default=[0.005, 0.02, 0.05, 0.1], help="seconds, .02 say"
    )
    parser.add_argument(
        "--uplink", type=above_zero, nargs="+", default=[1e6, 1e7], help="bits a second; four times as many down"
    )
    parser.add_argument("--vocab", type=whole_number(1), default=128_256, help="tokens (%(default)s)")
    parser.add_argument("--temperature", type=zero_or_more, default=0.7, help="of the target (%(default)g)")
    parser.add_argument("--json", type=output_file, help="write all figures")
    args = parser.parse_args(argv)
    if max(args.alpha) >= 1:
        parser.error(f"--alpha is a probability below 1, got {max(args.alpha):g}")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Reckon, print, write JSON."""
    args = arguments(argv)
    compute = replace(
        COMPUTE, draft_s=args.draft_ms / 1e3, verify_s=args.target_ms / 1e3, verify_node_s=args.node_ms / 1e3
    )
    document: list[dict[str, float | str]] = []
    console = Console(width=118)
    for alpha in args.alpha:
        modes = modes_at(alpha, vocab_size=args.vocab, temperature=args.temperature)
        table = Table(title=f"reckoned, not measured: acceptance {alpha:g}, draft {args.draft_ms:g} ms, "
                            f"target {args.target_ms:g} ms")  # fmt: skip
        for name in ("uplink", "round trip", "auto would choose", "tokens/s", "edge alone", "ratio", "passes/token"):
            table.add_column(name, justify="left" if name.startswith("auto") else "right")
        for uplink in args.uplink:
            for rtt in args.rtt:
                link = Link(uplink_bit_s=uplink, downlink_bit_s=DOWNLINK_OVER_UPLINK * uplink, rtt_s=rtt)
                found = expect(link, compute, modes)
                document.append({"alpha": alpha, **asdict(found)})
                table.add_row(
                    rate_name(uplink),
                    f"{1e3 * rtt:g} ms",
                    found.choice,
                    f"{found.tokens_per_s:.1f}",
                    f"{found.streamed:.1f}",
                    f"{found.tokens_per_s / found.streamed:.2f}",
                    f"{found.passes_per_token:.2f}",
                )
        console.print(table)
    if args.json is not None:
        settings = {"compute": asdict(compute), "vocab": args.vocab, "temperature": args.temperature}
        write_json(
            {"benchmark": "expected", "schema": SCHEMA_VERSION, "settings": settings, "links": document}, args.json
        )


if __name__ == "__main__":
    main()
