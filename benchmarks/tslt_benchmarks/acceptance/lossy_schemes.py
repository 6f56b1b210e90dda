"""Lossy schemes of other papers: how far their output is from the target's, exactly, and the bytes they take.

Each scheme is written down as what happens to one drafted token: the distribution it is drawn from, the probability
that the edge keeps it, and what the edge subtracts to make the residual.  That fixes the law of the text's next token,
and its total variation from the target's is the bias: not estimated, computed.  ``LosslessList`` is our list in the
same form; its bias is 0 to rounding.  None of this is in the library.

    python -m tslt_benchmarks.acceptance.lossy_schemes --json lossy.json
"""

from __future__ import annotations

import argparse
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.bytes.format_base import softmax, top
from tslt_benchmarks.bytes.other_formats import Paper, TokenList
from tslt_benchmarks.drafts import Logits, Positions, Settings, add_options, drafts_for
from tslt_wire.coding.bits import id_bits

SCHEMA_VERSION = 1
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one drafted token; all float64 (V,)."""

    drawn: Floats
    """Probability that the device drafts each token."""
    kept: Floats
    """Probability that a drafted token stays."""
    claimed: Floats
    """What the edge takes for the draft's distribution: after a rejection it draws from max(0, p - claimed)."""
    size: float
    """Bytes a drafted token costs in the mean, framing left out for all schemes alike."""


def output_law(p: Floats, step: Step) -> Floats:
    """Distribution of the next token of the text, (V,), if the target's is ``p``."""
    accepted = step.drawn * step.kept
    residual = np.maximum(p - step.claimed, 0.0)
    total = float(residual.sum())
    again = residual / total if total > 0 else p
    law: Floats = accepted + (1 - accepted.sum()) * again
    return law


def total_variation(one: Floats, other: Floats) -> float:
    """Half the sum of the absolute differences, 0 to 1."""
    return float(np.abs(one - other).sum() / 2)


def accept(p: Floats, claimed: Floats) -> Floats:
    """min(1, p / claimed); 1 where nothing is claimed, as code that divides and clips has it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(claimed > 0, p / claimed, 1.0)
    return np.minimum(ratio, 1.0)


class Scheme(ABC):
    """One way to draft, send and check a token."""

    name: str
    title: str
    source: str
    """Where it is from."""

    @abstractmethod
    def step(self, q_logits: Logits, p: Floats, temperature: float) -> Step:
        """What happens after logits (V,) of the draft where the target's distribution is ``p`` (V,)."""


class LosslessList(Scheme):
    """Evidence ``list``: truncate, quantise, then sample; checked against exactly that."""

    source = "this project"

    def __init__(self, vocab_size: int, k: int) -> None:
        self.name, self.title, self._k = f"list_{k}", f"tslt list, K = {k}", k
        self._profile = tw.Profile(vocab_size=vocab_size, precision="log2/1", entropy="range")

    def step(self, q_logits: Logits, p: Floats, temperature: float) -> Step:
        """See Scheme.step."""
        q = tw.sparsify(q_logits, temperature=temperature, truncation=tw.TopK(self._k), precision="log2/1")
        data = tw.encode_list(q, self._profile)
        dense = tw.decode_list(data, self._profile).dense()
        return Step(dense, accept(p, dense), dense, len(data) + id_bits(q.vocab_size) / 8)


class _RawTopK(Paper):
    """The K largest probabilities as they are in the whole vocabulary: their sum is below 1."""

    def prepare(self, source: Logits, *, k: int, temperature: float) -> TokenList:
        """See Format.prepare."""
        probs = softmax(source, temperature)
        ids = top(probs, k)
        return TokenList(ids, probs[ids].astype(np.float16))


class LossyRawTopK(Scheme):
    """TK-SLT: raw top-K probabilities, not renormalised, so the device's draws and the edge's q differ.

    The paper leaves open what the device draws from.  ``drawn="list"``: from the list, so with q / rho where the edge
    divides by q.  ``drawn="all"``: from the whole vocabulary; what is not listed has no q, and passes.
    """

    source = "Zheng and Yang, arXiv 2509.04576"

    def __init__(self, vocab_size: int, k: int, drawn: str) -> None:
        self.name, self.title = f"tk_slt_{k}_{drawn}", f"TK-SLT, K = {k}, drawn from {drawn} (lossy)"
        self._k, self._drawn, self._format = k, drawn, _RawTopK(vocab_size)

    def step(self, q_logits: Logits, p: Floats, temperature: float) -> Step:
        """See Scheme.step."""
        q = softmax(q_logits, temperature)
        data = self._format.encode(self._format.prepare(q_logits, k=self._k, temperature=temperature))
        got = self._format.decode(data)
        claimed = np.zeros(len(q))
        claimed[got.ids] = got.values
        drawn = q
        if self._drawn == "list":
            drawn = np.zeros(len(q))
            drawn[got.ids] = q[got.ids] / q[got.ids].sum()
        return Step(drawn, accept(p, claimed), claimed, len(data) + id_bits(len(q)) / 8)


def uncertainty(q_logits: Logits, temperature: float, tries: int = 20) -> Floats:
    """U-HLM's uncertainty of each token as the draft: the part of draws at perturbed temperatures that differ from it.

    Exact in place of sampled: the mean over ``tries`` temperatures spread over (0, 2] times the draft's own; (V,).
    """
    temperatures = temperature * 2 * (np.arange(tries) + 1) / tries
    agree = np.mean([softmax(q_logits, float(t)) for t in temperatures], axis=0)
    return np.asarray(1 - agree)


