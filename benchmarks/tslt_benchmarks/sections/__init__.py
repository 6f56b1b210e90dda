"""What the report has, in the order of the page: what helps a reader most comes first."""

from __future__ import annotations

from tslt_benchmarks.report.section import Section
from tslt_benchmarks.sections import bytes_per_token

SECTIONS: tuple[Section, ...] = (bytes_per_token.SECTION,)
