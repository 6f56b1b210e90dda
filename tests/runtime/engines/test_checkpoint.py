"""Checkpoints that cannot be served: each is refused in one line that says what to do."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from default_pair import pair_folder
from safetensors.torch import load_file, save_file
from tiny_llama import tiny_llama
from tokenizers import Tokenizer, models
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast

from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.engines.transformers.checkpoint import load_tokenizer
from tslt_runtime.engines.transformers.draft import DraftModel

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "whole"
    tiny_llama(vocab_size=20, layers=2, tied=True).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(20)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "broken")


def refused(load, *arguments, **options):
    with pytest.raises(EngineError) as caught:
        load(*arguments, **options)
    said = str(caught.value)
    assert "\n" not in said
    return said


def lacking(folder):
    weights = load_file(folder / WEIGHTS)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def of_another_width(folder):
    weights = load_file(folder / WEIGHTS)
    weights["model.norm.weight"] = torch.ones(7)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def cut_short(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def pickled(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def gguf(folder):
    (folder / WEIGHTS).rename(folder / "model.gguf")


def without_weights(folder):
    (folder / WEIGHTS).unlink()


def without_configuration(folder):
    (folder / "config.json").unlink()


def no_json(folder):
    (folder / "config.json").write_text("{")


def of_an_unknown_kind(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "abacus", "architectures": ["Abacus"]}))


def of_a_kind_that_writes_nothing(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "vit", "architectures": ["ViTModel"]}))


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lacking, ("lacks 1 of its model's weights", "model.layers.1.mlp.up_proj.weight", "get them again")),
        (of_another_width, ("has 1 weights of another shape", "model.norm.weight", "get them again")),
        (cut_short, ("damaged .safetensors file", "get it again")),
        (pickled, ("pickles (.bin)", "save_pretrained")),
        (gguf, ("GGUF", "safetensors")),
        (without_weights, ("no .safetensors file",)),
        (without_configuration, ("no config.json",)),
        (no_json, ("cannot be read", "config.json")),
        (of_an_unknown_kind, ("cannot be read", "abacus")),
        (of_a_kind_that_writes_nothing, ("cannot be read",)),
    ],
)
def test_a_broken_checkpoint(breaks, said, folder):
    breaks(folder)
    found = refused(DraftModel.load, folder)
    for words in (str(folder), *said):
        assert words in found


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "a/b/c"])
def test_a_wrong_path(name):
    assert refused(DraftModel.load, name) == f"there is no folder {name}"


def test_a_file_in_the_place_of_a_folder(folder):
    assert "name the folder" in refused(DraftModel.load, folder / WEIGHTS)
    (folder / "it.gguf").touch()
    assert "GGUF" in refused(DraftModel.load, folder / "it.gguf")


def test_a_hub_id_that_is_not_there():
    said = refused(DraftModel.load, "nobody/nothing", local_files_only=True)
    assert "nobody/nothing is neither a folder here nor to be had from the hub" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(whole):
    assert "cpu always is" in refused(DraftModel.load, whole, device="cuda")


def test_a_device_that_nobody_knows(whole):
    assert "abacus is no device" in refused(DraftModel.load, whole, device="abacus")


def test_an_architecture_without_sdpa_is_not_told_of_options_that_are_not_here(tmp_path):
    config = Gemma2Config(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8
    )
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    found = refused(DraftModel.load, tmp_path)
    assert found.startswith("gemma2: only full attention is served here, not sliding_attention; a GGUF file")


@pytest.mark.parametrize("named", ["</s>", 1.5])
def test_a_configuration_with_a_value_of_another_type(named, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": named}))
    assert "cannot be read" in refused(DraftModel.load, folder)


def test_a_whole_one_loads_in_its_own_dtype(folder):
    assert DraftModel.load(folder).facts.dtype == "float32"
    tiny_llama(vocab_size=20, layers=1).to(torch.bfloat16).save_pretrained(folder)
    assert DraftModel.load(folder).facts.dtype == "bfloat16"
    assert DraftModel.load(folder, dtype="float32").facts.dtype == "float32"


def test_the_pair_that_ships_is_float16_on_disk_and_run_in_float32():
    assert DraftModel.load(pair_folder("draft")).facts.dtype == "float32"
    assert {weight.dtype for weight in load_file(pair_folder("draft") / WEIGHTS).values()} == {torch.float16}


@pytest.mark.parametrize(("there", "said"), [("tokenizer.model", "tokenizer.model alone"), (None, "no tokenizer.json")])
def test_a_folder_without_a_tokenizer_that_is_read(there, said, folder):
    (folder / "tokenizer.json").unlink()
    if there:
        (folder / there).touch()
    found = refused(load_tokenizer, folder)
    assert said in found
    assert "sentencepiece" in found


def test_a_broken_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{")
    assert f"the tokenizer of {folder} cannot be read" in refused(load_tokenizer, folder)
