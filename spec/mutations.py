"""Small changes to a Python program, one at a time: the mistakes of ``spec/mutants.py``.

A change is made in the syntax tree and taken back, so that one tree serves all of them.  Annotations, docstrings and
whatever ``skipped`` names stay as they are.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

CHANGED = "changed_by_mutation"  # a function of this name has to be there where a mutant runs: ``changed``

ORDERS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult},
    **{ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr},
}
CALLS = {
    **{"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"},
    **{"bisect_left": "bisect_right", "bisect_right": "bisect_left"},
}
TEXTS = {"little": "big", "big": "little", "<H": ">H", "<I": ">I", "<e": ">e", "<f": ">f", ">d": "<d", "<2I": ">2I"}
UNCHANGED = ("annotation", "returns", "decorator_list", "targets", "target", "type")
MOST_BOTH_WAYS = 4  # the numbers of a longer row of a table are only changed upwards
LONG = 120  # characters of a text that is shown whole


@dataclass(slots=True)
class Mutation:
    """One change: ``field`` of the node ``owner`` becomes ``value``."""

    scope: str
    """The function, or the name that a statement of the module defines."""
    line: int
    before: str
    after: str
    nth: int
    """Which of the changes with the same scope and texts, from 0."""
    root: int
    """Index of the statement of the module in which it is."""
    statement: ast.stmt | None
    """The statement of a function in which it is."""
    owner: ast.AST
    field: str
    value: Any

    def swap(self) -> None:
        """Make the change, or take it back."""
        old = getattr(self.owner, self.field)
        setattr(self.owner, self.field, self.value)
        self.value = old

    def key(self) -> tuple[str, str, str, int]:
        """What tells it from all others, also when lines have moved."""
        return self.scope, self.before, self.after, self.nth


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, (str, bytes, list, tuple)):
        return value[:-1] if value else None
    if isinstance(value, dict):
        return dict(list(value.items())[:-1])
    return None if value is not None else 0


def mutations(tree: ast.Module, skipped: frozenset[str] = frozenset()) -> list[Mutation]:
    """All changes, in the order of the program."""
    found: list[Mutation] = []
    for root, node in enumerate(tree.body):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            if node.name not in skipped:
                found += _Finder(root).block(node, "body", node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if ast.unparse(target) not in skipped:
                found += _Finder(root).constants(node, ast.unparse(target))
    seen: Counter[tuple[str, str, str]] = Counter()
    for mutation in found:
        place = mutation.scope, mutation.before, mutation.after
        mutation.nth = seen[place]
        seen[place] += 1
    return found


class _Finder:
    """The changes in one statement of the module."""

    def __init__(self, root: int) -> None:
        self.root = root

    def constants(self, node: ast.stmt, scope: str) -> Iterator[Mutation]:
        """Changes of an assignment outside functions; a table is shown by its rows."""
        yield from self.inside(node, scope, node, None)

    def block(self, owner: ast.AST, field: str, scope: str) -> Iterator[Mutation]:
        """Changes of a function's or a block's statements."""
        body: list[ast.stmt] = getattr(owner, field)
        for i, node in enumerate(body):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield from self.block(node, "body", f"{scope}.{node.name}")
                continue
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # a docstring
            if not isinstance(owner, ast.ClassDef):
                if removable(node, owner, field == "body" and i + 1 == len(body)):
                    rest = [*body[:i], ast.Pass(), *body[i + 1 :]]
                    yield self.made(scope, node, node, header(node), "(deleted)", owner, field, rest)
                if i + 1 < len(body) and independent(node, body[i + 1]):
                    rest = [*body[:i], body[i + 1], node, *body[i + 2 :]]
                    text = header(node), header(body[i + 1])
                    yield self.made(scope, node, node, "\n".join(text), "\n".join(text[::-1]), owner, field, rest)
            yield from self.inside(node, scope, node, node)
            for name in ("body", "orelse", "finalbody"):
                if getattr(node, name, []):
                    yield from self.block(node, name, scope)
            for handler in getattr(node, "handlers", []):
                yield from self.block(handler, "body", scope)

    def inside(self, node: ast.AST, scope: str, shown: ast.AST, statement: ast.stmt | None) -> Iterator[Mutation]:
        """Changes of expressions below ``node``, without those of statements in it."""
        for field, value in ast.iter_fields(node):
            if field in UNCHANGED:
                continue
            for i, item in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(item, ast.AST) or isinstance(item, (ast.stmt, ast.ExceptHandler, ast.JoinedStr)):
                    continue
                if isinstance(item, ast.keyword) and item.arg == "strict":
                    continue  # a check of the program itself
                text = item if statement is None and isinstance(item, ast.Tuple) else shown
                both_ways = not (isinstance(node, ast.Tuple) and len(node.elts) > MOST_BOTH_WAYS)
                for new in replacements(node, field, i, item, both_ways=both_ways):
                    whole = [*value[:i], new, *value[i + 1 :]] if isinstance(value, list) else new
                    yield self.shown(scope, item, text, statement, node, field, whole)
                yield from self.inside(item, scope, text, statement)

    def shown(
        self,
        scope: str,
        at: ast.AST,
        shown: ast.AST,
        statement: ast.stmt | None,
        owner: ast.AST,
        field: str,
        value: Any,
    ) -> Mutation:
        """A change with the texts of ``shown`` before and after it."""
        found = self.made(scope, at, statement, header(shown), "", owner, field, value)
        found.swap()
        found.before, found.after = near(found.before, header(shown))
        found.swap()
        return found

    def made(
        self,
        scope: str,
        at: ast.AST,
        statement: ast.stmt | None,
        before: str,
        after: str,
        owner: ast.AST,
        field: str,
        value: Any,
    ) -> Mutation:
        """A change."""
        line: int = getattr(at, "lineno", getattr(statement, "lineno", 0))
        return Mutation(scope, line, before, after, 0, self.root, statement, owner, field, value)


def header(node: ast.AST) -> str:
    """A statement as text, of one with a block the first line."""
    text = ast.unparse(ast.fix_missing_locations(node)).splitlines()
    return text[0] if hasattr(node, "body") and not isinstance(node, (ast.IfExp, ast.Lambda)) else "\n".join(text)


def near(before: str, after: str) -> tuple[str, str]:
    """Two texts, long ones without what they have in common far from where they differ."""
    if len(before) <= LONG:
        return before, after
    start = max(0, alike(before, after) - LONG // 2)
    end = max(0, alike(before[:start:-1], after[:start:-1]) - LONG // 2)
    head, tail = "... " if start else "", " ..." if end else ""
    return head + before[start : len(before) - end] + tail, head + after[start : len(after) - end] + tail


def alike(one: str, other: str) -> int:
    """How many characters two texts have in common at their start."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def removable(node: ast.stmt, owner: ast.AST, last: bool) -> bool:
    """Whether a program without the statement may still run: not if a name would have no value, for one."""
    if isinstance(node, (ast.Raise, ast.Break, ast.Continue, ast.AugAssign)):
        return True
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Return):
        return not (last and isinstance(owner, ast.FunctionDef))
    if isinstance(node, ast.Assign):
        local = all(isinstance(part, (ast.Name, ast.Tuple)) for part in node.targets)
        return not local or not isinstance(owner, ast.FunctionDef)
    return False


