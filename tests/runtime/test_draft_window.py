"""A draft model with a shorter context than its target: the text goes on to the target's end, and is the target's."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import numpy as np
import pytest
from gguf_models import needs_llamacpp, tiny_folder
from loop_harness import edge_on, generate, greedy_reference, open_device
from text_law import text_law, texts_of
from tiny_llama import soften, tiny_draft, tiny_llama

import tslt_wire as tw
from tslt_runtime.commands.convert import convert
from tslt_runtime.draft_window import DraftWindow
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel

GREEDY = tw.Sampling(temperature=0.0)
TREE = (2, 2)
WAYS = {
    "list": DraftSettings(expansion=TREE, truncation=tw.TopK(16)),
    "match": DraftSettings(expansion=TREE, evidence="match"),
    "scalar": DraftSettings(expansion=(1, 1), truncation=None, evidence="scalar", temperature=0.5),
    "coupled": DraftSettings(expansion=TREE, truncation=None, evidence="coupled"),
    "lazy": DraftSettings(expansion=(1, 1), truncation=tw.TopK(16), evidence="lazy"),
}


def models(context: int, **options: Any) -> tuple[Any, TargetModel, DraftModel]:
    """A target that holds 96 tokens, as a module and an engine, and a draft that holds ``context`` of them."""
    module = soften(tiny_llama(vocab_size=64, seed=3, context=96, **options), layers=1, scale=0.5)
    draft = DraftModel(tiny_draft(module), model_id="draft", context=context)
    return module, TargetModel(module, model_id="target"), draft


@pytest.mark.parametrize("length", [4, 60])  # before and behind the end of the draft's context
@pytest.mark.parametrize("way", WAYS)
def test_greedy_text_goes_on_to_the_targets_end(way, length, tmp_path, caplog):
    module, target, draft = models(24)
    prompt = np.random.default_rng(0).integers(0, 64, length).tolist()

    async def run():
        async with edge_on("inprocess", target, tmp_path) as dial:
            return await generate(
                await dial(), draft, prompt, 1000, settings=WAYS[way], sampling=GREEDY, evidence=(way,)
            )

    with caplog.at_level(logging.WARNING, "tslt.device"):
        tokens, rounds = asyncio.run(run())
    assert tokens[: 96 - length] == greedy_reference(module, prompt, 96 - length)
    assert len(tokens) >= 96 - length
    late = rounds[len(rounds) // 2 :]
    assert {round_.drafted for round_ in late[:-2]} == {2}  # it drafts to the end, and some are right
    assert sum(len(round_.accepted) for round_ in late) > 0
    said = [record.getMessage() for record in caplog.records if "draft model holds" in record.getMessage()]
    assert len(said) == 1
    assert "holds 24 tokens, the target 96" in said[0]


@pytest.mark.parametrize("way", WAYS)
def test_the_law_where_the_window_slides_in_each_text(way, tmp_path):
    _, target, draft = models(6)
    sampling = tw.Sampling(temperature=0.8, top_p=0.95)

    async def run():
        async with edge_on("inprocess", target, tmp_path) as dial:
            device = await open_device(await dial(), draft, sampling=sampling, evidence=(way,))
            return await texts_of(device, [1, 2, 3], 500, WAYS[way], length=16)

    texts, accepted = asyncio.run(run())
    assert accepted > 20
    assert min(text_law(texts, target, [1, 2, 3], sampling)) > 1e-3


@needs_llamacpp
def test_with_llama_cpp(tmp_path):
    from tslt_runtime.engines.llamacpp.draft import LlamaDraft

    module = tiny_folder(tmp_path / "model", context=160)
    convert(tmp_path / "model", tmp_path / "model.gguf", dtype="float32")
    draft = LlamaDraft(tmp_path / "model.gguf", context=24)
    target = TargetModel(module, model_id="target")

    async def run():
        async with edge_on("inprocess", target, tmp_path) as dial:
            hello = {"vocab_size": draft.vocab_size, "sampling": GREEDY}
            return await generate(await dial(), draft, [1, 2, 3], 100, settings=WAYS["list"], **hello)

    tokens, rounds = asyncio.run(run())
    assert tokens == greedy_reference(module, [1, 2, 3], len(tokens))
    assert len(tokens) >= 100
    assert sum(len(round_.accepted) for round_ in rounds[10:]) > 0


class Seen:
    """A text that notes what it is given."""

    vocab_size = 64

    def __init__(self, context: int) -> None:
        self.context, self.prefix, self.reads = context, [], 0

    @property
    def room(self) -> int:
        return self.context - len(self.prefix)

    def set_prefix(self, tokens: Any) -> None:
        assert 0 < len(tokens) <= self.context
        self.reads += sum(1 for _ in tokens) if list(tokens[: len(self.prefix)]) != self.prefix else 0
        self.prefix = list(tokens)

    def commit(self, path: Any, token: int) -> None:
        self.prefix.append(token)


@pytest.mark.parametrize("context", [1, 2, 3, 5, 64])
def test_what_the_model_sees(context):
    text, rng = Seen(context), np.random.default_rng(context)
    window, prefix = DraftWindow(text), []
    for at in range(1, 400):
        if at % 97 == 0:  # another text, or the same one shortened
            prefix = prefix[: int(rng.integers(1, len(prefix)))]
            window.read(prefix)
        elif at == 1:
            prefix = [7]
            window.read(prefix)
        else:
            prefix.append(at % 64)
            text.commit((), at % 64)
        depth = int(rng.integers(0, window.room + 1))
        window.make_room(prefix, depth)
        if depth:
            assert text.room >= depth
            assert text.prefix[-1] == prefix[-1]
            seen = len(text.prefix)
            whole = not window.slid or context < 4  # two tokens, and room for two, are the least with the first one
            assert text.prefix == (prefix[-seen:] if whole else [prefix[0], *prefix[len(prefix) - seen + 1 :]])
        assert 0 <= window.room <= context
    assert window.slid == (len(prefix) > context) or context == 1


def test_a_window_reads_each_token_about_twice():
    text = Seen(64)
    window, prefix = DraftWindow(text), [1]
    window.read(prefix)
    for at in range(2000):
        prefix.append(at % 64)
        text.commit((), at % 64)
        window.make_room(prefix, 4)
    assert 2000 / 64 * 32 * 0.8 < text.reads < 2400


def test_a_longer_prompt_of_the_same_text_keeps_the_window_where_it_is():
    text = Seen(64)
    window = DraftWindow(text)
    window.read(list(range(60)) * 2)
    before = text.prefix
    window.read([*list(range(60)) * 2, 5, 6])
    assert text.prefix == [*before, 5, 6]
