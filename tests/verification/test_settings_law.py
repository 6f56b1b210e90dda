"""Every sampling setting is lossless: rounds give the law that the reference decoder's plain Python says.

Spec section 7.2, [HELLO-7] and [HELLO-8].  By enumeration of all drafts and verdicts; and by chi-square through real
sessions, for every kind of evidence.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from chi_square import chi_square_p
from enumeration import EXACT, NOTICED, Model, deviation, expansion, output_joint, target_joint
from table_engine import TableTarget
from two_ends import tables, two_ends

import tslt_wire as tw
from spec import reference_decoder as ref
from spec.vectorgen.tools import sampling_value
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.verification.verdicts import verify_with

PROMPT, OUTPUT, ENDS = (0, 2, 2), (1,), (2,)
SETTINGS = {
    "min-p": tw.Sampling(min_p=0.3),
    "top-k": tw.Sampling(top_k=2),
    "repetition": tw.Sampling(repetition_penalty=1.7),
    "repetition-below-1": tw.Sampling(repetition_penalty=0.6),
    "presence": tw.Sampling(presence_penalty=1.3),
    "frequency": tw.Sampling(frequency_penalty=-0.8),
    "bias": tw.Sampling(logit_bias={0: 1.5, 3: -2.0}),
    "suppressed": tw.Sampling(suppress_tokens=[1]),
    "no end": tw.Sampling(ignore_eos=True),
    "all": tw.Sampling(
        temperature=0.8,
        top_k=3,
        top_p=0.95,
        min_p=0.05,
        repetition_penalty=1.2,
        presence_penalty=0.5,
        frequency_penalty=0.4,
        logit_bias={0: 0.5},
        suppress_tokens=[3],
    ),
    "greedy": tw.Sampling(temperature=0, repetition_penalty=1.5, frequency_penalty=0.5),
}
SHAPES = {"chain": expansion(1, 1), "<3>": expansion(3), "<2,1>": expansion(2, 1)}


def law(logits, sampling, output, allowed=None):
    """The target's distribution by the specification, float64 (V,)."""
    z = ref.adjusted(logits.tolist(), sampling_value(sampling), PROMPT, output, list(ENDS))
    mask = allowed(output) if allowed else None
    if mask is not None:
        z = [value if fits else -np.inf for value, fits in zip(z, mask, strict=True)]
    found = np.zeros(len(z))
    for token, prob in ref.target_row(z, sampling_value(sampling)).items():
        found[token] = prob
    return found


def verification(model, sampling, allowed=None, *, path=True):
    """``verify`` on rows of logits with the text; ``path=False`` breaks it: rows do not see their ancestors."""

    def verify(draft, _, choices):
        tree = draft.tree
        contexts = [()] + [tuple(tree.tokens[i] for i in tree.path(node)) for node in range(len(tree))]
        logits = np.array([model.logits(context) for context in contexts])
        text = tw.SampledText(prompt=PROMPT, output=OUTPUT, tree=tree, eos_tokens=ENDS, allowed=allowed)
        if path:
            return verify_with(draft, tw.target_rows(logits, sampling, text=text), choices)
        alone = tw.SampledText(prompt=PROMPT, output=OUTPUT, eos_tokens=ENDS)
        rows = [tw.target_rows(row[None], sampling, text=alone)[0] for row in logits]
        return verify_with(draft, rows, choices)

    return verify


def apart(sampling, shape, replacement=True, allowed=None, **broken):
    lists, model = Model(4, 21).lists(truncation=tw.TopK(3)), Model(4, 22)
    target = cache(lambda context: law(model.logits(context), sampling, (*OUTPUT, *context), allowed))
    return deviation(
        shape, lists, target, verification=verification(model, sampling, allowed, **broken), replacement=replacement
    )


