"""Arguments are checked where they are given: the same exception and the same words from both backends.

In the reference's run the public functions are the references; in the kernel's run they are compared with these.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import tslt_wire as tw
from tslt_wire.coding import philox
from tslt_wire.frames.codec import decode_reference, encode_reference
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.list_codec import decode_list_reference, encode_list_reference
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.sibling_sampling import Siblings, sample_children
from tslt_wire.lists.sparsify import sparsify_batch_reference, sparsify_reference

BOTH = [(tw.sparsify, sparsify_reference), (tw.sparsify_batch, sparsify_batch_reference)]
ROW = np.array([0.0, 1.0, -2.0, 3.0, 0.5], np.float32)


def refusal(function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[type, str]:
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*arguments, **named)
    assert not isinstance(caught.value, tw.DecodeError)
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("named", "kind", "words"),
    [
        ({"temperature": "1"}, TypeError, "temperature must be a real number, got '1'"),
        ({"temperature": True}, TypeError, "temperature must be a real number, got True"),
        ({"temperature": None}, TypeError, "temperature must be a real number"),
        ({"temperature": math.nan}, ValueError, "temperature must be at least 0 and finite, got nan"),
        ({"temperature": math.inf}, ValueError, "temperature must be at least 0 and finite, got inf"),
        ({"temperature": -0.5}, ValueError, "temperature must be at least 0 and finite, got -0.5"),
        ({"tail_scale": "0.5"}, TypeError, "tail_scale must be a real number"),
        ({"tail_scale": math.nan}, ValueError, "tail_scale must be in 0..1"),
        ({"tail_scale": 1.01}, ValueError, "tail_scale must be in 0..1"),
        ({"truncation": 5}, TypeError, "a truncation is a TopK, a TopP, a MinProb or one & another, or None, got 5"),
        ({"truncation": "topk"}, TypeError, "a truncation is a TopK"),
        ({"truncation": tw.TopK}, TypeError, "a truncation is a TopK"),
        ({"precision": 5}, TypeError, "precision must be one of f32, f16"),
        ({"precision": None}, TypeError, "precision must be one of f32, f16"),
        ({"precision": "log2/9"}, ValueError, "precision must be one of f32, f16"),
        ({"prior": "density"}, TypeError, "a prior is a Prior"),
        ({"prior": plain_prior("density", 6)}, ValueError, "the prior is for V = 6, the logits for V = 5"),
        ({"prior": plain_prior("uniform", 4), "truncation": tw.TopK(1)}, ValueError, "the prior is for V = 4"),
    ],
)
@pytest.mark.parametrize(("public", "reference"), BOTH)
def test_settings_of_sparsify(public, reference, named, kind, words):
    logits = ROW if public is tw.sparsify else np.stack([ROW, ROW])
    found = refusal(public, logits, **named)
    assert found == refusal(reference, logits, **named)
    assert found[0] is kind
    assert words in found[1]


@pytest.mark.parametrize(
    ("logits", "kind", "words"),
    [
        (None, TypeError, "logits must be real numbers, got dtype object"),
        ("abc", TypeError, "logits must be real numbers, got dtype"),
        (["1", "2"], TypeError, "logits must be real numbers, got dtype"),
        ([True, False], TypeError, "logits must be real numbers, got dtype bool"),
        (np.zeros(3, complex), TypeError, "logits must be real numbers, got dtype complex128"),
        (5.0, ValueError, "logits must have shape"),
        (np.zeros((2, 3, 4)), ValueError, "logits must have shape"),
        (np.zeros((2, 0)), ValueError, "logits must have shape"),
        ([[1.0, 2.0], [3.0]], ValueError, "inhomogeneous"),
    ],
)
@pytest.mark.parametrize(("public", "reference"), BOTH)
def test_what_is_no_logits(public, reference, logits, kind, words):
    found = refusal(public, logits)
    assert found == refusal(reference, logits)
    assert found[0] is kind
    assert words in found[1]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("public", "reference"), BOTH)
def test_logits_that_are_not_finite(public, reference, value):
    logits = np.array([[0.0, value]] * 2)
    logits = logits[0] if public is tw.sparsify else logits
    assert refusal(public, logits) == refusal(reference, logits)
    assert "at least one finite and none NaN" in refusal(public, logits)[1]
    # The vocabulary comes first, as it is known first.
    assert "prior" in refusal(public, logits, prior=plain_prior("uniform", 3))[1]
    assert refusal(public, logits, prior=plain_prior("uniform", 3)) == refusal(
        reference, logits, prior=plain_prior("uniform", 3)
    )


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", ">f4", "i1", "i8", "u2"])
def test_logits_of_any_real_dtype_order_and_strides(dtype):
    wide = np.arange(24).reshape(4, 6).astype(dtype)
    for logits in (wide, wide[:, ::2], wide.T, np.asfortranarray(wide), wide[::-1, ::-1]):
        expected = sparsify_batch_reference([[float(x) for x in row] for row in logits])
        assert tw.sparsify_batch(logits) == sparsify_batch_reference(logits) == expected
        assert [tw.sparsify(row) for row in logits] == [sparsify_reference(row) for row in logits] == expected
    assert tw.sparsify_batch(list(wide)) == tw.sparsify_batch(wide) == sparsify_batch_reference(tuple(wide))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "uint8"])
def test_tensors_of_any_real_dtype(dtype):
    torch = pytest.importorskip("torch")
    rows = (torch.arange(24).reshape(4, 6) * 0.37).to(getattr(torch, dtype))
    expected = sparsify_batch_reference(rows.double().numpy())
    for logits in (rows, rows.T.contiguous().T, list(rows)):
        assert tw.sparsify_batch(logits) == sparsify_batch_reference(logits) == expected
    assert tw.sparsify(rows[1, ::2]) == sparsify_reference(rows[1, ::2]) == sparsify_reference(rows[1, ::2].double())
    if rows.is_floating_point():
        learning = rows.clone().requires_grad_()
        assert tw.sparsify_batch(learning) == sparsify_batch_reference(learning) == expected


class Exporter:
    """An array that is known by DLPack alone."""

    def __init__(self, array, device=(1, 0)):
        self.array, self.device = array, device

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


def test_arrays_by_dlpack_alone():
    assert tw.sparsify(Exporter(ROW)) == sparsify_reference(Exporter(ROW)) == sparsify_reference(ROW)
    exporter = Exporter(np.arange(6.0)[::2])
    assert tw.sparsify(exporter) == sparsify_reference(exporter) == sparsify_reference([0.0, 2.0, 4.0])


def test_memory_of_another_device_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="in the memory of the CPU"):
        sparsify_reference(Exporter(ROW, (2, 0)))
    for function in (tw.sparsify, sparsify_reference):
        with pytest.raises(TypeError, match="in the memory of the CPU"):
            function(torch.zeros(5, device="meta"))


def test_numbers_of_numpy_are_numbers():
    expected = tw.sparsify(ROW, temperature=0.5, truncation=tw.TopK(3) & tw.MinProb(0.25))
    rule = tw.TopK(np.int64(3)) & tw.MinProb(np.float32(0.25))
    assert type(rule.first.k) is int
    assert type(rule.second.tau) is float
    for function in (tw.sparsify, sparsify_reference):
        for temperature in (np.float32(0.5), np.float64(0.5), Fraction(1, 2)):
            assert function(ROW, temperature=temperature, truncation=rule) == expected
    assert tw.Profile(vocab_size=np.int32(5)) == tw.Profile(vocab_size=5)
    assert tw.TopP(1) == tw.TopP(np.int8(1)) == tw.TopP(1.0)
    assert plain_prior("density", np.int64(5)) is plain_prior("density", 5)


@pytest.mark.parametrize("rule", [tw.TopK, tw.TopP, tw.MinProb])
@pytest.mark.parametrize("value", ["1", True, None, [1], 1j])
def test_rules_take_numbers_alone(rule, value):
    with pytest.raises(TypeError, match=rf"^\w+ of {rule.__name__} must be (a real number|an integer), got "):
        rule(value)


def test_a_count_is_whole():
    with pytest.raises(TypeError, match=r"k of TopK must be an integer, got 2\.0"):
        tw.TopK(2.0)


def test_rules_are_combined_with_rules_alone():
    for other in (5, None, "x", object()):
        with pytest.raises(TypeError, match="a truncation is a TopK"):
            tw.TopK(1) & other


@pytest.mark.parametrize(
    ("named", "kind", "words"),
    [
        ({"vocab_size": "5"}, TypeError, "vocab_size must be an integer"),
        ({"vocab_size": True}, TypeError, "vocab_size must be an integer"),
        ({"vocab_size": 5.0}, TypeError, "vocab_size must be an integer"),
        ({"vocab_size": (1 << 20) + 1}, ValueError, r"vocab_size must be in 1\.\.1048576"),
        ({"precision": 7}, TypeError, "precision must be one of"),
        ({"precision": "f64"}, ValueError, "precision must be one of"),
        ({"entropy": 5}, TypeError, "entropy must be one of none, range, zstd"),
        ({"entropy": "gzip"}, ValueError, "entropy must be one of none, range, zstd"),
        ({"prior": "density"}, TypeError, "a prior is a Prior"),
        ({"prior": plain_prior("density", 6)}, ValueError, "the prior is for V = 6, the profile for V = 5"),
    ],
)
def test_fields_of_profiles(named, kind, words):
    with pytest.raises(kind, match=words):
        tw.Profile(**{"vocab_size": 5, **named})


@pytest.mark.parametrize(
    ("named", "kind", "words"),
    [
        ({"vocab_size": 5.0}, TypeError, "vocab_size must be an integer"),
        ({"precision": 1}, TypeError, "precision must be one of"),
        ({"tail": "1"}, TypeError, "tail must be an integer"),
        ({"tail": 32}, ValueError, r"tail must be in 0\.\.31"),
        ({"prior": "uniform"}, TypeError, "a prior is a Prior"),
        ({"ids": [1.0, 2.0]}, TypeError, "ids must be integers, got dtype float64"),
        ({"ids": [True, False]}, TypeError, "ids must be integers, got dtype bool"),
        ({"codes": ["0", "1"]}, TypeError, "codes must be integers, got dtype"),
    ],
)
def test_fields_of_lists(named, kind, words):
    fields = {"vocab_size": 5, "precision": "log2/0", "ids": [1, 2], "codes": [0, 1], **named}
    with pytest.raises(kind, match=words):
        SparseDistribution(**fields)


def test_a_list_takes_the_name_of_a_precision():
    assert SparseDistribution(5, "log2/0", [1, 2], [0, 1]).precision is tw.Precision.LOG2_0


def test_questions_to_a_list():
    q, rng = tw.sparsify(ROW), np.random.default_rng(0)
    assert q.prob_of(np.int64(3)) == q.prob_of(3)
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError, match="integer"):
            q.prob_of(wrong)
    with pytest.raises(ValueError, match="count must be at least 0, got -1"):
        q.likeliest(-1)
    with pytest.raises(TypeError, match="size must be an integer"):
        q.sample(rng, 1.0)
    with pytest.raises(ValueError, match="size must be at least 0"):
        q.sample(rng, -1)
    with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator"):
        q.sample(np.random.RandomState(0))


def test_children():
    q, rng = tw.sparsify(ROW), np.random.default_rng(0)
    assert sample_children(q, 0, rng, replacement=True) == []
    assert len(sample_children(q, np.int64(2), rng, replacement=np.bool_(False))) == 2
    for count, kind in ((-1, ValueError), (1.0, TypeError), (True, TypeError), ("1", TypeError)):
        with pytest.raises(kind, match="count must be"):
            sample_children(q, count, rng, replacement=True)
    for flag in ("no", 0, None):
        with pytest.raises(TypeError, match="replacement must be True or False"):
            sample_children(q, 1, rng, replacement=flag)
        with pytest.raises(TypeError, match="replacement must be True or False"):
            Siblings(q, replacement=flag)
    with pytest.raises(TypeError, match="replacement"):
        sample_children(q, 1, rng)
    with pytest.raises(TypeError, match="children are drawn from a SparseDistribution"):
        sample_children(q.dense(), 1, rng, replacement=True)
    with pytest.raises(TypeError, match="rng must be"):
        sample_children(q, 1, 7, replacement=True)
    with pytest.raises(ValueError, match="no tail"):
        _ = Siblings(q, replacement=True).outside


LIST, PROFILE = tw.sparsify(ROW), tw.Profile(vocab_size=5)


@pytest.mark.parametrize(("public", "reference"), [(tw.encode_list, encode_list_reference)])
@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ((ROW, PROFILE), TypeError, "a list is a SparseDistribution"),
        ((LIST, 5), TypeError, "a profile is a Profile"),
        ((LIST, tw.Profile(vocab_size=6)), ValueError, "the profile is for V = 6"),
        ((LIST, tw.Profile(vocab_size=5, precision="f16")), ValueError, "the profile's precision is f16"),
    ],
)
def test_lists_to_write(public, reference, arguments, kind, words):
    found = refusal(public, *arguments)
    assert found == refusal(reference, *arguments)
    assert found[0] is kind
    assert words in found[1]


@pytest.mark.parametrize(
    ("public", "reference"), [(tw.decode_list, decode_list_reference), (tw.decode, decode_reference)]
)
def test_bytes_to_read(public, reference):
    for arguments, named, words in (
        (("abc", PROFILE), {}, "must be bytes, a bytearray or a memoryview, got str"),
        ((5, PROFILE), {}, "must be bytes, a bytearray or a memoryview, got int"),
        ((b"abc", None), {}, "a profile is a Profile"),
        ((b"abc", PROFILE), {"limits": 5}, "limits must be DecodeLimits or None"),
    ):
        found = refusal(public, *arguments, **named)
        assert found == refusal(reference, *arguments, **named)
        assert found[0] is TypeError
        assert words in found[1]


def test_bytes_of_any_buffer():
    draft = tw.Draft(
        round=0,
        prefix_length=0,
        prefix_hash=0,
        tree=tw.TokenTree.chain([3]),
        evidence=tw.ListEvidence({-1: LIST}, replacement=True),
    )
    for data, read, both in (
        (tw.encode_list(LIST, PROFILE), LIST, (tw.decode_list, decode_list_reference)),
        (tw.encode(draft, PROFILE), draft, (tw.decode, decode_reference)),
    ):
        every_second = memoryview(bytes(byte for pair in zip(data, data, strict=True) for byte in pair))[::2]
        for buffer in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8), every_second):
            assert both[0](buffer, PROFILE) == both[1](buffer, PROFILE) == read


@pytest.mark.parametrize("function", [tw.encode, encode_reference])
def test_messages_to_write(function):
    bye = tw.Bye()
    with pytest.raises(TypeError, match="expected a message, got str"):
        function("bye", PROFILE)
    with pytest.raises(TypeError, match="a profile is a Profile"):
        function(bye, "profile")
    with pytest.raises(TypeError, match="max_frame_bytes must be an integer"):
        function(bye, PROFILE, max_frame_bytes="1")


@pytest.mark.parametrize("function", [philox.uniforms, philox.uniforms_reference])
def test_arguments_of_shared_numbers(function):
    ids = np.arange(3)
    expected = philox.uniforms_reference(bytes(8), 1, 2, ids)
    assert np.array_equal(function(bytes(8), np.int64(1), 2, [0, 1, 2]), expected)
    assert np.array_equal(function(bytes(8), 1, 2, np.arange(6)[::2] // 2), expected)
    for arguments, kind, words in (
        (("12345678", 1, 2, ids), TypeError, "a coupling key is bytes"),
        ((bytes(7), 1, 2, ids), ValueError, "a coupling key has 8 bytes, got 7"),
        ((bytes(8), -1, 2, ids), ValueError, "epoch must be in"),
        ((bytes(8), 1, 1 << 32, ids), ValueError, "position must be in"),
        ((bytes(8), 1, 2.0, ids), TypeError, "position must be an integer"),
        ((bytes(8), 1, 2, [0.5]), TypeError, "ids must be integers, got dtype float64"),
        ((bytes(8), 1, 2, [-1]), ValueError, r"ids must be \(N,\) and in 0..1048575"),
        ((bytes(8), 1, 2, [1 << 20]), ValueError, "ids must be"),
        ((bytes(8), 1, 2, [1 << 32]), ValueError, "ids must be"),
        ((bytes(8), 1, 2, [[1]]), ValueError, "ids must be"),
    ):
        with pytest.raises(kind, match=words):
            function(*arguments)


def test_priors():
    for name, kind in ((5, TypeError), (None, TypeError), ("table", ValueError)):
        with pytest.raises(kind, match="must be one of none, density, uniform"):
            plain_prior(name, 5)
    plain_prior("uniform", 1)
    for size, kind in ((True, TypeError), (1.0, TypeError), (0, ValueError)):
        with pytest.raises(kind, match="vocab_size must be"):
            plain_prior("uniform", size)
    with pytest.raises(TypeError, match="a table must be bytes"):
        tw.table_from_bytes("TSLTtab1")
    table = tw.train_table([ROW])  # fewer ids than the smallest list that is counted: the tail is the density's
    assert table.weights.tolist() == sorted(table.weights, reverse=True)
    assert table.weights[0] == 1 << 30
    data = bytearray(table.to_bytes())
    read = tw.table_from_bytes(data)
    data[:] = bytes(len(data))
    assert read.to_bytes() == table.to_bytes()  # a bytearray of the caller's is not kept


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        ([[0.0, np.nan]], ValueError, "none NaN"),
        ([[-np.inf, -np.inf]], ValueError, "at least one finite"),
        ([["a", "b"]], TypeError, "real numbers"),
        ([[[0.0]]], ValueError, "shape"),
        ([[0.0, 1.0], [0.0]], ValueError, "one V"),
    ],
)
def test_logits_of_a_table(rows, kind, words):
    with pytest.raises(kind, match=words):
        tw.train_table(rows)


def test_defaults():
    profile = tw.DEFAULTS.profile(np.int64(5))
    assert profile == tw.DEFAULTS.profile(5)
    assert tw.DEFAULTS.sparsify(ROW, profile).vocab_size == 5
    with pytest.raises(TypeError, match="a profile is a Profile"):
        tw.DEFAULTS.sparsify(ROW, 5)
    with pytest.raises(TypeError, match="temperature must be a real number"):
        tw.DEFAULTS.sparsify(ROW, profile, temperature="1")
    for other in (tw.DEFAULTS.profile(6), tw.Profile(vocab_size=6)):
        with pytest.raises(ValueError, match="V = 6"):
            tw.DEFAULTS.sparsify(ROW, other)


def test_nothing_depends_on_numpys_error_state():
    """What overflows, underflows or divides by 0 on purpose does so whatever the caller has set."""
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=300) * 400, np.r_[0.0, np.full(299, -np.inf)], np.r_[1.7e308, -1.7e308, np.zeros(298)]]
    rows += [rng.normal(size=300).astype(np.float16), (rng.normal(size=300) * 1e-30).astype(np.float32)]
    table = tw.train_table(rows[:2])
    with np.errstate(all="raise"):
        assert tw.train_table(rows[:2]) == table
        for prior in (None, plain_prior("density", 300), plain_prior("uniform", 300), table):
            for rule in (None, tw.TopK(5), tw.TopP(0.9), tw.MinProb(0.01), tw.TopK(9) & tw.TopP(0.5)):
                for precision in tw.Precision:
                    for temperature in (0, 1e-300, 1e-3, 1.0, 1e300):
                        named = {"prior": prior, "truncation": rule, "precision": precision, "temperature": temperature}
                        for row in rows:
                            q = sparsify_reference(row, **named)
                            assert tw.sparsify(row, **named) == q
                q.dense(), q.probs, q.prob_of(7), q.likeliest(3), q.sample(rng), q.sample(rng, 4)
                for replacement in (True, False):
                    siblings = Siblings(q, replacement=replacement)
                    siblings.draw(rng)
                    siblings.empty or siblings.dense(), siblings.prob_of(3)
                profile = tw.Profile(vocab_size=300, precision=precision, entropy="range", prior=prior)
                for write, read in ((tw.encode_list, tw.decode_list), (encode_list_reference, decode_list_reference)):
                    assert read(write(q, profile), profile) == q
        for function in (philox.uniforms, philox.uniforms_reference):
            assert function(bytes(range(8)), 1, 2, np.arange(300)).min() > 0
