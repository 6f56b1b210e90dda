"""A plugin of pytest that notes which lines and branches tests reach: `python -m pytest -p tests.covered.measure`.

Watching doubles what a test takes, so only those of ``readers.WATCHED`` are watched, and imports.  Each process leaves
what it found in ``readers.FOLDER``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage

from tests.covered.readers import FOLDER, ROOT, SETTINGS, watched

BACKEND = os.environ.get("TSLT_WIRE_BACKEND") or "native"
DATA = FOLDER / BACKEND / "data"
DATA.parent.mkdir(parents=True, exist_ok=True)
COVERAGE = Coverage(data_file=str(DATA), config_file=str(SETTINGS), data_suffix=True)


def _import_all() -> None:
    """What a test imports by itself must not depend on which one does so first; watched, collection takes longer."""
    for pattern in COVERAGE.get_option("report:include"):
        for path in sorted(ROOT.glob(pattern)):
            _import(path)


def _import(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    importlib.import_module(".".join(part for part in parts if part not in ("transports", "__init__")))


COVERAGE.start()  # before anything of ours is imported
if BACKEND == "native":
    _import_all()
    COVERAGE.stop()


def pytest_collection_finish(session: pytest.Session) -> None:
    COVERAGE.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if not watched(item.nodeid, BACKEND):
        return (yield)
    COVERAGE.start()
    try:
        return (yield)
    finally:
        COVERAGE.stop()


def pytest_sessionfinish(session: pytest.Session) -> None:
    COVERAGE.stop()
    COVERAGE.save()
