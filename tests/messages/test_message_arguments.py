"""Extensions, proposals, lists, trees: what messages are made of is checked where it is given, and copied."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from travelling import travelled

import tslt_wire as tw
from tslt_wire.messages.draft import prefix_crc
from tslt_wire.messages.endings import retry_after

V = 50
CHAIN = tw.TokenTree.chain([1, 2])
Q = tw.sparsify(np.zeros(V))
LISTS = dict.fromkeys(CHAIN.inner, Q)
VERDICT = tw.Verdict(round=0, node=0, token=1)
PROPOSALS = tw.Proposals(round=0, node=-1, proposals=(tw.Proposal(1, 5),))
HELLO = tw.Hello(vocab_size=V, tokenizer=bytes(32))
WELCOME = tw.Welcome(version=1, vocab_size=V, tokenizer=bytes(32), transcript=bytes(16))
MESSAGES = (
    HELLO,
    WELCOME,
    tw.Prompt(tokens=(1,)),
    tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=CHAIN, evidence=tw.MatchEvidence()),
    VERDICT,
    PROPOSALS,
    tw.More(round=0, batch=1),
    tw.AskList(round=0, node=0),
    tw.ListReply(round=0, q=Q),
    tw.ErrorMessage(code=1, message=""),
    tw.Bye(),
)
by_type = pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)


@by_type
@pytest.mark.parametrize("wrong", [None, "", "ab", b"ab", 5, [None], (1,), {}, {2: b""}, tw.Extension(2, b"")])
def test_extensions_are_a_sequence_of_them(message, wrong):
    with pytest.raises(TypeError, match="extensions must"):
        replace(message, extensions=wrong)


@by_type
def test_extensions_are_copied(message):
    given = [tw.Extension(2, b"x"), tw.Extension(6, b"y")]
    made = replace(message, extensions=given)
    given.clear()
    assert made.extensions == (tw.Extension(2, b"x"), tw.Extension(6, b"y"))
    profile = tw.Profile(vocab_size=V)
    assert tw.decode(tw.encode(made, profile), profile) == made


@pytest.mark.parametrize("wrong", ["ab", [None], (1,), None, 5, ((1, 5),)])
def test_proposals_are_a_sequence_of_them(wrong):
    with pytest.raises(TypeError, match="proposals must"):
        replace(PROPOSALS, proposals=wrong)
    assert replace(PROPOSALS, proposals=list(PROPOSALS.proposals)) == PROPOSALS


@pytest.mark.parametrize("wrong", [None, 5, [0.5], {1: 1.0}])
def test_a_list_reply_has_a_list(wrong):
    with pytest.raises(TypeError, match="q must be a SparseDistribution"):
        tw.ListReply(round=0, q=wrong)


@pytest.mark.parametrize("wrong", [None, 5, "ab", {1: 2}, [("a", 1)]])
def test_extra_fields_are_a_mapping_from_names(wrong):
    for message in (HELLO, WELCOME):
        with pytest.raises(TypeError, match="extra must be a mapping"):
            replace(message, extra=wrong)


@pytest.mark.parametrize("field", ["evidence", "precisions", "entropy", "priors"])
def test_names_are_a_sequence(field):
    for wrong in (None, 5, "", "list", b"list", {}, {"list": 1}, [5]):
        with pytest.raises(TypeError, match=f"{field} must be a sequence of names"):
            replace(HELLO, **{field: wrong})


@pytest.mark.parametrize(
    "wrong", [[True], [1, False], (np.bool_(True),), ["1"], [1.0], [None], None, 5, "ab", "", b"ab", b"", {}]
)
def test_tokens_are_integers(wrong):
    """True is 1 in Python, and no token."""
    with pytest.raises(TypeError):
        tw.Prompt(tokens=wrong)
    with pytest.raises(TypeError):
        tw.TokenTree.chain(wrong)
    with pytest.raises(TypeError):
        tw.TokenTree([1, 2], wrong)
    with pytest.raises(TypeError):
        replace(WELCOME, eos_tokens=wrong)


def test_tokens_are_in_the_largest_vocabulary():
    for wrong in (-1, 1 << 20):
        with pytest.raises(ValueError, match="prompt tokens must be in"):
            tw.Prompt(tokens=[1, wrong, 2])
    assert tw.Prompt(tokens=np.array([0, (1 << 20) - 1], np.int32)).tokens == (0, (1 << 20) - 1)
    assert tw.Prompt(tokens=[]).tokens == ()


@pytest.mark.parametrize("wrong", ["no-such", 2.5, None, True, False, [0]])
def test_a_node_is_an_integer(wrong):
    for ask in (CHAIN.children, CHAIN.path):
        with pytest.raises(TypeError, match="node must be an integer"):
            ask(wrong)


def test_a_node_is_in_the_tree():
    for ask in (CHAIN.children, CHAIN.path):
        for wrong in (-2, 2, np.int64(5)):
            with pytest.raises(ValueError, match=r"node must be in -1\.\.1"):
                ask(wrong)
    assert CHAIN.children(np.int64(0)) == (1,)
    assert CHAIN.path(np.int64(1)) == (0, 1)
    assert tw.TokenTree([], []).children(-1) == ()


@pytest.mark.parametrize("wrong", [None, 5, [1, 2], (1, 2)])
def test_a_verdict_is_read_with_a_tree(wrong):
    with pytest.raises(TypeError, match="TokenTree"):
        VERDICT.tokens(wrong)


@pytest.mark.parametrize("wrong", [[1, 2], None, 5, {"a": Q}, {True: Q}, {-1: None}, {-1: [0.5]}, {1.5: Q}])
def test_lists_are_a_mapping_from_parents(wrong):
    with pytest.raises(TypeError):
        tw.ListEvidence(wrong)
    for kind in (tw.ScalarEvidence, tw.LazyEvidence):
        with pytest.raises(TypeError):
            kind.of(CHAIN, wrong)


def test_parents_of_lists_are_numbers_of_nodes():
    with pytest.raises(ValueError, match="a parent of lists must be at least -1"):
        tw.ListEvidence({-2: Q})
    found = tw.ListEvidence({np.int64(0): Q, np.int64(-1): Q})
    assert [(parent, type(parent)) for parent in found.lists] == [(-1, int), (0, int)]


@pytest.mark.parametrize("wrong", ["", "ab", b"ab", None, 5, {}, [True], [1.0]])
def test_codes_are_integers(wrong):
    for kind in (tw.ScalarEvidence, tw.LazyEvidence):
        with pytest.raises(TypeError, match="codes"):
            kind(wrong)


def test_codes_are_made_of_a_tree_and_each_of_its_lists():
    for kind in (tw.ScalarEvidence, tw.LazyEvidence):
        for wrong in (None, 5, [1, 2]):
            with pytest.raises(TypeError, match="TokenTree"):
                kind.of(wrong, LISTS)
        with pytest.raises(ValueError, match=r"parents \(-1, 0\), got none for \[0\]"):
            kind.of(CHAIN, {-1: Q})
        given = dict(LISTS)
        made = kind.of(CHAIN, given)
        given.clear()
        assert dict(made.lists) == LISTS


def test_lists_that_do_not_fit_a_draft_are_refused():
    other = tw.sparsify(np.zeros(V), truncation=tw.TopK(1))
    draft = tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=CHAIN, evidence=tw.ListEvidence(LISTS))
    for lists, match in (
        ({-1: Q}, r"lists are needed for the parents \(-1, 0\), got \(-1,\)"),
        ({-1: Q, 0: other}, "token 2 was drafted after node 0 but is not in that node's list"),
        ({-1: Q, 0: tw.sparsify(np.zeros(V + 1))}, "vocabular"),
    ):
        with pytest.raises(ValueError, match=match):
            replace(draft, evidence=tw.ListEvidence(lists))


def test_evidence_travels_to_another_process():
    evidence = tw.ListEvidence(LISTS, replacement=False)
    assert travelled(evidence) == evidence


def test_evidence_is_a_value():
    evidence = tw.ListEvidence(LISTS, replacement=True)
    assert {evidence: 1}[tw.ListEvidence(dict(LISTS), replacement=True)] == 1
    assert evidence != tw.ListEvidence(LISTS, replacement=False)
    assert evidence != tw.ListEvidence({-1: Q}, replacement=True)
    assert evidence != tw.MatchEvidence()


@pytest.mark.parametrize("wrong", [-1, 1 << 32, "1", 2.5])
def test_what_a_prefix_is_hashed_of(wrong):
    with pytest.raises(ValueError, match="token ids must be integers"):
        prefix_crc([1, wrong])


@pytest.mark.parametrize("wrong", [-0.5, float("nan"), float("inf")])
def test_a_time_to_come_again_is_a_number_of_seconds(wrong):
    with pytest.raises(ValueError, match="a number of seconds from 0 on"):
        retry_after(wrong)
    assert tw.ErrorMessage(code=1, message="", extensions=(retry_after(1e9),)).retry_after_s == (2**32 - 1) / 1000
