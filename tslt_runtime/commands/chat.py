"""Talk with the target: a conversation of many turns, on caches that both ends keep.

tslt chat --model draft.gguf --edge tcp://edge.example:5757 --key device.key --edge-key edge.pub
tslt chat --model meta-llama/Llama-3.2-1B-Instruct --system "You are brief." --max-tokens 400

A line is a turn; ctrl-C stops an answer, ctrl-D or /quit ends it all; /reset begins anew, /system TEXT with another
system prompt.  Lines from a file or a pipe are answered one after the other.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tslt_transports.untrusted import printable

from tslt_runtime.capture import Capture, capturing
from tslt_runtime.chat.messages import Conversation
from tslt_runtime.chat.template import ChatTemplate, template_of
from tslt_runtime.commands import connecting, who
from tslt_runtime.commands.options import (
    add_common,
    add_sampling,
    asked_sampling,
    at_least_one,
    load_options,
    set_up,
    shipped,
    standard_input,
)
from tslt_runtime.commands.report import CONTROL
from tslt_runtime.commands.running import complain, run_command
from tslt_runtime.connection import EdgeError
from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.stops import stops_of
from tslt_runtime.streaming import BlockingTextDevice, Ending
from tslt_wire.frames.kinds import Role

HELP = (
    "/reset begins anew, /system TEXT likewise with another system prompt, /quit or ctrl-D ends; ctrl-C stops an answer"
)
NAME = "tslt chat"


def parse(argv: list[str] | None = None, *, prog: str = NAME, model: Path | None = None) -> argparse.Namespace:
    """Read the command line; ``model``: the draft model that is taken if none is named."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser, "draft", model)
    connecting.add(parser)
    talk = parser.add_argument_group("conversation")
    talk.add_argument("--system", metavar="TEXT", help="what the target is told first (nothing)")
    add_template(talk)
    talk.add_argument(
        "--max-tokens", type=at_least_one, metavar="N", help="of an answer (as many as the contexts hold)"
    )
    talk.add_argument("--stop", action="append", default=[], metavar="TEXT", help="ends an answer; may be said often")
    talk.add_argument("--quiet", action="store_true", help="the answers alone, and errors")
    add_sampling(parser, temperature=None)
    args = parser.parse_args(argv)
    try:
        who.check_device(args)
        asked_sampling(args)
        stops_of(args.stop)
    except ValueError as error:
        parser.error(str(error))
    return args


def add_template(group: argparse._ArgumentGroup) -> None:
    """Add what names a chat template."""
    words = "the target's chat template, in Jinja (the one in the draft model's files)"
    group.add_argument("--chat-template", type=Path, metavar="FILE", help=words)


@contextmanager
def interrupts_noted() -> Iterator[list[int]]:
    """A list that has an item for each ctrl-C while this lasts; they are raised as well."""
    found: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield found
        return

    def note(number: int, frame: object) -> None:
        found.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, before)


class Chat:
    """A conversation on a terminal, or of the lines of a file."""

    def __init__(self, device: BlockingTextDevice, args: argparse.Namespace) -> None:
        """``args``: those of ``parse``."""
        self._device = device
        self._args = args
        self._talk = Conversation(args.system)
        self._terminal = sys.stdin is not None and sys.stdin.isatty()
        self.turns = 0
        """Questions that were answered, at least in part."""
        self.tokens = 0
        """Tokens of all answers."""

    def run(self) -> None:
        """Answer until there are no more lines."""
        for line in self._lines():
            if line.startswith("/"):
                if not self._command(line):
                    return
            elif line.strip():
                self._turn(line)

    def _lines(self) -> Iterator[str]:
        if not self._terminal:
            for raw in standard_input():
                yield raw.decode().rstrip("\r\n")
            return
        with suppress(ImportError):
            importlib.import_module("readline")
        while True:
            try:
                yield input("> ")
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print("\n(ctrl-D or /quit ends the conversation)", file=sys.stderr)

    def _command(self, line: str) -> bool:
        """Do what a line with a slash says; False to end."""
        name, _, rest = line.partition(" ")
        if name == "/reset":
            self._talk.reset()
        elif name == "/system":
            self._talk = Conversation(rest.strip() or None)
        elif name == "/quit":
            return False
        elif name == "/help":
            print(HELP, file=sys.stderr)
        else:
            print(f"there is no {printable(name)}: {HELP}", file=sys.stderr)
        return True

    def _turn(self, question: str) -> None:
        messages, answer = self._talk.ask(question), ""
        try:
            pieces = self._device.stream(messages=messages, tokens=self._args.max_tokens, stop=self._args.stop)
            with interrupts_noted() as interrupted:
                for piece in pieces:
                    answer += piece
                    self._write(piece)
                    if interrupted:  # one that came where Python drops exceptions, while an object is freed say
                        raise KeyboardInterrupt
        except KeyboardInterrupt:
            self._note("stopped")
        except (EdgeError, EngineError, ValueError) as error:
            if not self._terminal:
                raise
            complain(NAME, f"{error}; /reset begins anew")
        else:
            if self._device.ending is Ending.CONTEXT:
                self._note("the context is full: /reset begins anew")
        finally:
            if answer:
                self._write("\n")
            self.turns += bool(answer)
            self.tokens += self._device.written
            self._talk.answer(answer)

    def _write(self, text: str) -> None:
        # An edge shall not move the terminal's cursor.
        sys.stdout.write(text.translate(CONTROL) if sys.stdout.isatty() else text)
        sys.stdout.flush()

    def _note(self, text: str) -> None:
        if not self._args.quiet:
            print(f" ({text})", file=sys.stderr, flush=True)


def run(args: argparse.Namespace, capture: Capture | None = None) -> None:
    """Load the draft, connect, talk."""
    from tslt_runtime.loading import load_draft

    sampling = asked_sampling(args)
    draft, tokenizer = load_draft(args.model, **load_options(args))
    theirs = connecting.target_tokenizer(args)
    template: ChatTemplate = template_of(theirs or tokenizer, args.chat_template)
    options = {**connecting.connect_options(args), "target_tokenizer": theirs}
    if capture:
        options["wrap"] = lambda link: capture.link(link, end=Role.DEVICE)
    if args.seed is not None:
        options |= {"seed": args.seed, "settings": connecting.seeded_settings(sampling)}
    with BlockingTextDevice.connect(draft, tokenizer, sampling=sampling, template=template, **options) as device:
        device.require_template()
        welcome = device.device.welcome
        if not args.quiet:
            print(f"draft model: {draft.facts.model}, here; target model: {printable(welcome.model)}", file=sys.stderr)
        chat = Chat(device, args)
        sent, received = device.device.bytes_sent, device.device.bytes_received
        chat.run()
        sent, received = device.device.bytes_sent - sent, device.device.bytes_received - received
    if not args.quiet:
        each = max(1, chat.tokens)
        figures = f"uplink_bytes_per_token={sent / each:.1f} downlink_bytes_per_token={received / each:.1f}"
        print(f"chat: turns={chat.turns} tokens={chat.tokens} {figures}", file=sys.stderr)


def main(argv: list[str] | None = None, *, prog: str = NAME, model: Path | None = None) -> int:
    """Entry point; returns the exit status.  ``prog``, ``model``: see ``parse``; a checkout has models of its own."""
    args = parse(argv, prog=prog, model=model or shipped("draft"))

    def work() -> None:
        with capturing(args.capture) as capture:
            set_up(args)
            run(args, capture)

    return run_command("chat", work)


if __name__ == "__main__":
    sys.exit(main())
