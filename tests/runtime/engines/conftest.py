"""Models of llama.cpp that several suites share, beside what they were made from."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="package")
def pair_file(tmp_path_factory):
    """The pair's draft as a file, in float32."""
    from gguf_models import pair_gguf

    return pair_gguf("draft", tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="package")
def tiny(tmp_path_factory):
    """A random model with grouped-query attention, in both formats: (file, module)."""
    from gguf_models import tiny_gguf

    return tiny_gguf(tmp_path_factory.mktemp("tiny"), kv_heads=2, context=64)
