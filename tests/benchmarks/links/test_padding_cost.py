"""What `tslt bench padding` makes of frames; the sessions that it gets them from are those of other benchmarks."""

from __future__ import annotations

import pytest
from tslt_benchmarks.links.padding import MULTIPLES, Texts, entropy, figures

import tslt_wire as tw

PROFILE = tw.Profile(vocab_size=10)


def test_what_a_size_tells():
    assert entropy([7] * 9) == 0
    assert entropy([1, 2] * 4) == 1
    assert entropy([1, 2, 3, 4]) == pytest.approx(2)


def test_a_row_for_each_multiple():
    frames = [tw.encode(tw.Prompt(tokens=(1,) * size), PROFILE) for size in (1, 9, 40)]
    bye = tw.encode(tw.Bye(), PROFILE)
    rows = figures(Texts("match", tokens=2, uplink=[*frames, bye], downlink=[bye], in_rounds=frames))
    assert [row["multiple"] for row in rows] == list(MULTIPLES)
    assert rows[0]["uplink_bytes_per_token"] == sum(map(len, [*frames, bye])) / 2
    assert (rows[0]["sizes"], rows[0]["downlink_bytes_per_token"]) == (3, len(bye) / 2)
    assert [(row["uplink_bytes_per_token"], row["downlink_bytes_per_token"]) for row in rows[3:]] == [
        (4 * multiple / 2, multiple / 2) for multiple in (64, 128, 256)
    ]
    assert rows[-1]["bits"] == 0
