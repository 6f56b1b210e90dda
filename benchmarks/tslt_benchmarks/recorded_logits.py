"""Logits of a draft and a target that were recorded elsewhere, as something to measure on.

``.npz`` or ``.safetensors`` with the arrays

- ``draft`` and ``target``: real (N, V), a row for each place of the texts, raw logits or log probabilities of both
  models after the same tokens; ids are the target's, -inf for tokens that the draft has not;
- ``text``, if there are several: integers (N,), which of them each place is in;
- ``token``, optional: integers (N,), what the text goes on with, -1 at its end.

A file of drafts that ``--drafts`` wrote will do, too.  JSON is read by ``openai_logprobs``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_benchmarks.drafts import ROUND_ROWS, TREE_NODES, Drafts, Positions, load_drafts
from tslt_wire.limits import MAX_VOCAB_SIZE

FORMS = (
    ".npz or .safetensors with arrays draft and target, both (N, V): N places, V tokens of the vocabulary; or .json or "
    ".jsonl with OpenAI's logprobs"
)
"""What a file may be, for messages."""
MODELS = ("draft", "target")


class LogitsError(ValueError):
    """A file is not what was expected; the message says what was."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is measured on, and what a reader must know of it."""

    drafts: Drafts
    """Without rounds, but for a file of drafts."""
    notes: tuple[str, ...] = ()


def read_arrays(path: Path) -> Recorded:
    """Read a ``.npz`` or ``.safetensors`` file; LogitsError for what is neither, or has not these arrays."""
    arrays = _safetensors(path) if path.suffix.lower() == ".safetensors" else _npz(path)
    if "list_draft" in arrays and "list_target" in arrays:
        try:
            return Recorded(load_drafts(path))
        except (KeyError, ValueError) as error:
            raise LogitsError(f"{path}: {error}") from error
    missing = [name for name in MODELS if name not in arrays]
    if missing:
        there = ", ".join(sorted(arrays)) or "nothing"
        raise LogitsError(f"{path}: expected arrays draft and target, (N, V) each; there is {there}")
    rows = {name: _rows(path, name, arrays[name]) for name in MODELS}
    if rows["draft"].shape != rows["target"].shape:
        shapes = " and ".join(f"{name} {rows[name].shape}" for name in MODELS)
        raise LogitsError(f"{path}: expected draft and target of one shape (N, V), got {shapes}")
    count = len(rows["draft"])
    return Recorded(
        drafts_of(
            rows["draft"],
            rows["target"],
            text=_integers(path, arrays, "text", count, 0),
            token=_integers(path, arrays, "token", count, -1),
            source=path.name,
        )
    )


def drafts_of(
    draft: npt.NDArray[Any],
    target: npt.NDArray[Any],
    *,
    text: npt.NDArray[np.int32],
    token: npt.NDArray[np.int32],
    source: str,
    token_bytes: tuple[bytes, ...] | None = None,
) -> Drafts:
    """Drafts without rounds; ``draft``, ``target``: (N, V); ``token_bytes``: of the V tokens, None for made-up ones."""
    count, vocab_size = draft.shape
    index = np.zeros(count, np.int32)
    for i in range(1, count):
        index[i] = index[i - 1] + 1 if text[i] == text[i - 1] else 0
    return Drafts(
        positions=Positions(draft=draft, target=target, prompt=text, index=index, token=token),
        round_draft=np.zeros((0, ROUND_ROWS, vocab_size), draft.dtype),
        round_target=np.zeros((0, ROUND_ROWS, vocab_size), draft.dtype),
        round_tokens=np.zeros((0, TREE_NODES + 1), np.int32),
        prefixes=(),
        token_bytes=token_bytes or tuple(f"<{token}>".encode() for token in range(vocab_size)),
        meta={"source": source, "vocab_size": vocab_size},
    )


def some_positions(drafts: Drafts, count: int) -> Drafts:
    """The same with ``count`` of its positions, from all over the texts; all if there are fewer."""
    total = len(drafts.positions.draft)
    at = np.arange(min(count, total)) * total // min(count, total)
    return replace(drafts, positions=drafts.positions.at(at))


def _npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as found:
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise LogitsError(f"{path}: expected {FORMS}, got a single array")
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, LogitsError):
            raise
        why = "" if "pickle" in str(error) else f": {error}"  # numpy advises what nobody should do with such a file
        raise LogitsError(f"{path}: expected {FORMS}, got what numpy does not read{why}") from error


def _safetensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    from safetensors import SafetensorError, safe_open

    framework = "numpy"
    try:
        import torch  # noqa: F401 - reads bfloat16, which numpy has not

        framework = "pt"
    except ImportError:
        pass
    try:
        with safe_open(path, framework=framework) as opened:
            found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, TypeError) as error:
        raise LogitsError(f"{path}: expected {FORMS}, got what safetensors does not read: {error}") from error
    if framework == "numpy":
        return found
    return {name: (t.float() if t.is_floating_point() else t).numpy() for name, t in found.items()}


def _rows(path: Path, name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.ndim != 2 or values.dtype.kind != "f" or not len(values) or not 2 <= values.shape[1] <= MAX_VOCAB_SIZE:
        raise LogitsError(f"{path}: expected {name} as floats (N, V), got {values.dtype} {values.shape}")
    if np.isnan(values).any() or np.isposinf(values).any() or not np.isfinite(values).any(axis=1).all():
        raise LogitsError(f"{path}: expected finite logits in {name} (-inf for what there is not), got NaN or infinity")
    return values if values.dtype in (np.float32, np.float16) else values.astype(np.float32)


def _integers(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], name: str, count: int, otherwise: int
) -> npt.NDArray[np.int32]:
    values = arrays.get(name)
    if values is None:
        return np.full(count, otherwise, np.int32)
    if values.shape != (count,) or values.dtype.kind not in "iu":
        raise LogitsError(f"{path}: expected {name} as {count} integers, got {values.dtype} {values.shape}")
    return values.astype(np.int32)
