"""Names of an installation, for a shell that completes them: fast or not at all. Reads only; starts no server."""

from __future__ import annotations

from datetime import UTC, datetime

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connect import running
from dynamo_ops.policy.files import read_partitions


def site_names(settings: Settings) -> list[str]:
    """All sites, by name; none where no database is running."""
    return _names(settings, "sites")


def group_names(settings: Settings) -> list[str]:
    """All groups, by name; none where no database is running."""
    return _names(settings, "groups")


def partition_names(settings: Settings) -> list[str]:
    """The partitions that are defined, unions too, and those of which there are plans, by name."""
    defined = read_partitions(settings, datetime.now(UTC))
    database = running(settings)
    planned = database.frame("SELECT DISTINCT partition FROM plans")["partition"].to_list() if database else []
    return sorted({*defined.conditions, *defined.unions, *planned})


def _names(settings: Settings, table: str) -> list[str]:
    database = running(settings)
    if database is None:
        return []
    return list(database.frame(f"SELECT name FROM {table} ORDER BY name")["name"])
