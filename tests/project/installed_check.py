"""What a user gets from an installation with numpy alone: all packages import, the codec and sessions work.

Run by the interpreter of an empty environment (see ``test_packaging.py``); needs no test tool.  Prints the backend.

    ENVIRONMENT/bin/python -I tests/project/installed_check.py [EXTRA ...]          # that it was installed with
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from importlib.metadata import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import tslt_transports

import tslt_runtime
import tslt_wire as tw
from tslt_wire.session.negotiation import OUR_EVIDENCE

PACKAGES = (tw, tslt_transports, tslt_runtime)
MUST_BE_ABSENT = {"torch", "transformers", "zmq", "aioquic", "zstandard", "rich", "msgpack", "prometheus_client"}
BROUGHT = {"zmq": {"zmq"}, "zstd": {"zstandard"}, "llamacpp": {"zmq"}}
"""What an extra brings of these."""
COMMANDS = ("bench", "convert", "demo", "device", "edge", "inspect", "train-prior")
TESTS = Path(__file__).resolve().parents[1]
FINGERPRINT = bytes(32)
V = 50


def check(fact: bool, said: str) -> None:
    """Stop where a fact is not true (``assert`` may be switched off)."""
    if not fact:
        raise SystemExit(f"installed_check: {said}")


def tslt(*arguments: str | Path) -> str:
    """What the command says, on both of its outputs."""
    script = Path(sys.prefix) / ("Scripts" if sys.platform == "win32" else "bin") / "tslt"
    done = subprocess.run([script, *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def check_files(extras: set[str]) -> None:
    """All comes from this environment, typed and with its licence, and nothing but numpy and ``extras`` is there."""
    for package in PACKAGES:
        folder = Path(package.__file__ or "").parent
        check(folder.is_relative_to(sys.prefix), f"{folder} is not in {sys.prefix}")
        check((folder / "py.typed").exists(), f"{folder} has no py.typed")
    for name in MUST_BE_ABSENT.difference(*(BROUGHT[extra] for extra in extras)):
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
    check(tslt("--version") == f"tslt {tw.__version__} ({tw.backend})\n", "tslt --version")
    known = tslt("--help")
    for name in (*COMMANDS, "certs"):
        check(name in "".join(known.split()), f"tslt --help does not name {name}")
    for name in COMMANDS:
        check(tslt(name, "--help").startswith(f"usage: tslt {name} "), f"tslt {name} --help: {tslt(name, '--help')}")
    bye = tw.encode(tw.Bye(), tw.Profile(vocab_size=1)).hex()
    check(tslt("inspect", bye).startswith("BYE  5 bytes\n"), "tslt inspect of a BYE")
    needed = tslt("edge", "--model", ".")
    check("is not installed: pip install 'tslt-wire[" in needed, f"tslt edge without its packages: {needed}")


async def check_drivers() -> None:
    """The real drivers on an engine of the tests' own, with every kind of evidence."""
    from two_ends import tables, two_ends

    from tslt_runtime.drafting import DraftSettings

    for name in OUR_EVIDENCE:
        async with two_ends(*tables(V)) as device:
            await device.prompt([0])
            rounds = [found async for found in device.generate(40, DraftSettings(evidence=name))]
            check(sum(len(found.tokens) for found in rounds) == 40, f"{name}: too few tokens")


async def check_zmq() -> None:
    """The drivers again, over ZeroMQ."""
    from two_ends import tables, two_ends

    from tslt_runtime.drafting import DraftSettings

    listener = await tslt_transports.listen("zmq", "tcp://127.0.0.1:0")
    links = await asyncio.gather(tslt_transports.connect("zmq", listener.address), listener.accept())
    async with two_ends(*tables(V), links=links) as device:
        await device.prompt([0])
        rounds = [found async for found in device.generate(40, DraftSettings())]
    check(sum(len(found.tokens) for found in rounds) == 40, "too few tokens over ZeroMQ")
    await listener.close()


def check_zstd() -> None:
    """A long prompt is compressed, and comes back."""
    profile, prompt = tw.Profile(vocab_size=V, entropy="zstd"), tw.Prompt(tokens=(1, 2, 3) * 500)
    frame = tw.encode(prompt, profile)
    check(len(frame) < 100 and tw.decode(frame, profile) == prompt, "a prompt under zstd came back as another")


def check_llamacpp() -> None:
    """Where the default pair is (source distributions leave it out): both ends on llama.cpp write text together."""
    pair = TESTS.parent / "examples" / "pair"
    if not (pair / "target").exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        draft, target = Path(folder) / "draft.gguf", Path(folder) / "target.gguf"
        for model in (draft, target):
            tslt("convert", pair / model.stem, model)
        said = tslt("demo", "--target", target, "--model", draft, "--tokens", "20", "--threads", "1")
    check("\ndemo: tokens=20 " in said, f"tslt demo on llama.cpp: {said}")


def main() -> int:
    """Run all checks."""
    extras = {*sys.argv[1:]}
    sys.path.append(str(TESTS / "helpers"))
    check_files(extras)
    check_codec()
    check_command()
    asyncio.run(check_sessions())
    asyncio.run(check_drivers())
    if extras & {"zmq", "llamacpp"}:
        asyncio.run(check_zmq())
    if "zstd" in extras:
        check_zstd()
    if "llamacpp" in extras:
        check_llamacpp()
    print(tw.backend)
    return 0


if __name__ == "__main__":
    sys.exit(main())
