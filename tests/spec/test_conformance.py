"""spec/conformance.py: what is right is counted, what is not is found, whatever the decoder does."""

import functools
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spec import conformance, library_decoder
from spec.decoder_process import MOST_BREAKS, GivenUp
from spec.vectorgen.tools import list_value, make_list
from tslt_wire.coding import compression

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = [sys.executable, str(ROOT / "spec" / "reference_decoder.py"), "--harness"]
LIBRARY = [sys.executable, "-m", "spec.library_decoder"]
SMALL = conformance.Chosen(("hello", "bye", "verdict", "draft_match"), ("none",), ("none",))
BAD = """
import json, sys, time
sys.path.insert(0, {path!r})
import reference_decoder as ref
for number, line in enumerate(sys.stdin.buffer):
    asked, found = json.loads(line), ref.answer(line)
    bye = asked["hex"] == "05021b68a2"
    {twist}
    print(json.dumps(found), flush=True)
{after}
"""


def harness(*arguments: str, backend: str = "") -> subprocess.CompletedProcess:
    """The command itself, from the root of the repository."""
    variables = {"PYTHONPATH": str(ROOT)} | ({"TSLT_WIRE_BACKEND": backend} if backend else {})
    command = [sys.executable, "-m", "spec.conformance", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **variables}
    )


@functools.cache
def small(count: int = 120) -> tuple:
    """The first vectors of what is small: all are read before they are chosen from."""
    return tuple(itertools.islice(conformance.vectors(SMALL), count))


def asked_of(twist: str, after: str = "", *, count: int = 120, limit_s: float = 30, shown: int = 5):
    """What is found of the reference decoder with a line of code added: ``found`` is its answer."""
    code = BAD.format(path=str(ROOT / "spec"), twist=twist, after=after)
    return conformance.run([sys.executable, "-c", code], iter(small(count)), limit_s=limit_s, shown=shown)


# ------------------------------------------------------------------------------------------------ the three decoders


