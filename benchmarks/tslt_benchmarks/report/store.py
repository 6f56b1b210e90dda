"""Results of sections in a folder, each with what it was measured with, so that runs resume and never mix."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 2
"""Of a section's file; another one is not read."""
Key = Mapping[str, str]
"""What figures depend on, in words: settings, models, seed, versions, commit, machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a section measured, and with what."""

    section: str
    key: dict[str, str]
    figures: dict[str, Any]
    seconds: float
    """That it took."""
    date: str
    """When it was over, see ``provenance.now``."""
    load: float | None
    """Of the machine as it began, see ``provenance.load``."""


class Store:
    """A folder of results."""

    def __init__(self, folder: Path) -> None:
        """``folder``: made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def load(self, section: str) -> Result | None:
        """The result of a section, whatever it was measured with; None if there is none that can be read."""
        try:
            document = json.loads(self._path(section).read_text(encoding="utf-8"))
            if document.pop("schema") != SCHEMA_VERSION:
                return None
            return Result(**document)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # not there, or not ours: it is measured anew

    @staticmethod
    def as_read(figures: dict[str, Any]) -> dict[str, Any]:
        """Figures as they come back from a file; ValueError or TypeError for what JSON cannot hold."""
        found: dict[str, Any] = json.loads(json.dumps(figures, allow_nan=False))
        return found

    def save(self, result: Result) -> None:
        """Write a result, whole or not at all."""
        path = self._path(result.section)
        text = json.dumps({"schema": SCHEMA_VERSION, **asdict(result)}, indent=1, allow_nan=False)
        part = path.with_suffix(".part")
        part.write_text(text + "\n", encoding="utf-8")
        os.replace(part, path)

    def _path(self, section: str) -> Path:
        return self._folder / f"{section}.json"


def differences(old: Key, new: Key) -> list[str]:
    """What the two differ in, one phrase each; none if figures of the one are figures of the other."""
    names = dict.fromkeys((*new, *old))
    return [
        f"{name} was {old.get(name, 'not told')}, is {new.get(name, 'not told')}"
        for name in names
        if old.get(name) != new.get(name)
    ]
