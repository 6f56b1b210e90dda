"""Cases of lists.json and frames.json under the entropy coder ``zstd``.

Spec section 3.5.  Streams are put together here from raw and RLE blocks, so that they do not change with a library's
version; the few that a library compressed are kept as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import tslt_wire as tw
from spec.vectorgen.tools import Bits, Case, Group, Json, list_value, make_list, message_value, sealed
from tslt_wire.coding.wide_fields import WideWriter
from tslt_wire.frames.kinds import row_of
from tslt_wire.lists.list_codec import write_list

NOTES = {
    "compressed": "a compressed body or list: its value need not encode to these very bytes",
    "lenient": "RFC 8878 does not allow this stream: a decoder may also refuse it, with bad_compression ([ZSTD-6])",
}
MAGIC = bytes.fromhex("28b52ffd")
SKIPPABLE = bytes.fromhex("502a4d1802000000abcd")
MAX_BLOCK = 1 << 17
RAW, RLE, COMPRESSED, RESERVED = range(4)
SOME = 8
"""Runs of this many bytes become RLE blocks."""
PROMPT, DRAFT = b"\x83", b"\x90"
V = 32000

KEPT_PROMPT = (
    "83de0228b52ffd605e00150300840200010203040506070300a9011c00010505004b0109000c002c031c002c001c00db0e6b0009000c001b"
    "a0f0f567cf103c85f57db9f91ebc723c669b066c944ff22af2c85de163a247877825f977f658c43657e5412662038e7660c81c48cef114a1"
    "4d82cd"
)
"""What libzstd 1.5.7 wrote at level 5."""
KEPT_LIST = (
    "01da0428b52ffd605a011d0d007415ab02ca05aa60cd9addfa53339d180b8dad33ca1a02f60696d303a68038ea18e628d3daf61e00222ec6"
    "235a9a50c625e0dd52fafd8a2ba028031d3ab300ad9a9a13f3530addf0b30afddae6229a363336960b2830cd2d38ba350bf610fd6d153855"
    "060de013152016ed10f30dcd4a2ddd2ba6fd1d1e2efa9a10d61a3be60e333202da1bfdbde6b0d6d326caf6c02e13baca60034a1a9d368302"
    "5b181d602a10121630f3a3cd323d0026235620b335b38a782018cd0d120a33f32033cd362305e0adea32e0f63a08483a86226d2508a03ad0"
    "c62a124d5ac0f3a6100e330a0d9a139a9613a37305c37d42b016401d25d0ea182b0e96f6da134a2dda06365a061d1d1bfdfdbdc09aca1d0e"
    "ea1be3aa3362a60dd64d66d3131e08151b43a3100a0a7eea1e1b0b3dcd303a3806d62b56b6c0c1c0c0bfc0c0c0c0bfc0c1c1bfc0c1c0c1c1"
    "c0c1c0c0c1c1c1c0c000c0c0c1c1bfc1c1bec0c0c0c025a81167d862fd7f034002a5e0d9011028c6ccd801c81c24d665654388c4442a78f8"
    "4f346e8263fa8201883e00a84227f8039143cf8017c9a459dbc83b279da87bea96c7c42647242d6a"
)
"""The same, of a list with K = V = 300 at bf16."""


def block(kind: int, data: bytes, *, last: bool = False, size: int | None = None) -> bytes:
    """A block; an RLE block has one byte of data and a ``size``."""
    count = len(data) if size is None else size
    return (last | kind << 1 | count << 3).to_bytes(3, "little") + data


def blocks(content: bytes) -> bytes:
    """``content`` in raw and RLE blocks."""
    parts: list[tuple[int, bytes]] = []
    for value, run in groupby(content):
        count = len(list(run))
        if count >= SOME:
            parts += [(min(MAX_BLOCK, count - at), bytes([value])) for at in range(0, count, MAX_BLOCK)]
        elif parts and parts[-1][0] == 0:
            parts[-1] = (0, parts[-1][1] + bytes([value]) * count)
        else:
            parts.append((0, bytes([value]) * count))
    found = b""
    for i, (count, data) in enumerate(parts):
        last = i + 1 == len(parts)
        found += block(RLE, data, last=last, size=count) if count else block(RAW, data, last=last)
    return found


def head(size: int, *, flags: int = 0, window: int | None = None, size_bytes: int = 0) -> bytes:
    """A zstd frame's header: a single segment, unless there is a ``window`` descriptor."""
    width = size_bytes or (1 if size < 256 and window is None else 2 if 256 <= size < 65792 else 4)
    code = {1: 0, 2: 1, 4: 2, 8: 3}[width]
    descriptor = code << 6 | (0x20 if window is None else 0) | flags
    count = size - 256 if width == 2 else size
    return MAGIC + bytes([descriptor]) + (b"" if window is None else bytes([window])) + count.to_bytes(width, "little")


