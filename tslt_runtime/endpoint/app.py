"""The endpoint's application: OpenAI's routes over a pool of sessions."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tslt_transports import LinkError
from tslt_transports.untrusted import printable

import tslt_wire as tw
from tslt_runtime.chat.template import ChatTemplate, TemplateError
from tslt_runtime.connection import EdgeError
from tslt_runtime.endpoint.answers import Answers, usage_of
from tslt_runtime.endpoint.errors import ApiError
from tslt_runtime.endpoint.fields import Asked, asked_of, read_body
from tslt_runtime.endpoint.pool import Pool, Wanted
from tslt_runtime.engines.protocol import ContextFull
from tslt_runtime.pieces import Piece
from tslt_runtime.streaming import Ending, TextDevice, tokens_of
from tslt_runtime.tokenizer import Tokenizer
from tslt_wire.messages.repeat import repeats

log = logging.getLogger("tslt.serve")

MOST_BODY = 4 << 20
"""Bytes of a request's body, unless told otherwise."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""What a request may call this host if there is no key: a page of elsewhere may have a name that leads here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What an endpoint serves."""

    model: str
    """Its name for clients."""
    context: int
    """Tokens of a text at most."""
    tokenizer: Tokenizer
    template: ChatTemplate | None
    """None: conversations are refused."""
    keys: tuple[str, ...] = ()
    """Who has one may ask; none: everybody may."""
    hosts: tuple[str, ...] = LOOPBACK_NAMES
    """Names of this host that a request without a key may use; none: any."""
    most_body: int = MOST_BODY
    created: int = field(default=0)
    """When the endpoint began, seconds since 1970."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What ends the pieces of an answer."""

    ending: Ending
    usage: dict[str, Any]


def application(served: Served, pool: Pool) -> Starlette:
    """The application; who made ``pool`` closes it."""
    endpoint = _Endpoint(served, pool)
    return Starlette(
        routes=[
            Route("/v1/chat/completions", endpoint.chat, methods=["POST"]),
            Route("/v1/completions", endpoint.completion, methods=["POST"]),
            Route("/v1/models", endpoint.models),
            Route("/v1/models/{name:path}", endpoint.model),
        ],
        exception_handlers={404: _no_route, 405: _no_route, ApiError: _refused},
    )


