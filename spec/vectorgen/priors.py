"""Cases of priors.json: the name of a prior, and the file of a table, to the weights of all ids.

Spec section 4.4.  Files are packed by hand here; what is refused is checked against the library.
"""

from __future__ import annotations

import hashlib

import numpy as np

import tslt_wire as tw
from spec.vectorgen.mistakes import NEW
from spec.vectorgen.tails import table
from spec.vectorgen.tools import Json, profile_from, runs

NOTES = {"table": "what is a table and what is none", "name": "a prior without a file"}
V = 10
LARGEST = 1 << 20


def build() -> list[Json]:
    """A group of names without a file, and one of files."""
    names = [
        _valid("uniform", "V = 10", V, "uniform"),
        _valid("density", "V = 10", V, "density"),
        _invalid("unknown", "a name that there is not", V, "zipf"),
        _invalid("no-file", "the name of a table, and no file of it", V, _name(_file(V, _codes(V)))),
    ]
    return [{"what": "names", "tests": names}, {"what": "tables", "tests": [*_tables(), *_others()]}]


def _tables() -> list[Json]:
    files = {
        "good": ("five rows that differ", V, _file(V, _codes(V)), 0),
        "one": ("V = 1", 1, _file(1, bytes([240, 0, 8, 3, 16])), 0),
        "constant": ("V = 250, whose low byte is above 240", 250, _file(250, _rows(250)), 0),
        "largest": ("V = 2^20, all codes 0", LARGEST, _file(LARGEST, b""), 5 * LARGEST),
    }
    return [
        _valid(f"table/{id_}", note, vocab_size, _name(data + bytes(zeros)), data, zeros)
        for id_, (note, vocab_size, data, zeros) in files.items()
    ]


def _others() -> list[Json]:
    """What is no table, and tables that are not the session's."""
    codes = _codes(V)
    good = _file(V, codes)
    files = {
        "empty": ("no bytes", b""),
        "magic-first": ("another first byte of the magic", b"t" + good[1:]),
        "magic-last": ("another last byte of the magic", good[:7] + b"2" + good[8:]),
        "half-v": ("the end inside V", good[:11]),
        "short": ("a byte too few", good[:-1]),
        "long": ("a byte too many", good + b"\0"),
        "four-rows": ("four rows", good[:-V]),
        "six-rows": ("six rows", good + codes[:V]),
        "high-v": ("V = 10 + 2^24, and codes for V = 10", _file(V + (1 << 24), codes)),
        "first-241": ("the first code is 241", _file(V, b"\xf1" + codes[1:])),
        "middle-255": ("a code of 255 in the third row", _file(V, codes[:25] + b"\xff" + codes[26:])),
        "last-241": ("the last code is 241", _file(V, codes[:-1] + b"\xf1")),
    }
    over, zeros = _file(LARGEST + 1, b""), 5 * LARGEST + 5
    named = {
        "v-zero": ("V = 0", 0, _name(_file(0, b"")), _file(0, b""), 0),
        "v-over": ("V = 2^20 + 1, of the right length", LARGEST + 1, _name(over + bytes(zeros)), over, zeros),
        "other-v": ("a table for V = 10 where V = 9", V - 1, _name(good), good, 0),
        "other-file": ("the file of another table", V, _name(_file(V, codes[::-1])), good, 0),
        "capitals": ("the digits of the name in capitals", V, "table:" + _name(good)[6:].upper(), good, 0),
        "whole-digest": ("a name of 64 digits", V, "table:" + hashlib.sha256(good).hexdigest(), good, 0),
    }
    found = [_invalid(f"table/{id_}", note, V, _name(data), data) for id_, (note, data) in files.items()]
    return [*found, *(_invalid(f"table/{id_}", *fields) for id_, fields in named.items())]


def _codes(vocab_size: int) -> bytes:
    return table(vocab_size).to_bytes()[12:]


def _rows(vocab_size: int) -> bytes:
    return bytes(7 * (row + 1) for row in range(5) for _ in range(vocab_size))


def _file(vocab_size: int, codes: bytes) -> bytes:
    return b"TSLTtab1" + vocab_size.to_bytes(4, "little") + codes


def _name(data: bytes) -> str:
    return "table:" + hashlib.sha256(data).hexdigest()[:32]


def _valid(id_: str, comment: str, vocab_size: int, prior: str, data: bytes | None = None, zeros: int = 0) -> Json:
    case = _case(id_, comment, vocab_size, prior, data, zeros)
    return {**case, "result": "valid", "rows": _rows_of(case)}


def _invalid(id_: str, comment: str, vocab_size: int, prior: str, data: bytes | None = None, zeros: int = 0) -> Json:
    case = _case(id_, comment, vocab_size, prior, data, zeros)
    try:
        _rows_of(case)
    except ValueError:
        return {**case, "result": "invalid"}
    raise RuntimeError(f"{case['id']} is a prior")


def _case(id_: str, comment: str, vocab_size: int, prior: str, data: bytes | None, zeros: int) -> Json:
    flags = ["name"] if data is None else ["table", NEW]
    out: Json = {"id": f"prior/{id_}", "comment": comment, "flags": flags, "vocab_size": vocab_size, "prior": prior}
    if data is not None:
        out["hex"] = data.hex()
    return out | ({"zeros": zeros} if zeros else {})


def prior_of(test: Json) -> tw.Prior:
    """The prior that a session has, as the library reads it; ValueError if there is none."""
    file = bytes.fromhex(test.get("hex", "")) + bytes(test.get("zeros", 0))
    tables = {test["prior"]: file.hex()} if "hex" in test else {}
    profile = {"vocab_size": test["vocab_size"], "precision": "log2/1", "entropy": "range", "prior": test["prior"]}
    prior = profile_from(profile, tables).prior
    if prior is None:
        raise ValueError("none is no prior")
    return prior


def _rows_of(test: Json) -> list[list[list[int]]]:
    tail, others = prior_of(test).running_sums()
    return [runs(np.diff(sums).tolist()) for sums in (*others, tail)]
