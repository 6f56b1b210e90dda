"""Cases of frames.json and lists.json for mistakes of a decoder that all other vectors let through.

``spec/mutants.py`` found them; each comment names the mistake.
"""

from __future__ import annotations

import struct
from typing import Any

import tslt_wire as tw
from spec.vectorgen.bad_frames import draft_head
from spec.vectorgen.tools import Bits, Case, Group, Json, list_value, make_list, message_value, sealed
from spec.vectorgen.zipped import MAGIC, RAW, block, blocks, head, varint, wide_body, wide_list
from tslt_wire.lists.prior import plain_prior

NOTES = {"mutant": "only this vector tells a decoder with some one mistake, found by spec/mutants.py"}
NEW = "mutant"
LIST, MATCH, ERROR, PROMPT = 0x10, 0x11, 0x04, 0x03
SHIFTED = 0xC1ABE687
"""A code of f32 whose n of [PREC-3] is 31 * 2^16."""


class Cases:
    """Groups by profile and limits."""

    def __init__(self, decode: Any) -> None:
        self.decode = decode
        self.groups: dict[str, Group] = {}

    def group(
        self,
        vocab_size: int,
        entropy: str = "none",
        prior: str | tw.Prior = "none",
        precision: str = "log2/2",
        **limits: int,
    ) -> Group:
        """The group for these settings."""
        found = plain_prior(prior, vocab_size) if isinstance(prior, str) else prior
        key = f"{vocab_size} {entropy} {found.name if found else None} {precision} {limits}"
        profile = tw.Profile(vocab_size=vocab_size, entropy=entropy, prior=found, precision=precision)
        return self.groups.setdefault(key, Group(profile, self.decode, limits))

    def message(self, name: str, note: str, message: tw.Message, **settings: Any) -> None:
        """A valid frame."""
        group = self.group(**settings)
        data = tw.encode(message, group.profile)
        group.add(Case(f"mistake/frame/{name}", note, data, message_value(message), None, (NEW,)))

    def refuse(self, name: str, note: str, content: Bits | bytes, error: str, **settings: Any) -> None:
        """An invalid frame, of its content."""
        data = content if isinstance(content, bytes) else content.done()
        self.group(**settings).refuse(f"mistake/frame/{name}", note, sealed(data), error, NEW)

    def to_json(self) -> list[Json]:
        """The groups as they are written."""
        return [group.to_json() for group in self.groups.values()]


def build_frames() -> list[Json]:
    """Groups of frames.json."""
    cases = Cases(tw.decode)
    _layout(cases)
    _trees(cases)
    _fields(cases)
    _control(cases)
    _handshake(cases)
    _compressed(cases)
    _streams(cases)
    return cases.to_json()


def _layout(cases: Cases) -> None:
    cases.message("bye-limit", "as many bytes as are allowed", tw.Bye(), vocab_size=1, max_frame_bytes=5)
    group = cases.group(1, max_frame_bytes=3)
    group.refuse(
        "mistake/frame/four-of-three",
        "4 bytes: first the limit, then the least size",
        b"\x05\0\0\0",
        "limit_exceeded",
        NEW,
    )
    endless = Bits().put(0x08, 8).raw(b"\x80" * 5)
    cases.refuse(
        "varint-five", "five groups that say another follows, and the end", endless, "out_of_range", vocab_size=10
    )
    twice = Bits().put(MATCH | 0x40, 8).varint(2).varint(2).varint(0).varint(1).varint(2).raw(bytes(2))
    cases.refuse(
        "ext-choice-order", "types 2, 1, and 2 bytes for 1: first the order", twice, "non_canonical", vocab_size=10
    )


def _draft(tree: tw.TokenTree, **evidence: Any) -> tw.Draft:
    found = evidence.get("evidence", tw.MatchEvidence())
    return tw.Draft(round=7, prefix_length=120, prefix_hash=0xBEEF, tree=tree, evidence=found)


