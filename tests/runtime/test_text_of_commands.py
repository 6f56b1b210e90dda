"""What the device command reads and writes: text as it is on stdout, all else on stderr, one line for what is wrong."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields

import pytest
from byte_tokenizer import byte_level, save_byte_level_pair
from processes import ENVIRONMENT, ROOT
from tslt_transports import ConnectError, listen

from tslt_runtime import streaming
from tslt_runtime.commands import demo as demo_command
from tslt_runtime.commands import device as device_command
from tslt_runtime.commands import edge as edge_command
from tslt_runtime.commands import inspect as inspect_command
from tslt_runtime.commands import report
from tslt_runtime.commands.running import run_command
from tslt_runtime.dialing import reach
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.fingerprint import tokenizer_fingerprint
from tslt_runtime.rounds import Round, Tally
from tslt_runtime.verifiers.local import LocalVerifier

PROMPT = "a\tb :dog: [bold]" + " word" * 60 + "\n  é🐕"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder with a tiny draft and target of one byte-level tokenizer."""
    return save_byte_level_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def address(pair):
    """Where the target is served, by a thread of this process."""
    ready, found = threading.Event(), []

    async def run():
        verifier = LocalVerifier(TargetModel.load(pair / "target"))
        listener = await listen("zmq", "tcp://127.0.0.1:0")
        found.extend([listener, asyncio.get_running_loop()])
        ready.set()
        settings = edge_settings(verifier.facts, tokenizer_fingerprint(byte_level()))
        await serve(listener, verifier, settings, seed=0)
        verifier.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(60)
    yield found[0].address
    asyncio.run_coroutine_threadsafe(found[0].close(), found[1]).result(20)
    thread.join(20)


def run(command, *arguments, **options):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = command.main([str(word) for word in arguments], **options)
        except SystemExit as end:
            status = end.code
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


@pytest.fixture
def device(pair, address):
    def call(*arguments):
        return run(device_command, "--model", pair / "draft", "--edge", address, "--tokens", 30, *arguments)

    return call


def test_the_text_is_printed_as_it_is_and_nothing_else_is_on_stdout(device):
    done = device("--prompt", PROMPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(PROMPT)
    assert len(done.stdout) > len(PROMPT) + 5
    assert done.stderr.splitlines()[0].startswith("draft model: draft, here")
    assert done.stderr.splitlines()[-1].startswith("demo: tokens=30 ")


def test_quiet_says_nothing_but_the_text(device):
    done = device("--prompt", PROMPT, "--quiet")
    assert done.stdout.startswith(PROMPT)
    assert done.stderr == ""


def test_json_is_one_object(device):
    done = device("--prompt", PROMPT, "--json", "--temperature", 0)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert (found["prompt"], found["tokens"], found["stopped_by"]) == (PROMPT, 30, "tokens")
    quiet = device("--prompt", PROMPT, "--quiet", "--temperature", 0)
    assert quiet.stdout.rstrip("\n") == PROMPT + found["text"].rstrip("\n")
    assert set(found["uplink_bytes_per_token_instead"]) == {"ksqs", "json", "full"}
    assert found["evidence"].startswith("auto: ")


@pytest.mark.parametrize("how", ["file", "stdin as a file", "stdin as a prompt"])
def test_a_prompt_from_elsewhere(how, device, tmp_path, monkeypatch):
    data = PROMPT.encode() + b"\n"
    (tmp_path / "prompt").write_bytes(data)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    arguments = {"file": ("--prompt-file", tmp_path / "prompt"), "stdin as a file": ("--prompt-file", "-")}
    done = device(*arguments.get(how, ("--prompt", "-")), "--json")
    assert json.loads(done.stdout)["prompt"] == PROMPT


@pytest.mark.parametrize("which", [0, 1])
def test_the_programs_in_the_documentation_run(which, pair, address):
    """Text in, text out, in ten lines."""
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", streaming.__doc__, re.MULTILINE)
    code = textwrap.dedent([block for block in blocks if block.strip()][which])
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    for known, here in (("examples/pair/draft", str(pair / "draft")), ("tcp://127.0.0.1:5757", address)):
        assert known in code
        code = code.replace(known, here)
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(code, "streaming.py", "exec"), {})  # noqa: S102
    assert len(out.getvalue()) > 20


def test_a_context_that_is_full_is_said(device):
    done = device("--prompt", "a" * 1020, "--json")
    assert json.loads(done.stdout)["stopped_by"] == "context full"


def refused(done, *said, status=1):
    assert done.returncode == status
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 or lines[0].startswith("usage: ")
    for words in said:
        assert words in lines[-1]


def test_prompts_that_are_no_text(device, tmp_path, monkeypatch):
    refused(device("--prompt", os.fsdecode(b"\xff")), "--prompt is no UTF-8 text")
    (tmp_path / "prompt").write_bytes(b"ab\xff")
    refused(device("--prompt-file", tmp_path / "prompt"), "no UTF-8 text", "at byte 2")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    refused(device("--prompt-file", "-"), "stdin is no UTF-8 text")
    monkeypatch.setattr(sys, "stdin", None)
    for closed in (device("--prompt", "-"), run(inspect_command, "-")):
        refused(closed, "stdin is closed")
    refused(device("--prompt-file", tmp_path / "none"), "none")
    refused(device("--prompt", "a", "--prompt-file", "b"), "not allowed with", status=2)
    refused(device("--prompt", ""), "no tokens")
    refused(device("--prompt", "a" * 1100, "--quiet"), "1024")


