"""Where figures come from: machine, versions and the sources' commit."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import tslt_wire as tw

PACKAGES = ("numpy", "torch", "transformers", "tokenizers", "xllamacpp", "matplotlib", "msgpack", "zstandard")
"""Besides this one, those that figures may depend on."""
SOURCES = Path(__file__).resolve().parents[3]
"""The repository, in a checkout."""
PROGRAMS = ("tslt_wire", "tslt_runtime", "transports", "benchmarks/tslt_benchmarks")
"""Folders of it whose files make figures what they are."""


def versions() -> dict[str, str]:
    """Of this package, its specification, Python and what is installed of ``PACKAGES``."""
    found = {
        "tslt-wire": tw.__version__,
        "specification": str(tw.SPEC_VERSION),
        "kernel": tw.backend,
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str]:
    """Processor, cores that may be used, memory, system."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": str(usable),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "model name" not in said:
        return _mac_processor() or platform.processor() or platform.machine()
    kind = [f"{name} {said[name]}" for name in ("cpu family", "model", "stepping") if name in said]
    return ", ".join([said["model name"], *kind])  # clouds hide a processor's number, not what it is


def _mac_processor() -> str:
    try:
        found = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()


def _memory() -> str:
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return "unknown"
    return f"{size / (1 << 30):.0f} GiB"


def load() -> float | None:
    """Processes that wanted a core in the last minute; None where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def now() -> str:
    """Date and time, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def commit(sources: Path = SOURCES) -> str:
    """Of a checkout: its commit, and whether it is clean or a hash of what was changed; else ``version X.Y.Z``."""
    elsewhere = f"version {tw.__version__}"
    if not (sources / ".git").exists():
        return elsewhere
    try:
        name = _git(sources, "rev-parse", "HEAD").decode().strip()
        changed = _git(sources, "diff", "HEAD", "--", *PROGRAMS)
        for new in _git(sources, "ls-files", "-z", "--others", "--exclude-standard", "--", *PROGRAMS).split(b"\0"):
            changed += new + (sources / new.decode()).read_bytes() if new else b""
    except (OSError, subprocess.CalledProcessError):
        return elsewhere
    return f"{name}, " + (f"with changes {hashlib.sha256(changed).hexdigest()[:12]}" if changed else "clean")


def _git(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True).stdout
