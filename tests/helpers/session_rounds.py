"""Whole rounds between two sessions, through bytes, with any evidence and any source of randomness."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import tslt_wire as tw
from tslt_wire.verification.choices import Choices
from tslt_wire.verification.lazy_rule import verify_list_with
from tslt_wire.verification.proposals import choose_with, propose_with
from tslt_wire.verification.verdicts import verify_with

V = 8
FINGERPRINT = bytes(32)
PROMPT = (3, 1, 4)
MODES = ("list", "coupled", "match")


def connected(*, device=MODES, edge=MODES, key=bytes(range(8)), sampling=None):
    """Two ends that have shaken hands."""
    hello = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, evidence=device, sampling=sampling or tw.Sampling())
    settings = tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, evidence=edge)
    ours, theirs = tw.DeviceSession(hello), tw.EdgeSession(settings, coupling=key)
    theirs.receive_data(ours.data_to_send())
    ours.receive_data(theirs.data_to_send())
    return ours, theirs


def prompted(**options):
    """The same with a prefix."""
    device, edge = connected(**options)
    device.send_prompt(PROMPT)
    edge.receive_data(device.data_to_send())
    return device, edge


def evidence_of(mode: str, tree: tw.TokenTree, lists: Mapping[int, tw.SparseDistribution]) -> tw.Evidence:
    """Evidence ``mode`` for a tree drawn from ``lists``."""
    if mode == "scalar":
        return tw.ScalarEvidence.of(tree, lists)
    if mode == "lazy":
        return tw.LazyEvidence.of(tree, lists)
    return {"match": tw.MatchEvidence(), "coupled": tw.CoupledEvidence()}.get(mode) or tw.ListEvidence(
        lists, replacement=True
    )


def play(
    device: tw.DeviceSession,
    edge: tw.EdgeSession,
    tree: tw.TokenTree,
    evidence: tw.Evidence,
    lists: Mapping[int, tw.SparseDistribution],
    rows: np.ndarray,
    ours: Choices,
    theirs: Choices,
    *,
    proposals: int = 3,
    batches: int = 1 << 30,
) -> tuple[int, ...] | None:
    """One round; returns the tokens that it gave, or None if none of ``batches`` batches of proposals fitted.

    ``rows``: the target's, float64 (1 + nodes, V).
    """
    before = len(device.prefix)
    draft = device.send_draft(tree, evidence)
    (event,) = edge.receive_data(device.data_to_send())
    assert event.draft == draft
    answer = verify_with(event.draft, rows, theirs, coupling=edge.coupling, proposals=proposals)
    while True:
        edge.send_answer(answer)
        (event,) = device.receive_data(edge.data_to_send())
        if isinstance(event, tw.VerdictReceived):
            assert device.prefix == edge.prefix
            return device.prefix[before:]
        if isinstance(event, tw.ListAsked):
            device.send_list()
            (got,) = edge.receive_data(device.data_to_send())
            assert got.q == lists[event.node]
            answer = verify_list_with(got.draft, got.node, rows[1 + got.node], got.q, theirs)
            continue
        assert isinstance(event, tw.ProposalsReceived)
        index = choose_with(event.proposals, event.draft, ours)
        if index is not None:
            device.take(index)
            assert device.prefix[:-1] == edge.prefix
            return device.prefix[before:]
        batches -= 1
        if batches == 0:
            return None
        device.ask_more()
        (asked,) = edge.receive_data(device.data_to_send())
        last = asked.proposals
        answer = propose_with(last.round, last.node, rows[1 + last.node], theirs, batch=last.batch + 1, count=proposals)
