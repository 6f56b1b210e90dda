"""Cases of steps.json: the named procedures of section 5.4, one by one, with what they are given and what they give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import comb
from random import Random

from spec.vectorgen.tools import Json
from tslt_wire.coding import id_model
from tslt_wire.coding.plain_bits import PlainWriter, prefix_codes
from tslt_wire.coding.prefix_codes import code_lengths, prefix_lengths
from tslt_wire.coding.range_coder import RangeEncoder, Writer

NOTES = {
    "share": "SHARE(l, r) of [RLIST-4]",
    "urn": "URN(n, B, g) of [RLIST-4]",
    "split": "SPLIT(k, n, L, R, B, g) of [RLIST-3] and its symbols",
    "index": "INDEX of [RLIST-3]",
    "set": "SET(0, ..., n) of [RLIST-3] and its symbols",
    "lengths": "lengths, codewords and symbols of [RLIST-15]",
    "gaps": "gaps of [RLIST-14]",
}


def build() -> list[Json]:
    """A group for each procedure."""
    made = {"share": _shares, "urn": _urns, "split": _splits, "index": _indices, "set": _sets}
    made |= {"lengths": _lengths, "gaps": _gaps}
    groups = []
    for what, cases in made.items():
        tests = []
        for label, comment, fields in cases():
            head = {"id": f"steps/{what}/{label}", "comment": comment, "flags": [what], "result": "valid"}
            tests.append({**head, **fields})
        groups.append({"what": what, "tests": tests})
    return groups


Cases = Iterator[tuple[str, str, Json]]


class _Symbols(RangeEncoder):
    """An encoder that also keeps its symbols."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[list[int]] = []

    def put(self, start: int, size: int, total: int) -> None:
        """Keep a symbol."""
        self.found.append([start, size, total])
        super().put(start, size, total)


def _writer() -> tuple[Writer, list[list[int]]]:
    writer, encoder = Writer(), _Symbols()
    writer.encoder = encoder
    return writer, encoder.found


def _shares() -> Cases:
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 4095), (1, 4096), (1, 4097), (2, 4094), (3, 4093), (4095, 1)]
    pairs += [(63, 4033), (64, 4032), (65, 4031), (4033, 63), (4032, 64), (4031, 65), (2047, 2049), (2048, 2048)]
    pairs += [(1 << 20, 3), (3, 1 << 20), (625, 375), (456, 170), (1000, 7), (7, 1000), (31, 1 << 30), (1 << 30, 31)]
    yield "edges", "pairs [l, r] and their shares", {"pairs": pairs, "shares": [id_model.share(*p) for p in pairs]}
    every = [(e, 4096 - e) for e in range(4096)]
    yield "all", "l = 0 to 4095, r = 4096 - l: every e", {"pairs": every, "shares": [id_model.share(*p) for p in every]}


def _urns() -> Cases:
    for n in (1, 2, 3, 7, 8, 31, 32):
        for balls in (6, 20):
            for g in (1, 3, 48, 96, 1248, 2048, 2080, 4000, 4048, 4095):
                starts = id_model.urn_starts(n, balls, g)
                weights = [end - start for start, end in pairwise(starts)]
                comment = f"{n} draws, {balls} balls, g = {g}"
                yield f"{n}-{balls}-{g}", comment, {"n": n, "B": balls, "g": g, "weights": weights}


def _splits() -> Cases:
    for k, n, left, right in (
        *((0, 1, 128, 128), (1, 1, 128, 128), (5, 9, 100, 156), (32, 32, 100, 100), (0, 32, 33, 40)),
        *((7, 33, 500, 524), (33, 33, 500, 524), (100, 200, 512, 512), (0, 200, 512, 512), (90, 150, 100, 160)),
        *((99, 150, 100, 60), (3, 10, 4, 200), (1, 10, 200, 9), (60, 100, 61, 100), (128, 255, 128, 128)),
    ):
        writer, symbols = _writer()
        g = id_model.share(left, right)
        id_model._split(writer, k, n, left, right, 20, g)
        fields = {"k": k, "n": n, "L": left, "R": right, "B": 20, "g": g, "symbols": symbols}
        yield f"{left}-{right}-{k}-of-{n}", f"{k} of {n} ids are in the lower half", fields


