"""Which subscriptions can be worked on now: fulfilled ones are closed, hopeless ones held, others released.

Hold reasons (SEMANTICS §6): ``no_source`` no replica anywhere has the file; ``site_unavailable`` the destination is not
ready or in a downtime, or no site that has the file can be read (``sites``); ``all_failed`` the last attempt from each
of those sites failed irrecoverably; ``refused`` FTS or the storage refused the request itself, ``operator`` a person
held it, ``suspended`` it could be tried again, but failed at each of many attempts or for many days: only an operator
releases those three, and deletions that were given up (``all_failed``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

from dynamo_ops.base.patience import Suspension
from dynamo_ops.database.connection import Database
from dynamo_ops.database.words import Words
from dynamo_ops.inventory.replica.copies import is_present, is_present_by_join, listed_join
from dynamo_ops.inventory.site.usable import READABLE, WRITABLE
from dynamo_ops.inventory.states import (
    AUTOMATIC_HOLDS,
    QUEUED,
    HoldReason,
    SubscriptionAction,
    SubscriptionEvent,
    SubscriptionState,
    TransferState,
    sources_of,
)
from dynamo_ops.inventory.subscription.under_way import OPEN_DELETIONS
from dynamo_ops.transfer.source_choice import PAST_SOURCES

_FULFILLABLE = Words(s for s in sources_of(SubscriptionEvent.FULFILLED) if s != SubscriptionState.INBATCH)


SUSPENSION = Suspension()
"""As shipped."""


@dataclass(frozen=True)
class HoldSummary:
    """``num_fulfilled``: closed, the file is there. ``held``: newly held, by reason. ``num_released``: to retry."""

    num_fulfilled: int
    held: dict[str, int]
    num_released: int


def hold_and_release(db: Database, patience: Suspension = SUSPENSION) -> HoldSummary:
    """Judge every queued and every automatically held subscription anew, copies and deletions, in one transaction.

    Copies that failed for as long as ``patience`` has it are suspended: ``held`` counts them too.
    """
    with db.begin() as connection:
        fulfilled = _close_fulfilled(connection)
        _judge_copies(connection)
        _judge_deletions(connection)
        _judge_patience(connection, patience)
        held = _hold(connection)
        released = _release(connection)
        connection.execute(text("DROP TABLE verdicts, waiting, easy"))
    return HoldSummary(fulfilled, held, released)


def _close_fulfilled(connection: Connection) -> int:
    """Copy subscriptions for files that the inventory has at the site, unless a deletion of them is still out."""
    return connection.execute(
        text(f"""
        UPDATE subscriptions s SET state = '{SubscriptionState.DONE}', hold_reason = NULL, updated_at = now()
        FROM files f JOIN block_replicas r ON r.block_id = f.block_id
        WHERE s.action = '{SubscriptionAction.COPY}' AND s.state IN {_FULFILLABLE} AND f.id = s.file_id
          AND r.site_id = s.site_id
          AND {is_present("f.id", "r")}
          AND NOT EXISTS (SELECT FROM {OPEN_DELETIONS} d WHERE d.file_id = s.file_id AND d.site_id = s.site_id)
        """)
    ).rowcount


# The sources from which the last attempt at a subscription failed for good.
REFUSED_SOURCES = f"""(SELECT subscription_id, source_site_id FROM (
    SELECT DISTINCT ON (t.subscription_id, t.source_site_id)
      t.subscription_id, t.source_site_id, t.state, t.is_recoverable
    FROM {PAST_SOURCES} t JOIN waiting w ON w.id = t.subscription_id AND w.num_attempts > 0
    ORDER BY t.subscription_id, t.source_site_id, t.id DESC) last
    WHERE last.state = '{TransferState.FAILED}' AND last.is_recoverable = false)"""


def _judge_copies(connection: Connection) -> None:
    """``verdicts``: one row per copy subscription that is queued or held by us, with the reason to hold it or null.

    Most subscriptions were never tried, and their whole block is readable somewhere: these are judged once a block.
    """
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE waiting ON COMMIT DROP AS
        SELECT s.id, s.file_id, s.site_id, f.block_id, s.num_attempts
        FROM subscriptions s JOIN files f ON f.id = s.file_id
        WHERE s.action = '{SubscriptionAction.COPY}' AND (s.state IN {QUEUED}
          OR s.state = '{SubscriptionState.HELD}' AND s.hold_reason IN {AUTOMATIC_HOLDS})
        """)
    )
    connection.execute(text("ANALYZE waiting"))
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE easy ON COMMIT DROP AS
        SELECT p.block_id, p.site_id, p.site_id IN {WRITABLE} AS is_writable
        FROM (SELECT DISTINCT block_id, site_id FROM waiting WHERE num_attempts = 0) p
        WHERE EXISTS (SELECT FROM block_replicas r WHERE r.block_id = p.block_id AND r.site_id <> p.site_id
                      AND r.is_complete AND r.site_id IN {READABLE})""")
    )
    connection.execute(text("ANALYZE easy"))
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE verdicts ON COMMIT DROP AS
        SELECT w.id, CASE WHEN NOT e.is_writable THEN '{HoldReason.SITE_UNAVAILABLE}' END AS reason
        FROM waiting w JOIN easy e USING (block_id, site_id) WHERE w.num_attempts = 0""")
    )
    connection.execute(
        text("""
        DELETE FROM waiting w USING easy e
        WHERE w.num_attempts = 0 AND e.block_id = w.block_id AND e.site_id = w.site_id""")
    )
    connection.execute(text(JUDGE_SQL))


