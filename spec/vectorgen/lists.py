"""Cases of lists.json: lone lists.

Spec sections 4 and 5.1.
"""

from __future__ import annotations

import tslt_wire as tw
from spec.vectorgen.tools import Bits, Case, Group, Json, list_value, make_list

NOTES = {
    "tail": "the session has a prior; lists may have a tail",
    "full": "K = V: the ids are not on the wire",
    "varint": "a boundary of the varint widths, or a varint that is not the shortest",
    "width": "a boundary of the code width",
    "float": "a boundary of a float precision",
    "large": "a large vocabulary",
    "order": "two things are wrong; the specification says which is reported",
}
LOG = ("log2/0", "log2/1", "log2/2", "log2/3", "log2/4")
LOWEST = {"f32": 0xC1A65AF9, "f16": 0xCD32, "bf16": 0xC1A6}
"""Per float precision: the code with the smallest weight that is not 0."""
INFINITY = {"f32": 0xFF800000, "f16": 0xFC00, "bf16": 0xFF80}


class Lists:
    """Groups by vocabulary size, precision and limits."""

    def __init__(self) -> None:
        self.groups: dict[tuple[int, str, int], Group] = {}

    def group(self, vocab_size: int, precision: str, max_entries: int = 0) -> Group:
        """The group for these settings."""
        limits = {"max_entries": max_entries} if max_entries else {}
        profile = tw.Profile(vocab_size=vocab_size, precision=precision)
        return self.groups.setdefault((vocab_size, precision, max_entries), Group(profile, tw.decode_list, limits))

    def accept(self, at: tuple[int, str], ids: object, codes: object, name: str, note: str, *flags: str) -> None:
        """Add a valid list."""
        vocab_size, precision = at
        group = self.group(vocab_size, precision)
        q = make_list(vocab_size, precision, ids, codes)
        id_ = f"list/{vocab_size}/{precision.replace('/', '-')}/{name}"
        group.add(Case(id_, note, tw.encode_list(q, group.profile), list_value(q), None, flags))

    def refuse(
        self, at: tuple[int, str], data: bytes, error: str, name: str, note: str, *flags: str, limit: int = 0
    ) -> None:
        """Add bytes that are no list."""
        vocab_size, precision = at
        id_ = f"list/{vocab_size}/{precision.replace('/', '-')}/{name}"
        self.group(vocab_size, precision, limit).refuse(id_, note, data, error, *flags)


def build() -> list[Json]:
    """All groups."""
    lists = Lists()
    _valid_sizes(lists)
    _valid_codes(lists)
    _invalid_shape(lists)
    _invalid_codes(lists)
    return [group.to_json() for group in lists.groups.values()]


