"""Print the golden vectors that a kernel can check as lines of numbers, for ``main.c`` and others without JSON.

A line is ``list`` or ``draft``, the vector's id, the profile, the limits, the bytes, and what they mean; or shared
numbers of evidence ``coupled``:

    list  ID  V PRECISION ENTROPY PRIOR  LIMITS  HEX  valid LIST  |  invalid CODE
    draft ID  V ENTROPY PRIOR  LIMITS  HEX  valid DRAFT  |  invalid CODE
    uniforms ID  KEY EPOCH POSITION  N, N ids  valid N numbers

PRIOR is none, uniform, density, or a table's file in hex.  LIMITS are max_frame_bytes, max_nodes, max_leaves,
max_depth, max_entries and max_extensions.  HEX and other bytes are ``-`` if there are none.  LIST is K, the tail, then
K ids, K codes, K weights.  DRAFT is round, prefix_length, prefix_hash, PRECISION, without_replacement, the extension
block in hex, N, N parents, N tokens, the number of lists, the LISTs.  KEY is 8 bytes in hex; numbers are the n of
[RACE-1].
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parents[2] / "spec" / "vectors"
PRECISIONS = ("f32", "f16", "bf16", "log2/0", "log2/1", "log2/2", "log2/3", "log2/4")
ENTROPIES = ("none", "range")
LIMITS = {
    "max_frame_bytes": 1 << 22,
    "max_nodes": 1024,
    "max_leaves": 1024,
    "max_depth": 256,
    "max_entries": 1 << 21,
    "max_extensions": 16,
}
ERRORS = (
    *("truncated", "trailing_bytes", "bad_checksum", "unknown_kind", "reserved_bits", "non_canonical"),
    *("limit_exceeded", "out_of_range", "bad_tree", "bad_list", "bad_control", "unknown_critical_extension"),
    *("not_tslt", "bad_compression"),
)
DRAFT_KIND, KIND_MASK = 0x10, 0x3F


def _runs(value: dict[str, Any], name: str) -> list[int]:
    if f"{name}s" in value:
        return list(value[f"{name}s"])
    return [item for item, count in value[f"{name}_runs"] for _ in range(count)]


def _list(value: dict[str, Any], vocab_size: int) -> list[int]:
    if "id_runs" in value:
        ids = [first + i for first, count in value["id_runs"] for i in range(count)]
    else:
        ids = list(range(vocab_size)) if value["ids"] == "all" else list(value["ids"])
    return [len(ids), value.get("tail", 0), *ids, *_runs(value, "code"), *_runs(value, "weight")]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _extensions(items: list[dict[str, Any]]) -> str:
    block = _varint(len(items)) if items else b""
    for item in items:
        data = bytes.fromhex(item["data"])
        block += _varint(item["type"]) + _varint(len(data)) + data
    return block.hex() or "-"


def _draft(value: dict[str, Any], vocab_size: int) -> list[Any]:
    precision = PRECISIONS.index(value["precision"]) if value["precision"] else 0
    fields: list[Any] = [value["round"], value["prefix_length"], value["prefix_hash"], precision]
    fields += [int(value["without_replacement"]), _extensions(value["extensions"])]
    fields += [len(value["parents"]), *value["parents"], *value["tokens"], len(value["lists"])]
    for item in value["lists"]:
        fields += _list(item, vocab_size)
    return fields


def lines() -> Iterator[str]:
    """All vectors that the kernel reads; those of other frames and of zstd are left out."""
    for name in ("lists", "frames"):
        file = json.loads((VECTORS / f"{name}.json").read_text())
        for group in file["groups"]:
            profile = group["profile"]
            if profile["entropy"] not in ENTROPIES:
                continue
            name_of_prior = profile.get("prior", "none")
            prior = file["tables"].get(name_of_prior, name_of_prior)
            head: list[Any] = [profile["vocab_size"], ENTROPIES.index(profile["entropy"]), prior]
            if name == "lists":
                head.insert(1, PRECISIONS.index(profile["precision"]))
            head += [group["limits"].get(limit, default) for limit, default in LIMITS.items()]
            for test in group["tests"]:
                if name == "frames" and int(test["hex"][:2] or "0", 16) & KIND_MASK != DRAFT_KIND:
                    continue
                means: list[Any] = ["invalid"]
                if test["result"] == "invalid":
                    means.append(ERRORS.index(test["error"]) + 1)
                else:
                    read = _list if name == "lists" else _draft
                    means = ["valid", *read(test["value"], profile["vocab_size"])]
                fields = ["list" if name == "lists" else "draft", test["id"], *head, test["hex"] or "-", *means]
                yield " ".join(map(str, fields))


def uniforms() -> Iterator[str]:
    """The shared numbers of evidence ``coupled``."""
    file = json.loads((VECTORS / "coupling.json").read_text())
    for group in file["groups"]:
        for test in group["tests"] if group["what"] == "uniforms" else ():
            place = [test["key"], test["epoch"], test["position"], len(test["ids"]), *test["ids"]]
            yield " ".join(map(str, ["uniforms", test["id"], *place, "valid", *test["numbers"]]))


if __name__ == "__main__":
    for line in (*lines(), *uniforms()):
        sys.stdout.write(line + "\n")
