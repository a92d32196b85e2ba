"""Spans: what OpenTelemetry is told where Airflow's traces are on, and that nobody pays where they are not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dynamo_ops.base.spans import span
from tests import ROOT


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What an exporter is given; a provider can be set once in a process, so it stands in for that of Airflow."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {finished.name: finished for finished in exporter.get_finished_spans()}


def test_a_part_is_a_child_of_what_it_is_a_part_of(exported: InMemorySpanExporter) -> None:
    with trace.get_tracer("airflow").start_as_current_span("worker.plan"), span("detox.decide"), span("plan.store"):
        pass
    spans = by_name(exported)
    task, decide, store = spans["worker.plan"], spans["dynamo.detox.decide"], spans["dynamo.plan.store"]
    assert task.context
    assert decide.parent == task.context
    assert store.parent == decide.context


def test_attributes_say_what_it_is_about(exported: InMemorySpanExporter) -> None:
    with span("deletion.execute", batch=7):
        pass
    assert dict(by_name(exported)["dynamo.deletion.execute"].attributes or {}) == {"dynamo.batch": 7}


def test_an_error_is_noted_and_goes_on(exported: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="too few"), span("detox.decide"):
        raise ValueError("too few")
    ended = by_name(exported)["dynamo.detox.decide"]
    assert not ended.status.is_ok
    assert [event.name for event in ended.events] == ["exception"]


def test_a_function_has_a_span_each_time_it_is_called(exported: InMemorySpanExporter) -> None:
    @span("usage.fold")
    def fold(number: int) -> int:
        """Doubled."""
        return 2 * number

    assert [fold(1), fold(2)] == [2, 4]
    assert fold.__doc__ == "Doubled."
    assert [finished.name for finished in exported.get_finished_spans()] == ["dynamo.usage.fold"] * 2


def test_where_nobody_listens_nothing_is_imported() -> None:
    code = """
import sys
from dynamo_ops.base.spans import span
with span("usage.fold", batch=1):
    pass
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
