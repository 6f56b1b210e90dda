"""The pages of an edge over HTTP: what they say, and what a connection may cost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from tslt_runtime.operating import status_server
from tslt_runtime.operating.health import Health
from tslt_runtime.operating.status_server import MOST_BYTES, MOST_CONNECTIONS, Page, StatusServer


@asynccontextmanager
async def serving(**options):
    async def page(accept):
        return Page(f"accepts {accept}".encode())

    server = StatusServer({"/page": page}, **options)
    where = await server.bind("127.0.0.1", 0)
    host, _, port = where.rpartition(":")
    await server.start()
    try:
        yield host, int(port)
    finally:
        await server.close()


async def answer(address, request):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /page HTTP/1.1\r\nHost: x\r\nACCEPT:  text/html \r\n\r\n", 200, b"accepts text/html"),
        (b"GET /page?a=b HTTP/1.0\r\n\r\n", 200, b"accepts "),
        (b"HEAD /page HTTP/1.1\r\n\r\n", 200, b""),
        (b"GET /other HTTP/1.1\r\n\r\n", 404, b"Not Found\n"),
        (b"POST /page HTTP/1.1\r\n\r\n", 405, b"Method Not Allowed\n"),
        (b"GET /page\r\n\r\n", 400, b"Bad Request\n"),
        (b"GET /page SMTP\r\n\r\n", 400, b"Bad Request\n"),
        (b"\xff\xfe\x00\r\n\r\n", 400, b"Bad Request\n"),
        (b"GET /page HTTP/1.1\r\nX: " + b"x" * MOST_BYTES, 431, b"Request Header Fields Too Large\n"),
    ],
)
def test_a_request_has_its_answer(request_, status, body):
    async def main():
        async with serving() as address:
            return await answer(address, request_)

    head, _, found = asyncio.run(asyncio.wait_for(main(), 20)).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert found == body
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
    assert int(length.split()[1]) == len(body) or request_.startswith(b"HEAD")


def test_who_says_nothing_loses_the_connection_and_one_too_many_is_closed_at_once():
    async def main():
        async with serving(request_s=0.5) as address:
            silent = [await asyncio.open_connection(*address) for _ in range(MOST_CONNECTIONS)]
            started = asyncio.get_running_loop().time()
            await asyncio.sleep(0.05)
            with suppress(ConnectionResetError):
                assert await answer(address, b"GET /page HTTP/1.1\r\n\r\n") == b""
            refused = asyncio.get_running_loop().time() - started
            for reader, _ in silent:
                assert await reader.read() == b""
            ended = asyncio.get_running_loop().time() - started
            assert b"accepts" in await answer(address, b"GET /page HTTP/1.1\r\n\r\n")
            for _, writer in silent:
                writer.close()
            return refused, ended

    refused, ended = asyncio.run(asyncio.wait_for(main(), 20))
    assert refused < 0.4 < ended < 5


def test_who_does_not_read_loses_the_connection():
    async def main():
        async def large(accept):
            return Page(b"x" * (64 << 20))

        server = StatusServer({"/": large}, request_s=0.3)
        host, _, port = (await server.bind("127.0.0.1", 0)).rpartition(":")
        await server.start()
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.1)
        assert server._open == 1
        async with asyncio.timeout(10):
            while server._open:
                await asyncio.sleep(0.05)
        writer.close()
        await server.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_connection_that_is_open_when_the_edge_ends_is_no_failure(caplog):
    async def main():
        await StatusServer({}).close()  # it was not bound yet
        async with serving() as address:
            reader, _ = await asyncio.open_connection(*address)
            await asyncio.sleep(0.05)
            return reader

    asyncio.run(main())
    assert not caplog.records


def test_an_address_in_use_is_an_error_of_the_system():
    async def main():
        async with serving() as (host, port):
            with pytest.raises(OSError, match="address"):
                await StatusServer({}).bind(host, port)
            with pytest.raises(RuntimeError, match="bind"):
                await StatusServer({}).start()

    asyncio.run(main())


def test_health_is_whether_the_models_thread_answers():
    async def main():
        now, turns = [0.0], []

        async def turn():
            turns.append(asyncio.get_running_loop().create_future())
            await turns[-1]

        health = Health(turn, room=lambda: True, draining=lambda: False, answers_s=0.01, clock=lambda: now[0])
        looks = []
        looks.append(await health.alive())  # a long pass
        now[0] = status_server.REQUEST_S
        looks.append(await health.alive())
        assert len(turns) == 1  # it is not asked again while it has not answered
        now[0] = 121.0
        looks.append(await health.alive())
        turns[0].set_result(None)
        looks.append(await health.alive())
        later = asyncio.get_running_loop().call_later(0.005, lambda: turns[1].set_exception(RuntimeError("gone")))
        looks.append(await health.alive())
        later.cancel()
        health.close()
        return looks

    assert asyncio.run(main()) == [
        (True, "the model's thread has been busy for 0 s"),
        (True, "the model's thread has been busy for 5 s"),
        (False, "the model's thread has been busy for 121 s"),
        (True, "alive"),
        (False, "the model's thread takes no more work"),
    ]


def test_ready_is_whether_another_device_would_be_served():
    async def turn():
        pass

    state = {"room": True, "draining": False}
    health = Health(turn, room=lambda: state["room"], draining=lambda: state["draining"])
    assert health.ready() == (True, "ready")
    state["room"] = False
    assert health.ready() == (False, "all places for devices are taken")
    state["draining"] = True
    assert health.ready() == (False, "draining")
