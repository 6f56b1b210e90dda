"""Connect to an inference server, and see that it answers as a verifier needs it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import tslt_wire as tw
from tslt_runtime.engines.protocol import EngineError, EngineFacts
from tslt_runtime.scheduler import Pass
from tslt_runtime.tokenizer import Tokenizer
from tslt_runtime.verifiers.servers.protocol import InferenceServer, ServerGone
from tslt_runtime.verifiers.servers.verifier import ServerVerifier
from tslt_runtime.verifiers.servers.vllm import ASKED_MOST, VllmServer

SAMPLE = "The old house stood at the end of the road; its 3 windows were dark.\n"
"""Cut by both tokenizers."""
ROUNDING = 1e-3
"""Of a probability that a server tells twice."""


def load_vllm(
    url: str,
    described: Callable[[str], tuple[EngineFacts, Tokenizer]],
    *,
    model: str | None = None,
    api_key: str = "",
    on_pass: Callable[[Pass], None] = lambda _: None,
) -> tuple[ServerVerifier, Tokenizer]:
    """A verifier over a vLLM server; ``model``: folder or hub id of its model, by default what the server says.

    ``described`` reads one; ``on_pass``: see ``ServerVerifier``.  Raises EngineError, with what to do about it,
    ValueError for no URL.
    """
    try:
        server = VllmServer(url, api_key=api_key)
        facts, tokenizer = described(model or server.source)
        _require_same_text(server, tokenizer)
        _require_processed(server, tokenizer.tokens_of(SAMPLE))
    except ServerGone as error:
        raise EngineError(str(error)) from error
    most = min(facts.most_nodes, ASKED_MOST)
    return _verifier(server, replace(facts, most_nodes=most), on_pass), tokenizer


def load_llama_server(
    url: str,
    described: Callable[[str], tuple[EngineFacts, Tokenizer]],
    *,
    model: str,
    api_key: str = "",
    on_pass: Callable[[Pass], None] = lambda _: None,
) -> tuple[ServerVerifier, Tokenizer]:
    """A verifier over a server of llama.cpp; ``model``: the .gguf file that it runs, or a folder or hub id.

    See ``load_vllm``.
    """
    from tslt_runtime.verifiers.servers.llama_server import LlamaServer

    facts, tokenizer = described(model)
    try:
        server = LlamaServer(url, vocab_size=facts.vocab_size, api_key=api_key)
        _require_same_text(server, tokenizer)
    except ServerGone as error:
        raise EngineError(str(error)) from error
    return _verifier(server, facts, on_pass), tokenizer


def _verifier(server: InferenceServer, facts: EngineFacts, on_pass: Callable[[Pass], None]) -> ServerVerifier:
    # Of its cache we know nothing; a text ends where the server's context does.
    facts = replace(facts, context=min(facts.context, server.context), token_bytes=0)
    return ServerVerifier(server, facts, on_pass=on_pass)


def _require_same_text(server: InferenceServer, tokenizer: Tokenizer) -> None:
    """Refuse a model that is not the one the server runs, as far as its tokenizer tells."""
    theirs, ours = server.tokens_of(SAMPLE), tokenizer.tokens_of(SAMPLE)
    if theirs != ours:
        raise EngineError(
            f"{server.name} cuts {SAMPLE!r} into {theirs}, the model named here into {ours}: "
            "name the model that it runs (--model)"
        )


def _require_processed(server: VllmServer, prompt: list[int]) -> None:
    """Refuse a vLLM server whose log probabilities are not those it draws with."""
    warm, cold = tw.Sampling(temperature=1.0, top_k=3), tw.Sampling(temperature=0.5, top_k=3)
    (first,), (second,) = (server.listed([prompt], sampling, (), 0) for sampling in (warm, cold))
    total = math.fsum(prob**2 for prob in first.probs.values())
    fits = all(abs(second.probs.get(token, 0.0) - prob**2 / total) < ROUNDING for token, prob in first.probs.items())
    if not (first.whole and fits):
        raise EngineError(
            f"{server.name} tells log probabilities before temperature and cuts: start it with "
            "--logprobs-mode processed_logprobs --max-logprobs -1"
        )
