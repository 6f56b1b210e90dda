"""The kernel's side of drafts: frames of the kind DRAFT_LIST, given to ``tslt_wire._native`` and taken back.

Spec section 6.1.  Called only where ``tslt_wire.backend`` is ``native``.
"""

from __future__ import annotations

from tslt_wire._native import kernel
from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.frames.extensions import OF_DRAFTS, write_extensions
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.kernel_lists import KERNEL_ENTROPIES, PRECISION_IDS, kernel_limits, kernel_tables, taken
from tslt_wire.lists.profile import ENTROPY_IDS, Profile
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import ListEvidence
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.message import Message
from tslt_wire.messages.token_tree import TokenTree

_KIND_MASK = 0x3F


def kernel_encode(message: Message, profile: Profile) -> bytes | None:
    """Write a draft with lists; None for what the kernel does not write: another message, or ``entropy="zstd"``."""
    evidence = message.evidence if type(message) is Draft else None
    if type(message) is not Draft or not isinstance(evidence, ListEvidence) or profile.entropy not in KERNEL_ENTROPIES:
        return None
    lists, vocab_size, prior = evidence.lists, profile.vocab_size, profile.prior
    for q in lists.values():
        if q.vocab_size != vocab_size or (q.prior is not None and q.prior is not prior):
            profile.check(q)
    precision = message.precision
    return taken(
        kernel.encode_draft(
            message.round,
            message.prefix_length,
            message.prefix_hash,
            0 if precision is None else PRECISION_IDS[precision],
            evidence.with_replacement,
            message.tree.parents,
            message.tree.tokens,
            list(lists.values()),
            _extension_block(message.extensions) if message.extensions else b"",
            vocab_size,
            ENTROPY_IDS[profile.entropy],
            kernel_tables(prior),
        )
    )


def kernel_decode(data: bytes | memoryview, profile: Profile, limits: DecodeLimits | None) -> Draft | None:
    """Read a draft with lists; None for what the kernel does not read: another kind, or ``entropy="zstd"``."""
    if profile.entropy not in KERNEL_ENTROPIES or len(data) == 0 or data[0] & _KIND_MASK != kernel.DRAFT_LIST:
        return None
    round_, prefix_length, prefix_hash, replacement, parents, tokens, lists, block = taken(
        kernel.decode_draft(
            data,
            profile.vocab_size,
            ENTROPY_IDS[profile.entropy],
            kernel_tables(profile.prior),
            profile.prior,
            *kernel_limits(limits),
        )
    )
    return Draft.trusted(
        round_,
        prefix_length,
        prefix_hash,
        TokenTree.trusted(tokens, parents),
        ListEvidence.trusted(lists, replacement),
        _extensions(block) if block else (),
    )


def _extension_block(extensions: tuple[Extension, ...]) -> bytes:
    out = BitWriter()
    write_extensions(out, extensions, OF_DRAFTS)
    return out.finish()


def _extensions(block: bytes) -> tuple[Extension, ...]:
    reader = BitReader(block)
    return tuple(Extension(reader.varint(), reader.raw(reader.varint())) for _ in range(reader.varint()))
