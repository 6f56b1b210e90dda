"""What users would pick and what papers propose: JSON, msgpack, protobuf, raw and bit-packed lists, dense, K-SQS.

Each writes and reads real bytes, except K-SQS, of which only a formula exists.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgpack
import numpy as np
import numpy.typing as npt
import zstandard

from tslt_benchmarks.bytes.format_base import Bitstream, Decoded, Format, Ids, softmax, top
from tslt_benchmarks.bytes.protobuf_messages import message_classes
from tslt_benchmarks.drafts import Logits
from tslt_wire.coding.bits import BitReader, BitWriter, id_bits


@dataclass(frozen=True, slots=True, eq=False)
class TokenList:
    """Ids and one real number each, in the float type that travels."""

    ids: Ids
    """int32 (K,), ascending."""
    values: npt.NDArray[Any]
    """Probabilities, or log-probabilities for a format with ``logprobs``; float16, float32 or float64 (K,)."""

    def __eq__(self, other: object) -> bool:
        """Equal ids, and equal values bit for bit."""
        if not isinstance(other, TokenList) or self.values.dtype != other.values.dtype:
            return False
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.values, other.values)

    __hash__ = None  # type: ignore[assignment]


class TokenListFormat(Bitstream[Logits, TokenList]):
    """Shared by all formats of the kind "ids and floats"."""

    dtype: ClassVar[Any] = np.float32
    logprobs: ClassVar[bool] = False

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def prepare(self, source: Logits, *, k: int, temperature: float) -> TokenList:
        """Top-k probabilities, renormalised; or log-probabilities in the whole vocabulary, as servers report them."""
        probs = softmax(source, temperature)
        ids = top(probs, k)
        kept = probs[ids]
        values = np.log(np.maximum(kept, 1e-300)) if self.logprobs else kept / kept.sum()
        return TokenList(ids, values.astype(self.dtype))

    def lists(self, item: TokenList) -> list[Decoded]:
        """Renormalise: what is sampled and verified sums to 1."""
        values = item.values.astype(np.float64)
        weights = np.exp(values - values.max()) if self.logprobs else values
        return [Decoded(item.ids, weights / weights.sum())]


def _descending(item: TokenList) -> Any:
    return np.argsort(-item.values, kind="stable")


def _ascending(ids: Any, values: Any, dtype: Any) -> TokenList:
    ids, values = np.asarray(ids, np.int32), np.asarray(values, dtype)
    order = np.argsort(ids, kind="stable")
    return TokenList(ids[order], values[order])


def _shortest(value: np.float32) -> float:
    """A float whose JSON text is the shortest that reads back as ``value``: 9 digits at most, not 17."""
    return float(str(value))


# ------------------------------------------------------------------------------------------------------------ JSON etc.


class OpenAiJson(TokenListFormat):
    """``top_logprobs`` of OpenAI-style servers: ``[{"token", "logprob", "bytes"}, ...]``, no spaces, UTF-8."""

    name, title, logprobs = "openai_json", "JSON, OpenAI top_logprobs", True

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        super().__init__(len(token_bytes))
        self._bytes = token_bytes
        self._ids = {text: token for token, text in enumerate(token_bytes)}

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        entries = []
        for i in _descending(item):
            text = self._bytes[item.ids[i]]
            token = text.decode("utf-8", "backslashreplace")
            entries.append({"token": token, "logprob": _shortest(item.values[i]), "bytes": list(text)})
        return json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()

    def decode(self, data: bytes) -> TokenList:
        """Tokens are found by their bytes: this format has no ids."""
        entries = json.loads(data)
        ids = [self._ids[bytes(entry["bytes"])] for entry in entries]
        return _ascending(ids, [entry["logprob"] for entry in entries], self.dtype)


class NestedJson(TokenListFormat):
    """``[[logprob, id, null], ...]``, no spaces: what an inference server returns for its top logprobs."""

    name, title, logprobs = "json", "JSON, [logprob, id, null]", True

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        entries = [[_shortest(item.values[i]), int(item.ids[i]), None] for i in _descending(item)]
        return json.dumps(entries, separators=(",", ":")).encode()

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode."""
        entries = json.loads(data)
        return _ascending([e[1] for e in entries], [e[0] for e in entries], self.dtype)


class Msgpack(TokenListFormat):
    """A map of two arrays, each with dtype, shape and raw bytes: int32 ids, float32 probabilities."""

    name, title = "msgpack", "msgpack, int32 + float32"

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        arrays = {"ids": item.ids.astype("<i4"), "probs": item.values.astype("<f4")}
        packed: bytes = msgpack.packb(
            {key: {"dtype": a.dtype.str, "shape": list(a.shape), "data": a.tobytes()} for key, a in arrays.items()}
        )
        return packed

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode."""
        ids, probs = (
            np.frombuffer(a["data"], a["dtype"]).reshape(a["shape"])
            for a in (msgpack.unpackb(data)[key] for key in ("ids", "probs"))
        )
        return TokenList(ids, probs)


class MsgpackZstd(Msgpack):
    """The same, compressed by zstd at level 3."""

    name, title = "msgpack_zstd", "msgpack + zstd-3"

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self._compressor, self._decompressor = zstandard.ZstdCompressor(level=3), zstandard.ZstdDecompressor()

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        return self._compressor.compress(super().encode(item))

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode."""
        return super().decode(self._decompressor.decompress(data))


