"""An edge over an unmodified vLLM server, which `make test-vllm` installs and this starts: greedy text, and the law.

The server runs the default pair's target; eight devices at a time, so that it batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from default_pair import pair_folder
from gguf_models import pair_gguf
from loop_harness import edge_on, generate, greedy_reference, open_device
from text_law import text_law, texts_of

import tslt_wire as tw
from tslt_runtime.device import DraftSettings
from tslt_runtime.engines.llamacpp.draft import LlamaDraft
from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.loading import load_described
from tslt_runtime.verifiers.servers.loading import load_vllm

VLLM = os.environ.get("TSLT_VLLM")
pytestmark = pytest.mark.skipif(not VLLM, reason="TSLT_VLLM does not name vLLM's program: make test-vllm")
DRAWS = int(os.environ.get("TSLT_LAW_DRAWS", "1000"))
DEVICES, LENGTH = 8, 40
PROMPT = [0, 523, 12, 99, 100]
STARTS_S = 900
PLAIN = tw.Sampling(temperature=0.7, top_p=0.9)
FEW = tw.Sampling(temperature=0.8, top_k=24, top_p=0.95)
WAYS = {
    "match": (PLAIN, DraftSettings(expansion=(2, 1), evidence="match", temperature=0.7)),
    "scalar": (PLAIN, DraftSettings(expansion=(1, 1, 1), evidence="scalar", truncation=None, temperature=0.7)),
    "list": (FEW, DraftSettings(expansion=(2, 1, 1), truncation=tw.TopK(16), temperature=0.8)),
    "coupled": (FEW, DraftSettings(expansion=(1, 1, 1), truncation=None, evidence="coupled", temperature=0.8)),
}


def served(mode: str, log: Path):
    """A server process, and its address; what it says is in the file ``log``."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{Path(VLLM).parent}{os.pathsep}{os.environ['PATH']}",
    }
    environment.pop("PYTHONPATH", None)
    command = [VLLM, "serve", str(pair_folder("target")), "--dtype", "float32", "--max-model-len", "512"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--logprobs-mode", mode, "--max-logprobs", "-1"]
    command += ["--enforce-eager", "--max-num-seqs", "64", "--no-enable-chunked-prefill"]
    command += ["--max-num-batched-tokens", "2048"]
    with log.open("w") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + STARTS_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{url}/v1/models", timeout=2).json()["data"]:
                return process, url
        except httpx.TransportError:
            time.sleep(1)
    end(process)
    raise ChildProcessError(f"vLLM did not start: {log.read_text()[-2000:]}")


def end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    log = tmp_path_factory.mktemp("vllm") / "log"
    process, url = served("processed_logprobs", log)
    yield url
    if process.poll() is not None or "Traceback" in log.read_text():
        print(log.read_text()[-8000:])
    end(process)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The target, as it is compared with, and a llama.cpp device's draft."""
    return TargetModel.load(pair_folder("target"), packed=False), LlamaDraft(
        pair_gguf("draft", tmp_path_factory.mktemp("gguf"))
    )


@pytest.mark.parametrize("evidence", WAYS)
def test_greedy_text_is_the_targets_own(evidence, url, pair, tmp_path):
    target, draft = pair
    verifier, _ = load_vllm(url, load_described)

    async def run():
        async with edge_on("inprocess", None, tmp_path, verifier=verifier) as dial:
            settings = WAYS[evidence][1]
            sampling = tw.Sampling(temperature=0.0)
            given = {"settings": settings, "evidence": (evidence,), "sampling": sampling}
            return await generate(await dial(), draft, PROMPT, 48, **given)

    tokens, _ = asyncio.run(run())
    assert tokens == greedy_reference(target._module, PROMPT, 48)


@pytest.mark.parametrize("evidence", WAYS)
def test_text_has_the_targets_distribution(evidence, url, pair, tmp_path):
    target, draft = pair
    verifier, _ = load_vllm(url, load_described)
    sampling, settings = WAYS[evidence]

    async def one(dial, seed):
        device = await open_device(
            await dial(),
            draft,
            seed=seed,
            sampling=sampling,
            evidence=(evidence,),
            timeout=120,
            nonce=bytes([seed] * 16),
        )
        return await texts_of(device, PROMPT, DRAWS // DEVICES, settings, length=LENGTH)

    async def run():
        async with edge_on("inprocess", None, tmp_path, verifier=verifier, seed=None) as dial:
            return await asyncio.gather(*(one(dial, seed) for seed in range(DEVICES)))

    found = asyncio.run(run())
    texts = [text for some, _ in found for text in some]
    p = text_law(texts, target, PROMPT, sampling)
    drawn, accepted = sum(map(len, texts)), sum(count for _, count in found)
    print(
        f"{evidence}: {drawn} tokens, {accepted / drawn:.2f} of them drafted, p = {p[0]:.3f}, first tokens {p[1]:.3f}"
    )
    assert min(p) > 1e-3
    assert accepted > drawn / 8


def test_a_server_that_tells_other_probabilities_is_refused(tmp_path):
    process, url = served("raw_logprobs", tmp_path / "log")
    try:
        with pytest.raises(EngineError, match="--logprobs-mode processed_logprobs"):
            load_vllm(url, load_described)
    finally:
        end(process)
