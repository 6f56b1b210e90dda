"""``--evidence auto``: the planner in the device's loop, over real links and in virtual time."""

from __future__ import annotations

import asyncio
import logging

import pytest
import torch
from loop_harness import FINGERPRINT, edge_on, greedy_reference, offers, open_device, tiny_pair
from tslt_transports import Network, VirtualClock, emulated_pair

import tslt_wire as tw
from examples import PAIR
from tslt_runtime.autopilot import Autopilot, observation, planner_for, settings_for
from tslt_runtime.commands import device as device_command
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.seeds import device_rng, session_secret
from tslt_runtime.timing import WANTED
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.session.negotiation import OUR_EVIDENCE
from tslt_wire.throughput import Agreed, Planner, default_modes

PROMPT = [5, 9, 2, 7]
HELLO = {"evidence": OUR_EVIDENCE, "entropy": ("range", "none"), "extra": WANTED}


@pytest.fixture(scope="module")
def pair():
    torch.set_num_threads(1)
    return tiny_pair()


def test_every_mode_can_be_drafted_and_is_what_it_says():
    for mode in default_modes(64, temperature=0.7):
        shapes = ((), (1, 1), (2, 2))[: 2 + (len(mode.alphas) > 1)]
        for shape in shapes:
            settings = settings_for(mode, shape)
            assert settings.expansion == shape
            assert settings.evidence == {"full": "list"}.get(mode.evidence, mode.evidence)
            if mode.evidence in {"list", "lazy", "full"}:
                assert settings.precision == mode.precision
                assert settings.temperature == mode.draft_temperature
            listed = settings.truncation is not None and mode.evidence in {"list", "lazy"}
            assert listed == (mode.k > 0)


@pytest.mark.parametrize("kind", ["inprocess", "zmq"])
def test_greedy_output_is_the_targets_own_whatever_is_picked(kind, pair, tmp_path):
    async def run():
        async with edge_on(kind, pair[0], tmp_path) as dial:
            device = await open_device(await dial(), pair[1], sampling=tw.Sampling(temperature=0), **HELLO)
            await device.prompt(PROMPT)
            planner = planner_for(device, budget=0.9)  # so curious that it tries most of what there is
            pilot = Autopilot(device, planner)
            rounds = [found async for found in pilot.generate(60)]
            await device.close()
            return list(device.session.prefix[len(PROMPT) :]), rounds, pilot

    tokens, rounds, pilot = asyncio.run(run())
    assert tokens == greedy_reference(pair[0]._module, PROMPT, 60)
    assert sum(len(found.tokens) for found in rounds) == 60
    assert pilot.chosen.total() == len(rounds)
    assert len(pilot.chosen) > 2
    assert pilot.evidence_line().startswith("auto: ")


def test_only_what_both_ends_have_is_picked(pair, tmp_path):
    async def run():
        async with edge_on("inprocess", pair[0], tmp_path) as dial:
            device = await open_device(await dial(), pair[1], **{**HELLO, "evidence": ("match", "list")})
            planner = planner_for(device)
            assert {mode.evidence for mode in planner.modes} == {"match", "list", "full"}
            await device.prompt(PROMPT)
            pilot = Autopilot(device, planner)
            async for _ in pilot.generate(40):
                assert pilot.last is not None
            return pilot

    assert set(asyncio.run(run()).chosen) <= {"match", "list", "full"}


def test_a_planner_needs_a_handshake(pair, tmp_path):
    async def run():
        async with edge_on("inprocess", pair[0], tmp_path) as dial:
            hello = tw.Hello(vocab_size=64, tokenizer=FINGERPRINT)
            device = Device(await dial(), pair[1].open(), hello, rng=device_rng(0))
            with pytest.raises(tw.LocalProtocolError, match="open"):
                planner_for(device)

    asyncio.run(run())


def test_it_says_why_now_and_then(pair, tmp_path, caplog):
    async def run():
        async with edge_on("inprocess", pair[0], tmp_path) as dial:
            device = await open_device(await dial(), pair[1], **HELLO)
            await device.prompt(PROMPT)
            modes = [mode for mode in default_modes(64) if mode.evidence == "match"]
            pilot = Autopilot(device, Planner(modes, Agreed(evidence=("match",)), shapes=((),)))
            async for _ in pilot.generate(60):
                pass

    with caplog.at_level(logging.INFO, "tslt.device"):
        asyncio.run(run())
    assert any("after 50 rounds" in record.message and "bottleneck" in record.message for record in caplog.records)


