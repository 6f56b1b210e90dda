"""Write spec/examples.md, or check (``--check``) that it is what this would write.

All numbers of the page are read off the reference decoder while it decodes what the library has encoded.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tslt_wire as tw
from spec import reference_decoder as ref
from spec.vectorgen.tools import list_value, make_list, message_value, profile_value
from spec.vectorgen.traces import Ending, Field, Symbol, Trace, traced
from tslt_wire.lists.prior import plain_prior

PAGE = Path(__file__).resolve().parent / "examples.md"
HEAD = """# Worked examples

Byte by byte, for whoever writes a decoder and wants to know where it leaves the road. Numbers in brackets are
requirements of [tslt-wire.md](tslt-wire.md). `python spec/make_examples.py` writes this page from what the reference
decoder reads; other inputs with their outputs are in [vectors/](vectors/README.md).

In tables of fields, *bits* are positions in the content, from 0, and the digits stand in the order in which they are
read: the lowest bit of a number first.
"""
SHOWN = 4
"""Gaps and codewords of the long list that are shown, at each end."""


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not up to date")
    given = parser.parse_args(arguments)
    text = page()
    if given.check:
        if not PAGE.exists() or PAGE.read_text() != text:
            print("spec/examples.md is not up to date (run spec/make_examples.py)")
            return 1
        return 0
    PAGE.write_text(text)
    return 0


def page() -> str:
    """All of it."""
    return "\n".join([HEAD, *plain_draft(), *short_list(), *long_list(), *scalar_round()])


# ------------------------------------------------------------------------------------------------------------ writing


def said(text: str) -> Iterator[str]:
    """A paragraph."""
    yield textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
    yield ""


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """A table of Markdown."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"
    yield ""


def block(text: str) -> Iterator[str]:
    """Text as it is."""
    yield "```text"
    yield text
    yield "```"
    yield ""


def hexed(data: bytes) -> str:
    """Bytes, sixteen a line."""
    return "\n".join(data[i : i + 16].hex(" ") for i in range(0, len(data), 16))


def field_row(found: Field, label: str) -> tuple[str, str, str, str]:
    """A row for a field of bits."""
    end = found.first + len(found.bits)
    place = "-" if not found.bits else str(found.first) if end == found.first + 1 else f"{found.first} to {end - 1}"
    name, _, meaning = label.partition(": ")
    value = found.value.hex(" ") if isinstance(found.value, bytes) else str(found.value)
    return place, f"`{found.bits}`" if found.bits else "", name, f"{value}: {meaning}" if meaning else value


def fields_of(trace: Trace, labels: Sequence[str], data: bytes) -> Iterator[str]:
    """The table of all fields of a frame; ``labels`` has a name, and what the value means, for each."""
    if len(labels) != len(trace.fields):
        raise RuntimeError(f"{len(trace.fields)} fields and {len(labels)} labels")
    rows = [field_row(found, label) for found, label in zip(trace.fields, labels, strict=True)]
    yield from block(hexed(data))
    yield from table(("bits", "digits", "field", "value"), rows)
    yield from said(
        f"The last four bytes, `{data[-4:].hex(' ')}`, are the CRC-32 of those before them: 0x{data[-1:-5:-1].hex()}."
    )


def read(message: tw.Message, profile: tw.Profile) -> tuple[bytes, Trace]:
    """The bytes of a message, and how they are read."""
    data = tw.encode(message, profile)
    trace = traced(ref.decode_frame, data, profile_value(profile))
    if trace.value != message_value(message):
        raise RuntimeError("the decoders differ")
    return data, trace


HEADER = ("kind", "has_extensions", "compressed")
PLACE = ("round", "prefix_length", "prefix_hash")


# ---------------------------------------------------------------------------------------------- a draft without coder


