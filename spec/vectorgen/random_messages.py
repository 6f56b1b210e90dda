"""Random lists, trees and messages of every kind, often at the edges of what the format can say.

All randomness comes from the ``random.Random`` that is given, and codes are chosen as integers, so that one seed gives
the same messages on every machine.
"""

from __future__ import annotations

from random import Random
from typing import Any

import tslt_wire as tw
from spec.vectorgen.lists import LOWEST
from spec.vectorgen.tools import make_list
from tslt_wire.messages.extensions import CHOICE, FLIGHT, LOG_PROBS, PADDING, RETRY_AFTER, VERIFY_TIME
from tslt_wire.messages.token_tree import expansion_parents

VOCAB_SIZES = (1, 2, 3, 10, 255, 256, 257, 512, 513, 3000, 4097, 5000, 32000, 50257, 128256, 262144, 1 << 20)
SIZES = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 127, 128, 129, 255, 256, 257, 264, 265)
LONG_SIZES = (128, 129, 320, 512, 513, 4096)
FULL_UP_TO = 5000
"""Vocabularies up to this size have lists of all tokens, too; longer ones take long to read."""
NUMBERS = (0, 1, 127, 128, 16383, 16384, (1 << 21) - 1, 1 << 21, (1 << 28) - 1, 1 << 28, (1 << 32) - 1)
NAMES = ("list", "none", "range", "log2/2", "f16", "x-mine", "", "\u00e9\u4e2d\U0001f600")
KINDS = (
    *("draft_list", "draft_match", "draft_coupled", "verdict", "prompt", "resume", "hello", "welcome", "error", "bye"),
    *("draft_scalar", "draft_lazy", "verdict_proposals", "more", "ask_list", "list_reply", "verdict_whole"),
)


# -------------------------------------------------------------------------------------------------------------- lists


def size_of_list(rng: Random, vocab_size: int, long: bool) -> int:
    """How many ids a list has."""
    sizes = [size for size in SIZES + LONG_SIZES * long if size <= vocab_size]
    if vocab_size <= (FULL_UP_TO if long else 300):
        sizes += [vocab_size, max(1, vocab_size - 1)] * 3
    return rng.choice([rng.choice(sizes), rng.randint(1, min(vocab_size, 64))])


def some_ids(rng: Random, vocab_size: int, size: int) -> list[int]:
    """Distinct ids: anywhere, more of them where they are small, a run, or the last ones."""
    how = rng.choice(("anywhere", "small", "small", "run", "last"))
    if how == "run":
        first = rng.randrange(vocab_size - size + 1)
        return list(range(first, first + size))
    if how == "last":
        return list(range(vocab_size - size, vocab_size))
    if how == "anywhere" or 2 * size > vocab_size:
        return sorted(rng.sample(range(vocab_size), size))
    found: set[int] = set()
    while len(found) < size:
        found.add(rng.randrange(rng.randrange(rng.randrange(vocab_size) + 1) + 1))
    return sorted(found)


def some_codes(rng: Random, precision: tw.Precision, size: int) -> list[int]:
    """Codes of which at least one is 0 and all have a weight."""
    how = rng.choice(("any", "any", "near", "few", "equal", "far"))
    if precision.is_log:
        lowest, highest = 0, precision.max_code
        near = min(highest, 10 * precision.steps_per_octave)
    else:
        lowest, highest = (1 << precision.code_bits - 1) + 1, LOWEST[precision.value]
        near = lowest + (highest - lowest) // 2
    if how == "equal":
        return [0] * size
    if how == "few":
        values = [0, *(rng.randint(lowest, highest) for _ in range(3))]
        codes = [rng.choice(values) for _ in range(size)]
    else:
        top = {"any": highest, "near": near, "far": highest}[how]
        codes = [rng.randint(top - 2 if how == "far" else lowest, top) for _ in range(size)]
    codes[rng.randrange(size)] = 0
    return codes


