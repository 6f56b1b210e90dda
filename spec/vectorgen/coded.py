"""Cases of frames.json and coded.json for drafts with a number for each token, and what may follow them.

Spec sections 6.6 to 6.8.  Random numbers come from ``random.Random`` alone, and no decision is near its boundary.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

import tslt_wire as tw
from spec.vectorgen.tools import (
    DRAFT_KINDS,
    Bits,
    Case,
    Group,
    Json,
    Refusals,
    empty_draft,
    extended,
    list_value,
    make_list,
    message_value,
    sealed,
)
from spec.vectorgen.verification import FLAT, ONE, RISING, SHARP, Scripted
from spec.vectorgen.zipped import compressed, wide_body
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.probability_grid import GRID, codes_above, codes_below
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.lazy_rule import verify_list_with
from tslt_wire.verification.proposals import choose_with, propose_with
from tslt_wire.verification.verdicts import verify_with

NOTES = {
    "rounding": "probabilities and their codes, up and down",
    "verify": "a draft and the edge's answer",
    "propose": "a batch of proposals",
    "take": "which proposal a device takes",
    "list": "the verdict after a list",
}
KINDS: dict[str, tuple[int, Any]] = {"scalar": (0x13, tw.ScalarEvidence), "lazy": (0x14, tw.LazyEvidence)}
MARGIN = 1e-9
"""A uniform may change by this much, and nothing else does."""


def _draft(name: str, tokens: list[int], codes: list[int], **more: Any) -> tw.Draft:
    fields: dict[str, Any] = {"round": 7, "prefix_length": 120, "prefix_hash": 0xBEEF} | more
    return tw.Draft(tree=tw.TokenTree.chain(tokens), evidence=KINDS[name][1](tuple(codes)), **fields)


# -------------------------------------------------------------------------------------------------------------- frames


def build_frames() -> list[Json]:
    """Groups by profile."""
    groups = [_valid(tw.Profile(vocab_size=size)) for size in (1, 2, 10, 300, 32000, 128256, 1 << 20)]
    groups += [_lists(entropy, prior) for entropy in ("none", "range") for prior in ("none", "density")]
    return [group.to_json() for group in [*groups, _zipped()]] + _bad_drafts() + _bad_answers() + _bad_choices()


def _valid(profile: tw.Profile) -> Group:
    group, size = Group(profile, tw.decode), profile.vocab_size

    def accept(name: str, message: tw.Message, note: str, *flags: str) -> None:
        group.accept(f"frame/{size}/{name}", note, message, *flags)

    for kind in KINDS:
        for count in (0, 1, 4, 33, 256) if size in (10, 32000) else (0, 1, 4):
            tokens = [(size - 1 - 7 * i) % size for i in range(count)]
            codes = [i * 4094 // max(1, count - 1) for i in range(count)]
            accept(f"{kind}-{count}", _draft(kind, tokens, codes), f"a chain of {count}", "varint")
    if size == 10:
        example = _draft("scalar", [7, 2], [128, 222], round=3, prefix_length=5, prefix_hash=0xA990)
        accept("scalar-example", example, "the example of section 6.6")
        _answers(accept, size)
        _choices(accept)
    if size in (300, 32000):
        _answers(accept, size)
    return group


def _answers(accept: Callable[..., None], size: int) -> None:
    for count in (1, 2, 12, 256):
        proposals = tuple(
            tw.Proposal((size - 1 + 5 * i) % size, 4095 - i * 15, bool(i % 3 and i * 15 < 4095)) for i in range(count)
        )
        batch = (0, 1, 127, 128, (1 << 32) - 1)[count % 5]
        message = tw.Proposals(round=7, node=count - 2, proposals=proposals, batch=batch)
        accept(f"proposals-{count}", message, f"{count} proposals", "varint")
    if size == 10:
        two = (tw.Proposal(9, 256), tw.Proposal(0, 223, up=True))
        accept("proposals-example", tw.Proposals(round=3, node=-1, proposals=two), "the example of section 6.7")
        for number in (0, 127, 128, (1 << 32) - 2):
            accept(
                f"more-{number}",
                tw.More(round=number, batch=min(number, (1 << 32) - 2) + 1),
                "round and batch",
                "varint",
            )
            accept(f"ask-{number}", tw.AskList(round=number, node=number - 1), "round and node", "varint")
        more = (tw.Extension(2, b"\x01"),)
        accept("proposals-ext", tw.Proposals(round=0, node=0, proposals=two, extensions=more), "extended", "extension")


def _choices(accept: Callable[..., None]) -> None:
    one = {-1: make_list(10, "log2/1", [2, 7], [0, 3])}
    evidence: dict[str, tw.Evidence] = {
        "list": tw.ListEvidence(one),
        "match": tw.MatchEvidence(),
        "coupled": tw.CoupledEvidence(),
        "scalar": tw.ScalarEvidence((3,)),
        "lazy": tw.LazyEvidence((3,)),
    }
    for name, found in evidence.items():
        for index in (0, 255):
            for others in ((), (tw.Extension(2, b"!"),)):
                draft = tw.Draft(
                    round=8,
                    prefix_length=120,
                    prefix_hash=0xBEEF,
                    tree=tw.TokenTree.chain([7]),
                    evidence=found,
                    extensions=(tw.Extension(1, bytes([index])), *others),
                )
                label = f"choice-{name}-{index}{'-ext' if others else ''}"
                accept(label, draft, "names what was taken of the round before", "extension")


def _some_lists(size: int, prior: tw.Prior | None) -> dict[str, tw.SparseDistribution]:
    found = {
        "one": make_list(size, "log2/2", [size - 1], [0]),
        "three": make_list(size, "log2/1", [1, 4, 9], [0, 17, 17]),
        "f16": make_list(size, "f16", [0, 5, size - 1], [0xC100, 0, 0x8001]),
    }
    if size <= 300:
        found["all"] = make_list(size, "log2/0", range(size), [i % 9 for i in range(size)])
    if prior is not None:
        found["tail"] = make_list(size, "log2/2", [2, 3, 8], [0, 4, 9], 11, prior)
    return found


def _lists(entropy: str, name: str) -> Group:
    size = 300
    profile = tw.Profile(vocab_size=size, entropy=entropy, prior=plain_prior(name, size))
    group = Group(profile, tw.decode)
    for label, q in _some_lists(size, profile.prior).items():
        flags = ("tail",) if profile.prior else ()
        group.accept(f"{name}-{entropy}/frame/{size}/reply-{label}", "a list", tw.ListReply(round=300, q=q), *flags)
    good = tw.encode(tw.ListReply(round=300, q=make_list(size, "log2/1", [1, 4, 9], [0, 17, 17])), profile)[:-4]
    coder = 0x10 if entropy == "range" else 0
    wrong = {
        "no-round": (b"\x16", "truncated", "ends after the kind"),
        "no-format": (good[:3], "truncated", "ends after round"),
        "no-list": (good[:4], "truncated", "ends before the list"),
        "short": (good[:-1], "truncated" if entropy == "none" else None, "the last byte is missing"),
        "reserved-6": (_with(good, 3, good[3] | 0x40), "reserved_bits", "bit 6 of the format byte"),
        "reserved-7": (_with(good, 3, good[3] | 0x80), "reserved_bits", "bit 7 of the format byte"),
        "reserved-precision": (_with(good, 3, 0xCF), "reserved_bits", "and an unknown precision"),
        "precision": (_with(good, 3, 9 | coder), "out_of_range", "precision 9"),
        "coder": (_with(good, 3, good[3] ^ 0x10), "out_of_range", "another entropy coder"),
        "trailing": (good + b"\0", "trailing_bytes", "a byte too many"),
        "compressed": (_with(good, 0, 0x96), "reserved_bits", "not a session with zstd"),
    }
    for label, (content, error, note) in wrong.items():
        if error is not None:
            flags = ("order",) if label == "reserved-precision" else ()
            group.refuse(f"{name}-{entropy}/frame/{size}/reply-{label}", note, sealed(content), error, *flags)
    return group


def _with(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


def _zipped() -> Group:
    group = Group(tw.Profile(vocab_size=300, entropy="zstd"), tw.decode)
    for label, q in _some_lists(300, None).items():
        message = tw.ListReply(round=1, q=q)
        if label != "all":
            group.accept(f"zstd/frame/300/reply-{label}", "a list", message)
            continue
        flat = tw.ListReply(round=1, q=make_list(300, "f16", range(300), [0] * 300))
        data = sealed(b"\x96" + compressed(wide_body(flat, group.profile)))
        if tw.decode(data, group.profile) != flat:
            raise RuntimeError("a compressed list does not come back")
        group.add(Case("zstd/frame/300/reply-flat", "all ids", data, message_value(flat), None, ("compressed",)))
    for kind in (0x09, 0x0A, 0x13, 0x14, 0x15):
        note = "only PROMPT, DRAFT_LIST and LIST are compressed"
        group.refuse(f"zstd/frame/300/kind-{kind:02x}", note, sealed(bytes([kind | 0x80]) + bytes(20)), "reserved_bits")
    return group


def _bad_drafts() -> list[Json]:
    bad = Refusals()
    for name, (kind, _) in KINDS.items():

        def head(kind: int = kind) -> Bits:
            return Bits().put(kind, 8).varint(7).varint(5).put(0xBEEF, 16)

        bad("truncated", f"{name}-no-body", Bits().put(kind, 8), "no body")
        bad("truncated", f"{name}-no-hash", Bits().put(kind, 8).varint(7).varint(5).put(0, 8), "half a prefix_hash")
        bad("truncated", f"{name}-no-count", head(), "ends after prefix_hash")
        bad("truncated", f"{name}-no-tokens", head().varint(3).each([3, 3], 4), "two tokens of three")
        bad("truncated", f"{name}-no-codes", head().varint(1).put(3, 4).put(0, 4), "less than a code")
        bad("truncated", f"{name}-huge", head().varint(256), "256 nodes, none there")
        bad("limit_exceeded", f"{name}-257", head().varint(257), "257 nodes", "limit", "order")
        two = head().varint(2).each([1, 1], 4).each([0, 0], 12)
        bad("limit_exceeded", f"{name}-nodes", two, "2 nodes of 1", "limit", max_nodes=1)
        bad("limit_exceeded", f"{name}-depth", two, "depth 2 of 1", "limit", max_depth=1)
        bad("out_of_range", f"{name}-token", head().varint(1).put(10, 4).put(0, 12), "token 10 of 10")
        bad("out_of_range", f"{name}-token-no-codes", head().varint(2).each([10, 0], 4), "and no codes", "order")
        bad("out_of_range", f"{name}-code", head().varint(1).put(3, 4).put(4095, 12), "code 4095")
        bad(
            "out_of_range",
            f"{name}-code-padding",
            head().varint(2).each([3, 3], 4).each([0, 4095], 12).put(1, 1),
            "and 1",
        )
        bad(
            "reserved_bits",
            f"{name}-padding",
            head().varint(1).put(3, 5).put(0, 12),
            "a padding bit",
            size=32,
            padding=1,
        )
        bad("trailing_bytes", f"{name}-trailing", head().varint(1).put(3, 4).put(0, 12).put(0, 8), "a byte too many")
    return bad.to_json()


def _bad_answers() -> list[Json]:
    bad = Refusals()

    def proposals(batch: int = 0) -> Bits:
        return Bits().put(0x09, 8).varint(7).varint(1).varint(batch)

    bad("truncated", "proposals-no-batch", Bits().put(0x09, 8).varint(7).varint(1), "ends after node")
    bad("truncated", "proposals-no-count", proposals(), "ends after batch")
    bad("truncated", "proposals-no-tokens", proposals().put(2, 8).put(1, 8), "2 tokens of 3")
    bad("truncated", "proposals-no-codes", proposals().put(1, 8).each([1, 2], 4).put(0, 16), "a code and a bit of two")
    bad("truncated", "proposals-no-ups", proposals().put(1, 8).each([1, 2], 4).each([0, 0], 12), "no ups")
    bad("out_of_range", "proposals-token", proposals().put(0, 8).put(10, 4).put(9, 12).put(0, 1), "token 10 of 10")
    bad("out_of_range", "proposals-token-no-codes", proposals().put(1, 8).each([10, 9], 4), "and no codes", "order")
    for code in (0, 4095):
        bits = proposals().put(1, 8).each([1, 2], 4).each([7, code], 12).each([1, 1], 1)
        bad("out_of_range", f"proposals-up-{code}", bits, "there is no next larger number")
    odd = proposals().put(0, 8).put(3, 4).put(4095, 12).put(1, 1)
    bad("out_of_range", "proposals-up-padding", odd, "and a padding bit", "order", padding=1)
    one = proposals().put(0, 8).put(3, 4).put(9, 12).put(1, 1)
    bad("reserved_bits", "proposals-padding", one, "a padding bit", padding=1)
    bad("trailing_bytes", "proposals-trailing", one.put(0, 15), "a byte too many")
    for name, kind in (("more", 0x15), ("ask", 0x0A)):
        bad("truncated", f"{name}-nothing", Bits().put(kind, 8), "no body")
        bad("truncated", f"{name}-half", Bits().put(kind, 8).varint(7), "one number of two")
        bad("non_canonical", f"{name}-long", Bits().put(kind, 8).varint(7).varint(1, 2), "81 00 for 1", "varint")
        bad("trailing_bytes", f"{name}-trailing", Bits().put(kind, 8).varint(7).varint(1).put(0, 8), "a byte too many")
    last = Bits().put(0x15, 8).varint(7).varint((1 << 32) - 1)
    bad("out_of_range", "more-batch", last, "batch 2^32, which no answer can have")
    bad("out_of_range", "more-batch-trailing", last.put(0, 8), "and a byte too many", "order")
    return bad.to_json()


def _bad_choices() -> list[Json]:
    bad = Refusals()
    for name, kind in DRAFT_KINDS.items():
        end = empty_draft(name)
        for size in (0, 2):
            bits = extended(kind, (1, bytes(size))).raw(end)
            bad("out_of_range", f"choice-{name}-{size}-bytes", bits, f"{size} bytes for 1", "extension")
        twice = extended(kind, (1, b"\0"), (1, b"\0")).raw(end)
        bad("non_canonical", f"choice-{name}-twice", twice, "two choices", "extension")
        other = extended(kind, (1, b"\0"), (5, b"\0")).raw(end)
        bad("unknown_critical_extension", f"choice-{name}-5", other, "types 1, 5", "extension")
        short = Bits().put(kind | 0x40, 8).varint(1).varint(1).varint(1)
        bad("truncated", f"choice-{name}-short", short, "no data", "extension")
        wide = Bits().put(kind | 0x40, 8).varint(1).varint(1).varint(0xFFFFFFFF)
        bad("out_of_range", f"choice-{name}-wide", wide, "2^32 - 1 bytes", "extension", "order")
    for name, kind in (
        ("verdict", 0x08),
        ("whole", 0x0B),
        ("proposals", 0x09),
        ("ask", 0x0A),
        ("more", 0x15),
        ("reply", 0x16),
    ):
        bits = extended(kind, (1, b"\0")).raw(bytes(8))
        bad("unknown_critical_extension", f"choice-{name}", bits, "type 1 in another frame", "extension")
    return bad.to_json()


# -------------------------------------------------------------------------------------------------------- verification


def build_rules() -> list[Json]:
    """Groups of coded.json."""
    profile = tw.Profile(vocab_size=8, prior=plain_prior("uniform", 8))
    tests = {
        "rounding": _rounding(),
        "verify": _verifications(profile),
        "propose": _batches(),
        "take": _takes(profile),
        "list": _after_lists(profile),
    }
    head = Group(profile, tw.decode).to_json()
    return [head | {"what": what, "tests": cases} for what, cases in tests.items()]


def _case(what: str, name: str, comment: str, **more: Any) -> Json:
    return {"id": f"coded/{what}-{name}", "comment": comment, "flags": [what], "result": "valid", **more}


def _rounding() -> list[Json]:
    some = GRID[[0, 1, 127, 128, 129, 2000, 4093, 4094]]
    probs = {
        "grid": some,
        "above": np.nextafter(some[1:], 1),
        "below": np.nextafter(some, 0),
        "others": np.array([0.0, 5e-324, 2.0**-33, 0.1, 0.2, 0.3, 1 / 3, 0.9999999, 1e-9]),
    }
    return [
        _case(
            "rounding",
            name,
            "probabilities",
            probs=found.tolist(),
            up=codes_above(found).tolist(),
            down=codes_below(found).tolist(),
        )
        for name, found in probs.items()
    ]


def _settled(rng: Random, run: Callable[[Any], Any], most: int) -> tuple[list[float], Any]:
    """Uniforms and what ``run`` makes of them, the same if any of them is a little off."""
    while True:
        uniforms = [rng.random() for _ in range(most)]
        script = Scripted(uniforms)
        found = run(RandomChoices(script))
        used = uniforms[: most - len(script.left)]
        near = [
            [u + sign * MARGIN * (i == j) for j, u in enumerate(uniforms)] for i in range(len(used)) for sign in (-1, 1)
        ]
        if all(run(RandomChoices(Scripted(others))) == found for others in near):
            return used, found


def _row(rng: Random, size: int = 8) -> list[float]:
    """A distribution whose probabilities are multiples of 2**-40, some of them tiny or 0."""
    weights = [rng.choice((0, 1, rng.randrange(1 << 10), rng.randrange(1 << 30))) for _ in range(size)]
    weights[rng.randrange(size)] += (1 << 40) - sum(weights)
    return [weight / (1 << 40) for weight in weights]


def _q(rng: Random, profile: tw.Profile) -> tw.SparseDistribution:
    ids = sorted(rng.sample(range(8), rng.randint(1, 7)))
    codes = [rng.randrange(20) for _ in ids]
    codes[rng.randrange(len(ids))] = 0
    return make_list(8, "log2/2", ids, codes, rng.choice((0, 9)), profile.prior)


def _chain(rng: Random, name: str, profile: tw.Profile, number: int) -> tuple[tw.Draft, list[tw.SparseDistribution]]:
    lists = [_q(rng, profile) for _ in range(rng.randint(0, 4))]
    tokens = [rng.choice([y for y in range(8) if q.prob_of(y) > 0]) for q in lists]
    tree = tw.TokenTree.chain(tokens)
    evidence = KINDS[name][1].of(tree, dict(enumerate(lists, -1)))
    return tw.Draft(round=number, prefix_length=3, prefix_hash=0, tree=tree, evidence=evidence), lists


def _body(answer: Any) -> Json:
    return {key: value for key, value in message_value(answer).items() if key not in ("kind", "extensions", "end")}


def _verifications(profile: tw.Profile) -> list[Json]:
    rng, tests = Random("verify"), []
    for name in KINDS:
        for number in range(20):
            draft, _ = _chain(rng, name, profile, number)
            rows = [rng.choice((_row(rng), FLAT, RISING, SHARP, ONE)) for _ in range(1 + len(draft.tree))]
            count = rng.randint(1, 3)
            uniforms, answer = _settled(
                rng,
                lambda choices: verify_with(draft, rows, choices, proposals=count),  # noqa: B023
                4 + 1 + 2 * count,
            )
            more = {"target_probs": rows, "uniforms": uniforms, "proposals": count, "answer": _body(answer)}
            hex_ = tw.encode(draft, profile).hex()
            tests.append(_case("verify", f"{name}-{number}", "a chain", hex=hex_, **more))
    return tests


def _batches() -> list[Json]:
    rng, tests = Random("propose"), []
    rows = [FLAT, ONE, [2.0**-33, 0.5, 0.5 - 2.0**-33, 0, 0, 0, 0, 0], *(_row(rng) for _ in range(7))]
    for number, row in enumerate(rows):
        uniforms, found = _settled(rng, lambda choices: propose_with(0, -1, row, choices, count=6), 12)  # noqa: B023
        made = {key: _body(found)[key] for key in ("tokens", "codes", "ups")}
        more = {"target_probs": row, "uniforms": uniforms, "made": made}
        tests.append(_case("propose", f"{number}", "six proposals", **more))
    return tests


def _takes(profile: tw.Profile) -> list[Json]:
    rng, tests = Random("take"), []
    for number in range(20):
        q, row = _q(rng, profile), _row(rng)
        mixed = [(p + a) / 2 for p, a in zip(row, q.dense().tolist(), strict=True)]  # few fit
        proposals = propose_with(5, 0, mixed, RandomChoices(np.random.default_rng(number)), batch=number % 3, count=4)
        tree = tw.TokenTree.chain(q.likeliest(1) * (proposals.node + 2))
        evidence = tw.ScalarEvidence.of(tree, dict.fromkeys(tree.inner, q))
        draft = tw.Draft(round=proposals.round, prefix_length=0, prefix_hash=0, tree=tree, evidence=evidence)
        uniforms, index = _settled(rng, lambda choices: choose_with(proposals, draft, choices), 4)  # noqa: B023
        hex_ = tw.encode(proposals, profile).hex()
        more = {"q": list_value(q), "uniforms": uniforms, "taken": index}
        tests.append(_case("take", f"{number}", "four proposals", hex=hex_, **more))
    return tests


def _after_lists(profile: tw.Profile) -> list[Json]:
    rng, tests = Random("list"), list[Json]()
    while len(tests) < 20:
        draft, lists = _chain(rng, "lazy", profile, len(tests))
        if not lists:
            continue
        node = rng.randrange(len(lists)) - 1
        row, q = rng.choice((_row(rng), FLAT, RISING)), lists[node + 1]
        uniforms, verdict = _settled(rng, lambda choices: verify_list_with(draft, node, row, q, choices), 1)  # noqa: B023
        frames = {
            "hex": tw.encode(draft, profile).hex(),
            "list": tw.encode(tw.ListReply(round=draft.round, q=q), profile).hex(),
        }
        more = {"node": node, "target_probs": row, "uniforms": uniforms, "answer": _body(verdict)}
        tests.append(_case("list", f"{len(tests)}", "after a rejection", **frames, **more))
    return tests
