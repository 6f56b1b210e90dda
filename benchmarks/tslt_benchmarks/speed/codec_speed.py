"""How long the codec takes: logits to bytes and bytes to a distribution, beside what a user would write instead.

Medians of interleaved repetitions on one thread, in microseconds, and ratios within this run; absolute numbers are this
machine's.  Ours is measured with the native kernel and with the reference in Python.  The others take the K largest
logits with ``torch.topk`` and pack int32 ids and float16 values: msgpack, msgpack and zstd at level 3, orjson.  They do
not normalise, quantise to integers, or check what they read.  A plain copy of the logits is the floor.

    python -m tslt_benchmarks.speed.codec_speed --json speed.json --drafts drafts.npz

Made-up logits have trees whose lists share little, the worst case; ``--drafts`` has trees that a draft model grew.

Where there is no native kernel the reference is measured and no headline is printed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
import orjson
import torch
import zstandard
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.drafts import EXPANSION, TREE_LISTS, load_drafts
from tslt_benchmarks.options import command_parser, input_file, output_file, whole_number, write_json
from tslt_wire.frames.codec import decode_reference, encode_reference
from tslt_wire.lists.list_codec import decode_list_reference, encode_list_reference
from tslt_wire.lists.sparsify import sparsify_batch_reference, sparsify_reference
from tslt_wire.messages.token_tree import expansion_parents

Logits = npt.NDArray[np.float32]
KS = (8, 32, 128, 320, 3200)
VOCAB_SIZES = (32_000, 128_256)
TREE_KS = (8, 32, 128, 320)
PRECISION = "log2/1"
WARM_UP = 2
"""Repetitions that do not count: caches fill."""
LEAST_REPETITIONS = 5
"""Of what takes milliseconds; a median needs a few."""
_WIDTH = 130
"""Columns of a terminal that the tables need."""
ROWS = 16
"""Different rows of logits that repetitions go through, so that no one of them is learnt by heart."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Median times of one contender on one work, in microseconds."""

    work: str
    """``list``: one list; ``tree``: a <2,2,2> draft of 7 lists and 14 tokens."""
    contender: str
    vocab_size: int
    k: int
    make: float
    """Logits to what will be sent, but not yet to bytes (select, quantise); 0 where that is one step."""
    encode: float
    """To bytes."""
    decode: float
    """Bytes to ids and probabilities."""
    bytes: float
    """Mean size."""

    @property
    def write(self) -> float:
        """Logits to bytes."""
        return self.make + self.encode

    @property
    def codec(self) -> float:
        """Encode and decode, without selection."""
        return self.encode + self.decode


Steps = tuple[Callable[[int], Any], Callable[[Any], bytes], Callable[[bytes], Any]]
"""Make something of the logits in row i; write it; read it."""


