"""``tslt inspect``: what it shows of frames and captures, and what it says of everything else."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from damage import sealed
from frame_samples import FRAMES, PROFILE, SAMPLES, V

import tslt_wire as tw
from tslt_runtime.capture import Capture, Record
from tslt_runtime.commands import inspect
from tslt_runtime.commands.inspect_text import frame_text
from tslt_runtime.inspection import LIMITS, MOST_LINKS, Inspector, fields_of, inspect_frame, lists_of
from tslt_wire.frames.kinds import Role

ROOT = Path(__file__).parents[2]
TABLE = tw.train_table(np.random.default_rng(0).normal(size=(20, V)) * 3)
PLAIN = ("--vocab-size", str(V), "--entropy", "none", "--prior", "none")
"""Options for the samples' profile."""


def run(*arguments, stdin=b""):
    """``tslt inspect`` in this process: (exit status, stdout, stderr); an exception that escapes fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            status = inspect.main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), err.getvalue()


def hello(**changes):
    return tw.Hello(**{"vocab_size": V, "tokenizer": bytes(32), "entropy": ("range",), **changes})


def welcome(**changes):
    given = {"vocab_size": V, "entropy": "range", "prior": "density", **changes}
    return tw.Welcome(version=1, tokenizer=bytes(32), transcript=bytes(16), **given)


def draft(profile, round_=0, parents=(-1, -1, 0), size=3):
    rng = np.random.default_rng(round_)
    lists = {
        parent: tw.sparsify(rng.normal(size=V), precision="log2/1", truncation=tw.TopK(size), prior=profile.prior)
        for parent in sorted(set(parents))
    }
    tree = tw.TokenTree([int(lists[parent].ids[0]) for parent in parents], parents)
    return tw.Draft(round=round_, prefix_length=3, prefix_hash=9, tree=tree, evidence=tw.ListEvidence(lists, True))


RANGED = tw.Profile(vocab_size=V, entropy="range", prior=TABLE)


def session(link, profile=RANGED, **changes):
    """Records of a small session: two rounds of three and of one token."""
    said = [
        (Role.DEVICE, hello(**changes)),
        (Role.EDGE, welcome(prior=profile.prior.name if profile.prior else "none", entropy=profile.entropy)),
        (Role.DEVICE, tw.Prompt(tokens=(1, 2, 3))),
        (Role.DEVICE, draft(profile)),
        (Role.EDGE, tw.Verdict(round=0, node=2, token=5)),
        (Role.DEVICE, draft(profile, 1)),
        (Role.EDGE, tw.Verdict(round=1, node=-1, token=5)),
        (Role.EDGE, tw.Verdict(round=1, node=-1, token=5)),
        (Role.DEVICE, tw.Bye()),
    ]
    return [(link, sender, tw.encode(message, profile)) for sender, message in said]


@pytest.fixture
def capture(tmp_path):
    """Write frames to a capture; returns its path."""

    def write(frames, name="x.tslt"):
        with Capture(tmp_path / name) as file:
            for link, sender, frame in frames:
                file.record(link, sender, frame)
        return tmp_path / name

    return write


def table_file(tmp_path):
    (tmp_path / "prior.table").write_bytes(TABLE.to_bytes())
    return tmp_path / "prior.table"


# ----------------------------------------------------------------------------------------------------------- one frame


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_as_digits_as_a_file_and_from_stdin(name, tmp_path):
    frame, message = FRAMES[name], SAMPLES[name]
    (tmp_path / "frame").write_bytes(frame)
    spaced = ":".join(f"{byte:02X}" for byte in frame)
    found = run(frame.hex(), *PLAIN)
    assert found == run(tmp_path / "frame", *PLAIN) == run("-", *PLAIN, stdin=frame) == run(f"0x{spaced}", *PLAIN)
    status, text, err = found
    assert (status, err) == (0, "")
    assert text.splitlines()[0].endswith(f"  {len(frame)} bytes")
    assert text.splitlines()[-1].endswith(f"checksum 32 = {8 * len(frame)} bits")
    status, text, _ = run(frame.hex(), *PLAIN, "--json")
    shown = json.loads(text)
    assert status == 0
    assert sum(part["bits"] for part in shown["parts"]) == 8 * len(frame)
    assert shown["fields"] == json.loads(json.dumps(fields_of(message)))
    wanted = {field for field in message.__dataclass_fields__ if field not in ("tree", "evidence", "q", "extensions")}
    assert wanted <= set(shown["fields"])


def test_the_text_of_a_draft():
    q = tw.SparseDistribution(8, tw.Precision.LOG2_0, np.array([1, 3, 6], np.int32), np.array([1, 0, 1], np.uint32))
    evidence = tw.ListEvidence({-1: q, 0: q}, True)
    message = tw.Draft(round=3, prefix_length=9, prefix_hash=7, tree=tw.TokenTree.chain([3, 1]), evidence=evidence)
    frame = tw.encode(message, tw.Profile(vocab_size=8))
    status, text, _ = run(frame.hex(), "--vocab-size", 8, "--entropy", "none", "--prior", "none")
    assert status == 0
    assert text.splitlines() == [
        "DRAFT_LIST  18 bytes",
        "    round 3, prefix_length 9, prefix_hash 7, evidence list, parents -1 0, tokens 3 1, precision log2/0, "
        "with_replacement yes",
        "    list after the prefix: 3 listed, tail 0/32",
        "        id      1      3      6",
        "      code      1      0      1",
        "         p  0.250  0.500  0.250",
        "    list after node 0: 3 listed, tail 0/32",
        "        id      1      3      6",
        "      code      1      0      1",
        "         p  0.250  0.500  0.250",
        "    bits: kind 8, round 8, prefix_length 8, prefix_hash 16, format 8, tree 8",
        "    bits: list after the prefix: size 8, ids 9, codes 7",
        "    bits: list after node 0: size 8, ids 9, codes 7",
        "    bits: tokens 4, padding 4, checksum 32 = 144 bits",
    ]


def test_shown_bits_have_the_sum_that_is_shown():
    for round_ in range(20):
        found = inspect_frame(tw.encode(draft(RANGED, round_), RANGED), RANGED)
        bits = frame_text(found).partition("bits: ")[2]
        numbers = [float(number) for number in re.findall(r"\w (-?[\d.]+)(?=[,\n]| =)", bits)]
        assert sum(numbers) == pytest.approx(8 * found.size)


def test_the_example_of_the_page_is_what_it_prints():
    page = (ROOT / "docs" / "inspecting.md").read_text(encoding="utf-8")
    (command, shown), *others = re.findall(r"^\$ tslt inspect (.*)\n((?:.*\n)*?)```$", page, re.MULTILINE)
    assert not others
    assert run(*command.split()) == (0, shown, "")
    (command,) = re.findall(r"^tslt inspect (--vocab-size .*)$", inspect.__doc__, re.MULTILINE)
    assert run(*command.split())[1].startswith("VERDICT  14 bytes\n    round 0, node 2, token 15, end no")


def test_a_compressed_frame_says_what_is_in_it():
    pytest.importorskip("zstandard")
    profile = tw.Profile(vocab_size=V, entropy="zstd")
    frame = tw.encode(tw.Prompt(tokens=(7,) * 500), profile)
    assert len(frame) < 100
    status, text, _ = run(frame.hex(), "--vocab-size", V, "--entropy", "zstd", "--prior", "none")
    assert status == 0
    assert f"bits: kind 8, compressed {8 * len(frame) - 40}, checksum 32 = {8 * len(frame)} bits" in text
    assert "uncompressed: transcript 64, epoch 8, keep 8, count 16, tokens 4000 = 512 bytes" in text


def test_the_lists_of_parts():
    found = inspect_frame(tw.encode(draft(RANGED), RANGED), RANGED)
    assert {number for number in lists_of(found.parts)} == {None, 0, 1}
    assert [part.name for part, number in zip(found.parts, lists_of(found.parts), strict=True) if number == 1] == [
        "size",
        "ids",
        "codes",
        "tail",
    ]


def test_what_does_not_decode_says_why_and_where():
    good = tw.encode(tw.Verdict(round=300, node=0, token=5), PROFILE)
    status, text, err = run(sealed(good[:3]).hex(), *PLAIN)
    assert (status, err) == (1, "")
    assert "not decoded: truncated in node, which begins at bit 24: 8 bits are needed and 0 are left" in text
    assert "bits: kind 8, round 16" in text
    shown = json.loads(run(sealed(good[:3]).hex(), *PLAIN, "--json")[1])
    assert shown["error"] == {
        "message": "8 bits are needed and 0 are left",
        "code": "truncated",
        "part": "node",
        "bit": 24,
    }
    assert "fields" not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((FRAMES["verdict"].hex(),), "a frame of kind VERDICT; reading it needs the session's profile: --vocab-size"),
        ((ROOT / "README.md",), "is no capture (one starts with TSLTcap) and no frame: the frame was damaged"),
        ((b"Hello".hex(),), "no capture (one starts with TSLTcap) and no frame"),
        ((ROOT,), "Is a directory"),
        (("no/such/file",), "'no/such/file' is neither a file that is there nor the hexadecimal digits of a frame"),
        (("abc",), "neither a file"),
        (("",), "neither a file"),
        (("zz" * 3000,), "zzz...' is neither a file"),
        (("-",), "standard input is empty"),
        (("00",), "no frame: a frame has at least 5 bytes, got 1"),
        ((FRAMES["bye"].hex(), "--table", ROOT / "README.md"), "README.md is no table"),
        ((FRAMES["bye"].hex(), "--vocab-size", str(1 << 21)), "vocab_size"),
    ],
)
def test_what_cannot_be_read_is_one_line(arguments, said):
    status, out, err = run(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith("inspect: ")
    assert err.count("\n") == 1
    assert said in err


def test_a_very_long_file_is_not_read_to_its_end(tmp_path):
    with (tmp_path / "long").open("wb") as file:
        file.truncate(1 << 40)
    status, _, err = run(tmp_path / "long")
    assert status == 1
    assert f"a frame of {LIMITS.max_frame_bytes + 1} bytes" in err


# ------------------------------------------------------------------------------------------------------------ captures


def test_a_capture_is_read_with_what_each_link_agreed_on(capture, tmp_path):
    plain = tw.Profile(vocab_size=V, entropy="none")
    mixed = [frame for both in zip(session(0), session(5, plain), strict=True) for frame in both]
    path, table = capture(mixed), table_file(tmp_path)
    status, text, err = run(path, "--table", table)
    assert (status, err) == (0, "")
    assert "link 5  edge -> device  WELCOME" in text
    assert f"\n{len(mixed)} frames of 2 links in " in text
    assert "tokens: 8;" in text
    status, lines, _ = run(path, "--json", "--table", table)
    *frames, last = map(json.loads, lines.splitlines())
    assert status == 0
    for number, (shown, (link, sender, frame)) in enumerate(zip(frames, mixed, strict=True)):
        assert (shown["number"], shown["link"], shown["sender"]) == (number, link, sender)
        assert sum(part["bits"] for part in shown["parts"]) == 8 * shown["bytes"] == 8 * len(frame)
    sums = last["summary"]
    total = sum(len(frame) for *_, frame in mixed)
    assert sum(sums["bytes_by_kind"].values()) == sum(sums["bytes_by_sender"].values()) == total
    assert sum(sums["bits_by_part"].values()) == 8 * total
    assert sums["tokens"] == 8
    drafts = sum(len(frame) for *_, frame in mixed if frame[0] == 0x10)
    assert sums["bytes_per_token"]["device"] == drafts / 8


def test_without_its_table_only_lists_are_not_read(capture):
    status, text, _ = run(capture(session(0)))
    assert status == 1
    assert text.count(f"not decoded: reading it needs the prior {TABLE.name} that WELCOME names: --table FILE") == 2
    assert "VERDICT" in text
    assert "9 frames of 1 link" in text
    assert ", 2 not decoded" in text


def test_a_new_handshake_on_a_link_counts(capture, tmp_path):
    again = session(0) + session(0, tw.Profile(vocab_size=V, entropy="none"))
    status, text, _ = run(capture(again), "--table", table_file(tmp_path))
    assert status == 0
    assert "tokens: 8;" in text


def test_a_capture_that_began_later_is_read_with_the_options(capture, tmp_path):
    path = capture(session(0)[3:])
    status, text, _ = run(path)
    assert status == 1
    assert "needs the WELCOME of its link, which is not in the capture, or the profile (--vocab-size)" in text
    status, text, _ = run(path, "--vocab-size", V, "--table", table_file(tmp_path))
    assert status == 0
    assert "tokens: 4;" in text


def test_a_capture_that_ends_within_a_record(capture, tmp_path):
    data = capture(session(0)).read_bytes()
    for cut in (len(data) - 1, len(data) - 15):
        (tmp_path / "cut").write_bytes(data[:cut])
        status, text, err = run(tmp_path / "cut", "--table", table_file(tmp_path))
        assert status == 1
        assert "\n8 frames of 1 link" in text
        assert err.count("\n") == 1
        assert "cut: the capture ends within the record at byte" in err
    assert run("-", "--table", table_file(tmp_path), stdin=data)[0] == 0
    status, text, err = run("-", stdin=data[:8])
    assert (status, err) == (0, "")
    assert text.startswith("0 frames")


def test_what_a_peer_says_is_made_printable(capture):
    nasty = "\x1b[31mred\x1b[0m\nforged \u202e\r"
    frames = [
        (0, Role.DEVICE, tw.encode(hello(model=nasty, extra={nasty: [nasty, {"x": nasty}]}), PROFILE)),
        (0, Role.EDGE, tw.encode(welcome(prior=nasty), PROFILE)),
        (0, Role.DEVICE, FRAMES["draft-chain"]),
        (0, Role.EDGE, tw.encode(welcome(entropy=nasty, prior="none"), PROFILE)),
        (0, Role.DEVICE, FRAMES["verdict"]),
        (0, Role.EDGE, tw.encode(tw.ErrorMessage(code=8, message=nasty), PROFILE)),
    ]
    path = capture(frames)
    text = run(path)[1]
    assert all(line.isprintable() for line in text.splitlines())
    assert text.count("?[31mred?[0m?forged ??") == 9
    assert "code 8, name out_of_range" in text
    found = [json.loads(line) for line in run(path, "--json")[1].splitlines()]
    assert found[0]["fields"]["model"] == nasty
    assert "\x1b" not in run(path, "--json")[1]


def test_hostile_bytes_give_lines_and_never_a_traceback(capture, tmp_path):
    frames = [*session(0), *((1, Role.DEVICE, frame) for frame in FRAMES.values())]
    data = bytearray(capture(frames).read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(30):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 4):
            broken[at] ^= 1 << int(rng.integers(8))
        status, _, err = run("-", stdin=bytes(broken))
        assert status == 1
        assert err.count("\n") <= 1
    # Frames whose checksums are right, whatever is in them.
    kinds = [0x01, 0x02, 0x03, 0x04, 0x08, 0x09, 0x10, 0x13, 0x16, 0x3F, 0x50, 0x90]
    made = [sealed(bytes([kinds[i % 12]]) + rng.bytes(int(rng.integers(0, 60)))) for i in range(240)]
    path = capture([*session(0)[:2], *((0, Role.EDGE, frame) for frame in made)], "made")
    status, text, err = run(path, "--table", table_file(tmp_path))
    assert (status, err) == (1, "")
    assert "242 frames of 1 link" in text


def test_a_small_frame_that_stands_for_much_is_read_or_refused():
    profile = tw.Profile(vocab_size=1 << 20, entropy="none")
    q = tw.SparseDistribution(
        1 << 20, tw.Precision.LOG2_0, np.arange(1 << 20, dtype=np.int32), np.zeros(1 << 20, np.uint32)
    )
    evidence = tw.ListEvidence({-1: q}, True)
    message = tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=tw.TokenTree.chain([4]), evidence=evidence)
    frame = tw.encode(message, profile)
    assert len(frame) < 30
    status, text, _ = run(frame.hex(), "--vocab-size", 1 << 20, "--entropy", "none", "--prior", "none")
    assert status == 0
    assert "1048576 listed" in text
    assert len(text) < 1000


def test_only_so_many_links_are_remembered():
    inspector = Inspector()
    for link in range(MOST_LINKS + 10):
        inspector.look(Record(0.0, link, Role.EDGE, tw.encode(welcome(prior="none"), PROFILE)))
    frame = tw.encode(tw.Verdict(round=0, node=-1, token=1), PROFILE)
    assert inspector.look(Record(1.0, MOST_LINKS + 9, Role.EDGE, frame)).fault is None
    assert inspector.look(Record(1.0, 3, Role.EDGE, frame)).fault is not None
    assert inspector.look(Record(1.0, 0, Role.EDGE, b"")).fault.code == "truncated"


# --------------------------------------------------------------------------------------------------------- the process


def test_it_is_a_module_that_needs_no_torch_and_head_may_leave(capture, tmp_path):
    path = capture([frame for link in range(300) for frame in session(link, tw.Profile(vocab_size=V, entropy="none"))])
    code = (
        "import sys; from tslt_runtime.commands.inspect import main\n"
        "status = main(sys.argv[1:])\n"
        "assert not {'torch', 'transformers', 'zmq', 'tslt_benchmarks'} & set(sys.modules)\n"
        "sys.exit(status)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "transports")])}
    done = subprocess.run(
        [sys.executable, "-c", code, FRAMES["bye"].hex()], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "BYE  5 bytes\n    bits: kind 8, checksum 32 = 40 bits\n"
    command = [sys.executable, "-m", "tslt_runtime.commands.inspect", str(path)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("#0  0.000000 s  link 0  device -> edge  HELLO")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 1


def test_sampling_settings_are_shown_as_they_are_on_the_wire():
    asked = tw.SamplingRequest(temperature=0.5, logit_bias={3: -1}, extra={"x-mine": b"\1"})
    hello = tw.Hello(vocab_size=8, tokenizer=bytes(32), sampling=asked)
    assert fields_of(hello)["sampling"] == {"temperature": 0.5, "logit_bias": [[3, -1.0]], "x-mine": "01"}
    force = tw.Sampling(top_k=3)
    welcome = tw.Welcome(version=1, vocab_size=8, tokenizer=bytes(32), transcript=bytes(16), sampling=force)
    assert fields_of(welcome)["sampling"] == {"top_k": 3}
