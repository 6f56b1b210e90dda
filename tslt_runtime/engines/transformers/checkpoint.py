"""Read checkpoints and tokenizers with ``transformers``, or say in one line what is wrong with them.

``transformers`` fills weights that a checkpoint lacks with random numbers and goes on; here that is an error, as the
text would be noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from tslt_runtime.engines.protocol import EngineError

SHOWN = 3
"""Names of weights in a message at most."""
NO_SDPA = "scaled_dot_product_attention"
"""What ``transformers`` says of an architecture that has no "sdpa" attention."""
BROKEN = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    SafetensorError,
    StrictDataclassError,
)
"""What ``transformers`` raises for files that are missing, damaged or not what their names say."""


def load_checkpoint(
    source: str, *, dtype: torch.dtype | str, attention: str, device: str, revision: str, local_files_only: bool
) -> PreTrainedModel:
    """The causal model of a folder or hub id, on ``device``, from safetensors alone (a pickle runs code).

    ``dtype``: "auto" takes what the checkpoint says.  ``attention``: an architecture that has no "sdpa" gets "eager".
    Raises EngineError, with what to do about it.
    """
    _require_device(device)
    require_model_files(source)

    def load(attention: str) -> Any:
        return AutoModelForCausalLM.from_pretrained(
            source,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            revision=revision,
            local_files_only=local_files_only,
            ignore_mismatched_sizes=True,  # they are refused below, in words that help
            output_loading_info=True,
        )

    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        try:
            module, info = load(attention)
        except ValueError as error:
            if attention != "sdpa" or NO_SDPA not in str(error):
                raise
            module, info = load("eager")
    except BROKEN as error:
        raise EngineError(_unreadable(source, error)) from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    for what, names in (
        ("lacks {} of its model's weights", info["missing_keys"]),
        ("has {} weights of another shape than its model's", [name for name, *_ in info["mismatched_keys"]]),
    ):
        if names:
            shown = ", ".join(sorted(names)[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
            raise EngineError(
                f"{source} {what.format(len(names))} ({shown}): its files are not complete, or of another model than "
                "its config.json says; get them again"
            )
    try:
        return module.to(device)
    except (RuntimeError, ValueError) as error:  # out of memory; quantised weights stay where they were put
        raise EngineError(f"{source} does not go to {device}: {one_line(error)}") from error


def load_tokenizer(path_or_hub_id: str | Path) -> Any:
    """The tokenizer of a model's folder or hub id; transformers has no public type for it.

    Raises EngineError, with what to do about it.
    """
    source = str(path_or_hub_id)
    folder = Path(source)
    if folder.is_dir() and not (folder / "tokenizer.json").exists():
        there = "tokenizer.model alone" if (folder / "tokenizer.model").exists() else "no tokenizer.json"
        raise EngineError(
            f"{source} has {there}, and tokenizer.json is what is read: get it from where the model is from, or make "
            f"it with transformers (AutoTokenizer.from_pretrained(...).save_pretrained({source!r})) and sentencepiece"
        )
    try:
        return AutoTokenizer.from_pretrained(source)
    except BROKEN as error:
        raise EngineError(f"the tokenizer of {_unreadable(source, error)}") from error


def require_model_files(source: str) -> None:
    """Raise EngineError for a path at which there is no model that is read here; hub ids pass."""
    path = Path(source)
    if path.suffix == ".gguf" or (path.is_dir() and any(path.glob("*.gguf")) and not any(path.glob("*.safetensors"))):
        raise EngineError(
            f"{source} is a GGUF model, which this engine does not read: name the .gguf file itself, or a folder of "
            "safetensors"
        )
    if path.is_file():
        raise EngineError(f"{source} is a file: name the folder that has it and its config.json")
    if not path.is_dir():
        if source.startswith((".", "/", "~", "\\")) or source.count("/") > 1:
            raise EngineError(f"there is no folder {source}")
        return
    if not (path / "config.json").is_file():
        raise EngineError(f"{source} has no config.json: it is no model's folder")
    if any(path.glob("*.safetensors")):
        return
    if any(path.glob("*.bin")):
        raise EngineError(
            f"{source} has its weights as pickles (.bin), which can run any code and are not read: get the "
            "safetensors, or make them where you trust the files (load with transformers, then save_pretrained)"
        )
    raise EngineError(f"{source} has no weights: there is no .safetensors file")


def one_line(error: BaseException) -> str:
    """The first sentence-like line of an error's message, or its kind if it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _unreadable(source: str, error: Exception) -> str:
    if not Path(source).is_dir():
        return (
            f"{source} is neither a folder here nor to be had from the hub: check the name, the network, and for "
            f"gated models the log-in ({one_line(error)})"
        )
    if isinstance(error, SafetensorError):
        return f"{source} has a damaged .safetensors file, cut short perhaps: get it again ({one_line(error)})"
    if isinstance(error, ImportError) and any(name in str(error) for name in ("bitsandbytes", "accelerate")):
        return f"{source} has quantised weights, which need more packages: pip install 'tslt-wire[quantised]'"
    return f"{source} cannot be read: {one_line(error)}"


def _require_device(name: str) -> None:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EngineError(f"{name} is no device of this machine's torch: cpu always is ({one_line(error)})") from error
