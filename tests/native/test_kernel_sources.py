"""The kernel's sources: what leaves a file, and that its numbers are the reference's."""

import re
import shutil
import subprocess
from itertools import accumulate

import pytest
from c_kernel import CC, NATIVE, kernel_objects

from tslt_wire import errors, limits
from tslt_wire.coding import id_model, philox, plain_bits, prefix_codes
from tslt_wire.frames.codec import CRC_BYTES, KIND_MASK
from tslt_wire.frames.kinds import Kind
from tslt_wire.lists import distribution, list_codec, precision, prior, range_coded
from tslt_wire.lists.profile import ENTROPY_IDS
from tslt_wire.messages import extensions
from tslt_wire.messages.handshake import SPEC_VERSION

NM = shutil.which("nm")
TEXT = "\n".join(path.read_text() for path in sorted(NATIVE.glob("*.[ch]")))
CODE = re.sub(r"/\*.*?\*/", "", TEXT, flags=re.DOTALL)


@pytest.mark.skipif(shutil.which(CC) is None or NM is None, reason="needs cc and nm")
def test_every_symbol_that_leaves_a_file_has_our_prefix():
    objects = kernel_objects()
    assert len(objects) == len([*NATIVE.glob("*.c")])
    listed = subprocess.run([NM, "-g", "--defined-only", *objects], capture_output=True, text=True, check=True).stdout
    names = [line.split()[-1] for line in listed.splitlines() if len(line.split()) == 3]
    assert "tslt_sparsify" in names
    assert [name for name in names if not name.startswith("tslt_")] == []


def constant(name: str) -> int:
    """The number of an enumerator or a macro; all places that have the name must agree."""
    found = re.findall(rf"\b{name}\s*=\s*(-?(?:0x)?[0-9A-Fa-f]+)\b", CODE)
    found += re.findall(rf"#define {name} \(?(-?(?:0x)?\d+)u?(?: << (\d+))?", CODE)
    values = {int(v, 0) if isinstance(v, str) else int(v[0], 0) << int(v[1] or 0) for v in found}
    assert len(values) == 1, (name, values)
    return values.pop()


def array(name: str) -> list[int]:
    """All numbers of a constant array, row by row."""
    found = re.search(rf"\b{name}(?:\[[^\]]*\])+ = \{{(.*?)\}};", CODE, flags=re.DOTALL)
    assert found, name
    return [int(number, 0) for number in re.findall(r"0x[0-9A-Fa-f]+|\d+", found[1])]


def flat(rows):
    return [number for row in rows for number in row]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("TSLT_SPEC_VERSION", SPEC_VERSION),
        ("TSLT_MAX_VOCAB_SIZE", limits.MAX_VOCAB_SIZE),
        ("TSLT_DRAFT_LIST", Kind.DRAFT_LIST),
        ("KIND_MASK", KIND_MASK),
        ("CRC_BYTES", CRC_BYTES),
        *(
            (f"EXT_{name}", getattr(extensions, name))
            for name in ("CHOICE", "FLIGHT", "VERIFY_TIME", "LOG_PROBS", "RETRY_AFTER", "PADDING")
        ),
        *((f"TSLT_{code.name}", code) for code in errors.ErrorCode if f"TSLT_{code.name} " in CODE),
        *((f"TSLT_{p.name}", p.wire_id) for p in precision.Precision),
        *((f"TSLT_ENTROPY_{name.upper()}", ENTROPY_IDS[name]) for name in ("none", "range")),
        ("TAIL_PARTS", distribution.TAIL_PARTS),
        ("TAIL_BITS", list_codec.TAIL_BITS),
        ("CODE_WIDTH_BITS", list_codec.CODE_WIDTH_BITS),
        ("LONG", range_coded.LONG),
        ("FEW_IDS", range_coded.FEW_IDS),
        ("FREE_ENTRIES", range_coded.FREE_ENTRIES),
        ("ENTRIES_A_BYTE", range_coded.ENTRIES_A_BYTE),
        ("SHARED", range_coded.SHARED),
        ("MAX_SEEN", range_coded.MAX_SEEN),
        ("HIT_PRIOR_LOOKS", range_coded.HIT_PRIOR_LOOKS),
        ("HIT_STEP", range_coded.HIT_STEP),
        ("HIT_LOOKS", range_coded.HIT_LOOKS),
        ("ROOT_BALLS", id_model.ROOT_BALLS),
        ("INNER_BALLS", id_model.INNER_BALLS),
        ("MAX_URN", id_model.MAX_URN),
        ("LEAF", id_model.LEAF),
        ("GAP_STEPS", plain_bits.GAP_STEPS),
        ("GAP_BITS", plain_bits.GAP_BITS),
        ("DENSITY_BIAS", prior.DENSITY_BIAS),
        ("MAX_TABLE_CODE", prior.MAX_CODE),
        ("MAX_LENGTH", prefix_codes.MAX_LENGTH),
        ("MOST_LEVELS", precision.Precision.LOG2_4.max_code + 1),
    ],
)
def test_numbers_are_the_references(name, ours):
    assert constant(name) == ours


