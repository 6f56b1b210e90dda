"""Hooks of mkdocs: pages and files that stand outside of ``docs/`` are part of the site, where they are.

A page keeps its place in the repository, less ``docs/``, and its links, which are those that work in a checkout.  What
a page links to and is no page comes along: programs as pages that show them, all else as it is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from github_lists import indented
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LANGUAGES = {".py": "python", ".c": "c", ".h": "c"}
"""Files that become a page which shows them, and how they are coloured."""
_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1\s*?$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)#\s]+)(?P<after>[^)]*\))")
_PROGRAM = re.compile(r"^<!-- program: (?P<path>\S+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of ``nav`` that are not in ``docs/``, and all that pages link to."""
    pages = [repository_path(file.src_uri) for file in files.documentation_pages()]
    for name in named_pages(config.nav):
        if repository_path(name) == name and (ROOT / name).is_file():
            add(files, name, config, InclusionLevel.INCLUDED)
            pages.append(name)
    while pages:
        page = pages.pop()
        for target in links_of((ROOT / page).read_text(encoding="utf-8")):
            path = target_of(page, target)
            if path and files.get_file_from_path(site_path(path)) is None:
                add(files, path, config, InclusionLevel.NOT_IN_NAV)
                pages += [path] if path.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Show the programs that a page names, and let its links lead to where the site has what they name."""
    here = repository_path(page.file.src_uri)

    def program(match: re.Match[str]) -> str:
        return shown(match["path"])

    def link(match: re.Match[str]) -> str:
        path = target_of(here, match["target"])
        if path is None:
            return match[0]
        target = posixpath.relpath(site_path(path), posixpath.dirname(page.file.src_uri) or ".")
        return match["before"] + target + match["after"]

    return outside_of_code(lambda text: _LINK.sub(link, text), indented(_PROGRAM.sub(program, markdown)))


def add(files: Files, path: str, config: MkDocsConfig, inclusion: InclusionLevel) -> None:
    """Make the file at ``path`` in the repository one of the site's."""
    src_uri = site_path(path)
    if Path(path).suffix in LANGUAGES:
        files.append(File.generated(config, src_uri, content=f"# {path}\n\n{shown(path)}\n", inclusion=inclusion))
    else:
        files.append(File.generated(config, src_uri, abs_src_path=str(ROOT / path), inclusion=inclusion))


def shown(path: str) -> str:
    """A program as Markdown."""
    return f"````{LANGUAGES[Path(path).suffix]}\n{(ROOT / path).read_text(encoding='utf-8')}````"


def named_pages(nav: Any) -> list[str]:
    """Paths of ``nav``, whatever lists and titles they stand in."""
    if isinstance(nav, str):
        return [nav]
    return [path for item in (nav.values() if isinstance(nav, dict) else nav) for path in named_pages(item)]


def repository_path(src_uri: str) -> str:
    """Where a file of the site stands in the repository."""
    return f"docs/{src_uri}" if (ROOT / "docs" / src_uri).exists() else src_uri


def site_path(path: str) -> str:
    """Where the site has a file of the repository."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/") + (".md" if Path(path).suffix in LANGUAGES else "")


def target_of(page: str, target: str) -> str | None:
    """The file that a link of ``page`` leads to, a folder's README for a folder; None for what is not ours."""
    if "://" in target or target.startswith("mailto:"):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    if (ROOT / path).is_dir():
        path = f"{path}/README.md"
    return path if (ROOT / path).is_file() else None


def links_of(text: str) -> list[str]:
    """What a page's links lead to."""
    found: list[str] = []

    def note(words: str) -> str:
        found.extend(match["target"] for match in _LINK.finditer(words))
        return words

    outside_of_code(note, text)
    return found


def outside_of_code(change: Callable[[str], str], text: str) -> str:
    """``text`` with what stands outside of its blocks of code changed."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])
