"""The test vectors of spec/vectors against the codec: values, bytes, errors; and what damage does to valid frames."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import every, flipped, sealed

import tslt_wire as tw
from spec.vectorgen.priors import prior_of
from spec.vectorgen.tools import message_value, profile_from
from tslt_wire.coding.philox import philox
from tslt_wire.lists import precision as precision_module
from tslt_wire.lists.probability_grid import code_above, code_below
from tslt_wire.messages.sampling import SETTINGS
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.lazy_rule import verify_list_with
from tslt_wire.verification.list_rule import TOKEN_BY_TOKEN
from tslt_wire.verification.proposals import choose_with, propose_with
from tslt_wire.verification.verdicts import verify_with

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "spec" / "vectors"
MESSAGES: dict[str, Any] = {
    cls.__name__.lower(): cls for cls in (tw.Hello, tw.Welcome, tw.Prompt, tw.Resume, tw.Verdict, tw.Bye, tw.More)
} | {"ask_list": tw.AskList, "error": tw.ErrorMessage, "verdict_whole": tw.Whole}
EVIDENCE: dict[str, Any] = {
    "draft_match": tw.MatchEvidence,
    "draft_coupled": tw.CoupledEvidence,
    "draft_scalar": tw.ScalarEvidence,
    "draft_lazy": tw.LazyEvidence,
}


TABLES: dict[str, str] = {}


def load(name: str) -> list[Any]:
    file = json.loads((VECTORS / name).read_text())
    assert file["spec_version"] == tw.SPEC_VERSION
    for table, data in file.get("tables", {}).items():
        TABLES[table] = data
        assert tw.table_from_bytes(bytes.fromhex(data)).name == table
    return [pytest.param(group, test, id=test["id"]) for group in file["groups"] for test in group["tests"]]


LISTS, FRAMES = load("lists.json"), load("frames.json")
WEIGHTS, VERIFY, COUPLING = load("weights.json"), load("verify.json"), load("coupling.json")
CODED, PRIORS = load("coded.json"), load("priors.json")


def profile_of(group: dict) -> tw.Profile:
    return profile_from(group["profile"], TABLES)


def limits_of(group: dict) -> tw.DecodeLimits:
    return tw.DecodeLimits(**group["limits"])


# ------------------------------------------------------------------------------------------------- values to messages


def expand(value: dict, name: str) -> list[int]:
    if f"{name}s" in value:
        return value[f"{name}s"]
    return [item for item, count in value[f"{name}_runs"] for _ in range(count)]


def list_from(value: dict, precision: str, profile: tw.Profile) -> tw.SparseDistribution:
    vocab_size, tail = profile.vocab_size, value.get("tail", 0)
    if "id_runs" in value:
        ids = [first + i for first, count in value["id_runs"] for i in range(count)]
    else:
        ids = range(vocab_size) if value["ids"] == "all" else value["ids"]
    q = tw.SparseDistribution(
        vocab_size,
        tw.Precision(precision),
        np.array(ids, np.int32),
        np.array(expand(value, "code"), np.uint32),
        tail,
        profile.prior if tail else None,
    )
    assert q.weights.tolist() == expand(value, "weight")
    return q


def control_from(value: Any) -> Any:
    if isinstance(value, list):
        return [control_from(item) for item in value]
    if not isinstance(value, dict):
        return value
    tags = {"$binary": bytes.fromhex, "$number": float, "$integer": int}
    for tag, read in tags.items():
        if set(value) == {tag}:
            return read(value[tag])
    return {key: control_from(item) for key, item in value.items()}


def message_from(value: dict, profile: tw.Profile) -> tw.Message:
    value = copy.deepcopy(value)
    kind = value.pop("kind")
    value["extensions"] = tuple(tw.Extension(item["type"], bytes.fromhex(item["data"])) for item in value["extensions"])
    if kind == "draft_list":
        precision, lists = value.pop("precision"), value.pop("lists")
        tree = tw.TokenTree(value.pop("tokens"), value.pop("parents"))
        found = {item["parent"]: list_from(item, precision, profile) for item in lists}
        evidence = tw.ListEvidence(found, not value.pop("without_replacement"))
        return tw.Draft(tree=tree, evidence=evidence, **value)
    if kind.startswith("draft_"):
        tree = tw.TokenTree(value.pop("tokens"), value.pop("parents"))
        codes = value.pop("codes", None)
        evidence = EVIDENCE[kind]() if codes is None else EVIDENCE[kind](tuple(codes))
        return tw.Draft(tree=tree, evidence=evidence, **value)
    if kind == "verdict_proposals":
        columns = zip(value.pop("tokens"), value.pop("codes"), map(bool, value.pop("ups")), strict=True)
        return tw.Proposals(proposals=tuple(tw.Proposal(*row) for row in columns), **value)
    if kind == "list":
        return tw.ListReply(q=list_from(value.pop("list"), value.pop("precision"), profile), **value)
    if kind == "resume":
        rejected, batch = value.pop("rejected"), value.pop("batch")
        value["rejection"] = tw.Rejection(rejected - 2, batch) if rejected else None
        value |= {"prefix_crc": value.pop("hash"), "ended": bool(value["ended"])}
    for name in ("tokenizer", "ordinary", "token_map", "transcript", "resume", "nonce", "coupling"):
        if name in value:
            value[name] = bytes.fromhex(value[name])
    if "limits" in value:
        value["limits"] = tw.DecodeLimits(**value["limits"])
    if "sampling" in value:
        settings = value["sampling"]
        extra = {name: control_from(settings.pop(name)) for name in list(settings) if name not in SETTINGS}
        value["sampling"] = (
            tw.Sampling(**settings) if kind == "welcome" else tw.SamplingRequest(**settings, extra=extra)
        )
    if "extra" in value:
        value["extra"] = control_from(value["extra"])
    for name, item in value.items():
        if isinstance(item, list):
            value[name] = tuple(item)
    return MESSAGES[kind](**value)


# ----------------------------------------------------------------------------------------------------------- the files


@pytest.mark.parametrize(("group", "test"), LISTS)
def test_list(group, test):
    profile, limits, data = profile_of(group), limits_of(group), bytes.fromhex(test["hex"])
    if test["result"] == "invalid":
        with pytest.raises(tw.DecodeError) as caught:
            tw.decode_list(data, profile, limits=limits)
        assert caught.value.code.name.lower() == test["error"]
        return
    q = list_from(test["value"], profile.precision, profile)
    assert tw.decode_list(data, profile, limits=limits) == q
    again = tw.encode_list(q, profile)
    if "compressed" in test["flags"]:  # what the bytes are is the compressor's business
        assert tw.decode_list(again, profile) == q
    else:
        assert again == data


def decoded_or_refused(data: bytes, profile: tw.Profile) -> Any:
    try:
        return tw.decode(data, profile)
    except tw.DecodeError as error:
        return error.code


@pytest.mark.parametrize(("group", "test"), FRAMES)
def test_frame(group, test):
    profile, limits, data = profile_of(group), limits_of(group), bytes.fromhex(test["hex"])
    if test["result"] == "invalid":
        with pytest.raises(tw.DecodeError) as caught:
            tw.decode(data, profile, limits=limits)
        assert caught.value.code.name.lower() == test["error"]
        return
    message = message_from(test["value"], profile)
    if "lenient" not in test["flags"]:
        assert tw.decode(data, profile, limits=limits) == message
    else:  # not every zstd takes it
        assert decoded_or_refused(data, profile) in (message, tw.ErrorCode.BAD_COMPRESSION)
    again = tw.encode(message, profile)
    if "compressed" in test["flags"]:
        assert tw.decode(again, profile) == message
    else:
        assert again == data


@pytest.mark.parametrize(("group", "test"), WEIGHTS)
def test_weights(group, test):
    weights = precision_module.weights_of(tw.Precision(group["precision"]), np.array(test["codes"], np.uint32))
    assert weights.tolist() == test["weights"]


@pytest.mark.parametrize(("group", "test"), PRIORS)
def test_priors(group, test):
    if test["result"] == "invalid":
        with pytest.raises(ValueError, match=r"table|prior|vocab_size"):
            prior_of(test)
        return
    prior = prior_of(test)
    rows = [[weight for weight, count in row for _ in range(count)] for row in test["rows"]]
    assert prior.name == test["prior"]
    assert prior.weights.tolist() == rows[-1]
    tail, others = prior.running_sums()
    assert [np.diff(sums).tolist() for sums in (*others, tail)] == rows
    assert prior.codes is None or prior.to_bytes().hex() == test["hex"] + "00" * test.get("zeros", 0)


class Scripted(np.random.Generator):
    def __init__(self, uniforms):
        super().__init__(np.random.PCG64(0))
        self.left = list(uniforms)

    def random(self):
        return self.left.pop(0)


def coupling_of(value: dict | None) -> tw.Coupling | None:
    return tw.Coupling(bytes.fromhex(value["key"]), value["epoch"]) if value else None


@pytest.mark.parametrize(("group", "test"), COUPLING)
def test_shared_numbers(group, test):
    if "words" in test:
        counter, key = ([int(word, 16) for word in test[name].split()] for name in ("counter", "key"))
        assert [int(word) for word in philox(tuple(counter), tuple(key))] == [
            int(word, 16) for word in test["words"].split()
        ]
        return
    coupling, ids = coupling_of(test), np.array(test["ids"])
    if "numbers" in test:
        assert [(n + 1) / 2**53 for n in test["numbers"]] == coupling.uniforms(test["position"], ids).tolist()
        return
    times = coupling.arrivals(test["position"], ids, np.array(test["weights"], dtype=np.float64))
    assert ids[times.argsort()].tolist() == test["arrived"]


@pytest.mark.parametrize(("group", "test"), VERIFY)
def test_verify(group, test):
    draft = tw.decode(bytes.fromhex(test["hex"]), profile_of(group))
    uniforms = Scripted(test["uniforms"])
    coupling, choices = coupling_of(test.get("coupling")), RandomChoices(uniforms)
    verdict = verify_with(draft, test["target_probs"], choices, coupling=coupling, least_held=TOKEN_BY_TOKEN)
    assert {"round": verdict.round, "node": verdict.node, "token": verdict.token} == test["verdict"]
    assert not uniforms.left


def answered(proposals: tw.Proposals, q: tw.SparseDistribution) -> tw.Draft:
    """A draft that can have been answered so, of tokens drawn from ``q`` alone."""
    tree = tw.TokenTree.chain(q.likeliest(1) * (proposals.node + 2))
    evidence = tw.ScalarEvidence.of(tree, dict.fromkeys(tree.inner, q))
    return tw.Draft(round=proposals.round, prefix_length=0, prefix_hash=0, tree=tree, evidence=evidence)


def body(answer: tw.Message) -> dict:
    return {key: value for key, value in message_value(answer).items() if key not in ("kind", "extensions", "end")}


@pytest.mark.parametrize(("group", "test"), CODED)
def test_drafts_with_a_number_for_each_token(group, test):
    what, profile = group["what"], profile_of(group)
    if what == "rounding":
        assert [code_above(prob) for prob in test["probs"]] == test["up"]
        assert [code_below(prob) for prob in test["probs"]] == test["down"]
        return
    uniforms = Scripted(test["uniforms"])
    choices, rows = RandomChoices(uniforms), test.get("target_probs")
    message = tw.decode(bytes.fromhex(test["hex"]), profile) if "hex" in test else None
    if what == "verify":
        assert body(verify_with(message, rows, choices, proposals=test["proposals"])) == test["answer"]
    elif what == "propose":
        found = body(propose_with(0, -1, rows, choices, count=len(test["made"]["tokens"])))
        assert {key: found[key] for key in test["made"]} == test["made"]
    elif what == "take":
        draft = answered(message, list_from(test["q"], "log2/2", profile))
        assert choose_with(message, draft, choices) == test["taken"]
    else:
        q = tw.decode(bytes.fromhex(test["list"]), profile).q
        assert body(verify_list_with(message, test["node"], rows, q, choices)) == test["answer"]
    assert not uniforms.left


def test_every_decoder_error_has_a_vector():
    given = {param.values[1].get("error") for param in LISTS + FRAMES}
    assert {code.name.lower() for code in tw.ErrorCode if code < 32} <= given


def test_generator_agrees():
    command = [sys.executable, str(ROOT / "spec" / "make_vectors.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# -------------------------------------------------------------------------------------------------------------- damage

VALID = [
    (profile_of(group), bytes.fromhex(test["hex"]))
    for group, test in (param.values for param in FRAMES)
    if test["result"] == "valid"
]
FLIPS_PER_FRAME = 1000
PARTS = 6
"""Of what takes a minute over the reference, so that processes share it."""
REPAIRED_PER_FRAME = 60


def canonical(message: tw.Message, profile: tw.Profile, data: bytes) -> bool:
    """Whether ``data`` is the encoding of ``message``, or (zstd) one of them."""
    again = tw.encode(message, profile)
    return again == data or (profile.entropy == "zstd" and tw.decode(again, profile) == message)


def test_truncated_frames_are_refused():
    for profile, data in VALID:
        for size in every(len(data), FLIPS_PER_FRAME):
            with pytest.raises(tw.DecodeError):
                tw.decode(data[:size], profile)


def test_frames_with_a_flipped_bit_are_refused():
    for profile, data in VALID:
        for bit in every(8 * len(data), FLIPS_PER_FRAME):
            with pytest.raises(tw.DecodeError):
                tw.decode(flipped(data, bit), profile)


def test_truncated_content_with_its_checksum_is_refused_or_canonical():
    for profile, data in VALID:
        for size in every(len(data) - 4, REPAIRED_PER_FRAME):
            other = sealed(data[:size])
            try:
                message = tw.decode(other, profile)
            except tw.DecodeError:
                continue
            # The first bytes of range-coded lists may be other, shorter lists; nothing else ends early.
            assert profile.entropy == "range"
            assert tw.encode(message, profile) == other


@pytest.mark.parametrize("part", range(PARTS))
def test_flipped_content_with_its_checksum_is_refused_or_canonical(part):
    for profile, data in VALID[part::PARTS]:
        for bit in every(8 * (len(data) - 4), REPAIRED_PER_FRAME):
            other = sealed(flipped(data[:-4], bit))
            try:
                message = tw.decode(other, profile)
            except tw.DecodeError:
                continue
            assert canonical(message, profile, other)
