"""The body of PROMPT.

Spec section 7.4.
"""

from __future__ import annotations

import numpy as np

from tslt_wire.coding.bits import BitReader, BitWriter, id_bits
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.token_ids import check_id
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.profile import Profile
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.prompt import Prompt


def write_prompt(out: BitWriter, prompt: Prompt, profile: Profile) -> None:
    """Append the body; ValueError for a token outside the vocabulary."""
    out.raw(prompt.transcript)
    out.varint(prompt.epoch)
    out.varint(prompt.keep)
    out.varint(len(prompt.tokens))
    profile.check_token(max(prompt.tokens, default=0))
    # Not ``write_ids``: a compressed prompt has wider ids (spec section 3.5).
    out.tokens(np.array(prompt.tokens, dtype=np.int64), id_bits(profile.vocab_size))


def read_prompt(data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> Prompt:
    """Read the body."""
    data.part("transcript")
    transcript = data.raw(8)
    data.part("epoch")
    epoch = data.varint()
    if epoch == 0:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "prompts are numbered from 1")
    data.part("keep")
    keep = data.varint()
    data.part("count")
    count = data.varint()
    if count > limits.max_prompt_tokens:
        raise DecodeError(
            ErrorCode.LIMIT_EXCEEDED, f"a prompt of {count} tokens where {limits.max_prompt_tokens} are allowed"
        )
    data.part("tokens")
    tokens = data.tokens(count, id_bits(profile.vocab_size))
    if count:
        check_id(int(tokens.max()), profile)
    return Prompt(tokens=tuple(tokens.tolist()), epoch=epoch, keep=keep, transcript=transcript, extensions=extensions)
