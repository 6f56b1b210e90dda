"""The bytes that an encoding takes for a given acceptance: what can be compared, where bytes at equal K cannot.

An encoding with a K is measured at several; the bytes at which the mean acceptance reaches a part of what the whole
distribution would get are interpolated between two of them, linearly in the logarithm of the bytes.  Standard errors
are those of a bootstrap over texts: positions of one text resemble each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import tslt_wire as tw
from tslt_benchmarks.acceptance import evidence_acceptance
from tslt_benchmarks.bytes.format_base import Floats, Format, overlap
from tslt_benchmarks.bytes.formats import TsltDefault, TsltIdeal, TsltTail, list_formats
from tslt_benchmarks.drafts import Drafts
from tslt_benchmarks.encodings.lossless import proof_of
from tslt_wire.coding.bits import id_bits

KS = (1, 2, 4, 8, 16, 32, 64, 128, 320, 1000, 3200)
PARTS = (0.75, 0.85, 0.9, 0.95, 0.98)
"""Of the acceptance that whole distributions would get."""
RESAMPLES = 200
_CHAIN = 4
"""Tokens of the frames whose difference is what a token of ``scalar`` and the like costs."""


@dataclass(frozen=True, slots=True)
class Level:
    """What an encoding takes for one level of acceptance."""

    part: float
    """Of the whole distribution's acceptance."""
    alpha: float
    bytes: float | None
    """A drafted token, its id included; None: not reached with any K that was measured."""
    bytes_se: float | None
    """None where a resample did not reach it."""
    k: float | None
    """Interpolated as the bytes are; None for encodings without a K."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One encoding at one temperature."""

    format: str
    title: str
    group: str
    lossless: str
    """The test that shows it, or ``yes``, ``no`` or ``if the protocol is`` with the reason."""
    temperature: float
    ks: tuple[int, ...]
    """None: the encoding has no K."""
    bytes: tuple[float, ...]
    """A drafted token by K, its id included, mean over positions."""
    alpha: tuple[float, ...]
    alpha_se: tuple[float, ...]
    levels: tuple[Level, ...]
    positions: int


@dataclass(frozen=True, slots=True)
class Samples:
    """An encoding at every position and K."""

    ks: tuple[int, ...]
    bytes: Floats
    """(N, K), or (N, 1)."""
    alpha: Floats


def of_format(
    row: Format[Any, Any], logits: Sequence[Any], targets: Sequence[Floats], ks: Sequence[int], t: float
) -> Samples:
    """``row`` on the draft's ``logits`` at temperature ``t``, each with its target's distribution (V,).

    The drafted token's id is counted in ceil(log2 V) bits for all alike.
    """
    used = tuple(k for k in ks if k <= len(targets[0])) if row.group != "dense" else ()
    sizes, alphas = (np.zeros((len(logits), max(1, len(used)))) for _ in range(2))
    token = id_bits(len(targets[0])) / 8
    for i, (q, p) in enumerate(zip(logits, targets, strict=True)):
        for j, k in enumerate(used or (0,)):
            item = row.prepare(q, k=k, temperature=t)
            sizes[i, j] = row.size(item) + token
            (decoded,) = row.lists(item)
            alphas[i, j] = overlap(decoded, p)
    return Samples(used, sizes, alphas)


