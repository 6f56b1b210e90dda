"""Evidence scalar and lazy in the loops: tiny pairs over all transports, and the pair that ships."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch
from default_pair import pair_folder
from loop_harness import edge_on, generate, greedy_reference, offers, open_device, tiny_pair
from transformers import AutoTokenizer

import tslt_wire as tw
from examples import PAIR
from tslt_runtime.commands.device import draft_settings, parse
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel

PROMPT = [5, 9, 2, 7]
ALL = ("list", "match", "coupled", "scalar", "lazy")
NAMES = ("scalar", "lazy")
SETTINGS = {
    "scalar": DraftSettings(evidence="scalar", truncation=None),
    "lazy": DraftSettings(evidence="lazy", truncation=tw.TopK(8)),
}


@pytest.fixture(scope="module")
def pair():
    torch.set_num_threads(1)
    return tiny_pair()


async def run(kind, pair, tmp_path, settings, *, tokens=60, proposals=20, **options):
    async with edge_on(kind, pair[0], tmp_path, seed=3, proposals=proposals) as dial:
        options = {"evidence": ALL, "entropy": ("range", "none"), "priors": ("density", "none"), **options}
        return await generate(await dial(), pair[1], PROMPT, tokens, settings=settings, **options)


@pytest.mark.parametrize("name", NAMES)
def test_same_seeds_same_tokens_over_every_transport(name, pair, tmp_path):
    # As few proposals as can be, so that devices have to ask for more.
    runs = [
        asyncio.run(run(kind, pair, tmp_path, SETTINGS[name], proposals=1)) for kind in ("inprocess", "zmq", "quic")
    ]
    assert runs[0][0] == runs[1][0] == runs[2][0]
    rounds = runs[0][1]
    rejected = [r for r in rounds if len(r.accepted) < r.drafted]
    assert rejected
    assert sum(len(r.accepted) for r in rounds) > 0
    assert all(r.lists == 0 for r in rounds)
    assert all(r.trips == 1 for r in rounds if r not in rejected)
    assert all(r.trips == 2 for r in rejected) if name == "lazy" else max(r.trips for r in rejected) > 2
    # Bytes of all frames of a round count, and nothing else: more trips, more bytes.
    by_trips = {r.trips: r.uplink_bytes for r in rounds}
    assert sorted(by_trips.values()) == [by_trips[trips] for trips in sorted(by_trips)]


@pytest.mark.parametrize("name", NAMES)
def test_greedy_output_is_the_targets_own(name, pair, tmp_path):
    sampling = tw.Sampling(temperature=0)
    tokens, _ = asyncio.run(run("inprocess", pair, tmp_path, SETTINGS[name], tokens=40, sampling=sampling))
    assert tokens == greedy_reference(pair[0]._module, PROMPT, 40)


def test_kinds_may_change_from_round_to_round(pair, tmp_path, monkeypatch):
    """A greedy target, so that the text is known; and the model runs once a round, whatever follows a rejection."""
    passes = []
    score = TargetModel.score
    monkeypatch.setattr(TargetModel, "score", lambda self, work: passes.extend(work) or score(self, work))

    async def play():
        async with edge_on("inprocess", pair[0], tmp_path, proposals=1) as dial:
            sampling = tw.Sampling(temperature=0)
            device = await open_device(await dial(), pair[1], evidence=ALL, sampling=sampling)
            await device.prompt(PROMPT)
            rounds = []
            while len(device.session.prefix) < len(PROMPT) + 60:
                name = ALL[len(rounds) * 3 % 5]
                settings = SETTINGS.get(name, DraftSettings(evidence=name, truncation=tw.TopK(8)))
                async for round_ in device.generate(5, settings):
                    rounds.append(round_)
                    break
            return list(device.session.prefix[len(PROMPT) :]), rounds

    tokens, rounds = asyncio.run(play())
    assert tokens == greedy_reference(pair[0]._module, PROMPT, len(tokens))
    assert len([item for item in passes if item.tree is not None]) == len(rounds)
    assert max(r.trips for r in rounds) > 1


@pytest.mark.parametrize("keep", [0, 4, -1, None])
@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_after_any_round(name, keep, pair, tmp_path):
    """Also one that comes before the edge has heard which proposal was taken."""

    async def play():
        async with edge_on("inprocess", pair[0], tmp_path) as dial:
            device = await open_device(await dial(), pair[1], evidence=ALL)
            await device.prompt(PROMPT)
            for _ in range(6):
                async for _ in device.generate(5, SETTINGS[name]):
                    break
                text = device.session.prefix
                kept = len(text) if keep is None else keep % len(text) if keep < 0 else keep
                wanted = (*text[:kept], 1, 2, 3)
                await device.prompt([1, 2, 3], keep=kept)
                assert device.session.prefix == wanted
            # The edge's text is the same, or it would refuse the next draft.
            return [r async for r in device.generate(10, SETTINGS[name])]

    assert asyncio.run(play())


@pytest.mark.parametrize("name", NAMES)
def test_text_ends_where_the_target_ends_it(name, tmp_path):
    pair = tiny_pair(vocab_size=12)
    pair[0].eos_token_ids = (5,)
    settings = DraftSettings(evidence=name, truncation=None)
    ends = []
    for seed in range(6):
        tokens, rounds = asyncio.run(run("inprocess", pair, tmp_path, settings, tokens=80, seed=seed))
        assert 5 not in tokens[:-1]
        assert rounds[-1].end == (tokens[-1] == 5)
        ends.append(rounds[-1].end and len(rounds[-1].accepted) < rounds[-1].drafted)
    assert any(ends)


@pytest.mark.parametrize("name", NAMES)
def test_a_full_context_window_stops_the_loop(name, tmp_path):
    pair = tiny_pair(context=40)
    tokens, _ = asyncio.run(run("inprocess", pair, tmp_path, SETTINGS[name], tokens=100))
    assert len(PROMPT) + len(tokens) in (40, 41)


def test_trees_are_refused():
    for name in NAMES:
        with pytest.raises(ValueError, match="is for chains"):
            DraftSettings(evidence=name, expansion=(2, 1))
        with pytest.raises(SystemExit):
            parse(["--evidence", name, "--expansion", "2,2"], model=PAIR)


@pytest.mark.parametrize(
    ("arguments", "truncation", "temperature"),
    [
        (("--evidence", "scalar"), None, 0.7),
        (("--evidence", "scalar", "--k", "9"), tw.TopK(9), 0.7),
        (("--evidence", "lazy"), tw.DEFAULTS.truncation, 0.7 * tw.DEFAULTS.draft_temperature),
    ],
)
def test_arguments(arguments, truncation, temperature):
    args = parse(list(arguments), model=PAIR)
    settings = draft_settings(args)
    assert (settings.evidence, settings.truncation) == (arguments[1], truncation)
    assert settings.temperature == pytest.approx(temperature)
    assert args.entropy == "range"


def test_an_edge_without_them_is_named(pair, tmp_path):
    async def play():
        settings = offers(pair[0])
        async with edge_on("inprocess", pair[0], tmp_path, settings=settings) as dial:
            device = await open_device(await dial(), pair[1], evidence=("list", "lazy"))
            return device.session.welcome.evidence

    assert asyncio.run(play()) == ("list", "lazy")


# ------------------------------------------------------------------------------------------------ the pair that ships


def test_bytes_of_the_pair_that_ships(tmp_path):
    """Rounds of four tokens at V = 32,000, with all that ZeroMQ adds; rejections with all that they take."""
    torch.set_num_threads(1)
    target, draft = TargetModel.load(pair_folder("target")), DraftModel.load(pair_folder("draft"))
    prompt = AutoTokenizer.from_pretrained(pair_folder("target"))("It was a dark evening, and the old man")["input_ids"]

    async def play():
        async with edge_on("zmq", target, tmp_path) as dial:
            settings = DraftSettings(evidence="scalar", truncation=None)
            options = {"evidence": ALL, "sampling": tw.Sampling(), "settings": settings}
            return (await generate(await dial(), draft, prompt, 120, **options))[1]

    rounds = asyncio.run(play())
    rejected = [r for r in rounds if len(r.accepted) < r.drafted]
    assert max(r.uplink_bytes for r in rounds if r.trips == 1) <= 36
    assert np.median([r.downlink_bytes for r in rejected]) <= 100
    alpha = sum(len(r.accepted) for r in rounds) / sum(r.tried for r in rounds)
    assert np.isclose(alpha, 0.80, atol=0.12)  # 1 - TV of this pair is about 0.80
