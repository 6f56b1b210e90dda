"""GGUF files and the library: what is converted, what is read from them, and what is refused with advice."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from chat_models import TEMPLATE, chat_folder
from default_pair import pair_folder
from engine_rounds import TargetRounds
from gguf_models import byte_level_tokenizer, needs_llamacpp, pair_gguf, tiny_folder
from transformers import AutoTokenizer
from tslt_benchmarks.prompts import PROMPTS, read_prompts

import tslt_wire as tw
from tslt_runtime.chat.template import TemplateError, template_of
from tslt_runtime.commands import convert as command
from tslt_runtime.commands.convert import convert, interleaved
from tslt_runtime.engines.llamacpp import library
from tslt_runtime.engines.llamacpp.target import LlamaTarget
from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.fingerprint import vocabulary_of
from tslt_runtime.incremental_decoding import IncrementalDecoder
from tslt_runtime.tokenizer import tokenizer_of

pytestmark = needs_llamacpp


@pytest.fixture(scope="module")
def pair_file(tmp_path_factory):
    return pair_gguf("draft", tmp_path_factory.mktemp("pair"), dtype="float16")


@pytest.fixture
def folder(tmp_path):
    tiny_folder(tmp_path)
    return tmp_path


def edit(path, **changes):
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | changes))


# ---------------------------------------------------------------------------------------------------- the vocabulary


def test_a_file_has_its_folders_fingerprint(pair_file):
    tokenizer = AutoTokenizer.from_pretrained(pair_folder("draft"))
    model = LlamaTarget(pair_file)
    assert vocabulary_of(model.vocabulary, vocab_size=32_000) == vocabulary_of(tokenizer, vocab_size=32_000)


def test_fillers_behind_the_tokenizer_do_not_count(folder):
    convert(folder, folder / "m.gguf")
    model = LlamaTarget(folder / "m.gguf")
    texts = byte_level_tokenizer([["h", "e"], ["Ġ", "t"], ["Ġt", "he"]])["model"]["vocab"]
    assert model.vocabulary.get_vocab() == texts
    assert len(texts) < model.vocab_size == 300


# ----------------------------------------------------------------------------------------------- its sampling settings


def test_the_sampling_settings_of_a_folder_go_into_its_file(folder):
    said = {"temperature": 0.6, "top_k": 20, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.05, "do_sample": True}
    edit(folder / "generation_config.json", **said, suppress_tokens=[5], no_repeat_ngram_size=3)
    left = convert(folder, folder / "m.gguf")
    assert len(left) == 2
    assert "no_repeat_ngram_size = 3 is not applied" in left[0]
    assert "suppress_tokens is left behind" in left[1]
    facts = LlamaTarget(folder / "m.gguf").facts
    del said["do_sample"]
    assert facts.sampling == tw.Sampling(**said)
    assert facts.not_applied == ()


def test_a_greedy_folder_makes_a_greedy_file(folder):
    edit(folder / "generation_config.json", do_sample=False)
    assert convert(folder, folder / "m.gguf") == ()
    assert LlamaTarget(folder / "m.gguf").facts.sampling == tw.Sampling(temperature=0)


def test_a_file_without_settings_has_none(pair_file):
    assert LlamaTarget(pair_file).facts.sampling == tw.Sampling()


def test_what_a_file_says_and_no_edge_applies_is_said(folder, monkeypatch):
    import gguf

    def others(self, value):
        gguf.GGUFWriter.add_sampling_xtc_probability(self, 0.5)
        gguf.GGUFWriter.add_sampling_penalty_last_n(self, 256)

    edit(folder / "generation_config.json", repetition_penalty=1.05)
    monkeypatch.setattr(gguf.GGUFWriter, "add_name", others)
    write = gguf.GGUFWriter.add_sampling_penalty_last_n
    monkeypatch.setattr(gguf.GGUFWriter, "add_sampling_penalty_last_n", lambda self, n: n == 256 and write(self, n))
    convert(folder, folder / "m.gguf")
    facts = LlamaTarget(folder / "m.gguf").facts
    assert facts.sampling == tw.Sampling()
    assert len(facts.not_applied) == 2
    assert "general.sampling.xtc_probability" in facts.not_applied[0]
    assert "1.05 of the last 256 tokens" in facts.not_applied[1]


def test_text_is_cut_as_transformers_does_it(pair_file):
    tokenizer = AutoTokenizer.from_pretrained(pair_folder("draft"))
    vocabulary = LlamaTarget(pair_file).vocabulary
    for text in [*read_prompts(PROMPTS)[:40], "", " a  b\n\n\tc ", "naïve 🐕 日本 12345", "</s>"]:
        tokens = vocabulary.tokens_of(text)
        assert tokens == tokenizer(text)["input_ids"]
        assert vocabulary.text_of(tokens) == ("" if text == "</s>" else text)
    for call in (vocabulary.text_of, lambda tokens: vocabulary.is_silent(tokens[0])):
        with pytest.raises(ValueError, match="vocabulary"):
            call([32_000])


@pytest.mark.parametrize("kept_in", ["chat_template.jinja", "tokenizer_config.json", "several"])
def test_a_chat_template_goes_along(pair_file, tmp_path, kept_in):
    folder = chat_folder("draft", tmp_path)
    if kept_in != "chat_template.jinja":
        (folder / "chat_template.jinja").unlink()
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").unlink()
        named = [{"name": "tools", "template": "no"}, {"name": "default", "template": TEMPLATE}]
        settings["chat_template"] = TEMPLATE if kept_in != "several" else named
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    convert(folder, tmp_path / "chat.gguf", dtype="float16")
    own, plain = LlamaTarget(tmp_path / "chat.gguf").vocabulary, AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "system", "content": "Ü"}, {"role": "user", "content": "Who </s> lives?"}]
    ours = template_of(own)
    assert ours.digest == template_of(plain).digest
    wanted = plain.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ours.tokens(own, messages) == wanted
    assert own.special_tokens == {"bos_token": "<s>", "eos_token": "</s>"}
    with pytest.raises(TemplateError, match="no chat template"):
        template_of(LlamaTarget(pair_file).vocabulary)


def test_pieces_of_text_are_those_of_transformers(pair_file):
    """Characters over token borders, special tokens and bytes that are none, one token at a time."""
    plain, own = AutoTokenizer.from_pretrained(pair_folder("draft")), LlamaTarget(pair_file).vocabulary
    texts = ["naïve 🐕 日本 12345", "a</s>b", " x"]
    ids = [token for text in texts for token in own.tokens_of(text)]
    broken = own.tokens_of("🐕")[:1]
    decoders = IncrementalDecoder(plain, ids[:2]), IncrementalDecoder(own, ids[:2])
    for token in [*ids[2:], *broken * 3, *ids]:
        assert decoders[0].add([token]) == decoders[1].add([token])
    assert [own.is_silent(token) for token in (0, 1, ids[0])] == [
        tokenizer_of(plain).is_silent(token) for token in (0, 1, ids[0])
    ]


def test_fillers_have_no_text(folder):
    convert(folder, folder / "m.gguf")
    vocabulary = LlamaTarget(folder / "m.gguf").vocabulary
    silent = [token for token in range(vocabulary.size) if vocabulary.is_silent(token)]
    assert silent == [0, *range(len(vocabulary.get_vocab()), 300)]
    assert vocabulary.text_of(silent) == ""


# ------------------------------------------------------------------------------------------------------ the converter


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("tied", [False, True])
def test_weights_of_every_type_come_through(dtype, tied, tmp_path):
    module = tiny_folder(tmp_path, dtype=dtype, tied=tied, kv_heads=2, eos_token_id=[5, 2])
    convert(tmp_path, tmp_path / "m.gguf", dtype="float32")
    engine = LlamaTarget(tmp_path / "m.gguf", kv="float32")
    assert engine.facts.eos_tokens == (2, 5)
    ours, theirs = TargetRounds(engine), TargetRounds(TargetModel(module, model_id="tiny"))
    for text in (ours, theirs):
        text.set_prefix([1, 2, 3])
    tree = tw.TokenTree([7, 8, 9], [-1, -1, 0])
    assert float(np.abs(ours.score(tree) - theirs.score(tree)).max()) < 1e-4


def test_rows_of_queries_and_keys_change_places():
    # Two heads of four rows: halves (0 1 | 2 3) become neighbours (0 2) (1 3).
    assert interleaved(np.arange(8)[:, None], 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("config.json", {"model_type": "gemma"}, "convert_hf_to_gguf"),
        ("config.json", {"attention_bias": True}, "convert_hf_to_gguf"),
        ("config.json", {"rope_parameters": {"rope_type": "llama3"}}, "convert_hf_to_gguf"),
        (
            "config.json",
            {"rope_parameters": None, "rope_scaling": {"factor": 2}},
            "convert_hf_to_gguf",
        ),
        ("config.json", {"vocab_size": 20}, "vocabulary size is 20"),
        ("config.json", {"eos_token_id": [1, 2, 3, 4]}, "4 tokens that end a text"),
        ("tokenizer.json", {"normalizer": {"type": "NFC"}}, "GPT-2's kind"),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Metaspace"}}, "GPT-2's kind"),
    ],
)
def test_what_is_not_known_is_refused(name, changes, words, folder, capsys):
    edit(folder / name, **changes)
    assert command.main([str(folder), str(folder / "m.gguf")]) == 1
    assert words in capsys.readouterr().err
    assert not (folder / "m.gguf").exists()


def test_the_command(folder, capsys):
    assert command.main([str(folder), str(folder / "m.gguf"), "--dtype", "float32"]) == 0
    assert f"{(folder / 'm.gguf').stat().st_size} bytes" in capsys.readouterr().out
    assert LlamaTarget(folder / "m.gguf").facts.dtype == "float32"
    for arguments in ([str(folder / "nowhere"), "m.gguf"], [str(folder), str(folder / "no" / "m.gguf")]):
        with pytest.raises(SystemExit):
            command.main(arguments)
        assert "there is no" in capsys.readouterr().err
    config = json.loads((folder / "config.json").read_text())
    del config["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(config))
    assert command.main([str(folder), str(folder / "other.gguf")]) == 1
    assert (
        capsys.readouterr().err
        == f"convert: {folder} lacks 'num_attention_heads' in its config.json or tokenizer.json\n"
    )
    tiny_folder(folder)
    (folder / "model.safetensors").unlink()
    assert command.main([str(folder), str(folder / "other.gguf")]) == 1
    assert "no .safetensors file" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------- models and library


def test_files_that_are_no_models_are_refused(pair_file, tmp_path):
    (tmp_path / "text.gguf").write_text("hello")
    (tmp_path / "short.gguf").write_bytes(pair_file.read_bytes()[:1_000_000])
    for name in ("text.gguf", "short.gguf"):
        with pytest.raises(EngineError, match=rf"cannot load .*{name}"):
            LlamaTarget(tmp_path / name)
    with pytest.raises(EngineError, match="no file"):
        LlamaTarget(tmp_path / "nowhere.gguf")
    with pytest.raises(EngineError, match=r"one \.gguf file"):
        LlamaTarget(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kv": "int3"}, "kv"),
        ({"leaves": 0}, "leaves"),
        ({"leaves": 257}, "1 to 256 leaves"),
        ({"threads": 0}, "threads"),
        ({"context": 0}, "context"),
        ({"context": 2048}, "trained for 1024"),
    ],
)
def test_arguments_that_fit_no_model_are_refused(options, words, pair_file):
    with pytest.raises(ValueError, match=words):
        LlamaTarget(pair_file, **options)


def test_a_smaller_context_and_another_name(pair_file):
    assert LlamaTarget(pair_file).kv == "float16"
    facts = LlamaTarget(pair_file, context=100, model_id="mine", leaves=256).facts
    assert (facts.context, facts.model, facts.most_leaves, facts.dtype) == (100, "mine", 256, "float16")
    assert LlamaTarget(pair_file).facts.model == "draft-float16"


ADVICE = rf"pip install 'xllamacpp=={library.PACKAGE_VERSION}'"


def test_the_installed_build_is_the_one_that_is_known():
    assert importlib.metadata.version("xllamacpp") == library.PACKAGE_VERSION
    library.load_library()


def test_another_version_of_the_package_is_refused(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "2026.9.1")
    library.load_library.cache_clear()
    with pytest.raises(EngineError, match=f"2026.9.1 is another build.*{ADVICE}"):
        library.load_library()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineError, match=r"not installed: pip install 'tslt-wire\[llamacpp\]'"):
        library.load_library()


def test_another_library_is_refused(tmp_path):
    (tmp_path / "libllama.so").write_text("hello")
    for path in (tmp_path / "libllama.so", tmp_path / "nowhere.so"):
        with pytest.raises(EngineError, match=f"cannot be loaded as llama.cpp's library.*{ADVICE}"):
            library.load_library(path)
    with pytest.raises(EngineError, match=f"no library of llama.cpp.*{ADVICE}"):
        library.load_library(Path(ctypes.util.find_library("m") or "libm.so.6"))


class OtherBuild:
    """The installed library, but for one function."""

    def __init__(self, **functions):
        self.__dict__.update(functions)
        self._library = library.load_library()

    def __getattr__(self, name):
        return getattr(self._library, name)


def test_another_builds_version_or_layout_is_refused():
    class Function:
        def __init__(self, result):
            self.result = result

        def __call__(self):
            return self.result

    with pytest.raises(EngineError, match=f"llama_version 0.7.0, not .*{ADVICE}"):
        library.require_build(OtherBuild(llama_version=Function(b"0.7.0")), "lib")
    real = library.load_library().llama_context_default_params()

    class Roomy:
        known = real

    library.require_build(OtherBuild(llama_context_default_params=Function(Roomy)), "lib")
    # As where a field of four bytes was put in after n_batch.
    real.n_ubatch, real.n_seq_max, real.n_rs_seq = 0, 512, 1
    with pytest.raises(EngineError, match=rf"llama_context_default_params\(\)\.n_ubatch differs; .*{ADVICE}"):
        library.require_build(OtherBuild(llama_context_default_params=Function(Roomy)), "lib")
