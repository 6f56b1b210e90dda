"""Invalid cases of frames.json about the sampling settings of HELLO and WELCOME.

Spec section 7.2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

Bad = Callable[..., None]
NEUTRAL = {
    "temperature": b"\xcb\x3f\xf0" + bytes(6),
    "top_k": b"\x00",
    "top_p": b"\xcb\x3f\xf0" + bytes(6),
    "min_p": b"\xcb" + bytes(8),
    "repetition_penalty": b"\xcb\x3f\xf0" + bytes(6),
    "presence_penalty": b"\xcb" + bytes(8),
    "frequency_penalty": b"\xcb" + bytes(8),
    "logit_bias": b"\x90",
    "suppress_tokens": b"\x90",
    "ignore_eos": b"\xc2",
}
"""Each setting with the value that changes nothing."""


def _number(value: float) -> bytes:
    return struct.pack(">Bd", 0xCB, value)


def _integer(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack(">b", value)
    return (
        struct.pack(">BB", 0xCC, value)
        if value < 256
        else struct.pack(">BH", 0xCD, value)
        if value < 65536
        else (struct.pack(">BI", 0xCE, value))
    )


def _array(items: Sequence[bytes]) -> bytes:
    head = bytes([0x90 | len(items)]) if len(items) < 16 else struct.pack(">BH", 0xDC, len(items))
    return head + b"".join(items)


def _bias(*pairs: tuple[int, float]) -> bytes:
    return _array([_array([_integer(token), _number(bias)]) for token, bias in pairs])


def _ids(*tokens: int) -> bytes:
    return _array([_integer(token) for token in tokens])


def add(bad: Bad, *, of_welcome: bool) -> None:
    """Add all of them; ``bad`` takes the error, the name, a note and settings, encoded, by their names."""
    for name, value in NEUTRAL.items():
        label = name.replace("_", "-")
        bad("bad_control", f"{label}-nil", f"{name} is nil", **{name: b"\xc0"})
        if of_welcome:
            bad("non_canonical", f"{label}-neutral", f"{name} is there and changes nothing", **{name: value})
        elif value[:1] == b"\xcb":
            bad("bad_control", f"{label}-integer", f"{name} is an integer", **{name: b"\x01"})
    if of_welcome:
        bad("bad_control", "sampling-extra", "a setting that is not known, and it is nil", more=b"\xc0")
        bad(
            "bad_control",
            "sampling-extra-and-order",
            "and tokens out of order",
            "order",
            more=b"\1",
            suppress_tokens=_ids(2, 1),
        )
        bad("out_of_range", "sampling-vocab", "suppresses token 10 of 10", suppress_tokens=_ids(10))
        bad("out_of_range", "sampling-bias", "token 10 of 10", logit_bias=_bias((1, 1.0), (10, 1.0)))
        bad("non_canonical", "sampling-order", "tokens out of order, and a penalty that changes nothing", "order",
            suppress_tokens=_ids(2, 1), presence_penalty=_number(0.0))  # fmt: skip
        bad("out_of_range", "sampling-range", "a penalty of 3, and one that changes nothing", "order",
            presence_penalty=_number(3.0), frequency_penalty=_number(0.0))  # fmt: skip
        bad(
            "out_of_range",
            "sampling-top-p",
            "top_p 0, and a penalty that changes nothing",
            "order",
            top_p=_number(0.0),
            presence_penalty=_number(0.0),
        )
        return
    bad("bad_control", "top-k-number", "top_k 0.0", top_k=_number(0.0))
    bad("bad_control", "ignore-eos-1", "ignore_eos is 1", ignore_eos=b"\x01")
    for name, wrong in (
        ("temperature", (-1.0,)),
        ("top_p", (0.0, 2.0)),
        ("min_p", (-0.5, 1.5)),
        ("repetition_penalty", (0.0, 0.0078125, 100.5)),
        ("presence_penalty", (-2.5, 2.5)),
        ("frequency_penalty", (-2.5, 2.5)),
    ):
        for limit in wrong:
            label = f"{name}-{limit:g}".replace("_", "-")
            bad("out_of_range", label, f"{name} {limit:g}", **{name: _number(limit)})
    bad("out_of_range", "top-p-negative", "top_p -0.5", "mutant", top_p=_number(-0.5))
    bad("out_of_range", "top-k", "top_k -1", top_k=b"\xff")
    bad("bad_control", "bias-map", "biases as a map", logit_bias=b"\x81\xa1a" + _number(1.0))
    bad("bad_control", "bias-flat", "a bias that is no pair", logit_bias=b"\x92\x01" + _number(1.0))
    bad("bad_control", "bias-one", "a token without a bias", logit_bias=b"\x91\x91\x01")
    bad("bad_control", "bias-three", "a bias and one more number", logit_bias=b"\x91\x93\x01" + _number(1.0) * 2)
    bad("bad_control", "bias-integer", "a bias that is an integer", logit_bias=b"\x91\x92\x01\x01")
    bad("bad_control", "bias-token", "a token that is a number", logit_bias=b"\x91\x92" + _number(1.0) * 2)
    bad("bad_control", "suppress-number", "a token that is a number", suppress_tokens=b"\x91" + _number(1.0))
    bad("bad_control", "suppress-bool", "a token that is true", suppress_tokens=b"\x91\xc3")
    bad("non_canonical", "bias-order", "tokens 2, 1", logit_bias=_bias((2, 1.0), (1, 1.0)))
    bad("non_canonical", "bias-twice", "tokens 1, 1", logit_bias=_bias((1, 1.0), (1, 2.0)))
    bad("non_canonical", "suppress-order", "tokens 2, 1", suppress_tokens=_ids(2, 1))
    bad("non_canonical", "suppress-twice", "tokens 1, 1", suppress_tokens=_ids(1, 1))
    bad("out_of_range", "bias-negative", "token -1", logit_bias=_bias((-1, 1.0)))
    bad("out_of_range", "bias-token-large", "token 2^20", logit_bias=_bias((1 << 20, 1.0)))
    bad("out_of_range", "bias-large", "a bias of 100.5", logit_bias=_bias((1, 1.0), (2, 100.5)))
    bad("out_of_range", "bias-small", "a bias of -100.5", logit_bias=_bias((1, -100.5)))
    bad("out_of_range", "suppress-negative", "token -1", suppress_tokens=_ids(-1, 1))
    bad("out_of_range", "suppress-large", "token 2^20", suppress_tokens=_ids(1 << 20))
    many = _bias(*((token, 1.0) for token in range(301)))
    bad("limit_exceeded", "bias-301", "301 biases", "limit", logit_bias=many)
    bad("limit_exceeded", "suppress-513", "513 tokens that are suppressed", "limit", suppress_tokens=_ids(*range(513)))
    bad("bad_control", "bias-301-and-type", "301 biases, and a token that is true", "order",
        logit_bias=many, suppress_tokens=b"\x91\xc3")  # fmt: skip
    bad("limit_exceeded", "suppress-513-and-order", "513 tokens, and biases out of order", "limit", "order",
        logit_bias=_bias((2, 1.0), (1, 1.0)), suppress_tokens=_ids(*range(513)))  # fmt: skip
    bad("non_canonical", "suppress-and-range", "tokens out of order, and top_k -1", "order",
        suppress_tokens=_ids(2, 1), top_k=b"\xff")  # fmt: skip
    bad(
        "out_of_range",
        "suppress-large-first",
        "tokens 1 and 2^20, and no resume",
        "order",
        suppress_tokens=_ids(1, 1 << 20),
        without="resume",
    )
