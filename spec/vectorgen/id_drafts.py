"""Cases of frames.json and verify.json for evidence without lists: DRAFT_MATCH and DRAFT_COUPLED.

Spec sections 6.4 and 6.5.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tslt_wire as tw
from spec.vectorgen.tools import Bits, Group, Json, sealed
from spec.vectorgen.verification import FLAT, MIXED, ONE, RISING, SHARP, Scripted
from tslt_wire.messages.token_tree import expansion_parents

KINDS: dict[str, tuple[int, tw.Evidence]] = {
    "match": (0x11, tw.MatchEvidence()),
    "coupled": (0x12, tw.CoupledEvidence()),
}
SHAPES: dict[str, list[int]] = {
    "empty": [],
    "chain-4": [-1, 0, 1, 2],
    "expansion-2-2-2": list(expansion_parents((2, 2, 2))),
    "levels": [-1, -1, -1, 0, 0, 2, 3, 3, 6],
    "parents": [-1, 0, 1, 1, 0, 4, -1, 6],
    "nodes-32": [i // 2 - 1 for i in range(32)],
}
SECRET = bytes.fromhex("0123456789abcdef")
MARGIN = 1e-6
"""No two arrival times of a vector are nearer than this part of each other."""


def _draft(name: str, tokens: list[int], parents: list[int], **more: Any) -> tw.Draft:
    fields: dict[str, Any] = {"round": 7, "prefix_length": 120, "prefix_hash": 0xBEEF} | more
    return tw.Draft(tree=tw.TokenTree(tokens, parents), evidence=KINDS[name][1], **fields)


# -------------------------------------------------------------------------------------------------------------- frames


def build_frames() -> list[Json]:
    """Groups by vocabulary size and entropy coder, which changes nothing."""
    groups = [_valid(size, "none") for size in (1, 2, 10, 300, 32000, 128256, 1 << 20)]
    groups += [_valid(32000, "range"), _compressed()]
    return [group.to_json() for group in groups] + _invalid()


def _valid(size: int, entropy: str) -> Group:
    group = Group(tw.Profile(vocab_size=size, entropy=entropy), tw.decode)
    prefix = f"frame/{size}" if entropy == "none" else f"range/frame/{size}"

    def accept(draft: tw.Draft, name: str, note: str, *flags: str) -> None:
        group.accept(f"{prefix}/{name}", note, draft, *flags)

    for kind in KINDS:
        for name, parents in SHAPES.items():
            if max((parents.count(parent) for parent in parents), default=0) > size:
                continue
            ranks = [parents[:i].count(parent) for i, parent in enumerate(parents)]
            tokens = [
                size - 1 - (rank if parent % 2 else -rank % size) for rank, parent in zip(ranks, parents, strict=True)
            ]
            note = f"{len(parents)} nodes without lists"
            accept(_draft(kind, tokens, parents), f"{kind}-{name}", note, "shape")
        if size == 32000:
            far = _draft(kind, [1, 2, 3, 4], [-1, 0, 1, 2], round=16383, prefix_length=16383)
            accept(far, f"{kind}-20-bytes", "four tokens in 20 bytes", "varint")
        if (size, kind) == (10, "match"):
            place = {"round": 3, "prefix_length": 5, "prefix_hash": 0xA990}
            example = _draft(kind, [7, 2, 2], [-1, -1, 0], **place)
            accept(example, "match-example", "the example of section 6.4")
        if size == 10:
            more = (tw.Extension(2, b"x"),)
            accept(_draft(kind, [9], [-1], extensions=more), f"{kind}-ext", "with an extension", "extension")
    return group


def _compressed() -> Group:
    group = Group(tw.Profile(vocab_size=10, entropy="zstd"), tw.decode)
    for name, (kind, _) in KINDS.items():
        data = sealed(bytes([kind | 0x80]) + bytes(20))
        group.refuse(f"zstd/frame/10/{name}", "only PROMPT and DRAFT_LIST are compressed", data, "reserved_bits")
    return group


def _invalid() -> list[Json]:
    groups: dict[tuple[int, str], Group] = {}
    for name, (kind, _) in KINDS.items():

        def head(kind: int = kind) -> Bits:
            return Bits().put(kind, 8).varint(7).varint(5).put(0xBEEF, 16)

        def bad(error: str, label: str, bits: Bits, note: str, *flags: str, size: int = 10, **more: int) -> None:
            padding = more.pop("padding", 0)
            group = groups.setdefault(
                (size, str(more)), Group(tw.Profile(vocab_size=size), tw.decode, limits=dict(more))
            )
            group.refuse(f"frame/{size}/{name}-{label}", note, sealed(bits.done(padding)), error, *flags)  # noqa: B023

        bad("truncated", "no-body", Bits().put(kind, 8), "no body")
        bad("truncated", "no-hash", Bits().put(kind, 8).varint(7).varint(5).put(0, 8), "half a prefix_hash")
        bad("truncated", "no-shape", head(), "ends after prefix_hash")
        bad("truncated", "no-tokens", head().varint(2 << 2).put(9, 4), "one token of two", size=300)
        bad("truncated", "no-tokens-and-token", head().varint(3 << 2).each([15, 9], 4), "and token 15", "order")
        bad("limit_exceeded", "nodes", head().varint(2 << 2).each([1, 1], 4), "2 nodes of 1", "limit", max_nodes=1)
        bad("limit_exceeded", "deep", head().varint(2 << 2).each([1, 1], 4), "depth 2 of 1", "limit", max_depth=1)
        bad(
            "limit_exceeded",
            "leaves",
            head().varint(5).varint(2).each([1, 2], 4),
            "2 leaves of 1",
            "limit",
            max_leaves=1,
        )
        bad("non_canonical", "shape", head().varint(1 << 2 | 2).put(1, 1).put(1, 4), "a chain as LEVELS", "shape")
        bad("out_of_range", "token", head().varint(1 << 2).put(10, 4), "token 10 of 10")
        bad("out_of_range", "token-300", head().varint(1 << 2).put(300, 9), "token 300 of 300", size=300)
        bad("bad_tree", "equal-siblings", head().varint(5).varint(2).each([3, 3], 4), "siblings 3, 3")
        three = head().varint(3 << 2 | 2).put(0b1011, 4).each([3, 3, 3], 4).put(0, 1)
        bad("bad_tree", "equal-siblings-padding", three, "siblings 3, 3, and a padding bit", "order", padding=1)
        both = head().varint(5).varint(2).each([11, 11], 4)
        bad("out_of_range", "token-and-siblings", both, "siblings 11, 11 of 10", "order")
        odd = head().varint(1 << 2).put(3, 9)
        bad("reserved_bits", "padding", odd, "a padding bit", size=300, padding=64)
        bad("trailing_bytes", "trailing", head().varint(1 << 2).put(3, 4).put(0, 12), "a byte too many")
        bad("trailing_bytes", "format", head().put(0, 8).varint(0), "a format byte and an empty tree")
    return [group.to_json() for group in groups.values()]


# -------------------------------------------------------------------------------------------------------- verification

_WALKS: tuple[tuple[Any, ...], ...] = (
    # id, comment, flags, tokens, parents, rows of p, uniforms of match
    ("bonus", "no draft", ("bonus",), [], [], [SHARP], [0.8]),
    ("accept", "the child is drawn", ("accepted", "bonus"), [0], [-1], [SHARP, FLAT], [0.7, 0.3]),
    ("reject", "another is drawn", ("rejected",), [1], [-1], [SHARP, FLAT], [0.7]),
    ("chain", "a chain", ("accepted", "rejected"), [0, 3, 1], [-1, 0, 1], [SHARP, MIXED, FLAT, FLAT], [0.1, 0.3, 0.99]),
    (
        "second",
        "the second of two siblings",
        ("accepted", "bonus"),
        [0, 3],
        [-1, -1],
        [MIXED, FLAT, RISING],
        [0.7, 0.9],
    ),
    (
        "tree",
        "an expansion <2,2>",
        ("accepted", "bonus"),
        [3, 0, 1, 2, 2, 6],
        [-1, -1, 0, 0, 1, 1],
        [MIXED, RISING, ONE, FLAT, FLAT, SHARP, FLAT],
        [0.1, 0.5, 0.1],
    ),
    ("greedy", "a one-point target", ("accepted", "rejected"), [2, 1], [-1, 0], [ONE, ONE, FLAT], [0.0, 0.999]),
)


def build_verification() -> list[Json]:
    """Two groups with V = 8, of match and of coupled drafts."""
    profile = tw.Profile(vocab_size=8)
    return [Group(profile, tw.decode).to_json() | {"tests": tests} for tests in (_match(profile), _coupled(profile))]


def _match(profile: tw.Profile) -> list[Json]:
    tests: list[Json] = []
    for name, comment, flags, tokens, parents, rows, uniforms in _WALKS:
        draft = _draft("match", tokens, parents, round=len(tests), prefix_length=3)
        rng: Any = Scripted(uniforms)
        verdict: Any = tw.verify(draft, np.array(rows), rng)
        if rng.left:
            raise RuntimeError(f"verify/match-{name}: uniforms left over")
        tests.append(_test(f"match-{name}", comment, flags, draft, verdict, profile, rows, uniforms))
    return tests


def _coupled(profile: tw.Profile) -> list[Json]:
    """The drafts are what a device drafts that has the same distributions: as far as it is right, they are accepted."""
    tests: list[Json] = []
    for epoch in range(1, 5):
        coupling = tw.Coupling(SECRET, epoch)
        for name, comment, _, tokens, parents, rows, _ in _WALKS:
            draft = _draft("coupled", tokens, parents, round=len(tests), prefix_length=3)
            if epoch > 2 and parents:
                best = tw.sparsify(np.log(np.maximum(rows[0], 1e-9)))
                children = coupling.children(best, parents.count(-1), 3)
                raced = [children.pop(0) if parent == -1 else tokens[i] for i, parent in enumerate(parents)]
                draft = _draft("coupled", raced, parents, round=len(tests), prefix_length=3)
            rng: Any = Scripted([])
            verdict: Any = tw.verify(draft, np.array(rows), rng, coupling=coupling)
            _check_margins(coupling, draft, rows, verdict)
            accepted = ("accepted",) if verdict.node >= 0 else ()
            end = ("rejected",) if draft.tree.children(verdict.node) else ("bonus",)
            label = f"coupled-{name}" if epoch == 1 else f"coupled-{name}-{epoch}"
            test = _test(label, f"{comment}; epoch {epoch}", (*accepted, *end), draft, verdict, profile, rows, [])
            tests.append(test | {"coupling": {"key": SECRET.hex(), "epoch": epoch}})
    return tests


def _check_margins(coupling: tw.Coupling, draft: tw.Draft, rows: list[list[float]], verdict: tw.Verdict) -> None:
    for node in (-1, *draft.tree.path(verdict.node)):
        depth = 0 if node < 0 else draft.tree.depths[node]
        numbers = coupling.uniforms(draft.prefix_length + depth, np.arange(8))
        times = sorted(-math.log(u) / p for u, p in zip(numbers.tolist(), rows[1 + node], strict=True) if p > 0)
        if len(times) > 1 and times[1] < times[0] * (1 + MARGIN):
            raise RuntimeError("too near to call")


def _test(
    name: str,
    comment: str,
    flags: tuple[str, ...],
    draft: tw.Draft,
    verdict: tw.Verdict,
    profile: tw.Profile,
    rows: list[list[float]],
    uniforms: list[float],
) -> Json:
    return {
        "id": f"verify/{name}",
        "comment": comment,
        "flags": list(flags),
        "hex": tw.encode(draft, profile).hex(),
        "target_probs": rows,
        "uniforms": uniforms,
        "result": "valid",
        "verdict": {"round": verdict.round, "node": verdict.node, "token": verdict.token},
    }


# ------------------------------------------------------------------------------------------------------ shared numbers

NOTES = {
    "published": "a known answer that the authors of Philox published with Random123",
    "philox": "four words from counter and key",
    "uniforms": "n of [RACE-1] for each of the ids",
    "race": "the order in which tokens arrive",
}
_PUBLISHED = (
    ("zeros", "00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ones", "ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("pi", "243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
)


def build_numbers() -> list[Json]:
    """Groups of coupling.json."""
    philox = [
        {
            "id": f"philox/{name}",
            "comment": "counter and key to words, hexadecimal",
            "flags": ["philox", "published"],
            "counter": counter,
            "key": key,
            "words": words,
            "result": "valid",
        }
        for name, counter, key, words in _PUBLISHED
    ]
    places = [
        (SECRET, 1, 0),
        (SECRET, 1, 1),
        (SECRET, 2, 0),
        (bytes(8), 0, 0),
        (b"\xff" * 8, (1 << 32) - 1, (1 << 32) - 1),
    ]
    ids = [0, 1, 2, 3, 31999, 128255, (1 << 20) - 1]
    uniforms = [
        _place(f"uniforms/{i}", "the numbers of some tokens", "uniforms", *place)
        | {
            "ids": ids,
            "numbers": [int(u * 2**53) - 1 for u in tw.Coupling(*place[:2]).uniforms(place[2], np.array(ids)).tolist()],
        }
        for i, place in enumerate(places)
    ]
    races = [_race(i, place) for i, place in enumerate(places)]
    tests = {"philox": philox, "uniforms": uniforms, "race": races}
    return [{"what": what, "tests": cases} for what, cases in tests.items()]


def _place(id_: str, comment: str, flag: str, key: bytes, epoch: int, position: int) -> Json:
    place = {"key": key.hex(), "epoch": epoch, "position": position}
    return {"id": id_, "comment": comment, "flags": [flag], **place, "result": "valid"}


def _race(number: int, place: tuple[bytes, int, int]) -> Json:
    ids = [3, 7, 8, 9, 200, 201, 4000, 31999]
    weights = [1 << (30 - (i * 3 + number) % 5) for i in range(len(ids))]
    coupling = tw.Coupling(*place[:2])
    times = coupling.arrivals(place[2], np.array(ids), np.array(weights, dtype=np.float64))
    order = np.argsort(times, kind="stable")
    if (np.diff(times[order]) < MARGIN * times[order][1:]).any():
        raise RuntimeError("too near to call")
    arrived = [ids[i] for i in order]
    case = _place(f"race/{number}", "eight tokens and their weights", "race", *place)
    return case | {"ids": ids, "weights": weights, "arrived": arrived}
