"""How two ends find out whether they fit.

Spec sections 7.2 and 7.3: one vocabulary, one tokenizer, and of everything else what both have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tslt_wire.coding import compression
from tslt_wire.errors import ErrorCode, RemoteProtocolError
from tslt_wire.frames.kinds import DRAFT_KINDS
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.prior import PLAIN_PRIORS, Prior, plain_prior
from tslt_wire.lists.profile import ENTROPY_IDS, Profile
from tslt_wire.messages.chat_template import DIGEST_BYTES
from tslt_wire.messages.extensions import MOST_PADDING
from tslt_wire.messages.fields import U32, check_bytes, set_integers, set_names, set_tokens
from tslt_wire.messages.flight import MOST_WINDOW
from tslt_wire.messages.handshake import Hello, Welcome, check_identity, check_own
from tslt_wire.messages.sampling import SETTINGS, Sampling, tokens_named
from tslt_wire.messages.token_sample import Sample, sample_extension

OUR_EVIDENCE = tuple(DRAFT_KINDS)
"""Evidence modes this version has."""
OUR_PRECISIONS = tuple(precision.value for precision in Precision)
"""Precisions this version has."""


def our_entropy() -> tuple[str, ...]:
    """Entropy coders of this installation: all of this version, ``"zstd"`` only with the package zstandard."""
    return tuple(name for name in ENTROPY_IDS if name != "zstd" or compression.available())


def check_names(ours: Hello | EdgeSettings) -> None:
    """Refuse names that a local caller wants to offer and this version or installation has not; ValueError.

    None at all are refused, too, and names that stand twice.
    """
    for what, offered, known in (
        ("evidence", ours.evidence, OUR_EVIDENCE),
        ("precision", ours.precisions, OUR_PRECISIONS),
        ("entropy coder", ours.entropy, tuple(ENTROPY_IDS)),
    ):
        check_offer(what, offered)
        unknown = [name for name in offered if name not in known]
        if unknown:
            raise ValueError(f"this version has no {what} {unknown}, only {list(known)}")
    if not set(ours.entropy) <= set(our_entropy()):
        raise ValueError(compression.NEEDS)


def takes_all(sampling: Sampling) -> None:
    """Take all sampling settings: the default of ``EdgeSettings.refusal``."""


def takes_only(*names: str) -> Callable[[Sampling], str | None]:
    """Make an ``EdgeSettings.refusal`` of an edge that has the named settings alone; it says which ones it lacks.

    ValueError for a name that is none.
    """
    if unknown := sorted(set(names) - set(SETTINGS)):
        raise ValueError(f"there is no setting {unknown[0]}, only {list(SETTINGS)}")

    def refusal(sampling: Sampling) -> str | None:
        lacking = [name for name in sampling.in_force() if name not in names]
        return f"it lacks {', '.join(lacking)}" if lacking else None

    return refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """What an edge offers to every device.

    Raises ValueError or TypeError for what no session could be opened with: names that this version has not, an end
    token outside the vocabulary.
    """

    vocab_size: int
    """Rows of the target's output layer."""
    tokenizer: bytes
    """Fingerprint of the target's tokenizer, 32 bytes."""
    ordinary: bytes = b""
    """Fingerprint of its ordinary tokens, 32 bytes (spec section 7.9); empty: drafts of other special tokens do not
    fit."""
    begins: tuple[int, ...] | None = None
    """Tokens that it puts before a text; None: devices are not told."""
    others: tuple[tuple[int, str], ...] = ()
    """Its tokens that are not ordinary, each with its text, for logs."""
    sample: Sample = ()
    """Some of its tokens (``token_sample.sample_of``), told to devices whose vocabulary does not fit."""
    model: str = ""
    """Name of the target model, for people."""
    eos_tokens: tuple[int, ...] = ()
    """Tokens that end a text."""
    context: int = 0
    """Most tokens the target can hold, prompt included; 0: no limit but ``limits.max_prompt_tokens``."""
    evidence: tuple[str, ...] = OUR_EVIDENCE
    """Evidence it accepts; ``coupled`` only in sessions that are given a key."""
    precisions: tuple[str, ...] = OUR_PRECISIONS
    entropy: tuple[str, ...] = field(default_factory=our_entropy)
    priors: tuple[str, ...] = PLAIN_PRIORS
    """Priors it accepts for tails, besides its ``tables``."""
    tables: tuple[Prior, ...] = ()
    """Trained tables it has; a device that has one of them too can name it."""
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    sampling: Sampling = field(default_factory=Sampling)
    """The target's own settings: those in force where a device names none."""
    refusal: Callable[[Sampling], str | None] = takes_all
    """Why the edge does not take these sampling settings; None if it does.  A device that wants them is refused."""
    evidence_for: Callable[[Sampling], Sequence[str]] | None = None
    """Which of ``evidence`` it accepts under these sampling settings; None: all, whatever they are."""
    padding: int = 0
    """Bytes of which the lengths of its frames are multiples, 2 to 65,536; 0: padded for who asks for it in HELLO."""
    window: int = 1
    """Drafts of a device that may be unanswered at a time (spec section 6.10), 1 to ``flight.MOST_WINDOW``."""
    chat_template: bytes = b""
    """What names the target's chat template, 32 bytes (spec section 7.3); empty: it has none, or does not say."""

    def __post_init__(self) -> None:
        check_identity(self)
        set_names(self, "evidence", "precisions", "entropy", "priors")
        set_tokens(self, "eos_tokens", self.vocab_size)
        if self.begins is not None:
            set_tokens(self, "begins", self.vocab_size)
        set_integers(self, context=(0, U32), padding=(0, MOST_PADDING), window=(1, MOST_WINDOW))
        check_own(self.sampling, self.vocab_size)
        sample_extension(self.sample)
        object.__setattr__(self, "tables", tables_of(self.tables))
        if not callable(self.refusal):
            raise TypeError(f"refusal must be a function of Sampling, got {self.refusal!r}")
        if not (self.evidence_for is None or callable(self.evidence_for)):
            raise TypeError(f"evidence_for must be a function of Sampling or None, got {self.evidence_for!r}")
        check_bytes("chat_template", self.chat_template, 0, DIGEST_BYTES)
        check_names(self)
        prior_names(self.priors, self.tables)
        for table in self.tables:
            if table.vocab_size != self.vocab_size:
                raise ValueError(f"the table {table.name} is for V = {table.vocab_size}, not {self.vocab_size}")


