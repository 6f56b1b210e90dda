"""Hypothesis strategies for everything that travels: logits, lists, trees and every kind of message."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tslt_wire import (
    AskList,
    Bye,
    CoupledEvidence,
    DecodeLimits,
    Draft,
    ErrorMessage,
    Extension,
    Flight,
    Hello,
    LazyEvidence,
    ListEvidence,
    ListReply,
    MatchEvidence,
    Message,
    MinProb,
    More,
    Precision,
    Prior,
    Prompt,
    Proposal,
    Proposals,
    Rejection,
    Resume,
    Sampling,
    SamplingRequest,
    ScalarEvidence,
    SparseDistribution,
    TokenTree,
    TopK,
    TopP,
    Verdict,
    Welcome,
    Whole,
    sparsify,
    table_from_bytes,
)
from tslt_wire.lists.prior import TABLE_MAGIC, plain_prior
from tslt_wire.lists.truncation import Truncation
from tslt_wire.messages.extensions import PADDING
from tslt_wire.messages.token_tree import expansion_parents

U32 = st.one_of(st.integers(0, 300), st.integers(0, 2**32 - 1), st.sampled_from([127, 128, 16383, 16384, 2**32 - 1]))
VOCAB_SIZES = st.one_of(st.integers(1, 40), st.sampled_from([1, 2, 3, 255, 256, 257, 4096, 5000]))

extensions = st.dictionaries(st.integers(0, 2**31 - 1).map(lambda n: 2 * n), st.binary(max_size=8), max_size=3).map(
    lambda found: tuple(
        Extension(type_, bytes(len(found[type_])) if type_ == PADDING else found[type_]) for type_ in sorted(found)
    )
)

draft_extensions = st.builds(
    lambda others, choice, flight: tuple(sorted((*others, *choice, *flight), key=lambda extension: extension.type)),
    extensions,
    st.one_of(st.just(()), st.binary(min_size=1, max_size=1).map(lambda data: (Extension(1, data),))),
    st.one_of(
        st.just(()),
        st.builds(  # [FLIGHT-1]
            lambda follows, goes_on, run, leaf: (
                Flight(
                    follows=follows or not goes_on, goes_on=goes_on, run=run, leaf=leaf if goes_on else None
                ).extension,
            ),
            st.booleans(),
            st.booleans(),
            st.integers(0, 63),
            st.one_of(st.none(), U32),
        ),
    ),
)

answer_extensions = st.builds(  # [TIME-1]: 1 to 8 bytes, as few as can be; [LOGP-1]: 2 bytes for each token
    lambda others, time, codes: tuple(
        sorted((*time, *codes, *(item for item in others if item.type not in (2, 4))), key=lambda item: item.type)
    ),
    extensions,
    st.one_of(
        st.just(()),
        st.integers(0, 2**64 - 1).map(
            lambda time: (Extension(2, time.to_bytes(max(1, -(-time.bit_length() // 8)), "little")),)
        ),
    ),
    st.one_of(st.just(()), st.binary(min_size=1, max_size=9).map(lambda data: (Extension(4, data * 2),))),
)


@st.composite
def logits(draw: st.DrawFn, vocab_size: int) -> np.ndarray:
    """Logits with ties, -inf, huge and tiny gaps; at least one is finite."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.0, 1e-44, 1e-6, 1.0, 5.0, 30.0, 1e5, 1e300]))
    values = rng.normal(size=vocab_size) * scale
    if draw(st.booleans()):
        values = np.round(values)
    if draw(st.booleans()):
        values[rng.random(vocab_size) < draw(st.sampled_from([0.1, 0.9, 1.0]))] = -np.inf
    if draw(st.booleans()):
        special = draw(st.lists(st.floats(allow_nan=False, max_value=1e308), min_size=1, max_size=min(5, vocab_size)))
        values[: len(special)] = special
    if not np.isfinite(values.max()):
        values[draw(st.integers(0, vocab_size - 1))] = draw(st.sampled_from([0.0, -3.5, 1e300]))
    return values


temperatures = st.sampled_from([0.0, 5e-324, 1e-30, 0.3, 1.0, 1, 2.5, 1e41, 1e308])

_rules: st.SearchStrategy[Truncation] = st.one_of(
    st.integers(1, 50).map(TopK),
    st.floats(0.001, 1.0).map(TopP),
    st.floats(1e-6, 1.0).map(MinProb),
)
truncations: st.SearchStrategy[Truncation | None] = st.one_of(
    st.none(), _rules, st.tuples(_rules, _rules).map(lambda both: both[0] & both[1])
)


