"""The commands a newcomer types, as processes: edge, device, demo; and what they say when something is wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from examples.command_line import expansion
from examples.tiny_llama import soften, tiny_draft, tiny_llama

ROOT = Path(__file__).parents[2]
LAST_LINE = re.compile(
    r"demo: tokens=(\d+) rounds=(\d+) alpha=([\d.]+) uplink_bytes_per_token=([\d.]+) downlink_bytes_per_token=([\d.]+)"
)


def save(model, folder, words):
    vocabulary = {"<s>": 0, "</s>": 1, **{word: i + 2 for i, word in enumerate(words)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="</s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Folders of a tiny target, its draft, and a draft with another vocabulary."""
    folder = tmp_path_factory.mktemp("pair")
    words = [f"w{i}" for i in range(98)]
    target = soften(tiny_llama(vocab_size=100, layers=3, seed=3), layers=1, scale=0.5)
    return {
        "target": save(target, folder / "target", words),
        "draft": save(tiny_draft(target), folder / "draft", words),
        "other": save(tiny_llama(vocab_size=90, layers=1), folder / "other", words[:88]),
        "renamed": save(tiny_draft(target), folder / "renamed", words[::-1]),
    }


def environment():
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'transports'}", "HF_HUB_OFFLINE": "1", "COLUMNS": "100"}


def device(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "examples.device", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def edge(*arguments):
    """A running edge; yields (its process, its address)."""
    command = [sys.executable, "-m", "examples.edge", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().split(" listens on ")[1].strip()
        finally:
            process.kill()


def figures(output):
    match = LAST_LINE.fullmatch(output.strip().splitlines()[-1])
    assert match, output
    return [float(group) for group in match.groups()]


def test_zmq_device_and_edge(pair):
    with edge("--model", pair["target"], "--listen", "tcp://127.0.0.1:0") as (process, address):
        arguments = ("--model", pair["draft"], "--edge", address, "--prompt", "w1 w2", "--tokens", "30")
        first = device(*arguments)
        assert first.returncode == 0, first.stderr
        tokens, rounds, alpha, up, down = figures(first.stdout)
        assert tokens == 30
        assert 7 <= rounds < 30
        assert 0 < alpha < 1
        assert up > down > 0
        for row in ("acceptance", "uplink", "downlink", "full vocabulary", "draft", "link", "verify", "time per token"):
            assert row in first.stdout
        greedy = [device(*arguments, "--temperature", "0", *tree) for tree in ((), ("--expansion", "2,2,2"))]
        texts = [run.stdout.split("w1 w2", 1)[1].split("what it took")[0] for run in greedy]
        assert texts[0].split() == texts[1].split()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_quic_device_and_edge(pair, tmp_path):
    certs = tmp_path / "certs"
    made = subprocess.run(
        [sys.executable, "-m", "tslt_transports.devcert", "--out", str(certs)], env=environment(), check=False
    )
    assert made.returncode == 0
    keys = ("--transport", "quic", "--cert", str(certs / "cert.pem"), "--key", str(certs / "key.pem"))
    with edge("--model", pair["target"], "--listen", "127.0.0.1:0", *keys) as (_, address):
        run = device(
            *("--transport", "quic", "--ca", str(certs / "ca.pem"), "--edge", address),
            *("--model", pair["draft"], "--prompt", "w1", "--tokens", "12", "--expansion", "2,2"),
        )
        assert run.returncode == 0, run.stderr
        assert figures(run.stdout)[0] == 12
        stranger = device("--transport", "quic", "--edge", address, "--model", pair["draft"], "--prompt", "w1")
        assert stranger.returncode == 1
        assert "certificate" in stranger.stderr.lower()


@pytest.mark.parametrize(("model", "named"), [("other", "90 tokens"), ("renamed", "tokenizer_mismatch")])
def test_another_vocabulary(pair, model, named):
    with edge("--model", pair["target"], "--listen", "tcp://127.0.0.1:0") as (_, address):
        run = device("--model", pair[model], "--edge", address, "--prompt", "w1")
        assert run.returncode == 1
        assert run.stderr.count("\n") == 1, run.stderr
        assert named in run.stderr
        assert f"device ({model})" in run.stderr
        assert "edge (target)" in run.stderr
        assert "100 tokens" in run.stderr


def test_an_absent_edge(pair):
    run = device("--model", pair["draft"], "--edge", "tcp://127.0.0.1:9", "--prompt", "w1")
    assert run.returncode == 1
    assert "127.0.0.1:9" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "no/such/model"), "no/such/model"),
        (("--precision", "f64"), "f64"),
        (("--temperature", "-1"), "temperature"),
        (("--k", "0"), "k >= 1"),
        (("--expansion", "2,x"), "2,x"),
        (("--tokens", "0"), "--tokens"),
        (("--ca", "x"), "--ca"),
    ],
)
def test_wrong_arguments_are_named(pair, arguments, said):
    run = device("--model", pair["draft"], "--edge", "tcp://127.0.0.1:9", *arguments)
    assert run.returncode in (1, 2)
    assert said in run.stderr
    assert "Traceback" not in run.stderr


def test_an_edge_without_certificate():
    run = subprocess.run(
        [sys.executable, "-m", "examples.edge", "--transport", "quic"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "tslt_transports.devcert" in run.stderr


def test_demo_starts_both(pair):
    run = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--target", pair["target"], "--model", pair["draft"], "--tokens", "10"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert figures(run.stdout)[0] == 10


def test_expansion_argument():
    assert expansion("4") == (1, 1, 1, 1)
    assert expansion("2,2,2") == (2, 2, 2)
