"""Section 9: what a list costs a decoder does not depend on how many ids there are."""

import math
import tracemalloc

import pytest

import tslt_wire as tw
from spec import reference_decoder as ref
from spec.vectorgen.tools import make_list
from tslt_wire.coding import id_model
from tslt_wire.frames.codec import decode_reference


@pytest.mark.parametrize("count", [16, 129, 600])
def test_work_does_not_grow_with_the_vocabulary(count):
    """A few hundred bytes with many lists take no more memory where there are a million ids."""
    vocab_size = 1 << 20
    lists = {}
    for parent in range(-1, 5):
        ids = range((parent + 1) * 50, (parent + 1) * 50 + count)
        lists[parent] = make_list(vocab_size, "log2/0", ids, [0] * count)
    tokens = [int(q.ids[0]) for q in lists.values()]
    evidence = tw.ListEvidence(lists, replacement=True)
    draft = tw.Draft(round=0, prefix_length=1, prefix_hash=2, tree=tw.TokenTree.chain(tokens), evidence=evidence)
    profile = {"vocab_size": vocab_size, "entropy": "range"}
    ours = tw.Profile(**profile)
    data = tw.encode(draft, ours)
    for decode in (
        lambda: ref.decode_frame(data, profile, {}),
        lambda: tw.decode(data, ours),
        lambda: decode_reference(data, ours),
    ):
        decode()
        tracemalloc.start()
        decode()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < vocab_size  # a byte for each id


def test_an_id_is_found_by_its_number_without_a_try_of_each(monkeypatch):
    """[RLIST-3]: the lowest id of the largest octave is the last that a search from its top comes to."""
    vocab_size, id_ = 1 << 20, 1 << 19
    evidence = tw.ListEvidence({-1: make_list(vocab_size, "log2/0", [id_], [0])}, replacement=True)
    draft = tw.Draft(round=0, prefix_length=1, prefix_hash=2, tree=tw.TokenTree.chain([id_]), evidence=evidence)
    profile = {"vocab_size": vocab_size, "entropy": "range"}
    data, calls, comb = tw.encode(draft, tw.Profile(**profile)), [0], math.comb

    def counted(n: int, k: int) -> int:
        calls[0] += 1
        return comb(n, k)

    monkeypatch.setattr(math, "comb", counted)
    monkeypatch.setattr(id_model, "comb", counted)
    for decode in (
        lambda: ref.decode_frame(data, profile, {}),
        lambda: decode_reference(data, tw.Profile(**profile)),
    ):
        calls[0] = 0
        decode()
        assert 0 < calls[0] < 100