def stream(content: bytes) -> bytes:
    """``content`` as a zstd frame."""
    return head(len(content)) + blocks(content)


def varint(value: int) -> bytes:
    """A varint."""
    return Bits().varint(value).done()


def compressed(content: bytes) -> bytes:
    """A wide body or list, compressed: its size and the stream."""
    return varint(len(content)) + stream(content)


def wide_body(message: tw.Message, profile: tw.Profile) -> bytes:
    """The wide body of ``message``."""
    out = WideWriter()
    row_of(message).write(out, message, profile)
    return out.finish()


def wide_list(q: tw.SparseDistribution) -> bytes:
    """The wide form of a list."""
    out = WideWriter()
    write_list(out, q, tw.Profile(vocab_size=q.vocab_size))
    return out.finish()


def _group(vocab_size: int, decode: Callable[..., object], precision: str = "log2/2", **limits: int) -> Group:
    return Group(tw.Profile(vocab_size=vocab_size, precision=precision, entropy="zstd"), decode, limits)


# ---------------------------------------------------------------------------------------------------------------- lists


def build_lists() -> list[Json]:
    """Groups of lists.json."""
    groups = []
    for vocab_size, precision, ids, codes, name in (
        (300, "f16", range(300), [0xBC00] * 299 + [0], "dense"),
        (300, "bf16", range(300), [0xBF80] * 100 + [0] + [0xC000] * 199, "dense"),
        (300, "f32", range(300), [0] + [0xBF800000] * 299, "dense"),
        (300, "log2/4", range(300), [0] + [480] * 299, "dense"),
        (32000, "log2/2", range(1000, 1400), [0] * 200 + [9] * 200, "neighbours"),
        (1 << 20, "log2/2", range(5, 1 << 20, 4000), [0] * 263, "far"),
    ):
        group = _group(vocab_size, tw.decode_list, precision)
        q = make_list(vocab_size, precision, list(ids), codes)
        id_ = f"zstd/list/{vocab_size}/{precision.replace('/', '-')}"
        data = b"\1" + compressed(wide_list(q))
        group.add(Case(f"{id_}/{name}", f"{len(q)} tokens", data, list_value(q), None, ("compressed",)))
        few = make_list(vocab_size, precision, [7, 9], [0, 0])
        data = tw.encode_list(few, group.profile)
        group.add(Case(f"{id_}/packed", "two tokens, packed", data, list_value(few), None, ()))
        groups.append(group)
    kept = bytes.fromhex(KEPT_LIST)
    value = list_value(tw.decode_list(kept, groups[1].profile))
    groups[1].add(Case("zstd/list/300/bf16/kept", "as libzstd 1.5.7 compressed it", kept, value, None, ("compressed",)))
    _bad_lists(groups[4])
    return [group.to_json() for group in groups]


def _bad_lists(group: Group) -> None:
    q = make_list(V, "log2/2", list(range(1000, 1400)), [0] * 200 + [9] * 200)
    good = wide_list(q)
    # count - 1; two planes of 400 bytes of ids; width; one plane of codes
    ids, width, codes = 2, 802, 803

    def changed(at: int, value: int) -> bytes:
        return good[:at] + bytes([value]) + good[at + 1 :]

    last = changed(ids + 399, 137)
    last = last[: width - 1] + bytes([119]) + last[width:]  # a gap of 30,601 after 1,398
    few = tw.encode_list(make_list(V, "log2/2", [7, 9], [0, 0]), group.profile)
    for name, note, data, error in (
        ("nothing", "no bytes", b"", "truncated"),
        ("first-byte", "starts with 2", b"\2" + few[1:], "reserved_bits"),
        ("first-bit", "starts with 128", b"\x80" + few[1:], "reserved_bits"),
        ("packed-tail", "a byte after a packed list", few + b"\0", "trailing_bytes"),
        ("packed-as-compressed", "a packed list after 1", b"\1" + few[1:], "bad_compression"),
        ("no-stream", "a size alone", b"\1\x10", "truncated"),
        ("gap", "a gap that leads to an id above V", b"\1" + compressed(changed(ids + 400, 255)), "bad_list"),
        ("gap-last", "the last id is V", b"\1" + compressed(last), "bad_list"),
        ("width-loose", "5 bits for codes up to 9", b"\1" + compressed(changed(width, 5)), "non_canonical"),
        ("width-wide", "codes of 8 bits", b"\1" + compressed(changed(width, 8)), "out_of_range"),
        ("width-padding", "a bit between width and codes", b"\1" + compressed(changed(width, 0x14)), "reserved_bits"),
        ("code-wide", "code 16 of 4 bits", b"\1" + compressed(changed(codes + 399, 16)), "non_canonical"),
        ("code-over", "code 255 of 4 bits", b"\1" + compressed(changed(codes + 399, 255)), "non_canonical"),
        ("short", "a code is missing", b"\1" + compressed(good[:-1]), "truncated"),
        ("long", "a byte after the codes", b"\1" + compressed(good + b"\0"), "trailing_bytes"),
    ):
        group.refuse(f"zstd/list/{V}/log2-2/{name}", note, data, error)


