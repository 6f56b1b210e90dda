"""When a pass waits for devices: what they took lately, and whether more rounds a second come of it."""

from __future__ import annotations

import pytest

from tslt_runtime.pass_waits import LATE_S, Habit, worth_waiting


def habit_of(took: tuple[float, ...], answered: float | None = 0.0) -> Habit:
    """Of a device that took so many seconds, one after the other."""
    habit, now = Habit(), 0.0
    for seconds in took:
        habit.answered, now = now, now + seconds
        habit.asks(now)
    habit.answered = answered
    return habit


@pytest.mark.parametrize(
    ("took", "least", "most"),
    [
        ((0.05,) * 9, 0.05, 0.05),
        ((0.045, 0.055) * 9, 0.05, 0.06),
        ((0.0, 0.09) * 9, 0.09, 0.13),  # drafts in flight, of which every other one loses its ground
        ((0.0, 0.0, 0.09) * 9, 0.07, 0.13),
        ((*(0.05,) * 9, 0.4), 0.2, 0.45),
        ((0.0,) * 3, LATE_S, LATE_S),
    ],
)
def test_devices_are_expected_when_they_are_there_most_times(took, least, most):
    assert habit_of(took, answered=None).expected_s(0.0) is None
    seconds = habit_of(took, answered=7.0).expected_s(7.0)
    assert least - 1e-9 <= seconds <= most + 1e-9
    assert habit_of(took, answered=7.0).expected_s(7.0 + seconds / 2) == pytest.approx(max(seconds / 2, LATE_S))
    assert habit_of(took, answered=7.0).expected_s(7.0 + seconds + 2 * LATE_S) is None  # it does not come any more


def test_nobody_is_expected_of_whom_nothing_is_known():
    habit = Habit()
    habit.asks(3.0)
    habit.answered = 4.0
    assert habit.expected_s(4.0) is None
    habit.asks(4.5)
    assert habit.answered is None
    habit.answered = 5.0
    assert habit.expected_s(5.0) == pytest.approx(0.5)


@pytest.mark.parametrize("waiting", [1, 2, 5])
@pytest.mark.parametrize("coming", [(), (0.01,), (0.03,), (0.01, 0.03), (0.05,) * 5, (0.2,)])
def test_passes_wait_where_they_do_more_rounds_a_second(waiting, coming):
    fixed, each = 0.04, 0.01
    habits = [habit_of((seconds,)) for seconds in coming]
    rates = [(waiting + many) / (fixed + (waiting + many) * each + wait) for many, wait in enumerate((0.0, *coming))]
    better = [wait for wait, rate in zip(coming, rates[1:], strict=True) if rate > rates[0] + 1e-9]
    found = worth_waiting(habits, 0.0, waiting=waiting, saved_s=fixed)
    assert found == (pytest.approx(better[0]) if better else None)


def test_prompts_wait_for_rounds():
    assert worth_waiting([habit_of((0.03,))], 0.0, waiting=0, saved_s=0.01) == pytest.approx(0.03)
    assert worth_waiting([habit_of((0.03,))], 0.0, waiting=1, saved_s=0.01) is None
    assert worth_waiting([habit_of((0.03,))], 0.0, waiting=0, saved_s=0.0) is None
