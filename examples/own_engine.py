"""A device and an edge on an engine of your own: here counts of word pairs, in the place of a model.

python -m examples.own_engine
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tslt_transports import LinkOptions, pair

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.protocol import EngineFacts, Node, Work
from tslt_runtime.engines.text_rules import grown
from tslt_runtime.seeds import device_rng, session_secret
from tslt_runtime.verifiers.local import LocalVerifier

TEXT = """the old man went down to the sea and the sea was quiet . the boat lay on the sand and the old man sat down in
the boat . the night came down on the sea and the old man was quiet in the boat . the sea came up to the sand"""
WORDS = sorted(set(TEXT.split()))
IDS = [WORDS.index(word) for word in TEXT.split()]


def pair_logits(smoothing: float) -> NDArray[np.float64]:
    """Logits after each word: the logarithm of how often each other one followed it."""
    counts = np.full((len(WORDS), len(WORDS)), smoothing)
    np.add.at(counts, (IDS[:-1], IDS[1:]), 1)
    return np.log(counts)


class Draft:
    """A text on the device (``tslt_runtime.engines.protocol.DraftText``)."""

    vocab_size, room = len(WORDS), 1 << 20

    def __init__(self, smoothing: float) -> None:
        self._logits, self._prefix, self._nodes = pair_logits(smoothing), [0], list[Node]()

    def set_prefix(self, tokens: Sequence[int]) -> None:
        """A model would read here what is new of ``tokens``."""
        self._prefix, self._nodes = list(tokens), []

    def expand(self, nodes: Sequence[Node]) -> NDArray[np.float64]:
        """A model would run the nodes here, each seeing its ancestors alone."""
        self._nodes = [*self._nodes, *nodes] if nodes else []
        return self._logits[[node.token for node in nodes] or [self._prefix[-1]]]

    def commit(self, path: Sequence[int], token: int) -> None:
        """A model would keep the cache of ``path`` here, and of what hangs off ``token`` if that was drafted."""
        self._prefix, self._nodes = grown(self._prefix, self._nodes, path, token)

    def close(self) -> None:
        """A model would free its cache here."""


class Cache:
    """A text at the edge (``TargetText``): nothing but its length, since pairs of words need no cache."""

    length = 0

    def truncate(self, length: int) -> None:
        """A model would forget what is behind ``length`` tokens."""
        self.length = length

    def commit(self, path: Sequence[int]) -> None:
        """A model would keep the cache of ``path``."""
        self.length += len(path)

    def share(self, other: Cache, length: int) -> None:
        """A model would copy the cache of ``other``, up to ``length`` tokens."""
        self.length = length

    def close(self) -> None:
        """A model would free its cache here."""


class Target:
    """The target (``TargetEngine``)."""

    facts = EngineFacts(model="word pairs", vocab_size=len(WORDS), context=4096)

    def __init__(self, smoothing: float) -> None:
        self._logits = pair_logits(smoothing)

    def open(self) -> Cache:
        """A new text."""
        return Cache()

    def score(self, work: Sequence[Work]) -> list[NDArray[np.float64] | None]:
        """Append each item's tokens; a row of logits after the last of them and after each node of its tree."""
        rows: list[NDArray[np.float64] | None] = []
        for item in work:
            item.text.length += len(item.tokens)
            rows.append(None if item.tree is None else self._logits[[item.tokens[-1], *item.tree.tokens]])
        return rows


async def run() -> None:
    """Write thirty words."""
    here, there = pair(LinkOptions())  # or tslt_transports.connect and listen
    verifier = LocalVerifier(Target(0.01))
    tokenizer = bytes(32)  # tslt_runtime.fingerprint makes it of a tokenizer
    edge = EdgeDriver(verifier, edge_settings(verifier.facts, tokenizer), secret=session_secret(None, 0))
    serving = asyncio.create_task(serve_link(there, edge))
    hello = tw.Hello(vocab_size=len(WORDS), tokenizer=tokenizer, evidence=("coupled", "list"))
    device = Device(here, Draft(0.05), hello, rng=device_rng(None))
    await device.open()
    await device.prompt([WORDS.index("the")])
    accepted = 0
    async for round_ in device.generate(30, DraftSettings(evidence="coupled", truncation=None)):
        accepted += len(round_.accepted)
    print(" ".join(WORDS[token] for token in device.session.prefix))
    print(f"{accepted} of 30 words were drafted")
    await device.close()
    await serving
    verifier.close()


if __name__ == "__main__":
    asyncio.run(run())