def some_list(
    rng: Random,
    profile: tw.Profile,
    precision: tw.Precision,
    size: int,
    before: tw.SparseDistribution | None = None,
) -> tw.SparseDistribution:
    """A list of ``size`` ids, many of them of ``before``, as in a draft; with any tail, if it can have one."""
    vocab_size = profile.vocab_size
    ids = some_ids(rng, vocab_size, size)
    if before is not None and rng.random() < 0.7:
        kept = rng.sample(before.ids.tolist(), rng.randint(0, min(size, len(before))))
        ids = sorted([*kept, *rng.sample(sorted(set(ids) - set(kept)), size - len(kept))])
    codes = some_codes(rng, precision, size)
    tail = rng.choice((0, 1, 31, rng.randrange(32))) if profile.prior and size < vocab_size else 0
    return make_list(vocab_size, precision, ids, codes, tail, profile.prior)


# -------------------------------------------------------------------------------------------------------------- trees


def some_parents(rng: Random) -> list[int]:
    """The parents of a tree: nothing, chains up to the default limit, expansions, levels, anything."""
    how = rng.choice(("empty", "chain", "chain", "deep", "star", "expansion", "expansion", "levels", "any", "any"))
    nodes = rng.choice((2, 3, 4, 5, 8, 16, 33))
    if how == "empty":
        return []
    if how == "chain":
        return list(range(-1, rng.randint(1, 9) - 1))
    if how == "deep":
        return list(range(-1, rng.choice((64, 255, 256)) - 1))
    if how == "star":
        return [-1] * rng.choice((2, 3, 127, 128))
    if how == "expansion":
        return list(expansion_parents([rng.choice((1, 2, 2, 3)) for _ in range(rng.randint(1, 4))]))
    found = [rng.randint(-1, node - 1) for node in range(nodes)]
    return sorted(found) if how == "levels" else found


def some_others(rng: Random, q: tw.SparseDistribution) -> list[int]:
    """A few tokens of the tail of ``q``."""
    found = {0, q.vocab_size - 1, *(rng.randrange(q.vocab_size) for _ in range(6))} if q.tail else set()
    return sorted(token for token in found if q.rank(token) < 0)


def some_draft(rng: Random, profile: tw.Profile) -> tw.Draft:
    """A draft whose siblings come from one list, with or without replacement."""
    parents, precision, vocab_size = some_parents(rng), rng.choice(list(tw.Precision)), profile.vocab_size
    owners = sorted(set(parents))
    without = rng.random() < 0.5 and max((parents.count(owner) for owner in owners), default=0) <= vocab_size
    same_size = rng.random() < 0.5
    size = size_of_list(rng, vocab_size, long=len(owners) < 4)
    lists: dict[int, tw.SparseDistribution] = {}
    for owner in owners:
        if not same_size:
            size = size_of_list(rng, vocab_size, long=len(owners) < 4)
        if len(owners) > 50:
            size = min(size, 12)
        least = parents.count(owner) if without else 1
        lists[owner] = some_list(rng, profile, precision, max(size, least), lists.get(owners[0]))
    left = {owner: q.ids.tolist() + some_others(rng, q) for owner, q in lists.items()}
    tokens = []
    for parent in parents:
        tokens.append(rng.choice(left[parent]))
        if without:
            left[parent].remove(tokens[-1])
    return tw.Draft(
        round=number(rng),
        prefix_length=number(rng),
        prefix_hash=rng.randrange(1 << 16),
        tree=tw.TokenTree(tokens, parents),
        evidence=tw.ListEvidence(lists, not without),
        extensions=some_draft_extensions(rng),
    )


def some_id_draft(rng: Random, kind: str, vocab_size: int) -> tw.Draft:
    """A draft without lists; siblings differ."""
    parents = some_parents(rng)
    while max((parents.count(owner) for owner in set(parents)), default=0) > vocab_size:
        parents = some_parents(rng)
    used: dict[int, set[int]] = {}
    tokens = []
    for parent in parents:
        token = rng.choice((0, vocab_size - 1, rng.randrange(vocab_size)))
        while token in used.setdefault(parent, set()):
            token = (token + 1) % vocab_size
        used[parent].add(token)
        tokens.append(token)
    return tw.Draft(
        round=number(rng),
        prefix_length=number(rng),
        prefix_hash=rng.randrange(1 << 16),
        tree=tw.TokenTree(tokens, parents),
        evidence=tw.MatchEvidence() if kind == "draft_match" else tw.CoupledEvidence(),
        extensions=some_draft_extensions(rng),
    )


