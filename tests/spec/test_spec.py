"""The specification against the code: requirement numbers, registries, limits, tables, examples."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

import tslt_wire as tw
from tslt_wire.frames.kinds import Kind, Role
from tslt_wire.frames.tree_shapes import Shape
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.lists import precision
from tslt_wire.lists.probability_grid import code_above, code_below
from tslt_wire.lists.profile import ENTROPY_IDS
from tslt_wire.session.states import ANSWERS, SENDERS, TRANSITIONS, Act, State

ROOT = Path(__file__).resolve().parents[2]
SPEC = (ROOT / "spec" / "tslt-wire.md").read_text()
REGISTRY = (ROOT / "spec" / "registry.md").read_text()


def section(text: str, title: str) -> str:
    """What follows the heading that starts with ``title``, up to the next heading."""
    found = re.search(rf"^#+ {re.escape(title)}[^\n]*\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def rows(text: str, first: str) -> list[list[str]]:
    """Cells of the table whose first heading is ``first``."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return found


def test_requirement_ids_are_unique_and_references_exist():
    defined = re.findall(r"^- `\[([A-Z]+-\d+)\]`", SPEC, re.MULTILINE)
    assert len(defined) > 50
    assert len(defined) == len(set(defined))
    mentioned = set(re.findall(r"\[([A-Z]+-\d+)\]", SPEC + REGISTRY))
    assert mentioned == set(defined)


def test_requirement_ids_count_up():
    for area in set(re.findall(r"^- `\[([A-Z]+)-\d+\]`", SPEC, re.MULTILINE)):
        numbers = [int(n) for n in re.findall(rf"^- `\[{area}-(\d+)\]`", SPEC, re.MULTILINE)]
        assert numbers == list(range(1, len(numbers) + 1)), area


def test_sections_that_docstrings_cite_exist():
    headings = set(re.findall(r"^#+ ([0-9]+(?:\.[0-9]+)?)[. ]", SPEC, re.MULTILINE))
    for path in sorted((ROOT / "tslt_wire").glob("*.py")):
        for words in re.findall(r"[Ss]pec\s+sections? ((?:[0-9.]+(?:, | and )?)+)", path.read_text()):
            for number in re.findall(r"[0-9]+(?:\.[0-9]+)?", words):
                assert number in headings, (path.name, number)


@pytest.mark.parametrize("text", [section(REGISTRY, "Error codes"), section(SPEC, "9. Errors")])
def test_error_codes(text):
    assert {row[1]: int(row[0]) for row in rows(text, "code")} == {code.name.lower(): code for code in tw.ErrorCode}


@pytest.mark.parametrize("text", [section(REGISTRY, "Frame kinds"), section(SPEC, "3.4 Layout")])
def test_kinds(text):
    assert {row[1]: int(row[0], 16) for row in rows(text, "kind")} == {kind.name: kind for kind in Kind}


def test_precisions():
    ids = {precision_.value: precision_.wire_id for precision_ in tw.Precision}
    assert {row[1]: int(row[0]) for row in rows(section(REGISTRY, "Precisions"), "id")} == ids
    for id_, name, bits, top, _ in rows(section(SPEC, "4.1 Precisions"), "id"):
        found = tw.Precision(name)
        assert int(id_) == found.wire_id
        assert int(bits.removeprefix("at most ")) == found.code_bits
        assert not found.is_log or int(top) == found.max_code


def test_entropy_coders_and_shapes():
    assert {row[1]: int(row[0]) for row in rows(section(REGISTRY, "Entropy coders"), "id")} == ENTROPY_IDS
    shapes = {shape.name: shape for shape in Shape}
    assert {row[1]: int(row[0]) for row in rows(section(REGISTRY, "Tree shapes"), "form")} == shapes
    assert {row[1]: int(row[0]) for row in rows(section(SPEC, "5.2 Tree shapes"), "form")} == shapes


def test_limits():
    defaults = tw.DecodeLimits()
    found = {row[0]: int(row[1]) for row in rows(section(SPEC, "8. Limits"), "name")}
    assert found == {name: getattr(defaults, name) for name in defaults.__slots__}
    assert f"{MAX_VOCAB_SIZE:,}" in section(SPEC, "8. Limits")


TABLES = {"T": precision._LOG_TABLES[4], "A": precision._COARSE, "B": precision._FINE}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name):
    table, appendix = TABLES[name], section(SPEC, "Appendix A")
    block = re.search(rf"^Table {name} [^\n]*\n\n((?:    [^\n]*\n)+)", appendix, re.MULTILINE)
    assert [int(entry, 16) for entry in block[1].split()] == table.tolist()
    digest = hashlib.sha256(table.astype("<u4").tobytes()).hexdigest()
    assert f"    {name}  {digest}\n" in appendix


