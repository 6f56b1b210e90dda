"""A device and the edges that it meets over a link that breaks: sessions alone, all through bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
from session_rounds import FINGERPRINT

import tslt_wire as tw
from tslt_wire.verification.choices import Choices, RandomChoices
from tslt_wire.verification.lazy_rule import verify_list_with
from tslt_wire.verification.proposals import choose_with, propose_with
from tslt_wire.verification.verdicts import verify_with

PROMPT = (0, 1, 0)
ALL = ("list", "match", "coupled", "scalar", "lazy")
KEPT, FORGOT, OTHER = "kept", "forgot", "other"
"""The edge after a link broke: the same, the same but without the session, one with another secret."""
WHOLE, REQUEST, ANSWER = "whole", "request", "answer"
"""What an exchange comes to: all is well, or the link breaks under the request, or under the answer."""
Fate = tuple[str, str]
"""What an exchange comes to, and the edge after it."""
Deliver = Callable[[Any, list[bytes]], list[Any]]
"""What a link makes of frames for a session, and the events that come of it."""


class Replayed:
    """Choices that remember what came out, and give it again: what a secret makes of a round and a step."""

    def __init__(self, choices: Choices, made: list[Any]) -> None:
        self._choices, self._made, self._at = choices, made, 0

    def _next(self, make: Callable[[], Any]) -> Any:
        if self._at == len(self._made):
            self._made.append(make())
        self._at += 1
        return self._made[self._at - 1]

    def accept(self, probability: float) -> bool:
        return bool(self._next(lambda: self._choices.accept(probability)))

    def draw(self, weights: np.ndarray, cumulative: np.ndarray | None = None) -> int:
        return int(self._next(lambda: self._choices.draw(weights)))

    def pick(self, masses: Any) -> int:
        return int(self._next(lambda: self._choices.pick(masses)))

    def uniform(self) -> float:
        return float(self._next(self._choices.uniform))


class World:
    """Two edges that share no secret, a device, and one link at a time."""

    def __init__(
        self,
        vocab_size: int,
        target: Callable[[tuple[int, ...]], np.ndarray],
        *,
        choices: Choices | None = None,
        proposals: int = 1,
        eos_tokens: tuple[int, ...] = (),
        window: int = 1,
    ) -> None:
        """``target``: the row after the tokens that follow PROMPT.  ``choices``: what all secrets are made of, for
        enumeration; None takes the sessions' own."""
        hello = tw.Hello(vocab_size=vocab_size, tokenizer=FINGERPRINT, evidence=ALL)
        self.settings = tw.EdgeSettings(
            vocab_size=vocab_size, tokenizer=FINGERPRINT, eos_tokens=eos_tokens, window=window
        )
        self.target, self.choices, self.proposals = target, choices, proposals
        self.keys = [tw.SessionKeys(bytes([i]) * 32) for i in range(2)]
        self.where, self.nonces = 0, count(1)
        self.made: dict[Any, list[Any]] = {}
        self.secret = b""
        self.held: tuple[int, ...] = ()
        self.held_round = 0
        self.device = tw.DeviceSession(hello)
        self.resumed = self.reconnects = 0
        self._connect()
        self.device.send_prompt(PROMPT)

    def _open(self, hello: tw.Hello, frame: bytes) -> tw.Opening:
        found = self.keys[self.where].resumed(hello.resume, held=self.held, round=self.held_round)
        self.resumed += found is not None
        found = found or self.keys[self.where].new(next(self.nonces).to_bytes(16, "little"))
        self.secret = found.secret
        return found

    def _connect(self) -> None:
        self.edge = tw.EdgeSession(self.settings, opening=self._open)
        self.edge.receive_data(self.device.data_to_send())
        self.device.receive_data(self.edge.data_to_send())

    def break_link(self, edge: str) -> None:
        """Another link, to ``edge``; what was on its way is gone."""
        self.held = self.edge.kept if edge == KEPT else ()
        self.held_round = self.edge.kept_round if edge == KEPT else 0
        self.where ^= edge == OTHER
        self.device.reconnect()
        self.reconnects += 1
        self._connect()

    def numbers(self, event: Any) -> Choices:
        """What the edge draws from for this event."""
        if self.choices is None:
            return RandomChoices(self.edge.generator(event))
        place = (self.secret, event.draft.round, event.step)
        return Replayed(self.choices, self.made.setdefault(place, []))

    def answer(self, event: Any) -> None:
        """Let the edge answer what it received, if it is to be answered."""
        if not isinstance(event, (tw.DraftReceived, tw.MoreAsked, tw.ListReceived)):
            return
        edge, numbers, tree = self.edge, self.numbers(event), event.draft.tree
        text = tuple(edge.prefix[len(PROMPT) :])
        if isinstance(event, tw.DraftReceived):
            paths = [text, *((*text, *(tree.tokens[i] for i in tree.path(node))) for node in range(len(tree)))]
            rows = np.stack([self.target(path) for path in paths])
            known, shared = event.rejection, edge.coupling
            answer = verify_with(event.draft, rows, numbers, coupling=shared, proposals=self.proposals, rejection=known)
            edge.send_answer(answer)
        elif isinstance(event, tw.MoreAsked):
            last, row = event.proposals, self.target(text)
            more = {"batch": last.batch + 1, "count": self.proposals}
            edge.send_answer(propose_with(last.round, last.node, row, numbers, **more))
        else:
            row = self.target((*text, *(tree.tokens[i] for i in tree.path(event.node))))
            edge.send_answer(verify_list_with(event.draft, event.node, row, event.q, numbers))

    def answer_all(self, frames: Sequence[bytes], deliver: Deliver, *, together: bool) -> None:
        """Let the edge take what comes, ``together`` before it answers the first or one at a time, and answer it."""
        for some in [frames] if together else [[frame] for frame in frames]:
            events = deliver(self.edge, list(some))
            while events:
                for event in events:
                    self.answer(event)
                events = self.edge.next_events()

    def flight(
        self,
        length: int,
        draft_of: Callable[[tuple[int, ...], int], tuple[tw.TokenTree, tw.Evidence]],
        numbers_of: Callable[[int, int], Choices],
        fates: Callable[[], Fate],
        *,
        batches: int = 1 << 30,
        deliver: Deliver | None = None,
        together: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Rounds in flight until the text has ``length`` tokens and no draft is open; False as ``round``'s None.

        ``draft_of(tokens after PROMPT, round)``: what is drafted there, a tree goes on from its last node;
        ``numbers_of(round, batch)``: what the device chooses with among these proposals.
        """
        device, deliver = self.device, deliver or arrive
        while device.in_flight or len(device.prefix) < len(PROMPT) + length:
            while not device.in_flight or device.may_follow:
                drafted = [token for draft in device.in_flight for token in draft.whole_tokens]
                text = (*device.prefix[len(PROMPT) :], *drafted)
                if len(text) >= length and device.in_flight:
                    break
                tree, evidence = draft_of(text, device.round)
                goes_on = device.window > 1 and len(tree) > 0
                leaf = len(tree) - 1 if goes_on and tree.leaves > 1 else None
                device.send_draft(tree, evidence, goes_on=goes_on, leaf=leaf)
            what, edge = fates()
            requests = sent_by(device) or list(device.unanswered)
            if what == REQUEST:
                self.break_link(edge)
                continue
            self.answer_all(requests, deliver, together=together())
            answers = sent_by(self.edge)
            if what == ANSWER:
                self.break_link(edge)
                continue
            for event in deliver(device, answers):
                if isinstance(event, tw.ListAsked):
                    device.send_list()
                elif isinstance(event, tw.ProposalsReceived):
                    index = choose_with(
                        event.proposals, event.draft, numbers_of(event.draft.round, event.proposals.batch)
                    )
                    if index is not None:
                        device.take(index)
                        continue
                    batches -= 1
                    if not batches:
                        return False
                    device.ask_more()
        return True

    def round(
        self,
        tree: tw.TokenTree,
        evidence: tw.Evidence,
        ours: Choices,
        fates: Callable[[], Fate],
        *,
        batches: int = 1 << 30,
        deliver: Deliver | None = None,
    ) -> tuple[int, ...] | None:
        """One round, however often the link breaks; its tokens, or None if none of ``batches`` batches fitted.

        ``deliver(session, frames)``: what a link makes of frames, and the events that come of it.
        """
        before = len(self.device.prefix)
        self.device.send_draft(tree, evidence)
        deliver = deliver or arrive
        request: list[bytes] = []  # what waits for its answer: sent again where nothing comes
        while True:
            what, edge = fates()
            requests = sent_by(self.device) or request
            request = requests[-1:]
            if what == REQUEST:
                self.break_link(edge)
                continue
            for event in deliver(self.edge, requests):
                self.answer(event)
            answers = sent_by(self.edge)
            if what == ANSWER:
                self.break_link(edge)
                continue
            for event in deliver(self.device, answers):
                if isinstance(event, tw.VerdictReceived):
                    return self.device.prefix[before:]
                if isinstance(event, tw.ListAsked):
                    self.device.send_list()
                elif isinstance(event, tw.ProposalsReceived):
                    index = choose_with(event.proposals, event.draft, ours)
                    if index is not None:
                        self.device.take(index)
                        return self.device.prefix[before:]
                    batches -= 1
                    if not batches:
                        return None
                    self.device.ask_more()


def sent_by(session: Any) -> list[bytes]:
    """All frames that wait to be sent."""
    return list(iter(session.data_to_send, b""))


def arrive(session: Any, frames: Sequence[bytes]) -> list[Any]:
    """What comes of frames that arrive as they were sent."""
    return [event for frame in frames for event in session.receive_data(frame)]
