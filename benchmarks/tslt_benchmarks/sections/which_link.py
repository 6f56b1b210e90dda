"""Section: what to use on which link, and where a split is not worth it: the page's first screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tslt_benchmarks.planner.measured import Advice, advise, break_even_rtt, measured_modes
from tslt_benchmarks.report.blocks import Column, Plot, Sorted, Table
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Rates, Seconds, Section
from tslt_benchmarks.speed.pass_times import PassTimes
from tslt_wire.throughput import Compute, Link, Mode, Plan
from tslt_wire.throughput.explain import rate_name

LINKS = (
    ("poor radio", 1e4, 0.2),
    ("weak mobile", 1e5, 0.1),
    ("slow line, 3G", 1e6, 0.06),
    ("mobile, 4G", 5e6, 0.05),
    ("home, Wi-Fi", 2e7, 0.02),
    ("same town, fibre", 1e8, 0.005),
    ("same building", 1e8, 0.002),
    ("same rack", 1e9, 0.0002),
)
"""(name, bit/s up, round trip in seconds): what readers have."""
UPLINKS = (1e4, 3e4, 1e5, 3e5, 1e6, 1e7, 1e8)
RTTS = (0.001, 0.01, 0.03, 0.1)
DOWN_OVER_UP = 4.0
"""Access links send several times as much down as up."""
BIG = Compute(draft_s=0.008, verify_s=0.04, verify_node_s=0.0005)
"""A phone that drafts with some hundred million weights, and an edge with seven thousand million."""
NEAR = 0.98
"""A part of the best rate that is as good as it."""
FAST_BIT_S = 1e7
"""An uplink on which bytes hardly count."""


def run(context: Context) -> dict[str, Any]:
    """Ask the planner about all links, with the pair's acceptance and times, and with a larger pair's times."""
    modes, own, temperature = of_pair(context)
    given = context.times
    found: dict[str, Any] = {"temperature": temperature, "given": given is not None, "times": {}}
    for name, compute in (("own", own), ("big", BIG)):
        found["times"][name] = {
            "compute": {field: getattr(compute, field) for field in Compute.__dataclass_fields__},
            "links": [_entry(title, advise(modes, _link(up, rtt), compute)) for title, up, rtt in LINKS],
            "grid": [_entry("", advise(modes, _link(up, rtt), compute)) for rtt in RTTS for up in UPLINKS],
            "break_even_rtt_s": break_even_rtt(modes, compute, FAST_BIT_S, DOWN_OVER_UP * FAST_BIT_S),
        }
    return found


def of_pair(context: Context) -> tuple[list[Mode], Compute, float]:
    """The pair's modes and times, as they were measured or given, and the temperature that both are of."""
    acceptance = context.figures("evidence-acceptance")
    own = own_times(context)
    temperature = acceptance["temperatures"][0]
    here = [row for row in acceptance["rows"] if row["temperature"] == temperature]
    restricted = context.load_models is not None and context.models.restricted
    return measured_modes(here, acceptance["vocab_size"], temperature, restricted=restricted), own, temperature


def own_times(context: Context) -> Compute:
    """Times of the pair's models, for every section that reckons with them: as they were measured once, or given."""
    return context.times or PassTimes.of_json(context.figures("pass-times")).compute


def _link(up: float, rtt: float) -> Link:
    return Link(uplink_bit_s=up, downlink_bit_s=DOWN_OVER_UP * up, rtt_s=rtt)


def _entry(title: str, found: Advice) -> dict[str, Any]:
    return {
        "title": title,
        "uplink_bit_s": found.link.uplink_bit_s,
        "rtt_s": found.link.rtt_s,
        "split": found.split.name,
        "options": options_of(found.split),
        "rate": found.rate,
        "bytes_up": found.bytes_up,
        "streams": found.streams,
        "both": found.both,
        "busy_split_s": found.busy_split_s,
        "busy_streams_s": found.busy_streams_s,
    }


def options_of(plan: Plan) -> str:
    """What ``tslt device`` is told for this choice."""
    mode, shape = plan.mode, plan.expansion
    parts = [f"--evidence {'list' if mode.evidence == 'full' else mode.evidence}"]
    if mode.k:
        parts.append(f"--k {mode.k}")
    if mode.min_prob:
        parts.append(f"--min-prob {mode.min_prob:g}")
    if mode.precision:
        parts.append(f"--precision {mode.precision}")
    parts.append(f"--expansion {len(shape) if max(shape) == 1 else ','.join(map(str, shape))}")
    return " ".join(parts)


