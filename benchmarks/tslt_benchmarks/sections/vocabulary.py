"""Section: how the draft's vocabulary fits the target's, and what it can never draft."""

from __future__ import annotations

from typing import Any

import numpy as np

import tslt_wire as tw
from tslt_benchmarks.report.blocks import Column, Plot, Table, acceptance
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.section import Needs, Seconds, Section

FITS = {
    "same": "one tokenizer, outputs of one size",
    "padded": "one tokenizer, outputs of two sizes",
    "renamed": "the same ordinary tokens, other special ones",
    "mapped": "two tokenizers: tokens with the same text are drafted",
}


def run(context: Context) -> dict[str, Any]:
    """What may be drafted, and how much of the target's probability lies there."""
    models, positions = context.models, context.drafts.positions
    drafted = np.isfinite(positions.draft[0])
    sampling = tw.Sampling(temperature=context.temperature)
    mass = [float(tw.target_probs(row, sampling)[drafted].sum()) for row in positions.target]
    return {
        "fit": "mapped" if models.vocabulary.token_map else models.fit.value,
        "target": models.offered.vocab_size,
        "draft": models.draft.engine.facts.vocab_size,
        "may_be_drafted": int(drafted.sum()),
        "mass": float(np.mean(mass)),
        "least_mass": min(mass),
        "target_begins": list(models.offered.begins),
        "draft_begins": list(models.vocabulary.facts.begins),
    }


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """The facts."""
    rows = [
        ["how the two fit", FITS[figures["fit"]]],
        ["tokens of the target", f"{figures['target']:,}"],
        ["tokens of the draft", f"{figures['draft']:,}"],
        ["tokens that may be drafted", f"{figures['may_be_drafted']:,}"],
        ["what the target gives to them, mean", acceptance(figures["mass"], 4)],
        ["at the place where it is least", acceptance(figures["least_mass"], 4)],
    ]
    return [
        Table(
            columns=[Column("what"), Column("is")],
            rows=rows,
            caption="No draft is accepted more often at a place than the target's probability of the tokens that may "
            "be drafted. What may not comes from the target alone; the text is its own in every case.",
        )
    ]


def meaning(figures: dict[str, Any]) -> str:
    """What the fit costs."""
    lost = 1 - figures["mass"]
    cost = "nothing" if lost < 1e-4 else f"at most {acceptance(lost, 4)} of acceptance"
    return (
        f"{figures['may_be_drafted']:,} of the target's {figures['target']:,} tokens may be drafted: the vocabulary "
        f"costs {cost}."
    )


SECTION = Section(
    name="vocabulary",
    title="How the vocabularies fit",
    question="Can this draft propose what the target writes?",
    needs=Needs.MODELS,
    seconds=Seconds(quick=1, full=1),
    run=run,
    show=show,
    meaning=meaning,
    command="vocabularies",
)
