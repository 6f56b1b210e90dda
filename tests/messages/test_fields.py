"""What callers give to messages and settings is checked where it is given, and says what was expected."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import tslt_wire as tw
from tslt_wire.messages.resume import Resume
from tslt_wire.messages.sampling import MOST_BIASED, MOST_SUPPRESSED

V = 50
HELLO = tw.Hello(vocab_size=V, tokenizer=bytes(32))
SETTINGS = tw.EdgeSettings(vocab_size=V, tokenizer=bytes(32))
WELCOME = tw.Welcome(version=1, vocab_size=V, tokenizer=bytes(32), transcript=bytes(16))
PROMPT = tw.Prompt(tokens=(1, 2))
VERDICT = tw.Verdict(round=0, node=0, token=1)
RESUME = Resume(tokens=(1, 2), prefix_crc=0, round=3, prompt_length=1)
DRAFT = tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=tw.TokenTree.chain([1, 2]), evidence=tw.MatchEvidence())
PROPOSAL = tw.Proposal(1, 5)
REQUEST = tw.SamplingRequest()


@pytest.mark.parametrize(
    ("message", "field", "wrong", "error", "match"),
    [
        (HELLO, "vocab_size", 0, ValueError, "vocab_size must be in 1"),
        (HELLO, "vocab_size", "50", TypeError, "vocab_size must be an integer"),
        (HELLO, "tokenizer", bytes(31), ValueError, "tokenizer must have 32 bytes, got 31"),
        (HELLO, "tokenizer", "a" * 32, TypeError, "tokenizer must be bytes"),
        (HELLO, "evidence", "lazy", TypeError, "evidence must be a sequence of names"),
        (HELLO, "precisions", "f16", TypeError, "precisions must be a sequence of names"),
        (HELLO, "entropy", "none", TypeError, "entropy must be a sequence of names"),
        (HELLO, "priors", (1,), TypeError, "priors must be a sequence of names"),
        (HELLO, "limits", 7, TypeError, "limits must be DecodeLimits"),
        (HELLO, "sampling", 0.7, TypeError, "sampling must be a SamplingRequest or Sampling"),
        (HELLO, "resume", "token", TypeError, "resume must be bytes"),
        (HELLO, "model", b"m", TypeError, "model must be a string"),
        (HELLO, "min_version", 2, ValueError, "versions must satisfy"),
        (HELLO, "max_version", 256, ValueError, "max_version must be in 1..255"),
        (SETTINGS, "vocab_size", -1, ValueError, "vocab_size must be in 1"),
        (SETTINGS, "tokenizer", b"", ValueError, "tokenizer must have 32 bytes"),
        (SETTINGS, "evidence", "lazy", TypeError, "evidence must be a sequence of names"),
        (SETTINGS, "evidence", ("lzay",), ValueError, r"no evidence \['lzay'\], only \['list'"),
        (SETTINGS, "precisions", ("f64",), ValueError, r"no precision \['f64'\]"),
        (SETTINGS, "entropy", ("huffman",), ValueError, r"no entropy coder \['huffman'\]"),
        (SETTINGS, "priors", ("zipf",), ValueError, "zipf"),
        (SETTINGS, "eos_tokens", 2, TypeError, "eos_tokens must be a sequence of token ids, got 2"),
        (SETTINGS, "eos_tokens", (V,), ValueError, r"each of eos_tokens must be in 0\.\.49, got 50"),
        (SETTINGS, "eos_tokens", (-1,), ValueError, "eos_tokens"),
        (SETTINGS, "eos_tokens", ("2",), TypeError, "eos_tokens must be an integer"),
        (SETTINGS, "context", -1, ValueError, "context must be in 0"),
        (SETTINGS, "context", 1.5, TypeError, "context must be an integer"),
        (SETTINGS, "limits", None, TypeError, "limits must be DecodeLimits"),
        (SETTINGS, "evidence_for", "all", TypeError, "evidence_for must be a function of Sampling or None"),
        (SETTINGS, "sampling", tw.SamplingRequest(), TypeError, "sampling must be Sampling"),
        (SETTINGS, "sampling", tw.Sampling(suppress_tokens=(V,)), ValueError, "50"),
        (WELCOME, "eos_tokens", 2, TypeError, "eos_tokens must be a sequence"),
        (WELCOME, "eos_tokens", (V,), ValueError, "each of eos_tokens"),
        (WELCOME, "coupling", bytes(7), ValueError, "coupling must have 0 or 8 bytes, got 7"),
        (WELCOME, "transcript", bytes(8), ValueError, "transcript must have 16 bytes"),
        (WELCOME, "entropy", ("none",), TypeError, "entropy must be a name"),
        (PROMPT, "keep", -1, ValueError, "keep must be in 0"),
        (PROMPT, "keep", "1", TypeError, "keep must be an integer"),
        (PROMPT, "transcript", bytes(7), ValueError, "transcript must have 8 bytes"),
        (VERDICT, "node", -2, ValueError, "node must be in -1"),
        (VERDICT, "round", True, TypeError, "round must be an integer"),
        (VERDICT, "end", 1, TypeError, "end must be True or False"),
        (RESUME, "tokens", (1, -1), ValueError, "tokens must be in 0"),
        (RESUME, "tokens", (1 << 20,), ValueError, "tokens must be in 0"),
        (RESUME, "rejection", 3, TypeError, "rejection must be a Rejection or None"),
        (RESUME, "ended", None, TypeError, "ended must be True or False"),
        (DRAFT, "tree", [1, 2], TypeError, "a tree and its evidence are needed"),
        (DRAFT, "evidence", None, TypeError, "a tree and its evidence are needed"),
        (PROPOSAL, "up", 1, TypeError, "up must be True or False"),
        (REQUEST, "logit_bias", [(1, 2, 3)], TypeError, "logit_bias must be pairs"),
        (REQUEST, "logit_bias", [5], TypeError, "logit_bias must be pairs"),
        (REQUEST, "logit_bias", [(1, 2.0), (1, 3.0)], ValueError, "name each token once"),
        (REQUEST, "logit_bias", {i: 1.0 for i in range(MOST_BIASED + 1)}, ValueError, "at most"),
        (REQUEST, "suppress_tokens", range(MOST_SUPPRESSED + 1), ValueError, "at most"),
        (REQUEST, "extra", [("mirostat", 2)], TypeError, "extra must be a mapping from names"),
        (REQUEST, "extra", {5: 2}, TypeError, "extra must be a mapping from names"),
        (REQUEST, "extra", {"top_k": 2}, ValueError, r"extra must not repeat the settings \['top_k'\]"),
        (tw.Extension(2, b""), "data", "text", TypeError, "data of an extension must be bytes"),
    ],
)
def test_a_wrong_argument_is_refused_where_it_is_given(message, field, wrong, error, match):
    with pytest.raises(error, match=match):
        replace(message, **{field: wrong})


def test_numbers_of_numpy_are_as_good_as_pythons():
    for message, field, value in (
        (HELLO, "vocab_size", 60),
        (SETTINGS, "context", 100),
        (PROMPT, "keep", 3),
        (VERDICT, "node", 2),
        (VERDICT, "token", 9),
        (tw.More(round=0, batch=1), "batch", 2),
        (tw.AskList(round=0, node=0), "round", 5),
    ):
        found = replace(message, **{field: np.int64(value)})
        assert found == replace(message, **{field: value})
        assert type(getattr(found, field)) is int
    assert replace(SETTINGS, eos_tokens=np.array([3, 4])).eos_tokens == (3, 4)
    assert replace(PROPOSAL, up=np.bool_(True)).up is True
    assert tw.encode(replace(VERDICT, token=np.uint8(9)), tw.Profile(vocab_size=V)) == tw.encode(
        replace(VERDICT, token=9), tw.Profile(vocab_size=V)
    )


def test_a_hello_of_a_later_version_is_a_message_but_no_device_of_ours():
    """A peer may say names that this version does not know; a caller may not."""
    profile = tw.Profile(vocab_size=1)
    for field in ("evidence", "precisions", "entropy", "priors"):
        later = replace(HELLO, **{field: ("x-later",)})
        assert tw.decode(tw.encode(later, profile), profile) == later
        with pytest.raises(ValueError, match="x-later"):
            tw.DeviceSession(later)


def test_arguments_of_a_session():
    device, edge = tw.DeviceSession(HELLO), tw.EdgeSession(SETTINGS)
    edge.receive_data(device.data_to_send())
    device.receive_data(edge.data_to_send())
    device.send_prompt(np.array([1, 2, 3]))
    device.send_prompt([4], keep=np.int64(2))
    assert device.prefix == (1, 2, 4)
    assert all(type(token) is int for token in device.prefix)
    for keep, error in (("2", TypeError), (1.0, TypeError), (4, ValueError), (-1, ValueError)):
        with pytest.raises(error, match="keep"):
            device.send_prompt([4], keep=keep)


def test_lists_of_tokens_are_put_in_order():
    found = tw.Sampling(
        logit_bias={9: 1, np.int64(3): np.float32(-0.5)}, suppress_tokens=[5, 2, 5], presence_penalty=-0.0
    )
    assert found.logit_bias == ((3, -0.5), (9, 1.0))
    assert found.suppress_tokens == (2, 5)
    assert math.copysign(1, found.presence_penalty) == 1
    assert found.in_force() == {"logit_bias": ((3, -0.5), (9, 1.0)), "suppress_tokens": (2, 5)}


def test_what_is_not_asked_for_is_the_targets_own():
    own = tw.Sampling(temperature=0.6, repetition_penalty=1.05, suppress_tokens=[1])
    assert tw.SamplingRequest().over(own) == own
    assert tw.SamplingRequest(temperature=0.9, suppress_tokens=()).over(own) == tw.Sampling(
        temperature=0.9, repetition_penalty=1.05
    )
    assert tw.Sampling().over(own) == tw.Sampling()
    with pytest.raises(TypeError, match="extra must be a mapping"):
        tw.SamplingRequest(extra=[1])
