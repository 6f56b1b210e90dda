"""Write the test vectors in spec/vectors and the tables in spec/tables.json, or check them.

``--check``: write nothing, and fail if they are not what this would write.  Deterministic.  A vector whose id is in
released.json is frozen: if it would change or go away, nothing is written and the exit status is 1 (spec section 10).
``--release`` freezes all current vectors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from spec.vectorgen import (
    coded,
    constants,
    flights,
    frames,
    id_drafts,
    lists,
    long_lists,
    mistakes,
    mistakes_ranged,
    mistakes_rules,
    priors,
    ranged,
    sessions,
    settings,
    single_rules,
    steps,
    tails,
    verification,
    weights,
    zipped,
)
from tslt_wire import SPEC_VERSION, ErrorCode

VECTORS = Path(__file__).resolve().parent / "vectors"
RELEASED = "released.json"
HANDSHAKE_ERRORS = range(32, 1 << 16)


def contents() -> dict[str, dict[str, Any]]:
    """All files: name to value."""
    head = {"spec": "tslt-wire", "spec_version": SPEC_VERSION, "licence": "CC0-1.0"}
    return {
        "lists.json": {
            "schema": "tslt-wire-lists-1",
            **head,
            "notes": lists.NOTES | zipped.NOTES | mistakes.NOTES,
            "tables": tails.tables() | mistakes_ranged.tables(),
            "groups": lists.build()
            + ranged.build_lists()
            + long_lists.build_lists()
            + single_rules.build_lists()
            + tails.build_lists()
            + zipped.build_lists()
            + mistakes.build_lists()
            + mistakes_ranged.build_lists(),
        },
        "frames.json": {
            "schema": "tslt-wire-frames-1",
            **head,
            "notes": frames.NOTES | zipped.NOTES | mistakes.NOTES,
            "tables": tails.tables(),
            "groups": frames.build()
            + ranged.build_frames()
            + long_lists.build_frames()
            + single_rules.build_frames()
            + tails.build_frames()
            + zipped.build_frames()
            + id_drafts.build_frames()
            + coded.build_frames()
            + flights.build_frames()
            + mistakes.build_frames()
            + mistakes_ranged.build_frames(),
        },
        "weights.json": {
            "schema": "tslt-wire-weights-1",
            **head,
            "notes": weights.NOTES | mistakes.NOTES,
            "tables_sha256": weights.tables(),
            "groups": weights.build(),
        },
        "priors.json": {
            "schema": "tslt-wire-priors-1",
            **head,
            "notes": priors.NOTES | mistakes.NOTES,
            "groups": priors.build(),
        },
        "verify.json": {
            "schema": "tslt-wire-verify-1",
            **head,
            "notes": verification.NOTES | mistakes.NOTES,
            "tables": tails.tables(),
            "groups": verification.build() + mistakes_rules.build_verification() + id_drafts.build_verification(),
        },
        "coded.json": {
            "schema": "tslt-wire-coded-1",
            **head,
            "notes": coded.NOTES | mistakes.NOTES,
            "groups": mistakes_rules.with_edges(coded.build_rules()),
        },
        "coupling.json": {
            "schema": "tslt-wire-coupling-1",
            **head,
            "notes": id_drafts.NOTES,
            "groups": id_drafts.build_numbers(),
        },
        "sampling.json": {
            "schema": "tslt-wire-sampling-1",
            **head,
            "notes": settings.NOTES,
            "groups": settings.build(),
        },
        "steps.json": {
            "schema": "tslt-wire-steps-1",
            **head,
            "notes": steps.NOTES,
            "groups": steps.build(),
        },
        "sessions.json": {
            "schema": "tslt-wire-sessions-1",
            **head,
            "notes": sessions.NOTES,
            "groups": sessions.build(),
        },
    }


def tests_of(files: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """All vectors by id, each with its group's settings; RuntimeError for an id or flag that is wrong."""
    found: dict[str, dict[str, Any]] = {}
    for file in files.values():
        for group in file["groups"]:
            settings = {key: value for key, value in group.items() if key != "tests"}
            for test in group["tests"]:
                if test["id"] in found:
                    raise RuntimeError(f"two vectors have the id {test['id']}")
                if not set(test["flags"]) <= set(file["notes"]):
                    raise RuntimeError(f"{test['id']} has a flag without a note")
                found[test["id"]] = settings | test
    return found


def written(file: dict[str, Any]) -> str:
    """A file as text, with one line for each vector."""
    head = {key: value for key, value in file.items() if key != "groups"}
    lines = [json.dumps(head, indent=1)[:-2] + ',\n "groups": [']
    for i, group in enumerate(file["groups"]):
        settings = json.dumps({key: value for key, value in group.items() if key != "tests"})
        lines.append(f'  {settings[:-1]}, "tests": [')
        tests = [json.dumps(test, separators=(",", ":")) for test in group["tests"]]
        lines += [f"   {test}," for test in tests[:-1]] + [f"   {tests[-1]}"]
        lines.append("  ]}" if i + 1 == len(file["groups"]) else "  ]},")
    return "\n".join([*lines, " ]", "}", ""])


def frozen(tests: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What released.json says of each vector: the SHA-256 of its JSON."""
    return {
        id_: hashlib.sha256(json.dumps(test, sort_keys=True).encode()).hexdigest()
        for id_, test in sorted(tests.items())
    }


def main(arguments: list[str]) -> int:
    """Run the command line; 0 if all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    parser.add_argument("--release", action="store_true", help="freeze all current vectors")
    options = parser.parse_args(arguments)
    files = contents()
    tests = tests_of(files)
    missing = {code.name.lower() for code in ErrorCode if code not in HANDSHAKE_ERRORS} - {
        test.get("error") for test in tests.values()
    }
    if missing:
        raise RuntimeError(f"no vector gives {sorted(missing)}")
    now, path = frozen(tests), VECTORS / RELEASED
    released: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    changed = sorted(id_ for id_, digest in released.items() if now.get(id_) != digest)
    if changed:
        print("released vectors would change or go away:", *changed, sep="\n  ")
        return 1
    texts = {name: written(file) for name, file in files.items()}
    texts["../tables.json"] = constants.written()
    texts[RELEASED] = json.dumps(now if options.release else released, indent=1) + "\n"
    stale = [
        name for name, text in texts.items() if not (VECTORS / name).exists() or (VECTORS / name).read_text() != text
    ]
    if options.check:
        if stale:
            print("not up to date (run spec/make_vectors.py):", *stale, sep="\n  ")
        return 1 if stale else 0
    VECTORS.mkdir(exist_ok=True)
    for name in stale:
        (VECTORS / name).write_text(texts[name])
    valid = sum(test["result"] == "valid" for test in tests.values())
    print(f"{valid} valid and {len(tests) - valid} invalid vectors; {len(stale)} files written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
