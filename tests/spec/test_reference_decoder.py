"""spec/reference_decoder.py, which was written from the specification alone, against the vectors and the library."""

import ast
import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strategies
from damage import every, flipped, sealed
from hypothesis import given, settings
from hypothesis import strategies as st

import tslt_wire as tw
from spec import reference_decoder as ref
from spec.vector_checks import vectors
from spec.vectorgen.tools import list_value, message_value
from tslt_wire.lists.prior import plain_prior
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.list_rule import TOKEN_BY_TOKEN
from tslt_wire.verification.verdicts import verify_with

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "spec" / "reference_decoder.py"


def load(name: str) -> list[tuple[dict, dict]]:
    file = json.loads((ROOT / "spec" / "vectors" / name).read_text())
    tables = {name: bytes.fromhex(data) for name, data in file.get("tables", {}).items()}
    for group in file["groups"]:
        group.setdefault("profile", {})["tables"] = tables
    return [(group, test) for group in file["groups"] for test in group["tests"]]


LISTS, FRAMES, VERIFY = map(load, ("lists.json", "frames.json", "verify.json"))


def outcome(decode: Any, *arguments: Any) -> tuple[Any, str | None]:
    """Value and error, one of which is None; the types of numbers count."""
    try:
        return json.dumps(decode(*arguments), sort_keys=True), None
    except ref.DecodeError as refused:
        return None, refused.code


def library_profile(profile: dict) -> tw.Profile:
    name, table = profile.get("prior", "none"), profile.get("tables", {}).get(profile.get("prior"))
    prior = tw.table_from_bytes(table) if table else plain_prior(name, profile["vocab_size"])
    return tw.Profile(**{key: profile[key] for key in profile if key not in ("prior", "tables")}, prior=prior)


def library_outcome(decode: Any, show: Any, data: bytes, profile: dict, limits: dict) -> tuple[Any, str | None]:
    try:
        value = decode(data, library_profile(profile), limits=tw.DecodeLimits(**limits))
    except tw.DecodeError as refused:
        return None, refused.code.name.lower()
    return json.dumps(show(value), sort_keys=True), None


def same_frame(data: bytes, profile: dict, limits: dict) -> tuple[Any, str | None]:
    found = outcome(ref.decode_frame, data, profile, limits)
    assert found == library_outcome(tw.decode, message_value, data, profile, limits), data.hex()
    return found


def same_list(data: bytes, profile: dict, limits: dict) -> tuple[Any, str | None]:
    found = outcome(ref.decode_list, data, profile, limits)
    assert found == library_outcome(tw.decode_list, list_value, data, profile, limits), data.hex()
    return found


# -------------------------------------------------------------------------------------------------------------- source


def test_only_the_standard_library_is_imported():
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        allowed = sys.stdlib_module_names | {"compression", "zstandard"}  # one of these, for compressed frames alone
        assert all(name.split(".")[0] in allowed for name in names), names
        assert not (isinstance(node, ast.Name) and node.id in ("__import__", "exec", "eval"))


# ------------------------------------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector.id) for vector in vectors()])
def test_vector(vector):
    found = vector.found(vars(ref))
    if vector.large:
        ref.table_rows.cache_clear()  # the largest table takes 200 MB
    if "lenient" in vector.flags and found == "bad_compression":
        return  # not every zstd takes it
    assert found == vector.wanted


class Scripted(np.random.Generator):
    def __init__(self, uniforms: list[float]) -> None:
        super().__init__(np.random.PCG64(0))
        self.uniforms = uniforms
        self.used = 0

    def random(self) -> float:
        self.used += 1
        return self.uniforms[self.used - 1]


TAILS = [
    (group, test)
    for group, test in FRAMES
    if group["profile"].get("prior")
    and group["profile"]["vocab_size"] < 50
    and test.get("value", {}).get("kind") == "draft_list"
    and test["value"]["tokens"]
]


