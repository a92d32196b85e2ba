"""What a source of accesses must offer, and how it is made from settings."""

from __future__ import annotations

from datetime import date
from typing import Protocol, cast

import polars as pl

from dynamo_ops.inventory.frames import Schema
from dynamo_ops.settings import SourceSettings, Tls
from dynamo_ops.sources.loader import load

ACCESS_GROUP = "dynamo_ops.access_sources"
ACCESSES: Schema = {"day": pl.Date, "dataset": pl.String, "site": pl.String, "num_accesses": pl.Int64}


class AccessSource(Protocol):
    """Knows how often datasets were read, where and when."""

    name: str

    def accesses(self, day: date) -> pl.DataFrame:
        """Accesses of one UTC day (columns ACCESSES), as told: the gate judges days and numbers."""
        ...


def access_source(source: SourceSettings, tls: Tls) -> AccessSource:
    """The access source of these settings. Raises SettingsError for an unknown type or a wrong option."""
    return cast(AccessSource, load(ACCESS_GROUP, source, tls))
