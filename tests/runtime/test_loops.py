"""Device and edge drivers with real (tiny, random) Llamas over every transport."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from loop_harness import edge_on, generate, greedy_reference, offers, open_device, tiny_pair

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.seeds import device_rng, session_secret
from tslt_runtime.timing import WANTED, verify_seconds, with_verify_time

TRANSPORTS = ["inprocess", "zmq", "quic"]
PROMPT = [5, 9, 2, 7]
TREE = DraftSettings(expansion=(2, 2, 2), truncation=tw.TopK(8))
GREEDY_CHAIN = DraftSettings(temperature=0.0, truncation=None)
GREEDY_TREE = DraftSettings(expansion=(2, 2, 2), truncation=tw.TopK(2), replacement=False)


@pytest.fixture(scope="module")
def pair():
    return tiny_pair()


@pytest.fixture(scope="module")
def reference(pair):
    """Tokens of one seeded session on the in-process link, by draft settings."""

    async def run(settings):
        async with edge_on("inprocess", pair[0], None, seed=4) as dial:
            return await generate(await dial(), pair[1], PROMPT, 60, settings=settings, seed=11)

    return {name: asyncio.run(run(settings)) for name, settings in (("chain", DraftSettings()), ("tree", TREE))}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_same_seeds_give_the_same_tokens_over_every_transport(transport, pair, reference, tmp_path):
    async def run(settings):
        async with edge_on(transport, pair[0], tmp_path, seed=4) as dial:
            return await generate(await dial(), pair[1], PROMPT, 60, settings=settings, seed=11)

    for name, settings in (("chain", DraftSettings()), ("tree", TREE)):
        tokens, rounds = asyncio.run(run(settings))
        assert tokens == reference[name][0]
        assert len(tokens) == 60
        assert [r.tokens for r in rounds] == [r.tokens for r in reference[name][1]]
        assert all(r.uplink_bytes > 0 and r.downlink_bytes > 0 for r in rounds)


def test_drafts_are_really_accepted_and_really_rejected(reference):
    for _, rounds in reference.values():
        accepted = sum(len(r.accepted) for r in rounds)
        assert 0 < accepted < sum(r.drafted for r in rounds)


@pytest.mark.parametrize("settings", [GREEDY_CHAIN, GREEDY_TREE, DraftSettings(), TREE], ids=str)
def test_greedy_output_is_the_targets_own(settings, pair, tmp_path):
    rng = np.random.default_rng(1)
    prompts = [rng.integers(2, 64, int(rng.integers(1, 12))).tolist() for _ in range(4)]

    async def run():
        async with edge_on("inprocess", pair[0], tmp_path) as dial:
            for prompt in prompts:
                tokens, _ = await generate(
                    await dial(), pair[1], prompt, 64, settings=settings, sampling=tw.Sampling(temperature=0.0)
                )
                assert tokens == greedy_reference(pair[0]._module, prompt, 64)

    asyncio.run(run())


TABLE = tw.train_table(np.random.default_rng(0).normal(size=(20, 64)) * 3)


@pytest.mark.parametrize(
    ("offered", "has", "agreed"),
    [
        ((TABLE.name, "density", "none"), (TABLE,), TABLE.name),
        ((TABLE.name, "density", "none"), (), "density"),
        (("none",), (TABLE,), "none"),
    ],
)
@pytest.mark.parametrize("greedy", [False, True])
def test_a_prior_is_agreed_on_and_used(offered, has, agreed, greedy, pair, tmp_path):
    edge, tails = offers(pair[0], has), set()

    async def run():
        async with edge_on("inprocess", pair[0], tmp_path, settings=edge) as dial:
            sampling = tw.Sampling(temperature=0.0 if greedy else 1.0)
            device = await open_device(await dial(), pair[1], sampling=sampling, priors=offered, tables=[TABLE])
            assert device.session.welcome.prior == agreed
            assert (device.prior.name if device.prior else "none") == agreed
            await device.prompt(PROMPT)
            settings = DraftSettings(expansion=(2, 2), truncation=tw.TopK(2), replacement=False)
            scales = [device.tail_scale]
            send = device.session.send_draft

            def watched(tree, evidence, **more):
                tails.update(q.tail for q in evidence.lists.values())
                return send(tree, evidence, **more)

            device.session.send_draft = watched
            async for _ in device.generate(60, settings):
                scales.append(device.tail_scale)
            await device.close()
            return list(device.session.prefix[len(PROMPT) :]), scales

    tokens, scales = asyncio.run(run())
    assert len(tokens) == 60
    if greedy:
        assert tokens == greedy_reference(pair[0]._module, PROMPT, 60)
    if greedy or agreed == "none":
        assert set(scales) == {0.0}
        assert tails == {0}
    else:
        assert len(set(scales)) > 5
        assert max(tails) > 0


def test_text_ends_where_the_target_ends_it(tmp_path):
    target, draft = tiny_pair(eos_token_id=[13, 17])
    ended = 0

    async def run():
        nonlocal ended
        async with edge_on("inprocess", target, tmp_path) as dial:
            for first in range(2, 40, 4):
                want = greedy_reference(target._module, [first, 3], 64)
                tokens, rounds = await generate(
                    await dial(), draft, [first, 3], 64, settings=GREEDY_TREE, sampling=tw.Sampling(temperature=0.0)
                )
                assert tokens == want
                assert rounds[-1].end == (want[-1] in (13, 17))
                ended += rounds[-1].end

    asyncio.run(run())
    assert ended > 0


def test_a_text_ends_with_the_context(tmp_path):
    target, draft = tiny_pair(context=24)

    async def run():
        async with edge_on("zmq", target, tmp_path) as dial:
            tokens, _ = await generate(await dial(), draft, PROMPT, 100)
            # The last token needs no position of its own: nothing is computed after it.
            assert len(PROMPT) + len(tokens) == 25

    asyncio.run(run())


@pytest.mark.parametrize("transport", ["zmq", "quic"])
def test_several_devices_at_once(transport, pair, tmp_path):
    prompts = [[first, 3, 4] for first in range(2, 8)]

    async def run():
        async with edge_on(transport, pair[0], tmp_path) as dial:
            links = [await dial() for _ in prompts]
            return await asyncio.gather(
                *(
                    generate(link, pair[1], prompt, 40, sampling=tw.Sampling(temperature=0.0))
                    for link, prompt in zip(links, prompts, strict=True)
                )
            )

    for prompt, (tokens, _) in zip(prompts, asyncio.run(run()), strict=True):
        assert tokens == greedy_reference(pair[0]._module, prompt, 40)


def test_a_second_prompt_in_the_same_session(pair, tmp_path):
    async def run():
        async with edge_on("inprocess", pair[0], tmp_path) as dial:
            device = await open_device(await dial(), pair[1], sampling=tw.Sampling(temperature=0.0))
            for prompt, keep in (([5, 9], 0), ([7], 4), ([3, 3, 3], 0)):
                await device.prompt(prompt, keep=keep)
                start = list(device.session.prefix)
                async for _ in device.generate(10, DraftSettings()):
                    pass
                assert list(device.session.prefix[len(start) :]) == greedy_reference(pair[0]._module, start, 10)

    asyncio.run(run())


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("change", [{"vocab_size": 65, "tokenizer": bytes(32)}, {"tokenizer": bytes(32)}])
def test_another_vocabulary_is_refused_and_both_are_named(transport, change, pair, tmp_path):
    draft = tiny_pair(vocab_size=65)[1] if "vocab_size" in change else pair[1]

    async def run():
        async with edge_on(transport, pair[0], tmp_path) as dial:
            link = await dial()
            with pytest.raises(EdgeError) as caught:
                await open_device(link, draft, **change)
            return str(caught.value)

    message = asyncio.run(run())
    assert "tiny-draft" in message
    assert "tiny-target" in message
    assert f"{change.get('vocab_size', 64)} tokens" in message
    assert "has 64 tokens" in message


def test_an_edge_that_stays_silent(pair, tmp_path):
    from tslt_transports import listen

    async def run():
        listener = await listen("zmq", "127.0.0.1:0")
        from tslt_transports import connect

        link = await connect("zmq", listener.address)
        with pytest.raises(EdgeError, match="did not answer within"):
            await open_device(link, pair[1], timeout=0.3)
        await listener.close()

    asyncio.run(run())


def test_a_device_that_breaks_the_protocol_hurts_nobody_else(pair, tmp_path):
    async def run():
        async with edge_on("zmq", pair[0], tmp_path) as dial:
            for garbage in (b"\x00", b"GET / HTTP/1.1\r\n\r\n", b"\x10" + bytes(40), bytes(5000)):
                bad = await dial()
                await bad.send(garbage)
                answer = tw.decode(await bad.receive(), tw.Profile(vocab_size=1))
                assert isinstance(answer, tw.ErrorMessage)
                await bad.close()
            tokens, _ = await generate(await dial(), pair[1], PROMPT, 20, sampling=tw.Sampling(temperature=0.0))
            assert tokens == greedy_reference(pair[0]._module, PROMPT, 20)

    asyncio.run(run())


def test_a_model_that_fails_is_an_internal_error_for_this_device_alone(pair, tmp_path, monkeypatch):
    from tslt_runtime.engines.transformers.target import TargetModel

    real, broken = TargetModel.score, [True]

    def score(self, work):
        if work[0].tree is not None and broken:
            broken.pop()
            raise RuntimeError("out of memory")
        return real(self, work)

    monkeypatch.setattr(TargetModel, "score", score)

    async def run():
        async with edge_on("inprocess", pair[0], tmp_path) as dial:
            device = await open_device(await dial(), pair[1])
            await device.prompt(PROMPT)
            with pytest.raises(EdgeError, match="its log says why"):
                async for _ in device.generate(5, DraftSettings()):
                    pass
            assert list(device.session.prefix) == PROMPT
            tokens, _ = await generate(await dial(), pair[1], PROMPT, 5)
            assert len(tokens) == 5

    asyncio.run(run())


def test_a_full_context_is_said_by_the_edge(pair, tmp_path):
    settings = replace(offers(pair[0]), context=8)

    async def run():
        async with edge_on("inprocess", pair[0], tmp_path, settings=settings) as dial:
            device = await open_device(await dial(), pair[1])
            with pytest.raises(ValueError, match="holds 8 tokens"):
                await device.prompt(range(2, 11))

    asyncio.run(run())


def test_verify_time_travels_as_an_extension():
    verdict = with_verify_time(tw.Verdict(round=3, node=1, token=2, end=True), 0.0123)
    profile = tw.Profile(vocab_size=64)
    back = tw.decode(tw.encode(verdict, profile), profile)
    assert verify_seconds(back.extensions) == pytest.approx(0.0123)
    assert (back.round, back.node, back.token, back.end) == (3, 1, 2, True)
    assert verify_seconds(()) == 0.0


@pytest.mark.parametrize("wanted", [False, True])
def test_only_devices_that_ask_pay_for_timing(wanted, pair, tmp_path):
    async def run():
        async with edge_on("inprocess", pair[0], tmp_path) as dial:
            return await generate(await dial(), pair[1], PROMPT, 12, extra=WANTED if wanted else {})

    _, rounds = asyncio.run(run())
    assert all((r.verify_s > 0) == wanted for r in rounds)
    assert all((r.downlink_bytes > 12) == wanted for r in rounds)


def test_seeds_of_the_two_ends_never_meet():
    for seed in (0, 1, 5):
        secrets = [session_secret(seed, number) for number in (0, 1)]
        edges = [tw.EdgeRandomness(secret).generator(0, 0) for secret in secrets]
        streams = [device_rng(seed), *edges, np.random.default_rng(seed)]
        assert len({tuple(rng.random(3)) for rng in streams}) == 4
        assert device_rng(seed).random() == device_rng(seed).random()
        assert session_secret(seed, 0) == secrets[0] != secrets[1]
    assert device_rng(None).random() != device_rng(None).random()
    assert session_secret(None, 0) != session_secret(None, 0)


def test_a_link_that_says_nothing_loses_its_place(pair, tmp_path):
    async def run():
        async with edge_on("zmq", pair[0], tmp_path, limits=EdgeLimits(hello_timeout_s=0.2)) as dial:
            link = await dial()
            answer = tw.decode(await link.receive(), tw.Profile(vocab_size=1))
            assert answer.code == tw.ErrorCode.OVERLOADED

    asyncio.run(run())


def test_a_tree_the_edge_would_refuse_is_refused_before_it_is_drafted(pair, tmp_path):
    async def run():
        async with edge_on("inprocess", pair[0], tmp_path) as dial:
            device = await open_device(await dial(), pair[1])
            await device.prompt(PROMPT)
            with pytest.raises(ValueError, match="1024 nodes"):
                async for _ in device.generate(100, DraftSettings(expansion=(100, 100, 100))):
                    pass

    asyncio.run(run())
