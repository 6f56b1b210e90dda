"""The drivers on an engine that a test wrote: every kind of evidence, its law, and verifiers that serve less."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import table_engine
from table_engine import TableTarget
from text_law import transition_law
from two_ends import FINGERPRINT, KINDS, TREE, hello, tables, two_ends

import tslt_wire as tw
from tslt_runtime.autopilot import Autopilot, planner_for
from tslt_runtime.connection import EdgeError
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.protocol import EngineFacts
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.protocol import Numbers, Reply, Request, VerifierFacts

V = 8
TOKENS = int(os.environ.get("TSLT_LAW_DRAWS", "2000"))
"""`make laws` writes more."""
NOT_BY_CHANCE = 1e-4


def test_the_engine_is_short():
    assert len(Path(table_engine.__file__).read_text().splitlines()) < 60


async def text_of(settings, tokens, **options):
    """Tokens that a device gets after token 0."""
    target, draft = tables(V)
    async with two_ends(target, draft, **options) as device:
        await device.prompt([0])
        rounds = [round_ async for round_ in device.generate(tokens, settings)]
        return device.session.prefix, rounds


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_evidence_gives_the_targets_text(kind):
    text, rounds = asyncio.run(text_of(KINDS[kind], TOKENS, seed=3))
    accepted = sum(len(round_.accepted) for round_ in rounds)
    assert len(text) == TOKENS + 1
    assert 0 < accepted < sum(round_.drafted for round_ in rounds)
    assert transition_law(tables(V)[0], text) > NOT_BY_CHANCE


def test_the_law_is_noticed_when_it_is_broken():
    text, _ = asyncio.run(text_of(KINDS["scalar"], 4000, seed=3))
    other = tables(V)[0].copy()
    other[:, 0] += 0.5
    assert transition_law(other, text) < NOT_BY_CHANCE


@pytest.mark.parametrize("settings", [{"temperature": 0.7, "top_p": 0.8}, {"top_k": 3}])
def test_the_targets_settings_are_applied(settings):
    sampling = tw.Sampling(**settings)
    text, _ = asyncio.run(text_of(KINDS["scalar"], 1500, seed=5, sampling=sampling))
    assert transition_law(tables(V)[0], text, sampling) > NOT_BY_CHANCE


def test_a_greedy_target():
    text, _ = asyncio.run(text_of(KINDS["lazy"], 60, seed=5, sampling=tw.Sampling(temperature=0)))
    assert text[1:] == tuple(tables(V)[0][list(text[:-1])].argmax(axis=1))


# ------------------------------------------------------------------------------------------ verifiers that know less


class FewNumbers:
    """A row of which no more is known than single probabilities and draws, as an inference server gives them."""

    def __init__(self, probs):
        self._probs = probs
        self.vocab_size = len(probs)

    def prob(self, token):
        return float(self._probs[token])

    def draw(self, choices):
        return choices.draw(self._probs)


class Server:
    """A verifier on such rows."""

    def __init__(self, table):
        self._table = table
        self.facts = VerifierFacts(
            engine=EngineFacts(model="server", vocab_size=len(table), context=4096),
            evidence=("scalar", "match"),
            refusal=lambda sampling: "this server has no top-k" if sampling.top_k else None,
        )

    def open(self):
        return None

    def release(self, text):
        pass

    def close(self):
        pass

    async def read(self, text, prefix):
        pass

    def row(self, token, sampling):
        return FewNumbers(tw.target_probs(self._table[token], sampling))

    async def answer(self, text, request: Request) -> Reply:
        asked = request.asked
        if isinstance(asked, tw.MoreAsked):
            last = asked.proposals
            row = self.row(request.prefix[-1], request.sampling)
            return Reply(tw.propose(last.round, last.node, row, request.generator, batch=last.batch + 1))
        tokens = (request.prefix[-1], *asked.draft.tree.tokens)
        rows = [self.row(token, request.sampling) for token in tokens]
        return Reply(tw.verify(asked.draft, rows, request.generator, rejection=asked.rejection))


@pytest.mark.parametrize("kind", ["scalar", "match"])
def test_probabilities_and_draws_are_enough_for_scalar_and_match(kind):
    target, _ = tables(V)
    text, _ = asyncio.run(text_of(KINDS[kind], TOKENS, seed=3, verifier=Server(target)))
    assert transition_law(target, text) > NOT_BY_CHANCE


def test_an_edge_offers_no_more_than_its_verifier_serves():
    target, draft = tables(V)

    async def run():
        async with two_ends(target, draft, verifier=Server(target)) as device:
            assert sorted(device.welcome.evidence) == ["match", "scalar"]
            await device.prompt([0])
            with pytest.raises(EdgeError, match="not 'list'"):
                await device.round(5, KINDS["list"])
        with pytest.raises(EdgeError, match="no evidence in common"):
            async with two_ends(target, draft, verifier=Server(target), evidence=("list",)):
                pass
        with pytest.raises(EdgeError, match="this server has no top-k"):
            async with two_ends(target, draft, verifier=Server(target), sampling=tw.Sampling(top_k=3)):
                pass

    asyncio.run(run())


class FewLeaves(TableTarget):
    """An engine that has a sequence for each of two leaves, however long."""

    def __init__(self, table):
        super().__init__(table)
        self.facts = replace(self.facts, most_leaves=2)
        self.most = 0

    def score(self, work):
        for item in work:
            leaves = item.tree.leaves if item.tree else 0
            if leaves > self.facts.most_leaves:
                raise ValueError(f"{leaves} leaves")
            self.most = max(self.most, leaves)
        return super().score(work)


def test_an_edge_of_few_leaves_takes_long_chains_and_no_bushy_trees():
    target, draft = tables(V)
    engine = FewLeaves(target)
    assert edge_settings(VerifierFacts(engine=engine.facts), FINGERPRINT).limits.max_leaves == 2

    async def run():
        async with two_ends(target, draft, verifier=LocalVerifier(engine)) as device:
            assert (device.welcome.limits.max_leaves, device.welcome.limits.max_nodes) == (2, 1024)
            await device.prompt([0])
            for expansion in ((1,) * 12, (2, 1, 1, 1)):
                settings = DraftSettings(expansion=expansion, evidence="coupled", truncation=None)
                rounds = [round_ async for round_ in device.generate(200, settings)]
                assert max(round_.drafted for round_ in rounds) == len(expansion)
                assert engine.most == expansion[0]
            for expansion in ((3,), TREE):
                with pytest.raises(ValueError, match="trees of 2 leaves"):
                    await device.round(5, DraftSettings(expansion=expansion, evidence="coupled"))
            for shapes in [((3,),), (TREE,)]:
                with pytest.raises(ValueError, match="nothing"):
                    planner_for(device, shapes=shapes)
            pilot = Autopilot(device, planner_for(device, budget=0.9))  # so curious that it tries most of what there is
            assert max([np.prod(pilot.last.expansion) async for _ in pilot.generate(400)]) <= 2
        return device.session.prefix

    text = asyncio.run(run())
    assert len(text) == 801
    assert engine.most == 2


def test_rows_that_know_less_refuse_what_they_cannot_serve():
    target, _ = tables(V)
    tree = tw.TokenTree.chain([1])
    q = tw.sparsify(target[0])
    at = {"round": 0, "prefix_length": 1, "prefix_hash": 0, "tree": tree}
    rows = [Server(target).row(token, tw.Sampling()) for token in (0, 1)]
    for evidence in (tw.ListEvidence({-1: q}), tw.CoupledEvidence()):
        with pytest.raises((TypeError, ValueError), match="dense"):
            tw.verify(
                tw.Draft(**at, evidence=evidence), rows, np.random.default_rng(0), coupling=tw.Coupling(bytes(8), 1)
            )


# ----------------------------------------------------------------------------------------- the edge's random numbers


class Forgetful(LocalVerifier):
    """A verifier that keeps nothing from one request to the next, as one on another machine would not."""

    async def answer(self, text, request):
        return Reply((await super().answer(self.open(), request)).answer)


class Rounds:
    """What a device says in one session, and two edges' answers, frame by frame."""

    def __init__(self, secret):
        target, self.draft = tables(V)
        verifier = LocalVerifier(TableTarget(target))
        settings = edge_settings(verifier.facts, FINGERPRINT)
        self.edge = EdgeDriver(verifier, settings, secret=secret)
        self.twin = EdgeDriver(Forgetful(TableTarget(target)), settings, secret=secret)

    async def ask(self, device):
        """Carry what ``device`` queued to both edges; both must give the same bytes."""
        while frame := device.data_to_send():
            answers = await self.edge.step(frame)
            assert await self.twin.step(frame) == answers
            for answer in answers:
                for event in device.receive_data(answer):
                    yield event