def _trees(cases: Cases) -> None:
    def ids(*shape: int) -> Bits:
        bits = Bits().put(MATCH, 8).varint(7).varint(5).put(0xBEEF, 16)
        for value in shape:
            bits.varint(value)
        return bits

    wide = tw.TokenTree([0] * 1024, [-1] * 1024)
    one = make_list(1, "log2/1", [0], [0])
    note = "as many nodes and leaves as the default limits allow"
    cases.message("nodes-1024", note, _draft(wide, evidence=tw.ListEvidence({-1: one}, replacement=True)), vocab_size=1)
    cases.refuse(
        "nodes-1025", "1 and 1024 nodes, 1024 leaves", ids(2 * 4 + 1, 1, 1024), "limit_exceeded", vocab_size=10
    )
    grown = [-1, -1, 0, 0, 0, 1, 1, 1]
    tree = tw.TokenTree([1, 2, 3, 4, 5, 3, 4, 5], grown)
    for limit, name in ((8, "exact"), (7, "above")):
        note = f"2 and 2 * 3 nodes of {limit}"
        if limit == len(grown):
            cases.message(f"expansion-{name}", note, _draft(tree), vocab_size=10, max_nodes=limit)
        else:
            content = tw.encode(_draft(tree), tw.Profile(vocab_size=10))[:-4]
            cases.refuse(f"expansion-{name}", note, content, "limit_exceeded", vocab_size=10, max_nodes=limit)
    cases.message("expansion-depth", "2 layers of 2", _draft(tree), vocab_size=10, max_depth=2)
    levels = tw.TokenTree([1, 2, 3], [-1, -1, 0])
    cases.message("levels-exact", "3 nodes of 3", _draft(levels), vocab_size=10, max_nodes=3)
    cases.refuse(
        "levels-first",
        "no child of the prefix, and the end",
        ids(1 * 4 + 2).put(0, 1).put(127, 7),
        "bad_tree",
        vocab_size=10,
    )
    cases.refuse(
        "levels-self", "a node that is its own parent", ids(1 * 4 + 2).put(0b10, 2).put(0, 6), "bad_tree", vocab_size=10
    )


def _fields(cases: Cases) -> None:
    nine = make_list(9, "log2/1", [3], [0], 9, plain_prior("uniform", 9))
    tree = tw.TokenTree.chain([5])
    uniform = {"vocab_size": 9, "prior": "uniform"}
    cases.message(
        "tail-9", "V - 1 is a power of two: 4 bits", _draft(tree, evidence=tw.ListEvidence({-1: nine})), **uniform
    )
    bits = draft_head().varint(4).varint(0).put(9, 5).put(3, 4).put(0, 4).put(1, 1).put(9, 4)
    cases.refuse("tail-v", "an unlisted token that is V", bits, "out_of_range", **uniform)
    small = Bits().put(LIST, 8).varint(7).varint(5).put(0xBEEF, 16).put(4, 8).varint(4).varint(2)
    cases.refuse(
        "tail-limit", "3 entries of 2, and no tail: first the limit", small, "limit_exceeded", **uniform, max_entries=2
    )
    both = make_list(9, "log2/1", [3, 5], [0, 1])
    for entropy in ("none", "range"):
        draft = _draft(tree, evidence=tw.ListEvidence({-1: both}))
        cases.message(f"entries-exact-{entropy}", "2 entries of 2", draft, vocab_size=9, entropy=entropy, max_entries=2)
    proposals = tw.Proposals(round=7, node=0, proposals=(tw.Proposal(5, 9, up=True),), batch=0)
    cases.message("proposals-9", "V - 1 is a power of two: 4 bits", proposals, vocab_size=9)
    cases.refuse(
        "reply-precision-8",
        "precision 8",
        Bits().put(0x16, 8).varint(7).put(8, 8).varint(0),
        "out_of_range",
        vocab_size=9,
    )
    prompt = tw.Prompt(transcript=bytes(8), epoch=1, keep=3, tokens=())
    cases.message("prompt-v1", "no tokens of a vocabulary of one", prompt, vocab_size=1)
    resume = tw.Resume(tokens=(), prefix_crc=0, round=0, prompt_length=0, keep=3)
    cases.message("resume-v1", "no tokens of a vocabulary of one", resume, vocab_size=1)
    ends = Bits().put(PROMPT, 8).raw(bytes(8)).varint(0)
    cases.refuse("prompt-epoch-end", "an epoch of 0, and the end: first the epoch", ends, "out_of_range", vocab_size=9)
    for tail in (1, 31):
        for entropy in ("none", "range"):
            prior = plain_prior("uniform", 9)
            found = {-1: make_list(9, "log2/1", [3, 6], [0, 2], tail, prior)}
            draft = _draft(tw.TokenTree([5, 3, 0], [-1, -1, -1]), evidence=tw.ListEvidence(found, replacement=True))
            cases.message(f"tail-{tail}-{entropy}", f"a tail of {tail}", draft, **uniform, entropy=entropy)