def prior_names(names: Sequence[str], tables: Sequence[Prior]) -> tuple[str, ...]:
    """Names of ``tables``, then ``names``: what an end has, best first.

    ValueError for what is neither, a name that stands twice, or none at all.
    """
    known = {table.name for table in tables}
    wrong = [name for name in names if name not in PLAIN_PRIORS and name not in known]
    if wrong:
        raise ValueError(f"expected priors among {[*PLAIN_PRIORS, *known]}, got {wrong}")
    check_offer("prior", names or [table.name for table in tables])
    return tuple(dict.fromkeys((*(table.name for table in tables), *names)))


def check_offer(what: str, names: Sequence[str]) -> None:
    """Raise ValueError for an offer of no names, or of one that stands in it twice."""
    if not names or len(set(names)) < len(names):
        raise ValueError(f"each {what} must be named once, and one at least, got {list(names)}")


def tables_of(tables: Sequence[Prior]) -> tuple[Prior, ...]:
    """The trained ``tables`` of an end as a tuple; TypeError for what is none."""
    found = tuple(tables)
    if isinstance(tables, (str, Mapping)) or not all(isinstance(table, Prior) for table in found):
        raise TypeError(f"tables must be a sequence of Prior, got {tables!r}")
    return found


def not_agreed(what: str, name: str, agreed: Sequence[str]) -> str:
    """The sentence that refuses a ``name`` that is not among what was agreed on."""
    return f"{what} {name} was not agreed on, only {list(agreed)}"


def agreed_profile(welcome: Welcome, tables: Sequence[Prior]) -> Profile:
    """Return the profile that WELCOME fixes; ``tables``: those this end has."""
    table = next((table for table in tables if table.name == welcome.prior), None)
    return Profile(
        vocab_size=welcome.vocab_size,
        precision=welcome.precisions[0],
        entropy=welcome.entropy,
        prior=table if table is not None else plain_prior(welcome.prior, welcome.vocab_size),
    )


def context_of(edge: Welcome | EdgeSettings) -> int:
    """Most tokens a prefix may have; an edge that does not say takes no more than one prompt's worth."""
    return edge.context or edge.limits.max_prompt_tokens


def agreed_sampling(hello: Hello, settings: EdgeSettings) -> Sampling:
    """The settings of a session: what HELLO names, and the target's own; RemoteProtocolError if the edge lacks one."""
    asked = hello.sampling
    if unknown := sorted(getattr(asked, "extra", ())):
        raise RemoteProtocolError(ErrorCode.UNSUPPORTED, f"this edge has no sampling setting {', '.join(unknown)}")
    found = asked.over(settings.sampling)
    if (refusal := settings.refusal(found)) is not None:
        raise RemoteProtocolError(
            ErrorCode.UNSUPPORTED, f"the sampling settings {found.in_force()} are not served: {refusal}"
        )
    if (largest := max(tokens_named(found), default=-1)) >= settings.vocab_size:
        raise RemoteProtocolError(
            ErrorCode.UNSUPPORTED, f"the sampling settings name token {largest}; the edge has {settings.vocab_size}"
        )
    never = {*found.suppress_tokens, *(settings.eos_tokens if found.ignore_eos else ())}
    if len(never) >= settings.vocab_size:
        raise RemoteProtocolError(ErrorCode.UNSUPPORTED, "the sampling settings suppress every token")
    return found


def check_sampling_kept(hello: Hello, welcome: Welcome) -> None:
    """Refuse a WELCOME with another value for a setting that HELLO names; RemoteProtocolError."""
    for name, asked in hello.sampling.named().items():
        if (found := getattr(welcome.sampling, name)) != asked:
            raise RemoteProtocolError(
                ErrorCode.UNSUPPORTED, f"the edge chose {name} {found}, the device asked for {asked}"
            )


def common(name: str, offered: tuple[str, ...], ours: tuple[str, ...]) -> tuple[str, ...]:
    """What both ends have, in the order of the device; RemoteProtocolError if that is nothing."""
    both = tuple(item for item in offered if item in ours)
    if not both:
        raise RemoteProtocolError(
            ErrorCode.UNSUPPORTED, f"no {name} in common: the device offers {list(offered)}, the edge has {list(ours)}"
        )
    return both