# --------------------------------------------------------------------------------------------------------------- frames


def build_frames() -> list[Json]:
    """Groups of frames.json."""
    large, small, huge = _group(V, tw.decode), _group(300, tw.decode), _group(1 << 20, tw.decode)
    limited = _group(V, tw.decode, max_frame_bytes=210)
    none = Group(tw.Profile(vocab_size=V), tw.decode, {})
    ranged = Group(tw.Profile(vocab_size=V, entropy="range"), tw.decode, {})
    _prompts(large)
    _drafts(small)
    _drafts(huge)
    good = sealed(PROMPT + compressed(wide_body(_zeros(100), large.profile)))
    _bad_flags_and_sizes(large)
    _bad_headers(large)
    _bad_blocks(large)
    _bad_bodies(large)
    _windows(large)
    wide_limit = _group(V, tw.decode, max_frame_bytes=1 << 24)
    over = PROMPT + varint((1 << 23) + 1) + head((1 << 23) + 1)
    wide_limit.refuse(f"zstd/frame/{V}/segment-max", "a single segment of 2^23 + 1", sealed(over), "limit_exceeded")
    other = PROMPT + varint(1 << 23) + head((1 << 23) + 1)
    note = "a single segment of 2^23 + 1 bytes where `size` says 2^23"
    wide_limit.refuse(f"zstd/frame/{V}/segment-other", note, sealed(other), "bad_compression", "order")
    limited.refuse(f"zstd/frame/{V}/limit", "211 bytes of content where 210 are allowed", good, "limit_exceeded")
    none.refuse(f"zstd/frame/{V}/other-none", "a compressed PROMPT without zstd", good, "reserved_bits")
    ranged.refuse(f"zstd/frame/{V}/other-range", "a compressed PROMPT under range", good, "reserved_bits")
    return [group.to_json() for group in (large, small, huge, limited, wide_limit, none, ranged)]


def _zeros(count: int) -> tw.Prompt:
    return tw.Prompt(tokens=(0,) * count)


def _accept(group: Group, name: str, note: str, message: tw.Message, data: bytes, *flags: str) -> None:
    if tw.decode(data, group.profile) != message:
        raise RuntimeError(f"{name} is another message")
    id_ = f"zstd/frame/{group.profile.vocab_size}/{name}"
    group.add(Case(id_, note, data, message_value(message), None, flags))


def _prompts(group: Group) -> None:
    profile, zeros = group.profile, _zeros(100)
    body = wide_body(zeros, profile)
    size, at = varint(len(body)), blocks(body)
    packed = tw.Prompt(tokens=(1, 2, 3), keep=7)
    _accept(group, "prompt-packed", "a short PROMPT", packed, tw.encode(packed, profile))
    verdict = tw.Verdict(round=1, node=2, token=3)
    _accept(group, "verdict", "a VERDICT, which is never compressed", verdict, tw.encode(verdict, profile))
    long = tw.encode(zeros, tw.Profile(vocab_size=V))
    _accept(group, "prompt-long-packed", "100 tokens, packed all the same", zeros, long, "compressed")
    for name, note, data in (
        ("example", "the example of section 3.5", size + stream(body)),
        ("window", "a window of 1 KiB", size + head(211, window=0, size_bytes=4) + at),
        ("window-8m", "a window of 8 MiB", size + head(211, window=13 << 3, size_bytes=4) + at),
        ("size-8", "8 bytes for the content's size", size + head(211, size_bytes=8) + at),
        ("no-last", "an empty last block", size + head(211) + _not_last(at) + block(RAW, b"", last=True)),
    ):
        _accept(group, f"prompt-{name}", note, zeros, sealed(PROMPT + data), "compressed")
    kept = bytes.fromhex(KEPT_PROMPT)
    _accept(group, "prompt-kept", "as libzstd 1.5.7 compressed it", tw.decode(kept, profile), kept, "compressed")
    shortest = _shortest(profile)
    data = sealed(PROMPT + compressed(wide_body(shortest, profile)))
    _accept(group, "prompt-shorter", "one byte shorter than packed", shortest, data, "compressed")


