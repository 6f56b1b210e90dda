"""Cases of verify.json: verification with scripted random numbers.

Spec section 6.3.  The answer is computed here with exact fractions, and compared with ``tslt_wire.verify``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

import tslt_wire as tw
from spec.vectorgen.tools import Group, Json, make_list
from tslt_wire.lists.prior import plain_prior
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.list_rule import TOKEN_BY_TOKEN
from tslt_wire.verification.verdicts import verify_with

NOTES = {
    "accepted": "at least one node is accepted",
    "rejected": "at least one child is rejected",
    "bonus": "a leaf is accepted, or there is no draft: the target's own token follows",
    "siblings": "more than one child is tried",
    "edge": "a ratio of 0, or of 1 and more",
}
MARGIN = Fraction(1, 10**6)
"""No decision is nearer to its boundary than this, so rounding cannot change it (ratios of 0 and >= 1 apart)."""

Q0 = {0: 0, 1: 1, 2: 2, 3: 2}
"""log2/0 codes: 1/2, 1/4, 1/8, 1/8."""
Q1 = {1: 0, 3: 0}
Q2 = {2: 0}
FLAT = [0.125] * 8
RISING = [0.0, 0.0625, 0.0625, 0.125, 0.125, 0.125, 0.25, 0.25]
SHARP = [0.75, 0.125, 0.0625, 0.0625, 0.0, 0.0, 0.0, 0.0]
MIXED = [0.25, 0.0, 0.0, 0.5, 0.25, 0.0, 0.0, 0.0]
ONE = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]

_CASES: tuple[tuple[Any, ...], ...] = (
    # id, comment, flags, tokens, parents, lists, replacement, rows of p, uniforms
    ("empty", "no draft", ("bonus",), [], [], {}, True, [SHARP], [0.8]),
    ("empty-0", "no draft, u = 0: the first token that can be", ("bonus", "edge"), [], [], {}, True, [RISING], [0.0]),
    (
        "accept-sure",
        "p/q above 1",
        ("accepted", "bonus", "edge"),
        [0],
        [-1],
        {-1: Q0},
        True,
        [SHARP, FLAT],
        [0.999, 0.3],
    ),
    ("accept", "p/q = 1/4, u below", ("accepted", "bonus"), [0], [-1], {-1: Q0}, True, [FLAT, RISING], [0.2, 0.9]),
    ("reject", "p/q = 1/4, u above", ("rejected",), [0], [-1], {-1: Q0}, True, [FLAT, RISING], [0.3, 0.1]),
    ("reject-sure", "p = 0, u = 0", ("rejected", "edge"), [0], [-1], {-1: Q0}, True, [RISING, FLAT], [0.0, 0.5]),
    (
        "residual-first",
        "the residual's first token",
        ("rejected",),
        [0],
        [-1],
        {-1: Q0},
        True,
        [FLAT, FLAT],
        [0.9, 0.0],
    ),
    (
        "residual-last",
        "the residual's last token",
        ("rejected",),
        [0],
        [-1],
        {-1: Q0},
        True,
        [FLAT, FLAT],
        [0.9, 0.999],
    ),
    (
        "chain",
        "all of a chain",
        ("accepted", "bonus"),
        [0, 1, 2],
        [-1, 0, 1],
        {-1: Q0, 0: Q1, 1: Q2},
        True,
        [SHARP, [0.0, 0.5, 0, 0.5, 0, 0, 0, 0], ONE, FLAT],
        [0.5, 0.9, 0.1, 0.7],
    ),
    (
        "chain-middle",
        "the second of a chain is rejected",
        ("accepted", "rejected"),
        [0, 1, 2],
        [-1, 0, 1],
        {-1: Q0, 0: Q1, 1: Q2},
        True,
        [SHARP, FLAT, ONE, FLAT],
        [0.5, 0.26, 0.45],
    ),
    (
        "chain-first",
        "the first of a chain is rejected",
        ("rejected",),
        [1, 2],
        [-1, 0],
        {-1: Q0, 0: Q2},
        True,
        [RISING, ONE, FLAT],
        [0.75, 0.6],
    ),
    (
        "greedy-accept",
        "a one-point target agrees",
        ("accepted", "bonus", "edge"),
        [2],
        [-1],
        {-1: Q0},
        True,
        [ONE, SHARP],
        [0.99, 0.1],
    ),
    (
        "greedy-reject",
        "a one-point target disagrees",
        ("rejected", "edge"),
        [0],
        [-1],
        {-1: Q0},
        True,
        [ONE, SHARP],
        [0.0, 0.9],
    ),
    (
        "second",
        "the second sibling is accepted",
        ("accepted", "rejected", "siblings", "bonus"),
        [0, 3],
        [-1, -1],
        {-1: Q0},
        True,
        [MIXED, FLAT, RISING],
        [0.9, 0.0, 0.6],
    ),
    (
        "second-ratio",
        "the second sibling's ratio is that of the residual",
        ("accepted", "rejected", "siblings", "bonus"),
        [1, 3],
        [-1, -1],
        {-1: {1: 0, 3: 1, 5: 1}},
        True,
        [[0.5625, 0.125, 0, 0.3125, 0, 0, 0, 0], FLAT, SHARP],
        [0.5, 0.3, 0.7],
    ),
    (
        "second-without",
        "the same, without replacement",
        ("accepted", "rejected", "siblings", "bonus"),
        [1, 3],
        [-1, -1],
        {-1: {1: 0, 3: 0, 5: 0}},
        False,
        [[0.3125, 0.125, 0, 0.4375, 0, 0.125, 0, 0], FLAT, SHARP],
        [0.5, 0.4, 0.7],
    ),
    (
        "all-without",
        "all siblings are rejected, without replacement",
        ("rejected", "siblings"),
        [0, 1, 2],
        [-1, -1, -1],
        {-1: Q0},
        False,
        [[0.0, 0.0625, 0.0625, 0.0625, 0.0625, 0.25, 0.25, 0.25], FLAT, FLAT, FLAT],
        [0.5, 0.5, 0.9, 0.3],
    ),
    (
        "all-with",
        "the same, with replacement",
        ("rejected", "siblings"),
        [0, 1, 2],
        [-1, -1, -1],
        {-1: Q0},
        True,
        [[0.0, 0.0625, 0.0625, 0.0625, 0.0625, 0.25, 0.25, 0.25], FLAT, FLAT, FLAT],
        [0.5, 0.5, 0.9, 0.3],
    ),
    (
        "equal-first",
        "equal siblings, the first is accepted",
        ("accepted", "bonus"),
        [0, 0],
        [-1, -1],
        {-1: Q0},
        True,
        [FLAT, RISING, ONE],
        [0.1, 0.7],
    ),
    (
        "equal-both",
        "equal siblings: after the first the second has ratio 0",
        ("rejected", "siblings", "edge"),
        [0, 0],
        [-1, -1],
        {-1: Q0},
        True,
        [FLAT, RISING, ONE],
        [0.9, 0.0, 0.6],
    ),
    (
        "tree",
        "second child, then its first child",
        ("accepted", "rejected", "siblings", "bonus"),
        [0, 3, 1, 1, 2, 2],
        [-1, -1, 0, 0, 1, 1],
        {-1: Q0, 0: Q1, 1: Q2},
        True,
        [MIXED, FLAT, SHARP, FLAT, ONE, FLAT, RISING],
        [0.9, 0.7, 0.03, 0.8],
    ),
    (
        "tree-stop",
        "second child, then none of its children",
        ("accepted", "rejected", "siblings"),
        [0, 3, 1, 1, 2, 2],
        [-1, -1, 0, 0, 1, 1],
        {-1: Q0, 0: Q1, 1: Q2},
        True,
        [MIXED, FLAT, SHARP, FLAT, ONE, FLAT, RISING],
        [0.9, 0.7, 0.8, 0.8, 0.5],
    ),
    (
        "tree-depth-first",
        "nodes in depth-first order",
        ("accepted", "rejected", "siblings"),
        [0, 1, 3, 1, 1],
        [-1, 0, -1, 2, -1],
        {-1: Q0, 0: Q1, 2: Q1},
        True,
        [MIXED, FLAT, ONE, SHARP, RISING, FLAT],
        [0.9, 0.1, 0.3, 0.4],
    ),
)

_TAILS: tuple[tuple[Any, ...], ...] = (
    # Q0 has 3/4 of 1/2, 1/4, 1/8, 1/8; tokens 4 to 7 have 1/16 each.
    (
        "tail-accept",
        "a token of the tail, p/q = 2",
        ("accepted", "bonus", "edge"),
        [5],
        [-1],
        {-1: Q0},
        True,
        [FLAT, RISING],
        [0.9, 0.2],
    ),
    (
        "tail-reject",
        "a token of the tail, p/q = 0",
        ("rejected", "edge"),
        [5],
        [-1],
        {-1: Q0},
        True,
        [SHARP, FLAT],
        [0.5, 0.2],
    ),
    ("tail-listed", "a listed token, p/q = 1/3", ("rejected",), [0], [-1], {-1: Q0}, True, [FLAT, RISING], [0.4, 0.7]),
    (
        "tail-siblings-with",
        "two equal tokens of the tail, then a listed one",
        ("rejected", "siblings", "edge"),
        [4, 4, 1],
        [-1] * 3,
        {-1: Q0},
        True,
        [SHARP, FLAT, FLAT, FLAT],
        [0.3, 0.2, 0.9, 0.6],
    ),
    (
        "tail-siblings-without",
        "all of the tail, then a listed one",
        ("accepted", "rejected", "siblings", "bonus", "edge"),
        [4, 5, 6, 7, 0],
        [-1] * 5,
        {-1: Q0},
        False,
        [[0.625, 0.125, 0.125, 0.125, 0.0, 0.0, 0.0, 0.0], FLAT, FLAT, FLAT, FLAT, FLAT],
        [0.3, 0.2, 0.9, 0.6, 0.99, 0.3],
    ),
    (
        "tail-list-first",
        "the whole list, then a token of the tail",
        ("rejected", "siblings", "edge"),
        [1, 3, 4],
        [-1] * 3,
        {-1: Q1},
        False,
        [[0.0625, 0.0, 0.0625, 0.0, 0.0625, 0.0625, 0.25, 0.5], FLAT, FLAT, FLAT],
        [0.9, 0.5, 0.9, 0.1],
    ),
)


class Scripted(np.random.Generator):
    """Stands in for a random generator."""

    def __init__(self, uniforms: list[float]) -> None:
        super().__init__(np.random.PCG64(0))
        self.left = list(uniforms)

    def random(self, *_: Any, **__: Any) -> Any:
        """The next number."""
        return self.left.pop(0)


def _exact(
    draft: tw.Draft, replacement: bool, rows: list[list[float]], uniforms: list[float]
) -> tuple[int, int, set[str]]:
    """(node, token, flags) by section 6.3 in fractions; checks the margins and that all uniforms are used."""
    flags: set[str] = set()
    left = [Fraction(u) for u in uniforms]
    at = -1
    while True:
        r = [Fraction(x) for x in rows[1 + at]]
        children = draft.tree.children(at)
        accepted = None
        listed: dict[int, int] = {}
        others: dict[int, int] = {}
        if children:
            q = draft.lists[at]
            listed = dict(zip(q.ids.tolist(), q.weights.tolist(), strict=True))
            others = {y: int(q.prior.weights[y]) for y in range(len(r)) if y not in listed} if q.prior else {}
        for tried, child in enumerate(children):
            flags |= {"siblings"} if tried else set()
            x, share = draft.tree.tokens[child], Fraction(draft.lists[at].tail, 32)
            share = Fraction(0) if not sum(others.values()) else Fraction(1) if not sum(listed.values()) else share
            law = {y: (1 - share) * Fraction(w, sum(listed.values()) or 1) for y, w in listed.items()}
            law |= {y: share * Fraction(w, sum(others.values()) or 1) for y, w in others.items()}
            ratio, u = r[x] / law[x], left.pop(0)
            if 0 < ratio < 1 and abs(u - ratio) < MARGIN:
                raise RuntimeError("too near to call")
            if u < min(Fraction(1), ratio):
                accepted = child
                break
            flags.add("rejected")
            r = [max(Fraction(0), p - law.get(y, 0)) for y, p in enumerate(r)]
            r = [p / sum(r) for p in r]
            if not replacement:
                (listed if x in listed else others)[x] = 0
        if accepted is None:
            break
        flags.add("accepted")
        at = accepted
    flags |= set() if children else {"bonus"}
    u = left.pop(0)
    masses = [sum(r[: y + 1], Fraction(0)) for y in range(len(r))]
    if any(0 < mass < 1 and abs(mass - u) < MARGIN for mass in masses):
        raise RuntimeError("too near to call")
    token = next(y for y, mass in enumerate(masses) if mass > u)
    if left:
        raise RuntimeError(f"uniforms left over: {left}")
    return at, token, flags


def build() -> list[Json]:
    """Two groups with V = 8, log2/0: without a prior, and with tails of 8 32nds after a uniform one."""
    return [
        group_of(tw.Profile(vocab_size=8, precision="log2/0"), _CASES, 0),
        group_of(tw.Profile(vocab_size=8, precision="log2/0", prior=plain_prior("uniform", 8)), _TAILS, 8),
    ]


def group_of(profile: tw.Profile, cases: tuple[tuple[Any, ...], ...], tail: int) -> Json:
    """A group with V = 8, log2/0; ``tail`` is that of all lists."""
    group = Group(profile, tw.decode)
    tests: list[Json] = []
    for name, comment, flags, tokens, parents, lists, replacement, rows, uniforms in cases:
        draft = tw.Draft(
            round=len(tests),
            prefix_length=3,
            prefix_hash=0,
            tree=tw.TokenTree(tokens, parents),
            evidence=tw.ListEvidence(
                {at: make_list(8, "log2/0", list(q), list(q.values()), tail, profile.prior) for at, q in lists.items()},
                replacement,
            ),
        )
        try:
            node, token, seen = _exact(draft, replacement, rows, uniforms)
        except (RuntimeError, IndexError) as error:
            raise RuntimeError(f"verify/{name}: {error}") from error
        if seen != set(flags) - {"edge", "mutant"}:
            raise RuntimeError(f"verify/{name} has the flags {sorted(seen)}, not {flags}")
        rng: Any = Scripted(uniforms)
        verdict: Any = verify_with(draft, np.array(rows), RandomChoices(rng), least_held=TOKEN_BY_TOKEN)
        if (verdict.node, verdict.token, rng.left) != (node, token, []):
            raise RuntimeError(f"verify/{name}: {verdict} where fractions say {(node, token)}")
        tests.append(
            {
                "id": f"verify/{name}",
                "comment": comment,
                "flags": list(flags),
                "hex": tw.encode(draft, profile).hex(),
                "target_probs": rows,
                "uniforms": uniforms,
                "result": "valid",
                "verdict": {"round": verdict.round, "node": node, "token": token},
            }
        )
    return group.to_json() | {"tests": tests}
