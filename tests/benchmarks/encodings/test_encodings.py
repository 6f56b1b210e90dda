"""Encodings at equal acceptance, messages of other systems, transports: sizes against what is published."""

from __future__ import annotations

import ast
import asyncio
import json
import math
from pathlib import Path

import numpy as np
import pytest
from byte_tokenizer import save_byte_level_pair
from tslt_benchmarks.bytes.format_base import FormatError
from tslt_benchmarks.bytes.formats import list_formats
from tslt_benchmarks.bytes.quantised_formats import DenseInt8, DistillKit, QuantizedWhole
from tslt_benchmarks.encodings import encodings, lossless
from tslt_benchmarks.encodings.equal_acceptance import PARTS, Samples, bytes_for, level, resampled, text_error
from tslt_benchmarks.encodings.equal_acceptance import token_bytes_of as token_bytes
from tslt_benchmarks.encodings.message_sizes import HAT_HIDDEN, expected
from tslt_benchmarks.encodings.peer_layouts import Drafted, Ended
from tslt_benchmarks.encodings.peer_messages import (
    Dssd,
    PaperTslt,
    PipeSd,
    PipeSdLazy,
    SglangDecoupled,
    SpecEdge,
    SpecSplit,
    VanillaDsd,
    peer_layouts,
)
from tslt_benchmarks.encodings.transport_bytes import measure_transports
from tslt_benchmarks.meters import TcpMeter

import tslt_wire as tw

ROOT = Path(__file__).resolve().parents[3]


def drafted(tree: tw.TokenTree, vocab_size: int, seed: int = 0) -> Drafted:
    rng = np.random.default_rng(seed)
    rows = rng.exponential(size=(2, len(tree.inner), vocab_size)) ** 4
    rows /= rows.sum(axis=2, keepdims=True)
    return Drafted(tuple(range(1, 101)), tree, rows[0], rows[1])


def chain(count: int, vocab_size: int = 500, seed: int = 0) -> Drafted:
    tokens = np.random.default_rng(seed).integers(vocab_size, size=count)
    return drafted(tw.TokenTree.chain(tokens.tolist()), vocab_size, seed)


def tree_of(expansion: tuple[int, ...], vocab_size: int) -> Drafted:
    count = int(np.cumprod(expansion).sum())
    return drafted(tw.TokenTree.expand([7 * n % vocab_size for n in range(count)], expansion), vocab_size)


# ---------------------------------------------------------------------------------------------------------------- peers


@pytest.mark.parametrize("layout", peer_layouts(500), ids=lambda layout: layout.name)
def test_messages_of_other_systems_read_back(layout):
    for said in [chain(4, seed=seed) for seed in range(3)] + ([tree_of((2, 2, 2), 500)] if layout.trees else []):
        kept, lost = layout.sizes(said, Ended(4, False, 5)), layout.sizes(said, Ended(1, True, 5))
        assert kept[0] == len(layout.up(said))
        assert min(*kept, *lost) > 0


def test_a_message_that_does_not_read_back_is_an_error():
    class Wrong(Dssd):
        def read_up(self, data, shape):
            return super().read_up(data, shape)[1:]

    with pytest.raises(FormatError, match="dssd: 24 bytes"):
        Wrong().size_up(chain(4))


def test_specedge_sends_what_was_counted_in_its_code():
    # 32 nodes and their root: 4 arrays of int64, the parents' without the root; 33 rows of 2,048 float16.
    size = SpecEdge().size_up(chain(32))
    assert 136_216 == 8 * (33 * 3 + 32) + 33 * 2048 * 2
    assert 0 < size - 136_216 < 32  # protobuf's tags and lengths


def test_pipesd_sends_nine_bytes_a_probability():
    said = chain(4, 32_256)
    size = PipeSd().size_up(said)
    assert size / 4 == pytest.approx(9 * 32_256, rel=0.001)  # 0.29 MB a token
    lazy = PipeSdLazy()
    few, many = (lazy.size_up(chain(count, 32_256)) for count in (4, 12))
    assert (many - few) / 8 == pytest.approx(12, abs=0.5)  # an id of 3 bytes, a float64 of 9
    assert 180 < few - 4 * 12 < 230  # the envelope
    up, _ = lazy.sizes(said, Ended(1, True, 5))
    assert up - lazy.size_up(said) == pytest.approx(126 * 1024, abs=120)


def test_specsplit_repeats_64_ids_and_probabilities_for_every_node():
    few, many = (SpecSplit().size_up(chain(count, 151_936)) for count in (2, 10))
    assert 430 < (many - few) / 8 < 470
    siblings = SpecSplit().size_up(tree_of((2,), 500))
    assert siblings > 2 * 64 * 5  # both children have the list of their one parent


