"""Both models in one process: transformers' assisted generation, its passes counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging


@dataclass(frozen=True, slots=True)
class Assisted:
    """What ``generate(assistant_model=)`` did."""

    name: str
    tokens: int
    draft_passes: int
    target_passes: int
    draft_tokens: int
    """That the draft model was run on."""
    target_tokens: int


class _Counter:
    """Counts the passes of a model, and the tokens in them, once it is past the prompt."""

    def __init__(self, model: Any) -> None:
        self.passes = self.tokens = 0
        model.register_forward_pre_hook(self._seen, with_kwargs=True)

    def _seen(self, _: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        ids = named["input_ids"] if "input_ids" in named else arguments[0]
        self.passes += 1
        self.tokens += int(ids.shape[1])


def assisted(
    target: Path, draft: Path, prompts: list[list[int]], *, tokens: int, temperature: float, seed: int
) -> list[Assisted]:
    """``tokens`` tokens behind each prompt, sampled: with transformers' defaults, and with a threshold of 0.

    Nothing for models whose vocabularies differ in size: it takes them for those of two tokenizers.
    """
    logging.set_verbosity_error()
    target_model: Any = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32).eval()
    draft_model: Any = AutoModelForCausalLM.from_pretrained(draft, dtype=torch.float32).eval()
    if target_model.config.vocab_size != draft_model.config.vocab_size:
        return []
    counters = _Counter(target_model), _Counter(draft_model)
    found = []
    for name, threshold in (("transformers assisted", None), ("transformers assisted, threshold 0", 0.0)):
        if threshold is not None:
            draft_model.generation_config.assistant_confidence_threshold = threshold
        for counter in counters:
            counter.passes = counter.tokens = 0
        torch.manual_seed(seed)
        made = 0
        for prompt in prompts:
            ids = torch.tensor([prompt])
            with torch.inference_mode():
                out = target_model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    assistant_model=draft_model,
                    do_sample=True,
                    temperature=temperature,
                    top_k=0,
                    max_new_tokens=tokens,
                    pad_token_id=0,
                )
            made += int(out.shape[1]) - len(prompt)
        (of_target, of_draft), prompted = counters, sum(map(len, prompts))
        found.append(
            Assisted(
                name=name,
                tokens=made,
                draft_passes=of_draft.passes,
                target_passes=of_target.passes,
                draft_tokens=max(0, of_draft.tokens - prompted),
                target_tokens=max(0, of_target.tokens - prompted),
            )
        )
    return found
