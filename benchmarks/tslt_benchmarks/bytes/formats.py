"""The registry of formats that carry draft distributions, and ours among them.

A format takes a draft's logits (``prepare``: temperature, truncation, its own quantisation), makes bytes of them
(``encode``), reads those again (``decode``) and says what a receiver would verify against (``lists``).  The others are
in ``other_formats``, ``library_formats`` and ``quantised_formats``, what a format is in ``format_base``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tslt_wire as tw
from tslt_benchmarks.bytes.format_base import Bitstream, Decoded, Format, FormatError
from tslt_benchmarks.bytes.library_formats import library_formats
from tslt_benchmarks.bytes.other_formats import (
    Dense,
    DenseMsgpack,
    Msgpack,
    MsgpackZstd,
    NestedJson,
    OpenAiJson,
    Paper,
    Protobuf,
    PublishedBound,
    Raw,
)
from tslt_benchmarks.bytes.quantised_formats import DenseInt8, DistillKit, QuantizedWhole
from tslt_benchmarks.drafts import EXPANSION, Drafts, Logits, Round
from tslt_wire.coding.plain_bits import Plain, PlainWriter
from tslt_wire.coding.range_coder import Coder
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.range_coded import ListModel

ROUND = 20
"""Round number of every frame: a session of a few seconds, one byte."""


class TsltList(Bitstream[Logits, tw.SparseDistribution]):
    """``tw.encode_list``: one list without a frame."""

    def __init__(self, vocab_size: int, precision: tw.Precision, entropy: str = "none") -> None:
        self.profile = tw.Profile(vocab_size=vocab_size, precision=precision, entropy=entropy)
        self.precision = precision
        suffix = "" if entropy == "none" else f"_{entropy}"
        self.name = f"tslt_{precision.name.lower()}{suffix}"
        self.title = f"tslt {precision.value}" + (f", {entropy}" if suffix else "")

    def prepare(self, source: Logits, *, k: int, temperature: float) -> tw.SparseDistribution:
        """See Format.prepare."""
        return tw.sparsify(source, temperature=temperature, truncation=tw.TopK(k), precision=self.precision)

    def lists(self, item: tw.SparseDistribution) -> list[Decoded]:
        """See Format.lists."""
        return [Decoded(item.ids, item.probs)]

    def encode(self, item: tw.SparseDistribution) -> bytes:
        """See Bitstream.encode."""
        return tw.encode_list(item, self.profile)

    def decode(self, data: bytes) -> tw.SparseDistribution:
        """See Bitstream.decode."""
        return tw.decode_list(data, self.profile)


class TsltTail(TsltList):
    """A list with a tail: part of what it leaves out goes to all other tokens by the id density."""

    def __init__(self, vocab_size: int, precision: tw.Precision) -> None:
        super().__init__(vocab_size, precision, "range")
        prior = plain_prior(tw.DEFAULTS.prior, vocab_size)
        self.profile = tw.Profile(vocab_size=vocab_size, precision=precision, entropy="range", prior=prior)
        self.name, self.title = f"{self.name}_tail", f"{self.title}, tail"

    def prepare(self, source: Logits, *, k: int, temperature: float) -> tw.SparseDistribution:
        """See Format.prepare; tails as a session starts with them."""
        return tw.sparsify(
            source,
            temperature=temperature,
            truncation=tw.TopK(k),
            precision=self.precision,
            prior=self.profile.prior,
            tail_scale=tw.TailScale().scale,
        )

    def lists(self, item: tw.SparseDistribution) -> list[Decoded]:
        """Every token, tail included."""
        return [Decoded(np.arange(self.profile.vocab_size, dtype=np.int32), item.dense())]


class TsltDefault(TsltTail):
    """The default profile's rule: the tokens of at least so much probability, and a draft a little colder.

    Its threshold is ``LEAST`` / K, so that it has a row in tables by K: the default's own is that of K = 16.
    """

    LEAST = 0.24

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size, tw.Precision(tw.DEFAULTS.precision))
        self.name, self.title = "tslt_default", "tslt, default profile's rule"

    def prepare(self, source: Logits, *, k: int, temperature: float) -> tw.SparseDistribution:
        """See Format.prepare."""
        return tw.sparsify(
            source,
            temperature=temperature * tw.DEFAULTS.draft_temperature,
            truncation=tw.MinProb(self.LEAST / k),
            precision=self.precision,
            prior=self.profile.prior,
            tail_scale=tw.TailScale().scale,
        )


class TsltDense(TsltList):
    """``tw.encode_list`` of the whole distribution; ``k`` is ignored."""

    group = "dense"

    def __init__(self, vocab_size: int, precision: tw.Precision, entropy: str = "none") -> None:
        super().__init__(vocab_size, precision, entropy)
        self.name, self.title = f"dense_{self.name}", f"dense, {self.title}"

    def prepare(self, source: Logits, *, k: int, temperature: float) -> tw.SparseDistribution:
        """Every token whose weight is not 0."""
        return tw.sparsify(source, temperature=temperature, precision=self.precision)


class Meter(Coder):
    """Adds up what the symbols of a model cost an ideal coder."""

    reads = False

    def __init__(self) -> None:
        self.bits = 0.0
        self._plain = PlainWriter()

    def uniform(self, value: int, total: int) -> int:
        """See Coder.uniform."""
        self.bits += math.log2(total)
        return value

    def chance(self, value: int, ones: int, total: int) -> int:
        """See Coder.chance."""
        self.bits += math.log2(total / (ones if value else total - ones))
        return value

    def choose(self, value: int, weights: Sequence[int], total: int) -> int:
        """See Coder.choose."""
        self.bits += math.log2(total / weights[value])
        return value

    def promise(self, least: int) -> None:
        """See Coder.promise: costs nothing by itself."""

    def leave(self) -> Plain:
        """See Coder.leave; the ends of bytes cost nothing here."""
        self._plain = PlainWriter()
        return self._plain

    def resume(self) -> None:
        """See Coder.resume."""
        self.bits += self._plain.size

    def locate(self, value: int, starts: Sequence[int]) -> int:
        """See Coder.locate."""
        self.bits += math.log2(starts[-1] / (starts[value + 1] - starts[value]))
        return value

    def pick(self, value: int, total: int, part: Callable[[int], tuple[int, int]], find: Callable[[int], int]) -> int:
        """See Coder.pick."""
        self.bits += math.log2(total / part(value)[1])
        return value


class TsltIdeal(Format[Logits, tw.SparseDistribution]):
    """What an ideal coder would need with the model of ``entropy="range"``: the distance to it is the coder's."""

    group = "formula"

    def __init__(self, vocab_size: int, precision: tw.Precision) -> None:
        self.profile, self.precision = tw.Profile(vocab_size=vocab_size, entropy="range"), precision
        self.name = f"ideal_{precision.name.lower()}"
        self.title = f"tslt {precision.value}, ideal coder"

    def prepare(self, source: Logits, *, k: int, temperature: float) -> tw.SparseDistribution:
        """See Format.prepare."""
        return tw.sparsify(source, temperature=temperature, truncation=tw.TopK(k), precision=self.precision)

    def lists(self, item: tw.SparseDistribution) -> list[Decoded]:
        """See Format.lists."""
        return [Decoded(item.ids, item.probs)]

    def size(self, item: tw.SparseDistribution) -> float:
        """The code length / 8."""
        meter = Meter()
        ListModel(meter, self.profile, self.precision).code(item, len(item))
        return meter.bits / 8