def test_tables_as_numbers():
    """spec/tables.json has what the text says; where that is written in rows, the rows themselves."""
    found = json.loads((ROOT / "spec" / "tables.json").read_text())
    for name, table in found.items():
        assert hashlib.sha256(np.array(table["rows"], "<u4").tobytes()).hexdigest() == table["sha256"], name
        assert "appendix" in table["where"] or f"- `[{table['where']}]`" in SPEC
    for name, table in TABLES.items():
        assert found[name]["rows"] == [table.tolist()]
    text = section(SPEC, "5.4 Lists and tokens")
    assert f"    S  {', '.join(map(str, found['S']['rows'][0]))}\n" in text
    for name, start in (("H", "\nH, "), ("F", "\nF, "), ("M", "\nMasses M, ")):
        block = text[text.index(start) :].split("\n\n")[1]
        assert found[name]["rows"] == [[int(number) for number in line.split()] for line in block.splitlines()], name
    for name in ("tail_near", "first_length", "next_length"):
        for row in found[name]["rows"]:
            assert " ".join(map(str, row)) in text, name
    for name in ("tail_none", "next_none"):
        assert all(re.search(rf"\b{n}\b", text) for n in found[name]["rows"][0])


def test_tables_are_exact():
    # t is floor(2**bits * 2**(-i / n)) if and only if t**n <= 2**(bits * n - i) < (t + 1)**n.
    for name, n, bits in (("T", 16, 30), ("A", 256, 31)):
        for i, t in enumerate(TABLES[name].tolist()):
            assert t**n <= 1 << (bits * n - i) < (t + 1) ** n
    # 2**16-th powers have two million bits, so a few entries of B; the rest hangs on 60 decimal digits.
    for i in (1, 255):
        t = int(TABLES["B"][i])
        assert t**65536 <= 1 << (31 * 65536 - i) < (t + 1) ** 65536


def test_log_tables_follow_from_the_finest():
    for s in range(5):
        assert np.array_equal(precision._LOG_TABLES[s], TABLES["T"][:: 1 << (4 - s)])


def test_example():
    profile = tw.Profile(vocab_size=10)
    text = section(SPEC, "6.1 DRAFT_LIST")
    lines = re.findall(r"^>     ((?:[0-9a-f]{2} ?)+)(?:  |$)", text, re.MULTILINE)
    draft = tw.decode(bytes.fromhex("".join(lines)), profile)
    assert (draft.round, draft.prefix_length) == (3, 5)
    assert draft.prefix_hash == tw.prefix_hash([1, 2, 3, 4, 5]) & 0xFFFF
    assert (draft.tree.tokens, draft.tree.parents) == ((7, 2, 2), (-1, -1, 0))
    verdict = tw.Verdict(round=3, node=0, token=9)
    data = tw.encode(verdict, profile).hex(" ")
    assert f"`{data[:11]}` and the checksum `{data[12:]}`" in section(SPEC, "6.2 VERDICT")


def test_examples_of_drafts_with_a_number_for_each_token():
    profile = tw.Profile(vocab_size=10)
    text = section(SPEC, "6.6 DRAFT_SCALAR")
    lines = re.findall(r"^>     ((?:[0-9a-f]{2} ?)+)(?:  |$)", text, re.MULTILINE)
    draft = tw.decode(bytes.fromhex("".join(lines)), profile)
    assert draft.tree == tw.TokenTree.chain([7, 2])
    assert draft.evidence == tw.ScalarEvidence((code_above(0.5), code_above(0.3)))
    proposals = (tw.Proposal(9, code_below(0.25)), tw.Proposal(0, code_below(0.3), up=True))
    data = tw.encode(tw.Proposals(round=3, node=-1, proposals=proposals), profile).hex(" ")
    assert f"`{data[:29]}` and the checksum `{data[30:]}`" in section(SPEC, "6.7 VERDICT_PROPOSALS")


def test_state_table():
    text = section(SPEC, "7.7 Session states")
    kinds = [Kind[name.strip()] for name in text[text.index("| state |") :].splitlines()[0].strip("|").split("|")[2:]]
    assert set(kinds) == set(Kind)
    for row in rows(text, "state"):
        allowed = {kind: cell.split(" or ")[0].lower() for kind, cell in zip(kinds, row[2:], strict=True) if cell}
        state = State(row[0].lower())
        assert allowed == {kind: TRANSITIONS[state, kind] for kind in Kind if (state, kind) in TRANSITIONS}, row[0]
    assert "IDLE or ENDED" in text  # a verdict that ends the text
    assert TRANSITIONS[State.OPEN, Act.VERDICT_END] is State.ENDED
    answers = {kind for kinds in ANSWERS.values() for kind in kinds}
    assert {kind for kind in Kind if SENDERS[kind] == {Role.EDGE}} == {Kind.WELCOME, *answers}
    found = {Kind[row[0]]: {Kind[name] for name in row[1].split(", ")} for row in rows(text, "frame of the device")}
    assert found == {kind: found for kind, found in ANSWERS.items() if kind is not Kind.HELLO}
    assert {kind for kind in Kind if SENDERS[kind] == set(Role)} == {Kind.ERROR, Kind.BYE}
