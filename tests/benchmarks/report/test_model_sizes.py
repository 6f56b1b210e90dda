"""Parameters and vocabulary of a model by its files, and what of the weights a pass multiplies with."""

from __future__ import annotations

import pytest
from gguf_models import needs_llamacpp, tiny_folder
from tslt_benchmarks.model_sizes import multiplied, size_of

from tslt_runtime.commands.convert import convert


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """(folder, module) of a small model."""
    folder = tmp_path_factory.mktemp("model")
    return folder, tiny_folder(folder)


def test_of_a_folder(model):
    folder, module = model
    of_file = {name: tensor.numel() for name, tensor in module.state_dict().items()}
    if module.config.tie_word_embeddings:
        del of_file["lm_head.weight"]
    assert size_of(folder).parameters == sum(of_file.values())
    assert size_of(folder).vocab_size == 300
    assert str(size_of(folder)).endswith(" parameters, 300 tokens")
    assert multiplied(folder) == size_of(folder).parameters - of_file["model.embed_tokens.weight"]


@needs_llamacpp
def test_a_file_of_the_same_model_has_as_many(model, tmp_path):
    convert(model[0], tmp_path / "tiny.gguf", dtype="float32")
    assert size_of(tmp_path / "tiny.gguf") == size_of(model[0])


def test_a_folder_without_weights(tmp_path):
    (tmp_path / "config.json").write_text('{"vocab_size": 3}')
    with pytest.raises(FileNotFoundError, match="has no safetensors"):
        size_of(tmp_path)