class TsltFrame(Bitstream[Round, tw.Draft]):
    """``tw.encode`` of a whole draft: kind byte, round, prefix, tree, tokens, lists and checksum."""

    group = "frame"

    def __init__(self, vocab_size: int, precision: tw.Precision, shape: str, entropy: str = "none") -> None:
        self.profile = tw.Profile(vocab_size=vocab_size, precision=precision, entropy=entropy)
        self.precision = precision
        self.shape = shape
        """``chain``: 4 tokens and 4 lists; ``tree``: 14 tokens and 7 lists."""
        suffix = "" if entropy == "none" else f"_{entropy}"
        self.name = f"{shape}_{precision.name.lower()}{suffix}"
        kind = "chain of 4" if shape == "chain" else f"tree <{','.join(map(str, EXPANSION))}>"
        self.title = f"frame, {kind}, {precision.value}" + (f", {entropy}" if suffix else "")

    def rounds(self, drafts: Drafts) -> list[Round]:
        """Rounds of this format's shape."""
        return drafts.chains() if self.shape == "chain" else drafts.trees()

    def prepare(self, source: Round, *, k: int, temperature: float) -> tw.Draft:
        """Make the round's lists.

        A drafted token that its list does not hold (one so improbable at a low temperature that its weight is 0) is
        replaced by the list's most probable one.
        """
        tree = source.tree
        lists = {
            parent: tw.sparsify(row, temperature=temperature, truncation=tw.TopK(k), precision=self.precision)
            for parent, row in zip(tree.inner, source.draft, strict=True)
        }
        best = {parent: int(q.ids[q.weights.argmax()]) for parent, q in lists.items()}
        tokens = [
            token if lists[parent].rank(token) >= 0 else best[parent]
            for token, parent in zip(tree.tokens, tree.parents, strict=True)
        ]
        return tw.Draft(
            round=ROUND,
            prefix_length=len(source.prefix),
            prefix_hash=tw.prefix_hash(source.prefix) & 0xFFFF,
            tree=tw.TokenTree(tokens, tree.parents),
            evidence=tw.ListEvidence(lists, replacement=True),
        )

    def lists(self, item: tw.Draft) -> list[Decoded]:
        """See Format.lists: in the order of ``tree.inner``."""
        return [Decoded(q.ids, q.probs) for q in item.lists.values()]

    def tokens(self, item: tw.Draft) -> int:
        """Nodes of the tree."""
        return len(item.tree)

    def encode(self, item: tw.Draft) -> bytes:
        """See Bitstream.encode."""
        return tw.encode(item, self.profile)

    def decode(self, data: bytes) -> tw.Draft:
        """See Bitstream.decode."""
        message = tw.decode(data, self.profile)
        if not isinstance(message, tw.Draft):
            raise FormatError(f"{self.name}: a draft was read back as {type(message).__name__}")
        return message


