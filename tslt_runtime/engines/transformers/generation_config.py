"""What a checkpoint's ``generation_config`` says of sampling: the target's own settings, and what is not applied.

Spec section 7.2.  Imports nothing of transformers: ``tslt convert`` reads the file without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tslt_runtime.engines.own_settings import OwnSettings, settings_of

SERVED = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "suppress_tokens")
"""Names that both have, with the same meaning."""
OF_NO_TEXT = frozenset(
    [
        "max_length",
        "max_new_tokens",
        "max_time",
        "early_stopping",
        "length_penalty",
        "num_return_sequences",
        "renormalize_logits",
        "use_cache",
        "use_mtp",
        "cache_implementation",
        "cache_config",
        "max_cache_len",
        "prefill_chunk_size",
        "low_memory",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "output_logits",
        "return_dict_in_generate",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "decoder_start_token_id",
        "do_sample",
        "is_assistant",
        "num_assistant_tokens",
        "num_assistant_tokens_schedule",
        "assistant_confidence_threshold",
        "prompt_lookup_num_tokens",
        "max_matching_ngram_size",
        "assistant_early_exit",
        "assistant_lookbehind",
        "target_lookbehind",
        "assistant_ensemble_weight",
        "speculation_type",
        "compile_config",
        "disable_compile",
        "continuous_batching_config",
        "transformers_version",
        "_from_model_config",
        "_commit_hash",
        "generation_kwargs",
    ]
)
"""Names that change no token: how long a text may be is the device's choice, and how it is computed nobody's."""
NEUTRAL: dict[str, Any] = {
    "guidance_scale": 1,
    "encoder_repetition_penalty": 1,
    "typical_p": 1,
    "num_beams": 1,
    "num_beam_groups": 1,
}
"""Values with which other names change nothing, beside 0, False and what is empty."""


def own_settings(config: Any) -> OwnSettings:
    """Read a ``GenerationConfig``; None: a model without one.

    ``"do_sample": false`` is temperature 0, as ``generate`` then is greedy.  A file that does not name ``do_sample``
    is taken by what it names: that ``generate`` is greedy then, too, is the library's choice, not the model's.
    """
    return read_settings({} if config is None else config.to_diff_dict())


def read_settings(said: Mapping[str, Any]) -> OwnSettings:
    """``own_settings`` of what ``generation_config.json`` holds."""
    named = {name: said[name] for name in SERVED if said.get(name) is not None}
    if said.get("do_sample") is False:
        named["temperature"] = 0.0
    others = {
        name: value
        for name, value in said.items()
        if value and name not in SERVED and name not in OF_NO_TEXT and value != NEUTRAL.get(name)
    }
    return settings_of(named, others, source="generation_config")
