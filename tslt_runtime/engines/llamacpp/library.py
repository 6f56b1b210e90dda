"""llama.cpp's C interface, as far as it is used here: declarations for one build of it, checked when it is loaded.

The library comes with the PyPI package ``xllamacpp``, whose extension module exports that interface (the package's own
Python is not imported).  llama.cpp changes its structures from week to week and promises nothing, and a call with a
structure of another layout is undefined behaviour: so another build is refused.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_float,
    c_int,
    c_int8,
    c_int32,
    c_size_t,
    c_uint32,
    c_void_p,
)
from pathlib import Path
from typing import Any

from tslt_runtime.engines.protocol import EngineError

PACKAGE = "xllamacpp"
PACKAGE_VERSION = "2026.10.11549"
"""The version whose declarations these are; ``pyproject.toml`` asks for it."""
LIBRARY_VERSIONS = {"llama_version": "0.6.0-dev", "ggml_version": "0.26.0"}
"""What functions of that build return.  Builds of some weeks share them: the layouts are checked as well, as far as
they show (a field that another build has at the very end does not)."""

F32, F16 = 0, 1
"""Types of numbers, ``enum ggml_type``."""
NO_FLASH_ATTENTION = 0
"""``LLAMA_FLASH_ATTN_TYPE_DISABLED``; by default it is used where llama.cpp can."""
MOST_SEQUENCES = 256
"""Sequence ids of a context at most, ``LLAMA_MAX_SEQ``."""
UNUSED_TOKEN = 1 << 1
"""Attribute of entries of a vocabulary that only fill it up, ``enum llama_token_attr``."""
SILENT_TOKENS = 1 << 0 | UNUSED_TOKEN | 1 << 3
"""Attributes of tokens that stand for no text: unknown, unused, control."""

LogCallback = CFUNCTYPE(None, c_int, c_char_p, c_void_p)


class ModelParams(Structure):
    """``struct llama_model_params``."""

    _fields_ = (
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int),
        ("load_mode", c_int),
        ("lazy_mode", c_int),
        ("main_gpu", c_int32),
        ("tensor_split", c_void_p),
        ("progress_callback", c_void_p),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        ("vocab_only", c_bool),
        ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool),
        ("no_host", c_bool),
        ("no_alloc", c_bool),
        ("load_mtp", c_bool),
    )


class ContextParams(Structure):
    """``struct llama_context_params``."""

    _fields_ = (
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32),
        ("n_rs_seq", c_uint32),
        ("n_outputs_max", c_uint32),
        ("n_outputs_max_per_seq", c_uint32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("ctx_type", c_int),
        ("rope_scaling_type", c_int),
        ("pooling_type", c_int),
        ("attention_type", c_int),
        ("flash_attn_type", c_int),
        ("rope_freq_base", c_float),
        ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float),
        ("yarn_attn_factor", c_float),
        ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", c_void_p),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int),
        ("type_v", c_int),
        ("moe_cache_size", c_size_t),
        ("abort_callback", c_void_p),
        ("abort_callback_data", c_void_p),
        ("embeddings", c_bool),
        ("offload_kqv", c_bool),
        ("no_perf", c_bool),
        ("op_offload", c_bool),
        ("swa_full", c_bool),
        ("kv_unified", c_bool),
        ("samplers", c_void_p),
        ("n_samplers", c_size_t),
        ("ctx_other", c_void_p),
    )


class Batch(Structure):
    """``struct llama_batch``: tokens that ``llama_decode`` appends."""

    _fields_ = (
        ("n_tokens", c_int32),
        ("token", c_void_p),
        ("embd", c_void_p),
        ("pos", c_void_p),
        ("n_seq_id", c_void_p),
        ("seq_id", c_void_p),
        ("logits", c_void_p),
    )


MODEL_DEFAULTS: dict[str, Any] = {
    "n_gpu_layers": -1,
    "split_mode": 1,
    "load_mode": -1,
    "lazy_mode": 1,
    "use_extra_bufts": True,
}
CONTEXT_DEFAULTS: dict[str, Any] = {
    **{"n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "n_outputs_max_per_seq": 1},
    **{"n_threads": 4, "n_threads_batch": 4},
    **dict.fromkeys(("rope_scaling_type", "pooling_type", "attention_type", "flash_attn_type"), -1),
    **dict.fromkeys(("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "defrag_thold"), -1.0),
    **{"type_k": F16, "type_v": F16},
    **dict.fromkeys(("offload_kqv", "no_perf", "op_offload", "swa_full"), True),
}
"""Fields that are not zero in that build's default parameters; the others are: a moved field shows."""

SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "llama_backend_init": (None, []),
    "llama_log_set": (None, [LogCallback, c_void_p]),
    "llama_model_default_params": (ModelParams, []),
    "llama_context_default_params": (ContextParams, []),
    "llama_model_load_from_file": (c_void_p, [c_char_p, ModelParams]),
    "llama_model_free": (None, [c_void_p]),
    "llama_init_from_model": (c_void_p, [c_void_p, ContextParams]),
    "llama_free": (None, [c_void_p]),
    "llama_model_get_vocab": (c_void_p, [c_void_p]),
    "llama_model_n_ctx_train": (c_int32, [c_void_p]),
    "llama_model_has_encoder": (c_bool, [c_void_p]),
    "llama_model_is_recurrent": (c_bool, [c_void_p]),
    "llama_model_is_hybrid": (c_bool, [c_void_p]),
    "llama_model_ftype": (c_int, [c_void_p]),
    "llama_ftype_name": (c_char_p, [c_int]),
    "llama_model_meta_val_str": (c_int32, [c_void_p, c_char_p, c_char_p, c_size_t]),
    "llama_vocab_n_tokens": (c_int32, [c_void_p]),
    "llama_vocab_bos": (c_int32, [c_void_p]),
    "llama_vocab_eos": (c_int32, [c_void_p]),
    "llama_vocab_get_text": (c_char_p, [c_void_p, c_int32]),
    "llama_vocab_get_attr": (c_int, [c_void_p, c_int32]),
    "llama_vocab_is_eog": (c_bool, [c_void_p, c_int32]),
    "llama_tokenize": (c_int32, [c_void_p, c_char_p, c_int32, c_void_p, c_int32, c_bool, c_bool]),
    "llama_detokenize": (c_int32, [c_void_p, c_void_p, c_int32, c_void_p, c_int32, c_bool, c_bool]),
    "llama_model_n_layer": (c_int32, [c_void_p]),
    "llama_model_n_embd": (c_int32, [c_void_p]),
    "llama_model_n_head": (c_int32, [c_void_p]),
    "llama_model_n_head_kv": (c_int32, [c_void_p]),
    "llama_state_seq_get_size": (c_size_t, [c_void_p, c_int32]),
    "llama_state_seq_get_data": (c_size_t, [c_void_p, c_void_p, c_size_t, c_int32]),
    "llama_state_seq_set_data": (c_size_t, [c_void_p, c_char_p, c_size_t, c_int32]),
    "llama_get_memory": (c_void_p, [c_void_p]),
    "llama_memory_seq_rm": (c_bool, [c_void_p, c_int32, c_int32, c_int32]),
    "llama_memory_seq_cp": (None, [c_void_p, c_int32, c_int32, c_int32, c_int32]),
    "llama_decode": (c_int32, [c_void_p, Batch]),
    "llama_get_logits": (POINTER(c_float), [c_void_p]),
}


_SILENCE = LogCallback(lambda _level, _text, _data: None)
"""Drops what llama.cpp logs, a screenful a model; what fails says so by its result."""


@functools.cache
def load_library(path: Path | None = None) -> Any:
    """Load llama.cpp, once a path, and return its functions; ``path``: a shared library of the same build.

    By default the one of the installed package.  Any is the honest type of functions that C knows.  Raises EngineError
    where there is none, or one of another build; the message says what to do.
    """
    found = _installed() if path is None else path
    try:
        library: Any = ctypes.CDLL(
            str(found.resolve() if found.exists() else found)
        )  # bare names are looked for elsewhere
    except OSError as error:
        raise EngineError(f"{found} cannot be loaded as llama.cpp's library: {error}; {_ADVICE}") from error
    try:
        require_build(library, str(found))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise EngineError(f"{found} is no library of llama.cpp, or of another build: {error}; {_ADVICE}") from error
    library.llama_log_set(_SILENCE, None)
    library.llama_backend_init()
    return library


def require_build(library: Any, name: str) -> None:
    """Raise EngineError unless ``library``, called ``name``, says and does what the declarations above were made for.

    AttributeError where it lacks a function.
    """
    for function, wanted in LIBRARY_VERSIONS.items():
        call = getattr(library, function)
        call.restype, call.argtypes = c_char_p, []
        if (found := (call() or b"").decode(errors="replace")) != wanted:
            raise EngineError(f"{name} is another build of llama.cpp: {function} {found}, not {wanted}; {_ADVICE}")
    for function, layout, defaults in (
        ("llama_model_default_params", ModelParams, MODEL_DEFAULTS),
        ("llama_context_default_params", ContextParams, CONTEXT_DEFAULTS),
    ):
        for field in _moved(getattr(library, function), layout, defaults):
            raise EngineError(f"{name} is another build of llama.cpp: {function}().{field} differs; {_ADVICE}")


EXTRA = "pip install 'tslt-wire[llamacpp]'"
"""What installs the package."""
_ADVICE = f"install the build that this version knows: pip install '{PACKAGE}=={PACKAGE_VERSION}'"


def _installed() -> Path:
    """The extension module of the package, in the one version that is known."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for pattern in ("*.so", "*.pyd", "*.dylib"):
            for path in sorted(Path(folder).glob(f"{PACKAGE}{pattern}")):
                if (found := importlib.metadata.version(PACKAGE)) != PACKAGE_VERSION:
                    raise EngineError(f"{PACKAGE} {found} is another build of llama.cpp; {_ADVICE}")
                return path
    raise EngineError(f"llama.cpp is not installed: {EXTRA}")


def _moved(function: Any, layout: type[Structure], defaults: dict[str, Any]) -> list[str]:
    """Names of fields whose values after ``function()`` are not the defaults."""

    class Roomy(Structure):  # a longer structure of another build is written in here, and not over the stack
        _fields_ = (("known", layout), ("behind", c_int8 * 512))

    function.restype, function.argtypes = Roomy, []
    known = function().known
    names = [str(field[0]) for field in layout._fields_]
    return [name for name in names if (getattr(known, name) or 0) != defaults.get(name, 0)]
