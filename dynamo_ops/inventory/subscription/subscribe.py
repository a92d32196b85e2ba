"""Subscriptions: a file shall be at a site (copy) or vanish from it (delete). Set-wise; one active a (file, site).

The callers are the commits of Detox and Dealer, growing datasets, consistency repairs and people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.copies import is_present
from dynamo_ops.inventory.states import ACTIVE, SubscriptionAction, SubscriptionEvent, SubscriptionState, sources_of

_WITHDRAWABLE = sources_of(SubscriptionEvent.WITHDRAWN)


@dataclass(frozen=True)
class SubscribeSummary:
    """``num_created`` new ones; ``num_withdrawn`` opposite ones cancelled; ``num_standing`` were there already."""

    num_created: int
    num_withdrawn: int
    num_standing: int


def subscribe(
    connection: Connection,
    action: SubscriptionAction,
    wanted_sql: str,
    *,
    origin: str,
    activity: str = "default",
    plan_id: int | None = None,
    is_last_allowed: bool = False,
    params: Mapping[str, Any] | None = None,
) -> SubscribeSummary:
    """Make one for every (file_id, site_id) of ``wanted_sql``: a SELECT of these two columns, or a table's name.

    An active subscription of the other kind for the same file and site is cancelled. One that already stands is left as
    it is, whoever made it. ``origin``: who subscribes (``detox``, ``dealer``, ``consistency``, a user's name), for the
    reports. ``activity``: what copies are for, which says how urgent they are (settings ``transfers.activities``).
    ``is_last_allowed``: deletions may take the last copy (SEMANTICS §10); one that stands already gets this permission.
    """
    source = wanted_sql if " " in wanted_sql.strip() else f"SELECT file_id, site_id FROM {wanted_sql}"
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE to_subscribe ON COMMIT DROP AS
        SELECT DISTINCT file_id, site_id FROM ({source}) AS asked"""),
        dict(params or {}),
    )
    connection.execute(text("ANALYZE to_subscribe"))
    withdrawn = connection.execute(
        text(f"""
        UPDATE subscriptions s SET state = '{SubscriptionState.CANCELLED}', hold_reason = NULL, updated_at = now()
        FROM to_subscribe w WHERE s.file_id = w.file_id AND s.site_id = w.site_id
          AND s.action <> :action AND s.state IN {_WITHDRAWABLE}"""),
        {"action": action},
    ).rowcount
    created = connection.execute(
        text(f"""
        INSERT INTO subscriptions (file_id, site_id, action, origin, activity, plan_id, is_last_allowed)
        SELECT file_id, site_id, :action, :origin, :activity, :plan_id, :is_last_allowed FROM to_subscribe
        ORDER BY file_id, site_id
        ON CONFLICT (file_id, site_id) WHERE state IN {ACTIVE} DO NOTHING"""),
        {
            "action": action,
            "origin": origin,
            "activity": activity,
            "plan_id": plan_id,
            "is_last_allowed": is_last_allowed,
        },
    ).rowcount
    if is_last_allowed:
        connection.execute(
            text(f"""
            UPDATE subscriptions s SET is_last_allowed = true
            FROM to_subscribe w WHERE s.file_id = w.file_id AND s.site_id = w.site_id
              AND s.action = '{SubscriptionAction.DELETE}' AND s.state IN {ACTIVE} AND NOT s.is_last_allowed""")
        )
    num_wanted = connection.execute(text("SELECT count(*) FROM to_subscribe")).scalar_one()
    connection.execute(text("DROP TABLE to_subscribe"))
    return SubscribeSummary(created, withdrawn, num_wanted - created)


def subscribe_blocks(
    connection: Connection,
    action: SubscriptionAction,
    blocks_sql: str,
    *,
    origin: str,
    activity: str = "default",
    plan_id: int | None = None,
    is_last_allowed: bool = False,
    params: Mapping[str, Any] | None = None,
) -> SubscribeSummary:
    """A subscription for the files of every (block_id, site_id) of ``blocks_sql``.

    copy: the files that the site lacks, and those there that were to be deleted, which withdraws that. delete: the
    files that are there; those not there yet, but to be copied, are to be deleted too, which cancels their
    copies.
    """
    source = blocks_sql if " " in blocks_sql.strip() else f"SELECT block_id, site_id FROM {blocks_sql}"
    is_copy = action == SubscriptionAction.COPY
    other = SubscriptionAction.DELETE if is_copy else SubscriptionAction.COPY
    present = f"""EXISTS (SELECT FROM block_replicas r WHERE r.block_id = b.block_id AND r.site_id = b.site_id
        AND {is_present("f.id", "r")})"""
    opposite = f"""EXISTS (SELECT FROM subscriptions s WHERE s.file_id = f.id AND s.site_id = b.site_id
        AND s.action = '{other}' AND s.state IN {ACTIVE})"""
    condition = f"({'NOT ' if is_copy else ''}{present} OR {opposite})"
    wanted = (
        f"SELECT f.id AS file_id, b.site_id FROM ({source}) b JOIN files f ON f.block_id = b.block_id WHERE {condition}"
    )
    return subscribe(
        connection,
        action,
        wanted,
        origin=origin,
        activity=activity,
        plan_id=plan_id,
        is_last_allowed=is_last_allowed,
        params=params,
    )


def resubscribe_incomplete(db: Database) -> SubscribeSummary:
    """Give owned incomplete block replicas without active subscription their copies back (SEMANTICS §6).

    Replicas of the null group are being deleted or were never claimed: they get none.
    """
    lacking = f"""
        SELECT r.block_id, r.site_id FROM block_replicas r
        WHERE NOT r.is_complete AND r.group_id IS NOT NULL AND NOT EXISTS (
          SELECT FROM files f JOIN subscriptions s ON s.file_id = f.id
          WHERE f.block_id = r.block_id AND s.site_id = r.site_id AND s.state IN {ACTIVE})"""
    with db.begin() as connection:
        return subscribe_blocks(connection, SubscriptionAction.COPY, lacking, origin="resubscribe", activity="recovery")


def reopen(connection: Connection, table: str, note: str | None = None) -> int:
    """Close the held and failed subscriptions of ``table`` (id) and make each anew, as if never tried. How many.

    They keep who made them and when, so their place in the queue, and how urgent they are. ``note``: who did it, why.
    """
    return connection.execute(
        text(f"""
        WITH closed AS (
          UPDATE subscriptions s
          SET state = '{SubscriptionState.CANCELLED}', hold_reason = NULL, updated_at = now(),
            note = coalesce(:note, s.note)
          FROM {table} x WHERE s.id = x.id AND s.state IN ('{SubscriptionState.HELD}', '{SubscriptionState.RETRY}')
          RETURNING s.file_id, s.site_id, s.action, s.origin, s.activity, s.plan_id, s.is_last_allowed, s.created_at,
            s.note)
        INSERT INTO subscriptions (file_id, site_id, action, origin, activity, plan_id, is_last_allowed, created_at,
          note)
        SELECT * FROM closed ORDER BY created_at, file_id, site_id"""),
        {"note": note},
    ).rowcount
