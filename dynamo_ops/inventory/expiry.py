"""What goes by itself when its time is over: locks that have long been over, rows that refused pulls left behind."""

from __future__ import annotations

from sqlalchemy import text

from dynamo_ops.inventory.database import Database
from dynamo_ops.inventory.staging import STAGING_TABLES


def expire(database: Database) -> dict[str, int]:
    """Remove them; returns the number of rows by table. Staged rows of the newest 20 runs stay, to be looked at.

    A lock that expired or was removed has no effect from that moment on; its row stays for a year, to be seen.
    """
    removed = {}
    with database.begin() as connection:
        removed["locks"] = connection.execute(
            text("DELETE FROM locks WHERE least(removed_at, expires_at) <= now() - interval '366 days'")
        ).rowcount
        for table in STAGING_TABLES:
            removed[table] = connection.execute(
                text(f"""
                DELETE FROM {table} WHERE run_key NOT IN (
                    SELECT run_key FROM (SELECT run_key, max(id) AS newest FROM {table} GROUP BY run_key) r
                    ORDER BY newest DESC LIMIT 20)""")
            ).rowcount
    return removed
