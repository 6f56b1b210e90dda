"""What ends tell each other besides the fields of their messages: samples of tokens, log probabilities, names.

Spec sections 6.2, 7.2, 7.3 and 7.9.  Whoever cannot read it goes on without it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tslt_wire as tw
from tslt_wire.messages.chat_template import NAME, named_template, naming, template_digest
from tslt_wire.messages.extensions import with_extension
from tslt_wire.messages.log_probs import LEAST, UNIT, log_probs_extension
from tslt_wire.messages.repeat import WANTED, repeats, wants_repeat
from tslt_wire.messages.token_sample import first_difference, sample_extension, sample_of, sample_told

HELLO = tw.Hello(vocab_size=50, tokenizer=bytes(32))
WELCOME = tw.Welcome(version=1, vocab_size=50, tokenizer=bytes(32), transcript=bytes(16))


def test_the_quantisation_is_off_by_half_a_step_at_most():
    probs = np.exp(-np.random.default_rng(0).exponential(3, 2000))
    for start in range(0, 2000, 50):
        some = probs[start : start + 50]
        extension = log_probs_extension(some)
        assert len(extension.data) == 2 * len(some)
        assert np.abs(tw.log_probs_of((extension,)) - np.log(some)).max() <= UNIT / 2 + 1e-12
    assert tw.log_probs_of((log_probs_extension([1.0, 0.0, 1e-300]),)) == (0.0, -LEAST * UNIT, -LEAST * UNIT)
    assert tw.log_probs_of(()) == ()
    with pytest.raises(ValueError, match="no token"):
        log_probs_extension([])


def test_extensions_stay_in_order():
    one = (tw.Extension(2, b"\1"), tw.Extension(6, b""))
    assert [e.type for e in with_extension(one, tw.Extension(4, b"\0\0"))] == [2, 4, 6]
    assert with_extension(one, tw.Extension(2, b"\5"))[0].data == b"\5"


def test_the_most_bytes_that_there_are():
    profile = tw.Profile(vocab_size=10)
    most = tw.Verdict(round=1, node=0, token=3, extensions=(tw.Extension(4, bytes(131070)),))
    assert tw.decode(tw.encode(most, profile), profile) == most
    for data in (b"", b"\0", bytes(131071), bytes(131072)):
        with pytest.raises(ValueError, match="extension 4 cannot have"):
            tw.encode(tw.Verdict(round=1, node=0, token=3, extensions=(tw.Extension(4, data),)), profile)


def test_a_sample_is_of_bounded_size_and_has_the_first_tokens_and_the_last():
    tokens = {i: "é" * 50 if i % 2 else f"t{i}" for i in range(5000)}
    sample = sample_of(tokens)
    assert [token for token, _ in sample[:32]] == list(range(32))
    assert (len(sample), sample[-1][0]) == (64, 4999)
    extension = sample_extension(sample)
    assert len(extension.data) < 5000
    assert sample_told((extension,)) == sample
    assert first_difference(sample, tokens) is None
    assert first_difference(sample, {**tokens, 3: "y"}) == (3, "é" * 32, "y")
    assert sample_of({0: "a", 7: "b"}) == ((0, "a"), (7, "b"))
    with pytest.raises(ValueError, match="64 tokens at most"):
        sample_extension((*sample, (9999, "x")))
    with pytest.raises(ValueError, match="64 tokens at most"):
        tw.EdgeSettings(vocab_size=9, tokenizer=bytes(32), sample=sample * 2)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x81\xa1a\xa1b", b"\x81\xa10\x01", b"\x80" + bytes(20_000)])
def test_a_sample_that_cannot_be_read_is_none(data):
    assert sample_told((tw.Extension(8, data),)) == ()


def test_a_sample_may_be_missing():
    assert sample_told(()) == sample_told((tw.Extension(2, b"\x80"),)) == ()


def test_a_template_is_named_by_32_bytes():
    name = template_digest(b"{{ messages }}")
    assert named_template(replace(WELCOME, extra=naming(name))) == name
    for said in (naming(b""), {NAME: b""}, {NAME: name[:31]}, {NAME: name + b"x"}, {NAME: name.hex()}, {NAME: True}):
        assert named_template(replace(WELCOME, extra=said)) is None


@pytest.mark.parametrize("said", [{}, {"repeat": False}, {"repeat": 1}, {"repeat": "true"}, {"repeat": {"a": True}}])
def test_only_true_asks_for_the_same_numbers(said):
    assert wants_repeat(replace(HELLO, extra=WANTED))
    assert repeats(replace(WELCOME, extra=WANTED))
    assert not wants_repeat(replace(HELLO, extra=said))
    assert not repeats(replace(WELCOME, extra=said))
