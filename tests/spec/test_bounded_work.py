"""Section 9: what a list costs a decoder does not depend on how many ids there are."""

import tracemalloc

import pytest

import tslt_wire as tw
from spec import reference_decoder as ref
from spec.vectorgen.tools import make_list
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
