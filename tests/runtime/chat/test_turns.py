"""Conversations over a link: greedy answers are the target's own, caches are kept, stop strings end both ends' text."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
import torch
from chat_models import TEMPLATE, chat_folder
from chi_square import chi_square_p
from tslt_transports import LinkOptions, pair
from two_ends import KINDS, tables, two_ends

import tslt_wire as tw
from tslt_runtime.chat.messages import Conversation
from tslt_runtime.chat.template import TemplateError, digest_of
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.fingerprint import tokenizer_fingerprint
from tslt_runtime.loading import load_draft, load_target
from tslt_runtime.sessions import Sessions
from tslt_runtime.streaming import Ending, TextDevice, Usage
from tslt_runtime.verifiers.local import LocalVerifier

GREEDY = tw.SamplingRequest(temperature=0)
SETTINGS = DraftSettings(expansion=(1, 1, 1), truncation=tw.TopK(1))
QUESTIONS = ["Where is the old house?", "Who lives in it?", "Then what did he say to her?"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    parent = tmp_path_factory.mktemp("models")
    folders = [chat_folder(name, parent) for name in ("target", "draft")]
    return load_target(folders[0]), load_draft(folders[1])


class Ends:
    """A device, its edge's session, and what the two models read."""

    def __init__(self, device, driver, rows):
        self.device, self.driver, self.rows = device, driver, rows

    @property
    def prefixes(self):
        return self.device.device.session.prefix, self.driver.session.prefix


@asynccontextmanager
async def ends(models, *, template=TEMPLATE, sampling=GREEDY, **options):
    (target, _), (draft, tokenizer) = models
    rows = []
    verifier = LocalVerifier(target, on_pass=lambda pass_: rows.append(pass_.rows))
    offered = edge_settings(verifier.facts, tokenizer_fingerprint(tokenizer), chat_template=digest_of(template))
    mine, theirs = pair(LinkOptions())
    driver = EdgeDriver(verifier, offered, sessions=Sessions(seed=7))
    task = asyncio.create_task(serve_link(theirs, driver))
    given = {"settings": SETTINGS, "seed": 7, **options}
    try:
        async with TextDevice.connect(draft, tokenizer, link=mine, timeout_s=20, sampling=sampling, **given) as device:
            yield Ends(device, driver, rows)
    finally:
        await mine.close()
        await asyncio.wait_for(task, 20)
        verifier.close()


def targets_own(models, messages, tokens):
    """What the target's generate() writes, as text, and the ids of the prompt."""
    target, tokenizer = models[0]
    ids = tokenizer._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    with torch.no_grad():
        found = target._module.generate(torch.tensor([ids]), max_new_tokens=tokens, do_sample=False)
    return tokenizer.text_of(found[0, len(ids) :].tolist()), ids


async def all_of(pieces):
    return "".join([piece async for piece in pieces])


@pytest.mark.parametrize("settings", [SETTINGS, None])
def test_greedy_answers_are_the_targets_own_and_turns_cost_what_is_new(models, settings):
    async def run():
        async with ends(models, settings=settings) as both:
            device, talk, before = both.device, Conversation("It was a dark evening."), ()
            for question in QUESTIONS:
                messages = talk.ask(question)
                wanted, ids = targets_own(models, messages, 24)
                answer = await all_of(device.stream(messages=messages, tokens=24))
                assert answer == wanted
                assert device.ending is Ending.TOKENS
                assert both.prefixes[0][: len(ids)] == both.prefixes[1][: len(ids)] == tuple(ids)
                shared = next((i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), len(before))
                assert device.usage == Usage(prompt=len(ids), kept=shared)
                if before:
                    assert shared > len(before) - 3  # the last token may be another with what is said after it
                before = both.prefixes[0]
                talk.answer(answer)

    asyncio.run(run())


def test_a_turn_prefills_what_is_new(models):
    """Counted at both models: a turn of one token reads the new tokens, and a round's."""

    async def run():
        async with ends(models) as both:
            talk = Conversation()
            first = await all_of(both.device.stream(messages=talk.ask("A question of many words, " * 20), tokens=1))
            talk.answer(first)
            ids = both.device.template.tokens(both.device._tokenizer, talk.ask("And?"))
            drafted = list[int]()
            body = models[1].engine._module.model
            hook = body.register_forward_pre_hook(
                lambda _, __, given: drafted.append(given["input_ids"].numel()), with_kwargs=True
            )
            read = sum(both.rows)
            await all_of(both.device.stream(messages=talk.messages, tokens=2))
            hook.remove()
            new = len(ids) - both.device.usage.kept
            assert len(ids) > 100
            assert new < 10
            assert new <= sum(both.rows) - read <= new + 2 * (1 + 3)
            assert new <= sum(drafted) <= new + 2 * (1 + 3)

    asyncio.run(run())


