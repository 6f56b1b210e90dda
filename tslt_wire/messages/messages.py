"""The messages of the protocol, as plain immutable values.

Spec sections 6 and 7.  ``frames.codec`` turns them into frames and back; ``decode(encode(m)) == m`` for all of them.
Constructors raise ValueError for values that no frame can carry.
"""

from __future__ import annotations

import operator
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tslt_wire.errors import ErrorCode
from tslt_wire.limits import MAX_VOCAB_SIZE, DecodeLimits
from tslt_wire.lists.distribution import SparseDistribution, check_lists
from tslt_wire.lists.precision import Precision
from tslt_wire.messages.evidence import CodedEvidence, LazyEvidence, ScalarEvidence
from tslt_wire.messages.exchanges import AskList, ListReply, More, Proposal, Proposals
from tslt_wire.messages.extensions import Extension, check_range, choice_of
from tslt_wire.messages.sampling import Sampling
from tslt_wire.messages.token_tree import PREFIX, TokenTree
from tslt_wire.verification.coupling import KEY_BYTES

SPEC_VERSION = 1
"""The version of spec/tslt-wire.md this package implements."""


def prefix_crc(tokens: Sequence[int], start: int = 0) -> int:
    """CRC-32 of token ids as little-endian uint32; ``start`` is the CRC of the tokens before them."""
    try:
        return zlib.crc32(struct.pack(f"<{len(tokens)}I", *tokens), start)
    except struct.error as error:
        raise ValueError(f"token ids must be integers in 0..2**32-1: {error}") from error


def prefix_hash(tokens: Sequence[int]) -> int:
    """The hash of a prefix that drafts carry: the low 16 bits of ``prefix_crc`` (spec section 6.1)."""
    return prefix_crc(tokens) & 0xFFFF


