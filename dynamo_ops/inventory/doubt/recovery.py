"""A copy that is missing or bad is fetched again from a good one; where there is none, a person must decide.

The one way of consistency repairs (``consistency.repair``) and of copies that are called bad (``declare``).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy import Connection, text

from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.inventory.checks import BadState
from dynamo_ops.inventory.kinds import StorageType
from dynamo_ops.inventory.replica import files as replicas
from dynamo_ops.inventory.replica import present_file
from dynamo_ops.inventory.replica.copies import is_doubted, is_last_copy, is_present
from dynamo_ops.inventory.states import ACTIVE, LIVE_TRANSFERS, SubscriptionAction
from dynamo_ops.inventory.subscription.subscribe import subscribe


class Verdict(StrEnum):
    """Of a copy that is missing or bad. ``repair``: it is fetched again. ``lost``: nobody else has a copy to fetch.
    ``tape``: something lies there, on tape, where nothing is overwritten. ``skip``: it is not there by the inventory,
    or something is under way with it."""

    REPAIR = "repair"
    LOST = "lost"
    TAPE = "tape"
    SKIP = "skip"


# A copy that is to be deleted will do for what is missing: it stays as the last source. What lies there by the name of
# the file (``is_there``) is read as a last resort, until somebody has a good copy to fetch.
_JUDGE = f"""
    CREATE TEMPORARY TABLE judged ON COMMIT DROP AS
    SELECT asked.file_id, asked.site_id, CASE
      WHEN NOT EXISTS (SELECT FROM block_replicas AS here WHERE here.block_id = file.block_id
                       AND here.site_id = asked.site_id AND {is_present("asked.file_id", "here")}) THEN '{Verdict.SKIP}'
      WHEN EXISTS (SELECT FROM subscriptions AS open WHERE open.file_id = file.id AND open.site_id = asked.site_id
                   AND (open.state IN {ACTIVE} OR EXISTS (
                     SELECT FROM transfers AS live WHERE live.subscription_id = open.id
                       AND live.state IN {LIVE_TRANSFERS}))) THEN '{Verdict.SKIP}'
      WHEN asked.must_be_good AND {is_last_copy("asked.file_id", "asked.site_id")} THEN '{Verdict.LOST}'
      WHEN asked.is_there AND site.storage_type = '{StorageType.MSS}' THEN '{Verdict.TAPE}'
      WHEN asked.must_be_good OR EXISTS (
        SELECT FROM block_replicas AS holder
        WHERE holder.block_id = file.block_id AND holder.site_id <> asked.site_id
          AND {is_present("asked.file_id", "holder")}
          AND NOT {is_doubted("asked.file_id", "holder.site_id")}) THEN '{Verdict.REPAIR}'
      ELSE '{Verdict.LOST}' END AS verdict
    FROM asked_again AS asked JOIN files AS file ON file.id = asked.file_id
    JOIN sites AS site ON site.id = asked.site_id"""

_LOCK = """
    SELECT count(*) FROM (
        SELECT 1 FROM block_replicas AS replica
        WHERE (replica.block_id, replica.site_id) IN (
            SELECT file.block_id, asked.site_id FROM asked_again AS asked JOIN files AS file ON file.id = asked.file_id)
        ORDER BY replica.block_id, replica.site_id FOR UPDATE OF replica) AS locked"""


def fetch_again(
    connection: Connection, copies: str, *, origin: str, parameters: Mapping[str, object] | None = None
) -> None:
    """Judge ``copies`` (a SELECT of file_id, site_id, ``is_there``: something lies there by the name of the file, and
    ``must_be_good``: only a good copy elsewhere will do) into the table ``judged`` (file_id, site_id, ``Verdict``) of
    the transaction. Those to ``repair`` leave their replicas, which keep their owners, and are subscribed; what is said
    against them ends when they have arrived.

    Nobody decides over deletions meanwhile: two such decisions would each see the other's copy.
    """
    hold(connection, Lock.DELETIONS)
    connection.execute(text(f"CREATE TEMPORARY TABLE asked_again ON COMMIT DROP AS {copies}"), dict(parameters or {}))
    connection.execute(text("ANALYZE asked_again"))
    connection.execute(text(_LOCK))
    connection.execute(text(_JUDGE))
    connection.execute(text("ANALYZE judged"))
    subscribe(
        connection,
        SubscriptionAction.COPY,
        f"SELECT file_id, site_id FROM judged WHERE verdict = '{Verdict.REPAIR}'",
        origin=origin,
        activity="recovery",
    )
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE changed ON COMMIT DROP AS
        SELECT file_id, site_id FROM judged WHERE verdict = '{Verdict.REPAIR}'""")
    )
    replicas.leave(connection)
    present_file.settle_bad(connection, f"SELECT file_id, site_id, '{BadState.COPYING}' AS state FROM changed")
    connection.execute(text("DROP TABLE changed, asked_again"))
