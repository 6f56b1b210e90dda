"""The models of the pair that ships with the repository, and not with source distributions."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import PAIR


def pair_folder(name: str) -> Path:
    """The folder of the pair's model ``name``, "target" or "draft"; the test is skipped where it is not."""
    folder = PAIR / name
    if not (folder / "config.json").exists():
        pytest.skip(f"{folder} is not here: source distributions leave out the models of the default pair")
    return folder
