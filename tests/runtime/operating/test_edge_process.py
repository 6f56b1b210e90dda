"""A real edge in operation: its pages while devices run, and its end by a signal."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from gguf_models import needs_llamacpp, tiny_pair
from processes import ENVIRONMENT, ROOT
from prometheus_client.parser import text_string_to_metric_families
from tslt_transports import connect

import tslt_wire as tw
from tslt_runtime.commands import convert as convert_command
from tslt_runtime.commands import keys as keys_command
from tslt_runtime.connection import EdgeError
from tslt_runtime.loading import load_draft
from tslt_runtime.streaming import TextDevice

pytestmark = needs_llamacpp


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder with target.gguf and draft.gguf."""
    folder = tmp_path_factory.mktemp("pair")
    tiny_pair(folder, context=2048)
    for name in ("target", "draft"):
        arguments = [str(folder / name), str(folder / f"{name}.gguf"), "--dtype", "float32"]
        assert convert_command.main(arguments) == 0
    return folder


@contextmanager
def edge(pair, *arguments):
    """A running edge; yields its process, where it listens, and where its pages are."""
    command = [sys.executable, "-m", "tslt_runtime.commands.edge", "--model", str(pair / "target.gguf")]
    command += ["--listen", "tcp://127.0.0.1:0", "--metrics", "127.0.0.1:0", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=ENVIRONMENT, cwd=ROOT, **pipes) as process:
        try:
            address = process.stdout.readline().split(" listens on ")[1].strip()
            pages = process.stdout.readline().split(" metrics at ")[1].strip().removesuffix("/metrics")
            yield process, address, pages
        finally:
            process.kill()


def page(where):
    try:
        with urllib.request.urlopen(where, timeout=10) as found:  # noqa: S310 - http
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(pages):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page(f"{pages}/metrics")[1])
        for sample in family.samples
    }


def test_pages_while_devices_run_and_an_end_in_good_order(pair):
    async def one_device(draft, tokenizer, address):
        async with TextDevice.connect(draft, tokenizer, edge=address, patience_s=0) as device:
            pieces = []

            async def write():
                while True:  # a text may end by itself
                    async for piece in device.stream("the heat", tokens=200):
                        pieces.append(piece)

            with pytest.raises(EdgeError, match="shutting down"):
                await write()
            return "".join(pieces)

    async def devices(process, address, pages):
        draft, tokenizer = load_draft(str(pair / "draft.gguf"))
        tasks = [asyncio.create_task(one_device(draft, tokenizer, address)) for _ in range(3)]
        while sum(value for name, value in rounds(await asyncio.to_thread(metrics, pages))) < 30:
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in tasks)
        found = await asyncio.to_thread(metrics, pages)
        process.send_signal(signal.SIGTERM)
        return await asyncio.gather(*tasks), found

    def rounds(found):
        return [(name, value) for name, value in found.items() if name[0] == "tslt_edge_rounds_total"]

    with edge(pair, "--log-format", "json", "--verbose") as (process, address, pages):
        assert page(f"{pages}/healthz") == (200, "alive\n")
        assert page(f"{pages}/readyz") == (200, "ready\n")
        assert page(f"{pages}/")[0] == 404
        texts, found = asyncio.run(asyncio.wait_for(devices(process, address, pages), 60))
        assert all(texts)
        assert process.wait(20) == 0
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert found["tslt_edge_devices",] == 3
    assert found["tslt_edge_sessions_total",] == 3
    assert found["tslt_edge_bytes_in_total", "hello"] > 0
    assert found["tslt_edge_cache_bytes",] > 0
    assert found["process_resident_memory_bytes",] > 0
    said = [line["message"] for line in lines if line["logger"] == "tslt.edge"]
    assert "draining: told to end by SIGTERM" in said
    assert said[-1] == "ended: every device was answered"


def test_a_draining_edge_is_not_ready_and_a_second_signal_ends_it_at_once(pair):
    async def silent(process, address, pages):
        link = await connect("zmq", address)
        while (await asyncio.to_thread(metrics, pages))["tslt_edge_devices",] < 1:
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        while (seen := await asyncio.to_thread(page, f"{pages}/readyz")) == (200, "ready\n"):
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(process.wait, 20)
        await link.close()
        return seen, status, time.monotonic() - started

    with edge(pair) as found:
        seen, status, took = asyncio.run(asyncio.wait_for(silent(*found), 30))
    assert seen == (503, "draining\n")
    assert status == -signal.SIGTERM
    assert took < 10


def test_a_text_goes_on_at_another_edge_when_its_own_drains(pair, tmp_path):
    async def text(draft, tokenizer, edges, process=None):
        greedy = tw.SamplingRequest(temperature=0.0, ignore_eos=True)
        pieces = []
        async with TextDevice.connect(draft, tokenizer, edge=edges, sampling=greedy) as device:
            async for piece in device.stream("the heat", tokens=150):
                pieces.append(piece)
                if process is not None and len(pieces) == 3:
                    process.send_signal(signal.SIGTERM)
            return "".join(pieces), device.device.reconnects

    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(32)))
    secret.chmod(0o600)
    draft, tokenizer = load_draft(str(pair / "draft.gguf"))
    options = ("--secret-file", str(secret))
    with edge(pair, *options) as (first, one, _), edge(pair, *options) as (_, two, _):
        plain, none = asyncio.run(asyncio.wait_for(text(draft, tokenizer, [two]), 60))
        moved, once = asyncio.run(asyncio.wait_for(text(draft, tokenizer, [one, two], first), 60))
        assert first.wait(20) == 0
    assert (none, once) == (0, 1)
    assert moved == plain


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_a_new_allow_list_while_the_model_is_loaded_ends_no_edge(pair, tmp_path):
    assert keys_command.main(["make", str(tmp_path / "edge.key"), "--name", "edge"]) == 0
    (tmp_path / "devices.txt").touch()
    command = [sys.executable, "-m", "tslt_runtime.commands.edge", "--model", str(pair / "target.gguf")]
    command += ["--listen", "tcp://127.0.0.1:0", "--key", str(tmp_path / "edge.key")]
    command += ["--allow", str(tmp_path / "devices.txt")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=ENVIRONMENT, cwd=ROOT, **pipes) as process:
        while not handles(process.pid, signal.SIGHUP) and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGHUP)
        said = process.stdout.readline()
        process.terminate()
        warned = process.communicate(timeout=30)[1]
    assert " listens on " in said
    assert "names no device: everybody is refused" in warned


def handles(pid, number):
    """Whether a process of Linux has a handler of its own for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (number - 1) & 1
