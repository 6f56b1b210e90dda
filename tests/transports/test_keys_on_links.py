"""Who may talk, on real sockets: every device that may not is refused, with a reason, before it has a place."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from link_helpers import PATIENT
from tslt_transports import (
    AllowList,
    ClientTls,
    ConnectError,
    DeviceKeys,
    EdgeKeys,
    LinkClosed,
    LinkOptions,
    SecretKey,
    ServerTls,
    connect,
    devcert,
    listen,
)
from tslt_transports.allow_list import allow, disallow
from tslt_transports.control import ControlType, PeerLimits, decode_control, encode_greeting, encode_proof
from tslt_transports.devcert import make_dev_certificates
from tslt_transports.framing import UnitDecoder, encode_control
from tslt_transports.zmtp import ZmtpFrame

HELLO = encode_greeting(ControlType.HELLO, PeerLimits.of(LinkOptions()))


@dataclass(frozen=True, slots=True)
class Pair:
    """An edge and a device that may talk to it."""

    folder: Path
    edge: SecretKey
    device: SecretKey

    @property
    def allowed(self) -> Path:
        return self.folder / "devices.txt"

    def edge_keys(self) -> EdgeKeys:
        return EdgeKeys(own=self.edge, allowed=AllowList(self.allowed))

    def device_keys(self, own: SecretKey | None = None) -> DeviceKeys:
        return DeviceKeys(own=own or self.device, edge=self.edge.public)


@pytest.fixture
def pair(tmp_path) -> Pair:
    made = Pair(tmp_path, SecretKey.make("lab"), SecretKey.make("kitchen"))
    allow(made.allowed, made.device.public)
    return made


@contextlib.asynccontextmanager
async def edge_of(transport, keys, *, tls=None, options=PATIENT):
    """A listener, which afterwards has taken nobody whom the test did not accept."""
    listener = await listen(transport, "127.0.0.1:0", options=options, keys=keys, tls=tls)
    try:
        yield listener
        assert listener.backlog.links == []
    finally:
        await listener.close()


async def refused(transport, listener, keys, *, tls=None) -> ConnectError:
    """How the edge refuses a device with ``keys``."""
    with pytest.raises(ConnectError) as caught:
        await connect(transport, listener.address, options=PATIENT, keys=keys, tls=tls)
    return caught.value


@pytest.fixture(params=["zmq", "quic"])
def transport(request) -> str:
    return request.param


def test_both_ends_know_each_other(pair, transport, run):
    async def main():
        async with edge_of(transport, pair.edge_keys()) as listener:
            device = await connect(transport, listener.address, options=PATIENT, keys=pair.device_keys())
            edge = await listener.accept()
            assert (device.identity, edge.identity) == ("lab", "kitchen")
            assert edge.peer.startswith("kitchen at ")
            for frame in (b"x", bytes(100_000)):
                await device.send(frame)
                assert await edge.receive() == frame
                await edge.send(frame)
                assert await device.receive() == frame
            await device.close()
            await edge.close()

    run(main())


@pytest.mark.parametrize("size", [1000, 2 << 20])
def test_a_large_frame_is_decrypted_in_a_thread(pair, run, size):
    """6 ms a MiB in the event loop, and nobody's heartbeat is answered meanwhile."""

    async def main():
        async with edge_of("zmq", pair.edge_keys()) as listener:
            device = await connect("zmq", listener.address, options=PATIENT, keys=pair.device_keys())
            edge = await listener.accept()
            mechanism, threads = edge._connection.mechanism, []
            unseal = mechanism.unseal
            mechanism.unseal = lambda frame: threads.append(threading.current_thread()) or unseal(frame)
            frames = [bytes([i]) * size for i in range(3)]
            for frame in frames:
                await device.send(frame)
            assert [await edge.receive() for _ in frames] == frames
            assert sum(thread is not threading.main_thread() for thread in threads) == (3 if size > 1000 else 0)
            await device.close()
            await edge.close()

    run(main())


