"""Command-line arguments of an edge whose target runs in an inference server of its own."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from tslt_runtime.scheduler import Pass
from tslt_runtime.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tslt_runtime.verifiers.servers.verifier import ServerVerifier

ENGINES = ("vllm", "llama-server")
FLEET = "ray"
"""The engine of an edge over replicas: ``commands.fleet``."""
API_KEY = "TSLT_SERVER_API_KEY"
"""Environment variable with the key that a server wants."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; see ``check`` and ``load``."""
    group = parser.add_argument_group(
        "inference server",
        "the target runs in a server that is there already; --model then names what it runs, for the tokenizer alone:\n"
        "by default what vLLM says, and for llama-server its .gguf file.  Its key, if it wants one, is read from\n"
        f"{API_KEY}",
    )
    kinds = "the kind of server, or ray: a fleet (below)"
    group.add_argument("--engine", choices=(*ENGINES, FLEET), help=kinds)
    group.add_argument("--url", metavar="URL", help="where it is, like http://127.0.0.1:8000")


def check(args: argparse.Namespace, *, default: str | None) -> None:
    """Raise ValueError for arguments that do not belong together; ``default``: of ``--model``, if there is one."""
    if not args.engine:
        if args.url:
            raise ValueError("--url is of an inference server: say --engine too")
        if args.model is None:
            raise ValueError("the following arguments are required: --model")
        return
    if args.engine not in ENGINES:
        return
    if not args.url:
        raise ValueError(f"--engine {args.engine} needs --url")
    if args.model is default:  # nobody named it: the default is no server's
        args.model = None
    if args.model is None and args.engine == "llama-server":
        raise ValueError("--engine llama-server needs --model, the .gguf file that it runs or its tokenizer's folder")


def load(args: argparse.Namespace, *, on_pass: Callable[[Pass], None]) -> tuple[ServerVerifier, Tokenizer]:
    """Connect to the server that the arguments name; errors as ``connect``."""
    return connect(args.engine, args.url, model=args.model, api_key=os.environ.get(API_KEY, ""), on_pass=on_pass)


def connect(
    engine: str, url: str, *, model: str | None, api_key: str, on_pass: Callable[[Pass], None] = lambda _: None
) -> tuple[ServerVerifier, Tokenizer]:
    """Connect to a server of one of ``ENGINES``; errors as ``verifiers.servers.loading``."""
    from tslt_runtime.loading import load_described
    from tslt_runtime.verifiers.servers.loading import load_llama_server, load_vllm

    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a call
    if engine == "vllm":
        return load_vllm(url, load_described, model=model, api_key=api_key, on_pass=on_pass)
    if model is None:
        raise ValueError(f"{engine} does not say which model it runs")
    return load_llama_server(url, load_described, model=model, api_key=api_key, on_pass=on_pass)
