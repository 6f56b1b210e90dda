"""What the TSLT paper says of its figures 3 to 6 and its theorems, each with a yes or a no from measured figures.

"About" and "hardly" are in the paper's words, not in numbers: ``NEAR`` stands for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

NEAR = 0.05
"""What differs by less is "about" as much, or changes "hardly"; of probability and of acceptance."""
MASS_AT_320 = 0.85
Row = dict[str, Any]
Number = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A statement and its check."""

    place: str
    """Figure or theorem."""
    said: str
    here: str
    """The number."""
    holds: bool


def of_laws(found: Row, write: Number) -> list[Claim]:
    """Figures 3 and 4 and both theorems, of one set of rows; ``write``: makes text of a probability."""
    rows = [row for row in found["acceptance"] if row["name"] == "paper"]
    ks = [row["k"] for row in rows]
    mass = {row["k"]: row["value"] for row in found["mass"]}
    one, two = ([row[kind]["value"] for row in rows] for kind in ("single", "double"))

    def lost(at: int) -> str:
        return f"it falls from {write(one[-1])} to {write(one[at])}"

    claims = [
        Claim(
            place="Fig. 3",
            said=f"the {ks[1]:,} most probable tokens hold about {write(MASS_AT_320)} of the probability",
            here=write(mass[ks[1]]),
            holds=abs(mass[ks[1]] - MASS_AT_320) < NEAR,
        ),
        Claim(
            place="Fig. 3",
            said=f"the {ks[-2]:,} most probable tokens hold almost all of the probability",
            here=write(mass[ks[-2]]),
            holds=mass[ks[-2]] > 1 - NEAR,
        ),
        Claim(
            place="Fig. 4",
            said=f"K = {ks[-2]:,} costs hardly any acceptance",
            here=lost(-2),
            holds=one[-1] - one[-2] < NEAR,
        ),
        Claim(
            place="Fig. 4",
            said=f"K = {ks[1]:,} costs hardly any acceptance, too",
            here=lost(1),
            holds=one[-1] - one[1] < NEAR,
        ),
        Claim(
            place="Fig. 4",
            said=f"K = {ks[0]:,} costs much acceptance",
            here=lost(0),
            holds=one[-1] - one[0] >= NEAR,
        ),
        Claim(
            place="Fig. 4",
            said="two candidates are accepted more often than one at each K",
            here="by " + " to ".join(write(end([b - a for a, b in zip(one, two, strict=True)])) for end in (min, max)),
            holds=all(b > a for a, b in zip(one, two, strict=True)),
        ),
    ]
    broken = sum(row["broken"] for row in found["bounds"])
    count = f"broken at {broken} of {found['places'] * len(found['bounds'])} places"
    return [*claims, Claim(place="Theorems 1, 2", said="their bounds hold everywhere", here=count, holds=broken == 0)]


def of_rounds(rounds: Sequence[Row], uplinks: Sequence[float]) -> list[Claim]:
    """Figures 5 and 6; ``uplinks`` in bit/s."""
    lists = {shape: [row for row in rounds if row["shape"] == shape and row["k"]] for shape in ("chain", "tree")}
    claims = []
    for place, shape in (("Fig. 5", "chain"), ("Fig. 6", "tree")):
        *cut, whole = (row["speedup"] for row in lists[shape])
        over = [max(values) / last for *values, last in zip(*cut, whole, strict=True)]
        ends = f"{over[0]:,.1f} times at {uplinks[0] / 1e6:g} Mbit/s, {over[-1]:.2f} at {uplinks[-1] / 1e6:,g}"
        claims.append(
            Claim(
                place=place,
                said="the best of the short lists is faster than whole distributions at each uplink",
                here=ends,
                holds=min(over) > 1,
            )
        )
        least, middle = cut[0][-1], max(row[-1] for row in cut[1:])
        claims.append(
            Claim(
                place=place,
                said=f"where the uplink is fast, K = {lists[shape][0]['k']:,} is slower than the best longer list",
                here=f"{least:.2f} to {middle:.2f} at {uplinks[-1] / 1e6:,g} Mbit/s",
                holds=least < middle,
            )
        )
    pairs = [
        (chain, tree)
        for one, other in zip(lists["chain"], lists["tree"], strict=True)
        for chain, tree in zip(one["speedup"], other["speedup"], strict=True)
    ]
    faster = sum(tree > chain for chain, tree in pairs)
    claims.append(
        Claim(
            place="Fig. 5, 6",
            said="trees are faster than chains at each K and uplink",
            here=f"at {faster} of {len(pairs)} pairs of K and uplink",
            holds=faster == len(pairs),
        )
    )
    return claims
