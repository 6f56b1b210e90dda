"""Invalid cases of frames.json, packed by hand.

Spec section 9: every error a decoder can give, and the order of checks where two apply.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from spec.vectorgen import bad_extensions, bad_resumptions, bad_sampling, bad_vocabularies
from spec.vectorgen.tools import Bits, sealed

Refuse = Callable[..., None]


def add(refuse: Refuse) -> None:
    """Add all of them; ``refuse(vocab_size, data, error, name, note, *flags, **limits)``."""
    _layout(refuse)
    bad_extensions.add(refuse)
    _rounds(refuse)
    _drafts(refuse)
    _shapes(refuse)
    _control(refuse)
    _hello(refuse)
    _welcome(refuse)
    bad_resumptions.add(refuse)


def _layout(refuse: Refuse) -> None:
    bye = sealed(b"\x05")
    refuse(1, b"", "truncated", "empty", "no bytes")
    refuse(1, bye[:4], "truncated", "four-bytes", "no frame has fewer than 5 bytes")
    refuse(1, sealed(b""), "truncated", "checksum-only", "a checksum of nothing")
    refuse(1, b"\x05" + bytes([bye[1] ^ 1]) + bye[2:], "bad_checksum", "checksum-low", "the lowest checksum bit")
    refuse(1, bye[:4] + bytes([bye[4] ^ 0x80]), "bad_checksum", "checksum-high", "the highest checksum bit")
    refuse(1, b"\x05" + bye[:0:-1], "bad_checksum", "checksum-big-endian", "the checksum, big-endian")
    refuse(1, b"\x85" + bye[1:], "bad_checksum", "damaged-kind", "a damaged first byte", "order")
    refuse(1, sealed(b"\x85"), "reserved_bits", "kind-reserved", "bit 7 of the first byte")
    refuse(1, sealed(b"\x80"), "reserved_bits", "kind-reserved-unknown", "bit 7, and kind 0", "order")
    for kind in (0x00, 0x07, 0x0F, 0x17, 0x3F):
        refuse(1, sealed(bytes([kind])), "unknown_kind", f"kind-{kind:02x}", f"kind 0x{kind:02x}")
    refuse(1, sealed(b"\x7f\x00"), "unknown_kind", "kind-3f-ext", "kind 0x3f with no extensions", "order")
    refuse(1, sealed(b"\x05\x00"), "trailing_bytes", "bye-zero", "a BYE with a body")
    refuse(1, sealed(b"\x05" + bye), "trailing_bytes", "bye-twice", "a frame in a BYE")
    refuse(1, bye, "limit_exceeded", "frame-limit", "5 bytes where 4 are allowed", "limit", max_frame_bytes=4)
    refuse(1, b"\x05\0\0\0\0", "limit_exceeded", "frame-limit-damaged", "and damaged", "order", max_frame_bytes=4)


def _rounds(refuse: Refuse) -> None:
    def verdict(size: int, error: str, name: str, bits: Bits, note: str, *flags: str, padding: int = 0) -> None:
        refuse(size, sealed(bits.done(padding)), error, f"verdict-{name}", note, *flags)

    def head() -> Bits:
        return Bits().put(0x08, 8)

    verdict(10, "truncated", "nothing", head(), "no body")
    verdict(10, "truncated", "no-node", head().varint(3), "ends after round")
    verdict(10, "truncated", "no-token", head().varint(3).varint(0), "ends after node")
    verdict(256, "truncated", "no-end", head().varint(3).varint(0).put(9, 8), "ends after token")
    verdict(10, "out_of_range", "token", head().varint(3).varint(0).put(10, 4).put(0, 1), "token 10 of 10")
    verdict(200, "out_of_range", "token-no-end", head().varint(3).varint(0).put(200, 8), "and no end bit", "order")
    verdict(10, "non_canonical", "long-round", head().varint(3, 2).varint(0).put(1, 5), "83 00 for 3", "varint")
    verdict(
        10,
        "out_of_range",
        "round-33-bits",
        head().raw(bytes.fromhex("8080808010")).varint(0).put(1, 5),
        "2^32",
        "varint",
    )
    verdict(10, "reserved_bits", "padding", head().varint(3).varint(0).put(1, 5), "the last bit is 1", padding=4)
    verdict(10, "trailing_bytes", "trailing", head().varint(3).varint(0).put(1, 5).put(0, 11), "one byte too many")
    verdict(
        10, "trailing_bytes", "trailing-padding", head().varint(3).varint(0).put(1, 5).put(7, 11), "and 1 bits", "order"
    )

    def prompt(size: int, error: str, name: str, bits: Bits, note: str, *flags: str, **limits: int) -> None:
        refuse(size, sealed(bits.done()), error, f"prompt-{name}", note, *flags, **limits)

    def start() -> Bits:
        return Bits().put(0x03, 8).raw(bytes(8)).varint(1)

    prompt(10, "truncated", "short-transcript", Bits().put(0x03, 8).raw(bytes(7)), "7 bytes of transcript")
    prompt(10, "truncated", "no-epoch", Bits().put(0x03, 8).raw(bytes(8)), "ends after transcript")
    zero = Bits().put(0x03, 8).raw(bytes(8)).varint(0)
    prompt(10, "out_of_range", "epoch-0", zero.varint(0).varint(1).put(1, 4), "epochs are numbered from 1")
    prompt(10, "out_of_range", "epoch-0-short", zero, "epoch 0, and nothing after it", "order")
    prompt(10, "truncated", "no-keep", start(), "ends after epoch")
    prompt(10, "truncated", "no-count", start().varint(0), "ends after keep")
    prompt(10, "truncated", "no-tokens", start().varint(0).varint(3).put(1, 4), "2 tokens of 3")
    prompt(10, "truncated", "huge", start().varint(0).varint(262144), "262,144 tokens, none there")
    prompt(10, "limit_exceeded", "limit", start().varint(0).varint(262145), "one more than the limit", "limit", "order")
    small = start().varint(0).varint(3).each([1, 2, 3], 4)
    prompt(10, "limit_exceeded", "limit-2", small, "3 tokens of 2", "limit", max_prompt_tokens=2)
    prompt(1, "limit_exceeded", "limit-v1", start().varint(0).varint(262145), "tokens without bits", "limit")
    prompt(10, "out_of_range", "token", start().varint(0).varint(2).each([1, 10], 4), "token 10 of 10")
    prompt(
        10,
        "truncated",
        "token-and-short",
        start().varint(0).varint(3).each([15, 15], 4),
        "15 of 10; one missing",
        "order",
    )
    prompt(10, "trailing_bytes", "trailing", start().varint(0).varint(0).raw(b"\0"), "a byte too many")


def draft_head(precision: int = 4, entropy: int = 0, reserved: int = 0, without: int = 0) -> Bits:
    """A DRAFT_LIST up to its shape: round 7, prefix length 5."""
    bits = Bits().put(0x10, 8).varint(7).varint(5).put(0xBEEF, 16)
    return bits.put(precision, 4).put(entropy, 2).put(reserved, 1).put(without, 1)


def _list(bits: Bits) -> Bits:
    return bits.varint(1).each([2, 7], 4).put(2, 4).each([0, 3], 2)


def _drafts(refuse: Refuse) -> None:
    def bad(error: str, name: str, bits: Bits, note: str, *flags: str, padding: int = 0, **limits: int) -> None:
        refuse(10, sealed(bits.done(padding)), error, f"draft-{name}", note, *flags, **limits)

    bad("truncated", "nothing", Bits().put(0x10, 8), "no body")
    bad("truncated", "no-hash", Bits().put(0x10, 8).varint(7).varint(5).put(0, 8), "half a prefix_hash")
    bad("truncated", "no-format", Bits().put(0x10, 8).varint(7).varint(5).put(0, 16), "ends after prefix_hash")
    bad("truncated", "no-shape", draft_head(), "ends after the format byte")
    bad("truncated", "no-list", draft_head().varint(4), "one node and no list")
    for precision in (8, 15):
        bad(
            "out_of_range",
            f"precision-{precision}",
            _list(draft_head(precision).varint(4)).put(1, 1),
            "unknown precision",
        )
    for entropy in (1, 2, 3):
        bad(
            "out_of_range",
            f"entropy-{entropy}",
            _list(draft_head(4, entropy).varint(4)).put(1, 1),
            "not the session's coder",
        )
    bad("reserved_bits", "reserved", _list(draft_head(reserved=1).varint(4)).put(1, 1), "bit 6 of the format byte")
    bad("reserved_bits", "reserved-precision", draft_head(15, 3, 1).varint(4), "and unknown precision", "order")
    bad("non_canonical", "empty-precision", draft_head().varint(0), "no lists, and a precision")
    bad(
        "truncated", "no-rank", _list(Bits().put(0x10, 8).varint(7).varint(5).put(0, 16).put(4, 8).varint(4)), "no rank"
    )
    three = draft_head().varint(4).varint(2).each([1, 2, 3], 4).put(0, 4)
    bad("out_of_range", "rank", three.put(3, 2), "rank 3 in a list of 3")
    twice = _list(draft_head(without=1).varint(1 << 2 | 1).varint(2))
    bad("bad_tree", "equal-siblings", twice.each([1, 1], 1), "equal siblings, without replacement")
    one = draft_head(without=1).varint(1 << 2 | 1).varint(2).varint(0).put(3, 4).put(0, 4)
    bad("bad_tree", "equal-siblings-k1", one, "two siblings from a list of one, without replacement")
    bad(
        "bad_tree",
        "equal-siblings-padding",
        _list(draft_head(without=1).varint(5).varint(2)).each([1, 1], 1),
        "equal siblings, and a padding bit",
        "order",
        padding=1,
    )
    bad("reserved_bits", "padding", _list(draft_head().varint(4)).put(1, 1), "a padding bit", padding=1)
    bad("trailing_bytes", "trailing", _list(draft_head().varint(4)).put(1, 1).put(0, 16), "bytes too many")
    unsorted = draft_head().varint(4).varint(1).each([7, 2], 4).put(2, 4).each([0, 3], 2).put(0, 1)
    bad("bad_list", "unsorted", unsorted, "ids 7, 2")
    bad("bad_list", "eleven", draft_head().varint(4).varint(10), "a list of 11 tokens of 10")
    bad(
        "non_canonical",
        "loose-codes",
        draft_head().varint(4).varint(0).put(2, 4).put(1, 4).put(0, 1),
        "1 bit for code 0",
    )
    bad(
        "out_of_range", "code-width", draft_head().varint(4).varint(0).put(2, 4).put(7, 4).put(0, 7), "7 bits in log2/1"
    )
    two = _list(_list(draft_head().varint(2 << 2))).each([1, 0], 1)
    bad("limit_exceeded", "entries", two, "2 + 2 entries of 3", "limit", max_entries=3)
    bad("limit_exceeded", "entries-used-up", two, "2 + 2 entries of 2", "limit", max_entries=2)


def _shapes(refuse: Refuse) -> None:
    def bad(error: str, name: str, bits: Bits, note: str, *flags: str, **limits: int) -> None:
        refuse(10, sealed(bits.done()), error, f"shape-{name}", note, "shape", *flags, **limits)

    def shape(size: int, form: int) -> Bits:
        return draft_head().varint(size << 2 | form)

    def expansion(*layers: int) -> Bits:
        bits = shape(len(layers), 1)
        for k in layers:
            bits.varint(k)
        return bits

    bad("limit_exceeded", "chain-1025", shape(1025, 0), "1,025 nodes", "limit")
    bad("limit_exceeded", "chain-huge", shape((1 << 30) - 1, 0), "2^30 - 1 nodes", "limit")
    bad("limit_exceeded", "chain-257", shape(257, 0), "a path of 257 nodes", "limit")
    bad("limit_exceeded", "nodes-limit", shape(3, 0), "3 nodes of 2", "limit", max_nodes=2)
    bad("limit_exceeded", "depth-limit", expansion(2, 1, 1), "depth 3 of 2", "limit", max_depth=2)
    for name, tree, leaves in (
        ("expansion", expansion(2, 2), 4),
        ("levels", shape(4, 2).put(0b010111, 6), 3),
        ("parents", shape(4, 3).put(1, 1).put(0, 2).put(2, 2), 2),
    ):
        bad(
            "limit_exceeded", f"leaves-{name}", tree, f"{leaves} leaves of {leaves - 1}", "limit", max_leaves=leaves - 1
        )
    fork = shape(3, 3).put(1, 1).put(0, 2)
    bad("limit_exceeded", "leaves-half-list", fork.put(0, 9), "2 leaves of 1, and half a list", "order", max_leaves=1)
    wrong = shape(3, 3).put(0, 1).put(1, 2)
    bad("non_canonical", "leaves-other-form", wrong, "LEVELS as PARENTS, and 2 leaves of 1", "order", max_leaves=1)
    bad("limit_exceeded", "layers", shape(257, 1), "257 layers, none there", "limit", "order")
    bad("limit_exceeded", "expansion-1025", expansion(1025), "1,025 children", "limit")
    bad("limit_exceeded", "expansion-product", expansion(32, 32), "32 + 1,024 nodes", "limit")
    bad("limit_exceeded", "expansion-huge", expansion(0xFFFFFFFF, 0xFFFFFFFF), "2^64 nodes", "limit")
    bad("bad_tree", "expansion-zero", expansion(0), "a layer without children")
    bad("bad_tree", "expansion-2-0", expansion(2, 0), "a second layer without children")
    bad("truncated", "expansion-short", shape(2, 1).varint(2), "one layer of two")
    bad("non_canonical", "expansion-1-1", expansion(1, 1), "a chain as EXPANSION")
    bad("non_canonical", "expansion-none", shape(0, 1), "the empty tree as EXPANSION")
    bad("non_canonical", "levels-none", shape(0, 2), "the empty tree as LEVELS")
    bad("non_canonical", "parents-none", shape(0, 3), "the empty tree as PARENTS")
    bad("non_canonical", "levels-chain", shape(2, 2).put(0b101, 3), "a chain as LEVELS")
    bad("non_canonical", "levels-expansion", shape(2, 2).put(0b11, 2), "<2> as LEVELS")
    bad("non_canonical", "parents-chain", shape(2, 3).put(1, 1), "a chain as PARENTS")
    bad("non_canonical", "parents-expansion", shape(2, 3).put(0, 1), "<2> as PARENTS")
    bad("non_canonical", "parents-levels", shape(3, 3).put(0, 1).put(1, 2), "parents -1, -1, 0 as PARENTS")
    deep = shape(4, 3).put(1, 1).put(2, 2).put(3, 2)
    bad("non_canonical", "parents-chain-deep", deep, "a chain as PARENTS, and too deep", "order", max_depth=2)
    bad("bad_tree", "levels-orphan", shape(2, 2).put(0b0, 1), "the prefix has no child")
    bad("bad_tree", "levels-stuck", shape(3, 2).put(0b0001, 4), "a node that nobody can be the parent of")
    bad("bad_tree", "parents-self", shape(3, 3).put(1, 1).put(3, 2), "node 2 is its own parent")
    short = Bits().put(1, 1).put(3, 2)
    bad("bad_tree", "parents-self-short", shape(9, 3).raw(short.done()), "and parents of 4 nodes of 9", "order")
    bad("bad_tree", "levels-stuck-short", shape(99, 2).put(0b0001, 4), "and bits of 95 more are missing", "order")
    bad(
        "truncated",
        "levels-short",
        Bits().put(0x10, 8).varint(7).varint(5).put(0, 16).put(4, 8).varint(9 << 2 | 2).put(0xFF, 8),
        "8 of 9 children",
    )
    bad("truncated", "parents-short", shape(9, 3).put(1, 8), "parents of 4 nodes of 9")
    bad(
        "limit_exceeded",
        "parents-deep",
        shape(4, 3).put(1, 1).put(0, 2).put(2, 2),
        "depth 3 of 2",
        "limit",
        max_depth=2,
    )


def _text(value: str) -> bytes:
    data = value.encode()
    if len(data) > 31:
        raise ValueError("short strings only")
    return bytes([0xA0 | len(data)]) + data


def _map(pairs: dict[str, bytes]) -> bytes:
    head = bytes([0x80 | len(pairs)]) if len(pairs) < 16 else b"\xde" + struct.pack(">H", len(pairs))
    return head + b"".join(_text(key) + pairs[key] for key in sorted(pairs))


def _control(refuse: Refuse) -> None:
    def bad(error: str, name: str, body: bytes, note: str, *flags: str, **limits: int) -> None:
        refuse(1, sealed(b"\x04" + body), error, f"control-{name}", note, "control", *flags, **limits)

    def code(value: bytes) -> bytes:
        return b"\x82" + _text("code") + value + _text("message") + _text("m")

    bad("truncated", "nothing", b"", "no map")
    bad("truncated", "no-pairs", b"\x82", "two pairs, no bytes")
    bad("truncated", "no-value", b"\x81" + _text("code"), "a key without its value")
    bad("truncated", "half-integer", b"\x82" + _text("code") + b"\xcd\x01", "half an integer")
    bad("truncated", "no-integer", b"\x82" + _text("code") + b"\xcf", "an integer of 8 bytes, none there")
    bad("truncated", "half-negative", b"\x82" + _text("code") + b"\xd3" + bytes(7), "7 bytes of 8")
    bad("truncated", "no-number", b"\x82" + _text("code") + b"\xcb", "a binary64 without bytes")
    bad("truncated", "half-number", b"\x82" + _text("code") + b"\xcb\x7f\xf8\0\0", "half a binary64, a NaN so far")
    bad("truncated", "short-string", b"\x81\xa4co", "2 bytes of 4")
    bad("truncated", "huge-map", b"\xdf\xff\xff\xff\xff", "2^32 - 1 pairs")
    bad("truncated", "huge-array", b"\x81" + _text("code") + b"\xdd\xff\xff\xff\xff", "2^32 - 1 items")
    bad("truncated", "huge-binary", b"\x81" + _text("code") + b"\xc6\xff\xff\xff\xff", "2^32 - 1 bytes")
    bad("bad_control", "array", b"\x92\x01\x02", "an array for a map")
    bad("bad_control", "integer", b"\x01", "an integer for a map")
    bad("trailing_bytes", "integer-trailing", b"\x01\x02", "an integer for a map, and more", "order")
    bad("bad_control", "integer-key", b"\x81\x01\x02", "a key that is no string")
    bad("bad_control", "binary-key", b"\x81\xc4\x01a\x02", "a key that is binary")
    for tag in ("c1", "ca", "c7", "d4", "d8"):
        bad(
            "bad_control",
            f"type-{tag}",
            b"\x81" + _text("code") + bytes.fromhex(tag),
            f"type {tag}, and nothing after it",
            "order",
        )
    bad("bad_control", "utf8", b"\x81\xa1\xff\x01", "a key that is not UTF-8")
    bad("bad_control", "utf8-surrogate", b"\x81\xa3\xed\xa0\x80\x01", "a surrogate in UTF-8")
    bad("bad_control", "utf8-overlong", b"\x81\xa2\xc0\xaf\x01", "an overlong form in UTF-8")
    nested = b"\x81" + _text("z") + b"\x91\x91\x91\x91\x01"
    bad("bad_control", "deep", nested, "a value at depth 5")
    nested = b"\x81" + _text("z") + b"\x91\x91\x91\x81\xa2k"
    bad("truncated", "deep-key", nested, "a value at depth 5, but its key is cut short", "order")
    bad("bad_control", "nan", code(b"\xcb\x7f\xf8" + bytes(6)), "not a number")
    bad("bad_control", "infinity", code(b"\xcb\xff\xf0" + bytes(6)), "minus infinity")
    bad("non_canonical", "minus-zero", code(b"\xcb\x80" + bytes(7)), "-0.0")
    for name, value in (
        ("cc", b"\xcc\x01"),
        ("cd", b"\xcd\x00\xff"),
        ("ce", b"\xce\x00\x00\xff\xff"),
        ("d0", b"\xd0\x01"),
        ("cf", b"\xcf\0\0\0\0\xff\xff\xff\xff"),
        ("d0-small", b"\xd0\xe0"),
        ("d1", b"\xd1\xff\x80"),
    ):
        bad("non_canonical", f"long-{name}", code(value), "an integer that is not in its shortest form")
    bad(
        "non_canonical",
        "long-string",
        b"\x82" + _text("code") + b"\x01" + _text("message") + b"\xd9\x01m",
        "a long string",
    )
    bad("non_canonical", "long-map", b"\xde\x00\x02" + code(b"\x01")[1:], "a long map head")
    bad(
        "non_canonical",
        "key-order",
        b"\x82" + _text("message") + _text("m") + _text("code") + b"\x01",
        "keys out of order",
    )
    bad("non_canonical", "key-twice", b"\x83" + _text("code") + b"\x01" + code(b"\x01")[1:], "a key twice")
    bad(
        "bad_control",
        "nan-and-order",
        b"\x82\xa1b\xcb\x7f\xf8" + bytes(6) + b"\xa1a\x01",
        "a NaN, keys out of order",
        "order",
    )
    bad("trailing_bytes", "trailing", code(b"\x01") + b"\xc0", "a nil after the map")
    bad(
        "limit_exceeded",
        "limit",
        code(b"\x01"),
        "a map of 17 bytes where 16 are allowed",
        "limit",
        max_control_bytes=16,
    )
    bad("bad_control", "no-code", _map({"message": _text("m")}), "code is missing")
    bad("bad_control", "no-message", _map({"code": b"\x01"}), "message is missing")
    bad("bad_control", "code-string", code(_text("1")), "code is a string")
    bad("bad_control", "code-number", code(b"\xcb\x3f\xf0" + bytes(6)), "code is a number, 1.0")
    bad("bad_control", "code-bool", code(b"\xc3"), "code is true")
    bad("bad_control", "code-nil", code(b"\xc0"), "code is nil")
    bad(
        "bad_control", "extra", _map({"code": b"\x01", "message": _text("m"), "more": b"\x01"}), "a field ERROR has not"
    )
    both = _map({"code": b"\xff", "message": _text("m"), "more": b"\x01"})
    bad("bad_control", "extra-and-range", both, "a field ERROR has not, and code -1", "order")
    bad("out_of_range", "code-65536", code(b"\xce\x00\x01\x00\x00"), "code 65536")
    bad("out_of_range", "code-negative", code(b"\xff"), "code -1")


_LIMITS = {
    "max_control_bytes": b"\xce\x00\x01\x00\x00",
    "max_depth": b"\x10",
    "max_entries": b"\x10",
    "max_extensions": b"\x10",
    "max_frame_bytes": b"\xce\x00\x01\x00\x00",
    "max_leaves": b"\x10",
    "max_nodes": b"\x10",
    "max_prompt_tokens": b"\x10",
}
_SAMPLING = {"temperature": b"\xcb" + bytes(8), "top_k": b"\x00", "top_p": b"\xcb\x3f\xf0" + bytes(6)}
_HELLO: dict[str, bytes] = {
    "vocab_size": b"\x0a",
    "tokenizer": b"\xc4\x20" + bytes(32),
    "model": b"\xa0",
    "sampling": _map(_SAMPLING),
    "evidence": b"\x91" + _text("list"),
    "precisions": b"\x91" + _text("f16"),
    "entropy": b"\x91" + _text("none"),
    "priors": b"\x91" + _text("none"),
    "limits": _map(_LIMITS),
    "resume": b"\xc4\x00",
    "nonce": b"\xc4\x10" + bytes(16),
}
_WELCOME: dict[str, bytes] = {
    **{name: _HELLO[name] for name in ("vocab_size", "tokenizer", "model", "evidence", "precisions", "limits")},
    "sampling": b"\x80",
    "transcript": b"\xc4\x10" + bytes(16),
    "entropy": _text("none"),
    "prior": _text("none"),
    "context": b"\x00",
    "eos_tokens": b"\x91\x02",
    "coupling": b"\xc4\x00",
    "resume": b"\xc4\x00",
    "resumed": b"\xc2",
    "held": b"\x00",
    "held_hash": b"\x00",
}


def _hello(refuse: Refuse) -> None:
    def bad(error: str, name: str, note: str, *flags: str, head: bytes = b"TSLT\x01\x01", **changes: Any) -> None:
        fields = {key: value for key, value in (_HELLO | changes).items() if value is not None}
        refuse(1, sealed(b"\x01" + head + _map(fields)), error, f"hello-{name}", note, "control", *flags)

    refuse(1, sealed(b"\x01TSLT\x01"), "truncated", "hello-short", "5 bytes", "control")
    refuse(1, sealed(b"\x01HTTP\x01"), "truncated", "hello-short-magic", "5 bytes and no magic", "control", "order")
    refuse(1, sealed(b"\x01TSLT\x01\x01"), "truncated", "hello-no-map", "no map", "control")
    bad("not_tslt", "magic", "lower-case magic", head=b"tslt\x01\x01")
    bad("out_of_range", "version-0", "min_version 0", head=b"TSLT\x00\x01")
    bad("out_of_range", "version-order", "min_version 3, max_version 2", head=b"TSLT\x03\x02")
    bad("bad_control", "version-and-field", "min_version 0, and no resume", "order", head=b"TSLT\x00\x01", resume=None)
    bad("bad_control", "vocab-and-field", "a vocabulary of 0, and no resume", "order", vocab_size=b"\x00", resume=None)
    bad("bad_control", "deep", "an unknown field with a value at depth 5", more=b"\x91\x91\x91\x91\x01")
    absent: Any = None
    for name in _HELLO:
        bad("bad_control", f"no-{name}", f"{name} is missing", **{name: absent})
        bad("bad_control", f"nil-{name}", f"{name} is nil", **{name: b"\xc0"})
    bad("out_of_range", "vocab-0", "a vocabulary of 0", vocab_size=b"\x00")
    bad("out_of_range", "vocab-large", "a vocabulary of 2^20 + 1", vocab_size=b"\xce\x00\x10\x00\x01")
    bad("out_of_range", "tokenizer-31", "a fingerprint of 31 bytes", tokenizer=b"\xc4\x1f" + bytes(31))
    sizes = {"tokenizer": (0, 33), "nonce": (0, 15, 17), "resume": (65,)}
    for name, size in ((name, size) for name, some in sizes.items() for size in some):
        key = bytes([0xC4, size]) + bytes(size)
        bad("out_of_range", f"{name}-{size}", f"a {name} of {size} bytes", **{name: key})
    bad("bad_control", "tokenizer-text", "a fingerprint that is a string", tokenizer=_text("x" * 31))
    bad_vocabularies.add_hellos(bad)
    bad("bad_control", "evidence-integer", "an evidence name that is an integer", evidence=b"\x91\x01")
    bad("bad_control", "priors-integer", "a prior that is an integer", priors=b"\x91\x01")
    bad_sampling.add(partial(_settings, bad, _SAMPLING), of_welcome=False)
    bad(
        "out_of_range",
        "sampling-first",
        "top_k -1, and no resume",
        "order",
        sampling=_map(_SAMPLING | {"top_k": b"\xff"}),
        resume=None,
    )
    bad("bad_control", "limits-extra", "a limit that is not known", limits=_map(_LIMITS | {"max_fun": b"\x01"}))
    fewer = {name: value for name, value in _LIMITS.items() if name != "max_leaves"}
    bad("bad_control", "limits-short", "no max_leaves", limits=_map(fewer))
    bad("bad_control", "limits-bool", "a limit that is true", limits=_map(_LIMITS | {"max_nodes": b"\xc3"}))
    bad("bad_control", "limits-number", "0.0", "mutant", limits=_map(_LIMITS | {"max_nodes": b"\xcb" + bytes(8)}))
    bad("out_of_range", "limits-0", "a limit of 0", limits=_map(_LIMITS | {"max_nodes": b"\x00"}))


def _welcome(refuse: Refuse) -> None:
    absent: Any = None

    def welcome(error: str, name: str, note: str, *flags: str, head: bytes = b"TSLT\x01", **changes: Any) -> None:
        fields = {key: value for key, value in (_WELCOME | changes).items() if value is not None}
        refuse(1, sealed(b"\x02" + head + _map(fields)), error, f"welcome-{name}", note, "control", *flags)

    refuse(1, sealed(b"\x02TSLT"), "truncated", "welcome-short", "4 bytes", "control")
    welcome("not_tslt", "magic", "another magic", head=b"TSLU\x01")
    welcome("out_of_range", "version-0", "version 0", head=b"TSLT\x00")
    for name in _WELCOME:
        welcome("bad_control", f"no-{name}", f"{name} is missing", **{name: absent})
    welcome("bad_control", "entropy-list", "entropy is an array", entropy=b"\x91" + _text("none"))
    for size in (0, 31, 33):
        key = bytes([0xC4, size]) + bytes(size)
        welcome("out_of_range", f"tokenizer-{size}", f"a fingerprint of {size} bytes", tokenizer=key)
    for size in (0, 17):
        key = bytes([0xC4, size]) + bytes(size)
        welcome("out_of_range", f"transcript-{size}", f"a transcript of {size} bytes", transcript=key)
    welcome("out_of_range", "eos-negative", "an end token of -1", eos_tokens=b"\x91\xff")
    welcome("bad_control", "eos-number", "an end token of 1.0", eos_tokens=b"\x91\xcb\x3f\xf0" + bytes(6))
    both = {"tokenizer": b"\xc4\x1f" + bytes(31), "coupling": absent}
    welcome("bad_control", "tokenizer-and-field", "a fingerprint of 31 bytes, and no coupling", "order", **both)
    welcome("out_of_range", "transcript-15", "a transcript of 15 bytes", transcript=b"\xc4\x0f" + bytes(15))
    for size in (1, 7, 9, 16):
        key = bytes([0xC4, size]) + bytes(size)
        welcome("out_of_range", f"coupling-{size}", f"a coupling of {size} bytes", coupling=key)
    welcome("bad_control", "coupling-string", "a coupling that is a string", coupling=_text("x" * 8))
    welcome("out_of_range", "eos", "an end token of 10", eos_tokens=b"\x91\x0a")
    bad_vocabularies.add_welcomes(welcome)
    welcome("bad_control", "eos-string", "an end token that is a string", eos_tokens=b"\x91" + _text("x"))
    bad_resumptions.add_welcomes(welcome)
    welcome("out_of_range", "context", "a context of 2^32", context=b"\xcf\0\0\0\x01\0\0\0\0")
    bad_sampling.add(partial(_settings, welcome, {}), of_welcome=True)


def _settings(
    bad: Refuse,
    others: dict[str, bytes],
    error: str,
    name: str,
    note: str,
    *flags: str,
    without: str | None = None,
    **settings: bytes,
) -> None:
    """Refuse a handshake with these sampling settings beside ``others``, and without one of its other fields."""
    absent: dict[str, Any] = {without: None} if without else {}
    bad(error, name, note, *flags, sampling=_map(others | settings), **absent)
