"""Models by their names: the engine that reads them, its options, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gguf_models import needs_llamacpp, tiny_gguf

from tslt_runtime.engines.llamacpp.draft import LlamaDraft
from tslt_runtime.engines.llamacpp.target import LlamaTarget
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.loading import is_gguf, load_draft, load_target

pytestmark = needs_llamacpp
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """One model's two names: (folder, file)."""
    folder = tmp_path_factory.mktemp("model")
    return str(folder), str(tiny_gguf(folder)[0])


def test_the_name_says_which_engine(names):
    folder, file = names
    kinds = [type(load(name).engine) for name in names for load in (load_draft, load_target)]
    assert kinds == [DraftModel, TargetModel, LlamaDraft, LlamaTarget]
    tokens = [load_draft(name).tokenizer.tokens_of("the heat </s>") for name in names]
    assert tokens[0] == tokens[1]
    assert [load_draft(name).tokenizer.text_of(tokens[0]) for name in names] == ["the heat </s>"] * 2
    assert is_gguf(Path(file))
    assert is_gguf("M.GGUF")
    assert not is_gguf(folder)


@pytest.mark.parametrize("load", [load_draft, load_target])
def test_options_reach_the_engine(load, names):
    before = torch.get_num_threads()
    try:
        for name in names:
            engine = load(name, threads=2, context=20, dtype="float32").engine
            assert (engine.facts.context, engine.facts.dtype) == (20, "float32")
        assert torch.get_num_threads() == engine.threads == 2
    finally:
        torch.set_num_threads(before)
    assert load(names[0], dtype="bfloat16").engine.facts.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("which", "options", "words"),
    [
        (1, {"dtype": "bfloat16"}, "is in float32"),
        (1, {"torch_device": "cuda"}, "run by llama.cpp"),
        (1, {"threads": 0}, "threads"),
        (1, {"context": 10_000}, "was trained for"),
        (0, {"context": 10_000}, "was trained for"),
        (0, {"context": 0}, "context"),
        (0, {"threads": 0}, "threads"),
        (0, {"library": Path("lib.so")}, r"runs \.gguf files"),
    ],
)
def test_options_that_do_not_fit_are_refused(which, options, words, names):
    with pytest.raises(ValueError, match=words):
        load_draft(names[which], **options)


def test_no_other_option_is_taken(names):
    for name in names:
        with pytest.raises(TypeError):
            load_target(name, quantised=True)


def test_a_long_context_is_taken_on_request_alone(tmp_path):
    file, _ = tiny_gguf(tmp_path, context=20_000)
    assert load_draft(file).engine.facts.context == 8192
    assert load_draft(file, context=9000).engine.facts.context == 9000
    assert load_draft(tmp_path).engine.facts.context == 20_000


def test_a_file_needs_no_torch(names):
    code = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'transports')]!r}\n" + (
        "sys.modules.update(torch=None, transformers=None, tokenizers=None)\n"
        f"from tslt_runtime.loading import load_draft, load_target\n"
        f"load_draft({names[1]!r}), load_target({names[1]!r})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