# ------------------------------------------------------------------------------------------------------- control maps


def _map(*pairs: tuple[str, bytes]) -> bytes:
    return bytes([0x80 + len(pairs)]) + b"".join(
        bytes([0xA0 + len(key)]) + key.encode() + value for key, value in pairs
    )


def _error(message: bytes, *, code: bytes = b"\x01") -> bytes:
    return bytes([ERROR]) + _map(("code", code), ("message", message))


def _control(cases: Cases) -> None:
    for size in (8192, 8193):
        count = size - len(_error(b"")) + 1 - 3
        note = f"a map of {size} bytes, of 8192"
        if size == 8192:
            cases.message("control-8192", note, tw.ErrorMessage(code=1, message="a" * count), vocab_size=1)
        else:
            content = _error(b"\xda" + count.to_bytes(2, "big") + b"a" * count)
            cases.refuse("control-8193", note, content, "limit_exceeded", vocab_size=1)
    long = {
        "int-cc": ("cc7f", "127 in two bytes"),
        "bin-c5": ("c500ff" + "00" * 255, "255 bytes of binary with a length of two"),
        "bin-c6": ("c6000000ff" + "00" * 255, "255 bytes of binary with a length of four"),
        "str-d9": ("d91f" + "61" * 31, "31 bytes of string with a length of one"),
        "str-da": ("da00ff" + "61" * 255, "255 bytes of string with a length of two"),
        "str-db": ("db000000ff" + "61" * 255, "255 bytes of string with a length of four"),
        "array-dc": ("dc000f" + "c0" * 15, "15 items with a length of two"),
        "array-dd": ("dd00000010" + "c0" * 16, "16 items with a length of four"),
        "map-de": ("de000f" + "".join(f"a1{97 + i:02x}c0" for i in range(15)), "15 pairs with a length of two"),
        "map-df": ("df00000010" + "".join(f"a1{97 + i:02x}c0" for i in range(16)), "16 pairs with a length of four"),
    }
    for name, (value, note) in long.items():
        cases.refuse(f"control-{name}", note, _hello(bytes.fromhex(value)), "non_canonical", vocab_size=1)
    wrong = {
        "value-c1": ("c1", "bad_control", "a first byte that is not in the table"),
        "depth-end": ("91919181a161", "bad_control", "a value at depth 5 whose first byte is missing: first the depth"),
        "array-count": ("93c1", "truncated", "3 items, 1 byte left: first the count"),
        "map-count": ("83c1", "truncated", "3 pairs, 1 byte left: first the count"),
        "map-last": ("81c0", "bad_control", "1 pair, 1 byte left, that is no string's"),
        "key-end": ("821fc0", "bad_control", "a key that is no string, and few bytes: first its kind"),
    }
    for name, (value, error, note) in wrong.items():
        cases.refuse(f"control-{name}", note, _hello(bytes.fromhex(value), last=True), error, vocab_size=1)
    fine: dict[str, tuple[Any, str]] = {
        "false": (False, "false is not true, and not nil"),
        "map-16": ({f"{chr(97 + i)}": None for i in range(16)}, "16 pairs: the least that have a length"),
        "int-53": (((1 << 53) - 1, 1 << 53, -(1 << 53)), "integers that JSON can show, and the first that it cannot"),
    }
    for name, (extra, note) in fine.items():
        cases.message(f"control-{name}", note, _hello_message({"x": extra}), vocab_size=1)


