"""The device in C beside the one in Python, an edge that may say anything to both, and small texts for them."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import numpy as np
from c_device import RESUMED, CDevice

import tslt_wire as tw
from tslt_wire.coding.control_map import pack, unpack
from tslt_wire.frames.kinds import Kind
from tslt_wire.lists.probability_grid import BELOW

LIMITS = {name: 1 << 12 for name in ("max_depth", "max_entries", "max_extensions", "max_leaves", "max_nodes")} | {
    **{"max_frame_bytes": 1 << 20, "max_control_bytes": 1 << 13, "max_prompt_tokens": 1 << 40}
}
"""Of WELCOME."""
V, TOKENIZER = 16, bytes(range(32))
PROFILE = tw.Profile(vocab_size=V, entropy="range")
LIST = tw.sparsify(np.log(np.arange(1.0, V + 1)), truncation=tw.TopK(6), precision="log2/1")
TREE = tw.TokenTree.chain([14, 15])


def said(**changes: Any) -> tw.Hello:
    """HELLO."""
    given = {"vocab_size": V, "tokenizer": TOKENIZER, "evidence": ("list", "match", "scalar", "lazy")}
    return tw.Hello(**{**given, "entropy": ("range", "none"), **changes})


def sealed(content: bytes) -> bytes:
    """A frame, whose checksum fits."""
    return content + zlib.crc32(content).to_bytes(4, "little")


def welcome_to(hello: bytes, *, version: int = 1, **fields: Any) -> bytes:
    """A WELCOME that answers the HELLO of these bytes, with some fields as they should not be."""
    edge = tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=TOKENIZER, window=2), secret=bytes(32))
    first = tw.DeviceSession(said()).data_to_send()
    edge.receive_data(first)
    frame = edge.data_to_send()
    found = unpack(frame[6:-4]) | {"transcript": hashlib.sha256(hello).digest()[:16]} | fields
    return sealed(frame[:5] + bytes([version]) + pack({name: found[name] for name in sorted(found)}))


class Both:
    """Two devices that are called alike; what they say, and what becomes of a frame, must be the same."""

    def __init__(self, hello: tw.Hello | None = None, **room: Any) -> None:
        hello = hello or said()
        self.in_c, self.in_python = CDevice(hello, **room), tw.DeviceSession(hello)
        self.hello = self.says()

    def says(self) -> bytes:
        assert self.in_c.may_follow == self.in_python.may_follow
        frames = list(iter(self.in_c.data_to_send, b""))
        assert frames == list(iter(self.in_python.data_to_send, b""))
        return frames[-1]

    def call(self, name: str, *given: Any, **named: Any) -> bytes:
        getattr(self.in_c, name)(*given, **named)
        getattr(self.in_python, name)(*given, **named)
        return self.says()

    def hears(self, frame: bytes) -> int:
        """The code that the frame is refused with; 0: it is taken."""
        code, wanted = self.in_c.receive(frame), 0
        try:
            self.in_python.receive_data(frame)
        except (tw.DecodeError, tw.RemoteProtocolError) as error:
            wanted = error.code
        assert code == wanted
        if wanted:
            assert self.in_c.data_to_send()[0] == self.in_python.data_to_send()[0] == Kind.ERROR
        assert self.in_c.state is self.in_python.state
        assert self.in_c.may_follow == self.in_python.may_follow
        assert self.in_c.prefix == self.in_python.prefix
        return code

    def hears_message(self, message: tw.Message) -> int:
        return self.hears(tw.encode(message, PROFILE))

    def greeted(self, **fields: Any) -> int:
        code = self.hears(welcome_to(self.hello, **fields))
        if not code and self.in_c.event.kind == RESUMED:
            self.says()
        return code

    def drafts(self, kind: str, *, goes_on: bool = False, lists: tw.SparseDistribution = LIST) -> bytes:
        kept = {-1: lists, 0: lists}
        kinds = {
            "list": tw.ListEvidence(kept),
            "match": tw.MatchEvidence(),
            "scalar": tw.ScalarEvidence.of(TREE, kept),
            "lazy": tw.LazyEvidence.of(TREE, kept),
        }
        return self.call("send_draft", TREE, kinds[kind], goes_on=goes_on)


def proposals(
    round_: int = 0, node: int = -1, batch: int = 0, tokens: tuple[int, ...] = (3,), code: int = BELOW, up: bool = False
) -> tw.Proposals:
    """Proposals with the same code each."""
    made = tuple(tw.Proposal(token, code, up) for token in tokens)
    return tw.Proposals(round=round_, node=node, proposals=made, batch=batch)
