"""Who may talk, from the command line: `tslt keys`, and the options of edge and device."""

from __future__ import annotations

import re
import stat

import pytest
from tslt_transports import PublicKey, SecretKey

from tslt_runtime.commands import device, edge
from tslt_runtime.commands.keys import main
from tslt_runtime.dialing import device_keys


def said(capsys, *arguments) -> str:
    assert main([str(one) for one in arguments]) == 0
    return capsys.readouterr().out


def failed(capsys, *arguments) -> str:
    assert main([str(one) for one in arguments]) == 1
    return capsys.readouterr().err


def test_keys_from_the_command_line(tmp_path, capsys):
    secret, listed = tmp_path / "kitchen.key", tmp_path / "devices.txt"
    line = said(capsys, "make", secret)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert line.startswith("kitchen tslt-key-1 ")
    assert said(capsys, "show", secret) == line
    fingerprint = PublicKey.parse(line).fingerprint
    (tmp_path / "kitchen.pub").write_text(line)
    for key in (secret, tmp_path / "kitchen.pub", line.strip()):
        assert said(capsys, "fingerprint", key) == f"{fingerprint}\n"
    assert "File exists" in failed(capsys, "make", secret)
    other = said(capsys, "make", tmp_path / "x", "--name", "garden")
    assert said(capsys, "add", listed, line.strip()) == f"kitchen {fingerprint}\n"
    said(capsys, "add", listed, other.strip())
    assert said(capsys, "list", listed).splitlines()[0] == f"kitchen {fingerprint}"
    assert "has kitchen" in failed(capsys, "add", listed, tmp_path / "kitchen.pub")
    assert "secret key" in failed(capsys, "add", listed, secret)
    assert said(capsys, "remove", listed, "kitchen") == ""
    assert said(capsys, "list", listed) == f"garden {PublicKey.parse(other).fingerprint}\n"
    assert "no device 'kitchen'" in failed(capsys, "remove", listed, "kitchen")
    listed.write_text("what is this\n")
    assert f"{listed}:1: expected" in failed(capsys, "list", listed)
    assert "is no name" in failed(capsys, "make", tmp_path / "y", "--name", "a b")
    assert not (tmp_path / "y").exists()


KEYS = ("--key", "k", "--allow", "a")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--key", "k"), "belong together"),
        (("--allow", "a"), "belong together"),
        ((*KEYS, "--insecure"), "say one of them"),
        (("--cert", "c"), "--cert-key belong together"),
        (("--cert", "c", "--cert-key", "k"), "for --transport quic"),
        (("--transport", "quic"), "tslt keys make"),
        (("--listen", "tcp://0.0.0.0:5757"), "tslt keys make FILE.*--insecure"),
        (("--listen", "tcp://*:5757"), "anybody could talk"),
        (("--listen", "tcp://[::]:5757"), "anybody could talk"),
        (("--listen", "tcp://edge.example:5757"), "anybody could talk"),
        (("--transport", "quic", "--listen", "0.0.0.0:1", "--cert", "c", "--cert-key", "k"), "anybody could talk"),
        (("--listen", "nothing"), "is no address"),
    ],
)
def test_an_edge_that_does_not_say_who_may_talk_does_not_start(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        edge.parse(["--model", "x", *arguments])
    assert stopped.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(words, said), said


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--listen", "tcp://127.0.0.2:1"),
        ("--listen", "tcp://localhost:1"),
        ("--listen", "tcp://[::1]:1"),
        ("--listen", "tcp://0.0.0.0:1", "--insecure"),
        ("--listen", "tcp://0.0.0.0:1", *KEYS),
        ("--transport", "quic", "--listen", "0.0.0.0:1", *KEYS),
        ("--transport", "quic", *KEYS, "--cert", "c", "--cert-key", "k"),
        ("--transport", "quic", "--cert", "c", "--cert-key", "k"),
    ],
)
def test_an_edge_that_says_who_may_talk(arguments):
    assert edge.parse(["--model", "x", *arguments]).listen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--edge-key", "e"), "demands one of the device"),
        (("--key", "k"), "needs --edge-key"),
        (("--ca", "c"), "for --transport quic"),
        (("--edge-cert-sha256", "c"), "for --transport quic"),
        (("--edge", "foo"), "'foo' is no address: expected host:port"),
        (("--edge", "tcp://127.0.0.1:5757", "--edge", "quic://127.0.0.1:1"), "is no address"),
        (("--edge", "tcp://127.0.0.1:0"), "port 0, at which nobody can be dialed"),
        (("--transport", "quic", "--edge-cert-sha256", "zz"), "must be 64 hexadecimal digits"),
    ],
)
def test_a_device_whose_options_do_not_go_together(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        device.parse(["--model", "x", *arguments])
    assert stopped.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_keys_of_files_lines_and_objects(tmp_path):
    own, lab = SecretKey.make("kitchen"), SecretKey.make("lab").public
    own.write(tmp_path / "own")
    (tmp_path / "lab").write_text(lab.line)
    assert device_keys(None, None) is None
    for key in (own, tmp_path / "own", str(tmp_path / "own")):
        for edge_key in (lab, lab.line, tmp_path / "lab"):
            found = device_keys(key, edge_key)
            assert (found.own, found.edge) == (own, lab)
    assert device_keys(own, None).edge is None
    with pytest.raises(ValueError, match="give key as well"):
        device_keys(None, lab)
