"""Rows as frames, of whichever library is there. Neither is needed for anything else, or loaded before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dynamo_ops.client.errors import MissingPackageError

if TYPE_CHECKING:
    import polars as pl

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)")
"""A time as Dynamo writes it."""


def to_polars(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """A row each, a column for each field that any has; times are datetimes in UTC. Raises MissingPackageError."""
    polars = _package("polars")
    frame: pl.DataFrame = polars.DataFrame(_with_moments(rows), infer_schema_length=None)
    return frame


def to_pandas(rows: Iterable[Mapping[str, Any]]) -> Any:
    """The same as a ``pandas.DataFrame``. Raises MissingPackageError."""
    return _package("pandas").DataFrame(_with_moments(rows))


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingPackageError(f"{name} is not installed: pip install {name}", package=name) from error


def _with_moments(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A column is one of times if all that is in it is: a reason that looks like one stays a reason."""
    plain = [dict(row) for row in rows]
    names = dict.fromkeys(name for row in plain for name in row)
    for name in names:
        if all(_is_moment(value) for row in plain if (value := row.get(name)) is not None):
            for row in plain:
                if (value := row.get(name)) is not None:
                    row[name] = datetime.fromisoformat(value).astimezone(UTC)
    return plain


def _is_moment(value: object) -> bool:
    return isinstance(value, str) and MOMENT.fullmatch(value) is not None
