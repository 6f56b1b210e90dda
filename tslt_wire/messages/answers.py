"""What an edge answers a draft with: a verdict, with a token of its own or without, proposals, or a question.

Spec sections 6.2, 6.7 (evidence ``scalar``), 6.8 (evidence ``lazy``) and 6.10.
"""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire import checks
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.lists.probability_grid import BELOW
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.fields import U32, set_integers, set_items
from tslt_wire.messages.token_tree import TokenTree, check_tree

MOST_PROPOSALS = 256
"""Proposals of one frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The edge's answer to a draft (spec section 6.2): the prefix grows by the path to ``node`` and then ``token``."""

    round: int
    node: int
    """Last accepted node, -1 if none was; the accepted tokens are those on the path down to it."""
    token: int
    """The token after them: a correction, or the bonus token after a leaf."""
    end: bool = False
    """Whether the text ends with ``token``."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_integers(self, round=(0, U32), node=(-1, U32 - 1), token=(0, MAX_VOCAB_SIZE - 1))
        set_items(self, "extensions", Extension)
        if type(self.end) is not bool:
            object.__setattr__(self, "end", checks.flag("end", self.end))

    def tokens(self, tree: TokenTree) -> tuple[int, ...]:
        """Tokens the prefix grows by; ValueError if ``node`` is not in ``tree``, TypeError for what is no tree."""
        check_tree(tree)
        return (*(tree.tokens[node] for node in tree.path(self.node)), self.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The edge's answer to a draft that goes on and was accepted whole (VERDICT_WHOLE, spec section 6.10).

    The prefix grows by all of its tokens, and by no other.
    """

    round: int
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_integers(self, round=(0, U32))
        set_items(self, "extensions", Extension)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A token of the target's that the device may take, and its probability, rounded (``verification.proposals``)."""

    token: int
    code: int
    """Code of the greatest number of the grid that is not above the probability; 4095: there is none."""
    up: bool = False
    """Whether the device uses the next larger number in place of the probability; else it uses this one."""

    def __post_init__(self) -> None:
        set_integers(self, token=(0, MAX_VOCAB_SIZE - 1), code=(0, BELOW))
        if type(self.up) is not bool:
            object.__setattr__(self, "up", checks.flag("up", self.up))
        if self.up and self.code in (0, BELOW):
            raise ValueError(f"code {self.code} has no next larger number to use")

    @classmethod
    def trusted(cls, token: int, code: int, up: bool) -> Proposal:
        """Make a proposal of what has been checked."""
        made = object.__new__(cls)
        _put_token(made, token)
        _put_code(made, code)
        _put_up(made, up)
        return made


# A frame has twenty of them: these take half as long as object.__setattr__, which looks each name up.
_put_token, _put_code, _put_up = (getattr(Proposal, name).__set__ for name in ("token", "code", "up"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """The edge's answer to a scalar draft of which it rejects a token (VERDICT_PROPOSALS, spec section 6.7).

    The prefix grows by the path to ``node``, and then by the proposal that the device takes.
    """

    round: int
    node: int
    """Last accepted node, -1 if none was."""
    proposals: tuple[Proposal, ...]
    """1 to 256 of them, in the order in which the device tries them."""
    batch: int = 0
    """0 in the answer to the draft, 1 in that to the first MORE, and so on."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_integers(self, round=(0, U32), node=(-1, U32 - 1), batch=(0, U32))
        set_items(self, "proposals", Proposal)
        set_items(self, "extensions", Extension)
        if not 1 <= len(self.proposals) <= MOST_PROPOSALS:
            raise ValueError(f"1 to {MOST_PROPOSALS} proposals are needed, got {len(self.proposals)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskList:
    """The edge's answer to a lazy draft of which it rejects a token: it wants a list (spec section 6.8)."""

    round: int
    node: int
    """Last accepted node, -1 if none was; the list that the token after it was drawn from is wanted."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_integers(self, round=(0, U32), node=(-1, U32 - 1))
        set_items(self, "extensions", Extension)


Answer = Verdict | Proposals | AskList
"""What an edge decides on a draft; what it sends may be ``Whole``."""