@pytest.mark.parametrize("command", [device_command, edge_command])
def test_what_no_command_can_run_with(command, pair):
    model = ("--model", pair / "draft")
    refused(run(command, *model, "--threads", "0"), "--threads", "at least 1", status=2)
    refused(run(command, *model, "--seed", "-1"), "--seed", status=2)
    refused(run(command, *model, "--torch-device", "abacus"), "abacus is no device")
    refused(run(command, "--model", "./nowhere"), "there is no folder ./nowhere")


def run_without(module, command, arguments):
    """A command where ``module`` is not installed."""
    code = (
        f"import sys; sys.modules[{module!r}] = None; from tslt_runtime.commands.{command} import main; "
        f"sys.exit(main({arguments}))"
    )
    return subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("missing", "extra", "transport"),
    [
        ("torch", "transformers", "zmq"),
        ("transformers", "transformers", "zmq"),
        ("zmq", "zmq", "zmq"),
        ("aioquic", "quic", "quic"),
    ],
)
@pytest.mark.parametrize("command", ["device", "edge"])
def test_a_package_that_is_not_installed(command, missing, extra, transport, pair):
    arguments = ["--model", str(pair / "draft"), "--transport", transport]
    if (command, transport) == ("edge", "quic"):
        arguments += ["--cert", "x", "--cert-key", "x"]
    refused(run_without(missing, command, arguments), missing, f"pip install 'tslt-wire[{extra}]'")


def test_a_fleet_without_ray():
    refused(run_without("ray", "edge", ["--engine", "ray"]), "pip install 'tslt-wire[ray]'")


def test_a_fault_of_ours_shows_where_it_is():
    def broken():
        raise ImportError("no such name", name="tslt_runtime.nothing")

    with pytest.raises(ImportError):
        run_command("device", broken)


def test_a_reader_that_leaves_is_no_traceback(pair, address):
    model = ("--model", str(pair / "draft"), "--edge", address, "--tokens", "400", "--quiet")
    with subprocess.Popen(
        [sys.executable, "-m", "tslt_runtime.commands.device", *model],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.read(20)
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_device_waits_for_its_edge_as_long_as_it_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = f"tcp://127.0.0.1:{port}"

    async def late():
        waiting = asyncio.create_task(reach("zmq", there, timeout_s=30))
        await asyncio.sleep(0.6)
        assert not waiting.done()
        listener = await listen("zmq", there)
        link = await asyncio.wait_for(waiting, 10)
        await link.close()
        await listener.close()

    asyncio.run(late())

    async def never(address, timeout_s):
        clock = asyncio.get_running_loop().time
        started = clock()
        with pytest.raises(ConnectError):
            await reach("zmq", address, timeout_s=timeout_s)
        return clock() - started

    assert 0.7 < asyncio.run(never(there, 1)) < 5
    assert asyncio.run(never("tcp://nowhere.invalid:9", 30)) < 20  # waiting gives it no name


class Terminal(io.StringIO):
    def isatty(self):
        return True


def written(stdout, monkeypatch, accepted, token):
    """What ``Output`` writes of one round with these texts."""
    monkeypatch.setattr(sys, "stdout", stdout)
    tokenizer = byte_level()
    numbers = dict.fromkeys([field.name for field in fields(Round)], 0)
    output = report.Output(tokenizer, [])
    (last,) = tokenizer.encode(token).ids
    output.add(Round(**numbers | {"accepted": tuple(tokenizer.encode(accepted).ids), "token": last, "end": False}))
    output.finish()
    return stdout.getvalue()


def test_a_terminal_gets_colours_and_no_control_characters(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    text = "a\x1b[2J\tb\r\n\x9b👩‍👧 "
    assert written(io.StringIO(), monkeypatch, text, "!") == text + "!\n"
    coloured = written(Terminal(), monkeypatch, text, "!")
    assert coloured == f"{report.ACCEPTED}a?[2J\tb\n?👩‍👧 {report.PLAIN}{report.TARGET}!{report.PLAIN}\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert written(Terminal(), monkeypatch, text, "!") == "a?[2J\tb\n?👩‍👧 !\n"


def test_what_other_lists_would_have_taken():
    numbers = dict.fromkeys([field.name for field in fields(Round)], 0) | {"accepted": (1, 2)}
    tally = Tally([Round(**numbers | {"drafted": 4}), Round(**numbers | {"drafted": 2})])
    found = report.instead_per_token(tally, 32_000)
    # 32 of 32,000 ids are 361.2 bits, 100 parts over 32 tokens 99.8: by log2 of the factorials.
    assert found["ksqs"] == pytest.approx(6 * (361.2 + 99.8) / 8 / 6, rel=1e-3)
    assert 32 * 10 < found["json"] < 32 * 20
    assert found["full"] == pytest.approx(2 * 32_000, rel=0.01)
    assert report.json_list_bytes(10, k=2) == len("[[0,0.0],[5,-0.1429]]")


def test_auto_is_the_default_unless_it_cannot_be():
    def evidence(*arguments):
        return device_command.parse(list(arguments), model=ROOT).evidence

    assert evidence() == "auto"
    assert evidence("--temperature", "0", "--top-k", "5") == "auto"
    for options in (("--seed", "1"), ("--k", "8"), ("--expansion", "2,2"), ("--without-replacement",)):
        assert evidence(*options) == "list"
    assert evidence("--seed", "1", "--evidence", "auto") == "auto"
    with pytest.raises(SystemExit):
        evidence("--k", "8", "--evidence", "auto")


def test_the_demo_says_what_it_lacks_and_its_help_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_command, "shipped", lambda: None)
    refused(run(demo_command), "--pair PATH", status=2)
    done = run(demo_command, "--pair", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "demo: the edge did not start (exit status 1)\n"  # the edge itself said why
    assert "tslt device --help" in run(demo_command, "--help").stdout