def independent(node: ast.stmt, after: ast.stmt) -> bool:
    """Whether both can change places, and are two checks, or a check and what reads on."""
    simple = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign)
    if not isinstance(node, simple) or not isinstance(after, simple) or not (is_check(node) or is_check(after)):
        return False
    if not all(is_check(found) or calls_method(found) for found in (node, after)):
        return False

    def names(found: ast.AST, context: type[ast.expr_context]) -> set[str]:
        return {n.id for n in ast.walk(found) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}

    return not names(node, ast.Store) & names(after, ast.Load) and not names(after, ast.Store) & names(node, ast.Load)


def is_check(node: ast.stmt) -> bool:
    """Whether the statement is a ``refuse_if``."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and called(node.value) == "refuse_if"


def calls_method(node: ast.stmt) -> bool:
    """Whether the statement calls a function of an object."""
    return any(isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) for part in ast.walk(node))


def called(node: ast.AST) -> str:
    """The name of the function that is called."""
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def replacements(owner: ast.AST, field: str, i: int, node: ast.AST, *, both_ways: bool) -> Iterator[ast.AST]:
    """What an expression may become."""
    if isinstance(node, ast.expr) and not isinstance(node, ast.Constant) and is_condition(owner, field, i):
        yield ast.UnaryOp(ast.Not(), node)
        yield ast.Constant(True)
        if called(owner) != "refuse_if":  # that is without the statement
            yield ast.Constant(False)
    if isinstance(owner, ast.Return) and isinstance(node, ast.expr) and not isinstance(node, ast.Constant):
        yield ast.Call(ast.Name(CHANGED, ast.Load()), [node], [])
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            ops = [*node.ops[:at], ORDERS[type(op)](), *node.ops[at + 1 :]]
            yield ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for at in range(len(node.values)):
            rest = node.values[:at] + node.values[at + 1 :]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, ast.BinOp):
        yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
    elif isinstance(node, ast.Call) and called(node) in CALLS:
        yield ast.Call(ast.Name(CALLS[called(node)], ast.Load()), node.args, node.keywords)
    elif isinstance(node, ast.Slice):
        if node.lower is not None:
            yield ast.Slice(None, node.upper, node.step)
        if node.upper is not None:
            yield ast.Slice(node.lower, None, node.step)
        if node.step is not None:
            yield ast.Slice(node.lower, node.upper, None)
    elif isinstance(node, ast.Constant):
        yield from other_constants(owner, node.value, both_ways=both_ways)


def is_condition(owner: ast.AST, field: str, i: int) -> bool:
    """Whether the expression says if something is done."""
    if field == "test" or (field == "ifs" and isinstance(owner, ast.comprehension)):
        return True
    return called(owner) == "refuse_if" and field == "args" and i == 0


def other_constants(owner: ast.AST, value: object, *, both_ways: bool) -> Iterator[ast.Constant]:
    """What a constant may become."""
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        if both_ways:
            yield ast.Constant(value - 1)
    elif isinstance(value, str) and value in TEXTS:
        yield ast.Constant(TEXTS[value])
    elif isinstance(value, str) and called(owner) in ("refuse_if", "DecodeError"):
        yield ast.Constant("another")
    elif isinstance(value, bytes) and value:
        yield ast.Constant(value[:-1] + bytes([value[-1] ^ 1]))