def _not_last(found: bytes) -> bytes:
    """The blocks of ``_zeros``, the last of which, of 4 bytes, says that another follows."""
    return found[:-4] + bytes([found[-4] & 0xFE]) + found[-3:]


def _shortest(profile: tw.Profile) -> tw.Prompt:
    """The PROMPT of zeros that is just worth compressing."""
    count = 1
    while len(compressed(wide_body(_zeros(count), profile))) >= len(tw.encode(_zeros(count), NONE)) - 5:
        count += 1
    return _zeros(count)


NONE = tw.Profile(vocab_size=V)


def _drafts(group: Group) -> None:
    vocab_size, profile = group.profile.vocab_size, group.profile
    ids = list(range(200, 300)) if vocab_size == 300 else list(range(0, vocab_size, 10000))
    far = {"f32": 0xBF800000, "f16": 0xBC00, "bf16": 0xBF80}
    for precision in tw.Precision:
        codes = [0] + [far.get(precision, 3)] * (len(ids) - 1)
        lists = {
            -1: make_list(vocab_size, precision, ids, codes),
            0: make_list(vocab_size, precision, [5], [0]),
            1: make_list(vocab_size, precision, ids[1:], codes[:-1]),
        }
        # LEVELS, so the first column does not start on a byte.
        tree = tw.TokenTree([ids[1], ids[0], 5, ids[2]], [-1, -1, 0, 1])
        draft = tw.Draft(
            round=7, prefix_length=120, prefix_hash=1, tree=tree, evidence=tw.ListEvidence(lists, replacement=True)
        )
        name = precision.value.replace("/", "-")
        note = f"lists of {len(ids)}, 1 and {len(ids) - 1} tokens"
        data = sealed(DRAFT + compressed(wide_body(draft, profile)))
        _accept(group, f"draft-{name}", note, draft, data, "compressed")
        if precision == "f16" and vocab_size == 300:
            draft = tw.Draft(
                round=7,
                prefix_length=120,
                prefix_hash=1,
                tree=tree,
                evidence=tw.ListEvidence(lists, replacement=True),
                extensions=(tw.Extension(6, b"abc"),),
            )
            data = sealed(b"\xd0\x01\x06\x03abc" + compressed(wide_body(draft, profile)))
            _accept(group, "draft-ext", "extensions are never compressed", draft, data, "compressed", "extension")
    few = tw.Draft(
        round=7,
        prefix_length=120,
        prefix_hash=1,
        tree=tw.TokenTree([5], [-1]),
        evidence=tw.ListEvidence({-1: make_list(vocab_size, "log2/2", [5], [0])}),
    )
    _accept(group, "draft-packed", "one token", few, tw.encode(few, profile))


def _refuser(group: Group) -> Callable[..., None]:
    def refuse(name: str, note: str, content: bytes, error: str, *flags: str) -> None:
        group.refuse(f"zstd/frame/{V}/{name}", note, sealed(content), error, *flags)

    return refuse


