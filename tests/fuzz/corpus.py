"""The inputs that fuzzing kept, one file a target, a line of hexadecimal an input."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def read(target: str) -> list[bytes]:
    """The inputs of ``target``; none if nothing was kept yet."""
    file = FOLDER / f"{target}.txt"
    return [bytes.fromhex(line) for line in file.read_text().split()] if file.exists() else []


def write(target: str, inputs: Iterable[bytes]) -> None:
    """Keep ``inputs``, the shortest first."""
    lines = sorted({data.hex() for data in inputs if data}, key=lambda line: (len(line), line))
    (FOLDER / f"{target}.txt").write_text("".join(f"{line}\n" for line in lines))
