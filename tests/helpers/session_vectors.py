"""What the sessions of spec/vectors/sessions.json were made from, which their frames do not have."""

from __future__ import annotations

from typing import Any

import numpy as np

import tslt_wire as tw

CODED: dict[str, type[tw.ScalarEvidence] | type[tw.LazyEvidence]] = {
    "scalar": tw.ScalarEvidence,
    "lazy": tw.LazyEvidence,
}


def lists_of(group: dict[str, Any]) -> dict[int, tw.SparseDistribution]:
    """The lists of a group's drafts, by the node that each is after."""
    vocab_size, precision = group["edge"]["vocab_size"], tw.Precision(group["precision"])
    return {
        q["parent"]: tw.SparseDistribution(
            vocab_size, precision, np.array(q["ids"], np.int32), np.array(q["codes"], np.uint32)
        )
        for q in group["lists"]
    }


def evidence_with(draft: tw.Draft, lists: dict[int, tw.SparseDistribution]) -> tw.Evidence:
    """A draft's evidence as its sender has it: with the lists that the edge may ask for."""
    kept = {node: lists[node] for node in draft.tree.inner if node in lists}
    coded = CODED.get(draft.evidence.name)
    return draft.evidence if coded is None else coded.of(draft.tree, kept)
