"""spec/vectors/sampling.json: what sampling settings make of a row, by the library and by the reference decoder.

Spec section 7.2.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tslt_wire as tw
from spec import reference_decoder as ref
from tslt_wire.messages.sampling import SETTINGS
from tslt_wire.verification.adjustments import adjusted

FILE = json.loads((Path(__file__).resolve().parents[2] / "spec" / "vectors" / "sampling.json").read_text())
TESTS = [pytest.param(group, test, id=test["id"]) for group in FILE["groups"] for test in group["tests"]]


@pytest.mark.parametrize(("group", "test"), TESTS)
def test_the_library(group, test):
    """Scores bit for bit, probabilities but for the rounding of sums, and exactly the tokens that are kept."""
    settings, prompt, output = tw.Sampling(**test["sampling"]), test["prompt"], test["output"]
    logits, scores = (np.array([-np.inf if x is None else x for x in test[name]]) for name in ("logits", "scores"))
    edits = adjusted(logits.__getitem__, settings, prompt, output, eos_tokens=group["eos_tokens"])
    found = logits.copy()
    found[edits.ids] = edits.scores
    assert found.tobytes() == scores.tobytes()
    text = tw.SampledText(prompt=prompt, output=output, eos_tokens=group["eos_tokens"])
    probs = tw.target_rows(logits[None], settings, text=text)[0].dense()
    np.testing.assert_allclose(probs, test["probs"], rtol=1e-11, atol=0)


@pytest.mark.parametrize(("group", "test"), TESTS)
def test_the_path_of_a_tree_is_output(group, test):
    """The same row, with the last tokens of the output as a draft's."""
    settings, output = tw.Sampling(**test["sampling"]), test["output"]
    logits, drafted = np.array([-np.inf if x is None else x for x in test["logits"]]), output[-2:]
    tree = tw.TokenTree([9, *drafted], [-1, -1, 1][: 1 + len(drafted)])  # token 9 is another branch's
    text = tw.SampledText(
        prompt=test["prompt"], output=output[: len(output) - len(drafted)], tree=tree, eos_tokens=group["eos_tokens"]
    )
    last = len(drafted) and 1 + len(drafted)
    rows = tw.target_rows(np.broadcast_to(logits, (1 + len(tree), len(logits))), settings, text=text)
    np.testing.assert_allclose(rows[last].dense(), test["probs"], rtol=1e-11, atol=0)


@pytest.mark.parametrize(("group", "test"), TESTS)
def test_the_reference_decoder(group, test):
    z = [-math.inf if value is None else value for value in test["logits"]]
    found = ref.adjusted(z, test["sampling"], test["prompt"], test["output"], group["eos_tokens"])
    assert [None if value == -math.inf else value for value in found] == test["scores"]
    probs = {token: prob for token, prob in ref.target_row(found, test["sampling"]).items() if prob > 0}
    assert sorted(probs) == [token for token, prob in enumerate(test["probs"]) if prob > 0]
    for token, prob in probs.items():
        assert prob == pytest.approx(test["probs"][token], rel=1e-11)


def test_every_setting_has_a_vector():
    assert {name for group in FILE["groups"] for test in group["tests"] for name in test["sampling"]} == set(SETTINGS)
