"""How devices draft in tests of drafts in flight: each kind of evidence, chains and trees."""

from __future__ import annotations

from two_ends import KINDS

from tslt_runtime.drafting import DraftSettings

CHAINS = {name: kind for name, kind in KINDS.items() if max(kind.expansion) == 1} | {
    "match": DraftSettings(expansion=(1, 1), evidence="match"),
    "coupled": DraftSettings(expansion=(1, 1), truncation=None, evidence="coupled"),
}
TREES = {
    "list tree": KINDS["list tree"],
    "match tree": DraftSettings(expansion=(2, 2), evidence="match"),
    "coupled tree": DraftSettings(expansion=(2, 1, 2), truncation=None, evidence="coupled"),
}
ALL = CHAINS | TREES
