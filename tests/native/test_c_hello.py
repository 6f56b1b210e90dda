"""HELLO of the device in C: what it cannot say, and that it says what Python's does; how much room a session takes."""

import ctypes as c
import shutil

import pytest
from c_and_python import Both, said
from c_device import CC, hello_of, ints, library
from c_structures import Field, Hello, NamedPrior, Room

import tslt_wire as tw

pytestmark = pytest.mark.skipif(shutil.which(CC) is None, reason="there is no C compiler")

BAD_ARGUMENT, MOST_V = -1, 1 << 20


def size_of(hello: Hello, **room) -> int:
    given = {"most_tokens": 16, "most_nodes": 4, "most_entries": 16, "most_listed": 8} | room
    return int(library().tslt_device_size(c.byref(hello), c.byref(Room(**given))))


def names(*values) -> dict:
    return {"evidence": ints(values, c.c_int), "evidence_count": len(values)}


def priors(*names, prior=None) -> dict:
    return {
        "priors": (NamedPrior * max(1, len(names)))(*(NamedPrior(n, prior) for n in names)),
        "prior_count": len(names),
    }


def extra(*names) -> dict:
    return {"extra": (Field * len(names))(*(Field(name, b"\xc0", 1) for name in names)), "extra_count": len(names)}


def sampling(hello: Hello, **fields) -> Hello:
    hello.sampling.named = (1 << 10) - 1
    hello.sampling.top_p = hello.sampling.repetition_penalty = 1.0
    for name, value in fields.items():
        setattr(hello.sampling, name, value)
    return hello


def biases(*pairs) -> dict:
    tokens, values = ints([token for token, _ in pairs]), ints([bias for _, bias in pairs], c.c_double)
    return {"biases": len(pairs), "biased": tokens, "bias": values}


MOST_BYTES = (1 << 8 * c.sizeof(c.c_size_t)) // 2 - 1
"""Of an object."""


@pytest.mark.parametrize("queue_bytes", [MOST_BYTES * 2 + 1, MOST_BYTES * 2 - 100, MOST_BYTES + 1, MOST_BYTES])
def test_a_queue_that_no_memory_has(queue_bytes):
    hello, kept = hello_of(said())
    assert size_of(hello, queue_bytes=queue_bytes) == 0
    block, device = c.create_string_buffer(64 << 10), c.c_void_p()
    room = Room(most_tokens=16, most_nodes=4, most_entries=16, most_listed=8, queue_bytes=queue_bytes)
    start = c.c_void_p((c.addressof(block) + 15) // 16 * 16)
    given = start, c.c_size_t(60 << 10), c.byref(hello), c.byref(room), c.byref(device)
    assert library().tslt_device_new(*given) == BAD_ARGUMENT
    assert set(block.raw) == {0}
    assert size_of(hello, queue_bytes=1 << 30) > 1 << 30
    del kept


@pytest.mark.parametrize("sizes", [(MOST_BYTES * 2 + 1,), (MOST_BYTES, MOST_BYTES + 2, 7), (MOST_BYTES * 2 - 900,)])
def test_fields_that_no_memory_has(sizes):
    hello, kept = hello_of(said())
    hello.extra = (Field * len(sizes))(*(Field(f"f{i}".encode(), b"", size) for i, size in enumerate(sizes)))
    hello.extra_count = len(sizes)
    assert size_of(hello) == 0
    del kept


def test_the_largest_session_is_counted_without_wrapping():
    """On 32 bits these numbers fit no memory."""
    hello, kept = hello_of(said())
    most = {"most_tokens": (1 << 30) - 1, "most_nodes": (1 << 20) - 1, "most_entries": (1 << 28) - 1, "most_window": 16}
    size = size_of(hello, **most, most_listed=MOST_V)
    assert size > 16 * (1 << 28) * 16 if MOST_BYTES > 1 << 32 else size == 0
    del kept


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokenizer": None},
        {"vocab_size": 0},
        {"vocab_size": MOST_V + 1},
        {"resume_size": 65},
        {"padding": 1},
        {"model": b"\xff"},
        {"padding": (1 << 16) + 1},
        names(),
        names(-1),
        names(5),
        names(0, 0),
        {"precision_count": 0},
        {"entropy_count": 0},
        priors(),
        priors(None),
        priors(b"density"),
        extra(None),
        extra(b"model"),
        extra(b"mine", b"mine"),
        {"min_version": -1},
        {"min_version": 3, "max_version": 2},
        {"max_version": 256},
    ],
)
def test_a_hello_that_no_device_can_say(wrong):
    made, kept = hello_of(said())
    assert size_of(made) > 0
    for name, value in wrong.items():
        setattr(made, name, value)
    assert size_of(made) == 0
    device = c.c_void_p()
    given = (c.byref(made), c.byref(Room(most_tokens=16, most_listed=8)), c.byref(device))
    assert library().tslt_device_new(None, c.c_size_t(1 << 20), *given) == BAD_ARGUMENT
    del kept


@pytest.mark.parametrize(
    "wrong",
    [
        {"named": 1 << 10},
        {"temperature": -0.5},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"min_p": 2.0},
        {"repetition_penalty": 0.0},
        {"presence_penalty": 3.0},
        {"frequency_penalty": -3.0},
        biases((3, 101.0)),
        biases((3, -101.0)),
        biases((3, 1.0), (3, 1.0)),
        biases((-1, 1.0)),
        biases((MOST_V, 1.0)),
        biases(*((token, 1.0) for token in range(301))),
        {"suppressed_count": 513, "suppressed": ints(range(513))},
    ],
)
def test_settings_that_no_device_can_ask_for(wrong):
    made, kept = hello_of(said())
    assert size_of(sampling(made)) > 0
    assert size_of(sampling(made, **wrong)) == 0
    del kept


@pytest.mark.parametrize(
    "wrong",
    [
        {"most_window": 17},
        {"vocab_size": MOST_V + 1},
        {"most_tokens": 0},
        {"most_tokens": 1 << 30},
        {"most_nodes": 1 << 20},
        {"most_entries": 1 << 28},
        {"most_listed": 0},
        {"most_listed": MOST_V + 1},
        {"dtype": -1},
        {"dtype": 4},
    ],
)
def test_room_that_no_session_has(wrong):
    made, kept = hello_of(said())
    assert size_of(made, **wrong) == 0
    assert size_of(made, dtype=3) > size_of(made)
    del kept


HELLOS = {
    "fields of other names": {"extra": {"mine": "x", "aim": 1, "zeal": [1, 2], "timing": True, "logprobs": True}},
    "a long name": {"model": "m" * 70_000},
    "numbers of all sizes": {"limits": tw.DecodeLimits(max_nodes=200, max_entries=1 << 40)},
    "many tokens": {"sampling": tw.SamplingRequest(suppress_tokens=(*range(15), 300))},
    "a fingerprint of ordinary tokens": {"ordinary": bytes(32), "token_map": bytes(32)},
    "much padding": {"extra": {"padding": 1 << 16}},
}


@pytest.mark.parametrize("name", HELLOS)
def test_a_hello_of_any_sort_is_the_one_of_python(name):
    assert Both(said(**HELLOS[name])).hello[0] & 63 == 1


def test_a_second_hello_asks_for_what_was_agreed_on():
    both = Both(said(sampling=tw.SamplingRequest(temperature=0.5)))
    both.greeted(sampling={"temperature": 0.5})
    both.call("send_prompt", (1, 2))
    assert b"temperature" in both.call("reconnect")
