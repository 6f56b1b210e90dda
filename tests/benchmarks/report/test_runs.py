"""A run of sections: it resumes, never mixes, goes on behind a failure, and says what it does."""

from __future__ import annotations

import io
import json
import re
import subprocess

import pytest
from rich.console import Console
from tslt_benchmarks.report import provenance
from tslt_benchmarks.report.blocks import Column, Table
from tslt_benchmarks.report.context import Context, LeftOut
from tslt_benchmarks.report.output import About, document, read, write
from tslt_benchmarks.report.progress import Estimate, Progress, in_words
from tslt_benchmarks.report.runner import in_order, run
from tslt_benchmarks.report.section import Needs, Seconds, Section
from tslt_benchmarks.report.store import Store, differences

KEY = {"seed": "0", "commit": "abc"}


def section(name, work=lambda context: {"value": 1}, *, uses=(), needs=Needs.NOTHING, version=1):
    return Section(
        name=name,
        title=f"Title of {name}",
        question="How many?",
        needs=needs,
        seconds=Seconds(1, 2),
        run=work,
        show=lambda figures: [Table(columns=[Column("value", "d")], rows=[[figures["value"]]])],
        meaning=lambda figures: f"It is {figures['value']}.",
        uses=uses,
        version=version,
    )


class Bench:
    """Runs sections in a folder and keeps what was said."""

    def __init__(self, folder):
        self.folder = folder
        self.said = ""

    def run(self, *sections, key=KEY):
        context = Context(
            quick=True, seed=0, temperature=1.0, prompts=(), folder=self.folder, load_models=None, make_drafts=None
        )
        out = io.StringIO()
        try:
            with Progress(Console(file=out, width=80)) as progress:
                return run(sections, context, Store(self.folder / "sections"), key, progress)
        finally:
            self.said = out.getvalue()


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def counted(calls, name, value=1):
    def work(context):
        calls.append(name)
        return {"value": value}

    return section(name, work)


def test_a_stopped_run_goes_on_where_it_was(bench):
    calls = []

    def stopped(context):
        calls.append("second")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(counted(calls, "first"), section("second", stopped), counted(calls, "third"))
    assert calls == ["first", "second"]
    outcome = bench.run(counted(calls, "first"), counted(calls, "second", 2), counted(calls, "third"))
    assert calls == ["first", "second", "second", "third"]
    assert {name: result.figures["value"] for name, result in outcome.results.items()} == {
        "first": 1, "second": 2, "third": 1,
    }  # fmt: skip
    assert "first: measured before" in bench.said


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ({"seed": "1", "commit": "abc"}, "seed was 0, is 1"),
        ({"seed": "0", "commit": "def"}, "commit was abc, is def"),
        ({"seed": "0", "commit": "abc", "machine": "m"}, "machine was not told, is m"),
    ],
)
def test_figures_of_another_run_are_said_and_measured_again(bench, key, said):
    calls = []
    bench.run(counted(calls, "first"))
    outcome = bench.run(counted(calls, "first", 2), key=key)
    assert calls == ["first", "first"]
    assert outcome.results["first"].figures == {"value": 2}
    assert f"first: measured otherwise before ({said}); run again" in bench.said


def test_a_new_version_of_a_section_runs_what_uses_it_again(bench):
    calls = []

    def using(context):
        calls.append("using")
        return {"value": context.figures("used")["value"] + 1}

    def used(context):
        calls.append("used")
        return {"value": 1}

    # On the page what uses the other stands first; it runs second.
    outcome = bench.run(section("using", using, uses=("used",)), section("used", used))
    assert calls == ["used", "using"]
    assert outcome.results["using"].figures == {"value": 2}
    bench.run(section("using", using, uses=("used",)), section("used", used, version=2))
    assert calls == ["used", "using"] * 2
    (bench.folder / "sections" / "used.json").unlink()  # the same figures need not come again
    bench.run(section("using", using, uses=("used",)), section("used", used, version=2))
    assert calls == ["used", "using"] * 3


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 99}', '{"schema": 2, "section": "first"}', '{"schema": 2, "a": 2}']
)
def test_what_is_no_result_is_measured_anew(bench, text):
    calls = []
    bench.run(counted(calls, "first"))
    (bench.folder / "sections" / "first.json").write_text(text)
    assert bench.run(counted(calls, "first")).results["first"].figures == {"value": 1}
    assert calls == ["first", "first"]


