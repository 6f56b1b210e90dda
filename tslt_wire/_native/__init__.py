"""Which code does the hot path: the native kernel of this folder, or the reference in Python.

Decided here, once.  ``TSLT_WIRE_BACKEND`` set to ``native`` or ``reference`` forces one, and a forced one that is not
there is an ImportError.  Otherwise the kernel is used whenever this installation has one, and whoever wants to know
asks ``tslt_wire.backend``.  Each layer's public functions ask ``backend`` and choose by it; both give the same bytes,
the same error codes, and the same exceptions for wrong arguments.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING

VARIABLE = "TSLT_WIRE_BACKEND"


def choose() -> str:
    """Return ``native`` or ``reference``; ImportError for another wish, or for one that cannot be fulfilled."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "native", "reference"):
        raise ImportError(f"{VARIABLE} must be native or reference, got {wanted!r}")
    # Only a missing kernel is a reason to do without: one that is there and cannot be loaded is an error.
    found = importlib.util.find_spec("tslt_wire._native._kernel") is not None
    if wanted == "native" and not found:
        raise ImportError(
            f"{VARIABLE}=native, but this installation has no native kernel: it was built without a C compiler"
        )
    return "native" if found and wanted != "reference" else "reference"


backend = choose()
"""``native`` or ``reference``."""

if TYPE_CHECKING:
    from tslt_wire._native import _kernel as kernel
else:
    kernel = importlib.import_module("tslt_wire._native._kernel") if backend == "native" else None
    """The extension module; None where ``backend`` is ``reference``."""