def test_a_frame_gets_the_same_answer_from_two_edges_that_share_the_secret():
    async def run(secret):
        rounds, rng = Rounds(secret), np.random.default_rng(4)
        device = tw.DeviceSession(hello(V))
        _ = [event async for event in rounds.ask(device)]
        device.send_prompt([0])
        followed = 0
        for number in range(60):
            kind = (tw.ScalarEvidence, tw.LazyEvidence)[number % 2]
            lists, tokens, last = {}, [], device.prefix[-1] if number else 0
            async for _event in rounds.ask(device):
                pass
            for parent in range(-1, 2):
                lists[parent] = tw.sparsify(rounds.draft[last])
                last = lists[parent].sample(rng)
                tokens.append(last)
            tree = tw.TokenTree.chain(tokens)
            device.send_draft(tree, kind.of(tree, lists))
            while device.open_draft is not None:
                async for event in rounds.ask(device):
                    if isinstance(event, tw.ProposalsReceived):
                        followed += device.choose(rng) is None
                    elif isinstance(event, tw.ListAsked):
                        device.send_list()
                        followed += 1
        assert followed > 5  # lists were asked for, or more proposals
        return device.prefix

    first, again, other = (asyncio.run(run(bytes([n]) * 32)) for n in (1, 1, 2))
    assert first == again != other


