"""Shake hands with an edge that may be overloaded: a device that is told to come again later does so."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from tslt_runtime.connection import EdgeError
from tslt_runtime.device import Device

log = logging.getLogger("tslt.device")

SPREAD = 0.25
"""Part of the time that is waited for on top, at random: those that were refused together do not come back together."""


async def opened(make: Callable[[], Awaitable[Device]], *, timeout_s: float) -> Device:
    """A device of ``make`` that has shaken hands; each attempt has a new one.

    Where the edge says when to come again that is obeyed, if it is within ``timeout_s`` seconds of the first attempt.
    Raises EdgeError where it is not, and for what waiting does not mend.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    while True:
        device = await make()
        try:
            await device.open()
        except EdgeError as error:
            await device.close()
            wait = error.retry_after_s
            if wait is None or clock() + wait > deadline:
                raise
            log.warning("%s", error)
            await asyncio.sleep(wait * (1 + SPREAD * random.random()))
        except BaseException:
            await device.close()
            raise
        else:
            return device
