"""How a model of ``transformers`` is compared with plain text at load: see ``engines.self_check``."""

from __future__ import annotations

from typing import Any

from tslt_runtime.engines.self_check import check_draft, check_target
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel

LEAST, USUAL = 32, 320
"""Tokens of the text that is scored: at least, and beyond the windows that most local layers have."""
BUDGET = {"cpu": 1e11}
"""Weights times tokens of that text, by where the model is: some ten passes over it take seconds."""
ELSEWHERE = 1e14
LOCAL = ("window", "local", "chunk", "block", "radius", "stride")
"""Words in names of a configuration that speak of near tokens."""


def check_draft_model(model: DraftModel) -> None:
    """Let ``model`` do without what it does not do as plain text; EngineError for one that no text can be had from."""
    length, beyond = _length_of(model)
    model.restrict(check_draft(model, model.plain_rows, length=length), beyond)


def check_target_model(model: TargetModel) -> None:
    """The same for a target."""
    length, beyond = _length_of(model)
    model.restrict(check_target(model, model.plain_rows, length=length), beyond)


def check_length(windows: dict[str, int], weights: int, *, context: int, device: str) -> tuple[int, tuple[str, ...]]:
    """Tokens of the text that shows what kind of attention a model has, and what is too long to be shown.

    ``windows``: see ``windows_of``; ``weights``: how many there are.  A local layer shows beyond its window alone.
    """
    affordable = max(LEAST, int(BUDGET.get(device, ELSEWHERE) / weights))
    wanted = max([USUAL, *(size + LEAST for size in windows.values() if size < context)])
    length = min(wanted, affordable, context)
    remarks = tuple(
        f"its configuration says {name} = {size}: that no layer attends to so many tokens alone would take too long to "
        f"check here; a context of {size} tokens is safe"
        for name, size in windows.items()
        if length < size + LEAST <= context and "window" in name
    )
    return length, remarks


def windows_of(config: Any) -> dict[str, int]:
    """Sizes that a configuration has for something local, attention to near tokens alone perhaps, by their names."""
    return {
        name: value
        for name, value in config.to_dict().items()
        if any(word in name for word in LOCAL) and type(value) is int and value > 1
    }


def _length_of(model: DraftModel | TargetModel) -> tuple[int, tuple[str, ...]]:
    return check_length(windows_of(model.config), model.weights, context=model.context_limit, device=model.device.type)
