"""Every address of a name is tried; and the ends of connections in words."""

from __future__ import annotations

import asyncio

import pytest
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from link_helpers import PATIENT
from tslt_transports import ConnectError, LinkOptions, dialing
from tslt_transports.address import HostPort
from tslt_transports.flow_control import NO_EDGE_HINT
from tslt_transports.quic_ends import CloseCode, explain

NO_ROUTE = "255.255.255.255"
"""A host to which neither TCP nor an ordinary UDP socket connects."""


def test_an_address_without_a_route_is_not_the_last_one(network, run, monkeypatch):
    async def main():
        listener = await network.listen()
        port = int(listener.address.rpartition(":")[2])

        async def resolve(target, *, kind):
            return [HostPort(NO_ROUTE, port), HostPort("127.0.0.1", port)]

        monkeypatch.setattr(dialing, "resolve", resolve)
        device = await network.dial(f"127.0.0.1:{port}", PATIENT)
        await device.send(b"x")
        assert await (await listener.accept()).receive() == b"x"
        await device.close()
        await listener.close()

    run(main())


def test_the_last_failure_is_told(network, run, monkeypatch):
    async def main():
        async def nowhere(target, *, kind):
            return []

        monkeypatch.setattr(dialing, "resolve", nowhere)
        with pytest.raises(ConnectError, match=r"edge\.example:1: the name resolves to nothing"):
            await asyncio.wait_for(network.dial("edge.example:1"), 20)

    run(main())


def test_a_name_that_never_resolves_is_given_up_in_time(network, run, monkeypatch):
    async def main():
        async def forever(target, *, kind):
            await asyncio.Event().wait()

        monkeypatch.setattr(dialing, "resolve", forever)
        with pytest.raises(ConnectError, match="did not resolve in time"):
            await asyncio.wait_for(network.dial("edge.example:1", LinkOptions(connect_timeout_s=0.1)), 20)

    run(main())


@pytest.mark.parametrize(
    ("code", "frame_type", "reason", "expected", "hint"),
    [
        (QuicErrorCode.CRYPTO_ERROR + 42, QuicFrameType.CRYPTO, "x", "certificate was not accepted", "ca_file"),
        (QuicErrorCode.CRYPTO_ERROR + 49, QuicFrameType.CRYPTO, "", "certificate was not accepted", "ca_file"),
        (QuicErrorCode.CRYPTO_ERROR + 50, QuicFrameType.CRYPTO, "a certificate", "QUIC error", NO_EDGE_HINT),
        (QuicErrorCode.CRYPTO_ERROR + 120, QuicFrameType.CRYPTO, "", "does not speak tslt/1", NO_EDGE_HINT),
        (QuicErrorCode.CRYPTO_ERROR + 40, QuicFrameType.CRYPTO, "No common ALPN", "No common ALPN", NO_EDGE_HINT),
        (QuicErrorCode.PROTOCOL_VIOLATION, QuicFrameType.PADDING, "ALPN idle timeout", "QUIC error 0xa", NO_EDGE_HINT),
        (CloseCode.REFUSED, None, "a bad certificate", "the edge refused: a bad certificate", NO_EDGE_HINT),
        (CloseCode.LOST, None, "Idle timeout\n", r"gave it up: Idle timeout\?", NO_EDGE_HINT),
        (CloseCode.DONE, None, "", "without ending the stream", NO_EDGE_HINT),
    ],
)
@pytest.mark.parametrize("is_overdue", [False, True])
def test_codes_say_how_a_connection_ended(code, frame_type, reason, expected, hint, is_overdue):
    """Never the words that a peer sent with them."""
    event = ConnectionTerminated(error_code=code, frame_type=frame_type, reason_phrase=reason)
    ending = explain(event, is_overdue=is_overdue)
    with pytest.raises(ConnectError, match=expected) as caught:
        raise ConnectError(address="a", reason=ending.reason, hint=ending.hint)
    assert hint in caught.value.hint


def test_silence_tells_the_idle_timeout_from_an_error_of_the_peer():
    event = ConnectionTerminated(
        error_code=QuicErrorCode.INTERNAL_ERROR, frame_type=QuicFrameType.PADDING, reason_phrase="Idle timeout"
    )
    assert explain(event, is_overdue=True).reason.startswith("nothing heard for peer_timeout_s")
    assert explain(event, is_overdue=False).reason == "QUIC error 0x1 (Idle timeout)"
