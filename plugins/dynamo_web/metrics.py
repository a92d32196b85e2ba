"""Figures as Prometheus asks for them: without a name for anybody, by name for who may read.

They are read anew every ``FRESH_S`` seconds at most, whoever asks and how often: who is not logged in cannot make the
database work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from dynamo_ops.access.actions import Action
from dynamo_ops.database.connection import Database
from dynamo_ops.metrics.metric import Metric
from dynamo_ops.metrics.named import by_name
from dynamo_ops.metrics.overview import overview
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading

FRESH_S = 30.0
"""So old may a figure be."""

router = APIRouter(dependencies=[needs(Action.READ)])


class Gauges(Collector):
    """The metrics that ``read`` gives, kept for a while."""

    def __init__(self, read: Callable[[Database], Sequence[Metric]]) -> None:
        self._read, self._lock = read, Lock()
        self._metrics: Sequence[Metric] = ()
        self._read_at = -FRESH_S
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing, so that nothing is read before somebody asks."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """In the terms of the library."""
        for metric in self._fresh():
            family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, figure in metric.samples:
                family.add_metric(labels, figure)
            yield family

    def forget(self) -> None:
        """The next who asks is told what is so then."""
        self._read_at = -FRESH_S

    def answer(self, request: Request) -> Response:
        """In the form that the scraper asks for."""
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self.registry), headers={"content-type": media_type})

    def _fresh(self) -> Sequence[Metric]:
        """One reads at a time; the others wait for it."""
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH_S:
                self._metrics = self._read(reading())
                self._read_at = time.monotonic()
            return self._metrics


OVERVIEW, BY_NAME = Gauges(overview), Gauges(by_name)


def metrics(request: Request) -> Response:
    """All sites together, for a scraper that is not logged in."""
    return OVERVIEW.answer(request)


@router.get("/metrics/sites")
def metrics_by_name(request: Request) -> Response:
    """By site, partition and source."""
    return BY_NAME.answer(request)
