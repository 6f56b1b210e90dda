"""The commands a newcomer types: edge, device, demo; and what they say when something is wrong.

The edge is always a process; so is one device, and the demo is three.  Other devices run in this process, as loading
torch takes longer than what they do.
"""

from __future__ import annotations

import io
import json
import lzma
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from processes import ENVIRONMENT, ROOT
from tiny_llama import soften, tiny_draft, tiny_llama
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import tslt_wire as tw
from examples import PAIR
from tslt_runtime.capture import read_capture
from tslt_runtime.commands import device as device_command
from tslt_runtime.commands import edge as edge_command
from tslt_runtime.commands import inspect as inspect_command
from tslt_runtime.commands import keys as keys_command
from tslt_runtime.commands import train_prior
from tslt_runtime.commands.options import expansion

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


def test_the_device_drafts_with_the_default_profile_unless_told_otherwise():
    args = device_command.parse(["--evidence", "list"], model=ROOT)
    settings = device_command.draft_settings(args)
    own = tw.DEFAULTS
    assert (settings.truncation, settings.precision) == (own.truncation, own.precision.value)
    assert (args.entropy, args.prior) == (own.entropy, own.prior)
    assert settings.temperature == pytest.approx(args.temperature * own.draft_temperature)
    for options, rule in (
        (("--k", "8"), tw.TopK(8)),
        (("--min-prob", "0.1"), tw.MinProb(0.1)),
        (("--k", "8", "--min-prob", "0.1"), tw.TopK(8) & tw.MinProb(0.1)),
    ):
        assert device_command.draft_settings(device_command.parse(options, model=ROOT)).truncation == rule
    told = device_command.parse(["--draft-temperature", "1.1", "--temperature", "0.7"], model=ROOT)
    assert device_command.draft_settings(told).temperature == 1.1
    greedy = device_command.parse(["--temperature", "0"], model=ROOT)
    assert device_command.draft_settings(greedy).temperature == 0


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
    return ENVIRONMENT | {"COLUMNS": "100"}


