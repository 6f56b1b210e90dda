"""Pairs whose vocabularies fit without being the same, made of a pair with one tokenizer, in a folder.

Nothing is trained: outputs get rows, special tokens get names, and a draft with another tokenizer keeps the rows of
the tokens that a shorter list of merges makes.  See docs/vocabularies.md.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

MORE_ROWS = 64
"""Rows by which an output is padded."""
PARTS = (2, 16)
"""Other tokenizers have one of so many of the pair's merges."""
TOKENIZER = "tokenizer.json"
_OTHER_NAME = "<|another {}|>"
"""What a special token is called in place of its number."""


@dataclass(frozen=True, slots=True)
class VocabularyPair:
    """A target and a draft of it in folders."""

    name: str
    target: Path
    draft: Path
    shared: NDArray[np.bool_]
    """Which of the target's tokens the draft should be able to draft, (V,): found from the files, not by the map that
    the device makes, so that one checks the other."""
    other_tokenizer: bool = False
    """Whether the device needs the target's tokenizer."""


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """What is read of a byte-pair tokenizer's file."""

    parts: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> TokenizerFile:
        """Raises ValueError if there is none in the folder, or one of another kind."""
        path = folder / TOKENIZER
        parts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if parts.get("model", {}).get("type") != "BPE":
            raise ValueError(f"expected a byte-pair tokenizer in {path}: name a pair that has one")
        return cls(parts)

    @property
    def special(self) -> frozenset[str]:
        """The names of special tokens."""
        return frozenset(token["content"] for token in self.parts["added_tokens"])

    @property
    def ids(self) -> dict[str, int]:
        """Token text -> id, special ones included."""
        added = {token["content"]: int(token["id"]) for token in self.parts["added_tokens"]}
        return {**self.parts["model"]["vocab"], **added}

    @property
    def merges(self) -> list[tuple[str, str]]:
        """Pairs that become one token, the most frequent first."""
        pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in self.parts["model"]["merges"])
        return [(left, right) for left, right in pairs]

    def renamed(self) -> TokenizerFile:
        """The same with other names for special tokens."""
        names = {name: _OTHER_NAME.format(number) for number, name in enumerate(sorted(self.special))}
        return self._with(self.ids, self.parts["model"]["merges"], lambda name: names.get(name, name))

    def shorter(self, merges: int) -> TokenizerFile:
        """The tokenizer of the first ``merges`` merges: its tokens in the order of their names, special ones last."""
        made, special = ["".join(pair) for pair in self.merges], self.special
        gone = set(made[merges:]) - set(made[:merges]) - special
        kept = sorted(set(self.ids) - gone, key=lambda name: (name in special, name))
        return self._with(
            {name: token for token, name in enumerate(kept)}, self.parts["model"]["merges"][:merges], lambda name: name
        )

    def _with(self, ids: Mapping[str, int], merges: Sequence[Any], called: Callable[[str], str]) -> TokenizerFile:
        """The file with these ids and merges, special tokens called as ``called`` says."""
        parts = json.loads(json.dumps(self.parts))
        plain = self.parts["model"]["vocab"]
        parts["model"] |= {"vocab": {called(name): ids[name] for name in ids if name in plain}, "merges": list(merges)}
        for token in parts["added_tokens"]:
            token["id"], token["content"] = ids[token["content"]], called(token["content"])
        _rename_template(parts.get("post_processor"), ids, called)
        return TokenizerFile(parts)


def _rename_template(processor: Any, ids: Mapping[str, int], called: Callable[[str], str]) -> None:
    """Put ids and names into what says which tokens a text begins with."""
    for step in (processor or {}).get("processors", [processor]):
        if not step or step["type"] != "TemplateProcessing":
            continue
        for piece in (*step["single"], *step["pair"]):
            if "SpecialToken" in piece:
                piece["SpecialToken"]["id"] = called(piece["SpecialToken"]["id"])
        step["special_tokens"] = {
            called(name): {"id": called(name), "ids": [ids[name]], "tokens": [called(name)]}
            for name in step["special_tokens"]
        }


