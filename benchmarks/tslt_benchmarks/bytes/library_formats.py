"""More containers that a user would pick for ids and numbers: orjson, CBOR, safetensors, Arrow IPC.

Each takes the arrays as its library likes them best, so that none is measured at a disadvantage.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import Any

import cbor2
import numpy as np
import orjson
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from tslt_benchmarks.bytes.other_formats import TokenList, TokenListFormat

HAS_ARROW = find_spec("pyarrow") is not None
"""Whether the row of Arrow IPC can be measured: its wheel of 50 MB is in no extra."""


class Orjson(TokenListFormat):
    """``{"ids": [...], "probs": [...]}`` by orjson, which writes numpy arrays with the shortest digits of a float32."""

    name, title = "orjson", "JSON columns, orjson"

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        return orjson.dumps({"ids": item.ids, "probs": item.values}, option=orjson.OPT_SERIALIZE_NUMPY)

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode."""
        found = orjson.loads(data)
        return TokenList(np.array(found["ids"], np.int32), np.array(found["probs"], np.float32))


class Cbor(TokenListFormat):
    """A map of two typed arrays (RFC 8746): unsigned 32-bit ids, float32 probabilities, both little-endian."""

    name, title = "cbor", "CBOR, typed arrays"
    _IDS, _FLOATS = 70, 85
    """Tags of RFC 8746: uint32 and binary32, little-endian."""

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        ids, probs = item.ids.astype("<u4").tobytes(), item.values.astype("<f4").tobytes()
        return cbor2.dumps({"ids": cbor2.CBORTag(self._IDS, ids), "probs": cbor2.CBORTag(self._FLOATS, probs)})

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode."""
        found = cbor2.loads(data)
        ids = np.frombuffer(found["ids"].value, "<u4").astype(np.int32)
        return TokenList(ids, np.frombuffer(found["probs"].value, "<f4"))


class Safetensors(TokenListFormat):
    """A file of two tensors: int32 ids, float32 probabilities."""

    name, title = "safetensors", "safetensors, int32 + float32"

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        data: bytes = save_tensors({"ids": item.ids, "probs": item.values})
        return data

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode."""
        found = load_tensors(data)
        return TokenList(found["ids"], found["probs"])


class ArrowIpc(TokenListFormat):
    """An Arrow IPC stream of one record batch: schema, batch, end; both ends know the columns, it says them again."""

    name, title = "arrow_ipc", "Arrow IPC stream, int32 + float32"

    def encode(self, item: TokenList) -> bytes:
        """See Bitstream.encode."""
        import pyarrow as pa

        batch: Any = pa.record_batch({"ids": pa.array(item.ids), "probs": pa.array(item.values)})
        out = io.BytesIO()
        with pa.ipc.new_stream(out, batch.schema) as writer:
            writer.write_batch(batch)
        return out.getvalue()

    def decode(self, data: bytes) -> TokenList:
        """See Bitstream.decode."""
        import pyarrow as pa

        table: Any = pa.ipc.open_stream(data).read_all()
        ids, probs = (table.column(name).combine_chunks().to_numpy(zero_copy_only=False) for name in ("ids", "probs"))
        return TokenList(ids.astype(np.int32), probs.astype(np.float32))


def library_formats(vocab_size: int) -> list[TokenListFormat]:
    """All of them, Arrow IPC only where pyarrow is there."""
    found = [Orjson(vocab_size), Cbor(vocab_size), Safetensors(vocab_size)]
    return [*found, ArrowIpc(vocab_size)] if HAS_ARROW else found
