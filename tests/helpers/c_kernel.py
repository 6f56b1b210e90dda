"""Object files of the kernel and the device in C, compiled once for all tests that want the same flags."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "tslt_wire" / "_native"
FOLDER = ROOT / "build" / "kernel-objects"
"""A folder for each compiler and set of flags."""
CC = os.environ.get("CC", "cc")
STRICT = ["-std=c11", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Wpedantic", "-Wcast-qual", "-Werror"]


def kernel_objects(compiler: str = CC, flags: Sequence[str] = (*STRICT, "-fPIC")) -> list[str]:
    """Paths of one object file a source; RuntimeError with what the compiler says where one does not compile.

    They are made by the first process that asks, while others wait for it, and again when a source or the compiler is
    another one.
    """
    found = shutil.which(compiler) or compiler
    command = [found, *flags, f"-I{NATIVE}", "-c", *map(str, sorted(NATIVE.glob("*.c")))]
    folder = FOLDER / hashlib.sha256("\0".join(command).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    done, now = folder / "made-of", _digest(Path(found))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != now:
            done.unlink(missing_ok=True)
            for old in folder.glob("*.o"):
                old.unlink()
            made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if made.returncode:
                raise RuntimeError(made.stderr)
            done.write_text(now)
    return [str(path) for path in sorted(folder.glob("*.o"))]


def _digest(compiler: Path) -> str:
    """Of what the object files are made of and by."""
    said = hashlib.sha256(str((compiler.resolve(), compiler.stat().st_mtime)).encode())
    for source in sorted(NATIVE.glob("*.[ch]")):
        said.update(source.name.encode() + b"\0" + source.read_bytes())
    return said.hexdigest()
