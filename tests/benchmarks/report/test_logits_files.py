"""Logits that somebody recorded elsewhere: arrays, OpenAI's log probabilities, and files that are neither."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from byte_tokenizer import byte_level
from tslt_benchmarks.openai_logprobs import read_logprobs
from tslt_benchmarks.recorded_logits import LogitsError, read_arrays, some_positions

from tslt_runtime.tokenizer import tokenizer_of

V = 7


def arrays(count=4, **more):
    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=(count, V)).astype(np.float32) for name in ("draft", "target")}
    return {**rows, **more}


def saved(path, content):
    if path.suffix == ".npz":
        np.savez(path, **content)
    else:
        from safetensors.numpy import save_file

        save_file(content, path)
    return path


@pytest.mark.parametrize("name", ["logits.npz", "logits.safetensors"])
def test_arrays(name, tmp_path):
    content = arrays(text=np.array([0, 0, 1, 1]), token=np.array([3, -1, 2, -1]))
    drafts = read_arrays(saved(tmp_path / name, content)).drafts
    np.testing.assert_array_equal(drafts.positions.draft, content["draft"])
    np.testing.assert_array_equal(drafts.positions.target, content["target"])
    assert drafts.positions.prompt.tolist() == [0, 0, 1, 1]
    assert drafts.positions.index.tolist() == [0, 1, 0, 1]
    assert drafts.positions.token.tolist() == [3, -1, 2, -1]
    assert (drafts.vocab_size, drafts.chains(), drafts.trees()) == (V, [], [])
    half = some_positions(drafts, 2)
    np.testing.assert_array_equal(half.positions.draft, content["draft"][[0, 2]])
    assert len(some_positions(drafts, 99).positions.draft) == 4


def test_bfloat16(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    rows = {name: torch.randn(3, V, dtype=torch.bfloat16) for name in ("draft", "target")}
    save_file(rows, tmp_path / "logits.safetensors")
    drafts = read_arrays(tmp_path / "logits.safetensors").drafts
    np.testing.assert_array_equal(drafts.positions.draft, rows["draft"].float().numpy())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"logits": np.zeros((2, V))}, "expected arrays draft and target, .* there is logits"),
        (arrays(target=np.zeros((3, V), np.float32)), r"one shape \(N, V\), got draft \(4, 7\) and target \(3, 7\)"),
        (arrays(draft=np.zeros(V, np.float32)), r"expected draft as floats \(N, V\), got float32 \(7,\)"),
        (arrays(draft=np.zeros((4, V), np.int32)), r"expected draft as floats \(N, V\), got int32"),
        (arrays(draft=np.full((4, V), np.nan, np.float32)), "expected finite logits in draft"),
        (arrays(target=np.full((4, V), -np.inf, np.float32)), "expected finite logits in target"),
        (arrays(text=np.zeros(3, np.int32)), "expected text as 4 integers"),
        (arrays(token=np.zeros(4)), "expected token as 4 integers"),
    ],
)
@pytest.mark.parametrize("name", ["logits.npz", "logits.safetensors"])
def test_what_is_wrong_with_arrays(name, content, said, tmp_path):
    with pytest.raises(LogitsError, match=said):
        read_arrays(saved(tmp_path / name, content))


@pytest.mark.parametrize("name", ["logits.npz", "logits.safetensors", "logits.bin"])
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no", b"{}", b"\x93NUMPY"])
def test_what_is_no_file_of_arrays(name, data, tmp_path):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(LogitsError, match=r"expected .*draft and target"):
        read_arrays(path)


# ------------------------------------------------------------------------------------------------------- OpenAI forms


def chat(*places):
    """A chat completion; each place: {token: probability}, the first of them the text's."""
    content = []
    for place in places:
        listed = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in place.items()]
        content.append({**listed[0], "top_logprobs": listed[1:]})
    return {"object": "chat.completion", "choices": [{"index": 0, "logprobs": {"content": content}}]}


def completion(*places, echo=()):
    """An older completion, behind an echoed prompt."""
    logprobs = {
        "tokens": [*echo, *(next(iter(place)) for place in places)],
        "token_logprobs": [*[None] * len(echo), *(math.log(next(iter(place.values()))) for place in places)],
        "top_logprobs": [*[None] * len(echo), *({t: math.log(p) for t, p in place.items()} for place in places)],
    }
    return {"object": "text_completion", "choices": [{"text": "", "logprobs": logprobs}]}


P = ({"token_id:1": 0.5, "token_id:2": 0.25}, {"token_id:3": 0.9})
Q = ({"token_id:1": 0.1, "token_id:4": 0.7}, {"token_id:3": 0.2, "token_id:0": 0.8})


