"""What Ray Serve runs for a fleet: replicas of a target, which gateways (``tslt edge --engine ray``) ask.

serve run tslt_runtime.commands.replica:application model=meta-llama/Llama-3.1-8B replicas=4 gpus=1 torch_device=cuda
serve run tslt_runtime.commands.replica:application engine=vllm url=http://127.0.0.1:8000 replicas=4

or the same in a configuration file of Serve's, under ``args``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from tslt_runtime.commands.inference import API_KEY, ENGINES, connect
from tslt_runtime.fingerprint import vocabulary_of
from tslt_runtime.limits import DEFAULT_LIMITS, EdgeLimits
from tslt_runtime.loading import LoadOptions, load_target
from tslt_runtime.tokenizer import Tokenizer
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.pool.protocol import Offer
from tslt_runtime.verifiers.pool.replica import Replica
from tslt_runtime.verifiers.pool.scale import TARGET_ONGOING, Scale
from tslt_runtime.verifiers.protocol import VerifierFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOptions:
    """How a fleet's replicas run their target: what ``serve run`` and a configuration file may say.

    Values may be words, as the command line has them.
    """

    model: str = ""
    """A folder of safetensors, a .gguf file or a hub id, the same on all machines; for a server what it runs."""
    engine: str = ""
    """"vllm" or "llama-server": each replica asks a server that is there already; "": it runs the target itself."""
    url: str = ""
    """Where that server is, as seen from the replica's machine: one a machine, say."""
    replicas: int = 1
    most_replicas: int = 0
    """With autoscaling up to so many; 0: without."""
    target_ongoing: float = TARGET_ONGOING
    """Calls at a replica at once above which another one is started."""
    cpus: float = 1.0
    """Of one replica, as Ray places them."""
    gpus: float = 0.0
    dtype: str = "auto"
    threads: int = 1
    context: int = 0
    """Most tokens of a text; 0: the model's own."""
    torch_device: str = "cpu"
    llama_lib: str = ""
    self_check: bool = True
    cache_memory: int = DEFAULT_LIMITS.cache_bytes >> 20
    """MiB of all texts' keys and values."""
    max_rows: int = DEFAULT_LIMITS.rows
    """Tokens and nodes of one pass."""
    version: str = ""
    """Deployed with another one, replicas are replaced one after the other."""

    @classmethod
    def of(cls, args: Mapping[str, Any]) -> ReplicaOptions:
        """Read them; ValueError for a name that is none, or a value that does not fit."""
        known = {field.name: field for field in fields(cls)}
        if unknown := sorted(set(args) - set(known)):
            raise ValueError(f"there is no option {unknown[0]}, only {', '.join(known)}")
        return cls(**{name: _value(name, type(known[name].default), value) for name, value in args.items()})

    def __post_init__(self) -> None:
        """Raise ValueError for options that do not belong together."""
        if self.engine not in ("", *ENGINES):
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, or none, got {self.engine!r}")
        if self.engine and not self.url:
            raise ValueError(f"engine {self.engine} needs url")
        if self.url and not self.engine:
            raise ValueError("url is of an inference server: say engine, too")
        if not self.model and self.engine != "vllm":
            raise ValueError("model is needed")


def _value(name: str, kind: type, value: Any) -> Any:
    words = {"true": True, "false": False}
    if kind is bool and str(value).lower() in words:
        return words[str(value).lower()]
    try:
        if kind is not bool:
            return kind(value)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{name} must be {'true or false' if kind is bool else f'of type {kind.__name__}'}, got {value!r}")


def load(options: ReplicaOptions) -> Replica:
    """A replica, in this process; errors as ``tslt_runtime.loading``."""
    if options.engine:
        key = os.environ.get(API_KEY, "")
        served, tokenizer = connect(options.engine, options.url, model=options.model or None, api_key=key)
        return Replica(served, offer_of(served.facts, tokenizer))
    limits = EdgeLimits(rows=options.max_rows, cache_bytes=options.cache_memory << 20)
    engine, tokenizer = load_target(
        options.model,
        **LoadOptions(
            dtype=options.dtype,
            threads=options.threads,
            context=options.context or None,
            torch_device=options.torch_device,
            library=Path(options.llama_lib) if options.llama_lib else None,
            cache_bytes=limits.cache_bytes,
            self_check=options.self_check,
        ),
    )
    verifier = LocalVerifier(engine, limits=limits)
    return Replica(verifier, offer_of(verifier.facts, tokenizer))


def offer_of(facts: VerifierFacts, tokenizer: Tokenizer) -> Offer:
    """What an edge with this verifier and its model's tokenizer offers."""
    from tslt_runtime.chat.template import digest_of, source_of

    template = source_of(tokenizer)
    named = b"" if template is None else digest_of(template)
    return Offer(facts, vocabulary_of(tokenizer, vocab_size=facts.engine.vocab_size), named)


def application(args: Mapping[str, Any]) -> Any:
    """The application of ``ReplicaOptions``: what ``serve run`` calls."""
    from tslt_runtime.verifiers.pool import ray_serve

    options = ReplicaOptions.of(args)
    scale = Scale(
        replicas=options.replicas,
        most=options.most_replicas or None,
        target_ongoing=options.target_ongoing,
        cpus=options.cpus,
        gpus=options.gpus,
    )
    return ray_serve.application(partial(load, options), scale, version=options.version)
