"""Whether an edge, and the draft model, take what a device is to draft."""

from __future__ import annotations

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.evidence import kind_of_evidence


def check_settings(settings: DraftSettings, welcome: tw.Welcome, *, peer: str, most_leaves: int | None) -> None:
    """Refuse settings before anything is drafted with them.

    ``peer``: the edge, for messages.  ``most_leaves``: of the nodes that the draft model is run on; None: any number.
    Raises EdgeError for what the edge has not agreed to, ValueError for a tree that it or the model does not take,
    TypeError for other settings.
    """
    if not isinstance(settings, DraftSettings):
        raise TypeError(f"settings must be DraftSettings, got {settings!r}")
    if settings.evidence not in welcome.evidence:
        raise EdgeError(f"the edge at {peer} takes {list(welcome.evidence)}, not {settings.evidence!r}")
    if kind_of_evidence(settings.evidence).sends_lists and settings.precision not in welcome.precisions:
        raise EdgeError(f"the edge at {peer} takes {list(welcome.precisions)}, not {settings.precision}")
    if settings.nodes > welcome.limits.max_nodes:
        raise ValueError(f"the edge takes trees of {welcome.limits.max_nodes} nodes, {settings.expansion} has more")
    if settings.leaves > welcome.limits.max_leaves:
        raise ValueError(f"the edge takes trees of {welcome.limits.max_leaves} leaves, {settings.expansion} has more")
    if most_leaves is not None and settings.run_leaves > most_leaves:
        raise ValueError(
            f"the draft model runs trees of {most_leaves} leaves, {settings.expansion} has more above its last level"
        )
