"""Sessions with a scalar or lazy draft of which the edge rejected a token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from session_rounds import FINGERPRINT, PROMPT

import tslt_wire as tw

V = 50
EOS = 7
ALL = ("list", "match", "coupled", "scalar", "lazy")
CHAIN = tw.TokenTree.chain([10, 11, 12])
ROW = np.full(V, 1 / V)
DESYNCHRONISED, VIOLATION = tw.ErrorCode.DESYNCHRONISED, tw.ErrorCode.PROTOCOL_VIOLATION


Ends = tuple[tw.DeviceSession, tw.EdgeSession]


def prompted(**changes: Any) -> Ends:
    hello = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, evidence=ALL)
    settings = replace(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, eos_tokens=(EOS,)), **changes)
    device, edge = tw.DeviceSession(hello), tw.EdgeSession(settings, coupling=bytes(8))
    to_edge(device, edge)
    to_device(device, edge)
    device.send_prompt(PROMPT)
    to_edge(device, edge)
    return device, edge


def to_edge(device: tw.DeviceSession, edge: tw.EdgeSession) -> list[Any]:
    return list(edge.receive_data(device.data_to_send()))


def to_device(device: tw.DeviceSession, edge: tw.EdgeSession) -> list[Any]:
    return list(device.receive_data(edge.data_to_send()))


def a_list(token: int, **options: Any) -> tw.SparseDistribution:
    logits = np.full(V, -np.inf)
    logits[[token, 40, 41]] = [2.0, 1.0, 0.5]
    return tw.sparsify(logits, **options)


LISTS = {i - 1: a_list(token) for i, token in enumerate(CHAIN.tokens)}


def drafted(kind: type[tw.ScalarEvidence | tw.LazyEvidence], **changes: Any) -> Ends:
    """A chain of three that the edge has received."""
    device, edge = prompted(**changes)
    device.send_draft(CHAIN, kind.of(CHAIN, LISTS))
    to_edge(device, edge)
    return device, edge


def some_proposals(node: int = 0, *tokens: int, **place: Any) -> tw.Proposals:
    found = tuple(tw.Proposal(token, 300) for token in tokens or (20, 21, EOS))
    fields: dict[str, Any] = {"round": 0, "node": node, "proposals": found, **place}
    return tw.Proposals(**fields)


def proposed(**changes: Any) -> Ends:
    """The same, and the edge has rejected the second token and proposed others."""
    device, edge = drafted(tw.ScalarEvidence, **changes)
    edge.send_answer(some_proposals())
    (event,) = to_device(device, edge)
    assert (event.tokens, event.proposals) == ((10,), some_proposals())
    return device, edge


def asked(**changes: Any) -> Ends:
    """A lazy chain of which the edge has rejected the second token, and asked for its list."""
    device, edge = drafted(tw.LazyEvidence, **changes)
    edge.send_answer(tw.AskList(round=0, node=0))
    (event,) = to_device(device, edge)
    assert device.open_draft is not None
    assert event == tw.ListAsked(device.open_draft, 0)
    return device, edge


def frame(session: tw.DeviceSession | tw.EdgeSession, message: tw.Message) -> bytes:
    return tw.encode(message, session.profile)


# -------------------------------------------------------------------------------------------------------------- scalar
