"""What is sent back, in OpenAI's form: whole answers, and the chunks of streams."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tslt_runtime.incremental_decoding import UNFINISHED
from tslt_runtime.pieces import Piece
from tslt_runtime.streaming import Ending
from tslt_runtime.tokenizer import Tokenizer

FINISH = {Ending.END: "stop", Ending.STOP: "stop", Ending.TOKENS: "length", Ending.CONTEXT: "length"}
"""OpenAI's words for why a text ended."""


class Answers:
    """Writes the objects of one answer."""

    def __init__(self, tokenizer: Tokenizer, *, chat: bool, model: str, log_probs: bool, system: str) -> None:
        """``system``: what must be the same, besides the request, for a seed to give the same text."""
        self._tokenizer = tokenizer
        self._chat = chat
        self._log_probs = log_probs
        self._head = {
            "id": ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12),
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": system,
        }
        self._offset = 0  # characters of the tokens so far

    def whole(self, pieces: Sequence[Piece], ending: Ending, usage: Mapping[str, Any]) -> dict[str, Any]:
        """The answer that is no stream."""
        text = "".join(piece.text for piece in pieces)
        told = self._told([token for p in pieces for token in p.tokens], [x for p in pieces for x in p.log_probs])
        said = {"message": {"role": "assistant", "content": text, "refusal": None}} if self._chat else {"text": text}
        choice = {"index": 0, **said, "logprobs": told, "finish_reason": FINISH[ending]}
        return {**self._head, "object": self._kind(""), "choices": [choice], "usage": dict(usage)}

    def first(self) -> list[dict[str, Any]]:
        """What a stream begins with."""
        return [self._chunk({"role": "assistant", "content": ""}, None, None)] if self._chat else []

    def piece(self, piece: Piece) -> dict[str, Any]:
        """The chunk of a piece."""
        said = {"content": piece.text} if self._chat else piece.text
        return self._chunk(said, self._told(piece.tokens, piece.log_probs), None)

    def last(self, ending: Ending) -> dict[str, Any]:
        """The chunk that says why the text ended."""
        return self._chunk({} if self._chat else "", None, FINISH[ending])

    def used(self, usage: Mapping[str, Any]) -> dict[str, Any]:
        """The chunk, after the last one, of what it took."""
        return {**self._head, "object": self._kind(".chunk"), "choices": [], "usage": dict(usage)}

    def _kind(self, end: str) -> str:
        return f"chat.completion{end}" if self._chat else "text_completion"

    def _chunk(self, said: Any, told: Any, finish: str | None) -> dict[str, Any]:
        name = "delta" if self._chat else "text"
        choice = {"index": 0, name: said, "logprobs": told, "finish_reason": finish}
        return {**self._head, "object": self._kind(".chunk"), "choices": [choice]}

    def _told(self, tokens: Sequence[int], log_probs: Sequence[float]) -> dict[str, Any] | None:
        """The log probabilities of tokens."""
        if not self._log_probs:
            return None
        texts = [self._tokenizer.text_of([token]) for token in tokens]
        if not self._chat:
            offsets = []
            for text in texts:
                offsets.append(self._offset)
                self._offset += len(text)
            return {"tokens": texts, "token_logprobs": list(log_probs), "top_logprobs": None, "text_offset": offsets}
        content = [
            {
                "token": text,
                "logprob": log_prob,
                # A token that is a part of a character: its bytes are not known here.
                "bytes": None if UNFINISHED in text else list(text.encode()),
                "top_logprobs": [],
            }
            for text, log_prob in zip(texts, log_probs, strict=True)
        ]
        return {"content": content, "refusal": None}


def usage_of(*, prompt: int, kept: int, written: int) -> dict[str, Any]:
    """What an answer took: tokens of the prompt, those of them that were in the caches, and of the text."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": kept},
    }
