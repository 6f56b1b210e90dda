"""An unmodified llama.cpp server as the target: its completions with the probabilities of the likeliest tokens.

``llama-server -m MODEL.gguf``: it applies its samplers in the order that a request names, which is ours, and tells the
probabilities after them of as many tokens as are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tslt_wire as tw
from tslt_runtime.verifiers.servers.http import JsonHttp
from tslt_runtime.verifiers.servers.protocol import SETTINGS, Drawn, Listed, ServerGone

LISTED = 64
"""Tokens of a row that are asked for."""
FAR_ABOVE = 10_000.0
"""A bias that no logit comes near to."""


class LlamaServer:
    """See ``InferenceServer``."""

    most_top_k = LISTED - 1

    def __init__(self, url: str, *, vocab_size: int, api_key: str = "") -> None:
        """``vocab_size``: tokens V of its model.

        Raises ServerGone for a server that is none, ValueError for no URL.
        """
        self._http = JsonHttp(url, api_key=api_key)
        self._vocab_size = vocab_size
        self.name = f"llama.cpp at {url}"
        try:
            told = self._http.get("/props")["default_generation_settings"]
            self.context = int(told["n_ctx"])
            self._letter = self.tokens_of("a")[-1]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ServerGone(f"{url} is no server of llama.cpp: {error!r}") from error

    @staticmethod
    def differs(sampling: tw.Sampling) -> str | None:
        """See ``InferenceServer.differs``."""
        return None

    def alive(self) -> None:
        """Raise ServerGone if it does not answer."""
        self._http.get("/health")

    def tokens_of(self, text: str) -> list[int]:
        """How the server's tokenizer cuts ``text``."""
        body = {"content": text, "add_special": True, "parse_special": True}
        return self._http.tokens("/tokenize", body)

    def listed(
        self, prompts: Sequence[Sequence[int]], sampling: tw.Sampling, tokens: Sequence[int], seed: int
    ) -> list[Listed]:
        """See ``InferenceServer.listed``: the likeliest tokens, whichever were asked for."""
        if sampling.temperature == 0:
            answers = self._ask(prompts, sampling, seed=seed)
            return [Listed({_sampled(answer): 1.0}, whole=True) for answer in answers]
        if 0 < sampling.top_k <= self.most_top_k:
            return [self._listed(row, sampling) for row in self._raw(prompts, LISTED)]
        answers = self._ask(prompts, sampling, seed=seed, n_probs=LISTED)
        told = [_probs(answer, "top_probs", "prob") for answer in answers]
        # An answer whose sample was a part of a character comes without probabilities.
        left = [prompt for prompt, probs in zip(prompts, told, strict=True) if probs is None]
        rows = iter(self._raw(left, self._vocab_size) if left else ())
        return [
            self._listed(next(rows), sampling) if probs is None else Listed(probs, whole=len(probs) < LISTED)
            for probs in told
        ]

    def drawn(self, prompt: Sequence[int], sampling: tw.Sampling, count: int, seed: int) -> list[Drawn]:
        """See ``InferenceServer.drawn``: none, as what is not listed is seldom wanted, and the whole row then tells."""
        return []

    def row(self, prompt: Sequence[int], sampling: tw.Sampling) -> Mapping[int, float]:
        """See ``InferenceServer.row``: megabytes of JSON."""
        (told,) = self._raw([prompt], self._vocab_size)
        return _cut(told, sampling)

    def _raw(self, prompts: Sequence[Sequence[int]], count: int) -> list[dict[int, float]]:
        """Log probabilities before all settings of the ``count`` likeliest tokens after each prompt.

        The sample, which nobody looks at, is made to be a whole character: otherwise they are not told.
        """
        more = {"n_probs": count, "post_sampling_probs": False, "logit_bias": [[self._letter, FAR_ABOVE]]}
        answers = self._ask(prompts, tw.Sampling(temperature=0.0), seed=0, **more)
        found = [_probs(answer, "top_logprobs", "logprob") for answer in answers]
        if not all(found):
            raise ServerGone("a completion without log probabilities")
        return [told for told in found if told]

    def _listed(self, told: Mapping[int, float], sampling: tw.Sampling) -> Listed:
        """What the settings leave of the likeliest tokens."""
        kept = _cut(told, sampling)
        # Where the last one that was told is kept, there may be equals that were not told.
        whole = len(kept) < len(told) or len(told) == self._vocab_size
        return Listed(kept if whole else {}, whole=whole)

    def close(self) -> None:
        """See ``InferenceServer.close``."""
        self._http.close()

    def _ask(self, prompts: Sequence[Sequence[int]], sampling: tw.Sampling, *, seed: int, **more: Any) -> list[Any]:
        body = {
            "prompt": [list(prompt) for prompt in prompts],
            "n_predict": 1,
            "samplers": SETTINGS,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "dynatemp_range": 0.0,
            "cache_prompt": True,
            "return_tokens": True,
            "post_sampling_probs": True,
            "seed": seed,
            **more,
        }
        answers = self._http.post("/completion", body)
        answers = answers if isinstance(answers, list) else [answers]
        try:
            answers.sort(key=lambda answer: answer["index"])
        except (KeyError, TypeError) as error:
            raise ServerGone(f"no completions: {error!r}") from error
        if len(answers) != len(prompts):
            raise ServerGone(f"{len(answers)} completions of {len(prompts)} prompts")
        return answers


def _cut(told: Mapping[int, float], sampling: tw.Sampling) -> dict[int, float]:
    """The probabilities that are left of log probabilities ``told`` of the likeliest tokens, by our own rules."""
    tokens = sorted(told)  # equals are told apart by their ids
    probs = tw.target_probs(np.array([told[token] for token in tokens]), sampling)
    return {token: float(prob) for token, prob in zip(tokens, probs, strict=True) if prob}


def _sampled(answer: Any) -> int:
    try:
        return int(answer["tokens"][0])
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ServerGone(f"a completion without its token: {error!r}") from error


def _probs(answer: Any, which: str, value: str) -> dict[int, float] | None:
    """What is told of a row's tokens; None if it is nothing."""
    told = answer.get("completion_probabilities")
    if not told:
        return None
    try:
        return {int(each["id"]): float(each[value]) for each in told[0][which]}
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ServerGone(f"a completion without probabilities: {error!r}") from error