def plain_draft() -> Iterator[str]:
    """DRAFT_LIST with the entropy coder none."""
    profile = tw.Profile(vocab_size=10, entropy="none", prior=plain_prior("uniform", 10))
    lists = {
        -1: make_list(10, "log2/1", [2, 7], [0, 3], 5, profile.prior),
        0: make_list(10, "log2/1", [2], [0]),
    }
    draft = tw.Draft(
        round=300,
        prefix_length=5,
        prefix_hash=tw.prefix_hash((1, 2, 3, 4, 5)),
        tree=tw.TokenTree([7, 4, 2], [-1, -1, 0]),
        evidence=tw.ListEvidence(lists, replacement=True),
    )
    data, trace = read(draft, profile)
    yield "## 1. A DRAFT_LIST, entropy coder none"
    yield ""
    yield from said(
        "V = 10, prior `uniform`; round 300 after the prefix 1 2 3 4 5. After the prefix the list is {2: code 0, "
        "7: code 3} of `log2/1`, "
        "and 5 / 32 of the probability is in its tail. 7 was sampled from it, then 4, which is not listed. After "
        "the 7 "
        "(node 0) the list is {2: code 0}, without a tail, and 2 was sampled. Sections 3.4, 5.1, 5.2, 6.1."
    )
    labels = [*HEADER, *PLACE, "precision: `log2/1`", "entropy: `none`", "reserved", "without_replacement"]
    labels += ["shape: 3 nodes * 4 + LEVELS", "degree: node 0 is a child of the prefix", "degree: so is node 1"]
    labels += ["degree: the prefix has no more children", "degree: node 2 is a child of node 0, and the last node"]
    labels += ["count - 1: the list after the prefix has 2 ids", "tail: of 32", "id", "id"]
    labels += ["width: bits of each code, [LIST-2]", "code", "code"]
    labels += ["count - 1: the list after node 0 has 1 id", "tail", "id", "width: codes have no bits", "code"]
    labels += [
        "in_tail",
        "rank: node 0 has the token 7, the second of its list",
        "in_tail: the token of node 1 is not listed",
    ]
    labels += ["id: it is 4", "rank: node 2 has the only token of its list, in 0 bits", "padding, [BIT-4]"]
    labels[0] += ": 0x10, DRAFT_LIST"
    yield from fields_of(trace, labels, data)


# ------------------------------------------------------------------------------------------------------ range coder


def symbols_of(symbols: Sequence[Symbol], meanings: Sequence[str], first: int = 1) -> Iterator[str]:
    """The table of symbols."""
    if len(symbols) != len(meanings):
        raise RuntimeError(f"{len(symbols)} symbols and {len(meanings)} meanings")
    rows = [
        (i, s.rule, f"{s.what}: {meaning}", s.start, s.size, s.total, f"`{s.code:016x}`", f"`{s.range:016x}`")
        for i, (s, meaning) in enumerate(zip(symbols, meanings, strict=True), first)
    ]
    yield from table(("", "rule", "symbol", "start", "size", "total", "code before", "range before"), rows)


def ending_of(ending: Ending, data: bytes) -> Iterator[str]:
    """How symbols end."""
    low = ending.last - ending.code
    yield "| | |"
    yield "|---|---|"
    yield f"| code, range | `{ending.code:016x}`, `{ending.range:016x}` |"
    yield f"| w, the last 8 bytes that were read | `{ending.last:016x}` |"
    yield f"| low = w - code | `{low:016x}` |"
    yield f"| count, v | {ending.count}, `{ending.value:016x}` |"
    if ending.for_good:
        yield f"| low + range | `{low + ending.range:x}`: v is below it, and with a smaller count it would not be |"
        yield f"| v is w, and the output has | {len(data) - ending.count} bytes before w and count more |"
    else:
        smaller = "" if ending.count == 1 else ", and with a smaller count it would be"
        yield f"| low + range | `{low + ending.range:x}`: v + u is not above it{smaller} |"
        upper = f"{ending.value >> 64 - 8 * ending.count:0{2 * ending.count}x}"
        yield f"| the upper count bytes of v and of w | `{upper}` |"
        yield f"| plain bits start at | byte {ending.after} |"
    yield ""