def _valid_sizes(lists: Lists) -> None:
    for precision in tw.Precision:
        lists.accept((1, precision), [0], [0], "only", "the one token of a vocabulary of one", "full")
        one = 0xBF800000 if precision == "f32" else 0xBC00 if precision == "f16" else 0xBF80
        code = 3 if precision.is_log else one
        lists.accept((2, precision), [1], [0], "one", "one token of two")
        lists.accept((2, precision), [0, 1], [code, 0], "full", "both tokens", "full")
        lists.accept((10, precision), [2, 3, 9], [code, 0, code], "three", "three tokens, the middle one most probable")
    for size in (127, 128, 129, 16384, 16385, 1 << 20):
        lists.accept((size, "log2/2"), range(size), [0] * size, "uniform", "all tokens, all equal", "full", "varint")
    for size in (32000, 128256, 262144):
        lists.accept((size, "log2/2"), [size - 1], [0], "last", "the last token alone", "large")
        lists.accept(
            (size, "log2/4"), [0, 1, size // 2, size - 1], [37, 0, 480, 12], "four", "first and last token", "large"
        )
        lists.accept((size, "log2/2"), range(size), [0] * size, "uniform", "all tokens, all equal", "large", "full")
        codes = [min(30, i // (size // 31)) for i in range(size)]
        if size == 32000:
            lists.accept((size, "log2/0"), range(size), codes, "staircase", "all tokens, falling", "large", "full")
        for count in (127, 128, 129):
            ids = [7 + i * (size // 130) for i in range(count)]
            codes = [i * 5 % 121 for i in range(count)]
            lists.accept((size, "log2/2"), ids, codes, f"k{count}", f"{count} tokens", "large", "varint")
    lists.accept(
        (32000, "f16"), range(100, 132), [0, *range(0xBC00, 0xBC1F)], "f16", "32 tokens, -1.0 and below", "large"
    )


def _valid_codes(lists: Lists) -> None:
    for precision in LOG:
        top = 30 << int(precision[-1])
        for width in range(top.bit_length() + 1):
            code = min((1 << width) - 1, top)
            lists.accept((5, precision), [1, 3], [0, code], f"width{width}", f"codes of {width} bits", "width")
    for name, lowest in LOWEST.items():
        negative = 1 << (31 if name == "f32" else 15)
        lists.accept((5, name), [1, 3], [0, negative + 1], "subnormal", "a logit just below the largest", "float")
        lists.accept((5, name), [0, 4], [lowest, 0], "lowest", "the smallest weight there is", "float")
        lists.accept((5, name), [0, 1, 4], [0, 0, 0], "equal", "three equal tokens")


def _head(count: int, ids: list[int], id_width: int) -> Bits:
    return Bits().varint(count - 1).each(ids, id_width)


def _invalid_shape(lists: Lists) -> None:
    v, p = 10, "log2/2"
    good = _head(2, [2, 7], 4).put(2, 4).each([0, 3], 2).done()
    lists.refuse((v, p), b"", "truncated", "empty", "no bytes at all")
    lists.refuse((v, p), good[:1], "truncated", "no-ids", "ends after the count")
    lists.refuse((v, p), good[:2], "truncated", "no-width", "ends after the ids")
    lists.refuse(
        (v, p), Bits().varint(2).each([0, 1, 2], 4).put(7, 4).done(), "truncated", "no-codes", "ends after the width"
    )
    wide = Bits().varint(2).each([0, 1, 2], 4).put(8, 4).done()
    lists.refuse((v, p), wide, "out_of_range", "too-wide-no-codes", "8 bits in log2/2; the codes are missing", "order")
    lists.refuse(
        (v, p),
        Bits().varint(2).done(),
        "limit_exceeded",
        "limit-no-ids",
        "3 entries of 2, none there",
        "order",
        limit=2,
    )
    lists.refuse(
        (v, p), Bits().varint(10).done(), "bad_list", "eleven", "11 tokens of 10; the ids are missing, too", "order"
    )
    lists.refuse(
        (v, p), Bits().varint(128, 1).done()[:1], "truncated", "half-varint", "a varint that goes on", "varint"
    )
    lists.refuse(
        (v, p), Bits().varint(1, 2).raw(good[1:]).done(), "non_canonical", "long-varint", "81 00 for 1", "varint"
    )
    lists.refuse((v, p), bytes.fromhex("8080808000"), "non_canonical", "five-zero", "a last group of 0", "varint")
    lists.refuse((v, p), bytes.fromhex("8080808010"), "out_of_range", "varint-33-bits", "2^32 as a varint", "varint")
    lists.refuse(
        (v, p), bytes.fromhex("808080808001"), "out_of_range", "varint-six", "a varint of six groups", "varint"
    )
    lists.refuse((v, p), bytes.fromhex("ffffffff0f"), "bad_list", "varint-max", "2^32 tokens", "varint")
    lists.refuse((v, p), _head(2, [7, 2], 4).put(2, 4).each([0, 3], 2).done(), "bad_list", "descending", "ids 7, 2")
    lists.refuse((v, p), _head(2, [2, 2], 4).put(2, 4).each([0, 3], 2).done(), "bad_list", "repeated", "ids 2, 2")
    lists.refuse((v, p), _head(2, [2, 10], 4).put(2, 4).each([0, 3], 2).done(), "bad_list", "outside", "id 10 of 10")
    lists.refuse((v, p), _head(1, [15], 4).put(0, 4).done(), "bad_list", "far-outside", "id 15 of 10")
    unsorted = _head(2, [7, 2], 4).put(3, 4).each([0, 3], 3).done()
    lists.refuse((v, p), unsorted, "non_canonical", "unsorted-wide", "ids 7, 2 and codes too wide", "order")
    lists.refuse((v, p), good + b"\0", "trailing_bytes", "zero-byte", "one byte too many")
    lists.refuse((v, p), good + b"\1", "trailing_bytes", "one-byte", "one byte too many, not 0", "order")
    padded = _head(1, [3], 4).put(0, 4).done()
    lists.refuse((v, p), padded + padded, "trailing_bytes", "two-lists", "two lists")
    lists.refuse(
        (3, p), Bits().varint(0).put(2, 2).put(0, 4).done(1), "reserved_bits", "padding", "the first padding bit is 1"
    )
    lists.refuse((3, p), Bits().varint(0).put(2, 2).put(0, 4).done(2), "reserved_bits", "last-bit", "the last bit is 1")
    lists.refuse((v, p), _head(3, [1, 2, 3], 4).put(0, 4).done(), "limit_exceeded", "limit", "3 entries of 2", limit=2)
    lists.refuse((v, p), Bits().varint(10).done(), "bad_list", "limit-and-vocab", "11 tokens", "order", limit=2)
    lists.refuse((1 << 20, p), bytes.fromhex("80803f"), "truncated", "million", "1,032,193 ids and none there", "large")
    lists.refuse((262144, p), bytes.fromhex("ffff0f"), "truncated", "no-width", "all tokens, no width", "large", "full")


def _invalid_codes(lists: Lists) -> None:
    for precision in LOG:
        top = 30 << int(precision[-1])
        width = top.bit_length()
        if top + 1 < 1 << width:
            over = _head(2, [2, 7], 4).put(width, 4).each([0, top + 1], width).done()
            lists.refuse((10, precision), over, "bad_list", "code-over", f"code {top + 1}, whose weight is 0", "width")
        wide = _head(2, [2, 7], 4).put(width + 1, 4).each([0, 3], width + 1).done()
        lists.refuse((10, precision), wide, "out_of_range", "too-wide", f"codes of {width + 1} bits", "width")
        loose = _head(2, [2, 7], 4).put(3, 4).each([0, 3], 3).done()
        lists.refuse((10, precision), loose, "non_canonical", "loose", "3 bits for codes up to 3", "width")
        zeros = _head(2, [2, 7], 4).put(1, 4).each([0, 0], 1).done()
        lists.refuse((10, precision), zeros, "non_canonical", "loose-zero", "1 bit for codes that are all 0", "width")
        no_top = _head(2, [2, 7], 4).put(2, 4).each([1, 3], 2).done()
        lists.refuse((10, precision), no_top, "bad_list", "no-zero", "no code is 0")
    for name, lowest in LOWEST.items():
        bits = 32 if name == "f32" else 16
        bad = {
            "minus-zero": (1 << (bits - 1), "-0.0"),
            "positive": (1, "a logit above the largest"),
            "infinite": (INFINITY[name], "minus infinity"),
            "nan": (INFINITY[name] + 1, "not a number"),
            "plus-infinity": (INFINITY[name] & ~(1 << (bits - 1)), "plus infinity"),
            "weight-zero": (lowest + 1, "the first logit whose weight is 0"),
            "deep": (INFINITY[name] - 1, "the lowest finite number"),
        }
        for label, (code, note) in bad.items():
            lists.refuse((10, name), _head(2, [2, 7], 4).each([0, code], bits).done(), "bad_list", label, note, "float")
        lists.refuse((10, name), _head(1, [7], 4).put(0xBC00, bits).done(), "bad_list", "no-zero", "no code is 0")
        lists.refuse((10, name), _head(2, [2, 7], 4).put(0, bits).done(), "truncated", "no-code", "one code of two")
