"""The bytes-per-token benchmark: formats read back what they write, and the whole program runs on a tiny pair."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from tslt_benchmarks.bytes import bytes_per_token, bytes_plot
from tslt_benchmarks.bytes.format_base import Bitstream, FormatError
from tslt_benchmarks.bytes.formats import TsltFrame, TsltList, formats, list_formats
from tslt_benchmarks.bytes.measurement import Measured
from tslt_benchmarks.bytes.other_formats import (
    Dense,
    Lattice,
    OpenAiJson,
    Paper,
    PublishedBound,
    Raw,
    TokenList,
    lattice_size,
)
from tslt_benchmarks.drafting import Settings, make_drafts, token_bytes
from tslt_benchmarks.drafts import load_drafts, save_drafts
from tslt_benchmarks.pairs import Models
from tslt_benchmarks.prompts import read_prompts

from tslt_runtime.tokenizer import tokenizer_of

VOCAB = 300
BYTES = tuple(bytes([i]) if i < 256 else f"token {i}".encode() for i in range(VOCAB))
LISTS = list_formats(BYTES)
STREAMS = [f for f in LISTS if isinstance(f, Bitstream)]


def random_logits(seed: int, vocab: int = VOCAB) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, vocab).astype(np.float32)


def save_tiny_pair(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(read_prompts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    for name, layers in (("target", 2), ("draft", 1)):
        config = LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=2,
            initializer_range=0.3,
            bos_token_id=0,
            eos_token_id=1,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(layers)
            LlamaForCausalLM(config).save_pretrained(folder / name)
    for name in ("target", "draft"):
        fast.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return save_tiny_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def drafts(pair):
    return made(pair)


def made(pair):
    models = Models.load(pair / "target", pair / "draft", self_check=False)
    return make_drafts(models, Settings(lists=20, rounds=4, tokens=10), read_prompts()[:5])


@pytest.mark.parametrize("k", [1, 8, 32, VOCAB])
@pytest.mark.parametrize("row", STREAMS, ids=lambda f: f.name)
def test_streams_read_back_what_they_wrote(row, k):
    for seed in range(5):
        item = row.prepare(random_logits(seed), k=k, temperature=0.9)
        back = row.decode(row.encode(item))
        assert row.same(item, back)
        assert row.size(item) == len(row.encode(item))
        assert row.same(back, item)
        (decoded,) = row.lists(back)
        assert decoded.probs.sum() == pytest.approx(1)
        assert len(decoded.ids) == (VOCAB if row.group == "dense" else k)
        assert (np.diff(decoded.ids) > 0).all()


@pytest.mark.parametrize("row", LISTS, ids=lambda f: f.name)
def test_what_is_decoded_is_near_the_truncated_softmax(row):
    logits = random_logits(7)
    probs = np.exp(logits.astype(float) - logits.max())
    kept = np.argsort(-probs)[: VOCAB if row.group == "dense" else 16]
    exact = np.zeros(VOCAB)
    exact[kept] = probs[kept] / probs[kept].sum()
    (decoded,) = row.lists(row.prepare(logits, k=16, temperature=1.0))
    dense = np.zeros(VOCAB)
    dense[decoded.ids] = decoded.probs
    coarse = {"tslt_log2_0": 0.2, "tslt_log2_1": 0.1, "tslt_log2_2": 0.06, "tslt_log2_3": 0.03, "tslt_log2_4": 0.02}
    coarse |= {"distillkit": 0.02, "dense_int8": 0.02, "qs_240": 0.3, "qs_720": 0.1}
    name = row.name.removeprefix("dense_").removesuffix("_range").removesuffix("_zstd").replace("ideal", "tslt")
    tolerance = {"published_bound": 0.05, **coarse}.get(name, 0.005)
    assert 0.5 * np.abs(dense - exact).sum() < tolerance


def test_a_stream_that_does_not_read_back_is_an_error():
    class Lossy(Raw):
        def decode(self, data: bytes) -> TokenList:
            back = super().decode(data)
            return TokenList(back.ids, back.values * np.float16(0.5))

    row = Lossy(VOCAB)
    with pytest.raises(FormatError, match="did not read back"):
        row.size(row.prepare(random_logits(0), k=8, temperature=1.0))


def test_sizes_that_are_known_from_the_format():
    logits = random_logits(1, 32_000)
    sizes = {
        row.name: row.size(row.prepare(logits, k=32, temperature=1.0))
        for row in (Raw(32_000), Paper(32_000), Dense(32_000, "fp16"), Dense(32_000, "fp32"), PublishedBound(32_000))
    }
    assert sizes["raw"] == 32 * 6
    assert sizes["paper"] == 32 * (15 + 16) / 8
    assert (sizes["dense_fp16"], sizes["dense_fp32"]) == (64_000, 128_000)
    assert sizes["published_bound"] == pytest.approx(
        (math.log2(math.comb(32_000, 32)) + math.log2(math.comb(131, 31))) / 8
    )


def test_ksqs_formula_gives_the_published_figures():
    # V = 151,936, l = 100: 19.6, 36.5 and 66.6 bytes, computed apart from this code.
    row = PublishedBound(151_936)
    for k, expected in ((8, 19.6), (16, 36.5), (32, 66.6)):
        item = row.prepare(random_logits(2, 151_936), k=k, temperature=1.0)
        assert item.parts.sum() == 100
        assert row.size(item) == pytest.approx(expected, abs=0.06)
    assert [lattice_size(k) for k in (8, 32, 64, 320)] == [100, 100, 256, 1280]
    one = Lattice(10, np.array([3], np.int32), np.array([100]))
    assert row.lists(one)[0].probs.tolist() == [1.0]


def test_openai_json_has_the_shape_of_top_logprobs():
    row = OpenAiJson(BYTES)
    entries = json.loads(row.encode(row.prepare(random_logits(3), k=5, temperature=1.0)))
    assert [list(entry) for entry in entries] == [["token", "logprob", "bytes"]] * 5
    logprobs = [entry["logprob"] for entry in entries]
    assert logprobs == sorted(logprobs, reverse=True)
    assert max(logprobs) < 0


def test_names_are_unique_and_fit_the_machine_readable_line():
    names = [f.name for f in formats(BYTES)]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() and name == name.lower() for name in names)
    assert {"paper", "msgpack", "tslt_log2_2", "published_bound", "chain_log2_2", "tree_log2_2"} <= set(names)


def test_token_bytes_are_distinct_and_right(pair):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(pair / "target")
    table = token_bytes(tokenizer_of(tokenizer), VOCAB + 3)
    assert len(set(table)) == len(table) == VOCAB + 3
    text = "The goose, \u00e9\n"
    ids = tokenizer(text)["input_ids"][1:]
    assert b"".join(table[token] for token in ids) == text.encode()


def test_drafts_are_what_the_models_say(pair, drafts):
    model = LlamaForCausalLM.from_pretrained(pair / "draft").eval()
    for rounds, parents in ((drafts.chains(), 4), (drafts.trees(), 7)):
        assert len(rounds) == 4
        for made in rounds:
            assert made.draft.shape == made.target.shape == (parents, VOCAB)
            for node, row in zip(made.tree.inner, made.draft, strict=True):
                path = [made.tree.tokens[n] for n in made.tree.path(node)]
                with torch.no_grad():
                    logits = model(torch.tensor([[*made.prefix, *path]])).logits[0, -1].numpy()
                np.testing.assert_allclose(row, logits, atol=1e-4)
                best = set(np.argsort(-row)[:8].tolist())
                assert {made.tree.tokens[n] for n in made.tree.children(node)} <= best


def test_positions_continue_with_what_the_target_sampled(drafts):
    positions = drafts.positions
    assert positions.draft.shape == positions.target.shape == (20, VOCAB)
    assert (positions.index >= 0).all()
    assert (positions.index <= 10).all()
    assert drafts.meta["continuation_tokens"] <= 50


def test_equal_settings_make_equal_drafts_and_files_keep_them(pair, drafts, tmp_path):
    again = make_drafts(
        Models.load(pair / "target", pair / "draft", self_check=False),
        Settings(lists=20, rounds=4, tokens=10),
        read_prompts()[:5],
    )
    save_drafts(again, tmp_path / "d.npz")
    back = load_drafts(tmp_path / "d.npz")
    for one in (again, back):
        assert one.prefixes == drafts.prefixes
        assert one.token_bytes == drafts.token_bytes
        assert one.meta == drafts.meta
        np.testing.assert_array_equal(one.round_tokens, drafts.round_tokens)
        np.testing.assert_array_equal(one.round_draft, drafts.round_draft)
        np.testing.assert_array_equal(one.round_target, drafts.round_target)
        for field in ("draft", "target", "prompt", "index", "token"):
            np.testing.assert_array_equal(getattr(one.positions, field), getattr(drafts.positions, field))


def test_frames_cost_their_lists_and_little_more(drafts):
    for row in formats(drafts.token_bytes):
        if not isinstance(row, TsltFrame):
            continue
        single = TsltList(VOCAB, row.precision, row.profile.entropy)
        for source in row.rounds(drafts):
            item = row.prepare(source, k=16, temperature=1.0)
            assert row.tokens(item) == (4 if row.shape == "chain" else 14)
            lists = sum(single.size(q) for q in item.evidence.lists.values())
            assert row.size(item) < lists + 24
            # Range-coded lists of a frame lean on each other.
            assert row.profile.entropy == "range" or lists < row.size(item)


def test_frames_at_low_temperature_replace_tokens_that_no_list_can_hold(drafts):
    row = next(f for f in formats(drafts.token_bytes) if isinstance(f, TsltFrame) and f.shape == "tree")
    for source in row.rounds(drafts):
        row.size(row.prepare(source, k=8, temperature=0.02))


def test_program(pair, tmp_path, capsys):
    ks = ["8", "32", "320"]  # the last is more than V
    argv = ["--target", str(pair / "target"), "--draft", str(pair / "draft"), "--drafts", str(tmp_path / "d.npz")]
    argv += ["--lists", "12", "--rounds", "3", "--tokens", "6", "--k", *ks, "--temperature", "1", "0.7", "--seed", "5"]
    argv += ["--json", str(tmp_path / "b.json"), "--png", str(tmp_path / "b.png")]
    bytes_per_token.main(argv)
    printed = capsys.readouterr().out
    last = printed.strip().splitlines()[-1]
    assert last.startswith("bytes_per_token: T=1 K=32 ")
    cells = dict(cell.split("=") for cell in last.split()[1:])
    assert "JSON, [logprob, id, null]" in printed
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")

    result = json.loads((tmp_path / "b.json").read_text())
    assert set(result) == {"benchmark", "schema", "unit", "settings", "drafts", "versions", "figures"}
    assert result["settings"] == {"k": [8, 32, 320], "temperatures": [1.0, 0.7]}
    assert result["drafts"]["settings"]["seed"] == 5
    assert {"tslt_wire", "numpy", "python", "torch"} <= set(result["versions"])
    keys = set(Measured.__dataclass_fields__)
    assert all(set(figure) == keys for figure in result["figures"])
    names = [f.name for f in formats(BYTES)]
    assert {figure["format"] for figure in result["figures"]} == set(names) == set(cells) - {"T", "K"}
    for figure in result["figures"]:
        assert 0 < figure["alpha"] <= 1
        assert 0 < figure["bytes_min"] <= figure["bytes"] * (1 + 1e-12) <= figure["bytes_max"] * (1 + 1e-9)
        if figure["k"] == 32 and figure["temperature"] == 1:
            assert float(cells[figure["format"]]) == pytest.approx(figure["bytes"], abs=0.006)

    # A second run reads the drafts, whatever the settings say, and finds the same.
    bytes_per_token.main(["--drafts", str(tmp_path / "d.npz"), "--k", "32", "--lists", "1"])
    assert capsys.readouterr().out.strip().splitlines()[-1] == last


def test_a_missing_model_is_said_in_a_sentence(tmp_path):
    with pytest.raises(SystemExit, match="no model in"):
        bytes_per_token.main(["--target", str(tmp_path), "--draft", str(tmp_path)])


def test_labels_keep_their_distance():
    for seed in range(20):
        wanted = np.sort(np.random.default_rng(seed).normal(0, 0.1, 12)).tolist()
        moved = bytes_plot._spread(wanted, 0.05)
        assert (np.diff(moved) >= 0.05 - 1e-12).all()
        assert np.mean(moved) == pytest.approx(np.mean(wanted))
    assert bytes_plot._spread([0.0, 1.0, 2.0], 0.1) == [0.0, 1.0, 2.0]
