"""A GGUF file, loaded: weights that any number of texts share, and what the runtime must know of them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tslt_runtime.engines.llamacpp import library as c
from tslt_runtime.engines.llamacpp.sampling_keys import own_settings
from tslt_runtime.engines.llamacpp.vocabulary import Vocabulary, Weights
from tslt_runtime.engines.protocol import EngineError, EngineFacts
from tslt_runtime.engines.self_check import Findings
from tslt_runtime.engines.text_rules import context_of, require_room, require_tokens
from tslt_wire import checks

BATCH = 512
"""Most tokens of one call of ``llama_decode``, and so most nodes of a tree, the token that it hangs off included."""
MICRO_BATCH = 64
"""Tokens that are computed together: bounds the scratch memory, a row of logits each (8 MB for 32,000 tokens)."""
DEFAULT_CONTEXT = 8192
"""Most tokens of a text unless more is asked for.  The cache is taken for all of them at once: 8,192 of an 8B model's
are 1 GB, the 131,072 that it was trained for 16."""
KV_TYPES = {"float32": c.F32, "float16": c.F16}
"""Types that keys and values can be kept in."""
METADATA_BYTES = 1024
"""Bytes of a value in the file that are read."""
_DTYPES = {"all F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class LlamaModel:
    """Weights, read from a GGUF file.  All its texts are used from one thread."""

    default_leaves: ClassVar[int] = 64
    """Most leaves of a tree if nothing else is said; llama.cpp takes up to 256, and each costs a row of logits."""

    def __init__(
        self,
        path: Path | str,
        *,
        context: int | None = None,
        leaves: int | None = None,
        threads: int = 1,
        kv: str | None = None,
        cache_bytes: int | None = None,
        model_id: str | None = None,
        library: Path | None = None,
    ) -> None:
        """Load ``path``.

        ``context``: most tokens of a text, by default what the model was trained for or ``DEFAULT_CONTEXT``, whichever
        is less.  ``leaves``: most leaves of a tree, by default ``default_leaves``.  ``threads``: of the CPU.
        ``kv``: a key of ``KV_TYPES``, what keys and values are kept in, by default float32 for weights in float32,
        else float16.  ``cache_bytes``: most that a context of several texts takes for them (see ``lanes``), if it is
        more than one takes; by default as much as is useful.  ``model_id`` names the model in the handshake, by default
        the file's name.  ``library``: see ``load_library``.

        Raises EngineError for a file that is none, a model that cannot be rolled back, or a missing library;
        ValueError for arguments that fit no model.
        """
        if kv is not None and kv not in KV_TYPES:
            raise ValueError(f"kv {kv!r} is not one of {sorted(KV_TYPES)}")
        self.lib = c.load_library(library)
        leaves = self.default_leaves if leaves is None else leaves
        if not 1 <= leaves <= c.MOST_SEQUENCES:
            raise ValueError(f"llama.cpp scores trees of 1 to {c.MOST_SEQUENCES} leaves, not {leaves}")
        threads = checks.integer("threads", threads, 1, None)
        self.cache_bytes = None if cache_bytes is None else checks.integer("cache_bytes", cache_bytes, 1, None)
        path = Path(path)
        if not path.is_file():
            raise EngineError(f"no file {path}: a model for llama.cpp is one .gguf file")
        parameters = self.lib.llama_model_default_params()
        parameters.n_gpu_layers = 0
        handle = self.lib.llama_model_load_from_file(os.fsencode(path), parameters)
        if not handle:
            raise EngineError(f"llama.cpp cannot load {path}: it is no GGUF file, cut short, or newer than the library")
        self.weights = Weights(self.lib, handle)
        self._require_supported(path)
        trained = int(self.lib.llama_model_n_ctx_train(self.weights.handle))
        self.vocabulary = Vocabulary(self.weights)
        self.vocab_size = self.vocabulary.size
        self.context_limit = context_of(path.name, context, trained=trained, most=DEFAULT_CONTEXT)
        self.model_id = model_id or path.stem
        kind = (self.lib.llama_ftype_name(self.lib.llama_model_ftype(self.weights.handle)) or b"").decode()
        dtype = _DTYPES.get(kind, kind)
        self.leaves, self.threads = leaves, threads
        self.together = True
        """Whether texts share calls."""
        self.kv = kv or ("float32" if dtype == "float32" else "float16")
        own = own_settings(self._metadata)
        self._facts = EngineFacts(
            model=self.model_id,
            vocab_size=self.vocab_size,
            context=self.context_limit,
            eos_tokens=self.vocabulary.ends(),
            most_nodes=BATCH - 1,
            most_leaves=leaves,
            dtype=dtype,
            sampling=own.sampling,
            not_applied=own.not_applied,
            token_bytes=self._token_bytes(),
            token_block=self.context_limit,
        )

    def _token_bytes(self) -> int:
        """Bytes of keys and values of one token."""
        lib, handle = self.lib, self.weights.handle
        size = int(lib.llama_model_n_embd(handle)) // int(lib.llama_model_n_head(handle))
        kind = self._metadata("general.architecture")
        sizes = [int(self._metadata(f"{kind}.attention.{what}_length") or size) for what in ("key", "value")]
        width = {"float32": 4, "float16": 2}[self.kv]
        return int(lib.llama_model_n_layer(handle)) * int(lib.llama_model_n_head_kv(handle)) * sum(sizes) * width

    def _metadata(self, key: str) -> str | None:
        """What the file says under ``key``, its first ``METADATA_BYTES``; None for nothing."""
        value = ctypes.create_string_buffer(METADATA_BYTES)
        size = self.lib.llama_model_meta_val_str(self.weights.handle, key.encode(), value, METADATA_BYTES)
        return None if size < 0 else value.value.decode(errors="replace")

    def restrict(self, findings: Findings) -> None:
        """Do without what ``self_check`` found to differ from plain text."""
        self.together = findings.together
        leaves = self.leaves if findings.trees else 1
        self._facts = replace(self._facts, most_leaves=leaves, remarks=(*self._facts.remarks, *findings.remarks))

    @property
    def facts(self) -> EngineFacts:
        """See ``engines.protocol``."""
        return self._facts

    def require_tokens(self, tokens: Sequence[int]) -> None:
        """See ``text_rules.require_tokens``."""
        require_tokens(tokens, self.vocab_size)

    def require_room(self, needed: int) -> None:
        """See ``text_rules.require_room``."""
        require_room(needed, self.context_limit)

    def require_tree(self, nodes: int, leaves: int) -> None:
        """Raise ValueError for a tree that is larger than ``facts`` says."""
        if nodes > self._facts.most_nodes or leaves > self._facts.most_leaves:
            raise ValueError(
                f"a tree of {nodes} nodes and {leaves} leaves; llama.cpp was loaded for at most "
                f"{self._facts.most_nodes} nodes and {self._facts.most_leaves} leaves"
            )

    def _require_supported(self, path: Path) -> None:
        for function, what in (
            ("llama_model_is_recurrent", "is recurrent: its state cannot be rolled back"),
            ("llama_model_is_hybrid", "is recurrent in part: its state cannot be rolled back"),
            ("llama_model_has_encoder", "has an encoder: it does not go on with a text"),
        ):
            if getattr(self.lib, function)(self.weights.handle):
                raise EngineError(f"{path.name} {what}")
