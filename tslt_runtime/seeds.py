"""Random numbers of the device, and the edge's secrets: all independent, whatever seeds are given.

Verification is lossless only if the edge's numbers do not depend on those that the draft was sampled with.  numpy pads
short seeds with zeros, so ``default_rng(5)`` and ``default_rng([5, 0])`` are one stream; here the last word names the
end, and is not zero.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

import numpy as np

SECRET_BYTES = 32
"""Bytes of a session's secret: what HMAC-SHA256 takes whole."""
NONCE_BYTES = 16
"""Bytes of the nonces that are in HELLO and in resume tokens."""
_DEVICE = 0x64657669
_NONCE = 0x6E6F6E63
_MASTER = 0x6D617374
_EDGE = 0x65646765


def device_rng(seed: int | None) -> np.random.Generator:
    """The device's generator; ``None`` takes fresh entropy from the operating system."""
    return np.random.default_rng(None if seed is None else [seed, _DEVICE])


def device_nonce(seed: int | None) -> bytes:
    """What makes a device's HELLO its own, 16 bytes; ``None`` takes it from the operating system."""
    if seed is None:
        return secrets.token_bytes(NONCE_BYTES)
    return np.random.default_rng([seed, _NONCE]).bytes(NONCE_BYTES)


def master_secret(seed: int | None) -> bytes:
    """The master secret of an edge (``tslt_wire.SessionKeys``); ``None`` takes it from the operating system.

    A seed is for experiments: who knows it knows the secrets of all sessions.
    """
    if seed is None:
        return secrets.token_bytes(SECRET_BYTES)
    return np.random.default_rng([seed, _MASTER]).bytes(SECRET_BYTES)


def read_master_secret(path: Path) -> bytes:
    """The master secret in a file of 32 bytes, which is made if it is not there (mode 0600).

    Edges that share the file, after a restart or beside each other, take over each other's sessions.  OSError, and
    ValueError for a file of another size or one that others may read.
    """
    try:
        # Made whole before it has its name: two edges that start at once have one secret.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name) as made:
            made.write(secrets.token_bytes(SECRET_BYTES))
            made.flush()
            os.fsync(made.fileno())
            os.link(made.name, path)
    except FileExistsError:
        pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ValueError(f"{path} may be read by others than its owner: chmod 600 {path}")
    found = path.read_bytes()
    if len(found) != SECRET_BYTES:
        raise ValueError(f"{path} is no master secret: it has {len(found)} bytes, {SECRET_BYTES} are needed")
    return found


def session_secret(seed: int | None, number: int) -> bytes:
    """The secret of an edge's session with its ``number``-th device; ``None`` takes it from the operating system.

    All random numbers of that session follow from it (``tslt_wire.EdgeRandomness``), and the key of evidence
    ``coupled``, which tells the device nothing of them.  A seed is for experiments: who knows it knows the secret.
    """
    if seed is None:
        return secrets.token_bytes(SECRET_BYTES)
    return np.random.default_rng([seed, number, _EDGE]).bytes(SECRET_BYTES)
