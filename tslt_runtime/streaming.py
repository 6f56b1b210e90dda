"""Text in, text out: a prompt goes in as text, and what the target writes comes out in pieces, as it is verified.

``TextDevice`` for programs that use asyncio, ``BlockingTextDevice`` for those that do not.  The evidence of each round
is a planner's choice unless ``settings`` names one; the text is distributed as the target's own either way.

    from tslt_runtime.loading import load_draft
    from tslt_runtime.streaming import BlockingTextDevice

    draft, tokenizer = load_draft("examples/pair/draft")
    with BlockingTextDevice.connect(draft, tokenizer, edge="tcp://127.0.0.1:5757") as device:
        for piece in device.stream("The old house stood", tokens=100):
            print(piece, end="", flush=True)

And with asyncio:

    import asyncio
    from tslt_runtime.loading import load_draft
    from tslt_runtime.streaming import TextDevice

    async def main(path):
        draft, tokenizer = load_draft(path)
        async with TextDevice.connect(draft, tokenizer, edge="tcp://127.0.0.1:5757") as device:
            async for piece in device.stream("The old house stood", tokens=100):
                print(piece, end="", flush=True)

    asyncio.run(main("examples/pair/draft"))
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from tslt_transports import ClientTls, Link, PublicKey, SecretKey

import tslt_wire as tw
from tslt_runtime.autopilot import Autopilot
from tslt_runtime.chat.messages import Message, messages_of
from tslt_runtime.chat.template import ChatTemplate, require_the_targets, source_of, template_of
from tslt_runtime.connection import PATIENCE_S, Recovery
from tslt_runtime.device import Device
from tslt_runtime.dialing import Dialer, device_keys
from tslt_runtime.draft_vocabulary import DraftVocabulary
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.protocol import DraftEngine
from tslt_runtime.fingerprint import vocabulary_of
from tslt_runtime.pieces import Piece, Pieces
from tslt_runtime.rounds import Round
from tslt_runtime.seeds import NONCE_BYTES, device_nonce, device_rng
from tslt_runtime.stops import stops_of
from tslt_runtime.timing import WANTED
from tslt_runtime.tokenizer import tokenizer_of
from tslt_wire import checks
from tslt_wire.messages.extensions import MOST_PADDING
from tslt_wire.messages.log_probs import WANTED as LOG_PROBS_WANTED
from tslt_wire.messages.repeat import WANTED as REPEAT
from tslt_wire.session.negotiation import OUR_EVIDENCE

EDGE = "tcp://127.0.0.1:5757"
"""Where an edge listens unless told otherwise."""
TOKENS = 256
"""Tokens of a text at most, unless told otherwise."""
CANCEL_S = 1.0
"""Seconds that a cancelled call of the blocking twin has to end."""
_Result = TypeVar("_Result")


class Ending(StrEnum):
    """Why a text ended where it did."""

    END = "end of text"
    STOP = "stop string"
    TOKENS = "tokens"
    """As many as were asked for."""
    CONTEXT = "context full"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a prompt came to."""

    prompt: int = 0
    """Its tokens."""
    kept: int = 0
    """Those of them that the two ends had in their caches."""


def tokens_of(tokenizer: Any, text: str) -> list[int]:
    """The tokens of ``text``, with those that a text begins with; ``tokenizer``: what ``tokenizer_of`` takes.

    Those that it has already are not put there again: ``<s>`` in a text of a model that begins with it.  Raises
    ValueError if there are none: a model needs something to go on from.
    """
    own = tokenizer_of(tokenizer)
    ids = own.tokens_of(text)
    if not ids:
        raise ValueError("the prompt has no tokens: give it a text")
    twice = len(ids) > 1 and ids[0] == ids[1] and own.is_silent(ids[0])
    return own.tokens_of(text, bare=True) if twice else ids


