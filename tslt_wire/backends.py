"""Which code does the work: the native kernel, or the reference in Python.

This is the one place that chooses.  ``TSLT_WIRE_BACKEND`` set to ``native`` or ``reference`` forces one, and a forced
one that is not there is an ImportError.  Otherwise the kernel is used whenever this installation has one, and whoever
wants to know asks ``tslt_wire.backend``.  Both give the same bytes and error codes; the words of errors differ.
"""

from __future__ import annotations

import importlib.util
import os

from tslt_wire.coding import philox
from tslt_wire.frames import codec
from tslt_wire.lists import distribution, list_codec

VARIABLE = "TSLT_WIRE_BACKEND"


def _choose() -> str:
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "native", "reference"):
        raise ImportError(f"{VARIABLE} must be native or reference, got {wanted!r}")
    # Only a missing kernel is a reason to do without: one that is there and cannot be loaded is an error.
    found = importlib.util.find_spec("tslt_wire._kernel") is not None
    if wanted == "native" and not found:
        raise ImportError(
            f"{VARIABLE}=native, but this installation has no native kernel: it was built without a C compiler"
        )
    return "native" if found and wanted != "reference" else "reference"


backend = _choose()
"""``native`` or ``reference``."""

if backend == "native":
    from tslt_wire import native

    sparsify, sparsify_batch = native.sparsify, native.sparsify_batch
    encode_list, decode_list = native.encode_list, native.decode_list
    encode, decode = native.encode, native.decode
    uniforms = native.uniforms
else:
    sparsify, sparsify_batch = distribution.sparsify, distribution.sparsify_batch
    encode_list, decode_list = list_codec.encode_list, list_codec.decode_list
    encode, decode = codec.encode, codec.decode
    uniforms = philox.uniforms
