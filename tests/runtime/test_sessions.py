"""What an edge keeps of sessions without a link, and whose secrets are whose."""

from __future__ import annotations

import asyncio
import os
import stat

import pytest
from table_engine import TableTarget
from two_ends import FINGERPRINT, tables

import tslt_wire as tw
from tslt_runtime.commands import device, edge
from tslt_runtime.edge import edge_settings
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.operating import status_server
from tslt_runtime.operating.logs import LINES_AT_ONCE, LINES_PER_S
from tslt_runtime.seeds import device_nonce, master_secret, read_master_secret
from tslt_runtime.sessions import Left, Sessions
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.messages.draft import prefix_crc

HELLO = tw.Hello(vocab_size=8, tokenizer=bytes(32))


class Holder:
    """Somebody with a session's link."""

    def __init__(self):
        self.left, self.gone = Left((1, 2), "text"), 0

    def let_go(self):
        self.gone += 1
        return self.left


def come_back(sessions, token, identity="", holder=None):
    hello = tw.Hello(vocab_size=8, tokenizer=bytes(32), resume=token)
    return sessions.open(hello, b"back", identity=identity, holder=holder or Holder())


def inside(test):
    """Run a test in an event loop, which timers need."""

    async def run():
        test()

    return lambda: asyncio.run(run())


@inside
def test_a_session_is_parked_and_taken_up():
    released, me = [], Holder()
    sessions = Sessions(master=bytes(32), release=released.append)
    first, text = sessions.open(HELLO, b"hello", identity="me", holder=me)
    assert (first.resumed, first.held, text, len(sessions)) == (False, (), None, 0)
    assert sessions.park(first.token, me, Left((3, 4), "cache"), "me")
    assert len(sessions) == 1
    again, text = come_back(sessions, first.token, "me")
    assert (again.secret, again.token, again.resumed) == (first.secret, first.token, True)
    assert (again.held, text, len(sessions), released) == ((3, 4), "cache", 0, [])
    assert not sessions.park(first.token, me, Left((3, 4), "cache"), "me")  # it has it no more
    assert sessions.resumed == 1


@inside
def test_a_live_session_is_taken_from_its_link():
    me, sessions = Holder(), Sessions(master=bytes(32))
    first, _ = sessions.open(HELLO, b"hello", identity="", holder=me)
    again, text = come_back(sessions, first.token)
    assert (me.gone, again.held, text) == (1, (1, 2), "text")


@pytest.mark.parametrize("live", [False, True])
def test_a_session_goes_back_to_no_earlier_round(live):
    """Whether its link is gone or another one takes it: the numbers of a round are for one draft."""

    async def run():
        verifier = LocalVerifier(TableTarget(tables()[0]))
        sessions, settings = Sessions(master=bytes(32)), edge_settings(verifier.facts, FINGERPRINT)
        device = tw.DeviceSession(tw.Hello(vocab_size=8, tokenizer=FINGERPRINT, evidence=("match",)))

        async def say(driver, frames):
            for frame in frames:
                for answer in await driver.step(frame):
                    device.receive_data(answer)

        def queued():
            return list(iter(device.data_to_send, b""))

        async def another_link(last):
            if not live:
                last.park()
            driver = EdgeDriver(verifier, settings, sessions=sessions)
            device.reconnect()
            await say(driver, queued())
            return driver

        driver = EdgeDriver(verifier, settings, sessions=sessions)
        await say(driver, queued())
        device.send_prompt([1, 2, 3])
        for _ in range(3):
            device.send_draft(tw.TokenTree.chain([4]), tw.MatchEvidence())
            await say(driver, queued())
        driver = await another_link(driver)
        resume = tw.decode(queued()[0], device.profile)
        assert (resume.round, sessions.resumed) == (3, 1)
        back = tw.Resume(
            round=1,
            transcript=resume.transcript,
            tokens=device.prefix,
            prefix_crc=prefix_crc(device.prefix),
            prompt_length=3,
        )
        (said,) = await driver.step(tw.encode(back, device.profile))
        assert (
            tw.decode(said, device.profile).message
            == "desynchronised: the device goes back to round 1 where the edge is at 2"
        )
        driver = await another_link(driver)
        device.send_draft(tw.TokenTree.chain([4]), tw.MatchEvidence())
        await say(driver, queued())
        assert (device.state, device.round) == (tw.State.IDLE, 4)
        driver.close()
        verifier.close()

    asyncio.run(run())


