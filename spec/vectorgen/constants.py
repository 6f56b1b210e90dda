"""spec/tables.json: every table of the specification as numbers, each with its digest.

Spec section 5.4 and appendix A.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from spec.vectorgen.tools import Json
from tslt_wire.coding.id_model import OCTAVE_MASSES
from tslt_wire.coding.prefix_codes import FIRST_LENGTH, NEXT_LENGTH, NEXT_NONE
from tslt_wire.lists.precision import _COARSE, _FINE, _LOG_TABLES
from tslt_wire.lists.range_coded import AFFINITY, HIT_PRIOR, SIZE_WEIGHTS, TAIL_NEAR, TAIL_NONE


def build() -> dict[str, Json]:
    """All tables by name: where they stand, their entries row by row, and the digest."""
    used = {  # by section, as the specification names them
        "T": ("appendix A", [_LOG_TABLES[4].tolist()]),
        "A": ("appendix A", [_COARSE.tolist()]),
        "B": ("appendix A", [_FINE.tolist()]),
        "S": ("RLIST-1", [SIZE_WEIGHTS]),
        "H": ("RLIST-5", [[*before, *now] for before, now in HIT_PRIOR]),
        "F": ("RLIST-7", AFFINITY),
        "M": ("RLIST-3", OCTAVE_MASSES),
        "tail_near": ("RLIST-12", [TAIL_NEAR]),
        "tail_none": ("RLIST-12", [TAIL_NONE]),
        "first_length": ("RLIST-15", [FIRST_LENGTH[:5]]),
        "next_length": ("RLIST-15", NEXT_LENGTH),
        "next_none": ("RLIST-15", [NEXT_NONE]),
    }
    return {name: _table(where, rows) for name, (where, rows) in used.items()}


def _table(where: str, rows: Sequence[Sequence[int]]) -> Json:
    entries: Any = np.array(rows, "<u4")
    return {"where": where, "rows": entries.tolist(), "sha256": hashlib.sha256(entries.tobytes()).hexdigest()}


def written() -> str:
    """The file, a line for each table."""
    lines = [f' "{name}": {_json(table)}' for name, table in build().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _json(table: Json) -> str:
    rows = ", ".join(str(row) for row in table["rows"])
    return f'{{"where": "{table["where"]}", "sha256": "{table["sha256"]}", "rows": [{rows}]}}'
