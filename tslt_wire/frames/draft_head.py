"""What every draft starts with: its round, and the prefix that it continues.

Spec section 6.1.
"""

from __future__ import annotations

from typing import NamedTuple

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import Evidence
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.token_tree import TokenTree


class Head(NamedTuple):
    """Round and prefix of a draft, as they are read."""

    round: int
    prefix_length: int
    prefix_hash: int


def write_head(out: BitWriter, draft: Draft) -> None:
    """Append round and prefix."""
    out.varint(draft.round)
    out.varint(draft.prefix_length)
    out.bits(draft.prefix_hash, 16)


def read_head(data: BitReader) -> Head:
    """Read round and prefix."""
    data.part("round")
    round_ = data.varint()
    data.part("prefix_length")
    length = data.varint()
    data.part("prefix_hash")
    return Head(round_, length, data.bits(16))


def build_draft(head: Head, tree: TokenTree, evidence: Evidence, extensions: tuple[Extension, ...]) -> Draft:
    """The draft that was read; DecodeError for a tree that its evidence does not allow."""
    try:
        return Draft(**head._asdict(), tree=tree, evidence=evidence, extensions=extensions)
    except ValueError as error:
        raise DecodeError(ErrorCode.BAD_TREE, str(error)) from error
