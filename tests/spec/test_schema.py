"""spec/vectors/schema.json: every file of vectors has the form that it says."""

import copy
import json
from pathlib import Path

import pytest
from json_schema import fault

VECTORS = Path(__file__).resolve().parents[2] / "spec" / "vectors"
SCHEMA = json.loads((VECTORS / "schema.json").read_text())
FILES = sorted(path.name for path in VECTORS.glob("*.json") if path.name not in ("schema.json", "released.json"))


def vectors(name):
    return json.loads((VECTORS / name).read_text())


@pytest.mark.parametrize("name", FILES)
def test_files_have_the_form_of_the_schema(name):
    assert fault(vectors(name), SCHEMA, SCHEMA) is None


def test_there_is_a_form_for_each_file():
    assert len(SCHEMA["oneOf"]) == len(FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["field missing", "field too many", "another type"])
def test_other_forms_are_noticed(name, change):
    file = vectors(name)
    file["groups"] = [copy.deepcopy(file["groups"][-1])]
    file["groups"][0]["tests"] = file["groups"][0]["tests"][-1:]
    assert fault(file, SCHEMA, SCHEMA) is None
    (test,) = file["groups"][0]["tests"]
    if change == "field missing":
        del test["result"]
    elif change == "field too many":
        test["more"] = 1
    else:
        test["flags"] = {"more": 1}
    assert fault(file, SCHEMA, SCHEMA) is not None
