"""Cases of weights.json: codes and the weights they stand for.

Spec sections 4.2 and 4.3.
"""

from __future__ import annotations

import hashlib

import numpy as np

from spec.vectorgen.lists import LOG, LOWEST
from spec.vectorgen.mistakes import SHIFTED
from spec.vectorgen.tools import Json
from tslt_wire.lists import precision as p

NOTES = {"all": "every code of the precision", "zero": "a weight of 0: such a code is refused in a list"}


def build() -> list[Json]:
    """A group for each precision."""
    groups: list[Json] = []
    for name in LOG:
        top = 30 << int(name[-1])
        every = [_case(name, "all", "every code from 0 on", list(range(top + 1)), "all")]
        every.append(_case(name, "over", "the first code that is too large", [top + 1], "zero"))
        groups.append({"precision": name, "tests": every})
    for name, lowest in LOWEST.items():
        groups.append({"precision": name, "tests": _float_cases(name, lowest)})
    return groups


def tables() -> Json:
    """SHA-256 of the tables of appendix A, entries as uint32 little-endian."""
    found = {"T": p._LOG_TABLES[4], "A": p._COARSE, "B": p._FINE}
    return {name: hashlib.sha256(table.astype("<u4").tobytes()).hexdigest() for name, table in found.items()}


def _case(name: str, label: str, comment: str, codes: list[int], *flags: str) -> Json:
    weights = p.weights_of(p.Precision(name), np.array(codes, dtype=np.uint32)).tolist()
    if ("zero" in flags) != (min(weights) == 0):
        raise RuntimeError(f"{name} {label}: the flag zero is wrong")
    id_ = f"weight/{name.replace('/', '-')}/{label}"
    return {"id": id_, "comment": comment, "flags": list(flags), "codes": codes, "weights": weights, "result": "valid"}


def _steps() -> Json:
    """Codes next to each other, of which one is rounded down to a step of the weights and the other up."""
    middles = (np.array([40, 61, 95, 200, 333, 655, 4000, 65535, 700001]) + 0.5) / 65536 * np.log(2)
    near = p.quantise(p.Precision.F32, -middles).tolist()
    return _case("f32", "steps", "about the middle between two steps", [code + i for code in near for i in (-1, 0, 1)])


def _float_cases(name: str, lowest: int) -> list[Json]:
    bits = 32 if name == "f32" else 16
    sign = 1 << (bits - 1)
    fraction = {"f32": 23, "f16": 10, "bf16": 7}[name]
    infinity = {"f32": 0xFF800000, "f16": 0xFC00, "bf16": 0xFF80}[name]
    exponents = [code for code in range(sign, lowest, 1 << fraction) if code > sign]
    # A walk with a step that is odd and near the golden ratio meets all kinds of fractions.
    first = p.Precision(name)
    one = int(p.quantise(first, np.array([-1e-3]))[0])
    step = (lowest - one) * 0.6180339887
    spread = sorted({one + int(step * i) % (lowest - one) for i in range(200)})
    halves = [int(code) for code in p.quantise(first, -np.arange(1, 60) / 2 * np.log(2))]
    cases = [
        _steps(),
        _case(name, "shift", "the product of step 3 is 2^62 and is shifted by 63", [SHIFTED], "zero", "mutant"),
    ]
    cases = cases if name == "f32" else []
    return [
        *cases,
        _case(name, "zero", "code 0", [0]),
        _case(name, "powers", "minus the powers of two the precision has, ascending in size", exponents),
        _case(name, "spread", "logits between -0.001 and the lowest", spread),
        _case(name, "half-octaves", "near multiples of ln(2) / 2", halves),
        _case(name, "border", "the last three codes with a weight", [lowest - 2, lowest - 1, lowest]),
        _case(name, "under", "codes below them, and the lowest number", [lowest + 1, lowest + 2, infinity - 1], "zero"),
    ]
