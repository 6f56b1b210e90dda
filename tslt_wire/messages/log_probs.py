"""Log probabilities of tokens in an answer, two bytes each.

Spec section 6.2.  A device asks for them with ``"logprobs": true`` in its HELLO (field ``extra``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from tslt_wire.messages.answers import Answer, AskList, Proposals, Whole
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.extensions import LOG_PROB_BYTES, LOG_PROBS, Extension, data_of
from tslt_wire.messages.handshake import Hello

WANTED = {"logprobs": True}
"""What a device adds to its HELLO to be told."""
UNIT = 1 / 1024
"""Nats of a step: a log probability is off by half of it at most."""
LEAST = 65535
"""The code of all that are not above -LEAST * UNIT."""


def wants_log_probs(hello: Hello) -> bool:
    """Whether a device asked to be told."""
    return hello.extra.get("logprobs") is True


def log_probs_extension(probs: Iterable[float]) -> Extension:
    """The extension for tokens of these probabilities, 0 to 1; ValueError for none."""
    codes = [min(LEAST, round(-math.log(p) / UNIT)) if p > 0 else LEAST for p in probs]
    if not codes:
        raise ValueError("log probabilities of no token are not sent")
    return Extension(LOG_PROBS, np.array(codes, "<u2").tobytes())


def log_probs_of(extensions: Sequence[Extension]) -> tuple[float, ...]:
    """The log probabilities, in nats, that an answer with these extensions has; none if it does not say."""
    return tuple((0.0 - np.frombuffer(data_of(extensions, LOG_PROBS) or b"", "<u2") * UNIT).tolist())


def cut(extensions: Sequence[Extension], tokens: int) -> tuple[Extension, ...]:
    """``extensions`` of an answer that is cut to its first ``tokens`` tokens."""
    return tuple(
        Extension(LOG_PROBS, extension.data[: LOG_PROB_BYTES * tokens]) if extension.type == LOG_PROBS else extension
        for extension in extensions
    )


def tokens_told(answer: Answer | Whole, draft: Draft, *, after_list: bool) -> int:
    """How many tokens' log probabilities ``answer`` to ``draft`` has, if it has any (spec section 6.2).

    ``after_list``: whether it is the answer to LIST.
    """
    if isinstance(answer, Whole):
        return len(draft.whole)
    path = 0 if after_list else len(draft.tree.path(answer.node))
    if isinstance(answer, Proposals):
        return len(answer.proposals) + (path if answer.batch == 0 else 0)
    return path if isinstance(answer, AskList) else path + 1


def fits(answer: Answer | Whole, draft: Draft, *, after_list: bool) -> bool:
    """Whether ``answer`` has log probabilities of as many tokens as it should, or of none."""
    data = data_of(answer.extensions, LOG_PROBS)
    return data is None or len(data) // LOG_PROB_BYTES == tokens_told(answer, draft, after_list=after_list)
