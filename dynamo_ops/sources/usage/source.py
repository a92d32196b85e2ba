"""What sources of accesses and of demand must offer, and how they are made from settings."""

from __future__ import annotations

from datetime import date
from typing import Protocol, cast

import polars as pl

from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.inventory.frames import Schema
from dynamo_ops.sources.loader import load

ACCESS_GROUP = "dynamo_ops.access_sources"
DEMAND_GROUP = "dynamo_ops.demand_sources"

ACCESSES: Schema = {
    "day": pl.Date,
    "dataset": pl.String,
    "lfn": pl.String,
    "site": pl.String,
    "num_accesses": pl.Int64,
}
"""Either ``dataset`` or ``lfn`` is given, the other is null; several records of the same may come."""

DEMAND: Schema = {"day": pl.Date, "dataset": pl.String, "num_jobs": pl.Int64}


class AccessSource(Protocol):
    """Knows how often datasets or files were read, where and when."""

    name: str

    def accesses(self, day: date) -> pl.DataFrame:
        """Accesses of one UTC day (columns ACCESSES), as told: the gate judges days and numbers."""
        ...

    def fingerprint(self, day: date) -> str | None:
        """Something short that changes when the source has other data for ``day``; None: it cannot tell.

        Must be much cheaper than to pull the day.
        """
        ...


class DemandSource(Protocol):
    """Knows how many jobs that read a dataset were submitted, and when: waiting, running or done."""

    name: str

    def demand(self, day: date) -> pl.DataFrame:
        """Jobs submitted on one UTC day (columns DEMAND), as told; a job that reads two datasets counts for both."""
        ...

    def fingerprint(self, day: date) -> str | None:
        """As that of an AccessSource."""
        ...


def access_source(source: SourceSettings, tls: Tls) -> AccessSource:
    """The access source of these settings. Raises SettingsError for an unknown type or a wrong option."""
    return cast(AccessSource, load(ACCESS_GROUP, source, tls))


def demand_source(source: SourceSettings, tls: Tls) -> DemandSource:
    """The demand source of these settings. Raises SettingsError for an unknown type or a wrong option."""
    return cast(DemandSource, load(DEMAND_GROUP, source, tls))
