"""Queued delete subscriptions become batches, each of one site; what a killed run left is found again.

A file waits while FTS may be writing or reading it there, and while it must stay (SEMANTICS §10): it is the last source
of a copy to elsewhere, or the last copy and that was not allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from dynamo_ops.base.settings import DELETION, DeletionSettings
from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.copies import is_held_by_partner, is_last_copy, is_last_source
from dynamo_ops.inventory.site.ambiguous import ambiguous_sites
from dynamo_ops.inventory.site.endpoint import MOVING
from dynamo_ops.inventory.site.lookup import at_sites
from dynamo_ops.inventory.site.shared import SHARED_STORAGE
from dynamo_ops.inventory.site.usable import WRITABLE
from dynamo_ops.inventory.states import CLOSED, QUEUED, BatchState, DeletionState, SubscriptionAction, SubscriptionState
from dynamo_ops.inventory.subscription.backoff import backoff_of, is_over
from dynamo_ops.inventory.subscription.under_way import OPEN_TRANSFERS

MUST_STAY: Mapping[str, str] = {
    "the file is the last source of a copy that another site is subscribed to": is_last_source(
        "s.file_id", "s.site_id"
    ),
    "it is the last good copy of the file, and nobody allowed that to go": (
        f"(NOT s.is_last_allowed AND {is_last_copy('s.file_id', 's.site_id')})"
    ),
    "a site that shares this storage has the file": is_held_by_partner("s.file_id", "s.site_id"),
}
"""Why the file of a queued deletion ``s`` must stay, by the words that ``dynamo transfers why`` has for it. After
``deletion.max_wait_days`` such a deletion is taken back (``waiting``)."""

WAITS: Mapping[str, str] = {**MUST_STAY}
"""Why a queued deletion ``s`` is not taken now: the one place for the queue and for ``why``. What merely waits, for a
delay by site, say, is one more here; a condition may use ``queue_params``."""

# Oldest first at each ready site. What waits does not use up the limits.
QUEUE_SQL = f"""
    CREATE TEMPORARY TABLE queue ON COMMIT DROP AS
    WITH own AS (
      SELECT * FROM unnest(CAST(:own_sites AS bigint[]), CAST(:own_per_site AS bigint[])) AS o (site_id, per_site)),
    taken AS (
      SELECT q.*, row_number() OVER (PARTITION BY q.site_id ORDER BY q.created_at, q.subscription_id) AS turn
      FROM sites d LEFT JOIN own ON own.site_id = d.id CROSS JOIN LATERAL (
        SELECT s.id AS subscription_id, s.file_id, s.site_id, s.created_at FROM subscriptions s
        WHERE s.action = '{SubscriptionAction.DELETE}' AND s.site_id = d.id AND s.state IN {QUEUED}
          AND {is_over("s")}
          AND NOT EXISTS (SELECT FROM busy b WHERE b.file_id = s.file_id AND b.site_id = s.site_id)
          AND NOT ({" OR ".join(WAITS.values())})
        ORDER BY s.created_at, s.id LIMIT coalesce(own.per_site, :per_site) FOR UPDATE OF s SKIP LOCKED) q
      WHERE d.id IN {WRITABLE} AND d.id NOT IN {SHARED_STORAGE} AND d.id NOT IN {MOVING}
        AND d.id <> ALL(CAST(:ambiguous AS smallint[])))
    SELECT * FROM taken ORDER BY turn, created_at, subscription_id LIMIT :per_cycle