def hello_of(
    draft: DraftEngine,
    tokenizer: Any,
    sampling: tw.Sampling | tw.SamplingRequest,
    *,
    evidence: str = "list",
    entropy: str = "range",
    priors: Sequence[str] = (tw.DEFAULTS.prior,),
    log_probs: bool = False,
    padding: int = 0,
    nonce: bytes = bytes(NONCE_BYTES),
    vocabulary: DraftVocabulary | None = None,
) -> tw.Hello:
    """What a device with this draft model says first; what is named is preferred, all else offered as well.

    ``nonce``: what makes it differ from other devices' (``seeds.device_nonce``).
    ``log_probs``: whether it asks for the log probabilities of its tokens (``Round.log_probs``).
    ``vocabulary``: the draft's, for a ``Device`` that is given it, too (see there); None: ``tokenizer`` alone counts.
    ``padding``: bytes of which the lengths of frames, both ends', are to be multiples; 0: they are as long as they are.
    Raises VocabularyMismatch for a tokenizer of another model, ValueError for a padding of more than 65,536.
    """
    facts = draft.facts
    found = vocabulary.facts if vocabulary else vocabulary_of(tokenizer, vocab_size=facts.vocab_size)
    padding = checks.integer("padding", padding, 0, MOST_PADDING)
    return tw.Hello(
        vocab_size=found.vocab_size,
        tokenizer=found.fingerprint,
        ordinary=found.ordinary if vocabulary else b"",
        token_map=vocabulary.token_map.fingerprint if vocabulary and vocabulary.token_map else b"",
        model=facts.model,
        sampling=sampling,
        evidence=tuple(dict.fromkeys((evidence, *OUR_EVIDENCE))),
        entropy=tuple(dict.fromkeys((entropy, "none"))),
        priors=tuple(dict.fromkeys((*priors, "none"))),
        nonce=nonce,
        extra={**WANTED, **(LOG_PROBS_WANTED if log_probs else {}), **({"padding": padding} if padding else {})},
    )


