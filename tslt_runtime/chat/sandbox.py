"""Jinja's sandbox, as chat templates expect it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class _Generation(Extension):
    """``{% generation %}`` marks what the model wrote, for training; here it is its content."""

    tags = {"generation"}  # noqa: RUF012 - Jinja declares it without ClassVar

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def environment(*, tojson: Callable[..., str], **functions: Callable[..., Any]) -> ImmutableSandboxedEnvironment:
    """A sandbox whose templates can call ``functions``; blocks leave no empty lines, as in ``transformers``."""
    found = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    found.filters["tojson"] = tojson
    found.globals.update(functions)
    return found
