"""What a device shows: the text as it grows, and a table of what it cost.

Acceptance is counted per tested position: accepted tokens over tokens that the edge tested (a round stops testing at
its first rejection).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

import tslt_wire as tw
from tslt_runtime.device import Device, Round
from tslt_runtime.incremental_decoding import IncrementalDecoder
from tslt_wire.messages.token_tree import expansion_parents

ACCEPTED_STYLE = "green"
TARGET_STYLE = "bold magenta"


@dataclass(slots=True)
class Tally:
    """Sums over rounds."""

    rounds: list[Round] = field(default_factory=list)
    wall_s: float = 0.0
    """Seconds from the first draft to the last verdict."""

    @property
    def tokens(self) -> int:
        """Tokens generated."""
        return sum(len(r.tokens) for r in self.rounds)

    @property
    def alpha(self) -> float:
        """Accepted positions over tested positions; 0.0 if none was tested."""
        tried = sum(r.tried for r in self.rounds)
        return sum(len(r.accepted) for r in self.rounds) / tried if tried else 0.0

    def per_token(self, name: str) -> float:
        """Sum of a field of the rounds over the tokens generated."""
        return sum(getattr(r, name) for r in self.rounds) / max(1, self.tokens)


def full_vocabulary_bytes(vocab_size: int, expansion: Sequence[int]) -> int:
    """Bytes of one DRAFT frame that carries whole distributions in f16, as vanilla distributed decoding does.

    Really encoded, so that it has the same framing; the values do not matter for the size.
    """
    import numpy as np

    parents = expansion_parents(expansion)
    flat = tw.SparseDistribution(
        vocab_size, tw.Precision.F16, np.arange(vocab_size, dtype=np.int32), np.zeros(vocab_size, np.uint32)
    )
    tree = tw.TokenTree([0] * len(parents), parents)
    draft = tw.Draft(
        round=0,
        prefix_length=0,
        prefix_hash=0,
        tree=tree,
        evidence=tw.ListEvidence(dict.fromkeys(tree.inner, flat), replacement=True),
    )
    return len(tw.encode(draft, tw.Profile(vocab_size=vocab_size, precision="f16")))


def legend() -> Text:
    """What the colours of the stream mean."""
    return Text.assemble(
        ("accepted draft tokens", ACCEPTED_STYLE), "   ", ("the target's own tokens", TARGET_STYLE), style="dim"
    )


class Stream:
    """Prints tokens as they come; colour tells accepted ones from the target's."""

    def __init__(self, console: Console, tokenizer: Any, prompt: Sequence[int]) -> None:
        """``tokenizer``: of the draft model; ``prompt``: what was shown before."""
        self._console = console
        self._decoder = IncrementalDecoder(tokenizer, prompt)

    def finish(self) -> None:
        """Show what is left of a character that never became whole."""
        self._console.print(self._decoder.finish(), end="", highlight=False, markup=False)

    def add(self, round_: Round) -> None:
        """Show what a round added."""
        accepted, own = self._decoder.add(round_.accepted), self._decoder.add([round_.token])
        line = Text(accepted, ACCEPTED_STYLE)
        line.append(own, TARGET_STYLE)
        self._console.print(line, end="", soft_wrap=True, highlight=False)


def prior_line(device: Device) -> str:
    """What prior a session has, and what part of the probability left out goes to tails by now."""
    if device.prior is None:
        return "none"
    name = device.prior.name
    return f"{name[:14] if name.startswith('table:') else name}, tails {device.tail_scale:.0%}"


def against_full(tally: Tally, vocab_size: int, expansion: Sequence[int]) -> list[tuple[str, str]]:
    """What whole distributions would cost in the place of what was sent."""
    full = full_vocabulary_bytes(vocab_size, expansion) * len(tally.rounds) / max(1, tally.tokens)
    uplink = tally.per_token("uplink_bytes")
    return [
        ("uplink, full vocabulary (f16)", f"{full:,.0f} bytes/token"),
        ("  that is", f"{full / max(uplink, 1e-9):,.0f} times as much"),
    ]


def table(
    tally: Tally, handshake_bytes: int, *, evidence: str, prior: str, full: Sequence[tuple[str, str]] = ()
) -> Table:
    """The figures of a run, one a row; ``prior``: see ``prior_line``; ``full``: see ``against_full``."""
    rounds, tokens = len(tally.rounds), tally.tokens
    out = Table(show_header=False, title="what it took", title_justify="left")
    out.add_column(style="dim")
    out.add_column(justify="right")
    for name, value in (
        ("tokens", f"{tokens}"),
        ("rounds", f"{rounds}"),
        ("acceptance", f"{tally.alpha:.3f}"),
        ("evidence", evidence),
        ("prior", prior),
        ("tokens per round", f"{tokens / max(1, rounds):.2f}"),
        ("uplink", f"{tally.per_token('uplink_bytes'):.1f} bytes/token"),
        ("downlink", f"{tally.per_token('downlink_bytes'):.1f} bytes/token"),
        *full,
        ("handshake and prompt, once", f"{handshake_bytes} bytes"),
        ("time per token", f"{1e3 * tally.wall_s / max(1, tokens):.1f} ms"),
        ("  draft", f"{1e3 * tally.per_token('draft_s'):.1f} ms"),
        ("  link", f"{1e3 * tally.per_token('link_s'):.1f} ms"),
        ("  verify", f"{1e3 * tally.per_token('verify_s'):.1f} ms"),
    ):
        out.add_row(name, value)
    return out


def last_line(tally: Tally) -> str:
    """The line scripts read."""
    return (
        f"demo: tokens={tally.tokens} rounds={len(tally.rounds)} alpha={tally.alpha:.4f} "
        f"uplink_bytes_per_token={tally.per_token('uplink_bytes'):.2f} "
        f"downlink_bytes_per_token={tally.per_token('downlink_bytes'):.2f}"
    )
