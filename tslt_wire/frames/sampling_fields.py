"""The field ``sampling`` of HELLO and WELCOME: sampling settings as a control map.

Spec section 7.2.  HELLO names the settings that are asked for, be they neutral; WELCOME those that change something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from tslt_wire.coding.control_map import Control
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.control_fields import build
from tslt_wire.messages.sampling import MOST_BIASED, MOST_SUPPRESSED, SETTINGS, Sampling, SamplingRequest


def _of_type(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


def _is_bias(value: Any) -> bool:
    return type(value) is list and all(
        type(pair) is list and [type(item) for item in pair] == [int, float] for pair in value
    )


def _is_ids(value: Any) -> bool:
    return type(value) is list and all(type(item) is int for item in value)


_NUMBER, _INTEGER, _BOOLEAN = _of_type(float), _of_type(int), _of_type(bool)
_TYPES: Mapping[str, Callable[[Any], bool]] = dict.fromkeys(SETTINGS, _NUMBER) | {
    "top_k": _INTEGER,
    "logit_bias": _is_bias,
    "suppress_tokens": _is_ids,
    "ignore_eos": _BOOLEAN,
}


def write_request(request: SamplingRequest) -> Control:
    """The map of HELLO."""
    return {**request.extra, **request.named()}


def read_request(values: Control) -> SamplingRequest:
    """Read the map of HELLO; settings that are not known are carried along."""
    known = {name: values[name] for name in SETTINGS if name in values}
    _check(known)
    return build(SamplingRequest, **known, extra={name: values[name] for name in values if name not in _TYPES})


def write_sampling(sampling: Sampling) -> Control:
    """The map of WELCOME."""
    return sampling.in_force()


def read_sampling(values: Control) -> Sampling:
    """Read the map of WELCOME."""
    if others := sorted(values.keys() - _TYPES.keys()):
        raise DecodeError(ErrorCode.BAD_CONTROL, f"there is no setting {others[0]!r}")
    _check(values)
    found = build(Sampling, **values)
    if neutral := sorted(values.keys() - found.in_force().keys()):
        raise DecodeError(ErrorCode.NON_CANONICAL, f"{neutral[0]} changes nothing, and is there")
    return found


def _check(values: Control) -> None:
    """What cannot be seen in the settings themselves: types, and the order of ids.  Bounds what is looked at."""
    for name, value in values.items():
        if not _TYPES[name](value):
            raise DecodeError(ErrorCode.BAD_CONTROL, f"{name} of sampling is of another type")
    pairs, suppressed = values.get("logit_bias", ()), values.get("suppress_tokens", ())
    if len(pairs) > MOST_BIASED or len(suppressed) > MOST_SUPPRESSED:
        raise DecodeError(
            ErrorCode.LIMIT_EXCEEDED,
            f"{len(pairs)} tokens with a bias and {len(suppressed)} that are suppressed, where {MOST_BIASED} and "
            f"{MOST_SUPPRESSED} are allowed",
        )
    for ids in ([pair[0] for pair in pairs], suppressed):
        if any(later <= first for first, later in pairwise(ids)):
            raise DecodeError(ErrorCode.NON_CANONICAL, "tokens of sampling must be in ascending order, each once")
