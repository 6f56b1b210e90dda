"""A model's own sampling settings, as its files say them, and what of these no edge applies.

The settings become those of WELCOME (spec section 7.2).  The rest is said in words: nothing is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tslt_wire as tw


class OwnSettings(NamedTuple):
    """What a model's files say."""

    sampling: tw.Sampling
    """The settings in force where a device names none."""
    not_applied: tuple[str, ...]
    """What is not applied, a sentence each."""


def settings_of(named: Mapping[str, Any], others: Mapping[str, Any], *, source: str) -> OwnSettings:
    """Settings of those ``named`` by tslt-wire's names that have a value in its range; all else is not applied.

    ``others``: settings by the names that ``source`` has for them.
    """
    found: dict[str, Any] = {}
    left: list[str] = []
    for name, value in named.items():
        try:
            tw.Sampling(**{name: value})
        except (TypeError, ValueError) as error:
            left.append(f"{source}: {name} is not applied: {error}")
        else:
            found[name] = value
    left += [f"{source}: {name} = {value!r} is not applied: no edge has it" for name, value in others.items()]
    return OwnSettings(tw.Sampling(**found), tuple(left))
