"""Evidence that changes from round to round, through real sessions: the law of the text, and who refuses what.

Models are tables of random logits, so that a round costs little; everything else is the real code, bytes included.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chi_square import chi_square_p
from edge_numbers import edge_rng
from enumeration import Model
from session_rounds import FINGERPRINT, MODES, PROMPT, V, connected, prompted

import tslt_wire as tw
from tslt_runtime.seeds import device_rng, session_secret
from tslt_wire.lists.sibling_sampling import sample_children

TEXTS = 1500


def draft(device, lists, mode, expansion, rng):
    """A tree after the prefix, and its evidence, as a device makes them."""
    text = tuple(device.prefix[len(PROMPT) :])
    tokens, parents, found, level = [], [], {}, [(-1, text)]
    for depth, count in enumerate(expansion):
        below = []
        for node, context in level:
            q = found[node] = lists(context)
            if mode == "list":
                children = sample_children(q, count, rng, replacement=True)
            elif mode == "match":
                children = q.likeliest(count)
            else:
                children = device.coupling.children(q, count, len(device.prefix) + depth)
            for token in children:
                below.append((len(tokens), (*context, token)))
                tokens.append(token)
                parents.append(node)
        level = below
    evidence = {
        "list": tw.ListEvidence(found, replacement=True),
        "match": tw.MatchEvidence(),
        "coupled": tw.CoupledEvidence(),
    }
    return tw.TokenTree(tokens, parents), evidence[mode]


def run_round(device, edge, tree, evidence, target, rng):
    """Send, verify, answer, all through bytes."""
    draft = device.send_draft(tree, evidence)
    (event,) = edge.receive_data(device.data_to_send())
    assert event.draft == draft
    text = tuple(edge.prefix[len(PROMPT) :])
    paths = [text, *((*text, *(tree.tokens[i] for i in tree.path(node))) for node in range(len(tree)))]
    rows = np.stack([target(path) for path in paths])
    edge.send_answer(tw.verify(event.draft, rows, rng, coupling=edge.coupling))
    device.receive_data(edge.data_to_send())
    assert device.prefix == edge.prefix


def texts(choose, length=3, *, expansion=(1, 1), sampling=None, epochs=True, seed=1):
    """The first ``length`` tokens of many texts of one session, int (TEXTS, length).

    ``choose(device, round of the text, number of the text)`` says what the next round's evidence is; ``epochs`` False
    breaks the session: all texts have the same shared numbers.
    """
    lists, target = Model(V, 1).lists(truncation=tw.TopK(5)), Model(V, 2).target(sampling)
    device, edge = connected(key=session_secret(seed, 0)[:8], sampling=sampling)
    ours, theirs = device_rng(seed), edge_rng(seed, 0)
    found = []
    for text in range(TEXTS):
        device.send_prompt(PROMPT)
        edge.receive_data(device.data_to_send())
        if not epochs:
            device._epoch = edge._epoch = 1
        number = 0
        while len(device.prefix) < len(PROMPT) + length:
            mode = choose(device, number, text)
            run_round(device, edge, *draft(device, lists, mode, expansion, ours), target, theirs)
            number += 1
        found.append(device.prefix[len(PROMPT) : len(PROMPT) + length])
    return np.array(found), target


def p_values(found, target):
    """Of the first two tokens together, and of the third after the most frequent two."""
    first = target(())
    pairs = np.array([first[token] * target((token,)) for token in range(V)])
    counts = np.bincount(found[:, 0] * V + found[:, 1], minlength=V * V)
    best = int(counts.argmax())
    after = found[(found[:, 0] == best // V) & (found[:, 1] == best % V), 2]
    third = chi_square_p(np.bincount(after, minlength=V), target((best // V, best % V)))
    return chi_square_p(counts, pairs.ravel()), third


CASES = {
    "coupled": (lambda device, number, text: "coupled", (1, 1), None),
    "match": (lambda device, number, text: "match", (2, 1), None),
    "coupled tree": (lambda device, number, text: "coupled", (2, 2), tw.Sampling(temperature=0.7, top_p=0.9)),
    "all in turn": (lambda device, number, text: MODES[(number + text) % 3], (1, 1), None),
    "coupled and list, trees": (lambda device, number, text: MODES[(number + text) % 2], (2, 1), None),
    "coupled after full acceptance": (
        lambda device, number, text: "coupled" if len(device.prefix) % 2 else "list",
        (1, 1),
        tw.Sampling(temperature=0.7, top_p=0.9),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_evidence_that_changes_each_round(name):
    choose, expansion, sampling = CASES[name]
    found, target = texts(choose, expansion=expansion, sampling=sampling)
    assert min(p_values(found, target)) > 1e-3


def test_evidence_chosen_by_shared_numbers_is_noticed():
    """A device that takes ``coupled`` only where it likes who wins the race."""
    lists = Model(V, 1).lists()

    def choose(device, number, text):
        q = lists(tuple(device.prefix[len(PROMPT) :]))
        return "coupled" if device.coupling.children(q, 1, len(device.prefix)) == [0] else "list"

    assert min(p_values(*texts(choose))) < 1e-6


def test_texts_that_share_their_numbers_are_noticed():
    found, target = texts(lambda device, number, text: "coupled", epochs=False)
    assert len({tuple(text) for text in found.tolist()}) == 1
    assert p_values(found, target)[0] < 1e-6


def test_a_greedy_target_whatever_the_evidence():
    found, target = texts(lambda device, number, text: MODES[(number + text) % 3], sampling=tw.Sampling(temperature=0))
    wanted = ()
    while len(wanted) < 3:
        wanted = (*wanted, int(target(wanted).argmax()))
    assert {tuple(text) for text in found.tolist()} == {wanted}


# ------------------------------------------------------------------------------------------------------------ sessions


def test_both_ends_have_the_same_numbers_and_each_text_its_own():
    device, edge = connected()
    assert device.coupling == edge.coupling == tw.Coupling(bytes(range(8)), 0)
    for epoch in (1, 2):
        device.send_prompt(PROMPT, keep=0)
        edge.receive_data(device.data_to_send())
        assert device.coupling == edge.coupling == tw.Coupling(bytes(range(8)), epoch)


@pytest.mark.parametrize(
    ("device", "edge", "key", "agreed"),
    [
        (("coupled", "list"), MODES, bytes(8), ("coupled", "list")),
        (("coupled", "match"), MODES, b"", ("match",)),
        (("match", "coupled", "list"), ("list", "match"), bytes(8), ("match", "list")),
        (("list",), MODES, bytes(8), ("list",)),
    ],
)
def test_evidence_is_what_both_ends_have(device, edge, key, agreed):
    ours, theirs = connected(device=device, edge=edge, key=key)
    assert ours.welcome.evidence == agreed
    assert ours.welcome.coupling == (key if "coupled" in agreed else b"")
    assert (ours.coupling is None) == (theirs.coupling is None) == ("coupled" not in agreed)


def test_no_evidence_in_common():
    with pytest.raises(tw.RemoteProtocolError, match="no evidence in common"):
        connected(device=("coupled",), key=b"")


def test_evidence_that_was_not_agreed_on_is_refused():
    tree = tw.TokenTree.chain([1])
    for evidence in (tw.MatchEvidence(), tw.CoupledEvidence()):
        device, edge = prompted(device=("list",))
        with pytest.raises(ValueError, match="was not agreed on"):
            device.send_draft(tree, evidence)
        device.welcome = replace(device.welcome, evidence=MODES)
        device.send_draft(tree, evidence)
        with pytest.raises(tw.RemoteProtocolError, match="was not agreed on") as caught:
            edge.receive_data(device.data_to_send())
        assert caught.value.code == tw.ErrorCode.UNSUPPORTED


@pytest.mark.parametrize(("evidence", "coupling"), [(("coupled",), b""), (("list",), bytes(8))])
def test_a_coupling_that_does_not_fit_the_evidence_is_refused(evidence, coupling):
    hello = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, evidence=MODES)
    device, edge = tw.DeviceSession(hello), tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT))
    edge.receive_data(device.data_to_send())
    profile = tw.Profile(vocab_size=V)
    welcome = tw.decode(edge.data_to_send(), profile)
    with pytest.raises(tw.RemoteProtocolError, match="coupling") as caught:
        device.receive_data(tw.encode(replace(welcome, evidence=evidence, coupling=coupling), profile))
    assert caught.value.code == tw.ErrorCode.UNSUPPORTED


def test_what_cannot_be_offered_is_refused():
    settings = tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT)
    with pytest.raises(ValueError, match="coupling must have 0 or 8 bytes"):
        tw.EdgeSession(settings, coupling=bytes(7))
    with pytest.raises(ValueError, match="no evidence"):
        replace(settings, evidence=("list", "guess"))


@pytest.mark.parametrize("evidence", [tw.MatchEvidence(), tw.CoupledEvidence()])
def test_a_draft_sent_twice_is_answered_twice_with_the_same_bytes(evidence):
    device, edge = prompted()
    device.send_draft(tw.TokenTree.chain([1, 2]), evidence)
    frame = device.data_to_send()
    (event,) = edge.receive_data(frame)
    rows = np.full((3, V), 1 / V)
    edge.send_answer(tw.verify(event.draft, rows, np.random.default_rng(0), coupling=edge.coupling))
    answer = edge.data_to_send()
    assert edge.receive_data(frame) == []
    assert edge.data_to_send() == answer