# ---------------------------------------------------------------------------------------------------------------- shown


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """The table of links with the pair's own times, the same with a larger pair's, a plot, and the whole grid."""
    own, big = figures["times"]["own"], figures["times"]["big"]
    blocks: list[Table | Plot] = [
        _short(own["links"], caption=_ADVICE),
        _plot(own, "tokens-by-link", "These two models"),
    ]
    if not figures["given"]:
        blocks.append(
            _short(
                big["links"],
                title=f"The same acceptance, if a drafted token took {1e3 * BIG.draft_s:g} ms and a pass of the target "
                f"{1e3 * BIG.verify_s:g} ms",
                caption="As of a phone and a target of some billion weights; --draft-ms and --target-ms take yours.",
            )
        )
    return [*blocks, _long(own["links"], "The same links, by hand", stacked=True), _long(own["grid"], "All links")]


_ADVICE = (
    "If your link is between two of these, take the slower one's row. A split is advised where it is faster than the "
    "edge that decodes alone and streams; its drafts wait for their verdicts here. Where it is slower, it still takes "
    "less of the edge's time where users do not share passes (How many users an edge serves has those that do): "
    "\u201cThe same links, by hand\u201d names the best split of each, and tslt device finds it (--evidence auto). "
    "Both models at the edge may be faster than either, if the edge has time to draft for all of its users. Here they "
    "make chains of the best length; chains of 4 (End to end), the best tree or chain (Real rounds on every link) and "
    "a server of many users (How many users an edge serves) are other ways to do so, with other numbers. Bytes and "
    "rates are of messages: what a transport adds to each has a section of its own."
)
_BOTH = "both at the edge, best chain, tokens/s"
_BOTH_HINT = "a server that runs the draft, too, as fast as the device does, and streams"
_ALONE_HINT = "any server of the target, which decodes a token a pass and streams; no tslt is needed for it"
_LINK_HINT = "bits a second up, and a round trip; four times as much down"


def _where(entry: dict[str, Any]) -> Sorted:
    where = f"{rate_name(entry['uplink_bit_s'])} up, {1e3 * entry['rtt_s']:g} ms"
    return Sorted(f"{entry['title']}: {where}" if entry["title"] else where, entry["uplink_bit_s"])


def _short(entries: Sequence[dict[str, Any]], *, title: str = "", caption: str) -> Table:
    return Table(
        columns=[
            Column("link", hint=_LINK_HINT),
            Column("use", hint="the faster of the best split and the edge alone"),
            Column("best split, tokens/s", ".1f"),
            Column("edge alone, tokens/s", ".1f", _ALONE_HINT),
            Column(_BOTH, ".1f", _BOTH_HINT),
            Column("bytes up a token, best split", ",.1f"),
        ],
        rows=[
            [_where(entry), verdict(entry), entry["rate"], entry["streams"], entry["both"], entry["bytes_up"]]
            for entry in entries
        ],
        title=title,
        caption=caption,
        stacked=True,
    )


def _long(entries: Sequence[dict[str, Any]], title: str, *, stacked: bool = False) -> Table:
    return Table(
        columns=[
            Column("link", hint=_LINK_HINT, whole=True),
            Column("RTT, ms", "g"),
            Column("best split", whole=True),
            Column("options of tslt device", whole=True),
            Column("split, tokens/s", ".1f"),
            Column("edge alone, tokens/s", ".1f", _ALONE_HINT),
            Column(_BOTH, ".1f", _BOTH_HINT),
            Column("bytes up a token", ",.1f"),
            Column("edge ms a token, split", ".2f", "of the edge's time"),
            Column("edge ms a token, alone", ".2f"),
        ],
        rows=[
            [
                _where(entry),
                1e3 * entry["rtt_s"],
                entry["split"],
                entry["options"],
                entry["rate"],
                entry["streams"],
                entry["both"],
                entry["bytes_up"],
                1e3 * entry["busy_split_s"],
                1e3 * entry["busy_streams_s"],
            ]
            for entry in entries
        ],
        title=title,
        folded=True,
        stacked=stacked,
    )


