"""When a pass waits for devices: what they took lately, and whether that saves a pass."""

from __future__ import annotations

import numpy as np
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


@pytest.mark.parametrize(
    ("coming", "waits"),
    [
        ((), None),
        ((0.01,), 0.01),
        ((0.01, 0.03), 0.03),
        ((0.03,) * 5, 0.03),
        ((0.01, 0.05), None),  # the second one needs the next pass, and there is room for the first
        ((0.01, 0.09), 0.01),  # when it comes this pass is over, whatever is done
        ((0.05,), None),  # to wait takes longer than a pass less saves
        ((0.09,), None),
    ],
)
def test_passes_wait_where_that_saves_one(coming, waits):
    habits = [habit_of((seconds,)) for seconds in coming]
    found = worth_waiting(habits, 0.0, pass_s=0.08, left_s=0.04)
    assert found == (None if waits is None else pytest.approx(waits))
    assert worth_waiting(habits, 0.0, pass_s=0.08, left_s=0.0) is None


def rounds_a_second(devices: int, rtt_s: float, hit: float, waits: bool) -> float:
    """Of devices at one edge, 40 ms a pass and 10 ms a round in it, whose next draft is there at once with ``hit``."""
    rng = np.random.default_rng(0)
    habits, now, done = [Habit() for _ in range(devices)], 0.0, 0
    comes = [(float(rng.random()) * 0.1, number) for number in range(devices)]
    while now < 60:
        comes.sort()
        now = max(now, comes[0][0])
        until = now + 0.04
        while True:
            there = [number for at, number in comes if at <= now]
            for at, number in comes:
                if at <= now:
                    habits[number].asks(at)
            wait = worth_waiting(habits, now, pass_s=0.04 + 0.01 * len(there), left_s=until - now)
            if wait is None or not waits:
                break
            now = min([now + wait, *(at for at, _ in comes if at > now)])
        now += 0.04 + 0.01 * len(there)
        done += len(there)
        comes = [(at, number) for at, number in comes if number not in there]
        for number in there:
            habits[number].answered = now
            drafts_s = 0.0 if rng.random() < hit else 0.032
            comes.append((now + rtt_s + drafts_s + float(rng.exponential(0.001)), number))
    return done / 60


@pytest.mark.parametrize("hit", [0.0, 0.6])
def test_an_edge_never_loses_much_by_waiting_and_may_gain_a_lot(hit):
    gains = [
        rounds_a_second(devices, rtt_s, hit, True) / rounds_a_second(devices, rtt_s, hit, False)
        for devices in (2, 4, 8)
        for rtt_s in (0.005, 0.025, 0.05, 0.1, 0.2)
    ]
    assert min(gains) > 0.93
    assert np.mean(gains) > 0.985
    assert hit or max(gains) > 1.1
