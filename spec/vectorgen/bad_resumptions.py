"""Invalid cases of frames.json for RESUME and for what WELCOME says of a session that goes on, packed by hand.

Spec sections 7.3 and 7.8.
"""

from __future__ import annotations

from collections.abc import Callable

from spec.vectorgen.tools import Bits, sealed

Refuse = Callable[..., None]


def add(refuse: Refuse) -> None:
    """[RESUME-1]; ``refuse(vocab_size, data, error, name, note, *flags, **limits)``."""

    def bad(size: int, error: str, name: str, bits: Bits, note: str, *flags: str, **limits: int) -> None:
        refuse(size, sealed(bits.done()), error, f"resume-{name}", note, *flags, **limits)

    def start(*numbers: int) -> Bits:
        """As far as these of epoch, round, prompt_length, rejected, batch, keep and count."""
        bits = Bits().put(0x06, 8).raw(bytes(8)).put(0x12345678, 32)
        for number in numbers:
            bits = bits.varint(number)
        return bits

    bad(10, "truncated", "short-transcript", Bits().put(0x06, 8).raw(bytes(7)), "7 bytes of transcript")
    bad(10, "truncated", "short-hash", Bits().put(0x06, 8).raw(bytes(8)).put(1, 24), "3 bytes of hash")
    fields = ("epoch", "round", "prompt_length", "rejected", "batch", "keep", "count")
    for i, name in enumerate(fields):
        bad(10, "truncated", f"no-{name}", start(*(1, 2, 3, 4, 5, 6)[:i]), f"ends before {name}")
    bad(10, "out_of_range", "epoch-0", start(0, 2, 3, 0, 0, 0, 1).put(1, 5), "epochs are numbered from 1")
    bad(10, "out_of_range", "epoch-0-short", start(0), "epoch 0, and nothing after it", "order")
    bad(10, "out_of_range", "batch", start(1, 2, 3, 0, 1, 0, 1).put(1, 5), "a batch where nothing was rejected")
    bad(10, "out_of_range", "batch-short", start(1, 2, 3, 0, 1), "the same, and nothing after it", "order")
    bad(10, "truncated", "no-tokens", start(1, 2, 3, 0, 0, 0, 3).put(1, 4), "1 token of 3")
    bad(10, "truncated", "huge", start(1, 2, 3, 0, 0, 0, 262144), "262,144 tokens, none there")
    over = start(1, 2, 3, 0, 0, 0, 262145)
    bad(10, "limit_exceeded", "limit", over, "one more than the limit", "limit", "order")
    small = start(1, 2, 3, 0, 0, 0, 3).each([1, 2, 3], 4).put(0, 1)
    bad(10, "limit_exceeded", "limit-2", small, "3 tokens of 2", "limit", max_prompt_tokens=2)
    bad(10, "out_of_range", "token", start(1, 2, 3, 0, 0, 0, 2).each([1, 10], 4).put(0, 1), "token 10 of 10")
    bad(10, "out_of_range", "token-no-end", start(1, 2, 3, 0, 0, 0, 2).each([1, 10], 4), "and no ended", "order")
    bad(10, "truncated", "no-ended", start(1, 2, 3, 0, 0, 0, 2).each([1, 9], 4), "ends after the tokens")
    bad(10, "reserved_bits", "padding", start(1, 2, 3, 0, 0, 0, 0).put(3, 2), "a bit of padding is 1")
    bad(10, "trailing_bytes", "trailing", start(1, 2, 3, 0, 0, 0, 0).put(0, 9), "a byte too many")


def add_welcomes(welcome: Refuse) -> None:
    """[WELCOME-1]; ``welcome(error, name, note, *flags, **fields)``."""
    welcome("out_of_range", "resume-65", "a token of 65 bytes", resume=b"\xc4\x41" + bytes(65))
    welcome("bad_control", "resumed-integer", "resumed is 1", resumed=b"\x01")
    for name in ("held", "held_hash"):
        welcome("out_of_range", f"{name}-large", f"{name} 2^32", **{name: b"\xcf\0\0\0\x01\0\0\0\0"})
        welcome("out_of_range", f"{name}-negative", f"{name} -1", **{name: b"\xff"})
        welcome("bad_control", f"{name}-bool", f"{name} is true", **{name: b"\xc3"})
