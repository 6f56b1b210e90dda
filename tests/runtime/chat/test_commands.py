"""``tslt chat`` on a terminal and with lines from a pipe, and ``tslt serve``, against a real edge."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

import openai
import pytest
from chat_models import chat_folder
from endpoints import ROOT, command

from tslt_runtime.commands import chat, serve

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb"}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The draft model's folder, and the address of an edge."""
    parent = tmp_path_factory.mktemp("models")
    target, draft = chat_folder("target", parent), chat_folder("draft", parent)
    with command("edge", "--model", str(target), "--listen", "tcp://127.0.0.1:0") as (_, address):
        yield str(draft), address


def line_of(name, both, *arguments):
    draft, address = both
    return [sys.executable, "-m", f"tslt_runtime.commands.{name}", "--model", draft, "--edge", address, *arguments]


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, line):
        self.handle, theirs = pty.openpty()
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self.process = subprocess.Popen(
            line,
            **streams,
            env=ENV,
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=own,  # noqa: PLW1509
        )
        os.close(theirs)
        self.said, self.at = "", 0

    def until(self, text, seconds=60.0):
        """Read until ``text`` has been said, after what was waited for before; returns all up to it."""
        start, ends = self.at, time.monotonic() + seconds
        while text not in self.said[start:]:
            assert time.monotonic() < ends, (text, self.said)
            if select.select([self.handle], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self.handle, 4096).decode(errors="replace")
                except OSError:  # the program has ended
                    assert text in self.said[start:], (text, self.said)
        self.at = self.said.index(text, start) + len(text)
        return self.said[start : self.at]

    def type(self, text):
        os.write(self.handle, text.encode())

    def insist(self, key, text):
        """Press ``key`` until ``text`` is said: readline drops what comes while it sets the terminal up."""
        for _ in range(9):
            self.type(key)
            with suppress(AssertionError):
                return self.until(text, 5.0)
        return self.until(text)


def own():
    """Have this terminal, and ctrl-C from it."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who starts the tests in the background has it ignored


def test_a_conversation_on_a_terminal(both):
    there = Terminal(line_of("chat", both, "--temperature", "0", "--max-tokens", "400", "--logit-bias", "1=-100"))
    try:
        there.until("> ")
        there.type("Where is the old house?\n")
        there.until("house?")
        there.until(",")  # it writes
        there.type("\x03")  # ctrl-C: the turn, not the session
        there.until("(stopped)")
        there.until("> ")
        there.insist("\x03", "/quit ends")
        for typed, said in (
            ("/what", "there is no /what"),
            ("/help", "/reset begins anew"),
            ("/system Be brief.", "\n"),
            ("/reset", "\n"),
            ("x " * 600, "/reset begins anew"),
        ):
            there.until("> ")
            there.type(typed + "\n")
            there.until(said)
        there.until("> ")
        there.type("Who?\n")
        there.until(",")
        there.type("\x03")
        there.until("(stopped)")
        there.until("> ")
        there.type("\x04")
        assert "turns=2" in there.until("downlink_bytes_per_token")
        assert there.process.wait(30) == 0
    finally:
        there.process.kill()


def test_lines_from_a_pipe_are_turns(both):
    asked = "Where is the old house?\n\nWho lives in it?\n/reset\nWhere is the old house?\n" + "x " * 600
    line = line_of("chat", both, "--temperature", "0", "--max-tokens", "12", "--stop", "zzz", "--system", "Dark.")
    found = subprocess.run(line, input=asked, capture_output=True, text=True, env=ENV, cwd=ROOT, check=False)
    assert found.returncode == 1
    assert "the target holds" in found.stderr.splitlines()[-1]
    answers = found.stdout.rstrip("\n").split("\n")
    assert answers[0] == answers[2]


def test_an_endpoint_ends_when_it_is_told_to(both, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    draft, address = both
    given = ("--model", draft, "--edge", address, "--listen", "127.0.0.1:0", "--api-key", str(keys))
    with (
        command("serve", *given, "--model-name", "mine") as (process, url),
        openai.OpenAI(base_url=url, api_key="secret", timeout=60) as client,
    ):
        stream = client.completions.create(model="mine", prompt="The old", max_tokens=400, stream=True)
        next(iter(stream))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "0.0.0.0:80"], "anybody could ask"),
        (["--listen", "0.0.0.0:80", "--insecure", "--api-key", "x"], "say one of them"),
        (["--listen", "nowhere"], "no address"),
        (["--sessions", "0"], "at least 1"),
        (["--edge-key", "x"], "--key"),
    ],
)
def test_wrong_arguments_of_serve(capsys, arguments, said):
    with pytest.raises(SystemExit):
        serve.parse(["--model", "x", *arguments])
    assert said in capsys.readouterr().err
    assert serve.parse(["--model", "x", "--listen", "[::1]:80"]).listen == "[::1]:80"


def test_wrong_arguments_of_chat(capsys, tmp_path):
    for arguments, said in (
        (["--stop", ""], "stop"),
        (["--max-tokens", "0"], "at least 1"),
        (["--top-p", "2"], "top_p"),
    ):
        with pytest.raises(SystemExit):
            chat.parse(["--model", "x", *arguments])
        assert said in capsys.readouterr().err
    (tmp_path / "keys").write_text("\n")
    with pytest.raises(ValueError, match="no key"):
        serve.read_keys(tmp_path / "keys")