class TextDevice:
    """A device that takes and gives text.  For one task at a time."""

    def __init__(
        self,
        device: Device,
        tokenizer: Any,
        *,
        settings: DraftSettings | None = None,
        template: ChatTemplate | None = None,
    ) -> None:
        """``device``: one that has shaken hands, see ``connect``.

        ``tokenizer``: that of its draft model, see ``tokenizer_of``.  ``settings``: how every round is drafted; None
        lets a planner choose.  ``template``: of conversations; None: the tokenizer's own.
        """
        self.device = device
        """The device below: its session, its rounds, what it agreed on."""
        self._tokenizer = tokenizer_of(tokenizer)
        self._rounds: Callable[[int], AsyncIterator[Round]] = (
            partial(device.generate, settings=settings) if settings else Autopilot(device).generate
        )
        self._template = template
        self._pieces = Pieces(self._tokenizer)
        self._texts = 0
        self.ending: Ending | None = None
        """Why the last text that was written as far as it was asked for ended there."""
        self.usage = Usage()
        """What the last prompt came to."""
        self.written = 0
        """Tokens that were written after it, those that a stop string took back included."""
        self.log_probs: list[float] = []
        """Log probability of each token of the text so far in the target's distribution, in nats, if ``connect`` was
        told to ask for them; those of a piece that ``stream`` gave are among them."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        draft: DraftEngine,
        tokenizer: Any,
        *,
        edge: str | Sequence[str] = EDGE,
        transport: str = "zmq",
        tls: ClientTls | None = None,
        key: SecretKey | str | Path | None = None,
        edge_key: PublicKey | str | Path | None = None,
        link: Link | None = None,
        sampling: tw.Sampling | tw.SamplingRequest | None = None,
        settings: DraftSettings | None = None,
        seed: int | None = None,
        timeout_s: float = 60.0,
        patience_s: float = PATIENCE_S,
        log_probs: bool = False,
        target_tokenizer: Any = None,
        template: ChatTemplate | None = None,
        repeat: bool = False,
        padding: int = 0,
        ahead: int = 0,
        window: int = 1,
        reach_s: float | None = None,
        wrap: Callable[[Link], Link] = lambda link: link,
    ) -> AsyncIterator[Self]:
        """Shake hands with the edge at ``edge``; says goodbye at the end of the ``with`` block.

        Several edges take over from each other in their order: a link that breaks, or an edge that dies, is a pause for
        the caller, of at most ``patience_s`` seconds, and then an EdgeError, after which the next call tries again.

        ``key``: this device's secret key, or its file; ``edge_key``: the edge's public key, its line or its file.
        ``link``: one that is open already, in the place of these, ``edge``, ``transport`` and ``tls`` (those of
        ``tslt_transports.connect``).  ``sampling``: what the target's logits go through, of a ``SamplingRequest`` what
        it names; the rest, or with None all, is the target's own: ``device.session.sampling`` is what is in force.
        ``settings``: see ``TextDevice``.  ``seed``: of this end's random numbers, None takes fresh ones.
        ``timeout_s``: seconds that an edge may take to come up, and an answer to come.  ``log_probs``: asks for the log
        probabilities of the tokens.  ``target_tokenizer``: the target's, see ``tokenizer_of``, where the draft model
        has another one (``loading.load_tokenizer`` reads it): texts are cut by it.  ``template``: see ``TextDevice``.

        ``repeat``: asks for the random numbers that the edge gave the same HELLO before, so that with a ``seed`` and
        ``settings`` the same prompts give the same texts; the session ends with its link.  Whether the edge does it:
        ``tslt_wire.messages.repeat.repeats(device.welcome)``.  ``wrap``: what every link is put into, a capture's say.
        ``padding``: see ``hello_of``.  ``ahead``, ``window``: see ``Device``.  ``reach_s``: seconds that an edge may
        take to come up, in place of ``timeout_s``.

        Raises LinkError, EdgeError, VocabularyMismatch.
        """
        size = draft.facts.vocab_size
        vocabulary = DraftVocabulary(tokenizer, vocab_size=size, target_tokenizer=target_tokenizer)
        hello = hello_of(
            draft,
            tokenizer,
            sampling or tw.SamplingRequest(),
            evidence=settings.evidence if settings else "list",
            log_probs=log_probs,
            nonce=device_nonce(seed),
            padding=padding,
            vocabulary=vocabulary,
        )
        if repeat:
            hello = replace(hello, extra={**hello.extra, **REPEAT})
        recovery = None
        if link is None:
            dialer = Dialer(transport, edge, tls=tls, keys=device_keys(key, edge_key))
            dialer.wrap = wrap
            link = await dialer.reach(timeout_s if reach_s is None else reach_s)
            recovery = None if repeat else Recovery(dial=dialer, patience_s=patience_s)
        device = Device(
            link,
            draft.open(),
            hello,
            rng=device_rng(seed),
            reply_timeout_s=timeout_s,
            recovery=recovery,
            vocabulary=vocabulary,
            most_leaves=draft.facts.most_leaves,
            ahead=ahead,
            window=window,
        )
        try:
            await device.open()
            yield cls(device, vocabulary.tokenizer, settings=settings, template=template)
        finally:
            await device.close()

    def require_template(self) -> None:
        """Raise TemplateError for a template that was given, or came with the tokenizer, and is not the target's."""
        if self._template is not None or source_of(self._tokenizer) is not None:
            _ = self.template

    @property
    def template(self) -> ChatTemplate:
        """What makes a text of messages; TemplateError if there is none, or if the target's is another one."""
        if self._template is None:
            self._template = template_of(self._tokenizer)
        return require_the_targets(self._template, self.device.welcome)

    async def stream(
        self,
        prompt: str | None = None,
        *,
        messages: Sequence[Message] | None = None,
        tokens: int | None = TOKENS,
        stop: str | Sequence[str] = (),
    ) -> AsyncIterator[str]:
        """Yield what the target writes after ``prompt``, piece by piece, until ``tokens`` tokens or the text's end.

        A prompt starts another text, and so do ``messages``, ``{"role": "user", "content": "..."}`` each, which the
        target is to answer (``template``); neither of them goes on with the text there is.  What a text begins with
        that both ends have in their caches is not sent nor read again: a conversation's next turn costs what is new.
        ``tokens`` None: as many as the contexts hold.  ``stop``: texts before which it ends.

        Pieces are whole characters, at least one, and do not repeat the prompt.  It may be left or cancelled at any
        time: the round that is under way goes on in the background, and its text comes first where the next call goes
        on.

        Raises EdgeError, after which the text so far is good; ContextFull for a prompt that is too long; ValueError for
        one without tokens, and where another prompt has started another text since; TemplateError.
        """
        async for piece in self.pieces(prompt, messages=messages, tokens=tokens, stop=stop):
            if piece.text:
                yield piece.text

    async def pieces(
        self,
        prompt: str | Sequence[int] | None = None,
        *,
        messages: Sequence[Message] | None = None,
        tokens: int | None = TOKENS,
        stop: str | Sequence[str] = (),
    ) -> AsyncGenerator[Piece, None]:
        """Like ``stream``, each piece with its tokens; a prompt may be tokens, too."""
        stop = stops_of(stop)
        if prompt is not None and messages is not None:
            raise ValueError("a prompt and messages start a text each: give one of them")
        if messages is not None:
            await self._begin(self.template.tokens(self._tokenizer, messages_of(messages)))
        elif prompt is not None:
            await self._begin(tokens_of(self._tokenizer, prompt) if isinstance(prompt, str) else list(prompt))
        elif not self.device.session.prefix:
            raise ValueError("there is no text to go on with: the first call needs a prompt")
        mine, self.ending = self._texts, None
        self._pieces.stop_at(stop)
        most = self.written + (max(0, self.device.room + 1) if tokens is None else tokens)
        async for round_ in self._rounds(most - self.written):
            self.log_probs += round_.log_probs
            before = self._pieces.written
            piece = self._pieces.add(round_.tokens, round_.log_probs)
            self.written += self._pieces.written - before
            if stopped := self._pieces.stopped:
                self.ending = Ending.STOP
                await self._cut_back()
            if piece.text or piece.tokens:
                yield piece
            if mine != self._texts:
                raise ValueError("this text is over: another prompt has started another one since")
            if stopped:
                return
        if self.device.session.state is tw.State.ENDED:
            self.ending = Ending.END
        else:
            self.ending = Ending.TOKENS if self.written >= most else Ending.CONTEXT
        # Where the text can go on, what is left of a character may still become whole.
        rest = self._pieces.finish() if self.ending is Ending.END else self._pieces.release()
        if rest.text or rest.tokens:
            yield rest

    async def _begin(self, ids: list[int]) -> None:
        """Start the text of these tokens."""
        before, self._pieces = self._pieces, Pieces(self._tokenizer, ids)
        try:
            kept = await self.device.prompt(ids, keep=None)  # cancelled, it goes on
        except Exception:
            self._pieces = before
            raise
        self.usage = Usage(prompt=len(ids), kept=kept)
        self._texts += 1
        self.written, self.log_probs = 0, []

    async def _cut_back(self) -> None:
        """Take what came with a stop string out of the text, at both ends."""
        keep = self._pieces.keep
        del self.log_probs[keep - self.usage.prompt :]
        self._pieces = Pieces(self._tokenizer, self.device.session.prefix[:keep])
        await self.device.prompt((), keep=keep)


