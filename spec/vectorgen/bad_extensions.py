"""Invalid cases of frames.json about extensions.

Spec sections 3.4, 6.2 and 7.5.
"""

from __future__ import annotations

from collections.abc import Callable

from spec.vectorgen.tools import Bits, sealed

Refuse = Callable[..., None]
_BODIES = {"verdict": (0x08, b"\1\0\3"), "proposals": (0x09, b"\1\0\0\0\3\x70\0"), "ask": (0x0A, b"\1\0")}
"""Kind and body of each answer."""


def add(refuse: Refuse) -> None:
    """Add all of them; ``refuse`` is that of ``bad_frames``."""
    _extensions(refuse)
    _times(refuse)
    _log_probs(refuse)
    _retries(refuse)
    _padding(refuse)


def _ext(*items: tuple[int, bytes], count: int | None = None) -> Bits:
    bits = Bits().put(0x45, 8).varint(len(items) if count is None else count)
    for type_, data in items:
        bits.varint(type_).varint(len(data)).raw(data)
    return bits


def _extensions(refuse: Refuse) -> None:
    def bad(bits: Bits, error: str, name: str, note: str, *flags: str, **limits: int) -> None:
        refuse(1, sealed(bits.done()), error, f"ext-{name}", note, "extension", *flags, **limits)

    bad(_ext(), "non_canonical", "none", "has_extensions, and none")
    bad(_ext((1, b"")), "unknown_critical_extension", "critical", "type 1")
    bad(_ext((0xFFFFFFFF, b"x")), "unknown_critical_extension", "critical-max", "type 2^32 - 1")
    bad(_ext((2, b""), (3, b"")), "unknown_critical_extension", "critical-second", "types 2, 3")
    bad(_ext((4, b""), (3, b"")), "unknown_critical_extension", "critical-order", "types 4, 3", "order")
    bad(_ext((4, b""), (2, b"")), "non_canonical", "descending", "types 4, 2")
    bad(_ext((4, b"a"), (4, b"a")), "non_canonical", "repeated", "types 4, 4")
    bad(_ext(count=1), "truncated", "missing", "one is announced, none is there")
    bad(_ext((2, b""), count=2), "truncated", "missing-second", "two are announced, one is there")
    bad(Bits().put(0x45, 8).varint(1).varint(2).varint(3).raw(b"ab"), "truncated", "short-data", "2 bytes of 3")
    bad(
        Bits().put(0x45, 8).varint(1).varint(2).varint(0xFFFFFFFF),
        "truncated",
        "huge-data",
        "2^32 - 1 bytes, none there",
    )
    bad(_ext(*((2 * i, b"") for i in range(17))), "limit_exceeded", "seventeen", "17 of 16", "limit")
    bad(_ext(count=1 << 31), "limit_exceeded", "huge-count", "2^31 extensions, none there", "order")
    bad(_ext((0, b""), (2, b"")), "limit_exceeded", "limit-one", "2 of 1", "limit", max_extensions=1)
    bad(Bits().put(0x45, 8).varint(1, 2).varint(2).varint(0), "non_canonical", "long-count", "81 00 for 1", "varint")
    bad(Bits().put(0x45, 8).varint(1).varint(2, 2).varint(0), "non_canonical", "long-type", "82 00 for 2", "varint")
    bad(_ext((2, b"")).raw(b"\0"), "trailing_bytes", "trailing", "a byte after the last extension")