def test_a_frame_that_comes_twice_gets_the_same_answer():
    async def run():
        rounds, rng = Rounds(bytes(32)), np.random.default_rng(4)
        device = tw.DeviceSession(hello(V))
        _ = [event async for event in rounds.ask(device)]
        device.send_prompt([0])
        _ = [event async for event in rounds.ask(device)]
        q = tw.sparsify(rounds.draft[0])
        tree = tw.TokenTree.chain([q.sample(rng)])
        device.send_draft(tree, tw.ScalarEvidence.of(tree, {-1: q}))
        frame = device.data_to_send()
        answers = await rounds.edge.step(frame)
        assert await rounds.edge.step(frame) == answers
        assert await rounds.twin.step(frame) == answers

    asyncio.run(run())


# --------------------------------------------------------------------------------------------------- the local verifier


def test_rounds_of_others_come_between_the_chunks_of_a_long_prompt():
    class Watched(TableTarget):
        def score(self, work):
            passes.append([item.text for item in work])
            return super().score(work)

    passes = []

    async def run():
        engine = Watched(tables(V)[0])
        verifier = LocalVerifier(engine, limits=EdgeLimits(chunk=10, share_least=0))
        long, short = verifier.open(), verifier.open()
        reading = asyncio.create_task(verifier.read(long, (1,) * 500))
        await asyncio.sleep(0)
        draft = tw.Draft(
            round=0, prefix_length=1, prefix_hash=0, tree=tw.TokenTree.chain([1]), evidence=tw.MatchEvidence()
        )
        numbers = Numbers(partial(np.random.default_rng, 0))
        request = Request(prefix=(0,), sampling=tw.Sampling(), asked=tw.DraftReceived(draft), numbers=numbers)
        assert request.generator is request.generator
        await verifier.answer(short, request)
        assert not reading.done()
        await reading
        assert sum(long.text._text in texts for texts in passes) == 50
        assert next(i for i, texts in enumerate(passes) if short.text._text in texts) < 3
        assert long.text.unread == 1
        verifier.close()

    asyncio.run(run())


@pytest.mark.parametrize("wrong", [{"proposals": 0}, {"proposals": 300}])
def test_wrong_arguments_of_a_verifier(wrong):
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        LocalVerifier(TableTarget(tables(V)[0]), **wrong)
