"""Helpers of the loop tests: an edge and devices in one process, joined by a real transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tiny_llama import soften, tiny_draft, tiny_llama
from tslt_transports import ClientTls, InProcessListener, Link, Listener, ServerTls, connect, listen
from tslt_transports.devcert import make_dev_certificates
from two_ends import one_edge

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.protocol import Verifier, VerifierFacts
from tslt_wire.verification.proposals import PROPOSALS

FINGERPRINT = bytes(range(32))


def tiny_pair(vocab_size: int = 64, **kwargs: Any) -> tuple[TargetModel, DraftModel]:
    """A random target and a draft that agrees with it about half the time."""
    target = soften(tiny_llama(vocab_size=vocab_size, layers=3, seed=3, **kwargs), layers=1, scale=0.5)
    return (
        TargetModel(target, model_id="tiny-target"),
        DraftModel(tiny_draft(target, layers=1), model_id="tiny-draft"),
    )


def offers(target: Any, tables: Sequence[tw.Prior] = ()) -> tw.EdgeSettings:
    """What an edge with this target offers."""
    return edge_settings(VerifierFacts(engine=target.facts), FINGERPRINT, tables)


@asynccontextmanager
async def edge_on(
    kind: Any,
    target: Any,
    tmp_path: Path,
    *,
    seed: int | None = 0,
    settings: tw.EdgeSettings | None = None,
    proposals: int = PROPOSALS,
    limits: EdgeLimits | None = None,
    verifier: Verifier | None = None,
) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Serve ``target`` over transport ``kind``; yields an async function that opens a device's link.

    ``verifier``: in its place.
    """
    listener: Listener
    if kind == "inprocess":
        local = listener = InProcessListener()

        async def dial() -> Link:
            return await local.connect()
    else:
        client = server = None
        if kind == "quic":
            files = make_dev_certificates(tmp_path / "certs")
            client = ClientTls(ca_file=files.ca_file)
            server = ServerTls(cert_file=files.cert_file, key_file=files.key_file)
        listener = await listen(kind, "127.0.0.1:0", tls=server)

        async def dial() -> Link:
            return await connect(kind, listener.address, tls=client)

    limits = limits or EdgeLimits()
    verifier = verifier or LocalVerifier(target, proposals=proposals, limits=limits)
    offered = settings or edge_settings(verifier.facts, FINGERPRINT)
    async with one_edge(verifier, offered, listener=listener, seed=seed, limits=limits):
        yield dial


async def open_device(
    link: Any,
    draft: Any,
    *,
    seed: int | None = 0,
    sampling: tw.Sampling | None = None,
    text: Any = None,
    timeout: float = 20.0,
    tables: Sequence[tw.Prior] = (),
    most_leaves: int | None = None,
    **hello: Any,
) -> Device:
    """A device that has shaken hands."""
    settings = {"vocab_size": draft.vocab_size, "tokenizer": FINGERPRINT, "model": draft.model_id, **hello}
    device = Device(
        link,
        text or draft.open(),
        tw.Hello(**settings, sampling=sampling or tw.Sampling()),
        rng=device_rng(seed),
        reply_timeout_s=timeout,
        tables=tables,
        most_leaves=most_leaves,
    )
    await device.open()
    return device


async def generate(
    link: Any,
    draft: Any,
    prompt: Sequence[int],
    max_tokens: int,
    *,
    settings: DraftSettings | None = None,
    **kwargs: Any,
) -> tuple[list[int], list[Any]]:
    """One whole session; returns (generated tokens, rounds)."""
    device = await open_device(link, draft, **kwargs)
    await device.prompt(prompt)
    rounds = [r async for r in device.generate(max_tokens, settings or DraftSettings(truncation=tw.TopK(16)))]
    await device.close()
    return list(device.session.prefix[len(prompt) :]), rounds


def greedy_reference(model: Any, prompt: Sequence[int], tokens: int) -> list[int]:
    """What the target itself generates; transformers' own loop."""
    import torch

    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens, pad_token_id=0
    )
    text: list[int] = out[0, len(prompt) :].tolist()
    return text
