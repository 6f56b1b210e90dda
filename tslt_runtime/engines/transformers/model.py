"""What target and draft share: a loaded model, and passes over it that grow a cache.

Any causal model of ``transformers`` whose layers all attend fully and whose rotary frequencies are fixed will do.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from tslt_runtime.engines.protocol import EngineError, EngineFacts
from tslt_runtime.engines.self_check import Findings
from tslt_runtime.engines.text_rules import context_of, require_room, require_tokens
from tslt_runtime.engines.transformers.checkpoint import load_checkpoint
from tslt_runtime.engines.transformers.generation_config import own_settings
from tslt_runtime.engines.transformers.kv_cache import BLOCK, TreeCache
from tslt_runtime.engines.transformers.packed import pack_linear_layers
from tslt_runtime.engines.transformers.ragged import Ragged, TextRows, ragged_attention, supports_ragged
from tslt_runtime.engines.transformers.tree_attention import SUPPORTED_ATTENTION, TreeRows, attention_mask

DTYPES = {"auto": "auto", "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Names that ``load(dtype=...)`` takes; "auto" is what the checkpoint says.  Only float32 reproduces ``generate()``
token by token (the others round enough that one pass over many rows and many passes over one row can differ in the
argmax)."""

PREFILL_CHUNK = 512
"""Tokens per pass while a long prompt is read: bounds the scores of eager attention (chunk x past per head)."""


class PassRows(NamedTuple):
    """What one pass does for one text."""

    tokens: Sequence[int]
    """A token a row."""
    rows: TreeRows
    """Positions and mask of the rows."""
    cache: TreeCache
    """Gets the rows."""
    keep: int
    """Rows of logits that are wanted, the last ones."""