"""


def queue_params(limits: DeletionSettings) -> dict[str, object]:
    """What the SQL that says what waits needs of the settings, for the queue and for ``why``."""
    return dict(backoff_of(limits).params)


@dataclass(frozen=True)
class RecoverDeletionsSummary:
    """``unfinished``: batches of an earlier run still to be executed, or with files that may be gone though their
    deletion was withdrawn. ``num_freed``: subscriptions in no batch."""

    unfinished: list[int]
    num_freed: int


def recover_deletions(db: Database) -> RecoverDeletionsSummary:
    """Find batches that an earlier run left with something to do, and free subscriptions stuck in no batch."""
    with db.begin() as connection:
        freed = connection.execute(
            text(f"""
            UPDATE subscriptions s SET state = '{SubscriptionState.RETRY}', updated_at = now()
            WHERE s.action = '{SubscriptionAction.DELETE}' AND s.state = '{SubscriptionState.INBATCH}' AND NOT EXISTS (
              SELECT FROM deletions d WHERE d.subscription_id = s.id AND d.state = '{DeletionState.PLANNED}')""")
        ).rowcount
        unfinished = connection.execute(
            text(
                f"""SELECT id FROM deletion_batches b WHERE b.site_id IN {WRITABLE} AND (
                      b.state = '{BatchState.PLANNED}' OR b.id IN (
                        SELECT d.batch_id FROM deletions d JOIN subscriptions s ON s.id = d.subscription_id
                        WHERE d.is_unsettled AND s.state IN {CLOSED})) ORDER BY id"""
            )
        )
        return RecoverDeletionsSummary(list(unfinished.scalars()), freed)


@span("deletion.plan")
def plan_deletions(db: Database, limits: DeletionSettings = DELETION) -> list[int]:
    """Take queued delete subscriptions into batches, each of one site. Returns the new batches' ids."""
    with db.begin() as connection:
        _take(connection, limits)
        cut = connection.execute(
            text("""
            CREATE TEMPORARY TABLE cut ON COMMIT DROP AS
            SELECT subscription_id, file_id, site_id, (row_number() OVER (PARTITION BY site_id
                   ORDER BY created_at, subscription_id) - 1) / :size AS part FROM queue"""),
            {"size": limits.files_per_batch},
        )
        if cut.rowcount == 0:
            return []
        connection.execute(
            text("""
            CREATE TEMPORARY TABLE numbered ON COMMIT DROP AS
            SELECT site_id, part, nextval(pg_get_serial_sequence('deletion_batches', 'id')) AS id
            FROM (SELECT DISTINCT part, site_id FROM cut ORDER BY part, site_id) p""")
        )
        connection.execute(text("INSERT INTO deletion_batches (id, site_id) SELECT id, site_id FROM numbered"))
        connection.execute(
            text("""
            INSERT INTO deletions (batch_id, subscription_id, size_bytes)
            SELECT n.id, c.subscription_id, f.size_bytes
            FROM cut c JOIN numbered n USING (site_id, part) JOIN files f ON f.id = c.file_id ORDER BY f.lfn""")
        )
        connection.execute(
            text(f"""
            UPDATE subscriptions s SET state = '{SubscriptionState.INBATCH}',
                num_attempts = s.num_attempts + 1, updated_at = now()
            FROM cut c WHERE s.id = c.subscription_id""")
        )
        return list(connection.execute(text("SELECT id FROM numbered ORDER BY id")).scalars())


def is_any_queued(db: Database, limits: DeletionSettings = DELETION) -> bool:
    """Whether ``plan_deletions`` would take anything now. Changes nothing."""
    few = limits.model_copy(update={"files_per_site": 1, "files_per_cycle": 1, "sites": {}})
    with db.begin() as connection:
        _take(connection, few)
        return bool(connection.execute(text("SELECT EXISTS (SELECT FROM queue)")).scalar_one())


def by_site(db: Database, batch_ids: Sequence[int]) -> list[list[int]]:
    """These batches, those of each site together."""
    with db.begin() as connection:
        rows = connection.execute(
            text("""
            SELECT array_agg(id ORDER BY id) FROM deletion_batches WHERE id = ANY(:ids) GROUP BY site_id
            ORDER BY min(id)"""),
            {"ids": list(batch_ids)},
        )
        return [list(row[0]) for row in rows]


def _take(connection: Connection, limits: DeletionSettings) -> None:
    own = {site_id: at_site.files_per_site for site_id, at_site in at_sites(connection, "deletion", limits).items()}
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE busy ON COMMIT DROP AS
        SELECT file_id, site_id FROM {OPEN_TRANSFERS} t UNION SELECT file_id, source_site_id FROM {OPEN_TRANSFERS} t
        UNION SELECT file_id, unnest(other_source_site_ids) FROM {OPEN_TRANSFERS} t""")
    )
    connection.execute(text("CREATE INDEX ON busy (file_id, site_id)"))
    connection.execute(text("ANALYZE busy"))
    connection.execute(
        text(QUEUE_SQL),
        {
            "per_site": limits.files_per_site,
            "own_sites": list(own),
            "own_per_site": list(own.values()),
            "per_cycle": limits.files_per_cycle,
            "ambiguous": list(ambiguous_sites(connection)),
            **queue_params(limits),
        },
    )
