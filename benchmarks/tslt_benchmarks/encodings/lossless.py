"""Which encodings keep the target's distribution, and what shows it: a test of this repository, or why not.

A container of ids and numbers is neither: what counts is that a device draws from exactly what it sends, and that the
edge divides by exactly that.
"""

from __future__ import annotations

from collections.abc import Sequence

_WIRE = "tests/verification/test_lossless.py::test_what_crossed_the_wire_is_lossless"
_EVIDENCE = "tests/verification/test_evidence.py::"
_SCALAR = "tests/verification/test_scalar.py::"
_CONTAINER = "if the protocol is: exact where a device draws from what is written, after rounding"

PROOFS = {
    "match": _EVIDENCE + "test_match_is_lossless",
    "coupled": _EVIDENCE + "test_coupled_is_lossless",
    "scalar": _SCALAR + "test_scalar_is_lossless",
    "lazy": _SCALAR + "test_lazy_is_lossless",
    "list": _WIRE,
    "full": _WIRE,
    "paper": "yes, by its proof (Algorithms 2 and 3 with the ratio the right way round): drawn after truncation",
    "published_bound": "yes, by its proof: drawn from the lattice; no bitstream to test",
    "qs_240": "yes, by its proof: drawn from the lattice; no bitstream to test",
    "qs_720": "yes, by its proof: drawn from the lattice; no bitstream to test",
    "distillkit": "no: made for training; the curve is not what was drawn from",
}


def proof_of(name: str) -> str:
    """The test that shows that ``name`` is lossless, or why there is none."""
    if name in PROOFS:
        return PROOFS[name]
    return _WIRE if "tslt" in name else _CONTAINER


def short_proof(proof: str) -> str:
    """A word or two for tables: what stands in front of the reason, ``tested`` for a test."""
    return "tested" if "::" in proof else proof.split(":", maxsplit=1)[0].split(",", maxsplit=1)[0]


def footnotes(proofs: Sequence[str]) -> tuple[list[str], list[str]]:
    """A cell for each of ``proofs``, ``tested [1]``, and the notes that the numbers are of, from 1, each proof once."""
    notes = list(dict.fromkeys(proofs))
    return [f"{short_proof(proof)} [{notes.index(proof) + 1}]" for proof in proofs], notes
