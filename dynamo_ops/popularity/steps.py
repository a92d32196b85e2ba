"""The steps of a day's popularity: pull the accesses into staging, then replace the day by what a gate let in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

from dynamo_ops.inventory import staging
from dynamo_ops.inventory.database import Database
from dynamo_ops.popularity import aggregate
from dynamo_ops.popularity.source import access_source
from dynamo_ops.settings import Settings
from dynamo_ops.sources.steps import named


def pull(db: Database, settings: Settings, run_key: str, source: str, day: str) -> int:
    """Stage the accesses of ``day`` (ISO date) that ``source`` tells; returns the number of records."""
    accesses = access_source(named(settings.access_sources, source), settings.tls).accesses(date.fromisoformat(day))
    staging.stage_accesses(db, run_key, source, accesses)
    return accesses.height


def replace_day(db: Database, run_key: str, sources: Sequence[str], day: str) -> dict[str, object]:
    """Replace ``day`` (ISO date) of each source by what the run staged; returns the summaries by source."""
    return {source: asdict(aggregate.replace_day(db, run_key, date.fromisoformat(day), source)) for source in sources}
