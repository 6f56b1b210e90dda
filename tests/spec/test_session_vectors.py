"""spec/vectors/sessions.json: each end alone sends, takes and refuses what is written there."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from session_vectors import evidence_with, lists_of

import tslt_wire as tw
from tslt_wire.frames.codec import HANDSHAKE_PROFILE
from tslt_wire.frames.kinds import DRAFT_KINDS, Kind
from tslt_wire.session.states import TRANSITIONS, Act, State

FILE = json.loads((Path(__file__).resolve().parents[2] / "spec" / "vectors" / "sessions.json").read_text())
TESTS = [pytest.param(group, test, id=test["id"]) for group in FILE["groups"] for test in group["tests"]]


def edge_of(group: dict, test: dict, link: dict | None = None) -> tw.EdgeSession:
    """``link``: the step with which another one begins."""
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in group["edge"].items()}
    key, given["limits"] = bytes.fromhex(given.pop("coupling")), tw.DecodeLimits(**given["limits"])
    given["sampling"] = tw.Sampling(**given.get("sampling", {}))
    given |= {name: bytes.fromhex(given[name]) for name in ("tokenizer", "ordinary") if name in given}
    settings = tw.EdgeSettings(**given)
    opening = tw.Opening(b"", bytes.fromhex(test.get("token", "")))
    if link is not None:
        key = bytes.fromhex(link["coupling"])
        settings = replace(settings, window=link.get("window", settings.window))
        opening = replace(opening, resumed=link["resumed"], held=tuple(link["held"]), round=link["held_round"])
    return tw.EdgeSession(settings, coupling=key, opening=lambda hello, frame: opening)


def device_of(test: dict) -> tw.DeviceSession:
    return tw.DeviceSession(tw.decode(bytes.fromhex(test["steps"][0]["hex"]), HANDSHAKE_PROFILE))


def make(session: Any, data: bytes, lists: dict[int, tw.SparseDistribution]) -> None:
    """Let a session send the message of ``data``, if it does not do so by itself."""
    message = tw.decode(data, session.profile)
    if isinstance(message, tw.Prompt):
        session.send_prompt(message.tokens, keep=message.keep, new_text=True)
    elif isinstance(message, tw.Draft):
        leaf = message.flight.leaf if message.flight else None
        session.send_draft(message.tree, evidence_with(message, lists), goes_on=message.goes_on, leaf=leaf)
    elif isinstance(message, tw.Answer):
        session.send_answer(message)
        session.next_events()
    elif isinstance(message, tw.Whole):
        draft = session.open_draft
        session.send_answer(tw.Verdict(round=message.round, node=draft.whole[-1], token=0))
        session.next_events()
    elif isinstance(message, tw.More):
        session.ask_more()
    elif isinstance(message, tw.ListReply):
        session.send_list()
    elif isinstance(message, tw.Bye):
        session.close()
    elif isinstance(message, tw.ErrorMessage):
        session.fail(
            tw.ErrorCode(message.code), message.message, retry_after_s=message.retry_after_s
        )  # nothing, if it has failed


def same_frame(found: bytes, wanted: bytes) -> bool:
    if found == wanted or wanted[0] != Kind.ERROR:
        return found == wanted
    return tw.decode(found, HANDSHAKE_PROFILE).code == tw.decode(wanted, HANDSHAKE_PROFILE).code


def outcome(session: Any, data: bytes) -> dict[str, str]:
    """What a session makes of a frame."""
    held = getattr(session, "following", ())
    try:
        events = session.receive_data(data)
    except (tw.DecodeError, tw.RemoteProtocolError) as refused:
        return {"result": "refused", "error": refused.code.name.lower()}
    if events:
        return {"result": "taken"}
    if getattr(session, "following", ()) != held:
        return {"result": "held"}
    answer = session.data_to_send()
    return {"result": "answered", "answer": answer.hex()} if answer else {"result": "ignored"}


def play(end: str, group: dict, test: dict) -> None:
    """All steps at one end."""
    session: Any = edge_of(group, test) if end == "edge" else device_of(test)
    lists = lists_of(group)
    for number, step in enumerate(test["steps"]):
        data = bytes.fromhex(step.get("hex", ""))
        if step["how"] == "reconnects":
            if end == "edge":
                session = edge_of(group, test, step)
            else:
                session.reconnect()
        elif step["from"] == end:
            if step["how"] == "takes":
                session.take(step["index"])
            elif step["how"] in ("sent", "lost"):
                found = session.data_to_send()
                if not found:  # it says nothing by itself
                    make(session, data, lists)
                    found = session.data_to_send()
                assert same_frame(found, data), number
        elif step["how"] in ("sent", "again", "forged"):
            assert outcome(session, data) == {k: step[k] for k in ("result", "error", "answer") if k in step}, number
        if end in step:
            found = {"state": str(session.state), "prefix": list(session.prefix), "round": session.round}
            assert found == step[end], number


@pytest.mark.parametrize(("group", "test"), TESTS)
def test_an_edge(group, test):
    play("edge", group, test)


@pytest.mark.parametrize(("group", "test"), [param for param in TESTS if "device" in param.values[1]["steps"][0]])
def test_a_device(group, test):
    play("device", group, test)


@pytest.mark.parametrize("change", ["state", "prefix", "round", "result", "frame"])
def test_a_difference_is_noticed(change):
    group, test = next(param.values for param in TESTS if param.id == "session/lazy")
    test = copy.deepcopy(test)
    verdict = test["steps"][6]
    assert verdict["result"] == "taken"
    if change == "result":
        verdict["result"] = "ignored"
    elif change == "frame":
        verdict["hex"] = test["steps"][-1]["hex"]
    else:
        for end in ("device", "edge"):
            verdict[end][change] = {"state": "open", "prefix": [3], "round": 7}[change]
    for end in ("device", "edge") if change != "result" else ("device",):
        with pytest.raises((AssertionError, ValueError)):
            play(end, group, test)


def test_every_transition_of_the_table_is_met():
    """From each state, with each frame and act; but BYE, ERROR and failures not from each."""
    met: set[tuple[State, Any]] = set()
    for _, test in (param.values for param in TESTS):
        before = {"device": "start", "edge": "start"}
        for step in test["steps"]:
            kind = Kind(bytes.fromhex(step["hex"])[0] & 63) if step.get("hex") else None
            if before["device"] == "open" and step["how"] in ("sent", "lost") and kind in DRAFT_KINDS.values():
                met.add((State.OPEN, Act.FOLLOW))
            if kind is Kind.VERDICT_WHOLE and step.get("result") == "taken" and step["device"]["state"] == "open":
                met.add((State.IDLE, Act.NEXT))
            if step["how"] == "reconnects":
                met.add((State(before["device"]), Act.RECONNECT))
            elif step["how"] == "takes":
                what: Any = Act.TAKE_END if step["device"]["state"] == "ended" else Act.TAKE
                met.add((State(before["device"]), what))
            elif step.get("result") == "taken":
                other = "edge" if step["from"] == "device" else "device"
                kind = Kind(bytes.fromhex(step["hex"])[0] & 63)
                last = {Kind.VERDICT: Act.VERDICT_END, Kind.RESUME: Act.RESUME_END}
                ends = other in step and step[other]["state"] == "ended"
                met.add((State(before[other]), last.get(kind, kind) if ends else kind))
            elif step.get("result") == "refused":
                met.add((State.START, Act.FAIL))
            before |= {end: step[end]["state"] for end in before if end in step}
    assert {what for _, what in TRANSITIONS} == {what for _, what in met}
    assert {pair for pair in TRANSITIONS if pair[1] not in (Kind.BYE, Kind.ERROR, Act.FAIL)} <= met
