"""Makes drafts to measure on: runs a pair of models along text that the target itself writes.

The target continues each prompt of ``data/prompts.txt`` at temperature 1, so the prefixes are what a session sees.
At positions of these continuations both models' logits are taken, and at some of them the draft model really drafts a
tree and a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tslt_wire as tw
from tslt_benchmarks.drafts import EXPANSION, ROUND_ROWS, TREE_NODES, Drafts, Logits, Positions
from tslt_benchmarks.pairs import Models, files_hash
from tslt_runtime.engines.protocol import Node, Work
from tslt_runtime.tokenizer import Tokenizer
from tslt_wire.lists.logits import plain_logits
from tslt_wire.lists.sibling_sampling import sample_children
from tslt_wire.messages.token_tree import expansion_parents


@dataclass(frozen=True, slots=True)
class Settings:
    """How drafts are made; saved with them."""

    lists: int = 256
    """Positions for single lists (fewer if the continuations are shorter)."""
    rounds: int = 48
    """Positions at which a tree and a chain are drafted."""
    tokens: int = 48
    """Tokens the target adds to each prompt, unless its text ends before."""
    children_top_k: int = 8
    """Drafted tokens are sampled from this many most probable ones, so that they are in every longer list too."""
    dtype: str = "float32"
    """What logits are kept in, ``float32`` or ``float16``: rounded as soon as they leave a model."""
    seed: int = 0


# -------------------------------------------------------------------------------------------------------------- making


def make_drafts(
    models: Models,
    settings: Settings,
    prompts: Sequence[str],
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Drafts:
    """Run both models over ``prompts``; all ids are the target's.

    ``tell``: told how many texts and rounds of all are done.  Equal arguments give equal drafts on one machine.
    """
    maker = _Maker(models, np.dtype(settings.dtype))
    rng = np.random.default_rng(settings.seed)
    starts = [models.prompt_tokens(prompt, room=settings.tokens + len(EXPANSION) + 1) for prompt in prompts]
    of, texts = 2 * len(starts) + settings.rounds, []
    for start in starts:
        texts.append(maker.continue_text(start, settings.tokens, rng))
        tell(len(texts), of)
    places = [(i, len(start) + n) for i, start in enumerate(starts) for n in range(len(texts[i]) - len(start) + 1)]
    rounds = [places[i] for i in _spread(len(places), settings.rounds, rng)]
    prefixes = tuple(tuple(texts[i][:length]) for i, length in rounds)
    listed = [places[i] for i in _spread(len(places), settings.lists, rng)]
    drafted = []
    for prefix in prefixes:
        drafted.append(_draft_round(maker, prefix, settings, rng))
        tell(len(texts) + len(drafted), of)
    return Drafts(
        positions=_positions(maker, texts, starts, listed, lambda done: tell(of - len(starts) + done, of)),
        round_draft=np.stack([d[0] for d in drafted]),
        round_target=np.stack([d[1] for d in drafted]),
        round_tokens=np.array([d[2] for d in drafted], np.int32),
        prefixes=prefixes,
        token_bytes=token_bytes(models.tokenizer, models.vocab_size),
        meta={
            "target": "/".join(models.target_source.parts[-2:]),
            "draft": "/".join(models.draft_source.parts[-2:]),
            "target_sha256": files_hash(models.target_source),
            "draft_sha256": files_hash(models.draft_source),
            "vocab_size": models.vocab_size,
            "prompts": len(prompts),
            "continuation_tokens": sum(len(text) - len(start) for text, start in zip(texts, starts, strict=True)),
            "settings": {name: getattr(settings, name) for name in Settings.__dataclass_fields__},
        },
    )


def _spread(total: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """Return ``wanted`` of ``range(total)`` (all if there are fewer), at random, ascending."""
    return sorted(rng.choice(total, min(wanted, total), replace=False).tolist())


class _Maker:
    """Logits of both models, in the target's tokens."""

    def __init__(self, models: Models, dtype: np.dtype[Any]) -> None:
        self._target = models.target.engine
        self._draft = models.draft_text()
        self._dtype = dtype

    def target_rows(self, tokens: Sequence[int], tree: tw.TokenTree) -> Logits:
        """The target's logits after ``tokens`` and after each node of a tree behind them, (1 + nodes, V)."""
        text = self._target.open()
        try:
            (rows,) = self._target.score([Work(text, tokens, tree)])
            found: Logits = plain_logits(rows, 2).astype(self._dtype)
            return found
        finally:
            text.close()

    def draft_row(self, tokens: Sequence[int]) -> Logits:
        """The draft's logits after ``tokens``, (V,)."""
        self._draft.set_prefix(tokens)
        row: Logits = self.draft_rows([])[0]
        return row

    def draft_rows(self, nodes: Sequence[Node]) -> Logits:
        """The draft's logits after nodes that are appended, or without any after the prefix, (1 or nodes, V)."""
        found: Logits = plain_logits(self._draft.expand(nodes), 2).astype(self._dtype)
        return found

    def set_prefix(self, tokens: Sequence[int]) -> None:
        """A draft begins behind ``tokens``."""
        self._draft.set_prefix(tokens)

    def continue_text(self, tokens: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
        """``tokens`` and up to ``count`` that the target samples at temperature 1; stops before what ends a text."""
        text, fresh, found = self._target.open(), list(tokens), list(tokens)
        try:
            for _ in range(min(count, self._target.facts.context - len(tokens))):
                (rows,) = self._target.score([Work(text, fresh, tw.TokenTree([], []))])
                probs = tw.target_probs(plain_logits(rows, 2)[0], tw.Sampling())
                token = int(rng.choice(len(probs), p=probs))
                if token in self._target.facts.eos_tokens:
                    break
                fresh = [token]
                found.append(token)
        finally:
            text.close()
        return found


def _positions(
    maker: _Maker,
    texts: list[list[int]],
    starts: list[list[int]],
    places: list[tuple[int, int]],
    done: Callable[[int], None],
) -> Positions:
    p, q, prompt, index, token = [], [], [], [], []
    for i in sorted({i for i, _ in places}):
        text, first = texts[i], len(starts[i])
        rows = maker.target_rows(text[:first], tw.TokenTree.chain(text[first:]))
        for length in (length for j, length in places if j == i):
            p.append(rows[length - first])
            q.append(maker.draft_row(text[:length]))
            prompt.append(i)
            index.append(length - first)
            token.append(text[length] if length < len(text) else -1)
        done(i + 1)
    return Positions(np.stack(q), np.stack(p), *(np.array(v, np.int32) for v in (prompt, index, token)))


def _draft_round(
    maker: _Maker, prefix: tuple[int, ...], settings: Settings, rng: np.random.Generator
) -> tuple[Logits, Logits, list[int]]:
    """Draft one <2,2,2> tree and its chain; (draft logits (8, V), target logits (8, V), 15 tokens)."""
    parents = expansion_parents(EXPANSION)
    rows: list[Logits] = []
    tokens: list[int] = []
    layer = [-1]
    maker.set_prefix(prefix)
    for width in EXPANSION:
        fresh = maker.draft_rows([Node(parents[node], tokens[node]) for node in layer if node >= 0])
        rows += list(fresh)
        for logits in fresh:
            tokens += _children(logits, width, settings, rng)
        layer = [node for node, parent in enumerate(parents) if parent in layer]
    # Nodes are numbered as they were appended, and so in the order of the tree.
    rows += list(maker.draft_rows([Node(parents[layer[0]], tokens[layer[0]])]))
    tokens += _children(rows[-1], 1, settings, rng)
    target_rows = maker.target_rows(prefix, tw.TokenTree(tokens[:TREE_NODES], parents))
    return np.stack(rows), target_rows[:ROUND_ROWS], tokens


def _children(logits: Logits, width: int, settings: Settings, rng: np.random.Generator) -> list[int]:
    q = tw.sparsify(logits, truncation=tw.TopK(settings.children_top_k), precision=tw.Precision.F32)
    return sample_children(q, width, rng, replacement=True)


# ---------------------------------------------------------------------------------------------------------- vocabulary


def _byte_alphabet() -> dict[str, int]:
    """The characters that stand for bytes in byte-level BPE vocabularies (the GPT-2 convention)."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in visible]
    return {chr(b): b for b in visible} | {chr(256 + i): b for i, b in enumerate(hidden)}


def token_bytes(tokenizer: Tokenizer, vocab_size: int) -> tuple[bytes, ...]:
    """UTF-8 bytes of each token; ids that have none, or those of an earlier id, get a name in angle brackets."""
    alphabet = _byte_alphabet()
    names = {token: name for name, token in tokenizer.get_vocab().items()}
    seen: dict[bytes, int] = {}
    for token in range(vocab_size):
        name = names.get(token, "")
        known = all(c in alphabet for c in name)
        text = bytes(alphabet[c] for c in name) if known else name.replace("\u2581", " ").encode(errors="replace")
        seen[text if text and text not in seen else f"<{token}>".encode()] = token
    return tuple(seen)
