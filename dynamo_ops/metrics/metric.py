"""A figure and its samples, in the terms of Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Metric:
    """A gauge. ``name``: ends in its unit; ``labels``: their names; ``samples``: values of these, and the figure."""

    name: str
    help: str
    labels: tuple[str, ...]
    samples: tuple[tuple[tuple[str, ...], float], ...]


@dataclass(frozen=True)
class Query:
    """SQL whose rows are samples of several metrics: ``labels`` and ``figures`` as of ``metrics_of``."""

    sql: str
    labels: tuple[str, ...]
    figures: Mapping[str, tuple[str, str]]


def metrics_of(frame: pl.DataFrame, labels: Sequence[str], figures: Mapping[str, tuple[str, str]]) -> list[Metric]:
    """A metric for each of ``figures``: a column of ``frame`` → name and help; a row is a sample, by its ``labels``
    (null: empty), and one without a figure is left out."""
    keys = frame.select(pl.col(name).cast(pl.String).fill_null("") for name in labels).rows()
    if not labels:
        keys = [()] * frame.height
    return [
        Metric(
            name,
            help_,
            tuple(labels),
            tuple(
                (key, float(figure))
                for key, figure in zip(keys, frame[column].to_list(), strict=True)
                if figure is not None
            ),
        )
        for column, (name, help_) in figures.items()
    ]
