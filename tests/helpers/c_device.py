"""The device in C, driven through ctypes: compiled once a process, called like ``tw.DeviceSession``."""

from __future__ import annotations

import ctypes as c
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from c_kernel import CC, STRICT, kernel_objects
from c_structures import (
    LOGITS,
    Drafting,
    Event,
    Field,
    Hello,
    Limits,
    List,
    NamedPrior,
    Prior,
    Random,
    Room,
    SamplingRequest,
    Tree,
    Truncation,
)

import tslt_wire as tw
from tslt_wire.coding.control_map import pack
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.profile import ENTROPY_IDS
from tslt_wire.messages.handshake import padding_wanted
from tslt_wire.messages.sampling import SETTINGS
from tslt_wire.session.states import State

PROGRAM = [*STRICT, "-D_POSIX_C_SOURCE=200809L"]
"""Of an example, which has a clock and sockets."""
EVIDENCE = ("list", "match", "coupled", "scalar", "lazy")
PRECISIONS = tuple(p.value for p in tw.Precision)
STATES: tuple[State, ...] = tuple(State)
NOTHING, WELCOMED, RESUMED, ANSWERED, PROPOSALS, LIST_WANTED, PEER_FAILED, PEER_CLOSED, WHOLE = range(9)
WRONG_STATE = -5
DTYPES = {"float32": 0, "float64": 1, "float16": 2}


@functools.cache
def library() -> c.CDLL:
    """The kernel and the device as a shared library of this process; TSLT_C_DEVICE names one that is there."""
    built = os.environ.get("TSLT_C_DEVICE")
    found = c.CDLL(built) if built else compiled()
    found.tslt_device_size.restype = c.c_size_t
    for name in ("next", "prefix", "ahead", "proposals", "welcome"):
        getattr(found, f"tslt_device_{name}").restype = c.c_void_p
    found.tslt_device_round.restype = c.c_uint32
    found.tslt_device_depth.restype = c.c_int64
    return found


def compiled() -> c.CDLL:
    """It, made of the sources."""
    folder = Path(tempfile.mkdtemp(prefix="tslt-c-device-"))
    made = folder / "libtslt_device.so"
    subprocess.run([CC, "-shared", *kernel_objects(), "-o", str(made)], check=True, capture_output=True)
    found = c.CDLL(str(made))
    shutil.rmtree(folder)
    return found


def ints(values: Sequence[int], kind: Any = c.c_int32) -> Any:
    """A C array."""
    return (kind * max(1, len(values)))(*values)


def hello_of(hello: tw.Hello, priors: Mapping[str, tw.Prior] | None = None) -> tuple[Hello, list[Any]]:
    """HELLO for C, and what must be kept as long as it."""
    kept: list[Any] = []

    def numbers(names: Sequence[str], all_: Sequence[str]) -> Any:
        kept.append(ints([all_.index(name) for name in names], c.c_int))
        return kept[-1]

    known = (NamedPrior * len(hello.priors))()
    for i, name in enumerate(hello.priors):
        known[i].name = name.encode()
        prior = None if name == "none" else (priors or {}).get(name) or plain_prior(name, hello.vocab_size)
        if prior is not None:
            tail, rows = prior.running_sums()
            kept += [tail, *rows]
            sums = Prior(tail.ctypes.data_as(c.POINTER(c.c_int64)))
            for j, row in enumerate(rows):
                sums.rows[j] = row.ctypes.data_as(c.POINTER(c.c_int64))
            known[i].prior = c.pointer(sums)
            kept.append(sums)
    asked = hello.sampling
    named = asked.named()
    request = SamplingRequest(named=sum(1 << SETTINGS.index(name) for name in named))
    for name, value in named.items():
        if name == "logit_bias":
            request.biases = len(value)
            request.biased, request.bias = ints([t for t, _ in value]), ints([b for _, b in value], c.c_double)
        elif name == "suppress_tokens":
            request.suppressed_count, request.suppressed = len(value), ints(value)
        else:
            setattr(request, name, value)
    padding = padding_wanted(hello)
    extra = {k: v for k, v in hello.extra.items() if not (k in ("timing", "logprobs") and v is True)}
    extra = {k: v for k, v in extra.items() if not (k == "padding" and padding)}
    fields = (Field * max(1, len(extra)))()
    for i, (name, value) in enumerate(extra.items()):
        data = pack(value, 1)
        kept.append(data)
        fields[i] = Field(name.encode(), data, len(data))
    made = Hello(
        vocab_size=hello.vocab_size,
        tokenizer=hello.tokenizer,
        ordinary=hello.ordinary or None,
        token_map=hello.token_map or None,
        model=hello.model.encode() or None,
        evidence=numbers(hello.evidence, EVIDENCE),
        evidence_count=len(hello.evidence),
        precisions=numbers(hello.precisions, PRECISIONS),
        precision_count=len(hello.precisions),
        entropy=numbers(hello.entropy, tuple(ENTROPY_IDS)),
        entropy_count=len(hello.entropy),
        priors=known,
        prior_count=len(hello.priors),
        limits=Limits.of(hello.limits),
        resume=hello.resume,
        resume_size=len(hello.resume),
        nonce=(c.c_uint8 * 16)(*hello.nonce),
        sampling=request,
        timing=hello.extra.get("timing") is True,
        log_probs=hello.extra.get("logprobs") is True,
        padding=padding,
        extra=fields,
        extra_count=len(extra),
        min_version=hello.min_version,
        max_version=hello.max_version,
    )
    return made, [*kept, known, fields, request]


