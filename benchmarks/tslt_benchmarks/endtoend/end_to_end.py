"""Every way to share two models between a device and an edge, end to end on the same links.

Real rounds of both models over an emulated link, in virtual time: what the models take is measured once, and is the
same for all.  Without ``--target`` and ``--draft`` the pair has realistic sizes and random weights whose acceptance is
a dial (``endtoend.dial``): its text is nonsense, its passes take the time of a model of that size.  Energy is a proxy:
so much for an operation on each side and for a bit on the air.

    python -m tslt_benchmarks.endtoend.end_to_end --json end_to_end.json --png end_to_end.png
    python -m tslt_benchmarks.endtoend.end_to_end --target-size 1.1B      # a quarter of an hour
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.endtoend.baselines import Assisted, assisted
from tslt_benchmarks.endtoend.dial import SIZES, prompts, save_pair
from tslt_benchmarks.endtoend.plots import plot_rates
from tslt_benchmarks.links.recorded_rounds import Choice, PromptedModels, Recorder
from tslt_benchmarks.model_sizes import multiplied
from tslt_benchmarks.options import (
    above_zero,
    command_parser,
    output_file,
    require_models,
    whole_number,
    write_json,
    zero_or_more,
)
from tslt_benchmarks.pairs import Models
from tslt_benchmarks.paper.equations import Times
from tslt_benchmarks.paper.rounds import Session, Way, run_auto, run_sessions
from tslt_benchmarks.prompts import PROMPTS, read_prompts
from tslt_runtime.drafting import DraftSettings
from tslt_wire.throughput import Link, default_modes
from tslt_wire.throughput.explain import rate_name

SCHEMA_VERSION = 1
CHAIN, TREE = (1, 1, 1, 1), (2, 2, 2)
LINKS = ((1e5, 0.1), (1e6, 0.05), (1e7, 0.02), (1e8, 0.005))
"""Uplink in bit/s and round trip in seconds; four times as much down."""
_WIDTH = 150
"""Columns that the table needs."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """Energy, by a stated proxy: operations are 2 for each weight and token."""

    device_pj: float
    """Picojoules an operation at the device."""
    edge_pj: float
    uplink_nj: float
    """Nanojoules a bit that the device sends."""
    downlink_nj: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What the models take here; seconds."""

    draft_s: float
    """A level of a chain."""
    target_s: float
    """A pass over a chain of four."""
    single_s: float
    """A pass over one token."""
    draft_prompt_s: float
    """More, for the first draft after a prompt."""
    target_prompt_s: float

    @property
    def times(self) -> Times:
        """Of a round."""
        node_s = max(0.0, self.target_s - self.single_s) / len(CHAIN)
        return Times(draft_s=self.draft_s, target_s=self.single_s, node_s=node_s)

    def with_passes(self, times: Times) -> Measured:
        """The same with passes that take ``times``; prompts take longer or shorter likewise."""
        return Measured(
            draft_s=times.draft_s,
            target_s=times.target_s + len(CHAIN) * times.node_s,
            single_s=times.target_s,
            draft_prompt_s=self.draft_prompt_s * times.draft_s / self.draft_s,
            target_prompt_s=self.target_prompt_s * times.target_s / self.single_s,
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One way on one link."""

    way: str
    uplink_bit_s: float
    rtt_s: float
    tokens_s: float
    first_ms: float
    """Until the first token of the text is there, its prompt's way and both models' prefill included."""
    up: float
    """Bytes a token, the prompt left out."""
    down: float
    draft_passes: float
    """A token."""
    target_passes: float
    joules: float
    """A token, of device, edge and air."""
    error: float = 0.0
    """Standard error of ``tokens_s``: luck of the rounds; 0 where there are none."""
    accounted: bool = False
    """Bytes are reckoned, not sent."""


# ------------------------------------------------------------------------------------------------------------ measuring


def model_times(prompted: PromptedModels, temperature: float, seed: int, rounds: int) -> Measured:
    """Lower quartiles of real rounds: the machine may be busy."""

    async def run() -> tuple[list[Any], list[Any], list[Any]]:
        recorder = Recorder(prompted.models, temperature=temperature, seed=seed)
        await recorder.device.open()
        plain = next(mode for mode in default_modes() if mode.evidence == "match")
        firsts, chains, singles = [], [], []
        for place, prompt in enumerate(prompted.prompts[:rounds]):
            firsts.append(await recorder.run_round(Choice(plain, CHAIN), prompt, place))
            chains += [await recorder.run_round(Choice(plain, CHAIN), recorder.device.session.prefix, place)]
            singles += [await recorder.run_round(Choice(plain, ()), recorder.device.session.prefix, place)]
        await recorder.close()
        return firsts, chains, singles

    def low(values: list[float]) -> float:
        return float(np.quantile(values, 0.25))

    firsts, chains, singles = asyncio.run(run())
    draft, target = low([r.draft_s for r in chains]), low([r.verify_s for r in chains])
    return Measured(
        draft_s=draft / len(CHAIN),
        target_s=target,
        single_s=low([r.verify_s for r in singles]),
        draft_prompt_s=max(0.0, low([r.draft_s for r in firsts]) - draft),
        target_prompt_s=max(0.0, low([r.verify_s for r in firsts]) - target),
    )


def ways(temperature: float) -> list[Way]:
    """All that run as sessions, but for ``auto``."""
    plain = DraftSettings(expansion=CHAIN, temperature=temperature, truncation=None, precision="f16")
    default = replace(
        plain,
        temperature=temperature * tw.DEFAULTS.draft_temperature,
        truncation=tw.DEFAULTS.truncation,
        precision=tw.DEFAULTS.precision.value,
    )
    paper = replace(plain, truncation=tw.TopK(320))
    return [
        Way("vanilla DSD", None, plain, plain=True),
        Way("TSLT as in the paper, K = 320", 320, paper, plain=True),
        Way("TSLT as in the paper, <2,2,2>", 320, replace(paper, expansion=TREE), plain=True),
        Way("tslt lazy", None, replace(default, evidence="lazy")),
        Way("tslt list", None, default),
        Way("tslt scalar", None, replace(plain, evidence="scalar")),
        Way("tslt coupled", None, replace(plain, evidence="coupled")),
        Way("tslt match", None, replace(plain, truncation=tw.TopK(1), evidence="match")),
        Way("tslt, no draft", None, replace(plain, expansion=(), evidence="match")),
    ]


def dssd(scalar: Session, vocab_size: int) -> Session:
    """Rounds of ``scalar`` with DSSD's bytes: ids and FP16 up; after a rejection all of p down, in one trip."""
    rounds = []
    for spent in scalar.rounds:
        rejected = spent.levels > 0 and spent.tokens <= spent.levels
        down = 1 + 2 * vocab_size if rejected else 5
        rounds.append(replace(spent, up=6 * spent.levels, down=down, trips=1))
    return Session(replace(scalar.way, name="DSSD"), tuple(rounds), scalar.off_s, scalar.prompt_bytes)


class Reckoner:
    """Makes rows of sessions."""

    def __init__(self, measured: Measured, proxy: Proxy, parameters: tuple[int, int]) -> None:
        """``parameters``: of target and draft."""
        self._measured, self._proxy, self._parameters = measured, proxy, parameters

    def joules(self, *, draft: float, target: float, up: float, down: float, hosted: bool = False) -> float:
        """``draft``, ``target``: tokens that a model is run on; ``hosted``: the edge has both."""
        proxy, (big, small) = self._proxy, self._parameters
        draft_pj = proxy.edge_pj if hosted else proxy.device_pj
        computing = 2e-12 * (draft * small * draft_pj + target * big * proxy.edge_pj)
        return computing + 8e-9 * (up * proxy.uplink_nj + down * proxy.downlink_nj)

    def session(self, session: Session, link: Link, *, accounted: bool = False) -> Row:
        """A row of rounds."""
        m, rounds = self._measured, session.rounds
        tokens = sum(spent.tokens for spent in rounds)
        took = np.array([spent.seconds(link, m.times) for spent in rounds])
        rate = tokens / float(took.sum())
        strayed = float(np.std([spent.tokens for spent in rounds] - rate * took) * np.sqrt(len(rounds)))
        up, down = (sum(getattr(spent, name) for spent in rounds) / tokens for name in ("up", "down"))
        drafted = sum(spent.levels for spent in rounds) / tokens
        nodes = sum(spent.nodes for spent in rounds) / tokens
        passes = len(rounds) / tokens
        first = float(took.mean()) + m.target_prompt_s
        first += m.draft_prompt_s if drafted else 0.0
        return Row(
            way=session.way.name,
            uplink_bit_s=link.uplink_bit_s,
            rtt_s=link.rtt_s,
            tokens_s=rate,
            error=strayed / float(took.sum()),
            first_ms=1e3 * (first + 8 * session.prompt_bytes / link.uplink_bit_s),
            up=up,
            down=down,
            draft_passes=drafted,
            target_passes=passes,
            joules=self.joules(draft=nodes, target=nodes + passes, up=up, down=down),
            accounted=accounted,
        )

    def edge_only(self, plain: Session, link: Link) -> Row:
        """The edge decodes and streams: a token a pass, a frame a token, no round trip between."""
        m = self._measured
        down = plain.rounds[0].down
        each = max(m.single_s, 8 * down / link.downlink_bit_s)
        first = self._first(plain, link) + m.single_s
        joules = self.joules(draft=0, target=1, up=0, down=down)
        return Row("edge only, streaming", link.uplink_bit_s, link.rtt_s, 1 / each, 1e3 * first, 0, down, 0, 1, joules)

    def edge_hosted(self, whole: Session, plain: Session, link: Link) -> Row:
        """The edge has both models and streams what it keeps."""
        m, tokens = self._measured, whole.tokens_a_round
        round_s = len(CHAIN) * m.draft_s + m.target_s
        down = plain.rounds[0].down / tokens + 2 * (tokens - 1) / tokens
        rate = min(tokens / round_s, link.downlink_bit_s / (8 * down))
        first = self._first(plain, link) + m.draft_prompt_s + round_s
        drafted = len(CHAIN) / tokens
        joules = self.joules(draft=drafted, target=drafted + 1 / tokens, up=0, down=down, hosted=True)
        name = "edge-hosted speculation"
        return Row(name, link.uplink_bit_s, link.rtt_s, rate, 1e3 * first, 0, down, drafted, 1 / tokens, joules)

    def in_process(self, found: Assisted, link: Link) -> Row:
        """transformers at the edge: no link between the models, its tokens streamed as one by one."""
        m = self._measured
        drafted = max(0, found.target_tokens - found.target_passes)
        seconds = found.draft_passes * m.draft_s + found.target_passes * m.single_s + drafted * m.times.node_s
        tokens = found.tokens
        joules = self.joules(
            draft=found.draft_tokens / tokens, target=found.target_tokens / tokens, up=0, down=0, hosted=True
        )
        return Row(
            way=found.name,
            uplink_bit_s=link.uplink_bit_s,
            rtt_s=link.rtt_s,
            tokens_s=tokens / seconds,
            first_ms=1e3 * (m.target_prompt_s + m.draft_prompt_s + seconds / max(1, found.target_passes)),
            up=0,
            down=0,
            draft_passes=found.draft_passes / tokens,
            target_passes=found.target_passes / tokens,
            joules=joules,
        )

    def _first(self, plain: Session, link: Link) -> float:
        return link.rtt_s + 8 * plain.prompt_bytes / link.uplink_bit_s + self._measured.target_prompt_s


def measure(
    args: argparse.Namespace, models: Models, texts: Sequence[str], say: Say, *, times: Times | None = None
) -> dict[str, Any]:
    """Rows of all ways on all links; ``texts``: begin with them; ``times``: of the models, measured elsewhere."""
    prompted = PromptedModels.of(models, texts)
    say("model times")
    measured = model_times(prompted, args.temperature, args.seed, len(texts))
    if times is not None:
        measured = measured.with_passes(times)
    links = [Link(uplink_bit_s=up, downlink_bit_s=4 * up, rtt_s=rtt) for up, rtt in args.links]
    common = {"temperature": args.temperature, "tokens": args.tokens, "seed": args.seed}
    sessions = {
        session.way.name: session
        for session in run_sessions(prompted, ways(args.temperature), links[1], measured.times, **common, say=say)
    }
    say("transformers' assisted generation")
    both = assisted(models.target_source, models.draft_source, prompted.prompts[:1], **common)
    counts = tuple(multiplied(path) for path in (models.target_source, models.draft_source))
    reckoner = Reckoner(measured, proxy_of(args), (counts[0], counts[1]))
    rows = []
    for link in links:
        say(f"auto at {rate_name(link.uplink_bit_s)}")
        auto = run_auto(prompted, link, measured.times, **common)
        plain, whole = sessions["tslt, no draft"], sessions["vanilla DSD"]
        rows += [reckoner.session(session, link) for session in sessions.values()]
        rows.append(reckoner.session(dssd(sessions["tslt scalar"], models.vocab_size), link, accounted=True))
        rows.append(reckoner.session(auto, link))
        rows += [reckoner.edge_only(plain, link), reckoner.edge_hosted(whole, plain, link)]
        rows += [reckoner.in_process(each, link) for each in both]
    whole = sessions["vanilla DSD"]
    return {"measured": measured, "rows": rows, "parameters": counts, "tokens_a_round": whole.tokens_a_round}


def proxy_of(args: argparse.Namespace) -> Proxy:
    """What the command line says of energy."""
    return Proxy(device_pj=args.device_pj, edge_pj=args.edge_pj, uplink_nj=args.uplink_nj, downlink_nj=args.downlink_nj)


# -------------------------------------------------------------------------------------------------------------- output


def table(rows: Sequence[Row]) -> Table:
    """A section a link."""
    out = Table(title="end to end", title_justify="left")
    for column in ("uplink", "RTT", "way"):
        out.add_column(column, no_wrap=True)
    for column in (
        "tokens/s",
        "first, ms",
        "up / token",
        "down / token",
        "draft passes",
        "target passes",
        "mJ / token",
    ):
        out.add_column(column, justify="right")
    last = None
    for row in rows:
        link = (row.uplink_bit_s, row.rtt_s)
        if last not in {None, link}:
            out.add_section()
        out.add_row(
            rate_name(row.uplink_bit_s) if link != last else "",
            f"{1e3 * row.rtt_s:g} ms" if link != last else "",
            row.way + (" (bytes reckoned)" if row.accounted else ""),
            f"{row.tokens_s:.2f}" + (f" ± {row.error:.2f}" if row.error else ""),
            f"{row.first_ms:,.0f}",
            f"{row.up:,.1f}",
            f"{row.down:,.1f}",
            f"{row.draft_passes:.2f}",
            f"{row.target_passes:.2f}",
            f"{1e3 * row.joules:,.1f}",
        )
        last = link
    return out


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--target", type=Path, metavar="FOLDER", help="of your own pair, in place of the made-up one")
    parser.add_argument("--draft", type=Path, metavar="FOLDER")
    parser.add_argument("--target-size", choices=SIZES, default="160M", help="of the made-up target (%(default)s)")
    parser.add_argument("--draft-size", choices=SIZES, default="68M", help="of the made-up draft (%(default)s)")
    parser.add_argument("--noise", type=zero_or_more, default=0.12, help="the dial of acceptance (%(default)s)")
    parser.add_argument("--temperature", type=above_zero, default=1.0, help="of draft and target (%(default)s)")
    parser.add_argument("--prompts", type=whole_number(1), default=3, help="texts (%(default)s)")
    parser.add_argument("--prompt", type=whole_number(1), default=64, help="tokens of each (%(default)s)")
    parser.add_argument("--tokens", type=whole_number(1), default=128, help="of each session (%(default)s)")
    parser.add_argument("--seed", type=whole_number(0), default=0)
    energy = parser.add_argument_group("energy, a proxy")
    energy.add_argument("--device-pj", type=zero_or_more, default=10.0, help="an operation there (%(default)s)")
    energy.add_argument("--edge-pj", type=zero_or_more, default=2.0, help="an operation at the edge (%(default)s)")
    energy.add_argument("--uplink-nj", type=zero_or_more, default=500.0, help="a bit sent (%(default)s)")
    energy.add_argument("--downlink-nj", type=zero_or_more, default=100.0, help="a bit received (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny models, few tokens, two links: for tests")
    parser.add_argument("--json", type=output_file, help="write all rows")
    parser.add_argument("--png", type=output_file, help="draw tokens a second")
    args = parser.parse_args(argv)
    if (args.target is None) != (args.draft is None):
        parser.error("--target and --draft belong together")
    args.links = LINKS
    if args.quick:
        args.target_size = args.draft_size = "tiny"
        args.prompts, args.prompt, args.tokens, args.links = 2, 12, 12, LINKS[:2]
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Make or load the pair, measure, print, write."""
    import torch

    torch.set_num_threads(1)
    args = arguments(argv)
    console = Console(width=_WIDTH)
    with tempfile.TemporaryDirectory() as name, console.status("making a pair ...") as status:
        if args.target is None:
            folder = save_pair(
                Path(name), draft=args.draft_size, target=args.target_size, noise=args.noise, seed=args.seed
            )
            target, draft = folder / "target", folder / "draft"
        else:
            require_models(args.target, args.draft)
            target, draft = args.target, args.draft
        models = Models.load(target, draft, dtype="float32", self_check=False)
        texts: Sequence[str] = read_prompts(PROMPTS)[: args.prompts]
        if args.target is None:
            texts = prompts(args.prompts, args.prompt, args.seed, models.vocab_size)
        found = measure(args, models, texts, status.update)
    rows, measured = found["rows"], found["measured"]
    console.print(table(rows))
    console.print(
        f"a level of the draft {1e3 * measured.draft_s:.1f} ms, a pass of the target {1e3 * measured.target_s:.1f} ms "
        f"(measured, one thread); {found['tokens_a_round']:.2f} tokens a round with whole distributions",
        highlight=False,
    )
    document = {
        "benchmark": "end_to_end",
        "schema": SCHEMA_VERSION,
        "settings": {
            "pair": "made up" if args.target is None else "given",
            **{name: getattr(args, name) for name in ("target_size", "draft_size", "noise", "temperature", "tokens")},
            **{name: getattr(args, name) for name in ("prompt", "prompts", "seed", "links")},
            "energy": asdict(proxy_of(args)),
        },
        "parameters": dict(zip(("target", "draft"), found["parameters"], strict=True)),
        "model_times": asdict(measured),
        "tokens_a_round": found["tokens_a_round"],
        "rows": [asdict(row) for row in rows],
    }
    if args.json:
        write_json(document, args.json)
    if args.png:
        plot_rates(document, args.png)
    best = max((row for row in rows if row.way.startswith("tslt")), key=lambda row: row.tokens_s)
    print(f"end_to_end: rows={len(rows)} best={best.way.replace(' ', '_')} tokens_s={best.tokens_s:.2f}")


if __name__ == "__main__":
    main()
