"""Loaded weights, and the tokenizer that came with them."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from tslt_runtime.engines.llamacpp.library import SILENT_TOKENS, UNUSED_TOKEN

TEMPLATE_KEY = b"tokenizer.chat_template"
"""Where a file has its chat template."""


class Weights:
    """What a file was loaded into; freed once nothing refers to it."""

    def __init__(self, lib: Any, handle: int) -> None:
        """``handle``: ``struct llama_model *`` of the functions ``lib``."""
        self.lib = lib
        self.handle = handle
        weakref.finalize(self, lib.llama_model_free, handle)


class Vocabulary:
    """The tokenizer in a GGUF file (see ``tslt_runtime.tokenizer``)."""

    def __init__(self, weights: Weights) -> None:
        """Of a model whose weights are loaded."""
        self._weights = weights  # they own the vocabulary
        self._lib = weights.lib
        self._handle = self._lib.llama_model_get_vocab(weights.handle)
        self.size = int(self._lib.llama_vocab_n_tokens(self._handle))

    def get_vocab(self) -> dict[str, int]:
        """Token text -> id, special tokens included, fillers not (see ``fingerprint.HasVocabulary``)."""
        text, attributes = self._lib.llama_vocab_get_text, self._lib.llama_vocab_get_attr
        return {
            text(self._handle, token).decode("utf-8", "surrogatepass"): token
            for token in range(self.size)
            if not attributes(self._handle, token) & UNUSED_TOKEN
        }

    @property
    def chat_template(self) -> str | None:
        """The file's; see ``tslt_runtime.chat.template``."""
        ask = self._lib.llama_model_meta_val_str
        size = ask(self._weights.handle, TEMPLATE_KEY, None, 0)
        if size < 0:
            return None
        value = ctypes.create_string_buffer(size + 1)
        ask(self._weights.handle, TEMPLATE_KEY, value, size + 1)
        return value.value.decode(errors="replace")

    @property
    def special_tokens(self) -> dict[str, str]:
        """Texts of those that a template may name."""
        found = {"bos_token": self._lib.llama_vocab_bos, "eos_token": self._lib.llama_vocab_eos}
        named = {name: int(which(self._handle)) for name, which in found.items()}
        text = self._lib.llama_vocab_get_text
        return {name: text(self._handle, token).decode(errors="replace") for name, token in named.items() if token >= 0}

    def ends(self) -> tuple[int, ...]:
        """Tokens that end a text, ascending."""
        ends = self._lib.llama_vocab_is_eog
        return tuple(token for token in range(self.size) if ends(self._handle, token))

    def tokens_of(self, text: str, *, bare: bool = False) -> list[int]:
        """See ``Tokenizer.tokens_of``."""
        raw = text.encode("utf-8", "surrogatepass")
        room = len(raw) + 16
        while True:
            tokens = np.empty(room, np.int32)
            count = self._lib.llama_tokenize(self._handle, raw, len(raw), tokens.ctypes.data, room, not bare, True)
            if count >= 0:
                return [int(token) for token in tokens[:count]]
            room = -count

    def is_silent(self, token: int) -> bool:
        """See ``Tokenizer.is_silent``."""
        return bool(self._lib.llama_vocab_get_attr(self._handle, self._require([token])[0]) & SILENT_TOKENS)

    def text_of(self, tokens: Sequence[int]) -> str:
        """See ``Tokenizer.text_of``."""
        ids = np.asarray(self._require(tokens), np.int32)
        room = 16 * len(ids) + 16
        while True:
            text = ctypes.create_string_buffer(room)
            count = self._lib.llama_detokenize(
                self._handle, ids.ctypes.data, len(ids), ctypes.addressof(text), room, False, False
            )
            if count >= 0:
                return text.raw[:count].decode("utf-8", "replace")
            room = -count

    def _require(self, tokens: Sequence[int]) -> Sequence[int]:
        """``tokens``, unless llama.cpp, which ends the process for an id that it does not know, must not see them."""
        if tokens and not (min(tokens) >= 0 and max(tokens) < self.size):
            raise ValueError(f"tokens {min(tokens)} .. {max(tokens)} in a vocabulary of {self.size}")
        return tokens