class Refused(Exception):
    """What a C function returned."""

    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")
        self.code = code


def checked(code: int) -> None:
    """Raise Refused for anything but 0."""
    if code:
        raise Refused(code)


class CDevice:
    """A session in C, whose methods are called like those of ``tw.DeviceSession``."""

    def __init__(self, hello: tw.Hello, *, priors: Mapping[str, tw.Prior] | None = None, **room: Any) -> None:
        self.lib = library()
        self.hello, self._kept = hello_of(hello, priors)
        given = {
            "most_tokens": 4096,
            "most_nodes": 64,
            "most_entries": 8192,
            "most_listed": 1024,
            "most_window": 16,
        } | room
        self.room = Room(**given)
        size = self.lib.tslt_device_size(c.byref(self.hello), c.byref(self.room))
        assert size, "no session has this room"
        self.size = size
        # A byte before and behind it, which must stay: nothing is written outside of the block.
        self._memory = c.create_string_buffer(b"\xa5" * (size + 64), size + 64)
        start = (c.addressof(self._memory) + 31) // 16 * 16
        self._edges = (start - c.addressof(self._memory), size)
        self._device = c.c_void_p()
        checked(
            self.lib.tslt_device_new(
                c.c_void_p(start), c.c_size_t(size), c.byref(self.hello), c.byref(self.room), c.byref(self._device)
            )
        )
        self.event = Event()

    def within_block(self) -> bool:
        """Whether the bytes around the block are what they were."""
        first, size = self._edges
        raw = self._memory.raw
        return set(raw[:first]) == {0xA5} and set(raw[first + size : -1]) <= {0xA5}

    @property
    def state(self) -> State:
        return STATES[int(self.lib.tslt_device_state(self._device))]

    def _tokens(self, function: Any) -> tuple[int, ...]:
        count = c.c_size_t()
        at = function(self._device, c.byref(count))
        return tuple((c.c_int32 * count.value).from_address(at)) if count.value else ()

    @property
    def prefix(self) -> tuple[int, ...]:
        return self._tokens(self.lib.tslt_device_prefix)

    @property
    def ahead(self) -> tuple[int, ...]:
        return self._tokens(self.lib.tslt_device_ahead)

    @property
    def may_follow(self) -> bool:
        return bool(self.lib.tslt_device_may_follow(self._device))

    @property
    def round(self) -> int:
        return int(self.lib.tslt_device_round(self._device))

    @property
    def depth(self) -> int:
        return int(self.lib.tslt_device_depth(self._device))

    def receive(self, data: bytes) -> int:
        """The code that ``data`` is refused with, or 0; then ``event`` says what it meant."""
        self._frame = data
        return int(self.lib.tslt_device_receive(self._device, data, c.c_size_t(len(data)), c.byref(self.event)))

    def event_tokens(self) -> tuple[int, ...]:
        return tuple(self.event.tokens[: self.event.token_count])

    def data_to_send(self) -> bytes:
        size = c.c_size_t()
        at = self.lib.tslt_device_next(self._device, c.byref(size))
        return c.string_at(at, size.value) if at else b""

    def again(self) -> list[bytes]:
        """What waits for an answer, once more; all that was queued before must be sent."""
        checked(self.lib.tslt_device_again(self._device))
        return list(iter(self.data_to_send, b""))

    def send_prompt(self, tokens: Sequence[int], *, keep: int = 0, new_text: bool = False) -> None:
        array = ints(tokens)
        checked(
            self.lib.tslt_device_prompt(self._device, array, c.c_size_t(len(tokens)), c.c_size_t(keep), int(new_text))
        )

    def send_draft(
        self, tree: tw.TokenTree, evidence: tw.Evidence, *, goes_on: bool = False, leaf: int | None = None
    ) -> None:
        lists = list((getattr(evidence, "lists", None) or {}).values())
        kept: list[Any] = []
        made = (List * max(1, len(lists)))()
        for i, q in enumerate(lists):
            arrays = [np.ascontiguousarray(q.ids, np.int32), np.ascontiguousarray(q.codes, np.uint32)]
            kept += arrays
            made[i] = List(
                len(q),
                q.tail,
                arrays[0].ctypes.data_as(c.POINTER(c.c_int32)),
                arrays[1].ctypes.data_as(c.POINTER(c.c_uint32)),
            )
        given = Tree(
            EVIDENCE.index(evidence.name),
            PRECISIONS.index(lists[0].precision) if lists else 0,
            int(getattr(evidence, "replacement", True) is False),
            int(goes_on),
            leaf or 0,
            len(tree),
            ints(tree.parents),
            ints(tree.tokens),
            len(lists),
            made,
        )
        checked(self.lib.tslt_device_send(self._device, c.byref(given)))

    def draft(
        self,
        evidence: str,
        expansion: Sequence[int],
        rows: Callable[[list[int], list[int], int], np.ndarray],
        rng: np.random.Generator,
        *,
        temperature: float = 1.0,
        top_k: int = 32,
        top_p: float = 1.0,
        min_prob: float = 0.0,
        truncate: bool = True,
        precision: str = "log2/2",
        replacement: bool = True,
        tail_scale: float = 0.0,
        goes_on: bool = False,
    ) -> None:
        """``rows(parents, tokens, first)``: raw logits after each new node, real (N, V)."""
        keep: list[np.ndarray] = []

        def logits(_: Any, nodes: Any, out: Any, stride: Any) -> int:
            n = nodes.contents
            made = np.ascontiguousarray(rows(list(n.parents[: n.count]), list(n.tokens[: n.count]), n.first))
            assert DTYPES[made.dtype.name] == self.room.dtype
            keep[:] = [made]
            out[0], stride[0] = made.ctypes.data, made.strides[0]
            return 0

        how = Drafting(
            EVIDENCE.index(evidence),
            ints(expansion, c.c_uint32),
            len(expansion),
            self.room.dtype,
            temperature,
            int(truncate),
            Truncation(top_k, top_p, min_prob),
            PRECISIONS.index(precision),
            int(not replacement),
            tail_scale,
            int(goes_on),
        )
        numbers = Random.of(rng)
        checked(self.lib.tslt_device_draft(self._device, c.byref(how), LOGITS(logits), None, c.byref(numbers)))

    def choose(self, rng: np.random.Generator) -> int | None:
        token, numbers = c.c_int32(), Random.of(rng)
        checked(self.lib.tslt_device_choose(self._device, c.byref(numbers), c.byref(token)))
        return None if token.value < 0 else token.value

    def take(self, index: int) -> int:
        token = c.c_int32()
        checked(self.lib.tslt_device_take(self._device, c.c_uint32(index), c.byref(token)))
        return token.value

    def ask_more(self) -> None:
        checked(self.lib.tslt_device_more(self._device))

    def send_list(self) -> None:
        checked(self.lib.tslt_device_list(self._device))

    def close(self) -> None:
        checked(self.lib.tslt_device_close(self._device))

    def fail(self, code: int, message: str) -> None:
        checked(self.lib.tslt_device_fail(self._device, int(code), message.encode()))

    def reconnect(self) -> None:
        checked(self.lib.tslt_device_reconnect(self._device))
