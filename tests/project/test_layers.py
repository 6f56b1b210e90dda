"""The house: layers point one way, nothing goes round in a circle, modules are small (docs/architecture.md)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from import_graph import Graph, between_packages, cycles, import_graph, modules_below, reach

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [
    ROOT / "tslt_wire",
    ROOT / "spec",
    ROOT / "transports" / "tslt_transports",
    ROOT / "tslt_runtime",
    ROOT / "benchmarks" / "tslt_benchmarks",
    ROOT / "examples",
]
PACKAGES = [folder.name for folder in FOLDERS]
"""Each may import those to its left; but nothing imports ``spec``, which holds the vectors' generators."""
BASE = ("errors", "limits", "checks")
LAYERS = ("_native", "coding", "lists", "messages", "frames", "verification", "session", "throughput")
"""Of ``tslt_wire``: each may import itself, those to its left, and the modules of ``BASE``."""
CORE_NEEDS = {"numpy", *sys.stdlib_module_names}
OPTIONAL = {
    "tslt_wire.coding.compression": {"zstandard"},
    "spec.reference_decoder": {"zstandard", "compression"},  # in the standard library from Python 3.14 on
}
"""What a module imports when it is asked for, and can do without."""
ENGINES = {"torch", "transformers", "tokenizers", "safetensors"}
CHOOSES_AN_ENGINE = "tslt_runtime.loading"
"""Knows them all, and is for programs and commands."""

KNOWN: set[tuple[str, str]] = set()
"""(importer, imported): imports that are against the rules and will go."""
KNOWN_AFTER_FRAMES: tuple[str, ...] = ()
"""Modules of the core outside its layers, that will go; until then they stand behind ``frames``."""

MOST_LINES = 500
ONE_FILE_ON_PURPOSE = {ROOT / "spec" / "reference_decoder.py"}
MOST_MODULES_AT_THE_TOP = 20

GRAPH = import_graph(modules_below(FOLDERS))


def without_known(graph: Graph) -> dict[str, set[str]]:
    return {name: {other for other in targets if (name, other) not in KNOWN} for name, targets in graph.items()}


def rank(module: str) -> int:
    """How far to the right a module of ``tslt_wire`` stands."""
    _, _, inside = module.partition(".")
    if not inside:
        return len(LAYERS) + 1  # __init__.py, which names what all layers offer
    layer = inside.partition(".")[0]
    if layer in KNOWN_AFTER_FRAMES:
        return rank("tslt_wire.frames")
    return 0 if layer in BASE else 1 + LAYERS.index(layer)


def upward(graph: Graph) -> list[tuple[str, str]]:
    """Imports of what stands to the right."""
    found = []
    for name, targets in graph.items():
        package = name.partition(".")[0]
        for target in targets & graph.keys():
            theirs = target.partition(".")[0]
            if package != theirs:
                wrong = PACKAGES.index(theirs) > PACKAGES.index(package) or theirs == "spec"
            else:
                wrong = package == "tslt_wire" and rank(target) > rank(name)
            if wrong:
                found.append((name, target))
    return sorted(found)


def foreign(graph: Graph) -> list[tuple[str, str]]:
    """What the core imports besides numpy and the standard library."""
    return sorted(
        (name, target)
        for name, targets in graph.items()
        if name.partition(".")[0] == "tslt_wire"
        for target in targets - graph.keys() - CORE_NEEDS - OPTIONAL.get(name, set())
    )


def drivers(graph: Graph) -> set[str]:
    """Modules of the runtime that have to work with any engine."""
    return {
        name
        for name in graph
        if name.partition(".")[0] == "tslt_runtime"
        and not name.startswith(("tslt_runtime.engines.", "tslt_runtime.commands."))
        and name != CHOOSES_AN_ENGINE
    }


def too_long(folders: list[Path]) -> list[Path]:
    return sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in (".py", ".pyi", ".c", ".h", ".cpp")
        and path not in ONE_FILE_ON_PURPOSE
        and len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    )


# --------------------------------------------------------------------------------------------------------- the sources


def test_no_cycle_between_files():
    assert cycles(without_known(GRAPH)) == set()


def test_no_cycle_between_packages():
    assert cycles(between_packages(without_known(GRAPH))) == set()


def test_every_module_of_the_core_has_its_place_in_the_order():
    inside = {name.split(".")[1] for name in GRAPH if name.startswith("tslt_wire.")}
    assert inside - {*BASE, *LAYERS, *KNOWN_AFTER_FRAMES} == set()


def test_layers_point_one_way():
    assert upward(without_known(GRAPH)) == []


