"""spec/random_frames.py: what it prints is what the library and the reference decoder read, the same every time."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tslt_wire as tw
from spec import random_frames
from spec import reference_decoder as ref
from spec.vectorgen.tools import list_value, message_value, profile_from

SCRIPT = Path(random_frames.__file__)
COUNT = 150


def library(case: dict[str, Any]) -> Any:
    """The value, after a round trip; DecodeError."""
    profile, data = profile_from(case["profile"]), bytes.fromhex(case["hex"])
    if case["form"] == "list":
        q = tw.decode_list(data, profile, limits=tw.DecodeLimits(**case["limits"]))
        assert tw.encode_list(q, profile) == data
        return list_value(q)
    message = tw.decode(data, profile, limits=tw.DecodeLimits(**case["limits"]))
    assert tw.encode(message, profile) == data
    return message_value(message)


def reference(case: dict[str, Any]) -> Any:
    decode = ref.decode_list if case["form"] == "list" else ref.decode_frame
    return decode(bytes.fromhex(case["hex"]), case["profile"], case["limits"])


@pytest.mark.parametrize("entropy", random_frames.ENTROPIES)
def test_valid_cases_are_read_by_both_decoders(entropy):
    for case in random_frames.cases(1, COUNT, entropies=(entropy,)):
        wanted = json.dumps(case["value"], sort_keys=True)
        assert json.dumps(library(case), sort_keys=True) == wanted, case["id"]
        assert json.dumps(reference(case), sort_keys=True) == wanted, case["id"]


@pytest.mark.parametrize("entropy", random_frames.ENTROPIES)
def test_invalid_cases_give_their_error_in_both_decoders(entropy):
    errors = set()
    for case in random_frames.cases(2, COUNT, entropies=(entropy,), invalid=True):
        errors.add(case["error"])
        with pytest.raises(tw.DecodeError) as caught:
            library(case)
        assert caught.value.code.name.lower() == case["error"], case["id"]
        with pytest.raises(ref.DecodeError) as refused:
            reference(case)
        assert refused.value.code == case["error"], case["id"]
    assert len(errors) > 8


def test_all_kinds_and_edge_cases_come():
    found = list(random_frames.cases(4, 400))
    drafts = [case["value"] for case in found if case["value"].get("kind") == "draft_list"]
    values = [case["value"] for case in found if case["form"] == "list"] + [q for d in drafts for q in d["lists"]]
    kinds = {case["value"]["kind"] for case in found if case["form"] == "frame"}
    assert {"list_reply" if kind == "list" else kind for kind in kinds} | {"list"} == set(random_frames.FORMS)
    assert any(case["form"] == "list" for case in found)
    assert {case["profile"]["vocab_size"] for case in found} == set(random_frames.VOCAB_SIZES)
    assert {case["profile"]["precision"] for case in found} == set(tw.Precision)
    assert {tuple(sorted(draft["parents"])) == tuple(draft["parents"]) for draft in drafts} == {False, True}
    assert {draft["without_replacement"] for draft in drafts} == {False, True}
    assert any(len(draft["parents"]) == 256 for draft in drafts)
    assert any(not draft["parents"] for draft in drafts)
    assert any(q.get("ids") == "all" for q in values)
    assert any("id_runs" in q for q in values)
    assert any(len(q.get("codes", [])) > 1 and set(q["codes"]) == {0} for q in values)
    assert any(case["value"].get("extensions") for case in found)
    assert any(case["limits"] for case in found)
    answers = [
        case["value"] for case in found if case["value"].get("kind") in ("verdict", "verdict_proposals", "ask_list")
    ]
    times = [item["data"] for value in answers for item in value["extensions"] if item["type"] == 2]
    assert {len(data) // 2 for data in times} > {1, 8}


def run(*arguments: str) -> list[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_command_line_repeats_itself_and_obeys():
    options = ("--seed", "7", "--count", "20", "--entropy", "range", "--vocab-size", "300", "--kind", "draft_list")
    lines = run(*options)
    assert lines == run(*options)
    assert len(lines) == 20
    for line in lines:
        case = json.loads(line)
        assert (case["form"], case["result"], case["value"]["kind"]) == ("frame", "valid", "draft_list")
        assert (case["profile"]["entropy"], case["profile"]["vocab_size"]) == ("range", 300)
    assert {json.loads(line)["result"] for line in run("--count", "5", "--invalid")} == {"invalid"}
    assert run("--count", "5") == [json.dumps(c, separators=(",", ":")) for c in random_frames.cases(0, 5)]


def test_a_longer_run_starts_with_a_shorter_one():
    assert list(random_frames.cases(0, 4)) == list(itertools.islice(random_frames.cases(0, 9), 4))