class LossyTruncatedAfterSampling(Scheme):
    """CU-HLM: sampled from the whole vocabulary, then truncated for the way and renormalised.

    Drafts below the uncertainty threshold are not checked at all, as in U-HLM.  A drafted token that is not in its own
    list has q = 0 there and is refused.
    """

    source = "Oh et al., arXiv 2505.11788"

    def __init__(self, vocab_size: int, k: int, threshold: float) -> None:
        self.name, self.title = f"cu_hlm_{k}", f"CU-HLM, K = {k} (lossy)"
        self._k, self._threshold, self._format = k, threshold, Paper(vocab_size)

    def step(self, q_logits: Logits, p: Floats, temperature: float) -> Step:
        """See Scheme.step."""
        q = softmax(q_logits, temperature)
        data = self._format.encode(self._format.prepare(q_logits, k=self._k, temperature=temperature))
        (got,) = self._format.lists(self._format.decode(data))
        claimed = np.zeros(len(q))
        claimed[got.ids] = got.probs
        unchecked = uncertainty(q_logits, temperature) <= self._threshold
        kept = np.where(unchecked, 1.0, np.where(claimed > 0, accept(p, claimed), 0.0))
        sent = float(q[~unchecked].sum())
        return Step(q, kept, claimed, sent * len(data) + id_bits(len(q)) / 8)


class LossySkipping(Scheme):
    """U-HLM: drafts that the device is sure of are not checked; else the whole distribution goes up, in float16."""

    source = "Oh et al., arXiv 2412.12687"

    def __init__(self, threshold: float) -> None:
        self.name, self.title = f"u_hlm_{threshold:g}", f"U-HLM, threshold {threshold:g} (lossy)"
        self._threshold = threshold

    def step(self, q_logits: Logits, p: Floats, temperature: float) -> Step:
        """See Scheme.step.  What is checked is checked against the exact distribution: skipping is all its bias."""
        q = softmax(q_logits, temperature)
        unchecked = uncertainty(q_logits, temperature) <= self._threshold
        sent = float(q[~unchecked].sum())
        return Step(q, np.where(unchecked, 1.0, accept(p, q)), q, sent * 2 * len(q) + id_bits(len(q)) / 8)


def schemes(vocab_size: int) -> list[Scheme]:
    """Ours first; sizes and thresholds as their papers use them."""
    found: list[Scheme] = [LosslessList(vocab_size, k) for k in (32, 64)]
    found += [LossyRawTopK(vocab_size, k, drawn) for k in (32, 64) for drawn in ("list", "all")]
    found += [LossyTruncatedAfterSampling(vocab_size, k, 0.8) for k in (32, 64)]
    return [*found, *(LossySkipping(threshold) for threshold in (0.5, 0.8))]


@dataclass(frozen=True, slots=True)
class Row:
    """One scheme at one temperature, mean over positions."""

    scheme: str
    title: str
    temperature: float
    bias: float
    """Total variation between the law of its output and the target, mean."""
    worst: float
    """The same, at the worst position."""
    kept: float
    """Probability that a drafted token stays, checked or not."""
    bytes: float
    """Bytes a drafted token."""


def measure(positions: Positions, temperature: float, found: Sequence[Scheme]) -> list[Row]:
    """All schemes at all positions; the draft has the target's temperature."""
    rows = []
    target = [tw.target_probs(logits, tw.Sampling(temperature=temperature)) for logits in positions.target]
    for scheme in found:
        steps = [scheme.step(q, p, temperature) for q, p in zip(positions.draft, target, strict=True)]
        biases = [total_variation(output_law(p, step), p) for p, step in zip(target, steps, strict=True)]
        kept = [float((step.drawn * step.kept).sum()) for step in steps]
        rows.append(
            Row(
                scheme=scheme.name,
                title=scheme.title,
                temperature=temperature,
                bias=float(np.mean(biases)),
                worst=max(biases),
                kept=float(np.mean(kept)),
                bytes=float(np.mean([step.size for step in steps])),
            )
        )
    return rows


def table(rows: Sequence[Row]) -> Table:
    """One row a scheme and temperature."""
    out = Table(title="output law against the target's, a token", title_justify="left")
    for name in ("T", "scheme", "bias (TV)", "worst", "kept", "bytes"):
        out.add_column(name, justify="left" if name == "scheme" else "right")
    for row in rows:
        bias, worst = (f"{v:.1e}" if v < 1e-6 else f"{v:.4f}" for v in (row.bias, row.worst))
        out.add_row(f"{row.temperature:g}", row.title, bias, worst, f"{row.kept:.3f}", f"{row.bytes:,.1f}")
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--temperature", type=float, nargs="+", default=[1.0, 0.7])
    parser.add_argument("--positions", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    console = Console(width=110)
    settings = Settings(lists=args.positions, rounds=1, seed=args.seed)
    drafts = drafts_for(args.drafts, args.target, args.draft, settings, console=console)
    found = schemes(drafts.vocab_size)
    rows = [row for temperature in args.temperature for row in measure(drafts.positions, temperature, found)]
    console.print(table(rows))
    lossy = [row for row in rows if not row.scheme.startswith("list_")]
    ours = max(row.worst for row in rows if row.scheme.startswith("list_"))
    console.print(f"lossy: ours_worst={ours:.1e} least_bias={min(r.bias for r in lossy):.4f}")
    if args.json is not None:
        document = {
            "benchmark": "lossy_baselines",
            "schema": SCHEMA_VERSION,
            "settings": {"positions": len(drafts.positions.draft), "seed": args.seed},
            "sources": {scheme.name: scheme.source for scheme in found},
            "rows": [asdict(row) for row in rows],
        }
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