def _times(refuse: Refuse) -> None:
    """verify_time in the three answers; their bodies would be right."""
    for kind, (number, body) in _BODIES.items():
        for name, error, data, note in (
            ("0-bytes", "out_of_range", b"", "no bytes"),
            ("9-bytes", "out_of_range", b"\1" * 9, "9 bytes of 8"),
            ("2-bytes", "non_canonical", b"\4\0", "4 in two bytes"),
            ("zero", "non_canonical", bytes(2), "0 in two bytes"),
            ("8-bytes", "non_canonical", b"\1" * 7 + b"\0", "7 bytes in 8"),
        ):
            bits = Bits().put(number | 0x40, 8).varint(1).varint(2).varint(len(data)).raw(data).raw(body)
            refuse(10, sealed(bits.done()), error, f"{kind}-time-{name}", f"verify_time: {note}", "extension")
        for name, error, size, note in (
            ("short", "truncated", 8, "its data is missing"),
            ("wide", "out_of_range", 9, "and its data is missing"),
        ):
            bits = Bits().put(number | 0x40, 8).varint(1).varint(2).varint(size)
            refuse(10, sealed(bits.done()), error, f"{kind}-time-{name}", f"verify_time: {note}", "extension", "order")
        bits = Bits().put(number | 0x40, 8).varint(2).varint(2).varint(1).raw(b"\1").varint(2).varint(0)
        note = "verify_time twice, the second of a wrong size"
        refuse(10, sealed(bits.done()), "non_canonical", f"{kind}-time-twice", note, "extension", "order")


def _log_probs(refuse: Refuse) -> None:
    """log_probs in the three answers; their bodies would be right."""
    for kind, (number, body) in _BODIES.items():
        for size in (0, 1, 3, 131071, 131072):
            bits = Bits().put(number | 0x40, 8).varint(1).varint(4).varint(size)
            note = f"log_probs: {size} bytes"
            if size < 4:
                bits.raw(bytes(size)).raw(body)
            refuse(10, sealed(bits.done()), "out_of_range", f"{kind}-log-probs-{size}", note, "extension")
        bits = Bits().put(number | 0x40, 8).varint(1).varint(4).varint(4).raw(b"\0\0")
        refuse(10, sealed(bits.done()), "truncated", f"{kind}-log-probs-short", "log_probs: 2 bytes of 4", "extension")


def _padding(refuse: Refuse) -> None:
    """Padding of each sort of frame that is not zeros; their bodies would be right."""
    for kind, (number, body) in {"bye": (0x05, b""), "draft": (0x10, bytes(6)), **_BODIES}.items():
        for name, data in (("first", b"\1\0\0"), ("last", b"\0\0\x80"), ("only", b"\xff")):
            bits = Bits().put(number | 0x40, 8).varint(1).varint(32).varint(len(data)).raw(data).raw(body)
            note = f"padding: its {name} byte is not 0"
            refuse(10, sealed(bits.done()), "reserved_bits", f"{kind}-padding-{name}", note, "extension")
        bits = Bits().put(number | 0x40, 8).varint(1).varint(32).varint(2).raw(b"\1")
        refuse(10, sealed(bits.done()), "truncated", f"{kind}-padding-short", "padding: 1 byte of 2", "extension")
    bits = Bits().put(0x45, 8).varint(2).varint(32).varint(1).raw(b"\1").varint(31).varint(0)
    refuse(1, sealed(bits.done()), "reserved_bits", "bye-padding-then", "and a critical one", "extension", "order")


def _retries(refuse: Refuse) -> None:
    """retry_after in an ERROR; its body would be right."""
    body = b"\x82\xa4code\x29\xa7message\xa0"
    for name, error, data, note in (
        ("0-bytes", "out_of_range", b"", "no bytes"),
        ("5-bytes", "out_of_range", b"\1" * 5, "5 bytes of 4"),
        ("2-bytes", "non_canonical", b"\4\0", "4 in two bytes"),
        ("zero", "non_canonical", bytes(2), "0 in two bytes"),
        ("4-bytes", "non_canonical", b"\1" * 3 + b"\0", "3 bytes in 4"),
    ):
        bits = Bits().put(0x44, 8).varint(1).varint(6).varint(len(data)).raw(data).raw(body)
        refuse(1, sealed(bits.done()), error, f"error-retry-{name}", f"retry_after: {note}", "extension")
    for name, error, size, note in (
        ("short", "truncated", 4, "its data is missing"),
        ("wide", "out_of_range", 5, "and its data is missing"),
    ):
        bits = Bits().put(0x44, 8).varint(1).varint(6).varint(size)
        refuse(1, sealed(bits.done()), error, f"error-retry-{name}", f"retry_after: {note}", "extension", "order")
