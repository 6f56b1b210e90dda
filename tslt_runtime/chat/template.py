"""A model's own chat template: messages in, the text or the tokens that its target goes on from out.

Templates are Jinja programs in the files of a model.  They run in Jinja's sandbox, with what ``transformers`` gives
them, so that the text is the one that its ``apply_chat_template`` makes.  None comes from a peer: an edge tells the
hash of its own, and a device refuses to go on with another one (docs/decisions/0033-chat.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import tslt_wire as tw
from tslt_runtime.chat.messages import Message
from tslt_runtime.tokenizer import Tokenizer, tokenizer_of
from tslt_wire.messages.chat_template import named_template, template_digest

MOST_TEMPLATE_BYTES = 1 << 20
"""Bytes of a template; those of known models have 20,000 at most."""
MOST_TEXT = 1 << 24
"""Characters that a template may make of messages."""


class TemplateError(ValueError):
    """A model has no chat template, or its template cannot be applied; the message says why and what to do."""


class ChatTemplate:
    """A template and the texts of the special tokens that it may name."""

    def __init__(self, source: str, special_tokens: Mapping[str, str] | None = None) -> None:
        """``special_tokens``: their texts by name, ``bos_token`` say.

        Raises TemplateError for what is no template or is too long, ImportError where jinja2 is not installed.
        """
        import jinja2

        from tslt_runtime.chat.sandbox import environment

        if len(source.encode("utf-8", "surrogatepass")) > MOST_TEMPLATE_BYTES:
            raise TemplateError(f"a chat template has at most {MOST_TEMPLATE_BYTES} bytes, this one is longer")
        self.source = source
        self._special = dict(special_tokens or {})
        try:
            self._compiled = environment(raise_exception=_refuse, strftime_now=_now, tojson=_json).from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise TemplateError(f"the chat template cannot be read: {error}") from error

    @property
    def digest(self) -> bytes:
        """What names it: ``digest_of`` its source."""
        return digest_of(self.source)

    def text(self, messages: Sequence[Message]) -> str:
        """The text that asks for an answer to ``messages``; TemplateError if the template refuses them."""
        import jinja2

        found, size = list[str](), 0
        values = {**self._special, "messages": [dict(message) for message in messages], "add_generation_prompt": True}
        try:
            for part in self._compiled.generate(**values, tools=None, documents=None):
                found.append(part)
                size += len(part)
                if size > MOST_TEXT:
                    raise TemplateError(f"the chat template makes more than {MOST_TEXT} characters of these messages")
        except (jinja2.TemplateError, TypeError, OverflowError, ZeroDivisionError, RecursionError) as error:
            raise TemplateError(f"the chat template refuses these messages: {error}") from error
        return "".join(found)

    def tokens(self, tokenizer: Any, messages: Sequence[Message]) -> list[int]:
        """The tokens of ``text(messages)``: special ones are the template's to write, none is put around them.

        ``tokenizer``: what ``tokenizer_of`` takes.  Raises TemplateError, also for no tokens at all.
        """
        if not (ids := tokenizer_of(tokenizer).tokens_of(self.text(messages), bare=True)):
            raise TemplateError("the chat template makes no text of these messages")
        return ids


def digest_of(source: str) -> bytes:
    """The SHA-256 of a template's text in UTF-8, 32 bytes: what WELCOME names it by (spec section 7.3)."""
    return template_digest(source.encode("utf-8", "surrogatepass"))


def source_of(tokenizer: Tokenizer) -> str | None:
    """The template that came with a tokenizer; None if none did."""
    found = getattr(tokenizer, "chat_template", None)
    return found if isinstance(found, str) else None


def template_of(tokenizer: Any, file: str | Path | None = None) -> ChatTemplate:
    """The template of a model, by its tokenizer; ``file``: the one to take in its place, UTF-8.

    Raises TemplateError where there is none, OSError for a file that is not there.
    """
    own = tokenizer_of(tokenizer)
    if file is None:
        source = source_of(own)
    else:
        try:
            source = Path(file).read_bytes().decode()
        except UnicodeDecodeError as error:
            raise TemplateError(f"{file} is no UTF-8 text: {error.reason} at byte {error.start}") from error
    if source is None:
        raise TemplateError(
            "the model's files have no chat template: it may be no model for conversations; else name the template "
            "(--chat-template FILE), or put the target's chat_template.jinja into the draft model's folder"
        )
    return ChatTemplate(source, getattr(own, "special_tokens", None))


def require_the_targets(template: ChatTemplate, welcome: tw.Welcome) -> ChatTemplate:
    """``template``, if it is the target's as far as WELCOME says; else TemplateError."""
    theirs = named_template(welcome)
    if theirs is not None and theirs != template.digest:
        raise TemplateError(
            f"the target has another chat template (SHA-256 {theirs.hex()[:16]}..., here {template.digest.hex()[:16]}"
            "...): name the target's own, the chat_template.jinja of its folder say (--chat-template FILE)"
        )
    return template


def _refuse(message: object) -> NoReturn:
    raise TemplateError(f"the chat template refuses these messages: {message}")


def _now(form: str) -> str:
    return datetime.now().strftime(form)  # local time, as the templates of models expect


def _json(value: Any, indent: int | None = None, ensure_ascii: bool = False, sort_keys: bool = False, **_: Any) -> str:
    # Unlike Jinja's own filter, which writes < and > for HTML.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys)