class CausalModel:
    """One set of weights, shared by any number of texts.

    Passes of different texts may be asked for from different threads: a lock lets one run at a time, because two at
    once would fight over the same cores (or the same GPU stream) and finish no sooner.  A single text must not be used
    by two threads at once.
    """

    def __init__(
        self, module: PreTrainedModel, *, model_id: str, packed: bool = False, context: int | None = None
    ) -> None:
        """Wrap a loaded model; ``packed`` replaces its linear layers in place (CPU only, see ``packed``).

        ``context``: most tokens of a text, by default what the model was trained for.  Raises EngineError for an
        architecture whose cache or positions this code does not handle, ValueError for a context that is longer.
        """
        config = module.config
        _require_supported(module)
        self.model_id = model_id
        self.vocab_size = int(config.vocab_size)
        self.context_limit = context_of(model_id, context, trained=trained_for(config, context))
        self.eos_token_ids, self._ends_remarks = eos_token_ids(getattr(module, "generation_config", None), config)
        self.own_settings = own_settings(getattr(module, "generation_config", None))
        self.weights = sum(weight.numel() for weight in module.parameters())
        """How many numbers the model has; quantised ones lie several in one."""
        self.packed_layers = pack_linear_layers(module) if packed else 0
        self._module = module.eval()
        # transformers types its modules loosely; Any at this seam keeps the rest strict.
        self._call: Any = module
        self._body: Any = module.base_model
        self._cache_name = _cache_name(module)
        self._attention = str(config._attn_implementation)
        self._layers = int(config.num_hidden_layers)
        self._token_bytes = 2 * self._layers * _key_width(config) * module.dtype.itemsize
        self._ragged = supports_ragged(module)
        self._findings = Findings()
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        path_or_hub_id: str | Path,
        *,
        dtype: str = "auto",
        packed: bool = True,
        device: str = "cpu",
        attention: str = "sdpa",
        model_id: str | None = None,
        context: int | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a checkpoint (safetensors only: a pickle runs code) from a directory or the hub.

        ``dtype`` is a key of ``DTYPES``; ``packed`` has no effect off the CPU; ``attention`` is "sdpa" or "eager"
        (eager is up to a seventh faster on a CPU once the past exceeds some hundred tokens).  ``model_id`` names the
        model in the handshake: by default the hub id, or the directory's last component.  ``context``: most tokens of a
        text, by default what the model was trained for.

        Raises ValueError for an unknown dtype or attention or a longer context, EngineError for an unsupported
        architecture, a device that is not there, and files that are missing, damaged or not complete.
        """
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r} is not one of {sorted(DTYPES)}")
        if attention not in SUPPORTED_ATTENTION:
            raise ValueError(f"attention {attention!r} is not one of {SUPPORTED_ATTENTION}")
        source = str(path_or_hub_id)
        module = load_checkpoint(
            source,
            dtype=DTYPES[dtype],
            attention=attention,
            device=device,
            revision=revision or "main",
            local_files_only=local_files_only,
        )
        folder = Path(source)
        name = model_id or (folder.resolve().name if folder.is_dir() else source)
        return cls(module, model_id=name, packed=packed, context=context)

    @property
    def facts(self) -> EngineFacts:
        """See ``engines.protocol``."""
        return EngineFacts(
            model=self.model_id,
            vocab_size=self.vocab_size,
            context=self.context_limit,
            eos_tokens=self.eos_token_ids,
            dtype=str(self._module.dtype).removeprefix("torch."),
            sampling=self.own_settings.sampling,
            not_applied=self.own_settings.not_applied,
            remarks=(*self._ends_remarks, *self._findings.remarks),
            **({} if self._findings.trees else {"most_leaves": 1}),
            token_bytes=self._token_bytes,
            token_block=BLOCK,
        )

    @property
    def config(self) -> Any:
        """The model's configuration, as ``transformers`` read it."""
        return self._module.config

    def restrict(self, findings: Findings) -> None:
        """Do without what ``self_check`` found to differ from plain text."""
        self._findings = findings
        self._ragged = self._ragged and findings.together

    def plain_rows(self, tokens: Sequence[int], keep: int) -> NDArray[np.float32]:
        """The last ``keep`` rows of logits of a text, float32 (keep, V), with the model's own masks and positions."""
        with self._lock, torch.inference_mode():
            output = self._call(input_ids=self._tensor(tokens), use_cache=False, logits_to_keep=keep)
            rows: NDArray[np.float32] = output.logits[0].float().cpu().numpy()
        return rows

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._module.device

    def new_cache(self) -> TreeCache:
        """Return an empty cache for one text."""
        return TreeCache(self._layers)

    def prefill(self, tokens: Sequence[int], cache: TreeCache) -> None:
        """Append the rows of ``tokens``, plain text behind what ``cache`` holds, in one pass without logits."""
        with self._lock, torch.inference_mode():
            positions = torch.arange(cache.length, cache.length + len(tokens), device=self.device)
            cached = {self._cache_name: cache, "use_cache": True}
            self._body(input_ids=self._tensor(tokens), position_ids=positions[None], **cached)

    def forward(self, tokens: Sequence[int], rows: TreeRows, cache: TreeCache, *, keep: int) -> NDArray[np.float32]:
        """Append a row a token to ``cache`` and return the last ``keep`` rows of logits, float32 (keep, V)."""
        logits: NDArray[np.float32] = self.forward_tensor(tokens, rows, cache, keep=keep).float().cpu().numpy()
        return logits

    def forward_tensor(self, tokens: Sequence[int], rows: TreeRows, cache: TreeCache, *, keep: int) -> torch.Tensor:
        """``forward``, but the logits stay where they are and in the model's dtype."""
        with self._lock, torch.inference_mode():
            output = self._call(
                input_ids=self._tensor(tokens),
                position_ids=torch.from_numpy(rows.positions).to(self.device)[None],
                attention_mask=self._mask(rows, cache),
                logits_to_keep=keep,
                **{self._cache_name: cache, "use_cache": True},
            )
            logits: torch.Tensor = output.logits[0]
        return logits

    def forward_texts(self, texts: Sequence[PassRows]) -> list[torch.Tensor]:
        """Append the rows of several texts to their caches, in one pass; the logits that each wants, (keep, V).

        Logits are in the model's dtype and on its device; those of a pass share memory.  A model whose layers take no
        attention function (none of those that are made today) has a pass a text.
        """
        if not self._ragged:
            return [self._forward_text(text) for text in texts]
        ends = np.cumsum([len(text.tokens) for text in texts]).tolist()
        kept = [row for text, end in zip(texts, ends, strict=True) for row in range(end - text.keep, end)]
        with self._lock, torch.inference_mode(), ragged_attention(self._module.config):
            rows = [
                TextRows(text.cache, end - len(text.tokens), end, self._mask(text.rows, text.cache))
                for text, end in zip(texts, ends, strict=True)
            ]
            positions = np.concatenate([text.rows.positions for text in texts])
            options = {
                "input_ids": self._tensor([token for text in texts for token in text.tokens]),
                "position_ids": torch.from_numpy(positions).to(self.device)[None],
                "use_cache": False,
                "tslt_ragged": Ragged(rows, self._attention),
            }
            if not kept:
                self._body(**options)
                return [self._no_logits() for _ in texts]
            output = self._call(**options, logits_to_keep=torch.tensor(kept, device=self.device))
            return list(output.logits[0].split([text.keep for text in texts]))

    def _forward_text(self, text: PassRows) -> torch.Tensor:
        if text.keep:
            return self.forward_tensor(text.tokens, text.rows, text.cache, keep=text.keep)
        self.prefill(text.tokens, text.cache)
        return self._no_logits()

    def _no_logits(self) -> torch.Tensor:
        return torch.empty((0, self.vocab_size), dtype=self._module.dtype, device=self.device)

    def _mask(self, rows: TreeRows, cache: TreeCache) -> torch.Tensor | None:
        """The mask of a pass over ``rows`` of one text, behind what ``cache`` holds."""
        count, columns = rows.visible.shape
        # One row that sees everything (a plain decoding step) needs no mask, and the kernels are faster without.
        if count == 1 and rows.visible.all():
            return None
        return attention_mask(
            rows.visible,
            past=cache.length + count - columns,
            implementation=self._attention,
            dtype=self._module.dtype,
            device=self.device,
        )

    def require_tokens(self, tokens: Sequence[int]) -> None:
        """See ``text_rules.require_tokens``."""
        require_tokens(tokens, self.vocab_size)

    def require_room(self, needed: int) -> None:
        """See ``text_rules.require_room``."""
        require_room(needed, self.context_limit)

    def _tensor(self, tokens: Sequence[int]) -> torch.Tensor:
        return torch.tensor([list(tokens)], dtype=torch.int64, device=self.device)


