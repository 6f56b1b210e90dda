"""examples/device_c: a program without Python, over ZeroMQ, with a real edge."""

import asyncio
import os
import shutil
import struct
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_device import PROGRAM
from c_kernel import CC, NATIVE, STRICT, kernel_objects
from table_engine import TableTarget
from text_law import transition_law
from tslt_transports import AllowList, EdgeKeys, SecretKey, listen
from tslt_transports.allow_list import allow
from two_ends import FINGERPRINT, tables

import tslt_wire as tw
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.verifiers.local import LocalVerifier

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "device_c"
CHAIN, TREE = "1,1,1", "2,2"
KINDS = [
    ("list", CHAIN),
    ("list", TREE),
    ("match", TREE),
    ("coupled", TREE),
    ("scalar", CHAIN),
    ("lazy", CHAIN),
    ("full", TREE),
]
MORE_FLAGS = os.environ.get("TSLT_EXAMPLE_FLAGS", "").split()
"""Sanitizers, say: all of these tests pass under them."""
DRAWS = int(os.environ.get("TSLT_LAW_DRAWS", "2000"))


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    if shutil.which(CC) is None:
        pytest.skip("there is no C compiler")
    made = tmp_path_factory.mktemp("device") / "device"
    sources = [str(EXAMPLE / "device.c"), *kernel_objects(flags=[*STRICT, "-fPIC", *MORE_FLAGS])]
    if subprocess.run(
        [CC, "-E", "-include", "zmq.h", "-x", "c", os.devnull], capture_output=True, check=False
    ).returncode:
        pytest.skip("there are no headers of libzmq (Debian: libzmq3-dev)")
    done = subprocess.run(
        [CC, *PROGRAM, *MORE_FLAGS, f"-I{NATIVE}", *sources, "-o", str(made), "-lzmq", "-lm"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made


def write_table(path: Path, logits: np.ndarray) -> None:
    """A file of make_table.py's form, in which all tokens are listed."""
    size = len(logits)
    ids = np.tile(np.arange(size, dtype=np.int32), (size, 1))
    texts = b"".join(bytes([len(text)]) + text for text in (f" {token}".encode() for token in range(size)))
    data = struct.pack("<II", size, size) + FINGERPRINT + ids.tobytes() + logits.astype(np.float32).tobytes()
    path.write_bytes(data + texts)


@asynccontextmanager
async def edge(target, keys=None, **settings):
    """A real edge at a port of its own, on a table, with other ``settings``; its address."""
    listener = await listen("zmq", "tcp://127.0.0.1:0", keys=keys)
    verifier = LocalVerifier(TableTarget(target))
    offered = replace(edge_settings(verifier.facts, FINGERPRINT), window=4, **settings)
    task = asyncio.create_task(serve(listener, verifier, offered, seed=4))
    try:
        yield listener.address
    finally:
        await listener.close()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 20)
        verifier.close()


async def started(program, table, address, tokens, kind, expansion, temperature, **environment):
    """The program's exit status after the prompt ``5 7 3``, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        str(program), str(table), address, str(tokens), kind, expansion, "5", "7", "3",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TSLT_TEMPERATURE": str(temperature), **environment},
    )  # fmt: skip
    try:
        out, said = await asyncio.wait_for(process.communicate(), 300)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, out.decode(), said.decode()


async def run(*given, **environment):
    """The tokens that the program wrote, and the text that it printed."""
    status, out, said = await started(*given, **environment)
    assert status == 0, said
    return written(said), out


def written(said: str) -> list[int]:
    """The tokens by what the program said."""
    line = next(line for line in said.splitlines() if line.startswith("device: tokens:"))
    return [int(word) for word in line.split()[2:]]


def greedy(target, count: int) -> list[int]:
    """The target's likeliest text after token 3."""
    best, text = target.argmax(1), [3]
    while len(text) < count + 1:
        text.append(int(best[text[-1]]))
    return text[1:]


def test_greedy_texts_are_the_targets_own(program, tmp_path):
    target, draft = tables(40)
    target = target.astype(np.float32)
    write_table(tmp_path / "table", draft)
    wanted = greedy(target, 40)

    async def all_kinds():
        async with edge(target) as address:
            given = (program, tmp_path / "table", address, 40)
            alone = [await run(*given, *kind, 0) for kind in KINDS]
            several = [await run(*given, *kind, 0, TSLT_WINDOW="4") for kind in KINDS]
            return alone + several + [await run(*given, *kind, 0, TSLT_PADDING="64") for kind in KINDS]

    for kind, (found, text) in zip([*KINDS, *KINDS, *KINDS], asyncio.run(all_kinds()), strict=True):
        assert found == wanted, kind
        assert text.split() == [str(token) for token in found]


@pytest.mark.parametrize(("kind", "window"), [("list", 1), ("scalar", 1), ("list", 4), ("scalar", 2)])
def test_long_texts_have_the_targets_law(program, tmp_path, kind, window):
    target, draft = tables(8)
    write_table(tmp_path / "table", draft)
    sampling = tw.Sampling(temperature=0.8)

    async def text():
        async with edge(target) as address:
            found = []
            while sum(map(len, found)) < DRAWS:  # the program's memory holds texts of 4,096 tokens
                left = min(4000, DRAWS - sum(map(len, found)))
                given = (program, tmp_path / "table", address, left, kind, CHAIN, 0.8)
                part, _ = await run(*given, TSLT_WINDOW=str(window))
                found.append(part)
            return found

    # Each text begins anew after token 3: a text of its own, whose first transition is from there.
    parts = asyncio.run(text())
    p = min(1.0, min(transition_law(target, [3, *part], sampling) for part in parts) * len(parts))
    print(f"{kind}, a window of {window}: {sum(map(len, parts)):,} tokens, p = {p:.3f}")
    assert p > 1e-3


def test_keys_are_those_of_the_command_and_others_are_turned_away(program, tmp_path):
    """CURVE, as `tslt keys` makes keys, against an edge with a list of devices."""
    target, draft = tables(40)
    write_table(tmp_path / "table", draft)
    own, edge_key, stranger = (SecretKey.make(name) for name in ("device", "edge", "stranger"))
    given = {}
    for key in (own, stranger):
        key.write(tmp_path / key.name)
        script = [sys.executable, str(EXAMPLE / "curve_keys.py"), str(tmp_path / key.name), edge_key.public.line]
        printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
        given[key.name] = dict(line.split("=", 1) for line in printed.splitlines())
    wrong = subprocess.run([*script[:2], str(tmp_path / "none"), "edge x"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (2, False)
    for line, why in (("edge", "no line 'NAME tslt-key-1 BASE64', and no file"), ("edge tslt-key-1 x", "no base64")):
        wrong = subprocess.run([*script[:3], line], capture_output=True, text=True, check=False)
        assert (wrong.returncode, "error: the edge's key" in wrong.stderr, why in wrong.stderr) == (2, True, True)
    wrong_edge = given["device"] | {"TSLT_EDGE_KEY": given["stranger"]["TSLT_PUBLIC_KEY"]}

    async def all_devices():
        allow(tmp_path / "devices", own.public)
        keys = EdgeKeys(own=edge_key, allowed=AllowList(tmp_path / "devices"))
        async with edge(target.astype(np.float32), keys) as address:
            settings = (program, tmp_path / "table", address, 12, "list", CHAIN, 0)
            refused = (
                started(*settings, **other) for other in (given["stranger"], wrong_edge, {})
            )  # at once, no retry
            return await asyncio.gather(run(*settings, **given["device"]), *refused)

    (text, _), *others = asyncio.run(all_devices())
    assert text == greedy(target, 12)
    assert [(status, out) for status, out, _ in others] == [(1, "")] * 3
    for (_, _, said), why in zip(others, ("not on its list", "has not the key", "demands a key"), strict=True):
        assert why in said


# ---------------------------------------------------------------------------------------------------------------- links


CUT = 900
"""Bytes from the edge: the greetings and some answers."""


class Cutter:
    """A way to an edge that is cut once, after CUT bytes that came back; then it is there again, or not."""

    def __init__(self, address: str, *, returns: bool) -> None:
        self._port, self._returns, self._cut = int(address.rsplit(":", 1)[1]), returns, False

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._attend, "127.0.0.1", 0)
        return f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _attend(self, reader, writer) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        up = asyncio.create_task(carry(reader, back))
        left = 1 << 30 if self._cut else CUT
        while left > 0 and (data := await there.read(4096)):
            left -= len(data)
            writer.write(data)
        if left <= 0 and not self._returns:
            self.close()
        self._cut = True
        for end in (writer, back):
            end.transport.abort()
        await asyncio.gather(up, return_exceptions=True)

    def close(self) -> None:
        self._server.close()


async def carry(reader, writer) -> None:
    while data := await reader.read(4096):
        writer.write(data)


def test_texts_go_on_over_another_link(program, tmp_path):
    target, draft = tables(40)
    target = target.astype(np.float32)
    write_table(tmp_path / "table", draft)

    async def cut(address, kind, window):
        cutter = Cutter(address, returns=True)
        given = program, tmp_path / "table", await cutter.start(), 300, kind, CHAIN, 0
        try:
            return await started(*given, TSLT_WINDOW=str(window))
        finally:
            cutter.close()

    async def all_kinds():
        async with edge(target) as address:
            return await asyncio.gather(*(cut(address, *how) for how in (("list", 1), ("scalar", 2), ("lazy", 4))))

    wanted = greedy(target, 300)
    for status, out, said in asyncio.run(all_kinds()):
        assert status == 0, said
        assert "the connection to the edge is gone" in said
        assert written(said) == wanted
        assert out.split() == [str(token) for token in wanted]


def test_an_edge_that_is_gone_for_good_is_given_up(program, tmp_path):
    target, draft = tables(40)
    target = target.astype(np.float32)
    write_table(tmp_path / "table", draft)

    async def cut():
        async with edge(target) as address:
            cutter = Cutter(address, returns=False)
            return await started(
                program, tmp_path / "table", await cutter.start(), 300, "list", CHAIN, 0, TSLT_TRIES="2"
            )

    status, out, said = asyncio.run(cut())
    assert status == 1
    assert "trying again in 1 s (2 of 2)" in said
    assert "no edge after try 2 of 2, expected one at tcp://127.0.0.1:" in said
    assert 0 < len(out.split()) < 300
    assert out.split() == [str(token) for token in written(said)] == [str(t) for t in greedy(target, len(out.split()))]


def test_full_is_lists_of_everything_in_f32(program, tmp_path):
    """A draft that is the target's law itself is accepted whole, and an edge that takes no f32 is told of."""
    target = tables(40)[0].astype(np.float32)
    write_table(tmp_path / "table", target)

    async def written_full(**settings):
        async with edge(target, **settings) as address:
            return await started(program, tmp_path / "table", address, 120, "full", CHAIN, 1)

    async def both():
        return [await written_full(**settings) for settings in ({}, {"precisions": ("log2/2",)})]

    whole, none = asyncio.run(both())
    assert whole[0] == 0
    assert "device: 120 tokens in 30 rounds\n" in whole[2]
    assert none[:2] == (1, "")
    assert "device: the edge takes no lists in f32" in none[2]


def test_refusals_have_a_name_and_a_text(program, tmp_path):
    target, draft = tables(40)
    write_table(tmp_path / "small", tables(20)[1])
    write_table(tmp_path / "other", draft)
    data = bytearray((tmp_path / "other").read_bytes())
    data[8] ^= 1  # another tokenizer
    (tmp_path / "other").write_bytes(data)

    async def refused():
        async with edge(target.astype(np.float32)) as address:
            settings = address, 5, "list", CHAIN, 0
            return [await started(program, tmp_path / name, *settings) for name in ("small", "other")]

    small, other = asyncio.run(refused())
    assert small[:2] == other[:2] == (1, "")
    assert small[2].startswith("device: what the edge sent is refused: unsupported (35): the edge has more tokens")
    assert other[2].startswith(
        "device: the edge refuses: tokenizer_mismatch (34): the device (unnamed model) has 40 tokens"
    )
    assert other[2].endswith("ordinary tokens\n")  # to its end


def test_what_ends_a_text_and_with_which_status(program, tmp_path):
    """The edge's context does before its time (1), the target's own end does not (0)."""
    target, draft = tables(40)
    target = target.astype(np.float32)
    write_table(tmp_path / "table", draft)
    wanted = greedy(target, 40)
    last = wanted[9]
    until = wanted[: wanted.index(last) + 1]

    async def ended(**settings):
        async with edge(target, **settings) as address:
            return await started(program, tmp_path / "table", address, 40, "list", CHAIN, 0)

    async def all_ends():
        return [await ended(**settings) for settings in ({"context": 20}, {"context": 2}, {"eos_tokens": (last,)})]

    full, long, over = asyncio.run(all_ends())
    assert (full[0], over[0]) == (1, 0)
    assert written(full[2]) == wanted[:18]  # one more than the context: the edge's own
    assert "no more fit: a text of this edge has 20 tokens, prompt included, expected" in full[2]
    assert long[:2] == (1, "")
    assert "device: the prompt has 3 tokens, expected 2 at most: a text of this edge has 2, " in long[2]
    assert written(over[2]) == until
    assert f"{len(until)} token" in over[2]
    assert "; the text has ended" in over[2]


# ---------------------------------------------------------------------------------------------------------------- words


def told(program, *words: object, out=subprocess.PIPE, **environment) -> tuple[int, str]:
    """The exit status and what was said, where there is no edge."""
    done = subprocess.run(
        [str(program), *map(str, words)],
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=20,
        env={**os.environ, "TSLT_TRIES": "1", **environment},
    )
    return done.returncode, done.stderr


NOWHERE = "tcp://127.0.0.1:1"
GOOD = {"address": NOWHERE, "tokens": "5", "kind": "list", "expansion": "1,1", "prompt": "1"}
BAD_WORDS = [
    *({"address": a} for a in ("", "garbage", "tcp://", "tcp://h:", "tcp://h:0", "tcp://h:5x", "http://h:80")),
    *({"tokens": n} for n in ("xyz", "", "0", "-5", "5x", "4096", "99999999999999999999")),
    *({"kind": k} for k in ("banana", "", "LIST")),
    *({"expansion": e} for e in ("", ",", "1,", "0", "x", "33", "9,9", "-1", "1,,1", ",".join("1" * 17))),
    {"kind": "scalar", "expansion": "2"},
    *({"prompt": p} for p in ("hello", "-1", "8", "1.5", "")),
    *({"TSLT_WINDOW": w} for w in ("99", "0", "")),
    *({"TSLT_PADDING": p} for p in ("1", "x", "70000")),
    *({"TSLT_TEMPERATURE": t} for t in ("hot", "-1", "nan", "inf", "")),
    {"TSLT_TRIES": "0"},
    {"TSLT_EDGE_KEY": "short"},
    {"TSLT_SECRET_KEY": "x" * 40},
]


def test_words_that_make_no_sense(program, tmp_path):
    write_table(tmp_path / "table", tables(8)[1])

    def given(**changes):
        words = GOOD | changes
        environment = {name: words.pop(name) for name in list(words) if name.isupper()}
        return told(program, tmp_path / "table", *words.values(), **environment)

    status, said = given()
    assert (status, "nobody answers" in said) == (1, True)
    for changes in BAD_WORDS:
        status, said = given(**changes)
        assert (status, said[:8], ", expected " in said) == (2, "device: ", True), (changes, said)
    assert told(program)[0] == 2


def test_tables_that_are_none(program, tmp_path):
    write_table(tmp_path / "good", tables(8)[1])
    good = (tmp_path / "good").read_bytes()

    def changed(at: int, form: str, *values) -> bytes:
        data = bytearray(good)
        struct.pack_into(form, data, at, *values)
        return bytes(data)

    nan = struct.unpack("<i", struct.pack("<f", float("nan")))[0]
    bad = [b"", b"abc", good[:40], good[:-1], good + b"x"]
    bad += [changed(0, "<II", *sizes) for sizes in ((0, 0), (8, 0), (8, 9), (1 << 20, 1 << 20), (2**32 - 1, 2**32 - 1))]
    bad += [changed(40, "<i", -77), changed(40 + 28, "<i", 10**8), changed(40, "<i", 1), changed(40 + 256, "<i", nan)]
    bad += [changed(len(good) - 3, "B", 255)]
    for data in bad:
        (tmp_path / "table").write_bytes(data)
        status, said = told(program, tmp_path / "table", *GOOD.values())
        assert (status, ", expected " in said or "; expected " in said) == (2, True), (data[:80], said)
    for path in (tmp_path / "none", tmp_path, "/dev/zero"):
        assert told(program, path, *GOOD.values())[0] == 2


def test_a_text_that_cannot_be_written_is_a_failure(program, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    target, draft = tables(40)
    write_table(tmp_path / "table", draft)

    async def full():
        async with edge(target.astype(np.float32)) as address:
            with Path("/dev/full").open("w") as out:
                given = tmp_path / "table", address, 5, "list", CHAIN, 5
                return await asyncio.to_thread(told, program, *given, out=out)

    status, said = asyncio.run(full())
    assert status == 1
    assert said.count("the text cannot be written: ") == 1
    assert "0 rounds" not in said