def short_list() -> Iterator[str]:
    """A lone list of two entries."""
    profile = tw.Profile(vocab_size=1000, precision="log2/1", entropy="range")
    q = make_list(1000, "log2/1", [17, 700], [0, 3])
    data = tw.encode_list(q, profile)
    trace = traced(ref.decode_list, data, profile_value(profile))
    if trace.value != list_value(q):
        raise RuntimeError("the decoders differ")
    yield "## 2. A list of two entries, entropy coder range"
    yield ""
    yield from said("A lone list, V = 1000, `log2/1`: {17: code 0, 700: code 3}. Sections 5.3, 5.4.")
    yield from block(hexed(data))
    yield from said(
        "The decoder starts with the first 8 bytes as `code`, bytes behind the end being 0, and `range` = 2^64 - "
        "1 ([RANGE-4])."
    )
    meanings = ["e = bitlen(K) - 1 = 1, so K is 2 or 3; the weights are the first 10 of S", "K is not above 2"]
    g = [ref.share(*halves) for halves in short_list_halves()]
    meanings += [f"SET(0, 1024, 2): k = 1 of 2 ids is below 512; B = 6, g = {g[0]}"]
    meanings += [f"SET(0, 512, 1): k = 1 of 1 id is below 256; B = 6, g = {g[1]}"]
    meanings += ["SET(0, 256, 1), not top: the index of 17", "SET(512, 1024, 1), not top: the index of 700, 700 - 512"]
    meanings += [
        "level 0 has another entry? no",
        "level 1 has one? no",
        "level 2? no",
        "level 3? yes: all entries are there",
    ]
    meanings += ["17 has level 0", "700 has level 3"]
    yield from symbols_of(trace.symbols, meanings)
    one = trace.symbols[0]
    part = one.range // one.total
    yield from said(
        "After each symbol bytes are read until `range` is 2^56 or more. For the first: part = floor(range / total) = "
        f"0x{part:x}; f = floor(code / part) = {one.code // part}, which is in [{one.start}, {one.start + one.size}); "
        f"then code = code - part * {one.start} = 0x{one.code - part * one.start:x} and range = part * {one.size} = "
        f"0x{part * one.size:x}."
    )
    yield from said("At the end of the list [RANGE-5] finds the bytes that the encoder must have written:")
    yield from ending_of(trace.endings[-1], data)


