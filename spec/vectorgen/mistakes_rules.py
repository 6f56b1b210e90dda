"""Cases of verify.json and coded.json for mistakes that all other vectors let through; ``spec/mutants.py`` found them.

Spec sections 6.3 and 6.6 to 6.8.
"""

from __future__ import annotations

from typing import Any

import tslt_wire as tw
from spec.vectorgen.mistakes import NEW
from spec.vectorgen.tools import Json, list_value, make_list, message_value
from spec.vectorgen.verification import FLAT, Q0, RISING, Scripted, group_of
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.probability_grid import GRID
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.lazy_rule import verify_list_with
from tslt_wire.verification.proposals import choose_with, propose_with
from tslt_wire.verification.verdicts import verify_with

V = 8
ALL = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 6}
"""log2/0 codes of all ids: 1/2, 1/4, ..., 1/128, 1/128."""
THIRD = [0.25, 0.3125, 0.3125, 0.125, 0.0, 0.0, 0.0, 0.0]
EVIDENCE: dict[str, Any] = {"scalar": tw.ScalarEvidence, "lazy": tw.LazyEvidence}


def build_verification() -> list[Json]:
    """Groups of verify.json: tails of 0, 1 and 31 32nds."""
    note = "after token 0 is gone, token 1 has twice its probability: 1/2 is the ratio, not 1"
    siblings = [0, 1], [-1, -1], {-1: Q0}, False, [THIRD, FLAT, FLAT], [0.9, 0.7, 0.3]
    whole = [1, 0], [-1, -1], {-1: ALL}, True, [FLAT, FLAT, FLAT], [0.9, 0.4, 0.7]
    cases = {
        0: (
            ("gone-sibling", note, ("rejected", "siblings", NEW), *siblings),
            ("all-ids", "a list of all ids", ("rejected", "siblings", NEW), *whole),
        ),
        1: (
            (
                "tail-1",
                "an unlisted token",
                ("accepted", "bonus", "edge", NEW),
                [5],
                [-1],
                {-1: Q0},
                True,
                [FLAT, FLAT],
                [0.9, 0.3],
            ),
        ),
        31: (
            (
                "tail-31",
                "a listed token",
                ("accepted", "bonus", "edge", NEW),
                [0],
                [-1],
                {-1: Q0},
                True,
                [FLAT, FLAT],
                [0.9, 0.3],
            ),
        ),
    }
    groups = []
    for tail, found in cases.items():
        prior = plain_prior("uniform", V) if tail else None
        groups.append(group_of(tw.Profile(vocab_size=V, precision="log2/0", prior=prior), found, tail))
    return groups


def with_edges(groups: list[Json]) -> list[Json]:
    """The groups of coded.json with more cases, some of which have a uniform of exactly 0."""
    profile = tw.Profile(vocab_size=V, prior=plain_prior("uniform", V))
    more = {"verify": _verify(profile), "propose": _propose(), "take": _take(profile), "list": _list(profile)}
    return [group | {"tests": group["tests"] + more.get(group["what"], [])} for group in groups]


def _case(what: str, name: str, comment: str, **more: Any) -> Json:
    id_ = f"coded/{what}-{name}"
    return {"id": id_, "comment": comment, "flags": [what, NEW], "result": "valid", **more}


def _used(script: Scripted) -> None:
    if script.left:
        raise RuntimeError("uniforms are left over")


def _draft(name: str, tokens: list[int], codes: list[int]) -> tw.Draft:
    evidence = EVIDENCE[name](tuple(codes))
    return tw.Draft(round=1, prefix_length=3, prefix_hash=0, tree=tw.TokenTree.chain(tokens), evidence=evidence)


def _body(answer: Any) -> Json:
    return {key: value for key, value in message_value(answer).items() if key not in ("kind", "extensions", "end")}


