"""What a decoder gives for each vector; it is the module ``spec/reference_decoder.py``, or one like it.

``vectors/README.md`` says what the fields of the files mean.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parent / "vectors"
LARGE = 100_000  # V
STEPS = ("share", "urn", "index")  # the procedures of 5.4 that are functions of numbers
Json = dict[str, Any]
Decoder = Mapping[str, Any]  # the names of the module
Check = tuple[Any, Callable[[Decoder], Any]]  # what is wanted, and what is found


@dataclass(frozen=True, slots=True)
class Vector:
    """One test of a file, with what its group says."""

    id: str
    flags: frozenset[str]
    large: bool
    """Whether V is large, and so may be the time that it takes."""
    wanted: Any
    """What the vector says."""
    found: Callable[[Decoder], Any]
    """What the decoder says; what it raises for other reasons than the bytes comes through."""

    def holds(self, decoder: Decoder) -> bool:
        """Whether both are the same."""
        return bool(self.found(decoder) == self.wanted)


def vectors() -> list[Vector]:
    """All tests of all files, and one of the tables; of steps.json those of STEPS."""
    found = []
    for name, check in CHECKS.items():
        file = json.loads((VECTORS / f"{name}.json").read_text())
        tables = {table: bytes.fromhex(data) for table, data in file.get("tables", {}).items()}
        for group in file["groups"]:
            if name == "steps" and group["what"] not in STEPS:
                continue
            group["profile"] = group.get("profile", {}) | {"tables": tables}
            for test in group["tests"]:
                large = (group["profile"] | test).get("vocab_size", 0) > LARGE
                found.append(Vector(test["id"], frozenset(test["flags"]), large, *check(group, test)))
        if "tables_sha256" in file:
            found.append(Vector("tables", frozenset(), False, *_tables(file["tables_sha256"])))
    return found


def _decodes(function: str) -> Callable[[Json, Json], Check]:
    """Vectors of bytes: a value, of which the types of numbers count, or an error."""

    def check(group: Json, test: Json) -> Check:
        data, profile, limits = bytes.fromhex(test["hex"]), group["profile"], group["limits"]

        def found(decoder: Decoder) -> str:
            try:
                return json.dumps(decoder[function](data, profile, limits), sort_keys=True)
            except decoder["DecodeError"] as refused:
                return str(refused.code)

        return json.dumps(test["value"], sort_keys=True) if test["result"] == "valid" else test["error"], found

    return check


def _tables(wanted: Json) -> Check:
    def digest(entries: list[int]) -> str:
        return hashlib.sha256(b"".join(entry.to_bytes(4, "little") for entry in entries)).hexdigest()

    return wanted, lambda decoder: {name: digest(decoder[name]) for name in wanted}


def _weights(group: Json, test: Json) -> Check:
    return test["weights"], lambda decoder: [decoder["weight"](group["precision"], code) for code in test["codes"]]


def _priors(group: Json, test: Json) -> Check:
    """The runs of weights of each row; None if there is no such prior."""

    def found(decoder: Decoder) -> list[list[list[int]]] | None:
        file = bytes.fromhex(test.get("hex", "")) + bytes(test.get("zeros", 0))
        tables = {test["prior"]: file} if "hex" in test else {}
        try:
            rows = decoder["prior_rows"]({"vocab_size": test["vocab_size"], "prior": test["prior"], "tables": tables})
        except ValueError:
            return None
        weights = [(after - before for before, after in pairwise(row)) for row in rows]
        return [[[weight, sum(1 for _ in same)] for weight, same in groupby(row)] for row in weights]

    return test.get("rows"), found


def _verify(group: Json, test: Json) -> Check:
    """The verdict, and whether a number less is too few."""
    data, profile, coupling, rows = bytes.fromhex(test["hex"]), group["profile"], test.get("coupling"), "target_probs"
    uniforms = test["uniforms"]

    def found(decoder: Decoder) -> Any:
        draft = decoder["decode_frame"](data, profile)
        verdict = decoder["verify"](draft, test[rows], list(uniforms), profile, coupling)
        if not uniforms:
            return verdict, True
        try:
            return verdict, decoder["verify"](draft, test[rows], uniforms[:-1], profile, coupling)
        except IndexError:
            return verdict, True

    return (test["verdict"], True), found


def _coded(group: Json, test: Json) -> Check:
    """The result, and the uniforms that are left."""
    what, profile, rows = group["what"], group["profile"], test.get("target_probs")
    if what == "rounding":
        probs = [Fraction(prob) for prob in test["probs"]]
        return [test["up"], test["down"]], lambda d: [[d[name](prob) for prob in probs] for name in ("up", "down")]

    def result(decoder: Decoder, uniforms: list[float]) -> Any:
        message = decoder["decode_frame"](bytes.fromhex(test["hex"]), profile) if "hex" in test else {}
        if what == "verify":
            return decoder["verify_chain"](message, rows, uniforms, test["proposals"])
        if what == "propose":
            return decoder["propose"](rows, uniforms, len(test["made"]["tokens"]))
        if what == "take":
            q = test["q"]
            source = decoder["Siblings"](q["ids"], q["weights"], q.get("tail", 0), decoder["prior_rows"](profile))
            return decoder["take"](message, source.probabilities(profile["vocab_size"]), uniforms)
        listed = decoder["decode_frame"](bytes.fromhex(test["list"]), profile)["list"]
        arguments = message, test["node"], listed, rows, uniforms, profile
        answer = decoder["verify_list"](*arguments)
        message["codes"][test["node"] + 1] ^= 1  # [LAZY-3]: a list that does not belong to the draft
        try:
            return answer, decoder["verify_list"](*arguments)
        except ValueError as refused:
            return answer, str(refused)

    def found(decoder: Decoder) -> Any:
        uniforms = list(test["uniforms"])
        return result(decoder, uniforms), uniforms

    wanted = {"propose": "made", "take": "taken"}.get(what, "answer")
    return (test[wanted] if what != "list" else (test[wanted], "protocol_violation"), []), found


def _coupling(group: Json, test: Json) -> Check:
    if "words" in test:
        counter, key, words = ([int(word, 16) for word in test[name].split()] for name in ("counter", "key", "words"))
        return words, lambda decoder: decoder["philox"](counter, key)
    if "numbers" in test:
        return test["numbers"], lambda d: [d["shared_number"](test, test["position"], token) for token in test["ids"]]
    return test["arrived"], lambda d: d["race"](test, test["position"], test["ids"], test["weights"])


def _sampling(group: Json, test: Json) -> Check:
    z = [-math.inf if logit is None else logit for logit in test["logits"]]

    def found(decoder: Decoder) -> Any:
        scores = decoder["adjusted"](z, test["sampling"], test["prompt"], test["output"], group["eos_tokens"])
        row = decoder["target_row"](scores, test["sampling"])
        # Sums of another order differ in their last places; what is not there is 0.
        probs = [
            prob if math.isclose(row.get(token, 0.0), prob, rel_tol=1e-11) else row.get(token, 0.0)
            for token, prob in enumerate(test["probs"])
        ]
        others = sorted(set(row) - set(range(len(probs))))
        return [None if score == -math.inf else score for score in scores], probs, others

    return (test["scores"], test["probs"], []), found


def _steps(group: Json, test: Json) -> Check:
    if group["what"] == "share":
        return test["shares"], lambda decoder: [decoder["share"](*pair) for pair in test["pairs"]]
    if group["what"] == "urn":
        return test["weights"], lambda decoder: decoder["urn"](test["n"], test["B"], test["g"])
    positions = test["positions"]
    return positions, lambda decoder: decoder["indexed"](test["index"], len(positions), test["free"])


CHECKS: dict[str, Callable[[Json, Json], Check]] = {
    "lists": _decodes("decode_list"),
    "frames": _decodes("decode_frame"),
    "weights": _weights,
    "priors": _priors,
    "verify": _verify,
    "coded": _coded,
    "coupling": _coupling,
    "sampling": _sampling,
    "steps": _steps,
}
