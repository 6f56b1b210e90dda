"""The bodies of ASK_LIST and LIST: the question for a list, and the list.

Spec section 6.8.
"""

from __future__ import annotations

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.coding.range_coder import Writer
from tslt_wire.frames.list_format import read_format, write_format
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.list_codec import read_list, write_list
from tslt_wire.lists.profile import Profile
from tslt_wire.lists.range_coded import ListModel
from tslt_wire.messages.answers import AskList
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.follow_ups import ListReply


def write_ask_list(out: BitWriter, message: AskList, profile: Profile) -> None:
    """Append the body of ASK_LIST."""
    out.varint(message.round)
    out.varint(message.node + 1)


def read_ask_list(
    data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]
) -> AskList:
    """Read the body of ASK_LIST."""
    data.part("round")
    round_ = data.varint()
    data.part("node")
    return AskList(round=round_, node=data.varint() - 1, extensions=extensions)


def write_list_reply(out: BitWriter, message: ListReply, profile: Profile) -> None:
    """Append the body of LIST; ValueError for a list that does not fit ``profile``."""
    q = message.q
    profile.check(q)
    out.varint(message.round)
    write_format(out, q.precision, profile)
    if profile.entropy != "range":
        write_list(out, q, profile)
        return
    coder = Writer()
    ListModel(coder, profile, q.precision).code(q, len(q))
    out.raw(coder.finish())


def read_list_reply(
    data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]
) -> ListReply:
    """Read the body of LIST."""
    data.part("round")
    round_ = data.varint()
    precision, _ = read_format(data, profile, replacement=True)
    if profile.entropy == "range":
        coder = data.symbols()
        q = ListModel(coder, profile, precision).code(None, limits.max_entries)
        coder.finish()
    else:
        q = read_list(data, profile, precision, limits.max_entries)
    return ListReply(round=round_, q=q, extensions=extensions)