@inside
def test_a_token_of_another_device_or_edge_opens_a_new_session():
    sessions = Sessions(master=bytes(32))
    first, _ = sessions.open(HELLO, b"hello", identity="me", holder=Holder())
    for token, identity in ((first.token, "you"), (bytes(32), "me"), (b"?", "me")):
        other, _ = come_back(sessions, token, identity)
        assert not other.resumed
        assert other.secret != first.secret
    assert sessions.forgotten == 3
    known, text = come_back(Sessions(master=bytes(32)), first.token, "me")
    assert (known.resumed, known.secret, known.held, text) == (True, first.secret, (), None)
    assert not come_back(Sessions(master=bytes(31) + b"\1"), first.token, "me")[0].resumed


def test_the_numbers_that_are_promised():
    """SECURITY.md says them."""
    limits = EdgeLimits()
    assert (limits.parked, limits.parked_each, limits.resume_s) == (256, 8, 120)
    assert (limits.hello_timeout_s, limits.idle_timeout_s) == (10, 300)
    assert (limits.peer_queue, limits.mores, limits.rows_bytes) == (32, 256, 64 << 20)
    assert (limits.target_ms_per_s, limits.prompt_tokens_per_s) == (500, 1000)
    assert EdgeLimits(devices=100).peer_links == 50
    assert (LINES_AT_ONCE, LINES_PER_S) == (20, 1)
    assert (status_server.REQUEST_S, status_server.MOST_BYTES, status_server.MOST_CONNECTIONS) == (5, 8192, 16)


@inside
def test_what_is_kept_is_bounded():
    released = []
    limits = EdgeLimits(parked=3, parked_each=2)
    sessions = Sessions(master=bytes(32), limits=limits, release=released.append)

    def park(name, owner):
        me = Holder()
        found, _ = sessions.open(HELLO, b"hello", identity="", holder=me)
        assert sessions.park(found.token, me, Left((1,), name), owner)
        return found.token

    tokens = [park(number, "me") for number in range(3)]
    assert released == [0]  # the oldest of its own
    park("a", "you")
    park("b", "them")
    assert released == [0, 1]  # the oldest of all
    assert come_back(sessions, tokens[1])[0].held == ()
    assert come_back(sessions, tokens[2])[0].held == (1,)
    me = Holder()
    empty, _ = sessions.open(HELLO, b"hello", identity="", holder=me)
    assert not sessions.park(empty.token, me, Left((), "none"), "me")
    sessions.close()
    assert sorted(released[2:]) == ["a", "b"]
    assert len(sessions) == 0


def test_what_is_kept_ends_in_time():
    async def run():
        released, me = [], Holder()
        sessions = Sessions(master=bytes(32), limits=EdgeLimits(resume_s=0.05), release=released.append)
        first, _ = sessions.open(HELLO, b"hello", identity="", holder=me)
        sessions.park(first.token, me, Left((1,), "cache"), "me")
        await asyncio.sleep(0.2)
        assert (released, len(sessions)) == (["cache"], 0)
        assert come_back(sessions, first.token)[0].held == ()

    asyncio.run(run())


