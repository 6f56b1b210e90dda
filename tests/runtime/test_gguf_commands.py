"""The commands on GGUF files: edge, device, demo and train-prior without torch, and a library of the user's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from gguf_models import needs_llamacpp, tiny_pair
from processes import ENVIRONMENT, ROOT

import tslt_wire as tw
from tslt_runtime.commands import convert as convert_command
from tslt_runtime.commands import demo as demo_command
from tslt_runtime.commands import device as device_command
from tslt_runtime.engines.llamacpp.library import load_library

pytestmark = needs_llamacpp
LIBRARY = load_library()._name


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Folders ``target`` and ``draft``; beside them, in ``files``, the same as GGUF, made by the command."""
    folder = tmp_path_factory.mktemp("pair")
    tiny_pair(folder, context=128)
    (folder / "files").mkdir()
    for name in ("target", "draft"):
        file = folder / "files" / f"{name}.gguf"
        assert convert_command.main([str(folder / name), str(file), "--dtype", "float32"]) == 0
    return folder


def without_torch(command, *arguments):
    """The arguments of a process that runs a command where torch cannot be imported."""
    code = (
        "import sys; sys.modules.update(torch=None, transformers=None, tokenizers=None); "
        f"from tslt_runtime.commands.{command} import main; sys.exit(main({[str(word) for word in arguments]}))"
    )
    return [sys.executable, "-c", code]


def run(command):
    return subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def edge(*arguments):
    """A running edge; yields (its process, its address)."""
    command = without_torch("edge", "--listen", "tcp://127.0.0.1:0", *arguments)
    with subprocess.Popen(command, env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server, server.stdout.readline().split(" listens on ")[1].strip()
        finally:
            server.terminate()


def test_both_ends_without_torch_write_what_transformers_writes(pair, capfd):
    options = ("--prompt", "the heat", "--tokens", "40", "--temperature", "0")
    files = pair / "files"
    with edge("--model", files / "target.gguf", "--llama-lib", LIBRARY) as (_, address):
        plain = run(without_torch("device", "--model", files / "draft.gguf", "--edge", address, *options))
        tree = ("--expansion", "2,2,2")
        mixed = device_command.main(["--model", str(pair / "draft"), "--edge", address, *options, *tree])
        # An edge of llama.cpp and a device of transformers.
        assert mixed == 0
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout == capfd.readouterr().out
    assert plain.stdout.startswith("the heat")
    assert plain.stderr.splitlines()[-1].startswith("demo: tokens=")


def test_the_demo_takes_a_folder_of_files(pair, capfd):
    arguments = ["--pair", str(pair / "files"), "--tokens", "20", "--seed", "1", "--prompt", "the", "--quiet"]
    assert demo_command.main([*arguments, "--llama-lib", LIBRARY]) == 0
    first = capfd.readouterr()
    assert first.out.startswith("the")
    assert first.err == ""
    assert demo_command.model_of(pair, "draft") == str(pair / "draft")


def test_a_prior_is_trained_on_a_file(pair, tmp_path):
    (tmp_path / "text").write_text("the heat of the hearth " * 100)
    words = ("--text", tmp_path / "text", "--out", tmp_path / "prior", "--positions", "60", "--window", "40")
    done = run(without_torch("train_prior", "--draft", pair / "files" / "draft.gguf", *words))
    assert done.returncode == 0, done.stderr
    assert tw.table_from_bytes((tmp_path / "prior").read_bytes()).vocab_size == 300
    assert "60 of 60 positions" in done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines[2:5]] == ["16", "32", "64"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "nowhere.gguf"), "no file nowhere.gguf"),
        (("--model", "draft.gguf", "--dtype", "float16"), "draft.gguf is in float32"),
        (("--model", "draft.gguf", "--torch-device", "cuda"), "run by llama.cpp"),
        (("--model", "draft.gguf", "--context", "4096"), "trained for 128"),
        (("--model", "draft.gguf", "--llama-lib", "nowhere.so"), "cannot be loaded as llama.cpp's library"),
        (("--model", "."), "is a GGUF model"),
        (("--model", "../draft", "--llama-lib", "nowhere.so"), "runs .gguf files"),
        (("--model", "broken.gguf"), "cannot load broken.gguf"),
    ],
)
def test_what_cannot_be_run_is_one_line(arguments, said, pair, monkeypatch, capsys):
    monkeypatch.chdir(pair / "files")
    Path("broken.gguf").write_bytes(Path("draft.gguf").read_bytes()[:5000])
    assert device_command.main([*arguments, "--prompt", "the", "--edge", "tcp://127.0.0.1:9"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("device: ")
    assert err.count("\n") == 1
    assert said in err


def test_a_folder_without_torch_says_both_ways_out(pair):
    done = run(without_torch("device", "--model", pair / "draft", "--prompt", "the"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for words in ("pip install 'tslt-wire[transformers]'", "tslt convert FOLDER FILE.gguf"):
        assert words in done.stderr


@pytest.mark.parametrize("what", ["weights cut short", "weights of another model", "config is a list"])
def test_a_broken_folder_is_not_converted(what, pair, tmp_path, capsys):
    folder = tmp_path / "broken"
    shutil.copytree(pair / "draft", folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if what == "weights cut short":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif what == "weights of another model":
        config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 7}))
    else:
        config.write_text("[]")
    assert convert_command.main([str(folder), str(tmp_path / "x.gguf")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("convert: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "x.gguf").exists()


def test_a_library_is_named_from_where_one_stands(pair, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.so").symlink_to(LIBRARY)
    arguments = ("--prompt", "the", "--edge", "tcp://127.0.0.1:9", "--timeout", "0.2", "--llama-lib", "mine.so")
    assert device_command.main(["--model", str(pair / "files" / "draft.gguf"), *arguments]) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err
    for wrong in ("nan", "0", "inf", "soon"):
        with pytest.raises(SystemExit):
            device_command.main(["--model", "x", "--timeout", wrong])


def test_an_edge_that_dies_leaves_the_text_in_the_json(pair):
    with edge("--model", pair / "files" / "target.gguf") as (server, address):
        model = ("--model", pair / "files" / "draft.gguf", "--edge", address)
        device = without_torch("device", *model, "--prompt", "the", "--tokens", "1", "--json")
        assert json.loads(run(device).stdout)["stopped_by"] == "tokens"
        code = device[2].replace(
            "from tslt_runtime.commands.device import main",
            "import os, signal, tslt_runtime.commands.device as d; main = d.main; add = d.Output.add; "
            f"d.Output.add = lambda self, round_: (add(self, round_), os.kill({server.pid}, signal.SIGKILL))",
        )
        done = run(
            [device[0], "-c", code.replace("'--tokens', '1'", "'--tokens', '90', '--timeout', '5', '--patience', '1'")]
        )
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["stopped_by"] == "error"
    assert found["tokens"] > 0
    assert done.stderr.splitlines()[-1].startswith("device: ")
