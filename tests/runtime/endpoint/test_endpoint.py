"""OpenAI's interface with OpenAI's own client and with curl: answers, streams, settings, and what is refused."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openai
import pytest
import torch
from chat_models import chat_folder
from endpoints import endpoint

import tslt_wire as tw
from tslt_runtime.endpoint.pool import Wanted
from tslt_runtime.loading import load_draft, load_target
from tslt_wire.session.negotiation import takes_only

QUESTIONS = ["Where is the old house?", "Who lives in it?", "Then what did he say?", "And she?"]
TALK = [{"role": "system", "content": "It was a dark evening."}, {"role": "user", "content": QUESTIONS[0]}]
GIVEN = {"model": "target", "temperature": 0, "max_tokens": 16}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    parent = tmp_path_factory.mktemp("models")
    return load_target(chat_folder("target", parent)), load_draft(chat_folder("draft", parent))


@pytest.fixture(scope="module")
def served(models):
    with endpoint(*models) as found:
        yield found


@pytest.fixture
def client(served):
    with openai.OpenAI(base_url=served.url, api_key="none", max_retries=0, timeout=60) as found:
        yield found


def own_text(models, messages, tokens):
    """What the target's generate() answers, and its prompt."""
    target, tokenizer = models[0]
    ids = tokenizer._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    with torch.no_grad():
        found = target._module.generate(torch.tensor([ids]), max_new_tokens=tokens, do_sample=False)
    return tokenizer.text_of(found[0, len(ids) :].tolist()), ids


def curl(url, *arguments):
    """(status, body) of a request."""
    line = ["curl", "--silent", "--max-time", "60", "--write-out", "\n%{http_code}", *arguments, url]
    body, _, status = subprocess.run(line, capture_output=True, text=True, check=True).stdout.rpartition("\n")
    return int(status), body


def posted(served, path, body, *more):
    text = body if isinstance(body, str) else json.dumps(body)
    return curl(served.url + path, "--header", "Content-Type: application/json", *more, "--data-binary", text)


def test_turns_are_the_targets_own_and_keep_their_caches(models, served, client):
    messages, kept = [dict(TALK[0])], 0
    for question in QUESTIONS:
        messages.append({"role": "user", "content": question})
        wanted, ids = own_text(models, messages, 16)
        found = client.chat.completions.create(**GIVEN, messages=messages)
        assert found.choices[0].message.content == wanted
        assert found.choices[0].finish_reason == "length"
        assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (len(ids), 16)
        assert found.usage.prompt_tokens_details.cached_tokens > kept or question == QUESTIONS[0]
        kept = found.usage.prompt_tokens_details.cached_tokens
        messages.append({"role": "assistant", "content": wanted})
    assert kept > 60


def test_a_stream_is_the_same_text(models, client):
    wanted, ids = own_text(models, TALK, 16)
    given = {"messages": TALK, "stream": True, "stream_options": {"include_usage": True}, "logprobs": True}
    chunks = list(client.chat.completions.create(**GIVEN, **given))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == wanted
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == len(ids)
    assert chunks[-1].usage.completion_tokens == 16
    told = [one for chunk in chunks[1:-2] for one in chunk.choices[0].logprobs.content]
    assert len(told) == 16
    assert "".join(one.token for one in told) == wanted
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_by_curl_is_server_sent_events(models, served):
    wanted, _ = own_text(models, TALK, 16)
    status, body = posted(served, "/chat/completions", {**GIVEN, "messages": TALK, "stream": True}, "--no-buffer")
    assert status == 200
    events = body.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == wanted


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_is_never_shown(models, client, stream):
    whole, _ = own_text(models, TALK, 16)
    stop = whole[9:17]
    found = client.chat.completions.create(**GIVEN, messages=TALK, stop=["never", stop], stream=stream)
    if stream:
        chunks = list(found)
        text, reason = "".join(c.choices[0].delta.content or "" for c in chunks), chunks[-1].choices[0].finish_reason
    else:
        text, reason = found.choices[0].message.content, found.choices[0].finish_reason
    assert text == whole[: whole.index(stop)]
    assert reason == "stop"


