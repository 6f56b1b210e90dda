"""Valid cases of frames.json: whole frames of every kind.

Spec sections 3, 6 and 7.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tslt_wire as tw
from spec.vectorgen import bad_frames
from spec.vectorgen.tools import Group, Json, make_list

NOTES = {
    "tail": "the session has a prior; lists may have a tail",
    "control": "a control map",
    "extension": "the frame has extensions",
    "varint": "a boundary of the varint widths, or a varint that is not the shortest",
    "shape": "a form of tree, or a tree in another form than its own",
    "large": "a large vocabulary",
    "order": "two things are wrong; the specification says which is reported",
    "limit": "a limit of the group, reached or exceeded",
}
FINGERPRINT = bytes(range(32))
BOUNDARIES = (0, 1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455, 268435456, 4294967295)


class Frames:
    """Groups by vocabulary size and limits."""

    def __init__(self) -> None:
        self.groups: dict[tuple[int, str], Group] = {}

    def group(self, vocab_size: int, limits: dict[str, int] | None = None) -> Group:
        """The group for these settings."""
        profile = tw.Profile(vocab_size=vocab_size)
        return self.groups.setdefault((vocab_size, str(limits)), Group(profile, tw.decode, limits or {}))

    def accept(self, vocab_size: int, message: tw.Message, name: str, note: str, *flags: str, **limits: int) -> None:
        """Add a valid frame."""
        self.group(vocab_size, limits or None).accept(f"frame/{vocab_size}/{name}", note, message, *flags)

    def refuse(
        self, vocab_size: int, data: bytes, error: str, name: str, note: str, *flags: str, **limits: int
    ) -> None:
        """Add bytes that are no frame."""
        id_ = f"frame/{vocab_size}/{name}"
        self.group(vocab_size, limits or None).refuse(id_, note, data, error, *flags)


def build() -> list[Json]:
    """All groups."""
    frames = Frames()
    _rounds(frames)
    _resumptions(frames)
    _drafts(frames)
    _shapes(frames)
    _handshake(frames)
    _sampling(frames)
    _extensions(frames)
    _asked_and_named(frames)
    bad_frames.add(frames.refuse)
    return [group.to_json() for group in frames.groups.values()]


def _rounds(frames: Frames) -> None:
    for number in BOUNDARIES:
        frames.accept(
            10, tw.Verdict(round=number, node=3, token=9), f"verdict-round-{number}", "round number", "varint"
        )
    for node in (-1, 0, 126, 127, 16382, 16383, (1 << 32) - 2):
        frames.accept(10, tw.Verdict(round=1, node=node, token=0), f"verdict-node-{node}", "node", "varint")
    for size in (1, 2, 3, 256, 257, 32000, 128256, 262144, 1 << 20):
        end = tw.Verdict(round=5, node=-1, token=size - 1, end=True)
        frames.accept(size, end, "verdict-end", "the last token of the vocabulary, and the end")
        prompt = tw.Prompt(tokens=(0, size - 1, size // 2, 0), keep=3, transcript=b"\x01\x23\x45\x67\x89\xab\xcd\xef")
        frames.accept(size, prompt, "prompt", "four tokens")
    for epoch in (2, 127, 128, (1 << 32) - 1):
        frames.accept(
            10, tw.Prompt(tokens=(4,), epoch=epoch), f"prompt-epoch-{epoch}", "the number of a PROMPT", "varint"
        )
    frames.accept(10, tw.Prompt(tokens=()), "prompt-empty", "no tokens")
    frames.accept(10, tw.Prompt(tokens=(1, 2), keep=(1 << 32) - 1), "prompt-keep", "the largest keep", "varint")
    for count in (127, 128):
        tokens = tuple(i * 37 % 32000 for i in range(count))
        frames.accept(32000, tw.Prompt(tokens=tokens), f"prompt-{count}", f"{count} tokens", "varint")
    frames.accept(10, tw.Bye(), "bye", "nothing to say")


def _resumptions(frames: Frames) -> None:
    """[RESUME-1]"""
    for size in (1, 2, 300, 32000, 1 << 20):
        tokens = (0, size - 1, size // 2)
        plain = tw.Resume(tokens=tokens, prefix_crc=0x89ABCDEF, round=7, prompt_length=2, transcript=bytes(range(8)))
        frames.accept(size, plain, "resume", "three tokens, and nothing is known of the open round")
    for number in BOUNDARIES:
        same: Json = dict.fromkeys(("prefix_crc", "round", "prompt_length", "keep"), number)
        given = tw.Resume(tokens=(9,), epoch=max(1, number), **same)
        frames.accept(10, given, f"resume-numbers-{number}", "all numbers", "varint")
    for node, batch in ((-1, 0), (-1, 1), (125, 127), (126, 128), ((1 << 32) - 3, (1 << 32) - 1)):
        known = tw.Resume(
            tokens=(), prefix_crc=0, round=1, prompt_length=1, keep=3, rejection=tw.Rejection(node, batch)
        )
        note = f"a token after node {node} was rejected, batch {batch} is awaited"
        frames.accept(10, known, f"resume-rejected-{node}-{batch}", note, "varint")
    ended = tw.Resume(tokens=(1,), prefix_crc=0, round=1, prompt_length=1, ended=True)
    frames.accept(10, ended, "resume-ended", "the text has ended")
    frames.accept(
        10,
        tw.Resume(
            tokens=(1,), prefix_crc=0, round=1, prompt_length=1, extensions=(tw.Extension(2, b"no time at all"),)
        ),
        "resume-ext",
        "type 2 is not known in a RESUME: any data",
        "extension",
    )


def _draft(tokens: list[int], parents: list[int], lists: dict[int, tw.SparseDistribution], **more: object) -> tw.Draft:
    fields = {"round": 7, "prefix_length": 120, "prefix_hash": 0xBEEF, "replacement": True} | more
    evidence = tw.ListEvidence(lists, bool(fields.pop("replacement")))
    return tw.Draft(tree=tw.TokenTree(tokens, parents), evidence=evidence, **fields)  # type: ignore[arg-type]


def _drafts(frames: Frames) -> None:
    code = {"f32": 0xC0200000, "f16": 0xC100, "bf16": 0xC020}
    for precision in tw.Precision:
        name = precision.value.replace("/", "-")
        far = code.get(precision.value, 17)
        for size in (10, 32000):
            lists = {
                -1: make_list(size, precision, [1, 4, 9], [0, far, far]),
                0: make_list(size, precision, [4], [0]),
                1: make_list(size, precision, [0, size - 1], [far, 0]),
            }
            draft = _draft([9, 4, size - 1], [-1, 0, 1], lists)
            frames.accept(size, draft, f"chain-{name}", "three tokens in a chain; lists of 3, 1 and 2")
        full = make_list(10, precision, range(10), [far] * 9 + [0])
        frames.accept(10, _draft([0], [-1], {-1: full}), f"full-{name}", "one token and its whole distribution")
    for size in (1, 2, 128256, 262144, 1 << 20):
        one = make_list(size, "log2/2", [size - 1], [0])
        frames.accept(size, _draft([size - 1], [-1], {-1: one}), "draft", "one token from a list of one")
    uniform = make_list(262144, "log2/2", range(262144), [0] * 262144)
    frames.accept(
        262144, _draft([262143, 0], [-1, -1], {-1: uniform}), "draft-uniform", "two of 262,144 equal tokens", "large"
    )
    frames.accept(10, _draft([], [], {}), "draft-empty", "a draft without tokens", "shape")
    frames.accept(
        10, _draft([], [], {}, replacement=False), "draft-empty-without", "the same, without replacement", "shape"
    )
    first = make_list(10, "log2/1", [2, 7], [0, 3])
    example = _draft([7, 2, 2], [-1, -1, 0], {-1: first, 0: make_list(10, "log2/1", [2], [0])})
    example = tw.Draft(round=3, prefix_length=5, prefix_hash=0xA990, tree=example.tree, evidence=example.evidence)
    frames.accept(10, example, "draft-example", "the example of section 6.1")
    frames.accept(10, tw.Verdict(round=3, node=0, token=9), "verdict-example", "the example of section 6.2")
    frames.accept(10, _draft([2, 2, 2], [-1, -1, -1], {-1: first}), "siblings-equal", "three equal siblings")
    distinct = _draft([7, 2], [-1, -1], {-1: first}, replacement=False)
    frames.accept(10, distinct, "siblings-distinct", "two siblings, sampled without replacement")
    for number in BOUNDARIES:
        bounds = _draft([7], [-1], {-1: first}, round=number, prefix_length=number, prefix_hash=number & 0xFFFF)
        frames.accept(10, bounds, f"draft-round-{number}", "round and prefix_length", "varint")


def _shapes(frames: Frames) -> None:
    flat = make_list(300, "log2/2", range(300), [0] * 300)
    shapes: dict[str, list[int]] = {
        "one": [-1],
        "pair": [-1, -1],
        "expansion-2-2-2": list(tw.TokenTree.expand([0] * 14, (2, 2, 2)).parents),
        "expansion-1-2": [-1, 0, 0],
        "expansion-2-1": [-1, -1, 0, 1],
        "expansion-128": [-1] * 128,
        "expansion-4-1-1-1": list(tw.TokenTree.expand([0] * 16, (4, 1, 1, 1)).parents),
        "levels-3": [-1, -1, 0],
        "levels-late": [-1, -1, 1],
        "levels-9": [-1, -1, -1, 0, 0, 2, 3, 3, 6],
        "levels-leaves": [-1, -1, -1, -1, 3],
        "parents-3": [-1, 0, -1],
        "parents-depth-first": [-1, 0, 1, 1, 0, 4, -1, 6],
        "parents-reversed": [-1, -1, -1, 2, 1, 0],
        "parents-64": [i * i * 7 // 5 % (i + 1) - 1 for i in range(64)],
    }
    for name, parents in shapes.items():
        tokens = [i * 11 % 300 for i in range(len(parents))]
        draft = _draft(tokens, parents, dict.fromkeys(set(parents), flat))
        frames.accept(300, draft, f"shape-{name}", "parents " + " ".join(map(str, parents[:16])), "shape")
        if name in ("expansion-2-2-2", "levels-9", "parents-64"):
            leaves = draft.tree.leaves
            just = f"as many leaves as allowed, {leaves}"
            frames.accept(300, draft, f"shape-{name}-leaves", just, "shape", "limit", max_leaves=leaves)
    chain = list(range(-1, 255))
    lists = dict.fromkeys(chain, make_list(2, "log2/0", [1], [0]))
    frames.accept(
        2, _draft([1] * 256, chain, lists), "shape-chain-256", "a chain as deep as the default limit", "shape", "limit"
    )
    one = _draft([1] * 256, chain, lists)
    frames.accept(2, one, "shape-chain-256-leaf", "a chain has one leaf", "shape", "limit", max_leaves=1)
    none = tw.Draft(round=1, prefix_length=2, prefix_hash=3, tree=tw.TokenTree((), ()), evidence=tw.ListEvidence({}))
    frames.accept(2, none, "shape-empty-leaf", "an empty tree has no leaf", "shape", "limit", max_leaves=1)


def _handshake(frames: Frames) -> None:
    plain = tw.Hello(vocab_size=32000, tokenizer=FINGERPRINT)
    frames.accept(1, plain, "hello", "all defaults", "control")
    rich = tw.Hello(
        vocab_size=1 << 20,
        tokenizer=bytes(32),
        model="draft-68m \u00e9\u4e2d\U0001f600",
        sampling=tw.Sampling(temperature=0.7, top_k=50, top_p=0.95),
        evidence=("coupled", "list", "x-mine"),
        precisions=("log2/2", "log2/9"),
        entropy=("zstd", "none"),
        limits=tw.DecodeLimits(
            max_frame_bytes=1 << 16, max_nodes=64, max_leaves=9, max_depth=16, max_entries=1, max_extensions=255
        ),
        resume=b"\x00\xff" * 8,
        nonce=bytes(range(16)),
        min_version=1,
        max_version=255,
        extra={
            "a": None,
            "b": True,
            "c": [0, 127, 128, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32, (1 << 64) - 1],
            "d": [-1, -32, -33, -128, -129, -32768, -32769, -(1 << 31), -(1 << 31) - 1, -(1 << 63)],
            "e": {"": 0.0, "x": [[], {}], "y": 1e-300},
            "long": "s" * 31 + "t" * 225,
            "n": [b"", b"\x80" * 256, "u" * 32, "v" * 31],
            "zz": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        },
    )
    back = tw.Hello(vocab_size=1, tokenizer=bytes(32), resume=bytes(range(64)), nonce=b"\xff" * 16)
    told = tw.Hello(vocab_size=32000, tokenizer=FINGERPRINT, ordinary=FINGERPRINT[::-1])
    frames.accept(1, told, "hello-ordinary", "a fingerprint of the ordinary tokens", "control")
    frames.accept(1, replace(told, token_map=bytes(32)), "hello-token-map", "and one of a map", "control")
    frames.accept(1, replace(told, ordinary=b"", token_map=FINGERPRINT), "hello-map-alone", "a map alone", "control")
    wide = tw.SamplingRequest(logit_bias=((9, 1.0),), suppress_tokens=(9, (1 << 20) - 1))
    frames.accept(
        1,
        tw.Hello(vocab_size=9, tokenizer=FINGERPRINT, sampling=wide),
        "hello-asks-beyond",
        "settings name tokens of the target, which the draft model has not",
        "control",
    )
    frames.accept(1, back, "hello-resume", "a token as long as can be", "control", "limit")
    frames.accept(1, rich, "hello-rich", "every control type, unknown names and fields", "control")
    deep = tw.Hello(vocab_size=1, tokenizer=bytes(32), extra={"x": [[[1]]], "y": {"": {"": {"": 1}}}})
    frames.accept(1, deep, "hello-depth-4", "values at depth 4", "control")
    later = tw.Hello(
        vocab_size=1, tokenizer=bytes(32), min_version=2, max_version=3, evidence=(), precisions=(), entropy=()
    )
    frames.accept(
        1, later, "hello-later", "a later version, and nothing on offer: decodes, is refused afterwards", "control"
    )
    welcome = tw.Welcome(version=1, vocab_size=32000, tokenizer=FINGERPRINT, transcript=bytes(range(16)))
    frames.accept(1, welcome, "welcome", "all defaults", "control")
    begun = replace(welcome, ordinary=FINGERPRINT, begins=(1,))
    frames.accept(1, begun, "welcome-begins", "ordinary tokens, and what a text begins with", "control")
    frames.accept(1, replace(welcome, begins=()), "welcome-begins-none", "a text begins with no token", "control")
    frames.accept(1, replace(welcome, begins=(31999, 0, 0)), "welcome-begins-three", "three tokens", "control")
    full = tw.Welcome(
        version=255,
        vocab_size=128256,
        tokenizer=FINGERPRINT[::-1],
        transcript=b"\xff" * 16,
        model="target",
        precisions=("f16",),
        entropy="x-other",
        limits=tw.DecodeLimits(max_prompt_tokens=1, max_control_bytes=(1 << 64) - 1),
        context=(1 << 32) - 1,
        eos_tokens=(128255, 0),
        evidence=("coupled", "list", "match"),
        coupling=b"\x01\x23\x45\x67\x89\xab\xcd\xef",
        resume=bytes(range(64)),
        resumed=True,
        held=(1 << 32) - 1,
        held_hash=0xFFFFFFFF,
        extra={"motd": "hi"},
    )
    frames.accept(1, full, "welcome-rich", "an unknown field, boundary values", "control")
    for code in (*tw.ErrorCode, 0, 999, 65535):
        frames.accept(
            1, tw.ErrorMessage(code=int(code), message=f"code {int(code)}"), f"error-{int(code)}", "an ERROR", "control"
        )
    frames.accept(1, tw.ErrorMessage(code=42, message=""), "error-empty", "an empty message", "control")
    frames.accept(
        1, tw.ErrorMessage(code=42, message="\u00e9" * 150), "error-long", "a message of 300 bytes", "control"
    )


def _sampling(frames: Frames) -> None:
    """[HELLO-5], [WELCOME-1]"""
    neutral = tw.Sampling()

    def hello(name: str, note: str, *flags: str, vocab_size: int = 32000, **settings: Any) -> None:
        asked = tw.SamplingRequest(**settings)
        message = tw.Hello(vocab_size=vocab_size, tokenizer=bytes(32), sampling=asked)
        frames.accept(1, message, f"hello-asks-{name}", note, "control", *flags)

    hello("neutral", "all settings, neutral: none is the target's own", **neutral.named())
    for name, value in neutral.named().items():
        hello(f"{name.replace('_', '-')}-neutral", f"{name} alone, neutral", **{name: value})
    for name, edges in (
        ("temperature", (0.0, 1e300)),
        ("top_k", (1, (1 << 64) - 1)),
        ("top_p", (5e-324, 0.5)),
        ("min_p", (5e-324, 1.0)),
        ("repetition_penalty", (0.01, 100.0)),
        ("presence_penalty", (-2.0, 2.0)),
        ("frequency_penalty", (-2.0, 2.0)),
        ("logit_bias", (((0, -100.0), (31999, 100.0)), ((7, 0.0),))),
        ("suppress_tokens", ((0, 31999), (7,))),
        ("ignore_eos", (True,)),
    ):
        for i, edge in enumerate(edges):
            setting: dict[str, Any] = {name: edge}
            hello(f"{name.replace('_', '-')}-{i}", f"{name} alone, at its bounds", **setting)
    biases = tuple((token, 1.0) for token in range(300))
    hello(
        "most", "300 biases and 512 tokens that are suppressed", "limit", logit_bias=biases, suppress_tokens=range(512)
    )
    hello(
        "more",
        "settings that are not known, of any type: edges refuse them, no decoder does",
        extra={"typical_p": 0.9, "x": []},
    )
    all_of_it: dict[str, Any] = {
        "temperature": 0.7,
        "top_k": 50,
        "top_p": 0.95,
        "min_p": 0.05,
        "repetition_penalty": 1.05,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.25,
        "logit_bias": ((3, -1.5), (9, 2.0)),
        "suppress_tokens": (0, 4),
        "ignore_eos": True,
    }
    for name, value in [
        ("all", all_of_it),
        *((key.replace("_", "-"), {key: value}) for key, value in all_of_it.items()),
    ]:
        welcome = tw.Welcome(
            version=1, vocab_size=10, tokenizer=bytes(32), transcript=bytes(16), sampling=tw.Sampling(**value)
        )
        frames.accept(1, welcome, f"welcome-in-force-{name}", "settings in force", "control")


def _asked_and_named(frames: Frames) -> None:
    again = tw.Hello(vocab_size=2, tokenizer=bytes(32), extra={"repeat": True})
    frames.accept(1, again, "hello-repeat", "repeat", "control")
    names: dict[str, Any] = {"": FINGERPRINT, "-short": FINGERPRINT[:31], "-string": "chatml"}
    for label, name in names.items():
        named = tw.Welcome(
            version=1, vocab_size=2, tokenizer=bytes(32), transcript=bytes(16), extra={"chat_template": name}
        )
        note = "the name of a chat template, which may have any type and size"
        frames.accept(1, named, f"welcome-chat-template{label}", note, "control")


def _busy(frames: Frames) -> None:
    """What an edge says that works for others, too."""
    for label, data in (("1", "01"), ("255", "ff"), ("0", "00"), ("none", ""), ("long", "0100")):
        others = (tw.Extension(10, bytes.fromhex(data)),)
        for kind, answer in (
            ("verdict", tw.Verdict(round=1, node=0, token=3, extensions=others)),
            ("proposals", tw.Proposals(round=1, node=0, proposals=(tw.Proposal(3, 7),), extensions=others)),
        ):
            frames.accept(10, answer, f"{kind}-others-{label}", "others: whatever its data", "extension")
    times = {"1": "01", "two": "d007", "four": "ffffffff", "0": "00", "none": "", "long": "0100000000"}
    for label, data in times.items():
        told = (tw.Extension(10, b"\3"), tw.Extension(12, bytes.fromhex(data)))
        answer = tw.Verdict(round=1, node=0, token=3, extensions=told)
        frames.accept(10, answer, f"verdict-row-time-{label}", "row_time: whatever its data", "extension")


def _extensions(frames: Frames) -> None:
    one = (tw.Extension(0, b""),)
    many = tuple(tw.Extension(2 * i, bytes([i]) * i) for i in range(16))
    edges = tuple(tw.Extension(t, b"\xee") for t in (126, 128, 16382, 16384, (1 << 32) - 2))
    long = (tw.Extension(4, bytes(range(200))),)
    for name, extensions in (("one", one), ("sixteen", many), ("edges", edges), ("long", long)):
        frames.accept(1, tw.Bye(extensions=extensions), f"bye-ext-{name}", "ignorable extensions", "extension")
    for label, data in (("0", "00"), ("1", "01"), ("256", "0001"), ("most", "ff" * 8), ("high", "00" * 7 + "01")):
        time = (tw.Extension(2, bytes.fromhex(data)),)
        timed = tw.Verdict(round=1, node=0, token=3, extensions=time)
        frames.accept(10, timed, f"verdict-time-{label}", "verify_time", "extension")
    for label, data in (("none", ""), ("nine", "01" * 9), ("long", "0400")):
        other = (tw.Extension(2, bytes.fromhex(data)),)
        more = tw.More(round=1, batch=2, extensions=other)
        frames.accept(10, more, f"more-time-{label}", "type 2 is not known in a MORE: any data", "extension")
        frames.accept(
            10, tw.Prompt(tokens=(1,), extensions=other), f"prompt-time-{label}", "nor in a PROMPT", "extension"
        )
        draft = _draft([7], [-1], {-1: make_list(10, "log2/1", [2, 7], [0, 3])}, extensions=other)
        frames.accept(10, draft, f"draft-time-{label}", "nor in a DRAFT_LIST", "extension")
    for label, codes in (("one", "0000"), ("least", "ffff"), ("three", "000401020000")):
        told = (tw.Extension(4, bytes.fromhex(codes)),)
        note = "log_probs; how many there are is not the decoder's to check"
        for kind, answer in (
            ("verdict", tw.Verdict(round=1, node=0, token=3, extensions=told)),
            ("ask", tw.AskList(round=1, node=0, extensions=told)),
            ("proposals", tw.Proposals(round=1, node=0, proposals=(tw.Proposal(3, 7),), extensions=told)),
        ):
            frames.accept(10, answer, f"{kind}-log-probs-{label}", note, "extension")
    _busy(frames)
    for size in (0, 1, 127, 128):
        zeros = (tw.Extension(32, bytes(size)),)
        for kind, padded in (
            ("bye", tw.Bye(extensions=zeros)),
            ("verdict", tw.Verdict(round=1, node=0, token=3, extensions=zeros)),
            ("draft", _draft([7], [-1], {-1: make_list(10, "log2/1", [2, 7], [0, 3])}, extensions=zeros)),
            ("hello", tw.Hello(vocab_size=2, tokenizer=bytes(32), extra={"padding": 64}, extensions=zeros)),
        ):
            frames.accept(10 if kind != "hello" else 1, padded, f"{kind}-padding-{size}", "padding", "extension")
    between = (tw.Extension(30, b"\1"), tw.Extension(32, bytes(3)), tw.Extension(34, b"\1"))
    frames.accept(1, tw.Bye(extensions=between), "bye-padding-between", "padding between others", "extension")
    both = (tw.Extension(2, b"\x07"), tw.Extension(4, b"\x00\x04"))
    timed = tw.Verdict(round=1, node=-1, token=3, extensions=both)
    frames.accept(10, timed, "verdict-time-log-probs", "verify_time and log_probs", "extension")
    more = tw.More(round=1, batch=2, extensions=(tw.Extension(4, b"abc"),))
    frames.accept(10, more, "more-log-probs", "type 4 is not known in a MORE: any data", "extension")
    verdict = tw.Verdict(round=1, node=0, token=3, extensions=one)
    frames.accept(10, verdict, "verdict-ext", "a VERDICT with an extension", "extension")
    prompt = tw.Prompt(tokens=(1,), extensions=long)
    frames.accept(10, prompt, "prompt-ext", "a PROMPT with an extension", "extension")
    draft = _draft([7], [-1], {-1: make_list(10, "log2/1", [2, 7], [0, 3])}, extensions=edges)
    frames.accept(10, draft, "draft-ext", "a DRAFT_LIST with extensions", "extension")
    for label, value in (("true", True), ("false", False), ("integer", 1), ("string", "true")):
        timing = tw.Hello(vocab_size=2, tokenizer=bytes(32), extra={"timing": value})
        frames.accept(1, timing, f"hello-timing-{label}", "timing, which may have any type", "control")
    told_of = tw.Hello(vocab_size=2, tokenizer=bytes(32), extra={"logprobs": True, "timing": True})
    frames.accept(1, told_of, "hello-logprobs", "logprobs and timing", "control")
    hello = tw.Hello(vocab_size=2, tokenizer=bytes(32), extensions=one)
    frames.accept(1, hello, "hello-ext", "a HELLO with an extension", "extension")
    error = tw.ErrorMessage(code=1, message="x", extensions=one)
    frames.accept(1, error, "error-ext", "an ERROR with an extension", "extension")
    for label, sample in (("", b"\x81\xa10\xa5<unk>"), ("-none", b"\x80"), ("-garbage", b"\xff\x00"), ("-empty", b"")):
        misfit = tw.ErrorMessage(code=34, message="others", extensions=(tw.Extension(8, sample),))
        frames.accept(1, misfit, f"error-tokens{label}", "tokens, whose data no decoder looks at", "extension")
    for label, data in (("0", "00"), ("250", "fa"), ("256", "0001"), ("most", "ff" * 4), ("high", "00" * 3 + "01")):
        wait = (tw.Extension(6, bytes.fromhex(data)),)
        late = tw.ErrorMessage(code=41, message="later", extensions=wait)
        frames.accept(1, late, f"error-retry-{label}", "retry_after", "extension")
    for label, data in (("none", ""), ("five", "01" * 5), ("long", "0400")):
        bye = tw.Bye(extensions=(tw.Extension(6, bytes.fromhex(data)),))
        frames.accept(1, bye, f"bye-retry-{label}", "type 6 is not known in a BYE: any data", "extension")
