"""Cases of lists.json and frames.json under the entropy coder ``range``, for mistakes that others let through.

Spec sections 5.3 and 5.4.  ``spec/mutants.py`` found the mistakes.
"""

from __future__ import annotations

import tslt_wire as tw
from spec.vectorgen.mistakes import NEW, Cases
from spec.vectorgen.tails import table
from spec.vectorgen.tools import Bits, Case, Json, list_value, make_list
from tslt_wire.coding.range_coder import Writer
from tslt_wire.lists.range_coded import ListModel

VOCABULARIES = {
    1: (565, 869, 1064, 2129, 4254, 8518, 17038, 34054, 68063, 136149, 272254, 544466),
    2: (4254, 4588, 8518, 17038, 34054, 68063, 136149, 272254, 544466),
    4: (4254, 5243, 8518, 17038, 34054, 68063, 136149, 272254, 544466),
    8: (521, 805, 1135, 2129, 4254, 8518, 17038, 34054, 68063, 136149, 272254, 544466),
    16: (580, 797, 1087, 2129, 4254, 8518, 17038, 34054, 68063, 136149, 272254, 544466),
    32: (8518, 10488, 17038, 34054, 68063, 136149, 272254, 544466),
    64: (1148, 1217, 2122, 4254, 8518, 17038, 34054, 68063, 136149, 272254, 544466),
    128: (2271, 2979, 4358, 8518, 17038, 34054, 68063, 136149, 272254, 544466),
}
"""By size of a list: for each of the 13 masses of its row there is a V where one more makes another SHARE."""
LARGE_TABLE = 1200
"""More than 1024 free ids, which would be gaps if the prior were no table."""


def tables() -> dict[str, str]:
    """The files of tables that only lists.json needs."""
    found = table(LARGE_TABLE)
    return {found.name: found.to_bytes().hex()}


