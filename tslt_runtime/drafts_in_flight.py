"""A device's drafts that are not settled, and what its draft model holds of them and of what may come after them.

All of it is one tree behind the text's prefix: the drafts in flight one after the other, the next one, and those for
verdicts that may come (``tslt_runtime.ahead``).  A verdict makes the prefix longer and keeps what hangs off its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tslt_runtime.ahead import DraftAhead, DrawingAt, Setting
from tslt_runtime.draft_window import DraftWindow
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.protocol import DraftText
from tslt_runtime.held_nodes import MOST_HELD, Branch, HeldNodes
from tslt_runtime.open_rounds import OpenRound


class DraftsInFlight:
    """Those of one device.  What is said to belong to the worker is called in the thread that runs the model."""

    def __init__(self, text: DraftText, ahead: DraftAhead) -> None:
        """``text``: a new one."""
        self.ahead = ahead
        self.open = deque[OpenRound]()
        """The oldest first."""
        self.stale = False
        """Whether the draft model's text may be another one than the session's, and has to be read anew."""
        self._begun: Branch | None = None  # of the next draft, what is drawn
        self.hold(text)

    def hold(self, text: DraftText) -> None:
        """Draft with this text, a new one, from now on."""
        self._held, self.window = HeldNodes(text), DraftWindow(text)

    def __len__(self) -> int:
        return len(self.open)

    @property
    def tokens(self) -> int:
        """Tokens that the text grows by where the drafts in flight are accepted whole."""
        return sum(len(open_.whole) for open_ in self.open)

    # ------------------------------------------------------------------------------------- with nothing in flight

    def read(self, prefix: Sequence[int]) -> None:
        """Go on from ``prefix``.  The worker's."""
        self.window.read(prefix)
        self._forget()
        self.stale = False

    def begin(self, settings: DraftSettings, drawing: DrawingAt, round_: int, prefix: Sequence[int]) -> Branch:
        """The draft that comes next, as far as it was drawn ahead."""
        branch, self._begun = self._begun, None
        slides = len(settings.expansion) > self._held.text.room
        if branch is None or slides or not branch.cut_to(settings):
            branch = Branch(settings, drawing(round_, len(prefix)))
        return branch

    def draw(self, branch: Branch, prefix: Sequence[int], depth: int) -> None:
        """Draw all of a draft of so many levels.  The worker's."""
        if self.window.make_room(prefix, depth):
            self._held.forget()
        while not branch.is_whole:
            branch.take(self._held.run(branch.next()))

    # --------------------------------------------------------------------------------------------- while one waits

    def follow(self, settings: DraftSettings, drawing: DrawingAt, round_: int, prefix: Sequence[int]) -> Branch:
        """The draft that follows those in flight, as far as it is drawn; ``prefix``: without their tokens."""
        branch = self._begun
        if branch is None or not branch.cut_to(settings):
            branch = Branch(settings, drawing(round_, len(prefix) + self.tokens), self.open[-1].whole[-1])
        self._begun = branch
        return branch

    def guess(self, settings: DraftSettings, drawing: DrawingAt, most_leaves: int | None) -> None:
        """Guess what becomes of those in flight; ``settings``: of the draft after a verdict, as far as is known."""
        if not self.stale:
            self.ahead.guess(
                Setting(
                    held=self._held, flight=self.open, settings=settings, drawing=drawing, most_leaves=most_leaves
                )
            )  # fmt: skip

    def step(self, following: Branch | None, prefix: Sequence[int], most_leaves: int | None) -> None:
        """Run the model once, for the draft that follows and for guesses.  The worker's.

        ``prefix``: without the tokens in flight; ``most_leaves``: of the nodes that the model is run on.
        """
        if following is not None and not self._fits(following, most_leaves):
            self._pass_by(prefix, len(following.settings.expansion))
            if following.nodes:
                self._begun = None  # what is drawn of it may be gone
                return
        self.ahead.step(self._held, following)

    def _fits(self, following: Branch, most_leaves: int | None) -> bool:
        held = [open_.settings for open_ in self.open if not open_.passed]
        if not held:
            return True
        drafts = [*held, following.settings]
        # Each hangs off a leaf of the one before it.
        leaves = 1 + sum(settings.run_leaves - 1 for settings in drafts)
        fits = sum(settings.nodes for settings in drafts) <= min(self._held.text.room, MOST_HELD)
        return following.may_go_on and fits and (most_leaves is None or leaves <= most_leaves)

    def sent(self) -> None:
        """The draft that follows is one of those in flight now."""
        self._begun = None

    def _pass_by(self, prefix: Sequence[int], depth: int) -> None:
        """Let the text grow by all drafts in flight, as if they were accepted whole: there is no room for nodes."""
        for open_ in self.open:
            open_.pass_by(self._held)
        self.ahead.forget()
        # The draft that follows is drawn anew, and forgets what nodes there were.
        self.window.make_room([*prefix, *(node.token for open_ in self.open for node in open_.whole)], depth)

    # ------------------------------------------------------------------------------------------------ after a verdict

    def settle(self, kept: int) -> tuple[OpenRound, int]:
        """The oldest, which is answered, and how many were dropped; ``kept``: of those after it that wait still."""
        open_ = self.open.popleft()
        dropped = len(self.open) - kept
        while len(self.open) > kept:
            self.open.pop()
        return open_, dropped

    def commit(self, open_: OpenRound, node: int, token: int | None, *, dropped: int, wait_s: float) -> None:
        """The text grows by an answered draft down to ``node``, and ``token``.  The worker's.

        ``token``: the target's own; None: the draft was accepted whole, and the next one follows it.
        """
        following = self.ahead.after(open_, node, token, wait_s=wait_s)
        if token is None and not dropped:
            following = self._begun
        self._begun = None
        if open_.passed:
            self.stale = self.stale or dropped > 0 or token is not None
        elif not self.stale:
            self._held.commit([open_.nodes[each] for each in open_.drafted.tree.path(node)], token)
        if not self.stale:
            self._begun = following

    def fail(self) -> None:
        """The draft model failed: its text is read anew before the next draft."""
        self.stale = True
        self._forget()

    def _forget(self) -> None:
        self._held.forget()
        self.ahead.forget()
        self._begun = None
