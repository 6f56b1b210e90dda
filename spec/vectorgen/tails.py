"""Cases of lists.json and frames.json in sessions that have a prior.

Spec sections 4.4, 5.1, 5.4 and 6.1.
"""

from __future__ import annotations

import numpy as np

import tslt_wire as tw
from spec.vectorgen.ranged import some_list
from spec.vectorgen.tools import Bits, Case, Group, Json, list_value, message_value, sealed
from tslt_wire.coding.range_coder import Writer
from tslt_wire.lists.prior import TABLE_MAGIC, plain_prior
from tslt_wire.lists.range_coded import ListModel

ENTROPIES = ("none", "range")
TABLE_VOCABULARIES = (10, 600)


def table(vocab_size: int) -> tw.Prior:
    """A table with codes from a formula: small ids are likely, every seventh id is not, the last one hardly is."""
    rows = [[min(240, t * 4 // (row + 1) % 97 + 100 * (t % 7 == 6)) for t in range(vocab_size)] for row in range(5)]
    for row in rows:
        row[-1] = 240
    codes = bytes(code for row in rows for code in row)
    return tw.table_from_bytes(TABLE_MAGIC + vocab_size.to_bytes(4, "little") + codes)


def tables() -> dict[str, str]:
    """The files of all tables, hexadecimal, by name."""
    return {table(vocab_size).name: table(vocab_size).to_bytes().hex() for vocab_size in TABLE_VOCABULARIES}


def _priors(vocab_size: int) -> list[tw.Prior | None]:
    found = [plain_prior(name, vocab_size) for name in ("uniform", "density")]
    return [*found, table(vocab_size)] if vocab_size in TABLE_VOCABULARIES else found


def _with_tail(q: tw.SparseDistribution, tail: int, prior: tw.Prior | None) -> tw.SparseDistribution:
    tail = tail if len(q) < q.vocab_size else 0
    return tw.SparseDistribution(q.vocab_size, q.precision, q.ids, q.codes, tail, prior if tail else None)


def _name(profile: tw.Profile) -> str:
    prior = profile.prior.name.split(":")[0] if profile.prior else "none"
    return f"{prior}-{profile.entropy}/{profile.vocab_size}"


def build_lists() -> list[Json]:
    """Groups of lists.json."""
    groups = []
    for vocab_size, counts in ((10, (1, 4, 9, 10)), (600, (1, 16, 31, 32, 127, 128, 511, 512, 600)), (32000, (16,))):
        for prior in _priors(vocab_size):
            for entropy in ENTROPIES:
                profile = tw.Profile(vocab_size=vocab_size, precision="log2/1", entropy=entropy, prior=prior)
                group = Group(profile, tw.decode_list)
                groups.append(group)
                for count in counts:
                    for tail in (0, 1, 17, 31) if count <= 16 else (9,):
                        q = _with_tail(some_list(vocab_size, "log2/1", count), tail, prior)
                        id_ = f"tail/list/{_name(profile)}/k{count}-{tail}"
                        note = f"{count} tokens, {q.tail} 32nds for the others"
                        group.add(Case(id_, note, tw.encode_list(q, profile), list_value(q), None, ("tail",)))
                _bad_lists(group)
    return [group.to_json() for group in groups]


def _bad_lists(group: Group) -> None:
    profile = group.profile
    name = f"tail/list/{_name(profile)}"
    if profile.entropy == "range":
        good = tw.encode_list(_with_tail(some_list(profile.vocab_size, "log2/1", 4), 9, profile.prior), profile)
        group.refuse(f"{name}/more", "a byte too many", good + b"\x01", "trailing_bytes", "tail")
        return
    group.refuse(f"{name}/no-tail", "the end where the tail should be", Bits().varint(3).done(), "truncated", "tail")
    group.refuse(f"{name}/no-ids", "the end after the tail", Bits().varint(3).put(9, 5).done(), "truncated", "tail")


def build_frames() -> list[Json]:
    """Groups of frames.json."""
    groups = []
    for vocab_size in (10, 600, 32000):
        for prior in _priors(vocab_size):
            for entropy in ENTROPIES:
                group = Group(tw.Profile(vocab_size=vocab_size, entropy=entropy, prior=prior), tw.decode)
                groups.append(group)
                for name, parents, tails in (
                    ("chain", [-1, 0, 1, 2], (8, 0, 12, 31)),
                    ("tree", [-1, -1, 0, 0, 1, 1], (20, 22, 0)),
                    ("star", [-1] * 7, (16,)),
                ):
                    for replacement in (True, False):
                        draft = _draft(vocab_size, prior, parents, tails, replacement)
                        how = "with" if replacement else "without"
                        id_ = f"tail/frame/{_name(group.profile)}/{name}-{how}"
                        note = f"{name}, {how} replacement, tails {tails}"
                        data = tw.encode(draft, group.profile)
                        group.add(Case(id_, note, data, message_value(draft), None, ("tail",)))
                if entropy == "none":
                    _bad_frames(group)
                else:
                    _none_left(group)
                if vocab_size == 10:
                    _all_of_them(group)
    return [group.to_json() for group in groups]


def _draft(
    vocab_size: int, prior: tw.Prior | None, parents: list[int], tails: tuple[int, ...], replacement: bool
) -> tw.Draft:
    """Children that are listed and unlisted in turn."""
    lists = {
        parent: _with_tail(some_list(vocab_size, "log2/2", 4, 3 + at), tail, prior)
        for at, (parent, tail) in enumerate(zip(sorted(set(parents)), tails, strict=True))
    }
    tokens: list[int] = []
    for node, parent in enumerate(parents):
        q, earlier = lists[parent], parents[:node].count(parent)
        others = [token for token in range(min(vocab_size, 40)) if q.rank(token) < 0]
        if q.tail and earlier % 2 == 0:
            tokens.append(others[-1 - earlier // 2 * (not replacement)])
        else:
            tokens.append(int(q.ids[earlier // (1 + (q.tail > 0)) * (not replacement) % len(q)]))
    return _message(tokens, parents, lists, replacement)


def _message(
    tokens: list[int], parents: list[int], lists: dict[int, tw.SparseDistribution], replacement: bool
) -> tw.Draft:
    return tw.Draft(
        round=2,
        prefix_length=9,
        prefix_hash=0x1234,
        tree=tw.TokenTree(tokens, parents),
        evidence=tw.ListEvidence(lists, replacement),
    )


def _all_of_them(group: Group) -> None:
    """All tokens of the vocabulary as siblings: first the tail runs out, then the list, or the other way round."""
    profile = group.profile
    codes = np.array([0, 3, 5], np.uint32)
    q = tw.SparseDistribution(10, tw.Precision.LOG2_2, np.array([1, 4, 8], np.int32), codes, 12, profile.prior)
    for name, tokens in (
        ("tail-first", [0, 2, 3, 5, 6, 7, 9, 8, 1, 4]),
        ("list-first", [1, 8, 4, 9, 0, 2, 3, 5, 6, 7]),
    ):
        draft = _message(tokens, [-1] * 10, {-1: q}, replacement=False)
        data = tw.encode(draft, profile)
        id_ = f"tail/frame/{_name(profile)}/{name}"
        group.add(Case(id_, "ten siblings of ten tokens", data, message_value(draft), None, ("tail",)))


def _none_left(group: Group) -> None:
    """Two siblings without replacement of a list that has one token and no tail."""
    q = tw.SparseDistribution(group.profile.vocab_size, tw.Precision.LOG2_2, np.array([3]), np.array([0]))
    coder = Writer()
    ListModel(coder, group.profile, q.precision).code(q, 1)
    coder.locate(0, [0, 1 << 30])
    head = Bits().put(0x10, 8).varint(2).varint(9).put(0x1234, 16).put(5 | 0x10 | 0x80, 8).varint(1 * 4 + 1).varint(2)
    id_ = f"tail/frame/{_name(group.profile)}/none-left"
    group.refuse(id_, "two siblings of one token, no tail", sealed(head.done() + coder.finish()), "bad_tree", "tail")


def _bad_frames(group: Group) -> None:
    """One list {3: code 0} with a tail, one node."""
    vocab_size = group.profile.vocab_size
    width = (vocab_size - 1).bit_length()
    for name, note, token in (
        ("listed", "a token of the tail that is listed", 3),
        ("outside", "a token of the tail outside the vocabulary", (1 << width) - 1),
    ):
        head = Bits().put(0x10, 8).varint(2).varint(9).put(0x1234, 16).put(5, 8).varint(4)
        lists = head.varint(0).put(9, 5).put(3, width).put(0, 4)
        content = lists.put(1, 1).put(token, width).done()
        id_ = f"tail/frame/{_name(group.profile)}/{name}"
        group.refuse(id_, note, sealed(content), "out_of_range", "tail")
