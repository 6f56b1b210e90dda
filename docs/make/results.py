"""Writes committed results into the pages, between ``<!-- results: NAME -->`` and ``<!-- end of results -->``.

python docs/make/results.py        # tests/project/test_results_on_pages.py fails where a page says something else
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = tuple(
    page
    for folder in (ROOT, ROOT / "docs", ROOT / "benchmarks")
    for page in sorted(folder.glob("*.md"))
    if "<!-- results: " in page.read_text(encoding="utf-8")
)
"""Those that have a marker."""
_BLOCK = re.compile(r"<!-- results: ([a-z0-9-]+) -->\n(.*?)<!-- end of results -->\n", re.DOTALL)
Document = dict[str, Any]

_ENCODINGS = (
    "openai_json",
    "orjson",
    "arrow_ipc",
    "safetensors",
    "cbor",
    "msgpack_zstd",
    "protobuf",
    "paper",
    "distillkit",
    "published_bound",
    "qs_720",
    "tslt_log2_1_range",
    "tslt_log2_1_range_tail",
    "dense_fp16",
    "dense_int8",
    "dense_tslt_log2_2_zstd",
    "coupled",
    "scalar",
)
_PARTS = (0.75, 0.85, 0.9, 0.98)
_EXACT, _NOTHING = 100, 1e-9
"""From where on a number needs no digits behind the point; what is rounding alone."""
_LEAST_ERROR = 0.05
"""Bytes that are worth a mention."""


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _proof(proof: str) -> str:
    """A test by its name, a reason in short."""
    if "::" in proof:
        return f"`{proof.removeprefix('tests/verification/')}`"
    return proof.split(":", maxsplit=1)[0] if proof.startswith("if") else proof


def encodings(document: Document) -> str:
    """Bytes of a drafted token at equal acceptance, first temperature."""
    first = document["curves"][0]["temperature"]
    curves = {c["format"]: c for c in document["curves"] if c["temperature"] == first}
    rows = []
    for name in _ENCODINGS:
        if name not in curves:  # pyarrow is not everywhere
            continue
        curve = curves[name]
        cells = []
        for level in (level for level in curve["levels"] if level["part"] in _PARTS):
            found = level["bytes"]
            error = level["bytes_se"] or 0
            more = f" ± {_number(error)}" if error >= _LEAST_ERROR else ""
            cells.append(f"{_number(found)}{more}" if found is not None else "")
        title = f"**{curve['title']}**" if "::" in curve["lossless"] else curve["title"]
        rows.append([title, *cells, _proof(curve["lossless"])])
    alphas = [level["alpha"] for level in curves["paper"]["levels"] if level["part"] in _PARTS]
    parts = [f"{part:.0%} ({alpha:.2f})" for part, alpha in zip(_PARTS, alphas, strict=True)]
    return _markdown(["encoding", *parts, "lossless"], rows)


def messages(document: Document) -> str:
    """Messages of whole systems, chains of four, first temperature."""
    first = document["messages"][0]["temperature"]
    rows = []
    for row in document["messages"]:
        if row["temperature"] == first and row["shape"].startswith("chain"):
            title = row["title"] + ("" if row["measured"] else " (accounting)")
            ours = row["system"].startswith("tslt")
            cells = [_number(row[name]) for name in ("up_per_drafted", "up_per_emitted", "down_per_emitted")]
            tokens = f"{row['tokens']:.2f} ± {row['tokens_se']:.2f}"
            rows.append([f"**{title}**" if ours else title, *cells, tokens, _proof(row["lossless"])])
    rows.sort(key=lambda cells: float(cells[2].replace(",", "")))
    head = ["system", "up a drafted token", "up a token of the text", "down", "tokens a round", "lossless"]
    return _markdown(head, rows)


def transports(document: Document) -> str:
    """What transports add to a short and to a long round."""
    rows = []
    for name in dict.fromkeys(row["transport"] for row in document["transports"]):
        mine = [row for row in document["transports"] if row["transport"] == name]
        cells = []
        for up in (30, 5_000):
            row = next(row for row in mine if row["up"] == up)
            cells += [
                f"{row['framing_up']:.0f} / {row['framing_down']:.0f}",
                f"{row['headers_up']:.0f} / {row['headers_down']:.0f}",
            ]
        opening = next(row for row in mine if row["up"] == 30)
        opened = f"{opening['opening_up'] - 30:,} / {opening['opening_down'] - 70:,}"
        rows.append([mine[0]["title"], *cells, opened])
    head = ["transport", "30 up, 70 down: framing", "headers", "5,000 up, 15 down: framing", "headers", "opening"]
    return _markdown(head, rows)


_LISTS = (
    "openai_json",
    "msgpack",
    "msgpack_zstd",
    "protobuf",
    "paper",
    "published_bound",
    "tslt_log2_2",
    "tslt_log2_1_range",
    "dense_fp16",
    "dense_tslt_f16_zstd",
    "dense_tslt_bf16_zstd",
)


def lists(document: Document) -> str:
    """Bytes of one list by K, and acceptance where a format sets its own."""
    figures = [f for f in document["figures"] if f["temperature"] == document["figures"][0]["temperature"]]
    ks = document["settings"]["k"]
    rows = []
    for name in _LISTS:
        by_k = {f["k"]: f for f in figures if f["format"] == name}
        one = next(iter(by_k.values()))
        title = f"**{one['title']}**" if name.startswith(("tslt", "dense_tslt")) else one["title"]
        cells = [f"{_number(f['bytes'])} ({f['alpha']:.3f})" if f else "" for f in (by_k.get(k) for k in ks)]
        if None in by_k:
            cells[0] = f"{by_k[None]['bytes']:,.0f} ({by_k[None]['alpha']:.3f})"
        rows.append([title, *cells])
    return _markdown(["format", *(f"K = {k}" for k in ks)], rows)


# ------------------------------------------------------------------------------------------------------------ the paper


def _mean(value: Document | None) -> str:
    return f"{value['value']:.3f} ± {value['error']:.3f}" if value else ""


def paper_acceptance(document: Document) -> str:
    """Figures 3 and 4."""
    rows = []
    mass = {name: {row["k"]: row for row in document[name]["mass"]} for name in ("pair", "sharp")}
    found = {name: document[name]["acceptance"] for name in ("pair", "sharp")}
    for of_pair, of_sharp in zip(found["pair"], found["sharp"], strict=True):
        k = of_pair["k"]
        title = "the paper's lists" if of_pair["name"] == "paper" else of_pair["name"]
        masses = [_mean(mass[name][k]) if of_pair["name"] == "paper" else "" for name in ("pair", "sharp")]
        cells = [_mean(row[kind]) for row in (of_pair, of_sharp) for kind in ("single", "double")]
        rows.append([title, f"{k:,}" if k else "", masses[0], *cells[:2], masses[1], *cells[2:]])
    head = ["", "K", "mass (Fig. 3)", "one candidate (Fig. 4)", "two", "sharp rows: mass", "one", "two"]
    return _markdown(head, rows)


def paper_bounds(document: Document) -> str:
    """Theorems 1 and 2 beside what is measured."""
    rows = []
    for name, title in (("pair", "the pair"), ("sharp", "sharp rows")):
        for row in document[name]["bounds"]:
            values = [f"{row[field]:.4f}" for field in ("gap_1", "bound_1", "gap_2", "bound_2")]
            rows.append([title, f"{row['k']:,}", *values, f"{row['idle_2']:.0%}", str(row["broken_printed"])])
    head = [
        "rows",
        "K",
        "gap",
        "Theorem 1",
        "gap of the second",
        "Theorem 2, at most 1",
        "it says nothing",
        "broken as printed",
    ]
    return _markdown(head, rows)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= _EXACT else f"{value:.3g}" if value > _NOTHING else "0"


def paper_misprints(document: Document) -> str:
    """Each misprint by its effect, on the sharp rows."""
    rows = [
        [row["place"], row["what"], f"{_short(row['printed'])} {row['unit']}", _short(row["right"])]
        for row in document["sharp"]["misprints"]
    ]
    return _markdown(["where", "what", "as printed", "right"], rows)


def paper_speedup(document: Document) -> str:
    """Figures 5 and 6, some uplinks."""
    uplinks = document["settings"]["uplink_bit_s"]
    shown = [uplinks.index(uplink) for uplink in (1e5, 1e6, 1e7, 1e8, 1e9)]
    by_equation = {(row["shape"], row["k"]): row["speedup"] for row in document["equations"]}
    rows = []
    for row in document["rounds"]:
        reckoned = by_equation.get((row["shape"], row["k"]))
        cells = [f"{row['speedup'][i]:.2f}" + (f" ({reckoned[i]:.2f})" if reckoned else "") for i in shown]
        shape = "chain of 3" if row["shape"] == "chain" else "<2,2,2>"
        rows.append([shape, row["name"], _number(row["up_a_round"]), f"{row['tokens_a_round']:.2f}", *cells])
    head = ["shape", "sent", "bytes up a round", "tokens", *(f"{uplinks[i] / 1e6:g} Mbit/s" for i in shown)]
    return _markdown(head, rows)


# ----------------------------------------------------------------------------------------------------------- end to end


def end_to_end(document: Document) -> str:
    """Tokens a second and the first token on every link, the rest on one."""
    links = list(dict.fromkeys((row["uplink_bit_s"], row["rtt_s"]) for row in document["rows"]))
    rows = []
    for way in dict.fromkeys(row["way"] for row in document["rows"]):
        mine = {(row["uplink_bit_s"], row["rtt_s"]): row for row in document["rows"] if row["way"] == way}
        cells = []
        for row in (mine[link] for link in links):
            error = f" ± {row['error']:.1f}" if row["error"] else ""
            cells.append(f"{row['tokens_s']:.1f}{error} ({row['first_ms'] / 1e3:.1f} s)")
        one = mine[links[1]]
        passes = f"{one['draft_passes']:.2f} / {one['target_passes']:.2f}"
        more = [_number(one["up"]), _number(one["down"]), passes, _number(1e3 * one["joules"])]
        rows.append([f"**{way}**" if way.startswith("tslt") else way, *cells, *more])
    head = [f"{up / 1e6:g} Mbit/s, {1e3 * rtt:g} ms" for up, rtt in links]
    return _markdown(["way", *head, "bytes up", "down", "passes, draft / target", "mJ"], rows)


def codec_speed(document: Document) -> str:
    """Times and bytes of a list over those of what users write."""
    ratios, ks = document["ratios"], (32, 320, 3200)
    rows = [
        [title, *(f"{ratios[f'K={k}: {key}']:.2f}" for k in ks)]
        for title, key in (
            ("encode + decode, over msgpack + zstd-3", "encode + decode / msgpack + zstd-3"),
            ("bytes, over msgpack + zstd-3", "bytes / msgpack + zstd-3"),
            ("logits to bytes, over `torch.topk` + msgpack", "logits to bytes / topk + msgpack"),
        )
    ]
    return _markdown(["one range-coded `log2/1` list, native", *(f"K = {k:,}" for k in ks)], rows)


def vocabularies(document: Document) -> str:
    """Acceptance, and bytes both ways a token, of pairs whose vocabularies are not the same."""
    rows = []
    for row in document["rows"]:
        figures = row["evidence"].values()
        cells = [
            f"{_part(e['acceptance'])}, {e['uplink_bytes_per_token'] + e['downlink_bytes_per_token']:.1f}"
            for e in figures
        ]
        drafted, outside = (sum(e["sent"][name] for e in figures) for name in ("drafted", "drafted_outside"))
        shared = f"{row['shared']:,} of {row['vocab_size']:,}"
        rows.append([row["vocabulary"], shared, f"{row['shared_mass']:.4f}", *cells, f"{drafted:,}", f"{outside:,}"])
    kinds = [f"`{kind}`" for kind in document["rows"][0]["evidence"]]
    return _markdown(["vocabulary", "may be drafted", "their mass", *kinds, "drafted", "outside"], rows)


def _part(value: float, digits: int = 3) -> str:
    """``.755``."""
    return f"{value:.{digits}f}".removeprefix("0")


def evidence_sessions(document: Document) -> str:
    """What a draft carries: bytes up a token and acceptance, a row a kind of evidence, at each temperature."""
    temperatures = document["settings"]["temperatures"]
    head = ["a draft carries (`--evidence`)"]
    for temperature in temperatures:
        head += [f"bytes up a token, temperature {temperature:g}", "acceptance"]
    rows = []
    for name in dict.fromkeys(row["name"] for row in document["rows"]):
        mine = {row["temperature"]: row for row in document["rows"] if row["name"] == name}
        cells = [f"{mine[temperatures[0]]['title']} (`{name}`)"]
        for temperature in temperatures:
            row = mine[temperature]
            cells += [_number(row["uplink_bytes_per_token"]), _part(row["acceptance"], 2)]
        rows.append(cells)
    return _markdown(head, rows)


TABLES: dict[str, tuple[str, Callable[[Document], str]]] = {
    "encodings": ("encodings.json", encodings),
    "messages": ("encodings.json", messages),
    "transports": ("encodings.json", transports),
    "lists": ("bytes_per_token.json", lists),
    "paper-acceptance": ("paper_figures.json", paper_acceptance),
    "paper-bounds": ("paper_figures.json", paper_bounds),
    "paper-misprints": ("paper_figures.json", paper_misprints),
    "paper-speedup": ("paper_figures.json", paper_speedup),
    "end-to-end": ("end_to_end.json", end_to_end),
    "codec-speed": ("codec_speed.json", codec_speed),
    "vocabularies": ("vocabularies.json", vocabularies),
    "evidence-sessions": ("evidence_sessions.json", evidence_sessions),
}
"""What a marker stands for: a file of results, and what is made of it."""


def written(page: Path) -> str:
    """The page as it should be; KeyError for a marker that stands for nothing."""

    def block(match: re.Match[str]) -> str:
        file, table = TABLES[match.group(1)]
        document = json.loads((RESULTS / file).read_text(encoding="utf-8"))
        return f"<!-- results: {match.group(1)} -->\n\n{table(document)}\n<!-- end of results -->\n"

    return _BLOCK.sub(block, page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(written(each), encoding="utf-8")
