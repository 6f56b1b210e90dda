"""OpenAI-style log probabilities of a draft and a target along the same texts, as something to measure on.

JSON, ``{"draft": ..., "target": ..., "vocab_size": V}``, or JSON lines of such objects, one a text.  ``draft`` and
``target`` are what a server answered: a chat completion (``logprobs.content[].top_logprobs``), a completion
(``logprobs.tokens`` and ``logprobs.top_logprobs``), or the ``logprobs`` of one alone.  Both are about the same tokens;
where one has more, its last ones count: a draft is asked for those of a target's text by ``echo``.

Ids of tokens are found in ``token_id:7`` (vLLM's ``return_tokens_as_token_ids``), in an entry's ``id`` or ``token_id``,
or by their texts with the target's tokenizer.  What a list leaves out is spread evenly over the other tokens.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tslt_benchmarks.recorded_logits import LogitsError, Recorded, drafts_of
from tslt_runtime.other_tokenizer import TokenTexts
from tslt_runtime.tokenizer import Tokenizer
from tslt_wire.limits import MAX_VOCAB_SIZE

_NAMED = re.compile(r"token_id:(\d+)")
_MOST_SUM = 1.01
"""Of a list's probabilities; the servers round."""
_LEAST_REST = 1e-9
"""Probability of all that is not listed."""
_SHOWN = 60
EXPECTED = 'an object {"draft": ..., "target": ..., "vocab_size": V} with OpenAI\'s logprobs'

Place = tuple[str, dict[str, tuple[float, int | None]]]
"""A token of the text, and the log probability and id (if told) of each token that is listed there, by its text."""


def read_logprobs(path: Path, tokenizer: Tokenizer | None = None) -> Recorded:
    """Read a file; ``tokenizer``: the target's, for tokens without ids.  LogitsError for what was not expected."""
    ids = _Ids(tokenizer)
    draft_rows: list[dict[int, float]] = []
    target_rows: list[dict[int, float]] = []
    texts: list[int] = []
    tokens: list[int] = []
    vocab_size = ids.vocab_size
    for number, (where, value) in enumerate(_objects(path)):
        if not isinstance(value, Mapping) or not {"draft", "target"} <= set(value):
            raise LogitsError(f"{where}: expected {EXPECTED}, got {_short(value)}")
        vocab_size = _vocab_size(value.get("vocab_size", vocab_size), where)
        draft, target = (list(_places(value[name], f"{where}: {name}")) for name in ("draft", "target"))
        count = min(len(draft), len(target))
        if not count:
            raise LogitsError(f"{where}: expected log probabilities of at least one token, got none")
        for at, ((one, listed), (other, likewise)) in enumerate(zip(draft[-count:], target[-count:], strict=True)):
            if one != other:
                raise LogitsError(
                    f"{where}: place {at}: the draft's token is {one!r}, the target's {other!r}: expected log "
                    "probabilities of both along one text"
                )
            draft_rows.append(ids.row(listed, f"{where}: draft, place {at}"))
            target_rows.append(ids.row(likewise, f"{where}: target, place {at}"))
            texts.append(number)
            tokens.append(ids.of(other, likewise[other][1], f"{where}: target, place {at}"))
    if not texts:
        raise LogitsError(f"{path}: expected {EXPECTED}, got an empty file")
    if vocab_size is None:
        raise LogitsError(f"{path}: expected vocab_size, how many tokens the target has, or --target-tokenizer")
    held, arrays = [], []
    for rows in (draft_rows, target_rows):
        held.append(float(np.mean([sum(math.exp(p) for p in row.values()) for row in rows])))
        arrays.append(np.stack([_dense(row, vocab_size, path) for row in rows]))
    note = (
        f"The recorded lists hold {held[0]:.1%} of the draft's and {held[1]:.1%} of the target's probability; the rest "
        "is spread evenly over the other tokens, which no model does: acceptance and bytes of long lists are guesses."
    )
    drafts = drafts_of(*arrays, text=np.array(texts, np.int32), token=np.array(tokens, np.int32), source=path.name)
    return Recorded(drafts, (note,))


