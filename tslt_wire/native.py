"""The native backend: the kernel of tslt_wire/_native behind the functions that the reference has.

The same bytes, and the same error codes, as ``list_codec``, ``codec`` and ``distribution``.  What no kernel should do
(handshakes, prompts, arguments that are no numbers) goes to the reference.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from tslt_wire import _kernel
from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames import codec
from tslt_wire.frames.extensions import write_extensions
from tslt_wire.frames.kinds import Kind
from tslt_wire.limits import DEFAULT_FRAME_BYTES, DecodeLimits
from tslt_wire.lists import distribution, list_codec
from tslt_wire.lists.distribution import LEAST_TAIL, TAIL_SCALE, SparseDistribution
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.prior import Prior
from tslt_wire.lists.profile import ENTROPY_IDS, Profile
from tslt_wire.lists.truncation import Both, MinProb, TopK, TopP, Truncation
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import ListEvidence
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.message import Message
from tslt_wire.messages.token_tree import TokenTree

_ENTROPIES = ("none", "range")
"""What the kernel does; zstd is the reference's."""
_PRECISIONS = tuple(Precision)
_PRECISION_IDS: dict[str, int] = {precision: precision.wire_id for precision in Precision}
"""By name too: a Precision is a string."""
_WORDS = {
    ErrorCode.TRUNCATED: "the bytes end before their content does",
    ErrorCode.TRAILING_BYTES: "bytes follow the content",
    ErrorCode.BAD_CHECKSUM: "the frame was damaged on its way",
    ErrorCode.UNKNOWN_KIND: "the frame kind is not known",
    ErrorCode.RESERVED_BITS: "reserved and padding bits must be 0",
    ErrorCode.NON_CANONICAL: "no encoder writes these bytes: what they mean has another encoding",
    ErrorCode.LIMIT_EXCEEDED: "more than the limits allow",
    ErrorCode.OUT_OF_RANGE: "a value its field does not allow",
    ErrorCode.BAD_TREE: "the parents are no tree, or siblings that must differ are equal",
    ErrorCode.BAD_LIST: "the list is no distribution",
    ErrorCode.UNKNOWN_CRITICAL_EXTENSION: "an extension must be understood and is not",
}

_kernel.configure(
    SparseDistribution, np.frombuffer, np.dtype(np.int32), np.dtype(np.uint32), np.dtype(np.int64), _PRECISIONS
)


_MOST = 1 << 62
"""Limits above this are the same to the kernel: nothing is so large."""


def _limits(limits: DecodeLimits) -> tuple[int, int, int, int, int]:
    """Bytes, nodes, depth, entries, extensions."""
    return (
        min(limits.max_frame_bytes, _MOST),
        min(limits.max_nodes, _MOST),
        min(limits.max_depth, _MOST),
        min(limits.max_entries, _MOST),
        min(limits.max_extensions, _MOST),
    )


_DEFAULT_LIMITS = _limits(DecodeLimits())


_TABLES: WeakKeyDictionary[Prior, _kernel.PriorTables] = WeakKeyDictionary()


def _tables(prior: Prior | None) -> _kernel.PriorTables | None:
    """The running sums of a prior as the kernel takes them, made once for each prior."""
    if prior is None:
        return None
    found = _TABLES.get(prior)
    if found is None:
        found = _TABLES[prior] = _kernel.PriorTables(prior._tail_starts, prior._starts)
    return found


def _refused(code: int) -> Exception:
    if code == _kernel.NO_MEMORY:
        return MemoryError()
    if code < 0:
        return ValueError("the kernel cannot encode this")
    return DecodeError(ErrorCode(code), _WORDS[ErrorCode(code)])


def encode_list(q: SparseDistribution, profile: Profile) -> bytes:
    """See ``list_codec.encode_list``."""
    profile.check(q)
    if q.precision is not profile.precision or profile.entropy not in _ENTROPIES:
        return list_codec.encode_list(q, profile)
    data = _kernel.encode_list(
        q, q.vocab_size, _PRECISION_IDS[q.precision], ENTROPY_IDS[profile.entropy], _tables(profile.prior)
    )
    if isinstance(data, int):
        raise _refused(data)
    return data


def decode_list(
    data: bytes | bytearray | memoryview, profile: Profile, *, limits: DecodeLimits | None = None
) -> SparseDistribution:
    """See ``list_codec.decode_list``."""
    if profile.entropy not in _ENTROPIES:
        return list_codec.decode_list(data, profile, limits=limits)
    bounds = _DEFAULT_LIMITS if limits is None else _limits(limits)
    q = _kernel.decode_list(
        data,
        profile.vocab_size,
        _PRECISION_IDS[profile.precision],
        ENTROPY_IDS[profile.entropy],
        _tables(profile.prior),
        profile.prior,
        bounds[0],
        bounds[3],
    )
    if isinstance(q, int):
        raise _refused(q)
    return q


def uniforms(key: bytes, epoch: int, position: int, ids: Any) -> npt.NDArray[np.float64]:
    """See ``philox.uniforms``."""
    return np.frombuffer(_kernel.uniforms(key, epoch, position, np.ascontiguousarray(ids, dtype=np.int32)))


# ------------------------------------------------------------------------------------------------------------- sparsify

_EVERY = 0  # a top_k that is off
_Rule = tuple[int, float, float]


