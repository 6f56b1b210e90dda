"""A pair of models to measure with: folders or GGUF files, with one tokenizer or two."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import tslt_wire as tw
from tslt_runtime.draft_vocabulary import DraftVocabulary
from tslt_runtime.engines.protocol import DraftText, EngineFacts
from tslt_runtime.fingerprint import Vocabulary, vocabulary_of
from tslt_runtime.loading import (
    EngineOptions,
    LoadedDraft,
    LoadedTarget,
    is_gguf,
    load_draft,
    load_target,
    load_tokenizer,
)
from tslt_runtime.streaming import hello_of
from tslt_runtime.tokenizer import Tokenizer
from tslt_wire.session.vocabularies import fit_of

_CHUNK = 1 << 22
_READ = (".safetensors", ".json", ".model", ".bin")
"""Files of a folder that say what a model does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """A target, a draft of it, and how the draft's tokens are the target's."""

    target: LoadedTarget
    draft: LoadedDraft
    vocabulary: DraftVocabulary
    """The draft's, as a device has it."""
    offered: Vocabulary
    """The target's, as an edge has it."""
    target_source: Path
    draft_source: Path
    """Folders or files that they were read from."""

    @classmethod
    def load(
        cls,
        target: str | Path,
        draft: str | Path,
        *,
        target_tokenizer: str | Path | None = None,
        dtype: str = "auto",
        threads: int | None = None,
        self_check: bool = True,
    ) -> Models:
        """Load both; ``dtype`` is for folders, what a GGUF file computes in is its own; ``threads``: of the CPU.

        ``target_tokenizer``: read in place of the one that came with the target.  Where the ordinary tokens of the two
        models differ the draft is mapped to the target's, as ``tslt device --target-tokenizer`` does it.
        Raises what ``loading.load_draft`` raises, and VocabularyMismatch for models without a token in common.
        """
        options: EngineOptions = {"threads": threads} if threads else {}
        of_target, of_draft = (
            EngineOptions(**options, dtype="auto" if is_gguf(source) else dtype) for source in (target, draft)
        )
        targets = load_target(target, self_check=self_check, **of_target)
        drafts = load_draft(draft, self_check=self_check, **of_draft)
        tokenizer: Tokenizer = load_tokenizer(target_tokenizer) if target_tokenizer else targets.tokenizer
        offered = vocabulary_of(tokenizer, vocab_size=targets.engine.facts.vocab_size)
        size = drafts.engine.facts.vocab_size
        same = vocabulary_of(drafts.tokenizer, vocab_size=size).ordinary == offered.ordinary
        vocabulary = DraftVocabulary(drafts.tokenizer, vocab_size=size, target_tokenizer=None if same else tokenizer)
        return cls(
            target=targets,
            draft=drafts,
            vocabulary=vocabulary,
            offered=offered,
            target_source=Path(target),
            draft_source=Path(draft),
        )

    @property
    def vocab_size(self) -> int:
        """Logits of the target, V: all ids here are its."""
        return self.offered.vocab_size

    @property
    def tokenizer(self) -> Tokenizer:
        """What prompts are cut by."""
        return self.vocabulary.tokenizer

    def prompt_tokens(self, prompt: str, *, room: int) -> list[int]:
        """The tokens of a prompt, of a long one the last: so that both models have ``room`` tokens left behind it."""
        context = min(self.target.engine.facts.context, self.draft.engine.facts.context)
        return self.tokenizer.tokens_of(prompt)[-max(1, context - room) :]

    @property
    def fit(self) -> tw.Fit:
        """How the vocabularies go together, once the draft's is mapped where it must be."""
        return fit_of(self.hello(), self._edge)

    @property
    def restricted(self) -> bool:
        """Whether some of the target's tokens are never drafted."""
        return self.vocabulary.token_map is not None or self.fit is not tw.Fit.SAME

    @property
    def _edge(self) -> tw.EdgeSettings:
        offered = self.offered
        return tw.EdgeSettings(vocab_size=offered.vocab_size, tokenizer=offered.fingerprint, ordinary=offered.ordinary)

    def hello(
        self, sampling: tw.Sampling | None = None, *, evidence: str = "list", nonce: bytes = bytes(16)
    ) -> tw.Hello:
        """What a device with this draft says first."""
        return hello_of(
            self.draft.engine,
            self.draft.tokenizer,
            sampling or tw.Sampling(),
            evidence=evidence,
            nonce=nonce,
            vocabulary=self.vocabulary,
        )

    def draft_text(self) -> DraftText:
        """A new text of the draft model, in the target's tokens: -inf for those that it never drafts."""
        return self.vocabulary.text_for(self.draft.engine.open(), self.fit, self._edge)


@dataclass(frozen=True, slots=True)
class MappedDraft:
    """The draft as an engine of the target's tokens (see ``DraftEngine``)."""

    models: Models

    @property
    def facts(self) -> EngineFacts:
        """The draft's, but for the size of the vocabulary; what ends a text is the target's to say."""
        return replace(self.models.draft.engine.facts, vocab_size=self.models.vocab_size, eos_tokens=())

    def open(self) -> DraftText:
        """See ``DraftEngine.open``."""
        return self.models.draft_text()


def files_hash(source: str | Path) -> str:
    """SHA-256 over what a model is read from, as hexadecimal: a file, or all of a folder's that matter, by name."""
    path, digest = Path(source), hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in _READ)
    if not files:
        raise FileNotFoundError(f"{path} has no file of a model")
    for file in files:
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        digest.update(f"{name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
