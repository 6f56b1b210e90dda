"""The target's sampling settings: they define the distribution the output must have.

Spec section 7.2.  ``Sampling`` is what is in force, every setting with a value.  ``SamplingRequest`` is what a device
asks for in HELLO: a setting that it does not name is the target's own, which WELCOME then reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field, replace
from typing import Any

from tslt_wire.checks import flag, integer, number
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.messages.fields import several

MOST_BIASED = 300
"""Most tokens with a bias of their own: what OpenAI's interface takes.  With ``MOST_SUPPRESSED`` tokens beside them the
map of a handshake still fits 8,192 bytes."""
MOST_SUPPRESSED = 512
"""Most tokens that are suppressed."""
MOST_BIAS = 100.0
"""Largest bias of a token, up or down: more than any model's logits are apart."""
MOST_PENALTY = 2.0
"""Largest presence and frequency penalty, up or down, as in OpenAI's interface."""
REPETITION_PENALTIES = 0.01, 100.0
"""Least and largest repetition penalty: within these no score overflows."""

Bias = tuple[tuple[int, float], ...]
"""Pairs of a token and what is added to its logit, ascending by token."""


def _bias(name: str, value: Any) -> Bias:
    pairs = several(name, "pairs of a token and a number", value.items() if isinstance(value, Mapping) else value)
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise TypeError(f"{name} must be pairs of a token and a number, got {value!r}")
    found = tuple(
        sorted(
            (
                integer(f"a token of {name}", token, 0, MAX_VOCAB_SIZE - 1),
                _signed(f"a number of {name}", bias, MOST_BIAS),
            )
            for token, bias in pairs
        )
    )
    if len({token for token, _ in found}) < len(found):
        raise ValueError(f"{name} must name each token once")
    _at_most(name, found, MOST_BIASED)
    return found


def _suppressed(name: str, value: Any) -> tuple[int, ...]:
    items = several(name, "token ids", value)
    found = tuple(sorted({integer(f"a token of {name}", t, 0, MAX_VOCAB_SIZE - 1) for t in items}))
    _at_most(name, found, MOST_SUPPRESSED)
    return found


def _at_most(name: str, found: Sized, most: int) -> None:
    if len(found) > most:
        raise ValueError(f"{name} must have at most {most} tokens, got {len(found)}")


def _signed(name: str, value: Any, most: float) -> float:
    return number(name, value, -most, most) + 0.0  # no -0.0: one value has one encoding


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "temperature": lambda name, value: number(name, value, 0, None) + 0.0,
    "top_k": lambda name, value: integer(name, value, 0, None),
    "top_p": lambda name, value: number(name, value, 0, 1, above_low=True),
    "min_p": lambda name, value: number(name, value, 0, 1) + 0.0,
    "repetition_penalty": lambda name, value: number(name, value, *REPETITION_PENALTIES),
    "presence_penalty": lambda name, value: _signed(name, value, MOST_PENALTY),
    "frequency_penalty": lambda name, value: _signed(name, value, MOST_PENALTY),
    "logit_bias": _bias,
    "suppress_tokens": _suppressed,
    "ignore_eos": flag,
}
SETTINGS = tuple(_CHECKS)
"""Names of all settings, in the order of the specification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the target's logits become the distribution that is to be sampled (spec section 7.2).

    The defaults leave it alone.  TypeError for a setting of another type (a bool is no number), ValueError for one that
    is out of range.
    """

    temperature: float = 1.0
    """Divides the scores; 0 is greedy decoding (all mass on the largest score, the lowest id of equals)."""
    top_k: int = 0
    """Keep the ``top_k`` largest scores, and all that equal the last of them; 0 keeps all."""
    top_p: float = 1.0
    """Keep the smallest set of most probable tokens whose mass reaches ``top_p``, above 0; 1 keeps all."""
    min_p: float = 0.0
    """Keep the tokens that have at least this part of the largest probability, 0 to 1; 0 keeps all."""
    repetition_penalty: float = 1.0
    """Divides a score that is not negative, and multiplies one that is, of each token in prompt or output."""
    presence_penalty: float = 0.0
    """Taken from the score of each token in the output, -2 to 2."""
    frequency_penalty: float = 0.0
    """Taken from it once more for each time that the output has it, -2 to 2."""
    logit_bias: Bias = ()
    """Pairs of a token and what is added to its logit, -100 to 100; a mapping is taken, too."""
    suppress_tokens: tuple[int, ...] = ()
    """Tokens that never come; kept in ascending order."""
    ignore_eos: bool = False
    """Whether tokens that end a text never come."""

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    @property
    def needs_text(self) -> bool:
        """Whether a row depends on the text before it, or on which tokens end a text."""
        return (
            self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0 or self.ignore_eos
        )

    @property
    def changes_scores(self) -> bool:
        """Whether a token's score may differ from its logit, before the temperature."""
        return self.needs_text or bool(self.logit_bias or self.suppress_tokens)

    def in_force(self) -> dict[str, Any]:
        """The settings that change something, by their names: those that WELCOME has."""
        return {name: getattr(self, name) for name in SETTINGS if getattr(self, name) != getattr(NEUTRAL, name)}

    def named(self) -> dict[str, Any]:
        """All settings by their names: a device that asks for a ``Sampling`` leaves nothing to the target."""
        return {name: getattr(self, name) for name in SETTINGS}

    def over(self, own: Sampling) -> Sampling:
        """What is in force at a target whose own settings are ``own``: these."""
        return self


NEUTRAL = Sampling()
"""Settings that change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRequest:
    """The settings that a device asks for; None leaves one to the target (spec section 7.2).

    Errors as ``Sampling``.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Bias | None = None
    suppress_tokens: tuple[int, ...] | None = None
    ignore_eos: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Settings that this version does not know, as a peer sent them: no edge of this version takes them."""

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, check(name, value))
        if not isinstance(self.extra, Mapping) or not all(isinstance(name, str) for name in self.extra):
            raise TypeError(f"extra must be a mapping from names to values, got {self.extra!r}")
        if clash := sorted(set(self.extra) & set(SETTINGS)):
            raise ValueError(f"extra must not repeat the settings {clash}")

    def named(self) -> dict[str, Any]:
        """The settings that are asked for, by their names; without ``extra``."""
        return {name: value for name in SETTINGS if (value := getattr(self, name)) is not None}

    def over(self, own: Sampling) -> Sampling:
        """What is in force at a target whose own settings are ``own``: these, and of ``own`` what they do not name."""
        return replace(own, **self.named())


def tokens_named(settings: Sampling | SamplingRequest) -> Iterable[int]:
    """The tokens that settings name, in any order."""
    return [*(token for token, _ in settings.logit_bias or ()), *(settings.suppress_tokens or ())]
