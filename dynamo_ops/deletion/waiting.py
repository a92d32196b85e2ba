"""Deletions that wait too long since their files must stay are taken back (SEMANTICS §10): nobody shall wonder for ever
why a site does not get emptier."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database, insert_frame, select_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.deletion.queue import MUST_STAY
from dynamo_ops.inventory.frames import LOCKABLE
from dynamo_ops.inventory.site.usable import WRITABLE
from dynamo_ops.inventory.states import QUEUED, SubscriptionAction
from dynamo_ops.inventory.subscription.give_back import GivenBack, give_back
from dynamo_ops.lock.rows import locked_rows

WAITING = f"""
    CREATE TEMPORARY TABLE waiting ON COMMIT DROP AS
    SELECT s.id, s.file_id, s.site_id, s.is_last_allowed, f.block_id, b.dataset_id,
           coalesce(r.group_id, r.former_group_id) AS group_id
    FROM subscriptions s JOIN files f ON f.id = s.file_id JOIN blocks b ON b.id = f.block_id
    LEFT JOIN block_replicas r ON r.block_id = f.block_id AND r.site_id = s.site_id
    WHERE s.action = '{SubscriptionAction.DELETE}' AND s.state IN {QUEUED}
      AND s.created_at < now() - CAST(:patience AS interval)
      AND s.site_id IN (
        SELECT site.id FROM sites site WHERE site.id IN {WRITABLE}
          AND site.status_changed_at < now() - CAST(:patience AS interval)
          AND NOT EXISTS (SELECT FROM site_downtimes d WHERE d.site_id = site.id
                          AND coalesce(d.ends_at, now()) > now() - CAST(:patience AS interval)))"""
"""Old enough, and the site has taken deletions all the while."""


def take_back_what_must_stay(database: Database, patience: timedelta) -> GivenBack:
    """Take back, block replica by block replica, the deletions that have waited longer than ``patience`` at a site that
    was available all the while, and of which a file must stay: for a reason of ``queue.MUST_STAY``, or it is locked."""
    with database.begin() as connection:
        hold(connection, Lock.DELETIONS)
        connection.execute(text(WAITING), {"patience": patience})
        connection.execute(text("ANALYZE waiting"))
        _find_locked(connection)
        return give_back(
            connection,
            f"""SELECT DISTINCT s.block_id, s.site_id FROM waiting s
                WHERE (s.block_id, s.site_id) IN (SELECT block_id, site_id FROM now_locked)
                  OR {" OR ".join(MUST_STAY.values())}""",
            reason=f"a file of the block had to stay for more than {patience.days} days",
        )


def _find_locked(connection: Connection) -> None:
    replicas = select_frame(
        connection,
        f"SELECT DISTINCT {', '.join(LOCKABLE)} FROM waiting",
        LOCKABLE,
    )
    connection.execute(text("CREATE TEMPORARY TABLE now_locked (block_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "now_locked", locked_rows(connection, "waiting", replicas))
