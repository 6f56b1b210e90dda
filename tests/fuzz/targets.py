"""What reads bytes from a peer, as functions of bytes: each returns, whatever it is given, or the test fails.

What a function lets through is no exception but the typed ones that its callers catch.  Frames are fuzzed without their
checksum, which is put behind them here: no mutation would find it.  ``seeds`` are inputs to start from.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
from tslt_transports.control import ControlError, ControlType, PeerLimits, decode_control, encode_greeting
from tslt_transports.framing import UnitDecoder, encode_control, encode_frame
from tslt_transports.link import LinkOptions
from tslt_transports.zmtp import FrameDecoder, Mechanism, Null, ZmtpError, check_greeting, encode, greeting
from tslt_transports.zmtp_curve import CurveServer

import tslt_wire as tw
from spec.vectorgen.tools import profile_from
from tslt_wire.frames.codec import decode_reference

Target = Callable[[bytes], None]
V = 8
FINGERPRINT = bytes(32)
MOST_BYTES = 4096
"""Bytes of an input that are looked at."""
LIMITS = tw.DecodeLimits(max_frame_bytes=MOST_BYTES, max_entries=512, max_nodes=32, max_prompt_tokens=256)
_VECTORS = Path(__file__).parents[2] / "spec" / "vectors" / "frames.json"
_RNG_SEED = 7


def sealed(content: bytes) -> bytes:
    """A frame of ``content``."""
    return content + zlib.crc32(content).to_bytes(4, "little")


def pieces(data: bytes) -> Iterator[bytes]:
    """``data`` cut where it says so: a byte of length, two from 255 on, then so many bytes."""
    at = 0
    while at < len(data):
        size, at = data[at], at + 1
        if size == 255:
            size, at = int.from_bytes(data[at : at + 2], "little"), at + 2
        yield data[at : at + size]
        at += size


def joined(*parts: bytes) -> bytes:
    """The inverse of ``pieces``."""
    sizes = (bytes([len(p)]) if len(p) < 255 else b"\xff" + len(p).to_bytes(2, "little") for p in parts)
    return b"".join(size + part for size, part in zip(sizes, parts, strict=True))


# -------------------------------------------------------------------------------------------------------------- frames


@lru_cache
def _groups() -> tuple[tuple[tw.Profile, tuple[bytes, ...]], ...]:
    """Profiles of the vectors that need no table, and the frames that were made with each."""
    found: dict[str, tuple[tw.Profile, list[bytes]]] = {}
    for group in json.loads(_VECTORS.read_text())["groups"]:
        if str(group["profile"]["prior"]).startswith("table:"):
            continue
        name = json.dumps(group["profile"], sort_keys=True)
        frames = found.setdefault(name, (profile_from(group["profile"], {}), []))[1]
        frames += [bytes.fromhex(test["hex"]) for test in group["tests"]]
    return tuple((profile, tuple(frames)) for profile, frames in found.values())


def frames(data: bytes) -> None:
    """A frame in one of the profiles of the vectors: both backends say the same, and what it means has these bytes."""
    groups = _groups()
    profile, frame = groups[data[0] % len(groups)][0], sealed(data[1:MOST_BYTES])
    found: list[tw.Message | tw.ErrorCode] = []
    for decode in (tw.decode, decode_reference):
        try:
            found.append(decode(frame, profile, limits=LIMITS))
        except tw.DecodeError as error:
            found.append(error.code)
    assert found[0] == found[1], found
    message = found[0]
    if not isinstance(message, tw.ErrorCode) and profile.entropy != "zstd":
        assert tw.encode(message, profile, max_frame_bytes=1 << 28) == frame, message


def _frame_seeds() -> Iterator[bytes]:
    for number, (_, frames) in enumerate(_groups()):
        for frame in frames[:40]:
            yield bytes([number]) + frame[:-4]


# ------------------------------------------------------------------------------------------------------------ sessions

EVIDENCE = ("list", "coupled", "match", "scalar", "lazy")
STAGES = 3 + len(EVIDENCE)
"""Nothing said, shaken hands, a prompt, a draft with each kind of evidence."""


def _two_ends() -> tuple[tw.DeviceSession, tw.EdgeSession]:
    hello = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, evidence=EVIDENCE, limits=LIMITS)
    settings = tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, eos_tokens=(7,), context=64, limits=LIMITS)
    return tw.DeviceSession(hello), tw.EdgeSession(settings, secret=bytes(32), coupling=bytes(8))


def _at(stage: int) -> tuple[tw.DeviceSession, tw.EdgeSession]:
    """Two ends that have come to ``stage``."""
    device, edge = _two_ends()
    if stage > 0:
        _pass(device, edge)
        _pass(edge, device)
    if stage > 1:
        device.send_prompt((3, 1, 4))
        _pass(device, edge)
    if stage > 2:
        _draft(device, EVIDENCE[stage - 3])
    return device, edge


def _pass(sender: tw.DeviceSession | tw.EdgeSession, receiver: tw.DeviceSession | tw.EdgeSession) -> list[tw.Event]:
    found: list[tw.Event] = []
    while frame := sender.data_to_send():
        found += receiver.receive_data(frame)
    return found


def _draft(device: tw.DeviceSession, kind: str) -> None:
    q = tw.sparsify(np.arange(V) / 4, truncation=tw.TopK(4), precision=device.profile.precision)
    tree = tw.TokenTree.chain([int(token) for token in q.ids[:3]])
    lists = {parent: q for parent in range(-1, len(tree) - 1)}
    made: dict[str, Callable[[], tw.Evidence]] = {
        "list": lambda: tw.ListEvidence(lists, replacement=True),
        "coupled": tw.CoupledEvidence,
        "match": tw.MatchEvidence,
        "scalar": lambda: tw.ScalarEvidence.of(tree, lists),
        "lazy": lambda: tw.LazyEvidence.of(tree, lists),
    }
    device.send_draft(tree, made[kind]())


def edge_session(data: bytes) -> None:
    """Frames of a device, from one of the stages on; drafts are answered, and what the edge says is read."""
    device, edge = _at(data[0] % STAGES if data else 0)
    _pass(device, edge)  # a draft that was open
    rows = np.tile(np.arange(1.0, V + 1) / np.arange(1.0, V + 1).sum(), (1 + LIMITS.max_nodes, 1))
    _answer(edge, rows)
    for content in pieces(data[1:MOST_BYTES]):
        with suppress(tw.DecodeError, tw.RemoteProtocolError):
            for event in edge.receive_data(sealed(content)):
                _answer(edge, rows, event)
        while edge.data_to_send():
            pass


def _answer(edge: tw.EdgeSession, rows: np.ndarray, event: tw.Event | None = None) -> None:
    draft = edge.open_draft
    if event is None:
        event = None if draft is None else tw.DraftReceived(draft)
    if isinstance(event, tw.DraftReceived):
        rejection = {"rejection": event.rejection} if getattr(event, "rejection", None) else {}
        generator = edge.generator(event)
        draft = event.draft
        edge.send_answer(
            tw.verify(draft, rows[: 1 + len(draft.tree)], generator, coupling=edge.coupling, proposals=2, **rejection)
        )
    elif isinstance(event, tw.MoreAsked):
        last = event.proposals
        row = rows[0]
        edge.send_answer(tw.propose(last.round, last.node, row, edge.generator(event), batch=last.batch + 1, count=2))
    elif isinstance(event, tw.ListReceived):
        edge.send_answer(tw.verify_list(event.draft, event.node, rows[0], event.q, edge.generator(event)))


def device_session(data: bytes) -> None:
    """Frames of an edge, from one of the stages on; what the device has to answer is answered."""
    stage = data[0] % STAGES if data else 0
    device, _ = _at(stage)
    rng = np.random.default_rng(_RNG_SEED)
    for content in pieces(data[1:MOST_BYTES]):
        while device.data_to_send():
            pass
        with suppress(tw.DecodeError, tw.RemoteProtocolError):
            for event in device.receive_data(sealed(content)):
                if isinstance(event, tw.ListAsked):
                    device.send_list()
                elif isinstance(event, tw.ProposalsReceived):
                    device.choose(rng)
        if device.state is tw.State.IDLE:
            with suppress(tw.LocalProtocolError):  # the context is used up
                _draft(device, EVIDENCE[max(0, stage - 3)])


def _session_seeds(*, of_device: bool) -> Iterator[bytes]:
    """What either end says from each stage on, in a round that goes to its end."""
    for stage in range(STAGES):
        device, edge = _at(stage)
        said: dict[str, list[bytes]] = {"device": [], "edge": []}
        rows = np.tile(np.arange(1.0, V + 1) / np.arange(1.0, V + 1).sum(), (1 + LIMITS.max_nodes, 1))
        rng = np.random.default_rng(_RNG_SEED)
        for _ in range(6):
            while frame := device.data_to_send():
                said["device"].append(frame[:-4])
                for event in edge.receive_data(frame):
                    _answer(edge, rows, event)
            while frame := edge.data_to_send():
                said["edge"].append(frame[:-4])
                for event in device.receive_data(frame):
                    if isinstance(event, tw.ListAsked):
                        device.send_list()
                    elif isinstance(event, tw.ProposalsReceived):
                        device.choose(rng)
            if device.state is tw.State.READY:
                device.send_prompt((1, 2))
            elif device.state is tw.State.IDLE:
                _draft(device, EVIDENCE[max(0, stage - 3)])
        yield bytes([stage]) + joined(*said["edge" if of_device else "device"])


# ---------------------------------------------------------------------------------------------------------- transports


def units(data: bytes) -> None:
    """The stream of a QUIC link, in pieces: units, and the control messages among them."""
    decoder = UnitDecoder(max_frame_bytes=0)
    with suppress(ControlError):
        for piece in pieces(data[:MOST_BYTES]):
            for unit in decoder.feed(piece):
                if unit.is_control:
                    decode_control(unit.data)
                    decoder.max_frame_bytes = 256
            assert decoder.pending_bytes <= 256 + 4


def _unit_seeds() -> Iterator[bytes]:
    hello = encode_control(encode_greeting(ControlType.HELLO, PeerLimits.of(LinkOptions())))
    yield joined(hello, encode_frame(bytes(200)))
    yield joined(hello[:3], hello[3:] + encode_frame(b"x")[:1], b"x")
    for kind in ControlType:
        yield joined(encode_control(bytes([kind])), encode_control(bytes([kind]) + bytes(40)))


def _zmtp(data: bytes, mechanism: Mechanism) -> None:
    head, *rest = pieces(data[:MOST_BYTES]) if data else [b""]
    decoder = FrameDecoder()
    with suppress(ZmtpError):
        check_greeting(head, mechanism.name)
        for piece in rest:
            for frame in decoder.feed(piece):
                if mechanism.ready:
                    mechanism.unseal(frame)
                else:
                    mechanism.take(frame.body)


def zmtp(data: bytes) -> None:
    """What a peer says to an edge of ZeroMQ without keys."""
    _zmtp(data, Null())


def zmtp_curve(data: bytes) -> None:
    """The same for one with keys."""
    _zmtp(data, CurveServer(secret=bytes(range(32)), public=bytes(range(1, 33)), name_of=lambda key: None))


def _zmtp_seeds() -> Iterator[bytes]:
    for mechanism in (b"NULL", b"CURVE"):
        head = bytearray(greeting(mechanism))
        head[32] = 0  # a client's
        ready = encode(4, b"\x05READY" + b"\x0bSocket-Type\0\0\0\x06DEALER")
        hello = encode(4, b"\x05HELLO\x01\0" + bytes(192))
        ping = encode(4, b"\x04PING\0\x0acontext")
        yield joined(bytes(head), ready, ping, encode(1, b"") + encode(0, b"frame"))
        yield joined(bytes(head), hello, encode(4, b"\x08INITIATE" + bytes(300)), encode(0, b"\x07MESSAGE" + bytes(40)))


TARGETS: dict[str, tuple[Target, Callable[[], Iterator[bytes]]]] = {
    "frames": (frames, _frame_seeds),
    "edge_session": (edge_session, lambda: _session_seeds(of_device=False)),
    "device_session": (device_session, lambda: _session_seeds(of_device=True)),
    "units": (units, _unit_seeds),
    "zmtp": (zmtp, _zmtp_seeds),
    "zmtp_curve": (zmtp_curve, _zmtp_seeds),
}
"""By name: the function, and what to start from."""