def _rule_of(truncation: Truncation) -> _Rule | None:
    """How many, which probability together, which alone: what the kernel knows; None for another kind of rule."""
    if type(truncation) is TopK:
        return min(truncation.k, 0xFFFFFFFF), 1.0, 0.0
    if type(truncation) is TopP:
        return _EVERY, float(truncation.p), 0.0
    if type(truncation) is MinProb:
        return _EVERY, 1.0, float(truncation.tau)
    if type(truncation) is Both:
        first, second = _rule_of(truncation.first), _rule_of(truncation.second)
        if first is None or second is None:
            return None
        counts = [rule[0] for rule in (first, second) if rule[0] != _EVERY]
        return min(counts, default=_EVERY), min(first[1], second[1]), max(first[2], second[2])
    return None


def _sparsify(
    logits: Any,
    dimensions: int,
    temperature: float,
    truncation: Truncation | None,
    precision: Precision | str,
    prior: Prior | None,
    tail_scale: float,
) -> Any:
    """What the kernel makes of logits; None for arguments that are the reference's to take or to refuse."""
    rule = (_EVERY, 1.0, 0.0) if truncation is None else _rule_of(truncation)
    if rule is None:
        return None
    if type(logits) is not np.ndarray and not hasattr(logits, "__dlpack__"):
        logits = np.asarray(logits)
    if prior is not None and prior.vocab_size != logits.shape[-1]:
        return None
    try:
        made = _kernel.sparsify(
            logits,
            dimensions,
            float(temperature),
            truncation is not None,
            *rule,
            _PRECISION_IDS[precision],
            prior,
            float(tail_scale),
            LEAST_TAIL,
        )
    except (TypeError, KeyError):  # no array of the CPU, or not in one piece; or no such precision
        return None
    if isinstance(made, int):
        if made == _kernel.NO_MEMORY:
            raise MemoryError
        return None
    return made


def sparsify(
    logits: Any,
    *,
    temperature: float = 1.0,
    truncation: Truncation | None = None,
    precision: Precision | str = Precision.LOG2_2,
    prior: Prior | None = None,
    tail_scale: float = TAIL_SCALE,
) -> SparseDistribution:
    """See ``distribution.sparsify``; arrays of numpy, and of others by DLPack, are read where they are."""
    made = _sparsify(logits, 1, temperature, truncation, precision, prior, tail_scale)
    if made is None:
        return distribution.sparsify(
            logits,
            temperature=temperature,
            truncation=truncation,
            precision=precision,
            prior=prior,
            tail_scale=tail_scale,
        )
    return made  # type: ignore[no-any-return]


def sparsify_batch(
    logits: Any,
    *,
    temperature: float = 1.0,
    truncation: Truncation | None = None,
    precision: Precision | str = Precision.LOG2_2,
    prior: Prior | None = None,
    tail_scale: float = TAIL_SCALE,
) -> list[SparseDistribution]:
    """See ``distribution.sparsify_batch``."""
    made = _sparsify(logits, 2, temperature, truncation, precision, prior, tail_scale)
    if made is None:
        return distribution.sparsify_batch(
            logits,
            temperature=temperature,
            truncation=truncation,
            precision=precision,
            prior=prior,
            tail_scale=tail_scale,
        )
    return made  # type: ignore[no-any-return]


# -------------------------------------------------------------------------------------------------------------- frames


def encode(message: Message, profile: Profile, *, max_frame_bytes: int = DEFAULT_FRAME_BYTES) -> bytes:
    """See ``codec.encode``."""
    evidence = message.evidence if type(message) is Draft else None
    if type(message) is not Draft or not isinstance(evidence, ListEvidence) or profile.entropy not in _ENTROPIES:
        return codec.encode(message, profile, max_frame_bytes=max_frame_bytes)
    lists, vocab_size, prior = evidence.lists, profile.vocab_size, profile.prior
    for q in lists.values():
        if q.vocab_size != vocab_size or (q.prior is not None and q.prior is not prior):
            profile.check(q)
    precision = message.precision
    data = _kernel.encode_draft(
        message.round,
        message.prefix_length,
        message.prefix_hash,
        0 if precision is None else _PRECISION_IDS[precision],
        evidence.with_replacement,
        message.tree.parents,
        message.tree.tokens,
        list(lists.values()),
        _extension_block(message.extensions) if message.extensions else b"",
        vocab_size,
        ENTROPY_IDS[profile.entropy],
        _tables(prior),
    )
    if isinstance(data, int):
        raise _refused(data)
    return data


def decode(data: bytes | bytearray | memoryview, profile: Profile, *, limits: DecodeLimits | None = None) -> Message:
    """See ``codec.decode``."""
    if profile.entropy not in _ENTROPIES or len(data) == 0 or _first(data) & codec.KIND_MASK != Kind.DRAFT_LIST:
        return codec.decode(data, profile, limits=limits)
    found = _kernel.decode_draft(
        data,
        profile.vocab_size,
        ENTROPY_IDS[profile.entropy],
        _tables(profile.prior),
        profile.prior,
        *(_DEFAULT_LIMITS if limits is None else _limits(limits)),
    )
    if isinstance(found, int):
        raise _refused(found)
    round_, prefix_length, prefix_hash, replacement, parents, tokens, lists, block = found
    return Draft.trusted(
        round_,
        prefix_length,
        prefix_hash,
        TokenTree.trusted(tokens, parents),
        ListEvidence.trusted(lists, replacement),
        _extensions(block) if block else (),
    )


def _first(data: bytes | bytearray | memoryview) -> int:
    return data[0] if type(data) is bytes else memoryview(data).cast("B")[0]


def _extension_block(extensions: tuple[Extension, ...]) -> bytes:
    out = BitWriter()
    write_extensions(out, extensions)
    return out.finish()


def _extensions(block: bytes) -> tuple[Extension, ...]:
    reader = BitReader(block)
    return tuple(Extension(reader.varint(), reader.raw(reader.varint())) for _ in range(reader.varint()))