class BlockingTextDevice:
    """``TextDevice`` for programs without asyncio: its event loop runs in a thread of its own.

    For one thread at a time.
    """

    def __init__(self, inner: TextDevice, loop: asyncio.AbstractEventLoop) -> None:
        """``loop``: the running one that ``inner`` belongs to; see ``connect``."""
        self._inner = inner
        self._loop = loop
        self._ready: deque[str] = deque()

    @classmethod
    @contextmanager
    def connect(cls, draft: DraftEngine, tokenizer: Any, **options: Any) -> Iterator[Self]:
        """See ``TextDevice.connect``: the same arguments, but ``link``."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="tslt device", daemon=True)
        thread.start()
        opened = TextDevice.connect(draft, tokenizer, **options)
        try:
            inner = _wait(opened.__aenter__(), loop)
            try:
                yield cls(inner, loop)
            finally:
                _wait(opened.__aexit__(None, None, None), loop)
        finally:
            _wait(_end(), loop)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    @property
    def log_probs(self) -> list[float]:
        """See ``TextDevice.log_probs``."""
        return self._inner.log_probs

    @property
    def device(self) -> Device:
        """See ``TextDevice.device``; to be read, all else belongs to another thread."""
        return self._inner.device

    @property
    def ending(self) -> Ending | None:
        """See ``TextDevice.ending``."""
        return self._inner.ending

    @property
    def written(self) -> int:
        """See ``TextDevice.written``."""
        return self._inner.written

    def require_template(self) -> None:
        """See ``TextDevice.require_template``."""
        self._inner.require_template()

    def stream(
        self,
        prompt: str | None = None,
        *,
        messages: Sequence[Message] | None = None,
        tokens: int | None = TOKENS,
        stop: str | Sequence[str] = (),
    ) -> Iterator[str]:
        """See ``TextDevice.stream``; ctrl-C and ``break`` leave it."""
        if prompt is not None or messages is not None:
            self._ready.clear()
        pieces, more = self._inner.stream(prompt, messages=messages, tokens=tokens, stop=stop), True
        while more or self._ready:
            if self._ready:
                yield self._ready.popleft()
            else:
                more = _wait(self._next(pieces), self._loop)

    async def _next(self, pieces: AsyncIterator[str]) -> bool:
        """Get a piece ready, False at the text's end; one that comes while the wait is interrupted is not lost."""
        piece = await anext(pieces, None)
        if piece is not None:
            self._ready.append(piece)
        return piece is not None


async def _end() -> None:
    """Bring what is left in this event loop to its end."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


def _wait(work: Coroutine[Any, Any, _Result], loop: asyncio.AbstractEventLoop) -> _Result:
    """What ``work`` gives, run by ``loop`` in its thread; cancelled if the wait is interrupted, and over then.

    An interrupt may come anywhere in here, also before there is a future: what began must end, or the next call would
    find the device in use.
    """
    ended, given_up = threading.Event(), threading.Event()
    tasks: list[asyncio.Task[Any] | None] = []

    async def run() -> _Result:
        tasks.append(asyncio.current_task())
        try:
            if given_up.is_set():
                work.close()
                raise asyncio.CancelledError
            return await work
        finally:
            ended.set()

    def give_up() -> None:
        given_up.set()
        for task in tasks:
            if task is not None:
                task.cancel()

    try:
        return asyncio.run_coroutine_threadsafe(run(), loop).result()
    except Exception:
        raise
    except BaseException:
        loop.call_soon_threadsafe(give_up)
        ended.wait(CANCEL_S)
        raise
