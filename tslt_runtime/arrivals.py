"""Frames of one link as an edge takes them: a draft together with those that came behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

from tslt_transports.link import Link, LinkClosed

from tslt_wire.frames.codec import KIND_MASK
from tslt_wire.frames.kinds import DRAFT_KINDS

_DRAFTS = frozenset(DRAFT_KINDS.values())


class Arrivals:
    """What comes over a link, in its order."""

    def __init__(self, link: Link, most: int) -> None:
        """``most``: drafts that are taken together; 1: each frame for itself."""
        self._link, self._most = link, most
        self._frames = list[bytes]()  # received and not taken

    async def take(self) -> list[bytes]:
        """Wait for a frame; behind a draft stand the drafts that have arrived as well.  Errors as ``Link.receive``.

        Cancelling it loses nothing.
        """
        frames = self._frames
        if not frames:
            frames.append(await self._link.receive())
        while len(frames) < self._most and _is_draft(frames[-1]) and (frame := await self._arrived()) is not None:
            frames.append(frame)
        count = len(frames) if len(frames) == 1 or _is_draft(frames[-1]) else len(frames) - 1
        self._frames = frames[count:]
        return frames[:count]

    async def _arrived(self) -> bytes | None:
        """A frame that need not be waited for; None if there is none now."""
        try:
            async with asyncio.timeout(0):
                return await self._link.receive()
        except (TimeoutError, LinkClosed):  # who receives next is told of its end
            return None


def in_groups(frames: Sequence[bytes]) -> list[list[bytes]]:
    """``frames`` in their order: drafts that stand together, and each other frame alone."""
    return [
        group
        for are_drafts, some in groupby(frames, _is_draft)
        for group in ([list(some)] if are_drafts else [[frame] for frame in some])
    ]


def _is_draft(frame: bytes) -> bool:
    return frame[:1] != b"" and frame[0] & KIND_MASK in _DRAFTS