def build_lists() -> list[Json]:
    """Groups of lists.json."""
    cases = Cases(tw.decode_list)

    def accept(
        name: str, note: str, vocab_size: int, ids: list[int], codes: list[int], precision: str = "log2/1"
    ) -> None:
        group = cases.group(vocab_size, "range", precision=precision)
        q = make_list(vocab_size, precision, ids, codes)
        data = tw.encode_list(q, group.profile)
        group.add(Case(f"mistake/range/list/{name}", note, data, list_value(q), None, (NEW,)))

    for count, sizes in VOCABULARIES.items():
        for size in sizes:
            ids: list[int] = []
            for i in range(count):
                ids.append(max(i**3 * (size - 1) // count**3, i))
            note = f"{count} ids below {size}, few of them large: the shares of the masses"
            accept(f"masses-{count}-{size}", note, size, sorted(set(ids)), [0] * len(set(ids)), "log2/0")
        if count == 1:  # the index of the last id shows the share before it in full
            for size in sizes:
                accept(f"masses-last-{size}", f"the last of {size} ids", size, [size - 1], [0], "log2/0")
    octaves = [(256 << o) + i * (12 << o) - 256 * (o == 0) for o in range(6) for i in range(22)][:128]
    note = "32 ids in 4 levels each, in all octaves: the last row of F"
    accept("f-row", note, 32000, octaves, [i * 7 % 4 for i in range(128)])
    accept("share-63", "a SHARE with m = 63", 24706, [3, 100, 20000, 24600], [0, 3, 1, 2])
    accept("share-0", "a SHARE with m = 0", 24578, [3, 100, 20000, 24577], [0, 3, 1, 2])
    accept("free-33", "33 free ids: too many for INDEX", 33, [1, 20, 32], [0, 3, 1])
    accept("no-bits", "K = V = 129 and one level: a long list without plain bits", 129, list(range(129)), [0] * 129)
    for precision, top in (("log2/0", 30), ("log2/1", 60), ("log2/2", 120)):
        note = "two entries of the largest code, of which the second has no symbol"
        accept(f"largest-{precision[-1]}", note, 10, [1, 4, 6], [top, 0, top], precision)
    steep = [0] * 1021 + [1, 1, 2, 3]
    accept("numbers-1025", "1025 entries: no weight is below 2", 5000, list(range(7, 4107, 4)), steep)
    for size, name in ((3100, "below"), (3620, "at")):
        ids = [20, 24, *range(40, 40 + 20 * 127, 20)]
        note = f"a gap above half of the mean and 8, and a mean {name} the next k"
        accept(f"mean-{size}", note, size, ids, [0] * 129)
    prior = table(LARGE_TABLE)
    q = make_list(LARGE_TABLE, "log2/1", range(3, 603, 4), [0] * 150, 9, prior)
    group = cases.group(LARGE_TABLE, "range", precision="log2/1", prior=prior)
    note = "a long list with a table: the ids are symbols"
    group.add(Case("mistake/range/list/table", note, tw.encode_list(q, group.profile), list_value(q), None, (NEW,)))
    return cases.to_json()


def powers(total: int, count: int) -> list[int]:
    """``count`` powers of two of at most 2^30, one of them 2^30, that sum to ``total``; descending."""
    found = [1 << 30] * (total >> 30) + [1 << i for i in range(29, -1, -1) if total >> i & 1]
    while len(found) < count:
        at = next(i for i in range(1, len(found)) if found[i] > 1 and found[i] >= found[1] >> 4)
        found[at : at + 1] = [found[at] >> 1] * 2
        found.sort(reverse=True)
    return found


def build_frames() -> list[Json]:
    """Groups of frames.json."""
    cases = Cases(tw.decode)

    def accept(
        name: str, note: str, size: int, lists: list[tuple[list[int], list[int]]], tokens: list[int], precision: str
    ) -> None:
        found = {at: make_list(size, precision, *q) for at, q in enumerate(lists, -1)}
        tree, evidence = tw.TokenTree.chain(tokens), tw.ListEvidence(found)
        draft = tw.Draft(round=7, prefix_length=120, prefix_hash=0xBEEF, tree=tree, evidence=evidence)
        cases.message(f"range-{name}", note, draft, vocab_size=size, entropy="range")

    nine = list(range(9)), [0, *range(1, 9)]
    other = [0, *range(2, 10)], [0, *range(1, 9)]
    note = "9 of 10 ids twice: after one that is not listed again, all the rest of seen are"
    accept("old-rest", note, 10, [nine, other], [0, 9], "log2/1")
    many = [5, *range(7, 7 + 128 * 9, 9)], [0] * 129
    accept("new-128", "one old id and 128 others: a long list without gaps", 2000, [([5], [0]), many], [5, 7], "log2/1")
    seen = list(range(0, 4000, 10)), [0] * 400
    late = [0, *range(1, 7500 - 42, 58)], [0] * 130
    note = "gaps of ids of which 400 are not free: with them the mean would have another k"
    accept("gaps-seen", note, 7500, [seen, late], [0, 1], "log2/1")

    def weighed(weights: list[int]) -> tuple[list[int], list[int]]:
        return list(range(3, 3 + len(weights))), [31 - weight.bit_length() for weight in weights]

    divisor = powers((1 << 32) + 1, 129)
    note = "the first symbol after plain bits has a total that divides 2^64 - 1, and is the last one"
    accept("whole", note, 2000, [weighed(divisor)], [3 + 128], "log2/0")
    near = powers((1 << 33) - 2, 140)
    near.remove(1 << 25)
    near = [1 << 24, 1 << 24, *near]
    note = "the range is 2^56 after the first token: no byte is read"
    part = near.index(1 << 25)
    accept("range-56", note, 2000, [weighed(near), weighed(divisor)], [3 + part, 3 + 128], "log2/0")
    note = "the end of the token's interval is a whole number of 2^64: no byte less"
    accept("end-whole", note, 2000, [weighed(near)], [4], "log2/0")
    cases.refuse("range-plain-end", *_without_last_byte(), "truncated", vocab_size=129, entropy="range")
    return cases.to_json()


def _without_last_byte() -> tuple[str, bytes]:
    """A draft that ends before the last byte of the symbols before plain bits, a 0, where no plain bits follow."""
    head = Bits().put(0x10, 8).varint(7).varint(120).put(0xBEEF, 16).put(3 | 0x10, 8).varint(2 * 4).done()
    profile = tw.Profile(vocab_size=129, entropy="range")
    coder = Writer()
    model = ListModel(coder, profile, tw.Precision.LOG2_0)
    model.code(make_list(129, "log2/0", [7, 17, 92], [0, 7, 2]), 129)
    model.code(make_list(129, "log2/0", range(129), [0] * 129), 129)
    data = coder.finish()
    if data[-1] != 0:
        raise RuntimeError("the symbols of these lists no longer end with a byte of 0")
    return "the last byte of the symbols, a 0, is missing, and no plain bits follow", head + data[:-1]