JUDGE_SQL = f"""
    INSERT INTO verdicts
    WITH refused AS MATERIALIZED {REFUSED_SOURCES},
    readable AS MATERIALIZED {READABLE},
    holders AS (
      SELECT w.id, count(*) AS num_holders, count(o.id) AS num_readable,
             count(o.id) FILTER (WHERE x.subscription_id IS NULL) AS num_usable
      FROM waiting w JOIN block_replicas r ON r.block_id = w.block_id AND r.site_id <> w.site_id
      LEFT JOIN readable o ON o.id = r.site_id
      {listed_join("w.file_id", "r", "p")}
      LEFT JOIN refused x ON x.subscription_id = w.id AND x.source_site_id = r.site_id
      WHERE {is_present_by_join("r", "p")} GROUP BY w.id)
    SELECT w.id, CASE WHEN h.id IS NULL THEN '{HoldReason.NO_SOURCE}'
                      WHEN w.site_id NOT IN {WRITABLE} OR h.num_readable = 0 THEN '{HoldReason.SITE_UNAVAILABLE}'
                      WHEN h.num_usable = 0 THEN '{HoldReason.ALL_FAILED}' END AS reason
    FROM waiting w LEFT JOIN holders h ON h.id = w.id"""


def _judge_deletions(connection: Connection) -> None:
    """A deletion waits while its site is not ready; it needs no source. One given up is released by a person."""
    connection.execute(
        text(f"""
        INSERT INTO verdicts
        SELECT s.id, CASE WHEN s.site_id NOT IN {WRITABLE} THEN '{HoldReason.SITE_UNAVAILABLE}' END FROM subscriptions s
        WHERE s.action = '{SubscriptionAction.DELETE}' AND (s.state IN {QUEUED}
                                       OR s.state = '{SubscriptionState.HELD}'
                                         AND s.hold_reason = '{HoldReason.SITE_UNAVAILABLE}')
        """)
    )
    connection.execute(text("ANALYZE verdicts"))


def _judge_patience(connection: Connection, patience: Suspension) -> None:
    """Of the copies that failed, and could be tried again, those that have failed for too long are suspended.

    What failed before a copy was last released by itself (its site was back, another one had the file) is not held
    against it: it gets another attempt, and its days begin anew. Nor is what failed while a whole site, a link or our
    credential was ill (``illness``).
    """
    connection.execute(
        text(JUDGE_PATIENCE_SQL),
        {
            "attempts": patience.suspend_after_attempts,
            "days": timedelta(days=patience.suspend_after_days),
            "protects": timedelta(days=patience.suspended_protects_days),
        },
    )


_FAILED_SINCE_FREED = f"""attempt.subscription_id = copy.id
    AND attempt.state IN ('{TransferState.FAILED}', '{TransferState.CANCELLED}')
    AND attempt.is_excused IS NOT TRUE
    AND (copy.freed_at IS NULL OR attempt.finished_at > copy.freed_at)"""

# ``waiting``: copies, and of those that were tried all.
JUDGE_PATIENCE_SQL = f"""
    WITH given_up AS (
      UPDATE verdicts SET reason = '{HoldReason.SUSPENDED}'
      FROM waiting JOIN subscriptions AS copy ON copy.id = waiting.id
      WHERE waiting.num_attempts > 0 AND verdicts.id = waiting.id AND verdicts.reason IS NULL
        AND copy.state = '{SubscriptionState.RETRY}'
        AND (copy.num_attempts - copy.num_excused >= :attempts AND (copy.freed_at IS NULL OR EXISTS (
               SELECT FROM transfers AS attempt WHERE {_FAILED_SINCE_FREED}))
             OR copy.created_at < now() - CAST(:days AS interval) AND EXISTS (
               SELECT FROM transfers AS attempt WHERE {_FAILED_SINCE_FREED}
                 AND attempt.finished_at < now() - CAST(:days AS interval)))
      RETURNING verdicts.id)
    UPDATE subscriptions AS copy SET protects_until = now() + CAST(:protects AS interval)
    FROM given_up WHERE copy.id = given_up.id"""


def _hold(connection: Connection) -> dict[str, int]:
    rows = connection.execute(
        text(f"""
        WITH held AS (
          UPDATE subscriptions s SET state = '{SubscriptionState.HELD}', hold_reason = v.reason, updated_at = now()
          FROM verdicts v
          WHERE s.id = v.id AND v.reason IS NOT NULL
            AND (s.state IN {QUEUED}
                 OR s.state = '{SubscriptionState.HELD}' AND s.hold_reason IN {AUTOMATIC_HOLDS}
                   AND s.hold_reason <> v.reason)
          RETURNING v.reason)
        SELECT reason, count(*) FROM held GROUP BY reason ORDER BY reason""")
    )
    return {str(reason): int(count) for reason, count in rows}


def _release(connection: Connection) -> int:
    return connection.execute(
        text(f"""
        UPDATE subscriptions s SET state = '{SubscriptionState.RETRY}', hold_reason = NULL, updated_at = now(),
          freed_at = now()
        FROM verdicts v
        WHERE s.id = v.id AND v.reason IS NULL AND s.state = '{SubscriptionState.HELD}'
          AND (s.hold_reason = '{HoldReason.SITE_UNAVAILABLE}' OR s.action = '{SubscriptionAction.COPY}'
            AND s.hold_reason IN {AUTOMATIC_HOLDS})""")
    ).rowcount
