"""The bound that sizes an encoder's buffer holds for the most expensive lists and drafts there are."""

import numpy as np
import pytest

import tslt_wire as tw
from tslt_wire._native import kernel
from tslt_wire.lists.prior import TABLE_MAGIC

pytestmark = pytest.mark.skipif(tw.backend != "native", reason="the bound is the kernel's")
PRECISIONS = ["f32", "bf16", "log2/0", "log2/4"]


def unlikely_table(vocab_size: int) -> tw.Prior:
    """A table by which every second id is as unlikely as can be."""
    codes = np.tile(np.where(np.arange(vocab_size) % 2, 240, 0).astype(np.uint8), (5, 1))
    return tw.table_from_bytes(TABLE_MAGIC + vocab_size.to_bytes(4, "little") + codes.tobytes())


def worst_ids(vocab_size: int, count: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    if kind == "odd":
        ids = np.arange(1, vocab_size, 2)[-count:]
    elif kind == "end":
        ids = np.arange(vocab_size - count, vocab_size)
    else:
        ids = np.sort(rng.choice(vocab_size, count, replace=False))
    return ids.astype(np.int32)


def worst_list(
    ids: np.ndarray, vocab_size: int, precision: str, rng: np.random.Generator, **tail
) -> tw.SparseDistribution:
    """Codes as even as can be over all that there are, in an order that nothing says."""
    p = tw.Precision(precision)
    if p.is_log:
        codes = np.arange(len(ids)) % (p.max_code + 1)
    else:
        low, high = {"f32": (0x80000001, 0xC1400000), "bf16": (0x8001, 0xC140)}[precision]
        codes = rng.integers(low, high, len(ids))
    codes[0] = 0
    return tw.SparseDistribution(vocab_size, p, ids, rng.permutation(codes).astype(np.uint32), **tail)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("entropy", ["none", "range"])
@pytest.mark.parametrize("kind", ["odd", "end", "any"])
@pytest.mark.parametrize("vocab_size", [2, 300, 4096, 1 << 17])
def test_lists(vocab_size, kind, entropy, precision):
    rng = np.random.default_rng(vocab_size)
    used = []
    for prior in (None, unlikely_table(vocab_size)):
        profile = tw.Profile(vocab_size=vocab_size, precision=precision, entropy=entropy, prior=prior)
        for count in (1, 2, 33, 128, 129, 512, 5000, vocab_size // 2, vocab_size):
            ids = worst_ids(vocab_size, count, kind, rng) if 1 <= count <= vocab_size else ()
            if len(ids):
                tail = {"tail": 31, "prior": prior} if prior is not None and len(ids) < vocab_size else {}
                q = worst_list(ids, vocab_size, precision, rng, **tail)
                size = len(tw.encode_list(q, profile))
                # What the coder writes ahead has to fit, too.
                assert size + 8 <= kernel.encode_bound(vocab_size, len(ids), 1, 0)
                used.append(size / (12 * len(ids)))
    assert max(used) > 0.1  # these are no easy lists


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("entropy", ["none", "range"])
@pytest.mark.parametrize("size", [1, 40, 512, 600])
def test_drafts(size, entropy, precision):
    """Lists that share nothing, and tokens that are the least likely of theirs or of the tail."""
    vocab_size, nodes = 1 << 14, 12
    rng, prior = np.random.default_rng(size), unlikely_table(1 << 14)
    profile = tw.Profile(vocab_size=vocab_size, entropy=entropy, prior=prior)
    all_ids = rng.permutation(vocab_size)
    lists, tokens = {}, []
    for i in range(nodes):
        ids = np.sort(all_ids[i * size : (i + 1) * size]).astype(np.int32)
        lists[i - 1] = worst_list(ids, vocab_size, precision, rng, tail=1, prior=prior)
        tokens.append(int(ids[lists[i - 1].weights.argmin()]) if i % 2 else int(all_ids[-1 - i]))
    tree = tw.TokenTree.chain(tokens)
    big = (1 << 32) - 1
    draft = tw.Draft(round=big, prefix_length=big, prefix_hash=0xFFFF, tree=tree, evidence=tw.ListEvidence(lists, True))
    frame = tw.encode(draft, profile)
    assert tw.decode(frame, profile) == draft
    assert len(frame) + 8 <= kernel.encode_bound(vocab_size, nodes * size, nodes, nodes)


def test_what_does_not_fit_the_small_buffer_gets_the_bound():
    """The binding tries 16 KiB first; the largest vocabulary takes megabytes."""
    vocab_size = 1 << 20
    q = worst_list(np.arange(vocab_size, dtype=np.int32), vocab_size, "f32", np.random.default_rng(0))
    profile = tw.Profile(vocab_size=vocab_size, precision="f32", entropy="range")
    data = tw.encode_list(q, profile)
    assert 4 * vocab_size <= len(data) < kernel.encode_bound(vocab_size, vocab_size, 1, 0)