@pytest.mark.parametrize("end", ["changed", "gone", "closed"])
def test_what_becomes_of_a_large_frame_that_is_being_decrypted(pair, run, end):
    """It was changed on the way; its device is gone meanwhile; or this end has closed the link."""

    async def main():
        async with edge_of("zmq", pair.edge_keys()) as listener:
            device = await connect("zmq", listener.address, options=PATIENT, keys=pair.device_keys())
            edge = await listener.accept()
            connection, begun, may_end = edge._connection, asyncio.Event(), threading.Event()
            loop, unseal = asyncio.get_running_loop(), connection.mechanism.unseal

            def slow(frame):
                if len(frame.body) < 1 << 20:
                    return unseal(frame)
                loop.call_soon_threadsafe(begun.set)
                may_end.wait(30)
                body = frame.body[:-1] + bytes([frame.body[-1] ^ 1]) if end == "changed" else frame.body
                return unseal(ZmtpFrame(frame.flags, body))

            connection.mechanism.unseal = slow
            await device.send(bytes(1 << 20))
            await begun.wait()
            if end == "gone":
                connection.abort()
            closing = asyncio.create_task(edge.close() if end == "closed" else asyncio.sleep(0.1))
            await asyncio.sleep(0.1)
            may_end.set()
            await closing
            with pytest.raises(LinkClosed, match={"changed": "changed on the way", "gone": "gone"}.get(end, "closed")):
                await (device if end == "changed" else edge).receive()
            await asyncio.gather(device.close(), edge.close())

    run(main())


def test_a_key_that_is_not_on_the_list(pair, transport, run, caplog):
    async def main():
        async with edge_of(transport, pair.edge_keys()) as listener:
            for _ in range(2):
                error = await refused(transport, listener, pair.device_keys(SecretKey.make("kitchen")))
                assert "not on" in error.reason
                assert "tslt keys add" in error.hint
            assert listener.refusals == {"key": 2}

    with caplog.at_level(logging.WARNING, logger="tslt.link"):
        run(main())
    assert "127.0.0.1: refused: " in caplog.text
    assert "allow-list" in caplog.text


def test_no_key(pair, transport, run):
    async def main():
        async with edge_of(transport, pair.edge_keys()) as listener:
            digest = hashlib.sha256(getattr(listener, "certificate", b"")).hexdigest()
            tls = ClientTls(cert_sha256=digest) if transport == "quic" else None
            error = await refused(transport, listener, None, tls=tls)
            assert "demands a key" in error.reason
            assert "tslt keys make" in error.hint

    run(main())


def test_an_edge_with_another_key(pair, transport, run):
    async def main():
        async with edge_of(transport, replace(pair.edge_keys(), own=SecretKey.make("lab"))) as listener:
            error = await refused(transport, listener, pair.device_keys())
            assert "key" in error.reason
            assert "--edge-key" in error.hint

    run(main())


def test_an_edge_that_has_no_keys(pair, transport, run, certificates):
    """Who was told to prove itself does not talk to an edge that lets anybody in: it may be another one."""
    tls = ServerTls(cert_file=certificates.cert_file, key_file=certificates.key_file) if transport == "quic" else None
    client = ClientTls(ca_file=certificates.ca_file) if transport == "quic" else None
    keys = DeviceKeys(own=pair.device) if transport == "quic" else pair.device_keys()

    async def main():
        listener = await listen(transport, "127.0.0.1:0", options=PATIENT, tls=tls)
        error = await refused(transport, listener, keys, tls=client)
        assert "no keys" in error.reason or "anybody" in error.reason
        assert "--allow" in error.hint
        await listener.close()

    run(main())


def test_a_device_that_was_removed_is_refused_at_its_next_connect(pair, transport, run):
    async def main():
        async with edge_of(transport, pair.edge_keys()) as listener:
            device = await connect(transport, listener.address, options=PATIENT, keys=pair.device_keys())
            edge = await listener.accept()
            disallow(pair.allowed, "kitchen")
            await device.send(b"the link that is there stays")
            assert await edge.receive() == b"the link that is there stays"
            assert "not on" in (await refused(transport, listener, pair.device_keys())).reason
            allow(pair.allowed, pair.device.public)
            again = await connect(transport, listener.address, options=PATIENT, keys=pair.device_keys())
            for link in (device, edge, again, await listener.accept()):
                await link.close()

    run(main())


def test_a_broken_list_lets_in_whom_the_last_good_one_did(pair, transport, run, caplog):
    async def main():
        async with edge_of(transport, pair.edge_keys()) as listener:
            pair.allowed.write_text("kitchen tslt-key-1 cut\n")
            device = await connect(transport, listener.address, options=PATIENT, keys=pair.device_keys())
            await (await listener.accept()).close()
            await device.close()

    run(main())
    assert f"{pair.allowed}:1: " in caplog.text


# ----------------------------------------------------------------------------------------------- the edge's certificate


def files_of(certificates):
    return ServerTls(cert_file=certificates.cert_file, key_file=certificates.key_file)


