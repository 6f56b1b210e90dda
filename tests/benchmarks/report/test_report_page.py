"""The report of a tiny pair, from the command to the page, and the page in a browser where there is one."""

from __future__ import annotations

import json
import re
from html import escape

import numpy as np
import pytest
from browser import CHROMIUM, browser
from byte_tokenizer import save_byte_level_pair
from tslt_benchmarks import report_command
from tslt_benchmarks.report.blocks import Column, Sorted, Table, acceptance
from tslt_benchmarks.report.charts import DARK, LIGHT, svg
from tslt_benchmarks.report.page import Facts, Part, page, together
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines, rows
from tslt_benchmarks.sections import SECTIONS, edge_capacity
from tslt_benchmarks.sections.which_link import kinds

NO_ROOM = """
[...document.querySelectorAll("svg")].filter(svg => svg.clientWidth).flatMap(svg => {
  const all = [svg, ...svg.querySelectorAll("text")].map(e => [e.textContent, e.getBoundingClientRect()]);
  const [[, whole], ...texts] = all;
  const out = texts.filter(([, b]) => Math.min(b.left - whole.left, whole.right - b.right, b.top - whole.top,
    whole.bottom - b.bottom) < -1);
  const on = texts.flatMap(([one, a], i) => texts.slice(i + 1).filter(([, b]) =>
    Math.min(a.right - b.left, b.right - a.left) > 2 && Math.min(a.bottom - b.top, b.bottom - a.top) > 2
  ).map(([other]) => [one, other]));
  return [...out.map(([text]) => [text]), ...on];
})
"""
"""Texts of the plots that are cut off, and pairs of them that lie on each other."""
RATES = {section.name: section.rates.value[0] for section in SECTIONS if section.rates}
FEW = ("--quick", "--temperature", "0.8", "--seed", "3")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return save_byte_level_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def made(pair, tmp_path_factory):
    """(folder, report) of all sections."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "prompts.jsonl").write_text('{"prompt": "The old house"}\n{"turns": ["Who lives there?", "And then?"]}\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge_capacity, "QUICK_USERS", (2,))
        patch.setattr(edge_capacity, "QUICK_SECONDS", 0.4)
        models = ["--target", str(pair / "target"), "--draft", str(pair / "draft")]
        prompts = ["--prompts", str(folder / "prompts.jsonl")]
        assert report_command.main([*models, *prompts, *FEW, "--output", str(folder / "out")]) == 0
    return folder / "out", json.loads((folder / "out" / "report.json").read_text())


def test_every_section_is_there_and_says_what_it_means(made):
    _, report = made
    busy = {"edge-capacity"} & set(report["left_out"])  # where the machine has no time for a round
    assert (report["failed"], set(report["left_out"])) == ({}, busy)
    assert list(report["sections"]) == [section.name for section in SECTIONS if section.name not in busy]
    for written in report["sections"].values():
        assert re.fullmatch(r"\S.*\d.*\.", written["meaning"])
    assert report["made_with"]["run"] == "quick"
    assert report["made_with"]["prompts"].startswith("2 of 2 in prompts.jsonl")


def test_the_page_needs_nothing_else(made):
    folder, report = made
    text = (folder / "report.html").read_text(encoding="utf-8")
    for written in report["sections"].values():
        assert escape(together(written["meaning"])) in text
    assert not re.search(r"<[^>]* title=", text)  # what is pointed at is seen on no phone and on no paper
    told = re.findall(r'class="rates">Tokens a second from <b>([^<]+)</b>', text)
    assert told == [RATES[name] for name in report["sections"] if name in RATES]
    assert all(f"from {name} for" in text.replace("\xa0", " ") for name in RATES.values())
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", text)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)
    assert len(list((folder / "plots").glob("*.png"))) == text.count("<figure ")


def test_advice_follows_the_figures(made):
    _, report = made
    figures = report["sections"]["which-link"]["figures"]
    acceptance = report["sections"]["evidence-acceptance"]["figures"]
    assert figures["temperature"] == acceptance["temperatures"][0] == 0.8
    for times in figures["times"].values():
        for entry in times["links"]:
            assert entry["rate"] > 0
            assert entry["busy_split_s"] < 2 * entry["busy_streams_s"]
        fast, slow = times["links"][-1], times["links"][0]
        assert fast["rate"] > slow["rate"]
        assert 0 <= times["break_even_rtt_s"] < 2


def test_the_edge_alone_is_one_figure(made):
    sections = made[1]["sections"]
    reckoned = [max(entry["streams"] for entry in sections["which-link"]["figures"]["times"]["own"]["links"])]
    ways = sections["end-to-end"]["figures"]["rows"]
    reckoned.append(max(row["tokens_s"] for row in ways if row["way"] == "edge alone"))
    reckoned.append(max(link["edge_streams"] for link in sections["recorded-links"]["figures"]["links"]))
    assert reckoned == pytest.approx([reckoned[0]] * 3)


def test_where_the_figures_come_from(made):
    folder, report = made
    assert report["command"].startswith("python -m tslt_benchmarks.report_command --target ")
    text = (folder / "report.html").read_text(encoding="utf-8")
    for model in ("target", "draft"):
        assert re.match(rf"{model}: [\d,]+ parameters, 298 tokens, SHA-256 ", report["made_with"][model])
    assert re.search(r"<th scope=.row.>measured</th><td>\d{4}-\d\d-\d\d \d\d:\d\d UTC", text)


def test_help_names_the_sections(capsys):
    with pytest.raises(SystemExit):
        report_command.main(["--help"])
    said = capsys.readouterr().out
    assert all(re.search(rf"[ \n]{section.name}[,\n]", said) for section in SECTIONS)
    said = " ".join(said.split())
    assert "goes together with --draft (neither: the pair that ships)" in said
    assert "2.5 minutes in place of 20" in said


def test_recorded_logits_give_what_needs_no_model(tmp_path):
    rng = np.random.default_rng(0)
    target = rng.normal(0, 3, (9, 300)).astype(np.float32)
    draft = target + rng.normal(0, 0.5, target.shape).astype(np.float32)
    np.savez(tmp_path / "logits.npz", draft=draft, target=target)
    out = tmp_path / "out"
    arguments = ["--logits", str(tmp_path / "logits.npz"), "--quick", "--output", str(out)]
    some = ["--sections", "which-link", "bytes-per-token", "padding"]
    assert report_command.main([*arguments, *some, "--draft-ms", "8", "--target-ms", "40"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert set(report["sections"]) == {"which-link", "evidence-acceptance", "bytes-per-token"}
    assert set(report["left_out"]) == {"pass-times", "padding"}
    assert report["sections"]["which-link"]["figures"]["given"]
    # Without times nothing is advised, and that is said.
    assert report_command.main([*arguments, "--sections", "which-link"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert "pass-times" in report["left_out"]["which-link"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--draft", "x"], "--draft and --target go together"),
        (["--target", "x"], "--draft and --target go together"),
        (["--draft", "x.gguf", "--target", "y.gguf"], "no model in y.gguf: name a pair"),
        (["--draft", "x", "--target", "y"], "no model in y: name a pair"),
        (["--logits", "there.npz", "--draft", "x"], "--logits takes the place of --target and --draft"),
        (["--draft-ms", "1"], "--draft-ms and --target-ms go together"),
    ],
)
def test_what_does_not_go_together_is_said_with_the_command_s_name(wrong, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.npz").touch()
    with pytest.raises(SystemExit) as stopped:
        report_command.main(wrong, prog="tslt report")
    assert stopped.value.code == 2
    assert f"tslt report: error: {said}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "there.npz"]


# ---------------------------------------------------------------------------------------------------------------- pages


def shown(*blocks):
    part = Part(
        name="one", title="One & only", question="Is <b> text?", meaning="It is.", blocks=blocks, seconds=1.0,
        load=None, command="x",
    )  # fmt: skip
    return page([part], Facts(models="m", notes=(), provenance=[("seed", "0")], left_out={}))


def plot(**more):
    curve = Line(name="a", xs=[1, 2], ys=[3, 4])
    panel = Panel(lines=[curve], x=Axis(label="x"), y=Axis(label="y"))
    return lines([panel, panel], name="p", alt='says "this"', caption="c", **more)


def test_captions_link_to_the_sections_they_name():
    text = shown(Table(columns=[Column("a")], rows=[["One & only"]], caption="See One & only."))
    assert '<p class="caption">See <a href="#one">One &amp; only</a>.</p>' in text
    assert "<td>One &amp; only</td>" in text


def test_splits_are_named_by_what_they_have_in_common():
    assert kinds(["scalar, chain of 6", "scalar, chain of 4", "scalar, chain of 4"]) == "scalar, chains of 4 to 6"
    assert kinds(["scalar, chain of 4", "scalar, chain of 4"]) == "scalar, chain of 4"
    assert kinds(["coupled, tree <2,2>", "scalar, chain of 4"]) == "coupled, tree <2,2>; scalar, chain of 4"


def test_text_is_text():
    text = shown(Table(columns=[Column("<i>")], rows=[["a < b"]]))
    assert "One &amp; only" in text
    assert "Is &lt;b&gt; text?" in text
    assert "a &lt; b" in text
    assert "<i>" not in text
    with pytest.raises(ValueError, match="a row of 1 cells"):
        Table(columns=[Column("a")], rows=[["b", "c"]])


def test_a_plot_has_no_colour_of_its_own():
    for narrow in (False, True):
        text = svg(plot(), narrow=narrow)
        assert "var(--c0)" in text
        assert "var(--ink)" in text
        assert not [colour for colour in re.findall(r"#[0-9a-f]{6}\b", text) if colour in (*LIGHT, "#000000")]
    assert len(set(LIGHT)) == len(set(DARK)) == len(LIGHT) == len(DARK)


def many_and_long():
    """Plots with labels and names that have no room anywhere."""
    long = "a name that goes on and on for longer than a line of any plot has room for it, wide as it may be"
    curves = [Line(name=f"{i}: {long[: 10 * i + 5]}", xs=[1, 10], ys=[i, i]) for i in range(9)]
    ticks = [2**i for i in range(12)]
    panel = Panel(lines=curves, x=Axis(label=long, log=True, ticks=ticks), y=Axis(label=long), title=long)
    names = [f"{i}: {long[: 20 * i]}" for i in range(5)]
    several = lines([panel, panel], name="many", alt="a", caption="c")
    bars = rows(
        names, Axis(label=long), lambda axes, look: axes.barh(range(5), range(5)), name="r", alt="a", caption="c"
    )
    return several, bars


def test_hollow_points_are_named_in_the_legend():
    def of(hollow):
        curve = Line(name="a", xs=[1, 2], ys=[3, 4], hollow=hollow)
        panel = Panel(lines=[curve], x=Axis(label="x"), y=Axis(label="y"))
        return svg(lines(panel, hollow="of nothing", name="p", alt="a", caption="c"), narrow=False)

    assert "of nothing" in of([False, True])
    assert "of nothing" not in of([False, False])


def test_numbers_and_their_units_stand_on_one_line():
    said = "At 1 Mbit/s and 50 ms 9 of 12 links, K = 32: 72.7 \u00b1 43 bytes, chain of 4, Fig. 3, 5 %; 3 apples at 4"
    assert together(said).replace("\xa0", "_") == (
        "At 1_Mbit/s and 50_ms 9 of 12_links, K_=_32: 72.7_\u00b1_43_bytes, chain of_4, Fig._3, 5_%; 3 apples at 4"
    )


def test_what_columns_mean_is_read_below_them():
    table = Table(
        columns=[Column("a", hint="one & all"), Column("b", right=True)],
        rows=[["x [1]", Sorted("none", None)]],
        notes=["because"],
        stacked=True,
    )
    text = shown(table)
    assert '<p class="notes"><b>a</b>: one &amp; all.</p>' in text
    assert '<ol class="notes"><li>because</li></ol>' in text
    assert '<td class="n" data-v="" data-of="b">none</td>' in text


def test_acceptance_is_written_in_one_way():
    values = [acceptance(value) for value in (0.844, 1.0, 0.0)]
    assert values == [".84", "1.00", ".00"]
    assert [acceptance(-0.01234, 3), acceptance(0.0012, 4, sign="+")] == ["-.012", "+.0012"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_in_a_browser(made, tmp_path):
    folder, _ = made
    small = tmp_path / "small.html"
    columns = [Column("name"), Column("size", ".1f"), Column("rate")]
    cells = [
        ["b", 9.0, Sorted("1 kbit/s", 1e3)], ["a", 10.0, Sorted("20 bit/s", 20.0)],
        ["c", Sorted("not reached", None), Sorted("3", 3.0)],
    ]  # fmt: skip
    small.write_text(shown(Table(columns=columns, rows=cells), plot(), *many_and_long()), encoding="utf-8")
    wide = tmp_path / "wide.html"
    many = [Column(f"column {i}", ".1f") for i in range(16)]
    wide.write_text(shown(Table(columns=[Column("name"), *many], rows=[["a row", *range(16)]])), encoding="utf-8")
    stacked = tmp_path / "stacked.html"
    few = Table(columns=[Column("name"), *many], rows=[["a row", *range(16)]], stacked=True)
    stacked.write_text(shown(few), encoding="utf-8")
    with browser() as tab:
        for path in (folder / "report.html", small):
            for width in (400, 1400):
                for dark in (False, True):
                    tab.open(path, width=width, dark=dark)
                    assert tab.value("document.documentElement.scrollWidth") <= width
                    assert tab.value("[...document.querySelectorAll('svg')].every(e => e.clientWidth <= innerWidth)")
                    assert tab.value(NO_ROOM) == []
                    assert tab.value("getComputedStyle(document.documentElement).backgroundColor") == (
                        "rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)"
                    )

        def sorted_by(column):
            tab.value(f"document.querySelectorAll('thead button')[{column}].click()")
            return tab.value(
                "[...document.querySelectorAll('tbody')[0].rows].map(r => r.cells[0].textContent).join('')"
            )

        assert [sorted_by(0), sorted_by(0)] == ["abc", "cba"]
        assert [sorted_by(1), sorted_by(1)] == ["bac", "abc"]  # numbers by value, what is empty last
        assert sorted_by(2) == "cab"
        tab.open(small, width=400)
        assert tab.value("getComputedStyle(document.querySelector('.on-wide')).display") == "none"
        table, head = (
            "document.querySelector('.wide')",
            "document.querySelector('tbody td').getBoundingClientRect().left",
        )
        tab.open(wide, width=1400)  # as wide as it needs, beside the text, too
        assert tab.value(f"{table}.scrollWidth <= {table}.clientWidth")
        tab.open(wide, width=400)
        assert tab.value(f"{table}.scrollWidth > {table}.clientWidth")
        assert "Scrolls sideways" in tab.value("document.querySelector('.hint').innerText")
        tab.open(stacked, width=400)  # each cell is a line of its own, and says which column it is of
        assert tab.value(f"{table}.scrollWidth <= {table}.clientWidth")
        assert "column 15" in tab.value("getComputedStyle(document.querySelector('td:last-child'), '::before').content")
        tab.open(wide, width=400)
        before = tab.value(head)
        assert tab.value(f"{table}.scrollLeft = 200, {head}") == before
        tab.call("Emulation.setEmulatedMedia", media="print")
        tab.call("Emulation.setDeviceMetricsOverride", width=688, height=1000, deviceScaleFactor=1, mobile=False)  # A4
        assert tab.value("document.documentElement.scrollWidth") <= 688
        assert tab.value(f"{table}.querySelector('table').getBoundingClientRect().right") <= 688
        assert tab.complaints == []
