"""The sampling settings in a GGUF file: its keys ``general.sampling.*``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tslt_runtime.engines.own_settings import OwnSettings, settings_of

PREFIX = "general.sampling."
KEYS = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
"""By the specification's names; each is ``PREFIX`` and more in the file."""
LAST = "penalty_last_n"
"""Tokens that the repetition penalty looks back at; -1: all of them, as here."""
OTHERS = ("sequence", "xtc_probability", "xtc_threshold", "mirostat", "mirostat_tau", "mirostat_eta")
"""Keys that no edge applies."""


def own_settings(metadata: Callable[[str], str | None]) -> OwnSettings:
    """What a model says; ``metadata``: what its file has under a key, None for nothing."""

    def said(key: str) -> str | None:
        return metadata(PREFIX + key)

    texts = {name: said(key) for name, key in KEYS.items()}
    named = {name: _number(name, text) for name, text in texts.items() if text is not None}
    others = {PREFIX + key: text for key in OTHERS if (text := said(key)) is not None}
    last = said(LAST)
    if "repetition_penalty" in named and last != "-1":
        # llama.cpp looks back at 64 tokens unless told otherwise, the specification at all.
        others[PREFIX + KEYS["repetition_penalty"]] = (
            f"{named.pop('repetition_penalty')} of the last {last or 64} tokens"
        )
    return settings_of(named, others, source="GGUF")


def _number(name: str, text: str) -> Any:
    try:
        return int(text) if name == "top_k" else float(text)
    except ValueError:
        return text