def test_an_authority_or_a_hash_prove_the_edge_and_the_key_the_device(pair, run, certificates):
    keys = DeviceKeys(own=pair.device)

    async def main():
        async with edge_of("quic", pair.edge_keys(), tls=files_of(certificates)) as listener:
            digest = hashlib.sha256(listener.certificate).digest()
            for tls in (
                ClientTls(ca_file=certificates.ca_file),
                ClientTls(cert_sha256=digest.hex()),
                ClientTls(cert_sha256=digest.hex(":").upper()),
            ):
                device = await connect("quic", listener.address, options=PATIENT, keys=keys, tls=tls)
                edge = await listener.accept()
                assert edge.identity == "kitchen"
                await device.close()
                await edge.close()
            error = await refused("quic", listener, keys, tls=ClientTls(cert_sha256=bytes(32).hex()))
            assert digest.hex() in error.reason
            error = await refused("quic", listener, pair.device_keys())  # the certificate is not of the edge's key
            assert "not of the key of lab" in error.reason
            error = await refused("quic", listener, keys)  # no authority that the world knows
            assert "--edge-key" in error.hint

    run(main())


@pytest.mark.parametrize("by", ["authority", "hash"])
def test_an_expired_certificate(pair, run, tmp_path, monkeypatch, by):
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=30)

    then = SimpleNamespace(now=lambda _: long_ago)
    clock = SimpleNamespace(datetime=then, UTC=datetime.UTC, timedelta=datetime.timedelta)
    monkeypatch.setattr(devcert, "datetime", clock)
    files = make_dev_certificates(tmp_path / "expired", days=2)
    monkeypatch.undo()

    async def main():
        async with edge_of("quic", pair.edge_keys(), tls=files_of(files)) as listener:
            digest = hashlib.sha256(listener.certificate).hexdigest()
            tls = ClientTls(ca_file=files.ca_file) if by == "authority" else ClientTls(cert_sha256=digest)
            error = await refused("quic", listener, DeviceKeys(own=pair.device), tls=tls)
            assert "expired" in error.reason or "no longer valid" in error.reason
            assert error.hint

    run(main())


# --------------------------------------------------------------------------------------------- copies of what was said


async def quic_peer(listener, answer):
    """A QUIC client of its own that says HELLO, then what ``answer`` makes of the CHALLENGE; how it ended."""
    from aioquic.asyncio import QuicConnectionProtocol
    from aioquic.asyncio import connect as raw_connect
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.events import ConnectionTerminated, StreamDataReceived

    units, challenges = UnitDecoder(max_frame_bytes=1000), []

    class Peer(QuicConnectionProtocol):
        ended = None

        def quic_event_received(self, event):
            if isinstance(event, StreamDataReceived):
                for unit in units.feed(event.data):
                    if decode_control(unit.data).type is ControlType.CHALLENGE:
                        challenges.append(unit.data)
                        self._quic.send_stream_data(0, encode_control(answer(unit.data)))
                        self.transmit()
            if isinstance(event, ConnectionTerminated):
                self.ended = event

    configuration = QuicConfiguration(is_client=True, alpn_protocols=["tslt/1"], verify_mode=False)
    host, port = listener.address.split(":")
    async with raw_connect(host, int(port), configuration=configuration, create_protocol=Peer) as peer:
        peer._quic.send_stream_data(0, encode_control(HELLO))
        peer.transmit()
        await asyncio.wait_for(peer.wait_closed(), 20)
    return peer.ended.reason_phrase, challenges


def test_a_proof_is_of_no_use_a_second_time(pair, run):
    """What a device once sent, sent again on a connection of its own."""
    from tslt_transports.proof import statement

    async def main():
        async with edge_of("quic", pair.edge_keys()) as listener:

            def proof_of(challenge: bytes, *, certificate: bytes, key: SecretKey) -> bytes:
                said = statement(certificate=certificate, hello=HELLO, challenge=challenge)
                return encode_proof(pair.device.public.signing, key.sign(said))

            mine = listener.certificate
            earlier = encode_greeting(ControlType.CHALLENGE, PeerLimits.of(PATIENT)) + bytes(32)
            other = SecretKey.make("kitchen")
            for answer in (
                lambda _: proof_of(earlier, certificate=mine, key=pair.device),
                lambda challenge: proof_of(challenge, certificate=b"another edge's", key=pair.device),
                lambda challenge: proof_of(challenge, certificate=mine, key=other),
                lambda _: encode_proof(pair.device.public.signing, bytes(64)),
            ):
                reason, _ = await quic_peer(listener, answer)
                assert "proof of the device's key" in reason
            reason, challenges = await quic_peer(listener, lambda _: HELLO)
            assert "PROOF" in reason
            _, others = await quic_peer(listener, lambda _: HELLO)
            assert challenges != others
            assert not listener.half_open

    run(main())


