"""Print rounds of an edge, and what ``tslt_wire`` answers in them, as lines for ``edge.c``.  Needs numpy and tslt_wire.

Everything is random, seeded, and small.  A line is

    edge ID EVIDENCE  V ENTROPY PRIOR  T TOP_K TOP_P MIN_P  N, 1 + N ROWS  DRAFT  U, U numbers  valid ANSWER

ENTROPY and PRIOR are those of ``vectors.py``.  T, TOP_P, MIN_P are numbers of C99 in hex.  N is the number of nodes.  A
ROW is a dtype of tslt_wire.h, the logits in hex, a count, that many ids and their scores (numbers in hex) in place of
logits, and a byte for each token that may follow, in hex, or ``-``.  DRAFT is, for ``list``, a DRAFT_LIST frame in hex;
for others N parents, N tokens, and for

    match    nothing
    coupled  the key in hex, EPOCH, tokens of the prefix
    scalar   N codes, the number of proposals
    lazy     N codes, PRECISION and the lone list that is asked for, in hex, or ``-``

The numbers are the n of n / 2^53, the edge's random numbers in the order in which they are used; none is left over.
ANSWER is the last accepted node, a number of proposals, that many of token, code, up; if it is 0 the token.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

os.environ["TSLT_WIRE_BACKEND"] = "reference"  # whose random numbers can be counted; read by what follows

import tslt_wire as tw
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.sibling_sampling import sample_children

ROUNDS = 240
EVIDENCE = ("list", "match", "coupled", "scalar", "lazy")
SIZES = (6, 40, 300, 700)
"""Vocabularies: of less than a block of the kernel's, and of more than one."""
CHAINS = ((1,), (1, 1, 1), (1,) * 5)
TREES = (*CHAINS, (2,), (3, 2), (2, 2, 1))
DTYPES = ("float32", "float64", "float16", "bfloat16")
PRECISIONS = ("f32", "f16", "bf16", "log2/0", "log2/1", "log2/2", "log2/3", "log2/4")
PROPOSALS = 5
Logits = npt.NDArray[np.floating[Any]]


class Recorder(np.random.Generator):
    """Random numbers that are written down."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self.numbers: list[int] = []

    def random(self, *args: Any, **options: Any) -> Any:
        """A number that is uniform in [0, 1)."""
        found = super().random(*args, **options)
        self.numbers.append(int(found * 2**53))
        return found


def _prior(name: str, vocab_size: int, rng: np.random.Generator) -> tw.Prior | None:
    if name == "table":
        return tw.train_table(rng.normal(size=(3, vocab_size)) * 2)
    return plain_prior(name, vocab_size)


def _sampling(rng: np.random.Generator, vocab_size: int) -> tw.Sampling:
    """Settings of all sorts."""
    return tw.Sampling(
        temperature=float(rng.choice([0, 0.3, 0.7, 1, 2.5], p=[0.1, 0.2, 0.3, 0.3, 0.1])),
        top_k=int(rng.choice([0, 1, 5, 50], p=[0.6, 0.05, 0.15, 0.2])),
        top_p=float(rng.choice([1, 0.95, 0.6], p=[0.6, 0.2, 0.2])),
        min_p=float(rng.choice([0, 0.05, 0.3], p=[0.7, 0.2, 0.1])),
        repetition_penalty=float(rng.choice([1, 1.2], p=[0.7, 0.3])),
        presence_penalty=float(rng.choice([0, 0.5], p=[0.7, 0.3])),
        suppress_tokens=rng.integers(0, vocab_size, 2).tolist() if rng.random() < 0.3 else (),
    )


def _draft(
    evidence: str, rows: Logits, profile: tw.Profile, prefix: list[int], coupling: tw.Coupling, rng: np.random.Generator
) -> tw.Draft:
    """A tree that is drawn from lists of rows of its own, near the target's."""
    shapes = TREES if evidence in ("list", "match", "coupled") else CHAINS
    replacement, expansion = bool(rng.integers(2)), shapes[rng.integers(len(shapes))]
    tokens: list[int] = []
    parents: list[int] = []
    lists: dict[int, tw.SparseDistribution] = {}
    level = [-1]
    for depth, count in enumerate(expansion):
        first = len(tokens)
        for node in level:
            row = rows[1 + node].astype(np.float64) + rng.normal(size=rows.shape[1])
            q = tw.sparsify(
                row, truncation=tw.TopK(int(rng.integers(1, 6))), precision=profile.precision, prior=profile.prior
            )
            if evidence == "coupled":
                children = coupling.children(q, count, len(prefix) + depth)
            else:
                children = sample_children(q, count, rng, replacement=replacement and evidence == "list")
            lists[node] = q
            tokens += children
            parents += [node] * len(children)
        level = list(range(first, len(tokens)))
    tree = tw.TokenTree(tokens, parents)
    kinds: dict[str, Any] = {
        "list": lambda: tw.ListEvidence(lists, replacement),
        "match": tw.MatchEvidence,
        "coupled": tw.CoupledEvidence,
        "scalar": lambda: tw.ScalarEvidence.of(tree, lists),
        "lazy": lambda: tw.LazyEvidence.of(tree, lists),
    }
    return tw.Draft(
        round=0,
        prefix_length=len(prefix),
        prefix_hash=tw.prefix_hash(prefix),
        tree=tree,
        evidence=kinds[evidence](),
    )


