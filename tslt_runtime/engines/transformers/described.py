"""What a checkpoint says of its model, without its weights: for a model that another server runs."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, GenerationConfig

from tslt_runtime.engines.protocol import EngineError, EngineFacts
from tslt_runtime.engines.transformers.checkpoint import BROKEN
from tslt_runtime.engines.transformers.generation_config import own_settings
from tslt_runtime.engines.transformers.model import eos_token_ids, trained_for


def described(source: str | Path) -> EngineFacts:
    """The facts of a folder or hub id; EngineError for what is none."""
    name = str(source)
    try:
        config = AutoConfig.from_pretrained(name)
    except BROKEN as error:
        raise EngineError(f"{name} does not describe a model: {str(error).splitlines()[0]}") from error
    try:
        generation = GenerationConfig.from_pretrained(name)
    except BROKEN:  # many models have none
        generation = None
    own = own_settings(generation)
    ends, remarks = eos_token_ids(generation, config)
    return EngineFacts(
        model=Path(name).resolve().name if Path(name).is_dir() else name,
        vocab_size=int(config.vocab_size),
        context=trained_for(config, None),
        eos_tokens=ends,
        remarks=remarks,
        sampling=own.sampling,
        not_applied=own.not_applied,
    )
