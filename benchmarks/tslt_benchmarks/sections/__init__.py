"""What the report has, in the order of the page: what helps a reader most comes first."""

from __future__ import annotations

from tslt_benchmarks.report.section import Section
from tslt_benchmarks.sections import (
    acceptance_bytes,
    bytes_per_token,
    codec_speed,
    drafts_in_flight,
    edge_capacity,
    end_to_end,
    equal_acceptance,
    evidence_acceptance,
    held_nodes,
    lossy_schemes,
    messages,
    padding,
    paper,
    pass_times,
    published_bound,
    recorded_links,
    shared_edge,
    transports,
    vocabulary,
    which_link,
)

SECTIONS: tuple[Section, ...] = (
    which_link.SECTION,
    drafts_in_flight.SECTION,
    shared_edge.SECTION,
    end_to_end.SECTION,
    evidence_acceptance.SECTION,
    held_nodes.SECTION,
    equal_acceptance.SECTION,
    messages.SECTION,
    acceptance_bytes.SECTION,
    recorded_links.SECTION,
    edge_capacity.SECTION,
    pass_times.SECTION,
    transports.SECTION,
    paper.SECTION,
    lossy_schemes.SECTION,
    bytes_per_token.SECTION,
    published_bound.SECTION,
    vocabulary.SECTION,
    codec_speed.SECTION,
    padding.SECTION,
)
