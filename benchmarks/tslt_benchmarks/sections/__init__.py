"""What the report has, in the order of the page: what helps a reader most comes first."""

from __future__ import annotations

from tslt_benchmarks.report.section import Section
from tslt_benchmarks.sections import bytes_per_token, equal_acceptance, messages, transports

SECTIONS: tuple[Section, ...] = (
    equal_acceptance.SECTION,
    messages.SECTION,
    transports.SECTION,
    bytes_per_token.SECTION,
)
