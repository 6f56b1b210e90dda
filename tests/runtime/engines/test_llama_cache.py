"""The growing cache against ``DynamicCache``, and masks and positions against their definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_llama import tiny_llama
from transformers import DynamicCache

from tslt_runtime.engines.transformers.kv_cache import GrowingLayer, TreeCache
from tslt_runtime.engines.transformers.tree_attention import (
    ancestry,
    attention_mask,
    level_rows,
    node_depths,
    tree_rows,
)


def states(rows: int, *, batch: int = 1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random keys and values, shape (batch, 2, rows, 4)."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn((batch, 2, rows, 4), generator=generator)
    return keys, torch.randn((batch, 2, rows, 4), generator=generator)


def test_updates_append_and_grow() -> None:
    layer = GrowingLayer(block=4)
    keys, values = states(37)
    for start, end in ((0, 3), (3, 4), (4, 5), (5, 30), (30, 37)):
        seen_keys, seen_values = layer.update(keys[:, :, start:end], values[:, :, start:end])
        assert torch.equal(seen_keys, keys[:, :, :end])
        assert torch.equal(seen_values, values[:, :, :end])
        assert layer.get_seq_length() == end <= layer.capacity
    assert layer.keys is not None
    assert layer.keys.shape[-2] == 37


def test_rows_are_written_in_place_while_there_is_room() -> None:
    layer = GrowingLayer(block=16)
    keys, values = states(10)
    before, _ = layer.update(keys[:, :, :5], values[:, :, :5])
    after, _ = layer.update(keys[:, :, 5:], values[:, :, 5:])
    assert before.data_ptr() == after.data_ptr()


def test_crop_takes_minus_the_rows_to_drop() -> None:
    layer = GrowingLayer(block=16)
    keys, values = states(10)
    layer.update(keys, values)
    layer.crop(0)
    layer.crop(-3)
    assert layer.keys is not None
    assert torch.equal(layer.keys, keys[:, :, :7])
    with pytest.raises(ValueError, match="minus"):
        layer.crop(7)
    with pytest.raises(ValueError, match="rows"):
        layer.crop(-8)
    layer.reset()
    assert layer.get_seq_length() == 0


@pytest.mark.parametrize("offsets", [[0, 1, 2], [0, 2, 5, 12], [14], [], [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]])
def test_gather_keeps_exactly_the_rows_named(offsets: list[int]) -> None:
    cache = TreeCache(2, block=8)
    layers = [states(25, seed=seed) for seed in range(2)]
    for index, (keys, values) in enumerate(layers):
        cache.update(keys, values, index)
    cache.gather(10, offsets)
    assert cache.length == cache.get_seq_length() == 10 + len(offsets)
    rows = [*range(10), *(10 + offset for offset in offsets)]
    for layer, (keys, values) in zip(cache.layers, layers, strict=True):
        assert isinstance(layer, GrowingLayer)
        assert layer.keys is not None
        assert layer.values is not None
        assert torch.equal(layer.keys, keys[:, :, rows])
        assert torch.equal(layer.values, values[:, :, rows])


@pytest.mark.parametrize(("start", "offsets"), [(10, [15]), (10, [-1]), (-1, [0]), (26, [])])
def test_gather_refuses_rows_that_are_not_there(start: int, offsets: list[int]) -> None:
    cache = TreeCache(1)
    cache.update(*states(25), 0)
    with pytest.raises(ValueError, match="25 rows"):
        cache.gather(start, offsets)
    assert cache.length == 25


def test_batch_operations_follow_the_dynamic_cache() -> None:
    ours, theirs = GrowingLayer(block=8), DynamicCache()
    keys, values = states(5, batch=3)
    ours.update(keys, values)
    theirs.update(keys, values, 0)
    ours.batch_repeat_interleave(2)
    theirs.batch_repeat_interleave(2)
    ours.batch_select_indices(torch.tensor([5, 0, 2]))
    theirs.batch_select_indices(torch.tensor([5, 0, 2]))
    ours.reorder_cache(torch.tensor([2, 2, 1]))
    theirs.reorder_cache(torch.tensor([2, 2, 1]))
    more = states(4, batch=3, seed=1)
    seen, _ = ours.update(*more)
    expected, _ = theirs.update(*more, 0)
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_drops_into_generate_bit_for_bit(attention: str) -> None:
    model = tiny_llama(kv_heads=2, attention=attention)
    prompt = torch.tensor([[1, 5, 9, 33]])
    options = {"max_new_tokens": 30, "do_sample": False, "attention_mask": torch.ones_like(prompt)}
    expected = model.generate(prompt, **options)
    cache = TreeCache(model.config.num_hidden_layers, block=4)
    assert torch.equal(model.generate(prompt, past_key_values=cache, **options), expected)
    assert cache.length == 33
    with torch.no_grad():
        dynamic, growing = DynamicCache(config=model.config), TreeCache(model.config.num_hidden_layers, block=4)
        for token in expected[0].tolist():
            one = torch.tensor([[token]])
            assert torch.equal(
                model(one, past_key_values=dynamic, use_cache=True).logits,
                model(one, past_key_values=growing, use_cache=True).logits,
            )


def test_a_cache_filled_under_inference_mode_can_be_gathered_outside() -> None:
    cache = TreeCache(1)
    with torch.inference_mode():
        cache.update(*states(10), 0)
    cache.gather(2, [1, 4])
    assert cache.length == 4


def test_nbytes_counts_the_buffers() -> None:
    cache = TreeCache(2, block=8)
    assert cache.nbytes == 0
    cache.update(*states(3), 0)
    assert cache.nbytes == 2 * 2 * 8 * 4 * 4  # keys and values, heads, rows, head_dim, bytes


def test_masks_follow_the_definition() -> None:
    parents = [-1, 0, -1, 1, 2, 0]
    assert node_depths(parents).tolist() == [1, 2, 1, 3, 2, 2]
    lineage = ancestry(parents)
    assert [np.flatnonzero(row).tolist() for row in lineage] == [[0], [0, 1], [2], [0, 1, 3], [2, 4], [0, 5]]
    assert np.array_equal(ancestry(parents, first=3), lineage[3:])
    rows = tree_rows(parents, past=7, chain=2)
    assert rows.positions.tolist() == [7, 8, 9, 10, 9, 11, 10, 10]
    assert np.array_equal(rows.visible[:2], np.tri(2, 8, dtype=bool))
    assert rows.visible[2:, :2].all()
    assert np.array_equal(rows.visible[2:, 2:], lineage)
    level = level_rows(parents, first=3, past=9)
    assert level.positions.tolist() == [11, 10, 10]
    assert level.visible.shape == (3, 6)


def test_mask_forms() -> None:
    visible = np.tri(3, dtype=np.bool_)
    for kind, dtype in (("sdpa", torch.float32), ("eager", torch.bfloat16)):
        addend = attention_mask(visible, past=2, implementation=kind, dtype=dtype)
        assert addend.shape == (1, 1, 3, 5)
        assert addend.dtype == dtype
        assert (addend[0, 0, :, :2] == 0).all()
        assert torch.equal(addend[0, 0, :, 2:] == 0, torch.from_numpy(visible))
        assert addend.min() == torch.finfo(dtype).min
    with pytest.raises(ValueError, match="flash"):
        attention_mask(visible, past=2, implementation="flash_attention_2", dtype=torch.float32)


@pytest.mark.parametrize("parents", [[0], [-1, 2, 0], [-2]])
def test_order_must_be_topological(parents: list[int]) -> None:
    with pytest.raises(ValueError, match="parent"):
        tree_rows(parents, past=0)
    with pytest.raises(ValueError, match="chain"):
        tree_rows([], past=0, chain=0)
