"""An unmodified vLLM server as the target: its completions with log probabilities of chosen tokens.

vLLM 0.32, ``vllm serve MODEL --logprobs-mode processed_logprobs --max-logprobs -1``: log probabilities are then those
after temperature and cuts, which it applies in our order but for min_p, which comes before top_p there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tslt_wire as tw
from tslt_runtime.verifiers.servers.http import JsonHttp
from tslt_runtime.verifiers.servers.protocol import Drawn, Listed, ServerGone

LISTED = 64
"""Tokens of a top-k support that are asked for."""
ASKED_MOST = 128
"""Tokens whose probabilities one call can ask for."""
NOTHING = 1e-30
"""vLLM says -9999 for the logarithm of 0."""


class VllmServer:
    """See ``InferenceServer``."""

    most_top_k = LISTED

    def __init__(self, url: str, *, model: str | None = None, api_key: str = "") -> None:
        """``model``: the name it is served under; None: the first one.

        Raises ServerGone for a server that is none or answers otherwise than it must, ValueError for no URL.
        """
        self._http = JsonHttp(url, api_key=api_key)
        try:
            known = {str(card["id"]): card for card in self._http.get("/v1/models")["data"]}
            self._model = model or next(iter(known), "a model")
            if self._model not in known:
                raise ServerGone(f"{url} serves {', '.join(known) or 'nothing'}, not {self._model}")
            self.source = str(known[self._model].get("root") or self._model)
            """Where its model's files are, or their hub id."""
            self.context = int(known[self._model]["max_model_len"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServerGone(f"{url} is no server of vLLM: {error!r}") from error
        self.name = f"vLLM at {url}"

    @staticmethod
    def differs(sampling: tw.Sampling) -> str | None:
        """See ``InferenceServer.differs``."""
        return "min_p before top_p" if sampling.min_p and sampling.top_p < 1 else None

    def alive(self) -> None:
        """Raise ServerGone if it does not answer."""
        self._http.get("/v1/models")

    def tokens_of(self, text: str) -> list[int]:
        """How the server's tokenizer cuts ``text``."""
        return self._http.tokens("/tokenize", {"model": self._model, "prompt": text})

    def listed(
        self, prompts: Sequence[Sequence[int]], sampling: tw.Sampling, tokens: Sequence[int], seed: int
    ) -> list[Listed]:
        """See ``InferenceServer.listed``."""
        few = 0 < sampling.top_k <= LISTED and sampling.temperature > 0
        more: dict[str, Any]
        if few:
            # One more than there can be without equals at the border: it has no probability, or there are equals.
            more = {"logprobs": sampling.top_k + 1}
        elif tokens and sampling.temperature > 0:
            more = {"logprobs": 1, "logprob_token_ids": list(tokens)}
        else:
            more = {"logprobs": 0}
        found = []
        for choice in self._ask(prompts, sampling, seed=seed, **more):
            token, prob, probs = _told(choice)
            if sampling.temperature == 0:
                found.append(Listed({token: 1.0}, whole=True))
            elif few:
                some = {each: value for each, value in probs.items() if value > NOTHING}
                found.append(Listed(some, whole=len(some) < len(probs), drawn=(Drawn(token, prob),)))
            else:
                # What was drawn is told, too: taken as listed it would count twice.
                asked = {each: probs[each] for each in tokens if each in probs}
                found.append(Listed(asked, drawn=(Drawn(token, prob),)))
        return found

    def drawn(self, prompt: Sequence[int], sampling: tw.Sampling, count: int, seed: int) -> list[Drawn]:
        """See ``InferenceServer.drawn``: vLLM gives each of several samples a seed of its own."""
        return [
            Drawn(token, prob)
            for token, prob, _ in map(_told, self._ask([prompt], sampling, seed=seed, logprobs=0, n=count))
        ]

    def row(self, prompt: Sequence[int], sampling: tw.Sampling) -> Mapping[int, float]:
        """See ``InferenceServer.row``: megabytes of JSON."""
        (choice,) = self._ask([prompt], sampling, seed=0, logprobs=-1)
        return _told(choice)[2]

    def close(self) -> None:
        """See ``InferenceServer.close``."""
        self._http.close()

    def _ask(self, prompts: Sequence[Sequence[int]], sampling: tw.Sampling, *, seed: int, **more: Any) -> list[Any]:
        body = {
            "model": self._model,
            "prompt": [list(prompt) for prompt in prompts],
            "max_tokens": 1,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k or -1,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            # What the model's generation_config says is named above, or refused.
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "return_tokens_as_token_ids": True,
            "seed": seed,
            **more,
        }
        try:
            choices = sorted(self._http.post("/v1/completions", body)["choices"], key=lambda choice: choice["index"])
        except (KeyError, TypeError) as error:
            raise ServerGone(f"no completions: {error!r}") from error
        if len(choices) != len(prompts) * more.get("n", 1):
            raise ServerGone(f"{len(choices)} completions of {len(prompts)} prompts")
        return choices


def _told(choice: Any) -> tuple[int, float, dict[int, float]]:
    """The token of a completion, its probability, and those of all tokens that are told."""
    try:
        said = choice["logprobs"]
        told = {_id(name): math.exp(value) for name, value in (said["top_logprobs"][0] or {}).items()}
        return _id(said["tokens"][0]), math.exp(said["token_logprobs"][0]), told
    except (KeyError, TypeError, IndexError, ValueError, OverflowError, AttributeError) as error:
        raise ServerGone(f"a completion without log probabilities: {error!r}") from error


def _id(name: str) -> int:
    return int(name.removeprefix("token_id:"))
