"""The speed benchmark runs, and measures what it says; nothing here depends on how fast the machine is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tslt_benchmarks.speed import codec_speed

import tslt_wire as tw


def test_program(tmp_path, capsys):
    argv = ["--k", "8", "32", "--vocab-size", "500", "--repetitions", "3", "--json", str(tmp_path / "s.json")]
    if tw.backend == "native":
        codec_speed.main(argv)
        assert capsys.readouterr().out.strip().splitlines()[-1].startswith("codec_speed: K=32")
    else:
        with pytest.raises(SystemExit, match="reference backend"):
            codec_speed.main(argv)
    result = json.loads((tmp_path / "s.json").read_text())
    assert result["backend"] == tw.backend
    contenders = {timing["contender"] for timing in result["timings"]}
    assert {"tslt reference", "topk + msgpack", "topk + msgpack + zstd-3", "topk + orjson", "copy"} <= contenders
    assert ("tslt native" in contenders) == (tw.backend == "native")
    assert {timing["work"] for timing in result["timings"]} == {"list", "tree"}


@pytest.mark.parametrize("rows", [1, 7])
def test_the_others_read_back_what_torch_selected(rows):
    logits = codec_speed.synthetic(300)
    for make, write, read in codec_speed.others(logits, 16, rows).values():
        item = make(2)
        for (ids, values), (ids_again, values_again), row in zip(
            item, read(write(item)), logits[2 * rows : 3 * rows], strict=True
        ):
            assert set(ids.tolist()) == set(np.argsort(-row)[:16].tolist())
            np.testing.assert_array_equal(ids, ids_again)
            np.testing.assert_array_equal(values, values_again)


def test_backends_write_the_same():
    logits = codec_speed.synthetic(300)
    for steps in (codec_speed.our_list, codec_speed.our_tree):
        written = []
        for backend in codec_speed.backends():
            make, write, read = steps(backend, logits, 16)
            data = write(make(1))
            assert read(data) == make(1)
            written.append(data)
        assert len(set(written)) == 1