def test_a_failure_stops_neither_the_others_nor_the_page(bench):
    def fails(context):
        raise RuntimeError("no such thing")

    def nothing(context):
        raise LeftOut("the sky is clear")

    sections = (section("bad", fails), section("none", nothing), section("good"), section("big", needs=Needs.MODELS))
    outcome = bench.run(*sections)
    assert list(outcome.results) == ["good"]
    assert outcome.failed == {"bad": "RuntimeError: no such thing"}
    assert outcome.left_out["none"] == "the sky is clear"
    assert "recorded logits" in outcome.left_out["big"]
    assert "Traceback" in bench.said
    write(bench.folder, sections, document(sections, outcome, About(models="a pair", notes=(), command="x", key=KEY)))
    page = (bench.folder / "report.html").read_text()
    assert "Title of bad</b>: failed, RuntimeError: no such thing" in page
    assert "Title of none</b>: the sky is clear" in page
    assert "It is 1." in page


def test_a_report_is_read_again_by_the_version_that_wrote_it(bench):
    outcome = bench.run(section("good"))
    write(
        bench.folder,
        [section("good")],
        document([section("good")], outcome, About(models="m", notes=(), command="x", key=KEY)),
    )
    first = (bench.folder / "report.html").read_bytes()
    write(bench.folder, [section("good")], read(bench.folder, [section("good")]))
    assert (bench.folder / "report.html").read_bytes() == first
    with pytest.raises(ValueError, match="figures of good that this version of the report does not read"):
        read(bench.folder, [section("good", version=2)])
    (bench.folder / "report.json").write_text(json.dumps({"report": 0}))
    with pytest.raises(ValueError, match="no report of version 2"):
        read(bench.folder, [section("good")])


def test_nothing_that_is_no_json_gets_into_a_result(bench):
    outcome = bench.run(section("bad", lambda context: {"value": float("nan")}), section("good"))
    assert "bad" in outcome.failed
    assert list(outcome.results) == ["good"]


def test_the_order_follows_what_is_used():
    first, second = section("first", uses=("second",)), section("second")
    assert [s.name for s in in_order([first, second])] == ["second", "first"]
    for wrong in ([section("a", uses=("b",)), section("b", uses=("a",))], [section("a", uses=("z",))]):
        with pytest.raises(ValueError, match="not there or uses it in turn"):
            in_order(wrong)
    with pytest.raises(ValueError, match="two sections have one name"):
        in_order([second, second])


def test_the_time_that_is_left():
    estimate = Estimate([100, 100, 200])
    assert estimate.left() == 400
    estimate.finish(200)  # twice as slow
    assert estimate.left() == pytest.approx(300 * 220 / 120)
    assert estimate.left(part=0.5, spent=100) == pytest.approx(250 * 320 / 170)
    estimate.skip()
    assert estimate.left() == pytest.approx(200 * 220 / 120)
    estimate.finish(1)
    assert estimate.left() == 0
    assert [in_words(s) for s in (40, 700, 6600)] == ["40 s", "12 min", "1 h 50 min"]


def test_differences():
    assert differences({"a": "1"}, {"a": "1"}) == []
    assert differences({"a": "1", "b": "2"}, {"a": "3"}) == ["a was 1, is 3", "b was 2, is not told"]


def test_the_commit_of_a_checkout_and_what_was_changed_since(tmp_path):
    assert provenance.commit(tmp_path).startswith("version ")
    program = tmp_path / "tslt_wire" / "a.py"
    program.parent.mkdir()
    program.write_text("1")

    def git(*arguments):
        who = ("-c", "user.name=n", "-c", "user.email=e@example")
        subprocess.run(["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "x")
    clean = provenance.commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}, clean", clean)
    (tmp_path / "report.html").write_text("no program")
    assert provenance.commit(tmp_path) == clean
    found = {clean}
    for path, text in ((program, "2"), (program.with_name("b.py"), "1"), (program.with_name("b.py"), "2")):
        path.write_text(text)
        found.add(provenance.commit(tmp_path))
    assert len(found) == 4
    assert all(name.startswith(clean[:40]) for name in found)
