"""The command ``tslt``: it finds its subcommands by entry points, and knows none of them itself."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tslt_benchmarks.command import BENCHMARKS

import tslt_wire as tw
from tslt_runtime.commands import main as command

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OURS = PROJECT["entry-points"]["tslt.commands"]


def points(named):
    return [EntryPoint(name, value, "tslt.commands") for name, value in named.items()]


@pytest.fixture
def tslt(monkeypatch):
    """Call ``tslt`` with what is installed; by default our own commands: (exit status, stdout, stderr)."""

    def call(*arguments, installed=OURS):
        asked = []
        monkeypatch.setattr(command, "entry_points", lambda group: asked.append(group) or points(installed))
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = command.main(list(arguments))
            except SystemExit as end:
                status = end.code
        assert asked == ["tslt.commands"]
        return status, out.getvalue(), err.getvalue()

    return call


def test_the_script_is_this_command():
    module, _, name = PROJECT["scripts"]["tslt"].partition(":")
    assert getattr(import_module(module), name) is command.main


def test_help_names_the_commands(tslt):
    status, out, _ = tslt("--help")
    assert status == 0
    words = "".join(out.split())  # a line may end within a name
    for name in ("bench", "certs", "demo", "device", "edge", "inspect", "train-prior"):
        assert name in words


def test_version(tslt):
    assert tslt("--version") == (0, f"tslt {tw.__version__} ({tw.backend})\n", "")


@pytest.mark.parametrize("arguments", [("fly",), ("fly", "--help"), ()])
def test_an_unknown_command_is_named(arguments, tslt):
    status, out, err = tslt(*arguments)
    assert (status, out) == (2, "")
    last = err.splitlines()[-1]
    assert ("'fly': bench, certs" if arguments else "COMMAND") in last


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_is_there_and_calls_itself_by_its_name(name, tslt):
    status, out, _ = tslt(name, "--help")
    assert status == 0
    assert out.startswith(f"usage: tslt {name} ")


def test_a_command_of_another_package_gets_its_arguments(tslt, monkeypatch):
    def main(arguments, *, prog):
        print(prog, arguments)
        return 7

    monkeypatch.setattr(sys.modules[__name__], "other", main, raising=False)
    monkeypatch.setitem(sys.modules, "others_package", sys.modules[__name__])
    status, out, _ = tslt("sing", "--loud", "x", installed={"sing": "others_package:other"})
    assert (status, out) == (7, "tslt sing ['--loud', 'x']\n")


def test_a_command_whose_package_is_not_installed_is_one_line(tslt, monkeypatch):
    monkeypatch.setitem(sys.modules, "tslt_transports.devcert", None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.delitem(sys.modules, "tslt_transports.devcert")
    status, _, err = tslt("certs", "--out", "x")
    assert (status, err) == (1, "tslt certs: cryptography is not installed: pip install 'tslt-wire[quic]'\n")


def test_nor_is_what_a_command_asks_for_later(tslt, monkeypatch):
    def main(arguments, *, prog):
        raise ModuleNotFoundError("No module named 'matplotlib.pyplot'", name="matplotlib.pyplot")

    monkeypatch.setattr(sys.modules[__name__], "other", main, raising=False)
    monkeypatch.setitem(sys.modules, "others_package", sys.modules[__name__])
    status, _, err = tslt("draw", installed={"draw": "others_package:other"})
    assert (status, err) == (1, "tslt draw: matplotlib is not installed: pip install 'tslt-wire[bench]'\n")


def test_every_benchmark_has_a_name(tslt):
    folder = ROOT / "benchmarks"
    programs = {
        str(path.relative_to(folder).with_suffix("")).replace(os.sep, ".")
        for path in (folder / "tslt_benchmarks").rglob("*.py")
        if "\ndef main(" in path.read_text(encoding="utf-8")
    }
    assert set(BENCHMARKS.values()) == programs - {
        "tslt_benchmarks.command",
        "tslt_benchmarks.report_command",
    }  # tslt bench, tslt report
    status, out, _ = tslt("bench", "bytes-per-token", "--help")
    assert status == 0
    assert out.startswith("usage: tslt bench bytes-per-token ")
    assert tslt("bench", "nothing")[0] == 2


def test_it_is_there_before_torch_is():
    """``tslt --help`` answers at once: nothing heavy is imported for it."""
    code = (
        "import sys; from tslt_runtime.commands.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'zmq', 'tslt_benchmarks'} & set(sys.modules)"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "transports"), str(ROOT / "benchmarks")])
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=True)
