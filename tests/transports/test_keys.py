"""Keys, their files, and lists of who may talk."""

from __future__ import annotations

import base64
import logging
import os
import stat

import pytest
import zmq
from tslt_transports import AllowList, DeviceKeys, EdgeKeys, PublicKey, SecretKey
from tslt_transports.allow_list import allow, disallow, read_allowed
from tslt_transports.keys import KEY_BYTES
from zmq.utils import z85

SECRET = SecretKey("kitchen", bytes(range(32)))
LINE = "kitchen tslt-key-1 bLTHskUQlszCQziJjUOwQ2rLkx6nerH9H6H/w0dv9Xm2I8fi7tLl7/e8B2ZZbmBYNSpBY+rEC6jqA4MSEIgcLw=="


def test_the_keys_that_follow_from_a_secret_are_these():
    """A new version of a library must not give everybody new keys."""
    assert SECRET.public.line == LINE
    assert PublicKey.parse(LINE) == SECRET.public
    assert SECRET.public.fingerprint.startswith("SHA256:")
    assert len(SECRET.public.fingerprint) == len("SHA256:") + 43


def test_libzmq_reckons_the_same_public_key():
    public = zmq.curve_public(z85.encode(SECRET.agreement_secret))
    assert z85.decode(public) == SECRET.public.agreement


def test_a_signature_is_of_its_data_and_its_key():
    signature = SECRET.sign(b"data")
    assert SECRET.public.verify(signature, b"data")
    assert not SECRET.public.verify(signature, b"other data")
    assert not SECRET.public.verify(bytes(64), b"data")
    assert not SECRET.public.verify(b"", b"data")
    assert not SecretKey.make("kitchen").public.verify(signature, b"data")


def test_each_secret_is_another_one():
    one, two = SecretKey.make("a"), SecretKey.make("a")
    assert one.secret != two.secret
    assert one.public != two.public
    assert "secret=" not in repr(one)
    assert len({one.signing_secret, one.agreement_secret, one.secret}) == 3


def test_a_secret_file(tmp_path):
    path = tmp_path / "kitchen.key"
    SECRET.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SecretKey.read(path) == SECRET
    with pytest.raises(FileExistsError):
        SecretKey.make("other").write(path)
    assert SecretKey.read(str(path)) == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_secret_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "kitchen.key"
    SECRET.write(path)
    os.chmod(path, mode)
    with pytest.raises(ValueError, match="chmod 600"):
        SecretKey.read(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no secret key"),
        (LINE, "holds no secret key"),
        ("kitchen tslt-secret-1 AAAA", r"key:1: the key has 3 bytes, not 32"),
        ("# a comment\n\nkit chen tslt-secret-1 AAAA", "holds no secret key"),
        ("kit/chen tslt-secret-1 " + base64.b64encode(bytes(32)).decode(), "is no name"),
        ("kitchen tslt-secret-1 ???", "no base64"),
        ("\xff", "is no text"),
    ],
)
def test_what_is_no_secret_file(tmp_path, text, said):
    path = tmp_path / "some.key"
    path.write_bytes(text.encode("latin-1"))
    os.chmod(path, 0o600)
    with pytest.raises(ValueError, match=said) as caught:
        SecretKey.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "expected 'NAME tslt-key-1 BASE64'"),
        ("kitchen ssh-ed25519 AAAA", "expected 'NAME"),
        ("kitchen tslt-key-2 AAAA", "expected 'NAME"),
        ("kitchen tslt-key-1 AAAA", "3 bytes, not 64"),
        (LINE[:-2], "no base64"),
        (LINE.replace("kitchen", "kit\x1b[31mchen"), "is no name"),
        (LINE.replace("kitchen", "k" * 65), "is no name"),
        ("kitchen tslt-secret-1 AAAA", "secret key"),
    ],
)
def test_what_is_no_public_line(line, said):
    with pytest.raises(ValueError, match=said):
        PublicKey.parse(line)