def process(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def in_process(command, *arguments, **options):
    """What ``process`` of the same command gives, without the process; an exception that escapes fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("COLUMNS", "100")
        try:
            status = command.main(list(arguments), **options)
        except SystemExit as end:
            status = end.code
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def device(*arguments):
    return in_process(device_command, *arguments, prog="python -m examples.device", model=PAIR / "draft")


@contextmanager
def edge(*arguments, log=None):
    """A running edge, which logs to the file ``log``; yields (its process, its address)."""
    command = [sys.executable, "-m", "examples.edge", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=log, text=True
    ) as server:
        try:
            yield server, server.stdout.readline().split(" listens on ")[1].strip()
        finally:
            server.kill()


@pytest.fixture(scope="module")
def address(pair, table):
    """Where the target is served, with a table, for all that end nothing."""
    with edge("--model", pair["target"], "--listen", "tcp://127.0.0.1:0", "--table", str(table[0])) as (_, found):
        yield found


def figures(run):
    output = run.stderr
    match = LAST_LINE.fullmatch(output.strip().splitlines()[-1])
    assert match, output
    return [float(group) for group in match.groups()]


def test_auto_explains_itself(pair, address):
    arguments = ("--model", pair["draft"], "--edge", address, "--prompt", "w1 w2", "--tokens", "30")
    run = device(*arguments, "--evidence", "auto")
    assert run.returncode == 0, run.stderr
    assert figures(run)[0] == 30
    text = " ".join(run.stderr.split())
    for words in ("auto: ", "tokens/s", "bottleneck", "Trying other choices has cost"):
        assert words in text


def test_sampling_settings_of_the_command_line(pair, address):
    arguments = ("--model", pair["draft"], "--edge", address, "--prompt", "w1 w2", "--tokens", "12", "--seed", "1")
    settings = "--min-p 0.01 --repetition-penalty 1.3 --presence-penalty 0.5 --frequency-penalty -0.25 --top-k 40 "
    settings += "--logit-bias 7=2 8=-1.5 --suppress 5 6 --ignore-eos"
    run = device(*arguments, *settings.split())
    assert run.returncode == 0, run.stderr
    assert (
        "sampling: temperature 0.7, top_k 40, min_p 0.01, repetition_penalty 1.3, presence_penalty 0.5, "
        "frequency_penalty -0.25, logit_bias of 2 tokens, suppress_tokens of 2 tokens, ignore_eos on" in run.stderr
    )
    certain = device(*arguments, "--logit-bias", "9=100", "--json", "--log-probs")
    found = json.loads(certain.stdout)
    assert found["text"] == " w7" * 12
    assert found["log_probs"] == [[9, 0.0]] * 12
    assert "log_probs" not in json.loads(device(*arguments, "--json").stdout)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--logit-bias", "w7"), "expected ID=VALUE like 17=-2.5, got 'w7'"),
        (("--suppress", "-1"), "--suppress"),
        (("--suppress", "x"), "expected the id of a token, got 'x'"),
        (("--log-probs",), "--log-probs is for --json"),
    ],
)
def test_wrong_sampling_options(option, said, capsys):
    with pytest.raises(SystemExit):
        device_command.parse(option, model=ROOT)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--min-p", "2"), "min_p must be in 0..1"),
        (("--repetition-penalty", "0"), "repetition_penalty must be in 0.01"),
        (("--temperature", "-1"), "temperature"),
        (("--draft-temperature", "-1"), "temperature"),
        (("--k", "0"), "k of TopK must be at least 1"),
        (("--min-prob", "2"), "MinProb"),
    ],
)
def test_settings_out_of_range_are_wrong_arguments(option, said, capsys):
    with pytest.raises(SystemExit) as end:
        device_command.parse(option, model=ROOT)
    assert end.value.code == 2
    usage, _, error = capsys.readouterr().err.partition("error: ")
    assert usage.startswith("usage:")
    assert said in error
    assert error.count("\n") == 1


def test_a_token_that_the_target_has_not_is_one_line(pair, address):
    run = device("--model", pair["draft"], "--edge", address, "--prompt", "w1", "--logit-bias", "100=1")
    assert run.returncode == 1
    assert "the sampling settings name token 100; the edge has 100" in run.stderr
    assert run.stderr.count("\n") == 1


def test_zmq_device_and_edge(pair):
    with edge("--model", pair["target"], "--listen", "tcp://127.0.0.1:0") as (server, address):
        arguments = ("--model", pair["draft"], "--edge", address, "--prompt", "w1 w2", "--tokens", "30")
        first = process("examples.device", *arguments)
        assert first.returncode == 0, first.stderr
        tokens, rounds, alpha, up, down = figures(first)
        assert tokens == 30
        assert 7 <= rounds < 30
        assert 0 < alpha < 1
        assert min(up, down) > 0  # which is more depends on the evidence that auto picks
        for row in (
            "acceptance",
            "uplink",
            "downlink",
            "whole distributions",
            "draft",
            "link",
            "verify",
            "time per token",
        ):
            assert row in first.stderr
        greedy = [device(*arguments, "--temperature", "0", *tree) for tree in ((), ("--expansion", "2,2,2"))]
        assert greedy[0].stdout.startswith("w1 w2 w")
        assert greedy[0].stdout == greedy[1].stdout
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


def test_quic_device_and_edge(pair, tmp_path):
    certs = tmp_path / "certs"
    assert process("tslt_transports.devcert", "--out", str(certs)).returncode == 0
    keys = ("--transport", "quic", "--cert", str(certs / "cert.pem"), "--cert-key", str(certs / "key.pem"))
    with edge("--model", pair["target"], "--listen", "127.0.0.1:0", *keys) as (_, address):
        run = device(
            *("--transport", "quic", "--ca", str(certs / "ca.pem"), "--edge", address),
            *("--model", pair["draft"], "--prompt", "w1", "--tokens", "12", "--expansion", "2,2"),
        )
        assert run.returncode == 0, run.stderr
        assert figures(run)[0] == 12
        stranger = device("--transport", "quic", "--edge", address, "--model", pair["draft"], "--prompt", "w1")
        assert stranger.returncode == 1
        assert "certificate" in stranger.stderr.lower()


@pytest.mark.parametrize("transport", ["zmq", "quic"])
def test_keys_of_device_and_edge(pair, tmp_path, transport):
    for name in ("lab", "kitchen", "stranger"):
        made = in_process(keys_command, "make", str(tmp_path / f"{name}.key"))
        assert made.returncode == 0, made.stderr
        (tmp_path / f"{name}.pub").write_text(made.stdout)
    allowed = str(tmp_path / "devices.txt")
    assert in_process(keys_command, "add", allowed, str(tmp_path / "kitchen.pub")).returncode == 0
    listen = "tcp://127.0.0.1:0" if transport == "zmq" else "127.0.0.1:0"
    served = ("--model", pair["target"], "--transport", transport, "--listen", listen, "--verbose")

    def asks(address, *keys):
        options = ("--model", pair["draft"], "--prompt", "w1", "--tokens", "8", "--transport", transport)
        return device(*options, "--edge", address, *keys)

    def keys_of(name, edge_name="lab"):
        return "--key", str(tmp_path / f"{name}.key"), "--edge-key", str(tmp_path / f"{edge_name}.pub")

    with (
        (tmp_path / "log").open("w") as log,
        edge(*served, "--key", str(tmp_path / "lab.key"), "--allow", allowed, log=log) as (_, address),
    ):
        run = asks(address, *keys_of("kitchen"))
        assert run.returncode == 0, run.stderr
        for wrong, said in ((keys_of("stranger"), "not on"), (keys_of("kitchen", "stranger"), "key"), ((), "key")):
            run = asks(address, *wrong)
            assert run.returncode == 1
            assert said in run.stderr
            assert run.stderr.count("\n") == 1, run.stderr
    told = (tmp_path / "log").read_text()
    assert f"tslt.edge: kitchen at {'tcp' if transport == 'zmq' else 'quic'}://127.0.0.1:" in told
    assert "stranger" not in told


@pytest.mark.parametrize(("model", "named"), [("other", "90 tokens"), ("renamed", "tokenizer_mismatch")])
def test_another_vocabulary(pair, address, model, named):
    run = device("--model", pair[model], "--edge", address, "--prompt", "w1")
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1, run.stderr
    assert named in run.stderr
    assert f"device ({model})" in run.stderr
    assert "edge (target)" in run.stderr
    assert "100 tokens" in run.stderr


def test_an_absent_edge(pair):
    run = device("--model", pair["draft"], "--edge", "tcp://127.0.0.1:9", "--prompt", "w1", "--timeout", "1")
    assert run.returncode == 1
    assert "127.0.0.1:9" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "no/such/model"), "no/such/model"),
        (("--precision", "f64"), "f64"),
        (("--temperature", "-1"), "temperature"),
        (("--k", "0"), "k of TopK must be at least 1"),
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
    run = in_process(edge_command, "--transport", "quic", prog="python -m examples.edge", model=PAIR / "target")
    assert run.returncode == 2
    assert "tslt certs --out certs" in run.stderr


def test_demo_starts_both_and_a_seed_gives_the_same_text_again(pair, tmp_path):
    arguments = ("--model", pair["draft"], "--tokens", "40", "--temperature", "1", "--seed", "1")
    first = process("examples.demo", "--target", pair["target"], *arguments, "--capture", str(tmp_path / "device"))
    assert first.returncode == 0, first.stderr
    assert figures(first)[0] == 40
    ours = ("--seed", "1", "--capture", str(tmp_path / "edge"))
    with edge("--model", pair["target"], "--listen", "tcp://127.0.0.1:0", *ours) as (_, address):
        again = device("--edge", address, *arguments)
    assert first.stdout == again.stdout
    # One was captured at the device, the other at the edge: they sent the same drafts, byte for byte.
    at_device, at_edge = ([*read_capture(io.BytesIO((tmp_path / end).read_bytes()))] for end in ("device", "edge"))
    assert [record.frame for record in at_device if record.sender == "device"] == [
        record.frame for record in at_edge if record.sender == "device"
    ]
    shown = in_process(inspect_command, str(tmp_path / "edge"), "--json")
    summary = json.loads(shown.stdout.splitlines()[-1])["summary"]
    assert (shown.returncode, summary["tokens"], summary["not_decoded"]) == (0, 40, 0)
    assert summary["bytes_per_token"]["device"] < figures(first)[3]  # which has the link's own bytes, too
    refused = device(*arguments, "--capture", str(tmp_path / "edge"))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "overwrites nothing" in refused.stderr


def test_expansion_argument():
    assert expansion("4") == (1, 1, 1, 1)
    assert expansion("2,2,2") == (2, 2, 2)


@pytest.fixture(scope="module")
def table(pair, tmp_path_factory):
    """A table that the command trained: (its path, what the command printed)."""
    folder = tmp_path_factory.mktemp("prior")
    words = np.random.default_rng(0).integers(0, 98, 4000)
    (folder / "one.txt.xz").write_bytes(lzma.compress(" ".join(f"w{i}" for i in words[:3000]).encode()))
    (folder / "two.txt").write_text(" ".join(f"w{i}" for i in words[3000:]))
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr("builtins.print", lambda *line, **_: said.append(line[0]))
        texts = ("--text", str(folder / "one.txt.xz"), str(folder / "two.txt"))
        arguments = ("--draft", pair["draft"], *texts, "--out", str(folder / "t"), "--positions", "70")
        assert train_prior.main([*arguments, "--window", "32"]) == 0
    return folder / "t", said[-1]


def test_train_prior_writes_a_table_of_the_drafts_vocabulary(table):
    prior = tw.table_from_bytes(table[0].read_bytes())
    assert prior.vocab_size == 100
    assert prior.name in table[1]
    assert f"{table[0].stat().st_size} bytes, 70 positions" in table[1]


def test_training_again_gives_the_same_table(table, pair):
    again = table[0].with_name("again")
    texts = [str(table[0].with_name(name)) for name in ("one.txt.xz", "two.txt")]
    arguments = ["--draft", pair["draft"], "--text", *texts, "--out", str(again), "--positions", "70", "--window", "32"]
    assert train_prior.main(arguments) == 0
    assert again.read_bytes() == table[0].read_bytes()


def test_a_table_for_both_ends_and_one_for_the_device_alone(pair, table, address):
    other = tw.train_table(np.random.default_rng(1).normal(size=(3, 100)))
    strange = table[0].with_name("strange")
    strange.write_bytes(other.to_bytes())
    name = tw.table_from_bytes(table[0].read_bytes()).name
    arguments = ("--model", pair["draft"], "--edge", address, "--prompt", "w1", "--tokens", "12", "--k", "8")
    known = device(*arguments, "--table", str(table[0]))
    assert known.returncode == 0, known.stderr
    assert f"{name[:14]}, tails" in known.stderr
    assert "instead" not in known.stderr
    unknown = device(*arguments, "--table", str(strange), "--prior", "uniform")
    assert unknown.returncode == 0, unknown.stderr
    assert f"has not the prior {other.name}: uniform instead" in unknown.stderr
    assert "uniform, tails" in unknown.stderr


@pytest.mark.parametrize("what", ["no table", "no file", "another vocabulary"])
def test_a_wrong_table_is_one_line(what, pair, tmp_path, capsys):
    path = tmp_path / "wrong"
    if what == "no table":
        path.write_bytes(b"TSLTtab1 and no more")
    elif what == "another vocabulary":
        path.write_bytes(tw.train_table(np.zeros((1, 90))).to_bytes())
    assert device_command.main(["--model", pair["draft"], "--table", str(path), "--prompt", "w1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("device: ")
    assert said.count("\n") == 1
    assert str(path) in said
    assert {"no table": "is no table", "no file": "No such file", "another vocabulary": "90 tokens"}[what] in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--text", "no/such/file"), "no/such/file"),
        (("--text", "short"), "too short"),
        (("--text", "bad.xz"), "bad.xz is no text"),
        (("--text", "binary"), "binary is no text"),
    ],
)
def test_train_prior_names_what_is_wrong(arguments, said, pair, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("short").write_text("w1 w2")
    Path("bad.xz").write_bytes(b"bad")
    Path("binary").write_bytes(b"\xff\xfe\xfd")
    assert train_prior.main(["--draft", pair["draft"], "--out", "t", *arguments]) == 1
    err = capsys.readouterr().err
    assert err.startswith("train-prior: ")
    assert err.count("\n") == 1
    assert said in err
    assert not Path("t").exists()
