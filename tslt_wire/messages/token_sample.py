"""Some of an edge's tokens, told to a device whose vocabulary does not fit, so that it can name where they part.

Spec section 7.9.  For people: whoever cannot read it ignores it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tslt_wire.coding.control_map import pack, unpack
from tslt_wire.errors import DecodeError
from tslt_wire.messages.extensions import TOKENS, Extension, data_of

MOST_TOKENS = 64
"""Tokens of a sample."""
MOST_CHARACTERS = 32
"""Of a token's text; what is longer is cut."""
_MOST_BYTES = MOST_TOKENS * (8 + 4 * MOST_CHARACTERS) + 8
Sample = tuple[tuple[int, str], ...]
"""Ids, ascending, each with its text."""


def sample_of(tokens: Mapping[int, str]) -> Sample:
    """The first tokens of a vocabulary, and as many again that are spread over the rest, the last one among them."""
    ids = sorted(tokens)
    first, rest = ids[: MOST_TOKENS // 2], ids[MOST_TOKENS // 2 :]
    spread = MOST_TOKENS - len(first)
    if len(rest) > spread:
        rest = [rest[(i + 1) * len(rest) // spread - 1] for i in range(spread)]
    return tuple((token, _cut(tokens[token])) for token in (*first, *rest))


def sample_extension(sample: Sample) -> Extension:
    """The extension of an ERROR that tells ``sample``; ValueError for more than ``MOST_TOKENS``."""
    if len(sample) > MOST_TOKENS:
        raise ValueError(f"a sample has {MOST_TOKENS} tokens at most, got {len(sample)}")
    return Extension(TOKENS, pack({str(token): _cut(text) for token, text in sample}))


def sample_told(extensions: Iterable[Extension]) -> Sample:
    """The sample that an ERROR with these extensions tells; nothing if it tells none that can be read."""
    data = data_of(extensions, TOKENS)
    if data is None or len(data) > _MOST_BYTES:
        return ()
    try:
        found = unpack(data)
    except DecodeError:
        return ()
    plain = all(key.isascii() and key.isdigit() and len(key) < 8 and isinstance(found[key], str) for key in found)
    return tuple(sorted((int(key), text) for key, text in found.items())) if plain else ()


def first_difference(sample: Sample, own: Mapping[int, str]) -> tuple[int, str, str | None] | None:
    """The first token of ``sample`` with another text in ``own``: its id, the text told, and the own one, if any."""
    for token, text in sample:
        mine = own.get(token)
        if mine is None or _cut(mine) != text:
            return token, text, mine
    return None


def _cut(text: str) -> str:
    return text[:MOST_CHARACTERS].encode("utf-8", "replace").decode()