def test_the_kernel_has_all_error_codes_of_frames_that_it_reads():
    codes = {name for name in re.findall(r"\bTSLT_([A-Z_]+) = [1-9]\d*\b", CODE)}
    assert {code.name for code in errors.ErrorCode if code <= 12 and code.name != "BAD_CONTROL"} <= codes


def test_tables_are_the_references():
    assert array("tslt_coarse") == precision._COARSE.tolist()
    assert array("tslt_fine") == precision._FINE.tolist()
    assert array("tslt_log_table") == precision._LOG_TABLES[4].tolist()
    assert array("AFFINITY") == flat(range_coded.AFFINITY)
    assert array("SIZE_STARTS") == [0, *accumulate(range_coded.SIZE_WEIGHTS)]
    assert array("TAIL_NEAR") == list(range_coded.TAIL_NEAR)
    assert f"m->tail ? {range_coded.TAIL_NONE[1]} : {range_coded.TAIL_NONE[0]};" in CODE
    hits = ", ".join(f"PRIORS({', '.join(map(str, flat(rows)))})" for rows in range_coded.HIT_PRIOR)
    assert hits in re.sub(r"\s+", " ", CODE)


def test_default_limits_are_the_references():
    body = re.search(r"tslt_limits tslt_default_limits\(void\) \{(.*?)\}", CODE, flags=re.DOTALL)
    found = re.findall(r"\.(\w+) = (?:\(uint64_t\))?(\d+)(?: << (\d+))?", body[1])
    ours = limits.DecodeLimits()
    assert {name: int(number) << int(shift or 0) for name, number, shift in found} == {
        name: getattr(ours, name)
        for name in ("max_frame_bytes", "max_nodes", "max_leaves", "max_depth", "max_entries", "max_extensions")
    }


def test_the_generator_is_the_references():
    for number in (*philox._MULTIPLIERS, *philox._KEY_STEPS):
        assert f"0x{int(number):X}u" in CODE


def test_masses_of_ids_are_the_references():
    assert array("MASSES") == flat(id_model.OCTAVE_MASSES)


def test_lengths_of_prefix_codes_are_the_references():
    assert array("NEXT_LENGTH") == flat(prefix_codes.NEXT_LENGTH)
    first, none = (", ".join(map(str, numbers)) for numbers in (prefix_codes.FIRST_LENGTH, prefix_codes.NEXT_NONE))
    assert f"FIRST_LENGTH[] = {{{first}}}, NEXT_NONE[] = {{{none}}};" in CODE


def test_the_binding_keeps_to_the_stable_abi():
    """Macros that look into objects are none of it: from Python 3.12 on the kernel would not compile."""
    text = re.sub(r"//.*", "", (NATIVE / "binding.cpp").read_text())
    look_inside = re.compile(r"\bPy\w+_(?:GET|SET|AS)_[A-Z]+|(?:\.|->)(?:tp|ob|nb|sq|mp)_\w+")
    assert look_inside.findall("PyTuple_GET_ITEM(t, 0); PyBytes_AS_STRING(b); type->tp_new; PyTuple_SetItem") == [
        "PyTuple_GET_ITEM",
        "PyBytes_AS_STRING",
        "->tp_new",
    ]
    assert "PyTuple_SetItem" in text
    assert look_inside.findall(text) == []
