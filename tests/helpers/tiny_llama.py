"""Random Llamas of a few thousand weights, for tests and dry runs: real code paths, meaningless text, no download."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def tiny_llama(
    *,
    vocab_size: int = 128,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int = 4,
    hidden_size: int = 32,
    context: int = 512,
    attention: str = "sdpa",
    tied: bool = False,
    eos_token_id: int | Sequence[int] | None = None,
    seed: int = 0,
) -> LlamaForCausalLM:
    """Return a float32 model with random weights; equal arguments give equal weights.

    ``kv_heads < heads`` is grouped-query attention, ``tied`` shares embedding and head, ``context`` is
    ``max_position_embeddings``.
    """
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=context,
        # Far wider than training would use: otherwise every token gets nearly the same probability.
        initializer_range=0.3,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=eos_token_id,
        pad_token_id=None,
        attn_implementation=attention,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def tiny_draft(target: LlamaForCausalLM, *, layers: int = 1) -> LlamaForCausalLM:
    """Return a model of the first ``layers`` layers of ``target`` with its embedding and head: it often agrees."""
    config = LlamaConfig.from_dict({**target.config.to_dict(), "num_hidden_layers": layers, "layer_types": None})
    config._attn_implementation = target.config._attn_implementation
    draft = LlamaForCausalLM(config).eval()
    wanted = draft.state_dict().keys()
    draft.load_state_dict({name: weight for name, weight in target.state_dict().items() if name in wanted})
    return draft


def soften(target: LlamaForCausalLM, *, layers: int, scale: float) -> LlamaForCausalLM:
    """Scale what all but the first ``layers`` layers of ``target`` contribute, in place: a dial for a draft's
    acceptance."""
    with torch.no_grad():
        for layer in target.model.layers[layers:]:
            layer.self_attn.o_proj.weight.mul_(scale)
            layer.mlp.down_proj.weight.mul_(scale)
    return target