def written(tmp_path, *values, name="logprobs.json"):
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(value) for value in values), encoding="utf-8")
    return path


@pytest.mark.parametrize("of_draft", [chat, completion])
@pytest.mark.parametrize("of_target", [chat, completion])
def test_both_forms(of_draft, of_target, tmp_path):
    value = {"draft": of_draft(*Q), "target": of_target(*P), "vocab_size": V}
    found = read_logprobs(written(tmp_path, value))
    positions = found.drafts.positions
    p, q = np.exp(positions.target), np.exp(positions.draft)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(p[0], [0.05, 0.5, 0.25, 0.05, 0.05, 0.05, 0.05], rtol=1e-5)
    np.testing.assert_allclose(q[0], [0.04, 0.1, 0.04, 0.04, 0.7, 0.04, 0.04], rtol=1e-5)
    np.testing.assert_allclose(q[1, [3, 0]], [0.2, 0.8], rtol=1e-5)
    assert positions.token.tolist() == [1, 3]
    assert "hold 90.0% of the draft's and 82.5% of the target's" in found.notes[0]


def test_texts_in_lines_and_drafts_that_were_asked_for_more(tmp_path):
    draft = completion({"token_id:9": 1.0}, *Q, echo=("token_id:8",))
    value = {"draft": draft, "target": chat(*P), "vocab_size": V}
    positions = read_logprobs(written(tmp_path, value, value, name="logprobs.jsonl")).drafts.positions
    assert positions.prompt.tolist() == [0, 0, 1, 1]
    assert positions.token.tolist() == [1, 3, 1, 3]


def test_tokens_by_their_texts(tmp_path):
    tokenizer = tokenizer_of(byte_level())
    value = {"draft": chat({"a": 0.5}), "target": chat({"a": 0.25, "b": 0.5})}
    drafts = read_logprobs(written(tmp_path, value), tokenizer).drafts
    (a,), (b,) = (tokenizer.tokens_of(text, bare=True) for text in "ab")
    assert drafts.vocab_size == max(tokenizer.get_vocab().values()) + 1
    assert np.exp(drafts.positions.target[0, [a, b]]) == pytest.approx([0.25, 0.5])


GOOD = {"draft": chat(*Q), "target": chat(*P), "vocab_size": V}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "expected an object"),
        ({"draft": chat(*Q)}, "expected an object"),
        ({**GOOD, "vocab_size": "many"}, "expected vocab_size as a number of tokens, got 'many'"),
        ({**GOOD, "vocab_size": None}, "expected vocab_size, how many tokens the target has"),
        ({**GOOD, "vocab_size": 3}, "expected ids below vocab_size, 3, got 4"),
        ({**GOOD, "draft": {"choices": []}}, "draft: expected an answer with a choice"),
        ({**GOOD, "draft": {"choices": [{"logprobs": None}]}}, "draft: expected logprobs of a chat completion"),
        ({**GOOD, "draft": chat(P[0], Q[0])}, "place 1: the draft's token is 'token_id:1', the target's 'token_id:3'"),
        ({**GOOD, "target": {"content": [3]}}, "target: place 0: expected an object with token"),
        ({**GOOD, "target": {"content": [{"token": "token_id:1", "logprob": 0.5}]}}, "a log probability, at most 0"),
        ({**GOOD, "draft": {"content": []}}, "log probabilities of at least one token, got none"),
        ({**GOOD, "draft": {"tokens": ["a"], "token_logprobs": []}}, "token_logprobs and top_logprobs for each of 1"),
        ({**GOOD, "target": chat(P[0], {"token_id:3": 0.9, "token_id:2": 0.8})}, "their sum is 1.700"),
        ({"draft": chat({"a": 0.5}), "target": chat({"a": 0.5}), "vocab_size": V}, "expected an id for the token 'a'"),
    ],
)
def test_what_is_wrong_with_log_probabilities(value, said, tmp_path):
    with pytest.raises(LogitsError, match=said):
        read_logprobs(written(tmp_path, value))


@pytest.mark.parametrize(("data", "said"), [(b"{", "expected JSON"), (b"\xff", "no UTF-8"), (b"", "expected JSON")])
def test_what_is_no_json(data, said, tmp_path):
    path = tmp_path / "logprobs.json"
    path.write_bytes(data)
    with pytest.raises(LogitsError, match=said):
        read_logprobs(path)
    lines = tmp_path / "logprobs.jsonl"
    lines.write_text(json.dumps(GOOD) + "\n{\n", encoding="utf-8")
    with pytest.raises(LogitsError, match="line 2: expected a JSON object"):
        read_logprobs(lines)
