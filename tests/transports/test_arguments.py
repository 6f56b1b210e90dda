"""Arguments are checked where they are given: what was expected is said before anything is opened."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from tslt_transports import (
    ClientTls,
    InProcessListener,
    LinkError,
    LinkOptions,
    Network,
    ServerTls,
    VirtualClock,
    connect,
    emulated_pair,
    listen,
    pair,
)
from tslt_transports.address import parse_address
from tslt_transports.devcert import make_dev_certificates


@pytest.mark.parametrize("name", ["max_frame_bytes", "queue_frames", "queue_bytes", "max_links"])
@pytest.mark.parametrize("wrong", ["64", 64.0, True, None, np.int64(64)])
def test_counts_are_ints(name, wrong):
    with pytest.raises(TypeError, match=f"{name} must be an int, not {type(wrong).__name__}"):
        LinkOptions(**{name: wrong})


@pytest.mark.parametrize("name", ["connect_timeout_s", "heartbeat_s", "peer_timeout_s", "send_timeout_s", "linger_s"])
@pytest.mark.parametrize("wrong", ["1", True, None, b"1"])
def test_times_are_numbers(name, wrong):
    with pytest.raises(TypeError, match=rf"{name} must be a number \(seconds\), not {type(wrong).__name__}"):
        LinkOptions(**{name: wrong})


def test_times_may_be_ints():
    assert LinkOptions(heartbeat_s=1, peer_timeout_s=2, linger_s=0).peer_timeout_s == 2


@pytest.mark.parametrize("name", ["uplink_bit_s", "downlink_bit_s", "rtt_s", "jitter_s", "loss", "packet_overhead"])
@pytest.mark.parametrize("wrong", ["0.5", True, None])
def test_networks_are_numbers(name, wrong):
    with pytest.raises(TypeError, match=f"{name} must be"):
        Network(**{name: wrong})


@pytest.mark.parametrize("wrong", [{"packet_overhead": 0.5}, {"seed": 1.0}, {"seed": "1"}])
def test_seeds_and_headers_are_ints(wrong):
    with pytest.raises(TypeError, match="must be an int"):
        Network(**wrong)


@pytest.mark.parametrize("wrong", [float("inf"), float("nan"), -0.1])
def test_a_round_trip_ends(wrong):
    with pytest.raises(ValueError, match="rtt_s must be"):
        Network(rtt_s=wrong)


def test_clocks_take_seconds():
    with pytest.raises(TypeError, match="now must be a number"):
        VirtualClock("now")
    with pytest.raises(TypeError, match="seconds"):
        VirtualClock().advance("1")


def test_options_are_link_options(run):
    async def main():
        for make in (pair, InProcessListener, lambda wrong: emulated_pair(Network(), options=wrong)):
            with pytest.raises(TypeError, match="options must be LinkOptions, not dict"):
                make({"queue_frames": 4})
        with pytest.raises(TypeError, match="network must be Network"):
            emulated_pair({"rtt_s": 1.0})
        for name in ("zmq", "quic"):
            for opener in (connect, listen):
                with pytest.raises(TypeError, match="options must be LinkOptions, not dict"):
                    await opener(name, "127.0.0.1:1", options={})

    run(main())


def test_transports_have_names(run):
    async def main():
        for opener in (connect, listen):
            with pytest.raises(ValueError, match=r"unknown transport 'tcp': expected 'zmq' or 'quic'"):
                await opener("tcp", "127.0.0.1:1")
            with pytest.raises(TypeError, match="transport must be str, not int"):
                await opener(1, "127.0.0.1:1")

    run(main())


@pytest.mark.parametrize(
    "text", ["[edge]:1", "[127.0.0.1]:1", "[]:1", "a b:1", "a\x00:1", "a\n:1", " a:1", "[::1 ]:1", "[::g]:1"]
)
def test_hosts_that_cannot_be(text):
    with pytest.raises(ValueError, match="is no address"):
        parse_address(text, scheme="tcp")


@pytest.mark.parametrize("wrong", [5555, None, b"127.0.0.1:1", ("127.0.0.1", 1)])
def test_addresses_are_text(run, wrong):
    async def main():
        for name in ("zmq", "quic"):
            for opener in (connect, listen):
                with pytest.raises(TypeError, match="address must be str"):
                    await opener(name, wrong)

    run(main())


def test_nobody_is_dialed_at_port_0(run):
    async def main():
        for name in ("zmq", "quic"):
            with pytest.raises(ValueError, match="port 0"):
                await connect(name, "127.0.0.1:0")

    run(main())


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ClientTls(ca_file=b"ca.pem"), "ca_file must be str or Path or NoneType, not bytes"),
        (lambda: ClientTls(server_name=5), "server_name must be str"),
        (lambda: ServerTls(cert_file=None, key_file="k"), "cert_file must be str or Path, not NoneType"),
        (lambda: ServerTls(cert_file="c", key_file=1), "key_file must be str or Path, not int"),
    ],
)
def test_tls_takes_paths(make, complaint):
    with pytest.raises(TypeError, match=complaint):
        make()


def test_tls_of_the_other_end(run):
    async def main():
        with pytest.raises(ValueError, match="server_name"):
            ClientTls(server_name="")
        with pytest.raises(TypeError, match="tls must be ClientTls or NoneType, not ServerTls"):
            await connect("quic", "127.0.0.1:1", tls=ServerTls(cert_file="c", key_file="k"))
        with pytest.raises(TypeError, match="tls must be ServerTls or NoneType, not ClientTls"):
            await listen("quic", "127.0.0.1:0", tls=ClientTls())

    run(main())


def test_a_key_of_another_certificate(run, tmp_path):
    mine, other = make_dev_certificates(tmp_path / "mine"), make_dev_certificates(tmp_path / "other")

    async def main():
        with pytest.raises(LinkError, match="the key is not the certificate's"):
            await listen("quic", "127.0.0.1:0", tls=ServerTls(cert_file=mine.cert_file, key_file=other.key_file))

    run(main())


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"hosts": "localhost"}, TypeError),
        ({"hosts": []}, ValueError),
        ({"hosts": [""]}, ValueError),
        ({"days": 0}, ValueError),
        ({"days": 10_000}, ValueError),
        ({"days": 1.5}, TypeError),
        ({"days": True}, TypeError),
    ],
)
def test_certificates_of_nothing(tmp_path, wrong, kind):
    with pytest.raises(kind, match=next(iter(wrong))[:-1]):
        make_dev_certificates(tmp_path / "never", **wrong)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(("name", "module", "library"), [("zmq", "zeromq", "zmq"), ("quic", "quic", "aioquic")])
def test_a_library_that_is_missing_is_named(run, monkeypatch, name, module, library):
    for ours in [one for one in sys.modules if one.startswith(f"tslt_transports.{module}")]:
        monkeypatch.delitem(sys.modules, ours)
    for loaded in [one for one in sys.modules if one.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, loaded, None)
    monkeypatch.setitem(sys.modules, library, None)

    async def main():
        for opener in (connect, listen):
            with pytest.raises(LinkError, match=rf"{library}.*tslt-wire\[{name}\]"):
                await opener(name, "127.0.0.1:1")

    run(main())


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"cert_sha256": "00"}, ValueError, "64 hexadecimal digits"),
        ({"cert_sha256": "g" * 64}, ValueError, "64 hexadecimal digits"),
        ({"cert_sha256": bytes(32)}, TypeError, "cert_sha256"),
        ({"cert_sha256": "0" * 64, "ca_file": "ca.pem"}, ValueError, "one or the other"),
        ({"cert_sha256": "0" * 64, "server_name": "edge"}, ValueError, "one or the other"),
    ],
)
def test_hashes_of_certificates(given, kind, said):
    with pytest.raises(kind, match=said):
        ClientTls(**given)


@pytest.mark.parametrize("opener", [connect, listen])
def test_what_is_no_keys(run, opener):
    async def main():
        with pytest.raises(TypeError, match="keys must be"):
            await opener("zmq", "127.0.0.1:1", keys="a file")

    run(main())