def _bad_flags_and_sizes(group: Group) -> None:
    refuse, body = _refuser(group), wide_body(_zeros(100), group.profile)
    size, at = varint(211), blocks(body)
    whole = PROMPT + size + head(211) + at
    for name, kind in (("hello", 0x81), ("welcome", 0x82), ("error", 0x84), ("bye", 0x85), ("verdict", 0x88)):
        refuse(f"flag-{name}", f"a compressed {name.upper()}", bytes([kind]) + whole[1:], "reserved_bits")
    refuse("flag-unknown", "an unknown kind, compressed", b"\xbf" + whole[1:], "reserved_bits", "order")
    refuse("no-size", "no size", PROMPT, "truncated")
    refuse("size-long", "a size in a varint that is not the shortest", PROMPT + b"\xd3\x81\x00", "non_canonical")
    refuse("size-alone", "a size and no stream", PROMPT + size, "truncated")
    refuse("bomb-size", "2^32 - 1 bytes of content", PROMPT + varint((1 << 32) - 1) + stream(body), "limit_exceeded")
    refuse("bomb-limit", "4 MiB and one byte", PROMPT + varint((1 << 22) + 1), "limit_exceeded", "order")
    bomb = block(RLE, b"\0", size=MAX_BLOCK) * 32 + block(RLE, b"\0", last=True, size=1)
    refuse("bomb-blocks", "blocks of 4 MiB for 211 bytes", PROMPT + size + head(211) + bomb, "bad_compression")
    start = bytes(8) + b"\1"  # transcript and epoch
    most = block(RAW, start) + block(RLE, b"\0", size=MAX_BLOCK) * 31
    most += block(RLE, b"\0", last=True, size=MAX_BLOCK - len(start))
    full = PROMPT + varint(1 << 22) + head(1 << 22) + most
    refuse("bomb-full", "4 MiB of zeros: a PROMPT without tokens, and bytes after it", full, "trailing_bytes")
    refuse("bomb-over", "the same and one byte", full[:-4] + bomb[-8:], "bad_compression")
    refuse("size-less", "size 210, content 211", PROMPT + varint(210) + stream(body), "bad_compression")
    refuse("size-more", "size 212, content 211", PROMPT + varint(212) + stream(body), "bad_compression")
    refuse("size-0", "size 0", PROMPT + b"\0" + head(0) + block(RAW, b"", last=True), "bad_compression")


def _bad_headers(group: Group) -> None:
    refuse, body = _refuser(group), wide_body(_zeros(100), group.profile)
    size, at = varint(211), blocks(body)

    def with_head(start: bytes) -> bytes:
        return PROMPT + size + start + at

    said = head((1 << 32) - 1, size_bytes=8)
    refuse("bomb-said", "the zstd frame says 4 GiB", with_head(said), "bad_compression")
    refuse("said-less", "the zstd frame says 210 bytes", with_head(head(210)), "bad_compression")
    refuse("both-less", "both say 210 bytes", PROMPT + varint(210) + head(210) + at, "bad_compression")
    refuse("both-more", "both say 212 bytes", PROMPT + varint(212) + head(212) + at, "bad_compression")
    refuse("said-nothing", "no content size", with_head(MAGIC + b"\0\x58"), "bad_compression")
    refuse("magic", "another magic", with_head(b"\x27" + head(211)[1:]), "bad_compression")
    refuse("skippable", "a skippable frame", PROMPT + size + SKIPPABLE, "bad_compression")
    refuse("skippable-first", "one before the frame", PROMPT + size + SKIPPABLE + stream(body), "bad_compression")
    for bits, name in ((1, "dictionary-1"), (2, "dictionary-2"), (3, "dictionary-4")):
        start = head(211)
        start = start[:4] + bytes([start[4] | bits]) + bytes([1] * (1, 2, 4)[bits - 1]) + start[5:]
        refuse(name, "a dictionary id", with_head(start), "bad_compression")
    refuse("checksum", "a content checksum", with_head(head(211, flags=4)) + bytes(4), "bad_compression")
    refuse("reserved", "the reserved bit", with_head(head(211, flags=8)), "bad_compression")
    refuse("unused", "the unused bit", with_head(head(211, flags=16)), "bad_compression")
    refuse("window", "a window of 9 MiB", with_head(head(211, window=13 << 3 | 1, size_bytes=4)), "limit_exceeded")
    refuse("window-max", "the largest window", with_head(head(211, window=0xFF, size_bytes=4)), "limit_exceeded")
    wrong = head(212, window=0xFF, size_bytes=4)
    refuse("window-and-size", "a large window, another size", with_head(wrong), "limit_exceeded", "order")


