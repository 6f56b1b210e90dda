"""What an edge counts, and how a Prometheus server reads it."""

from __future__ import annotations

import asyncio
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families
from table_engine import TableDraft, TableTarget
from tslt_transports import InProcessListener
from two_ends import FINGERPRINT, KINDS, hello, tables

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.edge_driver import EdgeRound
from tslt_runtime.operating.meter import OTHERS, EdgeMeter, Histogram
from tslt_runtime.operating.prometheus import EdgeCollector, Metrics
from tslt_runtime.scheduler import Counts, Pass
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.frames.codec import HANDSHAKE_PROFILE


def shown(meter, counts=None, waiting=0):
    """{sample: value}, read from the text as Prometheus reads it."""
    collector = EdgeCollector(
        meter, counts or Counts(), waiting=lambda: waiting, most_links=7, strangers={"key": 2, "protocol": 1}
    )
    body, content_type = Metrics(collector).render("")
    assert content_type.startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_classes_of_a_histogram_hold_their_upper_end():
    histogram = Histogram((1, 2))
    for value in (0.5, 1, 1.5, 2, 2.5, 100):
        histogram.add(value)
    assert (histogram.counts, histogram.total) == ([2, 2, 2], 107.5)


def test_what_a_session_did_is_counted_and_shown():
    async def session(evidence):
        target, draft = tables()
        meter = EdgeMeter()
        verifier = LocalVerifier(TableTarget(target), on_pass=meter.passed)
        listener = InProcessListener()
        rounds = []
        task = asyncio.create_task(
            serve(
                listener,
                verifier,
                edge_settings(verifier.facts, FINGERPRINT),
                seed=0,
                meter=meter,
                on_round=rounds.append,
            )
        )
        link = await listener.connect()
        device = Device(link, TableDraft(draft), hello(8), rng=device_rng(0))
        await device.open()
        assert shown(meter)["tslt_edge_devices",] == 1
        await device.prompt([1, 2, 3])
        told = [round_ async for round_ in device.generate(40, KINDS[evidence])]
        await device.close()
        while meter.links:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        verifier.close()
        return meter, verifier.counts, told, device.session

    meter, counts, told, session_ = asyncio.run(asyncio.wait_for(session("list"), 30))
    found = shown(meter, counts, waiting=3)
    assert found["tslt_edge_devices",] == 0
    assert found["tslt_edge_devices_max",] == 7
    assert found["tslt_edge_queue_length",] == 3
    assert found["tslt_edge_links_refused_total", ("reason", "key")] == 2
    assert found["tslt_edge_sessions_total",] == found["tslt_edge_links_total",] == 1
    evidence = ("evidence", "list")
    assert found["tslt_edge_rounds_total", evidence] == len(told)
    assert found["tslt_edge_drafted_nodes_total", evidence] == sum(round_.nodes for round_ in told)
    accepted = sum(len(round_.accepted) for round_ in told)
    assert found["tslt_edge_accepted_nodes_total", evidence] == accepted > 0
    assert found["tslt_edge_tokens_total", ("device", "unauthenticated")] == accepted + len(told)
    for kind, size in session_.sent.items():
        assert found["tslt_edge_bytes_in_total", ("kind", kind.name.lower())] == size
    for kind, size in session_.received.items():
        assert found["tslt_edge_bytes_out_total", ("kind", kind.name.lower())] == size
    assert found["tslt_edge_frames_out_total", ("kind", "verdict")] == len(told)
    assert found["tslt_edge_pass_seconds_count",] == counts.passes >= len(told)
    assert found["tslt_edge_pass_rows_sum",] == counts.rows
    assert found["tslt_edge_pass_texts_sum",] == counts.texts
    assert found["tslt_edge_pass_seconds_sum",] == pytest.approx(counts.pass_s)
    assert found["tslt_edge_queue_wait_seconds_count",] == len(told) + 1  # and the prompt
    frames = sum(value for (name, *_), value in found.items() if name == "tslt_edge_frames_in_total")
    assert found["tslt_edge_step_seconds_count",] == frames
    assert found["tslt_edge_step_seconds_bucket", ("le", "+Inf")] == frames


def test_a_peer_makes_up_no_labels():
    meter = EdgeMeter(most_names=2)
    meter.heard(b"")
    meter.heard(b"\x3fwhatever")
    meter.heard(b"\x04nothing")
    for code in (41, 9999):
        meter.heard(tw.encode(tw.ErrorMessage(code=code, message="x" * 50), HANDSHAKE_PROFILE))
    for name in ("one", "two", "three", "four", "one", ""):
        meter.round(EdgeRound("peer", 4, 3, 2, 0.1, "match"), name)
    found = shown(meter)
    kinds = {dict(labels)["kind"] for name, *labels in found if name == "tslt_edge_frames_in_total"}
    assert kinds == {"unknown", "error"}
    codes = {
        (dict(labels)["sender"], dict(labels)["code"]): value
        for (name, *labels), value in found.items()
        if name == "tslt_edge_errors_total"
    }
    assert codes == {("device", "overloaded"): 1, ("device", "unknown"): 2}
    names = {
        dict(labels)["device"]: value for (name, *labels), value in found.items() if name == "tslt_edge_tokens_total"
    }
    assert names == {"one": 6, "two": 3, OTHERS: 6, "unauthenticated": 3}


def test_passes_are_counted_by_what_they_had():
    meter = EdgeMeter()
    meter.passed(Pass(texts=3, rows=100, seconds=0.02, waits=(0.0, 0.3)))
    found = shown(meter)
    assert found["tslt_edge_pass_texts_bucket", ("le", "2.0")] == 0
    assert found["tslt_edge_pass_texts_bucket", ("le", "4.0")] == 1
    assert found["tslt_edge_queue_wait_seconds_bucket", ("le", "0.001")] == 1
    assert found["tslt_edge_queue_wait_seconds_sum",] == pytest.approx(0.3)


def test_names_have_the_words_that_prometheus_wants():
    collector = EdgeCollector(EdgeMeter(), Counts(), waiting=lambda: 0, most_links=1)
    for metric in collector.collect():
        assert re.fullmatch(r"tslt_edge_[a-z_]+", metric.name)
        assert metric.documentation


@pytest.mark.parametrize("accept", ["text/plain; version=abc", "application/openmetrics-text; version=abc", ";;;"])
def test_a_reader_that_asks_for_no_version_that_is_one_gets_the_plain_form(accept):
    body, content_type = Metrics().render(accept)
    assert body
    assert content_type.startswith("text/plain; version=")
