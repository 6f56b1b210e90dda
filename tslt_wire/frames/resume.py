"""The body of RESUME.

Spec section 7.8.
"""

from __future__ import annotations

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.token_ids import read_ids, write_ids
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.profile import Profile
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.resume import Rejection, Resume


def write_resume(out: BitWriter, resume: Resume, profile: Profile) -> None:
    """Append the body; ValueError for a token outside the vocabulary."""
    known = resume.rejection
    out.raw(resume.transcript)
    out.bits(resume.prefix_crc, 32)
    out.varint(resume.epoch)
    out.varint(resume.round)
    out.varint(resume.prompt_length)
    out.varint(0 if known is None else known.node + 2)
    out.varint(0 if known is None else known.batch)
    out.varint(resume.keep)
    out.varint(len(resume.tokens))
    write_ids(out, resume.tokens, profile)
    out.bits(resume.ended, 1)


def read_resume(data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> Resume:
    """Read the body."""
    data.part("transcript")
    transcript = data.raw(8)
    data.part("hash")
    prefix_crc = data.bits(32)
    data.part("epoch")
    epoch = data.varint()
    if epoch == 0:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "prompts are numbered from 1")
    data.part("round")
    round_ = data.varint()
    data.part("prompt_length")
    prompt_length = data.varint()
    data.part("rejected")
    rejected = data.varint()
    data.part("batch")
    batch = data.varint()
    if batch and not rejected:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"batch {batch} of proposals where nothing was rejected")
    data.part("keep")
    keep = data.varint()
    data.part("count")
    count = data.varint()
    if count > limits.max_prompt_tokens:
        raise DecodeError(
            ErrorCode.LIMIT_EXCEEDED, f"a text of {count} tokens where {limits.max_prompt_tokens} are allowed"
        )
    data.part("tokens")
    tokens = read_ids(data, count, profile)
    data.part("ended")
    ended = bool(data.bits(1))
    return Resume(
        tokens=tuple(tokens),
        prefix_crc=prefix_crc,
        round=round_,
        prompt_length=prompt_length,
        epoch=epoch,
        keep=keep,
        rejection=Rejection(rejected - 2, batch) if rejected else None,
        ended=ended,
        transcript=transcript,
        extensions=extensions,
    )