# ------------------------------------------------------------------------------------------------------------- registry

LIST_PRECISIONS = (
    tw.Precision.F16,
    tw.Precision.BF16,
    tw.Precision.LOG2_0,
    tw.Precision.LOG2_1,
    tw.Precision.LOG2_2,
    tw.Precision.LOG2_3,
    tw.Precision.LOG2_4,
)
RANGE_PRECISIONS = (tw.Precision.LOG2_0, tw.Precision.LOG2_1, tw.Precision.LOG2_2)
ZSTD_PRECISIONS = (tw.Precision.F16, tw.Precision.BF16)
DENSE_PRECISIONS = (tw.Precision.F16, tw.Precision.BF16, tw.Precision.LOG2_2)
QS_PARTS = (240, 720)
"""Lattices of arXiv 2507.00605."""
FRAME_PRECISIONS = (tw.Precision.F16, tw.Precision.LOG2_0, tw.Precision.LOG2_2)


def list_formats(token_bytes: Sequence[bytes]) -> list[Format[Logits, Any]]:
    """Every format of a single list, for a vocabulary of ``token_bytes`` (distinct, one for each id)."""
    size = len(token_bytes)
    return [
        OpenAiJson(token_bytes),
        NestedJson(size),
        *library_formats(size),
        Msgpack(size),
        MsgpackZstd(size),
        Protobuf(size),
        Raw(size),
        Paper(size),
        DistillKit(size),
        PublishedBound(size),
        *(QuantizedWhole(size, parts) for parts in QS_PARTS),
        DenseInt8(size),
        Dense(size, "fp16"),
        Dense(size, "fp32"),
        DenseMsgpack(size),
        *(TsltDense(size, precision, entropy) for entropy in ("none", "zstd") for precision in DENSE_PRECISIONS),
        *(TsltList(size, precision) for precision in LIST_PRECISIONS),
        *(TsltList(size, precision, "zstd") for precision in ZSTD_PRECISIONS),
        *(TsltList(size, precision, "range") for precision in RANGE_PRECISIONS),
        *(TsltIdeal(size, precision) for precision in RANGE_PRECISIONS),
    ]


def frame_formats(vocab_size: int) -> list[TsltFrame]:
    """Every format of a whole draft frame."""
    return [
        TsltFrame(vocab_size, precision, shape, entropy)
        for shape in ("chain", "tree")
        for entropy, precisions in (("none", FRAME_PRECISIONS), ("range", RANGE_PRECISIONS))
        for precision in precisions
    ]


def formats(token_bytes: Sequence[bytes]) -> list[Format[Any, Any]]:
    """Return the registry, in table order."""
    return [*list_formats(token_bytes), *frame_formats(len(token_bytes))]
