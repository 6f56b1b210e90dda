"""The device in C: what no caller may give, and what does not fit its memory; nothing is sent, nothing changes."""

import ctypes as c
import functools
import shutil

import numpy as np
import pytest
from c_and_python import LIMITS, LIST, PROFILE, proposals, said, welcome_to
from c_device import CC, EVIDENCE, WRONG_STATE, CDevice, Refused, ints, library
from c_frames import Message, Profile
from c_structures import BELOW, LOGITS, UNIFORM, Drafting, Limits, List, Random, Tree, Truncation

import tslt_wire as tw
from tslt_wire.errors import ErrorCode
from tslt_wire.session.states import State

pytestmark = pytest.mark.skipif(shutil.which(CC) is None, reason="there is no C compiler")

BAD_ARGUMENT, NO_SPACE, BAD_LOGITS, CALLBACK_FAILED = -1, -3, -4, -6
MOST_V = 1 << 20


def refused(call, *given, **named) -> int:
    with pytest.raises(Refused) as error:
        call(*given, **named)
    return error.value.code


# --------------------------------------------------------------------------------------------------------------- trees


def ready(hello=None, *, room=None, **fields) -> CDevice:
    device = CDevice(hello or said(), **(room or {}))
    assert device.receive(welcome_to(device.data_to_send(), **fields)) == 0
    device.send_prompt((1, 2))
    device.data_to_send()
    return device


def columns(q: tw.SparseDistribution) -> tuple[list[int], list[int]]:
    return q.ids.tolist(), q.codes.tolist()


SIX = columns(LIST)
ALL = columns(tw.sparsify(np.log(np.arange(1.0, 17)), precision="log2/1"))


def send(
    device: CDevice, kind="list", parents=(-1, 0), tokens=(14, 15), lists=2, given=SIX, unsent=True, **changes
) -> int:
    """What comes of a tree, whose lists are ids and codes; one that is refused changes nothing."""
    ids, codes = ints(given[0]), ints(given[1], c.c_uint32)
    made = (List * max(1, lists))(*(List(len(given[0]), 0, ids, codes) for _ in range(lists)))
    tree = Tree(EVIDENCE.index(kind), 4, 0, 0, 0, len(tokens), ints(parents), ints(tokens), lists, made)
    for name, value in changes.items():
        setattr(tree, name, value)
    before = device.state, device.round
    code = int(device.lib.tslt_device_send(device._device, c.byref(tree)))
    if code:
        assert (device.state, device.round) == before
        assert not unsent or device.data_to_send() == b""
    return code


