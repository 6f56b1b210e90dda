"""The codec in a program of yours: one round without sessions, links and models.  Needs numpy alone.

python -m examples.embed_codec
"""

from __future__ import annotations

import numpy as np

import tslt_wire as tw

V, TOKENS = 32_000, 4


def main() -> None:
    """Draft a chain, send it, verify it."""
    rows = np.random.default_rng(0).normal(size=(16, V)).astype(np.float32) * 4  # in the place of two models

    def draft_logits(tokens: list[int]) -> np.ndarray:
        return rows[sum(tokens) % 16]

    def target_logits(tokens: list[int]) -> np.ndarray:
        return draft_logits(tokens) + rows[len(tokens) % 16] / 8

    profile = tw.DEFAULTS.profile(vocab_size=V)  # what the two ends agreed on
    device_rng, edge_rng = np.random.default_rng(), np.random.default_rng()  # never the same numbers
    prefix = [1, 2, 3]

    # Device: truncate, quantise, sample from what will be sent.
    tokens: list[int] = []
    lists: dict[int, tw.SparseDistribution] = {}
    for parent in range(-1, TOKENS - 1):
        lists[parent] = tw.DEFAULTS.sparsify(draft_logits(prefix + tokens), profile)
        tokens.append(lists[parent].sample(device_rng))
    tree, evidence = tw.TokenTree.chain(tokens), tw.ListEvidence(lists)
    draft = tw.Draft(
        round=0, prefix_length=len(prefix), prefix_hash=tw.prefix_hash(prefix), tree=tree, evidence=evidence
    )
    frame = tw.encode(draft, profile)

    # Edge: raw logits after the prefix and after every drafted token; a row is made when it is looked at.
    received = tw.decode(frame, profile)
    if not isinstance(received, tw.Draft):
        raise SystemExit("the frame is no draft")
    paths = [[], *([received.tree.tokens[i] for i in received.tree.path(node)] for node in range(TOKENS))]
    logits = np.stack([target_logits(prefix + path) for path in paths])
    verdict = tw.verify(received, tw.target_rows(logits, tw.Sampling(temperature=0.8)), edge_rng)
    if not isinstance(verdict, tw.Verdict):
        raise SystemExit("lists are answered with a verdict")
    grown = verdict.tokens(received.tree)
    print(f"{len(frame)} bytes for {TOKENS} drafted tokens; {len(grown) - 1} accepted, the text grows by {list(grown)}")


if __name__ == "__main__":
    main()
