"""Whether a decoder gives what a vector says; the decoder is the module ``spec/reference_decoder.py``, or one like it.

``vectors/README.md`` says what the fields of the files mean.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parent / "vectors"
LARGE = 100_000  # V
Json = dict[str, Any]
Decoder = Mapping[str, Any]  # the names of the module


@dataclass(frozen=True, slots=True)
class Vector:
    """One test of a file, with what its group says."""

    id: str
    flags: frozenset[str]
    large: bool
    """Whether V is large, and so may be the time that it takes."""
    holds: Callable[[Decoder], bool]
    """Whether the decoder gives what the vector says; what it raises for other reasons than the bytes comes through."""


def vectors() -> list[Vector]:
    """All tests of all files, and one of the tables."""
    found = []
    for name, check in CHECKS.items():
        file = json.loads((VECTORS / f"{name}.json").read_text())
        tables = {table: bytes.fromhex(data) for table, data in file.get("tables", {}).items()}
        for group in file["groups"]:
            group["profile"] = group.get("profile", {}) | {"tables": tables}
            large = group["profile"].get("vocab_size", 0) > LARGE
            for test in group["tests"]:
                found.append(Vector(test["id"], frozenset(test["flags"]), large, check(group, test)))
        if "tables_sha256" in file:
            found.append(Vector("tables", frozenset(), False, _tables(file["tables_sha256"])))
    return found


def _decodes(function: str) -> Callable[[Json, Json], Callable[[Decoder], bool]]:
    """Vectors of bytes: a value, of which the types of numbers count, or an error."""

    def check(group: Json, test: Json) -> Callable[[Decoder], bool]:
        data, profile, limits = bytes.fromhex(test["hex"]), group["profile"], group["limits"]
        wanted = json.dumps(test["value"], sort_keys=True) if test["result"] == "valid" else test["error"]

        def holds(decoder: Decoder) -> bool:
            try:
                found = json.dumps(decoder[function](data, profile, limits), sort_keys=True)
            except decoder["DecodeError"] as refused:
                found = refused.code
            return bool(found == wanted)

        return holds

    return check


def _tables(wanted: Json) -> Callable[[Decoder], bool]:
    def digest(entries: list[int]) -> str:
        return hashlib.sha256(b"".join(entry.to_bytes(4, "little") for entry in entries)).hexdigest()

    return lambda decoder: {name: digest(decoder[name]) for name in wanted} == wanted


def _weights(group: Json, test: Json) -> Callable[[Decoder], bool]:
    precision = group["precision"]
    return lambda decoder: [decoder["weight"](precision, code) for code in test["codes"]] == test["weights"]


def _verify(group: Json, test: Json) -> Callable[[Decoder], bool]:
    data, profile, coupling, rows = bytes.fromhex(test["hex"]), group["profile"], test.get("coupling"), "target_probs"

    def holds(decoder: Decoder) -> bool:
        draft, uniforms = decoder["decode_frame"](data, profile), list(test["uniforms"])
        if decoder["verify"](draft, test[rows], uniforms, profile, coupling) != test["verdict"]:
            return False
        try:  # none is left over
            return not uniforms or not decoder["verify"](draft, test[rows], uniforms[:-1], profile, coupling)
        except IndexError:
            return True

    return holds


def _coded(group: Json, test: Json) -> Callable[[Decoder], bool]:
    what, profile, rows = group["what"], group["profile"], test.get("target_probs")

    def answer(decoder: Decoder, uniforms: list[float]) -> bool:
        message = decoder["decode_frame"](bytes.fromhex(test["hex"]), profile) if "hex" in test else {}
        if what == "verify":
            return bool(decoder["verify_chain"](message, rows, uniforms, test["proposals"]) == test["answer"])
        if what == "propose":
            return bool(decoder["propose"](rows, uniforms, len(test["made"]["tokens"])) == test["made"])
        if what == "take":
            q = test["q"]
            source = decoder["Siblings"](q["ids"], q["weights"], q.get("tail", 0), decoder["prior_rows"](profile))
            found = decoder["take"](message, source.probabilities(profile["vocab_size"]), uniforms)
            return bool(found == test["taken"])
        listed = decoder["decode_frame"](bytes.fromhex(test["list"]), profile)["list"]
        arguments = message, test["node"], listed, rows, uniforms, profile
        if decoder["verify_list"](*arguments) != test["answer"]:
            return False
        message["codes"][test["node"] + 1] ^= 1  # [LAZY-3]: a list that does not belong to the draft
        try:
            decoder["verify_list"](*arguments)
        except ValueError as refused:
            return str(refused) == "protocol_violation"
        return False

    def holds(decoder: Decoder) -> bool:
        if what == "rounding":
            probs = [Fraction(prob) for prob in test["probs"]]
            return [[decoder[name](prob) for prob in probs] for name in ("up", "down")] == [test["up"], test["down"]]
        uniforms = list(test["uniforms"])
        return answer(decoder, uniforms) and not uniforms

    return holds


def _coupling(group: Json, test: Json) -> Callable[[Decoder], bool]:
    def holds(decoder: Decoder) -> bool:
        if "words" in test:
            counter, key, words = (
                [int(word, 16) for word in test[name].split()] for name in ("counter", "key", "words")
            )
            return bool(decoder["philox"](counter, key) == words)
        if "numbers" in test:
            numbers = [decoder["shared_number"](test, test["position"], token) for token in test["ids"]]
            return bool(numbers == test["numbers"])
        return bool(decoder["race"](test, test["position"], test["ids"], test["weights"]) == test["arrived"])

    return holds


def _sampling(group: Json, test: Json) -> Callable[[Decoder], bool]:
    def holds(decoder: Decoder) -> bool:
        z = [-math.inf if logit is None else logit for logit in test["logits"]]
        found = decoder["adjusted"](z, test["sampling"], test["prompt"], test["output"], group["eos_tokens"])
        if [None if score == -math.inf else score for score in found] != test["scores"]:
            return False
        row = decoder["target_row"](found, test["sampling"])
        near = [math.isclose(row.get(token, 0.0), prob, rel_tol=1e-11) for token, prob in enumerate(test["probs"])]
        return all(near) and row.keys() <= set(range(len(near)))

    return holds


def _steps(group: Json, test: Json) -> Callable[[Decoder], bool]:
    """Of the procedures of 5.4 those that are functions of numbers."""

    def holds(decoder: Decoder) -> bool:
        if group["what"] == "share":
            return bool([decoder["share"](*pair) for pair in test["pairs"]] == test["shares"])
        if group["what"] == "urn":
            return bool(decoder["urn"](test["n"], test["B"], test["g"]) == test["weights"])
        if group["what"] == "index":
            positions = test["positions"]
            return bool(decoder["indexed"](test["index"], len(positions), test["free"]) == positions)
        return True

    return holds


CHECKS = {
    "lists": _decodes("decode_list"),
    "frames": _decodes("decode_frame"),
    "weights": _weights,
    "verify": _verify,
    "coded": _coded,
    "coupling": _coupling,
    "sampling": _sampling,
    "steps": _steps,
}
