"""The fields of a request's body, one by one: each is used, asks for nothing, or is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tslt_wire as tw
from tslt_runtime.chat.messages import Message, messages_of
from tslt_runtime.endpoint.errors import ApiError
from tslt_runtime.stops import stops_of

COMPLETION_TOKENS = 16
"""Tokens of a completion that does not say how many, as at OpenAI's; an answer to messages then ends by itself."""
MOST_OPENAI_STOPS = 4
MOST_SEED = (1 << 63) - 1
ROLES = {"developer": "system"}
"""Roles that templates call otherwise."""
ASK_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "store": (False,),
    "metadata": ({},),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "top_logprobs": (0,),
}
"""Fields that are not supported, and the values of them that ask for nothing.  null does so of every field."""
SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "ignore_eos": "ignore_eos",
    "suppress_tokens": "suppress_tokens",
}
"""Settings that go to the target as they are; those from ``top_k`` on are not OpenAI's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks for."""

    chat: bool
    """Whether it is to answer messages."""
    model: str
    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] = ""
    tokens: int | None
    """At most; None: until the text ends."""
    stop: tuple[str, ...] = ()
    sampling: tw.SamplingRequest
    seed: int | None = None
    log_probs: bool = False
    stream: bool = False
    usage: bool = False
    """Whether a stream ends with what it took."""


def read_body(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; ApiError for what is none."""
    try:
        found = json.loads(body)
        json.dumps(found, ensure_ascii=False).encode()  # half characters (\ud800) are no text
    except (ValueError, RecursionError) as error:
        raise ApiError(f"the body must be a JSON object: {error}") from error
    if not isinstance(found, dict):
        raise ApiError(f"the body must be a JSON object, got {type(found).__name__}")
    return found


def asked_of(body: Mapping[str, Any], *, chat: bool) -> Asked:
    """What ``body`` asks for; ApiError, which names the field, for what is wrong or not supported."""
    given = {name: value for name, value in body.items() if value is not None}
    given.pop("user", None)  # the caller's own word for its user: it asks for nothing
    for name, nothing in ASK_NOTHING.items():
        if name in given and not any(_same(given[name], value) for value in nothing):
            takes = " or ".join(json.dumps(value) for value in nothing)
            raise ApiError(
                f"{name} is not supported here: leave it out, or say {takes}", param=name, code="unsupported"
            )
        given.pop(name, None)
    take = _Taker(given)
    found: dict[str, Any] = {
        "chat": chat,
        "model": take("model", _text, needed=True),
        "stop": take("stop", _stop, ()),
        "seed": take("seed", _seed),
        "stream": take("stream", _flag, False),
        "usage": take("stream_options", _stream_options, False),
        "sampling": _sampling(take),
    }
    if found["usage"] and not found["stream"]:
        raise ApiError("stream_options is for streams: say stream, too", param="stream_options")
    if chat:
        found["messages"] = take("messages", _messages, needed=True)
        longest = take("max_completion_tokens", _count)
        found["tokens"] = take("max_tokens", _count, longest)
        if longest is not None and longest != found["tokens"]:
            raise ApiError("max_tokens and max_completion_tokens differ: give one of them", param="max_tokens")
        found["log_probs"] = take("logprobs", _flag, False)
    else:
        found["prompt"] = take("prompt", _prompt, needed=True)
        found["tokens"] = take("max_tokens", _count, COMPLETION_TOKENS)
        found["log_probs"] = take("logprobs", _no_alternatives, False)
    if given:
        name = min(given)
        raise ApiError(f"{name} is not supported here: leave it out", param=name, code="unsupported")
    return Asked(**found)


class _Taker:
    """Takes fields out of a body, each checked."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given

    def __call__(
        self, name: str, check: Callable[[str, Any], Any], default: Any = None, *, needed: bool = False
    ) -> Any:
        if name not in self._given:
            if needed:
                raise ApiError(f"{name} is missing", param=name)
            return default
        try:
            return check(name, self._given.pop(name))
        except (TypeError, ValueError) as error:
            raise ApiError(f"{name}: {error}" if name not in str(error) else str(error), param=name) from error


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)  # 1 is not true


def _sampling(take: _Taker) -> tw.SamplingRequest:
    named = {ours: take(theirs, lambda _, value: value) for theirs, ours in SAMPLING.items()}
    named["logit_bias"] = take("logit_bias", _bias)
    for name, value in named.items():
        # One at a time, so that the error has the name of its field.
        _Taker({name: value})(name, lambda name, value: tw.SamplingRequest(**{name: value}))
    return tw.SamplingRequest(**named)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {type(value).__name__}")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be true or false, got {json.dumps(value)[:40]}")
    return value


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {json.dumps(value)[:40]}")
    return value


def _count(name: str, value: Any) -> int:
    return _whole(name, value, 1, (1 << 31) - 1)


def _seed(name: str, value: Any) -> int:
    return _whole(name, value, 0, MOST_SEED)


def _no_alternatives(name: str, value: Any) -> bool:
    if _whole(name, value, 0, 5):
        raise ValueError("logprobs above 0 asks for other tokens than those that came, which is not supported: say 0")
    return True


def _stop(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (str, list)):
        raise TypeError(f"{name} must be a text or a list of texts, got {type(value).__name__}")
    found = stops_of(value)
    if len(found) > MOST_OPENAI_STOPS:
        raise ValueError(f"{name} must have {MOST_OPENAI_STOPS} texts at most, got {len(found)}")
    return found


def _bias(name: str, value: Any) -> list[tuple[int, float]]:
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be an object of token ids and numbers, got {type(value).__name__}")
    if wrong := [token for token in value if not (token.isascii() and token.isdecimal())]:
        raise ValueError(f"{name} must be an object of token ids and numbers, got {wrong[0][:40]!r} for an id")
    return [(int(token), number) for token, number in value.items()]


def _stream_options(name: str, value: Any) -> bool:
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be an object, got {type(value).__name__}")
    given = {key: one for key, one in value.items() if one is not None}
    if given.pop("include_obfuscation", False):
        raise ValueError(f"{name}.include_obfuscation is not supported here: leave it out, or say false")
    usage = _flag(f"{name}.include_usage", given.pop("include_usage", False))
    if given:
        raise ValueError(f"{name}.{min(given)} is not supported here: leave it out")
    return usage


def _prompt(name: str, value: Any) -> str | tuple[int, ...]:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], (str, list)):
        value = value[0]
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(t, int) and not isinstance(t, bool) for t in value):
        return tuple(value)
    raise ValueError(f"{name} must be one text, or one list of token ids: several prompts are not supported here")


def _messages(name: str, value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{name} must be a list of messages, got {type(value).__name__}")
    return tuple(messages_of([_plain(f"{name}[{at}]", one) for at, one in enumerate(value)]))


def _plain(where: str, message: Any) -> Any:
    """A message without what asks for nothing, its content one text."""
    if not isinstance(message, dict):
        return message
    found = {name: value for name, value in message.items() if value is not None and value != []}
    if isinstance(message.get("content"), list):
        found["content"] = "".join(_part(f"{where}.content[{at}]", part) for at, part in enumerate(message["content"]))
    role = found.get("role")
    return {**found, "role": ROLES.get(role, role) if isinstance(role, str) else role}


def _part(where: str, part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind != "text" or set(part) != {"type", "text"} or not isinstance(part["text"], str):
        raise ValueError(f'{where} must be {{"type": "text", "text": ...}}: other contents are not supported here')
    return str(part["text"])
