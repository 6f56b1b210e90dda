"""Makes drafts to measure on: runs a pair of models along text that the target itself writes.

The target continues each prompt of ``data/prompts.txt`` at temperature 1, so the prefixes are what a session sees.
At positions of these continuations both models' logits are taken, and at some of them the draft model really drafts a
tree and a chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

import tslt_wire as tw
from tslt_benchmarks.drafts import EXPANSION, ROUND_ROWS, Drafts, Logits, Positions
from tslt_wire.lists.sibling_sampling import sample_children
from tslt_wire.messages.token_tree import expansion_parents

PROMPTS = Path(__file__).resolve().parent / "data" / "prompts.txt"
"""Openings of stories, one a line."""


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


def read_prompts(path: Path = PROMPTS) -> list[str]:
    """Return the prompts of a file, one a line; blank lines and ``#`` lines are skipped."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def make_drafts(target_path: Path, draft_path: Path, settings: Settings, prompts: Sequence[str]) -> Drafts:
    """Run both models (folders that ``from_pretrained`` reads, the tokenizer in the target's) over ``prompts``.

    Equal arguments give equal drafts on one machine.  ValueError if the two have not the same vocabulary size.
    """
    transformers_logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(target_path)
    target, draft = _Model(target_path, settings), _Model(draft_path, settings)
    if target.vocab_size != draft.vocab_size:
        raise ValueError(f"the target has {target.vocab_size} tokens and the draft {draft.vocab_size}: not a pair")
    rng = np.random.default_rng(settings.seed)
    starts = [[int(t) for t in tokenizer(prompt)["input_ids"]] for prompt in prompts]
    texts = [target.continue_text(start, settings.tokens, rng) for start in starts]
    places = [(i, len(start) + n) for i, start in enumerate(starts) for n in range(len(texts[i]) - len(start) + 1)]
    rounds = [places[i] for i in _spread(len(places), settings.rounds, rng)]
    prefixes = tuple(tuple(texts[i][:length]) for i, length in rounds)
    listed = [places[i] for i in _spread(len(places), settings.lists, rng)]
    drafted = [_draft_round(target, draft, prefix, settings, rng) for prefix in prefixes]
    return Drafts(
        positions=_positions(target, draft, texts, starts, listed),
        round_draft=np.stack([d[0] for d in drafted]),
        round_target=np.stack([d[1] for d in drafted]),
        round_tokens=np.array([d[2] for d in drafted], np.int32),
        prefixes=prefixes,
        token_bytes=token_bytes(tokenizer, target.vocab_size),
        meta={
            "target": "/".join(target_path.parts[-2:]),
            "draft": "/".join(draft_path.parts[-2:]),
            "target_sha256": _weights_hash(target_path),
            "draft_sha256": _weights_hash(draft_path),
            "target_parameters": target.parameters,
            "draft_parameters": draft.parameters,
            "vocab_size": target.vocab_size,
            "prompts": len(prompts),
            "continuation_tokens": sum(len(text) - len(start) for text, start in zip(texts, starts, strict=True)),
            "torch": torch.__version__,
            "settings": {name: getattr(settings, name) for name in Settings.__dataclass_fields__},
        },
    )


