"""Reference decoder of tslt-wire: bytes to plain values, written from tslt-wire.md alone and in its order.

Made to be read and to test other decoders against, not for speed; one file, however long, so that it can be copied.
Values have the JSON form of the test vectors; what is not a message raises ``DecodeError``.  Tags such as ``[BIT-5]``
are the requirements a function implements.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import struct
import sys
import zlib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

Json = dict[str, Any]
# 3.1: vocab_size, entropy and prior ("none" unless given) and, for lone lists, precision.  If the prior is a table, the
# range coder and verification need a further entry, tables, from names to the bytes of the files.
Profile = Mapping[str, Any]
Limits = Mapping[str, int]

DEFAULT_LIMITS = {  # section 8
    "max_frame_bytes": 4194304,
    "max_nodes": 1024,
    "max_leaves": 1024,
    "max_depth": 256,
    "max_entries": 2097152,
    "max_prompt_tokens": 262144,
    "max_control_bytes": 8192,
    "max_extensions": 16,
}
U32 = (1 << 32) - 1
MAX_VOCAB = 1 << 20  # [LIMIT-2]
RUNS_ABOVE = 200  # lists with more ids are shown as runs (vectors/README.md)


class DecodeError(ValueError):
    """The bytes are not a message; ``code`` is a name of section 9, in lower case."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def refuse_if(condition: bool, code: str) -> None:
    """Raise DecodeError(code) if ``condition`` holds."""
    if condition:
        raise DecodeError(code)


# ---------------------------------------------------------------------------------------------- 3.2, 3.3: bits, varints


