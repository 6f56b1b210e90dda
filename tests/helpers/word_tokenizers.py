"""Tokenizers of a few words, made here, and what is in drafts that reach an edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tslt_runtime.verifiers.local import LocalVerifier


def words(ordinary: Sequence[str], special: Sequence[str] = (), *, begin: str | None = None) -> Tokenizer:
    """A tokenizer of whole words: ``ordinary`` from id 0, then ``special``; ``begin``: the one that a text begins
    with."""
    vocabulary = {word: i for i, word in enumerate(ordinary)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=ordinary[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(special))
    if begin is not None:
        token = tokenizer.token_to_id(begin)
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, token)])
    return tokenizer


class Recorder(LocalVerifier):
    """A verifier that writes down which tokens devices draft, and which they list."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        self.drafted: set[int] = set()
        self.listed: set[int] = set()
        self.tails = 0

    async def answer(self, text: Any, request: Any) -> Any:
        draft = request.asked.draft
        self.drafted.update(draft.tree.tokens)
        for q in draft.lists.values():
            self.listed.update(q.ids.tolist())
            self.tails += q.prior is not None
        return await super().answer(text, request)
