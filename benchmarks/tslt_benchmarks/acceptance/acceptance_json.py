"""What the benchmark of acceptance against bytes writes as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import tslt_wire as tw
from tslt_benchmarks.acceptance.list_settings import ENTROPIES, PRECISIONS, Point, describe, truncations
from tslt_benchmarks.acceptance.recommendations import BUDGET, WITHIN
from tslt_benchmarks.acceptance.two_passes import Result, Settings
from tslt_benchmarks.bytes.format_base import prior_name
from tslt_benchmarks.drafts import Drafts

SCHEMA_VERSION = 2
_PACKAGES = ("numpy", "torch", "transformers")
_PRIORS = ("none", "density", "table")


def _point(point: Point) -> dict[str, Any]:
    s = point.setting
    return {
        "bytes": round(point.bytes, 3),
        "alpha": round(point.alpha, 5),
        "alpha_se": round(point.alpha_se, 5),
        "entries": round(point.entries, 2),
        "draft_temperature": s.draft_temperature,
        "truncation": describe(s.truncation),
        "precision": s.precision.value,
        "entropy": s.entropy,
        "prior": prior_name(s.prior),
        "tail_scale": round(s.tail_scale, 4),
    }


def _key(temperature: float, point: Point, rule: dict[str, int], name: dict[str, int]) -> list[float]:
    s = point.setting
    indices = rule[describe(s.truncation)], name[s.precision.value], _PRIORS.index(prior_name(s.prior))
    return [temperature, s.draft_temperature, *indices, round(s.tail_scale, 3)]


def _rows(results: Sequence[Result], rules: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """All points in columns: a row is too long a name for thousands of them."""
    rule, name = ({text: i for i, text in enumerate(texts)} for texts in (rules, names))
    screened, measured = [], []
    for result in results:
        for plain, coded in zip(result.screened[::2], result.screened[1::2], strict=True):
            key = _key(result.temperature, plain, rule, name)
            screened.append([*key, round(plain.bytes, 1), round(coded.bytes, 1), round(plain.alpha, 4)])
        for p in result.measured:
            key = _key(result.temperature, p, rule, name)
            row = [ENTROPIES.index(p.setting.entropy), round(p.bytes, 2), round(p.alpha, 4), round(p.alpha_se, 4)]
            measured.append([*key, *row])
    columns = ["temperature", "draft_temperature", "truncation", "precision", "prior", "tail_scale"]
    return {
        "screened": {"columns": [*columns, "bytes_none", "bytes_range", "alpha"], "rows": screened},
        "measured": {"columns": [*columns, "entropy", "bytes", "alpha", "alpha_se"], "rows": measured},
    }


def report(drafts: Drafts, results: Sequence[Result], settings: Settings) -> dict[str, Any]:
    """Everything ``--json`` writes.  Numbers for truncations, precisions, priors, entropies: places in the settings."""
    rules, names = [describe(rule) for rule in truncations()], [p.value for p in PRECISIONS]
    return {
        "benchmark": "acceptance_against_bytes",
        "schema": SCHEMA_VERSION,
        "unit": "bytes per list",
        "settings": {
            **asdict(settings),
            "positions": len(results[0].measured[0].alphas),
            "screened": len(results[0].screened[0].alphas),
            "truncations": rules,
            "precisions": names,
            "entropies": list(ENTROPIES),
            "priors": list(_PRIORS),
            "rules": {"within": WITHIN, "budget": BUDGET},
        },
        "drafts": drafts.meta,
        "versions": {
            "tslt_wire": tw.__version__,
            "spec": tw.SPEC_VERSION,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "fronts": [
            {"temperature": r.temperature, "entropy": entropy, "points": [_point(p) for p in r.front(entropy)]}
            for r in results
            for entropy in ENTROPIES[::-1]
        ],
        "references": [
            {key: getattr(r, key) for key in ("name", "label", "temperature", "draft_temperature", "k")}
            | {"bytes": round(r.bytes, 3), "alpha": round(r.alpha, 5)}
            for result in results
            for r in result.references
        ],
        "recommended": [
            {"temperature": r.temperature, "rule": c.rule, "from": c.among, **_point(c.point)}
            | {"gain": round(c.gain, 5), "gain_se": round(c.gain_se, 5)}
            for r in results
            for c in r.recommended
        ],
        "default": [{"temperature": r.temperature, **_point(p)} for r in results for p in r.default],
        "holds": [_rounded(asdict(h)) | {"verdict": h.verdict} for r in results for h in r.holds],
        "left_out": [[r.temperature, *row] for r in results for row in r.left_out],
        **_rows(results, rules, names),
    }


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in values.items()}


def dump(value: Any, indent: str = "") -> str:
    """JSON with one line for each row of a list and each key above it."""
    deeper = indent + " "
    if isinstance(value, dict) and any(isinstance(v, (dict, list)) for v in value.values()):
        parts = [f"{deeper}{json.dumps(k)}: {dump(v, deeper)}" for k, v in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        return "[\n" + ",\n".join(deeper + dump(v, deeper) for v in value) + f"\n{indent}]"
    return json.dumps(value, separators=(",", ":") if isinstance(value, list) else None)
