"""The conversations of spec/vectors/sessions.json as lines for fuzz_device.c: what its device says, and what it hears.

python tests/native/device_conversations.py | ./fuzz_device 1 200
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tslt_wire as tw
from tslt_wire.frames.codec import HANDSHAKE_PROFILE
from tslt_wire.frames.kinds import Kind

VECTORS = Path(__file__).resolve().parents[2] / "spec" / "vectors"
STRANGE = (Kind.PROMPT, Kind.ERROR, Kind.VERDICT, Kind.VERDICT_PROPOSALS, Kind.ASK_LIST, Kind.VERDICT_WHOLE)
"""Kinds of frames that come out of turn."""
KINDS = ("list", "match", "coupled", "scalar", "lazy")


def steps(test: dict[str, Any]) -> Iterator[str]:
    """``r``: a frame arrives; all others are calls, each with its numbers."""
    profile = HANDSHAKE_PROFILE
    for step in test["steps"]:
        data = bytes.fromhex(step.get("hex", ""))
        if step["how"] in ("reconnects", "takes"):
            yield "x" if step["how"] == "reconnects" else f"t {step['index']}"
        elif step["from"] == "edge" and step["how"] != "lost":
            yield f"r {data.hex() or '-'}"
            if step["result"] == "taken" and data[0] & 63 == Kind.WELCOME:
                welcome = tw.decode(data, HANDSHAKE_PROFILE)
                assert isinstance(welcome, tw.Welcome)
                profile = tw.Profile(vocab_size=welcome.vocab_size, entropy=welcome.entropy)
        elif (
            step["from"] == "device"
            and step["how"] in ("sent", "lost")
            and data[0] & 63 not in (Kind.HELLO, Kind.ERROR)
        ):
            message = tw.decode(data, profile)
            if isinstance(message, tw.Prompt):
                yield " ".join(map(str, ("p", message.keep, len(message.tokens), *message.tokens)))
            elif isinstance(message, tw.Draft):
                kind = KINDS.index(message.evidence.name)
                tree, leaf = message.tree, message.whole[-1] if message.goes_on else 0
                said = (kind, int(message.goes_on), leaf, len(tree), *tree.tokens, *tree.parents)
                yield " ".join(map(str, ("d", *said)))
            elif isinstance(message, tw.More | tw.ListReply | tw.Bye):
                yield {tw.More: "m", tw.ListReply: "l", tw.Bye: "b"}[type(message)]


def strange_frames() -> Iterator[str]:
    """Frames of the vectors, valid and not, that have extensions, or more tokens than there is room for."""
    for group in json.loads((VECTORS / "frames.json").read_text())["groups"]:
        if group["profile"]["vocab_size"] == 10 and group["profile"]["entropy"] == "none":
            for test in group["tests"]:
                data = bytes.fromhex(test.get("hex", ""))
                extended = data[:1] and data[0] & 0x40
                if data and data[0] & 63 in STRANGE and (extended or data[0] & 63 == Kind.PROMPT) and len(data) < 4096:
                    yield data.hex()


def main() -> None:
    """Print those of the devices that fuzz_device.c is."""
    groups = json.loads((VECTORS / "sessions.json").read_text())["groups"]
    usual = groups[0]["tests"][0]["steps"][0]["hex"]
    for q in groups[0]["lists"]:
        print("q", q["parent"], len(q["ids"]), *q["ids"], *q["codes"])
    for test in groups[0]["tests"]:
        if test["steps"][0]["hex"] == usual and "device" in test["steps"][0]:
            print("h")
            print(*steps(test), sep="\n")
    welcome = next(step["hex"] for step in groups[0]["tests"][0]["steps"] if step["from"] == "edge")
    for frame in strange_frames():
        print("h", f"r {welcome}", f"r {frame}", sep="\n")
    print("h")


if __name__ == "__main__":
    main()
