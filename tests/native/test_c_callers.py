"""The device in C and its caller's pointers, callbacks and settings: what is none, is off, or may not be called."""

import ctypes as c
import shutil

import numpy as np
import pytest
from c_and_python import PROFILE, proposals, said, welcome_to
from c_device import CC, WRONG_STATE, CDevice, ints, library
from c_structures import BELOW, LOGITS, UNIFORM, Drafting, Random, Tree, Truncation

import tslt_wire as tw
from tslt_wire.session.states import State

pytestmark = pytest.mark.skipif(shutil.which(CC) is None, reason="there is no C compiler")

BAD_ARGUMENT = -1
ROWS = np.tile(np.arange(16, dtype=np.float32), (3, 1))


def ready(**room) -> CDevice:
    device = CDevice(said(), **room)
    assert device.receive(welcome_to(device.data_to_send())) == 0
    device.send_prompt((1, 2))
    device.data_to_send()
    return device


def drafted(device: CDevice, evidence, shape, rows, row_bytes, numbers=None, top_p=1.0, meanwhile=lambda: None) -> int:
    """What comes of a draft whose callback gives ``rows``, ``row_bytes`` apart."""

    def logits(state, nodes, out, stride):
        meanwhile()
        out[0], stride[0] = rows.ctypes.data, row_bytes
        return 0

    dtype, children = device.room.dtype, ints(shape, c.c_uint32)
    how = Drafting(evidence, children, len(shape), dtype, 1.0, 1, Truncation(4, top_p, 0.0), 4, 0, 0.0, 0)
    numbers = numbers or Random.of(np.random.default_rng(0))
    given = c.byref(how), LOGITS(logits), None, c.byref(numbers)
    return int(device.lib.tslt_device_draft(device._device, *given))


def test_top_p_of_0_is_off():
    sent = []
    for top_p in (0.0, -0.0, 1.0):
        device = ready()
        assert drafted(device, 0, (1, 1), ROWS, 64, top_p=top_p) == 0
        sent.append(device.data_to_send())
    assert len(set(sent)) == 1
    for top_p in (-0.5, float("nan")):
        assert drafted(ready(), 0, (1, 1), ROWS, 64, top_p=top_p) == BAD_ARGUMENT


def test_null_is_no_hello_no_room_and_no_drafting():
    device, lib = ready(), library()
    hello, room, made = c.byref(device.hello), c.byref(device.room), c.byref(c.c_void_p())
    block, size = c.create_string_buffer(device.size + 16), c.c_size_t(device.size)
    start = c.c_void_p((c.addressof(block) + 15) // 16 * 16)
    assert lib.tslt_device_size(None, room) == lib.tslt_device_size(hello, None) == 0
    for given in ((None, room, made), (hello, None, made), (hello, room, None)):
        assert lib.tslt_device_new(start, size, *given) == BAD_ARGUMENT
    assert lib.tslt_device_new(start, size, hello, room, made) == 0
    assert lib.tslt_device_draft(device._device, None, LOGITS(), None, None) == BAD_ARGUMENT
    assert lib.tslt_device_close(None) == 0
    nothing = Tree(1, 4, 0, 0, 0, 0, None, None, 0, None)
    assert lib.tslt_device_prompt(device._device, None, c.c_size_t(0), c.c_size_t(1), 0) == 0
    assert lib.tslt_device_send(device._device, c.byref(nothing)) == 0


@pytest.mark.parametrize(("dtype", "real"), [(0, 4), (1, 8), (2, 2), (3, 2)])
def test_several_rows_are_at_least_a_row_apart(dtype, real):
    """Of one row the distance is not read."""
    rows = np.zeros((3, 16 * real + real), np.uint8)  # zeros of any type
    row = 16 * real
    apart = {0: True, 3: True, row - real: True, row + 1: True, row: False, row + real: False}
    apart[2**64 - 16 * real] = True  # a distance below 0
    for expansion in ((1, 1), (2, 1)):
        for row_bytes, wrong in apart.items():
            device = ready(dtype=dtype)
            code = drafted(device, 1, expansion, rows, row_bytes)
            assert code == (BAD_ARGUMENT if wrong and expansion[0] > 1 else 0)
            assert device.state is (State.IDLE if code else State.OPEN)


def meddle(device: CDevice) -> list[int]:
    """What all functions that change a session say."""
    lib, d, token, size = device.lib, device._device, c.c_int32(), c.c_size_t()
    numbers = Random.of(np.random.default_rng(0))
    how = Drafting(1, ints((1,), c.c_uint32), 1, 0, 1.0, 1, Truncation(4, 1.0, 0.0), 4, 0, 0.0, 0)
    tree = Tree(1, 4, 0, 0, 0, 0, None, None, 0, None)
    assert lib.tslt_device_next(d, c.byref(size)) is None
    assert size.value == 0
    found = [
        device.receive(tw.encode(proposals(), PROFILE)),
        lib.tslt_device_again(d),
        lib.tslt_device_prompt(d, ints((1,)), c.c_size_t(1), c.c_size_t(0), 1),
        lib.tslt_device_send(d, c.byref(tree)),
        lib.tslt_device_choose(d, c.byref(numbers), c.byref(token)),
        lib.tslt_device_take(d, 0, c.byref(token)),
        lib.tslt_device_more(d),
        lib.tslt_device_list(d),
        lib.tslt_device_close(d),
        lib.tslt_device_fail(d, 42, b""),
        lib.tslt_device_reconnect(d),
        lib.tslt_device_draft(d, c.byref(how), LOGITS(), None, c.byref(numbers)),
    ]
    assert device.event.kind == 0
    return [int(code) for code in found]


@pytest.mark.parametrize("calls", [False, True])
def test_within_a_callback_nothing_changes_the_session(calls):
    """A session that is called from its callback says so, and goes on as one that is not."""
    device = ready()
    found: set[int] = set()

    def meanwhile() -> None:
        before = device.state, device.round, device.prefix
        found.update(meddle(device) if calls else ())
        assert (device.state, device.round, device.prefix) == before

    def below(_, size) -> int:
        meanwhile()
        return 0

    def uniform(_) -> float:
        meanwhile()
        return 0.0

    numbers = Random(BELOW(below), UNIFORM(uniform), None)
    assert drafted(device, 3, (1, 1), ROWS, 64, numbers, meanwhile=meanwhile) == 0
    assert tw.decode(device.data_to_send(), PROFILE).tree.tokens == (12, 12)
    assert device.receive(tw.encode(proposals(), PROFILE)) == 0
    token = c.c_int32()
    assert device.lib.tslt_device_choose(device._device, c.byref(numbers), c.byref(token)) == 0
    assert token.value >= 0
    assert found == ({WRONG_STATE} if calls else set())
    assert device.within_block()