def test_the_papers_messages():
    # K (ceil(log2 V) + 16) bits a list, eq. (3); seven lists of a <2,2,2> tree; ids of 15 bits for its 14 nodes.
    assert PaperTslt(320).size_up(tree_of((2, 2, 2), 32_000)) == math.ceil((7 * 320 * 31 + 14 * 15) / 8)
    assert VanillaDsd().size_up(chain(4, 32_000)) == 4 * (64_000 + 4)
    assert Dssd().sizes(chain(4, 32_000), Ended(4, False, 5)) == (24, 5)
    assert Dssd().sizes(chain(4, 32_000), Ended(2, True, 5)) == (24, 1 + 64_000)


def test_a_pickle_names_the_classes_of_sglang():
    data = SglangDecoupled().up(chain(1))
    for name in ("sglang.srt.speculative.decoupled_spec_io", "DraftTailStreamOutputBatch", "new_token_id"):
        assert name.encode() in data
    assert SglangDecoupled().size_up(chain(4)) == pytest.approx(4 * len(data), abs=4)


# ------------------------------------------------------------------------------------------------- formats and formulas


def test_published_sizes_of_quantised_formats():
    # DistillKit's README: k = 128 of V = 128,256 with 16 exact and six terms: 32 + 24 + 128 * 17 / 8 bytes.
    logits = np.random.default_rng(0).normal(0, 3, 128_256).astype(np.float32)
    row = DistillKit(128_256)
    assert row.size(row.prepare(logits, k=128, temperature=1.0)) == 32 + 24 + 272
    # arXiv 2507.00605, V = 50,272: 276 bytes with l = 240, 683 with l = 720.
    for parts, size in ((240, 276), (720, 683)):
        formula = QuantizedWhole(50_272, parts)
        item = formula.prepare(logits[:50_272], k=0, temperature=1.0)
        assert item.parts.sum() == parts
        assert formula.size(item) == pytest.approx(size, abs=1)
    dense = DenseInt8(300)
    assert dense.size(dense.prepare(logits[:300], k=0, temperature=1.0)) == 300 + 8


def test_every_proof_that_is_named_is_there():
    names = [row.name for row in list_formats(tuple(b"%d" % i for i in range(300)))]
    proofs = {lossless.proof_of(name) for name in [*names, *lossless.PROOFS]}
    tests = sorted(proof for proof in proofs if "::" in proof)
    assert len(tests) >= 5
    for proof in tests:
        file, _, name = proof.partition("::")
        functions = {n.name for n in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(n, ast.FunctionDef)}
        assert name in functions
    others = {lossless.short_proof(proof) for proof in proofs if "::" not in proof}
    assert others == {"yes", "no", "if the protocol is"}
    assert {lossless.short_proof(layout.lossless) for layout in peer_layouts(300)} == {"yes", "no"}


# ---------------------------------------------------------------------------------------------------- equal acceptance


def test_bytes_are_interpolated_between_the_ks_around_a_level():
    sizes, alphas, ks = np.array([10.0, 40.0, 160.0]), np.array([0.2, 0.4, 0.6]), (1, 4, 16)
    assert bytes_for(sizes, alphas, ks, 0.5) == (pytest.approx(80), pytest.approx(8))
    assert bytes_for(sizes, alphas, ks, 0.1) == (10, 1)
    assert bytes_for(sizes, alphas, ks, 0.7) is None
    # Acceptance may fall again: the first K that reaches the level counts.
    assert bytes_for(sizes, np.array([0.2, 0.6, 0.5]), ks, 0.4) == (pytest.approx(20), pytest.approx(2))


def test_errors_are_those_of_texts():
    text = np.repeat([0, 1, 2, 3], 5)
    values = np.repeat([0.1, 0.3, 0.5, 0.7], 5)
    assert text_error(values, text) == pytest.approx(np.std([0.1, 0.3, 0.5, 0.7]) / 2)
    weights = resampled(text, 20, 0)
    assert weights.sum(axis=1) == pytest.approx(1)
    assert (np.diff(weights.reshape(20, 4, 5), axis=2) == 0).all()  # whole texts count, or do not
    assert len({row.tobytes() for row in weights}) > 5
    whole = np.full(20, 0.8)
    samples = Samples((), np.full((20, 1), 7.0), np.full((20, 1), 0.8))
    found = level(samples, whole, 0.9, resampled(text, 20, 0))
    assert (found.bytes, found.bytes_se, found.k) == (pytest.approx(7), pytest.approx(0), None)
    assert found.alpha == pytest.approx(0.72)


def test_tokens_that_a_round_brings():
    text = np.repeat([0, 1], 3)
    tokens, error, whole = expected(text, np.full((4, 2), 0.5))
    assert (tokens, error, whole) == (1 + 0.5 + 0.25, 0, 0.25)