@pytest.mark.parametrize(("group", "test"), [pytest.param(*found, id=found[1]["id"]) for found in VERIFY + TAILS])
def test_verify_with_any_numbers(group, test):
    rng, data, vocab_size = random.Random(test["id"]), bytes.fromhex(test["hex"]), group["profile"]["vocab_size"]
    draft, message = ref.decode_frame(data, group["profile"]), tw.decode(data, library_profile(group["profile"]))
    for _ in range(5):
        rows = [
            [rng.random() ** rng.choice([1, 9]) for _ in range(vocab_size)] for _ in range(len(draft["tokens"]) + 1)
        ]
        target = [[p / sum(row) for p in row] for row in rows]
        script = Scripted([rng.random() for _ in range(2 * len(target))])
        coupling = {"key": rng.randbytes(8).hex(), "epoch": rng.randrange(1 << 32)}
        shared = tw.Coupling(bytes.fromhex(coupling["key"]), coupling["epoch"])
        choices = RandomChoices(script)
        found = verify_with(message, target, choices, coupling=shared, least_held=TOKEN_BY_TOKEN)
        wanted = {"round": found.round, "node": found.node, "token": found.token}
        assert ref.verify(draft, target, script.uniforms[: script.used], group["profile"], coupling) == wanted


@pytest.mark.parametrize("test", ["0802", "05021b68a2"])
def test_command_line(test):
    command = [sys.executable, str(SOURCE), "--profile-vocab", "10", test]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if test == "0802":
        assert (done.returncode, done.stdout) == (1, "truncated\n")
    else:
        assert (done.returncode, json.loads(done.stdout)) == (0, {"kind": "bye", "extensions": []})


