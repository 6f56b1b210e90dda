"""Messages, and a conversation that grows by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

ROLES = ("system", "user", "assistant")
"""Who may say a message."""


class Message(TypedDict):
    """One message: ``{"role": "user", "content": "..."}``."""

    role: str
    content: str


def messages_of(messages: Any) -> list[Message]:
    """``messages`` as a list of messages, checked: each has a role of ``ROLES`` and a text, and nothing else.

    TypeError for what is no sequence of mappings, ValueError for a message that is none; both name the place.
    """
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise TypeError(f"messages must be a list of messages, got {type(messages).__name__}")
    if not messages:
        raise ValueError("messages must have one message at least")
    return [_message(f"messages[{at}]", one) for at, one in enumerate(messages)]


def _message(where: str, message: Any) -> Message:
    if not isinstance(message, Mapping):
        raise TypeError(f"{where} must be a mapping with role and content, got {type(message).__name__}")
    if unknown := sorted(str(name) for name in message if name not in ("role", "content")):
        raise ValueError(f"{where} has {unknown[0]}, which is not supported: a message has a role and a content")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise ValueError(f"{where}.role must be one of {', '.join(ROLES)}, got {role!r}")
    if not isinstance(content, str):
        raise TypeError(f"{where}.content must be a text, got {type(content).__name__}")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}.content is no text: {error.reason} at character {error.start}") from error
    return Message(role=str(role), content=content)


class Conversation:
    """A system prompt, and turns."""

    def __init__(self, system: str | None = None) -> None:
        """``system``: what the model is told first; None tells it nothing."""
        self.system = system
        self._turns: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        """All messages so far, the system prompt first."""
        first = [] if self.system is None else [Message(role="system", content=self.system)]
        return [*first, *self._turns]

    def ask(self, text: str) -> list[Message]:
        """Let the user say ``text``; returns the messages that are to be answered."""
        self._turns.append(Message(role="user", content=text))
        return self.messages

    def answer(self, text: str) -> None:
        """Let the model have said ``text``.  Nothing at all takes the question back: templates want turns in turn."""
        if text:
            self._turns.append(Message(role="assistant", content=text))
        else:
            self._turns.pop()

    def reset(self) -> None:
        """Forget all turns; the system prompt stays."""
        self._turns.clear()
