"""What the report has, in the order of the page: what helps a reader most comes first."""

from __future__ import annotations

from tslt_benchmarks.report.section import Section
from tslt_benchmarks.sections import bytes_per_token, end_to_end, equal_acceptance, messages, paper, transports

SECTIONS: tuple[Section, ...] = (
    end_to_end.SECTION,
    equal_acceptance.SECTION,
    messages.SECTION,
    transports.SECTION,
    bytes_per_token.SECTION,
    paper.SECTION,
)
