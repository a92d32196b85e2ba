"""The three tables that a metadata source gives, for sources whose settings name the columns."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from dynamo_ops.inventory.kinds import DatasetStatus
from dynamo_ops.inventory.properties import PROPERTIES
from dynamo_ops.sources.source import BLOCKS, DATASETS, FILES, dataset_columns

STATUSES = tuple(status.value for status in DatasetStatus)
TABLES = {
    "datasets": {**DATASETS, **{declared.name: declared.dtype for declared in PROPERTIES}},
    "blocks": BLOCKS,
    "files": FILES,
}
MAY_LACK: dict[str, dict[str, Any]] = {
    "datasets": {"is_open": None, "software_release": None, **{declared.name: None for declared in PROPERTIES}},
    "blocks": {},
    "files": {"adler32": None, "is_valid": True},
}
"""Columns that a source may not know, and what stands there then."""


def changed_in(datasets: pl.DataFrame, since: datetime | None, until: datetime) -> pl.DataFrame:
    """The datasets last changed in [since, until]; those without a time are among them: the gate judges that."""
    changed = pl.col("last_update_at")
    chosen = changed.is_null() | (changed <= until)
    if since is not None:
        chosen &= changed.is_null() | (changed >= since)
    return datasets.filter(chosen)


def with_open(datasets: pl.DataFrame) -> pl.DataFrame:
    """Columns DATASETS; a dataset without ``is_open`` is open while it is in production."""
    return datasets.with_columns(pl.coalesce("is_open", pl.col("status") == DatasetStatus.PRODUCTION)).select(
        dataset_columns(datasets)
    )
