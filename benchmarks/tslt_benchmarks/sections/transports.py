"""Section: what transports add to messages, counted on sockets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tslt_benchmarks.encodings.encodings import SIZES
from tslt_benchmarks.encodings.transport_bytes import measure_transports
from tslt_benchmarks.report.blocks import Column, Plot, Table
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.section import Needs, Seconds, Section


def run(context: Context) -> dict[str, Any]:
    """Every transport, every size."""
    return {"rows": [asdict(row) for row in measure_transports(list(SIZES))]}


def show(figures: dict[str, Any]) -> Sequence[Table | Plot]:
    """One table."""
    columns = [Column("transport"), Column("message up", ",d"), Column("down", ",d")]
    names = ("framing_up", "framing_down", "packets_up", "packets_down", "headers_up", "headers_down")
    columns += [Column(name.replace("_", " "), ",.1f" if "packets" in name else ",.0f") for name in names]
    columns += [
        Column("opening up", ",d", "bytes until the first message is through, it included"),
        Column("opening down", ",d"),
    ]
    rows = [
        [row["title"], row["up"], row["down"], *(row[name] for name in names), row["opening_up"], row["opening_down"]]
        for row in figures["rows"]
    ]
    caption = "Bytes a round, counted on loopback with segments as long as Ethernet's; headers of IPv4 with TCP or UDP."
    return [Table(columns=columns, rows=rows, title="What transports add", caption=caption, folded=True)]


def meaning(figures: dict[str, Any]) -> str:
    """Of the smallest messages."""
    small = min(row["up"] for row in figures["rows"])
    added = {row["transport"]: row["framing_up"] + row["headers_up"] for row in figures["rows"] if row["up"] == small}
    return (
        f"To {small} bytes up TCP adds {added['tcp']:.0f}, QUIC {added['quic']:.0f}, ZeroMQ with CURVE "
        f"{added['curve']:.0f}, HTTP {added['http']:.0f}: with short messages the transport is most of the uplink."
    )


SECTION = Section(
    name="transports",
    title="What transports add",
    question="What travels beside the messages?",
    needs=Needs.NOTHING,
    seconds=Seconds(quick=3, full=5),
    run=run,
    show=show,
    meaning=meaning,
    command="encodings",
)