@pytest.mark.parametrize("size", [1, 3])
def test_a_stop_string_ends_a_text_at_both_ends(models, size):
    """Also one that two rounds share: each has two tokens at most."""

    async def run():
        settings = DraftSettings(expansion=(1,) * size, truncation=tw.TopK(1))
        async with ends(models, settings=settings, log_probs=True) as both:
            device, talk = both.device, Conversation()
            messages = talk.ask(QUESTIONS[0])
            whole = await all_of(device.stream(messages=messages, tokens=40))
            for start, end in ((5, 8), (9, 30), (3, 4), (21, 33)):
                stop = whole[start:end]
                at = whole.index(stop)
                assert await all_of(device.stream(messages=messages, tokens=40, stop=["never", stop])) == whole[:at]
                assert device.ending is Ending.STOP
                ids = device.template.tokens(device._tokenizer, messages)
                assert both.device.device.session.prefix[: len(ids)] == tuple(ids)
                await all_of(device.stream(None, tokens=0))
                kept = device.device.session.prefix[len(ids) :]
                shown = device._tokenizer.text_of(kept)
                assert whole[:at].startswith(shown)
                assert at - len(shown) < 15  # a part of a token at most
                assert len(device.log_probs) == len(kept)
                # It goes on from what was kept, with another text than what was cut away if it is to.
                rest = await all_of(device.stream(None, tokens=1))
                assert (shown + rest) == whole[: len(shown + rest)]
                assert both.prefixes[0] == both.prefixes[1]
                talk = Conversation()
                messages = talk.ask(QUESTIONS[0])

    asyncio.run(run())


def test_the_next_turn_after_a_stop_string_reads_what_is_new(models):
    async def run():
        async with ends(models) as both:
            device, talk = both.device, Conversation()
            whole = await all_of(device.stream(messages=talk.ask(QUESTIONS[0]), tokens=40))
            stop = whole[20:26]
            talk.answer(await all_of(device.stream(messages=talk.messages, tokens=40, stop=stop)))
            messages = talk.ask(QUESTIONS[1])
            wanted, ids = targets_own(models, messages, 10)
            assert await all_of(device.stream(messages=messages, tokens=10)) == wanted
            assert both.prefixes[1][: len(ids)] == tuple(ids)
            assert len(ids) - device.usage.kept < 14

    asyncio.run(run())


def test_as_many_tokens_as_the_context_holds(models):
    async def run():
        async with ends(models, sampling=tw.SamplingRequest(temperature=0, ignore_eos=True)) as both:
            device = both.device
            context = device.device.welcome.context
            async for _ in device.pieces([5] * (context - 20), tokens=None):
                pass
            assert device.ending is Ending.TOKENS
            assert len(device.device.session.prefix) == context + 1
            with pytest.raises(ValueError, match="holds"):
                await anext(device.pieces([5] * (context + 20), tokens=None))

    asyncio.run(run())


def test_what_cannot_be_a_text_is_refused(models):
    async def run():
        async with ends(models, template="another") as both:
            with pytest.raises(TemplateError, match="another chat template"):
                await all_of(both.device.stream(messages=[{"role": "user", "content": "Hello"}]))
            with pytest.raises(ValueError, match="one of them"):
                await all_of(both.device.stream("Hello", messages=[{"role": "user", "content": "Hello"}]))
            assert both.device.device.session.prefix == ()
            assert await all_of(both.device.stream("Hello", tokens=4))

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["list", "scalar"])
def test_the_law_of_a_text_that_was_cut_back(kind):
    """The token after a cut is drawn anew, whatever stood there before; chi-square, each token's own row."""

    async def run():
        target, draft = tables(6)
        counts = np.zeros((6, 6, 6))
        async with two_ends(target, draft) as device:
            for _ in range(600):
                await device.prompt([1, 2, 3], keep=None)
                async for _ in device.generate(3, KINDS[kind]):
                    pass
                first, gone = device.session.prefix[3:5]
                assert await device.prompt([1, 2, 3, first], keep=None) == 4
                assert device.session.prefix == (1, 2, 3, first)
                async for _ in device.generate(1, KINDS[kind]):
                    pass
                counts[first, gone, device.session.prefix[4]] += 1
        for first in range(6):
            row = tw.target_probs(target[first], tw.Sampling())
            # Also apart for what was cut away: it tells nothing of what comes in its place.
            for found in (counts[first].sum(axis=0), counts[first, row.argmax()]):
                if found.sum() > 50:
                    assert chi_square_p(found, row) > 1e-4

    asyncio.run(run())
