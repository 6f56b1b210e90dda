"""What a server says is not trusted: anything but what was asked for is one error, and the edge goes on."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from two_ends import KINDS, tables, two_ends

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.engines.protocol import EngineError, EngineFacts
from tslt_runtime.verifiers.servers import http as http_module
from tslt_runtime.verifiers.servers.http import JsonHttp
from tslt_runtime.verifiers.servers.llama_server import LlamaServer
from tslt_runtime.verifiers.servers.loading import load_vllm
from tslt_runtime.verifiers.servers.protocol import ServerGone
from tslt_runtime.verifiers.servers.verifier import ServerVerifier
from tslt_runtime.verifiers.servers.vllm import VllmServer

MODELS = {"data": [{"id": "m", "root": "somewhere", "max_model_len": 64}]}
PROPS = {"default_generation_settings": {"n_ctx": 64}}
VOCAB = 8


class Answering:
    """A real server that answers each path with what it is told to."""

    def __init__(self):
        self.answers, self.asked = {}, []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.reply(None)

            def do_POST(self):
                self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def reply(self, body):
                owner.asked.append((self.path, body, self.headers.get("Authorization")))
                status, said = owner.answers.get(self.path, (404, {"error": "no such page"}))
                said = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def answering():
    found = Answering()
    yield found
    found.server.shutdown()
    found.server.server_close()


def vllm(answering):
    answering.answers["/v1/models"] = (200, MODELS)
    return VllmServer(answering.url)


def llama(answering):
    answering.answers["/props"] = (200, PROPS)
    answering.answers["/tokenize"] = (200, {"tokens": [5]})
    return LlamaServer(answering.url, vocab_size=VOCAB)


BAD = {
    "no JSON": (200, b"<html>"),
    "nothing": (200, b""),
    "an error": (500, {"error": "out of memory"}),
    "a number": (200, 7),
    "a list": (200, [1, 2]),
    "no choices": (200, {"choices": []}),
    "a choice of nothing": (200, {"choices": [{"index": 0}]}),
    "words for tokens": (200, {"choices": [{"index": 0, "logprobs": {"tokens": ["the"], "token_logprobs": [-1.0]}}]}),
    "an answer of nothing": (200, [{"index": 0}]),
    "too deep": (200, b"[" * 100_000),
    "a list of tokens": (200, {"choices": [{"index": 0, "logprobs": {"top_logprobs": [[1]], "tokens": [5]}}]}),
    "two answers": (200, [{"index": 0}, {"index": 1}]),
    "probabilities of nothing": (200, [{"index": 0, "completion_probabilities": [{"top_probs": [{"id": "x"}]}]}]),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(("make", "path"), [(vllm, "/v1/completions"), (llama, "/completion")])
@pytest.mark.parametrize("sampling", [tw.Sampling(), tw.Sampling(top_k=3), tw.Sampling(temperature=0)])
def test_what_is_no_answer_is_one_error(make, path, bad, sampling, answering):
    server = make(answering)
    answering.answers[path] = BAD[bad]
    with pytest.raises(ServerGone):
        server.listed([[1, 2]], sampling, [3], 0)


@pytest.mark.parametrize("said", [7, [], {}, {"data": 5}, {"data": [{}]}, {"data": [[]]}, {"data": [{"id": "m"}]}])
def test_what_is_no_server_of_vllm(answering, said):
    answering.answers["/v1/models"] = (200, said)
    with pytest.raises(ServerGone, match="vLLM"):
        VllmServer(answering.url)


@pytest.mark.parametrize(("said", "model"), [({"data": []}, None), (MODELS, "another")])
def test_a_vllm_that_has_not_the_model(answering, said, model):
    answering.answers["/v1/models"] = (200, said)
    with pytest.raises(ServerGone, match=r"serves (nothing, not a model|m, not another)"):
        VllmServer(answering.url, model=model)


@pytest.mark.parametrize("said", [7, {}, {"default_generation_settings": {"n_ctx": None}}])
def test_what_is_no_server_of_llama_cpp(answering, said):
    answering.answers["/props"] = (200, said)
    with pytest.raises(ServerGone, match=r"no server of llama\.cpp"):
        LlamaServer(answering.url, vocab_size=VOCAB)


@pytest.mark.parametrize("said", [{"tokens": []}, {"tokens": 5}, {"tokens": ["a"]}, {}, []])
def test_a_tokenizer_that_says_no_tokens(answering, said):
    llama(answering).close()
    answering.answers["/tokenize"] = (200, said)
    with pytest.raises(ServerGone, match=r"no tokens|no server of llama\.cpp"):
        LlamaServer(answering.url, vocab_size=VOCAB)


def close_to(probs):
    return {token: pytest.approx(prob) for token, prob in probs.items()}


def test_what_vllm_tells(answering):
    server = vllm(answering)
    server.alive()
    answering.answers["/tokenize"] = (200, {"tokens": [1, 2]})
    assert server.tokens_of("ab") == [1, 2]
    told = {"tokens": ["token_id:3"], "token_logprobs": [math.log(0.5)]}
    told["top_logprobs"] = [{"token_id:3": math.log(0.5), "token_id:1": math.log(0.25), "token_id:7": -9999.0}]
    answering.answers["/v1/completions"] = (200, {"choices": [{"index": 0, "logprobs": told}]})
    (found,) = server.listed([[1, 2]], tw.Sampling(), [1, 5], 0)
    assert (found.probs, found.whole) == (close_to({1: 0.25}), False)
    assert [(each.token, each.prob) for each in found.drawn] == [(3, pytest.approx(0.5))]
    (found,) = server.listed([[1, 2]], tw.Sampling(top_k=2), [1], 0)
    assert (found.probs, found.whole) == (close_to({3: 0.5, 1: 0.25}), True)
    (found,) = server.listed([[1, 2]], tw.Sampling(temperature=0), [1], 0)
    assert (found.probs, found.whole) == ({3: 1.0}, True)
    assert server.row([1, 2], tw.Sampling()) == close_to({3: 0.5, 1: 0.25, 7: 0.0})
    (drawn,) = server.drawn([1, 2], tw.Sampling(), 1, 0)
    assert (drawn.token, drawn.prob) == (3, pytest.approx(0.5))
    with pytest.raises(ServerGone, match="1 completions of 1 prompts"):
        server.drawn([1, 2], tw.Sampling(), 2, 0)
    server.close()


def test_what_llama_cpp_tells(answering):
    server = llama(answering)
    answering.answers["/health"] = (200, {})
    server.alive()
    assert server.differs(tw.Sampling()) is None
    assert server.drawn([1], tw.Sampling(), 4, 0) == []
    logs = [{"id": token, "logprob": math.log(prob)} for token, prob in ((2, 0.5), (5, 0.25), (0, 0.25))]
    raw = {"top_logprobs": logs, "top_probs": [{"id": 2, "prob": 0.75}, {"id": 5, "prob": 0.25}]}
    answering.answers["/completion"] = (200, {"index": 0, "tokens": [2], "completion_probabilities": [raw]})
    assert server.row([1], tw.Sampling()) == close_to({2: 0.5, 5: 0.25, 0: 0.25})
    (found,) = server.listed([[1]], tw.Sampling(top_k=1), [], 0)
    assert (found.probs, found.whole) == ({2: 1.0}, True)
    (found,) = server.listed([[1]], tw.Sampling(top_k=3), [], 0)  # equals of the last one may not have been told
    assert (found.probs, found.whole) == ({}, False)
    (found,) = server.listed([[1]], tw.Sampling(top_p=0.9), [], 0)
    assert (found.probs, found.whole) == ({2: 0.75, 5: 0.25}, True)
    (found,) = server.listed([[1]], tw.Sampling(temperature=0), [], 0)
    assert (found.probs, found.whole) == ({2: 1.0}, True)
    server.close()


def test_an_answer_without_end_is_given_up(answering, monkeypatch):
    monkeypatch.setattr(http_module, "MOST_BYTES", 1000)
    answering.answers["/x"] = (200, b"[" + b" " * 5000 + b"]")
    with pytest.raises(ServerGone, match="more than 1000 bytes"):
        JsonHttp(answering.url).get("/x")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", ""])
def test_what_is_no_url(url):
    with pytest.raises(ValueError, match="expected a URL"):
        JsonHttp(url)


def test_a_server_that_is_not_there():
    with pytest.raises(EngineError, match="/v1/models"):
        load_vllm("http://127.0.0.1:9", lambda source: None)


def test_a_server_of_another_kind(answering):
    with pytest.raises(EngineError, match="404"):
        load_vllm(answering.url, lambda source: None)


def test_the_key_is_sent(answering):
    answering.answers["/x"] = (200, {})
    JsonHttp(answering.url, api_key="secret").get("/x")
    assert answering.asked == [("/x", None, "Bearer secret")]


def test_a_device_is_told_to_come_back():
    """A server that is gone ends no session for good: the device hears when to try again."""
    target, draft = tables(VOCAB)

    class Gone:
        name, context, most_top_k = "a server", 100, 4

        def differs(self, sampling):
            return None

        def listed(self, *asked):
            raise ServerGone("it left")

        def close(self):
            pass

    verifier = ServerVerifier(Gone(), EngineFacts(model="m", vocab_size=VOCAB, context=100))

    async def run():
        async with two_ends(target, draft, verifier=verifier, evidence=("match",)) as device:
            await device.prompt([1, 2])
            async for _ in device.generate(4, KINDS["match"]):
                pass

    with pytest.raises(EdgeError, match=r"does not answer: it left; try again in 5\.0 s"):
        asyncio.run(run())


def test_settings_that_a_server_applies_otherwise_are_refused(answering):
    verifier = ServerVerifier(vllm(answering), EngineFacts(model="m", vocab_size=VOCAB, context=64))
    refusal = verifier.facts.refusal
    assert refusal(tw.Sampling(temperature=0.5, top_k=3, top_p=0.5)) is None
    assert refusal(tw.Sampling(min_p=0.1)) is None
    assert "min_p before top_p" in refusal(tw.Sampling(min_p=0.1, top_p=0.9))
    assert "it lacks logit_bias" in refusal(tw.Sampling(logit_bias={1: 2.0}))