def _bad_blocks(group: Group) -> None:
    refuse, body = _refuser(group), wide_body(_zeros(100), group.profile)
    size, at = varint(211), blocks(body)
    whole = PROMPT + size + stream(body)
    refuse("byte-after", "a byte after the frame", whole + b"\0", "trailing_bytes")
    refuse("second-frame", "a second frame", whole + stream(b"ab"), "trailing_bytes")
    refuse("second-empty", "a second, empty frame", whole + head(0) + block(RAW, b"", last=True), "trailing_bytes")
    refuse("skippable-after", "a skippable frame after the frame", whole + SKIPPABLE, "trailing_bytes")
    for cut, note in (
        (1, "the last byte is missing"),
        (4, "the last block is missing"),
        (5, "half a block"),
        (6, "a third of a block"),
        (8, "half a block header"),
        (10, "two of three blocks are missing"),
        (14, "no blocks"),
        (15, "no content size"),
        (16, "no descriptor"),
    ):
        refuse(f"cut-{cut}", note, whole[:-cut], "truncated")
    refuse("no-last", "no block says that it is the last", PROMPT + size + head(211) + _not_last(at), "truncated")
    third = head(211) + block(RESERVED, b"\0", last=True, size=1)
    refuse("block-type", "a block of type 3", PROMPT + size + third, "bad_compression")
    large = head(211) + block(RLE, b"\0", last=True, size=212)
    refuse("block-size", "a block larger than the window", PROMPT + size + large, "bad_compression")
    over = head(1 << 20) + block(RLE, b"\0", size=MAX_BLOCK + 1)
    refuse("block-max", "a block of 2^17 + 1 bytes", PROMPT + varint(1 << 20) + over, "bad_compression")
    broken = head(211) + block(COMPRESSED, b"\xff" * 20, last=True)
    refuse("broken", "a compressed block that is none", PROMPT + size + broken, "bad_compression")
    kept = bytearray(bytes.fromhex(KEPT_PROMPT)[:-4])
    refuse("kept-cut", "what libzstd wrote, a byte shorter", bytes(kept[:-1]), "truncated")


def sequence(literals: bytes, offset: int, length: int) -> bytes:
    """The inside of a compressed block: literals, all equal, and one match behind them.  RFC 8878, 3.1.1.3."""
    count = len(literals)
    section = bytes([count << 3]) + literals if count < 32 else (1 | 1 << 2 | count << 4).to_bytes(2, "little")
    section += literals[:1] if count >= 32 else b""
    ll, ll_low, ll_bits = (count, count, 0) if count < 16 else (28, 512, 9)
    ml = next(code for code in range(43, 53) if length < 3 + (2 << code - 36))
    ml_low, ml_bits = 3 + (1 << ml - 36), ml - 36
    of = (offset + 3).bit_length() - 1
    bits = Bits().put(count - ll_low, ll_bits).put(length - ml_low, ml_bits).put(offset + 3 - (1 << of), of).put(1, 1)
    return section + bytes([1, 0x54, ll, of, ml]) + bits.done()


