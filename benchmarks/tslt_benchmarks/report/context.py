"""What a section is given to measure with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tslt_benchmarks.drafts import Drafts
from tslt_benchmarks.pairs import Models
from tslt_wire.throughput import Compute


class LeftOut(Exception):
    """A section has nothing to measure here; the message says why."""


@dataclass(kw_only=True)
class Context:
    """Settings of a run, and its models or recorded logits."""

    quick: bool
    """Fewer positions, places and repetitions; the same questions."""
    seed: int
    temperature: float
    """Of the target, where a section has but one."""
    prompts: tuple[str, ...]
    """Texts begin with them."""
    folder: Path
    """For files of this run; sections may leave some there for those after them."""
    load_models: Callable[[], Models] | None
    """None: there are logits alone."""
    make_drafts: Callable[[Callable[[int, int], None]], Drafts] | None
    """None: there is nothing to measure on; its argument is ``tell``."""
    times: Compute | None = None
    """Of the models, in place of what they take here."""
    tell: Callable[[int, int], None] = lambda done, of: None
    """Says that ``done`` parts of ``of`` are done."""
    found: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Figures of the sections before."""

    @cached_property
    def models(self) -> Models:
        """Both models, loaded once; LeftOut if there are none."""
        if self.load_models is None:
            raise LeftOut("it runs both models, and there are only logits")
        return self.load_models()

    @cached_property
    def drafts(self) -> Drafts:
        """Logits of both models along texts of the target, the same for all sections; LeftOut if there are none."""
        if self.make_drafts is None:
            raise LeftOut("there are neither models nor logits")
        return self.make_drafts(self.tell)

    def figures(self, name: str) -> dict[str, Any]:
        """What a section that this one ``uses`` has measured; LeftOut if it was left out itself."""
        if name not in self.found:
            raise LeftOut(f"it needs the figures of {name}, which are not here")
        return self.found[name]
