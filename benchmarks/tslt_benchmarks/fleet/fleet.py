"""How many devices an edge serves, when a split is worth it, and what a million devices need: a simulation.

Passes take what was measured (benchmarks/results/capacity_transformers.json), or what you say; batching, waiting, links
and drafts are simulated (``fleet.simulation``), and the simulation is held against real runs (``--check``).

    python -m tslt_benchmarks.fleet.fleet --json fleet.json --png fleet.png
    python -m tslt_benchmarks.fleet.fleet --check pair             # the default pair on this machine, beside it
    python -m tslt_benchmarks.fleet.fleet --pass-ms 25 --row-ms 0.05 --draft-ms 30 --alpha 0.8

A device is served if its text comes at --tokens-s tokens a second or more, 19 of 20 texts at least.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tslt_benchmarks.fleet import profiles
from tslt_benchmarks.fleet.profiles import DAY, LINKS, Profile
from tslt_benchmarks.fleet.simulation import Found, Habit, Service, Use, simulate
from tslt_benchmarks.fleet.validation import Check, check_paced, check_pair
from tslt_benchmarks.options import above_zero, command_parser, output_file, whole_number, write_json

SCHEMA_VERSION = 1
SLOWEST = 0.05
"""The part of texts that may be slower than is wanted."""
USE = Use(prompt=40, tokens=100)
SECONDS, WARM_S = 12.0, 4.0
SHORT = (1, 2)
"""Drafted tokens of a round that edges under load serve more devices with: rows that are rejected cost others, too."""
FLEET = 4
"""Edges of the fleet that is simulated; sessions are spread by a hash, and some edges have more of them."""
MILLION = 1_000_000
GATEWAY_CPU_S = 0.002
"""Of a round, where benchmarks/results/fleet_round.json does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Of one way."""

    profile: str
    way: str
    devices: int
    """That write at once at one edge, and are served."""
    tokens_s: float
    """A text's, the middle."""
    round_p95_ms: float
    texts: float
    """In a pass."""
    busy: float
    """Part of the time."""
    up_bytes_s: float
    """Of one device."""
    rounds_s: float
    """Likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What so many devices need."""

    profile: str
    devices: int
    writing: float
    """At once, in the busiest hour."""
    edges: int
    """In that hour."""
    edge_hours: float
    """A day, where edges are started and ended with the load; all the time it would be 24 times ``edges``."""
    uplink_mbit_s: float
    gateway_cores: float
    rounds_s: float


