"""Cases of lists.json and frames.json under the entropy coder ``range``.

Spec sections 5.3 and 5.4.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

import tslt_wire as tw
from spec.vectorgen.tools import Case, Group, Json, list_value, make_list, message_value
from tslt_wire.coding.id_model import code_ids
from tslt_wire.coding.range_coder import Writer
from tslt_wire.lists.range_coded import MAX_SEEN, SHARED

FLOATS = {"f32": 0xC0200000, "f16": 0xC100, "bf16": 0xC020}


def _values(count: int, below: int, seed: int) -> list[int]:
    """Numbers of a linear congruential generator."""
    found = []
    for _ in range(count):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        found.append((seed >> 8) % below)
    return found


def some_list(vocab_size: int, precision: str, count: int, seed: int = 1) -> tw.SparseDistribution:
    """A list with ids that are denser where they are small, and codes like those of a draft."""
    ids = {0}
    while len(ids) < min(count, vocab_size):
        seed += 1
        a, b = _values(2, vocab_size, seed)
        ids.add(a * b // vocab_size if count * 4 < vocab_size else a)
    ordered = sorted(ids)
    if precision in FLOATS:
        codes = [FLOATS[precision] + i % 7 for i in range(len(ordered))]
    else:
        codes = [1 + value for value in _values(len(ordered), 10 << int(precision[-1]), seed)]
    codes[len(codes) // 2] = 0
    return make_list(vocab_size, precision, ordered, codes)


def build_lists() -> list[Json]:
    """Groups of lists.json."""
    groups: list[Group] = []
    for vocab_size, counts in (
        (1, (1,)),
        (2, (1, 2)),
        (10, (1, 3, 9, 10)),
        (257, (1, 16, 256, 257)),
        (512, (16, 128, 129, 320)),
        (1024, (129, 512)),
        (1025, (129, 512)),
        (4096, (32, 320)),
        (5000, (1024, 1025, 4096)),
        (32000, (1, 16, 32, 33, 64, 320)),
        (128256, (16, 64)),
        (262144, (1, 64)),
        (1 << 20, (3, 64)),
    ):
        for precision in tw.Precision:
            if vocab_size in (257, 512, 1024, 1025, 4096, 5000, 128256, 1 << 20) and precision not in (
                "log2/1",
                "log2/4",
                "f16",
            ):
                continue
            group = _group(vocab_size, precision)
            groups.append(group)
            for count in counts:
                q = some_list(vocab_size, precision, count)
                id_ = f"range/list/{vocab_size}/{precision.replace('/', '-')}/k{count}"
                data = tw.encode_list(q, group.profile)
                group.add(Case(id_, f"{count} tokens", data, list_value(q), None, ("full",) * (count == vocab_size)))
    flat = _group(2000, "log2/1")
    for count in (257, 264, 265, 1992, 1993, 2000):
        q = tw.SparseDistribution(
            2000, tw.Precision.LOG2_1, np.arange(count, dtype=np.int32), np.zeros(count, np.uint32)
        )
        data = tw.encode_list(q, flat.profile)
        id_ = f"range/list/2000/log2-1/flat-{count}"
        flat.add(
            Case(id_, f"the first {count} tokens, all equal: zero bytes at the end", data, list_value(q), None, ())
        )
    groups.append(flat)
    groups += [_huge_list(), _read_to_the_end(), *_bad_lists()]
    return [group.to_json() for group in groups]


def _huge_list() -> Group:
    """Nearly all of the first ids and two far from them: gaps of 0, then two of many bits."""
    group = _group(1 << 20, "log2/0")
    gaps = {9, 300, 700, *(1000 + (1 << bits) for bits in range(9, 14))}
    ids = sorted(set(range(17000)) - gaps | {40000, (1 << 20) - 1})
    q = make_list(1 << 20, "log2/0", ids, [0] * len(ids))
    data = tw.encode_list(q, group.profile)
    group.add(Case("range/list/1048576/log2-0/huge", f"{len(ids)} tokens", data, list_value(q), None, ("large",)))
    return group


def _read_to_the_end() -> Group:
    """Symbols that all start at 0: the output is bytes of 0, and a decoder reads 8 behind it, but never 9."""
    group = _group(12, "f32")
    q = make_list(12, "f32", [0], [0])
    data = tw.encode_list(q, group.profile)
    if any(data) or len(data) < 2:
        raise RuntimeError("the symbols of this list no longer start at 0")
    name = "range/list/12/f32/behind"
    group.add(Case(f"{name}-8", "8 bytes are read behind the end", data, list_value(q), None, ()))
    group.refuse(f"{name}-9", "a 9th byte would be read behind the end", data[:-1], "truncated")
    return group


def _group(vocab_size: int, precision: str, **limits: int) -> Group:
    profile = tw.Profile(vocab_size=vocab_size, precision=precision, entropy="range")
    return Group(profile, tw.decode_list, limits)


def _bad_lists() -> list[Group]:
    group = _group(32000, "log2/1")
    good = tw.encode_list(some_list(32000, "log2/1", 32), group.profile)
    for count, tail in ((1, "00"), (1, "01"), (8, "00" * 8), (9, "ff" * 9)):
        group.refuse(
            f"range/list/32000/log2-1/tail-{count}-{tail[:2]}",
            f"{count} bytes too many",
            good + bytes.fromhex(tail),
            "trailing_bytes",
        )
    group.refuse("range/list/32000/log2-1/short", "9 bytes are missing", good[:-9], "truncated")
    group.refuse("range/list/32000/log2-1/half", "half of the bytes", good[: len(good) // 2], "truncated")
    group.refuse("range/list/32000/log2-1/gap", "a number between two symbols", b"\xff" * 8, "non_canonical")
    flat = _group(2000, "log2/1")
    q = tw.SparseDistribution(2000, tw.Precision.LOG2_1, np.arange(2000, dtype=np.int32), np.zeros(2000, np.uint32))
    full = tw.encode_list(q, flat.profile)
    for label, note, data, error in (
        ("few", "218 bytes needed, 217 there", full[:-1], "truncated"),
        ("many", "218 bytes needed, 219 there", full + b"\0", "trailing_bytes"),
        ("padding", "a byte at the end that is not 0", full[:-1] + b"\x01", "non_canonical"),
    ):
        flat.refuse(f"range/list/2000/log2-1/flat-{label}", note, data, error)
    limited = _group(32000, "log2/1", max_entries=31)
    limited.refuse("range/list/32000/log2-1/limit", "32 entries of 31", good, "limit_exceeded")
    groups = [group, flat, limited]
    for precision, bad in (("f32", 0x80000000), ("f16", 0xFC00), ("bf16", 1)):
        floats = _group(10, precision)
        bits = 32 if precision == "f32" else 16
        for name, codes, note in (
            ("code", [0, bad], "a code that is no logit"),
            ("no-zero", [FLOATS[precision]] * 2, "no code 0"),
        ):
            coder = Writer()
            coder.choose(1, (6, 6, 8, 12), 32)  # two or three tokens of ten
            coder.chance(0, 1, 2)  # two
            code_ids(coder, [2, 7], 2, 10)
            for code in codes:
                coder.uniform(code, 1 << bits)
            floats.refuse(f"range/list/10/{precision}/{name}", note, coder.encoder.finish(), "bad_list", "float")
        groups.append(floats)
    return groups


def build_frames() -> list[Json]:
    """Groups of frames.json."""
    groups = []
    for vocab_size, count in ((10, 4), (512, 32), (32000, 16), (128256, 32)):
        group = Group(tw.Profile(vocab_size=vocab_size, entropy="range"), tw.decode)
        groups.append(group)
        for precision in ("log2/0", "log2/1", "log2/2", "f16"):
            for name, parents in (
                ("one", [-1]),
                ("chain", [-1, 0, 1, 2]),
                ("tree", [-1, -1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
                ("levels", [-1, -1, -1, 0, 2, 2]),
                ("parents", [-1, 0, -1, 1, 0]),
            ):
                for replacement in (True, False):
                    draft = _draft(vocab_size, precision, count, parents, replacement)
                    how = "with" if replacement else "without"
                    id_ = f"range/frame/{vocab_size}/{name}-{precision.replace('/', '-')}-{how}"
                    data = tw.encode(draft, group.profile)
                    group.add(Case(id_, f"{name}, {how} replacement", data, message_value(draft), None, ("shape",)))
        empty = tw.Draft(
            round=1, prefix_length=2, prefix_hash=3, tree=tw.TokenTree((), ()), evidence=tw.ListEvidence({})
        )
        data = tw.encode(empty, group.profile)
        group.add(Case(f"range/frame/{vocab_size}/empty", "no tokens", data, message_value(empty), None, ()))
    _bad_frames(groups[2])
    groups += [_forgetting((SHARED,) * (MAX_SEEN // SHARED - 1) + (SHARED - 48, second, 3)) for second in (48, 49)]
    groups += [_forgetting((size, 5, size, 3)) for size in (SHARED, SHARED + 1)]
    return [group.to_json() for group in groups]


def _forgetting(sizes: Sequence[int]) -> Group:
    """A chain whose lists have other tokens each, but for the last one, which has some of the first one's."""
    vocab_size = sum(sizes)
    group = Group(tw.Profile(vocab_size=vocab_size, entropy="range"), tw.decode)
    lists, first = {}, 0
    for parent, size in enumerate(sizes, -1):
        ids = range(first, first + size) if parent < len(sizes) - 2 else range(7, 7 + size)
        lists[parent] = make_list(vocab_size, "log2/0", ids, [0] * size)
        first += size
    draft = tw.Draft(
        round=7,
        prefix_length=120,
        prefix_hash=0xBEEF,
        tree=tw.TokenTree.chain([int(q.ids[0]) for q in lists.values()]),
        evidence=tw.ListEvidence(lists, replacement=True),
    )
    note = f"lists of {', '.join(map(str, sizes))} tokens; {MAX_SEEN} are remembered, of lists of up to {SHARED}"
    id_ = f"range/frame/{vocab_size}/remember-{sizes[-2]}"
    group.add(Case(id_, note, tw.encode(draft, group.profile), message_value(draft), None, ()))
    return group


