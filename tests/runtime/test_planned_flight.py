"""``--evidence auto`` with drafts in flight and drafting ahead, over a link that is far away in real time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from table_engine import TableDraft
from tslt_transports import Network, emulated_pair
from two_ends import tables, two_ends

import tslt_wire as tw
from tslt_runtime.autopilot import Autopilot, observation, planner_for
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.timing import WANTED
from tslt_wire.throughput import default_modes

PROMPT = (1, 2, 3)
RTT_S = 0.06
FAR = Network(uplink_bit_s=1e6, downlink_bit_s=1e6, rtt_s=RTT_S)
GREEDY = {"evidence": ("match",), "sampling": tw.Sampling(temperature=0), "extra": WANTED}


def written(play, *, apart=0.2, seed=0, **options):
    """What ``play(device)`` gives over a link of 60 ms, and the target's table."""
    target, draft = tables(32, seed, apart)

    async def run():
        async with two_ends(target, draft, links=emulated_pair(FAR), **options) as device:
            await device.prompt(PROMPT)
            return await play(device)

    return asyncio.run(run()), target


async def piloted(device, tokens=90):
    pilot = Autopilot(device)
    rounds = [found async for found in pilot.generate(tokens)]
    return pilot, rounds, device.window, device.ahead.most


def test_far_away_auto_has_drafts_in_flight_and_learns_from_them():
    (pilot, rounds, window, ahead), target = written(piloted, window=4, ahead=16, **GREEDY)
    tokens, last = [token for found in rounds for token in found.tokens], PROMPT[-1]
    for token in tokens:  # the target's own, whatever was in flight
        assert token == int(target[last].argmax())
        last = token
    assert len(tokens) == 90
    assert (window, ahead) == (4, 16)  # as the device was told, after the text
    flying = [found for found in rounds if found.flight and found.flight.follows]
    assert flying
    assert all(found.frame_bytes < found.uplink_bytes + 40 for found in flying)
    assert 0.7 * RTT_S < pilot.planner.link.rtt_s < 1  # a busy machine adds to it
    assert pilot.chosen.total() == len(rounds)
    assert any(plan.window == 4 for plan in pilot.planner.ranking())
    assert "In flight: up to 4" in pilot.planner.explain()


def test_an_edge_that_takes_one_at_a_time_gets_one():
    async def play(device):
        assert planner_for(device).plan().window == 1
        return await piloted(device, 20)

    one = tw.EdgeSettings(vocab_size=32, tokenizer=bytes(32), evidence=("match",), window=1)
    (_, rounds, window, _), _ = written(play, window=4, offered=one, **GREEDY)
    assert window == 4
    assert not any(found.flight for found in rounds)


class SlowDraft(TableDraft):
    """One that takes so long that it is worth drafting ahead."""

    def expand(self, nodes):
        """See ``DraftText.expand``."""
        time.sleep(0.005)
        return super().expand(nodes)


def test_auto_drafts_ahead_where_drafting_takes_time():
    text = SlowDraft(tables(32, 0, 0.2)[1])
    (pilot, rounds, _, ahead), _ = written(piloted, ahead=16, text=text, **GREEDY)
    assert ahead == 16
    assert any(found.ahead for found in rounds)
    assert pilot.planner.compute.draft_s > 0.003  # whatever was there already
    # What the last round accepted depends on how much was drafted by then, which the clock decides.
    one = replace(rounds[-1], ahead=2, drafted=1, accepted=(), tried=1, settings=DraftSettings(expansion=(1,)))
    seen = observation(pilot.last.mode, one)
    assert (seen.ahead, seen.expansion, seen.guessed) == (1, (1,), False)


def test_bytes_of_a_draft_in_flight_are_its_own():
    async def play(device):
        settings = DraftSettings(expansion=(1, 1), evidence="match", truncation=tw.TopK(1))
        return [found async for found in device.generate(40, settings)]

    rounds, _ = written(play, window=4, **GREEDY)
    mode = next(mode for mode in default_modes(32, temperature=0) if mode.evidence == "match")
    for found in rounds:
        seen = observation(mode, found)
        assert found.settings.expansion == seen.expansion
        assert seen.follows == bool(found.flight and found.flight.follows)
        assert seen.uplink_bytes == (found.frame_bytes if found.flight else found.uplink_bytes)
    own = {found.frame_bytes for found in rounds if found.flight}
    assert max(own) - min(own) <= 3
    # The first of a run is heard of when all that follow it have left.
    assert max(found.uplink_bytes for found in rounds if found.flight) > 2 * max(own)