def test_every_known_exception_is_still_there():
    assert {pair for pair in KNOWN if pair[1] not in GRAPH.get(pair[0], set())} == set()
    assert {name for name in KNOWN_AFTER_FRAMES if f"tslt_wire.{name}" not in GRAPH} == set()


def test_the_core_imports_nothing_but_numpy_and_the_standard_library():
    assert foreign(GRAPH) == []


def test_the_reference_decoder_imports_nothing_of_ours():
    assert GRAPH["spec.reference_decoder"] <= sys.stdlib_module_names | OPTIONAL["spec.reference_decoder"]


@pytest.mark.parametrize("name", sorted(drivers(GRAPH)))
def test_drivers_know_no_engine(name):
    assert reach(without_known(GRAPH), name) & ENGINES == set()


def test_modules_have_at_most_500_lines():
    assert too_long([*FOLDERS, ROOT / "tests"]) == []


def test_the_top_of_the_core_is_small():
    top = [path for path in (ROOT / "tslt_wire").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    assert len(top) <= MOST_MODULES_AT_THE_TOP


# ----------------------------------------------------------------------------------- what these tests notice, and how


def planted(tmp_path: Path, files: dict[str, str]) -> Graph:
    """The graph of a tree with these files."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()
    return import_graph(modules_below([folder for folder in tmp_path.iterdir() if folder.is_dir()]))


@pytest.mark.parametrize(
    "back",
    [
        "from tslt_wire.lists import one",
        "import tslt_wire.lists.one as other",
        "from .one import x",
        "from . import one",
        "def late():\n    from tslt_wire.lists.one import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tslt_wire.lists.one import x",
    ],
)
def test_a_cycle_of_files_is_noticed(back, tmp_path):
    graph = planted(
        tmp_path, {"tslt_wire/lists/one.py": "from tslt_wire.lists import two", "tslt_wire/lists/two.py": back}
    )
    assert cycles(graph) == {frozenset({"tslt_wire.lists.one", "tslt_wire.lists.two"})}
    assert cycles(between_packages(graph)) == set()


def test_a_cycle_of_packages_is_noticed_where_no_files_make_one(tmp_path):
    graph = planted(
        tmp_path,
        {
            "p/a/one.py": "import p.b.one",
            "p/a/two.py": "",
            "p/b/one.py": "",
            "p/b/two.py": "from p.a.two import x",
        },
    )
    assert cycles(graph) == set()
    assert cycles(between_packages(graph)) == {frozenset({"p.a", "p.b"})}


def test_an_import_to_the_right_is_noticed(tmp_path):
    graph = planted(
        tmp_path,
        {
            "tslt_wire/coding/bits.py": "from tslt_wire.lists.prior import x",
            "tslt_wire/lists/prior.py": "from tslt_wire.coding import bits\nfrom tslt_wire import errors",
            "tslt_wire/errors.py": "import tslt_wire",
            "tslt_transports/link.py": "import tslt_runtime.edge, tslt_wire.errors",
            "tslt_runtime/edge.py": "import tslt_transports.link, spec.tools",
            "spec/tools.py": "import tslt_wire",
        },
    )
    assert upward(graph) == [
        ("tslt_runtime.edge", "spec.tools"),
        ("tslt_transports.link", "tslt_runtime.edge"),
        ("tslt_wire.coding.bits", "tslt_wire.lists.prior"),
        ("tslt_wire.errors", "tslt_wire"),
    ]


def test_what_the_core_may_not_import_is_noticed(tmp_path):
    graph = planted(
        tmp_path,
        {
            "tslt_wire/coding/bits.py": "import json, numpy.typing, zstandard",
            "tslt_wire/coding/compression.py": "import zstandard",
            "tslt_wire/limits.py": "def late():\n    from torch.nn import functional",
        },
    )
    assert foreign(graph) == [("tslt_wire.coding.bits", "zstandard"), ("tslt_wire.limits", "torch")]


def test_an_engine_behind_a_driver_is_noticed(tmp_path):
    graph = planted(
        tmp_path,
        {
            "tslt_runtime/edge.py": "from tslt_runtime import helper",
            "tslt_runtime/helper.py": "def late():\n    import tslt_runtime.engines.one",
            "tslt_runtime/engines/one.py": "import torch",
            "tslt_runtime/commands/edge.py": "import torch",
        },
    )
    reached = {name: reach(graph, name) & ENGINES for name in drivers(graph)}
    assert {name for name, found in reached.items() if found} == {"tslt_runtime.edge", "tslt_runtime.helper"}


def test_a_long_file_is_noticed(tmp_path):
    (tmp_path / "long.c").write_text("\n" * 501)
    (tmp_path / "short.py").write_text("\n" * 500)
    assert too_long([tmp_path]) == [tmp_path / "long.c"]
