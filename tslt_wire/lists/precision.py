"""The closed registry of precisions: how a logit becomes a code, and a code an integer weight.

Spec section 4.  A code is what travels; a weight is what both ends compute from it with integers alone, so that a token
has the same probability ``weight / sum(weights)`` on every CPU, GPU and language.
"""

from __future__ import annotations

import decimal
import enum
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire import checks

WEIGHT_BITS = 30
"""The largest weight is 2**30: the sum over 2**20 tokens still fits in 51 bits."""

_LOG2_E = 1.4426950408889634
_FLOAT_SCALE_BITS = 16
"""Float profiles are weighed with a log-domain code of 2**16 steps an octave: a relative step of 1.1e-5."""


class Precision(enum.StrEnum):
    """One precision of the registry; ``Precision("log2/2")`` looks one up by its name."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    LOG2_0 = "log2/0"
    LOG2_1 = "log2/1"
    LOG2_2 = "log2/2"
    LOG2_3 = "log2/3"
    LOG2_4 = "log2/4"

    @property
    def wire_id(self) -> int:
        """Number of this precision in a draft's format byte (spec/registry.md)."""
        return _WIRE_IDS[self]

    @property
    def is_log(self) -> bool:
        """Whether codes are log-domain steps below the largest weight (else: bits of a shifted logit)."""
        return self.value.startswith("log2/")

    @property
    def steps_per_octave(self) -> int:
        """2**s for the profile log2/s; the code step is ln(2) / 2**s nat.  Only for log profiles."""
        return int(1 << int(self.value[5:]))

    @property
    def max_code(self) -> int:
        """Largest code: weight 1 for a log profile, all bits of the float else."""
        if self.is_log:
            return WEIGHT_BITS * self.steps_per_octave
        return (1 << self.code_bits) - 1

    @property
    def code_bits(self) -> int:
        """Bits of one code at its widest."""
        if self.is_log:
            return self.max_code.bit_length()
        return 32 if self is Precision.F32 else 16


_NAMES = tuple(Precision)


def precision_of(value: Any) -> Precision:
    """Return the precision that ``value`` is or names; TypeError for what is no string, ValueError for another name."""
    return value if type(value) is Precision else Precision(checks.one_of("precision", value, _NAMES))


_WIRE_IDS = {precision: number for number, precision in enumerate(Precision)}
PRECISION_BY_WIRE_ID = {number: precision for precision, number in _WIRE_IDS.items()}

Codes = npt.NDArray[np.uint32]
Weights = npt.NDArray[np.int64]


def _octave_table(steps: int, bits: int, span: int) -> npt.NDArray[np.uint64]:
    """``floor(2**bits * 2**(-i / span))`` for i in 0..steps-1, exact: 60 digits, no entry is that near an integer."""
    with decimal.localcontext() as context:
        context.prec = 60
        two = decimal.Decimal(2)
        rows = [int(two ** (bits - decimal.Decimal(i) / span)) for i in range(steps)]
    return np.array(rows, dtype=np.uint64)


_LOG_TABLES = {s: _octave_table(1 << s, WEIGHT_BITS, 1 << s) for s in range(5)}
_COARSE = _octave_table(256, 31, 256)
_FINE = _octave_table(256, 31, 1 << _FLOAT_SCALE_BITS)


def octave_numbers() -> npt.NDArray[np.uint64]:
    """Table A of Appendix A: floor(2**31 * 2**(-i / 256)), uint64 (256,)."""
    return _COARSE


def log_weights(codes: npt.ArrayLike, scale: int) -> Weights:
    """Weights ``W(c) = floor(2**30 * 2**(-c / 2**scale))`` of log-domain codes, ``scale`` 0..4; int64, same shape."""
    c = np.asarray(codes, dtype=np.uint64)
    octave = np.minimum(c >> np.uint64(scale), np.uint64(63))
    return np.asarray(_LOG_TABLES[scale][c & np.uint64((1 << scale) - 1)] >> octave, dtype=np.int64)


@np.errstate(under="ignore")
def masses_of(shifted: npt.NDArray[np.float64]) -> Weights:
    """Weights of shifted logits (<= 0): 2**30 * exp(shifted), with a relative error of about 1e-5; int64, same shape.

    Only IEEE multiply and floor, then integers: the same on every machine.
    """
    steps = np.floor(np.minimum(-shifted, 64.0) * _LOG2_E * (1 << _FLOAT_SCALE_BITS) + 0.5).astype(np.uint64)
    octave = steps >> np.uint64(_FLOAT_SCALE_BITS)
    product = _COARSE[(steps >> np.uint64(8)) & np.uint64(255)] * _FINE[steps & np.uint64(255)]
    return np.asarray(product >> np.minimum(octave + np.uint64(62 - WEIGHT_BITS), np.uint64(63)), dtype=np.int64)


def weights_of(precision: Precision, codes: Codes) -> Weights:
    """Integer weights of ``codes`` (uint32, any shape); int64, same shape; 0 for a code too small to be sampled."""
    if precision.is_log:
        return log_weights(codes, precision.steps_per_octave.bit_length() - 1)
    return masses_of(shifted_logits(precision, codes))


@np.errstate(over="ignore", under="ignore")
def quantise(precision: Precision, shifted: npt.NDArray[np.float64]) -> Codes:
    """Codes of logits that were shifted so that the largest is 0 (float64, all <= 0); uint32, same shape.

    Log profiles round to the nearest step and saturate at ``max_code + 1``, whose weight is 0.
    """
    if precision.is_log:
        steps = np.floor(np.minimum(-shifted, 64.0) * _LOG2_E * precision.steps_per_octave + 0.5)
        return np.asarray(np.minimum(steps, precision.max_code + 1), dtype=np.uint32)
    if precision is Precision.F16:
        half: npt.NDArray[Any] = shifted.astype(np.float16) + np.float16(0)
        return half.view(np.uint16).astype(np.uint32)
    single = np.maximum(shifted, -3.0e38).astype(np.float32) + np.float32(0)
    bits = np.asarray(single, dtype=np.float32).view(np.uint32)
    if precision is Precision.F32:
        return bits
    brain = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(brain == 0x8000, np.uint32(0), brain)  # what rounds to -0.0 is written +0.0


def shifted_logits(precision: Precision, codes: Codes) -> npt.NDArray[np.float64]:
    """Logits relative to the largest one (float64, nat, <= 0) that ``codes`` of floats stand for."""
    if precision is Precision.F16:
        return codes.astype(np.uint16).view(np.float16).astype(np.float64)
    if precision is Precision.BF16:
        return (codes << np.uint32(16)).astype(np.uint32).view(np.float32).astype(np.float64)
    return codes.astype(np.uint32).view(np.float32).astype(np.float64)
