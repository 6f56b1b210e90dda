"""Prompts of a file, in the forms that people have them in.

- JSON lines: objects with a ``prompt`` (HumanEval), ``text`` or ``question``, ``turns`` (Spec-Bench, MT-bench) or
  ``messages`` (OpenAI); or strings.  Of turns the first one is taken, of messages all up to the last of a user: the
  answers in between are not the target's.  No chat template is applied.
- Text: one prompt a line, ``#`` lines skipped; or, where blank lines stand between blocks of several lines, one a
  block, ``#`` lines before the first skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PROMPTS = Path(__file__).resolve().parent / "data" / "prompts.txt"
"""Openings of stories, one a line."""
FIELDS = ("prompt", "text", "question", "turns", "messages")
"""Of an object, where its prompt is; the first that is there counts."""
_SHOWN = 60
"""Characters of what is wrong that are shown."""


class PromptError(ValueError):
    """A file of prompts is not what it should be; the message says where, and what was expected."""


def read_prompts(path: Path = PROMPTS) -> list[str]:
    """Return the prompts of a file; PromptError if it is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PromptError(f"{path}: expected text in UTF-8, got byte {error.object[error.start]:#04x}") from error
    named_json = path.suffix.lower() in {".jsonl", ".ndjson"}
    found = list(_from_json(path, text) if named_json or text.lstrip().startswith("{") else _from_text(text))
    if not found:
        raise PromptError(f"{path}: expected prompts, got an empty file")
    return found


def some_of(prompts: Sequence[str], count: int) -> list[str]:
    """``count`` prompts from all over the file (whose neighbours may be alike), all if there are fewer, in order."""
    count = min(count, len(prompts))
    return [prompts[i * len(prompts) // count] for i in range(count)]


def _from_text(text: str) -> Iterator[str]:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and (not lines[0] or lines[0].startswith("#")):
        del lines[0]
    blocks = [block.strip("\n") for block in "\n".join(lines).split("\n\n") if block.strip()]
    if len(blocks) > 1 and any(len(_said(block.splitlines())) > 1 for block in blocks):
        yield from blocks
    else:
        yield from _said(lines)


def _said(lines: Sequence[str]) -> list[str]:
    """Lines that are neither blank nor comments."""
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _from_json(path: Path, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise PromptError(f"{where}: expected one JSON object, got {_short(line)} ({error})") from error
        yield _prompt(value, where)


def _prompt(value: Any, where: str) -> str:
    if isinstance(value, str):
        return _filled(value, where)
    if not isinstance(value, Mapping):
        raise PromptError(f"{where}: expected an object or a string, got {_short(value)}")
    name = next((field for field in FIELDS if field in value), None)
    if name is None:
        raise PromptError(
            f"{where}: expected one of {', '.join(FIELDS)}, got {', '.join(map(str, value)) or 'nothing'}"
        )
    content, where = value[name], f"{where}: {name}"
    if name == "turns":
        if not isinstance(content, Sequence) or isinstance(content, str) or not content:
            raise PromptError(f"{where}: expected a list of texts, got {_short(content)}")
        return _filled(content[0], where)
    return _messages(content, where) if name == "messages" else _filled(content, where)


def _messages(messages: Any, where: str) -> str:
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise PromptError(f"{where}: expected a list of messages, got {_short(messages)}")
    texts: list[tuple[str, str]] = []
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise PromptError(f"{where}: expected objects with role and content, got {_short(message)}")
        texts.append((message["role"], _content(message.get("content"), where)))
    last = max((i for i, (role, _) in enumerate(texts) if role == "user"), default=-1)
    if last < 0:
        raise PromptError(f"{where}: expected a message of a user, got none")
    return _filled("\n\n".join(text for _, text in texts[: last + 1] if text), where)


def _content(content: Any, where: str) -> str:
    """A message's text: a string, or parts of which some are texts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence) or not all(isinstance(part, Mapping) for part in content):
        raise PromptError(f"{where}: expected a message's content as a text or parts, got {_short(content)}")
    return "".join(str(part["text"]) for part in content if part.get("type") == "text" and "text" in part)


def _filled(text: Any, where: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise PromptError(f"{where}: expected a text, got {_short(text)}")
    return text


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
