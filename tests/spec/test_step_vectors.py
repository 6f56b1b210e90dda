"""spec/vectors/steps.json against the reference decoder, and against the library as it writes and as it reads."""

import json
from math import comb
from pathlib import Path

import pytest

from spec import reference_decoder as ref
from tslt_wire.coding import id_model
from tslt_wire.coding.plain_bits import PlainReader, prefix_codes
from tslt_wire.coding.prefix_codes import code_lengths, prefix_lengths
from tslt_wire.coding.range_coder import RangeDecoder, RangeEncoder, Reader

FILE = json.loads((Path(__file__).resolve().parents[2] / "spec" / "vectors" / "steps.json").read_text())


def cases(*what: str) -> pytest.MarkDecorator:
    found = [group for group in FILE["groups"] if group["what"] in what]
    return pytest.mark.parametrize(
        "test", [pytest.param(test, id=test["id"]) for group in found for test in group["tests"]]
    )


def coded(symbols: list[list[int]]) -> bytes:
    encoder = RangeEncoder()
    for symbol in symbols:
        encoder.put(*symbol)
    return encoder.finish()


class Heard(ref.RangeDecoder):
    """A reference decoder that keeps the symbols it read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.symbols: list[list[int]] = []

    def take(self, start: int, size: int, total: int) -> None:
        self.symbols.append([start, size, total])
        super().take(start, size, total)


def lists_of(coder: ref.RangeDecoder, vocab_size: int, seen: list[int], precision: str = "log2/1") -> ref.RangeLists:
    lists = ref.RangeLists(coder, precision, vocab_size, [])
    lists.gone, lists.free = set(seen), ref.Left(range(vocab_size + 1), seen)
    return lists


def packed(bits: str) -> bytes:
    return bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))


def test_all_procedures_are_there():
    assert [group["what"] for group in FILE["groups"]] == list(FILE["notes"])


@cases("share")
def test_shares(test):
    for function in (ref.share, id_model.share):
        assert [function(*pair) for pair in test["pairs"]] == test["shares"]


@cases("urn")
def test_urns(test):
    weights = test["weights"]
    assert ref.urn(test["n"], test["B"], test["g"]) == weights
    assert id_model.urn_starts(test["n"], test["B"], test["g"]) == tuple(sum(weights[:i]) for i in range(test["n"] + 2))


@cases("split")
def test_splits(test):
    data, arguments = coded(test["symbols"]), [test[name] for name in ("n", "L", "R", "B", "g")]
    coder = Heard(data)
    assert lists_of(coder, 10, []).split(*arguments) == test["k"]
    assert coder.symbols == test["symbols"]
    assert id_model._split(Reader(data), 0, *arguments) == test["k"]


@cases("index")
def test_indices(test):
    positions, free = test["positions"], test["free"]
    assert ref.indexed(test["index"], len(positions), free) == positions
    data = coded([[test["index"], 1, comb(free, len(positions))]] if free > 1 else [])
    ids = id_model.FreeIds(free)
    assert id_model._leaf(Reader(data), ids, 0, free, len(positions), []) == positions


@cases("set")
def test_sets(test):
    data, vocab_size, ids = coded(test["symbols"]), test["vocab_size"], test["ids"]
    coder = Heard(data)
    assert lists_of(coder, vocab_size, test["seen"]).new_ids(len(ids)) == ids
    assert coder.symbols == test["symbols"]
    assert id_model.code_ids(Reader(data), [], len(ids), vocab_size, test["seen"]) == ids


@cases("lengths")
def test_lengths(test):
    numbers, lengths, words = test["numbers"], test["lengths"], test["codewords"]
    codes = [code for code, number in enumerate(numbers) for _ in range(number)]
    data, coder = coded(test["symbols"]), Heard(coded(test["symbols"]))
    assert ref.huffman(codes) == lengths == prefix_lengths(numbers, len(codes))
    assert lists_of(coder, 10, [], test["precision"]).lengths(len(codes)) == lengths
    assert coder.symbols == test["symbols"]
    highest = 30 << int(test["precision"][-1])
    assert code_lengths(Reader(data), [], len(codes), highest) == lengths
    written = [
        f"{code:0{length}b}"[::-1] if length else ""
        for code, length in zip(prefix_codes(lengths), lengths, strict=True)
    ]
    assert written == words
    for code, word in enumerate(words):
        if word:
            assert ref.by_codewords(ref.Bits(packed(word)), 1, lengths) == [code]


@cases("gaps")
def test_gaps(test):
    data, positions, free = packed(test["bits"]), test["positions"], test["free"]
    bits = ref.Bits(data)
    assert lists_of(ref.RangeDecoder(b""), free, []).by_gaps(bits, len(positions)) == positions
    assert bits.at == len(test["bits"])
    plain = PlainReader(data, 0)
    assert plain.gaps([], len(positions), free) == positions
    assert plain.position == len(test["bits"])


def test_a_decoder_stops_where_the_symbols_do():
    """The symbols of a set are all that a reader reads."""
    test = next(test for group in FILE["groups"] if group["what"] == "set" for test in group["tests"])
    decoder = RangeDecoder(coded(test["symbols"]))
    for start, size, total in test["symbols"]:
        assert start <= decoder.peek(total) < start + size
        decoder.take(start, size)
    decoder.finish()
