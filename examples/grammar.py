"""A text that follows a regular expression: the edge masks the target's rows, and the drafts are verified as ever.

python -m examples.grammar
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tslt_transports import LinkOptions, pair

import tslt_wire as tw
from examples.own_engine import WORDS, Draft, Target
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.seeds import device_rng, session_secret
from tslt_runtime.verifiers.local import LocalVerifier


class Expression(NamedTuple):
    """A regular expression: a letter, or parts that follow each other, are alternatives, or may repeat."""

    kind: str
    parts: tuple[Expression | str, ...] = ()


NOTHING, END = Expression("nothing"), Expression("end")  # matches no text; matches the empty one


def text(letters: str) -> Expression:
    """These letters, one after the other."""
    return then(*(Expression("letter", (letter,)) for letter in letters))


def then(*parts: Expression) -> Expression:
    """One after the other."""
    found = END
    for part in reversed(parts):
        if NOTHING in (part, found):
            return NOTHING
        found = part if found == END else found if part == END else Expression("then", (part, found))
    return found


def either(*parts: Expression) -> Expression:
    """One of several."""
    kept = tuple(dict.fromkeys(part for part in parts if part != NOTHING))
    return kept[0] if len(kept) == 1 else Expression("either", kept) if kept else NOTHING


def repeated(part: Expression) -> Expression:
    """Any number of times."""
    return Expression("repeated", (part,))


def may_end(one: Expression) -> bool:
    """Whether the empty text matches."""
    parts = [part for part in one.parts if isinstance(part, Expression)]
    return {"then": all, "either": any}.get(one.kind, lambda _: one.kind in ("end", "repeated"))(map(may_end, parts))


@cache
def after(one: Expression, letter: str) -> Expression:
    """What must match the rest of a text that starts with ``letter`` (Brzozowski's derivative)."""
    if one.kind == "letter":
        return END if one.parts == (letter,) else NOTHING
    parts = [part for part in one.parts if isinstance(part, Expression)]
    if one.kind == "either":
        return either(*(after(part, letter) for part in parts))
    if one.kind == "repeated":
        return then(after(parts[0], letter), one)
    if one.kind == "then":
        first = then(after(parts[0], letter), parts[1])
        return either(first, after(parts[1], letter)) if may_end(parts[0]) else first
    return NOTHING


WHO = either(text("the man"), text("the old man"), text("the sea"), text("the boat"))
DOES = either(text(" sat down"), text(" was quiet"), text(" lay on the sand"))
SENTENCES = repeated(then(WHO, DOES, either(END, then(text(" and "), WHO, DOES)), text(" . ")))


@cache
def left(output: tuple[int, ...]) -> Expression:
    """What must match what follows these words."""
    if not output:
        return SENTENCES
    found = left(output[:-1])
    for letter in WORDS[output[-1]] + " ":
        found = after(found, letter)
    return found


@cache
def words_after(state: Expression) -> NDArray[np.bool_]:
    """Which words may follow; a large vocabulary would be kept as a tree of its letters."""
    found = np.zeros(len(WORDS), np.bool_)
    for token, word in enumerate(WORDS):
        rest = state
        for letter in word + " ":
            rest = after(rest, letter)
        found[token] = rest != NOTHING
    return found


async def run() -> None:
    """Write forty words."""
    here, there = pair(LinkOptions())
    # Of every row of a draft that is looked at: the words of the output, those drafted before the row included.
    verifier = LocalVerifier(Target(0.01), allowed=lambda output: words_after(left(output)))
    tokenizer = bytes(32)
    edge = EdgeDriver(verifier, edge_settings(verifier.facts, tokenizer), secret=session_secret(None, 0))
    serving = asyncio.create_task(serve_link(there, edge))
    hello = tw.Hello(vocab_size=len(WORDS), tokenizer=tokenizer, sampling=tw.SamplingRequest(temperature=1.2))
    device = Device(here, Draft(0.05), hello, rng=device_rng(None))
    await device.open()
    await device.prompt([WORDS.index(".")])
    settings = DraftSettings(expansion=(2, 2), truncation=tw.TopK(8))
    rounds = [round_ async for round_ in device.generate(40, settings)]
    print(" ".join(WORDS[token] for round_ in rounds for token in round_.tokens))
    print(f"{sum(len(round_.accepted) for round_ in rounds)} words were drafted, in {len(rounds)} rounds")
    await device.close()
    await serving
    verifier.close()


if __name__ == "__main__":
    asyncio.run(run())