def some_coded_draft(rng: Random, kind: str, vocab_size: int) -> tw.Draft:
    """A chain with a code for each token."""
    tokens = [rng.choice((0, vocab_size - 1, rng.randrange(vocab_size))) for _ in range(rng.choice((0, 1, 4, 5, 256)))]
    codes = tuple(rng.choice((0, 1, 127, 128, 4094, rng.randrange(4095))) for _ in tokens)
    return tw.Draft(
        round=number(rng),
        prefix_length=number(rng),
        prefix_hash=rng.randrange(1 << 16),
        tree=tw.TokenTree.chain(tokens),
        evidence=tw.ScalarEvidence(codes) if kind == "draft_scalar" else tw.LazyEvidence(codes),
        extensions=some_draft_extensions(rng),
    )


def some_proposals(rng: Random, vocab_size: int) -> tw.Proposals:
    """Proposals, also such as no distribution gives."""
    found = []
    for _ in range(rng.choice((1, 2, 12, 255, 256, rng.randint(1, 30)))):
        code = rng.choice((0, 1, 4094, 4095, rng.randrange(4096)))
        up = 0 < code < 4095 and rng.random() < 0.5
        found.append(tw.Proposal(rng.choice((0, vocab_size - 1, rng.randrange(vocab_size))), code, up))
    place = {"round": number(rng), "node": number(rng) - 1, "batch": number(rng)}
    return tw.Proposals(**place, proposals=tuple(found), extensions=some_answer_extensions(rng))


def some_reply(rng: Random, profile: tw.Profile) -> tw.ListReply:
    """A list that was asked for."""
    precision = rng.choice(list(tw.Precision))
    q = some_list(rng, profile, precision, size_of_list(rng, profile.vocab_size, long=True))
    return tw.ListReply(round=number(rng), q=q, extensions=some_extensions(rng))


# ----------------------------------------------------------------------------------------------------- other messages


def number(rng: Random) -> int:
    """A value of a varint."""
    return rng.choice((rng.choice(NUMBERS), rng.randrange(300), rng.randrange(1 << 32)))