def _rows(logits: Logits, dtype: str, sampling: tw.Sampling, text: tw.SampledText) -> list[Any]:
    """The ROWS of a line."""
    fields: list[Any] = []
    for at, row in enumerate(logits):
        edits = text.edits(at, lambda ids: row[ids].astype(np.float64), sampling)  # noqa: B023
        mask = text.mask(at, len(row))
        # numpy has no bfloat16: it is the upper half of a float32.
        written = (row.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bfloat16" else row
        fields += [DTYPES.index(dtype), written.tobytes().hex(), len(edits.ids), *edits.ids.tolist()]
        fields += [*(score.hex() for score in edits.scores.tolist()), "-" if mask is None else mask.tobytes().hex()]
    return fields


def _line(number: int) -> str:
    rng = np.random.default_rng(number)
    evidence, vocab_size = EVIDENCE[number % len(EVIDENCE)], int(rng.choice(SIZES))
    prior = ("none", "uniform", "density", "table")[rng.integers(4 if evidence in ("list", "lazy") else 1)]
    entropy, precision = ("none", "range")[rng.integers(2)], str(rng.choice(PRECISIONS))
    known = _prior(prior, vocab_size, rng)
    profile = tw.Profile(vocab_size=vocab_size, precision=precision, entropy=entropy, prior=known)
    dtype = str(rng.choice(DTYPES))
    logits: Logits = rng.normal(size=(32, vocab_size)) * rng.choice([0.5, 2, 4])
    logits = logits.astype("float32" if dtype == "bfloat16" else dtype)
    if dtype == "bfloat16":
        logits.view(np.uint32)[:] &= 0xFFFF0000
    prefix = rng.integers(0, vocab_size, 12).tolist()
    coupling = tw.Coupling(rng.bytes(8), int(rng.integers(5)))
    draft = _draft(evidence, logits, profile, prefix, coupling, rng)
    tree, sampling = draft.tree, _sampling(rng, vocab_size)
    logits = logits[: 1 + len(tree)]
    masks = rng.random((len(logits), vocab_size)) < 0.9 if rng.random() < 0.3 else None
    if masks is not None:
        masks[:, tree.tokens[0]] = True  # it is never the settings alone that leave nothing
        masks |= ~masks.any(axis=1, keepdims=True)
    text = tw.SampledText(
        prompt=prefix[:6],
        output=prefix[6:],
        tree=tree,
        allowed=None if masks is None else lambda path: masks[len(path) % len(masks)],
    )

    numbers, rows = Recorder(number), tw.target_rows(logits, sampling, text=text)
    given: list[Any] = [*tree.parents, *tree.tokens]
    shared = coupling if evidence == "coupled" else None
    answer = tw.verify(draft, rows, numbers, proposals=PROPOSALS, coupling=shared)
    if isinstance(draft.evidence, tw.ListEvidence):
        given = [tw.encode(draft, profile).hex()]
    elif isinstance(draft.evidence, tw.CoupledEvidence):
        given += [coupling.key.hex(), coupling.epoch, len(prefix)]
    elif isinstance(draft.evidence, tw.ScalarEvidence):
        given += [*draft.evidence.codes, PROPOSALS]
    elif isinstance(draft.evidence, tw.LazyEvidence):
        listed = "-"
        if isinstance(answer, tw.AskList) and draft.evidence.lists is not None:
            q, node = draft.evidence.lists[answer.node], answer.node
            answer, listed = tw.verify_list(draft, node, rows[1 + node], q, numbers), tw.encode_list(q, profile).hex()
        given += [*draft.evidence.codes, PRECISIONS.index(precision), listed]
    said: list[Any] = [answer.node]
    if isinstance(answer, tw.Proposals):
        said.append(len(answer.proposals))
        for proposal in answer.proposals:
            said += [proposal.token, proposal.code, int(proposal.up)]
    elif isinstance(answer, tw.Verdict):
        said += [0, answer.token]
    table = known.to_bytes().hex() if prior == "table" and known is not None else prior
    fields: list[Any] = [
        "edge",
        f"edge/{evidence}-{number}",
        evidence,
        vocab_size,
        ("none", "range").index(entropy),
        table,
    ]
    fields += [
        float(sampling.temperature).hex(),
        sampling.top_k,
        float(sampling.top_p).hex(),
        float(sampling.min_p).hex(),
    ]
    fields += [len(tree), *_rows(logits, dtype, sampling, text), *given]
    return " ".join(map(str, [*fields, len(numbers.numbers), *numbers.numbers, "valid", *said]))


def lines() -> Iterator[str]:
    """All rounds."""
    for number in range(ROUNDS):
        yield _line(number)


if __name__ == "__main__":
    for line in lines():
        sys.stdout.write(line + "\n")
