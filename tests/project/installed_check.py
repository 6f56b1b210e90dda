"""What a user gets from an installation with numpy alone: all packages import, the codec and sessions work.

Run by the interpreter of an empty environment (see ``test_packaging.py``); needs no test tool.  Prints the backend.

    ENVIRONMENT/bin/python -I tests/project/installed_check.py
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.metadata import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import tslt_transports

import tslt_runtime
import tslt_wire as tw
from tslt_wire.session.negotiation import OUR_EVIDENCE

PACKAGES = (tw, tslt_transports, tslt_runtime)
MUST_BE_ABSENT = ("torch", "transformers", "zmq", "aioquic", "zstandard", "rich", "msgpack")
FINGERPRINT = bytes(32)
V = 50


def check(fact: bool, said: str) -> None:
    """Stop where a fact is not true (``assert`` may be switched off)."""
    if not fact:
        raise SystemExit(f"installed_check: {said}")


def check_files() -> None:
    """All comes from this environment, typed and with its licence, and nothing but numpy is there to help."""
    for package in PACKAGES:
        folder = Path(package.__file__ or "").parent
        check(folder.is_relative_to(sys.prefix), f"{folder} is not in {sys.prefix}")
        check((folder / "py.typed").exists(), f"{folder} has no py.typed")
    for name in MUST_BE_ABSENT:
        check(find_spec(name) is None, f"{name} is installed")
    licences = [path for path in files("tslt-wire") or () if path.name == "LICENSE"]
    check(len(licences) == 1, f"licences: {licences}")


def check_codec() -> None:
    """A list and a draft come back."""
    q = tw.sparsify(np.arange(float(V)), truncation=tw.TopK(8), precision="log2/1")
    profile = tw.Profile(vocab_size=V, precision="log2/1", entropy="range")
    check(tw.decode_list(tw.encode_list(q, profile), profile) == q, "a list came back as another")
    tree = tw.TokenTree.chain([int(q.ids[0]), int(q.ids[1])])
    draft = tw.Draft(round=0, prefix_length=1, prefix_hash=2, tree=tree, evidence=tw.ListEvidence({-1: q, 0: q}))
    check(tw.decode(tw.encode(draft, profile), profile) == draft, "a draft came back as another")


async def check_sessions() -> None:
    """A device and an edge shake hands and play rounds over the in-process link."""
    device = tw.DeviceSession(tw.Hello(vocab_size=V, tokenizer=FINGERPRINT))
    edge = tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT))
    ours, theirs = tslt_transports.pair()
    rng, row = np.random.default_rng(0), np.full(V, 1 / V)
    q = tw.sparsify(np.zeros(V))

    async def to_edge() -> list[tw.Event]:
        await ours.send(device.data_to_send())
        return list(edge.receive_data(await theirs.receive()))

    async def to_device() -> list[tw.Event]:
        await theirs.send(edge.data_to_send())
        return list(device.receive_data(await ours.receive()))

    await to_edge()
    await to_device()
    device.send_prompt([1, 2, 3])
    await to_edge()
    for _ in range(5):
        device.send_draft(tw.TokenTree.chain([q.sample(rng)]), tw.ListEvidence({-1: q}))
        (event,) = await to_edge()
        if not isinstance(event, tw.DraftReceived):
            raise SystemExit(f"installed_check: the edge got {event}")
        edge.send_answer(tw.verify(event.draft, np.stack([row, row]), rng))
        (event,) = await to_device()
        check(isinstance(event, tw.VerdictReceived), f"the device got {event}")
    check(list(device.prefix) == list(edge.prefix), "two prefixes")
    check(len(device.prefix) >= 3 + 5, "too few tokens")
    await ours.close()
    await theirs.close()


def check_command() -> None:
    """``tslt`` is there and knows its commands; one that needs more than there is says what."""
    scripts = Path(sys.prefix) / ("Scripts" if sys.platform == "win32" else "bin")

    def said(*arguments: str) -> str:
        done = subprocess.run([scripts / "tslt", *arguments], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    check(said("--version") == f"tslt {tw.__version__} ({tw.backend})\n", "tslt --version")
    for name in ("bench", "certs", "demo", "device", "edge", "inspect", "train-prior"):
        check(name in said("--help"), f"tslt --help does not name {name}")
    bye = tw.encode(tw.Bye(), tw.Profile(vocab_size=1)).hex()
    check(said("inspect", bye).startswith("BYE  5 bytes\n"), "tslt inspect of a BYE")
    needed = said("edge", "--model", ".")
    check("is not installed: pip install 'tslt-wire[" in needed, f"tslt edge without its packages: {needed}")


async def check_drivers() -> None:
    """The real drivers on an engine of the tests' own, with every kind of evidence."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "helpers"))
    from two_ends import tables, two_ends

    from tslt_runtime.drafting import DraftSettings

    for name in OUR_EVIDENCE:
        async with two_ends(*tables(V)) as device:
            await device.prompt([0])
            rounds = [found async for found in device.generate(40, DraftSettings(evidence=name))]
            check(sum(len(found.tokens) for found in rounds) == 40, f"{name}: too few tokens")


def main() -> int:
    """Run all checks."""
    check_files()
    check_codec()
    check_command()
    asyncio.run(check_sessions())
    asyncio.run(check_drivers())
    print(tw.backend)
    return 0


if __name__ == "__main__":
    sys.exit(main())
