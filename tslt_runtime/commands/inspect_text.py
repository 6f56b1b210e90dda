"""Frames and their bits as text; whatever a peer wrote is made printable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any

from tslt_transports.untrusted import printable

import tslt_wire as tw
from tslt_runtime.capture import Record
from tslt_runtime.inspection import Fault, Inspected, Summary, fields_of, lists_of
from tslt_wire.coding.metering import Part
from tslt_wire.frames.kinds import Role
from tslt_wire.lists.distribution import TAIL_PARTS

SHOWN_ITEMS = 12
"""Tokens, or entries of a list, that are shown; ``--json`` has them all."""
SHOWN_CHARACTERS = 200
SHORT = 32
"""Characters of a field that shares its line with others."""
INDENT = "    "
ARROWS = {Role.DEVICE: "device -> edge", Role.EDGE: "edge -> device"}


def frame_text(found: Inspected, number: int | None = None, record: Record | None = None) -> str:
    """One frame: a line that says which, its fields, and what each part takes."""
    head = f"{found.kind}  {found.size} bytes"
    if record is not None:
        head = f"#{number}  {record.time_s:.6f} s  link {record.link}  {ARROWS[record.sender]}  {head}"
    lines = list(_field_lines(found.message)) if found.message is not None else []
    if found.fault is not None:
        lines.append(_fault_line(found.fault))
    lines += _bit_lines(found)
    return "\n".join([head, *(INDENT + line for line in lines)])


def _fault_line(fault: Fault) -> str:
    if fault.code is None:
        return f"not decoded: {printable(fault.message)}"
    where = f" in {fault.part}, which begins at bit {fault.bit:.0f}" if fault.part else ""
    return f"not decoded: {fault.code}{where}: {printable(fault.message)}"


# -------------------------------------------------------------------------------------------------------------- fields


def _field_lines(message: tw.Message) -> Iterator[str]:
    values = fields_of(message)
    lists = values.pop("lists", [])
    if isinstance(message, tw.ListReply):
        lists = [values.pop("list")]
    texts = [f"{name} {_shown(value)}" for name, value in values.items() if value not in ("", {}, [])]
    short = [text for text in texts if len(text) <= SHORT]
    if short:
        yield ", ".join(short)
    yield from (text for text in texts if len(text) > SHORT)
    for item in lists:
        yield from _list_lines(item)


def _shown(value: Any) -> str:
    """A field's value; what is long is cut."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{printable(name)} {_shown(item)}" for name, item in _first(value.items())) + _more(value)
    if isinstance(value, list):
        return " ".join(
            f"({_shown(item)})" if isinstance(item, dict) else _shown(item) for item in _first(value)
        ) + _more(value)
    text = printable(str(value))
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _list_lines(values: dict[str, Any]) -> Iterator[str]:
    ids, weights, tail = values["ids"], values["weights"], values["tail"]
    yield f"{_list_name(values.get('parent'))}: {len(ids)} listed, tail {tail}/{TAIL_PARTS}"
    unit = (TAIL_PARTS - tail) / TAIL_PARTS / sum(weights)
    columns = zip(_first(ids), _first(values["codes"]), _first(weights), strict=True)
    cells = [("id", "code", "p"), *((str(token), str(code), f"{weight * unit:.3f}") for token, code, weight in columns)]
    for row in zip(*cells, strict=True):
        widths = (max(map(len, column)) for column in cells)
        yield "  " + "  ".join(map(str.rjust, row, widths)) + _more(ids)


def _list_name(parent: int | None) -> str:
    return "list" if parent is None else "list after the prefix" if parent < 0 else f"list after node {parent}"


def _first(values: Iterable[Any]) -> Iterable[Any]:
    return islice(values, SHOWN_ITEMS)


def _more(values: Sequence[Any] | dict[str, Any]) -> str:
    return f" ... {len(values) - SHOWN_ITEMS} more" if len(values) > SHOWN_ITEMS else ""


# ---------------------------------------------------------------------------------------------------------------- bits


def _bit_lines(found: Inspected) -> Iterator[str]:
    if found.parts:
        total = "" if found.fault else f" = {8 * found.size} bits"
        yield from _part_lines("bits", found.parts, _parents(found.message), total)
    if found.inside:
        size = sum(part.bits for part in found.inside) / 8
        yield from _part_lines("uncompressed", found.inside, _parents(found.message), f" = {size:.0f} bytes")


def _parents(message: tw.Message | None) -> Sequence[int]:
    return message.tree.inner if isinstance(message, tw.Draft) else ()


def _part_lines(name: str, parts: Sequence[Part], parents: Sequence[int], end: str) -> Iterator[str]:
    """Parts that take something, each list on a line of its own; the numbers shown have the sum of the real ones."""
    rows = zip(parts, _tenths(parts), lists_of(parts), strict=True)
    lines = []
    for number, group in groupby(rows, key=lambda row: row[2]):
        shown = ", ".join(f"{part.name} {tenths / 10:g}" for part, tenths, _ in group if tenths)
        if number is None:
            lines.append(shown)
        else:
            label = _list_name(parents[number]) if number < len(parents) else "list"
            lines.append(f"{label}: {shown}")
    lines = [line for line in lines if line]
    yield from (f"{name}: {line}{end if i + 1 == len(lines) else ''}" for i, line in enumerate(lines))


def _tenths(parts: Sequence[Part]) -> list[int]:
    """Bits in tenths, rounded so that the sums from the first part on are right."""
    found, exact, shown = [], 0.0, 0
    for part in parts:
        exact += part.bits
        found.append(round(10 * exact) - shown)
        shown += found[-1]
    return found


# ---------------------------------------------------------------------------------------------------------------- sums


def summary_text(summary: Summary) -> str:
    """The sums of a capture, for people."""
    failed = f", {summary.faults} not decoded" if summary.faults else ""
    links = "1 link" if len(summary.links) == 1 else f"{len(summary.links)} links"
    lines = [f"{summary.frames} frames of {links} in {summary.seconds:.3f} s{failed}"]
    total = sum(summary.bytes_by_kind.values())
    for sender in Role:
        a_token = summary.bytes_a_token(sender)
        rate = "" if a_token is None else f", {a_token:.1f} a token in rounds"
        frames, size = summary.frames_by_sender[sender], summary.bytes_by_sender[sender]
        lines.append(f"{ARROWS[sender]}: {size} bytes in {frames} frames{rate}")
    lines.append(f"tokens: {summary.tokens}; handshakes, prompts and goodbyes are in no figure a token")
    rows = [("bytes by kind", "frames", "bytes", "share")]
    for kind, size in summary.bytes_by_kind.most_common():
        rows.append((kind, str(summary.frames_by_kind[kind]), str(size), f"{size / total:.1%}"))
    lines += _table(rows)
    rows = [("bits by part", "in rounds", "share", "else")]
    in_rounds, round_bits = summary.round_bits_by_part, 8 * summary.round_bytes.total()
    for name, bits in sorted(summary.bits_by_part.items(), key=lambda item: -in_rounds.get(item[0], 0)):
        own = in_rounds.get(name, 0)
        rows.append((name, f"{own:.1f}", f"{own / max(1, round_bits):.1%}", f"{bits - own:.1f}"))
    return "\n".join([*lines, *_table(rows)])


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *cells])
