"""Where the subscriptions stand, in figures for reports and pages. Reads only. Single ones: ``explanation``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import polars as pl

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.states import (
    ACTIVE,
    ENDED_TRANSFERS,
    LIVE_TRANSFERS,
    OPEN_BATCHES,
    BatchState,
    DeletionState,
    SubscriptionAction,
    SubscriptionState,
    TransferObservation,
)
from dynamo_ops.inventory.subscription.under_way import is_archiving
from dynamo_ops.query.explanation import Explanation, why

__all__ = ["Explanation", "counts", "ended", "held", "under_way", "why"]

DELETION = "deletion"
"""The backend of deletions, where they stand beside copies."""
UNDER_WAY = f"""(
    SELECT b.id, b.backend, b.is_staging,
           CASE WHEN {is_archiving("t")} THEN '{TransferObservation.ARCHIVING}' ELSE t.state END AS state,
           b.site_id, b.created_at, count(*) AS num_files, sum(t.size_bytes) AS size_bytes,
           min(t.subscription_id) AS subscription_id
    FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id WHERE b.state IN {OPEN_BATCHES}
    GROUP BY b.id, b.site_id, 4
    UNION ALL
    SELECT b.id, '{DELETION}', false, x.state, b.site_id, b.created_at, count(*), sum(x.size_bytes),
           min(x.subscription_id)
    FROM deletion_batches b JOIN deletions x ON x.batch_id = b.id WHERE b.state = '{BatchState.PLANNED}'
    GROUP BY b.id, b.site_id, x.state)"""
"""A row a batch that is not finished and state of its files: id, backend, is_staging, state, site_id, created_at,
num_files, size_bytes, subscription_id (the first)."""


def _at(site_id: str, names: str) -> str:
    """The site is one of those of the parameter ``names``, or that is null: all are asked for."""
    return f"({names}::text IS NULL OR {site_id} IN (SELECT id FROM sites WHERE name = ANY({names}::text::text[])))"


def _example(attempt: str) -> str:
    """One of the reasons and whose it is, and any one: no sorting of reasons, of which there can be a million."""
    pair = f"ARRAY[{attempt}.reason, {attempt}.subscription_id::text]"
    return f"""max({pair}) FILTER (WHERE {attempt}.reason IS NOT NULL) AS example,
                     min({attempt}.subscription_id) AS first_id"""


# Sums by number first, and names for these: the names of all rows would take five times as long to put in groups.
def counts(db: Database, sites: Sequence[str] | None = None, *, action: str | None = None) -> pl.DataFrame:
    """Files and bytes of active subscriptions: a row per action, state, hold_reason and site; the oldest first.

    ``sites``: names (None: all). ``action``: copy or delete (None: both). Columns: action, state, hold_reason, site,
    num_files, size_bytes, oldest_at, subscription_id (the first of them: one to ask why of).
    """
    return db.frame(
        f"""
        SELECT q.action, q.state, q.hold_reason, d.name AS site, q.num_files, q.size_bytes, q.oldest_at,
               q.subscription_id
        FROM (SELECT s.action, s.state, s.hold_reason, s.site_id, count(*) AS num_files,
                     sum(f.size_bytes)::bigint AS size_bytes, min(s.created_at) AS oldest_at,
                     min(s.id) AS subscription_id
              FROM subscriptions s JOIN files f ON f.id = s.file_id
              WHERE s.state IN {ACTIVE} AND {_at("s.site_id", "$1")} AND ($2::text IS NULL OR s.action = $2)
              GROUP BY s.action, s.state, s.hold_reason, s.site_id) q
        JOIN sites d ON d.id = q.site_id ORDER BY 1, 2, 3, 4""",
        [_names(sites), action],
    )


def under_way(db: Database, sites: Sequence[str] | None = None) -> pl.DataFrame:
    """Batches that are not finished: one row per backend, what is staged, state of its files, and destination.

    Columns: backend (fts, direct, deletion), is_staging, state (of the files: planned, submitted, staging, active,
    archiving, and done, failed, cancelled of batches that are not finished), site, num_batches, num_files, size_bytes,
    oldest_at (when the oldest of these batches was made), subscription_id (the first of them).
    """
    return db.frame(
        f"""
        SELECT u.backend, u.is_staging, u.state, d.name AS site, count(*) AS num_batches,
               sum(u.num_files)::bigint AS num_files, sum(u.size_bytes)::bigint AS size_bytes,
               min(u.created_at) AS oldest_at, min(u.subscription_id) AS subscription_id
        FROM {UNDER_WAY} u
        JOIN sites d ON d.id = u.site_id WHERE {_at("u.site_id", "$1")} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4""",
        [_names(sites)],
    )


def servers(db: Database) -> pl.DataFrame:
    """The FTS servers that were asked, or have jobs of ours.

    Columns: server, illness (``states.ServerIllness``; null: it is well), ill_since, reason, answered_at (when it last
    did), num_jobs (that it has, or is to get), num_files (of these, not ended), oldest_at (when the oldest was sent).
    """
    return db.frame(
        f"""
        SELECT coalesce(known.address, open.server) AS server, known.illness, known.ill_since, known.reason,
               known.answered_at, coalesce(open.num_jobs, 0) AS num_jobs, coalesce(open.num_files, 0) AS num_files,
               open.oldest_at
        FROM fts_servers AS known FULL JOIN (
            SELECT batch.server, count(DISTINCT batch.id) AS num_jobs, count(copy.id) AS num_files,
                   min(batch.submitted_at) AS oldest_at
            FROM transfer_batches AS batch
            LEFT JOIN transfers AS copy ON copy.batch_id = batch.id AND copy.state IN {LIVE_TRANSFERS}
            WHERE batch.state IN {OPEN_BATCHES} AND batch.server IS NOT NULL GROUP BY batch.server) AS open
          ON open.server = known.address ORDER BY 1"""
    )


def ended(db: Database, since: datetime, sites: Sequence[str] | None = None) -> pl.DataFrame:
    """Attempts that ended since then: one row per action, outcome, source (null for deletions) and site.

    Columns: action, state, source, site, num_files, size_bytes, example (one reason, for failures),
    subscription_id (of that example).
    """
    return db.frame(
        f"""
        SELECT e.action, e.state, o.name AS source, d.name AS site, e.num_files, e.size_bytes,
               e.example[1] AS example, coalesce(e.example[2]::bigint, e.first_id) AS subscription_id
        FROM (SELECT '{SubscriptionAction.COPY}' AS action, t.state, t.source_site_id, b.site_id, count(*) AS num_files,
                     sum(t.size_bytes)::bigint AS size_bytes, {_example("t")}
              FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id
              WHERE t.finished_at >= $1 AND t.state IN {ENDED_TRANSFERS}
                AND ({_at("b.site_id", "$2")} OR {_at("t.source_site_id", "$2")})
              GROUP BY t.state, t.source_site_id, b.site_id
              UNION ALL
              SELECT '{SubscriptionAction.DELETE}', x.state, NULL, b.site_id, count(*), sum(x.size_bytes)::bigint,
                     {_example("x")}
              FROM deletions x JOIN deletion_batches b ON b.id = x.batch_id
              WHERE x.finished_at >= $1 AND x.state <> '{DeletionState.PLANNED}' AND {_at("b.site_id", "$2")}
              GROUP BY x.state, b.site_id) e
        JOIN sites d ON d.id = e.site_id LEFT JOIN sites o ON o.id = e.source_site_id ORDER BY 1, 2, 3, 4""",
        [since, _names(sites)],
    )


def held(db: Database, *, hold_reason: str | None = None, site: str | None = None) -> pl.DataFrame:
    """Held subscriptions, oldest first, one row each: what an operator looks at before ``operate.release``.

    Columns: subscription_id, action, lfn, site, hold_reason, last_error, note, num_attempts, created_at.
    """
    return db.frame(
        f"""
        SELECT s.id AS subscription_id, s.action, f.lfn, d.name AS site, s.hold_reason, s.last_error, s.note,
               s.num_attempts, s.created_at
        FROM subscriptions s JOIN files f ON f.id = s.file_id JOIN sites d ON d.id = s.site_id
        WHERE s.state = '{SubscriptionState.HELD}' AND ($1::text IS NULL OR s.hold_reason = $1)
          AND ($2::text IS NULL OR d.name = $2)
        ORDER BY s.created_at, s.id""",
        [hold_reason, site],
    )


def _names(sites: Sequence[str] | None) -> str | None:
    """Names as PostgreSQL writes an array."""
    return None if sites is None else "{" + ",".join(json.dumps(name) for name in sites) + "}"