def test_a_public_key_is_read_of_a_line_or_a_file(tmp_path):
    path = tmp_path / "kitchen.pub"
    path.write_text(f"# mine\n{LINE} and a comment\n")
    assert PublicKey.read(LINE) == PublicKey.read(path) == PublicKey.read(str(path)) == SECRET.public
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="holds no key"):
        PublicKey.read(path)
    path.write_text("\n\nno key\n")
    with pytest.raises(ValueError, match="pub:3: expected"):
        PublicKey.read(path)
    with pytest.raises(FileNotFoundError):
        PublicKey.read(tmp_path / "nowhere")
    path.write_bytes(bytes(70_000))
    with pytest.raises(ValueError, match="more than 65536 bytes"):
        PublicKey.read(path)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SecretKey("x", bytes(31)),
        lambda: SecretKey("x y", bytes(32)),
        lambda: PublicKey("x", bytes(32), bytes(33)),
        lambda: SecretKey("x", "y" * KEY_BYTES),
        lambda: PublicKey(1, bytes(32), bytes(32)),
        lambda: DeviceKeys(own=SECRET.public),
        lambda: DeviceKeys(own=SECRET, edge=LINE),
        lambda: EdgeKeys(own=SECRET, allowed="devices.txt"),
    ],
)
def test_what_is_no_key(wrong):
    with pytest.raises((TypeError, ValueError)):
        wrong()


# -------------------------------------------------------------------------------------------------------------- lists


def test_a_list_is_written_and_read(tmp_path):
    path = tmp_path / "devices.txt"
    garden = SecretKey.make("garden").public
    path.write_text("# our devices\n")
    allow(path, SECRET.public)
    allow(path, garden)
    assert read_allowed(path) == [SECRET.public, garden]
    disallow(path, "kitchen")
    assert path.read_text() == f"# our devices\n{garden.line}\n"
    with pytest.raises(ValueError, match="it has garden"):
        disallow(path, "kitchen")
    allow(tmp_path / "new.txt", garden)
    assert read_allowed(tmp_path / "new.txt") == [garden]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["devices.txt", "new.txt"]


def test_a_device_is_not_added_twice(tmp_path):
    path = tmp_path / "devices.txt"
    allow(path, SECRET.public)
    for other in (SECRET.public, SecretKey.make("kitchen").public, SecretKey("garden", SECRET.secret).public):
        with pytest.raises(ValueError, match="has kitchen"):
            allow(path, other)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{LINE}\n\nno line\n", ":3: expected"),
        (f"{LINE}\n# x\n{LINE}\n", ":3: the key of line 1 again"),
        (
            f"a tslt-key-1 {base64.b64encode(SECRET.public.signing + bytes(32)).decode()}\n{LINE}",
            ":2: the key of line 1",
        ),
    ],
)
def test_a_broken_list_names_file_and_line(tmp_path, text, said):
    path = tmp_path / "devices.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        AllowList(path)
    assert str(path) in str(caught.value)


def test_a_list_is_as_its_file_is_now(tmp_path, caplog):
    path = tmp_path / "devices.txt"
    allow(path, SECRET.public)
    listed = AllowList(path)
    signing, agreement = SECRET.public.signing, SECRET.public.agreement
    assert listed.path == path
    assert (listed.by_signing(signing), listed.by_agreement(agreement)) == (SECRET.public, SECRET.public)
    assert listed.by_signing(agreement) is listed.by_agreement(signing) is None
    disallow(path, "kitchen")
    assert listed.by_signing(signing) is None
    allow(path, SECRET.public)
    assert listed.by_agreement(agreement).name == "kitchen"
    path.write_text("no line\n")
    assert listed.by_agreement(agreement) is not None
    assert f"{path}:1:" in caplog.text
    path.unlink()
    caplog.clear()
    for _ in range(3):
        assert listed.by_agreement(agreement) is not None
    assert caplog.text.count("No such file") == 1
    assert not listed.reload()
    path.write_text("")
    with caplog.at_level(logging.INFO, logger="tslt.keys"):
        assert listed.reload()
    assert len(listed) == 0
    assert "0 devices may talk" in caplog.text
