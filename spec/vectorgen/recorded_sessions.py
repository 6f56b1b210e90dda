"""A session of the library's two ends while it is written down, for the cases of sessions.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tslt_wire as tw
from spec.vectorgen.tools import Json, make_list
from tslt_wire.session.states import OVER

V = 16
FINGERPRINT = bytes(range(32))
KEY = bytes(range(8))
OTHER_KEY = bytes(range(8, 16))
TOKEN = bytes(range(100, 132))
"""What edges of cases in which links break give devices to come back with."""
EOS = 9
CONTEXT = 40
LISTS = {
    -1: make_list(V, "log2/1", [1, 2, 5, 9], [0, 2, 3, 6]),
    0: make_list(V, "log2/1", [2, 3, 11], [1, 0, 4]),
    1: make_list(V, "log2/1", [4, 9], [0, 0]),
}
HELLO = tw.Hello(
    vocab_size=V,
    tokenizer=FINGERPRINT,
    model="draft",
    evidence=("list", "match", "coupled", "scalar", "lazy"),
    precisions=("log2/1", "f16"),
    entropy=("range", "none"),
    priors=("none",),
)
EDGE = tw.EdgeSettings(
    vocab_size=V,
    tokenizer=FINGERPRINT,
    model="target",
    eos_tokens=(EOS,),
    context=CONTEXT,
    precisions=("log2/1",),
    entropy=("range", "none"),
    priors=("none",),
)


class Recorded:
    """A session while it is written down; all methods return this one."""

    def __init__(
        self, id_: str, comment: str, flag: str, *, hello: tw.Hello = HELLO, edge: tw.EdgeSettings = EDGE
    ) -> None:
        self.id, self.comment, self.flag = f"session/{id_}", comment, flag
        self._settings = edge
        self._first_window = edge.window
        self._token = TOKEN if flag.startswith("resumption") else b""
        self.device = tw.DeviceSession(hello)
        self.edge = edge_of(edge, KEY, tw.Opening(b"", self._token))
        self.ends: dict[str, Any] = {"device": self.device, "edge": self.edge}
        self.steps: list[Json] = []
        self.frames: list[bytes] = []
        """Of all steps; b"" for a step without one."""
        self.greeted = False
        """Whether the device has sent HELLO."""

    def to_json(self) -> Json:
        """The vector as it is written."""
        head = {"id": self.id, "comment": self.comment, "flags": [self.flag], "result": "valid"}
        return {**head, **({"token": self._token.hex()} if self._token else {}), "steps": self.steps}

    def send(self, end: str, *, lost: bool = False, error: str | None = None) -> Recorded:
        """The next frame of an end, which the other takes, or refuses with ``error``, or does not get."""
        data = self.ends[end].data_to_send()
        if not data:
            raise RuntimeError(f"{self.id}: the {end} has nothing to send")
        self.greeted |= end == "device"
        return self._step(end, data, "lost" if lost else "sent", error)

    def again(self, step: int, error: str | None = None) -> Recorded:
        """The frame of an earlier step comes once more."""
        return self._step(self.steps[step]["from"], self.frames[step], "again", error)

    def forge(self, end: str, message: tw.Message | bytes, error: str | None = None) -> Recorded:
        """A frame that ``end`` has not sent comes to the other one."""
        profile = self.ends[end].profile
        data = message if isinstance(message, bytes) else tw.encode(message, profile)
        return self._step(end, data, "forged", error)

    def take(self, index: int) -> Recorded:
        """The device takes a proposal: no frame."""
        self.device.take(index)
        self.frames.append(b"")
        self.steps.append({"from": "device", "how": "takes", "index": index, **self._states()})
        return self

    def reconnects(self, *, kept: bool = True, key: bytes = KEY) -> Recorded:
        """The device begins anew on another link, to an edge with the tokens of the last one, or without; no frame."""
        held, resumed = self.edge.kept if kept else (), key == KEY and bool(self.device.prefix)
        round_ = self.edge.kept_round if kept else 0
        self.device.reconnect()
        opening = tw.Opening(b"", self._token, resumed, held, round_)
        self.edge = self.ends["edge"] = edge_of(self._settings, key, opening)
        self.frames.append(b"")
        step = {"from": "device", "how": "reconnects", "resumed": resumed, "held": list(held), "held_round": round_}
        if self._settings.window != self._first_window:
            step["window"] = self._settings.window
        self.steps.append({**step, "coupling": key.hex(), **self._states()})
        return self

    def resumed(self, *, draft: bool = True, drafts: int = 1) -> Recorded:
        """HELLO, WELCOME, RESUME, and the draft of the round that was open; ``drafts``: so many were in flight."""
        self.welcomed().send("device")
        for _ in range(drafts if draft else 0):
            self.send("device")
        return self

    def _step(self, end: str, data: bytes, how: str, error: str | None) -> Recorded:
        other = self.ends["edge" if end == "device" else "device"]
        step: Json = {"from": end, "how": how, "hex": data.hex()}
        found = None
        if how != "lost":
            held = self.edge.following
            try:
                step["result"] = "taken" if other.receive_data(data) else "ignored"
                if self.edge.following != held:
                    step["result"] = "held"
                if step["result"] == "ignored" and other.state not in OVER and (answer := other.data_to_send()):
                    step |= {"result": "answered", "answer": answer.hex()}
            except (tw.DecodeError, tw.RemoteProtocolError) as refused:
                found = refused.code.name.lower()
                step |= {"result": "refused", "error": found}
        if found != error:
            raise RuntimeError(f"{self.id}, step {len(self.steps)} must give {error}, and gives {found}")
        self.frames.append(data)
        self.steps.append({**step, **self._states()})
        return self

    def _states(self) -> Json:
        """Of the ends that have a part in it: the edge, and the device if HELLO was its own."""
        parts = ("device", "edge") if self.greeted else ("edge",)
        return {
            name: {"state": str(end.state), "prefix": list(end.prefix), "round": end.round}
            for name, end in self.ends.items()
            if name in parts
        }

    # ------------------------------------------------------------------------------------------------------ shortcuts

    def welcomed(self) -> Recorded:
        """HELLO and WELCOME."""
        return self.send("device").send("edge")

    def prompted(
        self, tokens: tuple[int, ...] = (3, 1, 4), keep: int = 0, *, new_text: bool = False, lost: bool = False
    ) -> Recorded:
        """PROMPT, which is taken."""
        self.device.send_prompt(tokens, keep=keep, new_text=new_text)
        return self.send("device", lost=lost)

    def drafted(
        self,
        name: str,
        *tokens: int,
        lost: bool = False,
        goes_on: bool = False,
        parents: tuple[int, ...] | None = None,
        leaf: int | None = None,
    ) -> Recorded:
        """A chain of tokens, of LISTS if it needs any; one that ``goes_on`` may be followed by another.

        ``parents``: of a tree in its place, of evidence without lists; ``leaf``: the one it goes on from.
        """
        tree = tw.TokenTree.chain(tokens) if parents is None else tw.TokenTree(tokens, parents)
        self.device.send_draft(tree, evidence_of(name, tokens), goes_on=goes_on, leaf=leaf)
        return self.send("device", lost=lost)

    def answered(self, answer: tw.Answer, *, lost: bool = False) -> Recorded:
        """What the edge says."""
        self.edge.send_answer(answer)
        self.edge.next_events()
        return self.send("edge", lost=lost)

    def whole(self, *, lost: bool = False) -> Recorded:
        """All of the open draft is accepted, which goes on."""
        draft = self.edge.open_draft
        if draft is None:
            raise RuntimeError(f"{self.id}: no draft is open")
        last = tw.Verdict(round=draft.round, node=draft.whole[-1], token=0)
        return self.answered(last, lost=lost)

    def edge_settings(self, settings: tw.EdgeSettings) -> Recorded:
        """The next edge has these."""
        self._settings = settings
        return self

    def verdict(self, node: int, token: int, *, lost: bool = False) -> Recorded:
        """A verdict on the open draft."""
        return self.answered(tw.Verdict(round=self.edge.round - 1, node=node, token=token), lost=lost)

    def proposals(self, node: int, *tokens: int, batch: int = 0, lost: bool = False) -> Recorded:
        """Proposals after a node of the open draft."""
        return self.answered(proposals_of(self.edge.round - 1, node, *tokens, batch=batch), lost=lost)

    def more(self, *, lost: bool = False) -> Recorded:
        """The device takes none of the proposals."""
        self.device.ask_more()
        return self.send("device", lost=lost)

    def asked(self, node: int, *, lost: bool = False) -> Recorded:
        """The edge asks for the list after a node."""
        return self.answered(tw.AskList(round=self.edge.round - 1, node=node), lost=lost)

    def listed(self, *, lost: bool = False) -> Recorded:
        """The device sends it."""
        self.device.send_list()
        return self.send("device", lost=lost)


def edge_of(settings: tw.EdgeSettings, key: bytes, opening: tw.Opening) -> tw.EdgeSession:
    """An edge with this key, whose session ``opening`` tells."""
    return tw.EdgeSession(settings, coupling=key, opening=lambda hello, frame: opening)


def evidence_of(name: str, tokens: tuple[int, ...], lists: Mapping[int, tw.SparseDistribution] = LISTS) -> tw.Evidence:
    """Evidence for a chain, of the first of ``lists``."""
    tree = tw.TokenTree.chain(tokens)
    kept = {node: lists[node] for node in tree.inner if node in lists}
    made: dict[str, Any] = {
        "list": lambda: tw.ListEvidence(kept),
        "match": tw.MatchEvidence,
        "coupled": tw.CoupledEvidence,
        "scalar": lambda: tw.ScalarEvidence.of(tree, kept),
        "lazy": lambda: tw.LazyEvidence.of(tree, kept),
    }
    evidence: tw.Evidence = made[name]()
    return evidence


def proposals_of(round_: int, node: int, *tokens: int, batch: int = 0) -> tw.Proposals:
    """Proposals of probability 1/4 each."""
    return tw.Proposals(
        round=round_, node=node, batch=batch, proposals=tuple(tw.Proposal(token, 256) for token in tokens)
    )


def opened(id_: str, comment: str, flag: str) -> Recorded:
    """A session with a prefix of three tokens: steps 0 to 2."""
    return Recorded(id_, comment, flag).welcomed().prompted()