def _weights_hash(folder: Path) -> str:
    """SHA-256 over a model's weight files in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _spread(total: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """Return ``wanted`` of ``range(total)`` (all if there are fewer), at random, ascending."""
    return sorted(rng.choice(total, min(wanted, total), replace=False).tolist())


class _Model:
    """A Llama for plain forward passes in float32."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._model: Any = LlamaForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self._dtype = np.dtype(settings.dtype)
        self.vocab_size = int(self._model.config.vocab_size)
        self.parameters = int(sum(p.numel() for p in self._model.parameters()))
        eos = self._model.config.eos_token_id
        self._ends = set(eos) if isinstance(eos, list) else {eos}

    def logits(self, tokens: Sequence[int], first: int) -> Logits:
        """Logits after each of ``tokens[first:]``, (len(tokens) - first, V)."""
        rows: Logits = self._run([tokens], len(tokens) - first)[0]
        return rows

    def last_logits(self, sequences: Sequence[Sequence[int]]) -> Logits:
        """Logits after each of some sequences of equal length, (sequences, V)."""
        return self._run(sequences, 1)[:, 0]

    def _run(self, sequences: Sequence[Sequence[int]], keep: int) -> Logits:
        with torch.inference_mode():
            out = self._model(torch.tensor([list(s) for s in sequences]), use_cache=False, logits_to_keep=keep).logits
        rounded: Logits = out.numpy().astype(self._dtype)
        return rounded

    def continue_text(self, tokens: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
        """``tokens`` and up to ``count`` sampled at temperature 1; stops before the end-of-text token."""
        text, cache, step = list(tokens), None, list(tokens)
        with torch.inference_mode():
            for _ in range(count):
                out = self._model(torch.tensor([step]), past_key_values=cache, use_cache=True, logits_to_keep=1)
                cache = out.past_key_values
                probs = tw.target_probs(out.logits[0, -1], tw.Sampling())
                token = int(rng.choice(len(probs), p=probs))
                if token in self._ends:
                    break
                text.append(token)
                step = [token]
        return text


def _positions(
    target: _Model, draft: _Model, texts: list[list[int]], starts: list[list[int]], places: list[tuple[int, int]]
) -> Positions:
    p, q, prompt, index, token = [], [], [], [], []
    for i in sorted({i for i, _ in places}):
        first = len(starts[i]) - 1
        p_rows, q_rows = target.logits(texts[i], first), draft.logits(texts[i], first)
        for length in (length for j, length in places if j == i):
            p.append(p_rows[length - 1 - first])
            q.append(q_rows[length - 1 - first])
            prompt.append(i)
            index.append(length - len(starts[i]))
            token.append(texts[i][length] if length < len(texts[i]) else -1)
    return Positions(np.stack(q), np.stack(p), *(np.array(v, np.int32) for v in (prompt, index, token)))


def _draft_round(
    target: _Model, draft: _Model, prefix: tuple[int, ...], settings: Settings, rng: np.random.Generator
) -> tuple[Logits, Logits, list[int]]:
    """Draft one <2,2,2> tree and its chain; (draft logits (8, V), target logits (8, V), 15 tokens)."""
    parents = expansion_parents(EXPANSION)
    paths: list[tuple[int, ...]] = [prefix]
    """Tokens before each row of the logits: the prefix, then the path down to each node."""
    rows: list[Logits] = []
    tokens: list[int] = []
    layer = [-1]
    for width in EXPANSION:
        fresh = draft.last_logits([paths[1 + node] for node in layer])
        rows += list(fresh)
        for node, logits in zip(layer, fresh, strict=True):
            for token in _children(logits, width, settings, rng):
                tokens.append(token)
                paths.append((*paths[1 + node], token))
        layer = [node for node, parent in enumerate(parents) if parent in layer]
    rows.append(draft.last_logits([paths[ROUND_ROWS - 1]])[0])
    tokens += _children(rows[-1], 1, settings, rng)
    wanted = paths[:ROUND_ROWS]
    target_rows: list[Logits] = []
    for length in sorted({len(path) for path in wanted}):
        target_rows += list(target.last_logits([path for path in wanted if len(path) == length]))
    return np.stack(rows), np.stack(target_rows), tokens


def _children(logits: Logits, width: int, settings: Settings, rng: np.random.Generator) -> list[int]:
    q = tw.sparsify(logits, truncation=tw.TopK(settings.children_top_k), precision=tw.Precision.F32)
    return sample_children(q, width, rng, replacement=True)


# ---------------------------------------------------------------------------------------------------------- vocabulary


def _byte_alphabet() -> dict[str, int]:
    """The characters that stand for bytes in byte-level BPE vocabularies (the GPT-2 convention)."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in visible]
    return {chr(b): b for b in visible} | {chr(256 + i): b for i, b in enumerate(hidden)}


def token_bytes(tokenizer: Any, vocab_size: int) -> tuple[bytes, ...]:
    """UTF-8 bytes of each token; ids that have none, or those of an earlier id, get a name in angle brackets."""
    alphabet = _byte_alphabet()
    seen: dict[bytes, int] = {}
    for token, name in enumerate(tokenizer.convert_ids_to_tokens(range(min(vocab_size, len(tokenizer))))):
        known = name is not None and all(c in alphabet for c in name)
        text = bytes(alphabet[c] for c in name) if known else str(name).replace("\u2581", " ").encode()
        seen[text if text and text not in seen else f"<{token}>".encode()] = token
    for token in range(len(seen), vocab_size):
        seen[f"<{token}>".encode()] = token
    return tuple(seen)
