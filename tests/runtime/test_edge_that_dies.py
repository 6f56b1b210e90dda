"""An edge that is killed in the middle of a text, and comes back: a process of its own, on tables of logits."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest
from table_engine import TableDraft, TableTarget
from tslt_transports import InProcessListener, LinkOptions, connect
from two_ends import FINGERPRINT, hello, tables

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.local import LocalVerifier

SETTINGS = DraftSettings(truncation=tw.TopK(4))
EDGE_SCRIPT = """
import asyncio, sys
from tslt_transports import listen
from test_edge_that_dies import served
async def main():
    listener = await listen("zmq", sys.argv[1])
    print(listener.address, flush=True)
    await served(listener)
asyncio.run(main())
"""


async def served(listener):
    """Serve, with a seed, until the listener is closed."""
    verifier = LocalVerifier(TableTarget(tables()[0]))
    await serve(listener, verifier, edge_settings(verifier.facts, FINGERPRINT), seed=4)


def start_edge(address="tcp://127.0.0.1:0"):
    path = os.pathsep.join([os.path.dirname(__file__), *(entry for entry in sys.path if entry)])
    command = [sys.executable, "-c", EDGE_SCRIPT, address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
    return process, process.stdout.readline().strip()


async def opened(link):
    device = Device(link, TableDraft(tables()[1]), hello(8), rng=device_rng(11), reply_timeout_s=20)
    await device.open()
    await device.prompt([0])
    return device


async def text_of(link):
    device = await opened(link)
    _ = [round_ async for round_ in device.generate(60, SETTINGS)]
    await device.close()
    return device.session.prefix


async def undisturbed():
    listener = InProcessListener()
    task = asyncio.create_task(served(listener))
    text = await text_of(await listener.connect())
    await listener.close()
    await task
    return text


def test_an_edge_that_dies_and_returns():
    options = LinkOptions(heartbeat_s=0.2, peer_timeout_s=1.0)
    process, address = start_edge()
    reference = asyncio.run(undisturbed())
    assert len(reference) == 61
    try:

        async def first():
            device = await opened(await connect("zmq", address, options=options))

            async def go_on():
                async for _ in device.generate(100_000, SETTINGS):
                    if len(device.session.prefix) > 20 and process.poll() is None:
                        process.kill()
                        process.wait()

            with pytest.raises(EdgeError, match="the text so far is good"):
                await go_on()
            return device.session.prefix

        text = asyncio.run(first())
        assert len(text) > 10
        assert text[:61] == reference[: len(text)]
        process, address = start_edge(address)
        assert asyncio.run(text_of_edge(address)) == reference
    finally:
        process.kill()
        process.wait()


async def text_of_edge(address):
    return await text_of(await connect("zmq", address))
