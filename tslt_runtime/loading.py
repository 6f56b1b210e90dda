"""Load a model by its name, with the engine that reads it: a ``.gguf`` file with llama.cpp, all else with transformers.

Neither is imported before it is asked for.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict, TypeVar, Unpack

from tslt_runtime.engines.protocol import DraftEngine, EngineError, EngineFacts, TargetEngine
from tslt_runtime.tokenizer import Tokenizer, tokenizer_of
from tslt_wire import checks

if TYPE_CHECKING:
    from tslt_runtime.engines.llamacpp.model import LlamaModel
    from tslt_runtime.engines.transformers.model import CausalModel

    _Gguf = TypeVar("_Gguf", bound=LlamaModel)
    _Checkpoint = TypeVar("_Checkpoint", bound=CausalModel)

log = logging.getLogger("tslt.device")

SUFFIX = ".gguf"
"""How the name of llama.cpp's files ends."""


class EngineOptions(TypedDict, total=False):
    """How an engine reads a model."""

    dtype: str
    """What it computes in: "auto", the default, is what its weights are stored in.  A GGUF file has no other."""
    threads: int
    """Of the CPU.  By default llama.cpp takes one, transformers as many as torch is set to."""
    context: int | None
    """Most tokens of a text.  By default, None, what the model was trained for; llama.cpp, which takes memory for all
    of them at once, no more than ``llamacpp.model.DEFAULT_CONTEXT``."""
    cache_bytes: int | None
    """Bytes that an edge has for all texts' keys and values, for an engine that takes those of several texts at once:
    llama.cpp.  None: as many as are useful."""
    torch_device: str
    """"cpu", the default, or another that torch knows.  Transformers alone."""
    library: Path | None
    """Shared library of llama.cpp, by default the installed package's.  GGUF files alone."""


class LoadOptions(EngineOptions, total=False):
    """How a model is loaded."""

    self_check: bool
    """Whether the engine is compared with plain text first (``engines.self_check``), as it is by default."""


class LoadedDraft(NamedTuple):
    """A draft model and its tokenizer."""

    engine: DraftEngine
    tokenizer: Tokenizer


class LoadedTarget(NamedTuple):
    """A target model and its tokenizer."""

    engine: TargetEngine
    tokenizer: Tokenizer


def load_draft(source: str | Path, *, self_check: bool = True, **options: Unpack[EngineOptions]) -> LoadedDraft:
    """Load a draft model: a ``.gguf`` file, a folder of safetensors, or a hub id.

    ``self_check``: whether the engine is compared with plain text first (``engines.self_check``).  What it is then not
    used for is logged as a warning; of a target its edge does so (``edge.edge_settings``).

    Raises EngineError for a model that is not there, damaged or not supported, ImportError for a package that is not
    installed, ValueError or TypeError for options that do not fit.
    """
    if is_gguf(source):
        from tslt_runtime.engines.llamacpp.draft import LlamaDraft
        from tslt_runtime.engines.self_check import check_draft

        file, vocabulary = _load_gguf(LlamaDraft, source, **options)
        if self_check:
            file.restrict(check_draft(file))
        return _told(LoadedDraft(file, vocabulary))
    from tslt_runtime.engines.transformers.checking import check_draft_model
    from tslt_runtime.engines.transformers.draft import DraftModel

    model, tokenizer = _load_checkpoint(DraftModel, source, **options)
    if self_check:
        check_draft_model(model)
    return _told(LoadedDraft(model, tokenizer))


def load_target(source: str | Path, *, self_check: bool = True, **options: Unpack[EngineOptions]) -> LoadedTarget:
    """Load a target model; sources and errors are those of ``load_draft``."""
    if is_gguf(source):
        from tslt_runtime.engines.llamacpp.target import LlamaTarget
        from tslt_runtime.engines.self_check import check_target

        file, vocabulary = _load_gguf(LlamaTarget, source, **options)
        if self_check:
            file.restrict(check_target(file))
        return LoadedTarget(file, vocabulary)
    from tslt_runtime.engines.transformers.checking import check_target_model
    from tslt_runtime.engines.transformers.target import TargetModel

    model, tokenizer = _load_checkpoint(TargetModel, source, **options)
    if self_check:
        check_target_model(model)
    return LoadedTarget(model, tokenizer)


def load_described(source: str | Path) -> tuple[EngineFacts, Tokenizer]:
    """The facts of a model that a server runs, and its tokenizer; of a checkpoint no weights are read.

    Sources and errors are those of ``load_draft``.
    """
    if is_gguf(source):
        target, vocabulary = load_target(source, self_check=False)
        return target.facts, vocabulary
    from tslt_runtime.engines.transformers.checkpoint import load_tokenizer
    from tslt_runtime.engines.transformers.described import described

    return described(source), tokenizer_of(load_tokenizer(source))


def load_tokenizer(source: str | Path) -> Tokenizer:
    """A tokenizer alone: of a folder or hub id, a ``tokenizer.json`` or a ``.gguf`` file.

    Raises EngineError for what is none, ImportError for a package that is not installed.
    """
    path = Path(source)
    if is_gguf(source):
        return load_target(source).tokenizer
    if path.suffix.lower() == ".json":
        from tokenizers import Tokenizer as Fast

        try:
            return tokenizer_of(Fast.from_file(str(path)))
        except Exception as error:  # the library raises no other class
            raise EngineError(f"{path} is no tokenizer.json: {str(error).splitlines()[0]}") from error
    from tslt_runtime.engines.transformers.checkpoint import load_tokenizer as load_folder

    return tokenizer_of(load_folder(source))


def _told(loaded: LoadedDraft) -> LoadedDraft:
    """``loaded``, once it is logged what the model is not used for, or does otherwise than its files say."""
    facts = loaded.engine.facts
    for remark in facts.remarks:
        log.warning("%s: %s", facts.model, remark)
    return loaded


def is_gguf(source: str | Path) -> bool:
    """Whether llama.cpp reads this model."""
    return Path(source).suffix.lower() == SUFFIX


def _load_gguf(
    kind: type[_Gguf],
    source: str | Path,
    *,
    dtype: str = "auto",
    threads: int = 1,
    context: int | None = None,
    cache_bytes: int | None = None,
    torch_device: str = "cpu",
    library: Path | None = None,
) -> tuple[_Gguf, Tokenizer]:
    if torch_device != "cpu":
        raise ValueError(f"{source} is run by llama.cpp, on the CPU: {torch_device!r} is for folders of safetensors")
    model = kind(source, context=context, cache_bytes=cache_bytes, threads=threads, library=library)
    stored = model.facts.dtype
    if dtype not in ("auto", stored):
        raise ValueError(f"{source} is in {stored}: convert the model anew for {dtype!r}, or leave it at 'auto'")
    return model, model.vocabulary


def _load_checkpoint(
    kind: type[_Checkpoint],
    source: str | Path,
    *,
    dtype: str = "auto",
    threads: int | None = None,
    context: int | None = None,
    cache_bytes: int | None = None,  # what grows as it is needed is the scheduler's to bound
    torch_device: str = "cpu",
    library: Path | None = None,
) -> tuple[_Checkpoint, Tokenizer]:
    import torch

    from tslt_runtime.engines.transformers.checkpoint import load_tokenizer

    if library is not None:
        raise ValueError(f"a library of llama.cpp ({library}) runs {SUFFIX} files, not {source}")
    if threads is not None:
        torch.set_num_threads(checks.integer("threads", threads, 1, None))
    model = kind.load(source, dtype=dtype, device=torch_device, context=context)
    return model, tokenizer_of(load_tokenizer(source))
