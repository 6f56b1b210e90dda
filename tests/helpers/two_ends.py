"""A device and an edge in one process, on tables of logits: the real drivers over the in-process link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from table_engine import TableDraft, TableTarget
from tslt_transports import InProcessListener, Link, LinkOptions, pair

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.draft_vocabulary import DraftVocabulary
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.seeds import device_rng, session_secret
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.protocol import Verifier
from tslt_wire.session.negotiation import OUR_EVIDENCE

FINGERPRINT = bytes(32)
CHAIN, TREE = (1, 1, 1), (2, 2)
KINDS = {
    "list": DraftSettings(expansion=CHAIN, truncation=tw.TopK(4)),
    "full": DraftSettings(expansion=CHAIN, truncation=None, precision="f32"),
    "list tree": DraftSettings(expansion=TREE, truncation=tw.TopK(4), replacement=False),
    "match": DraftSettings(expansion=TREE, evidence="match"),
    "coupled": DraftSettings(expansion=TREE, truncation=None, evidence="coupled"),
    "scalar": DraftSettings(expansion=CHAIN, truncation=None, evidence="scalar"),
    "lazy": DraftSettings(expansion=CHAIN, truncation=tw.TopK(4), evidence="lazy"),
}
"""How a device drafts, for each kind of evidence."""


def tables(vocab_size: int = 8, seed: int = 0, apart: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits of a target and of a draft that differs from it, float64 (V, V)."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(vocab_size, vocab_size)) * 1.5
    return target, target + rng.normal(size=target.shape) * apart


def hello(vocab_size: int, **changes: Any) -> tw.Hello:
    """What a device of these tests says."""
    given = {"evidence": OUR_EVIDENCE, "entropy": ("range", "none"), "priors": ("density", "none")}
    return tw.Hello(**{"vocab_size": vocab_size, "tokenizer": FINGERPRINT, **given, **changes})


@asynccontextmanager
async def one_edge(
    verifier: Verifier,
    offered: tw.EdgeSettings | None = None,
    *,
    listener: Any = None,
    seed: int | None = 4,
    **options: Any,
) -> AsyncIterator[Any]:
    """An edge for any number of devices: where they connect, in this process unless a listener is given.

    ``options``: of ``serve``; verifier and listener are closed behind it.
    """
    listener = listener or InProcessListener()
    offered = offered or edge_settings(verifier.facts, FINGERPRINT)
    task = asyncio.create_task(serve(listener, verifier, offered, seed=seed, **options))
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await listener.close()
        verifier.close()


@asynccontextmanager
async def two_ends(
    target: NDArray[np.float64],
    draft: NDArray[np.float64],
    *,
    verifier: Verifier | None = None,
    seed: int = 0,
    links: tuple[Link, Link] | None = None,
    offered: tw.EdgeSettings | None = None,
    vocabulary: DraftVocabulary | None = None,
    text: TableDraft | None = None,
    ahead: int = 0,
    window: int = 1,
    most_leaves: int | None = None,
    **changes: Any,
) -> AsyncIterator[Device]:
    """A device that has shaken hands with an edge; ``links``: its and the edge's; ``changes``: of its HELLO.

    ``offered``: by the edge; ``text``: the draft's, None is one of ``draft``; ``ahead``, ``window``, ``most_leaves``:
    of the device; ``vocabulary``: the draft's, if it has more than a fingerprint.
    """
    mine, theirs = links or pair(LinkOptions())
    answers = verifier or LocalVerifier(TableTarget(target))
    offered = offered or edge_settings(answers.facts, FINGERPRINT)
    driver = EdgeDriver(answers, offered, secret=session_secret(seed, 0))
    task = asyncio.create_task(serve_link(theirs, driver))
    if vocabulary:
        own = {name: getattr(vocabulary.facts, name) for name in ("vocab_size", "ordinary")}
        changes = {**own, "tokenizer": vocabulary.facts.fingerprint, **changes}
    said = hello(**{"vocab_size": len(draft), **changes})
    given: dict[str, Any] = {"rng": device_rng(seed), "reply_timeout_s": 20, "vocabulary": vocabulary}
    device = Device(mine, text or TableDraft(draft), said, ahead=ahead, window=window, most_leaves=most_leaves, **given)
    try:
        await device.open()
        yield device
    finally:
        await device.close()
        await asyncio.wait_for(task, 20)
        answers.close()