def test_command_line_of_lists():
    group, test = next(found for found in LISTS if found[1]["result"] == "valid")
    options = ["--profile-vocab", str(group["profile"]["vocab_size"]), "--precision", group["profile"]["precision"]]
    command = [sys.executable, str(SOURCE), "--list", "--entropy", group["profile"]["entropy"], *options, test["hex"]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == test["value"]


# -------------------------------------------------------------------------------------------------------------- damage


def core(tests: list[tuple[dict, dict]], longest: int) -> list[tuple[bytes, dict, dict]]:
    """The first few valid and short vectors of each group, with a limit that keeps short what they may turn into."""
    taken: dict[int, int] = {}
    found = []
    for group, test in tests:
        if test["result"] == "valid" and 0 < len(test["hex"]) <= 2 * longest and taken.get(id(group), 0) < 8:
            taken[id(group)] = taken.get(id(group), 0) + 1
            found.append((bytes.fromhex(test["hex"]), group["profile"], {"max_entries": 1000, **group["limits"]}))
    return found


def test_damaged_frames():
    for data, profile, limits in core(FRAMES, 100):
        for size in every(len(data), 50):
            assert same_frame(data[:size], profile, limits)[1]
        for bit in every(8 * len(data), 60):
            assert same_frame(flipped(data, bit), profile, limits)[1] == "bad_checksum"


def test_damaged_content():
    for data, profile, limits in core(FRAMES, 150):
        for size in every(len(data) - 4, 12):
            assert same_frame(sealed(data[:size]), profile, limits)[1] or profile["entropy"] == "range"
        for bit in every(8 * (len(data) - 4), 24):
            same_frame(sealed(flipped(data[:-4], bit)), profile, limits)
        same_frame(sealed(data[:-4] + b"\0"), profile, limits)


def test_damaged_lists():
    for data, profile, limits in core(LISTS, 100):
        for size in every(len(data), 15):
            assert same_list(data[:size], profile, limits)[1] or profile["entropy"] == "range"
        for bit in every(8 * len(data), 30):
            same_list(flipped(data, bit), profile, limits)
        assert same_list(data + b"\0", profile, limits)[1]


# ---------------------------------------------------------------------------------------------- messages of the library


@settings(deadline=None)
@given(strategies.messages(), st.sampled_from(["none", "range", "zstd"]))
def test_messages(message_and_size, entropy):
    message, vocab_size = message_and_size
    profile = tw.Profile(vocab_size=vocab_size, entropy=entropy)
    found = outcome(ref.decode_frame, tw.encode(message, profile), {"vocab_size": vocab_size, "entropy": entropy})
    assert found == (json.dumps(message_value(message), sort_keys=True), None)


@settings(deadline=None)
@given(strategies.lists(), st.sampled_from(["none", "range", "zstd"]))
def test_lists(q, entropy):
    profile = {"vocab_size": q.vocab_size, "precision": str(q.precision), "entropy": entropy}
    data = tw.encode_list(q, tw.Profile(**profile))
    assert outcome(ref.decode_list, data, profile) == (json.dumps(list_value(q), sort_keys=True), None)


# ------------------------------------------------------------- any symbols: an encoder that draws what the decoder asks


class Chooser:
    """[RANGE-1] to [RANGE-3], in exact arithmetic: answers at random where a decoder reads, and encodes the answer."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.least, self.before = rng, 0, b""
        self.plain: PlainChooser | None = None
        self.start()

    def start(self) -> None:
        self.low, self.range, self.written = 0, 2**64 - 1, 0

    def entries(self, total: int) -> None:
        """[RLIST-11]"""
        self.least = -(-max(0, total - 256) // 8)

    def take(self, start: int, size: int, total: int) -> None:
        part = self.range // total
        self.low, self.range = self.low + part * start, part * size
        while self.range < 2**56:
            self.low, self.range, self.written = self.low * 256, self.range * 256, self.written + 1

    def uniform(self, total: int) -> int:
        found = self.rng.choice([0, total // 2 + 1, total - 1, self.rng.randrange(total)]) % total
        if total in (2**16, 2**32) and self.rng.random() < 0.95:  # a code: mostly one that a list can have
            found = self.rng.choice([0, {16: 0xBF80, 32: 0xBF800000}[total.bit_length() - 1] + self.rng.randrange(99)])
        if total > 1:
            self.take(found, 1, total)
        return found

    def number(self, total: int) -> int:
        return self.rng.choice([0, total - 1, self.rng.randrange(total)])

    id = ref.RangeDecoder.id

    def chance(self, part: int, total: int) -> bool:
        found = self.rng.random() < self.rng.choice([0.5, part / total])
        self.take(total - part if found else 0, part if found else total - part, total)
        return found

    def choose(self, weights: Any) -> int:
        possible = [i for i, weight in enumerate(weights) if weight > 0]
        found = self.rng.choice([self.rng.choice(possible), *self.rng.choices(range(len(weights)), weights)])
        self.take(sum(weights[:found]), weights[found], sum(weights))
        return found

    def ending(self, first: int, after: int) -> bytes:
        for count in range(first, 9):
            unit = 2 ** (64 - 8 * count)
            value = -(-self.low // unit) * unit
            if value + unit * after < self.low + self.range + after:
                break
        return value.to_bytes(self.written + 8, "big")[: self.written + count]

    def end(self) -> bytes:
        rest = self.plain.octets() if self.plain else self.ending(0, 0)
        return (self.before + rest).ljust(self.least, b"\0")

    def leave(self) -> "PlainChooser":
        """[RANGE-6]"""
        self.before += self.ending(1, 1)
        self.plain = PlainChooser(self.rng)
        return self.plain

    def resume(self, bits: "PlainChooser") -> None:
        self.before += bits.octets()
        self.plain = None
        self.start()


class PlainChooser:
    """Plain bits at random: a 1 as often as gaps and codewords have them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.value, self.size = rng, 0, 0
        self.often = rng.choice([0.3, 0.7, 0.98])

    def field(self, bits: int) -> int:
        found = int(self.rng.random() < self.often) if bits == 1 else self.rng.randrange(1 << bits)
        self.value |= found << self.size
        self.size += bits
        return found

    def fields(self, count: int, bits: int) -> list[int]:
        likely = {16: 0xBF80, 32: 0xBF800000}[bits]  # codes that a list can have
        found = [self.rng.choice([0, likely + self.rng.randrange(99)]) for _ in range(count)]
        for value in found:
            self.value |= value << self.size
            self.size += bits
        return found

    def octets(self) -> bytes:
        return self.value.to_bytes(-(-self.size // 8), "little")


def make_draft(rng: random.Random, profile: dict, precision: int, parents: list[int]) -> bytes:
    """The content of a draft with the symbols of a chooser, up to the first that is an error."""
    without, vocab_size = rng.randrange(2), profile["vocab_size"]
    first = len(parents) * 4 if parents == list(range(-1, len(parents) - 1)) else (1 << 2) + 1
    shape = [first] if first % 4 == 0 else [first, len(parents)]
    chooser = Chooser(rng)
    rows = ref.prior_rows(profile)
    source = ref.RangeLists(chooser, ref.PRECISIONS[precision], vocab_size, rows)  # type: ignore[arg-type]
    try:
        lists = {parent: source.read(1 << 21) for parent in sorted(set(parents))}
        ref.range_tokens(chooser, parents, lists, rows, without)  # type: ignore[arg-type]
    except (ref.DecodeError, ValueError):
        pass
    return bytes([0x10, 1, 2, 3, 0, precision | 1 << 4 | without << 7, *shape]) + chooser.end()


def make_table(rng: random.Random, vocab_size: int) -> bytes:
    codes = bytes(min(240, int(rng.expovariate(1 / 40))) for _ in range(5 * vocab_size))
    return b"TSLTtab1" + vocab_size.to_bytes(4, "little") + codes


@pytest.mark.parametrize("prior", ["none", "uniform", "density", "table"])
@pytest.mark.parametrize("vocab_size", [1, 2, 9, 300, 1000, 5000])
def test_any_symbols(vocab_size, prior):
    rng, table = random.Random(f"{vocab_size} {prior}"), make_table(random.Random(vocab_size), vocab_size)
    name = ref.table_rows(table)[0]
    profile = {"vocab_size": vocab_size, "entropy": "range", "prior": prior, "tables": {name: table}}
    profile["prior"] = name if prior == "table" else prior
    found: set[str | None] = set()
    for _ in range(60 if vocab_size < 5000 else 12):
        parents = rng.choice([list(range(-1, rng.randrange(1, 6))), [-1] * rng.randrange(2, 6)])
        content = make_draft(rng, profile, rng.randrange(8), parents)
        limits = {} if rng.random() < 0.8 else {"max_entries": rng.randrange(1, 2 * vocab_size + 1)}
        found.add(same_frame(sealed(content), profile, limits)[1])
        same_frame(
            sealed(flipped(content, rng.randrange(56, 8 * len(content)) if len(content) > 7 else 0)), profile, {}
        )
        same_frame(sealed(content[: rng.randrange(6, len(content) + 1)]), profile, {})
    assert None in found


@pytest.mark.parametrize(
    "pools", [[512, 512, 512, 464, 48, 90, 5], [512, 512, 512, 464, 49, 90, 90], [512, 90, 30], [30, 513, 90, 30]]
)
def test_what_a_draft_forgets(pools):
    """[RLIST-8] adds the tokens of ``seen`` and of the list, those in both counted twice."""
    rng, lists = np.random.default_rng(1), {}
    for index, count in enumerate(pools):
        start = sum(pools[:index]) if index < 5 and len(pools) > 5 else 0  # else they overlap
        logits = np.full(3000, -np.inf)
        logits[start : start + count] = rng.normal(size=count)
        lists[index - 1] = tw.sparsify(logits, precision="log2/1")
    parents = list(range(-1, len(pools) - 1))
    tree = tw.TokenTree([int(found.ids[0]) for found in lists.values()], parents)
    draft = tw.Draft(
        round=0, prefix_length=1, prefix_hash=2, tree=tree, evidence=tw.ListEvidence(lists, replacement=True)
    )
    profile = {"vocab_size": 3000, "entropy": "range"}
    assert same_frame(tw.encode(draft, tw.Profile(**profile)), profile, {})[1] is None


@pytest.mark.parametrize("count", [4096, 4097, 16383, 16384])
def test_long_lists(count):
    logits = np.random.default_rng(count).normal(size=40000) * 2
    q = tw.sparsify(logits, truncation=tw.TopK(count), precision="log2/1")
    profile = {"vocab_size": 40000, "precision": "log2/1", "entropy": "range"}
    assert same_list(tw.encode_list(q, tw.Profile(**profile)), profile, {})[1] is None


def test_weights_of_urns_add_up():
    for n in range(1, 33):
        for balls in (6, 20):
            for g in {ref.share(rest, 5000 - rest) for rest in range(5001)}:
                weights = ref.urn(n, balls, g)
                assert len(weights) == n + 1
                assert min(weights) >= 1
                assert sum(weights) == 2**16


def test_sets_have_their_index():
    for free in range(1, 12):
        for n in range(1, free):
            sets = [ref.indexed(index, n, free) for index in range(math.comb(free, n))]
            for index, found in enumerate(sets):
                assert found == sorted(set(found))
                assert found[0] >= 0
                assert found[-1] < free
                assert sum(math.comb(position, i + 1) for i, position in enumerate(found)) == index
            assert len(set(map(tuple, sets))) == len(sets)
