"""A device and an edge in this process, the real drivers over a link of its own: what benchmarks write texts with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tslt_transports import Link, LinkOptions, pair

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.protocol import DraftText, TargetEngine
from tslt_runtime.fingerprint import Vocabulary
from tslt_runtime.seeds import device_rng, session_secret
from tslt_runtime.verifiers.local import LocalVerifier


@asynccontextmanager
async def two_ends(
    target: TargetEngine,
    offered: Vocabulary | bytes,
    text: DraftText,
    hello: tw.Hello,
    *,
    links: tuple[Link, Link] | None = None,
    seed: int,
    number: int,
    **options: Any,
) -> AsyncIterator[Device]:
    """A device that has shaken hands; both ends are closed behind it.

    ``offered``: the target's vocabulary, see ``edge_settings``.  ``links``: the device's end and the edge's, None: an
    in-process pair.  ``seed``, ``number``: of both ends' random numbers, those of the ``number``-th session.
    ``options``: more of ``Device``'s.
    """
    mine, theirs = links or pair(LinkOptions())
    verifier = LocalVerifier(target)
    driver = EdgeDriver(verifier, edge_settings(verifier.facts, offered), secret=session_secret(seed, number))
    serving = asyncio.create_task(serve_link(theirs, driver))
    device = Device(mine, text, hello, rng=device_rng(seed + number), **options)
    try:
        await device.open()
        yield device
    finally:
        await device.close()
        await serving
        verifier.close()
