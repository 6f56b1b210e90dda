"""Keys of devices and edges: one secret of 32 bytes each, and one line of text that others know it by.

From the secret follow, by HKDF (RFC 5869) with a label each, an Ed25519 key, which proves a device on QUIC and an edge
that has no other certificate, and an X25519 key, which is the CURVE key of ZeroMQ.  The line has both public halves:

    NAME tslt-key-1 BASE64          64 bytes: the Ed25519 key, then the X25519 key
    NAME tslt-secret-1 BASE64       what a secret file holds: the 32 bytes

A name has 1 to 64 letters, digits, dots, underscores and hyphens.  Nothing is imported from cryptography before a key
is used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tslt_transports.checks import check_kind

KEY_BYTES: Final = 32
"""Bytes of the secret, and of each half of the public key."""

PUBLIC_WORD: Final = "tslt-key-1"
"""The second word of a public line: the kind of key, and the version of the labels below."""

SECRET_WORD: Final = "tslt-secret-1"
"""The second word of a secret file's line."""

_SIGNING_LABEL: Final = b"tslt-key-1 Ed25519"
_AGREEMENT_LABEL: Final = b"tslt-key-1 X25519"

NOT_ALLOWED_HINT: Final = "have its public line added there (tslt keys show FILE, then tslt keys add LIST LINE)"
DEMANDED_HINT: Final = "make one (tslt keys make FILE), have it allowed, and give --key and --edge-key"
NO_KEYS_HINT: Final = "is it the right edge?  One that is started with --key and --allow has keys"
PIN_HINT: Final = "compare --edge-key with what tslt keys show prints there"
"""What to try where keys are why there is no link."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

_OWNER_ONLY: Final = 0o600
"""Mode of a secret file: its owner reads and writes, nobody else does."""

_MOST_FILE_BYTES: Final = 64 * 1024
"""Bytes of a key file that are read at most: one line and some comments."""


def check_name(name: object) -> str:
    """``name``, if it can be one of a device or an edge.  Raises ``TypeError``, ``ValueError``."""
    check_kind("name", name, str)
    text = str(name)
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no name: expected 1 to 64 letters, digits, dots, underscores or hyphens")
    return text


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What others know a device or an edge by.  Two are equal where their keys are, whatever their names."""

    name: str = field(compare=False)
    """Who holds the secret, in words: what logs and budgets call it."""
    signing: bytes
    """The Ed25519 key, 32 bytes."""
    agreement: bytes
    """The X25519 key, 32 bytes: ZeroMQ's CURVE key."""

    def __post_init__(self) -> None:
        """Refuse what is no name and no key."""
        check_name(self.name)
        for what in ("signing", "agreement"):
            value = getattr(self, what)
            check_kind(what, value, bytes)
            if len(value) != KEY_BYTES:
                raise ValueError(f"{what} must have {KEY_BYTES} bytes, not {len(value)}")

    @classmethod
    def parse(cls, line: str) -> PublicKey:
        """Read ``NAME tslt-key-1 BASE64``; words behind them are a comment.  Raises ``ValueError``."""
        check_kind("line", line, str)
        words = line.split()
        if len(words) > 1 and words[1] == SECRET_WORD:
            raise ValueError("this is a secret key: give the public line (tslt keys show FILE prints it)")
        if len(words) < 3 or words[1] != PUBLIC_WORD:
            raise ValueError(f"expected 'NAME {PUBLIC_WORD} BASE64'")
        data = _decode(words[2], 2 * KEY_BYTES)
        return cls(check_name(words[0]), data[:KEY_BYTES], data[KEY_BYTES:])

    @classmethod
    def read(cls, source: str | Path) -> PublicKey:
        """Read a public key: the line itself, or the file that holds it.

        Raises ``OSError`` for a file that cannot be read, ``ValueError``, which names it, for one that holds no key.
        """
        check_kind("source", source, str, Path)
        if isinstance(source, str) and f" {PUBLIC_WORD} " in source:
            return cls.parse(source)
        for number, line in key_lines(Path(source)):
            try:
                return cls.parse(line)
            except ValueError as error:
                raise ValueError(f"{source}:{number}: {error}") from None
        raise ValueError(f"{source} holds no key: expected a line 'NAME {PUBLIC_WORD} BASE64'")

    @property
    def line(self) -> str:
        """The line that ``parse`` reads."""
        return f"{self.name} {PUBLIC_WORD} {base64.b64encode(self.signing + self.agreement).decode()}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of both keys, in 43 letters: what two people compare over the telephone."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.signing + self.agreement).digest()).decode().rstrip("=")

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` (64 bytes) of ``data`` was made with the secret of ``signing``."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.signing).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SecretKey:
    """The secret of a device or an edge, and its name.  It never leaves its file and this process."""

    name: str
    """As ``PublicKey.name``."""
    secret: bytes = field(repr=False)
    """32 random bytes."""

    def __post_init__(self) -> None:
        """Refuse what is no name and no secret."""
        check_name(self.name)
        check_kind("secret", self.secret, bytes)
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"secret must have {KEY_BYTES} bytes, not {len(self.secret)}")

    @classmethod
    def make(cls, name: str) -> SecretKey:
        """A new one, from the operating system's random numbers.  Raises ``ValueError`` for what is no name."""
        return cls(name, secrets.token_bytes(KEY_BYTES))

    @classmethod
    def read(cls, path: str | Path) -> SecretKey:
        """Read a secret file.

        Raises ``OSError`` where it cannot be read; ``ValueError``, which names it, where it holds no secret, and where
        others than its owner may read it.
        """
        check_kind("path", path, str, Path)
        file = Path(path)
        for number, line in key_lines(file):
            words = line.split()
            if len(words) == 3 and words[1] == SECRET_WORD:
                if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                    raise ValueError(
                        f"{path} may be read by others than its owner: chmod 600 {path}, or make a new key"
                    )
                try:
                    return cls(words[0], _decode(words[2], KEY_BYTES))
                except ValueError as error:
                    raise ValueError(f"{path}:{number}: {error}") from None
            break
        raise ValueError(f"{path} holds no secret key: tslt keys make {path} writes one where no file is")

    def write(self, path: str | Path) -> None:
        """Write a secret file that only its owner can read.  Raises ``FileExistsError`` where there is a file."""
        text = f"# Who has this file is {self.name}: never send it.  tslt keys show prints what others need.\n"
        text += f"{self.name} {SECRET_WORD} {base64.b64encode(self.secret).decode()}\n"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w", encoding="ascii") as file:
            file.write(text)

    @property
    def public(self) -> PublicKey:
        """What others know it by."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        signing = Ed25519PrivateKey.from_private_bytes(self.signing_secret).public_key().public_bytes_raw()
        agreement = X25519PrivateKey.from_private_bytes(self.agreement_secret).public_key().public_bytes_raw()
        return PublicKey(self.name, signing, agreement)

    @property
    def signing_secret(self) -> bytes:
        """The Ed25519 secret, 32 bytes."""
        return self._derive(_SIGNING_LABEL)

    @property
    def agreement_secret(self) -> bytes:
        """The X25519 secret, 32 bytes: ZeroMQ's CURVE secret."""
        return self._derive(_AGREEMENT_LABEL)

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature of ``data``, 64 bytes."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.signing_secret).sign(data)

    def _derive(self, label: bytes) -> bytes:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=label).derive(self.secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceKeys:
    """What a device proves itself with, and what it knows its edge by.  Raises ``TypeError`` for anything else."""

    own: SecretKey
    """The device's own key."""
    edge: PublicKey | None = None
    """The edge's, which must be the one that answers.  ZeroMQ needs it; on QUIC it takes the place of authorities."""

    def __post_init__(self) -> None:
        """Refuse what is no key."""
        check_kind("own", self.own, SecretKey)
        check_kind("edge", self.edge, PublicKey, type(None))


def key_lines(path: Path, *, most_bytes: int = _MOST_FILE_BYTES) -> list[tuple[int, str]]:
    """The lines of a file of keys and their numbers, from 1 on, without comments (``#``) and empty ones.

    Raises ``OSError``; ``ValueError`` for a file of more than ``most_bytes`` bytes or another encoding than UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"{path} has more than {most_bytes} bytes: is it a file of keys?")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error.reason} at byte {error.start}") from error
    numbered = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in numbered if line and not line.startswith("#")]


def _decode(text: str, size: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the key is no base64: was it cut, or broken over two lines?") from None
    if len(data) != size:
        raise ValueError(f"the key has {len(data)} bytes, not {size}: was it cut?")
    return data
