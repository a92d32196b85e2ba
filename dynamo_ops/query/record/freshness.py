"""How old what we know is: metadata by source, accesses by source, and the days of these that are missing."""

from __future__ import annotations

from typing import Any

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.freshness import accesses_ages, merged_sources, metadata_ages, missing_days


def freshness(database: Database, settings: Settings) -> dict[str, Any]:
    """As a document: metadata (source, merged_until, age_h), of the sources of the settings and of those that were ever
    merged; accesses (source, newest_day, age_h) and missing_days (source, day), of those of the settings. Ages in
    hours, null: never."""
    named = [source.name for source in settings.metadata_sources]
    metadata = metadata_ages(database, [*dict.fromkeys([*named, *merged_sources(database)])])
    sources = [source.name for source in settings.access_sources]
    return {
        "metadata": metadata.to_dicts(),
        "accesses": accesses_ages(database, sources).to_dicts(),
        "missing_days": missing_days(database, sources).to_dicts(),
    }