@st.composite
def lists(
    draw: st.DrawFn, vocab_size: int | None = None, precision: Precision | None = None, prior: Prior | None = None
) -> SparseDistribution:
    """Whatever ``sparsify`` can return; with a ``prior``, any tail."""
    size = vocab_size or draw(VOCAB_SIZES)
    q = sparsify(
        draw(logits(size)),
        temperature=draw(temperatures),
        truncation=draw(truncations),
        precision=precision or draw(st.sampled_from(list(Precision))),
    )
    tail = draw(st.integers(0, 31)) if prior is not None and len(q) < size else 0
    return SparseDistribution(size, q.precision, q.ids, q.codes, tail, prior if tail else None)


@st.composite
def priors(draw: st.DrawFn, vocab_size: int) -> Prior | None:
    """None, a plain prior, or a table of any codes."""
    name = draw(st.sampled_from(["none", "uniform", "density", "table"]))
    if name != "table":
        return plain_prior(name, vocab_size)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    high = draw(st.sampled_from([1, 20, 241]))
    codes = rng.integers(0, high, size=5 * vocab_size, dtype=np.uint8).tobytes()
    return table_from_bytes(TABLE_MAGIC + vocab_size.to_bytes(4, "little") + codes)


@st.composite
def parents(draw: st.DrawFn, max_nodes: int = 12) -> tuple[int, ...]:
    """Parents of any tree, each of the four written forms often."""
    form = draw(st.sampled_from(["chain", "expansion", "any", "any", "level"]))
    if form == "chain":
        return tuple(range(-1, draw(st.integers(0, max_nodes)) - 1))
    if form == "expansion":
        return expansion_parents(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    found = [draw(st.integers(-1, node - 1)) for node in range(draw(st.integers(0, max_nodes)))]
    return tuple(sorted(found)) if form == "level" else tuple(found)


@st.composite
def drafts(draw: st.DrawFn, vocab_size: int, precision: Precision | None = None, prior: Prior | None = None) -> Draft:
    """Any draft: every parent has its own list, and children come from it."""
    wanted, precision = draw(parents()), precision or draw(st.sampled_from(list(Precision)))
    replacement = draw(st.booleans())
    evidence = {parent: draw(lists(vocab_size, precision, prior)) for parent in sorted(set(wanted))}
    tokens: list[int] = []
    for node, parent in enumerate(wanted):
        used = set() if replacement else {tokens[i] for i in range(node) if wanted[i] == parent}
        q = evidence[parent]
        listed = q.ids.tolist() if not q.tail or draw(st.booleans()) else range(vocab_size)
        free = [token for token in listed if token not in used]
        if not free:  # fewer tokens than children: the same tree can only be sampled with replacement
            replacement, free = True, list(listed)
        tokens.append(draw(st.sampled_from(free)))
    return Draft(
        round=draw(U32),
        prefix_length=draw(U32),
        prefix_hash=draw(st.integers(0, 2**16 - 1)),
        tree=TokenTree(tokens, wanted),
        evidence=ListEvidence(evidence, replacement),
        extensions=draw(draft_extensions),
    )


@st.composite
def id_drafts(draw: st.DrawFn, vocab_size: int) -> Draft:
    """Any draft without lists: siblings differ."""
    wanted = draw(parents().filter(lambda found: max(map(found.count, found), default=0) <= vocab_size))
    tokens: list[int] = []
    for node, parent in enumerate(wanted):
        used = {tokens[i] for i in range(node) if wanted[i] == parent}
        tokens.append(draw(st.integers(0, vocab_size - 1).filter(lambda token: token not in used)))  # noqa: B023
    return Draft(
        round=draw(U32),
        prefix_length=draw(U32),
        prefix_hash=draw(st.integers(0, 2**16 - 1)),
        tree=TokenTree(tokens, wanted),
        evidence=draw(st.one_of(st.just(MatchEvidence()), st.just(CoupledEvidence()))),
        extensions=draw(draft_extensions),
    )


def coded_drafts(vocab_size: int) -> st.SearchStrategy[Draft]:
    """Any draft with a number for each token."""
    nodes = st.lists(st.tuples(st.integers(0, vocab_size - 1), st.integers(0, 4094)), max_size=20)
    return st.builds(
        lambda found, kind, **more: Draft(
            tree=TokenTree.chain([token for token, _ in found]),
            evidence=kind(tuple(code for _, code in found)),
            **more,
        ),
        nodes,
        st.sampled_from([ScalarEvidence, LazyEvidence]),
        round=U32,
        prefix_length=U32,
        prefix_hash=st.integers(0, 2**16 - 1),
        extensions=draft_extensions,
    )


def exchanges(vocab_size: int) -> st.SearchStrategy[Message]:
    """Anything between a draft and its last answer."""
    proposal = st.builds(
        lambda token, code, up: Proposal(token, code, up and 0 < code < 4095),
        st.integers(0, vocab_size - 1),
        st.integers(0, 4095),
        st.booleans(),
    )
    place = {"round": U32, "extensions": answer_extensions}
    node = U32.map(lambda n: n - 1)
    batches = st.lists(proposal, min_size=1, max_size=30).map(tuple)
    precision = st.sampled_from(list(Precision))
    return st.one_of(
        st.builds(Proposals, node=node, proposals=batches, batch=U32, **place),
        st.builds(More, batch=U32.map(lambda n: max(n, 1)), round=U32, extensions=extensions),
        st.builds(AskList, node=node, **place),
        st.builds(Whole, **place),
        st.builds(
            ListReply,
            q=precision.flatmap(lambda found: lists(vocab_size, found, None)),
            round=U32,
            extensions=extensions,
        ),
    )


def verdicts(vocab_size: int) -> st.SearchStrategy[Verdict]:
    """Any verdict."""
    return st.builds(
        Verdict,
        round=U32,
        node=U32.map(lambda n: n - 1),
        token=st.integers(0, vocab_size - 1),
        end=st.booleans(),
        extensions=answer_extensions,
    )


def prompts(vocab_size: int) -> st.SearchStrategy[Prompt]:
    """Any prompt."""
    return st.builds(
        Prompt,
        tokens=st.lists(st.integers(0, vocab_size - 1), max_size=30).map(tuple),
        keep=U32,
        transcript=st.binary(min_size=8, max_size=8),
        extensions=extensions,
    )


def resumes(vocab_size: int) -> st.SearchStrategy[Resume]:
    """Any RESUME."""
    return st.builds(
        Resume,
        tokens=st.lists(st.integers(0, vocab_size - 1), max_size=30).map(tuple),
        prefix_crc=U32,
        round=U32,
        prompt_length=U32,
        epoch=st.integers(1, 2**32 - 1),
        keep=U32,
        rejection=st.none() | st.builds(Rejection, node=st.integers(-1, 2**32 - 3), batch=U32),
        ended=st.booleans(),
        transcript=st.binary(min_size=8, max_size=8),
        extensions=extensions,
    )


INTEGERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from(
        [edge + step for edge in (-(2**31), -(2**15), -128, -32, 0, 128, 256, 2**16, 2**32) for step in (-1, 0, 1)]
    ),
)
control_scalars = st.one_of(
    st.none(),
    st.booleans(),
    INTEGERS,
    st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0),  # -0.0 is written 0.0
    st.text(max_size=40),
    st.binary(max_size=40),
)


