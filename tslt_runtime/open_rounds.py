"""A device's drafts that were sent and are not settled yet."""

from __future__ import annotations

from dataclasses import dataclass

import tslt_wire as tw
from tslt_runtime.drafting import Drafted, DraftSettings
from tslt_runtime.held_nodes import HeldNode, HeldNodes
from tslt_runtime.rounds import Round
from tslt_runtime.settling import Outcome, rejected


@dataclass(slots=True)
class OpenRound:
    """One of them."""

    draft: tw.Draft
    drafted: Drafted
    nodes: list[HeldNode]
    """Of its tree, as the draft model's text has them."""
    root: HeldNode | None
    """What they hang off: the last token of the draft before it; None for the prefix."""
    settings: DraftSettings
    ahead: int
    """Levels of it that were drawn before the verdict on the last one came."""
    draft_s: float
    """Seconds that drafting took, as far as nothing was awaited meanwhile."""
    queued: float
    """When it was sent, by the device's clock."""
    sent: int
    received: int
    """Bytes of the link before it, or before the end of the round before."""
    reconnects: int
    """Links that broke before it."""
    frame_bytes: int
    passed: bool = False
    """Whether the draft model's text has grown by it before it was answered: there was no room for nodes."""

    @property
    def goes_on(self) -> bool:
        """Whether a draft may follow it before it is answered."""
        return self.draft.goes_on

    @property
    def whole(self) -> list[HeldNode]:
        """The nodes down to the leaf that it goes on from, or would."""
        return [self.nodes[node] for node in self.drafted.tree.path(self.drafted.first_leaf)]

    def pass_by(self, held: HeldNodes) -> None:
        """Let the draft model's text grow by it as if it were accepted whole, if it has not."""
        if not self.passed:
            held.commit(self.whole)
            self.passed = True

    def over(
        self, done: Outcome, *, end: bool, answered: float, sent: int, received: int, reconnects: int, dropped: int
    ) -> Round:
        """What it came to.  ``answered``: when, by the device's clock; the others as above, at its end."""
        tree = self.drafted.tree
        whole = isinstance(done.verdict, tw.Whole)
        verify_s = min(done.verify_s, answered - self.queued)
        return Round(
            accepted=done.tokens if whole else done.tokens[:-1],
            token=None if whole else done.tokens[-1],
            end=end,
            drafted=len(self.settings.expansion),
            ahead=self.ahead,
            tried=len(tree.path(done.node)) + rejected(self.drafted, done, end=end),
            lists=len(self.draft.lists),
            nodes=len(tree),
            uplink_bytes=sent - self.sent,
            downlink_bytes=received - self.received,
            draft_s=self.draft_s,
            link_s=answered - self.queued - verify_s,
            verify_s=verify_s,
            others=done.others,
            row_s=done.row_s,
            trips=done.trips,
            reconnects=reconnects - self.reconnects,
            dropped=dropped,
            flight=self.draft.flight,
            frame_bytes=self.frame_bytes,
            settings=self.settings,
            log_probs=done.log_probs,
        )
