"""Run OpenAI's interface on the device: clients talk HTTP with it, it drafts, the edge verifies.

tslt serve --model draft.gguf --edge tcp://edge.example:5757 --key device.key --edge-key edge.pub
tslt serve --model meta-llama/Llama-3.2-1B-Instruct --listen 127.0.0.1:8000 --sessions 4

It takes /v1/chat/completions, /v1/completions and /v1/models.  The base URL of clients is http://127.0.0.1:8000/v1, the
model's name the target's, and any key will do unless --api-key names a file of them.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
import time
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tslt_transports.address import HostPort, is_loopback, parse_address
from tslt_transports.untrusted import printable

import tslt_wire as tw
from tslt_runtime.capture import Capture, capturing
from tslt_runtime.chat.template import source_of, template_of
from tslt_runtime.commands import connecting, who
from tslt_runtime.commands.chat import add_template
from tslt_runtime.commands.options import add_common, at_least_one, load_options, set_up, shipped
from tslt_runtime.commands.running import run_command
from tslt_runtime.streaming import TextDevice
from tslt_wire.frames.kinds import Role

if TYPE_CHECKING:
    from tslt_runtime.chat.template import ChatTemplate
    from tslt_runtime.endpoint.pool import Wanted
    from tslt_runtime.loading import LoadedDraft

NAME = "tslt serve"
LISTEN = "127.0.0.1:8000"
SESSIONS = 4
LEAVE_S = 5.0
"""Seconds that answers have for their end once the endpoint is told to end."""


def parse(argv: list[str] | None = None, *, prog: str = NAME, model: Path | None = None) -> argparse.Namespace:
    """Read the command line; ``model``: the draft model that is taken if none is named."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser, "draft", model, seeded=False)
    connecting.add(parser)
    http = parser.add_argument_group("endpoint")
    http.add_argument(
        "--listen", default=LISTEN, metavar="HOST:PORT", help="where clients come; port 0: any free one (%(default)s)"
    )
    http.add_argument("--api-key", type=Path, metavar="FILE", help="keys that clients may have, a line each")
    http.add_argument("--insecure", action="store_true", help="anybody may ask, from anywhere")
    http.add_argument("--model-name", metavar="NAME", help="what clients call the model (the target's name)")
    add_template(http)
    many = "sessions with the edge, and texts in the caches, at most (%(default)s)"
    http.add_argument("--sessions", type=at_least_one, default=SESSIONS, metavar="N", help=many)
    waiting = "requests that may wait for one (%(default)s)"
    http.add_argument("--waiting", type=at_least_one, default=32, metavar="N", help=waiting)
    largest = "of a request at most (%(default)s)"
    http.add_argument("--max-body", type=at_least_one, default=4, metavar="MB", help=largest)
    args = parser.parse_args(argv)
    try:
        who.check_device(args)
        check_who(args)
    except ValueError as error:
        parser.error(str(error))
    return args


def check_who(args: argparse.Namespace) -> HostPort:
    """The address to listen on; ValueError if anybody could ask there and nothing says that anybody may."""
    where = parse_address(args.listen, scheme="http")
    if args.api_key and args.insecure:
        raise ValueError("--insecure lets anybody ask, --api-key those who have one: say one of them")
    if not (args.api_key or args.insecure or is_loopback(args.listen, scheme="http")):
        raise ValueError(
            f"anybody could ask an endpoint at {where}: give --api-key FILE, with a key a line, or say --insecure"
        )
    return where


def read_keys(path: Path | None) -> tuple[str, ...]:
    """The keys in a file, a line each; ValueError for none, OSError."""
    if path is None:
        return ()
    keys = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if not keys:
        raise ValueError(f"{path} has no key: write one a line")
    return keys


def opener(loaded: LoadedDraft, template: ChatTemplate | None, wrap: Any, options: dict[str, Any]) -> Any:
    """What opens a session of the pool."""

    def open_session(wanted: Wanted) -> AbstractAsyncContextManager[TextDevice]:
        given = dict(options)
        if wanted.seed is not None:
            given |= {"seed": wanted.seed, "settings": connecting.seeded_settings(wanted.sampling), "repeat": True}
        return TextDevice.connect(
            *loaded, sampling=wanted.sampling, log_probs=wanted.log_probs, template=template, wrap=wrap, **given
        )

    return open_session


async def run(args: argparse.Namespace, capture: Capture | None = None) -> None:
    """Load the draft, shake hands once, serve until SIGINT or SIGTERM."""
    from tslt_runtime.endpoint.app import LOOPBACK_NAMES, Served, application
    from tslt_runtime.endpoint.pool import Pool, Wanted
    from tslt_runtime.loading import load_draft

    where, keys = check_who(args), read_keys(args.api_key)
    loaded = load_draft(args.model, **load_options(args))
    theirs = connecting.target_tokenizer(args)
    tokenizer = theirs or loaded.tokenizer
    named = args.chat_template is not None or source_of(tokenizer) is not None
    template = template_of(tokenizer, args.chat_template) if named else None
    wrap = partial(capture.link, end=Role.DEVICE) if capture else lambda link: link
    options = {**connecting.connect_options(args), "target_tokenizer": theirs}
    open_session = opener(loaded, template, wrap, options)
    pool = Pool(open=open_session, most=args.sessions, waiting=args.waiting)
    try:
        async with pool.lend(Wanted(tw.SamplingRequest()), ()) as device:
            device.require_template()
            target = printable(device.device.welcome.model)
            context = device.device.context
        options["reach_s"] = args.patience  # at the start an edge may come up later; then clients wait
        if template is None:
            print(
                "serve: the draft model has no chat template: /v1/completions alone (--chat-template)", file=sys.stderr
            )
        served = Served(
            model=args.model_name or target,
            context=context,
            tokenizer=tokenizer,
            template=template,
            keys=keys,
            hosts=() if args.insecure or keys else LOOPBACK_NAMES,
            most_body=args.max_body << 20,
            created=int(time.time()),
        )
        await listen(application(served, pool), where, served.model)
    finally:
        await pool.close()


async def listen(app: Any, where: HostPort, model: str) -> None:
    """Serve ``app`` until SIGINT or SIGTERM."""
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    with socket.create_server((where.host, where.port), family=family) as door:
        server = server_of(app)
        end_by_signal(server)
        bound = HostPort(where.host, door.getsockname()[1])
        # One line for people and for scripts that wait until clients may come.
        print(f"serve: {model} listens on http://{bound}/v1", flush=True)
        await server._serve([door])


def server_of(app: Any) -> Any:
    """What serves ``app``, with uvicorn."""
    import uvicorn

    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(LEAVE_S),
    )
    return uvicorn.Server(config)


def end_by_signal(server: Any) -> None:
    """Let SIGINT and SIGTERM end ``server``; the second one does not wait for answers."""
    loop = asyncio.get_running_loop()

    def told() -> None:
        server.force_exit, server.should_exit = server.should_exit, True

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, told)


def main(argv: list[str] | None = None, *, prog: str = NAME, model: Path | None = None) -> int:
    """Entry point; returns the exit status.  ``prog``, ``model``: see ``parse``; a checkout has models of its own."""
    args = parse(argv, prog=prog, model=model or shipped("draft"))

    def work() -> None:
        with capturing(args.capture) as capture:
            set_up(args)
            asyncio.run(run(args, capture))

    return run_command("serve", work)


if __name__ == "__main__":
    sys.exit(main())
