"""Invalid cases of frames.json for what HELLO and WELCOME say of ordinary tokens, maps and beginnings, packed by hand.

Spec sections 7.2 and 7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Bad = Callable[..., None]


def _wrong(name: str) -> Iterator[tuple[str, str, str, bytes]]:
    """A fingerprint in wrong forms: error, name, note, bytes."""
    for size in (0, 31, 33):
        note = f"a fingerprint of {size} bytes"
        yield "out_of_range", f"{name.replace('_', '-')}-{size}", note, bytes([0xC4, size]) + bytes(size)
    yield "bad_control", f"{name.replace('_', '-')}-text", "a fingerprint that is a string", b"\xbf" + b"x" * 31


def add_hellos(bad: Bad) -> None:
    """[HELLO-1], [CTRL-4]; ``bad`` takes the error, a name, a note, flags, and fields, encoded, by their names."""
    for field in ("ordinary", "token_map"):
        for error, name, note, value in _wrong(field):
            bad(error, name, note, **{field: value})
        label = f"{field.replace('_', '-')}-and-range"
        bad("bad_control", label, "nil, and a vocabulary of 0", "order", **{field: b"\xc0", "vocab_size": b"\x00"})


def add_welcomes(welcome: Bad) -> None:
    """[WELCOME-1], [CTRL-4]; ``welcome``: see ``add_hellos``."""
    for error, name, note, value in _wrong("ordinary"):
        welcome(error, name, note, ordinary=value)
    for label, token in (("10", b"\x0a"), ("negative", b"\xff")):
        welcome("out_of_range", f"begins-{label}", "a text begins with a token that is none", begins=b"\x91" + token)
    welcome("bad_control", "begins-string", "a text begins with a string", begins=b"\x91\xa1x")
    welcome("bad_control", "begins-nil", "begins is nil", begins=b"\xc0")