class Protobuf(TokenListFormat):
    """``message List { repeated uint32 ids = 1; repeated float probs = 2; }`` in proto3, so both are packed."""

    name, title = "protobuf", "protobuf, varint + float32"

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        fields = [("ids", 1, "*uint32"), ("probs", 2, "*float")]
        self._message = message_classes("benchmark", {"List": fields})["List"]

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        data: bytes = self._message(ids=item.ids.tolist(), probs=item.values.tolist()).SerializeToString()
        return data

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode."""
        message = self._message.FromString(data)
        return TokenList(np.array(message.ids, np.int32), np.array(message.probs, np.float32))


class Raw(TokenListFormat):
    """int32 ids, then float16 probabilities; the length says how many."""

    name, title, dtype = "raw", "raw int32 + fp16", np.float16

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        return item.ids.astype("<i4").tobytes() + item.values.astype("<f2").tobytes()

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode."""
        k = len(data) // 6
        return TokenList(np.frombuffer(data, "<i4", k), np.frombuffer(data, "<f2", k, 4 * k))


class Paper(TokenListFormat):
    """The TSLT paper's list: K * (ceil(log2 V) + 16) bits, ids bit-packed and probabilities in float16."""

    name, title, dtype = "paper", "bit-packed ids + fp16 (paper)", np.float16

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        out = BitWriter()
        out.array(item.ids, id_bits(self.vocab_size))
        out.array(item.values.view(np.uint16), 16)
        return out.finish()

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode; padding is shorter than an entry, so the length says how many there are."""
        reader, width = BitReader(data), id_bits(self.vocab_size)
        k = 8 * len(data) // (width + 16)
        ids = reader.array(k, width).astype(np.int32)
        return TokenList(ids, reader.array(k, 16).astype(np.uint16).view(np.float16))


# ---------------------------------------------------------------------------------------------------------------- dense


class Dense(TokenListFormat):
    """All V probabilities in id order, raw: vanilla distributed speculative decoding.  ``k`` is ignored."""

    group = "dense"

    def __init__(self, vocab_size: int, name: str) -> None:
        super().__init__(vocab_size)
        self.name, self.title = f"dense_{name}", f"dense, {name}"
        self.dtype = {"fp16": np.float16, "fp32": np.float32, "msgpack": np.float64}[name]  # type: ignore[misc]

    def prepare(self, source: Logits, *, k: int, temperature: float) -> TokenList:
        """Every probability; float16 rounds those below 3e-8 to 0."""
        return super().prepare(source, k=self.vocab_size, temperature=temperature)

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        return item.values.astype(np.dtype(self.dtype).newbyteorder("<")).tobytes()

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode."""
        values = np.frombuffer(data, np.dtype(self.dtype).newbyteorder("<"))
        return TokenList(np.arange(len(values), dtype=np.int32), values)


class DenseMsgpack(Dense):
    """All V probabilities as a msgpack list of float64: what a Python service sends without thinking."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size, "msgpack")
        self.title = "dense, msgpack float64 list"

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        packed: bytes = msgpack.packb(item.values.tolist())
        return packed

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode."""
        values = np.array(msgpack.unpackb(data), np.float64)
        return TokenList(np.arange(len(values), dtype=np.int32), values)


# -------------------------------------------------------------------------------------------------------------- formula


def lattice_size(k: int) -> int:
    """Lattice points l per unit of probability: 100 up to K = 32 (arXiv 2510.09942), 4 an entry beyond: 256 at 64.

    The paper gives no l for long lists; 4 K keeps the l / K of the 64-entry row, so K = 320 gets 1,280.
    """
    return 100 if k <= 32 else 4 * k


@dataclass(frozen=True, slots=True)
class Lattice:
    """Ids and how many of ``l`` equal parts of the probability each has."""

    vocab_size: int
    ids: Ids
    parts: npt.NDArray[np.int64]


class PublishedBound(Format[Logits, Lattice]):
    """K-SQS: log2 C(V, K) + log2 C(l + K - 1, K - 1) bits; nobody has shipped a bitstream that reaches it."""

    name, title, group = "published_bound", "K-SQS formula (no bitstream)", "formula"

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def prepare(self, source: Logits, *, k: int, temperature: float) -> Lattice:
        """Round to the lattice: down, then what is missing to the largest remainders."""
        probs = softmax(source, temperature)
        ids = top(probs, k)
        exact = probs[ids] / probs[ids].sum() * lattice_size(k)
        parts = np.floor(exact).astype(np.int64)
        missing = lattice_size(k) - int(parts.sum())
        parts[np.argsort(parts - exact, kind="stable")[:missing]] += 1
        return Lattice(self.vocab_size, ids, parts)

    def lists(self, item: Lattice) -> list[Decoded]:
        """See Format.lists."""
        return [Decoded(item.ids, item.parts / item.parts.sum())]

    def size(self, item: Lattice) -> float:
        """The formula / 8."""
        k, total = len(item.ids), int(item.parts.sum())
        return (math.log2(math.comb(item.vocab_size, k)) + math.log2(math.comb(total + k - 1, k - 1))) / 8
