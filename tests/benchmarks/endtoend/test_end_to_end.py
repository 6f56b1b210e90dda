"""End to end: the dial of made-up pairs, the ways reckoned by hand, and the command with tiny models."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM
from tslt_benchmarks.endtoend import dial, end_to_end
from tslt_benchmarks.endtoend.end_to_end import Measured, Proxy, Reckoner
from tslt_benchmarks.paper.rounds import Session, Spent, Way

from tslt_runtime.drafting import DraftSettings
from tslt_wire.throughput import Link

MEASURED = Measured(draft_s=0.01, target_s=0.05, single_s=0.04, draft_prompt_s=0.1, target_prompt_s=0.2)
PROXY = Proxy(device_pj=10, edge_pj=2, uplink_nj=500, downlink_nj=100)
LINK = Link(uplink_bit_s=8e3, downlink_bit_s=32e3, rtt_s=0.1)
VOCAB = 500


def rounds(name: str, *spent: Spent) -> Session:
    return Session(Way(name, None, DraftSettings()), spent, 0.0, 50.0)


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 0.999, 1.001), (0.15, 0.5, 0.95), (1.0, 0.05, 0.5)])
def test_acceptance_is_a_dial(noise, low, high, tmp_path):
    dial.save_pair(tmp_path, draft="tiny", target="tiny", noise=noise, seed=0, vocab_size=VOCAB)
    ids = torch.arange(40)[None]
    laws = []
    for name in ("target", "draft"):
        model = AutoModelForCausalLM.from_pretrained(tmp_path / name).eval()
        with torch.inference_mode():
            laws.append(model(ids).logits[0].double().softmax(-1).numpy())
    assert low <= np.minimum(*laws).sum(axis=1).mean() <= high
    entropy = -(laws[0] * np.log(np.maximum(laws[0], 1e-300))).sum(axis=1)
    assert 0.5 < entropy.mean() < 5


def test_a_session_by_hand():
    session = rounds("x", Spent(3, 4, 4, 100, 20, 1), Spent(5, 4, 4, 100, 20, 1))
    row = Reckoner(MEASURED, PROXY, (1000, 100)).session(session, LINK)
    # A round: 4 levels, a pass over a chain of four, 100 ms up, 5 ms down, 100 ms around.
    each = 4 * 0.01 + 0.05 + 0.1 + 0.005 + 0.1
    assert row.tokens_s == pytest.approx(4 / each)
    assert row.first_ms == pytest.approx(1e3 * (each + 0.3 + 0.05))
    assert (row.up, row.down, row.draft_passes, row.target_passes) == (25, 5, 1, 0.25)
    computing = 2e-12 * (1 * 100 * 10 + 1.25 * 1000 * 2)
    assert row.joules == pytest.approx(computing + 8e-9 * (25 * 500 + 5 * 100))


def test_the_edge_alone_by_hand():
    reckoner = Reckoner(MEASURED, PROXY, (1000, 100))
    plain = rounds("plain", Spent(1, 0, 0, 10, 20, 1))
    row = reckoner.edge_only(plain, LINK)
    assert row.tokens_s == pytest.approx(1 / 0.04)
    thin = Link(uplink_bit_s=8e3, downlink_bit_s=1600, rtt_s=0.1)
    assert reckoner.edge_only(plain, thin).tokens_s == pytest.approx(10)  # 20 bytes a token at 200 bytes a second
    whole = rounds("whole", Spent(4, 4, 4, 1000, 5, 1))
    assert reckoner.edge_hosted(whole, plain, LINK).tokens_s == pytest.approx(4 / 0.09)


def test_dssds_bytes_are_those_of_its_paper():
    scalar = rounds("scalar", Spent(5, 4, 4, 30, 15, 1), Spent(2, 4, 4, 33, 90, 2), Spent(1, 0, 0, 9, 15, 1))
    found = end_to_end.dssd(scalar, 32_000).rounds
    assert [(spent.up, spent.down, spent.trips) for spent in found] == [(24, 5, 1), (24, 64_001, 1), (0, 5, 1)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("end_to_end")
    files = folder / "e.json", folder / "e.png"
    end_to_end.main(["--quick", "--json", str(files[0]), "--png", str(files[1])])
    assert files[1].read_bytes().startswith(b"\x89PNG")
    return json.loads(files[0].read_text())


def test_document(ran):
    by_link: dict[tuple[float, float], dict[str, dict]] = {}
    for row in ran["rows"]:
        by_link.setdefault((row["uplink_bit_s"], row["rtt_s"]), {})[row["way"]] = row
    assert len(by_link) == 2
    for rows in by_link.values():
        assert {"vanilla DSD", "DSSD", "tslt auto", "tslt scalar", "edge only, streaming"} <= set(rows)
        assert {"edge-hosted speculation", "transformers assisted", "transformers assisted, threshold 0"} <= set(rows)
        assert rows["tslt scalar"]["up"] < rows["vanilla DSD"]["up"] / 100
        assert rows["vanilla DSD"]["tokens_s"] < rows["tslt scalar"]["tokens_s"]
        for row in rows.values():
            assert 0 < row["target_passes"] <= 1.001
            assert row["joules"] > 0


def test_a_pair_is_named_whole():
    with pytest.raises(SystemExit):
        end_to_end.main(["--target", "somewhere"])