def _indices() -> Cases:
    for free, positions in (
        *((1, [0]), (5, [0, 1]), (5, [3, 4]), (5, [0, 4]), (32, [31]), (32, [0, 15, 31]), (12, [1, 2, 3, 5, 8])),
        *((32, list(range(16))), (32, list(range(16, 32))), (32, list(range(0, 32, 2))), (1 << 20, [1000000])),
    ):
        index = sum(comb(position, i) for i, position in enumerate(positions, 1))
        label = f"{len(positions)}-of-{free}-{index}"
        yield label, "positions among the free ids", {"free": free, "positions": positions, "index": index}


def _sets() -> Cases:
    rng = Random("sets")
    for vocab_size, n, gone in ((10, 3, 0), (256, 20, 4), (300, 5, 0), (1000, 2, 0), (1000, 40, 3), (32000, 12, 5)):
        excluded = sorted(rng.sample(range(vocab_size), gone))
        ids = sorted(rng.sample(sorted(set(range(vocab_size)) - set(excluded)), n))
        writer, symbols = _writer()
        id_model.code_ids(writer, ids, n, vocab_size, excluded)
        fields = {"vocab_size": vocab_size, "seen": excluded, "ids": ids, "symbols": symbols}
        yield f"{vocab_size}-{n}", f"{n} ids, of which none is in seen, without a table", fields


def _lengths() -> Cases:
    for label, s, numbers in (
        ("one", 1, [150]),
        ("two", 1, [149, 1]),
        ("last", 0, [*[149], *[0] * 29, 1]),
        ("even", 2, [20] * 8),
        ("ties", 2, [50, 25, 26, 25, 24]),
        ("powers", 2, [1 << max(0, 12 - i) for i in range(14)]),
        ("fibonacci", 3, [987, 610, 377, 233, 144, 89, 55, 34, 21, 13, 8, 5, 3, 2, 1, 1]),
        ("rare", 4, [60000, 1, 0, 2, 0, 0, 70, 5000, 1]),
        ("apart", 1, [130, 0, 0, 0, 7, 0, 0, 31, 0, 2]),
    ):
        size = sum(numbers)
        lengths = prefix_lengths(numbers, size)
        writer, symbols = _writer()
        code_lengths(writer, lengths, size, 30 << s)
        words = [
            f"{word:0{length}b}"[::-1] if length else ""
            for length, word in zip(lengths, prefix_codes(lengths), strict=True)
        ]
        fields = {"precision": f"log2/{s}", "numbers": numbers, "lengths": lengths, "codewords": words}
        yield label, f"u, the numbers of entries; K = {size}", {**fields, "symbols": symbols}


def _gaps() -> Cases:
    rng = Random("gaps")
    for label, free, positions in (
        ("every-second", 2000, list(range(0, 400, 2))),
        ("first", 2000, list(range(129))),
        ("jump", 1 << 20, [*range(129), (1 << 20) - 1]),
        ("spread", 32000, sorted(rng.sample(range(32000), 140))),
        ("dense", 3000, sorted({rng.randrange(rng.randrange(3000) + 1) for _ in range(400)})),
    ):
        yield (
            label,
            "positions, at most half of all",
            {"free": free, "positions": positions, "bits": _bits(free, positions)},
        )


def _bits(free: int, positions: Sequence[int]) -> str:
    plain = PlainWriter()
    plain.gaps(positions, len(positions), free)
    size, data = plain.size, plain.finish()
    return "".join(str(data[i // 8] >> i % 8 & 1) for i in range(size))
