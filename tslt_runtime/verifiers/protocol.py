"""What a verifier is: something that answers drafts, wherever the target runs.

The edge driver knows nothing else.  A verifier says what it serves exactly, evidence and sampling settings, and the
edge offers no more.  What it keeps for a text is a cache: it can be lost at any time, and is rebuilt from the request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

import tslt_wire as tw
from tslt_runtime.engines.protocol import EngineFacts
from tslt_wire import checks
from tslt_wire.session.negotiation import OUR_EVIDENCE, takes_all
from tslt_wire.verification.adjustments import Allowed

Asked = tw.DraftReceived | tw.MoreAsked | tw.ListReceived
"""What an edge has to answer: a draft, or what a device sent after its proposals or its question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierFacts:
    """What an edge must know of a verifier."""

    engine: EngineFacts
    """The target: vocabulary, context, tokens that end a text, most nodes and leaves."""
    evidence: tuple[str, ...] = OUR_EVIDENCE
    """Kinds of evidence that it serves exactly, by the specification's names."""
    refusal: Callable[[tw.Sampling], str | None] = takes_all
    """Why it does not serve these sampling settings exactly; None if it does."""
    evidence_for: Callable[[tw.Sampling], tuple[str, ...]] | None = None
    """Which of ``evidence`` it serves exactly with these settings; None: all, whatever they are."""

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError for facts of no verifier."""
        if not isinstance(self.engine, EngineFacts):
            raise TypeError(f"engine must be EngineFacts, got {self.engine!r}")
        if isinstance(self.evidence, str) or not self.evidence:
            raise TypeError(f"evidence must be several names, got {self.evidence!r}")
        names = tuple(checks.one_of("a kind of evidence", name, OUR_EVIDENCE) for name in self.evidence)
        object.__setattr__(self, "evidence", names)
        if not callable(self.refusal):
            raise TypeError(f"refusal must be a function of sampling settings, got {self.refusal!r}")
        if not (self.evidence_for is None or callable(self.evidence_for)):
            raise TypeError(f"evidence_for must be a function of sampling settings or None, got {self.evidence_for!r}")


class Numbers:
    """An answer's random numbers, made when they are first asked for: the model does not wait for them."""

    __slots__ = ("_lock", "_made", "_make")

    def __init__(self, make: Callable[[], np.random.Generator]) -> None:
        """``make``: makes the generator, the same one each time."""
        self._make = make
        self._made: np.random.Generator | None = None
        self._lock = threading.Lock()

    def __call__(self) -> np.random.Generator:
        """The generator: the same object each time, from whatever thread, so that nothing is drawn twice."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def __reduce__(self) -> tuple[type[Numbers], tuple[partial[np.random.Generator]]]:
        """For requests that travel to another process: the generator as it is, and nothing that others follow from."""
        return Numbers, (partial(_given, self()),)


def _given(generator: np.random.Generator) -> np.random.Generator:
    return generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One thing to answer, with all that the answer depends on: the same request has the same answer anywhere."""

    prefix: tuple[int, ...]
    """Tokens that both ends agree on, those before a rejected token included once proposals were sent."""
    sampling: tw.Sampling
    """The target's settings in force."""
    asked: Asked
    numbers: Numbers
    """See ``generator``."""
    coupling: tw.Coupling | None = None
    """The shared numbers of evidence ``coupled``."""
    prompt_length: int = 0
    """Tokens of ``prefix`` that are the prompt's; those after them are the output, which penalties look at."""
    log_probs: bool = False
    """Whether the device wants to know the log probabilities of its tokens (``tw.with_log_probs``)."""
    following: tuple[tw.Draft, ...] = ()
    """Drafts in flight that are here already, oldest first: each continues the one before it, the first one the draft
    that is to be answered, if that is accepted whole.  They are not checked yet.  The answer does not depend on them; a
    verifier may make their rows in the same pass."""

    @property
    def generator(self) -> np.random.Generator:
        """The edge's random numbers for this step: they depend on nothing but the session's secret, round and step."""
        return self.numbers()

    def text(
        self, tree: tw.TokenTree | None, eos_tokens: Sequence[int], allowed: Allowed | None = None
    ) -> tw.SampledText:
        """The text before the rows of ``tree``, for ``tw.target_rows``; see ``tw.SampledText``."""
        prompt, output = self.prefix[: self.prompt_length], self.prefix[self.prompt_length :]
        return tw.SampledText(prompt=prompt, output=output, tree=tree, eos_tokens=eos_tokens, allowed=allowed)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and what the session keeps until the round is over."""

    answer: tw.Answer
    row: Any = None
    """The target's row where a token was rejected, if the verifier has it at hand: it comes back with what the device
    sends next.  None: the verifier makes it anew."""
    scored_before: bool = False
    """Whether its rows were made with those of a draft before it (``Request.following``)."""
    others: int = 0
    """Other texts for which the target worked meanwhile, as far as the verifier knows."""
    row_s: float = 0.0
    """Seconds that a row more adds to a pass of the target; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a text has cost so far."""

    seconds: float
    """Of the target: of what several texts shared, its part."""
    tokens: int
    """Tokens that the target read for it without giving rows: its prompts, and what had to be read again."""


class Verifier(Protocol):
    """Answers drafts."""

    @property
    def facts(self) -> VerifierFacts:
        """What it serves."""
        ...

    def open(self, name: str = "") -> Any:
        """Return a handle for one device's text, opaque to the edge.

        ``name``: the text's, the same at every edge that may go on with it; "": it has none.
        """
        ...

    def release(self, text: Any) -> None:
        """Free what is kept for a text; does not wait."""
        ...

    def spent(self, text: Any) -> Spent:
        """What a text has cost so far; it may say 0 of what nobody measures."""
        ...

    async def read(self, text: Any, prefix: tuple[int, ...]) -> None:
        """Get ready for drafts after ``prefix``: a prompt came.  Optional work; ``answer`` does what is missing."""
        ...

    async def answer(self, text: Any, request: Request) -> Reply:
        """Answer a draft, or what followed it; exactly, for the evidence and settings of ``facts``.

        A draft's ``rejection``, where the device has heard of one over another link, goes to ``tw.verify``: the answer
        is given this.
        Raises ContextFull where the target's context ends.
        """
        ...

    def close(self) -> None:
        """Free what all texts share."""
        ...
