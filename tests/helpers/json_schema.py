"""Whether a JSON value is as a JSON Schema says: the few words of it that spec/vectors/schema.json uses."""

from __future__ import annotations

import re
from typing import Any

TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
LIMITS = ("type", "const", "enum", "pattern", "minimum", "maximum", "minItems", "maxItems")
PARTS = ("$ref", "items", "required", "properties", "additionalProperties", "allOf", "anyOf", "oneOf")
ABOUT = frozenset({"$schema", "title", "$defs"})


def fault(value: Any, schema: Any, root: Any, at: str = "") -> str | None:
    """Where and why ``value`` does not fit, or None; ValueError for a word that is not known here."""
    if unknown := set(schema) - {*LIMITS, *PARTS} - ABOUT:
        raise ValueError(f"this checker does not know {sorted(unknown)}")
    if "$ref" in schema:
        return fault(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if not _fits(value, schema):
        return f"{at}: {str(value)[:80]} is not {str(schema)[:200]}"
    if isinstance(value, dict):
        found = _inside(value, schema, root, at)
    else:
        items = enumerate(value) if isinstance(value, list) and "items" in schema else ()
        found = next(filter(None, (fault(item, schema["items"], root, f"{at}/{i}") for i, item in items)), None)
    return found or _combined(value, schema, root, at)


def _fits(value: Any, schema: Any) -> bool:
    wanted = schema.get("type")
    if wanted == "null":
        return value is None
    if wanted and (not isinstance(value, TYPES[wanted]) or (isinstance(value, bool) and wanted != "boolean")):
        return False
    checks = {
        "const": lambda said: value == said and type(value) is type(said),
        "enum": lambda said: value in said,
        "pattern": lambda said: re.search(said, value) is not None,
        "minimum": lambda said: value >= said,
        "maximum": lambda said: value <= said,
        "minItems": lambda said: len(value) >= said,
        "maxItems": lambda said: len(value) <= said,
    }
    return all(check(schema[word]) for word, check in checks.items() if word in schema)


def _inside(value: dict[str, Any], schema: Any, root: Any, at: str) -> str | None:
    if missing := set(schema.get("required", ())) - set(value):
        return f"{at}: no {sorted(missing)}"
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name, item in value.items():
        if name not in known and others is False:
            return f"{at}: {name} is not known"
        if found := fault(item, known.get(name, others), root, f"{at}/{name}"):
            return found
    return None


def _combined(value: Any, schema: Any, root: Any, at: str) -> str | None:
    for word, good in (("allOf", None), ("anyOf", range(1, 99)), ("oneOf", range(1, 2))):
        if word in schema:
            faults = [fault(value, part, root, at) for part in schema[word]]
            fits = faults.count(None)
            if fits not in (good if good is not None else (len(faults),)):
                return max(filter(None, faults), key=lambda text: len(text.split(":")[0]), default=f"{at}: {word}")
    return None
