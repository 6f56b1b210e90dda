"""An edge's log: one line a record, and a bounded number of lines of a kind."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from tslt_runtime.operating.logs import LINES_AT_ONCE, MOST_KINDS, OTHERS, JsonLines, LimitedHandler, set_up_logs


@pytest.fixture
def logged():
    """A logger, its lines, and its clock."""
    now, stream = [0.0], io.StringIO()
    handler = LimitedHandler(stream, clock=lambda: now[0])
    logger = logging.Logger("tslt.test")
    logger.addHandler(handler)
    return logger, lambda: stream.getvalue().splitlines(), now


def test_lines_of_a_kind_have_a_rate_and_what_is_left_out_is_said(logged):
    logger, lines, now = logged
    for number in range(1000):
        logger.warning("%s: refused: %s", f"peer {number}", "x")
    assert len(lines()) == LINES_AT_ONCE
    logger.warning("something else")
    assert lines()[-1] == "something else"
    now[0] = 3.0
    logger.warning("%s: refused: %s", "peer again", "x")
    assert lines()[-2:] == [
        f"{1000 - LINES_AT_ONCE} more like this were left out: %s: refused: %s",
        "peer again: refused: x",
    ]
    now[0] = 1003.0
    for number in range(100):
        logger.warning("%s: refused: %s", f"peer {number}", "x")
    logger.handlers[0].close()
    assert lines()[-1] == f"{100 - LINES_AT_ONCE} more like this were left out: %s: refused: %s"


def test_the_rate_is_one_a_second(logged):
    logger, lines, now = logged
    for tick in range(10_000):
        now[0] = tick / 100
        logger.warning("again")
    told = [line for line in lines() if line == "again"]
    assert len(told) == pytest.approx(LINES_AT_ONCE + 100, abs=2)
    counted = sum(int(line.split()[0]) for line in lines() if line != "again")
    logger.handlers[0].close()
    assert len(told) + counted <= 10_000


def test_kinds_are_bounded(logged):
    logger, lines, _ = logged
    for number in range(2 * MOST_KINDS):
        logger.warning(f"made up {'-' * (number % 100)}{'+' * (number // 100)}")
    assert len(lines()) == MOST_KINDS + LINES_AT_ONCE


def test_a_flood_of_kinds_leaves_the_lines_of_others(logged):
    logger, lines, _ = logged
    for number in range(2 * MOST_KINDS):
        logger.warning(f"made up {'-' * (number % 100)}{'+' * (number // 100)}")
    other = logging.Logger("tslt.edge")
    other.addHandler(logger.handlers[0])
    other.warning("draining")
    assert lines()[-1] == "draining"
    logger.handlers[0].close()
    assert lines()[-1] == f"{MOST_KINDS - LINES_AT_ONCE} more like this were left out: {OTHERS}"


def test_numbers_and_names_of_connections_make_no_kinds(logged):
    logger, lines, _ = logged
    for number in range(100):
        logger.error(f"future: <Task name='Task-{number}' at 0x{number:012x}> of [{number * 2**40:016x}]")
    assert len(lines()) == LINES_AT_ONCE


def test_json_is_one_object_a_line_whatever_was_said():
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.Logger("tslt.edge").makeRecord(
            "tslt.edge", logging.ERROR, "", 0, "%s: %s", ("peer", 'a"\n\x1b[31m'), sys.exc_info()
        )
    record.created, record.msecs = 1_000_000_000.25, 250.0
    line = JsonLines().format(record)
    assert "\n" not in line
    assert "\x1b" not in line
    found = json.loads(line)
    assert found["message"] == 'peer: a"\n\x1b[31m'
    assert found["time"] == "2001-09-09T01:46:40.250Z"
    assert (found["level"], found["logger"]) == ("error", "tslt.edge")
    assert found["error"].startswith("Traceback")


@pytest.mark.parametrize("format_", ["text", "json"])
def test_the_log_of_the_process(format_, capsys):
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        set_up_logs(format_, logging.INFO)
        logging.getLogger("tslt.edge").info("hello")
        logging.getLogger("tslt.edge").debug("not this")
    finally:
        for handler in list(root.handlers):
            root.removeHandler(handler)
        for handler in before:
            root.addHandler(handler)
        root.setLevel(level)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "tslt.edge: hello" if format_ == "text" else json.loads(line)["message"] == "hello"
