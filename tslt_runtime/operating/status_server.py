"""A few pages over HTTP/1.1 for who watches over an edge: GET and HEAD, one request a connection.

In the edge's event loop: a page that comes shows that the loop runs.  Everything is bounded: connections, the bytes of
a request, and its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

MOST_CONNECTIONS = 16
"""Connections at once; one more is closed without a word."""
MOST_BYTES = 8192
"""Bytes of a request, its headers included."""
REQUEST_S = 5.0
"""Seconds for a connection, from its first byte to the answer's last."""
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """What a path answers with."""

    body: bytes
    content_type: str = TEXT
    status: HTTPStatus = HTTPStatus.OK


Handler = Callable[[str], Awaitable[Page]]
"""Makes a page; it gets the request's ``Accept`` header, "" if there is none."""


class StatusServer:
    """Serves pages from ``start`` to ``close``."""

    def __init__(self, pages: Mapping[str, Handler], *, request_s: float = REQUEST_S) -> None:
        """``pages``: by path, "/metrics" say; ``request_s``: see ``REQUEST_S``."""
        self._pages = dict(pages)
        self._request_s = request_s
        self._server: asyncio.Server | None = None
        self._open = 0

    async def bind(self, host: str, port: int) -> str:
        """Take the address, without answering yet; returns it with the port that was bound.  Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=MOST_BYTES, start_serving=False)
        bound = self._server.sockets[0].getsockname()
        return f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"

    async def start(self) -> None:
        """Answer from now on."""
        if self._server is None:
            raise RuntimeError("bind comes before start")
        await self._server.start_serving()

    async def close(self) -> None:
        """Take no more connections; those that are open have their time."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > MOST_CONNECTIONS:
                return
            async with asyncio.timeout(self._request_s):
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                except asyncio.LimitOverrunError:
                    page, body = _error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), True
                else:
                    page, body = await self._answer(head.decode("latin-1"))
                writer.write(_written(page, body=body))
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # who asks again is answered again
        except asyncio.CancelledError:
            pass  # the edge ends; asyncio would log the connection as a failure
        finally:
            self._open -= 1
            writer.transport.abort()  # nothing, where all has been said

    async def _answer(self, head: str) -> tuple[Page, bool]:
        """The page for a request, and whether its body is wanted."""
        request, *lines = head.split("\r\n")
        match request.split(" "):
            case [("GET" | "HEAD") as method, target, version] if version.startswith("HTTP/1."):
                handler = self._pages.get(target.partition("?")[0])
                if handler is None:
                    return _error(HTTPStatus.NOT_FOUND), method == "GET"
                fields = (line.partition(":") for line in lines)
                accept = next((value.strip() for name, _, value in fields if name.lower() == "accept"), "")
                return await handler(accept), method == "GET"
            case [_, _, version] if version.startswith("HTTP/1."):
                return _error(HTTPStatus.METHOD_NOT_ALLOWED), True
            case _:
                return _error(HTTPStatus.BAD_REQUEST), True


def _error(status: HTTPStatus) -> Page:
    return Page(f"{status.phrase}\n".encode(), status=status)


def _written(page: Page, *, body: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if page.status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (page.body if body else b"")
