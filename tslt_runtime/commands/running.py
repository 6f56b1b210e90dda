"""Run a command: what goes wrong in a way that we know is one line on stderr, and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tslt_transports import LinkError

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.engines.protocol import EngineError

FAILED = 1
"""Exit status of what could not be done; wrong arguments are 2."""
INTERRUPTED = 130
"""Exit status after ctrl-C."""
KNOWN = (EdgeError, LinkError, EngineError, tw.ProtocolError, OSError, ValueError)
"""Errors whose message says what is wrong; all others are faults of ours, and show where they are."""
EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "tokenizers", "safetensors"), "transformers"),
    "gguf": "llamacpp",
    **dict.fromkeys(("zmq", "nacl"), "zmq"),
    **dict.fromkeys(("aioquic", "cryptography"), "quic"),
    **dict.fromkeys(("msgpack", "orjson", "google", "matplotlib", "rich", "openai"), "bench"),
    "zstandard": "zstd",
    "jinja2": "chat",
    **dict.fromkeys(("starlette", "uvicorn"), "serve"),
    "prometheus_client": "metrics",
    **dict.fromkeys(("ray", "grpc"), "ray"),
}
"""The extra of the package that installs a module."""


def run_command(name: str, work: Callable[[], int | None]) -> int:
    """Do ``work`` for the command ``name`` and return its exit status: the one ``work`` gives, None is 0."""
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # who started us closed it
            setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - to the process's end
    try:
        status = work() or 0
        sys.stdout.flush()
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS:
            raise
        return complain(name, missing_package(missing))
    except BrokenPipeError:
        # Who read our output has gone, as head does.  What is still to be written must not complain at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KNOWN as error:
        return complain(name, error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def missing_package(module: str) -> str:
    """What to do about a package that is not installed; ``module``: a key of ``EXTRAS``."""
    extra = EXTRAS[module]
    said = f"{module} is not installed: pip install 'tslt-wire[{extra}]'"
    if extra == "transformers":
        return f"{said}, or run the model with llama.cpp (tslt-wire[llamacpp]): tslt convert FOLDER FILE.gguf"
    return said


def complain(name: str, what: object) -> int:
    """Say in one line what went wrong; returns the exit status."""
    print(f"{name}: {' '.join(str(what).split())}", file=sys.stderr)
    return FAILED