# --------------------------------------------------------------------------------------------------------- virtual time


class Timed:
    """A model or a text that lets virtual time pass with some calls of one method."""

    def __init__(self, inner, method, clock, seconds, counts):
        self._inner, self._method, self._clock, self._seconds, self._counts = inner, method, clock, seconds, counts

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name != self._method:
            return found

        def call(argument):
            if self._counts(argument):
                self._clock.advance(self._seconds)
            return found(argument)

        return call


async def virtual_session(pair, network, play):
    """Run ``play(device)`` over a link in virtual time; drafts take 5 ms, passes of the target 20 ms."""
    clocks = VirtualClock(), VirtualClock()
    mine, theirs = emulated_pair(network, clocks=clocks)
    target = Timed(pair[0], "score", clocks[1], 0.02, lambda work: work[0].tree is not None)
    verifier = LocalVerifier(target)
    driver = EdgeDriver(verifier, offers(pair[0]), secret=session_secret(0, 0), clock=clocks[1])
    task = asyncio.create_task(serve_link(theirs, driver))
    hello = tw.Hello(vocab_size=64, tokenizer=FINGERPRINT, **HELLO)
    draft = Timed(pair[1].open(), "expand", clocks[0], 0.005, lambda nodes: not nodes)  # the first pass of each
    device = Device(mine, draft, hello, rng=device_rng(0), clock=clocks[0])
    await device.open()
    await device.prompt(PROMPT)
    clocks[0].advance(60)  # the prompt has arrived
    found = await play(device)
    await device.close()
    await task
    verifier.close()
    return found


NETWORK = Network(uplink_bit_s=20e3, downlink_bit_s=80e3, rtt_s=0.1)


@pytest.mark.parametrize("evidence", OUR_EVIDENCE)
def test_times_of_rounds_are_exact_in_virtual_time(evidence, pair):
    async def play(device):
        shaken = device.handshake
        assert shaken.seconds == pytest.approx(0.1 + 8 * (shaken.uplink_bytes / 20e3 + shaken.downlink_bytes / 80e3))
        settings = DraftSettings(expansion=(1,) * 3, evidence=evidence, truncation=tw.TopK(16))
        return [found async for found in device.generate(40, settings)]

    rounds = asyncio.run(virtual_session(pair, NETWORK, play))
    for found in rounds:
        assert found.draft_s == pytest.approx(0.005 if found.drafted else 0)
        assert found.verify_s == pytest.approx(0.02, abs=1e-6)
        wire = 0.1 * found.trips + 8 * (found.uplink_bytes / 20e3 + found.downlink_bytes / 80e3)
        assert found.link_s == pytest.approx(wire, abs=3e-6)
    assert (max(found.trips for found in rounds) > 1) == (evidence == "lazy")


def test_it_learns_the_link_in_virtual_time_the_same_each_time(pair):
    async def play(device):
        pilot = Autopilot(device)
        rounds = [(found.tokens, found.link_s) async for found in pilot.generate(120)]
        return rounds, pilot.planner.link, pilot.chosen

    first, again = (asyncio.run(virtual_session(pair, NETWORK, play)) for _ in range(2))
    assert first == again
    link = first[1]
    assert link.rtt_s == pytest.approx(0.1, rel=0.15)
    assert link.uplink_bit_s == pytest.approx(20e3, rel=0.3)


def test_observations_are_the_rounds_own(pair):
    async def play(device):
        planner = planner_for(device)
        plan = planner.plan()
        found = await device.round(2, settings_for(plan.mode, plan.expansion))
        return plan, found, observation(plan.mode, found)

    plan, found, seen = asyncio.run(virtual_session(pair, NETWORK, play))
    assert seen.mode is plan.mode
    assert len(seen.expansion) == found.drafted <= 1
    assert (seen.uplink_bytes, seen.downlink_bytes) == (found.uplink_bytes, found.downlink_bytes)
    assert seen.seconds == pytest.approx(found.draft_s + found.link_s + found.verify_s)


# --------------------------------------------------------------------------------------------------------- command line


@pytest.mark.parametrize("option", [("--k", "8"), ("--expansion", "3"), ("--precision", "f16"), ("--min-prob", "0.1")])
def test_what_auto_picks_is_not_an_option(option, capsys):
    assert device_command.parse(["--evidence", "auto"], model=PAIR).evidence == "auto"
    with pytest.raises(SystemExit):
        device_command.parse(["--evidence", "auto", *option], model=PAIR)
    assert "picks" in capsys.readouterr().err
