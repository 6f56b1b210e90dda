"""Drafts to measure on: logits of a real pair of models along text that the target itself wrote.

The target continues each prompt of ``data/prompts.txt`` at temperature 1, so the prefixes are what a session sees.
At positions of these continuations both models' logits are taken (``Positions``, for single lists), and at some of them
the draft model really drafts a tree and a chain (``Round``, for whole frames).  All of it fits one ``.npz`` file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from transformers import AutoTokenizer, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

import tslt_wire as tw
from tslt_wire.lists.siblings import sample_children
from tslt_wire.messages.token_tree import expansion_parents

Logits = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int32]

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "benchmarks" / "data"
TARGET, DRAFT = ROOT / "examples/pair/target", ROOT / "examples/pair/draft"
"""Folders of the default pair."""
FILE_VERSION = 1
EXPANSION = (2, 2, 2)
_CHAIN_NODES = (0, 2, 6)
"""Nodes of the tree that the chain shares with it: first children all the way down."""
_CHAIN_ROWS = (0, 1, 3, 7)
"""Rows of a round's logits that the chain needs: after the prefix and after each of these nodes."""
_TREE_ROWS = 7
_ROUND_ROWS = 8
_TREE_NODES = 14


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


@dataclass(frozen=True, slots=True)
class Positions:
    """Places in the text for which one list each is made; N of them."""

    draft: Logits
    """The draft model's logits, (N, V)."""
    target: Logits
    """The target's logits, (N, V)."""
    prompt: Ints
    """Which prompt, int32 (N,)."""
    index: Ints
    """How many tokens of the continuation come before, int32 (N,)."""
    token: Ints
    """The token the target continued with, int32 (N,); -1 at the end of a continuation."""


@dataclass(frozen=True, slots=True)
class Round:
    """One drafted tree or chain, without the lists: those depend on K, precision and temperature."""

    prefix: tuple[int, ...]
    tree: tw.TokenTree
    draft: Logits
    """The draft model's logits after each parent in the order of ``tree.inner``, (parents, V)."""
    target: Logits
    """The target's logits after the same, (parents, V)."""


@dataclass(frozen=True, slots=True)
class Drafts:
    """Everything the benchmarks measure on."""

    positions: Positions
    round_draft: Logits
    """(R, 8, V): after the prefix, after nodes 0..5 and after node 6 of each round's tree."""
    round_target: Logits
    round_tokens: Ints
    """int32 (R, 15): the tree's 14 nodes in breadth-first order, then the chain's fourth token."""
    prefixes: tuple[tuple[int, ...], ...]
    """Tokens before each round, prompt included."""
    token_bytes: tuple[bytes, ...]
    """What each token id is in UTF-8 text; all different."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Settings, versions and names of the models."""

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary."""
        return int(self.positions.draft.shape[1])

    def trees(self) -> list[Round]:
        """The rounds' <2,2,2> trees: 14 draft tokens, 7 parents."""
        return [
            Round(
                self.prefixes[i],
                tw.TokenTree.expand(self.round_tokens[i, :_TREE_NODES].tolist(), EXPANSION),
                self.round_draft[i, :_TREE_ROWS],
                self.round_target[i, :_TREE_ROWS],
            )
            for i in range(len(self.prefixes))
        ]

    def chains(self) -> list[Round]:
        """The rounds' chains of 4 draft tokens: the first path of the tree and one token more."""
        rows = list(_CHAIN_ROWS)
        return [
            Round(
                self.prefixes[i],
                tw.TokenTree.chain(self.round_tokens[i, [*_CHAIN_NODES, _TREE_NODES]].tolist()),
                self.round_draft[i, rows],
                self.round_target[i, rows],
            )
            for i in range(len(self.prefixes))
        ]


# ---------------------------------------------------------------------------------------------------------------- file


