"""Token ids as bits, and the check that they are in the vocabulary.

Spec section 3.2: an id has as many bits as the largest one of the vocabulary needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tslt_wire.coding.bits import BitReader, BitWriter, id_bits
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.lists.profile import Profile


def write_ids(out: BitWriter, tokens: Sequence[int], profile: Profile) -> None:
    """Append ids, one after another; ValueError for one outside the vocabulary."""
    profile.check_token(max(tokens, default=0))
    out.array(np.array(tokens, dtype=np.int64), id_bits(profile.vocab_size))


def read_ids(data: BitReader, count: int, profile: Profile) -> list[int]:
    """Read ``count`` ids; DecodeError for one outside the vocabulary."""
    tokens: list[int] = data.array(count, id_bits(profile.vocab_size)).tolist()
    check_id(max(tokens, default=0), profile)
    return tokens


def check_id(token: int, profile: Profile) -> int:
    """``token``, if it is in the vocabulary; DecodeError."""
    if token >= profile.vocab_size:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"token {token} in a vocabulary of {profile.vocab_size}")
    return token