def test_the_proof_that_the_test_above_makes_is_a_good_one_where_nothing_is_wrong(pair, run):
    from tslt_transports.proof import check_proof, statement

    challenge = encode_greeting(ControlType.CHALLENGE, PeerLimits.of(PATIENT)) + bytes(32)
    said = statement(certificate=b"c", hello=HELLO, challenge=challenge)
    proof = decode_control(encode_proof(pair.device.public.signing, pair.device.sign(said)))
    assert check_proof(pair.edge_keys(), proof, said) == pair.device.public


class Recorder:
    """A TCP proxy that keeps what a device sends."""

    def __init__(self, address: str) -> None:
        self._host, self._port = address.removeprefix("tcp://").split(":")
        self.said = bytearray()

    async def __call__(self, reader, writer):
        up_reader, up_writer = await asyncio.open_connection(self._host, int(self._port))

        async def pump(source, sink, kept):
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    kept += data
                    sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, up_writer, self.said), pump(up_reader, writer, bytearray()))


def test_a_copy_of_a_whole_curve_connection_is_refused(pair, run):
    async def main():
        async with edge_of("zmq", pair.edge_keys()) as listener:
            proxy = Recorder(listener.address)
            server = await asyncio.start_server(proxy, "127.0.0.1", 0)
            through = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            device = await connect("zmq", through, options=PATIENT, keys=pair.device_keys())
            edge = await listener.accept()
            await device.send(b"a secret prompt")
            assert await edge.receive() == b"a secret prompt"
            await device.close()
            await edge.close()
            assert b"a secret prompt" not in proxy.said
            reader, writer = await asyncio.open_connection(*listener.address.removeprefix("tcp://").split(":"))
            writer.write(proxy.said)
            answer = await asyncio.wait_for(reader.read(), 20)
            assert b"READY" not in answer
            assert b"WELCOME" in answer  # CURVE's own, which anybody gets
            writer.close()
            server.close()

    run(main())


def test_a_device_answers_one_challenge(pair, run):
    """An edge that asks again is no edge of ours; and a device without a key says what is missing."""
    from tslt_transports.control import encode_challenge
    from tslt_transports.proof import new_nonce
    from tslt_transports.quic_edge import _EdgeEndpoint

    async def main():
        async with edge_of("quic", pair.edge_keys()) as listener:
            asked = _EdgeEndpoint.on_unit

            def twice(endpoint, unit):
                welcome = asked(endpoint, unit)
                endpoint.write(encode_control(encode_challenge(PeerLimits.of(PATIENT), new_nonce())))
                return welcome

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(_EdgeEndpoint, "on_unit", twice)
                error = await refused("quic", listener, pair.device_keys())
            assert "second CHALLENGE" in error.reason
            await (await listener.accept()).close()  # its first answer was good

    run(main())


def test_a_certificate_without_its_secret_proves_nothing(pair, run):
    """No authority is asked for an edge that is known by its key, so all hangs on the signature in TLS's handshake."""
    from aioquic.asyncio import serve
    from aioquic.quic.configuration import QuicConfiguration
    from tslt_transports.quic_tls import own_certificate

    async def main():
        configuration = QuicConfiguration(is_client=False, alpn_protocols=["tslt/1"])
        configuration.certificate, _ = own_certificate(pair.edge)  # anybody can have seen it
        _, configuration.private_key = own_certificate(SecretKey.make("mallory"))
        server = await serve("127.0.0.1", 0, configuration=configuration)
        port = server._transport.get_extra_info("sockname")[1]
        digest = hashlib.sha256(configuration.certificate.public_bytes(Encoding.DER)).hexdigest()
        for keys, tls in (
            (pair.device_keys(), None),
            (DeviceKeys(own=pair.device), ClientTls(cert_sha256=digest)),
            (None, ClientTls(cert_sha256=digest)),
        ):
            with pytest.raises(ConnectError) as caught:
                await connect("quic", f"127.0.0.1:{port}", options=PATIENT, keys=keys, tls=tls)
            assert "CertificateVerify" in caught.value.reason or "QUIC error" in caught.value.reason
        server.close()

    run(main())
