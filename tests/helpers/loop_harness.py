"""Helpers of the loop tests: an edge and devices in one process, joined by a real transport."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from tiny_llama import soften, tiny_draft, tiny_llama
from tslt_transports import ClientTls, InProcessListener, ServerTls, connect, listen
from tslt_transports.devcert import make_dev_certificates

import tslt_wire as tw
from tslt_runtime.device import Device, DraftSettings
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.seeds import device_rng

FINGERPRINT = bytes(range(32))


def tiny_pair(vocab_size=64, **kwargs):
    """A random target and a draft that agrees with it about half the time."""
    target = soften(tiny_llama(vocab_size=vocab_size, layers=3, seed=3, **kwargs), layers=1, scale=0.5)
    return (
        TargetModel(target, model_id="tiny-target"),
        DraftModel(tiny_draft(target, layers=1), model_id="tiny-draft"),
    )


@asynccontextmanager
async def edge_on(kind, target, tmp_path, *, seed=0, settings=None):
    """Serve ``target`` over transport ``kind``; yields an async function that opens a device's link."""
    if kind == "inprocess":
        listener = InProcessListener()
        dial = listener.connect
    else:
        client = server = None
        if kind == "quic":
            files = make_dev_certificates(tmp_path / "certs")
            client = ClientTls(ca_file=files.ca_file)
            server = ServerTls(cert_file=files.cert_file, key_file=files.key_file)
        listener = await listen(kind, "127.0.0.1:0", tls=server)

        async def dial():
            return await connect(kind, listener.address, tls=client)

    task = asyncio.create_task(serve(listener, target, settings or edge_settings(target, FINGERPRINT), seed=seed))
    try:
        yield dial
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await listener.close()


async def open_device(link, draft, *, seed=0, sampling=None, text=None, timeout=20.0, tables=(), **hello):
    """A device that has shaken hands."""
    settings = {"vocab_size": draft.vocab_size, "tokenizer": FINGERPRINT, "model": draft.model_id, **hello}
    device = Device(
        link,
        text or draft.session(),
        tw.Hello(**settings, sampling=sampling or tw.Sampling()),
        rng=device_rng(seed),
        reply_timeout_s=timeout,
        tables=tables,
    )
    await device.open()
    return device


async def generate(link, draft, prompt, max_tokens, *, settings=None, **kwargs):
    """One whole session; returns (generated tokens, rounds)."""
    device = await open_device(link, draft, **kwargs)
    await device.prompt(prompt)
    rounds = [r async for r in device.generate(max_tokens, settings or DraftSettings(truncation=tw.TopK(16)))]
    await device.close()
    return list(device.session.prefix[len(prompt) :]), rounds


def greedy_reference(model, prompt, tokens):
    """What the target itself generates; transformers' own loop."""
    import torch

    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens, pad_token_id=0
    )
    return out[0, len(prompt) :].tolist()
