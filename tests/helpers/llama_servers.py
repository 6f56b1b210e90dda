"""llama.cpp's own HTTP server in a process of its own: ``python llama_servers.py MODEL.gguf`` prints its address."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SLOTS, CONTEXT = 8, 256


@contextmanager
def llama_server(model: Path) -> Iterator[str]:
    """The address of a server that runs ``model``, until the block ends."""
    command = [sys.executable, __file__, str(model)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.PIPE, text=True
    ) as process:
        try:
            for line in process.stdout or ():
                if line.startswith("listens on "):
                    break
            else:
                raise ChildProcessError("the server did not start")
            yield line.removeprefix("listens on ").strip()
        finally:
            process.kill()


def main(model: str) -> None:
    """Serve until stdin ends."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * CONTEXT
    params.port, params.warmup = 0, False
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    print(f"listens on {server.listening_address}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