def token_bytes_of(evidence: str, vocab_size: int) -> float:
    """Bytes of one more token in a DRAFT frame with this evidence, id included; of those that send no lists."""
    profile = tw.Profile(vocab_size=vocab_size)

    def size(count: int) -> int:
        tree = tw.TokenTree.chain([vocab_size // 2] * count)
        codes = tuple(100 for _ in range(count))
        kinds: dict[str, Any] = {
            "match": tw.MatchEvidence,
            "coupled": tw.CoupledEvidence,
            "scalar": lambda: tw.ScalarEvidence(codes),
        }
        draft = tw.Draft(round=20, prefix_length=100, prefix_hash=0, tree=tree, evidence=kinds[evidence]())
        return len(tw.encode(draft, profile))

    return (size(9 * _CHAIN) - size(_CHAIN)) / (8 * _CHAIN)


def of_evidence(evidence: str, logits: Sequence[Any], targets: Sequence[Floats], t: float, seed: int) -> Samples:
    """Evidence without lists: what it accepts is exact, but for ``coupled``, a mean over races."""
    rng = np.random.default_rng(seed)
    drafting = tw.Sampling(temperature=t)
    rules: dict[str, Callable[[Floats, Floats], list[float]]] = {
        "match": evidence_acceptance.match,
        "scalar": evidence_acceptance.scalar,
        "coupled": lambda p, q: evidence_acceptance.coupled(p, q, rng, evidence_acceptance.RACES),
    }
    alphas = [[rules[evidence](p, tw.target_probs(q, drafting))[0]] for q, p in zip(logits, targets, strict=True)]
    sizes = np.full((len(logits), 1), token_bytes_of(evidence, len(targets[0])))
    return Samples((), sizes, np.array(alphas))


def bytes_for(sizes: Floats, alphas: Floats, ks: Sequence[int], wanted: float) -> tuple[float, float] | None:
    """(bytes, K) at which acceptance first reaches ``wanted``; None if it does not.  ``sizes``, ``alphas``: by K."""
    reached = np.flatnonzero(alphas >= wanted)
    if not len(reached):
        return None
    j = int(reached[0])
    known = ks or [1]
    if j == 0:
        return float(sizes[0]), float(known[0])
    part = (wanted - alphas[j - 1]) / (alphas[j] - alphas[j - 1])
    logs = np.log(np.stack([sizes, np.array(known, np.float64)]))
    size, k = np.exp(logs[:, j - 1] + part * (logs[:, j] - logs[:, j - 1])).tolist()
    return size, k


def level(samples: Samples, whole: Floats, part: float, resamples: Floats) -> Level:
    """What an encoding takes for ``part`` of the acceptance ``whole`` (N,) of whole distributions.

    ``resamples``: how much each position counts in each of them, (R, N), rows of sum 1.
    """

    def at(weights: Floats) -> list[tuple[float, float] | None]:
        means = weights @ samples.bytes, weights @ samples.alpha, part * (weights @ whole)
        return [bytes_for(size, alpha, samples.ks, wanted) for size, alpha, wanted in zip(*means, strict=True)]

    (found,) = at(np.full((1, len(whole)), 1 / len(whole)))
    again = at(resamples)
    spread = [each[0] for each in again if each is not None]
    return Level(
        part=part,
        alpha=part * float(whole.mean()),
        bytes=found[0] if found else None,
        bytes_se=float(np.std(spread, ddof=1)) if found and len(spread) == len(again) > 1 else None,
        k=found[1] if found and samples.ks else None,
    )


def resampled(text: npt.NDArray[Any], count: int, seed: int) -> Floats:
    """As many texts as there are, drawn with replacement, ``count`` times: the part of each position, (count, N).

    ``text``: which one each position is in.
    """
    names, member = np.unique(text, return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
    weights = drawn[:, member].astype(np.float64)
    parts: Floats = weights / weights.sum(axis=1, keepdims=True)
    return parts


def text_error(values: Floats, text: npt.NDArray[Any]) -> float:
    """Standard error of the mean of ``values`` (N,), positions of a text taken together."""
    deviations = np.array([(values[text == one] - values.mean()).sum() for one in np.unique(text)])
    return float(np.sqrt((deviations**2).sum()) / len(values))


def measure_equal(
    drafts: Drafts, *, temperatures: Sequence[float], ks: Sequence[int], seed: int, say: Callable[[str], None]
) -> list[Curve]:
    """Every encoding at every temperature, draft and target alike."""
    size = drafts.vocab_size
    rows: list[Format[Any, Any]] = [row for row in list_formats(drafts.token_bytes) if not isinstance(row, TsltIdeal)]
    rows += [TsltTail(size, tw.Precision.LOG2_1), TsltDefault(size)]
    logits, text = list(drafts.positions.draft), drafts.positions.prompt
    resamples = resampled(text, RESAMPLES, seed)
    curves = []
    for t in temperatures:
        sampling = tw.Sampling(temperature=t)
        targets = [tw.target_probs(row, sampling) for row in drafts.positions.target]
        drawn = [tw.target_probs(row, sampling) for row in logits]
        whole = np.array([np.minimum(p, q).sum() for p, q in zip(targets, drawn, strict=True)])
        found: list[tuple[str, str, str, Samples]] = []
        for row in rows:
            say(f"T = {t:g}, {row.title}")
            found.append((row.name, row.title, row.group, of_format(row, logits, targets, ks, t)))
        for kind in ("match", "coupled", "scalar"):
            say(f"T = {t:g}, {kind}")
            found.append((kind, f"tslt evidence {kind}", "evidence", of_evidence(kind, logits, targets, t, seed)))
        for name, title, group, samples in found:
            curves.append(
                Curve(
                    format=name,
                    title=title,
                    group=group,
                    lossless=proof_of(name),
                    temperature=t,
                    ks=samples.ks,
                    bytes=tuple(samples.bytes.mean(axis=0).tolist()),
                    alpha=tuple(samples.alpha.mean(axis=0).tolist()),
                    alpha_se=tuple(text_error(column, text) for column in samples.alpha.T),
                    levels=tuple(level(samples, whole, part, resamples) for part in PARTS),
                    positions=len(logits),
                )
            )
    return curves