def test_the_reference_decoder_agrees():
    done = harness("--random", "25", "--mutated", "150", "--seed", "5", "--", *REFERENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    random, mutated = done.stdout.splitlines()[1:]
    assert random.split() == ["random", "25", "of", "25", "agreed"]
    assert mutated.startswith("mutated        150 of 150 agreed; ")


def test_the_reference_backend_agrees_with_the_other():
    child = ["env", "TSLT_WIRE_BACKEND=reference", *LIBRARY]
    options = ("--random", "25", "--mutated", "150", "--seed", "6", "--kinds", "draft_list", "list", "list_reply")
    done = harness(*options, "--", *child)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_vectors_are_asked():
    files = [json.loads((ROOT / "spec" / "vectors" / name).read_text()) for name in ("lists.json", "frames.json")]
    tests = [test for file in files for group in file["groups"] for test in group["tests"]]
    ids = [test["id"] for test in tests if "lenient" not in test["flags"]]  # of those, either answer is right
    assert len(ids) > len(tests) - 3
    assert [case.id for case in conformance.vectors(conformance.Chosen())] == ids


def test_what_is_chosen_is_asked():
    cases = list(conformance.vectors(SMALL))
    assert {conformance.kind_name(case.form, case.data) for case in cases} == set(SMALL.kinds)
    assert {case.profile["entropy"] for case in cases} == {"none"}
    mutated = list(conformance.mutated_cases(conformance.Chosen(), 3, 120))
    assert mutated == list(conformance.mutated_cases(conformance.Chosen(), 3, 120))
    assert {"value", "error"} == {key for case in mutated for key in case.wanted}
    assert any("tables" in case.profile for case in conformance.vectors(conformance.Chosen()))


# ------------------------------------------------------------------------------------------------------ bad decoders


def test_a_right_decoder_is_right():
    for twist in (
        "found = ref.answer(json.dumps(asked | {'digest': False}))",  # never a digest
        "found = {'sha256': '?'} if 'sha256' in found else found",  # another form of JSON: the value is asked for
        "found = json.loads(json.dumps(found).replace('1.0', '1'))",  # numbers without a fraction
    ):
        result = asked_of(twist)
        assert result.all_agreed(), result.shown
        assert result.asked["vectors"] == 120


def test_a_wrong_value_or_error_is_shown_with_its_input():
    for twist, got in (
        ("found = {'error': 'truncated'} if bye else found", '{"error": "truncated"}'),
        ("found = {'value': {'kind': 'bye', 'extensions': [0]}} if bye else found", "[0]"),
        ("found = {} if bye else found", "{}"),
        ("print('nonsense \\\\xff' if bye else json.dumps(found), flush=True); continue", "nonsense"),
        ("found = {'sha256': 64 * '0'} if bye else found", "000"),
    ):
        result = asked_of(twist)
        assert (result.agreed["vectors"], result.asked["vectors"]) == (119, 120), twist
        (text,) = result.shown
        assert text.splitlines()[0].startswith("frame/")
        assert '"hex": "05021b68a2"' in text
        assert '"kind": "bye"' in text
        assert got in text
        assert "the reference decoder: the same" in text
        assert not result.all_agreed()


@pytest.mark.parametrize(
    ("twist", "why"), [("if bye: sys.exit(7)", "exit status is 7"), ("if bye: time.sleep(60)", "no answer within 2 s")]
)
def test_the_line_that_ends_or_stops_a_decoder_is_found(twist, why):
    result = asked_of(twist, limit_s=2)
    assert (result.agreed["vectors"], result.asked["vectors"]) == (119, 120), result.shown
    (text,) = result.shown
    assert '"hex": "05021b68a2"' in text
    assert why in text


def test_answers_that_a_dying_decoder_had_not_written_are_asked_for_again():
    code = BAD.replace("flush=True", "flush=False").format(
        path=str(ROOT / "spec"), twist="if bye: __import__('os')._exit(1)", after=""
    )
    last = [case for case in small() if case.data.hex() == "05021b68a2"]
    result = conformance.run([sys.executable, "-c", code], iter(last), limit_s=1, shown=5)
    assert "exit status is 1" in result.shown[0]


def test_a_decoder_that_ends_now_and_then_is_found():
    """Not at the same line again: at the hundredth line of a process."""
    result = asked_of("if number == 99: sys.exit(1)")
    assert (result.agreed["vectors"], result.asked["vectors"]) == (119, 120)
    assert "it answered when it was asked this line alone" in result.shown[0]


def test_a_decoder_that_always_ends_is_given_up():
    result = asked_of("sys.exit(1)")
    assert result.asked["vectors"] == MOST_BREAKS
    assert "the rest was not asked" in result.stopped
    assert len(result.shown) == 5
    assert not result.all_agreed()


def test_what_a_decoder_does_after_its_last_answer_counts():
    assert "more lines than were asked for" in asked_of("pass", "print('{}')").stopped
    assert "still running" in asked_of("pass", "time.sleep(60)", limit_s=1).stopped


def test_pipes_that_are_full_do_not_stop_both_ends():
    """200 lines are read before the first answer, and then answers of 20 MB are written before the next one is read."""
    case = small()[0]
    code = "import sys\nread = sys.stdin.buffer\nfor _ in range(200): read.readline()\n"
    code += "for _ in range(200): print('x' * 100000, flush=True)\nfor line in read: print('{}', flush=True)"
    result = conformance.run([sys.executable, "-c", code], itertools.repeat(case, 250), limit_s=10, shown=1)
    assert (result.agreed["vectors"], result.asked["vectors"]) == (0, 250)
    assert not result.stopped


def test_a_decoder_that_is_not_there():
    with pytest.raises(GivenUp, match="cannot be started"):
        conformance.run(["/nowhere/decoder"], iter(()), limit_s=1, shown=1)
    done = harness("--", "/nowhere/decoder")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "/nowhere/decoder cannot be started: No such file or directory"


def test_equal_values():
    assert conformance.same({"a": [1, 2.0, None, "x"]}, {"a": [1.0, 2, None, "x"]})
    for one, other in ((1, True), (0, False), ([1], [1, 2]), ({"a": 1}, {"b": 1}), ({}, []), (1, "1"), (None, 0)):
        assert not conformance.same(one, other)


def test_the_answers_of_the_library():
    for case in small():
        assert library_decoder.answer(json.dumps(case.to_json())) == case.wanted
        wanted = {"sha256": case.digest} if case.digest else case.wanted
        assert library_decoder.answer(json.dumps({**case.to_json(), "digest": True})) == wanted


@pytest.mark.skipif(not compression.available(), reason="needs zstd")
def test_compressed_frames_are_asked():
    chosen = conformance.Chosen(entropies=("zstd",))
    assert len(list(conformance.vectors(chosen))) > 20


def test_the_examples_of_the_page():
    lines = [line.strip() for line in (ROOT / "spec" / "conformance.md").read_text().splitlines()]
    question, value, error, _, one_list = (
        json.loads(line.replace("0d3c...", "")) for line in lines if line.startswith("{")
    )
    assert library_decoder.answer(json.dumps({**question, "digest": False})) == value
    assert library_decoder.answer(json.dumps({**question, "hex": "08"})) == error
    assert list_value(make_list(10, "log2/1", one_list["ids"], one_list["codes"])) == one_list
