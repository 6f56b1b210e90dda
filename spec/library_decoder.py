"""The library as a decoder that answers the lines of the conformance harness (conformance.md).

TSLT_WIRE_BACKEND says which of its two backends::

    TSLT_WIRE_BACKEND=reference python -m spec.library_decoder < lines
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tslt_wire as tw
from spec.vectorgen.tools import Json, list_value, message_value, profile_from


def decoded(form: str, data: bytes, profile: tw.Profile, limits: Mapping[str, int]) -> Json:
    """What the library says of a frame or lone list: ``{"value": ...}`` or ``{"error": name}``."""
    decode: Any = tw.decode_list if form == "list" else tw.decode
    try:
        found = decode(data, profile, limits=tw.DecodeLimits(**limits))
    except tw.DecodeError as error:
        return {"error": error.code.name.lower()}
    return {"value": list_value(found) if form == "list" else message_value(found)}


def digest(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@lru_cache(maxsize=256)
def profile_of(text: str) -> tw.Profile:
    """The profile of its JSON."""
    value = json.loads(text)
    return profile_from(value, value.get("tables"))


def answer(line: str | bytes) -> Json:
    """What a line of the harness is answered with."""
    asked = json.loads(line)
    profile = profile_of(json.dumps(asked["profile"]))
    found = decoded(asked["form"], bytes.fromhex(asked["hex"]), profile, asked["limits"])
    return {"sha256": digest(found["value"])} if asked.get("digest") and "value" in found else found


def main() -> int:
    """Answer the lines of standard input, each with a line."""
    for line in sys.stdin.buffer:
        print(json.dumps(answer(line), separators=(",", ":")), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
