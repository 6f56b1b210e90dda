"""The pages are true: what they link to, name, and tell a reader to run is there."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

import tslt_wire as tw

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("", "transports", "benchmarks")
NOT_OURS = {"build", "dist", "__pycache__"}
"""Folders that builds leave; those whose names start with a dot are none of ours either."""


def files_of_the_tree() -> set[str]:
    found = set()
    for folder, inside, names in os.walk(ROOT):
        inside[:] = [name for name in inside if name not in NOT_OURS and not name.startswith(".")]
        found |= {(Path(folder) / name).relative_to(ROOT).as_posix() for name in names}
    return found


FILES = files_of_the_tree()
FOLDERS = {"", "benchmarks", "docs", "examples", "spec"}
PAGES = sorted(path for path in FILES if path.endswith(".md") and path.rpartition("/")[0].partition("/")[0] in FOLDERS)
DECISIONS = ROOT / "docs" / "decisions"


def words_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def without_old_names(text: str) -> str:
    """A page without the left column of its tables of old names and new: what stands there is gone."""
    kept, in_table = [], False
    for line in text.splitlines():
        in_table = line.startswith("|") and (in_table or line == "| old | new |")
        kept.append(line.split(" | ", 1)[1] if in_table and " | " in line else line)
    return "\n".join(kept)


def code_spans(text: str) -> list[str]:
    """What stands in backticks, outside of blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def missing_links(page: str, text: str) -> list[str]:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    near = (ROOT / page).parent
    return [target for target in targets if "://" not in target and not (near / target).exists()]


def missing_files(text: str) -> list[str]:
    """Files that are named, with their folders or the last of them, and are nowhere in the tree."""
    named = re.findall(
        r"(?<![\w/.*-])((?:[\w.-]+/)*[\w-]+\.(?:py|pyi|c|h|cpp|md|toml|json|png|svg|table|txt))(?![\w(*])", text
    )
    return [name for name in named if not any(f"/{path}".endswith(f"/{name.removeprefix('../')}") for path in FILES)]


def is_module(name: str) -> bool:
    path = name.replace(".", "/")
    endings = (f"{path}.py", f"{path}/__init__.py")
    return any(Path(root, ending).as_posix() in FILES for root in SOURCE_ROOTS for ending in endings)


def missing_programs(text: str) -> list[str]:
    return [name for name in re.findall(r"python -m ((?:\w+\.)*\w+)", text) if name != "build" and not is_module(name)]


def names_in(module: str) -> set[str]:
    """What a module defines, imports or assigns, wherever in it."""
    path = module.replace(".", "/")
    places = [f"{root}/{path}{end}".lstrip("/") for root in SOURCE_ROOTS for end in (".py", "/__init__.py")]
    found: set[str] = set()
    for place in places:
        for node in ast.walk(ast.parse(words_of(place))) if place in FILES else ():
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    found.add(name)
                case ast.alias(name=name, asname=other):
                    found.add(other or name)
                case ast.Name(id=name, ctx=ast.Store()):
                    found.add(name)
    return found


def missing_modules(text: str) -> list[str]:
    """Dotted names below a package of ours that are no module, and no name in one."""
    names = re.findall(r"\b((?:tslt_\w+|examples)(?:\.\w+)+)(?![\w/])", text)
    apart = [(name, *name.rpartition(".")[::2]) for name in names if not is_module(name)]
    return [name for name, module, member in apart if member not in ("py", "h") and member not in names_in(module)]


def missing_names(text: str) -> list[str]:
    return [name for name in re.findall(r"\btw\.(\w+)", text) if not hasattr(tw, name)]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page):
    text = without_old_names(words_of(page))
    spans = "\n".join(code_spans(text))
    assert missing_links(page, text) == []
    assert missing_files(spans) == []
    assert missing_programs(text) == []
    assert missing_modules(spans) == []
    assert missing_names(text) == []


def test_every_decision_is_listed_once_under_its_title():
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", words_of("docs/decisions/README.md"), re.MULTILINE)
    pages = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    assert listed == [
        (path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "), path.name) for path in pages
    ]


def test_each_section_of_the_changelog_says_whether_bytes_and_kernel_changed():
    _, *sections = re.split(r"^## ", words_of("CHANGELOG.md"), flags=re.MULTILINE)
    assert len(sections) > 1
    for section in sections:
        assert "*Bytes change?*" in section
        assert "*Kernel: header changed?*" in section


# ----------------------------------------------------------------------------------- what these tests notice, and how


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (missing_links("docs/x.md", "[a](../README.md) [b](x.md) [c](https://x.example/y.md) [d](#here)"), ["x.md"]),
        (missing_links("README.md", "![a](docs/nowhere.svg)"), ["docs/nowhere.svg"]),
        (missing_files("frames/kinds.py tslt_wire/backends.py kinds.py x.json"), ["tslt_wire/backends.py", "x.json"]),
        (missing_programs("python -m examples.demo, python -m benchmarks.regimes"), ["benchmarks.regimes"]),
        (missing_modules("tslt_wire.coding.bits tslt_wire.backend tslt_wire.sampling"), ["tslt_wire.sampling"]),
        (missing_modules("tslt_runtime.seeds.session_secret examples.settle"), ["examples.settle"]),
        (missing_names("tw.encode tw.Error"), ["Error"]),
        (code_spans("a `b` c\n```\n`d`\n```\n`e`"), ["b", "e"]),
        (without_old_names("x\n| old | new |\n|---|---|\n| `tw.Error` | `tw.Bye` |\n\n| `tw.Error` | y |"),
         "x\nnew |\n|---|---|\n`tw.Bye` |\n\n| `tw.Error` | y |"),
    ],
)  # fmt: skip
def test_what_is_missing_is_noticed(found, wanted):
    assert found == wanted
