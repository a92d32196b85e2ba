"""Names of an installation, for a shell that completes them: fast or not at all. Reads only; starts no server."""

from __future__ import annotations

from datetime import UTC, datetime

from dynamo_ops.base.settings import Settings
from dynamo_ops.database import embedded
from dynamo_ops.database.connect import DATABASE, FOLDER
from dynamo_ops.database.connection import Database
from dynamo_ops.policy.files import read_partitions


def running_database(settings: Settings) -> Database | None:
    """The installation's database as it is now; None if the embedded one is not running: it is not started."""
    if settings.db_url:
        return Database(settings.db_url)
    server = embedded.find(settings.at_home(FOLDER)) if settings.home else None
    return Database(server.url(DATABASE)) if server else None


def site_names(settings: Settings) -> list[str]:
    """All sites, by name; none where no database is running."""
    return _names(settings, "sites")


def group_names(settings: Settings) -> list[str]:
    """All groups, by name; none where no database is running."""
    return _names(settings, "groups")


def partition_names(settings: Settings) -> list[str]:
    """The partitions that are defined, unions too, and those of which there are plans, by name."""
    defined = read_partitions(settings, datetime.now(UTC))
    database = running_database(settings)
    planned = database.frame("SELECT DISTINCT partition FROM plans")["partition"].to_list() if database else []
    return sorted({*defined.conditions, *defined.unions, *planned})


def _names(settings: Settings, table: str) -> list[str]:
    database = running_database(settings)
    if database is None:
        return []
    return list(database.frame(f"SELECT name FROM {table} ORDER BY name")["name"])
