"""What the runtime needs of a tokenizer, and how those of ``transformers`` and ``tokenizers`` give it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol


class Tokenizer(Protocol):
    """Text to tokens and back; an engine may bring one of its own (llama.cpp does)."""

    def get_vocab(self) -> Mapping[str, int]:
        """Token text -> id, added and special tokens included."""
        ...

    def tokens_of(self, text: str, *, bare: bool = False) -> list[int]:
        """The tokens of ``text``, with the special ones that the model wants around it; those in it are read.

        ``bare``: without those around it.
        """
        ...

    def text_of(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, spaces as they are; U+FFFD for bytes that are no character, or none yet."""
        ...

    def is_silent(self, token: int) -> bool:
        """Whether a token has no text: special ones, and logits without a token."""
        ...


def tokenizer_of(tokenizer: Any) -> Tokenizer:
    """``tokenizer`` itself if it is a ``Tokenizer``; else one around it, of ``transformers`` or ``tokenizers``."""
    if hasattr(tokenizer, "tokens_of"):
        own: Tokenizer = tokenizer
        return own
    return _Adapted(tokenizer)


class _Adapted:
    """A tokenizer of ``transformers`` or ``tokenizers``."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        # transformers wraps a tokenizer of tokenizers, or is one itself (older kinds, without a tokenizer.json).
        plain = getattr(tokenizer, "backend_tokenizer", tokenizer)
        self.chat_template = _default_template(getattr(tokenizer, "chat_template", None))
        """See ``tslt_runtime.chat.template``."""
        named = getattr(tokenizer, "special_tokens_map", {})
        self.special_tokens = {name: text for name, text in named.items() if isinstance(text, str)}
        self._decode: Callable[[Sequence[int]], str]
        self._silent: Callable[[int], bool]
        if not hasattr(plain, "get_added_tokens_decoder"):
            self._decode = lambda ids: str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
            self._silent = frozenset(tokenizer.all_special_ids).__contains__
            return
        added: Mapping[int, Any] = plain.get_added_tokens_decoder()
        specials = frozenset(token for token, what in added.items() if what.special)
        self._decode = plain.decode
        # Models are padded to more logits than there are tokens.
        self._silent = lambda token: token in specials or plain.id_to_token(token) is None

    def get_vocab(self) -> Mapping[str, int]:
        vocabulary: Mapping[str, int] = self._tokenizer.get_vocab()
        return vocabulary

    def tokens_of(self, text: str, *, bare: bool = False) -> list[int]:
        if callable(self._tokenizer):
            return list(self._tokenizer(text, add_special_tokens=not bare)["input_ids"])
        return list(self._tokenizer.encode(text, add_special_tokens=not bare).ids)

    def text_of(self, tokens: Sequence[int]) -> str:
        return self._decode(list(tokens))

    def is_silent(self, token: int) -> bool:
        return self._silent(token)


def _default_template(templates: Any) -> str | None:
    """The chat template of a tokenizer that has one, or several by name."""
    found = templates.get("default") if isinstance(templates, Mapping) else templates
    return found if isinstance(found, str) else None