class _Endpoint:
    def __init__(self, served: Served, pool: Pool) -> None:
        self._served = served
        self._pool = pool

    async def models(self, request: Request) -> Response:
        self._admit(request)
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        self._admit(request)
        self._require_model(request.path_params["name"], None)
        return JSONResponse(self._model())

    async def chat(self, request: Request) -> Response:
        return await self._complete(request, chat=True)

    async def completion(self, request: Request) -> Response:
        return await self._complete(request, chat=False)

    # ------------------------------------------------------------------------------------------------ who and what

    def _admit(self, request: Request) -> None:
        served = self._served
        if served.keys:
            kind, _, key = request.headers.get("authorization", "").partition(" ")
            given = key.strip().encode()
            if kind.lower() != "bearer" or not any([hmac.compare_digest(given, own.encode()) for own in served.keys]):
                message = "a key is needed: send Authorization: Bearer KEY, one that this endpoint was started with"
                raise ApiError(message, status=401, code="invalid_api_key")
            return
        name = request.headers.get("host", "")
        name = name if name.endswith("]") else name.rpartition(":")[0] or name
        if served.hosts and name.lower() not in served.hosts:
            raise ApiError(f"this endpoint is {served.hosts[0]}, not {printable(name)[:80]}", status=403)

    def _model(self) -> dict[str, Any]:
        return {"id": self._served.model, "object": "model", "created": self._served.created, "owned_by": "tslt"}

    def _require_model(self, name: str, param: str | None) -> None:
        if name != self._served.model:
            message = f"there is no model {printable(name)[:80]!r} here, only {self._served.model!r}"
            raise ApiError(message, status=404, param=param, code="model_not_found")

    async def _asked(self, request: Request, *, chat: bool) -> Asked:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # also what keeps pages of elsewhere out: they may not send it unasked
            raise ApiError(f"Content-Type must be application/json, got {printable(kind)[:80]!r}", status=415)
        body, most = bytearray(), self._served.most_body
        async for part in request.stream():
            body += part
            if len(body) > most:
                raise ApiError(f"the body has more than {most} bytes", status=413)
        asked = asked_of(read_body(bytes(body)), chat=chat)
        self._require_model(asked.model, "model")
        return asked

    async def _prompt(self, asked: Asked) -> list[int]:
        """The tokens that the answer goes on from."""
        served = self._served
        where = "messages" if asked.chat else "prompt"
        try:
            if asked.chat:
                if served.template is None:
                    message = "the model has no chat template: it answers /v1/completions alone"
                    raise ApiError(message, param="messages", code="unsupported")
                ids = await asyncio.to_thread(served.template.tokens, served.tokenizer, asked.messages)
            elif isinstance(asked.prompt, str):
                ids = await asyncio.to_thread(tokens_of, served.tokenizer, asked.prompt)
            else:
                ids = list(asked.prompt)
        except TemplateError as error:
            raise ApiError(str(error), param=where) from error
        except ValueError as error:
            raise ApiError(f"{where}: {error}", param=where) from error
        if len(ids) > served.context:
            message = f"the context holds {served.context} tokens, {where} makes {len(ids)}"
            raise ApiError(message, param=where, code="context_length_exceeded")
        return ids

    # ---------------------------------------------------------------------------------------------------- answering

    async def _complete(self, request: Request, *, chat: bool) -> Response:
        self._admit(request)
        try:
            asked = await self._asked(request, chat=chat)
        except ClientDisconnect:
            return Response(status_code=499)
        ids = await self._prompt(asked)
        written = self._written(asked, ids)
        if not asked.stream:
            return await self._while_there(request, self._whole(asked, written), written)
        # What is wrong shows in the first piece, when there can still be a status.
        return await self._while_there(request, self._stream(asked, written), written)

    async def _written(self, asked: Asked, ids: list[int]) -> AsyncGenerator[Piece | _Done | str, None]:
        """First what names the system, then pieces, then how it ended."""
        # A greedy text is the same whatever the random numbers are.
        seed = None if asked.sampling.temperature == 0 else asked.seed
        wanted = Wanted(asked.sampling, asked.log_probs, seed)
        try:
            async with self._pool.lend(wanted, ids) as device:
                yield _system(device, seed)
                async with aclosing(device.pieces(ids, tokens=asked.tokens, stop=asked.stop)) as pieces:
                    async for piece in pieces:
                        yield piece
                used = device.usage
                usage = usage_of(prompt=used.prompt, kept=used.kept, written=device.written)
                yield _Done(device.ending or Ending.TOKENS, usage)
        except (EdgeError, LinkError) as error:
            raise _edge_failed(error, asked) from error
        except ContextFull as error:
            raise ApiError(str(error), code="context_length_exceeded") from error
        except (ValueError, tw.LocalProtocolError) as error:
            raise ApiError(str(error)) from error

    async def _while_there(
        self, request: Request, work: Awaitable[Response], written: AsyncGenerator[Any, None]
    ) -> Response:
        """Do ``work`` while the client is there; who goes gives up the text."""
        task = asyncio.ensure_future(work)
        gone = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            return Response(status_code=499)
        finally:
            for one in (task, gone):
                one.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)
            if task.cancelled() or task.exception() is not None:
                await written.aclose()

    async def _whole(self, asked: Asked, written: AsyncGenerator[Piece | _Done | str, None]) -> Response:
        answers, pieces = self._answers(asked, await anext(written)), list[Piece]()
        async for part in written:
            if isinstance(part, _Done):
                return JSONResponse(answers.whole(pieces, part.ending, part.usage))
            if isinstance(part, Piece):
                pieces.append(part)
        raise RuntimeError("an answer ends with how it ended")

    async def _stream(self, asked: Asked, written: AsyncGenerator[Piece | _Done | str, None]) -> Response:
        answers = self._answers(asked, await anext(written))
        first = await anext(written)
        return StreamingResponse(
            _events(answers, first, written, usage=asked.usage),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache"},
        )

    def _answers(self, asked: Asked, system: Any) -> Answers:
        served = self._served
        return Answers(
            served.tokenizer, chat=asked.chat, model=served.model, log_probs=asked.log_probs, system=str(system)
        )


async def _events(
    answers: Answers, first: Piece | _Done | str, written: AsyncGenerator[Any, None], *, usage: bool
) -> AsyncIterator[bytes]:
    """The events of a stream."""
    async with aclosing(written):
        try:
            for chunk in answers.first():
                yield _event(chunk)
            part = first
            while not isinstance(part, _Done):
                if isinstance(part, Piece):
                    yield _event(answers.piece(part))
                part = await anext(written)
            yield _event(answers.last(part.ending))
            if usage:
                yield _event(answers.used(part.usage))
            yield b"data: [DONE]\n\n"
        except ApiError as error:
            yield _event(error.body)


def _event(found: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


async def _gone(request: Request) -> None:
    """Wait until the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _system(device: TextDevice, seed: int | None) -> str:
    """What must be the same, besides a request and its seed, for the same text."""
    welcome, numbers = device.device.welcome, b""
    if seed is not None:
        # The key follows from the session's secret; an edge that gives no seed its numbers again is another each time.
        numbers = welcome.coupling if repeats(welcome) else secrets.token_bytes(16)
    what = repr((welcome.model, welcome.tokenizer, welcome.version, numbers))
    return "tslt_" + hashlib.sha256(what.encode()).hexdigest()[:16]


def _edge_failed(error: EdgeError | LinkError, asked: Asked) -> ApiError:
    code = getattr(error, "code", None)
    if code == tw.ErrorCode.UNSUPPORTED:
        return ApiError(f"the edge does not serve this: {error}", code="unsupported")
    wait = getattr(error, "retry_after_s", None)
    status = 503 if wait is not None or code == tw.ErrorCode.OVERLOADED else 502
    log.warning("%s", error)
    return ApiError(str(error), status=status, code="edge_failed", retry_after_s=wait)


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse(error.body, status_code=error.status, headers=error.headers)


async def _no_route(request: Request, _: Exception) -> Response:
    error = ApiError(f"there is no {request.method} {printable(request.url.path)[:200]} here", status=404)
    return JSONResponse(error.body, status_code=404)
