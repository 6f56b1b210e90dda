"""A decoder that runs as a process of its own and answers lines with lines; many lines are under way at a time.

One thread writes and one reads, so that neither end waits for the other with both pipes full.  A decoder that dies or
is silent is started again, and what it had not answered is asked one line at a time, to find the line that did it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Protocol, TypeVar

UNDER_WAY = 256
"""Most lines that are asked and not answered."""
MOST_BYTES = 1 << 28
"""Of an answer; a list of 2^21 entries takes a fifth of it."""
MOST_BREAKS = 10
"""After so many lines that broke it a decoder is not started again."""
POSIX = os.name == "posix"


class Broken(Exception):
    """The decoder gave no answer: it died, was silent, or said more than a line can have."""


class GivenUp(Exception):
    """The decoder broke too often, or cannot be started."""


class Asked(Protocol):
    """What is asked."""

    @property
    def line(self) -> bytes:
        """The line, with its line feed."""


A = TypeVar("A", bound=Asked)


class Process:
    """A decoder that is running; GivenUp if it cannot be started."""

    def __init__(self, command: Sequence[str], limit_s: float) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=POSIX
            )
        except OSError as error:
            raise GivenUp(f"{command[0]} cannot be started: {error.strerror or error}") from error
        self._limit_s, self._extra_s = limit_s, limit_s  # the first answer may take twice as long: it has to start
        self._questions: queue.Queue[bytes | None] = queue.Queue()
        self._answers: queue.Queue[bytes] = queue.Queue(4 * UNDER_WAY)
        self._threads = [
            threading.Thread(target=work, args=[pipe], daemon=True)
            for work, pipe in ((self._write, self._process.stdin), (self._read, self._process.stdout))
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, pipe: BinaryIO) -> None:
        with contextlib.suppress(OSError), pipe:
            while (line := self._questions.get()) is not None:
                pipe.write(line)
                if self._questions.empty():
                    pipe.flush()

    def _read(self, pipe: BinaryIO) -> None:
        with pipe:
            while line := pipe.readline(MOST_BYTES):
                self._answers.put(line)
        self._answers.put(b"")

    def ask(self, line: bytes) -> None:
        """Send a line."""
        self._questions.put(line)

    def answer(self) -> bytes:
        """The next line of the decoder; Broken if there is none."""
        try:
            line = self._answers.get(timeout=self._limit_s + self._extra_s)
        except queue.Empty:
            raise Broken(f"no answer within {self._limit_s:g} s (is the output flushed after each line?)") from None
        self._extra_s = 0
        if line.endswith(b"\n"):
            return line
        if len(line) == MOST_BYTES:
            raise Broken(f"a line of more than {MOST_BYTES} bytes")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._limit_s)
        half = f" after half a line, {line[:100]!r}" if line else ""
        raise Broken(f"the decoder ended{half}; its exit status is {self._process.poll()}")

    def end(self) -> None:
        """Tell the decoder that nothing follows, and wait for its end; Broken if it says more, or goes on."""
        self._questions.put(None)
        try:
            line = self._answers.get(timeout=self._limit_s + self._extra_s)
            if line:
                raise Broken(f"more lines than were asked for: {line[:100]!r}")
            self._process.wait(self._limit_s)
        except (queue.Empty, subprocess.TimeoutExpired):
            raise Broken(f"still running {self._limit_s:g} s after the end of its input") from None

    def kill(self) -> None:
        """End it, and what it started, whatever they do."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL) if POSIX else self._process.kill()
        self._process.wait()
        self._questions.put(None)
        for _ in range(20):  # the reader may wait for room
            if not any(thread.is_alive() for thread in self._threads):
                break
            with contextlib.suppress(queue.Empty):
                self._answers.get(timeout=0.05)


def answers(
    command: Sequence[str], following: Callable[[], A | None], limit_s: float
) -> Iterator[tuple[A, bytes | Broken]]:
    """Ask what ``following`` gives until it gives None and all is answered; each with its answer, in order.

    What follows may depend on the answers so far.  GivenUp after MOST_BREAKS lines without an answer, Broken if the
    decoder does not end with its input.
    """
    waiting: deque[A] = deque()
    breaks, process = 0, Process(command, limit_s)
    try:
        while True:
            while len(waiting) < UNDER_WAY and (asked := following()) is not None:
                waiting.append(asked)
                process.ask(asked.line)
            if not waiting:
                process.end()
                return
            try:
                line = process.answer()
            except Broken as broken:
                cause = broken
            else:
                yield waiting.popleft(), line
                continue
            found: list[tuple[A, bytes | Broken]] = []
            for asked in waiting:
                if not found or isinstance(found[-1][1], Broken):
                    process.kill()
                    process = Process(command, limit_s)
                process.ask(asked.line)
                try:
                    found.append((asked, process.answer()))
                except Broken as broken:
                    found.append((asked, broken))
                    breaks += 1
                    if breaks == MOST_BREAKS:
                        break
            if not any(isinstance(answer, Broken) for _, answer in found):
                found[0] = found[0][0], Broken(f"{cause}; it answered when it was asked this line alone")
                breaks += 1
            yield from found
            if breaks >= MOST_BREAKS:
                raise GivenUp(f"{breaks} lines had no answer; the rest was not asked")
            if isinstance(found[-1][1], Broken):
                process.kill()
                process = Process(command, limit_s)
            waiting.clear()
    finally:
        process.kill()
