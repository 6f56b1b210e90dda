"""What only QUIC can get wrong: certificates, ALPN, and hostile peers on the connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.asyncio import connect as raw_connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated
from link_helpers import PATIENT
from tslt_transports import ClientTls, ConnectError, LinkClosed, LinkError, LinkOptions, ServerTls, connect, listen
from tslt_transports.control import ControlType, PeerLimits, encode_greeting, encode_varint
from tslt_transports.devcert import main as devcert
from tslt_transports.devcert import make_dev_certificates
from tslt_transports.framing import encode_control, encode_frame
from tslt_transports.link import MIB
from tslt_transports.quic_bounds import REORDER_WINDOW_BYTES, bound_receiver, check_retries, peer_certificate
from tslt_transports.rates import RateLimit

HELLO = encode_control(encode_greeting(ControlType.HELLO, PeerLimits.of(LinkOptions())))
SMALL = LinkOptions(max_frame_bytes=1000, queue_frames=4, connect_timeout_s=2.0)


class RawDevice(QuicConnectionProtocol):
    """Says what the test wants, and remembers how it ended."""

    ended: ConnectionTerminated | None = None

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.ended = event

    async def end(self) -> ConnectionTerminated:
        await asyncio.wait_for(self.wait_closed(), 20)
        assert self.ended is not None
        return self.ended

    def say(self, data: bytes, *, stream: int = 0, fin: bool = False) -> None:
        self._quic.send_stream_data(stream, data, end_stream=fin)
        self.transmit()


@contextlib.asynccontextmanager
async def raw_device(harness, listener, alpn=("tslt/1",)):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=list(alpn) if alpn else None)
    configuration.load_verify_locations(harness.certificates.ca_file)
    host, port = listener.address.split(":")
    async with raw_connect(host, int(port), configuration=configuration, create_protocol=RawDevice) as device:
        yield device


@contextlib.asynccontextmanager
async def listening_with_witness(harness, options=SMALL):
    """A listener, and a check afterwards that it still serves well-behaved devices."""
    listener = await harness.listen(options)
    device = await harness.connect(listener)
    edge = await listener.accept()
    yield listener
    await device.send(b"unharmed")
    assert await edge.receive() == b"unharmed"
    await device.close()
    await listener.close()


def test_another_authority_is_refused(quic_harness, run, tmp_path):
    other = make_dev_certificates(tmp_path)

    async def main():
        listener = await quic_harness.listen()
        with pytest.raises(ConnectError, match="certificate") as caught:
            await connect("quic", listener.address, tls=ClientTls(ca_file=other.ca_file))
        assert "ca_file" in caught.value.hint
        with pytest.raises(ConnectError, match="certificate"):
            await connect("quic", listener.address)  # the public authorities did not sign it either
        await listener.close()

    run(main())


def test_another_name_is_refused(quic_harness, run):
    async def main():
        listener = await quic_harness.listen()
        tls = ClientTls(ca_file=quic_harness.certificates.ca_file, server_name="elsewhere.example")
        with pytest.raises(ConnectError, match="certificate"):
            await connect("quic", listener.address, tls=tls)
        await listener.close()

    run(main())


@pytest.mark.parametrize("content", [None, b"no PEM"])
def test_unusable_authority_file(run, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)

    async def main():
        with pytest.raises(ConnectError, match="CA file"):
            await connect("quic", "127.0.0.1:1", tls=ClientTls(ca_file=path))

    run(main())


def test_unusable_edge_certificate(quic_harness, run, tmp_path):
    files = quic_harness.certificates
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(b"no PEM")

    async def main():
        for cert_file, key_file in ((wrong, files.key_file), (files.cert_file, wrong), (tmp_path / "none", wrong)):
            with pytest.raises(LinkError, match="cannot use"):
                await listen("quic", "127.0.0.1:0", tls=ServerTls(cert_file=cert_file, key_file=key_file))
        with pytest.raises(ValueError, match="devcert"):
            await listen("quic", "127.0.0.1:0")

    run(main())


@pytest.mark.parametrize("alpn", [("h3",), ("tslt/2", "h3")])
def test_device_of_another_protocol_is_refused(quic_harness, run, alpn):
    async def main():
        async with listening_with_witness(quic_harness) as listener:
            with pytest.raises(ConnectionError):
                async with raw_device(quic_harness, listener, alpn):
                    pass

    run(main())


def test_device_without_protocol_is_refused(quic_harness, run):
    async def main():
        async with listening_with_witness(quic_harness) as listener:
            with contextlib.suppress(ConnectionError):
                async with raw_device(quic_harness, listener, None) as device:
                    device.say(HELLO)
                    await device.end()

    run(main())


def test_edge_of_another_protocol_is_refused(quic_harness, run):
    files = quic_harness.certificates

    async def main():
        configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
        configuration.load_cert_chain(files.cert_file, files.key_file)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = await serve("127.0.0.1", port, configuration=configuration)
        with pytest.raises(ConnectError, match="ALPN"):
            await connect("quic", f"127.0.0.1:{port}", tls=quic_harness.client_tls)
        server.close()

    run(main())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode_frame(b"too early"), "before the greeting"),
        (encode_control(b"\x04"), "no greeting"),
        (encode_control(b"\x63"), "unknown control"),
        (HELLO + encode_varint(1001), "1001"),
        (HELLO + b"\xff\xff\xff\xff", "4 bytes"),
        (HELLO + encode_control(b"\x05\x01"), "CONSUMED"),
        (HELLO + encode_frame(b"x") * 5, "window"),
        (HELLO + HELLO, "HELLO"),
    ],
)
def test_a_peer_that_breaks_the_protocol_is_told(quic_harness, run, data, reason):
    async def main():
        async with (
            listening_with_witness(quic_harness) as listener,
            raw_device(quic_harness, listener) as device,
        ):
            device.say(data)
            assert reason in (await device.end()).reason_phrase

    run(main())


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("how", ["reset_stream", "stop_stream"])
def test_a_stream_that_is_reset_is_a_loss(quic_harness, run, how, linked):
    async def main():
        async with (
            listening_with_witness(quic_harness) as listener,
            raw_device(quic_harness, listener) as device,
        ):
            device.say(HELLO if linked else HELLO[:1])
            edge = await listener.accept() if linked else None
            getattr(device._quic, how)(0, 7)
            device.transmit()
            assert "reset the stream" in (await device.end()).reason_phrase
            if edge is not None:
                with pytest.raises(LinkClosed, match="reset the stream") as caught:
                    await edge.receive()
                assert not caught.value.clean

    run(main())


def test_the_oldest_that_says_nothing_gives_way(quic_harness, run):
    async def main():
        async with listening_with_witness(quic_harness, replace(SMALL, connect_timeout_s=30.0)) as listener:
            listener.half_open.most = 1  # 64 handshakes would take long
            async with raw_device(quic_harness, listener) as oldest, raw_device(quic_harness, listener):
                assert "say nothing; try again" in (await oldest.end()).reason_phrase
                assert listener.refusals["crowded"] == 1

    run(main())


def test_who_has_no_link_hears_that_the_edge_closes(quic_harness, run):
    async def main():
        listener = await quic_harness.listen()
        async with raw_device(quic_harness, listener) as device:
            await listener.close()
            assert "shutting down" in (await device.end()).reason_phrase

    run(main())


def test_what_aioquic_let_pass_is_looked_at_again(quic_harness, run):
    """Its releases differ in which protocols (ALPN) they refuse by themselves."""

    async def main():
        async with quic_harness.linked() as (device, _):
            device._endpoint.on_open("h3")
            with pytest.raises(LinkClosed, match="does not speak tslt/1"):
                await device.receive()
        async with (
            listening_with_witness(quic_harness) as listener,
            raw_device(quic_harness, listener) as device,
        ):
            for endpoint in listener.half_open:
                endpoint.on_open(None)
            assert "ALPN" in (await device.end()).reason_phrase

    run(main())


def test_a_release_of_aioquic_that_has_moved_what_is_needed_is_refused():
    with pytest.raises(LinkError, match="cannot be bounded"):
        bound_receiver(SimpleNamespace(_local_max_streams_bidi=None), peer_streams=1)
    with pytest.raises(LinkError, match="retry"):
        check_retries(SimpleNamespace())
    for unknown in (SimpleNamespace(), QuicConnection(configuration=QuicConfiguration())):
        with pytest.raises(LinkError, match="certificate"):
            peer_certificate(unknown)


def test_an_address_in_use(quic_harness, run):
    async def main():
        listener = await quic_harness.listen()
        with pytest.raises(LinkError, match="in use"):
            await listen("quic", listener.address, tls=quic_harness.server_tls)
        await listener.close()

    run(main())


def test_half_a_frame_is_no_clean_end(quic_harness, run):
    async def main():
        async with (
            listening_with_witness(quic_harness) as listener,
            raw_device(quic_harness, listener) as device,
        ):
            device.say(HELLO + encode_frame(b"whole") + encode_frame(b"broken")[:-1], fin=True)
            edge = await listener.accept()
            assert await edge.receive() == b"whole"
            with pytest.raises(LinkClosed, match="inside a frame") as caught:
                await edge.receive()
            assert not caught.value.clean

    run(main())


def test_a_second_stream_is_refused(quic_harness, run):
    async def main():
        async with (
            listening_with_witness(quic_harness) as listener,
            raw_device(quic_harness, listener) as device,
        ):
            device.say(HELLO)
            edge = await listener.accept()
            device.say(b"x", stream=4)  # aioquic holds it back: the edge allows one stream
            device.say(encode_frame(b"on the first"))
            assert await edge.receive() == b"on the first"
            assert device._quic._streams[4].is_blocked
            await edge.close()

    run(main())


def test_no_greeting_in_time(quic_harness, run):
    async def main():
        async with (
            listening_with_witness(quic_harness) as listener,
            raw_device(quic_harness, listener) as device,
        ):
            assert len(listener.half_open) == 1
            assert "in time" in (await device.end()).reason_phrase
            assert not listener.half_open

    run(main())


def test_connection_closed_without_an_end_is_a_loss(quic_harness, run):
    async def main():
        async with (
            listening_with_witness(quic_harness) as listener,
            raw_device(quic_harness, listener) as device,
        ):
            device.say(HELLO)
            edge = await listener.accept()
            device.close(0, reason_phrase="forged\nline")
            with pytest.raises(LinkClosed) as caught:
                await edge.receive()
            assert not caught.value.clean
            assert "\n" not in str(caught.value)

    run(main())


def test_udp_garbage(quic_harness, run):
    async def main():
        async with listening_with_witness(quic_harness) as listener:
            host, port = listener.address.split(":")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for data in (b"", b"\x00", b"\xff" * 1200, bytes(1200), b"\xc0\x00\x00\x00\x01" + b"\x08" * 1195):
                    sender.sendto(data, (host, int(port)))
            await asyncio.sleep(0.1)

    run(main())


def test_the_window_stays_fixed(quic_harness, run):
    """aioquic alone would double it with every second half that arrives; see `quic_bounds`."""

    async def main():
        async with quic_harness.linked() as (device, edge):
            stream = edge._endpoint._quic._streams[0]
            for _ in range(3):
                sending = asyncio.create_task(device.send(bytes(MIB)))
                await edge.receive()
                await sending
                assert stream.max_stream_data_local <= stream.receiver.starting_offset() + REORDER_WINDOW_BYTES
            assert stream.receiver.starting_offset() > 3 * MIB

    run(main())


def test_a_device_that_falls_silent_is_lost_by_the_idle_timeout(quic_harness, run):
    async def main():
        options = replace(PATIENT, heartbeat_s=0.25, peer_timeout_s=1.0)
        listener = await quic_harness.listen(options)
        device = await quic_harness.connect(listener)
        edge = await listener.accept()
        listener._server.datagram_received = lambda data, addr: None
        with pytest.raises(LinkClosed, match="QUIC idle timeout") as caught:
            await edge.receive()
        assert not caught.value.clean
        await asyncio.gather(device.close(), listener.close())

    run(main())


def test_devcert_command(tmp_path, capsys):
    assert devcert(["--out", str(tmp_path / "new"), "--host", "edge.example", "--days", "1"]) == 0
    assert f"--ca {tmp_path / 'new' / 'ca.pem'}" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    assert stat.S_IMODE((tmp_path / "new" / "key.pem").stat().st_mode) == 0o600
    with pytest.raises(SystemExit):
        devcert(["--out", str(tmp_path), "--days", "0"])


def test_timers_of_a_closed_link_write_nowhere(quic_harness, run, caplog):
    """aioquic goes on sending for a while; asyncio warned of each write to the socket that was closed."""

    async def main():
        async with quic_harness.linked(LinkOptions(linger_s=0.5)) as (device, edge):
            await device.send(b"x")
            await edge.receive()
            device._endpoint.release_socket()
            for _ in range(8):
                device._endpoint._quic.send_ping(1)
                device._endpoint.transmit()
            edge.lose("enough", tell=True)

    run(main())
    assert "socket.send() raised exception" not in caplog.text
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_pings_without_end_end_the_link(quic_harness, run):
    async def main():
        async with (
            listening_with_witness(quic_harness) as listener,
            raw_device(quic_harness, listener) as device,
        ):
            device.say(HELLO)
            edge = await listener.accept()
            edge._endpoint._empty = RateLimit(20)  # 500 in a second is more than a busy machine may manage
            for number in range(100):
                device._quic.send_ping(number)
                device.transmit()
                await asyncio.sleep(0.001)
            with pytest.raises(LinkClosed, match="bring nothing"):
                await edge.receive()
            assert "bring nothing" in (await device.end()).reason_phrase

    run(main())
