"""Arguments of the commands: what is wrong is said where it is given, before anything is measured."""

from __future__ import annotations

import argparse
import importlib

import numpy as np
import pytest
from tslt_benchmarks import options
from tslt_benchmarks.prompts import PROMPTS, read_prompts

import tslt_wire as tw

COMMANDS = {
    "acceptance.acceptance_against_bytes": "--positions",
    "acceptance.default_profile": "--positions",
    "acceptance.evidence_acceptance": "--positions",
    "acceptance.held_nodes": "--places",
    "acceptance.lossy_schemes": "--positions",
    "acceptance.vocabularies": "--tokens",
    "bytes.bytes_per_token": "--k",
    "bytes.compression": "--lists",
    "encodings.encodings": "--positions",
    "endtoend.end_to_end": "--tokens",
    "paper.paper_figures": "--sharp",
    "bytes.fit_list_model": None,
    "bytes.published_bound": None,
    "fleet.fleet": "--text-tokens",
    "fleet.fleet_round": "--recordings",
    "links.best_evidence": "--places",
    "links.evidence_sessions": "--texts",
    "links.draft_ahead": "--texts",
    "links.in_flight": "--texts",
    "links.shared_edge": "--devices",
    "planner.expected": "--vocab",
    "links.conversation": "--turns",
    "planner.simulated_links": "--tokens",
    "report_command": None,
    "speed.codec_speed": "--repetitions",
    "speed.engines": "--rounds",
}
"""Every command, and an option of it that takes whole numbers from 1 on."""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_and_refuses_what_it_does_not_know(command, capsys):
    main = importlib.import_module(f"tslt_benchmarks.{command}").main
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert f"python -m tslt_benchmarks.{command}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["--no-such-option"])
    assert stopped.value.code == 2


@pytest.mark.parametrize(("command", "option"), [(c, o) for c, o in COMMANDS.items() if o])
def test_numbers_are_checked_by_the_command_line(command, option, capsys):
    main = importlib.import_module(f"tslt_benchmarks.{command}").main
    for bad in ("0", "-1", "1.5", "many"):
        with pytest.raises(SystemExit) as stopped:
            main([option, bad])
        assert stopped.value.code == 2
        assert f"argument {option}: expected a whole number of at least 1, got '{bad}'" in capsys.readouterr().err


def test_numbers():
    assert options.whole_number(0)("0") == 0
    assert options.above_zero("1e4") == 1e4
    assert options.zero_or_more("0") == 0
    for parse, bad in ((options.above_zero, "0"), (options.zero_or_more, "-1"), (options.above_zero, "x")):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a number"):
            parse(bad)
    for value in ("nan", "inf", "-inf"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a number"):
            options.zero_or_more(value)


def test_files(tmp_path):
    there = tmp_path / "there"
    there.write_text("x")
    assert options.input_file(str(there)) == options.output_file(str(there)) == there
    assert options.output_file(str(tmp_path / "new")) == tmp_path / "new"
    for parse, bad in (
        (options.input_file, tmp_path / "not there"),
        (options.input_file, tmp_path),
        (options.output_file, tmp_path),
        (options.output_file, tmp_path / "no folder" / "file"),
        (options.prior_table, there),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match="expected"):
            parse(str(bad))
    table = tw.train_table(np.random.default_rng(0).normal(size=(3, 50)))
    there.write_bytes(table.to_bytes())
    assert options.prior_table(str(there)) == table


def test_a_pair_that_is_not_there_is_said_in_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"no model in .*: name a pair with --target and --draft$"):
        options.require_models(tmp_path)
    monkeypatch.setattr(options, "PAIR", tmp_path)
    with pytest.raises(SystemExit, match="the default pair is in a checkout of the repository only"):
        options.require_models(tmp_path / "target")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "config.json").write_text("{}")
    options.require_models(tmp_path / "target")


def test_prompts_travel_with_the_package():
    assert PROMPTS.parent.parent.name == "tslt_benchmarks"
    assert len(read_prompts()) == 24
