"""The name of the target's chat template, which an edge may put into its WELCOME.

Spec section 7.3: field ``chat_template``, carried in ``Welcome.extra``.  The template itself is never sent: it is a
program, and a device runs none that a peer gives it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from tslt_wire.messages.handshake import Welcome

NAME = "chat_template"
"""The field of WELCOME."""
DIGEST_BYTES = 32
"""Bytes of a name."""


def template_digest(template: bytes) -> bytes:
    """What names a template, of its text in UTF-8: SHA-256, 32 bytes."""
    return hashlib.sha256(template).digest()


def naming(digest: bytes) -> Mapping[str, Any]:
    """What an edge adds to its WELCOME (field ``extra``); nothing for an empty ``digest``: a target without one."""
    return {NAME: digest} if digest else {}


def named_template(welcome: Welcome) -> bytes | None:
    """The name of the target's template, 32 bytes; None if the edge does not say, or says something else."""
    found = welcome.extra.get(NAME)
    return found if isinstance(found, bytes) and len(found) == DIGEST_BYTES else None
