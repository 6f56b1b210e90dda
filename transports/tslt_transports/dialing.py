"""Dial an edge: every address that its name has, one after the other, until one of them takes the link."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tslt_transports.address import HostPort, resolve
from tslt_transports.flow_control import Channel
from tslt_transports.link import ConnectError

_Dialed = TypeVar("_Dialed", bound=Channel)


async def dial(
    target: HostPort,
    *,
    address: str,
    kind: socket.SocketKind,
    start: Callable[[HostPort], Awaitable[_Dialed]],
    timeout_s: float,
    hint: str,
) -> _Dialed:
    """The link to the first of ``target``'s addresses at which an edge takes it.

    ``address`` is what the caller was asked for, for messages; ``kind`` the sockets that are meant; ``start`` begins a
    link to a numeric address, or raises ``ConnectError``; ``timeout_s`` (seconds) is for all addresses together;
    ``hint`` says what to try where nobody answers.  Raises the ``ConnectError`` of the last address.
    """
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    failure = ConnectError(address=address, reason="the name resolves to nothing", hint=hint)
    try:
        candidates = await asyncio.wait_for(resolve(target, kind=kind), timeout_s)
    except TimeoutError:
        reason = "the name did not resolve in time (connect_timeout_s)"
        raise ConnectError(address=address, reason=reason, hint="check this machine's DNS") from None
    for candidate in candidates:
        try:
            link = await start(candidate)
            await _await_greeting(link, address=address, deadline_s=deadline_s, hint=hint)
        except ConnectError as error:
            failure = error
        else:
            return link
    raise failure


async def _await_greeting(link: Channel, *, address: str, deadline_s: float, hint: str) -> None:
    """Wait until the edge at ``address`` has taken ``link``, until the loop's time ``deadline_s`` at most.

    Raises ``ConnectError``, and lets go of the link on the way out of any failure.
    """
    try:
        await asyncio.wait_for(asyncio.shield(link.greeted), deadline_s - asyncio.get_running_loop().time())
    except TimeoutError:
        link.lose("no answer in time")
        raise ConnectError(address=address, reason="no answer in time (connect_timeout_s)", hint=hint) from None
    except ConnectError as error:
        # The refusal of an edge that is there needs another hint than silence.
        raise ConnectError(address=address, reason=error.reason, hint=error.hint) from None
    except BaseException:
        link.lose("given up before it was open", tell=True)
        raise
