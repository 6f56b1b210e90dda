"""What a handshake must know of a model's vocabulary, so that a device and an edge never exchange foreign token ids.

Token ids are all the wire carries; two ends that number their tokens differently would produce fluent nonsense, hence
everything here refuses rather than guesses.  Spec section 7.9 says what fits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tslt_runtime.tokenizer import tokenizer_of
from tslt_wire.messages.token_sample import Sample, sample_of

_DOMAIN = b"tslt-wire vocabulary 1\n"
_ORDINARY = b"tslt-wire ordinary tokens 1\n"


class HasVocabulary(Protocol):
    """A tokenizer, as far as this module needs one: those of ``transformers``, ``tokenizers`` and llama.cpp fit."""

    def get_vocab(self) -> Mapping[str, int]:
        """Return token text -> id, added and special tokens included."""


class VocabularyMismatch(ValueError):
    """Two models cannot work as a pair, or a model and its tokenizer do not belong together."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The vocabulary facts one end puts into its handshake."""

    vocab_size: int
    """Width of the model's logits (``config.vocab_size``); may exceed the tokenizer's size by padding rows."""
    fingerprint: bytes
    """32 bytes, see :func:`tokenizer_fingerprint`."""
    ordinary: bytes
    """32 bytes: the same of the ordinary tokens alone."""
    others: tuple[tuple[int, str], ...]
    """Ids that are no ordinary token, ascending, each with its text: special and reserved ones, and those without a
    token ("")."""
    begins: tuple[int, ...]
    """Tokens that the tokenizer puts before a text."""
    sample: Sample
    """Some of its tokens, for those whose vocabulary does not fit."""


def tokenizer_fingerprint(tokenizer: HasVocabulary) -> bytes:
    """Return the SHA-256 (32 bytes) of the tokenizer's (id, token) pairs, special tokens included.

    The pairs are hashed in ascending order of id (ties by token) as ``id: u32 LE, length: u32 LE, token: UTF-8``, so
    that neither file format, nor file layout, nor the iteration order of the vocabulary matters.  Merges and
    normalisation are left out on purpose: they choose how the device cuts up text, not what an id means to either
    model.  Raises VocabularyMismatch for an empty vocabulary or an id outside 0 .. 2**32 - 1.
    """
    return _fingerprint(tokenizer.get_vocab(), _DOMAIN)


def _fingerprint(ids: Mapping[str, int], domain: bytes) -> bytes:
    """``tokenizer_fingerprint`` of token text -> id, which some tokenizers take long to make."""
    pairs = sorted((token_id, token) for token, token_id in ids.items())
    if not pairs:
        raise VocabularyMismatch("the tokenizer has no vocabulary")
    if pairs[0][0] < 0 or pairs[-1][0] >= 1 << 32:
        raise VocabularyMismatch(f"token ids {pairs[0][0]} .. {pairs[-1][0]} do not fit 32 bits")
    digest = hashlib.sha256(domain)
    for token_id, token in pairs:
        # Byte-level vocabularies of some tokenizers hold lone surrogates; they must hash, not raise.
        text = token.encode("utf-8", "surrogatepass")
        digest.update(token_id.to_bytes(4, "little") + len(text).to_bytes(4, "little") + text)
    return digest.digest()


def vocabulary_of(tokenizer: Any, *, vocab_size: int | None = None) -> Vocabulary:
    """Return the facts of a model with ``vocab_size`` logits and its tokenizer, what ``tokenizer_of`` takes.

    None: as many as the tokenizer has ids.  Raises VocabularyMismatch if the tokenizer knows an id the model has no
    logit for, or has no ordinary token.  The converse, logits without a token, is the usual padding of embeddings and
    is fine: such an id is a token like any other on the wire.
    """
    tokenizer = tokenizer_of(tokenizer)
    ids = tokenizer.get_vocab()
    fingerprint = _fingerprint(ids, _DOMAIN)
    highest = max(ids.values())
    size = highest + 1 if vocab_size is None else vocab_size
    if highest >= size:
        raise VocabularyMismatch(f"the tokenizer has id {highest}, but the model's vocabulary size is {size}")
    ordinary = {token: token_id for token, token_id in ids.items() if not tokenizer.is_silent(token_id)}
    if not ordinary:
        raise VocabularyMismatch("the tokenizer has no token with a text of its own")
    special = {token_id: token for token, token_id in ids.items() if token not in ordinary}
    plain = frozenset(ordinary.values())
    return Vocabulary(
        vocab_size=size,
        fingerprint=fingerprint,
        ordinary=_fingerprint(ordinary, _ORDINARY),
        others=tuple((token, special.get(token, "")) for token in range(size) if token not in plain),
        begins=tuple(tokenizer.tokens_of("")),
        sample=sample_of({token_id: token for token, token_id in ids.items()}),
    )
