"""What the paper says of its figures, on figures of which each holds and on figures of which none does."""

from __future__ import annotations

import pytest
from tslt_benchmarks.paper.claims import of_laws, of_rounds

KS = (32, 320, 3_200, 32_000)


def laws(masses, single, double, broken):
    acceptance = [
        {"name": "paper", "k": k, "single": {"value": one}, "double": {"value": two}}
        for k, one, two in zip(KS, single, double, strict=True)
    ]
    mass = [{"k": k, "value": value} for k, value in zip(KS, masses, strict=True)]
    return {"acceptance": acceptance, "mass": mass, "bounds": [{"broken": broken}], "places": 10}


def rounds(chain, tree):
    """``chain``, ``tree``: speedups of each K at two uplinks."""
    return [
        {"shape": shape, "k": k, "speedup": speedup}
        for shape, rows in (("chain", chain), ("tree", tree))
        for k, speedup in zip(KS, rows, strict=True)
    ]


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (laws((0.6, 0.84, 0.99, 1.0), (0.5, 0.77, 0.79, 0.8), (0.6, 0.8, 0.85, 0.9), 0), True),
        (laws((0.6, 0.7, 0.9, 1.0), (0.78, 0.7, 0.7, 0.8), (0.6, 0.8, 0.85, 0.9), 2), False),
    ],
)
def test_laws(found, holds):
    assert {claim.holds for claim in of_laws(found, "{:.2f}".format)} == {holds}
    assert all(any(digit.isdigit() for digit in claim.here) for claim in of_laws(found, "{:.2f}".format))


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (
            rounds([(1.0, 1.5), (0.9, 2.0), (0.5, 2.0), (0.1, 1.9)], [(1.1, 2.0), (1.0, 2.5), (0.6, 2.5), (0.2, 2.4)]),
            True,
        ),
        (
            rounds([(0.1, 2.5), (0.1, 2.0), (0.1, 1.5), (0.2, 2.0)], [(0.0, 2.2), (0.1, 2.1), (0.1, 2.0), (0.2, 2.0)]),
            False,
        ),
    ],
)
def test_rounds(found, holds):
    claims = of_rounds(found, (1e5, 1e9))
    assert [claim.place for claim in claims] == ["Fig. 5", "Fig. 5", "Fig. 6", "Fig. 6", "Fig. 5, 6"]
    assert {claim.holds for claim in claims} == {holds}
