"""An edge's numbers for a Prometheus server: ``render`` gives the text that it reads.

Needs ``prometheus-client`` (the extra ``metrics``).  Names have base units, and labels a bounded number of values: what
a peer says is never one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from tslt_runtime.operating.meter import EdgeMeter, Histogram
from tslt_runtime.scheduler import Counts

DEVICE = "device"
UNNAMED = "unauthenticated"
"""The device's name where nothing proved one."""


class EdgeCollector(Collector):
    """Reads the numbers whenever it is asked: counting costs the edge no more than it does without."""

    def __init__(
        self,
        meter: EdgeMeter,
        counts: Counts,
        *,
        waiting: Callable[[], int],
        most_links: int,
        strangers: Mapping[str, int] | None = None,
    ) -> None:
        """``counts``: the scheduler's; ``waiting``: requests in its queue now; ``most_links``: places for devices.

        ``strangers``: how many the listener refused, by reason, before they had a link.
        """
        self._meter, self._counts, self._waiting, self._most_links = meter, counts, waiting, most_links
        self._strangers = {} if strangers is None else strangers

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the edge."""
        meter, counts = self._meter, self._counts
        yield _gauge("tslt_edge_devices", "Devices with a link now", meter.links)
        yield _gauge("tslt_edge_devices_max", "Devices that are served at once", self._most_links)
        yield _counter("tslt_edge_links", "Links that were served", meter.accepted)
        refused = {**dict(self._strangers), **dict(meter.refused)}
        yield _labelled("tslt_edge_links_refused", "Links that were refused", ("reason",), refused)
        yield _counter("tslt_edge_sessions", "Handshakes that ended in WELCOME", meter.sessions)
        yield _labelled("tslt_edge_rounds", "Rounds", ("evidence",), meter.rounds)
        yield _labelled("tslt_edge_drafted_nodes", "Nodes of drafts", ("evidence",), meter.drafted)
        yield _labelled("tslt_edge_accepted_nodes", "Nodes that the target kept", ("evidence",), meter.accepted_nodes)
        named = {name or UNNAMED: value for name, value in dict(meter.tokens).items()}
        yield _labelled("tslt_edge_tokens", "Tokens that texts grew by", (DEVICE,), named)
        yield _labelled("tslt_edge_frames_in", "Frames of devices", ("kind",), meter.frames_in)
        yield _labelled("tslt_edge_bytes_in", "Bytes of them", ("kind",), meter.bytes_in)
        yield _labelled("tslt_edge_frames_out", "Frames to devices", ("kind",), meter.frames_out)
        yield _labelled("tslt_edge_bytes_out", "Bytes of them", ("kind",), meter.bytes_out)
        yield _labelled("tslt_edge_errors", "ERROR frames", ("sender", "code"), meter.errors)
        yield _labelled("tslt_edge_paced", "Requests that waited for a budget", ("budget",), meter.paced)
        yield _histogram("tslt_edge_step_seconds", "From a frame's arrival to its last answer", meter.steps)
        yield _histogram("tslt_edge_queue_wait_seconds", "From a request to its first pass", meter.waits)
        yield _histogram("tslt_edge_pass_seconds", "Passes of the model", meter.passes)
        yield _histogram("tslt_edge_pass_texts", "Texts in a pass", meter.texts)
        yield _histogram("tslt_edge_pass_rows", "Tokens and nodes in a pass", meter.rows)
        yield _gauge("tslt_edge_queue_length", "Requests that wait for rows", self._waiting())
        yield _counter("tslt_edge_prefilled_tokens", "Tokens read without logits", counts.prefilled)
        yield _counter("tslt_edge_shared_tokens", "Tokens that were copied from other texts", counts.shared)
        yield _counter("tslt_edge_evictions", "Caches dropped for want of memory", counts.evictions)
        yield _counter("tslt_edge_failed_passes", "Passes that were made again, text by text", counts.failures)
        yield _gauge("tslt_edge_cache_bytes", "Bytes of all texts' caches", counts.cache_bytes)
        yield _gauge("tslt_edge_cache_bytes_max", "The most that they were", counts.most_cache_bytes)


class Metrics:
    """What ``/metrics`` serves, the process's own memory and CPU time included (where there is a ``/proc``)."""

    def __init__(self, *collectors: Collector) -> None:
        """``collectors``: what is shown."""
        from prometheus_client import PlatformCollector, ProcessCollector

        self._registry = CollectorRegistry()
        for collector in (*collectors, ProcessCollector(registry=None), PlatformCollector(registry=None)):
            self._registry.register(collector)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The body and its content type, for what the reader's ``Accept`` header says it takes."""
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # of a version that is no number
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=value)


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(name, what, value=value)


def _labelled(
    name: str, what: str, labels: Iterable[str], values: Mapping[str, int] | Mapping[tuple[str, str], int]
) -> Metric:
    metric = CounterMetricFamily(name, what, labels=list(labels))
    for key, value in dict(values).items():
        metric.add_metric(list(key) if isinstance(key, tuple) else [key], value)
    return metric


def _histogram(name: str, what: str, histogram: Histogram) -> Metric:
    ends = [*map(str, map(float, histogram.bounds)), "+Inf"]
    counts = accumulate(histogram.counts)
    return HistogramMetricFamily(name, what, buckets=list(zip(ends, counts, strict=True)), sum_value=histogram.total)