def test_settings_reach_the_target(models, client):
    wanted, _ = own_text(models, TALK, 8)
    given = {"model": "target", "messages": TALK, "max_tokens": 8}
    for more in ({"top_p": 1e-6}, {"extra_body": {"top_k": 1}}, {"extra_body": {"min_p": 1.0}}):
        found = client.chat.completions.create(**given, temperature=1.0, **more)
        assert found.choices[0].message.content == wanted
    token = models[1].tokenizer.tokens_of(" house", bare=True)[0]
    found = client.chat.completions.create(**given, temperature=0, logit_bias={str(token): 100})
    assert found.choices[0].message.content == " house" * 8
    penalised = client.chat.completions.create(
        **given, temperature=0, logit_bias={str(token): 20}, presence_penalty=2.0, frequency_penalty=2.0
    )
    assert penalised.choices[0].message.content.count(" house") < 8


def test_log_probabilities_are_the_targets(models, client):
    found = client.chat.completions.create(
        model="target", messages=TALK, max_tokens=12, temperature=0.8, logprobs=True, seed=3
    )
    told = found.choices[0].logprobs.content
    target, tokenizer = models[0]
    _, ids = own_text(models, TALK, 1)
    written = tokenizer.tokens_of(found.choices[0].message.content, bare=True)
    assert len(told) == len(written) == 12  # a text of the pair's that is cut into its own tokens
    with torch.no_grad():
        logits = target._module(torch.tensor([ids + written])).logits[0].float().numpy()
    for at, (token, one) in enumerate(zip(written, told, strict=True)):
        row = tw.target_probs(logits[len(ids) + at - 1], tw.Sampling(temperature=0.8))
        assert one.token == tokenizer.text_of([token])
        assert one.bytes == list(one.token.encode())
        assert one.logprob == pytest.approx(np.log(row[token]), abs=1e-2)


def test_a_seed_gives_the_same_text_again(served, client):
    def text(**more):
        given = {"model": "target", "messages": TALK, "max_tokens": 16, "temperature": 1.0, **more}
        found = client.chat.completions.create(**given)
        return found.choices[0].message.content, found.system_fingerprint

    first = text(seed=5)
    others = [text(seed=6), text(seed=5, temperature=0.9), text()]
    assert text(seed=5) == first
    assert first[0] not in [other for other, _ in others]
    with ThreadPoolExecutor(3) as pool:  # whatever else goes on
        again, *_ = [one.result() for one in [pool.submit(text, seed=5), pool.submit(text), pool.submit(text, seed=6)]]
    assert again == first
    assert not [place for place in served.pool._places if place.wanted.seed is not None]


def test_completions(models, client):
    target, tokenizer = models[0]
    ids = tokenizer.tokens_of("The old house")
    with torch.no_grad():
        found = target._module.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)
    wanted = tokenizer.text_of(found[0, len(ids) :].tolist())
    for prompt in ("The old house", "<s>The old house", ids, ["The old house"], [ids]):
        found = client.completions.create(model="target", prompt=prompt, temperature=0, logprobs=0)
        assert found.choices[0].text == wanted
        assert found.usage.prompt_tokens == len(ids)
        assert "".join(found.choices[0].logprobs.tokens) == wanted
        assert found.choices[0].logprobs.text_offset[1] == len(found.choices[0].logprobs.tokens[0])
    pieces = list(client.completions.create(model="target", prompt="The old house", temperature=0, stream=True))
    assert "".join(chunk.choices[0].text for chunk in pieces) == wanted
    assert pieces[-1].choices[0].finish_reason == "length"


def test_models(client, served):
    assert [model.id for model in client.models.list()] == ["target"]
    assert client.models.retrieve("target").owned_by == "tslt"
    with pytest.raises(openai.NotFoundError, match="only 'target'"):
        client.models.retrieve("gpt-5")


CHAT, TEXT = "/chat/completions", "/completions"


