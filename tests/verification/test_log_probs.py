"""Log probabilities of tokens: what an answer says, to how many digits, for every way in which a token comes out.

Spec section 6.2.
"""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from table_engine import TableTarget
from two_ends import tables, two_ends

import tslt_wire as tw
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.messages.extensions import with_extension
from tslt_wire.messages.log_probs import LEAST, UNIT, WANTED, log_probs_extension

V = 8
SETTINGS = {
    "list": DraftSettings(expansion=(2, 2), truncation=tw.TopK(3)),
    "match": DraftSettings(expansion=(2, 1), truncation=tw.TopK(2), evidence="match"),
    "coupled": DraftSettings(expansion=(1, 1, 1), evidence="coupled"),
    "scalar": DraftSettings(expansion=(1, 1, 1), truncation=tw.TopK(3), evidence="scalar"),
    "lazy": DraftSettings(expansion=(1, 1, 1), truncation=tw.TopK(3), evidence="lazy"),
    "nothing drafted": DraftSettings(expansion=()),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_way_a_token_comes_out_says_how_probable_it_was(name):
    target, draft = tables(V, seed=3, apart=2.0)
    sampling = tw.Sampling(temperature=0.9, top_p=0.95)

    async def run():
        verifier, more = LocalVerifier(TableTarget(target), proposals=2), {**WANTED, "timing": True}
        async with two_ends(target, draft, verifier=verifier, sampling=sampling, extra=more) as device:
            await device.prompt([0])
            return [r async for r in device.generate(120, SETTINGS[name])]

    rounds = asyncio.run(run())
    if SETTINGS[name].evidence in ("scalar", "lazy"):
        assert max(r.trips for r in rounds) > 1
        assert any(r.accepted for r in rounds if r.trips > 1)
    last = 0
    for r in rounds:
        assert len(r.log_probs) == len(r.tokens)
        for token, said in zip(r.tokens, r.log_probs, strict=True):
            wanted = math.log(tw.target_probs(target[last], sampling)[token])
            assert abs(said - wanted) <= UNIT / 2 * (1 + 1e-9)
            last = token


def test_who_does_not_ask_is_not_told():
    async def run():
        async with two_ends(*tables(V)) as device:
            await device.prompt([0])
            return [r async for r in device.generate(20, SETTINGS["list"])]

    assert {r.log_probs for r in asyncio.run(run())} == {()}


def test_the_quantisation_is_off_by_half_a_step_at_most():
    probs = np.exp(-np.random.default_rng(0).exponential(3, 2000))
    for start in range(0, 2000, 50):
        some = probs[start : start + 50]
        extension = log_probs_extension(some)
        assert len(extension.data) == 2 * len(some)
        assert np.abs(tw.log_probs_of((extension,)) - np.log(some)).max() <= UNIT / 2 + 1e-12
    assert tw.log_probs_of((log_probs_extension([1.0, 0.0, 1e-300]),)) == (0.0, -LEAST * UNIT, -LEAST * UNIT)
    assert tw.log_probs_of(()) == ()
    with pytest.raises(ValueError, match="no token"):
        log_probs_extension([])


def test_extensions_stay_in_order():
    one = (tw.Extension(2, b"\1"), tw.Extension(6, b""))
    assert [e.type for e in with_extension(one, tw.Extension(4, b"\0\0"))] == [2, 4, 6]
    assert with_extension(one, tw.Extension(2, b"\5"))[0].data == b"\5"


def test_the_most_bytes_that_there_are():
    profile = tw.Profile(vocab_size=10)
    most = tw.Verdict(round=1, node=0, token=3, extensions=(tw.Extension(4, bytes(131070)),))
    assert tw.decode(tw.encode(most, profile), profile) == most
    for data in (b"", b"\0", bytes(131071), bytes(131072)):
        with pytest.raises(ValueError, match="extension 4 cannot have"):
            tw.encode(tw.Verdict(round=1, node=0, token=3, extensions=(tw.Extension(4, data),)), profile)