@dataclass(frozen=True, slots=True)
class ListEvidence:
    """Evidence ``list``: the truncated distribution of each parent (the paper's TSLT)."""

    lists: Mapping[int, SparseDistribution]
    """One distribution for each parent that has children; -1 is the prefix."""
    replacement: bool = True
    """Whether siblings were sampled with replacement (paper Algorithm 4) or without."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "lists", MappingProxyType({parent: self.lists[parent] for parent in sorted(self.lists)})
        )

    @classmethod
    def trusted(cls, lists: dict[int, SparseDistribution], replacement: bool) -> ListEvidence:
        """Make evidence of lists that are in ascending order of their parents."""
        evidence = object.__new__(cls)
        object.__setattr__(evidence, "lists", MappingProxyType(lists))
        object.__setattr__(evidence, "replacement", replacement)
        return evidence

    def __eq__(self, other: object) -> bool:
        """Same lists at the same parents, sampled the same way."""
        if not isinstance(other, ListEvidence):
            return NotImplemented
        return self.replacement == other.replacement and dict(self.lists) == dict(other.lists)

    def __hash__(self) -> int:
        """Hash over what equality compares."""
        return hash((self.replacement, tuple(self.lists.items())))


@dataclass(frozen=True, slots=True)
class MatchEvidence:
    """Evidence ``match``: none; the edge samples the target and follows the child that has the same token."""


@dataclass(frozen=True, slots=True)
class CoupledEvidence:
    """Evidence ``coupled``: none; both ends run the same race, see ``Coupling``."""


Evidence = ListEvidence | MatchEvidence | CoupledEvidence | ScalarEvidence | LazyEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One round's draft, device to edge (spec section 6.1).

    Raises ValueError if the lists of ListEvidence do not belong to exactly the tree's parents, differ in vocabulary or
    precision, or do not list a drafted token; if siblings repeat, unless they were sampled with replacement; or for
    ScalarEvidence or LazyEvidence with anything but a chain and a code for each of its nodes.
    """

    round: int
    """Number of the round, 0 upwards in each session; below 2**32."""
    prefix_length: int
    """Tokens in the prefix this draft continues; below 2**32."""
    prefix_hash: int
    """``prefix_hash(prefix)``, 16 bits."""
    tree: TokenTree
    evidence: Evidence
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        check_range("round", self.round, 1 << 32)
        check_range("prefix_length", self.prefix_length, 1 << 32)
        check_range("prefix_hash", self.prefix_hash, 1 << 16)
        if isinstance(self.evidence, ListEvidence):
            self._check_lists(self.evidence.lists)
            if self.evidence.replacement:
                return
        elif isinstance(self.evidence, CodedEvidence):
            if self.tree.parents != tuple(range(-1, len(self.tree) - 1)):
                raise ValueError("this evidence is for chains, got a tree with branches")
            if len(self.evidence.codes) != len(self.tree):
                raise ValueError(f"{len(self.tree)} nodes need as many codes, got {len(self.evidence.codes)}")
        for parent in self.tree.inner:
            tokens = [self.tree.tokens[node] for node in self.tree.children(parent)]
            if len(set(tokens)) < len(tokens):
                raise ValueError(f"children of node {parent} repeat a token, but were not sampled with replacement")

    def _check_lists(self, lists: Mapping[int, SparseDistribution]) -> None:
        if tuple(lists) != self.tree.inner:
            raise ValueError(f"lists are needed for the parents {self.tree.inner}, got {tuple(lists)}")
        if lists:
            check_lists(list(lists.values()))
        for token, parent in zip(self.tree.tokens, self.tree.parents, strict=True):
            if lists[parent].prob_of(token) == 0:
                raise ValueError(f"token {token} was drafted after node {parent} but is not in that node's list")

    @classmethod
    def trusted(
        cls,
        round: int,
        prefix_length: int,
        prefix_hash: int,
        tree: TokenTree,
        evidence: ListEvidence,
        extensions: tuple[Extension, ...],
    ) -> Draft:
        """Make a draft of what a decoder has checked already."""
        draft, put = object.__new__(cls), object.__setattr__
        put(draft, "round", round)
        put(draft, "prefix_length", prefix_length)
        put(draft, "prefix_hash", prefix_hash)
        put(draft, "tree", tree)
        put(draft, "evidence", evidence)
        put(draft, "extensions", extensions)
        return draft

    @property
    def lists(self) -> Mapping[int, SparseDistribution]:
        """The distribution of each parent; none for evidence without lists."""
        return self.evidence.lists if isinstance(self.evidence, ListEvidence) else {}

    @property
    def choice(self) -> int | None:
        """Index of the proposal that the device took, if the round before ended in proposals (spec section 6.7)."""
        return choice_of(self.extensions)

    @property
    def precision(self) -> Precision | None:
        """Precision of the lists; None if there are none."""
        return next((q.precision for q in self.lists.values()), None)


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
        check_range("round", self.round, 1 << 32)
        check_range("node + 1", self.node + 1, 1 << 32)
        check_range("token", self.token, MAX_VOCAB_SIZE)

    def tokens(self, tree: TokenTree) -> tuple[int, ...]:
        """Tokens the prefix grows by; ValueError if ``node`` is not in ``tree``."""
        return (*(tree.tokens[node] for node in tree.path(self.node)), self.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First frame, device to edge: what the device has, wants and can (spec section 7.2)."""

    vocab_size: int
    tokenizer: bytes
    """Fingerprint of the tokenizer, 32 bytes."""
    model: str = ""
    """Name of the draft model, for people."""
    sampling: Sampling = field(default_factory=Sampling)
    evidence: tuple[str, ...] = ("list",)
    precisions: tuple[str, ...] = tuple(p.value for p in Precision)
    entropy: tuple[str, ...] = ("none",)
    priors: tuple[str, ...] = ("none",)
    """Names of priors, best first: ``none``, ``uniform``, ``density``, or those of tables."""
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    """What the device accepts."""
    resume: bytes = b""
    """Token of a session to take up again; empty for a new one."""
    min_version: int = SPEC_VERSION
    max_version: int = SPEC_VERSION
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Fields this version does not know; carried along."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        _check_identity(self.vocab_size, self.tokenizer)
        for name in ("evidence", "precisions", "entropy", "priors"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 1 <= self.min_version <= self.max_version <= 255:
            raise ValueError(
                f"versions must satisfy 1 <= min <= max <= 255, got {self.min_version}, {self.max_version}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The edge's answer to HELLO: what this session will use (spec section 7.3)."""

    version: int
    vocab_size: int
    tokenizer: bytes
    transcript: bytes
    """First 16 bytes of SHA-256 over the HELLO frame as the edge received it."""
    model: str = ""
    evidence: tuple[str, ...] = ("list",)
    precisions: tuple[str, ...] = tuple(p.value for p in Precision)
    entropy: str = "none"
    prior: str = "none"
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    """What the edge accepts."""
    context: int = 0
    """Most tokens the target can hold, prompt included; 0: not said."""
    eos_tokens: tuple[int, ...] = ()
    """Tokens that end a text."""
    coupling: bytes = b""
    """The secret of evidence ``coupled``, 8 bytes; empty without it."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        _check_identity(self.vocab_size, self.tokenizer)
        for name in ("evidence", "precisions", "eos_tokens"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 1 <= self.version <= 255:
            raise ValueError(f"version must be in 1..255, got {self.version}")
        if len(self.transcript) != 16:
            raise ValueError(f"transcript must have 16 bytes, got {len(self.transcript)}")
        if any(not 0 <= token < self.vocab_size for token in self.eos_tokens):
            raise ValueError(f"eos_tokens must be below the vocabulary size, got {self.eos_tokens}")
        check_range("context", self.context, 1 << 32)
        if len(self.coupling) not in (0, KEY_BYTES):
            raise ValueError(f"coupling must have {KEY_BYTES} bytes or none, got {len(self.coupling)}")


def _check_identity(vocab_size: int, tokenizer: bytes) -> None:
    if not 1 <= vocab_size <= MAX_VOCAB_SIZE:
        raise ValueError(f"vocab_size must be in 1..{MAX_VOCAB_SIZE}, got {vocab_size}")
    if len(tokenizer) != 32:
        raise ValueError(f"tokenizer fingerprint must have 32 bytes, got {len(tokenizer)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Tokens both sides will continue, device to edge (spec section 7.4); also how a device resynchronises."""

    tokens: tuple[int, ...]
    keep: int = 0
    """Tokens of the prefix so far that stay; the prefix becomes ``prefix[:keep] + tokens``."""
    transcript: bytes = bytes(8)
    """First 8 bytes of SHA-256 over the HELLO and WELCOME frames: proof that both ends saw the same handshake."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(operator.index(t) for t in self.tokens))
        if any(not 0 <= token < MAX_VOCAB_SIZE for token in self.tokens):
            raise ValueError(f"prompt tokens must be in 0..{MAX_VOCAB_SIZE - 1}")
        check_range("keep", self.keep, 1 << 32)
        if len(self.transcript) != 8:
            raise ValueError(f"transcript must have 8 bytes, got {len(self.transcript)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """Why the sender cannot go on, either way; the session is over (spec section 7.5)."""

    code: int
    """An ErrorCode, or a number this version does not know; below 2**16."""
    message: str
    """For people; says what was expected and what was found."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        check_range("code", self.code, 1 << 16)

    @property
    def name(self) -> str:
        """Name of the code in lower case, or ``error 123`` for an unknown one."""
        return ErrorCode(self.code).name.lower() if self.code in set(ErrorCode) else f"error {self.code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The sender is done; nothing follows (spec section 7.6)."""

    extensions: tuple[Extension, ...] = ()


Answer = Verdict | Proposals | AskList
"""What an edge answers a draft with."""
Message = Hello | Welcome | Prompt | Draft | Verdict | Proposals | More | AskList | ListReply | Error | Bye

__all__ = [
    "PREFIX",
    "SPEC_VERSION",
    "Answer",
    "AskList",
    "Bye",
    "CoupledEvidence",
    "Draft",
    "Error",
    "Evidence",
    "Extension",
    "Hello",
    "LazyEvidence",
    "ListEvidence",
    "ListReply",
    "MatchEvidence",
    "Message",
    "More",
    "Prompt",
    "Proposal",
    "Proposals",
    "ScalarEvidence",
    "Verdict",
    "Welcome",
    "prefix_hash",
]
