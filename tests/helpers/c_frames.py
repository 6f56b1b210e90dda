"""Frames as dictionaries: what ``tslt_decode_frame`` found in one, and what a message of the library has."""

from __future__ import annotations

import ctypes as c
from typing import Any

import numpy as np
from c_device import library
from c_structures import Limits, List, Prior

import tslt_wire as tw
from tslt_wire.coding.control_map import unpack
from tslt_wire.frames.handshake import _HELLO_FIELDS, _HELLO_MAY, _WELCOME_FIELDS, _WELCOME_MAY, _to_map
from tslt_wire.frames.kinds import Kind, kind_of
from tslt_wire.lists.precision import precision_of
from tslt_wire.lists.profile import ENTROPY_IDS

FIELDS = (
    *(
        "vocab_size",
        "tokenizer",
        "transcript",
        "model",
        "sampling",
        "evidence",
        "precisions",
        "entropy",
        "prior",
        "limits",
    ),
    *("context", "eos_tokens", "coupling", "resume", "resumed", "held", "held_hash", "nonce", "ordinary", "token_map"),
    "begins",
)


class Bytes(c.Structure):
    _fields_ = [("at", c.c_void_p), ("size", c.c_size_t)]

    def get(self) -> bytes:
        return c.string_at(self.at, self.size) if self.size else b""


class Proposal(c.Structure):
    _fields_ = [("token", c.c_uint32), ("code", c.c_uint32), ("up", c.c_uint32)]


class Draft(c.Structure):
    _fields_ = [
        ("round", c.c_uint32),
        ("prefix_length", c.c_uint32),
        ("prefix_hash", c.c_uint32),
        ("precision", c.c_int),
        ("without_replacement", c.c_int),
        ("node_count", c.c_uint32),
        ("parents", c.POINTER(c.c_int32)),
        ("tokens", c.POINTER(c.c_int32)),
        ("list_count", c.c_uint32),
        ("list_parents", c.POINTER(c.c_int32)),
        ("lists", c.POINTER(List)),
        ("extensions", c.c_void_p),
        ("extensions_size", c.c_size_t),
    ]


class Message(c.Structure):
    _fields_ = [
        ("kind", c.c_int),
        ("extensions", Bytes),
        ("round", c.c_uint32),
        ("batch", c.c_uint32),
        ("node", c.c_int64),
        ("token", c.c_int32),
        ("end", c.c_int),
        ("epoch", c.c_uint32),
        ("keep", c.c_uint32),
        ("prefix_crc", c.c_uint32),
        ("prompt_length", c.c_uint32),
        ("transcript", c.c_void_p),
        ("count", c.c_uint32),
        ("tokens", c.POINTER(c.c_int32)),
        ("codes", c.POINTER(c.c_uint32)),
        ("proposals", Proposal * 256),
        ("draft", Draft),
        ("precision", c.c_int),
        ("list", List),
        ("code", c.c_uint32),
        ("text", Bytes),
        ("min_version", c.c_int),
        ("max_version", c.c_int),
        ("fields", Bytes * len(FIELDS)),
    ]


class Profile(c.Structure):
    _fields_ = [("vocab_size", c.c_uint32), ("precision", c.c_int), ("entropy", c.c_int), ("prior", c.POINTER(Prior))]


def _list(q: List) -> dict[str, Any]:
    return {"tail": q.tail, "ids": q.ids[: q.count], "codes": q.codes[: q.count]}


def _of_list(q: tw.SparseDistribution) -> dict[str, Any]:
    return {"tail": q.tail, "ids": q.ids.tolist(), "codes": q.codes.tolist()}


def _found(m: Message) -> dict[str, Any]:
    kind = Kind(m.kind)
    found: dict[str, Any] = {"kind": kind}
    if kind in (Kind.HELLO, Kind.WELCOME):
        names = {"prior": "priors"} if kind is Kind.HELLO else {}
        values = [(names.get(name, name), at.get()) for name, at in zip(FIELDS, m.fields, strict=True)]
        # A value of a control map is one of a map with one key.
        found |= {name: unpack(b"\x81\xa1v" + data)["v"] for name, data in values if data}
        found["versions"] = (m.min_version, m.max_version)
    elif kind is Kind.ERROR:
        found |= {"code": m.code, "text": m.text.get().decode()}
    elif kind in (Kind.VERDICT, Kind.VERDICT_PROPOSALS, Kind.ASK_LIST):
        found |= {"round": m.round, "node": m.node}
        if kind is Kind.VERDICT:
            found |= {"token": m.token, "end": bool(m.end)}
        elif kind is Kind.VERDICT_PROPOSALS:
            found |= {"batch": m.batch, "proposals": [(p.token, p.code, bool(p.up)) for p in m.proposals[: m.count]]}
    elif kind in (Kind.PROMPT, Kind.RESUME):
        found |= {
            "epoch": m.epoch,
            "keep": m.keep,
            "tokens": m.tokens[: m.count],
            "transcript": c.string_at(m.transcript, 8),
        }
        if kind is Kind.RESUME:
            found |= {"crc": m.prefix_crc, "round": m.round, "prompt": m.prompt_length, "ended": bool(m.end)}
            found["rejected"] = (m.node, m.batch)
    elif kind is Kind.VERDICT_WHOLE:
        found["round"] = m.round
    elif kind is Kind.MORE:
        found |= {"round": m.round, "batch": m.batch}
    elif kind is Kind.LIST:
        found |= {"round": m.round, "precision": m.precision, "list": _list(m.list)}
    elif kind is not Kind.BYE:
        d = m.draft
        found |= {"round": d.round, "prefix": (d.prefix_length, d.prefix_hash), "tokens": d.tokens[: d.node_count]}
        if kind in (Kind.DRAFT_SCALAR, Kind.DRAFT_LAZY):
            found["codes"] = m.codes[: m.count]
        else:
            found["parents"] = d.parents[: d.node_count]
        if kind is Kind.DRAFT_LIST:
            found["lists"] = {d.list_parents[i]: _list(d.lists[i]) for i in range(d.list_count)}
            found["replacement"] = not d.without_replacement
    return found


