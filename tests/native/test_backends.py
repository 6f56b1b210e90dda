"""The native backend against the reference: the same lists, the same bytes, the same error codes, for everything."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import sealed
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import drafts, lists, logits, messages, priors, temperatures, truncations

import tslt_wire as tw
from tslt_wire import _native
from tslt_wire.frames.codec import decode_reference, encode_reference
from tslt_wire.lists.list_codec import decode_list_reference, encode_list_reference
from tslt_wire.lists.sparsify import sparsify_batch_reference, sparsify_reference

pytestmark = pytest.mark.skipif(tw.backend != "native", reason="there are no two backends to compare")

PRECISIONS = st.sampled_from(list(tw.Precision))
ENTROPIES = st.sampled_from(["none", "range"])
SIZES = st.one_of(st.integers(1, 70), st.sampled_from([255, 256, 257, 300, 1000, 1025, 4096, 5000]))


def result(function: Any, *arguments: Any, **named: Any) -> Any:
    """What ``function`` returns, or the code of its error, or that it refuses its arguments."""
    try:
        return function(*arguments, **named)
    except tw.DecodeError as error:
        return error.code
    except ValueError:
        return ValueError


def same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    assert a == b
    if isinstance(a, tw.SparseDistribution):
        for name, dtype in (("ids", np.int32), ("codes", np.uint32), ("weights", np.int64)):
            ours, theirs = getattr(a, name), getattr(b, name)
            assert ours.dtype == theirs.dtype == dtype
            assert np.array_equal(ours, theirs)
            assert not ours.flags.writeable
        assert (a.tail, a.prior, a.left_out, a.precision) == (b.tail, b.prior, b.left_out, b.precision)


def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """``data``, cut, grown or with other bits."""
    out = bytearray(data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 3)) == 0 else data)
    out += draw(st.one_of(st.just(b""), st.just(b""), st.binary(max_size=6)))
    for bit in draw(st.lists(st.integers(0, max(0, 8 * len(out) - 1)), max_size=3)):
        if out:
            out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


# ------------------------------------------------------------------------------------------------------------- sparsify


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_sparsify(data):
    size = data.draw(SIZES)
    with np.errstate(over="ignore"):
        values = data.draw(logits(size)).astype(data.draw(st.sampled_from(["f8", "f4", "f2"])))
    if data.draw(st.integers(0, 9)) == 0:
        values[data.draw(st.integers(0, size - 1))] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, -0.0]))
    settings_ = {
        "temperature": data.draw(temperatures),
        "truncation": data.draw(truncations),
        "precision": data.draw(PRECISIONS),
        "prior": data.draw(priors(size)),
        "tail_scale": data.draw(st.sampled_from([0, 0.3, 0.75, 1])),
    }
    with np.errstate(all="ignore"):
        reference = result(sparsify_reference, values, **settings_)
        same(result(tw.sparsify, values, **settings_), reference)
        if isinstance(reference, tw.SparseDistribution):
            for found, row in zip(
                tw.sparsify_batch(np.stack([values, -values, values]), **settings_)
                if np.isfinite(-values).all()
                else [tw.sparsify(values, **settings_)],
                [values, -values, values],
                strict=False,
            ):
                same(found, sparsify_reference(row, **settings_))


@pytest.mark.parametrize("size", [32_000, 128_256])
@pytest.mark.parametrize("k", [1, 32, 320, 3200, 20_000])
def test_sparsify_of_large_vocabularies(size, k):
    values = np.random.default_rng(k).normal(size=size).astype(np.float32) * 3
    values[::7] = values[3]  # ties, also at the border
    for rule in (tw.TopK(k), tw.TopK(k) & tw.TopP(0.9), tw.MinProb(1e-4), tw.TopP(0.5)):
        same(tw.sparsify(values, truncation=rule), sparsify_reference(values, truncation=rule))


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"temperature": np.nan}, {"tail_scale": 2}, {"precision": "f8"}]
)
def test_arguments_that_are_refused(wrong):
    for function in (tw.sparsify, sparsify_reference):
        with pytest.raises(ValueError, match=r"."):
            function(np.zeros(5, np.float32), **wrong)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3), ((1 << 20) + 1,)])
def test_shapes_that_are_refused(shape):
    for function in (tw.sparsify, sparsify_reference):
        with pytest.raises(ValueError, match="shape"):
            function(np.zeros(shape, np.float32))


def test_other_arrays_are_taken():
    values = np.random.default_rng(1).normal(size=64).astype(np.float32)
    expected = sparsify_reference(values, truncation=tw.TopK(5))
    same(tw.sparsify(np.repeat(values, 2)[::2], truncation=tw.TopK(5)), expected)
    same(tw.sparsify(values.tolist(), truncation=tw.TopK(5)), expected)
    same(tw.sparsify(range(9)), sparsify_reference(range(9)))
    frozen = values.copy()
    frozen.flags.writeable = False
    same(tw.sparsify(frozen, truncation=tw.TopK(5)), expected)


def test_tensors_are_read_where_they_are():
    torch = pytest.importorskip("torch")
    values = torch.randn(3, 500, generator=torch.Generator().manual_seed(1))
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        tensor = values.to(dtype)
        expected = [sparsify_reference(row.double().numpy(), truncation=tw.TopK(9)) for row in tensor]
        for found, row, reference in zip(
            tw.sparsify_batch(tensor, truncation=tw.TopK(9)), tensor, expected, strict=True
        ):
            same(found, reference)
            same(tw.sparsify(row, truncation=tw.TopK(9)), reference)


def test_rows_one_by_one_and_together():
    values = np.random.default_rng(2).normal(size=(5, 300))
    for found, other in zip(tw.sparsify_batch(values), sparsify_batch_reference(values), strict=True):
        same(found, other)
    assert tw.sparsify_batch(values[:0]) == []


def test_threads_do_not_meet():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(16, 4000)).astype(np.float32)
    expected = [sparsify_reference(row, truncation=tw.TopK(40), precision="log2/1") for row in rows]
    profile = tw.Profile(vocab_size=4000, precision="log2/1", entropy="range")
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(200):
            q = tw.sparsify(rows[i], truncation=tw.TopK(40), precision="log2/1")
            if tw.decode_list(tw.encode_list(q, profile), profile) != expected[i]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---------------------------------------------------------------------------------------------------------------- lists


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_lists(data):
    size, precision = data.draw(SIZES), data.draw(PRECISIONS)
    prior = data.draw(priors(size))
    q = data.draw(lists(size, precision, prior))
    profile = tw.Profile(vocab_size=size, precision=precision, entropy=data.draw(ENTROPIES), prior=prior)
    written = encode_list_reference(q, profile)
    assert tw.encode_list(q, profile) == written
    same(tw.decode_list(written, profile), decode_list_reference(written, profile))
    limits = tw.DecodeLimits(
        max_entries=data.draw(st.sampled_from([1 << 21, 1, 30])),
        max_frame_bytes=data.draw(st.sampled_from([1 << 22, 9])),
    )
    for _ in range(5):
        other = changed(data.draw, written)
        same(
            result(tw.decode_list, other, profile, limits=limits),
            result(decode_list_reference, other, profile, limits=limits),
        )


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 3000), PRECISIONS, ENTROPIES)
def test_any_bytes_as_a_list(data, size, precision, entropy):
    profile = tw.Profile(vocab_size=size, precision=precision, entropy=entropy)
    same(result(tw.decode_list, data, profile), result(decode_list_reference, data, profile))


@pytest.mark.parametrize("entropy", ["none", "range"])
@pytest.mark.parametrize("k", [1024, 1025, 2048, 2049, 20_000])
def test_long_lists(entropy, k):
    values = np.random.default_rng(k).normal(size=50_000) * 4
    q = sparsify_reference(values, truncation=tw.TopK(k), precision="log2/4")
    profile = tw.Profile(vocab_size=50_000, precision="log2/4", entropy=entropy)
    written = encode_list_reference(q, profile)
    assert tw.encode_list(q, profile) == written
    same(tw.decode_list(written, profile), q)


@given(lists(300))
def test_lists_that_do_not_fit_are_refused(q):
    other = next(precision for precision in tw.Precision if precision is not q.precision)
    for profile in (
        tw.Profile(vocab_size=299, precision=q.precision),
        tw.Profile(vocab_size=300, precision=other),
    ):
        for function in (tw.encode_list, encode_list_reference):
            with pytest.raises(ValueError, match=r"."):
                function(q, profile)


# --------------------------------------------------------------------------------------------------------------- frames


def compare_changed(data: st.DataObject, frame: bytes, profile: tw.Profile) -> None:
    numbers = st.sampled_from([1, 2, 5, 20, 1000])
    limits = tw.DecodeLimits(
        max_nodes=data.draw(numbers),
        max_leaves=data.draw(numbers),
        max_depth=data.draw(numbers),
        max_entries=data.draw(st.sampled_from([1, 10, 10_000])),
        max_extensions=data.draw(st.integers(1, 3)),
    )
    for given_limits in (None, limits):
        other = sealed(changed(data.draw, frame[:-4]))
        same(
            result(tw.decode, other, profile, limits=given_limits),
            result(decode_reference, other, profile, limits=given_limits),
        )


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_drafts(data):
    size = data.draw(SIZES)
    prior = data.draw(priors(size))
    draft = data.draw(drafts(size, prior=prior))
    profile = tw.Profile(vocab_size=size, entropy=data.draw(ENTROPIES), prior=prior)
    frame = encode_reference(draft, profile)
    assert tw.encode(draft, profile) == frame
    same(tw.decode(frame, profile), decode_reference(frame, profile))
    compare_changed(data, frame, profile)


@settings(max_examples=100, deadline=None)
@given(messages(), ENTROPIES)
def test_all_messages(message_and_size, entropy):
    message, size = message_and_size
    profile = tw.Profile(vocab_size=size, entropy=entropy)
    frame = encode_reference(message, profile)
    assert tw.encode(message, profile) == frame
    same(tw.decode(memoryview(frame), profile), message)
    same(tw.decode(bytearray(frame), profile), message)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), ENTROPIES)
def test_any_content_of_a_draft(data, entropy):
    profile = tw.Profile(vocab_size=300, entropy=entropy)
    for frame in (data, sealed(data), sealed(b"\x10" + data), sealed(b"\x50" + data), sealed(b"\x90" + data)):
        same(result(tw.decode, frame, profile), result(decode_reference, frame, profile))


@given(drafts(40), st.integers(1, 39))
def test_drafts_of_another_vocabulary_are_refused(draft, size):
    if not len(draft.tree):
        return
    for function in (tw.encode, encode_reference):
        with pytest.raises(ValueError, match="profile"):
            function(draft, tw.Profile(vocab_size=size))


# ------------------------------------------------------------------------------------------------------------- choosing


def backend_of(
    program: str = "import sys, tslt_wire as tw; print(tw.backend, '_kernel' in str(sys.modules))", **environment: str
) -> subprocess.CompletedProcess[str]:
    """What ``program`` prints, about the backend that it uses."""
    kept = {name: value for name, value in os.environ.items() if name != _native.VARIABLE}
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**kept, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


def test_the_kernel_is_used_where_there_is_one():
    assert backend_of().stdout == "native True\n"
    assert backend_of(TSLT_WIRE_BACKEND="native").stdout == "native True\n"


def test_a_backend_can_be_forced():
    assert backend_of(TSLT_WIRE_BACKEND="reference").stdout == "reference False\n"


def test_another_backend_is_an_error():
    assert (
        "ImportError: TSLT_WIRE_BACKEND must be native or reference, got 'fast'"
        in backend_of(TSLT_WIRE_BACKEND="fast").stderr
    )


def test_a_forced_kernel_that_is_missing_is_an_error(monkeypatch):
    monkeypatch.setattr(_native.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv(_native.VARIABLE, "native")
    with pytest.raises(ImportError, match="no native kernel"):
        _native.choose()
    monkeypatch.delenv(_native.VARIABLE)
    assert _native.choose() == "reference"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="bounds the memory of a process by what Linux tells")
def test_memory_that_runs_out_is_told_as_such(tmp_path):
    """Not as bytes that are wrong, nor as a bad argument."""
    profile = tw.Profile(vocab_size=1 << 20)
    q = tw.sparsify(np.random.default_rng(0).normal(size=profile.vocab_size).astype(np.float32))
    (tmp_path / "list").write_bytes(tw.encode_list(q, profile))
    program = f"""
import resource
from pathlib import Path
import tslt_wire as tw

data = Path({str(tmp_path / "list")!r}).read_bytes()
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (int(status["VmSize"].split()[0]) * 1024 + (1 << 20), before[1]))
try:
    tw.decode_list(data, tw.Profile(vocab_size={profile.vocab_size}))
except MemoryError:
    resource.setrlimit(resource.RLIMIT_AS, before)
    print(tw.backend, "MemoryError")
"""
    found = backend_of(program, TSLT_WIRE_BACKEND="native", MALLOC_ARENA_MAX="1")
    assert found.stdout == "native MemoryError\n", found.stderr
