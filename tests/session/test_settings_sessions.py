"""Which sampling settings a session has: what HELLO asks for, the target's own, and what is refused.

Spec sections 7.2 and 7.3.
"""

from __future__ import annotations

import pytest
from session_rounds import FINGERPRINT, V, prompted

import tslt_wire as tw
from tslt_wire.session.negotiation import takes_only

OWN = tw.Sampling(temperature=0.6, repetition_penalty=1.05, suppress_tokens=[1])


def greet(asked, **settings):
    """Both ends after HELLO; the edge's answer has not been read yet."""
    device = tw.DeviceSession(tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, sampling=asked))
    edge = tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, **settings))
    edge.receive_data(device.data_to_send())
    return device, edge


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (tw.SamplingRequest(), OWN),
        (
            tw.SamplingRequest(temperature=0.9),
            tw.Sampling(temperature=0.9, repetition_penalty=1.05, suppress_tokens=[1]),
        ),
        (tw.SamplingRequest(repetition_penalty=1, suppress_tokens=[]), tw.Sampling(temperature=0.6)),
        (tw.Sampling(min_p=0.1), tw.Sampling(min_p=0.1)),
        (tw.Sampling(), tw.Sampling()),
    ],
)
def test_what_is_not_asked_for_is_the_targets_own(asked, wanted):
    device, edge = greet(asked, sampling=OWN)
    ((welcome),) = device.receive_data(edge.data_to_send())
    assert welcome.welcome.sampling == device.sampling == edge.sampling == wanted


def test_a_setting_that_is_not_known_is_refused_by_its_name():
    with pytest.raises(tw.RemoteProtocolError, match="no sampling setting typical_p, x-mine") as refused:
        greet(tw.SamplingRequest(extra={"x-mine": None, "typical_p": 0.9}))
    assert refused.value.code is tw.ErrorCode.UNSUPPORTED


def test_an_edge_that_lacks_a_setting_says_which():
    few = takes_only("temperature", "top_k", "top_p")
    greet(tw.SamplingRequest(temperature=0.5, top_k=3, min_p=0.0), refusal=few)
    asked = tw.SamplingRequest(min_p=0.1, logit_bias={3: 1})
    with pytest.raises(tw.RemoteProtocolError, match="not served: it lacks min_p, logit_bias") as refused:
        greet(asked, refusal=few)
    assert refused.value.code is tw.ErrorCode.UNSUPPORTED
    with pytest.raises(tw.RemoteProtocolError, match="it lacks repetition_penalty"):
        greet(tw.SamplingRequest(), refusal=few, sampling=tw.Sampling(repetition_penalty=1.05))
    with pytest.raises(ValueError, match="there is no setting typical_p"):
        takes_only("typical_p")


def test_settings_that_leave_no_token_are_refused():
    with pytest.raises(tw.RemoteProtocolError, match="suppress every token"):
        greet(tw.SamplingRequest(suppress_tokens=range(V)))
    with pytest.raises(tw.RemoteProtocolError, match="suppress every token"):
        greet(tw.SamplingRequest(suppress_tokens=range(1, V), ignore_eos=True), eos_tokens=(0,))
    greet(tw.SamplingRequest(suppress_tokens=range(1, V), ignore_eos=False), eos_tokens=(0,))


@pytest.mark.parametrize("settings", [{"logit_bias": {V: 1}}, {"suppress_tokens": [V]}])
def test_tokens_outside_the_vocabulary_are_refused_where_they_are_given(settings):
    for make in (
        lambda: tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, sampling=tw.Sampling(**settings)),
        lambda: tw.Welcome(
            version=1, vocab_size=V, tokenizer=FINGERPRINT, transcript=bytes(16), sampling=tw.Sampling(**settings)
        ),
    ):
        with pytest.raises(ValueError, match=f"sampling names token {V} of a vocabulary of {V}"):
            make()


@pytest.mark.parametrize("settings", [{"logit_bias": {V: 1}}, {"suppress_tokens": [V]}])
def test_an_edge_refuses_settings_that_name_a_token_its_target_has_not(settings):
    """[HELLO-6]: the device cannot know, its draft model may have more tokens, or fewer."""
    hello = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, sampling=tw.SamplingRequest(**settings))
    edge = tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT))
    with pytest.raises(tw.RemoteProtocolError, match=f"name token {V}") as caught:
        edge.receive_data(tw.DeviceSession(hello).data_to_send())
    assert caught.value.code == tw.ErrorCode.UNSUPPORTED


