"""Whether texts have their target's distribution, whatever made them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from chi_square import chi_square_p

import tslt_wire as tw
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.protocol import Work

BINS = 40


async def texts_of(
    device: Any, prompt: Sequence[int], draws: int, settings: DraftSettings, *, length: int
) -> tuple[list[tuple[int, ...]], int]:
    """Texts of ``length`` tokens at most, ``draws`` tokens in all, and how many of these were drafted."""
    texts: list[tuple[int, ...]] = []
    accepted, left = 0, draws
    while left > 0:
        await device.prompt(prompt)
        accepted += sum([len(r.accepted) async for r in device.generate(min(left, length), settings)])
        texts.append(device.session.prefix[len(prompt) :])
        left -= len(texts[-1])
    await device.close()
    return texts, accepted


def text_law(
    texts: Sequence[Sequence[int]], target: Any, prompt: Sequence[int], sampling: tw.Sampling
) -> tuple[float, float]:
    """Upper tail probabilities of two chi-square tests: of all tokens' places, and of the first tokens.

    A token's place is a random one in its own share of the distribution after the tokens before it, most probable
    first: over all draws these are uniform, exactly, whatever the texts are.  First tokens come from one distribution,
    where an error would not average out.  ``target``: a TargetEngine with the model's rows.
    """
    rng = np.random.default_rng(5)
    places = []
    for text in texts:
        for row, token in zip(_rows(target, prompt, text[:-1]), text, strict=True):
            p = tw.target_probs(row, sampling)
            places.append(p[p > p[token]].sum() + p[token] * rng.random())
    first = tw.target_probs(_rows(target, prompt, ())[0], sampling)
    return (
        chi_square_p(np.histogram(places, BINS, (0, 1))[0], np.full(BINS, 1 / BINS)),
        chi_square_p(np.bincount([text[0] for text in texts], minlength=len(first)), first),
    )


def transition_law(table: Any, text: Sequence[int], sampling: tw.Sampling | None = None) -> float:
    """Worst probability that the transitions of ``text`` are those of ``table``, logits (V, V) by the token before.

    A chi-square test for each token that comes often, and Bonferroni's correction for V of them.
    """
    counts = np.zeros(table.shape)
    np.add.at(counts, (text[:-1], text[1:]), 1)
    rows = tw.target_probs(table, sampling or tw.Sampling())
    tests = [chi_square_p(seen, row) for seen, row in zip(counts, rows, strict=True) if seen.sum() > 100]
    return min(tests) * len(table)


def _rows(target: Any, prompt: Sequence[int], text: Sequence[int]) -> Any:
    """The target's logits after the prompt and after each token of ``text``, from one pass without a session."""
    scored = target.open()
    (rows,) = target.score([Work(scored, tuple(prompt), tw.TokenTree.chain(text))])
    scored.close()
    return rows
