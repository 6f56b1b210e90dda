"""Which file imports which, read from the sources: nothing is run, and no import hides inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

Graph = Mapping[str, set[str]]


def module_name(path: Path, source_root: Path) -> str:
    """``a.b`` of ``a/b.py``, ``a`` of ``a/__init__.py``."""
    parts = path.relative_to(source_root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_below(folders: Iterable[Path]) -> dict[str, Path]:
    """The file of each module of the packages in ``folders``."""
    return {module_name(path, folder.parent): path for folder in folders for path in sorted(folder.rglob("*.py"))}


def _imported(tree: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """(module, name taken from it or ""), wherever the statement stands: in functions and ``if TYPE_CHECKING``, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def import_graph(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """For each module what it imports: one of ``modules`` by its full name, anything else by its first name."""
    found: dict[str, set[str]] = {}
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found[name] = set()
        for module, member in _imported(ast.parse(path.read_text(encoding="utf-8")), package):
            inside = f"{module}.{member}"
            if module == name and inside not in modules:
                continue  # a package's own member: an extension module, say
            if inside in modules or module in modules:
                found[name].add(inside if inside in modules else module)
            else:
                found[name].add(module.partition(".")[0])
    return found


def reach(graph: Graph, start: str) -> set[str]:
    """Everything that ``start`` imports, or what it imports does."""
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        for module in graph.get(ahead.pop(), set()) - seen:
            seen.add(module)
            ahead.append(module)
    return seen


def cycles(graph: Graph) -> set[frozenset[str]]:
    """Sets of nodes that all reach each other; a node that imports itself is one."""
    reached = {name: reach(graph, name) for name in graph}
    rings = (
        {name, *(other for other in reached[name] if name in reached.get(other, set()))}
        for name in graph
        if name in reached[name]
    )
    return {frozenset(ring) for ring in rings}


def between_packages(graph: Graph) -> dict[str, set[str]]:
    """The graph of the folders: a module stands for the folder that it is in, those right below a root for themselves.

    (``tslt_wire/__init__.py`` gathers what all layers offer, and all layers know ``tslt_wire/errors.py``.)
    """
    parents = {name.rpartition(".")[0] for name in graph}

    def folder(name: str) -> str:
        if name in parents or name.count(".") < 2:
            return name
        return name.rpartition(".")[0]

    found: dict[str, set[str]] = {}
    for name, targets in graph.items():
        found.setdefault(folder(name), set()).update({folder(target) for target in targets} - {folder(name)})
    return found
