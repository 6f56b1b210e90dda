"""What may be made rows of: arrays and tensors of any layout and library, and what is said of those that are none."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

import tslt_wire as tw


class OnlyDlpack:
    """An array of a library that numpy knows by DLPack alone."""

    def __init__(self, values):
        self._values = values

    def __dlpack__(self, **options):
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._values.__dlpack_device__()


def test_arrays_that_speak_dlpack_alone():
    logits = np.random.default_rng(5).normal(size=(3, 9)).astype(np.float32)
    mine, theirs = tw.target_rows(OnlyDlpack(logits), tw.Sampling()), tw.target_rows(logits, tw.Sampling())
    assert [row.prob(4) for row in mine] == [row.prob(4) for row in theirs]
    with pytest.raises(TypeError, match="real numbers in memory"):
        tw.target_rows(OnlyDlpack(torch.zeros(2, 9, dtype=torch.bfloat16)), tw.Sampling())


@pytest.mark.parametrize("order", ["F", "big-endian", "every other"])
def test_other_layouts_are_copied_a_row_at_a_time(order):
    logits = np.random.default_rng(6).normal(size=(64, 4000)).astype(np.float32)
    wanted = tw.target_rows(logits, tw.Sampling())[3].dense()
    odd = {
        "F": lambda: np.asfortranarray(logits),
        "big-endian": lambda: logits.astype(">f4"),
        "every other": lambda: np.repeat(logits, 2, axis=1)[:, ::2],
    }[order]()
    tracemalloc.start()
    found = tw.target_rows(odd, tw.Sampling())[3]
    assert found.prob(0) == wanted[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found.dense(), wanted)
    assert peak < logits.nbytes / 2


@pytest.mark.parametrize(
    "logits",
    [
        torch.zeros(2, 9).to_sparse(),
        torch.zeros(2, 9, device="meta"),
        torch._neg_view(torch.ones(2, 9)),
    ],
)
def test_tensors_that_are_no_numbers_in_memory(logits):
    with pytest.raises(TypeError):
        tw.target_rows(logits, tw.Sampling())[0].prob(1)


def test_shapes_and_tokens_that_are_none():
    for shape in ((0, 9), (2, 0), (1, tw.limits.MAX_VOCAB_SIZE + 1)):
        with pytest.raises(ValueError, match="must have shape"):
            tw.target_rows(np.zeros(shape, np.float16), tw.Sampling())
    row = tw.target_rows(np.zeros((1, 9)), tw.Sampling())[0]
    for token in (-1, 9):
        with pytest.raises(ValueError, match="token must be"):
            row.prob(token)
    with pytest.raises(TypeError, match="token must be"):
        row.prob(1.5)
    assert row.prob(np.int64(8)) == pytest.approx(1 / 9)


def test_settings_that_leave_nothing_are_named():
    nothing = tw.Sampling(suppress_tokens=tuple(range(9)))
    rows = tw.target_rows(np.zeros((1, 9)), nothing, text=tw.SampledText(prompt=(1,)))
    with pytest.raises(ValueError, match="of the tokens that the settings leave"):
        rows[0].prob(0)