def test_both_ends_know_where_the_output_starts():
    device, edge = prompted()
    assert device.prompt_length == edge.prompt_length == 3
    device.send_draft(tw.TokenTree.chain([1]), tw.MatchEvidence())
    edge.receive_data(device.data_to_send())
    edge.send_answer(tw.Verdict(round=0, node=0, token=2))
    device.receive_data(edge.data_to_send())
    assert len(edge.prefix) == 5
    assert device.prompt_length == edge.prompt_length == 3
    device.send_prompt([6, 6], keep=4)
    edge.receive_data(device.data_to_send())
    assert device.prompt_length == edge.prompt_length == len(edge.prefix) == 6


def test_rows_of_settings_that_depend_on_the_text_need_it():
    logits = [[0.0, 1.0, 2.0]]
    for settings in (
        {"repetition_penalty": 2},
        {"presence_penalty": 1},
        {"frequency_penalty": 1},
        {"ignore_eos": True},
    ):
        sampling = tw.Sampling(**settings)
        assert sampling.needs_text
        for make in (lambda: tw.target_probs(logits, sampling), lambda: tw.target_rows(logits, sampling)):  # noqa: B023
            with pytest.raises(ValueError, match="depends on the text: give target_rows a SampledText"):
                make()
    assert not tw.Sampling(min_p=0.1, logit_bias={1: 1}, suppress_tokens=[2]).needs_text
    assert tw.target_probs(logits, tw.Sampling(suppress_tokens=[2], logit_bias={0: 1})).tolist() == [[0.5, 0.5, 0]]


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: tw.SampledText(prompt=3), TypeError, "prompt must be a sequence of token ids"),
        (lambda: tw.SampledText(output="12"), TypeError, "output must be a sequence of token ids"),
        (lambda: tw.SampledText(eos_tokens=1), TypeError, "eos_tokens must be a sequence of token ids"),
        (lambda: tw.SampledText(tree=[1]), TypeError, "tree must be a TokenTree or None"),
        (lambda: tw.SampledText(allowed=[True]), TypeError, "allowed must be a function"),
        (lambda: rows(tw.SampledText(tree=tw.TokenTree.chain([1]))), ValueError, "one of 2 rows, logits have 1"),
        (lambda: rows("text"), TypeError, "text must be a SampledText or None"),
        (lambda: rows(tw.SampledText(allowed=lambda _: [True])), ValueError, r"a mask must be bool \(3,\)"),
        (
            lambda: rows(tw.SampledText(allowed=lambda _: [1, 0, 1])),
            ValueError,
            r"a mask must be bool \(3,\), got int64",
        ),
        (lambda: rows(tw.SampledText(allowed=lambda _: [False] * 3)), ValueError, "a mask must allow a token"),
    ],
)
def test_bad_texts_and_masks(make, error, match):
    with pytest.raises(error, match=match):
        make()


def rows(text):
    return tw.target_rows([[0.0, 1.0, 2.0]], tw.Sampling(), text=text)[0].dense()


def test_rows_are_looked_at_one_by_one():
    asked = []

    def allowed(output):
        asked.append(output)

    text = tw.SampledText(output=[4], tree=tw.TokenTree([1, 2], [-1, 0]), allowed=allowed)
    found = tw.target_rows([[0.0, 1.0, 2.0, 1.0, 0.0]] * 3, tw.Sampling(presence_penalty=1), text=text)
    found[1].prob(0)
    found[-1].prob(0)
    found[1].prob(2)
    assert asked == [(4, 1), (4, 1, 2)]


@pytest.mark.parametrize(
    ("sampling", "text"),
    [
        (tw.Sampling(presence_penalty=1), tw.SampledText(output=[1, 3])),
        (tw.Sampling(presence_penalty=1), tw.SampledText(output=[1, -1])),
        (tw.Sampling(logit_bias={3: 1}), None),
        (tw.Sampling(suppress_tokens=[3]), None),
    ],
)
def test_tokens_that_a_row_has_not_are_refused(sampling, text):
    with pytest.raises(ValueError, match="settings and text must name tokens of the row, 0 to 2"):
        tw.target_rows([[0.0, 1.0, 2.0]], sampling, text=text)[0].prob(0)
