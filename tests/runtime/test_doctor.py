"""`tslt doctor`: what stands between a device and an edge, with real edges, keys and links."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout

import pytest
from byte_tokenizer import byte_level, save_byte_level_pair
from loop_harness import FINGERPRINT, open_device
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast
from tslt_transports import AllowList, EdgeKeys, SecretKey, listen
from tslt_transports.emulated import Network, emulated_pair

from tslt_runtime.checkup import Checkup, closing, measure
from tslt_runtime.commands import doctor
from tslt_runtime.edge import edge_settings, serve, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.fingerprint import tokenizer_fingerprint
from tslt_runtime.seeds import session_secret
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.protocol import VerifierFacts


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return save_byte_level_pair(tmp_path_factory.mktemp("pair"))


@asynccontextmanager
async def edge(pair, *, fingerprint=None, **options):
    verifier = LocalVerifier(TargetModel.load(pair / "target"))
    listener = await listen("zmq", "tcp://127.0.0.1:0", **options)
    settings = edge_settings(verifier.facts, fingerprint or tokenizer_fingerprint(byte_level()))
    task = asyncio.create_task(serve(listener, verifier, settings, seed=0))
    try:
        yield listener.address
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await listener.close()
        verifier.close()


def examined(pair, *arguments, model=None, **options):
    """What the command says of an edge that runs beside it; ``arguments``: with ``{edge}`` for its address."""
    out, err = io.StringIO(), io.StringIO()

    async def run():
        async with edge(pair, **options) as address:
            words = ["--model", str(model or pair / "draft"), "--timeout", "20"]
            words += [str(word).format(edge=address) for word in arguments]
            return await asyncio.to_thread(doctor.main, words)

    with redirect_stdout(out), redirect_stderr(err):
        status = asyncio.run(run())
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def marks(done):
    return [(line[:4].strip(), line[5:].split()[0]) for line in done.stdout.splitlines() if line[:4].strip()]


def test_all_is_well(pair):
    done = examined(pair, "--edge", "{edge}", "--tokens", 20)
    assert done.returncode == 0, done.stdout
    names = ["edge", "keys", "handshake", "target", "vocabulary", "draft", "link", "rounds", "auto"]
    assert marks(done) == [("ok", name) for name in names]
    assert "none: anybody may talk to this edge" in done.stdout
    assert "version 1 of the protocol" in done.stdout
    assert "evidence list, match, coupled, scalar, lazy" in done.stdout
    assert len(done.stdout.splitlines()) < 24


def test_as_json(pair):
    done = examined(pair, "--edge", "{edge}", "--tokens", 20, "--json")
    found = json.loads(done.stdout)
    assert found["good"] is True
    assert [one["name"] for one in found["findings"]][-1] == "auto"
    assert (found["version"], found["fit"]) == (1, "same")
    assert 0 < found["round_trip_s"] < 5
    assert found["rounds"]["tokens"] == 20
    assert found["rounds"]["uplink_bytes_per_token"] > 0
    assert found["auto"]["tokens_per_s"] > 0
    assert found["uplink"]["bytes"] > 1000


def test_nobody_there(pair):
    done = examined(pair, "--edge", "tcp://127.0.0.1:9", "--timeout", 0.5)
    assert done.returncode == 1
    assert marks(done) == [("FAIL", "edge")]
    assert "nobody answered" in done.stdout


def test_no_model_and_who_is_there_all_the_same(pair):
    done = examined(pair, "--edge", "{edge}", model="/no/where")
    assert done.returncode == 1
    assert marks(done) == [("FAIL", "draft"), ("ok", "edge"), ("ok", "keys")]
    assert "there is no folder /no/where" in done.stdout


def test_another_vocabulary(pair):
    done = examined(pair, "--edge", "{edge}", fingerprint=bytes(32))
    assert done.returncode == 1
    assert marks(done)[-1] == ("FAIL", "handshake")
    assert "fingerprint" in done.stdout


def test_another_tokenizer_with_the_targets_beside_it(pair, tmp_path):
    data = json.loads(byte_level().to_str())
    ids = data["model"]["vocab"]
    data["model"]["vocab"] = {token: len(ids) - 1 - number for token, number in ids.items()}
    DraftModel.load(pair / "draft", packed=False)._module.save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(data))).save_pretrained(tmp_path)
    words = ("--edge", "{edge}", "--tokens", 8, "--target-tokenizer", pair / "target")
    done = examined(pair, *words, model=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "two tokenizers: " in done.stdout
    assert json.loads(examined(pair, *words, "--json", model=tmp_path).stdout)["fit"] == "other tokenizer"
    assert examined(pair, *words[:4], model=tmp_path).returncode == 1


def test_settings_that_the_edge_refuses(pair):
    done = examined(pair, "--edge", "{edge}", "--suppress", *range(298))
    assert done.returncode == 1
    assert "suppress every token" in done.stdout


def test_keys(pair, tmp_path):
    keys = {}
    for name in ("edge", "device", "stranger"):
        keys[name] = SecretKey.make(name)
        keys[name].write(tmp_path / f"{name}.key")
    (tmp_path / "allowed").write_text(f"{keys['device'].public.line}\n")
    public = keys["edge"].public.line
    allowed = {"keys": EdgeKeys(own=keys["edge"], allowed=AllowList(tmp_path / "allowed"))}
    words = ("--edge", "{edge}", "--edge-key", public, "--tokens", 8)
    good = examined(pair, *words, "--key", tmp_path / "device.key", **allowed)
    assert good.returncode == 0, good.stdout
    assert "by its key" in good.stdout
    for refused in (("--key", tmp_path / "stranger.key", *words), ("--edge", "{edge}")):
        done = examined(pair, *refused, "--timeout", 1.5, **allowed)
        assert (done.returncode, marks(done)) == (1, [("FAIL", "edge")]), done.stdout


def test_wrong_arguments_are_said_at_once(capsys):
    with pytest.raises(SystemExit) as stopped:
        doctor.parse(["--model", "x", "--edge-key", "y"])
    assert stopped.value.code == 2
    assert "give --key" in capsys.readouterr().err


@pytest.mark.parametrize(("bit_s", "rtt_s"), [(400e3, 0.05), (1e9, 0.02)])
def test_what_is_measured_is_what_the_link_does(pair, bit_s, rtt_s):
    target, draft = TargetModel.load(pair / "target"), DraftModel.load(pair / "draft")
    found = Checkup()

    async def run():
        network = Network(uplink_bit_s=bit_s, downlink_bit_s=1e9, rtt_s=rtt_s)
        ours, theirs = emulated_pair(network)
        verifier = LocalVerifier(target)
        settings = edge_settings(VerifierFacts(engine=target.facts), FINGERPRINT)
        driver = EdgeDriver(verifier, settings, secret=session_secret(0, 0))
        work = asyncio.create_task(serve_link(theirs, driver))
        async with closing(await open_device(ours, draft)) as device:
            await measure(found, device, [1, 2, 3], 40)
        await asyncio.gather(work, return_exceptions=True)
        verifier.close()

    asyncio.run(run())
    assert found.good
    assert rtt_s * 0.95 < found.figures["round_trip_s"] < rtt_s * 1.5 + 0.03
    if bit_s < 1e6:
        assert 0.7 * bit_s < found.figures["uplink"]["bit_s"] < 1.1 * bit_s
    else:  # too fast to be told apart from the machine's own time, which may look like a link that is very fast
        assert (found.figures["uplink"]["bit_s"] or 1e9) > 1e7