def synthetic(vocab_size: int, seed: int = 0) -> Logits:
    """Logits (ROWS * TREE_LISTS, V) in which small ids are likelier, as in vocabularies in merge order."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(ROWS * TREE_LISTS, vocab_size)) * 1.5 - np.log(np.arange(vocab_size) + 20.0)
    return np.asarray(rows, dtype=np.float32)


def cycled(rows: Logits) -> Logits:
    """The first ROWS * TREE_LISTS rows, float32 and in one piece, again from the first where there are fewer."""
    return np.ascontiguousarray(rows[np.arange(ROWS * TREE_LISTS) % len(rows)], dtype=np.float32)


# ---------------------------------------------------------------------------------------------------------- contenders


@dataclass(frozen=True, slots=True)
class Backend:
    """The functions of one backend."""

    name: str
    sparsify: Callable[..., tw.SparseDistribution]
    sparsify_rows: Callable[..., list[tw.SparseDistribution]]
    encode_list: Callable[..., bytes]
    decode_list: Callable[..., tw.SparseDistribution]
    encode: Callable[..., bytes]
    decode: Callable[..., tw.Message]


def backends() -> list[Backend]:
    """Return the native backend, if this installation has it, and the reference."""
    reference = Backend(
        "tslt reference",
        sparsify_reference,
        sparsify_batch_reference,
        encode_list_reference,
        decode_list_reference,
        encode_reference,
        decode_reference,
    )
    if tw.backend != "native":
        return [reference]
    fast = (tw.sparsify, tw.sparsify_batch, tw.encode_list, tw.decode_list, tw.encode, tw.decode)
    return [Backend("tslt native", *fast), reference]


def our_list(backend: Backend, logits: Logits, k: int) -> Steps:
    """One list with this library."""
    profile, rule = tw.Profile(vocab_size=logits.shape[1], precision=PRECISION, entropy="range"), tw.TopK(k)

    def make(i: int) -> tw.SparseDistribution:
        return backend.sparsify(logits[i], truncation=rule, precision=tw.Precision.LOG2_1)

    return make, lambda q: backend.encode_list(q, profile), lambda data: backend.decode_list(data, profile)


def our_tree(backend: Backend, logits: Logits, k: int) -> Steps:
    """A <2,2,2> draft with this library: all rows of logits in one call."""
    profile, rule = tw.Profile(vocab_size=logits.shape[1], entropy="range"), tw.TopK(k)
    parents = expansion_parents(EXPANSION)
    inner = sorted(set(parents))

    def make(i: int) -> tw.Draft:
        rows = logits[TREE_LISTS * i : TREE_LISTS * (i + 1)]
        lists = backend.sparsify_rows(rows, truncation=rule, precision=tw.Precision.LOG2_1)
        found = dict(zip(inner, lists, strict=True))
        tokens = tuple(int(found[parent].ids[node % len(found[parent])]) for node, parent in enumerate(parents))
        return tw.Draft(
            round=40,
            prefix_length=200,
            prefix_hash=0xBEEF,
            tree=tw.TokenTree(tokens, parents),
            evidence=tw.ListEvidence(found, replacement=True),
        )

    return make, lambda draft: backend.encode(draft, profile), lambda data: backend.decode(data, profile)


def topk_lists(logits: Logits, k: int, rows: int) -> Callable[[int], list[tuple[Any, Any]]]:
    """Return what torch selects of ``rows`` rows: ids int32 and values float16, K each."""
    tensor = torch.from_numpy(logits)

    def make(i: int) -> list[tuple[Any, Any]]:
        values, ids = torch.topk(tensor[rows * i : rows * i + rows], k)
        return list(zip(ids.to(torch.int32).numpy(), values.to(torch.float16).numpy(), strict=True))

    return make


def packed(found: list[tuple[Any, Any]]) -> bytes:
    """Pack lists with msgpack, two binary fields each."""
    return bytes(msgpack.packb([(ids.tobytes(), values.tobytes()) for ids, values in found]))


def unpacked(data: bytes) -> list[tuple[Any, Any]]:
    """Read ``packed`` back."""
    return [(np.frombuffer(a, np.int32), np.frombuffer(b, np.float16)) for a, b in msgpack.unpackb(data)]


def others(logits: Logits, k: int, rows: int) -> dict[str, Steps]:
    """What users write today, for ``rows`` lists at a time."""
    make = topk_lists(logits, k, rows)
    compress, decompress = zstandard.ZstdCompressor(level=3), zstandard.ZstdDecompressor()

    def to_json(found: list[tuple[Any, Any]]) -> bytes:
        return orjson.dumps(
            [(ids, values.astype(np.float32)) for ids, values in found], option=orjson.OPT_SERIALIZE_NUMPY
        )

    def from_json(data: bytes) -> list[tuple[Any, Any]]:
        return [(np.array(ids, np.int32), np.array(values, np.float16)) for ids, values in orjson.loads(data)]

    return {
        "topk + msgpack": (make, packed, unpacked),
        "topk + msgpack + zstd-3": (
            make,
            lambda found: compress.compress(packed(found)),
            lambda data: unpacked(decompress.decompress(data)),
        ),
        "topk + orjson": (make, to_json, from_json),
    }


def copied(logits: Logits) -> Steps:
    """Nothing but a copy of the logits: the floor."""
    return lambda i: logits[i].copy(), lambda _: b"", lambda _: None


# ------------------------------------------------------------------------------------------------------------- timing


def measure(steps: dict[str, Steps], repetitions: int) -> dict[str, tuple[list[float], float]]:
    """Medians of the three steps in microseconds and the mean size, by contender; one contender after another."""
    times: dict[str, list[list[int]]] = {name: [[], [], []] for name in steps}
    sizes: dict[str, list[int]] = {name: [] for name in steps}
    for repetition in range(repetitions + WARM_UP):
        for name, (make, write, read) in steps.items():
            t0 = time.perf_counter_ns()
            item = make(repetition % ROWS)
            t1 = time.perf_counter_ns()
            data = write(item)
            t2 = time.perf_counter_ns()
            read(data)
            t3 = time.perf_counter_ns()
            if repetition >= WARM_UP:
                for at, spent in enumerate((t1 - t0, t2 - t1, t3 - t2)):
                    times[name][at].append(spent)
                sizes[name].append(len(data))
    return {
        name: ([float(np.median(spent)) / 1000 for spent in times[name]], float(np.mean(sizes[name]))) for name in steps
    }


def measure_all(
    rows: Sequence[tuple[Logits, Logits]], *, ks: Sequence[int], repetitions: int, say: Callable[[str], None]
) -> list[Timing]:
    """Measure every K for logits of every vocabulary: those of lists, and those of trees, 7 rows each."""
    timings = []
    for of_lists, of_trees in rows:
        vocab_size = of_lists.shape[1]
        for work, wanted, lists in (("list", ks, 1), ("tree", [k for k in ks if k in TREE_KS], TREE_LISTS)):
            for k in wanted:
                if k > vocab_size:
                    continue
                say(f"{work}, V = {vocab_size}, K = {k}")
                ours, logits = (our_list, of_lists) if work == "list" else (our_tree, of_trees)
                steps = {backend.name: ours(backend, logits, k) for backend in backends()}
                steps |= others(logits, k, lists)
                if work == "list":
                    steps["copy"] = copied(logits)
                # The reference takes milliseconds: a few repetitions are enough for its median.
                few = {name: found for name, found in steps.items() if name == "tslt reference"}
                many = {name: found for name, found in steps.items() if name not in few}
                found = measure(many, repetitions) | measure(few, max(LEAST_REPETITIONS, repetitions // 20))
                for name in steps:
                    (make, encode, decode), size = found[name]
                    timings.append(Timing(work, name, vocab_size, k, make, encode, decode, size))
    return timings


def linearity(repetitions: int) -> list[tuple[int, float]]:
    """Decode times in microseconds of one list of 1,000 to 64,000 entries, doubling (V = 128,256)."""
    vocab_size = 128_256
    profile = tw.Profile(vocab_size=vocab_size, precision=PRECISION, entropy="range")
    rng = np.random.default_rng(1)
    logits = (rng.normal(size=vocab_size) * 1.5).astype(np.float32)
    sizes = [1000 << i for i in range(7)]
    frames = [tw.encode_list(tw.sparsify(logits, truncation=tw.TopK(k), precision=PRECISION), profile) for k in sizes]
    times: list[list[int]] = [[] for _ in sizes]
    for _ in range(max(LEAST_REPETITIONS, repetitions // 10)):
        for i, data in enumerate(frames):
            start = time.perf_counter_ns()
            tw.decode_list(data, profile)
            times[i].append(time.perf_counter_ns() - start)
    return [(k, float(np.median(spent)) / 1000) for k, spent in zip(sizes, times, strict=True)]


@dataclass(frozen=True, slots=True)
class Largest:
    """Decode time of a frame with as many entries as the default limits allow, or nearly."""

    lists: int
    k: int
    vocab_size: int
    bytes: int
    milliseconds: float


def largest(repetitions: int) -> list[Largest]:
    """Few lists of all tokens, of half of them, and as many lists as a tree of 1,024 nodes has."""
    found = []
    most, depth = tw.DecodeLimits().max_nodes, tw.DecodeLimits().max_depth
    for lists, vocab_size, k in ((2, 1 << 20, 1 << 20), (4, 1 << 20, 1 << 19), (most - most // depth, 32_000, 2048)):
        draft = _wide_draft(lists, k, vocab_size)
        profile = tw.Profile(vocab_size=vocab_size, entropy="range")
        data = tw.encode(draft, profile)
        times = []
        for _ in range(max(LEAST_REPETITIONS, repetitions // 40)):
            start = time.perf_counter_ns()
            tw.decode(data, profile)
            times.append(time.perf_counter_ns() - start)
        found.append(Largest(lists, k, vocab_size, len(data), float(np.median(times)) / 1e6))
    return found


def _wide_draft(lists: int, k: int, vocab_size: int) -> tw.Draft:
    """A tree of paths as long as they may be, in which all nodes but the last of a path have a list."""
    rng = np.random.default_rng(2)
    depth = tw.DecodeLimits().max_depth
    paths = -(-lists // depth)
    parents = [node - paths if node >= paths else -1 for node in range(lists - 1 + paths)]
    owners = sorted(set(parents))
    rows = (rng.normal(size=(4, vocab_size)) * 1.5).astype(np.float32)
    some = tw.sparsify_batch(rows, truncation=tw.TopK(k), precision=PRECISION)
    found = {owner: some[i % len(some)] for i, owner in enumerate(owners)}
    tokens = tuple(int(found[parent].ids[node % paths]) for node, parent in enumerate(parents))
    return tw.Draft(
        round=0,
        prefix_length=1,
        prefix_hash=0,
        tree=tw.TokenTree(tokens, parents),
        evidence=tw.ListEvidence(found, replacement=True),
    )


# -------------------------------------------------------------------------------------------------------------- output


def tables(timings: Sequence[Timing]) -> list[Table]:
    """One table a work."""
    found = []
    for work, title in (("list", "one list"), ("tree", "a <2,2,2> draft: 7 lists, 14 tokens")):
        table = Table(title=f"{title}; microseconds, medians", title_justify="left")
        for name in ("V", "K", "", "bytes", "select", "encode", "decode", "logits to bytes", "encode + decode"):
            table.add_column(name, justify="right")
        for timing in timings:
            if timing.work == work:
                size = f"{timing.bytes:,.0f}" if timing.bytes else ""
                numbers = [f"{x:,.1f}" for x in (timing.make, timing.encode, timing.decode, timing.write, timing.codec)]
                table.add_row(f"{timing.vocab_size:,}", str(timing.k), timing.contender, size, *numbers)
        found.append(table)
    return found


def ratios(
    timings: Sequence[Timing], growth: Sequence[tuple[int, float]], frames: Sequence[Largest] = ()
) -> dict[str, float]:
    """The figures that matter, each ours over theirs unless its name says otherwise."""

    def timing(work: str, contender: str, vocab_size: int, k: int) -> Timing | None:
        keys = (work, contender, vocab_size, k)
        return next((c for c in timings if (c.work, c.contender, c.vocab_size, c.k) == keys), None)

    found = {}
    vocab_size = timings[0].vocab_size
    for k in (32, 320, 3200):
        ours, zstd = (
            timing("list", "tslt native", vocab_size, k),
            timing("list", "topk + msgpack + zstd-3", vocab_size, k),
        )
        plain, copy = timing("list", "topk + msgpack", vocab_size, k), timing("list", "copy", vocab_size, k)
        reference = timing("list", "tslt reference", vocab_size, k)
        if ours and zstd and plain and copy and reference:
            found[f"K={k}: encode + decode / msgpack + zstd-3"] = ours.codec / zstd.codec
            found[f"K={k}: bytes / msgpack + zstd-3"] = ours.bytes / zstd.bytes
            found[f"K={k}: logits to bytes / topk + msgpack"] = ours.write / plain.write
            found[f"K={k}: logits to bytes / copy of the logits"] = ours.write / copy.make
            found[f"K={k}: reference / native, encode + decode"] = reference.codec / ours.codec
            found[f"K={k}: reference / native, logits to bytes"] = reference.write / ours.write
    for size in sorted({c.vocab_size for c in timings}):
        tree = timing("tree", "tslt native", size, 32)
        if tree:
            found[f"<2,2,2>, K=32, V={size}: encode + decode, us"] = tree.codec
    if growth:
        steps = [later / earlier for (_, earlier), (_, later) in pairwise(growth)]
        found["decode time for twice the entries, worst"] = max(steps)
    for frame in frames:
        found[f"decode of {frame.lists} lists of {frame.k} in a frame, ms"] = frame.milliseconds
    return found


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--k", type=whole_number(1), nargs="+", default=list(KS), help="entries of a list")
    parser.add_argument(
        "--vocab-size", type=whole_number(2), nargs="+", default=list(VOCAB_SIZES), help="tokens, of made-up logits"
    )
    parser.add_argument(
        "--drafts", type=input_file, help=".npz of real drafts in place of the first vocabulary's made-up logits"
    )
    parser.add_argument("--repetitions", type=whole_number(1), default=400, help="of each step (%(default)s)")
    parser.add_argument("--json", type=output_file, help="write all timings and ratios")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    args = arguments(argv)
    torch.set_num_threads(1)
    console = Console()
    rows = [(made_up, made_up) for made_up in map(synthetic, args.vocab_size)]
    if args.drafts:
        drafts = load_drafts(args.drafts)
        trees = np.concatenate([tree.draft for tree in drafts.trees()])
        rows[0] = (cycled(drafts.positions.draft), cycled(trees))
    with console.status("measuring") as status:
        timings = measure_all(rows, ks=args.k, repetitions=args.repetitions, say=status.update)
        growth = linearity(args.repetitions) if tw.backend == "native" else []
        status.update("the largest frames")
        frames = largest(args.repetitions) if tw.backend == "native" else []
    for table in tables(timings):
        Console(width=max(console.width, _WIDTH)).print(table)
    found = ratios(timings, growth, frames)
    for name, value in found.items():
        console.print(f"{name}: {value:.2f}", highlight=False)
    if args.json:
        versions = {
            name: importlib.metadata.version(name) for name in ("numpy", "torch", "msgpack", "zstandard", "orjson")
        }
        result = {
            "benchmark": "codec_speed",
            "backend": tw.backend,
            "unit": "microseconds",
            "versions": {"tslt_wire": tw.__version__, "python": platform.python_version(), **versions},
            "machine": platform.processor() or platform.machine(),
            "timings": [asdict(timing) for timing in timings],
            "ratios": found,
            "linearity": growth,
            "largest": [asdict(frame) for frame in frames],
        }
        write_json(result, args.json)
    if tw.backend != "native":
        raise SystemExit("this is the reference backend: there is no native kernel here to make claims about")
    print("codec_speed:", *(f"{name.replace(' ', '_')}={value:.2f}" for name, value in found.items()))


if __name__ == "__main__":
    main()
