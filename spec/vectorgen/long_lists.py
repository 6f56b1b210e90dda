"""Cases of lists.json and frames.json with lists that have plain bits.

Spec sections 5.3 ([RANGE-6]) and 5.4 ([RLIST-13] to [RLIST-15]).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import tslt_wire as tw
from spec.vectorgen.tools import Bits, Case, Group, Json, list_value, make_list, message_value
from tslt_wire.coding.plain_bits import Plain, PlainWriter
from tslt_wire.coding.range_coder import Writer
from tslt_wire.lists.range_coded import ListModel

V = 2000


class _Odd(Writer):
    """Writes a list but for one thing that is wrong."""

    def __init__(self, plain: Callable[[], PlainWriter] = PlainWriter, lengths: Sequence[int] = ()) -> None:
        super().__init__()
        self._make = plain
        self._lengths = list(lengths)

    def leave(self) -> Plain:
        """Go on with the plain bits that are asked for."""
        super().leave()
        self._plain = self._make()
        return self._plain

    def choose(self, value: int, weights: Sequence[int], total: int) -> int:
        """Write the lengths that are asked for in place of those that fit."""
        if len(weights) == 15 and self._lengths:
            value = self._lengths.pop(0)
        return super().choose(value, weights, total)


class _OtherCodes(PlainWriter):
    """Writes level 0 for all entries but the last."""

    def symbols(self, values: Sequence[int], count: int, lengths: Sequence[int]) -> list[int]:
        """Write other values."""
        return super().symbols([0] * (count - 1) + [len(lengths) - 1], count, lengths)


class _Nothing(PlainWriter):
    """Writes nothing."""

    def symbols(self, values: Sequence[int], count: int, lengths: Sequence[int]) -> list[int]:
        """Write no codewords."""
        return list(values)

    def finish(self) -> bytes:
        """Nothing of what was put."""
        return b""


def _given(bits: Bits) -> Callable[[], PlainWriter]:
    """Plain bits that are all given."""

    class Given(PlainWriter):
        def finish(self) -> bytes:
            """Nothing of what was put."""
            return bits.done()

    return Given


def build_lists() -> list[Json]:
    """Groups of lists.json."""
    group = Group(tw.Profile(vocab_size=V, precision="log2/1", entropy="range"), tw.decode_list)
    add = _adder(group)
    add("half", "half of all ids: gaps of those that are listed", range(0, V, 2))
    add("half-and-one", "one more: gaps of those that are not", [1, *range(0, V, 2)])
    add("all-but-one", "one gap", [*range(500), *range(501, V)])
    add("jump", "a gap of more than six steps", [*range(128), V - 1])
    add("one-level", "all codes 0: no codewords", range(0, 3 * 129, 3), lambda _: 0)
    add("two-levels", "codewords of one bit", range(0, 3 * 129, 3), lambda i: i % 2)
    add("last-level", "the largest code: its length has no symbol", range(0, 3 * 129, 3), lambda i: 60 * (i % 2))
    add("ties", "five levels, four of equal weight", range(160), lambda i: min(i % 10, 4))
    groups = [group, _steep("log2/4", 1 << 20, 5000), _steep("log2/1", 32000, 3000), *_bad(), *_mistakes()]
    return [group.to_json() for group in groups]


def _adder(group: Group) -> Callable[..., None]:
    def add(label: str, note: str, ids: Sequence[int], code: Callable[[int], int] = lambda i: i % 13 + i // 50) -> None:
        ids = sorted(ids)
        codes = [code(i) for i in range(len(ids))]
        q = make_list(V, "log2/1", ids, codes)
        data = tw.encode_list(q, group.profile)
        group.add(Case(f"range/long/{V}/{label}", note, data, list_value(q), None, ()))

    return add


def _steep(precision: str, vocab_size: int, count: int) -> Group:
    """Numbers of codes that fall like Fibonacci's: long codewords, and many levels below the least weight."""
    group = Group(tw.Profile(vocab_size=vocab_size, precision=precision, entropy="range"), tw.decode_list)
    codes: list[int] = []
    for level in range(min(30 << int(precision[-1]), 400)):
        codes += [level] * max(1, int(count * 0.382 * 0.618**level))
    codes = (codes + [0] * count)[:count]
    few = sorted({i * i % (vocab_size // 4) * 2 for i in range(count)})[: count // 2]
    q = make_list(vocab_size, precision, [*few, *range(vocab_size - count + len(few), vocab_size)], codes)
    id_ = f"range/long/{vocab_size}/steep-{precision.replace('/', '-')}"
    group.add(Case(id_, f"{count} tokens", tw.encode_list(q, group.profile), list_value(q), None, ("large",)))
    return group


def _bad() -> list[Group]:
    group = Group(tw.Profile(vocab_size=V, precision="log2/1", entropy="range"), tw.decode_list)
    flat = make_list(V, "log2/1", range(0, 3 * 129, 3), [0] * 129)
    mixed = make_list(V, "log2/1", range(0, 3 * 129, 3), [i % 3 for i in range(129)])
    high = make_list(V, "log2/1", range(0, 3 * 129, 3), [i % 2 * 60 for i in range(129)])

    def written(coder: Writer, q: tw.SparseDistribution) -> bytes:
        with suppress(tw.DecodeError):  # lengths that leave a gap: what is written before
            ListModel(coder, group.profile, tw.Precision.LOG2_1).code(q, len(q))
        return coder.finish()

    def refuse(label: str, note: str, data: bytes, error: str) -> None:
        group.refuse(f"range/long/{V}/{label}", note, data, error)

    # 129 of 2,000 ids: 16 times the mean is 7 at first, and k is 0.
    for label, note, bits, error in (
        ("zeros", "27 bits of 0 before a 1", Bits().put(1 << 27, 32).put(0, 32), "bad_list"),
        ("zeros-end", "24 bits of 0, and the end", Bits().put(0, 24), "truncated"),
        ("far", "a gap of 2^20 + 5", Bits().put(1 << 26, 32).put(0, 32), "bad_list"),
        ("behind", "the position 2,000 of 2,000", Bits().put(1 << 16, 17).put(V - 5 - 2**10, 10), "bad_list"),
        ("field", "the last field is cut", Bits().put(1 << 15, 16), "truncated"),
    ):
        refuse(label, note, written(_Odd(_given(bits)), flat), error)
    good, symbols = tw.encode_list(mixed, group.profile), len(written(_Odd(_given(Bits())), mixed))
    refuse("short", "the last plain byte is missing", good[:-1], "truncated")
    other = tw.encode_list(flat, group.profile)
    refuse("padding", "the last bit is 1", other[:-1] + bytes([other[-1] | 0x80]), "reserved_bits")
    refuse("more", "a byte behind the plain bits", good + b"\0", "trailing_bytes")
    refuse("none", "nothing behind the symbols", good[:symbols], "truncated")
    other = good[: symbols - 1] + bytes([good[symbols - 1] + 1]) + good[symbols:]
    refuse("ending", "the symbols end with another byte in their interval", other, "non_canonical")
    note = "lengths for 43 entries of each of three codes, then 128 of code 0 and one of code 2"
    refuse("other-numbers", note, written(_Odd(_OtherCodes), mixed), "non_canonical")
    note = "the lengths 1, 2 and 2 where 2, 2 and 1 belong"
    refuse("other-lengths", note, written(_Odd(lengths=(1, 2, 2)), mixed), "non_canonical")
    note = "the lengths 1 and 3, and 3/8 are left for the largest code"
    refuse("gap", note, written(_Odd(lengths=(1, *[0] * 58, 3)), high), "non_canonical")
    return [group]


def _mistakes() -> list[Group]:
    """Those that spec/mutants.py found: what is cut where two errors are near each other."""
    zeros, groups = Bits().put(0, 24), []
    for size, error, note in (
        (16000, "truncated", "k = 2: 24 bits of 0, and the end"),
        (32000, "bad_list", "k = 3: 24 bits of 0, which are one too many, and the end: first the bits"),
    ):
        group = Group(tw.Profile(vocab_size=size, precision="log2/1", entropy="range"), tw.decode_list)
        flat, coder = make_list(size, "log2/1", range(0, 3 * 129, 3), [0] * 129), _Odd(_given(zeros))
        ListModel(coder, group.profile, tw.Precision.LOG2_1).code(flat, 129)
        group.refuse(f"range/long/{size}/zeros-24", note, coder.finish(), error, "mutant")
        groups.append(group)
    deepest = [*range(1, 15), 14]
    for precision, lengths in (("log2/1", deepest), ("log2/0", [*deepest[:-1], *[0] * 16])):
        group = Group(tw.Profile(vocab_size=V, precision=precision, entropy="range"), tw.decode_list)
        q = make_list(V, precision, range(0, 3 * 129, 3), [i % 31 for i in range(129)])
        coder = _Odd(_Nothing, lengths)
        with suppress(tw.DecodeError):
            ListModel(coder, group.profile, tw.Precision(precision)).code(q, 129)
        id_ = f"range/long/{V}/{precision.replace('/', '-')}-deepest"
        group.refuse(id_, "two lengths of 14, and the end", coder.finish(), "truncated", "mutant")
        groups.append(group)
    group = Group(tw.Profile(vocab_size=V, precision="log2/1", entropy="range"), tw.decode_list)
    coder = _Odd(_Nothing)
    ListModel(coder, group.profile, tw.Precision.LOG2_1).code(make_list(V, "log2/1", range(129), [0] * 129), 129)
    whole = coder.finish()
    shorter = whole[:-2] + bytes([whole[-2] + 1])
    note = "the symbols end with a byte less, as [RANGE-3] has it: first the size"
    group.refuse(f"range/long/{V}/log2-1-ending", note, shorter, "truncated", "mutant")
    groups.append(group)
    return groups


def build_frames() -> list[Json]:
    """Groups of frames.json: long and short lists in one output."""
    group = Group(tw.Profile(vocab_size=V, entropy="range"), tw.decode)
    for precision, first in (("log2/1", 0), ("f16", 0xC100)):
        lists = {}
        for parent, ids in enumerate((range(0, 600, 3), range(1, 400, 2), range(5), range(V), range(300, 1900)), -1):
            codes = [first + 1 + i % 9 for i in range(len(ids))]
            codes[len(ids) // 3] = 0
            lists[parent] = make_list(V, precision, ids, codes)
        draft = tw.Draft(
            round=7,
            prefix_length=120,
            prefix_hash=0xBEEF,
            tree=tw.TokenTree.chain([0, 1, 2, 3, 300]),
            evidence=tw.ListEvidence(lists, replacement=True),
        )
        id_ = f"range/frame/{V}/long-{precision.replace('/', '-')}"
        note = "lists of 200, 200, 5, 2000 and 1600 tokens: gaps of new ids, also of those that are not listed"
        group.add(Case(id_, note, tw.encode(draft, group.profile), message_value(draft), None, ()))
    return [group.to_json()]
