"""Train a table of priors for a draft model: what its lists usually hold, so that they take fewer bytes.

tslt train-prior --draft examples/pair/draft --text novels.txt.xz --out prior.table
tslt edge --table prior.table          # and the device with the same file: tslt device --table ...

Text is plain UTF-8, ``.xz`` or not, of the kind that will be written.  The last tenth of each file is not trained on:
what the table saves is measured there.
"""

from __future__ import annotations

import argparse
import lzma
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import tslt_wire as tw
from tslt_runtime.commands.options import MODEL_NAMES, add_engine, at_least_one, load_options, set_up, shipped
from tslt_runtime.commands.running import run_command
from tslt_runtime.engines.protocol import DraftEngine, Node
from tslt_runtime.tokenizer import Tokenizer

HELD_OUT = 0.1
"""Last part of each text that is not trained on."""
HELD_OUT_POSITIONS = 256
REPORTED = 1000
"""Positions between two lines that say how far it is."""
SIZES = (16, 32, 64)
"""Lists whose bytes are compared."""
PER_WINDOW = 16
"""Positions taken from a window: neighbours say much the same, so many windows are better than many positions."""
SHORTEST = 8
"""Tokens before a position at least: with less to go by a draft is like nothing that comes later."""
CHARACTERS = 8
"""Characters cut for each token of a window; what is too much is dropped."""


def parse(
    argv: list[str] | None = None, *, prog: str = "tslt train-prior", model: Path | None = None
) -> argparse.Namespace:
    """Read the command line; ``model``: the draft model that is taken if none is named."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--draft", default=model and str(model), required=model is None, metavar="PATH", help=MODEL_NAMES
    )
    parser.add_argument("--text", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--positions", type=at_least_one, default=8000, metavar="N", help="lists to train on (%(default)s)"
    )
    parser.add_argument("--window", type=int, default=256, metavar="N", help="tokens of context (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of windows (%(default)s)")
    add_engine(parser)
    args = parser.parse_args(argv)
    if args.window <= SHORTEST:
        parser.error(f"--window must be more than {SHORTEST}")
    if not args.out.resolve().parent.is_dir():
        parser.error(f"--out: there is no folder {args.out.resolve().parent}")
    args.verbose = False
    return args


def read_text(path: Path) -> str:
    """Return a text file's content, unpacked if its name ends in ``.xz``; ValueError for what is no text."""
    try:
        data = path.read_bytes()
        return (lzma.decompress(data) if path.suffix == ".xz" else data).decode()
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no text: {error}") from error


def draft_rows(
    draft: DraftEngine,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    positions: int,
    window: int,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.float32]]:
    """Yield the draft's logits, (V,), at ``positions`` places of random windows of ``texts``.

    Raises ValueError for texts without a window's beginning.
    """
    text_model = draft.open()
    # The window's first token is a prefix, the others a chain of nodes.
    most = min(window, draft.facts.context, 1 + draft.facts.most_nodes)
    lengths = np.array([len(text) for text in texts], np.float64)
    left, failures = positions, 0
    while left:
        text = texts[int(rng.choice(len(texts), p=lengths / lengths.sum()))] if lengths.any() else ""
        start = int(rng.integers(0, max(1, len(text) - CHARACTERS * window)))
        words = text[start : start + CHARACTERS * window].split(maxsplit=1)
        # The first word is cut in half as often as not.
        tokens = tokenizer.tokens_of(words[-1] if words else "")[:most]
        if len(tokens) <= SHORTEST:
            failures += 1
            if failures > 100:
                raise ValueError(f"the text is too short: its windows have no more than {SHORTEST} tokens")
            continue
        text_model.set_prefix(tokens[:1])
        text_model.expand(())
        rows = np.asarray(text_model.expand([Node(i - 1, token) for i, token in enumerate(tokens[1:])]), np.float32)
        places = np.arange(SHORTEST - 1, len(rows))  # row i is the one after token 1 + i
        chosen = rng.choice(places, min(PER_WINDOW, left, len(places)), replace=False)
        left -= len(chosen)
        yield from rows[np.sort(chosen)]


def list_bytes(rows: Sequence[NDArray[np.float32]], k: int, prior: tw.Prior | None) -> float:
    """Mean bytes of ``encode_list`` for lists of ``k``, range-coded at ``log2/1``; None: without a table."""
    profile = tw.Profile(vocab_size=len(rows[0]), precision="log2/1", entropy="range", prior=prior)
    lists = (tw.sparsify(row, truncation=tw.TopK(k), precision="log2/1") for row in rows)
    return float(np.mean([len(tw.encode_list(q, profile)) for q in lists]))


def run(args: argparse.Namespace) -> None:
    """Train, write, measure, report."""
    from tslt_runtime.loading import load_draft

    texts = [read_text(path) for path in args.text]
    draft, tokenizer = load_draft(args.draft, **load_options(args))
    rng = np.random.default_rng(args.seed)
    cuts = [int(len(text) * (1 - HELD_OUT)) for text in texts]

    def rows(parts: list[str], positions: int, what: str) -> Iterator[NDArray[np.float32]]:
        found = draft_rows(draft, tokenizer, parts, positions=positions, window=args.window, rng=rng)
        for done, row in enumerate(found, 1):
            if done % REPORTED == 0 or done == positions:
                print(f"{what}: {done} of {positions} positions", file=sys.stderr, flush=True)
            yield row

    prior = tw.train_table(rows([t[:cut] for t, cut in zip(texts, cuts, strict=True)], args.positions, "training"))
    args.out.write_bytes(prior.to_bytes())
    held = list(rows([t[cut:] for t, cut in zip(texts, cuts, strict=True)], HELD_OUT_POSITIONS, "held out"))
    print(f"bytes of a list, {len(held)} held-out positions\n   K  without  with the table  saved")
    for k in SIZES:
        without, with_table = list_bytes(held, k, None), list_bytes(held, k, prior)
        print(f"{k:4}  {without:7.1f}  {with_table:14.1f}  {1 - with_table / without:5.1%}")
    print(f"{args.out}: {prior.name}, {args.out.stat().st_size} bytes, {args.positions} positions", flush=True)


def main(argv: list[str] | None = None, *, prog: str = "tslt train-prior", model: Path | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv, prog=prog, model=model or shipped("draft"))

    def work() -> None:
        set_up(args)
        run(args)

    return run_command("train-prior", work)
