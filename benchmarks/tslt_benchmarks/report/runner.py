"""Runs sections one after the other, keeps their results, and says how long the rest will take."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

from tslt_benchmarks.report.context import Context, LeftOut
from tslt_benchmarks.report.progress import Progress
from tslt_benchmarks.report.provenance import load, now
from tslt_benchmarks.report.section import Needs, Section
from tslt_benchmarks.report.store import Key, Result, Store, differences


@dataclass(slots=True)
class Outcome:
    """What came of all sections."""

    results: dict[str, Result] = field(default_factory=dict)
    """By section."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Sections that had nothing to measure, and why."""
    failed: dict[str, str] = field(default_factory=dict)
    """Sections that stopped with an error, and the error."""


def in_order(sections: Sequence[Section]) -> list[Section]:
    """The same, each after those that it uses; ValueError for one that uses what is not there, or itself."""
    by_name = {section.name: section for section in sections}
    if len(by_name) < len(sections):
        raise ValueError("two sections have one name")
    done: dict[str, Section] = {}

    def add(section: Section, above: tuple[str, ...]) -> None:
        for name in section.uses:
            if name in above or name not in by_name:
                raise ValueError(f"section {section.name} uses {name}, which is not there or uses it in turn")
            add(by_name[name], (*above, name))
        done.setdefault(section.name, section)

    for section in sections:
        add(section, (section.name,))
    return list(done.values())


def key_of(section: Section, key: Key, by_name: dict[str, Section]) -> dict[str, str]:
    """What figures of a section depend on: all that the run's do, and the versions of its code."""
    used = {f"version of {name}": str(by_name[name].version) for name in section.uses}
    return {**key, "version of the section": str(section.version), **used}


def run(sections: Sequence[Section], context: Context, store: Store, key: Key, progress: Progress) -> Outcome:
    """Run what has no result with this ``key`` yet; a section that fails does not stop the others.

    ctrl-C does: what was measured is kept, and the next run goes on behind it.
    """
    outcome, by_name = Outcome(), {section.name: section for section in sections}
    ordered = in_order(sections)
    todo: list[Section] = []
    again: set[str] = set()
    for section in ordered:
        found = store.load(section.name)
        wanted = key_of(section, key, by_name)
        apart = differences(found.key, wanted) if found else []
        if found and not apart and not again & set(section.uses):
            outcome.results[section.name] = found
            progress.kept(section)
            continue
        if apart:
            progress.mismatch(section, apart)
        again.add(section.name)
        todo.append(section)
    progress.plan(todo, quick=context.quick)
    for section in todo:
        context.found = {name: result.figures for name, result in outcome.results.items()}
        context.tell = progress.begin(section)
        before, begun = load(), time.monotonic()
        try:
            require(section, context)
            figures = store.as_read(section.run(context))
            section.show(figures)
            section.meaning(figures)
        except LeftOut as reason:
            outcome.left_out[section.name] = str(reason)
            progress.end(section, f"left out: {reason}")
            continue
        except Exception as error:  # noqa: BLE001 - hours of other sections must not be lost with one
            outcome.failed[section.name] = f"{type(error).__name__}: {error}"
            progress.end(section, "failed\n" + traceback.format_exc())
            continue
        taken = time.monotonic() - begun
        result = Result(
            section=section.name,
            key=key_of(section, key, by_name),
            figures=figures,
            seconds=round(taken, 2),
            date=now(),
            load=before,
        )
        store.save(result)
        outcome.results[section.name] = result
        progress.end(section, "done")
    return outcome


def require(section: Section, context: Context) -> None:
    """Raise LeftOut if a section needs what this run has not."""
    if section.needs is Needs.MODELS and context.load_models is None:
        raise LeftOut("it runs both models, and there are only recorded logits")
    if section.needs is Needs.LOGITS and context.make_drafts is None:
        raise LeftOut("it needs models or recorded logits")
