"""The most memory that an edge's answer takes beside its model's logits.

The kernel allocates for itself, so that only the system can say: a forked process answers rounds of few tokens, so that
all code is loaded, gives free memory back to the system (``malloc_trim``), so that nothing hides in it, sets the peak
of its resident memory back (``/proc/self/clear_refs``), answers the round, and reads how far the peak is above what was
resident before.  The system counts to some 0.25 MB.  Linux with glibc only: elsewhere there is no figure.

    python -m tslt_benchmarks.speed.round_memory 128256 0 "chain of 4"
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tslt_benchmarks.speed.made_up_rounds import (
    SETTINGS,
    SHAPES,
    Round,
    Rows,
    evidence_for,
    made_up_rows,
    make_round,
    own_rows,
)

_FEW, _SMALL = 300, 8
"""Tokens and number of the rounds that are only there to load code, on all its branches."""
_NO_HUGE_PAGES = 41
"""Linux's PR_SET_THP_DISABLE: with a page of 2 MB a few bytes would look like many."""
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

Bytes = dict[tuple[str, str], int]
"""By evidence and setting."""


def rows_for(vocab_size: int, shape: str, seed: int, own: Path | None) -> Rows:
    """The rows of a draft of this shape: made up, or of the file ``own``."""
    nodes = int(np.cumprod(SHAPES[shape]).sum())
    if own is None:
        return made_up_rows(vocab_size, nodes, seed)
    return own_rows(np.load(own, mmap_mode="r"), nodes, seed)


def peaks(
    vocab_size: int,
    shape: str,
    *,
    seed: int = 0,
    own: Path | None = None,
    settings: Sequence[str] = tuple(SETTINGS),
) -> Bytes:
    """Peak of each kind of evidence and each of ``settings``, bytes, one round each; empty where it cannot be read."""
    if not (hasattr(ctypes.CDLL(None), "malloc_trim") and os.access(_CLEAR, os.W_OK)):
        return {}
    # The folders of this process, which need not be installed.
    code = f"import sys\nsys.path[:] = {sys.path!r}\nfrom tslt_benchmarks.speed.round_memory import measure\nmeasure()"
    arguments = [str(vocab_size), str(seed), shape, str(own or ""), *settings]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return {(evidence, setting): value for evidence, setting, value in map(json.loads, done.stdout.splitlines())}


def measure() -> None:
    """Print evidence, setting and bytes, a line of JSON each; see ``peaks``."""
    vocab_size, seed, shape, own, *settings = [*sys.argv[1:], *[""] * (4 - len(sys.argv[1:]))]
    rows = rows_for(int(vocab_size), shape, int(seed), Path(own) if own else None)
    for evidence in evidence_for(shape):
        round_ = make_round(rows, evidence, shape)
        small = [make_round(made_up_rows(_FEW, len(rows.target) - 1, i), evidence, shape) for i in range(_SMALL)]
        for setting in settings or SETTINGS:
            print(json.dumps([evidence, setting, _in_a_fork(round_, small, setting)]), flush=True)


def _in_a_fork(round_: Round, small: Sequence[Round], setting: str) -> int:
    """Bytes that ``round_`` takes, in a process that has made no row before."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, str(_peak(round_, small, setting)).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        raise RuntimeError(f"the process that was to answer a round with {setting} failed")
    return int(said)


def _peak(round_: Round, small: Sequence[Round], setting: str) -> int:
    for one in small:
        _answer(one, setting)
    gc.collect()
    gc.disable()
    ctypes.CDLL(None).malloc_trim(0)
    ctypes.CDLL(None).prctl(_NO_HUGE_PAGES, 1, 0, 0, 0)
    _CLEAR.write_text("5")
    before = _resident("VmRSS")
    _answer(round_, setting)
    return _resident("VmHWM") - before


def _answer(round_: Round, setting: str) -> None:
    round_.answer(round_.target_rows(round_.rows.target, SETTINGS[setting]), round_.generator())


def _resident(name: str) -> int:
    """A line of this process's status, bytes."""
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    measure()
