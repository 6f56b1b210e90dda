"""The functions that have a kernel behind them are functions like any other: signature, types, documentation."""

import inspect

import pytest

import tslt_wire as tw
from tslt_wire.coding import philox
from tslt_wire.frames.codec import decode_reference, encode_reference
from tslt_wire.lists.list_codec import decode_list_reference, encode_list_reference
from tslt_wire.lists.sparsify import sparsify_batch_reference, sparsify_reference


@pytest.mark.parametrize(
    ("public", "reference"),
    [
        (tw.sparsify, sparsify_reference),
        (tw.sparsify_batch, sparsify_batch_reference),
        (tw.encode_list, encode_list_reference),
        (tw.decode_list, decode_list_reference),
        (tw.encode, encode_reference),
        (tw.decode, decode_reference),
        (philox.uniforms, philox.uniforms_reference),
    ],
)
def test_functions_with_a_kernel(public, reference):
    assert inspect.isfunction(public)
    signature = inspect.signature(public)
    assert signature == inspect.signature(reference)
    assert inspect.Signature.empty not in (
        signature.return_annotation,
        *(p.annotation for p in signature.parameters.values()),
    )
    first, _, rest = inspect.getdoc(public).partition("\n")
    assert first.endswith((".", ":"))
    assert "See " not in first
    if public is not tw.sparsify_batch:
        assert "TypeError" in rest  # says what it raises
