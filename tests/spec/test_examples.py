"""spec/examples.md: what its command writes, and what the reference decoder reads."""

import json
import re
from pathlib import Path

import pytest

from spec import make_examples
from spec import reference_decoder as ref
from spec.vectorgen.traces import traced

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "spec" / "examples.md").read_text()


def test_the_page_is_up_to_date(monkeypatch, tmp_path, capsys):
    assert make_examples.main(["--check"]) == 0
    monkeypatch.setattr(make_examples, "PAGE", tmp_path / "examples.md")
    assert make_examples.main(["--check"]) == 1
    assert "not up to date" in capsys.readouterr().out
    assert make_examples.main([]) == 0
    assert (tmp_path / "examples.md").read_text() == PAGE


def test_requirements_that_the_page_names_exist():
    defined = set(re.findall(r"^- `\[([A-Z]+-\d+)\]`", (ROOT / "spec" / "tslt-wire.md").read_text(), re.MULTILINE))
    named = set(re.findall(r"\[([A-Z]+-\d+)\]", PAGE))
    assert named <= defined
    assert len(named) > 12


def vectors(*names: str) -> list:
    file = json.loads((ROOT / "spec" / "vectors" / "lists.json").read_text())
    found = {test["id"]: (group["profile"], test) for group in file["groups"] for test in group["tests"]}
    return [found[name] for name in names]


@pytest.mark.parametrize(
    ("profile", "test"),
    vectors("range/list/32000/log2-1/k32", "range/list/2000/log2-1/flat-264", "range/list/10/f16/k3"),
)
def test_a_trace_has_every_symbol_and_every_bit(profile, test):
    """What is written down is a whole account: the range coder's steps follow from each other."""
    data = bytes.fromhex(test["hex"])
    trace = traced(ref.decode_list, data, profile)
    assert trace.value == test["value"]
    before = None
    for symbol in trace.symbols:
        part = symbol.range // symbol.total
        assert symbol.start <= symbol.code // part < symbol.start + symbol.size
        if before is not None:
            spans = (before << 8 * count for count in range(8))
            assert symbol.range in spans
        before = part * symbol.size
    assert trace.endings[-1].for_good
    assert trace.endings[-1].after == len(data)
    for one, other in zip(trace.fields, trace.fields[1:], strict=False):
        assert other.first == one.first + len(one.bits)