def _draft(vocab_size: int, precision: str, count: int, parents: list[int], replacement: bool) -> tw.Draft:
    lists = {}
    for at, parent in enumerate(sorted(set(parents))):
        q = some_list(vocab_size, precision, count, 5 + at // 2)
        lists[parent] = (
            q if at % 3 else make_list(vocab_size, precision, q.ids[: count - 1 - at % 2], _first(q, at, count))
        )
    tokens: list[int] = []
    for node, parent in enumerate(parents):
        earlier = sum(other == parent for other in parents[:node])
        tokens.append(
            int(lists[parent].ids[(len(lists[parent]) // 2 + earlier * (not replacement)) % len(lists[parent])])
        )
    return tw.Draft(
        round=7,
        prefix_length=120,
        prefix_hash=0xBEEF,
        tree=tw.TokenTree(tokens, parents),
        evidence=tw.ListEvidence(lists, replacement),
    )


def _first(q: tw.SparseDistribution, at: int, count: int) -> list[int]:
    codes = np.array(q.codes[: count - 1 - at % 2]).tolist()
    return [0, *codes[1:]]


def _bad_frames(group: Group) -> None:
    draft = _draft(32000, "log2/1", 16, [-1, 0], True)
    good = tw.encode(draft, group.profile)[:-4]
    name = "range/frame/32000"

    def refuse(label: str, note: str, content: bytes, error: str) -> None:
        group.refuse(f"{name}/{label}", note, content + zlib.crc32(content).to_bytes(4, "little"), error)

    refuse("tail", "a byte too many", good + b"\0", "trailing_bytes")
    refuse("short", "9 bytes are missing", good[:-9], "truncated")
    refuse("other-coder", "a frame of the coder none", good[:5] + bytes([good[5] & 0xCF]) + good[6:], "out_of_range")
    wide = tw.encode(_draft(32000, "log2/1", 16, [-1, -1, -1, 0, 2, 2], True), group.profile)[:-4]
    # Degrees 1110 1 00 11 and no last 0: the shape takes bits of the byte after the head and leaves some.
    at = 7
    refuse(
        "padding",
        "a bit between shape and lists",
        wide[: at + 1] + bytes([wide[at + 1] | 0x80]) + wide[at + 2 :],
        "reserved_bits",
    )
    empty = tw.Draft(round=1, prefix_length=2, prefix_hash=3, tree=tw.TokenTree((), ()), evidence=tw.ListEvidence({}))
    refuse("empty-tail", "bytes after an empty draft", tw.encode(empty, group.profile)[:-4] + b"\0", "trailing_bytes")