@pytest.mark.parametrize(
    ("path", "more", "field"),
    [
        (CHAT, {"n": 2}, "n"),
        (CHAT, {"n": True}, "n"),
        (CHAT, {"tools": [{"type": "function"}]}, "tools"),
        (CHAT, {"tool_choice": "required"}, "tool_choice"),
        (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
        (CHAT, {"reasoning_effort": "low"}, "reasoning_effort"),
        (CHAT, {"top_logprobs": 2, "logprobs": True}, "top_logprobs"),
        (CHAT, {"mystery": 1}, "mystery"),
        (CHAT, {"prompt": "x"}, "prompt"),
        (CHAT, {"temperature": -1}, "temperature"),
        (CHAT, {"temperature": "hot"}, "temperature"),
        (CHAT, {"top_p": 0}, "top_p"),
        (CHAT, {"top_k": -1}, "top_k"),
        (CHAT, {"presence_penalty": 3}, "presence_penalty"),
        (CHAT, {"logit_bias": {"x": 1}}, "logit_bias"),
        (CHAT, {"logit_bias": {"5": 101}}, "logit_bias"),
        (CHAT, {"logit_bias": [5]}, "logit_bias"),
        (CHAT, {"seed": -1}, "seed"),
        (CHAT, {"seed": 1.5}, "seed"),
        (CHAT, {"stop": ["a"] * 5}, "stop"),
        (CHAT, {"stop": [""]}, "stop"),
        (CHAT, {"stop": 5}, "stop"),
        (CHAT, {"max_tokens": 0}, "max_tokens"),
        (CHAT, {"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        (CHAT, {"stream": 1}, "stream"),
        (CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
        (CHAT, {"stream": True, "stream_options": {"other": True}}, "stream_options"),
        (CHAT, {"logprobs": 1}, "logprobs"),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": "x", "name": "me"}]}, "messages"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages"),
        (CHAT, {"messages": "Hello"}, "messages"),
        (CHAT, {"messages": None}, "messages"),
        (CHAT, {"model": None}, "model"),
        (TEXT, {"echo": True}, "echo"),
        (TEXT, {"best_of": 2}, "best_of"),
        (TEXT, {"suffix": "x"}, "suffix"),
        (TEXT, {"logprobs": 1}, "logprobs"),
        (TEXT, {"prompt": ["a", "b"]}, "prompt"),
        (TEXT, {"prompt": []}, "prompt"),
        (TEXT, {"messages": TALK}, "messages"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(served, path, more, field):
    base = {"model": "target", **({"messages": TALK} if path == CHAT else {"prompt": "x"})}
    status, body = posted(served, path, {**base, **more})
    error = json.loads(body)["error"]
    assert (status, error["param"], error["type"]) == (400, field, "invalid_request_error")
    assert field in error["message"]


def test_what_asks_for_nothing_is_taken(client, served):
    nothing = {
        "n": 1,
        "tools": [],
        "response_format": {"type": "text"},
        "user": "me",
        "store": False,
        "top_logprobs": 0,
    }
    null = dict.fromkeys(("stop", "seed", "logit_bias", "functions", "mystery"))
    parts = [{"type": "text", "text": "Where is "}, {"type": "text", "text": "it?"}]
    status, _ = posted(
        served,
        CHAT,
        {
            **GIVEN,
            **nothing,
            **null,
            "messages": [{"role": "developer", "content": "x"}, {"role": "user", "content": parts}],
        },
    )
    assert status == 200


def test_what_is_no_request_is_refused(served):
    big = json.dumps({"model": "target", "prompt": "x" * (5 << 20)})
    assert posted(served, TEXT, "{")[0] == 400
    assert posted(served, TEXT, "[1]")[0] == 400
    assert posted(served, TEXT, "[" * 100_000)[0] == 400
    status, body = posted(served, TEXT, {"model": "gpt-5", "prompt": "x"})
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")
    status, body = posted(served, TEXT, {"model": "target", "prompt": [5] * 5000})
    assert (status, json.loads(body)["error"]["code"]) == (400, "context_length_exceeded")
    assert posted(served, TEXT, {"model": "target", "prompt": [99999]})[0] == 400
    assert curl(served.url + TEXT, "--data-binary", "{}")[0] == 415
    assert curl(served.url + "/embeddings")[0] == 404
    assert curl(served.url + CHAT)[0] in (404, 405)
    assert curl(served.url + "/models", "--header", "Host: evil.example")[0] == 403
    url = served.url + TEXT
    line = ["curl", "--silent", "--header", "Content-Type: application/json", "--data-binary", "@-", url]
    found = subprocess.run(line, input=big, capture_output=True, text=True, check=False)
    assert "more than" in found.stdout


def test_keys(models):
    with endpoint(*models, sessions=1, keys=("one", "two")) as found:
        for key, right in (("one", True), ("two", True), ("three", False), ("", False)):
            status, body = curl(found.url + "/models", "--header", f"Authorization: Bearer {key}")
            assert status == (200 if right else 401)
            assert right or json.loads(body)["error"]["code"] == "invalid_api_key"
        assert curl(found.url + "/models")[0] == 401


def lent(served):
    return [place for place in served.pool._places if place.lent]


@pytest.mark.parametrize("stream", [True, False])
def test_who_goes_away_is_not_written_for(served, client, stream):
    given = {"model": "target", "prompt": "The old house", "temperature": 0, "max_tokens": 450}
    given["logit_bias"] = {"1": -100}
    if stream:
        with client.completions.create(**given, stream=True) as chunks:
            next(iter(chunks))
    else:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.7).completions.create(**given)
    ends = time.monotonic() + 20
    while lent(served):
        assert time.monotonic() < ends
        time.sleep(0.02)
    time.sleep(0.5)
    passes = len(served.passes)
    time.sleep(0.5)
    assert len(served.passes) == passes
    longest = max(len(place.device.device.session.prefix) for place in served.pool._places)
    assert longest < 450
    assert client.completions.create(model="target", prompt="The", temperature=0).usage.completion_tokens == 16


def test_several_clients_share_what_there_is(models):
    with endpoint(*models, sessions=2, waiting=3) as found:
        wanted = {question: own_text(models, [{"role": "user", "content": question}], 12)[0] for question in QUESTIONS}

        def ask(question):
            with openai.OpenAI(base_url=found.url, api_key="none", max_retries=0, timeout=60) as one:
                messages = [{"role": "user", "content": question}]
                return one.chat.completions.create(**{**GIVEN, "max_tokens": 12}, messages=messages)

        with ThreadPoolExecutor(4) as pool:
            for question, answer in zip(QUESTIONS, pool.map(ask, QUESTIONS), strict=True):
                assert answer.choices[0].message.content == wanted[question]
        assert len(found.pool._places) <= 2
        busy = [found.pool.lend(Wanted(tw.SamplingRequest()), ()) for _ in range(2)]
        for one in busy:
            found.run(one.__aenter__())
        with ThreadPoolExecutor(3) as pool:
            tasks = [pool.submit(ask, QUESTIONS[0]) for _ in range(3)]
            ends = time.monotonic() + 20
            while found.pool._queued < 3:
                assert time.monotonic() < ends
                time.sleep(0.02)
            with pytest.raises(openai.RateLimitError) as refused:
                ask(QUESTIONS[0])
            assert refused.value.response.headers["retry-after"] == "1"
            for one in busy:
                found.run(one.__aexit__(None, None, None))
            assert {task.result().choices[0].message.content for task in tasks} == {wanted[QUESTIONS[0]]}


def test_two_conversations_have_a_session_each(models):
    with endpoint(*models, sessions=3) as found:
        with openai.OpenAI(base_url=found.url, api_key="none", max_retries=0, timeout=60) as one:
            talks = [[{"role": "user", "content": words * 8}] for words in ("Where is the house? ", "Who lives here? ")]
            kept = []
            for turn in range(3):
                for talk in talks:
                    answer = one.chat.completions.create(**GIVEN, messages=talk)
                    kept.append(answer.usage.prompt_tokens_details.cached_tokens)
                    talk += [answer.choices[0].message, {"role": "user", "content": f"And {turn}?"}]
        assert min(kept[2:]) > 30
        assert kept[4] > kept[2]


def test_what_the_edge_does_not_serve_and_an_edge_that_is_gone(models):
    with endpoint(*models, refusal=takes_only("temperature"), reach_s=3) as found:
        asked = {**GIVEN, "messages": TALK}
        status, body = posted(found, CHAT, {**asked, "temperature": 1, "min_p": 0.1})
        assert (status, json.loads(body)["error"]["code"]) == (400, "unsupported")
        assert "min_p" in json.loads(body)["error"]["message"]
        assert posted(found, CHAT, asked)[0] == 200
        found.run(found.listener.close())
        for _ in range(2):
            status, body = posted(found, CHAT, asked)
            assert (status, json.loads(body)["error"]["code"]) == (502, "edge_failed")
        assert len(found.pool._places) == 1  # the idle one that it began with


def test_texts_that_are_no_unicode(served):
    for field in ("messages", "stop", "model"):
        asked = {**GIVEN, "messages": TALK, field: "\ud800"}
        if field == "messages":
            asked["messages"] = [{"role": "user", "content": "\ud800"}]
        status, body = posted(served, CHAT, asked)
        assert status in (200, 400, 404), body
        assert status == 200 or json.loads(body)["error"]["message"]
