"""What tslt-wire is measured against: formats for lists that others use, and schemes that change the output.

``lists``: JSON, msgpack, protobuf and the rest.  ``lossy``: published schemes whose output is *not* the target's, with
the exact size of their bias; they are here and never in the library.
"""

from benchmarks.baselines.lists import (
    Dense,
    DenseMsgpack,
    KSqs,
    Lattice,
    Msgpack,
    MsgpackZstd,
    NestedJson,
    OpenAiJson,
    Paper,
    Protobuf,
    Raw,
    TokenList,
    lattice_size,
)

__all__ = [
    "Dense",
    "DenseMsgpack",
    "KSqs",
    "Lattice",
    "Msgpack",
    "MsgpackZstd",
    "NestedJson",
    "OpenAiJson",
    "Paper",
    "Protobuf",
    "Raw",
    "TokenList",
    "lattice_size",
]