def _objects(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LogitsError(f"{path}: expected JSON, got what is no UTF-8") from error
    try:
        yield str(path), json.loads(text)
        return
    except ValueError as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2 and path.suffix.lower() != ".jsonl":
            raise LogitsError(f"{path}: expected JSON, got {_short(text)} ({error})") from error
    for number, line in lines:
        try:
            yield f"{path}: line {number}", json.loads(line)
        except ValueError as error:
            raise LogitsError(f"{path}: line {number}: expected a JSON object, got {_short(line)} ({error})") from error


def _vocab_size(value: Any, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 2 <= value <= MAX_VOCAB_SIZE:
        raise LogitsError(f"{where}: expected vocab_size as a number of tokens, got {_short(value)}")
    return value


def _places(answer: Any, where: str) -> Iterator[Place]:
    """The places of a server's answer, of either form, or of its logprobs alone."""
    if isinstance(answer, Mapping) and "choices" in answer:
        choices = answer["choices"]
        if not isinstance(choices, Sequence) or not choices or not isinstance(choices[0], Mapping):
            raise LogitsError(f"{where}: expected an answer with a choice, got {_short(choices)}")
        answer = choices[0].get("logprobs")
    if isinstance(answer, Mapping) and isinstance(answer.get("content"), Sequence):
        return (_chat_place(entry, f"{where}: place {at}") for at, entry in enumerate(answer["content"]))
    if isinstance(answer, Mapping) and isinstance(answer.get("tokens"), Sequence):
        return _completion_places(answer, where)
    raise LogitsError(
        f"{where}: expected logprobs of a chat completion (content) or of a completion (tokens, top_logprobs), got "
        f"{_short(answer)}"
    )


def _chat_place(entry: Any, where: str) -> Place:
    listed: dict[str, tuple[float, int | None]] = {}
    if not isinstance(entry, Mapping):
        raise LogitsError(f"{where}: expected an object with token, logprob and top_logprobs, got {_short(entry)}")
    for one in (entry, *(entry.get("top_logprobs") or ())):
        if not isinstance(one, Mapping) or not isinstance(one.get("token"), str):
            raise LogitsError(f"{where}: expected an object with token and logprob, got {_short(one)}")
        listed[one["token"]] = _log_prob(one.get("logprob"), where), one.get("id", one.get("token_id"))
    return str(entry["token"]), listed


def _completion_places(answer: Mapping[str, Any], where: str) -> Iterator[Place]:
    tokens, log_probs, tops = (answer.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not all(isinstance(column, Sequence) and len(column) == len(answer["tokens"]) for column in (log_probs, tops)):
        raise LogitsError(
            f"{where}: expected token_logprobs and top_logprobs for each of {len(answer['tokens'])} tokens"
        )
    for at, (token, log_prob, top) in enumerate(zip(tokens or (), log_probs or (), tops or (), strict=True)):
        if log_prob is None:
            continue  # the first token of an echoed prompt has none
        here = f"{where}: place {at}"
        if not isinstance(token, str) or not isinstance(top, Mapping):
            raise LogitsError(f"{here}: expected a token and an object of log probabilities, got {_short(top)}")
        listed: dict[str, tuple[float, int | None]] = {name: (_log_prob(p, here), None) for name, p in top.items()}
        yield token, {token: (_log_prob(log_prob, here), None), **listed}


def _log_prob(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > 1e-3:
        raise LogitsError(f"{where}: expected a log probability, at most 0, got {_short(value)}")
    return min(0.0, float(value))


class _Ids:
    """Ids of tokens by what they are called."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self.vocab_size: int | None = None
        self._by_text: dict[str, int] = {}
        if tokenizer is not None:
            vocabulary = tokenizer.get_vocab()
            self.vocab_size = max(vocabulary.values()) + 1
            named = TokenTexts(tokenizer).named(vocabulary)
            self._by_text = {**vocabulary, **{text: tokens[0] for (text, _), tokens in named.items()}}

    def of(self, token: str, told: Any, where: str) -> int:
        """The id of a token; LogitsError if nothing tells it."""
        if isinstance(told, int) and not isinstance(told, bool) and told >= 0:
            return told
        if match := _NAMED.fullmatch(token):
            return int(match[1])
        if token in self._by_text:
            return self._by_text[token]
        raise LogitsError(
            f"{where}: expected an id for the token {token!r}: as token_id:7, in id, or by its text in the tokenizer "
            "of --target-tokenizer"
        )

    def row(self, listed: Mapping[str, tuple[float, int | None]], where: str) -> dict[int, float]:
        """Log probabilities by id."""
        found = {self.of(token, told, where): log_prob for token, (log_prob, told) in listed.items()}
        total = sum(math.exp(log_prob) for log_prob in found.values())
        if total > _MOST_SUM:
            raise LogitsError(f"{where}: expected log probabilities of tokens of one place, their sum is {total:.3f}")
        return found


def _dense(row: Mapping[int, float], vocab_size: int, path: Path) -> Any:
    if max(row) >= vocab_size:
        raise LogitsError(f"{path}: expected ids below vocab_size, {vocab_size}, got {max(row)}")
    rest = max(_LEAST_REST, 1 - sum(math.exp(log_prob) for log_prob in row.values()))
    dense = np.full(vocab_size, math.log(rest / max(1, vocab_size - len(row))), np.float32)
    for token, log_prob in row.items():
        dense[token] = log_prob
    return dense


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
