"""One device at an edge, without its link: a frame in, frames out.

For gateways that carry frames themselves; ``tslt_runtime.edge`` joins it to links.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from tslt_transports.rates import LimitedLog
from tslt_transports.untrusted import printable

import tslt_wire as tw
from tslt_runtime.arrivals import in_groups
from tslt_runtime.engines.protocol import ContextFull
from tslt_runtime.overload import Overloaded
from tslt_runtime.sessions import Left, Sessions
from tslt_runtime.timing import wants_timing, with_others, with_row_time, with_verify_time
from tslt_runtime.token_names import in_words
from tslt_runtime.verifiers.protocol import Asked, Numbers, Request, Verifier
from tslt_wire.messages.log_probs import wants_log_probs

log = logging.getLogger("tslt.edge")
caused = LimitedLog(log)
"""For what devices make us say."""


NAME_DIGITS = 32
"""Hexadecimal digits of a text's name: those of 128 bits, so that no two sessions have the same one."""
_NAME_LABEL = b"tslt-wire text name 1\0"
SMALL_FRAME = 1024
"""Bytes of a frame that is decoded at once: a draft's usual size, and less work than handing it to a thread."""


@dataclass(frozen=True, slots=True)
class EdgeRound:
    """What one round cost an edge, for logs and meters."""

    peer: str
    """The device's address, as its link says it."""
    nodes: int
    """Nodes of the draft."""
    tokens: int
    """Tokens the prefix grew by, a proposal that the device has yet to take included."""
    accepted: int
    """Nodes that were accepted."""
    seconds: float
    """From the arrival of the frame that was answered to its answer; where its rows were made for an earlier draft's
    answer, what that took as well."""
    evidence: str
    """Kind of evidence, by the specification's name."""


