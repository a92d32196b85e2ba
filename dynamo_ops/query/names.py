"""Names of an installation, for a shell that completes them: fast or not at all. Reads only."""

from __future__ import annotations

from datetime import UTC, datetime

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.policy.files import read_partitions


def site_names(database: Database | None) -> list[str]:
    """All sites, by name; none without a database."""
    return _names(database, "sites")


def group_names(database: Database | None) -> list[str]:
    """All groups, by name; none without a database."""
    return _names(database, "groups")


def partition_names(database: Database | None, settings: Settings) -> list[str]:
    """The partitions that are defined, unions too, and those of which there are plans, by name."""
    defined = read_partitions(settings, datetime.now(UTC))
    planned = database.frame("SELECT DISTINCT partition FROM plans")["partition"].to_list() if database else []
    return sorted({*defined.conditions, *defined.unions, *planned})


def _names(database: Database | None, table: str) -> list[str]:
    return list(database.frame(f"SELECT name FROM {table} ORDER BY name")["name"]) if database else []
