"""How a model of ``transformers`` is compared with plain text at load: see ``engines.self_check``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tslt_runtime.engines.self_check import Findings, check_draft, check_target
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel

LEAST, USUAL = 32, 320
"""Tokens of the text that is scored: at least, and beyond the windows that most local layers have."""
BUDGET = {"cpu": 1e11}
"""Weights times tokens of that text, by where the model is: some ten passes over it take seconds."""
ELSEWHERE = 1e14
LOCAL = ("window", "local", "chunk", "block", "radius", "stride")
"""Words in names of a configuration that speak of near tokens."""
WINDOW, LAYERS = "window", "layers"
"""In names of a window's size, and of how many layers have one."""


def check_draft_model(model: DraftModel) -> None:
    """Let ``model`` do without what it does not do as plain text; EngineError for one that no text can be had from."""
    model.restrict(_as_configured(model, check_draft(model, model.plain_rows, length=_length_of(model))))


def check_target_model(model: TargetModel) -> None:
    """The same for a target."""
    model.restrict(_as_configured(model, check_target(model, model.plain_rows, length=_length_of(model))))


def check_length(windows: dict[str, int], weights: int, *, context: int, device: str) -> int:
    """Tokens of the text that shows what kind of attention a model has.

    ``windows``: see ``windows_of``; ``weights``: how many there are.  A local layer shows beyond its window alone.
    """
    affordable = max(LEAST, int(BUDGET.get(device, ELSEWHERE) / weights))
    wanted = max([USUAL, *(size + LEAST for size in windows.values() if size < context)])
    return min(wanted, affordable, context)


def windows_of(config: Any) -> dict[str, int]:
    """Sizes that a configuration has for something local, attention to near tokens alone perhaps, by their names."""
    return {
        name: value
        for name, value in config.to_dict().items()
        if any(word in name for word in LOCAL) and type(value) is int and value > 1
    }


def _as_configured(model: DraftModel | TargetModel, findings: Findings) -> Findings:
    """``findings``, and no trees where the configuration speaks of a window.

    What a tree's node sees of a window's far edge matters little to most texts, and much to some: too rarely to be
    found by scoring one.
    """
    windows = {
        name: size
        for name, size in windows_of(model.config).items()
        if WINDOW in name and LAYERS not in name and size < model.context_limit
    }
    if not windows or not findings.trees:
        return findings
    said = ", ".join(f"{name} = {size}" for name, size in windows.items())
    remark = f"chains alone: its configuration says {said}, and beyond a window trees may go wrong unseen"
    return replace(findings, trees=False, remarks=(*findings.remarks, remark))


def _length_of(model: DraftModel | TargetModel) -> int:
    return check_length(windows_of(model.config), model.weights, context=model.context_limit, device=model.device.type)
