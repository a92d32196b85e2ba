"""Spans of OpenTelemetry for the parts of long acts: what of a task's hour was which.

Airflow traces a run and each of its tasks where ``[traces] otel_on`` is set, and makes the provider that exports them
(``OTEL_EXPORTER_OTLP_ENDPOINT`` and the other variables of OpenTelemetry). A span of ours is a child of the task's.
Where Airflow's are off, and on the command line, nothing is measured and nothing is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dynamo_ops import __version__


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[None]:
    """A part of an act, ``dynamo.<name>``, as a context or as a decorator. What it raises goes on, and is noted in it
    with its message and trace.

    ``name``: room and verb (``detox.decide``). ``attributes``: what it is about (a site, a batch), by plain names; no
    person and no secret.
    """
    trace = sys.modules.get("opentelemetry.trace")  # Airflow has imported it, or nobody listens
    if trace is None:
        yield
        return
    described = {f"dynamo.{key}": value for key, value in attributes.items()}
    tracer = trace.get_tracer("dynamo_ops", __version__)
    with tracer.start_as_current_span(f"dynamo.{name}", attributes=described):
        yield