@pytest.mark.parametrize("sampling", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_setting_is_lossless(shape, sampling):
    assert apart(sampling, shape) < EXACT
    assert apart(sampling, shape, replacement=False) < EXACT


@pytest.mark.parametrize("name", ["repetition", "presence", "frequency", "all"])
def test_rows_that_do_not_see_their_ancestors_are_noticed(name):
    assert apart(SETTINGS[name], expansion(1, 1), path=False) > NOTICED


def no_repeats(output):
    """All tokens but the last one; anything after an even number of them."""
    return None if len(output) % 2 == 0 else np.arange(4) != output[-1]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_mask_is_lossless(shape):
    for sampling in (tw.Sampling(), SETTINGS["all"], tw.Sampling(temperature=0)):
        assert apart(sampling, shape, allowed=no_repeats) < EXACT
    assert apart(tw.Sampling(), expansion(1, 1), allowed=None) < EXACT


def test_the_settings_differ():
    """So that no test passes because a setting does nothing here."""
    model = Model(4, 22)
    plain = target_joint(cache(lambda context: law(model.logits(context), tw.Sampling(), ())), 3)
    for name, sampling in SETTINGS.items():
        found = target_joint(cache(lambda c, s=sampling: law(model.logits(c), s, (*OUTPUT, *c))), 3)
        assert np.abs(found - plain).max() > NOTICED, name
    joint, _ = output_joint(
        expansion(1), Model(4, 21).lists(), lambda c: law(model.logits(c), SETTINGS["greedy"], (*OUTPUT, *c)),
        verification=verification(model, SETTINGS["greedy"]),
    )  # fmt: skip
    assert joint.max() == pytest.approx(1)


# ------------------------------------------------------------------------------------------------ through real sessions

V, LENGTH, TEXTS = 6, 3, 400
CHAIN, TREE = (1, 1), (2, 2)
EVIDENCE = {
    "list": TREE,
    "match": TREE,
    "coupled": TREE,
    "scalar": CHAIN,
    "lazy": CHAIN,
}


async def texts_of(sampling, evidence, count, allowed=None):
    """Counts of the first ``LENGTH`` tokens after PROMPT, int (V,) * LENGTH."""
    target, draft = tables(V, seed=4)
    engine = TableTarget(target)
    engine.facts = replace(engine.facts, eos_tokens=ENDS if sampling.ignore_eos else ())
    found = np.zeros((V,) * LENGTH, int)
    settings = DraftSettings(expansion=EVIDENCE[evidence], truncation=tw.TopK(4), evidence=evidence)
    verifier = LocalVerifier(engine, proposals=3, allowed=allowed)
    async with two_ends(target, draft, verifier=verifier, sampling=sampling) as device:
        for _ in range(count):
            await device.prompt(PROMPT)
            text = [token async for r in device.generate(LENGTH, settings) for token in r.tokens]
            found[tuple(text[:LENGTH])] += 1
    return found, target


def wanted(table, sampling, allowed=None):
    joint = np.zeros((V,) * LENGTH)
    for text in product(range(V), repeat=LENGTH):
        p = 1.0
        for i, token in enumerate(text):
            last = text[i - 1] if i else PROMPT[-1]
            p *= law(table[last], sampling, text[:i], allowed)[token] if p else 0.0
        joint[text] = p
    return joint


CASES = [
    (name, tuple(EVIDENCE)[i % len(EVIDENCE)]) for i, name in enumerate(name for name in SETTINGS if name != "greedy")
]
CASES += [("all", evidence) for evidence in EVIDENCE if ("all", evidence) not in CASES]


@pytest.mark.parametrize(("name", "evidence"), CASES)
def test_texts_of_real_sessions_have_the_law(name, evidence):
    found, table = asyncio.run(texts_of(SETTINGS[name], evidence, TEXTS))
    law_of = wanted(table, SETTINGS[name])
    assert chi_square_p(found.ravel(), law_of.ravel()) > 1e-3
    assert chi_square_p(found.sum(axis=(0, 1)), law_of.sum(axis=(0, 1))) > 1e-3


def test_the_test_notices_a_setting_that_is_not_applied():
    found, table = asyncio.run(texts_of(tw.Sampling(), "match", TEXTS))
    for name in ("min-p", "repetition", "presence", "frequency", "bias"):
        law_of = wanted(table, SETTINGS[name])
        seen = np.where(law_of > 0, found, 0)
        assert found.sum() > seen.sum() or chi_square_p(seen.ravel(), law_of.ravel()) < 1e-3, name


@pytest.mark.parametrize("evidence", ["list", "scalar"])
def test_a_mask_of_real_sessions(evidence):
    def allowed(output):
        return None if not output else np.arange(V) != output[-1]

    sampling = tw.Sampling(repetition_penalty=1.2)
    found, table = asyncio.run(texts_of(sampling, evidence, TEXTS, allowed))
    assert chi_square_p(found.ravel(), wanted(table, sampling, allowed).ravel()) > 1e-3
