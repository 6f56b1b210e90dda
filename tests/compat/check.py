"""What one interpreter with one numpy makes of the format; needs nothing but numpy and the standard library.

All vectors are read, and the valid ones written again, by the library, and read by the reference decoder; then a fixed
set of messages is made and written.  Prints one JSON object with the digest of all bytes that were written.
``tests/compat/run.py`` compares those of several interpreters.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import tslt_wire as tw
from spec import random_frames
from spec import reference_decoder as ref
from spec.vectorgen.tools import list_value, message_value, profile_from
from tslt_wire.lists.precision import weights_of
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.list_rule import TOKEN_BY_TOKEN
from tslt_wire.verification.verdicts import verify_with

ROOT = Path(__file__).resolve().parent.parent.parent
Json = dict[str, Any]
TRUNCATIONS = (None, tw.TopK(1), tw.TopK(32), tw.TopK(300), tw.TopP(0.9), tw.MinProb(1e-3), tw.TopK(64) & tw.TopP(0.8))


def vectors() -> Iterator[Json]:
    """Vectors of lists.json and frames.json, in the form of spec/random_frames.py."""
    for form in ("list", "frame"):
        file = json.loads((ROOT / "spec" / "vectors" / f"{form}s.json").read_text())
        for group in file["groups"]:
            if group["profile"]["entropy"] == "zstd":
                continue  # another zstd may find other, as good, bytes
            head = {"form": form, "profile": group["profile"], "limits": group["limits"], "tables": file["tables"]}
            for test in group["tests"]:
                yield {**head, **test}


def by_library(case: Json) -> tuple[Any, str | None, bytes]:
    """Value, error, and the bytes that the value is written as."""
    profile, data = profile_from(case["profile"], case.get("tables")), bytes.fromhex(case["hex"])
    limits = tw.DecodeLimits(**case["limits"])
    try:
        if case["form"] == "list":
            q = tw.decode_list(data, profile, limits=limits)
            return list_value(q), None, tw.encode_list(q, profile)
        message = tw.decode(data, profile, limits=limits)
        return message_value(message), None, tw.encode(message, profile)
    except tw.DecodeError as error:
        return None, error.code.name.lower(), data


def by_reference(case: Json) -> tuple[Any, str | None]:
    """Value and error."""
    decode = ref.decode_list if case["form"] == "list" else ref.decode_frame
    try:
        tables = {name: bytes.fromhex(data) for name, data in case.get("tables", {}).items()}
        return decode(bytes.fromhex(case["hex"]), case["profile"] | {"tables": tables}, case["limits"]), None
    except ref.DecodeError as error:
        return None, error.code


def check(case: Json, digest: Any) -> None:
    """Read and write one case; RuntimeError if it is not what it should be."""
    value, error, written = by_library(case)
    wanted = (case.get("value"), case.get("error"))
    if (value, error) != wanted or by_reference(case) != wanted or written.hex() != case["hex"]:
        raise RuntimeError(f"{case['id']} is read or written in another way here")
    digest.update(written)


def check_weights(digest: Any) -> int:
    """The vectors of weights.json; how many there are."""
    count = 0
    for group in json.loads((ROOT / "spec" / "vectors" / "weights.json").read_text())["groups"]:
        for test in group["tests"]:
            found = weights_of(tw.Precision(group["precision"]), np.array(test["codes"], np.uint32))
            by_reference = [ref.weight(group["precision"], code) for code in test["codes"]]
            if found.tolist() != test["weights"] or by_reference != test["weights"]:
                raise RuntimeError(f"{test['id']} has other weights here")
            digest.update(found.astype("<i8").tobytes())
            count += 1
    return count


class Scripted(np.random.Generator):
    """Stands in for a random generator."""

    def __init__(self, uniforms: list[float]) -> None:
        super().__init__(np.random.PCG64(0))
        self._left = list(uniforms)

    def random(self, *_: Any, **__: Any) -> Any:
        """The next number."""
        return self._left.pop(0)


def check_verification() -> int:
    """The vectors of verify.json; how many there are."""
    count = 0
    file = json.loads((ROOT / "spec" / "vectors" / "verify.json").read_text())
    for group in file["groups"]:
        for test in group["tests"]:
            draft: Any = tw.decode(bytes.fromhex(test["hex"]), profile_from(group["profile"], file["tables"]))
            rng: Any = Scripted(test["uniforms"])
            shared = test.get("coupling")
            coupling = tw.Coupling(bytes.fromhex(shared["key"]), shared["epoch"]) if shared else None
            choices = RandomChoices(rng)
            found: Any = verify_with(draft, test["target_probs"], choices, coupling=coupling, least_held=TOKEN_BY_TOKEN)
            shown = message_value(draft)
            by_reference = ref.verify(shown, test["target_probs"], test["uniforms"], group["profile"], shared)
            by_library = {"round": found.round, "node": found.node, "token": found.token}
            if by_library != test["verdict"] or by_reference != test["verdict"]:
                raise RuntimeError(f"{test['id']} has another verdict here")
            count += 1
    return count


def logits(rng: Random, vocab_size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Logits with few large ones, some ties and some impossible tokens; products of exact numbers alone."""
    values = [12 * rng.random() * rng.random() * rng.random() - 4 * rng.random() for _ in range(vocab_size)]
    if rng.random() < 0.3:
        values = [round(value * 4) / 4 for value in values]
    for i in rng.sample(range(vocab_size), vocab_size // 8):
        values[i] = -np.inf
    return np.array(values)


def lists(count: int) -> Iterator[tw.SparseDistribution]:
    """What ``sparsify`` makes of ``count`` seeded logits."""
    for i in range(count):
        rng = Random(f"compat/{i}")
        yield tw.sparsify(
            logits(rng, rng.choice((1, 2, 50, 300, 1000, 32000) if i % 8 == 0 else (2, 50, 300, 1000))),
            temperature=rng.choice((0.0, 0.5, 1.0, 1.7)),
            truncation=rng.choice(TRUNCATIONS),
            precision=rng.choice(list(tw.Precision)),
        )


def write_lists(count: int, digest: Any) -> None:
    """Every list alone and in a draft of two siblings, under every entropy coder."""
    for q in lists(count):
        first, last = int(q.ids[0]), int(q.ids[-1])
        draft = tw.Draft(
            round=0,
            prefix_length=1,
            prefix_hash=2,
            tree=tw.TokenTree([first, last, last], [-1, -1, 0]),
            evidence=tw.ListEvidence({-1: q, 0: q}, replacement=True),
        )
        for entropy in random_frames.ENTROPIES:
            profile = tw.Profile(vocab_size=q.vocab_size, precision=q.precision, entropy=entropy)
            digest.update(tw.encode_list(q, profile) + tw.encode(draft, profile))
        digest.update(q.weights.astype("<i8").tobytes())


def main() -> int:
    """Print the report."""
    read, made = hashlib.sha256(), hashlib.sha256()
    count = check_weights(read) + check_verification()
    for case in vectors():
        check(case, read)
        count += 1
    for case in [*random_frames.cases(1, 300), *random_frames.cases(2, 300, invalid=True)]:
        check(case, made)
        made.update(json.dumps(case).encode())
    write_lists(400, made)
    report = {"python": platform.python_version(), "numpy": np.__version__, "backend": tw.backend, "vectors": count}
    print(json.dumps({**report, "read": read.hexdigest(), "made": made.hexdigest()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