@inside
def test_a_seed_makes_secrets_of_hellos_and_not_of_arrival():
    def secret(sessions, hello, frame, *, text=True):
        me = Holder()
        found, _ = sessions.open(hello, frame, identity="", holder=me)
        if text:
            sessions.began(found.token)
        sessions.forget(found.token, me)
        return found.secret

    named = tw.Hello(vocab_size=8, tokenizer=bytes(32), nonce=device_nonce(3))
    calm, busy = Sessions(seed=1), Sessions(seed=1)
    for stranger in range(5):
        secret(busy, HELLO, bytes([stranger]))
    first = secret(calm, named, b"mine")
    assert secret(busy, named, b"mine") == first
    assert secret(calm, named, b"mine") == secret(busy, named, b"mine") != first  # the second text of this HELLO
    # A WELCOME that was lost: the same device again.  One without a nonce may be another.
    assert secret(Sessions(seed=1), named, b"mine", text=False) == first
    lost = Sessions(seed=1)
    assert [secret(lost, named, b"mine", text=text) for text in (False, False, True)] == [first] * 3
    assert secret(lost, HELLO, b"theirs", text=False) != secret(lost, HELLO, b"theirs", text=False)
    assert secret(Sessions(seed=2), named, b"mine") != first
    assert secret(Sessions(), named, b"mine") != secret(Sessions(), named, b"mine")
    for number in range(5000):
        secret(calm, named, number.to_bytes(2, "little"))
    assert len(calm._seen) == 4096


def test_nonces_and_master_secrets_of_seeds():
    assert device_nonce(1) == device_nonce(1) != device_nonce(2)
    assert device_nonce(None) != device_nonce(None)
    assert master_secret(1) == master_secret(1) != master_secret(2)
    assert master_secret(None) != master_secret(None)
    assert len(device_nonce(1)) == 16
    assert len(master_secret(1)) == 32


def test_a_master_secret_in_a_file(tmp_path):
    path = tmp_path / "secret"
    made = read_master_secret(path)
    assert len(made) == 32
    assert read_master_secret(path) == made
    assert read_master_secret(tmp_path / "other") != made
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other", "secret"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o640)
        with pytest.raises(ValueError, match="chmod 600"):
            read_master_secret(path)
        path.chmod(0o600)
    path.write_bytes(bytes(31))
    with pytest.raises(ValueError, match="31 bytes, 32 are needed"):
        read_master_secret(path)
    with pytest.raises(OSError, match="absent"):
        read_master_secret(tmp_path / "absent" / "secret")


def test_command_lines(capsys):
    args = device.parse(["--model", "m", "--edge", "tcp://a:1", "--edge", "tcp://b:2", "--patience", "5"])
    assert (args.edge, args.patience) == (["tcp://a:1", "tcp://b:2"], 5.0)
    assert edge.parse(["--model", "m", "--secret-file", "s"]).secret_file.name == "s"
    with pytest.raises(SystemExit):
        edge.parse(["--model", "m", "--secret-file", "s", "--seed", "1"])
    assert "say --secret-file or --seed" in capsys.readouterr().err


@inside
def test_a_hello_that_asks_for_it_has_its_numbers_again():
    again = tw.Hello(vocab_size=8, tokenizer=bytes(32), extra={"repeat": True})
    for sessions in (Sessions(master=bytes(32)), Sessions(seed=3)):
        opened = [sessions.open(again, b"hello", identity="me", holder=Holder())[0] for _ in range(3)]
        assert {(one.secret, one.token, one.repeats) for one in opened} == {(opened[0].secret, b"", True)}
        others = [
            sessions.open(HELLO, b"hello", identity="me", holder=Holder())[0],
            sessions.open(again, b"hello", identity="you", holder=Holder())[0],
            sessions.open(again, b"Hello", identity="me", holder=Holder())[0],
            Sessions(master=b"x" * 32).open(again, b"hello", identity="me", holder=Holder())[0],
        ]
        assert len({one.secret for one in (opened[0], *others)}) == 5
        assert not others[0].repeats
        me = Holder()
        sessions.open(again, b"hello", identity="me", holder=me)
        assert not sessions.park(b"", me, Left((1,), "text"), "me")  # it ends with its link