def verdict(entry: dict[str, Any]) -> str:
    """What to use on a link: the split, the edge alone, or either."""
    gain = entry["rate"] / entry["streams"]
    if gain < NEAR:
        return "edge alone"
    kind = entry["split"]
    return kind if gain > 1 / NEAR else f"{kind}, or edge alone"


def _plot(times: dict[str, Any], name: str, title: str) -> Plot:
    grid = times["grid"]
    curves = []
    for rtt in dict.fromkeys(entry["rtt_s"] for entry in grid):
        mine = [entry for entry in grid if entry["rtt_s"] == rtt]
        xs, ys = [entry["uplink_bit_s"] for entry in mine], [entry["rate"] for entry in mine]
        curves.append(Line(name=f"split, RTT {1e3 * rtt:g} ms", xs=xs, ys=ys))
    alone = [entry for entry in grid if entry["rtt_s"] == grid[0]["rtt_s"]]
    xs = [entry["uplink_bit_s"] for entry in alone]
    curves.append(Line(name="edge alone", xs=xs, ys=[entry["streams"] for entry in alone], dashed=True, colour=-1))
    top = 1.1 * max(max(line.ys) for line in curves)
    return lines(
        Panel(
            lines=curves,
            x=Axis(label="uplink, bit/s", log=True, ticks=xs, labels=[rate_name(x).replace("bit/s", "") for x in xs]),
            y=Axis(label="tokens a second", limits=(0, top)),
        ),
        name=name,
        title=title,
        alt="tokens a second against the uplink's rate, a line a round trip, and the edge alone",
        caption="Above the dashed line the split is faster than the edge alone, below it slower. Down is "
        f"{DOWN_OVER_UP:g} times up.",
    )


def meaning(figures: dict[str, Any]) -> str:
    """Where a split is worth it."""
    own = figures["times"]["own"]
    rtt, links = own["break_even_rtt_s"], own["links"]
    best = max(links, key=lambda entry: entry["rate"] / entry["streams"])
    cheapest = min(links, key=lambda entry: entry["busy_split_s"])
    least, alone = cheapest["busy_split_s"], best["busy_streams_s"]
    busy = (
        f"for a single user a token costs the edge {1e3 * least:.1f} ms with a split at best ({cheapest['split']}), "
        f"{1e3 * alone:.1f} ms alone"
    )
    if rtt <= 0:
        word = "but" if least < alone else "and"
        return f"With these models no link makes a split faster than the edge alone, {word} {busy}."
    unless = ", unless the edge's time is what counts" if least < alone else ""
    faster = [entry["split"] for entry in links if entry["rate"] > entry["streams"]] or [best["split"]]
    both = best["both"] > best["rate"]
    hosted = "; both models at the edge are faster still, if the edge has the time to draft" if both else ""
    return (
        f"With these models a split ({kinds(faster)}) is faster than the edge alone up to a round trip of about "
        f"{1e3 * rtt:.{0 if rtt >= 0.01 else 1}f} ms where the uplink is fast, at best "
        f"{best['rate'] / best['streams']:.1f} times as fast (if its drafts wait for their verdicts; the next section "
        f"has those that do not){hosted}; farther away use the edge alone{unless}: {busy}."
    )


def kinds(splits: Sequence[str]) -> str:
    """What splits have in common: ``scalar, chains of 4 to 6`` for two such chains, else all of their names."""
    evidence, lengths = set(), set()
    for split in splits:
        kind, _, length = split.rpartition(", chain of ")
        evidence.add(kind)
        lengths.add(length)
    if len(evidence) > 1 or "" in evidence or len(lengths) == 1:
        return "; ".join(dict.fromkeys(splits))
    least, *_, most = sorted(map(int, lengths))
    return f"{evidence.pop()}, chains of {least} to {most}"


SECTION = Section(
    name="which-link",
    title="What to use on your link",
    question="Which evidence and draft, how many tokens a second, and is a split worth it at all?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=1, full=1),
    run=run,
    show=show,
    meaning=meaning,
    uses=("evidence-acceptance", "pass-times"),
    rates=Rates.EQUATIONS,
)
