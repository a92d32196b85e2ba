"""Where the wishes stand, in figures for reports and pages. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import text

from dynamo_ops.errors import InventoryError
from dynamo_ops.inventory.database import Database


def counts(db: Database) -> pl.DataFrame:
    """Files and bytes of active wishes: one row per action, state, hold_reason and site; oldest first told by age.

    Columns: action, state, hold_reason, site, num_files, size_bytes, oldest_at.
    """
    return db.frame("""
        SELECT s.action, s.state, s.hold_reason, d.name AS site, count(*) AS num_files,
               sum(f.size_bytes)::bigint AS size_bytes, min(s.created_at) AS oldest_at
        FROM subscriptions s JOIN files f ON f.id = s.file_id JOIN sites d ON d.id = s.site_id
        WHERE s.state IN ('new', 'inbatch', 'retry', 'held')
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4""")


def ended(db: Database, since: datetime) -> pl.DataFrame:
    """Attempts that ended since then: one row per action, outcome, source (null for deletions) and site.

    Columns: action, state, source, site, num_files, size_bytes, example (one reason, for failures).
    """
    return db.frame(
        """
        SELECT 'copy' AS action, t.state, o.name AS source, d.name AS site, count(*) AS num_files,
               sum(t.size_bytes)::bigint AS size_bytes, max(t.reason) AS example
        FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id JOIN sites d ON d.id = b.site_id
        JOIN sites o ON o.id = t.source_site_id
        WHERE t.finished_at >= $1 AND t.state IN ('done', 'failed', 'cancelled') GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT 'delete', x.state, NULL, d.name, count(*), sum(x.size_bytes)::bigint, max(x.reason)
        FROM deletions x JOIN deletion_batches b ON b.id = x.batch_id JOIN sites d ON d.id = b.site_id
        WHERE x.finished_at >= $1 AND x.state <> 'planned' GROUP BY 1, 2, 3, 4
        ORDER BY 1, 2, 3, 4""",
        [since],
    )


def held(db: Database, *, hold_reason: str | None = None, site: str | None = None) -> pl.DataFrame:
    """Held wishes, oldest first, one row each: what an operator looks at before ``subscribe.release``.

    Columns: subscription_id, action, lfn, site, hold_reason, last_error, num_attempts, created_at.
    """
    return db.frame(
        """
        SELECT s.id AS subscription_id, s.action, f.lfn, d.name AS site, s.hold_reason, s.last_error,
               s.num_attempts, s.created_at
        FROM subscriptions s JOIN files f ON f.id = s.file_id JOIN sites d ON d.id = s.site_id
        WHERE s.state = 'held' AND ($1::text IS NULL OR s.hold_reason = $1) AND ($2::text IS NULL OR d.name = $2)
        ORDER BY s.created_at, s.id""",
        [hold_reason, site],
    )


@dataclass(frozen=True)
class Explanation:
    """One wish and all attempts at it, newest first. ``attempts``: source, job or batch, state, reason, times."""

    lfn: str
    site: str
    action: str
    state: str
    hold_reason: str | None
    last_error: str | None
    origin: str
    num_attempts: int
    attempts: list[dict[str, Any]]


def why(db: Database, subscription_id: int) -> Explanation:
    """Why a wish stands where it stands; ``InventoryError`` when there is none with this id."""
    with db.begin() as connection:
        wish = connection.execute(
            text("""
            SELECT f.lfn, d.name AS site, s.action, s.state, s.hold_reason, s.last_error, s.origin, s.num_attempts
            FROM subscriptions s JOIN files f ON f.id = s.file_id JOIN sites d ON d.id = s.site_id WHERE s.id = :id"""),
            {"id": subscription_id},
        ).one_or_none()
        if wish is None:
            raise InventoryError(f"there is no subscription {subscription_id}", subscription_id=subscription_id)
        attempts = (
            connection.execute(
                text("""
            SELECT t.batch_id, b.job_id::text AS job_id, o.name AS source, t.state, t.reason, t.is_recoverable,
                   t.finished_at
            FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id JOIN sites o ON o.id = t.source_site_id
            WHERE t.subscription_id = :id
            UNION ALL
            SELECT x.batch_id, NULL, NULL, x.state, x.reason, x.is_recoverable, x.finished_at
            FROM deletions x WHERE x.subscription_id = :id ORDER BY 1 DESC"""),
                {"id": subscription_id},
            )
            .mappings()
            .all()
        )
    return Explanation(**wish._mapping, attempts=[dict(attempt) for attempt in attempts])