def _windows(group: Group) -> None:
    """Blocks and offsets about a window of 1 KiB, and about the start of the content."""
    refuse, prompt = _refuser(group), _zeros(1000)
    body = wide_body(prompt, group.profile)
    size, whole, small = varint(len(body)), head(len(body)), head(len(body), window=0, size_bytes=4)
    first, rest = body[:12], len(body) - 12  # all but zeros, and zeros

    def last(literals: int, offset: int) -> bytes:
        inside = sequence(bytes(literals), offset, rest - literals)
        return PROMPT + size + whole + block(RAW, first) + block(COMPRESSED, inside, last=True)

    _accept(group, "match", "a match of one sequence", prompt, sealed(last(1, 1)), "compressed")
    refuse("offset-start", "a match that starts a byte before the content", last(1, 14), "bad_compression")
    refuse("offset-far", "one that starts 2^20 bytes before it", last(1, 1 << 20), "bad_compression")
    inside = sequence(b"\0", 1, rest - 1)
    for name, note, wrong in (
        ("empty", "a compressed block of 0 bytes", b""),
        ("cut", "a block that ends before its sequences", inside[:-2]),
        ("bits-left", "8 bits are left of the sequences", inside + b"\1"),
        ("no-end", "no bit says where the sequences end", inside[:-1] + b"\0"),
        ("mode", "the reserved bits of the modes", inside[:3] + b"\x55" + inside[4:]),
        ("repeat", "tables that are to be repeated, and are not there", inside[:3] + b"\xfc" + inside[7:]),
        ("literals", "a sequence with more literals than there are", b"\0" + inside[2:]),
    ):
        blocks_ = block(RAW, first) + block(COMPRESSED, wrong, last=True)
        refuse(f"sequence-{name}", note, PROMPT + size + whole + blocks_, "bad_compression")
    for kind, name in ((RAW, "raw"), (RLE, "rle")):
        for count in (1024, 1025):
            parts = [first, bytes(count), bytes(rest - count)]
            found = [block(RAW, parts[0])]
            for part, end in ((parts[1], False), (parts[2], True)):
                found.append(block(kind, part if kind == RAW else b"\0", last=end, size=len(part)))
            data = PROMPT + size + small + b"".join(found)
            if count > 1024:
                refuse(f"window-{name}-{count}", "a block of 1,025 bytes, a window of 1 KiB", data, "bad_compression")
            elif kind == RLE:
                note = "blocks as large as the window"
                _accept(group, f"window-{name}-{count}", note, prompt, sealed(data), "compressed")
    padded = inside + bytes(1025 - len(inside))
    data = PROMPT + size + small + block(RAW, first) + block(COMPRESSED, padded, last=True)
    refuse("window-compressed-1025", "a compressed block of 1,025 bytes", data, "bad_compression")
    part = block(RAW, first) + block(RLE, b"\0", size=1000) + block(RLE, b"\0", size=500)
    beyond = part + block(COMPRESSED, sequence(b"", 1400, rest - 1500), last=True)
    large = block(RAW, first) + block(COMPRESSED, sequence(bytes(1000), 1, rest - 1000), last=True)
    for name, note, after in (
        ("window-offset", "a match 1,400 bytes back, a window of 1 KiB", beyond),
        ("window-content", "a compressed block that stands for 2,000 bytes, a window of 1 KiB", large),
    ):
        data = sealed(PROMPT + size + small + after)
        id_ = f"zstd/frame/{V}/{name}"
        # Not checked here: it may be refused, too.
        group.cases.append(Case(id_, note, data, message_value(prompt), None, ("compressed", "lenient")))


def _bad_bodies(group: Group) -> None:
    refuse, profile = _refuser(group), group.profile
    longer = _zeros(len(_shortest(profile).tokens) - 1)
    same = PROMPT + compressed(wide_body(longer, profile))
    refuse("not-shorter", "as long as the packed body", same, "non_canonical")
    three = tw.Prompt(tokens=(1, 2, 3))
    refuse("longer", "longer than the packed body", PROMPT + compressed(wide_body(three, profile)), "non_canonical")
    body = wide_body(_zeros(100), profile)
    refuse("body-cut", "a byte of the last token is missing", PROMPT + compressed(body[:-1]), "truncated")
    refuse("body-tail", "a byte after the last token", PROMPT + compressed(body + b"\0"), "trailing_bytes")
    high = body[:-2] + b"\x00\x7d"
    refuse("token", "token 32,000 of 32,000", PROMPT + compressed(high), "out_of_range")
    refuse("token-16-bits", "token 65,535", PROMPT + compressed(body[:-2] + b"\xff\xff"), "out_of_range")
    both = compressed(wide_body(three, profile) + b"\0")
    refuse(
        "longer-and-tail", "longer than the packed body, and a byte after it", PROMPT + both, "trailing_bytes", "order"
    )
    q = make_list(V, "f16", list(range(100, 200)), [0] * 100)
    tree = tw.TokenTree([100, 101, 102], [-1, -1, 0])
    draft = tw.Draft(
        round=7, prefix_length=120, prefix_hash=1, tree=tree, evidence=tw.ListEvidence({-1: q, 0: q}, replacement=True)
    )
    wide = wide_body(draft, profile)
    # round, prefix_length, prefix_hash, format, shape; then 4 bits of degrees, count - 1 at bit 4, 4 bits of padding.
    good = DRAFT + compressed(wide)
    group.add(Case(f"zstd/frame/{V}/draft-levels", "f16", sealed(good), message_value(draft), None, ("compressed",)))
    padded = wide[:7] + bytes([wide[7] | 0x80]) + wide[8:]
    refuse("padding", "a bit before the ids", DRAFT + compressed(padded), "reserved_bits")
    other = wide[:4] + bytes([wide[4] & 0xCF]) + wide[5:]
    refuse("coder-none", "a draft of the coder none", DRAFT + compressed(other), "out_of_range")
    other = wide[:4] + bytes([wide[4] & 0xCF | 0x10]) + wide[5:]
    refuse("coder-range", "a draft of the coder range", DRAFT + compressed(other), "out_of_range")