def test_a_token_of_evidence_without_lists_costs_its_id_and_code():
    assert token_bytes("match", 32_000) == token_bytes("coupled", 32_000) == pytest.approx(15 / 8, abs=0.04)
    assert token_bytes("scalar", 32_000) == pytest.approx((15 + 12) / 8, abs=0.04)


# ----------------------------------------------------------------------------------------------------------- transports


def test_what_transports_add_is_counted():
    found = {(a.transport, a.up): a for a in measure_transports([(40, 20), (4000, 20)], ["udp", "tcp", "tls", "curve"])}
    udp, tcp, tls, curve = (found[name, 40] for name in ("udp", "tcp", "tls", "curve"))
    assert (udp.framing_up, udp.packets_up, udp.headers_up) == (0, 1, 28)
    assert found["udp", 4000].packets_up == 4
    assert (tcp.framing_up, tcp.framing_down) == (0, 0)
    assert (tls.framing_up, tls.framing_down) == (22, 22)  # 5 of a record, its type, 16 of a tag (RFC 8446)
    assert curve.framing_up == curve.framing_down == 35  # flags and length; MESSAGE, nonce and box (RFC 26)
    if tcp.packets_up:  # where the system says
        assert tcp.headers_up == pytest.approx(52, abs=13)
        assert found["tcp", 4000].packets_up >= 3
    assert tls.opening_down > 500  # a certificate came


def test_a_meter_of_streams_carries_and_counts():
    async def run():
        async def answer(reader, writer):
            writer.write((await reader.readexactly(10)) * 3)

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        meter = TcpMeter(server.sockets[0].getsockname()[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", await meter.open())
        writer.write(b"0123456789")
        assert await reader.readexactly(30) == b"0123456789" * 3
        counted = meter.counted()
        writer.close()
        await meter.close()
        server.close()
        return counted

    counted = asyncio.run(run())
    assert (counted.up, counted.down) == (10, 30)


# -------------------------------------------------------------------------------------------------------------- program


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = save_byte_level_pair(tmp_path_factory.mktemp("encodings"))
    files = {name: folder / f"{name}.out" for name in ("json",)} | {
        name: folder / f"{name}.png" for name in ("png", "messages-png")
    }
    argv = ["--quick", "--target", str(folder / "target"), "--draft", str(folder / "draft")]
    encodings.main([*argv, *(str(part) for name, path in files.items() for part in (f"--{name}", path))])
    for name in ("png", "messages-png"):
        assert files[name].read_bytes().startswith(b"\x89PNG")
    return json.loads(files["json"].read_text())


def test_document(ran):
    assert (ran["benchmark"], ran["schema"]) == ("encodings", encodings.SCHEMA_VERSION)
    for curve in ran["curves"]:
        assert len(curve["bytes"]) == len(curve["alpha"]) == max(1, len(curve["ks"]))
        assert [found["part"] for found in curve["levels"]] == list(PARTS)
        reached = [found["bytes"] for found in curve["levels"] if found["bytes"] is not None]
        assert reached == sorted(reached)
    by_name = {curve["format"]: curve for curve in ran["curves"]}
    assert {"json", "orjson", "cbor", "safetensors", "protobuf", "paper", "scalar", "tslt_default"} <= set(by_name)
    whole = by_name["dense_fp32"]["alpha"][0]
    assert by_name["scalar"]["alpha"][0] == pytest.approx(whole, abs=0.01)
    assert all(curve["alpha"][-1] < whole + 0.05 for curve in ran["curves"] if curve["group"] == "list")


def test_messages_of_all_systems(ran):
    chains = {row["system"]: row for row in ran["messages"] if row["shape"] == "chain of 4"}
    peers = {"vanilla_dsd", "dssd", "pipesd", "specedge", "specsplit", "sglang_decoupled", "hat"}
    assert {"tslt_scalar", "tslt_coupled"} | peers <= set(chains)
    assert chains["hat"]["up"] == 4 * 2 * HAT_HIDDEN
    assert not chains["hat"]["measured"]
    for row in ran["messages"]:
        assert 1 <= row["tokens"] <= (5 if row["shape"] == "chain of 4" else 4)
        assert row["up_per_emitted"] == pytest.approx(row["up"] / row["tokens"])
        assert row["up_per_drafted"] == pytest.approx(row["up"] / row["nodes"])
    assert chains["tslt_scalar"]["up"] < chains["dssd"]["up"] + 12
    assert chains["pipesd_lazy"]["trips"] > 1
    assert {row["transport"] for row in ran["transports"]} == {"udp", "tcp", "tls", "http", "zmq", "curve", "quic"}