def control_maps(max_depth: int = 4) -> st.SearchStrategy[dict[str, Any]]:
    """Control maps nested at most ``max_depth`` deep, the outermost map not counted."""

    def values(depth: int) -> st.SearchStrategy:
        if depth == 0:
            return control_scalars
        below = values(depth - 1)
        return st.one_of(
            control_scalars, st.lists(below, max_size=4), st.dictionaries(st.text(max_size=6), below, max_size=4)
        )

    return st.dictionaries(st.text(max_size=6), values(max_depth - 1), max_size=6)


names = st.lists(st.text(max_size=6), max_size=4).map(tuple)
limits = st.builds(
    DecodeLimits,
    max_frame_bytes=st.integers(1, 2**40),
    max_nodes=st.integers(1, 5000),
    max_leaves=st.integers(1, 5000),
    max_depth=st.integers(1, 999),
)
_biases = st.one_of(st.sampled_from([0, -0.0, 1]), st.floats(-100, 100))
_penalties = st.one_of(st.sampled_from([0, -0.0, 2]), st.floats(-2, 2))
_settings: dict[str, st.SearchStrategy[Any]] = {
    "temperature": st.one_of(st.sampled_from([0, 0.0, 1]), st.floats(0, 1e300)),
    "top_k": st.integers(0, 2**31),
    "top_p": st.floats(0, 1, exclude_min=True),
    "min_p": st.one_of(st.sampled_from([0, -0.0]), st.floats(0, 1)),
    "repetition_penalty": st.one_of(st.just(1), st.floats(0.01, 100)),
    "presence_penalty": _penalties,
    "frequency_penalty": _penalties,
    "ignore_eos": st.booleans(),
}


