"""The devices that an edge talks to: a file with one public line each (``keys``), read again when it changed."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tslt_transports.checks import check_kind
from tslt_transports.keys import PublicKey, SecretKey, key_lines
from tslt_transports.link import MIB

log = logging.getLogger("tslt.keys")

MOST_BYTES: Final = 16 * MIB
"""Bytes of an allow-list: some hundred thousand devices."""

_Stamp = tuple[int, int, int]


class AllowList:
    """An allow-list file.  Every look-up sees the file as it is now: whoever was removed is refused from then on.

    A link that is open already stays open.  Where the file cannot be read any more, or has a broken line, the devices
    it had last are what counts, and an error is logged.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the file.  Raises ``OSError``; ``ValueError``, which names file and line, for what is no key."""
        check_kind("path", path, str, Path)
        self._path = Path(path)
        self._stamp = _stamp(self._path)
        self._index(read_allowed(self._path))

    def __len__(self) -> int:
        """How many devices are on it."""
        return len(self._by_signing)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def reload(self) -> bool:
        """Read the file again, changed or not; returns whether that went well.  What is wrong with it is logged."""
        try:
            self._stamp = _stamp(self._path)
            self._index(read_allowed(self._path))
        except (OSError, ValueError) as error:
            log.error("the allow-list stays as it was, with %d devices: %s", len(self), error)
            return False
        log.info("%s: %d devices may talk", self._path, len(self))
        return True

    def by_signing(self, key: bytes) -> PublicKey | None:
        """The device with this Ed25519 key, None if it is not on the list."""
        self._refresh()
        return self._by_signing.get(key)

    def by_agreement(self, key: bytes) -> PublicKey | None:
        """The device with this X25519 key, None if it is not on the list."""
        self._refresh()
        return self._by_agreement.get(key)

    def _refresh(self) -> None:
        try:
            changed = _stamp(self._path) != self._stamp
        except OSError as error:
            if self._stamp != _GONE:
                self._stamp = _GONE
                log.error("the allow-list stays as it was, with %d devices: %s", len(self), error)
            return
        if changed:
            self.reload()

    def _index(self, keys: list[PublicKey]) -> None:
        self._by_signing = {key.signing: key for key in keys}
        self._by_agreement = {key.agreement: key for key in keys}
        if not keys:
            log.warning("%s names no device: everybody is refused until one is added (tslt keys add)", self._path)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeKeys:
    """What an edge proves itself with, and whom it talks to.  Raises ``TypeError`` for anything else."""

    own: SecretKey
    """The edge's own key."""
    allowed: AllowList
    """The devices that may talk; all others are refused."""

    def __post_init__(self) -> None:
        """Refuse what is no key and no list."""
        check_kind("own", self.own, SecretKey)
        check_kind("allowed", self.allowed, AllowList)


_GONE: Final[_Stamp] = (0, 0, 0)


def _stamp(path: Path) -> _Stamp:
    """What changes with the file."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def read_allowed(path: Path) -> list[PublicKey]:
    """The devices of an allow-list file, in order.

    Raises ``OSError``; ``ValueError``, which names file and line, for what is no key, and for half a key that is there
    already.
    """
    found: list[PublicKey] = []
    seen: dict[bytes, int] = {}
    for number, line in key_lines(path, most_bytes=MOST_BYTES):
        try:
            key = PublicKey.parse(line)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
        for half in (key.signing, key.agreement):
            if half in seen:
                raise ValueError(f"{path}:{number}: the key of line {seen[half]} again")
            seen[half] = number
        found.append(key)
    return found


def allow(path: str | Path, key: PublicKey) -> None:
    """Add ``key`` to the file ``path``, which is made if need be.

    Raises ``OSError``; ``ValueError`` where the key, or its name, is there already, or a line is broken.
    """
    file = Path(path)
    present = read_allowed(file) if file.exists() else []
    for other in present:
        if other.name == key.name or {other.signing, other.agreement} & {key.signing, key.agreement}:
            raise ValueError(f"{path} has {other.name} ({other.fingerprint}) already: remove it first")
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    _replace(file, text + ("" if not text or text.endswith("\n") else "\n") + key.line + "\n")


def disallow(path: str | Path, name: str) -> None:
    """Remove the device ``name`` from the file ``path``; comments stay.  Raises ``OSError``, ``ValueError``."""
    file = Path(path)
    names = {number: PublicKey.parse(line).name for number, line in key_lines(file, most_bytes=MOST_BYTES)}
    gone = {number for number, found in names.items() if found == name}
    if not gone:
        raise ValueError(f"{path} has no device {name!r}: it has {', '.join(sorted(names.values())) or 'none'}")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    _replace(file, "".join(line for number, line in enumerate(lines, 1) if number not in gone))


def _replace(path: Path, text: str) -> None:
    """Write a file in one step: who reads it sees the old one or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