def _hello_message(extra: dict[str, Any]) -> tw.Hello:
    return tw.Hello(
        vocab_size=10,
        tokenizer=bytes(32),
        model="m",
        sampling=tw.Sampling(),
        evidence=("list",),
        precisions=("log2/2",),
        entropy=("none",),
        priors=("none",),
        limits=tw.DecodeLimits(),
        extra=extra,
    )


def _hello(value: bytes, *, last: bool = False) -> bytes:
    """A HELLO with another value for one more field, in the place of the last one and all that follows if ``last``."""
    content = tw.encode(_hello_message({"zz": None}), tw.Profile(vocab_size=1))[:-4]
    if not content.endswith(b"\xa2zz\xc0") and last:
        raise RuntimeError("another field is the last one")
    return content.replace(b"\xa2zz\xc0", b"\xa2zz" + value)


# ---------------------------------------------------------------------------------------------------------- handshake


def _welcome(**more: Any) -> tw.Welcome:
    fields: dict[str, Any] = {
        "version": 1,
        "vocab_size": 10,
        "tokenizer": bytes(32),
        "transcript": bytes(16),
        "model": "m",
        "evidence": ("list",),
        "precisions": ("log2/2",),
        "entropy": "none",
        "prior": "none",
        "limits": tw.DecodeLimits(),
        "context": 0,
        "eos_tokens": (),
        "coupling": b"",
    }
    return tw.Welcome(**fields | more)


def _handshake(cases: Cases) -> None:
    for size in (1, 1 << 20):
        cases.message(f"welcome-v{size}", f"V = {size}", _welcome(vocab_size=size), vocab_size=1)
    content = tw.encode(_welcome(), tw.Profile(vocab_size=1))[:-4]
    for name, field, value, note in (
        ("v0", b"\xaavocab_size", b"\0", "V = 0"),
        ("v-large", b"\xaavocab_size", b"\xce" + struct.pack(">I", (1 << 20) + 1), "V = 2^20 + 1"),
        ("context", b"\xa7context", b"\xff", "a context of -1"),
        ("eos", b"\xaaeos_tokens", b"\x91\xff", "an end token of -1"),
    ):
        old = field + (b"\x0a" if "vocab" in field.decode("latin1") else b"\0" if name == "context" else b"\x90")
        cases.refuse(f"welcome-{name}", note, content.replace(old, field + value), "out_of_range", vocab_size=1)
    note = "6 bytes, of which 4 are not the magic"
    cases.refuse("hello-magic-6", note, b"\x01tslt\1\1", "not_tslt", vocab_size=1)


# --------------------------------------------------------------------------------------------------------- compressed