def wanted(message: tw.Message) -> dict[str, Any]:
    """What ``decode`` returns for the frame of ``message``."""
    m: Any = message
    kind = kind_of(message)
    found: dict[str, Any] = {"kind": kind}
    if kind in (Kind.HELLO, Kind.WELCOME):
        tables = (_HELLO_FIELDS, _HELLO_MAY) if kind is Kind.HELLO else (_WELCOME_FIELDS, _WELCOME_MAY)
        whole = _to_map(m, *tables)
        found |= {name: value for name, value in whole.items() if name not in m.extra}
        found = {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
        found["sampling"] = {k: _plain(v) for k, v in found["sampling"].items()}
        found["versions"] = (m.min_version, m.max_version) if kind is Kind.HELLO else (m.version, m.version)
    elif kind is Kind.ERROR:
        found |= {"code": m.code, "text": m.message}
    elif kind in (Kind.VERDICT, Kind.VERDICT_PROPOSALS, Kind.ASK_LIST):
        found |= {"round": m.round, "node": m.node}
        if kind is Kind.VERDICT:
            found |= {"token": m.token, "end": m.end}
        elif kind is Kind.VERDICT_PROPOSALS:
            found |= {"batch": m.batch, "proposals": [(p.token, p.code, p.up) for p in m.proposals]}
    elif kind in (Kind.PROMPT, Kind.RESUME):
        found |= {"epoch": m.epoch, "keep": m.keep, "tokens": list(m.tokens), "transcript": m.transcript}
        if kind is Kind.RESUME:
            found |= {"crc": m.prefix_crc, "round": m.round, "prompt": m.prompt_length, "ended": m.ended}
            found["rejected"] = (m.rejection.node, m.rejection.batch) if m.rejection else (-2, 0)
    elif kind is Kind.VERDICT_WHOLE:
        found["round"] = m.round
    elif kind is Kind.MORE:
        found |= {"round": m.round, "batch": m.batch}
    elif kind is Kind.LIST:
        found |= {"round": m.round, "precision": m.q.precision.wire_id, "list": _of_list(m.q)}
    elif kind is not Kind.BYE:
        found |= {"round": m.round, "prefix": (m.prefix_length, m.prefix_hash), "tokens": list(m.tree.tokens)}
        if kind in (Kind.DRAFT_SCALAR, Kind.DRAFT_LAZY):
            found["codes"] = list(m.evidence.codes)
        else:
            found["parents"] = list(m.tree.parents)
        if kind is Kind.DRAFT_LIST:
            found["lists"] = {parent: _of_list(q) for parent, q in m.lists.items()}
            found["replacement"] = m.evidence.with_replacement
    return found


def _plain(value: Any) -> Any:
    """A setting as a control map gives it back."""
    return [list(item) if isinstance(item, tuple) else item for item in value] if isinstance(value, tuple) else value


def decode(data: bytes, profile: tw.Profile, limits: tw.DecodeLimits) -> dict[str, Any] | int:
    """What the C library makes of a frame: its fields, or the code that it is refused with."""
    lib = library()
    lib.tslt_context_new.restype = c.c_void_p
    lib.tslt_decode_frame.argtypes = [c.c_void_p] * 4 + [c.c_size_t, c.c_void_p]
    lib.tslt_context_free.argtypes = [c.c_void_p]
    given = Profile(profile.vocab_size, precision_of(profile.precision).wire_id, ENTROPY_IDS[profile.entropy])
    if profile.prior is not None:
        tail, rows = profile.prior.running_sums()
        made = Prior(tail.ctypes.data_as(c.POINTER(c.c_int64)))
        for i, row in enumerate(rows):
            made.rows[i] = row.ctypes.data_as(c.POINTER(c.c_int64))
        given.prior = c.pointer(made)
    # An array of exactly this size: what reads behind it is found by the sanitizers' build of the same vectors.
    octets = np.frombuffer(data, np.uint8).copy()
    context = lib.tslt_context_new()
    try:
        message, bounds = Message(), Limits.of(limits)
        code = lib.tslt_decode_frame(
            context, c.addressof(given), c.addressof(bounds), octets.ctypes.data, len(octets), c.addressof(message)
        )
        return code or _found(message)
    finally:
        lib.tslt_context_free(context)
