"""A device of text and an edge in one process, for models in folders or files whose vocabularies fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from loop_harness import greedy_reference
from tslt_transports import LinkOptions, pair
from word_tokenizers import Recorder

import tslt_wire as tw
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.fingerprint import vocabulary_of
from tslt_runtime.loading import load_draft, load_target
from tslt_runtime.seeds import session_secret
from tslt_runtime.streaming import TextDevice

KINDS = {
    "list": DraftSettings(expansion=(1, 1, 1), truncation=tw.TopK(6)),
    "tree": DraftSettings(expansion=(2, 2), truncation=tw.TopK(6), replacement=False),
    "full": DraftSettings(expansion=(1, 1), truncation=None, precision="f32"),
    "scalar": DraftSettings(expansion=(1, 1, 1), truncation=None, evidence="scalar"),
    "lazy": DraftSettings(expansion=(1, 1, 1), truncation=tw.TopK(6), evidence="lazy"),
    "match": DraftSettings(expansion=(2, 1), evidence="match"),
    "coupled": DraftSettings(expansion=(2, 1), truncation=None, evidence="coupled"),
}


@asynccontextmanager
async def fitted(
    target: Any, draft: Any, *, seed: int = 5, **options: Any
) -> AsyncIterator[tuple[TextDevice, Recorder, Any]]:
    """A device of text for the draft in one folder or file, the recorder of its edge, and the target in another one.

    ``options``: of ``TextDevice.connect``.
    """
    engine, theirs = load_target(target)
    own, ours = load_draft(draft)
    verifier = Recorder(engine)
    offered = edge_settings(verifier.facts, vocabulary_of(theirs, vocab_size=engine.facts.vocab_size))
    mine, other = pair(LinkOptions())
    driver = EdgeDriver(verifier, offered, secret=session_secret(seed, 0))
    task = asyncio.create_task(serve_link(other, driver))
    try:
        async with TextDevice.connect(own, ours, link=mine, seed=seed, timeout_s=20, **options) as device:
            yield device, verifier, engine
    finally:
        await mine.close()
        await asyncio.wait_for(task, 20)
        verifier.close()


async def greedy_text(
    target: Any, draft: Any, prompt: str, settings: DraftSettings | None, *, tokens: int = 40, **options: Any
) -> tuple[list[int], list[int], list[int], Recorder, tw.DeviceSession]:
    """Tokens of the prompt, what came after them, what transformers' own loop gives, and the edge's recorder."""
    async with fitted(target, draft, sampling=tw.Sampling(temperature=0), settings=settings, **options) as (
        text,
        seen,
        engine,
    ):
        async for _ in text.stream(prompt, tokens=tokens):
            pass
        session = text.device.session
        start = session.prompt_length
        found, first = list(session.prefix[start:]), list(session.prefix[:start])
        return first, found, greedy_reference(engine._module, first, tokens), seen, session