def samplings(kind: Any, vocab_size: int) -> st.SearchStrategy[Any]:
    """Any settings, of ``Sampling`` or ``SamplingRequest``."""
    tokens = st.integers(0, vocab_size - 1)
    given = {
        **_settings,
        "logit_bias": st.dictionaries(tokens, _biases, max_size=5),
        "suppress_tokens": st.lists(tokens, max_size=5),
    }
    if kind is Sampling:
        return st.builds(Sampling, **given)
    extra = st.dictionaries(st.text(max_size=6).map(lambda key: "x-" + key), control_scalars, max_size=2)
    asked = {name: st.one_of(st.none(), values) for name, values in given.items()}
    return st.builds(SamplingRequest, **asked, extra=extra)


_identity: dict[str, st.SearchStrategy[Any]] = {
    "vocab_size": st.integers(1, 2**20),
    "tokenizer": st.binary(min_size=32, max_size=32),
    "ordinary": st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)),
    "model": st.text(max_size=20),
    "evidence": names,
    "precisions": names,
    "limits": limits,
    "extra": st.dictionaries(st.text(max_size=6).map(lambda key: "x-" + key), control_scalars, max_size=3),
    "extensions": extensions,
}


@st.composite
def hellos(draw: st.DrawFn) -> Hello:
    """Any HELLO."""
    low, high = sorted(draw(st.tuples(st.integers(1, 255), st.integers(1, 255))))
    fields: dict[str, Any] = {name: draw(values) for name, values in _identity.items()}
    return Hello(
        sampling=draw(samplings(SamplingRequest, 1 << 20)),
        entropy=draw(names),
        priors=draw(names),
        resume=draw(st.binary(max_size=64)),
        nonce=draw(st.binary(min_size=16, max_size=16)),
        token_map=draw(st.one_of(st.just(b""), st.binary(min_size=32, max_size=32))),
        min_version=low,
        max_version=high,
        **fields,
    )


@st.composite
def welcomes(draw: st.DrawFn) -> Welcome:
    """Any WELCOME."""
    fields: dict[str, Any] = {name: draw(values) for name, values in _identity.items()}
    return Welcome(
        version=draw(st.integers(1, 255)),
        transcript=draw(st.binary(min_size=16, max_size=16)),
        sampling=draw(samplings(Sampling, fields["vocab_size"])),
        entropy=draw(st.text(max_size=6)),
        prior=draw(st.text(max_size=6)),
        context=draw(U32),
        eos_tokens=tuple(draw(st.lists(st.integers(0, fields["vocab_size"] - 1), max_size=3))),
        coupling=draw(st.sampled_from([b"", bytes(range(8))])),
        resume=draw(st.binary(max_size=64)),
        resumed=draw(st.booleans()),
        held=draw(U32),
        held_hash=draw(U32),
        begins=draw(st.one_of(st.none(), st.lists(st.integers(0, fields["vocab_size"] - 1), max_size=3).map(tuple))),
        **fields,
    )


error_extensions = st.builds(  # [ERROR-3]: 1 to 4 bytes, as few as can be
    lambda others, wait: tuple(
        sorted((*wait, *(item for item in others if item.type != 6)), key=lambda item: item.type)
    ),
    extensions,
    st.one_of(
        st.just(()),
        st.integers(0, 2**32 - 1).map(
            lambda wait: (Extension(6, wait.to_bytes(max(1, -(-wait.bit_length() // 8)), "little")),)
        ),
    ),
)

errors = st.builds(
    ErrorMessage, code=st.integers(0, 2**16 - 1), message=st.text(max_size=40), extensions=error_extensions
)
byes = st.builds(Bye, extensions=extensions)


@st.composite
def messages(draw: st.DrawFn) -> tuple[Message, int]:
    """Any message, and the vocabulary size of the profile it is for."""
    vocab_size = draw(st.one_of(st.integers(1, 40), st.just(5000)))
    rounds = st.one_of(
        drafts(vocab_size),
        id_drafts(vocab_size),
        coded_drafts(vocab_size),
        exchanges(vocab_size),
        verdicts(vocab_size),
        prompts(vocab_size),
        resumes(vocab_size),
    )
    return draw(st.one_of(rounds, rounds, hellos(), welcomes(), errors, byes)), vocab_size
