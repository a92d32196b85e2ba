"""Quotas of partitions at sites: changed in one way only, so that each change is kept with who, when and why.

0: nothing may be there. Negative: unlimited. No row: unknown, then nothing is deleted or placed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.text import near
from dynamo_ops.base.units import LARGEST_QUOTA, size_text
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import Lock, hold

# Old values are those of this statement's start: the lock keeps out who would change them meanwhile.
_CHANGE = """
    WITH changed AS (
        SELECT w.site_id, w.partition, q.quota_bytes AS old_bytes, w.quota_bytes AS new_bytes
        FROM ({wanted}) AS w LEFT JOIN quotas AS q ON q.site_id = w.site_id AND q.partition = w.partition
        WHERE w.quota_bytes IS DISTINCT FROM q.quota_bytes),
    removed AS (
        DELETE FROM quotas AS q USING changed AS c
        WHERE c.new_bytes IS NULL AND q.site_id = c.site_id AND q.partition = c.partition),
    written AS (
        INSERT INTO quotas (site_id, partition, quota_bytes, changed_by)
        SELECT site_id, partition, new_bytes, :changed_by FROM changed WHERE new_bytes IS NOT NULL
        ON CONFLICT (site_id, partition) DO UPDATE
        SET quota_bytes = excluded.quota_bytes, changed_by = excluded.changed_by, changed_at = now())
    INSERT INTO quota_changes (site_id, partition, old_bytes, new_bytes, changed_by, reason)
    SELECT c.site_id, c.partition, c.old_bytes, c.new_bytes, :changed_by, :change_reason
    FROM changed AS c JOIN sites AS s ON s.id = c.site_id ORDER BY s.name, c.partition"""


def change_quotas(
    connection: Connection, wanted: str, *, by: str, reason: str, params: Mapping[str, Any] | None = None
) -> int:
    """Make the quotas those that the SQL ``wanted`` selects; returns how many are others now, each kept as a change.

    ``wanted``: columns site_id, partition, quota_bytes (null: take the quota away), one row per site and partition.
    ``params``: its parameters. Quotas that it does not select stay as they are.
    """
    hold(connection, Lock.QUOTAS)
    sql = text(_CHANGE.format(wanted=wanted))
    return connection.execute(sql, {**(params or {}), "changed_by": by, "change_reason": reason}).rowcount


def set_quotas(
    database: Database, sites: Collection[str], partition: str, quota_bytes: int | None, *, by: Person, reason: str
) -> int:
    """Set the quota of a leaf partition at these sites (names); None takes it away. Returns how many were changed.

    Raises InventoryError where a site is unknown, the number is out of range, or nobody says why; then none is changed.
    """
    if not reason.strip():
        raise InventoryError(f"quota of {partition}: say why it is changed (reason is empty)", partition=partition)
    if quota_bytes is not None and not -LARGEST_QUOTA - 1 <= quota_bytes <= LARGEST_QUOTA:
        raise InventoryError(
            f"quota of {partition}: {quota_bytes} bytes are more than a quota can be", quota_bytes=quota_bytes
        )
    wanted = pl.DataFrame({"name": sorted(set(sites))}, schema={"name": pl.String})
    amount = "unknown" if quota_bytes is None else "unlimited" if quota_bytes < 0 else size_text(quota_bytes)
    what = f"{partition} at {', '.join(wanted['name'][:3])}{' …' if wanted.height > 3 else ''}: {amount}"
    with acting(database, by, Action.SET_PARTITION_QUOTA, what, reason.strip()) as act:
        act.check(Target(sites=tuple(wanted["name"]), partitions=(partition,)))
        connection = act.connection
        connection.execute(text("CREATE TEMPORARY TABLE quota_sites (name text PRIMARY KEY) ON COMMIT DROP"))
        insert_frame(connection, "quota_sites", wanted)
        unknown = connection.execute(
            text("SELECT q.name FROM quota_sites q WHERE NOT EXISTS (SELECT FROM sites s WHERE s.name = q.name)")
        ).scalars()
        if names := sorted(unknown):
            hint = near(names[0], connection.execute(text("SELECT name FROM sites")).scalars())
            raise UnknownNameError(
                f"unknown site {', '.join(map(repr, names))}{f'.{hint}' if hint else ''}", sites=names
            )
        num_changed = change_quotas(
            connection,
            """SELECT s.id AS site_id, CAST(:partition AS text) AS partition, CAST(:quota AS bigint) AS quota_bytes
               FROM quota_sites n JOIN sites s ON s.name = n.name""",
            by=by.name,
            reason=reason.strip(),
            params={"partition": partition, "quota": quota_bytes},
        )
        connection.execute(text("DROP TABLE quota_sites"))
        return num_changed


def named_partitions(database: Database) -> list[str]:
    """Partitions that have a quota somewhere, or had one."""
    stored = database.frame("SELECT partition FROM quota_changes UNION SELECT partition FROM quotas ORDER BY 1")
    return list(stored["partition"])


def read_quotas(database: Database) -> pl.DataFrame:
    """The quotas there are, by site and partition: site, partition, quota_bytes, changed_by, changed_at."""
    return database.frame("""
        SELECT s.name AS site, q.partition, q.quota_bytes, q.changed_by, q.changed_at
        FROM quotas AS q JOIN sites AS s ON s.id = q.site_id ORDER BY s.name, q.partition""")
