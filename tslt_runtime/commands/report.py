"""What a device shows: the text as it grows, and a table of what it cost.

Acceptance is counted per tested position: accepted tokens over tokens that the edge tested (a round stops testing at
its first rejection).
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.incremental_decoding import IncrementalDecoder
from tslt_runtime.rounds import Round, Tally
from tslt_wire.messages.token_tree import expansion_parents

ACCEPTED, TARGET, PLAIN = "\x1b[32m", "\x1b[1;35m", "\x1b[0m"
"""What starts and ends a colour on a terminal."""
CONTROL = {code: "?" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)} | {0x0D: None}
"""What a terminal gets in the place of control characters."""
LISTED, PARTS = 32, 100
"""Tokens of the lists that are compared, and the parts of the paper's lattice that are spread over them."""


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


class Output:
    """Writes the text to stdout as it is; on a terminal colour tells accepted tokens from the target's.

    A terminal gets no control characters but tabs and line breaks: an edge shall not move its cursor (spec section 11).
    """

    def __init__(self, tokenizer: Any, prompt: Sequence[int], *, silent: bool = False) -> None:
        """``tokenizer``: of the draft model; ``prompt``: tokens before the first round; ``silent``: write nothing."""
        self.text = ""
        """What was generated."""
        self.last = "\n"
        """The last character that was written."""
        self._decoder = IncrementalDecoder(tokenizer, prompt)
        self._silent = silent
        self._terminal = sys.stdout.isatty()
        self.coloured = self._terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        """Whether colours are shown."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace", newline="")

    def write(self, text: str, colour: str = "") -> None:
        """Write ``text`` at once."""
        if self._silent or not text:
            return
        shown = text.translate(CONTROL) if self._terminal else text
        sys.stdout.write(f"{colour}{shown}{PLAIN}" if colour and self.coloured else shown)
        sys.stdout.flush()
        self.last = text[-1]

    def add(self, round_: Round) -> None:
        """Write what a round added."""
        for tokens, colour in ((round_.accepted, ACCEPTED), (round_.tokens[len(round_.accepted) :], TARGET)):
            piece = self._decoder.add(tokens)
            self.text += piece
            self.write(piece, colour)

    def finish(self) -> None:
        """Write what is left of a character that never became whole, and end the line."""
        rest = self._decoder.finish()
        self.text += rest
        self.write(rest)
        if self.last != "\n":
            self.write("\n")


def legend() -> str:
    """What the colours of the text mean."""
    return f"{ACCEPTED}accepted draft tokens{PLAIN}   {TARGET}the target's own tokens{PLAIN}"


def prior_line(device: Device) -> str:
    """What prior a session has, and what part of the probability left out goes to tails by now."""
    if device.prior is None:
        return "none"
    name = device.prior.name
    return f"{name[:14] if name.startswith('table:') else name}, tails {device.tail_scale:.0%}"


def published_list_bytes(vocab_size: int, k: int = LISTED, parts: int = PARTS) -> float:
    """Bytes of the paper's list: ``parts`` parts spread over ``k`` of ``vocab_size`` tokens, by the K-SQS formula.

    log2 C(V, K) + log2 C(l + K - 1, K - 1) bits, which no bitstream reaches; framing and drafted tokens not counted.
    """
    return (math.log2(math.comb(vocab_size, k)) + math.log2(math.comb(parts + k - 1, k - 1))) / 8


def json_list_bytes(vocab_size: int, k: int = LISTED) -> int:
    """Bytes of a list as JSON, ``[[id, log-probability], ...]``, really encoded; its numbers are examples."""
    entries = [[i * vocab_size // k, round(-i / 7, 4)] for i in range(k)]
    return len(json.dumps(entries, separators=(",", ":")))


def instead_per_token(tally: Tally, vocab_size: int) -> dict[str, float]:
    """Uplink bytes a token of other forms of lists, for chains as deep as the drafts were."""
    depths, k = [r.drafted for r in tally.rounds], min(LISTED, vocab_size)
    full = {depth: full_vocabulary_bytes(vocab_size, (1,) * depth) for depth in set(depths)}
    sums = {
        "ksqs": sum(depths) * published_list_bytes(vocab_size, k),
        "json": sum(depths) * json_list_bytes(vocab_size, k),
        "full": sum(full[depth] for depth in depths),
    }
    return {name: size / max(1, tally.tokens) for name, size in sums.items()}


def table(figures: Mapping[str, Any]) -> str:
    """The figures of a run for people, one a line; see ``figures_of``."""
    instead = figures["uplink_bytes_per_token_instead"]
    rows = (
        ("tokens", f"{figures['tokens']}"),
        ("rounds", f"{figures['rounds']}"),
        ("acceptance", f"{figures['acceptance']:.3f}"),
        ("evidence", figures["evidence"]),
        ("prior", figures["prior"]),
        ("tokens per round", f"{figures['tokens'] / max(1, figures['rounds']):.2f}"),
        ("uplink", f"{figures['uplink_bytes_per_token']:.1f} bytes/token"),
        (f"  or the paper's lists of {LISTED}, K-SQS formula", f"{instead['ksqs']:,.1f} bytes/token"),
        (f"  or lists of {LISTED} as JSON", f"{instead['json']:,.0f} bytes/token"),
        ("  or whole distributions, f16", f"{instead['full']:,.0f} bytes/token"),
        ("downlink", f"{figures['downlink_bytes_per_token']:.1f} bytes/token"),
        ("handshake and prompt, once", f"{figures['handshake_bytes']} bytes"),
        ("time per token", f"{figures['ms_per_token']:.1f} ms"),
        ("  draft", f"{figures['draft_ms_per_token']:.1f} ms"),
        ("  link", f"{figures['link_ms_per_token']:.1f} ms"),
        ("  verify", f"{figures['verify_ms_per_token']:.1f} ms"),
    )
    names, values = max(len(name) for name, _ in rows), max(len(value) for _, value in rows)
    return "\n".join(["what it took", *(f"  {name:<{names}}  {value:>{values}}" for name, value in rows)])


def figures_of(tally: Tally, handshake_bytes: int, *, vocab_size: int, evidence: str, prior: str) -> dict[str, Any]:
    """The figures of a run, as ``--json`` gives them; ``prior``: see ``prior_line``."""
    tokens = max(1, tally.tokens)
    return {
        "tokens": tally.tokens,
        "rounds": len(tally.rounds),
        "acceptance": tally.alpha,
        "evidence": evidence,
        "prior": prior,
        "uplink_bytes_per_token": tally.per_token("uplink_bytes"),
        "downlink_bytes_per_token": tally.per_token("downlink_bytes"),
        "uplink_bytes_per_token_instead": instead_per_token(tally, vocab_size),
        "handshake_bytes": handshake_bytes,
        "ms_per_token": 1e3 * tally.wall_s / tokens,
        "draft_ms_per_token": 1e3 * tally.per_token("draft_s"),
        "link_ms_per_token": 1e3 * tally.per_token("link_s"),
        "verify_ms_per_token": 1e3 * tally.per_token("verify_s"),
    }


def last_line(tally: Tally) -> str:
    """The line that scripts read: the last one on stderr."""
    return (
        f"demo: tokens={tally.tokens} rounds={len(tally.rounds)} alpha={tally.alpha:.4f} "
        f"uplink_bytes_per_token={tally.per_token('uplink_bytes'):.2f} "
        f"downlink_bytes_per_token={tally.per_token('downlink_bytes'):.2f}"
    )