def make_pairs(target: Path, draft: Path, folder: Path, *, merges: Sequence[int] = ()) -> list[VocabularyPair]:
    """The pair itself, and what is made of it in ``folder``.

    ``merges``: of each other tokenizer, by default a half and a 16th of the pair's.  Raises ValueError for a pair
    without one byte-pair tokenizer or with outputs of two sizes.
    """
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # that an output was resized is the point
    own = TokenizerFile.read(draft)
    size = _vocab_size(target)
    if own.ids != TokenizerFile.read(target).ids or size != _vocab_size(draft):
        raise ValueError(f"expected one tokenizer and outputs of one size in {target} and {draft}: name such a pair")
    every, special = np.ones(size, np.bool_), own.special
    ordinary = _marked(size, own.ids, set(own.ids) - special)
    wide_draft, wide_target = folder / "wide-draft", folder / "wide-target"
    for source, made in ((draft, wide_draft), (target, wide_target)):
        _pad(source, made)
    _save_tokenizer(draft, folder / "renamed", own.renamed())
    for weights in draft.glob("*.safetensors*"):
        shutil.copy(weights, folder / "renamed")
    pairs = [
        VocabularyPair("same", target, draft, every),
        VocabularyPair("padded draft", target, wide_draft, every),
        VocabularyPair("padded target", wide_target, draft, np.arange(size + MORE_ROWS) < size),
        VocabularyPair("renamed", target, folder / "renamed", ordinary),
    ]
    for count in merges or [len(own.merges) // part for part in PARTS]:
        other, made = own.shorter(count), folder / f"{count}-merges"
        _keep_rows(draft, made, own, other)
        same_text = _marked(size, own.ids, set(other.ids) - special)
        pairs.append(VocabularyPair(f"{count:,} merges", target, made, same_text, other_tokenizer=True))
    return pairs


def _marked(size: int, ids: Mapping[str, int], names: Iterable[str]) -> NDArray[np.bool_]:
    """Which of ``size`` tokens have these names."""
    marked = np.zeros(size, np.bool_)
    marked[[ids[name] for name in names]] = True
    return marked


def _vocab_size(folder: Path) -> int:
    return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"])


def _save_tokenizer(source: Path, folder: Path, tokenizer: TokenizerFile) -> None:
    """Make ``folder`` with ``source``'s settings and this tokenizer, whose special tokens are named by their ids."""
    folder.mkdir(exist_ok=True)
    for path in source.glob("*.json"):
        shutil.copy(path, folder)
    (folder / TOKENIZER).write_text(json.dumps(tokenizer.parts), encoding="utf-8")
    settings = folder / "tokenizer_config.json"
    # Names of the source's special tokens would be added to the vocabulary as tokens of their own.
    settings.write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8")


def _pad(source: Path, folder: Path) -> None:
    """A model with ``MORE_ROWS`` more rows, which are about the mean of the others: what ``transformers`` pads with."""
    model = AutoModelForCausalLM.from_pretrained(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model.resize_token_embeddings(model.config.vocab_size + MORE_ROWS)
    model.save_pretrained(folder)
    for path in source.glob("tokenizer*.json"):
        shutil.copy(path, folder)


def _keep_rows(source: Path, folder: Path, own: TokenizerFile, other: TokenizerFile) -> None:
    """A model of ``other``'s tokens, each with the row that it has in ``source``, whose tokenizer is ``own``."""
    _save_tokenizer(source, folder, other)
    model = AutoModelForCausalLM.from_pretrained(source)
    before, after = own.ids, other.ids
    kept = torch.tensor([before[name] for name in sorted(after, key=after.__getitem__)])
    layers = model.get_input_embeddings(), model.get_output_embeddings()
    rows = [layer.weight.data[kept].clone() for layer in layers]
    model.resize_token_embeddings(len(kept))
    for layer, row in zip((model.get_input_embeddings(), model.get_output_embeddings()), rows, strict=True):
        layer.weight.data = row
    model.tie_weights()
    names = {token: name for name, token in before.items()}
    for settings in (model.config, model.generation_config):
        for field in ("bos_token_id", "eos_token_id"):
            setattr(settings, field, _renumbered(getattr(settings, field), names, after))
    model.save_pretrained(folder)


def _renumbered(tokens: Any, names: Mapping[int, str], ids: Mapping[str, int]) -> Any:
    """One id, several or None, each by its number in ``ids``."""
    if isinstance(tokens, list):
        return [ids[names[token]] for token in tokens]
    return None if tokens is None else ids[names[tokens]]