def _sized(content: bytes, total: int) -> bytes:
    """``size`` and a stream of ``content``, of ``total`` bytes: blocks are longer than they need be, and some empty."""
    start = varint(len(content)) + head(len(content))
    for raw in range(len(content)):
        rest = start + block(RAW, content[:raw]) + blocks(content[raw:])
        empty = total - len(rest)
        if empty >= 0 and empty % 3 == 0:
            return start + block(RAW, b"") * (empty // 3) + rest[len(start) :]
    raise RuntimeError(f"no stream of {total} bytes")


def _compressed(cases: Cases) -> None:
    """Wide bodies whose compressed form is one byte shorter than the packed one, and as long as it."""
    drafts = {
        f"draft-{count}": _draft(
            tw.TokenTree([0, 1, 2], [-1, -1, -1]),
            evidence=tw.ListEvidence(
                {-1: make_list(300, "log2/1", range(count), [0, *[7] * (count - 1)])}, replacement=True
            ),
        )
        for count in (60, 61, 62, 63)
    }
    prompts = {
        f"prompt-{count}": tw.Prompt(transcript=bytes(8), epoch=1, keep=0, tokens=(0,) * count)
        for count in (200, 201, 202, 203)
    }
    group = cases.group(300, "zstd")
    for name, message in (drafts | prompts).items():
        wide = wide_body(message, group.profile)
        plain = tw.encode(message, tw.Profile(vocab_size=300))[1:-4]
        kind = bytes([(LIST if name.startswith("draft") else PROMPT) | 0x80])
        note = "one byte shorter than the packed body"
        data = sealed(kind + _sized(wide, len(plain) - 1))
        group.add(Case(f"mistake/frame/{name}-shorter", note, data, message_value(message), None, (NEW, "compressed")))
        data = sealed(kind + _sized(wide, len(plain)))
        group.refuse(f"mistake/frame/{name}-equal", "as long as the packed body", data, "non_canonical", NEW)


def _streams(cases: Cases) -> None:
    """Streams with two faults, of which the first counts, or with half of a header."""
    raw = block(RAW, b"\1" * 9, last=True)
    start = head(9)
    for name, note, stream, error in (
        ("magic-more", "another magic, and a byte too many", b"\x29" + start[1:] + raw + b"\0", "bad_compression"),
        ("dictionary-more", "a dictionary, and a byte too many", head(9, flags=1) + raw + b"\0", "bad_compression"),
        ("no-size-end", "no content size, and the end", MAGIC + b"\0", "bad_compression"),
        ("header-half", "two bytes of a block's header, of a type that is reserved", start + b"\x07\0", "truncated"),
        ("type-end", "a block of a type that is reserved, without its bytes", start + b"\x4f\0\0", "bad_compression"),
    ):
        content = bytes([PROMPT | 0x80]) + varint(9) + stream
        cases.refuse(f"zstd-{name}", note, content, error, vocab_size=300, entropy="zstd")


# -------------------------------------------------------------------------------------------------------------- lists


def build_lists() -> list[Json]:
    """Groups of lists.json that are not of the entropy coder ``range``."""
    cases = Cases(tw.decode_list)
    group = cases.group(300, "zstd", precision="log2/1")
    for count in range(100, 104):
        q = make_list(300, "log2/1", range(count), [0, *[7] * (count - 1)])
        plain = len(tw.encode_list(q, tw.Profile(vocab_size=300, precision="log2/1")))
        for size, name in ((plain - 1, "shorter"), (plain, "equal")):
            data, id_ = b"\1" + _sized(wide_list(q), size), f"mistake/list/zstd-{count}-{name}"
            if name == "equal":
                group.refuse(id_, "as long as the packed list", data, "non_canonical", NEW)
            else:
                note = "one byte shorter than the packed list"
                group.add(Case(id_, note, data, list_value(q), None, (NEW, "compressed")))
    pair = make_list(10, "log2/2", [2, 7], [0, 3])
    for entropy in ("none", "range"):
        data = tw.encode_list(pair, tw.Profile(vocab_size=10, precision="log2/2", entropy=entropy))
        exact = cases.group(10, entropy, max_frame_bytes=len(data))
        exact.add(
            Case(f"mistake/list/bytes-{entropy}", "as many bytes as are allowed", data, list_value(pair), None, (NEW,))
        )
        above = cases.group(10, entropy, max_frame_bytes=len(data) - 1)
        above.refuse(f"mistake/list/bytes-{entropy}-above", "one byte more", data, "limit_exceeded", NEW)
        exact = cases.group(10, entropy, max_entries=2)
        exact.add(Case(f"mistake/list/entries-{entropy}", "2 entries of 2", data, list_value(pair), None, (NEW,)))
    for count in (200, 201):
        q = make_list(300, "log2/0", range(0, count), [i % 3 for i in range(count)])
        group = cases.group(300, precision="log2/0")
        data = tw.encode_list(q, group.profile)
        note = f"{count} ids: those of more than 200 are shown as runs"
        group.add(Case(f"mistake/list/runs-{count}", note, data, list_value(q), None, (NEW,)))
    bits = Bits().varint(1).each([2, 7], 4).each([0, SHIFTED], 32)
    group = cases.group(10, precision="f32")
    group.refuse("mistake/list/f32-shift", "a weight of 2^62 >> 63, which is 0", bits.done(), "bad_list", NEW)
    return cases.to_json()