def _verify(profile: tw.Profile) -> list[Json]:
    row = [0.3, 0.7, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    none = "p = 0 and u = 0: rejected"
    between = "u is between the quotients with p and with p rounded down"
    first = "no token; u = 0, and p of token 0 is 0"
    tests = []
    for label, note, name, tokens, codes, rows, uniforms in (
        ("between-scalar", between, "scalar", [0], [128], [row, FLAT], [0.599, 0.2, 0.5]),
        ("between-lazy", between, "lazy", [0], [128], [row, FLAT], [0.599, 0.3]),
        ("zero-scalar", none, "scalar", [2], [200], [row, FLAT], [0.0, 0.2, 0.5]),
        ("zero-lazy", none, "lazy", [2], [200], [row, FLAT], [0.0]),
        ("first", first, "scalar", [], [], [RISING], [0.0]),
    ):
        draft, script = _draft(name, tokens, codes), Scripted(uniforms)
        answer = _body(verify_with(draft, rows, RandomChoices(script), proposals=1))
        _used(script)
        more = {"target_probs": rows, "uniforms": uniforms, "proposals": 1, "answer": answer}
        tests.append(_case("verify", label, note, hex=tw.encode(draft, profile).hex(), **more))
    return tests


def _propose() -> list[Json]:
    last = float(GRID[4094]) * 1.002
    tests = []
    for label, note, row, uniforms in (
        ("first", "u = 0, and p of token 0 is 0", RISING, [0.0, 0.5]),
        (
            "below",
            "p is below the grid: code 4095, and no u for ups",
            [2.0**-40, 1 - 2.0**-40, 0, 0, 0, 0, 0, 0],
            [0.0],
        ),
        ("last", "code 4094 has a larger number next to it", [last, 1 - last, 0, 0, 0, 0, 0, 0], [0.0, 0.9]),
    ):
        used = uniforms if label != "first" else uniforms[:1]  # 1/16 is on the grid
        script = Scripted(used)
        found = _body(propose_with(0, -1, row, RandomChoices(script), count=1))
        _used(script)
        made = {key: found[key] for key in ("tokens", "codes", "ups")}
        tests.append(_case("propose", label, note, target_probs=row, uniforms=used, made=made))
    return tests


def _take(profile: tw.Profile) -> list[Json]:
    rare = make_list(V, "log2/2", [0, 1], [0, 120])
    halves = make_list(V, "log2/2", [0, 1], [0, 0])
    tests = []
    for label, note, q, proposal, u in (
        ("4095", "code 4095 is taken", halves, tw.Proposal(0, 4095), 0.999),
        ("4094", "code 4094 is a number like others", rare, tw.Proposal(1, 4094), 0.5),
        ("up", "z is the next larger number, not the next smaller one", halves, tw.Proposal(0, 200, up=True), 0.003),
        ("zero", "t = 0 and u = 0: not taken", halves, tw.Proposal(0, 128), 0.0),
    ):
        proposals = tw.Proposals(round=5, node=0, proposals=(proposal,), batch=0)
        tree = tw.TokenTree.chain(q.likeliest(1) * (proposals.node + 2))
        evidence = tw.ScalarEvidence.of(tree, dict.fromkeys(tree.inner, q))
        draft = tw.Draft(round=5, prefix_length=0, prefix_hash=0, tree=tree, evidence=evidence)
        script = Scripted([u])
        index = choose_with(proposals, draft, RandomChoices(script))
        _used(script)
        more = {"q": list_value(q), "uniforms": [u], "taken": index}
        tests.append(_case("take", label, note, hex=tw.encode(proposals, profile).hex(), **more))
    return tests


def _list(profile: tw.Profile) -> list[Json]:
    q = make_list(V, "log2/2", [1, 2], [0, 0])
    tree = tw.TokenTree.chain([1])
    evidence = tw.LazyEvidence.of(tree, {-1: q})
    draft = tw.Draft(round=1, prefix_length=3, prefix_hash=0, tree=tree, evidence=evidence)
    script = Scripted([0.0])
    verdict = verify_list_with(draft, -1, RISING, q, RandomChoices(script))
    _used(script)
    frames = {"hex": tw.encode(draft, profile).hex(), "list": tw.encode(tw.ListReply(round=1, q=q), profile).hex()}
    more = {"node": -1, "target_probs": RISING, "uniforms": [0.0], "answer": _body(verdict)}
    return [_case("list", "first", "u = 0, and token 0 has no probability", **frames, **more)]