class EdgeDriver:
    """Serves one device: its session, its text at the verifier.

    Usage: ``for frame in await driver.step(received): send(frame)`` until ``driver.over``; then ``close``.  One step at
    a time.  Drafts in flight that have arrived together are verified together where ``step`` has them together; while
    ``driver.waiting`` another ``step()`` answers the next one.
    """

    def __init__(
        self,
        verifier: Verifier,
        settings: tw.EdgeSettings,
        *,
        secret: bytes = b"",
        sessions: Sessions | None = None,
        identity: str = "",
        owner: str = "",
        peer: str = "device",
        on_round: Callable[[EdgeRound], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``sessions``: those of the edge, which know each session's secret and keep what is left of it.  ``secret``:
        in their place, the session's, at least 16 bytes that no device knows: two drivers that share it give the same
        answers.  ``identity``: the device's, as its link knows it; ``owner``: whose sessions it counts among.
        ``peer``: its name in logs.  ``clock``: seconds, for what the device and ``on_round`` are told.

        TypeError or ValueError for a secret that is none.
        """
        self._verifier = verifier
        self._sessions = sessions
        self._identity, self._owner = identity, owner
        if sessions is None:
            tw.EdgeRandomness(secret)  # refuses an empty one here, not in the first round
            self._session = tw.EdgeSession(settings, secret=secret)
        else:
            self._session = tw.EdgeSession(settings, opening=partial(self._open, sessions))
        self._token = b""
        self._released = False
        self.expected = False
        """Whether the device was told to come back later."""
        self.displaced: Callable[[], None] = lambda: None
        """Called when another link has taken the session."""
        self._text = verifier.open() if sessions is None else None
        """At the verifier; that of a session with a name is opened when HELLO says which."""
        self._peer = peer
        self._on_round = on_round
        self._clock = clock
        self._timing = self._log_probs = False
        self._running: asyncio.Task[None] | None = None
        self._asked = deque[list[bytes]]()  # frames of steps that have not begun
        self._answers = list[bytes]()  # of those that are over, and that nobody was given
        self._waited_for = False
        self._scored_s = 0.0  # of the last draft whose rows were not there yet

    @property
    def session(self) -> tw.EdgeSession:
        """The protocol's side of it; read it, do not change it."""
        return self._session

    @property
    def greeted(self) -> bool:
        """Whether the device has said HELLO."""
        return self._session.state is not tw.State.START

    @property
    def over(self) -> bool:
        """Whether the session has ended: nothing that comes now is answered."""
        return self._session.state in (tw.State.CLOSED, tw.State.FAILED)

    @property
    def waiting(self) -> bool:
        """Whether a draft waits for a ``step`` of its own."""
        return bool(self._session.following) and self._session.state is tw.State.IDLE

    async def step(self, *frames: bytes) -> list[bytes]:
        """Take a frame and return those to send, in order.

        ``frames``: one; or several in the order in which they came; or none, for the next draft that waits.  Of drafts
        that stand together the first is answered, with regard to those that follow it; a frame that is none is taken
        once that is done.  One that is wrong ends the session, and those before it in the same step may get no answer.

        What a device does wrong ends its session: the ERROR frame is among those returned.  What goes wrong here (a
        model that breaks) is logged, the device is told INTERNAL, and nobody else is hurt.  A step that is cancelled
        goes on in the background; the next one returns its frames first.
        """
        if self._waited_for:
            raise tw.LocalProtocolError("one step at a time: another task waits for one")
        self._asked += in_groups(frames) or [[]]
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._steps())
        running, self._waited_for = self._running, True
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            if not running.cancelled() or not self.over:
                raise  # the caller's: the step goes on
            self._answers = []  # another link has the session
        finally:
            self._waited_for = False
        answers, self._answers = self._answers, []
        return answers

    async def _steps(self) -> None:
        while self._asked:
            self._answers += await self._step(self._asked.popleft())

    async def _step(self, frames: Sequence[bytes]) -> list[bytes]:
        started = self._clock()
        try:
            events = [] if frames else self._session.next_events()
            for frame in frames:
                events += await self._decoded(frame)
            for event in events:
                await self._handle(event, started)
        except (tw.DecodeError, tw.RemoteProtocolError) as error:
            caused.warning("%s: refused: %s", self._peer, printable(str(error)))
        except Overloaded as error:
            self._session.fail(tw.ErrorCode.OVERLOADED, str(error), retry_after_s=error.retry_after_s)
            self.expected = True
        except ContextFull as error:
            self._session.fail(tw.ErrorCode.CONTEXT_FULL, str(error))
        except Exception:
            log.exception("%s: the edge failed", self._peer)
            self._session.fail(tw.ErrorCode.INTERNAL, "the edge failed; its log says why")
        return self.queued()

    async def _decoded(self, frame: bytes) -> list[tw.Event]:
        # A HELLO is bounded, and what is known of sessions belongs to this thread.
        if len(frame) <= SMALL_FRAME or not self.greeted:
            return self._session.receive_data(frame)
        # In a thread: a large frame takes long to decode, and the other devices' heartbeats must go on.
        return await asyncio.to_thread(self._session.receive_data, frame)

    def fail(self, code: tw.ErrorCode, message: str) -> list[bytes]:
        """End the session and return the frames that tell the device why."""
        self._session.fail(code, message)
        return self.queued()

    def close(self) -> None:
        """Give up the step that is under way, if there is one, and free the text."""
        if self._sessions is not None:
            self._sessions.forget(self._token, self)
        self._release(self._stop())

    def park(self) -> None:
        """The link is gone: keep what is left of the session for the device's next one, or free it."""
        let_go, text, sessions = self._released, self._stop(), self._sessions
        left = Left(self._session.kept, text, self._session.kept_round)
        if sessions is None or let_go or not sessions.park(self._token, self, left, self._owner):
            self._release(text)
        elif text is not None:
            self._released = True  # it is the sessions' now
            log.info("%s: kept %d tokens", self._peer, len(left.tokens))

    def let_go(self) -> Left:
        """See ``sessions.Holder``."""
        left = Left(self._session.kept, self._stop(), self._session.kept_round)
        self._released = True
        self._session.fail(tw.ErrorCode.UNKNOWN_SESSION, "the session goes on over another link")
        self.displaced()
        return left

    def _open(self, sessions: Sessions, hello: tw.Hello, frame: bytes) -> tw.Opening:
        found, text = sessions.open(hello, frame, identity=self._identity, holder=self)
        self._token = found.token
        name = hashlib.sha256(_NAME_LABEL + found.token).hexdigest()[:NAME_DIGITS] if found.token else ""
        self._text = self._verifier.open(name) if text is None else text
        if hello.resume:
            known = f"{len(found.held)} tokens are here" if found.resumed else "its token is none of this edge's"
            log.info("%s: comes back: %s", self._peer, known)
        return found

    def _stop(self) -> Any:
        """Give up the step under way; the text, or None if that still computes with it: then it is freed after that."""
        if self._running is None or self._running.done():
            return self._text
        self._running.cancel()
        self._release(self._text)
        return None

    def _release(self, text: Any) -> None:
        if text is not None and not self._released:
            self._verifier.release(text)
            self._released = True

    def queued(self) -> list[bytes]:
        """Frames that wait to be sent."""
        frames = []
        while frame := self._session.data_to_send():
            frames.append(frame)
        return frames

    async def _handle(self, event: tw.Event, started: float) -> None:
        match event:
            case tw.SessionOpened(hello):
                self._timing, self._log_probs = wants_timing(hello), wants_log_probs(hello)
                name = printable(hello.model) or "unnamed draft model"
                log.info("%s: %s, %s", self._peer, name, self._session.sampling.in_force())
                self._tell_fit(hello)
            case tw.PromptReceived() | tw.TextResumed():
                if self._sessions is not None:
                    self._sessions.began(self._token)
                await self._verifier.read(self._text, self._session.prefix)
            case tw.DraftReceived() | tw.MoreAsked() | tw.ListReceived():
                await self._answer(event, started)
            case tw.PeerFailed(error):
                caused.warning("%s: gave up: %s: %s", self._peer, error.name, printable(error.message))
            case _:
                pass

    def _tell_fit(self, hello: tw.Hello) -> None:
        """Log which of the target's tokens the device never drafts, as far as this end knows."""
        settings, fit = self._session.settings, self._session.fit
        if hello.token_map:
            log.info("%s: drafts by the token map %s", self._peer, hello.token_map[:8].hex())
        if fit is None or fit is tw.Fit.SAME:
            return
        size = settings.vocab_size
        special = [item for item in settings.others if item[0] < hello.vocab_size] if fit is tw.Fit.RENAMED else []
        beyond = range(hello.vocab_size, size)
        count = len(special) + len(beyond)
        if not count:
            return
        some = in_words(chain(special, ((token, "") for token in beyond)), count)
        which = "%s: %s vocabulary: %d of %d tokens are never drafted: %s"
        log.info(which, self._peer, fit.value, count, size, some)

    async def _answer(self, asked: Asked, started: float) -> None:
        session = self._session
        request = Request(
            prefix=session.prefix,
            sampling=session.sampling,
            asked=asked,
            numbers=Numbers(partial(session.generator, asked)),
            coupling=session.coupling,
            prompt_length=session.prompt_length,
            log_probs=self._log_probs,
            following=session.following,
        )
        reply = await self._verifier.answer(self._text, request)
        seconds = self._clock() - started
        if reply.scored_before:
            seconds += self._scored_s  # the pass that it had a part of
        else:
            self._scored_s = seconds
        answer = reply.answer
        if self._timing:
            answer = with_others(with_verify_time(answer, seconds), reply.others)
            if reply.others:
                answer = with_row_time(answer, reply.row_s)
        sent = session.send_answer(answer, row=reply.row)  # some bytes, at once
        if isinstance(sent, tw.AskList) or (isinstance(sent, tw.Proposals) and sent.batch):
            return  # the round goes on, or was counted
        draft = asked.draft
        nodes = len(draft.tree)
        accepted, own = (len(draft.whole), 0) if isinstance(sent, tw.Whole) else (len(draft.tree.path(sent.node)), 1)
        self._on_round(EdgeRound(self._peer, nodes, accepted + own, accepted, seconds, draft.evidence.name))
