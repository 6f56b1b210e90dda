"""The law of the text through real sessions on the pair that ships: scalar, lazy, and evidence that changes each round.

Forward passes are remembered by path, because after one prompt the same paths come again and again; nothing else is
short-cut: whole vocabularies, bytes, both sessions.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import session_rounds
import torch
from chi_square import chi_square_p
from default_pair import pair_folder
from edge_numbers import edge_rng
from engine_rounds import TargetRounds
from session_rounds import evidence_of, play
from transformers import AutoTokenizer

import tslt_wire as tw
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.seeds import device_rng, session_secret
from tslt_wire.verification.choices import RandomChoices

FINGERPRINT = bytes(32)
V = 32_000
ALL = ("list", "match", "coupled", "scalar", "lazy")
MODES = ("match", "coupled", "scalar", "lazy", "list", "full")
TEXTS = 500
SIBLINGS = 6
SHARP, PLAIN = tw.Sampling(temperature=0.7, top_p=0.9), tw.Sampling()


@pytest.fixture(scope="module")
def models():
    """The prompt, and functions path -> raw logits (V,) of the target and of the draft."""
    torch.set_num_threads(1)
    prompt = AutoTokenizer.from_pretrained(pair_folder("target"))("It was a dark evening, and the old man")["input_ids"]

    def logits_of(name):
        session = TargetRounds(TargetModel.load(pair_folder(name)))
        session.set_prefix(prompt)
        known = {(): session.score(tw.TokenTree([], []))[0]}

        def after(path):
            if path not in known:
                # The likeliest siblings come in the same pass: most of them will be asked for.
                above = after(path[:-1])
                children = [*dict.fromkeys((path[-1], *np.argpartition(-above, SIBLINGS)[:SIBLINGS].tolist()))]
                depth = len(path) - 1
                parents = [*range(-1, depth - 1), *([depth - 1] * len(children))]
                rows = session.score(tw.TokenTree([*path[:-1], *children], parents))
                known.update({(*path[:-1], x): rows[1 + depth + i] for i, x in enumerate(children)})
            return known[path]

        return after

    return prompt, logits_of("target"), logits_of("draft")


def texts(models, choose, sampling, *, length=3, count=TEXTS, seed=5, flatter=1.0):
    """The first ``length`` tokens of many texts of one session, int (count, length), and the target's rows by path.

    ``choose(round of the text, number of the text)`` says what the next round's evidence is; ``flatter`` makes drafts
    that are rejected more often.
    """
    prompt, target_logits, draft_logits = models
    hello = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, sampling=sampling, evidence=ALL, priors=("density", "none"))
    device = tw.DeviceSession(hello)
    edge = tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT), secret=session_secret(seed, 0))
    ours, theirs = device_rng(seed), edge_rng(seed, 0)
    edge.receive_data(device.data_to_send())
    device.receive_data(edge.data_to_send())
    target = cache(lambda path: tw.target_probs(target_logits(path), edge.sampling))

    @cache
    def drafted(path, mode):
        whole = mode in ("scalar", "full", "match", "coupled")
        return tw.sparsify(
            draft_logits(path),
            temperature=sampling.temperature * flatter,
            truncation=None if whole else tw.TopK(8),
            precision="f32" if mode == "scalar" else "log2/2",
            prior=None if whole else device.profile.prior,
        )

    found = []
    for number in range(count):
        device.send_prompt(prompt)
        edge.receive_data(device.data_to_send())
        round_ = 0
        while len(device.prefix) < len(prompt) + length:
            mode, path = choose(round_, number), tuple(device.prefix[len(prompt) :])
            q = drafted(path, mode)
            if mode == "match":
                token = q.likeliest(1)[0]
            elif mode == "coupled":
                token = device.coupling.children(q, 1, len(device.prefix))[0]
            else:
                token = q.sample(ours)
            tree = tw.TokenTree.chain([token])
            # What comes behind the tokens that are counted need not be the target's.
            after = target((*path, token)) if len(path) + 1 < length else target(path)
            rows = np.stack([target(path), after])
            evidence = evidence_of(mode, tree, {-1: q})
            play(device, edge, tree, evidence, {-1: q}, rows, RandomChoices(ours), RandomChoices(theirs))
            round_ += 1
        found.append(device.prefix[len(prompt) : len(prompt) + length])
    return np.array(found), target


def p_values(found, target):
    """Of each of the tokens, after the most frequent ones before it."""
    values, path = [], ()
    while len(path) < found.shape[1] and len(found) >= 100:
        counts = np.bincount(found[:, len(path)], minlength=V)
        values.append(chi_square_p(counts, target(path)))
        found = found[found[:, len(path)] == counts.argmax()]
        path = (*path, int(counts.argmax()))
    return values


def in_turn(round_, number):
    """Another kind in each round; over the texts, each after each other one."""
    return MODES[(number + round_ * (1 + number // 6 % 5)) % 6]


CASES = {
    "scalar": (lambda round_, number: "scalar", PLAIN, 2),
    "lazy": (lambda round_, number: "lazy", SHARP, 2),
    "all in turn": (in_turn, PLAIN, 2),
    "all in turn, sharp": (in_turn, SHARP, 3),
}


@pytest.mark.parametrize("name", CASES)
def test_texts_are_distributed_as_the_targets(name, models):
    choose, sampling, length = CASES[name]
    found, target = texts(models, choose, sampling, length=length)
    assert min(p_values(found, target)) > 1e-3


def test_a_device_that_takes_the_first_proposal_is_noticed(models, monkeypatch):
    monkeypatch.setattr(session_rounds, "choose_with", lambda proposals, q, choices: 0)
    found, target = texts(models, *CASES["scalar"][:2], length=1, count=800, flatter=1.5)
    assert min(p_values(found, target)) < 1e-6
    monkeypatch.undo()
    found, target = texts(models, *CASES["scalar"][:2], length=1, count=800, flatter=1.5)
    assert min(p_values(found, target)) > 1e-3
