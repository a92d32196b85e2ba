"""Locks that end soon: told once."""

from __future__ import annotations

from dynamo_ops.database.connection import Database
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import moment_text, not_told, tell

_ENDING = f"""
    SELECT lock.id::text AS object_name, lock.created_by AS person,
           ARRAY(SELECT owner.name FROM groups AS owner WHERE owner.name = lock.groups) AS groups,
           ARRAY(SELECT site.name FROM sites AS site WHERE site.name = lock.sites) AS sites,
           ARRAY[split_part(lock.item, '#', 1)] AS datasets,
           jsonb_build_object('lock', lock.id, 'item', lock.item, 'sites', lock.sites, 'groups', lock.groups,
                              'until', {moment_text("lock.expires_at")}, 'reason', lock.reason) AS facts
    FROM locks AS lock
    WHERE lock.removed_at IS NULL AND lock.expires_at > now()
      AND lock.expires_at < now() + CAST(:days AS float) * interval '1 day'
      AND lock.expires_at - lock.created_at > CAST(:days AS float) * interval '1 day'
      AND {not_told(EventKind.LOCK_ENDING, "lock.id::text", "lock.created_at")}"""
"""One that was never to be there for longer is not told: who set it knows."""


def tell_ending(database: Database, within_days: float) -> int:
    """Write an event of each lock that ends within so many days; how many."""
    with database.begin() as connection:
        return tell(connection, EventKind.LOCK_ENDING, _ENDING, {"days": within_days})