def best(wanted: float, run: Callable[[int], Found], *, first: int = 1, most: int = 4096) -> tuple[int, Found | None]:
    """The most devices whose texts are as fast as ``wanted``, and what was found with them; ``first``: tried first."""
    low, kept, high = 0, None, first
    while high <= most:
        found = run(high)
        if found.slowest(SLOWEST) < wanted:
            break
        low, kept, high = high, found, 2 * high
    while high - low > max(1, low // 20):
        middle = (low + high) // 2
        found = run(middle)
        if found.slowest(SLOWEST) < wanted:
            high = middle
        else:
            low, kept = middle, found
    return low, kept


def capacity(
    profile: str, way: str, service: Service, kinds: list[Habit], wanted: float, *, edges: int = 1, first: int = 1
) -> Capacity:
    """Of one way; ``devices`` are those of one edge of ``edges``."""

    def run(devices: int) -> Found:
        return simulate(service, kinds, USE, devices=devices * edges, edges=edges, seconds=SECONDS, warm_s=WARM_S)

    devices, found = best(wanted, run, first=first)
    found = found or run(1)
    each = max(1, devices) * edges * found.seconds
    return Capacity(
        profile=profile,
        way=way,
        devices=devices,
        tokens_s=found.tokens / each,
        round_p95_ms=1e3 * found.quantile(0.95),
        texts=found.rounds / max(1, found.passes),
        busy=found.busy_s / found.seconds / edges,
        up_bytes_s=found.up / each,
        rounds_s=found.rounds / each,
    )


def million(one: Capacity, args: argparse.Namespace, gateway_cpu_s: float) -> Fleet:
    """What ``args.million`` devices need whose edges are like ``one``."""
    texts_s = args.million * args.texts_a_day / 86_400
    writing = [texts_s * part * args.text_tokens / one.tokens_s for part in DAY]
    edges = [max(1, round(0.5 + count / max(1, one.devices))) for count in writing]
    most = max(writing)
    return Fleet(
        profile=one.profile,
        devices=args.million,
        writing=most,
        edges=max(edges),
        edge_hours=float(sum(edges)),
        uplink_mbit_s=most * one.up_bytes_s * 8 / 1e6,
        gateway_cores=most * one.rounds_s * gateway_cpu_s,
        rounds_s=most * one.rounds_s,
    )


def measure(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """All of it."""
    chosen: list[Profile] = [profiles.measured(), profiles.RECKONED]
    if args.pass_ms is not None:
        times = replace(profiles.RECKONED.service, pass_s=args.pass_ms / 1e3, row_s=args.row_ms / 1e3)
        chosen = [Profile(name="yours", source="said", service=times, draft_s=args.draft_ms / 1e3)]
    found, fleets, users = [], [], []
    cpu = gateway_cpu_s()
    for profile in chosen:
        kinds = profiles.habits(profile, args.alpha)
        ways = [("split", profile.service, kinds)]
        for length in SHORT:
            short = profiles.habits(profile, args.alpha, chains=((1,) * length,))
            ways.append((f"split, chain of {length}", profile.service, short))
        for own in (False, True):
            service, habits = profiles.alone(profile, args.alpha, own=own)
            ways.append((habits[0].name, service, habits))
        for way, service, habits in ways:
            found.append(capacity(profile.name, way, service, habits, args.tokens_s))
            say(f"{profile.name}, {way}: {found[-1].devices} devices")
        splits = [one for one in found if one.profile == profile.name and "split" in one.way]
        most = max(splits, key=lambda one: one.devices)
        way, service, habits = next(each for each in ways if each[0] == most.way)
        first, name = max(1, most.devices // 2), f"the best split, {FLEET} edges"
        spread = capacity(profile.name, name, service, habits, args.tokens_s, edges=FLEET, first=first)
        found.append(spread)
        say(f"{profile.name}, {spread.way}: {spread.devices} devices each")
        fleets.append(million(spread, args, cpu))
        for habit, way_ in zip(kinds, LINKS, strict=True):
            one = simulate(profile.service, [habit], USE, devices=1, seconds=60, warm_s=WARM_S)
            rates = {"split": one.tokens / one.seconds, "streamed": profiles.streamed(profile, way_.link)}
            users.append({"profile": profile.name, "link": habit.name, **rates})
    checks: list[Check] = []
    for kind in args.check:
        say(f"checking against real runs: {kind}")
        checks += check_paced(args.check_seconds) if kind == "paced" else check_pair(args.check_seconds)
    return {
        "capacity": [asdict(one) for one in found],
        "one_user": users,
        "fleets": [asdict(one) for one in fleets],
        "checks": [asdict(one) | {"off": one.off} for one in checks],
        "profiles": [asdict(one) for one in chosen],
        "gateway_cpu_s": cpu,
    }


def gateway_cpu_s(results: Path = profiles.RESULTS) -> float:
    """CPU seconds of a round at a gateway: measured with as many devices as there were."""
    file = results / "fleet_round.json"
    if not file.is_file():
        return GATEWAY_CPU_S
    rows = [row for row in json.loads(file.read_text())["rounds"] if row["way"] == "fleet"]
    return float(max(rows, key=lambda row: (row["devices"], -row["replicas"]))["gateway_cpu_ms"]) / 1e3


# -------------------------------------------------------------------------------------------------------------- output


def tables(found: dict[str, Any], args: argparse.Namespace) -> list[Table]:
    """For people."""
    served = Table(title=f"devices that write at once, at {args.tokens_s:g} tokens/s or more", title_justify="left")
    for name in ("profile", "way", "devices", "tokens/s", "round p95 ms", "texts/pass", "busy"):
        served.add_column(name, justify="right")
    for one in found["capacity"]:
        numbers = f"{one['tokens_s']:.1f}", f"{one['round_p95_ms']:.0f}", f"{one['texts']:.1f}", f"{one['busy']:.2f}"
        served.add_row(one["profile"], one["way"], str(one["devices"]), *numbers)
    user = Table(title="one user, tokens a second", title_justify="left")
    for name in ("profile", "link, and what is best on it", "split", "streamed by an edge alone"):
        user.add_column(name, justify="right")
    for one in found["one_user"]:
        user.add_row(one["profile"], one["link"], f"{one['split']:.1f}", f"{one['streamed']:.1f}")
    fleet = Table(
        title=f"{args.million:,} devices, {args.texts_a_day:g} texts a day of {args.text_tokens}", title_justify="left"
    )
    for name in ("profile", "writing at once", "edges", "edge hours a day", "uplink Mbit/s", "gateway cores"):
        fleet.add_column(name, justify="right")
    for one in found["fleets"]:
        needs = ("writing", "edges", "edge_hours", "uplink_mbit_s", "gateway_cores")
        fleet.add_row(one["profile"], *(f"{one[name]:,.0f}" for name in needs))
    checked = Table(title="the simulation against real runs", title_justify="left")
    for name in ("users", "pause s", "tokens/s", "predicted", "p50 ms", "predicted ms", "off"):
        checked.add_column(name, justify="right")
    for one in found["checks"]:
        names = ("tokens_s", "predicted_tokens_s", "p50_ms", "predicted_p50_ms")
        values = (f"{one[name]:.1f}" for name in names)
        checked.add_row(str(one["users"]), f"{one['think_s']:g}", *values, f"{one['off']:.3f}")
    return [served, user, fleet, *([checked] if found["checks"] else [])]


def draw(found: dict[str, Any], path: Path) -> None:
    """Devices an edge serves, and a day of the million."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = [one["name"] for one in found["profiles"]]
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        ways = list(dict.fromkeys(one["way"] for one in found["capacity"]))
        for at, way in enumerate(ways):
            heights = [
                sum(one["devices"] for one in found["capacity"] if one["profile"] == name and one["way"] == way)
                for name in names
            ]
            places = [place + at / (len(ways) + 1) for place in range(len(names))]
            left.bar(places, [max(0.5, height) for height in heights], 1 / (len(ways) + 1), label=way)
        left.set(yscale="log", ylabel="devices at once at one edge", xticks=[p + 0.3 for p in range(len(names))])
        left.set_xticklabels(names)
        left.legend(frameon=False, fontsize=7, ncols=2, loc="upper left")
        left.set_ylim(top=5000)
        for one in found["fleets"]:
            peak = max(DAY)
            right.step(
                range(25), [one["edges"] * part / peak for part in (*DAY, DAY[0])], where="post", label=one["profile"]
            )
        right.set(
            xlabel="hour", ylabel=f"edges for {found['fleets'][0]['devices']:,} devices", yscale="log", xlim=(0, 24)
        )
        right.legend(frameon=False)
        figure.savefig(path, dpi=140)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    one = whole_number(1)
    parser.add_argument("--tokens-s", type=above_zero, default=10.0, metavar="N", help="wanted (%(default)s)")
    parser.add_argument("--alpha", type=above_zero, default=0.8, help="acceptance, whole distributions (%(default)s)")
    parser.add_argument("--million", type=one, default=MILLION, metavar="N", help="devices (%(default)s)")
    parser.add_argument("--texts-a-day", type=above_zero, default=20.0, metavar="N", help="of one (%(default)s)")
    parser.add_argument("--text-tokens", type=one, default=200, metavar="N", help="of a text (%(default)s)")
    parser.add_argument("--pass-ms", type=above_zero, metavar="MS", help="of your target, in place of the two profiles")
    parser.add_argument("--row-ms", type=above_zero, default=0.1, metavar="MS", help="and of a row (%(default)s)")
    parser.add_argument("--draft-ms", type=above_zero, default=20.0, metavar="MS", help="a level (%(default)s)")
    kinds = "beside it real runs: passes that sleep, or the default pair's"
    parser.add_argument("--check", nargs="*", choices=["paced", "pair"], default=[], help=kinds)
    parser.add_argument("--check-seconds", type=above_zero, default=5.0, metavar="S", help="of each (%(default)s)")
    parser.add_argument("--json", type=output_file, help="write the results here")
    parser.add_argument("--png", type=output_file, help="draw them here")
    args = parser.parse_args(argv)
    if args.alpha >= 1:
        parser.error("argument --alpha: expected a number below 1")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = arguments(argv)
    found = measure(args, lambda said: print(said, flush=True))
    console = Console(width=130)
    for table in tables(found, args):
        console.print(table)
    if args.json:
        settings = {
            name: getattr(args, name) for name in ("tokens_s", "alpha", "million", "texts_a_day", "text_tokens")
        }
        document = {"benchmark": "fleet", "schema": SCHEMA_VERSION, "settings": settings, **found}
        write_json(document, args.json)
    if args.png:
        draw(found, args.png)
    worst = max((one["off"] for one in found["checks"]), default=None)
    ends = "" if worst is None else f" worst_check={worst:.3f}"
    print(f"fleet: devices={found['capacity'][0]['devices']} edges={found['fleets'][0]['edges']}{ends}")


if __name__ == "__main__":
    main()