def _cache_name(module: PreTrainedModel) -> str:
    """What the model's ``forward`` calls the cache: ``cache`` from transformers 5.24 on, before that another name."""
    return "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"


def _key_width(config: Any) -> int:
    """Numbers of a layer's keys for one token."""
    heads = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    size = getattr(config, "head_dim", None) or int(config.hidden_size) // int(config.num_attention_heads)
    return heads * int(size)


def trained_for(config: Any, asked: int | None) -> int:
    """Most tokens of a text that a model was trained for; what was ``asked`` for where its configuration is silent."""
    trained = getattr(config, "max_position_embeddings", None) or asked
    if trained is None:
        raise EngineError(
            f"{config.model_type} models do not say how many tokens they were trained for (max_position_embeddings): "
            "name the longest text (context, --context)"
        )
    return int(trained)


def eos_token_ids(*sources: Any) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Ids that end a text, ascending, by the first of these configurations that names some; and what to say of them.

    An id outside the vocabulary, of which the last of ``sources`` tells the size, never comes: -1 is how some say none.
    """
    vocab_size = int(sources[-1].vocab_size)
    for source in sources:
        named = getattr(source, "eos_token_id", None)
        if named is None:
            continue
        ids = {int(named)} if isinstance(named, int) else {int(token) for token in named}
        ends = tuple(sorted(token for token in ids if 0 <= token < vocab_size))
        never = sorted(ids - set(ends))
        if not never:
            return ends, ()
        instead = f"texts end at {list(ends)}" if ends else "no token ends a text, only its length"
        which = f"{', '.join(map(str, never))} {'is' if len(never) == 1 else 'are'}"
        said = f"eos_token_id {which} outside the vocabulary of {vocab_size} tokens: {instead}"
        return ends, (said,)
    return (), ()


def _require_supported(module: PreTrainedModel) -> None:
    """Raise EngineError for models that this cache, these masks or these positions would serve wrongly."""
    config = module.config
    implementation = getattr(config, "_attn_implementation", None)
    if implementation not in SUPPORTED_ATTENTION:
        raise EngineError(f"attention {implementation!r} takes no tree mask; load with one of {SUPPORTED_ATTENTION}")
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if kinds or getattr(config, "sliding_window", None):
        which = ", ".join(sorted(kinds)) or "a sliding window"
        raise EngineError(
            f"{config.model_type}: only full attention is served here, not {which}; a GGUF file of the model runs in "
            "llama.cpp, if that can roll it back"
        )
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") in ("dynamic", "longrope"):
        # Their frequencies follow the length of the text, so that cached keys depend on what was read since.
        raise EngineError(f"rotary type {rope['rope_type']!r} changes with the text's length and cannot be rolled back")
    head = module.get_output_embeddings()
    width = getattr(head, "out_features", None)
    if width != config.vocab_size:
        raise EngineError(f"the model has {width} logits, its configuration says {config.vocab_size}")