class Bits:
    """Content and the position of the next bit in it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def left(self) -> int:
        """Bits that have not been read."""
        return 8 * len(self.content) - self.at

    def need(self, bits: int) -> None:
        """[BIT-5], [LIMIT-3]"""
        refuse_if(bits > self.left(), "truncated")

    def field(self, bits: int) -> int:
        """[BIT-1], [BIT-2]: an unsigned integer of 0 to 32 bits."""
        self.need(bits)
        first, shift = divmod(self.at, 8)
        self.at += bits
        return int.from_bytes(self.content[first : first + 5], "little") >> shift & (1 << bits) - 1

    def fields(self, count: int, bits: int) -> list[int]:
        """``count`` fields of the same size; none is looked at if one is missing."""
        self.need(count * bits)
        return [self.field(bits) for _ in range(count)]

    def column(self, name: str, count: int, bits: int) -> list[int]:
        """``tokens``, ``ids`` or ``codes``: packed, they are fields like others."""
        return self.fields(count, bits)

    def octets(self, count: int) -> bytes:
        """[BIT-3]"""
        return bytes(self.fields(count, 8))

    def rest(self) -> bytes:
        """All bytes that are left; the position is on a byte boundary."""
        return self.octets(self.left() // 8)

    def varint(self) -> int:
        """[VARINT-1], [VARINT-2]"""
        value = 0
        for group in range(5):
            octet = self.field(8)
            value |= (octet & 127) << 7 * group
            if octet < 128:
                refuse_if(octet == 0 and group > 0, "non_canonical")
                refuse_if(value > U32, "out_of_range")
                return value
        raise DecodeError("out_of_range")

    def align(self) -> None:
        """The bits up to the next whole byte are 0."""
        refuse_if(self.field(-self.at % 8) != 0, "reserved_bits")

    def end(self) -> None:
        """[BIT-4]"""
        refuse_if(self.left() >= 8, "trailing_bytes")
        self.align()


# ------------------------------------------------------------------------------------------------------- 3.4: frames


def decode_frame(data: bytes, profile: Profile, limits: Limits | None = None) -> Json:
    """[FRAME-2], [FRAME-3]: the message in a frame; DecodeError."""
    limits = {**DEFAULT_LIMITS, **(limits or {})}
    refuse_if(len(data) > limits["max_frame_bytes"], "limit_exceeded")
    refuse_if(len(data) < 5, "truncated")
    refuse_if(zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"), "bad_checksum")
    bits = Bits(data[:-4])
    kind, has_extensions, compressed = bits.field(6), bits.field(1), bits.field(1)
    refuse_if(compressed == 1 and (coder_of(profile) != "zstd" or kind not in (0x03, 0x10, 0x16)), "reserved_bits")
    bodies: dict[int, tuple[str, Callable[[Bits, Profile, Limits], Json]]] = {
        0x01: ("hello", hello),
        0x02: ("welcome", welcome),
        0x03: ("prompt", prompt),
        0x04: ("error", error),
        0x05: ("bye", bye),
        0x06: ("resume", resume),
        0x08: ("verdict", verdict),
        0x10: ("draft_list", draft_list),
        0x11: ("draft_match", draft_ids),
        0x12: ("draft_coupled", draft_ids),
        0x13: ("draft_scalar", draft_coded),
        0x14: ("draft_lazy", draft_coded),
        0x09: ("verdict_proposals", verdict_proposals),
        0x15: ("more", more),
        0x0A: ("ask_list", ask_list),
        0x0B: ("verdict_whole", verdict_whole),
        0x16: ("list", list_frame),
    }
    refuse_if(kind not in bodies, "unknown_kind")
    name, body = bodies[kind]
    found = extensions(bits, limits, name) if has_extensions else []
    compressed_bytes = bits.left() // 8
    content = wide(bits, limits) if compressed == 1 else bits
    value = {"kind": name, **body(content, profile, limits), "extensions": found}
    content.end()
    check_shorter(content, compressed_bytes)
    return value


def coder_of(profile: Profile) -> str:
    """The entropy coder."""
    coder: str = profile.get("entropy", "none")
    return coder


def extensions(bits: Bits, limits: Limits, kind: str) -> list[Json]:
    """[EXT-1] to [EXT-3]; [PROP-5], [FLIGHT-1]: drafts; [TIME-1], [LOGP-1]: answers; [ERROR-3]: an error; [PAD-1]."""
    count, found, before = bits.varint(), [], -1
    refuse_if(count > limits["max_extensions"], "limit_exceeded")
    refuse_if(count == 0, "non_canonical")
    for _ in range(count):
        type_, length = bits.varint(), bits.varint()
        is_draft = kind.startswith("draft_")
        is_choice, is_flight = type_ == 1 and is_draft, type_ == 3 and is_draft
        is_answer = kind in ("verdict", "verdict_whole", "verdict_proposals", "ask_list")
        is_time, is_log_probs = type_ == 2 and is_answer, type_ == 4 and is_answer
        refuse_if(type_ % 2 == 1 and not (is_choice or is_flight), "unknown_critical_extension")
        refuse_if(type_ <= before, "non_canonical")
        refuse_if(is_choice and length != 1, "out_of_range")
        refuse_if(is_flight and not 1 <= length <= 5, "out_of_range")
        refuse_if(is_time and not 1 <= length <= 8, "out_of_range")
        is_retry = type_ == 6 and kind == "error"
        refuse_if(is_retry and not 1 <= length <= 4, "out_of_range")
        refuse_if(is_log_probs and (length % 2 == 1 or not 2 <= length <= 131070), "out_of_range")
        data = bits.octets(length)
        refuse_if((is_time or is_retry) and length > 1 and data[-1] == 0, "non_canonical")
        refuse_if(is_flight and length > 2 and data[-1] == 0, "non_canonical")
        refuse_if(is_flight and (data[0] & 0b11 == 0 or (length > 1 and data[0] & 0b10 == 0)), "out_of_range")
        refuse_if(type_ == 32 and any(data), "reserved_bits")
        found.append({"type": type_, "data": data.hex()})
        before = type_
    return found


# ------------------------------------------------------------------------------------------- 3.5: compressed bodies


class Wide(Bits):
    """[ZSTD-1]: a wide body or list; ``surplus`` is how many bits of what was read the packed form does not have."""

    surplus = 0

    def align(self) -> None:
        """Also at the end: the padding of the packed form is another."""
        self.surplus += -self.at % 8
        super().align()

    def column(self, name: str, count: int, bits: int) -> list[int]:
        """A column: 0 bits up to the next byte, and numbers of whole bytes."""
        self.align()
        width = -(-bits // 8)
        self.surplus += count * (8 * width - bits)
        data = self.octets(count * width)
        if name == "tokens":
            return [int.from_bytes(data[i * width : (i + 1) * width], "little") for i in range(count)]
        found = [sum(data[plane * count + i] << 8 * plane for plane in range(width)) for i in range(count)]
        return [total + i for i, total in enumerate(accumulate(found))] if name == "ids" else found


def wide(bits: Bits, limits: Limits) -> Wide:
    """[ZSTD-3], 1 to 5: the wide form that is in the rest of the bytes."""
    size = bits.varint()
    refuse_if(size > limits["max_frame_bytes"], "limit_exceeded")
    stream = bits.rest()
    walk_zstd_frame(stream, size)
    content = decompress(stream, size)
    refuse_if(content is None or len(content) != size, "bad_compression")
    return Wide(content or b"")


def walk_zstd_frame(stream: bytes, size: int) -> None:
    """[ZSTD-2] and [ZSTD-3], 3 and 4; RFC 8878, 3.1.1."""
    refuse_if(len(stream) < 5, "truncated")
    descriptor = stream[4]
    refuse_if(int.from_bytes(stream[:4], "little") != 0xFD2FB528 or descriptor & 0b11111 != 0, "bad_compression")
    single_segment = descriptor & 0b100000 != 0
    size_bytes = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    refuse_if(size == 0 or size_bytes == 0, "bad_compression")
    at = 5 if single_segment else 6
    refuse_if(len(stream) < at + size_bytes, "truncated")
    window = size
    if not single_segment:
        exponent, mantissa = divmod(stream[5], 8)
        window = (1 << 10 + exponent) // 8 * (8 + mantissa)
    refuse_if(window > 1 << 23, "limit_exceeded")
    content_size = int.from_bytes(stream[at : at + size_bytes], "little") + (256 if size_bytes == 2 else 0)
    refuse_if(content_size != size, "bad_compression")
    at, last = at + size_bytes, 0
    while not last:
        refuse_if(len(stream) < at + 3, "truncated")
        header = int.from_bytes(stream[at : at + 3], "little")
        last, type_, block_size = header & 1, header >> 1 & 3, header >> 3
        refuse_if(type_ == 3 or block_size > min(window, 1 << 17), "bad_compression")
        at += 3 + (1 if type_ == 1 else block_size)
        refuse_if(len(stream) < at, "truncated")
    refuse_if(at < len(stream), "trailing_bytes")


def decompress(stream: bytes, size: int) -> bytes | None:
    """[ZSTD-3], 5: the content of one zstd frame that says that it has ``size`` bytes; None if it does not decompress.

    Needs Python 3.14 or the package zstandard, and nothing else here does; RuntimeError if neither is there.
    """
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]

        decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 23})
        try:
            content: bytes = decompressor.decompress(stream, max_length=size + 1)
        except zstd.ZstdError:
            return None
        return content if decompressor.eof else None
    except ImportError:
        pass
    try:
        import zstandard
    except ImportError:
        raise RuntimeError("compressed frames need Python 3.14 or the package zstandard") from None
    try:
        found: bytes = zstandard.ZstdDecompressor(max_window_size=1 << 23).decompress(stream, max_output_size=size)
    except zstandard.ZstdError:
        return None
    return found


def check_shorter(content: Bits, compressed_bytes: int) -> None:
    """[ZSTD-3], 7: a wide form that has been read was worth compressing."""
    if isinstance(content, Wide):
        refuse_if(compressed_bytes >= -(-(content.at - content.surplus) // 8), "non_canonical")


# ------------------------------------------------------------------------------------------------- 4: distributions

PRECISIONS = ("f32", "f16", "bf16", "log2/0", "log2/1", "log2/2", "log2/3", "log2/4")
FLOATS = {  # 4.1, [PREC-4]: bits of a code, the first and last code of a negative finite number but -0.0
    "f32": (32, 0x80000001, 0xFF7FFFFF),
    "f16": (16, 0x8001, 0xFBFF),
    "bf16": (16, 0x8001, 0xFF7F),
}


def steps(precision: str) -> int:
    """s of log2/s."""
    return int(precision[-1])


def table(entries: int, one: int, root: int) -> list[int]:
    """Appendix A: floor(one * 2^(-i / 2^root)) for i = 0, 1, ...; the digests there say that 192 bits are enough."""
    found: list[int] = []
    ratio, power = 1 << 191, 1 << 192  # 1/2 and 1
    for _ in range(root):
        ratio = math.isqrt(ratio << 192)
    for _ in range(entries):
        found.append(one * power >> 192)
        power = power * ratio >> 192
    return found


T, A, B = table(16, 1 << 30, 4), table(256, 1 << 31, 8), table(256, 1 << 31, 16)


def weight(precision: str, code: int) -> int:
    """[PREC-1], [PREC-3]: what a code stands for; 0 for codes that [DIST-3] refuses."""
    if precision not in FLOATS:
        s = steps(precision)
        return T[code % (1 << s) << 4 - s] >> (code >> s)
    octets = struct.pack("<H", code) if precision == "f16" else struct.pack("<I", code << 16 * (precision == "bf16"))
    x: float = struct.unpack("<e" if precision == "f16" else "<f", octets)[0]
    y = min(-x, 64.0) * 1.4426950408889634
    n = math.floor(y * 65536 + 0.5)
    return A[n >> 8 & 255] * B[n & 255] >> min((n >> 16) + 32, 63)


def make_list(precision: str, vocab_size: int, ids: list[int], codes: list[int], tail: int) -> Json:
    """[DIST-4]: a list after the checks of [DIST-2], [DIST-3], [PREC-2] and [PREC-4]; it has 1 to V ids and codes."""
    refuse_if(any(later <= sooner for sooner, later in pairwise(ids)), "bad_list")
    refuse_if(ids[-1] >= vocab_size or 0 not in codes, "bad_list")
    if precision in FLOATS:
        _, low, high = FLOATS[precision]
        refuse_if(any(code != 0 and not low <= code <= high for code in codes), "bad_list")
    known = {code: weight(precision, code) for code in set(codes)}
    refuse_if(0 in known.values(), "bad_list")
    return {"ids": ids, "codes": codes, "weights": [known[code] for code in codes], "tail": tail}


# --------------------------------------------------------------------------------------------- 4.4: priors and tails

Sums = Sequence[int]  # for each id, and for V, the sum of the weights of all ids below it


def has_prior(profile: Profile) -> bool:
    """Whether the session has a prior."""
    return bool(profile.get("prior", "none") != "none")


def prior_rows(profile: Profile) -> list[Sums]:
    """4.4: r as the last row, after those of a table, if it is one; nothing without a prior.  ValueError."""
    name, vocab_size = profile.get("prior", "none"), profile["vocab_size"]
    if name == "none":
        return []
    if name == "uniform":
        return [range(vocab_size + 1)]
    if name == "density":
        return [density(vocab_size)]
    if name not in profile.get("tables", {}):
        raise ValueError(f"there is no prior {name}")
    named, rows = table_rows(profile["tables"][name])
    if named != name or len(rows[-1]) != vocab_size + 1:
        raise ValueError(f"the table {named} with V = {len(rows[-1]) - 1} is not {name} with V = {vocab_size}")
    return rows


@lru_cache(maxsize=8)
def density(vocab_size: int) -> Sums:
    """The prior ``density``."""
    return list(accumulate(((1 << 30) // (id_ + 1024) for id_ in range(vocab_size)), initial=0))


@lru_cache(maxsize=8)
def table_rows(data: bytes) -> tuple[str, list[Sums]]:
    """[PRIOR-3], [PRIOR-4]: the name of a table and its five rows; ValueError if the file is none."""
    vocab_size = int.from_bytes(data[8:12], "little")
    if data[:8] != b"TSLTtab1" or not 1 <= vocab_size <= MAX_VOCAB or len(data) != 12 + 5 * vocab_size:
        raise ValueError("not a table")
    if max(data[12:]) > 240:
        raise ValueError("not a table: a code above 240")
    weights = [weight("log2/3", code) for code in range(241)]
    rows = [data[12 + row * vocab_size :][:vocab_size] for row in range(5)]
    name = "table:" + hashlib.sha256(data).digest()[:16].hex()
    return name, [list(accumulate((weights[code] for code in row), initial=0)) for row in rows]


class Left:
    """Weights of the ids that are left when some are gone."""

    def __init__(self, sums: Sums, gone: list[int]) -> None:
        self.sums, self.gone = sums, gone  # ascending
        self.lost = list(accumulate((sums[id_ + 1] - sums[id_] for id_ in gone), initial=0))
        self.total = sums[-1] - self.lost[-1]

    def below(self, id_: int) -> int:
        """The sum of the weights of the ids below ``id_``."""
        return self.sums[id_] - self.lost[bisect_left(self.gone, id_)]

    def between(self, low: int, high: int) -> int:
        """The sum of the weights of the ids in [low, high), of which those from V on have none."""
        return self.below(min(high, len(self.sums) - 1)) - self.below(low)

    def weight(self, id_: int) -> int:
        """The weight of an id."""
        return self.between(id_, id_ + 1)

    def find(self, number: int) -> int:
        """The id with below(id) <= number < below(id) + weight(id)."""
        before = bisect_right(self.gone, number, key=self.below)
        return bisect_right(self.sums, number + self.lost[before]) - 1


class Siblings:
    """[PRIOR-1], [PRIOR-2]: what the tokens of siblings are sampled from."""

    def __init__(self, ids: list[int], weights: list[int], tail: int, rows: list[Sums]) -> None:
        self.ids, self.weights = ids, list(weights)
        self.sent_tail = tail
        self.others = Left(rows[-1], ids) if tail > 0 else Left([0], [])

    def tail(self) -> int:
        """T: also 0 if no token at all is left."""
        if self.others.total == 0:
            return 0
        return self.sent_tail if any(self.weights) else 32

    def without(self, token: int) -> None:
        """The token is gone."""
        rank = find_rank(self.ids, token)
        if rank is not None:
            self.weights[rank] = 0
        else:
            self.others = Left(self.others.sums, sorted([*self.others.gone, token]))

    def probabilities(self, vocab_size: int) -> list[Fraction]:
        """Those of all ids, of which one is left."""
        tail = self.tail()
        found = [Fraction(0)] * vocab_size
        if tail > 0:
            found = [Fraction(tail * self.others.weight(id_), 32 * self.others.total) for id_ in range(vocab_size)]
        if tail < 32:
            total = sum(self.weights)
            for id_, weight_ in zip(self.ids, self.weights, strict=True):
                found[id_] = Fraction((32 - tail) * weight_, 32 * total)
        return found


def find_rank(ids: list[int], token: int) -> int | None:
    """The position of a token in a list, if it is listed."""
    rank = bisect_left(ids, token)
    return rank if rank < len(ids) and ids[rank] == token else None


# ---------------------------------------------------------------------------------------------------- 5.1: lists


def plain_list(bits: Bits, precision: str, profile: Profile, room: int) -> Json:
    """[LIST-1], [LIST-2], [LIST-3]: a list under the entropy coder none; ``room`` is how many entries it may have."""
    vocab_size, count = profile["vocab_size"], bits.varint() + 1
    refuse_if(count > vocab_size, "bad_list")
    refuse_if(count > room, "limit_exceeded")
    tail = bits.field(5) if count < vocab_size and has_prior(profile) else 0
    ids = list(range(count)) if count == vocab_size else bits.column("ids", count, (vocab_size - 1).bit_length())
    if precision in FLOATS:
        codes = bits.column("codes", count, FLOATS[precision][0])
    else:
        width = bits.field(4)
        refuse_if(width > 5 + steps(precision), "out_of_range")
        codes = bits.column("codes", count, width)
        refuse_if(width != max(codes).bit_length(), "non_canonical")
    return make_list(precision, vocab_size, ids, codes, tail)


def decode_list(data: bytes, profile: Profile, limits: Limits | None = None) -> Json:
    """3.5, 5.1, 5.4: a lone list; DecodeError."""
    limits = {**DEFAULT_LIMITS, **(limits or {})}
    refuse_if(len(data) > limits["max_frame_bytes"], "limit_exceeded")
    precision, room = profile["precision"], limits["max_entries"]
    if coder_of(profile) == "range":
        coder = RangeDecoder(data)
        found = RangeLists(coder, precision, profile["vocab_size"], prior_rows(profile)).read(room)
        coder.end()
    else:
        bits = Bits(data)
        compressed = bits.field(8) if coder_of(profile) == "zstd" else 0
        refuse_if(compressed > 1, "reserved_bits")
        compressed_bytes = bits.left() // 8
        content = wide(bits, limits) if compressed == 1 else bits
        found = plain_list(content, precision, profile, room)
        content.end()
        check_shorter(content, compressed_bytes)
    return show_list(found, profile["vocab_size"])


def show_list(found: Json, vocab_size: int) -> Json:
    """The form of a list in vectors/README.md."""
    shown: Json = {"ids": "all" if len(found["ids"]) == vocab_size else found["ids"]}
    if RUNS_ABOVE < len(found["ids"]) < vocab_size:
        shown = {"id_runs": id_runs(found["ids"])}
    if found["tail"] != 0:
        shown["tail"] = found["tail"]
    for name in ("code", "weight"):
        values = found[name + "s"]
        if len(values) <= RUNS_ABOVE:
            shown[name + "s"] = values
            continue
        runs: list[list[int]] = []
        for value in values:
            if runs and runs[-1][0] == value:
                runs[-1][1] += 1
            else:
                runs.append([value, 1])
        shown[name + "_runs"] = runs
    return shown


def id_runs(ids: list[int]) -> list[list[int]]:
    """The first id of each run of ids without a gap, and how many they are."""
    starts = [i for i, id_ in enumerate(ids) if i == 0 or id_ != ids[i - 1] + 1]
    return [[ids[start], end - start] for start, end in pairwise([*starts, len(ids)])]


# ----------------------------------------------------------------------------------------------- 5.2: tree shapes


def shape(bits: Bits, limits: Limits) -> list[int]:
    """[TREE-1], [TREE-3]: the parent of each node."""
    size, form = divmod(bits.varint(), 4)
    if form == EXPANSION:
        parents = read_expansion(bits, size, limits)
    else:
        refuse_if(size > limits["max_nodes"], "limit_exceeded")
        if form == LEVELS:
            parents = read_levels(bits, size)
        elif form == PARENTS:
            parents = read_parents(bits, size)
        else:
            parents = list(range(-1, size - 1))
    refuse_if(form != first_form(parents), "non_canonical")
    depths: list[int] = []
    for parent in parents:
        depths.append(1 + (depths[parent] if parent >= 0 else 0))
    refuse_if(max(depths, default=0) > limits["max_depth"], "limit_exceeded")
    refuse_if(len(set(range(len(parents))) - set(parents)) > limits["max_leaves"], "limit_exceeded")
    return parents


CHAIN, EXPANSION, LEVELS, PARENTS = range(4)


def read_expansion(bits: Bits, layers: int, limits: Limits) -> list[int]:
    """[TREE-2], [TREE-3]"""
    refuse_if(layers > limits["max_depth"], "limit_exceeded")
    degrees, layer, nodes = [], 1, 0
    for _ in range(layers):
        degrees.append(bits.varint())
        refuse_if(degrees[-1] == 0, "bad_tree")
        layer *= degrees[-1]
        nodes += layer
        refuse_if(nodes > limits["max_nodes"], "limit_exceeded")
    return expand(degrees)


def expand(degrees: Sequence[int]) -> list[int]:
    """[TREE-2]: the parents of an EXPANSION."""
    parents: list[int] = []
    layer = range(-1, 0)
    for degree in degrees:
        parents += [parent for parent in layer for _ in range(degree)]
        layer = range(layer.stop, layer.stop + len(layer) * degree)
    return parents


def read_levels(bits: Bits, size: int) -> list[int]:
    """[TREE-3]: unary degrees; the last one ends with the last node."""
    parents: list[int] = []
    parent = -1
    while len(parents) < size:
        if bits.field(1) == 1:
            parents.append(parent)
        else:
            parent += 1
            refuse_if(parent >= len(parents), "bad_tree")
    return parents


def read_parents(bits: Bits, size: int) -> list[int]:
    """[TREE-3]"""
    parents = []
    for node in range(size):
        parents.append(bits.field(node.bit_length()) - 1)
        refuse_if(parents[-1] >= node, "bad_tree")
    return parents


def first_form(parents: list[int]) -> int:
    """[TREE-1]: the first form that can express the tree."""
    if parents == list(range(-1, len(parents) - 1)):
        return CHAIN
    degrees, node, layer = [], -1, 1  # what an EXPANSION would need, by the first node of each layer
    while node < len(parents) and (degree := parents.count(node)) > 0:
        degrees.append(degree)
        node, layer = node + layer, layer * degree
    if sum(math.prod(degrees[: i + 1]) for i in range(len(degrees))) == len(parents) and parents == expand(degrees):
        return EXPANSION
    return LEVELS if parents == sorted(parents) else PARENTS


# ----------------------------------------------------------------------------------------------- 5.3: range coder


class RangeDecoder:
    """[RANGE-4]: symbols from bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.least = 0
        self.start(0)

    def start(self, first: int) -> None:
        """[RANGE-4], [RANGE-6]: symbols from byte ``first`` on."""
        self.code = int.from_bytes(self.window(first), "big")
        self.range = 2**64 - 1
        self.read = first + 8  # bytes, with those behind the end

    def leave(self) -> Bits:
        """[RANGE-6]: the plain bits that follow."""
        last = int.from_bytes(self.window(self.read - 8), "big")
        low = last - self.code
        for count in range(1, 9):
            unit = 2 ** (64 - 8 * count)
            value = -(-low // unit) * unit
            if value + unit <= low + self.range:
                break
        after = self.read - 8 + count
        refuse_if(after > len(self.data), "truncated")
        refuse_if(value != last // unit * unit, "non_canonical")
        bits = Bits(self.data)
        bits.at = 8 * after
        return bits

    def resume(self, bits: Bits) -> None:
        """[RANGE-6]: symbols behind the plain bits."""
        refuse_if(bits.field(-bits.at % 8) != 0, "reserved_bits")
        self.start(bits.at // 8)

    def window(self, first: int) -> bytes:
        """8 bytes from ``first`` on, which may be behind the end."""
        return self.data[first : first + 8].ljust(8, b"\0")

    def number(self, total: int) -> int:
        """f, which tells the symbol."""
        found = self.code // (self.range // total)
        refuse_if(found >= total, "non_canonical")
        return found

    def take(self, start: int, size: int, total: int) -> None:
        """Step over the symbol."""
        part = self.range // total
        self.code -= part * start
        self.range = part * size
        while self.range < 2**56:
            refuse_if(self.read - len(self.data) >= 8, "truncated")
            self.code = self.code * 256 + (self.data[self.read] if self.read < len(self.data) else 0)
            self.range *= 256
            self.read += 1

    def entries(self, total: int) -> None:
        """[RLIST-11]: there are enough bytes for ``total`` entries."""
        self.least = -(-max(0, total - 256) // 8)
        refuse_if(self.least > len(self.data), "truncated")

    def end(self) -> None:
        """[RANGE-3], [RANGE-5], [RLIST-11]: there are no other bytes than the encoder would have written."""
        last = int.from_bytes(self.window(self.read - 8), "big")
        low = last - self.code
        for count in range(9):
            unit = 2 ** (64 - 8 * count)
            value = -(-low // unit) * unit
            if value < low + self.range:
                break
        size = max(self.read - 8 + count, self.least)
        refuse_if(len(self.data) > size, "trailing_bytes")
        refuse_if(len(self.data) < size or value != last or any(self.data[self.read :]), "non_canonical")

    def uniform(self, total: int) -> int:
        """UNIFORM: which of ``total``."""
        if total == 1:
            return 0
        found = self.number(total)
        self.take(found, 1, total)
        return found

    def chance(self, part: int, total: int) -> bool:
        """CHANCE: true with ``part`` of ``total``."""
        found = self.number(total) >= total - part
        self.take(total - part if found else 0, part if found else total - part, total)
        return found

    def choose(self, weights: Sequence[int]) -> int:
        """CHOOSE: an index of ``weights``."""
        ends = list(accumulate(weights))
        found = bisect_right(ends, self.number(ends[-1]))
        self.take(ends[found] - weights[found], weights[found], ends[-1])
        return found

    def id(self, left: Left, low: int, high: int) -> int:
        """The symbol of an id in [low, high): the weights below it, its own, and those of all that are left there."""
        below, total = left.below(low), left.between(low, high)
        found = left.find(below + self.number(total))
        self.take(left.below(found) - below, left.weight(found), total)
        return found


# --------------------------------------------------------------------------------- 5.4: lists under the range coder

S = (6, 6, 8, 12, 24, 24, 24, 8, 6, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
H = (  # a row for times = 1, 2, 3, more; classes of tokens that were not in the last list, then of those that were
    ((4, 3, 3), (10, 10, 9)),
    ((5, 4, 3), (15, 13, 10)),
    ((7, 4, 3), (14, 15, 15)),
    ((13, 5, 4), (21, 23, 20)),
)
F = (
    (47, 26, 13, 5, 4, 4),
    (34, 24, 18, 9, 7, 4),
    (27, 25, 21, 11, 8, 4),
    (24, 22, 21, 15, 9, 5),
    (19, 22, 20, 18, 11, 7),
    (15, 18, 17, 18, 17, 11),
    (12, 14, 17, 19, 19, 16),
    (8, 8, 13, 17, 22, 27),
)
MASSES = (
    (288, 562, 125, 25, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (231, 544, 194, 25, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (175, 525, 256, 34, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (133, 506, 284, 64, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (95, 490, 293, 97, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (67, 439, 290, 146, 48, 25, 25, 25, 25, 25, 25, 25, 25),
    (52, 351, 308, 181, 83, 25, 25, 25, 25, 25, 25, 25, 25),
    (42, 259, 304, 219, 119, 46, 25, 25, 25, 25, 25, 25, 25),
)

SEEN_LIMIT = 2048
FIRST_LENGTHS = (25, 48, 29, 6, 2)  # [RLIST-15]
NEXT_LENGTHS = ((1, 1, 7, 36, 4, 1, 1), (1, 3, 30, 72, 12, 3, 1))  # after a level without entries, with entries
NEAR = (12, 10, 8, 6, 5, 4, 3, 2)  # [RLIST-12]


class RangeLists:
    """The lists of one draft, and what they have in common: ``lists``, ``seen`` and the counts of [RLIST-5]."""

    def __init__(self, coder: RangeDecoder, precision: str, vocab_size: int, rows: list[Sums]) -> None:
        self.coder, self.precision, self.vocab_size, self.rows = coder, precision, vocab_size, rows
        self.lists = 0
        self.entries = 0
        self.last_size = 0
        self.last_tail = 0
        self.seen: dict[int, tuple[int, int, int]] = {}  # token: times, last, class
        self.counts: dict[tuple[int, bool, int, int], tuple[int, int]] = {}
        self.ordered: list[int] = []  # the tokens of seen, ascending, if the list is not too long for them
        self.gone: set[int] = set()  # the same
        self.free = Left(range(vocab_size + 1), [])  # 1 for each id that is free
        self.weighed: Left | None = None  # if the prior is a table: the row for the list

    def read(self, room: int) -> Json:
        """[RLIST-10]: the next list, of at most ``room`` entries."""
        size = self.size()
        refuse_if(size > room, "limit_exceeded")
        self.entries += size
        self.coder.entries(self.entries)
        self.ordered = sorted(self.seen) if size <= 512 else []
        self.gone = set(self.ordered)
        self.free = Left(range(self.vocab_size + 1), self.ordered)
        if len(self.rows) == 5:
            self.weighed = Left(self.rows[bisect_right((31, 127, 511), size - 1)], self.ordered)
        if size > 128:
            ids, codes, tail = self.long(size)
        else:
            ids = list(range(size)) if size == self.vocab_size else self.ids(size)
            codes = self.float_codes(size) if self.precision in FLOATS else self.log_codes(ids)
            tail = self.tail(size)
        found = make_list(self.precision, self.vocab_size, ids, codes, tail)
        self.remember(ids, codes)
        return found

    def size(self) -> int:
        """[RLIST-1]"""
        coder = self.coder
        if self.lists > 0 and not coder.chance(1, 8):
            return self.last_size
        lowest = 1 << coder.choose(S[: self.vocab_size.bit_length()])
        highest = min(self.vocab_size, 2 * lowest - 1)
        size = lowest
        if lowest < highest and coder.chance(1, 2):
            size += 1 + coder.uniform(highest - lowest)
        refuse_if(self.lists > 0 and size == self.last_size, "non_canonical")
        return size

    def ids(self, size: int) -> list[int]:
        """[RLIST-2]"""
        old = self.old_ids(size)
        return sorted(old + self.new_ids(size - len(old)))

    def new_ids(self, n: int) -> list[int]:
        """[RLIST-3]"""
        return self.set(0, 1 << max(8, (self.vocab_size - 1).bit_length()), n, n)

    def set(self, low: int, high: int, n: int, total: int) -> list[int]:
        """[RLIST-3], SET: n free ids in [low, high), ascending; ``total`` is N."""
        free, end = self.free.between(low, high), min(high, self.vocab_size)
        if n == 0:
            return []
        if n == free:
            return [id_ for id_ in range(low, end) if id_ not in self.gone]
        top = low == 0 and high > 256
        if self.weighed and n == 1:
            return [self.coder.id(self.weighed, low, end)]
        if not self.weighed and not top and (n == 1 or free <= 32):
            before = self.free.below(low)
            return [self.free.find(before + i) for i in indexed(self.coder.uniform(math.comb(free, n)), n, free)]
        mid = (low + high) // 2
        if mid >= self.vocab_size:
            return self.set(low, mid, n, total)
        lower = self.free.between(low, mid)
        upper = free - lower
        if self.weighed:
            g = share(self.weighed.between(low, mid), self.weighed.between(mid, end))
        elif top:
            j, row = high.bit_length() - 9, MASSES[min(total.bit_length(), 8) - 1]
            g = share(sum(row[:j]), row[j] * (end - mid) // mid + 1)
        else:
            g = share(lower, upper)
        k = self.split(n, lower, upper, 6 if top else 20, g)
        return self.set(low, mid, k, total) + self.set(mid, high, n - k, total)

    def split(self, n: int, lower: int, upper: int, balls: int, g: int) -> int:
        """[RLIST-3], SPLIT: k, how many of n are in the lower half."""
        if 2 * n > lower + upper:
            return lower - self.split(lower + upper - n, lower, upper, balls, share(lower, upper))
        if n > min(lower, upper):
            least = max(0, n - upper)
            return least + self.coder.uniform(min(n, lower) - least + 1)
        if n <= 32:
            return self.coder.choose(urn(n, balls, g))
        b = self.coder.choose(urn(32, balls, g))
        first, end = -(-b * (n + 1) // 33), -(-(b + 1) * (n + 1) // 33)
        return first + self.coder.uniform(end - first)

    def old_ids(self, size: int) -> list[int]:
        """[RLIST-5]"""
        found: list[int] = []
        free = self.vocab_size - len(self.ordered)
        for index, token in enumerate(self.ordered):
            to_come = size - len(found)
            if to_come == 0:
                break
            if to_come >= free + len(self.ordered) - index:
                return found + self.ordered[index:]
            times, last, class_ = self.seen[token]
            times, recent = min(times, 4), last == self.lists
            context = (times, recent, class_, min(self.lists, 3))
            hits, total = self.counts.get(context, (H[times - 1][recent][class_], 32))
            if self.coder.chance(hits, total):
                found.append(token)
                hits += 8
            total += 8
            self.counts[context] = (hits, total) if total <= 256 else ((hits + 1) // 2, total // 2 + 1)
        return found

    def float_codes(self, size: int) -> list[int]:
        """[RLIST-6]"""
        return [self.coder.uniform(1 << FLOATS[self.precision][0]) for _ in range(size)]

    def log_codes(self, ids: list[int]) -> list[int]:
        """[RLIST-7]"""
        size = len(ids)
        numbers = self.walked(size)
        levels = [level for level, number in enumerate(numbers) if number > 0]
        left = [numbers[level] for level in levels]
        if levels == [0]:
            return [0] * size
        before = accumulate(left, initial=0)
        rows = [F[min((b + u // 2).bit_length(), 7)] for b, u in zip(before, left, strict=False)]
        codes = []
        for id_ in ids:
            column = min(max(id_.bit_length() - 8, 0), 5)
            i = self.coder.choose([u * row[column] for u, row in zip(left, rows, strict=True)])
            left[i] -= 1
            codes.append(levels[i])
        return codes

    def walked(self, size: int) -> list[int]:
        """[RLIST-7]: how many entries each level has."""
        s, level = steps(self.precision), 0
        numbers = [0] * (30 * 2**s + 1)
        for done in range(size):
            while done > 0 and level < 30 * 2**s and not self.coder.chance(done + 1, done + 1 + 2 * 2**s):
                level += 1
            numbers[level] += 1
        return numbers

    def long(self, size: int) -> tuple[list[int], list[int], int]:
        """[RLIST-13]: ids, codes and tail."""
        old = self.old_ids(size) if size < self.vocab_size else self.ordered
        new = range(self.vocab_size) if size == self.vocab_size else []
        n = size - len(old) if size < self.vocab_size else 0
        gaps = n > 128 and self.vocab_size - len(self.ordered) > 1024 and not self.weighed
        if not gaps:
            new = new or self.new_ids(n)
        lengths = [] if self.precision in FLOATS else self.lengths(size)
        tail = self.tail(size)
        bits = self.coder.leave()
        if gaps:
            new = self.by_gaps(bits, n)
        if self.precision in FLOATS:
            codes = bits.fields(size, FLOATS[self.precision][0])
        else:
            codes = by_codewords(bits, size, lengths) if lengths != [0] else [0] * size
            refuse_if(lengths != huffman(codes), "non_canonical")
        self.coder.resume(bits)
        return sorted({*old, *new}), codes, tail

    def by_gaps(self, bits: Bits, n: int) -> list[int]:
        """[RLIST-14], [CODE-3]: n free ids."""
        f = self.vocab_size - len(self.ordered)
        m = f - n if 2 * n > f else n
        mean, position = f // (2 * max(m, 1)), -1
        found = set()
        for _ in range(m):
            k = (9 * mean >> 8).bit_length()
            q = 0
            while bits.field(1) == 0:
                q += 1
                refuse_if(q > 26 - k, "bad_list")
            g = (q << k) + bits.field(k) if q < 6 else (5 + 2 ** (q - 6) << k) + bits.field(k + q - 6)
            position += 1 + g
            refuse_if(position >= f, "bad_list")
            mean += min(g, (mean >> 1) + 8) - (mean >> 4)
            found.add(position)
        positions = sorted(found) if m == n else [i for i in range(f) if i not in found]
        gone = [token - j for j, token in enumerate(self.ordered)]  # each one's position, if it were free
        return [i + bisect_right(gone, i) for i in positions]

    def lengths(self, size: int) -> list[int]:
        """[RLIST-15]: l"""
        found: list[int] = []
        left = 2**14
        while left > 0:
            if len(found) == 30 * 2 ** steps(self.precision):
                refuse_if(left & (left - 1) != 0, "non_canonical")
                return [*found, 15 - left.bit_length()]
            weights = [1]
            if not found:
                rank = min(size.bit_length(), 11)
                weights += [FIRST_LENGTHS[rank - x] if 0 <= rank - x < 5 else 1 for x in range(1, 15)]
            else:
                last, row = next(x for x in reversed(found) if x > 0), NEXT_LENGTHS[found[-1] > 0]
                weights = [12 if found[-1] > 0 else 80]
                weights += [row[min(max(x - last, -3), 3) + 3] if 2 ** (14 - x) <= left else 0 for x in range(1, 15)]
            found.append(self.coder.choose(weights))
            if found == [0]:
                break
            left -= 2 ** (14 - found[-1]) if found[-1] > 0 else 0
        return found

    def tail(self, size: int) -> int:
        """[RLIST-12]"""
        if not self.rows or size == self.vocab_size:
            return 0
        if self.lists == 0:
            found = 1 + self.coder.uniform(31) if self.coder.chance(1, 2) else 0
        else:
            none = 160 if self.last_tail == 0 else 30
            found = self.coder.choose([none, *(NEAR[min(abs(i - self.last_tail), 7)] for i in range(1, 32))])
        self.last_tail = found
        return found

    def remember(self, ids: list[int], codes: list[int]) -> None:
        """[RLIST-8]"""
        self.lists += 1
        self.last_size = size = len(ids)
        if size > 512:
            return
        if len(self.seen) + size > SEEN_LIMIT:
            self.seen = {}
        z = sorted(codes)
        for id_, code in zip(ids, codes, strict=True):
            times, _, class_ = self.seen.get(id_, (0, 0, 2))
            now = 0 if code <= z[size // 8] else 1 if code <= z[size // 2] else 2
            self.seen[id_] = (times + 1, self.lists, min(class_, now))


def by_codewords(bits: Bits, size: int, lengths: list[int]) -> list[int]:
    """[RLIST-15]: ``size`` codes."""
    codewords, number, before = {}, 0, 0
    for length, code in sorted((length, code) for code, length in enumerate(lengths) if length > 0):
        number <<= length - before
        codewords[length, number] = code
        number, before = number + 1, length
    found = []
    for _ in range(size):
        word, length = bits.field(1), 1
        while (length, word) not in codewords:
            word, length = 2 * word + bits.field(1), length + 1
        found.append(codewords[length, word])
    return found


def huffman(codes: list[int]) -> list[int]:
    """[RLIST-15]: the l that belong to a list's codes."""
    numbers = Counter(codes)
    nodes = [(max(numbers[code], -(-len(codes) // 1024)), i, [code]) for i, code in enumerate(sorted(numbers))]
    lengths = [0] * (max(numbers) + 1)
    made = len(nodes)
    while len(nodes) > 1:
        nodes.sort()
        (a, _, below), (b, _, above), *nodes = nodes
        for code in below + above:
            lengths[code] += 1
        nodes.append((a + b, made, below + above))
        made += 1
    return lengths


def indexed(index: int, n: int, free: int) -> list[int]:
    """[RLIST-3], INDEX: the n positions below ``free``, ascending, that have the index."""
    if n == 0:
        return []
    last = bisect_right(range(free), index, key=lambda position: math.comb(position, n)) - 1
    return [*indexed(index - math.comb(last, n), n - 1, last), last]


def share(lower: int, upper: int) -> int:
    """[RLIST-4], SHARE"""
    if lower + upper == 0:
        return 2048
    e = (lower << 12) // (lower + upper)
    m = min(e, 4095 - e)
    if m >= 64:
        return e - e % 64 + 32
    rounded = 1 if m < 2 else (3 << m.bit_length()) >> 2
    return rounded if e < 2048 else 4096 - rounded


@cache
def urn(n: int, balls: int, g: int) -> list[int]:
    """[RLIST-4], URN: the weights of k = 0, ..., n."""
    prior_low, prior_high = balls * g, balls * (4096 - g)

    def up(k: int) -> int:
        return (n - k) * (prior_low + 4096 * k)

    def down(k: int) -> int:
        return (k + 1) * (prior_high + 4096 * (n - k - 1))

    middle = n * g >> 12
    x = [0] * (n + 1)
    x[middle] = 1 << 32
    for k in range(middle, n):
        x[k + 1] = x[k] * up(k) // down(k)
    for k in range(middle - 1, -1, -1):
        x[k] = x[k + 1] * down(k) // up(k)
    total = sum(x)
    weights = [max(1, (part << 16) // total) for part in x]
    weights[middle] += (1 << 16) - sum(weights)
    return weights


# ----------------------------------------------------------------------------------------------------- 6.1: drafts


def draft_list(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[DRAFT-1], [DRAFT-4]: the lists belong to the parents, the tokens to the nodes."""
    vocab_size, coder = profile["vocab_size"], coder_of(profile)
    round_, prefix_length, prefix_hash = bits.varint(), bits.varint(), bits.field(16)
    precision, entropy, reserved, without = bits.field(4), bits.field(2), bits.field(1), bits.field(1)
    refuse_if(reserved == 1, "reserved_bits")
    refuse_if(precision >= len(PRECISIONS) or entropy != ("none", "range", "zstd").index(coder), "out_of_range")
    parents = shape(bits, limits)
    owners, name = sorted(set(parents)), PRECISIONS[precision]
    range_coder = None
    if coder == "range":
        bits.align()
        range_coder, rows = RangeDecoder(bits.rest() if parents else b""), prior_rows(profile)
        source = RangeLists(range_coder, name, vocab_size, rows)
    lists: dict[int, Json] = {}
    room = limits["max_entries"]
    for owner in owners:
        lists[owner] = source.read(room) if range_coder else plain_list(bits, name, profile, room)
        room -= len(lists[owner]["ids"])
    refuse_if(not lists and precision != 0, "non_canonical")
    if range_coder:
        tokens = range_tokens(range_coder, parents, lists, rows, without)
    else:
        tokens = plain_tokens(bits, parents, lists, vocab_size)
    siblings = set(zip(parents, tokens, strict=True))
    refuse_if(without == 1 and len(siblings) < len(tokens), "bad_tree")
    return {
        "round": round_,
        "prefix_length": prefix_length,
        "prefix_hash": prefix_hash,
        "precision": name if lists else None,
        "without_replacement": without == 1,
        "parents": parents,
        "tokens": tokens,
        "lists": [{"parent": owner, **show_list(found, vocab_size)} for owner, found in lists.items()],
    }


def plain_tokens(bits: Bits, parents: list[int], lists: Mapping[int, Json], vocab_size: int) -> list[int]:
    """[DRAFT-4]: tokens under the entropy coder none."""
    tokens = []
    for parent in parents:
        ids = lists[parent]["ids"]
        if lists[parent]["tail"] != 0 and bits.field(1) == 1:
            token = bits.field((vocab_size - 1).bit_length())
            refuse_if(token >= vocab_size or find_rank(ids, token) is not None, "out_of_range")
            tokens.append(token)
            continue
        rank = bits.field((len(ids) - 1).bit_length())
        refuse_if(rank >= len(ids), "out_of_range")
        tokens.append(ids[rank])
    return tokens


def range_tokens(
    coder: RangeDecoder, parents: list[int], lists: Mapping[int, Json], rows: list[Sums], without: int
) -> list[int]:
    """[RLIST-9]"""
    tokens = []
    sources = {owner: Siblings(found["ids"], found["weights"], found["tail"], rows) for owner, found in lists.items()}
    for parent in parents:
        source = sources[parent]
        tail = source.tail()
        refuse_if(tail == 0 and not any(source.weights), "bad_tree")
        if tail == 32 or (tail > 0 and coder.chance(tail, 32)):
            token = coder.id(source.others, 0, MAX_VOCAB)
        else:
            token = source.ids[coder.choose(source.weights)]
        if without == 1:
            source.without(token)
        tokens.append(token)
    if parents:
        coder.end()
    return tokens


# ---------------------------------------------------------------------------------------------------- 6.2: verdicts


def verdict(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[VERDICT-2]"""
    vocab_size = profile["vocab_size"]
    round_, node, token = bits.varint(), bits.varint() - 1, bits.field((vocab_size - 1).bit_length())
    refuse_if(token >= vocab_size, "out_of_range")
    return {"round": round_, "node": node, "token": token, "end": bits.field(1) == 1}


# ------------------------------------------------------------------------------------------------ 6.3: verification


def verify(
    draft: Json,
    target_probs: Sequence[Sequence[float]],
    uniforms: Sequence[float],
    profile: Profile | None = None,
    coupling: Json | None = None,
) -> Json:
    """[VERIFY-1] to [VERIFY-5]: the verdict on a draft, in exact arithmetic but for the logarithms of 6.5.

    ``target_probs`` has a row for the prefix and one for each node, ``uniforms`` one number for each u of 6.3 or sample
    of 6.4, in turn.  The profile is needed for the prior, if there are tails, and ``coupling``, with the key as
    hexadecimal digits and the epoch, for a draft_coupled.
    """
    if draft["kind"] != "draft_list":
        return follow(draft, target_probs, list(uniforms), coupling)
    rows = prior_rows(profile or {"vocab_size": len(target_probs[0])})
    left, at = [Fraction(u) for u in uniforms], -1
    lists = {found["parent"]: found for found in draft["lists"]}
    while True:
        r = [Fraction(p) for p in target_probs[at + 1]]
        if at in lists:
            ids, weights = expand_ids(lists[at], len(r)), expand_runs(lists[at], "weight")
            source = Siblings(ids, weights, lists[at].get("tail", 0), rows)
        accepted = None
        for child in [node for node, parent in enumerate(draft["parents"]) if parent == at]:
            x, q = draft["tokens"][child], source.probabilities(len(r))
            if left.pop(0) < min(Fraction(1), r[x] / q[x]):
                accepted = child
                break
            residual = [max(Fraction(0), a - b) for a, b in zip(r, q, strict=True)]
            if sum(residual) > 0:
                r = [p / sum(residual) for p in residual]
            if draft["without_replacement"]:
                source.without(x)
        if accepted is None:
            token = bisect_right(list(accumulate(r)), left.pop(0) * sum(r))
            return {"round": draft["round"], "node": at, "token": token}
        at = accepted


# ----------------------------------------------------------- 6.4, 6.5: drafts without lists, shared random numbers


def draft_ids(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[IDS-1], [IDS-2]: draft_match and draft_coupled."""
    vocab_size = profile["vocab_size"]
    round_, prefix_length, prefix_hash = bits.varint(), bits.varint(), bits.field(16)
    parents = shape(bits, limits)
    tokens = bits.fields(len(parents), (vocab_size - 1).bit_length())
    refuse_if(any(token >= vocab_size for token in tokens), "out_of_range")
    refuse_if(len(set(zip(parents, tokens, strict=True))) < len(tokens), "bad_tree")
    place = {"round": round_, "prefix_length": prefix_length, "prefix_hash": prefix_hash}
    return {**place, "parents": parents, "tokens": tokens}


def follow(draft: Json, target_probs: Sequence[Sequence[float]], uniforms: list[float], coupling: Json | None) -> Json:
    """[IDS-3], [IDS-4]"""
    at, position = -1, draft["prefix_length"]
    while True:
        p = target_probs[at + 1]
        if draft["kind"] == "draft_match":
            exact = [Fraction(part) for part in p]
            y = bisect_right(list(accumulate(exact)), Fraction(uniforms.pop(0)) * sum(exact))
        else:
            runners = [x for x, rate in enumerate(p) if rate > 0]
            y = race(coupling or {}, position, runners, [p[x] for x in runners])[0]
        children = {draft["tokens"][node]: node for node, parent in enumerate(draft["parents"]) if parent == at}
        if y not in children:
            return {"round": draft["round"], "node": at, "token": y}
        at, position = children[y], position + 1


def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """6.5, PHILOX: Philox4x32-10."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & U32, (a >> 32) ^ c3 ^ k1, a & U32
        k0, k1 = (k0 + 0x9E3779B9) & U32, (k1 + 0xBB67AE85) & U32
    return [c0, c1, c2, c3]


def shared_number(coupling: Json, position: int, token: int) -> int:
    """[RACE-1]: n, from which u is (n + 1) / 2^53."""
    key = struct.unpack("<2I", bytes.fromhex(coupling["key"]))
    words = philox((token // 2, position, coupling["epoch"] & U32, 0), key)
    high, low = words[2:] if token % 2 else words[:2]
    return (high << 21) + (low >> 11)


def race(coupling: Json, position: int, ids: Sequence[int], rates: Sequence[float]) -> list[int]:
    """[RACE-2], [RACE-5]: the ids, which have positive rates, in the order of their arrival."""
    numbers = [(shared_number(coupling, position, token) + 1) / 2**53 for token in ids]
    times = [-math.log(u) / rate for u, rate in zip(numbers, rates, strict=True)]
    return [token for _, token in sorted(zip(times, ids, strict=True))]


# ----------------------------------------------------------------- 6.6 to 6.8: drafts with a number for each token


def grid(code: int) -> Fraction:
    """6.6: G(c); 0 for the code 4095."""
    return Fraction(A[2 * (code % 128)], 1 << 31 + code // 128) if code < 4095 else Fraction(0)


GRID = [grid(code) for code in range(4095)]


def up(prob: Fraction) -> int:
    """[GRID-1]: UP."""
    return min(bisect_right(GRID, -prob, key=lambda number: -number) - 1, 4094)


def down(prob: Fraction) -> int:
    """[GRID-1]: DOWN."""
    return bisect_left(GRID, -prob, key=lambda number: -number)


def draft_coded(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[CODED-3]: draft_scalar and draft_lazy."""
    vocab_size = profile["vocab_size"]
    round_, prefix_length, prefix_hash, count = bits.varint(), bits.varint(), bits.field(16), bits.varint()
    refuse_if(count > min(limits["max_nodes"], limits["max_depth"]), "limit_exceeded")
    tokens = bits.fields(count, (vocab_size - 1).bit_length())
    refuse_if(any(token >= vocab_size for token in tokens), "out_of_range")
    codes = bits.fields(count, 12)
    refuse_if(4095 in codes, "out_of_range")
    place = {"round": round_, "prefix_length": prefix_length, "prefix_hash": prefix_hash}
    return {**place, "parents": list(range(-1, count - 1)), "tokens": tokens, "codes": codes}


def verdict_proposals(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[PROP-6]"""
    vocab_size = profile["vocab_size"]
    place = {"round": bits.varint(), "node": bits.varint() - 1, "batch": bits.varint()}
    count = bits.field(8) + 1
    tokens = bits.fields(count, (vocab_size - 1).bit_length())
    refuse_if(any(token >= vocab_size for token in tokens), "out_of_range")
    codes, ups = bits.fields(count, 12), bits.fields(count, 1)
    refuse_if(any(up_ == 1 and code in (0, 4095) for code, up_ in zip(codes, ups, strict=True)), "out_of_range")
    return {**place, "tokens": tokens, "codes": codes, "ups": ups}


def more(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[PROP-8]"""
    round_, batch = bits.varint(), bits.varint() + 1
    refuse_if(batch > U32, "out_of_range")
    return {"round": round_, "batch": batch}


def ask_list(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """6.8"""
    return {"round": bits.varint(), "node": bits.varint() - 1}


def verdict_whole(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[FLIGHT-1]"""
    return {"round": bits.varint()}


def list_frame(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[LAZY-2]"""
    round_, precision, entropy, reserved = bits.varint(), bits.field(4), bits.field(2), bits.field(2)
    refuse_if(reserved != 0, "reserved_bits")
    coder = coder_of(profile)
    refuse_if(precision >= len(PRECISIONS) or entropy != ("none", "range", "zstd").index(coder), "out_of_range")
    name, room = PRECISIONS[precision], limits["max_entries"]
    if coder == "range":
        range_coder = RangeDecoder(bits.rest())
        found = RangeLists(range_coder, name, profile["vocab_size"], prior_rows(profile)).read(room)
        range_coder.end()
    else:
        found = plain_list(bits, name, profile, room)
    return {"round": round_, "precision": name, "list": show_list(found, profile["vocab_size"])}


def verify_chain(
    draft: Json, target_probs: Sequence[Sequence[float]], uniforms: list[float], proposals: int = 1
) -> Json:
    """[CODED-4]: the body of the edge's answer; ``proposals`` is m.  Takes what it needs of ``uniforms``."""
    for node, (x, code) in enumerate(zip(draft["tokens"], draft["codes"], strict=True)):
        p = Fraction(target_probs[node][x])
        share = grid(down(p)) if draft["kind"] == "draft_scalar" else p
        if not Fraction(uniforms.pop(0)) < min(Fraction(1), share / grid(code)):
            place = {"round": draft["round"], "node": node - 1}
            if draft["kind"] == "draft_lazy":
                return place
            return {**place, "batch": 0, **propose(target_probs[node], uniforms, proposals)}
    p_last = [Fraction(part) for part in target_probs[-1]]
    token = bisect_right(list(accumulate(p_last)), Fraction(uniforms.pop(0)) * sum(p_last))
    return {"round": draft["round"], "node": len(draft["tokens"]) - 1, "token": token}


def propose(target_probs: Sequence[float], uniforms: list[float], count: int) -> Json:
    """[PROP-1]"""
    exact = [Fraction(part) for part in target_probs]
    found: dict[str, list[int]] = {"tokens": [], "codes": [], "ups": []}
    for _ in range(count):
        y = bisect_right(list(accumulate(exact)), Fraction(uniforms.pop(0)) * sum(exact))
        p, code, is_up = exact[y], down(exact[y]), 0
        if code < 4095 and grid(code) != p:
            low, high = grid(code), grid(code - 1)
            is_up = int(not Fraction(uniforms.pop(0)) < low * (high - p) / (p * (high - low)))
        for name, value in (("tokens", y), ("codes", code), ("ups", is_up)):
            found[name].append(value)
    return found


def take(proposals: Json, q: Sequence[Fraction], uniforms: list[float]) -> int | None:
    """[PROP-2]: the position of the proposal that the device takes, or None.  ``q`` has the probability of each id."""
    for i, (y, code, is_up) in enumerate(zip(*(proposals[name] for name in ("tokens", "codes", "ups")), strict=True)):
        t = Fraction(1)
        if code < 4095:
            t -= q[y] * min(Fraction(1), grid(code) / grid(up(q[y]))) / grid(code - is_up)
        if Fraction(uniforms.pop(0)) < t:
            return i
    return None


def verify_list(
    draft: Json,
    node: int,
    found: Json,
    target_probs: Sequence[float],
    uniforms: list[float],
    profile: Profile | None = None,
) -> Json:
    """[LAZY-3], [LAZY-4]: the body of the VERDICT after a list; ValueError if it does not fit the draft.

    ``found`` is the list in the form of ``show_list``; the profile is needed for the prior, if it has a tail.
    """
    vocab_size, child = len(target_probs), node + 1
    ids, weights = expand_ids(found, vocab_size), expand_runs(found, "weight")
    source = Siblings(ids, weights, found.get("tail", 0), prior_rows(profile or {"vocab_size": vocab_size}))
    q = [Fraction(float(part)) for part in source.probabilities(vocab_size)]  # [CODED-1]: rounded once
    x = draft["tokens"][child]
    if q[x] == 0 or up(q[x]) != draft["codes"][child]:
        raise ValueError("protocol_violation")
    p = [Fraction(part) for part in target_probs]
    r = [max(Fraction(0), a - b * min(Fraction(1), a / grid(up(b)))) for a, b in zip(p, q, strict=True)]
    r = r if sum(r) > 0 else p
    token = bisect_right(list(accumulate(r)), Fraction(uniforms.pop(0)) * sum(r))
    return {"round": draft["round"], "node": node, "token": token}


def expand_ids(shown: Json, vocab_size: int) -> list[int]:
    """Ids of a list in the form of ``show_list``."""
    if "id_runs" in shown:
        return [first + i for first, count in shown["id_runs"] for i in range(count)]
    return list(range(vocab_size)) if shown["ids"] == "all" else list(shown["ids"])


def expand_runs(shown: Json, name: str) -> list[int]:
    """Codes or weights of a list in the form of ``show_list``."""
    if name + "s" in shown:
        return list(shown[name + "s"])
    return [value for value, count in shown[name + "_runs"] for _ in range(count)]


# ------------------------------------------------------------------------------------------------ 7.1: control maps


UNSIGNED = {  # first byte: bytes of the integer or length that follows, the least that has no shorter form
    **{0xCC: (1, 128), 0xCD: (2, 1 << 8), 0xCE: (4, 1 << 16), 0xCF: (8, 1 << 32)},  # integer
    **{0xC4: (1, 0), 0xC5: (2, 1 << 8), 0xC6: (4, 1 << 16)},  # binary
    **{0xD9: (1, 32), 0xDA: (2, 1 << 8), 0xDB: (4, 1 << 16)},  # string
    **{0xDC: (2, 16), 0xDD: (4, 1 << 16), 0xDE: (2, 16), 0xDF: (4, 1 << 16)},  # array, map
}


class Control:
    """[CTRL-1], [CTRL-2], [CTRL-3]: a control map; what is only wrong in its form is kept until all is read."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        refuse_if(len(data) > limits["max_control_bytes"], "limit_exceeded")
        self.data, self.at = data, 0
        self.not_finite = self.not_shortest = False
        value = self.value(0)
        refuse_if(self.at < len(data), "trailing_bytes")
        refuse_if(not isinstance(value, dict) or self.not_finite, "bad_control")
        refuse_if(self.not_shortest, "non_canonical")
        self.map: Json = value

    def octets(self, count: int) -> bytes:
        """The next bytes."""
        refuse_if(count > len(self.data) - self.at, "truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def unsigned(self, head: int) -> int:
        """The integer or length that follows the first byte ``head``."""
        size, lowest = UNSIGNED[head]
        value = int.from_bytes(self.octets(size), "big")
        self.not_shortest |= value < lowest
        return value

    def value(self, depth: int) -> Any:
        """The next value."""
        refuse_if(depth > 4, "bad_control")
        head = self.octets(1)[0]
        if head < 0x80 or head >= 0xE0:
            return head if head < 0x80 else head - 256
        if head in (0xC0, 0xC2, 0xC3):
            return (None, None, False, True)[head - 0xC0]
        if 0xCC <= head <= 0xCF:
            return self.unsigned(head)
        if 0xD0 <= head <= 0xD3:
            size = 1 << head - 0xD0
            integer = int.from_bytes(self.octets(size), "big", signed=True)
            self.not_shortest |= integer >= (-32 if size == 1 else -(1 << 4 * size - 1))
            return integer
        if head == 0xCB:
            (number,) = struct.unpack(">d", self.octets(8))
            self.not_finite |= not math.isfinite(number)
            self.not_shortest |= number == 0 and math.copysign(1, number) < 0
            return number
        if is_string(head):
            return self.string(head)
        if 0xC4 <= head <= 0xC6:
            return self.octets(self.unsigned(head))
        if head >> 4 == 0x9 or head in (0xDC, 0xDD):
            count = head & 15 if head >> 4 == 0x9 else self.unsigned(head)
            refuse_if(count > len(self.data) - self.at, "truncated")
            return [self.value(depth + 1) for _ in range(count)]
        if head >> 4 == 0x8 or head in (0xDE, 0xDF):
            count = head & 15 if head >> 4 == 0x8 else self.unsigned(head)
            refuse_if(count > len(self.data) - self.at, "truncated")
            return self.pairs(count, depth)
        raise DecodeError("bad_control")

    def string(self, head: int) -> str:
        """A string without its first byte."""
        try:
            return self.octets(head & 31 if head < 0xC0 else self.unsigned(head)).decode()
        except UnicodeDecodeError:
            raise DecodeError("bad_control") from None

    def pairs(self, count: int, depth: int) -> Json:
        """The inside of a map."""
        found: Json = {}
        before = b""
        for index in range(count):
            head = self.octets(1)[0]
            refuse_if(not is_string(head), "bad_control")
            key = self.string(head)
            self.not_shortest |= index > 0 and key.encode() <= before
            before = key.encode()
            found[key] = self.value(depth + 1)
        return found


def is_string(head: int) -> bool:
    """Whether a value that starts with ``head`` is a string."""
    return head >> 5 == 0b101 or 0xD9 <= head <= 0xDB


def tagged(value: Any) -> Any:
    """The JSON form of a control value (vectors/README.md)."""
    if isinstance(value, dict):
        return {key: tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [tagged(item) for item in value]
    if isinstance(value, bytes):
        return {"$binary": value.hex()}
    if isinstance(value, float):
        return {"$number": repr(value)}
    if isinstance(value, int) and abs(value) >= 1 << 53:
        return {"$integer": str(value)}
    return value


def fields(found: Json, types: Mapping[str, Any], *, others: bool) -> Json:
    """[CTRL-4], [CTRL-5]: the named fields, checked in turn, and as ``extra`` the others, if they may be there."""
    for name, wanted in types.items():
        refuse_if(name not in found, "bad_control")
        value = found[name]
        if isinstance(wanted, list):
            refuse_if(type(value) is not list or any(type(item) is not wanted[0] for item in value), "bad_control")
        elif wanted == LIMITS:
            inner_map(value, LIMITS)
        elif wanted in (ASKED, IN_FORCE):
            sampling(value, asked=wanted == ASKED)
        else:
            refuse_if(type(value) is not wanted, "bad_control")
    extra = {name: value for name, value in found.items() if name not in types}
    refuse_if(bool(extra) and not others, "bad_control")
    named: Json = {name: found[name].hex() if wanted is bytes else found[name] for name, wanted in types.items()}
    return {**named, "extra": tagged(extra)} if others else named


ASKED, IN_FORCE = "sampling of HELLO", "sampling of WELCOME"
LIMITS: Mapping[str, type] = dict.fromkeys(DEFAULT_LIMITS, int)
SETTINGS: Mapping[str, tuple[type, Any, float, float]] = {  # type, neutral value, least, largest
    "temperature": (float, 1.0, 0, math.inf),
    "top_k": (int, 0, 0, math.inf),
    "top_p": (float, 1.0, 0, 1),
    "min_p": (float, 0.0, 0, 1),
    "repetition_penalty": (float, 1.0, 0.01, 100),
    "presence_penalty": (float, 0.0, -2, 2),
    "frequency_penalty": (float, 0.0, -2, 2),
    "logit_bias": (list, [], 0, 0),
    "suppress_tokens": (list, [], 0, 0),
    "ignore_eos": (bool, False, 0, 1),
}
MOST_BIASES, MOST_SUPPRESSED = 300, 512


def inner_map(value: Any, types: Mapping[str, type]) -> None:
    """[HELLO-2]: ``limits``."""
    refuse_if(type(value) is not dict or value.keys() != types.keys(), "bad_control")
    refuse_if(any(type(value[name]) is not wanted for name, wanted in types.items()), "bad_control")
    refuse_if(min(value.values()) < 1, "out_of_range")


def sampling(value: Any, *, asked: bool) -> None:
    """[HELLO-5], and for WELCOME, whose settings are not ``asked`` for, [WELCOME-1]."""
    refuse_if(type(value) is not dict or (not asked and not value.keys() <= SETTINGS.keys()), "bad_control")
    known = {name: value[name] for name in SETTINGS if name in value}
    refuse_if(any(type(item) is not SETTINGS[name][0] for name, item in known.items()), "bad_control")
    biases, suppressed = known.get("logit_bias", []), known.get("suppress_tokens", [])
    pairs = [[type(item) for item in bias] if type(bias) is list else None for bias in biases]
    refuse_if(any(pair != [int, float] for pair in pairs), "bad_control")
    refuse_if(any(type(token) is not int for token in suppressed), "bad_control")
    refuse_if(len(biases) > MOST_BIASES or len(suppressed) > MOST_SUPPRESSED, "limit_exceeded")
    for tokens in ([token for token, _ in biases], suppressed):
        refuse_if(any(a >= b for a, b in pairwise(tokens)), "non_canonical")
    for tokens in ([token for token, _ in biases], suppressed):
        refuse_if(bool(tokens) and not 0 <= tokens[0] <= tokens[-1] < MAX_VOCAB, "out_of_range")
    refuse_if(any(not -100 <= bias <= 100 for _, bias in biases), "out_of_range")
    for name, item in known.items():
        kind, _, least, largest = SETTINGS[name]
        refuse_if(kind in (int, float) and not least <= item <= largest, "out_of_range")
    refuse_if(known.get("top_p") == 0, "out_of_range")
    refuse_if(not asked and any(item == SETTINGS[name][1] for name, item in known.items()), "non_canonical")


def adjusted(
    z: Sequence[float], settings: Json, prompt: Sequence[int], output: Sequence[int], ends: Json
) -> list[float]:
    """[HELLO-7], step 1: raw logits to scores; ``ends``: WELCOME's ``eos_tokens``."""
    found = list(z)
    for token, bias in settings.get("logit_bias", []):
        found[token] += bias
    penalty = settings.get("repetition_penalty", 1.0)
    for token in {*prompt, *output}:
        found[token] = found[token] * penalty if found[token] < 0 else found[token] / penalty
    for token, times in Counter(output).items():
        found[token] = found[token] - settings.get("frequency_penalty", 0.0) * times
        found[token] = found[token] - settings.get("presence_penalty", 0.0)
    for token in [*settings.get("suppress_tokens", []), *(ends if settings.get("ignore_eos") else [])]:
        found[token] = -math.inf
    return found


def target_row(z: Sequence[float], settings: Json) -> dict[int, float]:
    """[HELLO-7], steps 2 to 7: scores to the probabilities of the tokens that are kept."""
    order = sorted(range(len(z)), key=lambda token: (-z[token], token))
    temperature, top_k = settings.get("temperature", 1.0), settings.get("top_k", 0)
    if temperature == 0:
        return {order[0]: 1.0}
    w = [math.exp((score - z[order[0]]) / temperature) for score in z]
    kept = order
    if 0 < top_k < len(z):
        kept = [token for token in kept if z[token] >= z[order[top_k - 1]]]
    if settings.get("top_p", 1.0) < 1:
        limit = settings["top_p"] * math.fsum(w[token] for token in kept)
        enough = next(n for n in range(1, len(kept) + 1) if math.fsum(w[token] for token in kept[:n]) >= limit)
        kept = kept[:enough]
    kept = [token for token in kept if w[token] >= settings.get("min_p", 0.0)]
    total = math.fsum(w[token] for token in kept)
    return {token: w[token] / total for token in sorted(kept)}


def within_vocabulary(found: Json) -> None:
    """[CTRL-4]: the tokens of WELCOME's ``sampling`` are in the vocabulary."""
    named = [token for token, _ in found["sampling"].get("logit_bias", [])]
    largest = max(named + found["sampling"].get("suppress_tokens", []), default=0)
    refuse_if(largest >= found["vocab_size"], "out_of_range")


def sampling_value(settings: Json) -> Json:
    """The JSON form of ``sampling``: what is not known is shown as in ``extra``."""
    return {name: item if name in SETTINGS else tagged(item) for name, item in settings.items()}


# ------------------------------------------------------------------------------------------- 7.2 to 7.8: control frames


def control_body(bits: Bits, versions: int) -> tuple[bytes, bytes]:
    """[HELLO-1], [WELCOME-1]: the version bytes and the map."""
    bits.need(8 * (4 + versions))
    refuse_if(bits.octets(4) != b"TSLT", "not_tslt")
    return bits.octets(versions), bits.rest()


def hello(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[HELLO-1], [HELLO-2]"""
    (low, high), data = control_body(bits, 2)
    types: Json = {"vocab_size": int, "tokenizer": bytes, "model": str, "sampling": ASKED}
    types |= {"evidence": [str], "precisions": [str], "entropy": [str], "priors": [str], "limits": LIMITS}
    types |= {"resume": bytes, "nonce": bytes}
    said = Control(data, limits).map
    types |= {name: bytes for name in ("ordinary", "token_map") if name in said}
    found = fields(said, types, others=True)
    refuse_if(not 1 <= low <= high, "out_of_range")
    refuse_if(not 1 <= found["vocab_size"] <= MAX_VOCAB or len(found["tokenizer"]) != 64, "out_of_range")
    refuse_if(len(found["resume"]) > 128 or len(found["nonce"]) != 32, "out_of_range")
    refuse_if(any(len(found.get(name, "0" * 64)) != 64 for name in ("ordinary", "token_map")), "out_of_range")
    return {"min_version": low, "max_version": high, **found, "sampling": sampling_value(found["sampling"])}


def welcome(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[WELCOME-1]"""
    (version,), data = control_body(bits, 1)
    types: Json = {"vocab_size": int, "tokenizer": bytes, "transcript": bytes, "model": str, "sampling": IN_FORCE}
    types |= {
        "evidence": [str],
        "precisions": [str],
        "entropy": str,
        "prior": str,
        "limits": LIMITS,
        "context": int,
        "eos_tokens": [int],
    }
    types |= {"coupling": bytes, "resume": bytes, "resumed": bool, "held": int, "held_hash": int}
    said, may = Control(data, limits).map, {"ordinary": bytes, "begins": [int]}
    types |= {name: kind for name, kind in may.items() if name in said}
    found = fields(said, types, others=True)
    refuse_if(version == 0 or not 1 <= found["vocab_size"] <= MAX_VOCAB, "out_of_range")
    refuse_if(len(found["tokenizer"]) != 64 or len(found["transcript"]) != 32, "out_of_range")
    refuse_if(not 0 <= found["context"] <= U32 or len(found["coupling"]) not in (0, 16), "out_of_range")
    refuse_if(len(found["resume"]) > 128 or not 0 <= found["held"] <= U32, "out_of_range")
    refuse_if(not 0 <= found["held_hash"] <= U32, "out_of_range")
    refuse_if(any(not 0 <= token < found["vocab_size"] for token in found["eos_tokens"]), "out_of_range")
    refuse_if(any(not 0 <= token < found["vocab_size"] for token in found.get("begins", [])), "out_of_range")
    refuse_if(len(found.get("ordinary", "0" * 64)) != 64, "out_of_range")
    within_vocabulary(found)
    return {"version": version, **found}


def prompt(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[PROMPT-2]"""
    transcript, epoch = bits.octets(8), bits.varint()
    refuse_if(epoch == 0, "out_of_range")
    keep, count = bits.varint(), bits.varint()
    refuse_if(count > limits["max_prompt_tokens"], "limit_exceeded")
    tokens = bits.column("tokens", count, (profile["vocab_size"] - 1).bit_length())
    refuse_if(max(tokens, default=0) >= profile["vocab_size"], "out_of_range")
    return {"transcript": transcript.hex(), "epoch": epoch, "keep": keep, "tokens": tokens}


def resume(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[RESUME-1]"""
    found: Json = {"transcript": bits.octets(8).hex(), "hash": bits.field(32), "epoch": bits.varint()}
    refuse_if(found["epoch"] == 0, "out_of_range")
    found |= {name: bits.varint() for name in ("round", "prompt_length", "rejected", "batch")}
    refuse_if(found["batch"] > 0 and found["rejected"] == 0, "out_of_range")
    found["keep"], count = bits.varint(), bits.varint()
    refuse_if(count > limits["max_prompt_tokens"], "limit_exceeded")
    found["tokens"] = bits.fields(count, (profile["vocab_size"] - 1).bit_length())
    refuse_if(max(found["tokens"], default=0) >= profile["vocab_size"], "out_of_range")
    return {**found, "ended": bits.field(1)}


def error(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """[ERROR-1]"""
    found = fields(Control(bits.rest(), limits).map, {"code": int, "message": str}, others=False)
    refuse_if(not 0 <= found["code"] <= 65535, "out_of_range")
    return found


def bye(bits: Bits, profile: Profile, limits: Limits) -> Json:
    """7.6: the body is empty."""
    return {}


# ---------------------------------------------------------------------------------------------------- command line


def answer(line: str | bytes) -> Json:
    """conformance.md: what a line of the harness is answered with."""
    asked = json.loads(line)
    tables = {name: bytes.fromhex(data) for name, data in asked["profile"].get("tables", {}).items()}
    decode = decode_list if asked["form"] == "list" else decode_frame
    try:
        value = decode(bytes.fromhex(asked["hex"]), {**asked["profile"], "tables": tables}, asked["limits"])
    except DecodeError as refused:
        return {"error": refused.code}
    if asked.get("digest"):
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    return {"value": value}


def main() -> int:
    """Print the JSON of a frame or of a lone list, or the name of the error (exit status 1)."""
    parser = argparse.ArgumentParser(description="Decode a tslt-wire frame, or a lone list, to JSON.")
    parser.add_argument("--profile-vocab", type=int, default=32000, help="vocab_size of the profile")
    parser.add_argument("--entropy", choices=("none", "range", "zstd"), default="none")
    parser.add_argument("--prior", default="none")
    parser.add_argument("--table", type=Path, help="the file of a prior that is a table, instead of --prior")
    parser.add_argument("--list", action="store_true", help="a lone list instead of a frame")
    parser.add_argument("--precision", choices=PRECISIONS, default="log2/2", help="of a lone list")
    parser.add_argument("--harness", action="store_true", help="answer the lines of standard input (conformance.md)")
    parser.add_argument("hex", nargs="?")
    given = parser.parse_args()
    if given.harness == (given.hex is not None):
        parser.error("give the bytes as hexadecimal digits, or --harness")
    if given.harness:
        for line in sys.stdin.buffer:
            print(json.dumps(answer(line), separators=(",", ":")), flush=True)
        return 0
    profile = {"vocab_size": given.profile_vocab, "entropy": given.entropy, "precision": given.precision}
    profile["prior"] = given.prior
    if given.table:
        data = given.table.read_bytes()
        profile |= {"prior": table_rows(data)[0], "tables": {table_rows(data)[0]: data}}
    try:
        value = (decode_list if given.list else decode_frame)(bytes.fromhex(given.hex), profile)
    except DecodeError as refused:
        print(refused.code)
        return 1
    print(json.dumps(value))
    return 0


if __name__ == "__main__":
    sys.exit(main())
