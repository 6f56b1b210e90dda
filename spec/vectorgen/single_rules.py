"""Cases of lists.json and frames.json that each hold one rule: a decoder that leaves it out passes all others.

Spec sections 5.3 and 5.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import tslt_wire as tw
from spec.vectorgen.tools import Bits, Case, Group, Json, list_value, make_list, message_value, sealed
from tslt_wire.coding.range_coder import Writer
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.range_coded import ListModel

FEW = (6, 6, 8, 12, 24, 24, 24, 8, 6, 3, 2)
"""The weights S of a vocabulary of 1,024 to 2,047 tokens."""


def build_lists() -> list[Json]:
    """Groups of lists.json."""
    two = Group(tw.Profile(vocab_size=2, precision="log2/0", entropy="range"), tw.decode_list)
    two.refuse("range/list/2/log2-0/other-v", "w is not v: another byte in the interval", b"\x89", "non_canonical")
    for codes in ([0, 0], [0, 1], [1, 0]):
        q = make_list(2, "log2/0", [0, 1], codes)
        id_ = f"range/list/2/log2-0/codes-{codes[0]}-{codes[1]}"
        two.add(Case(id_, "both tokens", tw.encode_list(q, two.profile), list_value(q), None, ("full",)))
    return [two.to_json(), *_sizes()]


def _sizes() -> list[Json]:
    """What comes first in [RLIST-1] and [RLIST-11]: the limit, then the least number of bytes."""
    profile = tw.Profile(vocab_size=2000, precision="log2/1", entropy="range")
    group, limited = Group(profile, tw.decode_list), Group(profile, tw.decode_list, {"max_entries": 1999})
    full = tw.encode_list(make_list(2000, "log2/1", range(2000), [0] * 2000), profile)
    name = "range/list/2000/log2-1"
    limited.refuse(f"{name}/limit-and-few", "2,000 entries of 1,999, in 5 bytes", full[:5], "limit_exceeded", "order")
    coder = Writer()
    coder.choose(10, FEW, sum(FEW))  # 1,024 to 2,000
    coder.chance(1, 1, 2)
    coder.uniform(2000 - 1025, 2000 - 1024)
    start = coder.encoder.finish()
    note = "218 bytes needed, and what follows the size is no symbol"
    group.refuse(f"{name}/few-and-gap", note, start + b"\xff" * 9, "truncated", "order")
    group.refuse(f"{name}/many-and-padding", "219 bytes, the last is 1", full + b"\1", "trailing_bytes", "order")
    return [group.to_json(), limited.to_json()]


def build_frames() -> list[Json]:
    """Groups of frames.json."""
    groups = []
    for vocab_size, prior in ((10, None), (10, "uniform"), (512, "density"), (600, "uniform")):
        profile = tw.Profile(
            vocab_size=vocab_size, entropy="range", prior=plain_prior(prior, vocab_size) if prior else None
        )
        group = Group(profile, tw.decode)
        all_ = vocab_size
        for sizes in ((all_, 4, all_, 3), (4, all_, 4, 4), (all_, all_, 2), (5, all_, 5)):
            _add_chain(group, sizes)
        groups.append(group)
    groups.append(_same_size())
    return [group.to_json() for group in groups]


def _add_chain(group: Group, sizes: Sequence[int]) -> None:
    profile = group.profile
    lists = {}
    for parent, size in enumerate(sizes, -1):
        ids = sorted({(7 * parent + 9 + 3 * i) % profile.vocab_size for i in range(size)})
        ids = list(range(size)) if len(ids) < size else ids
        codes = [(i * 5 + parent) % 7 for i in range(size)]
        codes[size // 2] = 0
        tail = 9 + 5 * parent if profile.prior and size < profile.vocab_size else 0
        lists[parent] = make_list(profile.vocab_size, "log2/1", ids, codes, tail, profile.prior)
    draft = tw.Draft(
        round=7,
        prefix_length=120,
        prefix_hash=0xBEEF,
        tree=tw.TokenTree.chain([int(q.ids[len(q) // 2]) for q in lists.values()]),
        evidence=tw.ListEvidence(lists, replacement=True),
    )
    prior = profile.prior.name if profile.prior else "none"
    shown = "-".join("all" if size == profile.vocab_size else str(size) for size in sizes)
    note = "lists with K = V are remembered up to 512 entries, and have no tail"
    id_ = f"range/frame/{profile.vocab_size}/{prior}-{shown}"
    flags = ("tail",) if profile.prior else ()
    group.add(Case(id_, note, tw.encode(draft, profile), message_value(draft), None, flags))


def _same_size() -> Group:
    """A second list of 2 tokens whose size is not said to be the last one's, where 3 entries are allowed."""
    profile = tw.Profile(vocab_size=10, entropy="range")
    group = Group(profile, tw.decode, {"max_entries": 3})
    coder = Writer()
    ListModel(coder, profile, tw.Precision.LOG2_1).code(make_list(10, "log2/1", [2, 7], [0, 3]), 3)
    coder.chance(1, 1, 8)
    coder.choose(1, FEW[:4], sum(FEW[:4]))  # two or three of ten
    coder.chance(0, 1, 2)  # two
    head = Bits().put(0x10, 8).varint(7).varint(5).put(0xBEEF, 16).put(4 | 0x10, 8).varint(2 << 2)
    data = sealed(head.done() + coder.encoder.finish())
    note = "the size of the list before, said in full; and 2 + 2 entries of 3"
    group.refuse("range/frame/10/same-size-and-limit", note, data, "non_canonical", "order")
    return group
