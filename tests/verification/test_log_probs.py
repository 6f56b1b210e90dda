"""Log probabilities of tokens: what an answer says, to how many digits, for every way in which a token comes out.

Spec section 6.2.
"""

from __future__ import annotations

import asyncio
import math

import pytest
from table_engine import TableTarget
from two_ends import tables, two_ends

import tslt_wire as tw
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.messages.log_probs import UNIT, WANTED

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