TREES = {
    "no such evidence": ({"evidence": -1}, BAD_ARGUMENT),
    "evidence of a later version": ({"evidence": 5}, BAD_ARGUMENT),
    "evidence that was not agreed on": ({"kind": "coupled", "lists": 0}, BAD_ARGUMENT),
    "no such precision": ({"precision": -1}, BAD_ARGUMENT),
    "a precision of a later version": ({"precision": 8}, BAD_ARGUMENT),
    "more nodes than there is memory for": ({"parents": range(-1, 4), "tokens": [14] * 5, "lists": 5}, NO_SPACE),
    "a parent before the prefix": ({"parents": (-2, 0)}, BAD_ARGUMENT),
    "a parent behind its child": ({"parents": (-1, 1)}, BAD_ARGUMENT),
    "a token below 0": ({"tokens": (14, -1)}, BAD_ARGUMENT),
    "a token behind the last": ({"tokens": (14, 16)}, BAD_ARGUMENT),
    "lists that are missing": ({"lists": 1}, BAD_ARGUMENT),
    "ids that descend": ({"given": ([3, 2], [0, 0])}, BAD_ARGUMENT),
    "a token that is in no list": ({"tokens": (14, 2)}, BAD_ARGUMENT),
    "a long list": ({"given": ALL}, NO_SPACE),
    "many lists": ({"parents": range(-1, 3), "tokens": [14] * 4, "lists": 4}, NO_SPACE),
    "nothing that goes on": ({"parents": (), "tokens": (), "lists": 0, "goes_on": 1}, BAD_ARGUMENT),
    "a tree that goes on from no leaf": ({"parents": (-1, -1), "lists": 1, "goes_on": 1, "leaf": 2}, BAD_ARGUMENT),
    "a tree that goes on from a node with others below": (
        {"parents": (-1, -1, 0), "tokens": (14, 15, 14), "goes_on": 1},
        BAD_ARGUMENT,
    ),
    "equal siblings": ({"parents": (-1, -1), "tokens": (15, 15), "lists": 1, "without_replacement": 1}, BAD_ARGUMENT),
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_that_no_draft_has(name):
    changes, wanted = TREES[name]
    device = ready(room={"most_nodes": 4, "most_entries": 20, "most_listed": 8})
    assert send(device, **changes) == wanted
    assert send(device) == 0


def test_a_tree_goes_on_from_its_leaf():
    device = ready()
    assert send(device, "match", (-1, -1, 1), (14, 15, 3), 0, goes_on=1, leaf=2) == 0
    assert device.ahead == (*device.prefix, 15, 3)
    assert tw.decode(device.data_to_send(), PROFILE).flight == tw.Flight(goes_on=True, leaf=2)


def test_what_the_next_draft_continues():
    device = ready()
    assert send(device, goes_on=0) == 0
    assert device.ahead == device.prefix


def test_trees_of_other_evidence():
    fork = {"parents": (-1, -1)}
    assert send(ready(), "scalar", **fork) == BAD_ARGUMENT
    assert send(ready(), "match", **fork, tokens=(15, 15), lists=0) == BAD_ARGUMENT
    assert send(ready(), "match", **fork, lists=0, without_replacement=1) == 0
    assert send(ready(), "scalar", without_replacement=1) == 0
    assert send(ready(), "list", **fork, lists=1, without_replacement=1) == 0


SMALL = {"max_depth": 1, "max_leaves": 1, "max_nodes": 1, "max_entries": 7, "max_frame_bytes": 20}


@pytest.mark.parametrize("limit", SMALL)
def test_drafts_that_an_edge_does_not_take(limit):
    fields = LIMITS | {limit: SMALL[limit]}
    device = ready(limits=fields)
    shape = {"parents": (-1, -1), "lists": 1} if limit == "max_leaves" else {}
    shape = {"parents": range(-1, 9), "tokens": [14] * 10, "lists": 10} if limit == "max_frame_bytes" else shape
    assert send(device, **shape) == BAD_ARGUMENT
    assert send(device, "match", (-1,), (14,), 0) == 0


def test_precisions_and_windows_that_an_edge_does_not_take():
    assert send(ready(precisions=["f16"])) == BAD_ARGUMENT
    assert send(ready(window=1), goes_on=1) == BAD_ARGUMENT


def test_drafts_that_the_text_has_no_room_for():
    assert send(ready(context=3)) == WRONG_STATE
    assert send(ready(room={"most_tokens": 3})) == NO_SPACE
    assert ready(context=3).depth == 1
    assert ready(limits=LIMITS | {"max_depth": 5}).depth == 5


DRAFTINGS = {
    "no such evidence": ({"evidence": -1}, BAD_ARGUMENT),
    "evidence of a later version": ({"evidence": 5}, BAD_ARGUMENT),
    "evidence that was not agreed on": ({"evidence": 2}, BAD_ARGUMENT),
    "no such precision": ({"precision": -1}, BAD_ARGUMENT),
    "a precision of a later version": ({"precision": 8}, BAD_ARGUMENT),
    "numbers of another type": ({"dtype": 1}, BAD_ARGUMENT),
    "a level of none": ({"expansion": ints((1, 0), c.c_uint32)}, BAD_ARGUMENT),
    "a tree where a chain is": ({"evidence": 3, "expansion": ints((1, 2), c.c_uint32)}, BAD_ARGUMENT),
    "nothing that goes on": ({"levels": 0, "goes_on": 1}, BAD_ARGUMENT),
    "more nodes than there is memory for": ({"expansion": ints((3, 3), c.c_uint32)}, NO_SPACE),
    "a row that is listed whole": ({"truncate": 0}, NO_SPACE),
    "lists by probability": ({"truncation": Truncation(0, 0.9, 0.0)}, NO_SPACE),
    "a list longer than there is memory for": ({"truncation": Truncation(9, 1.0, 0.0), "evidence": 1}, NO_SPACE),
    "no expansion": ({"expansion": None}, BAD_ARGUMENT),
    "logits that are none": ({"temperature": 0.5, "goes_on": 7}, BAD_LOGITS),
}


@pytest.mark.parametrize("name", DRAFTINGS)
def test_drafts_that_are_not_drawn(name):
    changes, wanted = DRAFTINGS[name]
    device = ready(room={"most_nodes": 8, "most_listed": 8, "most_entries": 64})
    how = Drafting(0, ints((1, 1), c.c_uint32), 2, 0, 1.0, 1, Truncation(4, 1.0, 0.0), 4, 0, 0.0, 0)
    rows = np.full((3, 16), np.nan) if wanted == BAD_LOGITS else np.tile(np.arange(16.0), (3, 1))
    rows = np.ascontiguousarray(rows, np.float32)

    def logits(state, nodes, out, stride):
        out[0], stride[0] = rows.ctypes.data, rows.strides[0]
        return 0

    def draft(how):
        numbers = Random.of(np.random.default_rng(0))
        given = c.byref(how), LOGITS(logits), None, c.byref(numbers)
        return device.lib.tslt_device_draft(device._device, *given)

    for field, value in changes.items():
        setattr(how, field, value)
    assert draft(how) == wanted
    assert (device.state, device.data_to_send()) == (State.IDLE, b"")
    assert send(device) == 0
    assert device.within_block()


ROWS = np.tile(np.arange(16, dtype=np.float32), (3, 1))


def drafted(device: CDevice, *, gives_up=None, at=0, numbers=None, **changes) -> int:
    """What comes of a chain of two, whose callback returns ``gives_up`` at the level ``at``: None is no row."""
    how = Drafting(0, ints((1, 1), c.c_uint32), 2, 0, 1.0, 1, Truncation(4, 1.0, 0.0), 4, 0, 0.0, 0)
    for field, value in changes.items():
        setattr(how, field, value)

    def logits(state, nodes, out, stride):
        if nodes.contents.count == at:
            return gives_up or 0
        out[0], stride[0] = ROWS.ctypes.data, ROWS.strides[0]
        return 0

    numbers = numbers or Random.of(np.random.default_rng(0))
    given = c.byref(how), LOGITS(logits), None, c.byref(numbers)
    return int(device.lib.tslt_device_draft(device._device, *given))


@pytest.mark.parametrize("gives_up", [-1, 9, 77, None])
def test_a_callback_that_fails_leaves_the_session_as_it_was(gives_up):
    """Whatever it returns, its code is one that nothing else has; also behind a draft in flight."""
    device = ready()
    for _ in range(2):
        before = device.state, device.round, device.prefix, device.ahead
        for at in (0, 1):
            assert drafted(device, gives_up=gives_up, at=at) == CALLBACK_FAILED
            assert (device.state, device.round, device.prefix, device.ahead) == before
            assert device.data_to_send() == b""
        assert drafted(device, at=-1, goes_on=1) == 0
        assert device.data_to_send()
    assert device.within_block()


def test_random_numbers_that_are_none_stay_within_the_memory():
    wild = Random(BELOW(lambda *_: (1 << 64) - 1), UNIFORM(lambda _: float("nan")), None)
    for evidence, distinct in ((0, 0), (0, 1), (3, 0), (4, 0)):
        device = ready()
        shape = ints((2, 1) if distinct else (1, 1), c.c_uint32)
        code = drafted(device, at=-1, evidence=evidence, without_replacement=distinct, expansion=shape, numbers=wild)
        assert code == (BAD_ARGUMENT if distinct else 0)
        assert device.within_block()


# ------------------------------------------------------------------------------------------------------------- prompts


def test_prompts_that_no_text_begins_with():
    fields = LIMITS | {"max_prompt_tokens": 4}
    device = ready(limits=fields, context=8, room={"most_tokens": 7})
    for tokens, keep in (((1,), 3), ((), 0), ((1,) * 5, 0), ((-1,), 0), ((16,), 0)):
        assert refused(device.send_prompt, tokens, keep=keep) == BAD_ARGUMENT
    device.send_prompt((3, 4, 5), keep=2)
    for tokens, keep in (((1, 1, 1, 1), 5), ((1, 1, 1), 5)):
        assert refused(device.send_prompt, tokens, keep=keep) == BAD_ARGUMENT
    assert device.prefix == (1, 2, 3, 4, 5)
    assert device.lib.tslt_device_prompt_length(device._device) == 5


def test_another_text_may_begin_while_proposals_are_open():
    device = ready()
    assert send(device, "scalar") == 0
    device.data_to_send()
    assert device.receive(tw.encode(proposals(), PROFILE)) == 0
    device.send_prompt((7,), new_text=True)
    assert (device.state, device.prefix) == (State.IDLE, (7,))


def test_a_choice_that_the_edge_does_not_know_yet_counts_as_sent():
    fields = LIMITS | {"max_prompt_tokens": 2}
    device = ready(limits=fields, context=8)
    assert send(device, "scalar") == 0
    device.data_to_send()
    assert device.receive(tw.encode(proposals(tokens=(3, 4)), PROFILE)) == 0
    count = c.c_uint32()
    device.lib.tslt_device_proposals(device._device, c.byref(count))
    assert count.value == 2
    assert refused(device.take, 2) == BAD_ARGUMENT
    assert refused(device.send_prompt, (1, 1)) == WRONG_STATE
    assert device.take(1) == 4
    assert refused(device.send_prompt, (1, 1), keep=3) == BAD_ARGUMENT
    device.send_prompt((1,), keep=3)


# -------------------------------------------------------------------------------------------------------------- memory


@functools.cache
def hello_bytes() -> int:
    return len(CDevice(said()).data_to_send())


def full(*, window=1, **room) -> CDevice:
    """A device with a text, whose queue has no room for one more PROMPT."""
    device = ready(room={"queue_bytes": hello_bytes() + 4, "most_window": window, **room})
    while _prompted(device):
        pass
    return device


def _prompted(device: CDevice) -> bool:
    """Whether one more PROMPT fitted."""
    code = device.lib.tslt_device_prompt(device._device, ints((1, 2)), c.c_size_t(2), c.c_size_t(0), 0)
    assert code in (0, NO_SPACE)
    return code == 0


def test_a_hello_that_does_not_fit():
    for queue_bytes in (2, hello_bytes() + 3):
        assert refused(CDevice, said(), queue_bytes=queue_bytes) == NO_SPACE


def test_a_hello_that_fits_but_for_its_padding():
    hello = said(extra={"padding": 1024})
    assert refused(CDevice, hello, queue_bytes=hello_bytes() + 30) == NO_SPACE
    assert len(CDevice(hello, queue_bytes=1028).data_to_send()) == 1024


def test_a_second_hello_that_does_not_fit():
    device = ready(room={"queue_bytes": hello_bytes() + 4})
    device.data_to_send()
    assert refused(device.reconnect) == NO_SPACE
    assert device.state is State.IDLE
    assert send(device, "match", lists=0) == 0


def test_frames_for_which_there_is_no_room_are_not_sent():
    for kind in ("list", "match", "scalar"):
        device = full()
        state = device.state, device.round
        given = tw.TokenTree.chain([14, 15] * 10), {node: LIST for node in range(-1, 19)}
        evidence = {"list": tw.ListEvidence(given[1]), "match": tw.MatchEvidence(), "scalar": None}[kind]
        evidence = evidence or tw.ScalarEvidence.of(*given)
        assert refused(device.send_draft, given[0], evidence) == NO_SPACE
        assert (device.state, device.round) == state
        assert list(iter(device.data_to_send, b""))
        device.send_draft(given[0], evidence)
        assert device.within_block()


def test_drafts_in_flight_that_do_not_fit_twice():
    device = ready(room={"queue_bytes": hello_bytes() + 4, "most_window": 2})
    given = tw.TokenTree.chain([14, 15] * 20), tw.MatchEvidence()
    for _ in range(2):
        device.send_draft(*given, goes_on=True)
    while list(iter(device.data_to_send, b"")):
        pass
    counts = []
    while _again(device):
        counts.append(2)
    waiting = list(iter(device.data_to_send, b""))
    assert len(waiting) == sum(counts)  # all of them each time, or none
    assert len(set(waiting)) == 2
    assert device.within_block()


def _again(device: CDevice) -> bool:
    return device.lib.tslt_device_again(device._device) == 0


@pytest.mark.parametrize("entropy", ["range", "none"])
def test_a_list_that_does_not_fit(entropy):
    device = ready(said(entropy=(entropy,)), room={"queue_bytes": hello_bytes() + 4}, entropy=entropy)
    while _prompted(device):
        pass
    assert device.data_to_send()  # the room of one
    assert send(device, "lazy", given=ALL) == 0
    assert device.receive(tw.encode(tw.AskList(round=0, node=-1), PROFILE)) == 0
    assert refused(device.send_list) == NO_SPACE
    assert device.state is State.ASKED
    assert list(iter(device.data_to_send, b""))
    device.send_list()
    profile = tw.Profile(vocab_size=16, entropy=entropy)
    assert tw.decode(device.data_to_send(), profile).q.ids.tolist() == ALL[0]


def test_error_and_bye_always_fit():
    for end in (lambda d: d.fail(ErrorCode.INTERNAL, "x" * 1000), lambda d: d.close()):
        for padding in ({}, {"extra": {"padding": 300}}):
            hello = said(**padding)
            device = CDevice(hello, queue_bytes=1204)
            assert device.receive(welcome_to(device.data_to_send())) == 0
            device.send_prompt((1, 2))
            while _prompted(device):
                pass
            end(device)
            last = list(iter(device.data_to_send, b""))[-1]
            assert last[0] & 63 in (4, 5)
            assert not padding or len(last) % 300 == 0
            assert device.within_block()


def test_an_error_has_less_text_where_there_is_less_room():
    padded = CDevice(said(extra={"padding": 4096}), queue_bytes=5000)
    for text in (None, "x" * 12_300, "x" * 40_000):
        device = CDevice(said(extra={"padding": 4096}), queue_bytes=5000)
        device.data_to_send()
        device.lib.tslt_device_fail(device._device, 42, text and text.encode())
        message = tw.decode(device.data_to_send(), PROFILE)
        assert (message.code, message.message) == (42, "")
    assert padded.lib.tslt_device_fail(padded._device, 1 << 16, None) == BAD_ARGUMENT
    assert padded.lib.tslt_device_fail(padded._device, -1, None) == BAD_ARGUMENT
    assert padded.lib.tslt_device_fail(padded._device, 42, b"\xff") == BAD_ARGUMENT
    assert padded.state is State.GREETED


def test_a_session_closes_where_its_edge_takes_no_bye():
    device = CDevice(said())
    assert device.receive(welcome_to(device.data_to_send(), limits=LIMITS | {"max_frame_bytes": 4})) == 0
    device.close()
    assert (device.state, device.data_to_send()) == (State.CLOSED, b"")


def test_a_refused_frame_ends_the_link_and_not_the_text():
    device = ready()
    assert send(device, "match", lists=0) == 0
    device.data_to_send()
    assert device.receive(b"nonsense") == ErrorCode.BAD_CHECKSUM == device.event.code
    assert c.string_at(device.event.text, device.event.text_size) == b"the frame does not decode"
    assert device.state is State.FAILED
    assert device.data_to_send()[0] & 63 == 4
    device.reconnect()
    assert device.receive(welcome_to(device.data_to_send())) == 0
    kinds = [frame[0] & 63 for frame in iter(device.data_to_send, b"")]
    assert (device.state, device.prefix, kinds) == (State.OPEN, (1, 2), [6, 0x11])


def test_what_is_over_is_over():
    device = ready()
    device.close()
    assert device.data_to_send()
    for again in (device.close, lambda: device.fail(ErrorCode.INTERNAL, "late")):
        again()
        assert (device.state, device.data_to_send()) == (State.CLOSED, b"")
    device.reconnect()
    for end in (lambda: device.fail(ErrorCode.INTERNAL, ""), device.close):
        end()
        end()
    assert device.state is State.FAILED


def test_an_edge_with_more_tokens_than_there_is_memory_for():
    device = CDevice(said(ordinary=bytes(32)))
    more = welcome_to(device.data_to_send(), vocab_size=20, tokenizer=bytes(32), ordinary=bytes(32))
    assert device.receive(more) == ErrorCode.UNSUPPORTED


def test_a_question_for_which_there_is_no_room():
    """A PROMPT of some length leaves room for the draft behind it, and for no MORE."""

    def asked(tokens) -> int | None:
        device = ready(room={"queue_bytes": hello_bytes() + 4})
        given = ints((1,) * tokens), c.c_size_t(tokens), c.c_size_t(0), 0
        if device.lib.tslt_device_prompt(device._device, *given) or send(device, "scalar", unsent=False):
            return None
        assert device.receive(tw.encode(proposals(), PROFILE)) == 0
        code = int(device.lib.tslt_device_more(device._device))
        assert device.state is (State.OPEN if code == 0 else State.PROPOSED)
        return code

    assert {asked(tokens) for tokens in range(600, 1000, 3)} == {None, 0, NO_SPACE}


@pytest.mark.parametrize("fields", [{"eos_tokens": [1] * 65}, {"sampling": {"suppress_tokens": list(range(128, 640))}}])
def test_a_welcome_with_more_than_there_is_memory_for(fields):
    device = CDevice(said(vocab_size=1000))
    assert device.receive(welcome_to(device.data_to_send(), vocab_size=1000, **fields)) == ErrorCode.UNSUPPORTED


# ------------------------------------------------------------------------------------------------ what it knows, frames


def test_what_a_session_knows_before_and_after_welcome():
    device = CDevice(said())
    assert device.lib.tslt_device_welcome(device._device) is None
    assert device.receive(welcome_to(device.data_to_send())) == 0
    assert device.lib.tslt_device_welcome(device._device)


def test_a_text_that_is_longer_than_its_edge_takes_is_full():
    device = ready()
    device.send_prompt((1, 2, 3, 4))
    device.reconnect()
    assert device.receive(welcome_to(device.data_to_send(), context=1)) == ErrorCode.UNSUPPORTED
    assert device.depth == -1


def test_numbers_that_no_state_or_kind_has():
    assert library().tslt_may_send(0, 0x17, 0, 1) == 0
    after = library().tslt_state_after
    for state, what in ((-1, 1), (10, 1), (0, -1), (0, 0x17), (0, 0x48), (0, 0x3F)):
        assert after(state, what) == -1


def test_profiles_that_no_frame_has():
    lib, message, limits = library(), Message(), Limits.of(tw.DecodeLimits())
    for vocab_size, entropy in ((0, 0), (MOST_V + 1, 0), (16, 2)):
        profile = Profile(vocab_size, 4, entropy)
        given = (c.byref(profile), c.byref(limits), b"", c.c_size_t(0), c.byref(message))
        assert lib.tslt_decode_frame(None, *given) == BAD_ARGUMENT