def short_list_halves() -> list[tuple[int, int]]:
    """What SHARE is given at the two splits between octaves: masses of the row for N = 2."""
    row = ref.MASSES[1]
    return [(sum(row[:j]), row[j] * (min(1000, 2 * mid) - mid) // mid + 1) for j, mid in ((1, 512), (0, 256))]


def long_list() -> Iterator[str]:
    """A lone list with plain bits."""
    vocab_size = 3000
    profile = tw.Profile(vocab_size=vocab_size, precision="log2/0", entropy="range")
    ids = [i * (i + 31) // 9 for i in range(150)]
    codes = [0 if i % 3 == 0 else 1 + i % 4 for i in range(150)]
    q = make_list(vocab_size, "log2/0", ids, codes)
    data = tw.encode_list(q, profile)
    trace = traced(ref.decode_list, data, profile_value(profile))
    if trace.value != list_value(q):
        raise RuntimeError("the decoders differ")
    numbers = [codes.count(code) for code in range(max(codes) + 1)]
    yield "## 3. A long list: flush, gaps, prefix codes"
    yield ""
    yield from said(
        f"A lone list of K = 150 ids, V = {vocab_size}, `log2/0`; id number i, from 0, is floor(i * (i + 31) / 9), "
        "and its code is 0 if 3 divides i, else 1 + i mod 4. "
        f"So the ids start with {', '.join(map(str, ids[:SHOWN]))} and end with {ids[-1]}; the codes "
        f"start with {', '.join(map(str, codes[:SHOWN]))}, and the numbers of entries with code 0, 1, ... are u = "
        f"{', '.join(map(str, numbers))}. Section 5.4."
    )
    yield from block(hexed(data))
    yield from said(
        "K > 128, so the symbols are the size and the lengths of the codewords ([RLIST-13]); the ids are gaps, "
        "because 150 > 128 and 3000 > 1024 ([RLIST-2])."
    )
    lengths = ref.huffman(codes)
    meanings = ["e = 7, so K is 128 to 255", "K is above 128", "K - 129 = 21"]
    left = 1 << 14
    for code, length in enumerate(lengths):
        meanings.append(f"l[{code}] = {length}; r was {left}")
        left -= 1 << 14 - length if length else 0
    yield from symbols_of(trace.symbols, meanings)
    yield from said("r is 0 now, so there are no more lengths. The symbols end here, for the plain bits ([RANGE-6]):")
    yield from ending_of(trace.endings[0], data)
    yield from gaps_of(trace, ids, vocab_size)
    yield from codewords_of(trace, codes, lengths)
    yield from said(
        "Then come 0 bits up to the next byte, and the range coder starts anew behind it, with no symbols: "
        "[RANGE-5] takes count = 0, so there are no more bytes. "
        "150 entries are fewer than 256: [RLIST-11] asks for no bytes."
    )


def some_of(count: int) -> list[int]:
    """The first and the last few."""
    return [*range(SHOWN), *range(count - SHOWN, count)]


def gaps_of(trace: Trace, ids: Sequence[int], vocab_size: int) -> Iterator[str]:
    """[RLIST-14] in a table."""
    fields = iter([found for found in trace.fields if found.reader == "by_gaps"])
    mean, before = vocab_size // (2 * len(ids)), -1
    rows = []
    for i, id_ in enumerate(ids):
        first = one = next(fields)
        zeros = ""
        while one.bits == "0":
            zeros, one = zeros + "0", next(fields)
        rest = next(fields)
        k, gap = (9 * mean >> 8).bit_length(), id_ - before - 1
        rows.append(
            (i, id_, gap, mean, k, gap >> k, first.first, f"`{zeros}1 {rest.bits}`".replace(" `", "`"), rest.value)
        )
        mean += min(gap, (mean >> 1) + 8) - (mean >> 4)
        before = id_
    shown = some_of(len(rows))
    yield from said(
        f"**Gaps** ([RLIST-14]). 2 * 150 is not above f = {vocab_size}, so these are the positions of the ids; at "
        f"first mean = {vocab_size} // 300 = {rows[0][3]} and "
        "p = -1. Bits are counted from the first byte of the list; the first and the last few:"
    )
    heads = ("", "x", "g = x - p - 1", "mean", "k", "q = g >> k", "first bit", "digits", "g - q * 2^k")
    yield from table(heads, [rows[i] for i in shown])


def codewords_of(trace: Trace, codes: Sequence[int], lengths: Sequence[int]) -> Iterator[str]:
    """[RLIST-15] in tables."""
    words, number, last = {}, 0, 0
    for length, code in sorted((length, code) for code, length in enumerate(lengths) if length):
        number <<= length - last
        words[code] = f"{number:0{length}b}"
        number, last = number + 1, length
    yield from said("**Prefix codes** ([RLIST-15]). Lengths and codewords, highest bit first:")
    yield from table(
        ("code", "entries", "length", "codeword"),
        [(code, codes.count(code), length, f"`{words[code]}`") for code, length in enumerate(lengths) if length],
    )
    bits = iter([found for found in trace.fields if found.reader == "by_codewords"])
    rows = []
    for i, code in enumerate(codes):
        read_bits = [next(bits) for _ in words[code]]
        if "".join(found.bits for found in read_bits) != words[code]:
            raise RuntimeError("another codeword was read")
        rows.append((i, code, read_bits[0].first, f"`{words[code]}`"))
    yield from table(("", "code", "first bit", "digits"), [rows[i] for i in some_of(len(rows))])


# ------------------------------------------------------------------------------------------------------ a scalar round


def number(value: Fraction) -> str:
    """Ten digits."""
    return f"{float(value):.10g}"


def scalar_round() -> Iterator[str]:
    """A DRAFT_SCALAR of which a token is rejected, and what follows."""
    profile = tw.Profile(vocab_size=4, entropy="none")
    q = [[0.25, 0.5, 0.125, 0.125], [0.1, 0.3, 0.3, 0.3]]
    p = [[0.5, 0.25, 0.125, 0.125], [0.7, 0.2, 0.05, 0.05], [0.25, 0.25, 0.25, 0.25]]
    tokens, prefix = [1, 2], (3, 1)
    codes = [ref.up(Fraction(row[token])) for row, token in zip(q, tokens, strict=True)]
    draft = tw.Draft(
        round=0,
        prefix_length=len(prefix),
        prefix_hash=tw.prefix_hash(prefix),
        tree=tw.TokenTree.chain(tokens),
        evidence=tw.ScalarEvidence(tuple(codes)),
    )
    data, trace = read(draft, profile)
    yield "## 4. A round of DRAFT_SCALAR, with a rejection"
    yield ""
    yield from said("V = 4, prefix 3 1, round 0. Sections 6.6, 6.7. The device has sampled 1 and then 2, from")
    yield from table(
        ("after", "q", "token", "UP(q(x))", "G"),
        [
            (place, ", ".join(map(str, row)), x, code, number(ref.grid(code)))
            for place, row, x, code in zip(("the prefix", "node 0"), q, tokens, codes, strict=True)
        ],
    )
    labels = [*HEADER, *PLACE, "count", "token", "token", "code", "code", "padding, [BIT-4]"]
    labels[0] += ": 0x13, DRAFT_SCALAR"
    yield from fields_of(trace, labels, data)
    uniforms = [0.25, 0.9, 0.4, 0.125, 0.3, 0.9]
    yield from said(
        f"The edge has p, and the random numbers u = {', '.join(map(str, uniforms))}. Token by token, with s = "
        "G(DOWN(p(x))):"
    )
    rows = []
    for node, (x, code) in enumerate(zip(tokens, codes, strict=True)):
        low = ref.down(Fraction(p[node][x]))
        share = min(Fraction(1), ref.grid(low) / ref.grid(code))
        kept = Fraction(uniforms[node]) < share
        rows.append(
            (
                node,
                ", ".join(map(str, p[node])),
                x,
                low,
                number(ref.grid(low)),
                number(share),
                uniforms[node],
                "accepted" if kept else "rejected",
            )
        )
    if [row[-1] for row in rows] != ["accepted", "rejected"]:
        raise RuntimeError("another round")
    yield from table(("node", "p", "x", "DOWN(p(x))", "s", "min(1, s / G(c))", "u", ""), rows)
    left = uniforms[:]
    answer = ref.verify_chain(trace.value, p, left, proposals=2)
    if left:
        raise RuntimeError("random numbers are left")
    yield from proposals_of(answer, p[1], q[1], uniforms[2:], profile)


def proposals_of(
    answer: ref.Json, p: Sequence[float], q: Sequence[float], uniforms: Sequence[float], profile: tw.Profile
) -> Iterator[str]:
    """The edge's proposals, and which one the device takes."""
    found = tuple(
        tw.Proposal(token, code, bool(up))
        for token, code, up in zip(answer["tokens"], answer["codes"], answer["ups"], strict=True)
    )
    message = tw.Proposals(round=answer["round"], node=answer["node"], batch=answer["batch"], proposals=found)
    data, trace = read(message, profile)
    yield from said(
        "Node 1 is rejected, so the edge proposes m = 2 tokens of p after node 0 ([PROP-1]): y is the smallest id "
        "with p[0] + ... + p[y] > u; `ups` is 0 if the next u "
        "is below lo * (hi - p(y)) / (p(y) * (hi - lo)), with lo = G(code) and hi = G(code - 1)."
    )
    rows = []
    for i, proposal in enumerate(found):
        exact, lo, hi = Fraction(p[proposal.token]), ref.grid(proposal.code), ref.grid(proposal.code - 1)
        chance = lo * (hi - exact) / (exact * (hi - lo))
        drawn, settled = uniforms[2 * i : 2 * i + 2]
        row = (drawn, proposal.token, proposal.code, number(lo), number(hi), number(chance), settled, int(proposal.up))
        rows.append(row)
    yield from table(("u", "y", "code", "lo", "hi", "probability of 0", "u", "ups"), rows)
    labels = [*HEADER, "round", "node + 1: node 0 is the last accepted one", "batch", "count - 1", "token", "token"]
    labels += ["code", "code", "ups", "ups", "padding, [BIT-4]"]
    labels[0] += ": 0x09, VERDICT_PROPOSALS"
    yield from fields_of(trace, labels, data)
    own = [0.95, 0.5]
    left = own[:]
    taken = ref.take(trace.value, [Fraction(part) for part in q], left)
    if taken != 1 or left:
        raise RuntimeError("another proposal is taken")
    yield from said(
        f"The device, with q after node 0 and random numbers of its own, {own[0]} and {own[1]} ([PROP-2]); z is hi "
        "where `ups` is 1, else lo:"
    )
    tried = []
    for u, proposal in zip(own, found, strict=True):
        q_y, z = Fraction(q[proposal.token]), ref.grid(proposal.code - proposal.up)
        t = 1 - q_y * min(Fraction(1), ref.grid(proposal.code) / ref.grid(ref.up(q_y))) / z
        tried.append((proposal.token, number(q_y), number(z), number(t), u, "taken" if u < t else "not taken"))
    yield from table(("y", "q(y)", "z", "t(y)", "u", ""), tried)
    prefix = (3, 1, 1, found[taken].token)
    following = tw.Draft(
        round=1,
        prefix_length=len(prefix),
        prefix_hash=tw.prefix_hash(prefix),
        tree=tw.TokenTree([], []),
        evidence=tw.ScalarEvidence(()),
        extensions=(tw.Extension(1, bytes([taken])),),
    )
    data, trace = read(following, profile)
    yield from said(
        f"So the prefix is now {' '.join(map(str, prefix))}. The next draft names the proposal by its position, "
        f"{taken} ([PROP-5]); here it is an empty one:"
    )
    labels = [*HEADER, "count of extensions", "type", "length", "data: the position", *PLACE, "count", "padding"]
    labels[0] += ": 0x13, DRAFT_SCALAR"
    yield from fields_of(trace, labels, data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