def some_extensions(rng: Random) -> tuple[tw.Extension, ...]:
    """Extensions that may be ignored; mostly none."""
    if rng.random() < 0.8:
        return ()
    types = {2 * (number(rng) // 2) for _ in range(rng.choice((1, 2, 16)))}
    found = []
    for type_ in sorted(types):
        data = rng.randbytes(rng.choice((0, 1, 5, 130)))
        found.append(tw.Extension(type_, bytes(len(data)) if type_ == PADDING else data))
    return tuple(found)


def some_answer_extensions(rng: Random) -> tuple[tw.Extension, ...]:
    """The same, at times with a time, which has one form, and with log probabilities."""
    time = rng.randrange(1 << rng.choice((1, 8, 40, 64)))
    others = tuple(extension for extension in some_extensions(rng) if extension.type not in (VERIFY_TIME, LOG_PROBS))
    timed = _at_times(rng, others[:14], VERIFY_TIME, time.to_bytes(max(1, -(-time.bit_length() // 8)), "little"))
    return _at_times(rng, timed, LOG_PROBS, rng.randbytes(2 * rng.choice((1, 5, 70))))


def some_error_extensions(rng: Random) -> tuple[tw.Extension, ...]:
    """The same, at times with a time to come again."""
    millis = rng.randrange(1 << rng.choice((1, 8, 20, 32)))
    others = tuple(extension for extension in some_extensions(rng) if extension.type != RETRY_AFTER)
    data = millis.to_bytes(max(1, -(-millis.bit_length() // 8)), "little")
    return _at_times(rng, others[:15], RETRY_AFTER, data)


def some_draft_extensions(rng: Random) -> tuple[tw.Extension, ...]:
    """The same, at times with a choice, and in flight."""
    found = _at_times(rng, some_extensions(rng), CHOICE, rng.randbytes(1))
    follows, run = rng.random() < 0.5, rng.randrange(64)
    leaf = rng.choice((None, 0, rng.randrange(300), rng.randrange(1 << 32)))
    goes_on = leaf is not None or not follows or rng.random() < 0.5
    return _at_times(rng, found, FLIGHT, tw.Flight(follows=follows, goes_on=goes_on, run=run, leaf=leaf).extension.data)


def _at_times(rng: Random, others: tuple[tw.Extension, ...], type_: int, data: bytes) -> tuple[tw.Extension, ...]:
    if rng.random() < 0.7:
        return others
    return tuple(sorted((*others[:15], tw.Extension(type_, data)), key=lambda extension: extension.type))


def some_text(rng: Random) -> str:
    """A string; the lengths are about those at which its head changes."""
    return rng.choice(("a", "\u00e9", "\u4e2d", "\U0001f600")) * rng.choice((0, 1, 5, 15, 16, 31, 32, 40))


def some_control(rng: Random, depth: int) -> Any:
    """A value of a control map, with containers at most ``depth`` deep."""
    kind = rng.randrange(8 if depth else 6)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind == 1:
        edge = rng.choice((0, 128, 256, 1 << 16, 1 << 32, 1 << 63, -32, -128, -(1 << 15), -(1 << 31)))
        return edge + rng.choice((-1, 0, 1))
    if kind == 2:
        return rng.randint(-(1 << 63), (1 << 64) - 1)
    if kind == 3:
        return rng.choice((0.0, 1.0, -1.5, 1e-300, 1e300, rng.random()))
    if kind == 4:
        return some_text(rng)
    if kind == 5:
        return rng.randbytes(rng.choice((0, 1, 31, 32, 255, 256)))
    count = rng.choice((0, 1, 2, 15, 16) if depth > 2 else (0, 1, 2))
    if kind == 6:
        return [some_control(rng, depth - 1) for _ in range(count)]
    return {f"{rng.choice(NAMES)}{i}": some_control(rng, depth - 1) for i in range(count)}


def _identity(rng: Random, vocab_size: int) -> dict[str, Any]:
    limits = {name: rng.choice((1, 127, 65536, (1 << 64) - 1)) for name in tw.DecodeLimits.__slots__}
    return {
        "vocab_size": vocab_size,
        "tokenizer": rng.randbytes(32),
        "ordinary": rng.choice((b"", rng.randbytes(32))),
        "model": some_text(rng),
        "evidence": tuple(rng.sample(NAMES, rng.randint(0, 3))),
        "precisions": tuple(rng.sample(NAMES, rng.randint(0, 3))),
        "limits": tw.DecodeLimits(**limits) if rng.random() < 0.5 else tw.DecodeLimits(),
        "extra": {f"x-{i}": some_control(rng, 3) for i in range(rng.choice((0, 0, 1, 3)))},
        "extensions": some_extensions(rng),
    }


def some_settings(rng: Random, vocab_size: int) -> dict[str, Any]:
    """All sampling settings, by their names."""
    tokens = [rng.sample(range(vocab_size), min(vocab_size, rng.choice((0, 0, 1, 5, 20)))) for _ in range(2)]
    return {
        "temperature": rng.choice((0.0, 0.7, 1.0, 1e300)),
        "top_k": rng.choice((0, 1, 50, 1 << 31)),
        "top_p": rng.choice((1.0, 0.95, 5e-324)),
        "min_p": rng.choice((0.0, 0.05, 1.0)),
        "repetition_penalty": rng.choice((1.0, 0.01, 1.05, 100.0)),
        "presence_penalty": rng.choice((0.0, -2.0, 0.5)),
        "frequency_penalty": rng.choice((0.0, 2.0, -0.5)),
        "logit_bias": [(token, rng.choice((0.0, -100.0, 100.0, rng.uniform(-9, 9)))) for token in tokens[0]],
        "suppress_tokens": tokens[1],
        "ignore_eos": rng.random() < 0.5,
    }


def some_hello(rng: Random, vocab_size: int) -> tw.Hello:
    """A HELLO, also of versions and with names that version 1 does not have."""
    low = rng.choice((1, 2, 255))
    asked = some_settings(rng, vocab_size)
    if rng.random() < 0.1:
        asked["extra"] = {f"x-{some_text(rng)}": some_control(rng, 2)}
    return tw.Hello(
        sampling=tw.SamplingRequest(**{name: value for name, value in asked.items() if rng.random() < 0.7}),
        entropy=tuple(rng.sample(NAMES, rng.randint(0, 3))),
        resume=rng.randbytes(rng.choice((0, 0, 1, 32, 64))),
        nonce=rng.randbytes(16),
        token_map=rng.choice((b"", rng.randbytes(32))),
        min_version=low,
        max_version=rng.randint(low, 255),
        **_identity(rng, vocab_size),
    )


def some_welcome(rng: Random, vocab_size: int) -> tw.Welcome:
    """A WELCOME."""
    return tw.Welcome(
        version=rng.choice((1, 2, 255)),
        transcript=rng.randbytes(16),
        sampling=tw.Sampling(**some_settings(rng, vocab_size)),
        entropy=rng.choice(NAMES),
        context=number(rng),
        eos_tokens=tuple(rng.randrange(vocab_size) for _ in range(rng.choice((0, 1, 3, 16)))),
        coupling=rng.randbytes(rng.choice((0, 8))),
        resume=rng.randbytes(rng.choice((0, 0, 1, 32, 64))),
        resumed=rng.random() < 0.5,
        held=number(rng),
        held_hash=number(rng),
        begins=rng.choice((None, (), (rng.randrange(vocab_size),) * 3)),
        **_identity(rng, vocab_size),
    )


def some_message(rng: Random, kind: str, profile: tw.Profile) -> tw.Message:
    """A message of ``kind``, one of KINDS."""
    vocab_size = profile.vocab_size
    if kind == "draft_list":
        return some_draft(rng, profile)
    if kind in ("draft_match", "draft_coupled"):
        return some_id_draft(rng, kind, vocab_size)
    if kind in ("draft_scalar", "draft_lazy"):
        return some_coded_draft(rng, kind, vocab_size)
    if kind == "verdict_proposals":
        return some_proposals(rng, vocab_size)
    if kind == "list_reply":
        return some_reply(rng, profile)
    if kind == "hello":
        return some_hello(rng, vocab_size)
    if kind == "welcome":
        return some_welcome(rng, vocab_size)
    extensions = some_answer_extensions(rng) if kind in ("ask_list", "verdict") else some_extensions(rng)
    if kind == "more":
        return tw.More(round=number(rng), batch=min(1 + number(rng), (1 << 32) - 1), extensions=extensions)
    if kind == "verdict_whole":
        return tw.Whole(round=number(rng), extensions=some_answer_extensions(rng))
    if kind == "ask_list":
        return tw.AskList(round=number(rng), node=number(rng) - 1, extensions=some_answer_extensions(rng))
    if kind == "verdict":
        token = rng.choice((0, vocab_size - 1, rng.randrange(vocab_size)))
        end = rng.random() < 0.3
        told = some_answer_extensions(rng)
        return tw.Verdict(round=number(rng), node=number(rng) - 1, token=token, end=end, extensions=told)
    if kind == "prompt":
        tokens = tuple(rng.randrange(vocab_size) for _ in range(rng.choice((0, 1, 5, 127, 128, 1000))))
        return tw.Prompt(
            tokens=tokens,
            epoch=max(1, number(rng)),
            keep=number(rng),
            transcript=rng.randbytes(8),
            extensions=extensions,
        )
    if kind == "resume":
        known = tw.Rejection(min(number(rng), (1 << 32) - 2) - 1, number(rng)) if rng.random() < 0.5 else None
        return tw.Resume(
            tokens=tuple(rng.randrange(vocab_size) for _ in range(rng.choice((0, 1, 5, 127, 128)))),
            prefix_crc=number(rng),
            round=number(rng),
            prompt_length=number(rng),
            epoch=max(1, number(rng)),
            keep=number(rng),
            rejection=known,
            ended=rng.random() < 0.3,
            transcript=rng.randbytes(8),
            extensions=extensions,
        )
    if kind == "error":
        code = rng.choice((0, 1, 65535, int(rng.choice(list(tw.ErrorCode)))))
        return tw.ErrorMessage(code=code, message=some_text(rng), extensions=some_error_extensions(rng))
    if kind == "bye":
        return tw.Bye(extensions=extensions)
    raise ValueError(f"there is no kind {kind!r}, only {KINDS}")
