"""Figures on pages are those of the committed results."""

from __future__ import annotations

import pytest
import results


@pytest.mark.parametrize("page", results.PAGES, ids=lambda page: page.name)
def test_pages_say_what_the_results_say(page):
    assert page.read_text(encoding="utf-8") == results.written(page), "run python docs/make/results.py"


def test_every_table_is_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in results.PAGES)
    assert all(f"<!-- results: {name} -->" in text for name in results.TABLES)