def save_drafts(drafts: Drafts, path: Path) -> None:
    """Write ``drafts`` as an uncompressed ``.npz`` (about 8 * V bytes a list in float32)."""
    positions = drafts.positions
    arrays: dict[str, Any] = {
        "version": np.array(FILE_VERSION),
        "meta": np.array(json.dumps(drafts.meta)),
        "list_draft": positions.draft,
        "list_target": positions.target,
        "list_prompt": positions.prompt,
        "list_index": positions.index,
        "list_token": positions.token,
        "round_draft": drafts.round_draft,
        "round_target": drafts.round_target,
        "round_tokens": drafts.round_tokens,
        "prefix_tokens": np.array([t for prefix in drafts.prefixes for t in prefix], np.int32),
        "prefix_lengths": np.array([len(prefix) for prefix in drafts.prefixes], np.int32),
        "token_bytes": np.frombuffer(b"".join(drafts.token_bytes), np.uint8),
        "token_lengths": np.array([len(b) for b in drafts.token_bytes], np.int32),
    }
    with path.open("wb") as file:
        np.savez(file, **arrays)


def load_drafts(path: Path) -> Drafts:
    """Read what ``save_drafts`` wrote; ValueError for another version of the file."""
    with np.load(path, allow_pickle=False) as data:
        if int(data["version"]) != FILE_VERSION:
            raise ValueError(f"{path.name} is a drafts file of version {int(data['version'])}, not {FILE_VERSION}")
        text, ends = data["token_bytes"].tobytes(), np.cumsum(data["token_lengths"]).tolist()
        tokens, cuts = data["prefix_tokens"].tolist(), np.cumsum(data["prefix_lengths"]).tolist()
        return Drafts(
            positions=Positions(
                draft=data["list_draft"],
                target=data["list_target"],
                prompt=data["list_prompt"],
                index=data["list_index"],
                token=data["list_token"],
            ),
            round_draft=data["round_draft"],
            round_target=data["round_target"],
            round_tokens=data["round_tokens"],
            prefixes=tuple(tuple(tokens[a:b]) for a, b in zip([0, *cuts], cuts, strict=False)),
            token_bytes=tuple(text[a:b] for a, b in zip([0, *ends], ends, strict=False)),
            meta=json.loads(str(data["meta"])),
        )


# -------------------------------------------------------------------------------------------------------------- making


def read_prompts(path: Path = DATA / "prompts.txt") -> list[str]:
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
                probs = tw.target_probs(out.logits[0, -1].numpy(), tw.Sampling())
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
    rows.append(draft.last_logits([paths[_ROUND_ROWS - 1]])[0])
    tokens += _children(rows[-1], 1, settings, rng)
    wanted = paths[:_ROUND_ROWS]
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


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``drafts_for`` is told by the command line."""
    parser.add_argument("--target", type=Path, default=TARGET, help="folder of the target model and its tokenizer")
    parser.add_argument("--draft", type=Path, default=DRAFT, help="folder of the draft model")
    parser.add_argument("--drafts", type=Path, help=".npz of drafts: read if it exists, else made and written")


def drafts_for(
    path: Path | None, target: Path, draft: Path, settings: Settings, *, console: Console, prompts: Path | None = None
) -> Drafts:
    """Load drafts from ``path`` if that file exists; else make them, and save them there if ``path`` is given.

    SystemExit with a sentence for people if the models are not there.
    """
    if path is not None and path.exists():
        drafts = load_drafts(path)
        console.print(f"drafts of {path.name}, made with {drafts.meta['settings']}", highlight=False, markup=False)
        return drafts
    for folder in (target, draft):
        if not (folder / "config.json").exists():
            raise SystemExit(f"no model in {folder}: name a pair with --target and --draft, or drafts with --drafts")
    console.print("running both models to make drafts ...", highlight=False)
    drafts = make_drafts(target, draft, settings, read_prompts(prompts or DATA / "prompts.txt"))
    if path is not None:
        save_drafts(drafts, path)
    return drafts
