"""Every input that fuzzing kept, and those it starts from, once more; a crash that was mended is among them."""

from __future__ import annotations

import random

import pytest
from tslt_transports.framing import UnitDecoder

from tests.fuzz import corpus
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_is_taken_or_refused(name):
    target, seeds = TARGETS[name]
    kept, begun = corpus.read(name), list(seeds())
    assert kept
    assert begun
    for data in (*begun, *kept):
        target(data)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs_are_taken_or_refused(name):
    target, seeds = TARGETS[name]
    rng, inputs = random.Random(7), [*seeds(), *corpus.read(name)]
    for _ in range(150):
        data = bytearray(rng.choice(inputs))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(3):
                case 0:
                    data[at:at] = rng.randbytes(rng.randrange(1, 5))
                case 1:
                    del data[at : at + rng.randrange(1, 5)]
                case _:
                    data[at : at + 1] = rng.randbytes(1)
        target(bytes(data) or b"\0")


def test_a_mistake_is_found(monkeypatch):
    def too_trusting(self, data):
        raise IndexError("a unit that ends early")

    monkeypatch.setattr(UnitDecoder, "feed", too_trusting)
    with pytest.raises(IndexError):
        TARGETS["units"][0](b"\x01\x01")
