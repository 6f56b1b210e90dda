"""Cases of sampling.json: a row of raw logits, sampling settings and a text to scores and probabilities.

Spec section 7.2, [HELLO-7].
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np

import tslt_wire as tw
from spec.vectorgen.tools import Json, sampling_value
from tslt_wire.verification.adjustments import adjusted

NOTES = {
    "penalty": "a penalty, with tokens of prompt and output",
    "never": "tokens that never come",
    "cut": "top-k, top-p or min-p",
    "tie": "equal scores where a cut is made",
}
ROW = [0.5, -1.25, 2.0, 0.0, -0.0, 3.5, -2.75, 1.0, 2.0, -7.0]
"""Logits of both signs, zeros and equals."""
PROMPT, OUTPUT, ENDS = [0, 2, 2, 6], [5, 2, 5, 1, 5], [3, 7]
MARGIN = 1e-9
"""No case keeps other tokens where its limits are moved by this part of them."""


def build() -> list[Json]:
    """One group."""
    cases = [*_penalties(), *_cuts(), *_together(), *_random()]
    return [{"eos_tokens": ENDS, "tests": cases}]


def _case(label: str, comment: str, *flags: str, logits: Any = None, text: Any = None, **settings: Any) -> Json:
    row = np.array(ROW if logits is None else logits, np.float64)
    prompt, output = (PROMPT, OUTPUT) if text is None else text
    sampling = tw.Sampling(**settings)
    edits = adjusted(row.__getitem__, sampling, prompt, output, eos_tokens=ENDS)
    scores = row.copy()
    scores[edits.ids] = edits.scores
    before = tw.SampledText(prompt=prompt, output=output, eos_tokens=ENDS)
    probs = tw.target_rows(row[None], sampling, text=before)[0].dense()
    for factor in (1 - MARGIN, 1 + MARGIN):
        moved = {"top_p": min(1.0, sampling.top_p * factor), "min_p": min(1.0, sampling.min_p * factor)}
        other = tw.Sampling(**(sampling.named() | (moved if sampling.top_p < 1 else {"min_p": moved["min_p"]})))
        if ((tw.target_rows(row[None], other, text=before)[0].dense() > 0) != (probs > 0)).any():
            raise RuntimeError(f"{label} is too near to its limit")
    return {
        "id": f"sampling/{label}",
        "comment": comment,
        "flags": list(flags),
        "sampling": sampling_value(sampling),
        "logits": _shown(row),
        "prompt": list(prompt),
        "output": list(output),
        "scores": _shown(scores),
        "probs": [float(f"{p:.12g}") for p in probs.tolist()],  # exp is not the same on all machines
        "result": "valid",
    }


def _shown(row: Any) -> list[float | None]:
    return [None if math.isinf(value) else value for value in row.tolist()]


def _penalties() -> list[Json]:
    return [
        _case("none", "no setting: a softmax"),
        _case("impossible", "a logit of -infinity", logits=[-math.inf, 0.0, -math.inf, 1.0, 0.0, 0, 0, 0, 0, 0]),
        _case("repetition", "tokens of both signs, in prompt and output", "penalty", repetition_penalty=1.05),
        _case("repetition-below-1", "which makes them more likely", "penalty", repetition_penalty=0.5),
        _case(
            "repetition-impossible",
            "a token of the text with -infinity",
            "penalty",
            logits=[-math.inf, *ROW[1:]],
            repetition_penalty=1.3,
        ),
        _case("repetition-prompt", "no output yet", "penalty", text=(PROMPT, []), repetition_penalty=1.3),
        _case("presence", "the output alone, once each", "penalty", presence_penalty=0.6),
        _case("frequency", "the output alone, each time", "penalty", frequency_penalty=0.3),
        _case("frequency-negative", "below 0", "penalty", frequency_penalty=-1.7),
        _case("no-output", "nothing to count", "penalty", text=(OUTPUT, []), presence_penalty=2, frequency_penalty=2),
        _case(
            "order",
            "a bias that changes the sign, then the three penalties",
            "penalty",
            logit_bias={0: -1.0, 1: 2.0, 5: 0.1},
            repetition_penalty=1.1,
            presence_penalty=0.7,
            frequency_penalty=0.3,
        ),
        _case("bias", "of tokens that are not in the text, too", logit_bias={4: -100.0, 9: 12.5}),
        _case("bias-suppressed", "what is suppressed stays so", "never", logit_bias={5: 100.0}, suppress_tokens=(5,)),
        _case("suppressed", "three tokens, one of them in the output", "never", suppress_tokens=(2, 5, 8)),
        _case("ends", "tokens that end a text", "never", ignore_eos=True),
    ]


def _cuts() -> list[Json]:
    flat = [0.0] * 10
    return [
        _case("greedy", "the largest score, after a penalty", "penalty", temperature=0.0, repetition_penalty=2.0),
        _case("greedy-tie", "the lowest id of equals", "tie", logits=[0, 1, 1, 0, 0, 0, 0, 0, 0, 1], temperature=0),
        _case("temperature", "0.7", temperature=0.7),
        _case("top-k", "3 of 10: the third and the fourth are equal, so 3 are kept", "cut", "tie", top_k=2),
        _case("top-k-flat", "all equal: all are kept", "cut", "tie", logits=flat, top_k=3),
        _case("top-k-1", "the largest alone", "cut", top_k=1),
        _case("top-k-11", "more than there are", "cut", top_k=11),
        _case("top-k-all", "as many as there are", "cut", top_k=10),
        _case("top-k-bias", "a bias decides who is among them", "cut", top_k=2, logit_bias={9: 10.0}),
        _case(
            "top-k-impossible",
            "fewer tokens are possible than are kept",
            "cut",
            logits=[0.0, *[-math.inf] * 8, 1.0],
            top_k=5,
        ),
        _case("top-p", "0.9", "cut", top_p=0.9),
        _case("top-p-tie", "equal ones: the lower ids", "cut", "tie", logits=flat, top_p=0.35),
        _case("top-p-share", "a share of what top-k leaves", "cut", top_k=4, top_p=0.8, temperature=2.0),
        _case("min-p", "0.1", "cut", min_p=0.1),
        _case("min-p-1", "1: the largest, all of them", "cut", "tie", logits=[0.0, 1.0, 1.0, *[0.0] * 7], min_p=1.0),
        _case("min-p-temperature", "of the probabilities, not of the logits", "cut", min_p=0.1, temperature=3.0),
    ]


def _together() -> list[Json]:
    return [
        _case(
            "all",
            "every setting",
            "penalty",
            "never",
            "cut",
            temperature=1.3,
            top_k=6,
            top_p=0.97,
            min_p=0.02,
            repetition_penalty=1.2,
            presence_penalty=-0.4,
            frequency_penalty=0.25,
            logit_bias={1: 4.0, 6: 3.5},
            suppress_tokens=(8,),
            ignore_eos=True,
        ),
        _case("all-cuts", "each cut leaves less", "cut", top_k=5, top_p=0.96, min_p=0.2),
    ]


def _random() -> list[Json]:
    """Rows of 40 tokens, with some of the settings."""
    rng = Random(7)
    found = []
    for i in range(20):
        choice: dict[str, Any] = {
            "temperature": [0.5, 0.8, 1.7][i % 3],
            "top_k": rng.randint(5, 30),
            "top_p": round(rng.uniform(0.6, 0.99), 3),
            "min_p": round(rng.uniform(0.01, 0.1), 3),
            "repetition_penalty": round(rng.uniform(0.8, 1.4), 3),
            "presence_penalty": round(rng.uniform(-1, 2), 3),
            "frequency_penalty": round(rng.uniform(-1, 1), 3),
            "logit_bias": [(token, round(rng.gauss(0, 1), 3)) for token in rng.sample(range(40), 5)],
            "suppress_tokens": rng.sample(range(40), 3),
            "ignore_eos": rng.random() < 0.5,
        }
        settings = {name: value for name, value in choice.items() if rng.random() < 0.6}
        logits = [round(rng.gauss(0, 2.5), 3) for _ in range(40)]
        text = [rng.randrange(40) for _ in range(12)], [rng.randrange(40) for _ in range(15)]
        found.append(_case(f"random-{i}", "drawn", logits=logits, text=text, **settings))
    return found
