"""The rate-acceptance benchmark: shortcuts give what the public API gives, rules on known points, the whole program."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from tslt_benchmarks.acceptance import rate_acceptance, rate_default
from tslt_benchmarks.acceptance.rate_grid import (
    ENTROPIES,
    PRECISIONS,
    Ordered,
    Point,
    Sample,
    Setting,
    Tempered,
    contenders,
    describe,
    overlap,
    pareto_front,
    remeasure,
    screen,
    tail_scales,
    truncations,
)
from tslt_benchmarks.acceptance.rate_measure import default_settings
from tslt_benchmarks.acceptance.rate_report import dump
from tslt_benchmarks.acceptance.rate_rules import (
    ANY,
    NO_PRIOR,
    PACKED,
    VERDICTS,
    Reference,
    best_in_budget,
    entropy_bits,
    judge,
    recommend,
    references,
    sharper_by_half,
    where_default_holds,
    where_it_holds,
    whole,
    within_of_best,
)
from tslt_benchmarks.bytes.format_base import FormatError
from tslt_benchmarks.drafts import Drafts, Positions, save_drafts

import tslt_wire as tw
from tslt_wire.lists.prior import plain_prior

VOCAB = 600
DENSITY = plain_prior("density", VOCAB)


KEY = rate_default.Key(0.9, tw.MinProb(0.02), tw.Precision.LOG2_0, "density")


def random_pair(count: int, vocab: int = VOCAB, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a draft and of a target that resembles it."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 2, (count, vocab))
    draft, target = (shared + rng.normal(0, 1, (count, vocab)) for _ in range(2))
    return draft.astype(np.float32), (1.5 * target).astype(np.float32)


def sample_of(count: int = 6, temperature: float = 0.8) -> tuple[Sample, np.ndarray, np.ndarray]:
    draft, target = random_pair(count)
    return Sample.of(temperature, [Ordered(row) for row in draft], target), draft, target


def point(size: float, *alphas: float, entropy: str = "range") -> Point:
    setting = Setting(1.0, 1.0, tw.TopK(4), tw.Precision.LOG2_0, entropy)
    return Point(setting, 4.0, np.full(len(alphas), size), np.array(alphas))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_lists_are_those_of_sparsify(precision):
    draft = random_pair(3)[0]
    draft[1, 10:200] = draft[1].max()  # ties
    draft[2, ::2] = -np.inf
    draft[2, 1] = 60.0
    for row in draft:
        for temperature in (0.35, 1.0):
            tempered = Tempered(Ordered(row), temperature)
            for rule, options in product(truncations(), ({}, {"prior": DENSITY, "tail_scale": 0.9})):
                wanted = tw.sparsify(row, temperature=temperature, truncation=rule, precision=precision, **options)
                assert tempered.list(tempered.count(rule), precision, **options) == wanted
                if options:  # only then it is known
                    assert tempered.left_out(tempered.count(rule)) == wanted.left_out


def test_sparse_acceptance_is_the_dense_one():
    draft, target = random_pair(4)
    for q_logits, p in zip(draft, tw.target_probs(target, tw.Sampling(temperature=0.7)), strict=True):
        for rule in truncations():
            q = tw.sparsify(q_logits, temperature=0.9, truncation=rule, precision="log2/1")
            assert overlap(q, p) == pytest.approx(1 - 0.5 * np.abs(p - q.dense()).sum())


def test_describe_is_python_and_unique():
    names = [describe(rule) for rule in truncations()]
    assert len(set(names)) == len(names)
    scope = {name: getattr(tw, name) for name in ("TopK", "TopP", "MinProb")}
    assert [eval(name, scope) for name in names] == truncations()  # noqa: S307


def test_second_pass_measures_every_list_with_the_public_api():
    sample, draft, target = sample_of()
    rule = tw.TopK(16) & tw.MinProb(0.01)
    priors = ((None, 0.0), (DENSITY, 0.6), (tw.train_table(draft), 0.9))
    settings = [Setting(0.8, 0.9, rule, tw.Precision.LOG2_1, e, *prior) for e in ENTROPIES for prior in priors]
    for setting, found in zip(settings, remeasure(sample, settings, lambda: None), strict=True):
        profile = tw.Profile(vocab_size=VOCAB, precision="log2/1", entropy=setting.entropy, prior=setting.prior)
        options = {"precision": "log2/1", "prior": setting.prior, "tail_scale": setting.tail_scale}
        lists = [tw.sparsify(row, temperature=0.8 * 0.9, truncation=rule, **options) for row in draft]
        assert any(q.tail for q in lists) == (setting.prior is not None)
        assert found.sizes.tolist() == [len(tw.encode_list(q, profile)) for q in lists]
        p = tw.target_probs(target, tw.Sampling(temperature=0.8))
        dense = [1 - 0.5 * np.abs(row - q.dense()).sum() for row, q in zip(p, lists, strict=True)]
        np.testing.assert_allclose(found.alphas, dense)
        assert found.entries == np.mean([len(q) for q in lists])
        assert found.alpha_se == pytest.approx(np.std(dense, ddof=1) / np.sqrt(6))


def test_first_pass_agrees_with_the_second_and_leaves_long_lists_out():
    sample, *_ = sample_of()
    steps = []
    rules = [tw.TopK(4), tw.MinProb(0.05), tw.TopK(500)]
    priors = (None, DENSITY, tw.train_table(random_pair(9)[0]))
    found = screen(
        sample,
        1.0,
        rules=rules,
        precisions=PRECISIONS[:2],
        priors=priors,
        max_entries=100,
        step=lambda: steps.append(1),
    )
    assert len(steps) == len(sample)
    assert found.left_out == [(tw.TopK(500), 500.0)]
    assert len(found.points) == 2 * 2 * 2 * 3
    exact = remeasure(sample, [p.setting for p in found.points], lambda: None)
    for one, other in zip(found.points, exact, strict=True):
        np.testing.assert_array_equal(one.alphas, other.alphas)
        # Six lists at most are range coded in the first pass, and here there are six.
        assert one.bytes == pytest.approx(other.bytes)


def test_tails_have_the_size_that_devices_learn():
    sample, draft, target = sample_of(8)
    rules = [tw.TopK(8), tw.TopK(VOCAB)]
    p = tw.target_probs(target, tw.Sampling(temperature=0.8))
    learnt, rng = tw.TailScale(), np.random.default_rng(0)
    for _ in range(600):
        for row, probs in zip(draft, p, strict=True):
            q = tw.sparsify(row, temperature=0.8, truncation=rules[0], prior=DENSITY)
            learnt.update(q.left_out, q.rank(int(rng.choice(VOCAB, p=probs))) >= 0)
    scale, none = tail_scales(sample, 1.0, rules)
    assert 0 < scale < 1
    assert scale == pytest.approx(learnt.scale, abs=0.15)
    assert none == 0


def test_plain_priors_are_left_out_where_no_list_has_a_tail():
    sample, *_ = sample_of()
    table = tw.train_table(random_pair(9)[0])
    options = {"precisions": PRECISIONS[:1], "max_entries": VOCAB, "step": lambda: None}
    found = screen(sample, 1.0, rules=[tw.TopK(VOCAB)], priors=(None, DENSITY, table), **options)
    assert [(p.setting.prior, p.setting.tail_scale) for p in found.points[::2]] == [(None, 0), (table, 0)]


def test_a_list_that_does_not_read_back_is_an_error(monkeypatch):
    sample, *_ = sample_of(2)
    other = tw.sparsify(np.zeros(VOCAB), truncation=tw.TopK(3))
    monkeypatch.setattr(tw, "decode_list", lambda *_: other)
    with pytest.raises(FormatError, match="did not read back"):
        remeasure(sample, [Setting(0.8, 1.0, tw.TopK(4), tw.Precision.LOG2_1, "range")], lambda: None)


def test_pareto_front_of_known_points():
    points = [point(10, 0.5), point(5, 0.3), point(7, 0.3), point(20, 0.5), point(12, 0.4), point(30, 0.6)]
    points += [point(10, 0.45), point(5, 0.2)]
    assert [(p.bytes, p.alpha) for p in pareto_front(points)] == [(5, 0.3), (10, 0.5), (30, 0.6)]
    assert pareto_front([]) == []
    rng = np.random.default_rng(3)
    many = [point(float(b), float(a)) for b, a in rng.integers(1, 30, (200, 2))]
    front = pareto_front(many)
    for p in many:
        beaten = any(f.bytes <= p.bytes and f.alpha >= p.alpha and f is not p for f in front)
        assert beaten != any(f is p for f in front)
    kept = contenders(many)
    assert all(any(f is p for p in kept) for f in front)


def test_contenders_are_what_is_not_clearly_beaten():
    points = [point(10, 0.5), point(10.5, 0.497), point(10.5, 0.48), point(20, 0.5), point(11, 0.51)]
    assert {(p.bytes, p.alpha) for p in contenders(points)} == {(10, 0.5), (10.5, 0.497), (11, 0.51)}
    assert contenders([]) == []


def test_rules_on_known_points():
    points = [point(8, 0.5), point(15, 0.595, entropy="none"), point(16.5, 0.6), point(40, 0.605), point(90, 0.607)]
    front = pareto_front(points)
    assert within_of_best(front).bytes == 16.5
    budget = best_in_budget(front)
    assert budget is not None
    assert budget.bytes == 15
    assert best_in_budget(front[2:]) is None
    full = Reference("whole", "whole distribution", 1.0, 1.0, None, 64_000.0, np.array([0.55]))
    chosen = {(c.rule, c.among): (c.point.bytes, c.gain) for c in recommend(points, full)}
    assert chosen["within", ANY] == (16.5, pytest.approx(0.05))
    assert chosen["budget", PACKED] == (15, pytest.approx(0.045))
    assert chosen["budget", NO_PRIOR] == chosen["budget", ANY]


def test_where_a_sharp_target_is_met_by_less_and_a_flat_one_is_not():
    rng = np.random.default_rng(1)
    draft = rng.normal(0, 2.5, (40, VOCAB)).astype(np.float32)
    for scale, verdict in ((4.0, "holds"), (1.0, "does not")):
        sample = Sample.of(1.0, [Ordered(row) for row in draft], draft * scale)
        rules = [tw.TopK(4), tw.TopK(8), tw.MinProb(0.05), tw.MinProb(0.02)]
        points = screen(sample, 0.5, rules=rules, precisions=PRECISIONS[:1], max_entries=50, step=lambda: None).points
        exact = remeasure(sample, [p.setting for p in points], lambda: None)
        beside = references(sample, draft, [0.5, 1.0])
        full = whole(beside)
        assert full.alpha == pytest.approx(
            np.minimum(sample.targets, tw.target_probs(draft, tw.Sampling())).sum(axis=1).mean()
        )
        everywhere = where_it_holds(sample, exact, beside)[0]
        assert everywhere.best_whole == max(r.alpha for r in beside if r.name == "whole")
        assert (everywhere.group, everywhere.positions, everywhere.verdict) == ("all positions", 40, verdict)
        assert everywhere.bytes <= 16
    assert entropy_bits(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])).tolist() == [1.0, 0.0]


def test_the_default_profile_is_judged_at_each_draft_temperature():
    sample, draft, _ = sample_of(12)
    settings = default_settings(sample, [0.5, 1.0])
    assert [s.draft_temperature for s in settings] == sorted({0.5, 1.0, tw.DEFAULTS.draft_temperature})
    points = [remeasure(sample, [setting], lambda: None)[0] for setting in settings]
    for found, row_point in zip(points, settings, strict=True):
        own = replace(tw.DEFAULTS, draft_temperature=row_point.draft_temperature)
        profile = own.profile(VOCAB)
        lists = [own.sparsify(r, profile, temperature=0.8, tail_scale=row_point.tail_scale) for r in draft]
        assert found.sizes.tolist() == [len(tw.encode_list(q, profile)) for q in lists]
    beside = references(sample, draft, [0.5, 1.0])
    rows = where_default_holds(sample, points, beside)
    assert [h.draft_temperature for h in rows[:3]] == [s.draft_temperature for s in settings]
    assert all(h.gain == pytest.approx(h.alpha - h.whole) for h in rows)
    assert sum(h.positions for h in rows if h.group.startswith("draft entropy")) == 12 * len(settings)


def test_verdicts():
    sample, draft, _ = sample_of(12)
    beside = references(sample, draft, [1.0])
    full, everywhere = whole(beside).alphas, np.ones(12, np.bool_)

    def verdict(size, alphas, mask=everywhere):
        return judge("best", sample, "", mask, point(size, *alphas), beside).verdict

    assert verdict(16, full + 0.1) == "holds"
    assert verdict(16.1, full + 0.1) == "too long"
    assert verdict(16, full - 0.1) == "does not"
    assert verdict(16, full + np.resize([0.1, -0.1], 12)) == "undecided"
    assert verdict(16, full, np.arange(12) < 7) == "too few"
    assert judge("best", sample, "", everywhere, None, beside).verdict == "does not"


def save_random_drafts(path, sharper=1.0):
    draft, target = random_pair(24, seed=4)
    target = sharper * target
    nothing = np.zeros(24, np.int32)
    save_drafts(
        Drafts(
            positions=Positions(draft, target, nothing, nothing, nothing),
            round_draft=np.zeros((1, 8, VOCAB), np.float32),
            round_target=np.zeros((1, 8, VOCAB), np.float32),
            round_tokens=np.zeros((1, 15), np.int32),
            prefixes=((1, 2),),
            token_bytes=tuple(f"{i} ".encode() for i in range(VOCAB)),
            meta={"settings": {"seed": 4}, "vocab_size": VOCAB},
        ),
        path,
    )
    return path


def test_program(tmp_path, capsys):
    drafts = save_random_drafts(tmp_path / "d.npz")
    argv = ["--drafts", str(drafts), "--temperature", "1", "0.7", "--draft-temperature", "0.7", "1", "--seed", "5"]
    argv += ["--positions", "8", "--screened", "3", "--max-entries", "60"]
    table = tw.train_table(random_pair(50, seed=9)[0])
    (tmp_path / "table").write_bytes(table.to_bytes())
    argv += ["--table", str(tmp_path / "table")]
    rate_acceptance.main([*argv, "--json", str(tmp_path / "r.json"), "--png", str(tmp_path / "r.png")])
    printed = capsys.readouterr().out
    last = printed.strip().splitlines()[-1]
    assert last.startswith("rate_acceptance: T=1 within=")
    assert "Pareto front, target temperature 0.7" in printed
    assert "as much in 16 B" in printed
    assert "The same for the default profile at each draft temperature, target temperature 0.7" in printed
    assert "density" in printed
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")

    result = json.loads((tmp_path / "r.json").read_text())
    assert set(result) == {
        *("benchmark", "schema", "unit", "settings", "drafts", "versions", "fronts", "references", "recommended"),
        *("default", "holds", "left_out", "screened", "measured"),
    }
    settings = result["settings"]
    assert (settings["positions"], settings["screened"], settings["seed"]) == (8, 3, 5)
    assert settings["temperatures"] == [1.0, 0.7]
    assert settings["table"] == table.name
    for kind in ("screened", "measured"):
        assert all(len(row) == len(result[kind]["columns"]) for row in result[kind]["rows"])
    left_out = len(result["left_out"])
    assert left_out > 0
    combinations = 2 * 2 * len(settings["truncations"]) - left_out
    priors = [settings["priors"][row[4]] for row in result["screened"]["rows"]]
    for prior in ("none", "table"):
        assert priors.count(prior) == combinations * len(settings["precisions"])
    assert 0 < priors.count("density") <= combinations * len(settings["precisions"])
    assert {p["prior"] for f in result["fronts"] for p in f["points"]} >= {"density", "table"}
    assert [d["draft_temperature"] for d in result["default"]] == 2 * sorted({0.7, 1.0, tw.DEFAULTS.draft_temperature})
    assert [(f["temperature"], f["entropy"]) for f in result["fronts"]] == [
        (1.0, "range"), (1.0, "none"), (0.7, "range"), (0.7, "none"),
    ]  # fmt: skip
    for front in result["fronts"]:
        assert all(p["entropy"] == front["entropy"] for p in front["points"])
        for one, other in zip(front["points"], front["points"][1:], strict=False):
            assert one["bytes"] < other["bytes"]
            assert one["alpha"] < other["alpha"]
    assert {(c["temperature"], c["rule"], c["from"]) for c in result["recommended"]} == {
        (t, rule, among) for t in (1.0, 0.7) for rule in ("within", "budget") for among in (ANY, NO_PRIOR, PACKED)
    }
    assert all(c["bytes"] <= 16 for c in result["recommended"] if c["rule"] == "budget")
    assert {h["verdict"] for h in result["holds"]} <= set(VERDICTS)
    assert {r["name"] for r in result["references"]} == {"whole", "ksqs", "paper"}

    rate_acceptance.main([*argv, "--json", str(tmp_path / "again.json")])
    assert json.loads((tmp_path / "again.json").read_text()) == result


def test_dump_is_json():
    value = {"a": [1, 2], "b": {"c": [[1, "x"], [2, None]], "d": {}}, "e": [], "f": [{"g": 0.5}]}
    assert json.loads(dump(value)) == value
    assert '\n   [1,"x"],\n' in dump(value)


def test_the_default_is_chosen_by_the_rule(tmp_path, capsys):
    flat, sharp = save_random_drafts(tmp_path / "a.npz"), save_random_drafts(tmp_path / "b.npz", sharper=3.0)
    argv = ["--drafts", str(flat), str(sharp), "--names", "flat", "sharp", "--temperature", "1", "--positions", "12"]
    rate_default.main([*argv, "--markdown", str(tmp_path / "d.md")])
    printed = capsys.readouterr().out
    text = (tmp_path / "d.md").read_text()
    assert text in printed
    assert printed.strip().splitlines()[-1].startswith("rate_default: ")
    assert "| sharp | 600 | 1 |" in text
    for name, (first, second) in {
        n: rate_default.halves(n, rate_default.load_drafts(p), 1.0, 12, 0) for n, p in (("f", flat), ("s", sharp))
    }.items():
        assert len(first.sample) == len(second.sample) == 12
        assert not np.array_equal(first.sample.targets, second.sample.targets)
        assert first.scales == second.scales
        assert first.is_sharp == (name == "s") == bool(sharper_by_half(first.sample).mean() > 0.5)


def test_the_rule_on_known_candidates():
    class Case:
        def __init__(self, is_sharp):
            self.is_sharp = is_sharp

    def candidate(kept, sizes, *gains):
        return rate_default.Candidate(KEY, sizes, gains, kept)

    cases = [Case(False), Case(True)]
    worse = (-0.2, 0.01)
    good = candidate(0.8, (15.0, 9.0), worse, (0.02, 0.01))
    found = [
        candidate(0.9, (16.1, 9.0), worse, (0.02, 0.01)),
        candidate(0.9, (15.0, 9.0), worse, (0.01, 0.02)),
        candidate(0.7, (15.0, 9.0), worse, (0.02, 0.01)),
        good,
    ]
    assert [c.kept for c in rate_default.choose(found, cases)] == [0.8, 0.7]
    with pytest.raises(ValueError, match="no setting"):
        rate_default.choose(found[:2], cases)


def test_bad_arguments_are_said(tmp_path):
    for bad in (["--temperature", "0"], ["--positions", "0"], ["--draft-temperature", "-1"]):
        with pytest.raises(SystemExit):
            rate_acceptance.main(bad)
    with pytest.raises(SystemExit, match="no model in"):
        rate_acceptance.main(["--target", str(tmp_path), "--draft", str(tmp_path)])
