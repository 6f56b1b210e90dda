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
from c_device import CC, NATIVE, PROGRAM
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
KINDS = [("list", CHAIN), ("list", TREE), ("match", TREE), ("coupled", TREE), ("scalar", CHAIN), ("lazy", CHAIN)]
DRAWS = int(os.environ.get("TSLT_LAW_DRAWS", "2000"))


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    if shutil.which(CC) is None:
        pytest.skip("there is no C compiler")
    made = tmp_path_factory.mktemp("device") / "device"
    sources = [str(EXAMPLE / "device.c"), *map(str, sorted(NATIVE.glob("*.c")))]
    if subprocess.run(
        [CC, "-E", "-include", "zmq.h", "-x", "c", os.devnull], capture_output=True, check=False
    ).returncode:
        pytest.skip("there are no headers of libzmq (Debian: libzmq3-dev)")
    done = subprocess.run(
        [CC, *PROGRAM, f"-I{NATIVE}", *sources, "-o", str(made), "-lzmq", "-lm"],
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
async def edge(target, keys=None):
    """A real edge at a port of its own, on a table; its address."""
    listener = await listen("zmq", "tcp://127.0.0.1:0", keys=keys)
    verifier = LocalVerifier(TableTarget(target))
    offered = replace(edge_settings(verifier.facts, FINGERPRINT), window=4)
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
    out, said = await asyncio.wait_for(process.communicate(), 300)
    return process.returncode, out.decode(), said.decode()


async def run(*given, **environment):
    """The tokens that the program wrote, and the text that it printed."""
    status, out, said = await started(*given, **environment)
    assert status == 0, said
    return [int(word) for word in said.splitlines()[0].split()], out


def test_greedy_texts_are_the_targets_own(program, tmp_path):
    target, draft = tables(40)
    target = target.astype(np.float32)
    write_table(tmp_path / "table", draft)
    best, wanted = target.argmax(1), [3]
    while len(wanted) < 41:
        wanted.append(int(best[wanted[-1]]))

    async def all_kinds():
        async with edge(target) as address:
            given = (program, tmp_path / "table", address, 40)
            alone = [await run(*given, *kind, 0) for kind in KINDS]
            several = [await run(*given, *kind, 0, TSLT_WINDOW="4") for kind in KINDS]
            return alone + several + [await run(*given, *kind, 0, TSLT_PADDING="64") for kind in KINDS]

    for kind, (found, text) in zip([*KINDS, *KINDS, *KINDS], asyncio.run(all_kinds()), strict=True):
        assert found == wanted[1:], kind
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
    wrong_edge = given["device"] | {"TSLT_EDGE_KEY": given["stranger"]["TSLT_PUBLIC_KEY"]}

    async def all_devices():
        allow(tmp_path / "devices", own.public)
        keys = EdgeKeys(own=edge_key, allowed=AllowList(tmp_path / "devices"))
        async with edge(target.astype(np.float32), keys) as address:
            settings = (program, tmp_path / "table", address, 12, "list", CHAIN, 0)
            refused = (started(*settings, **other) for other in (given["stranger"], wrong_edge, {}))
            return await asyncio.gather(run(*settings, **given["device"]), *refused)

    (text, _), *others = asyncio.run(all_devices())
    best, wanted = target.argmax(1), [3]
    while len(wanted) < 13:
        wanted.append(int(best[wanted[-1]]))
    assert text == wanted[1:]
    assert [(status, out) for status, out, _ in others] == [(1, "")] * 3
