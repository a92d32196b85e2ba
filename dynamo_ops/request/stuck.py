"""Requests of which nothing has moved for long: told once, until something moves."""

from __future__ import annotations

from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import not_told, tell
from dynamo_ops.inventory.request_event import ACTIONS, event_rows
from dynamo_ops.request.states import OPEN_REQUESTS

_MOVED = f"""greatest(request.created_at,
                         (SELECT max(action.updated_at) FROM {ACTIONS} AS action))"""
_STUCK = f"""(
    SELECT stood.* FROM (
        SELECT request.*, {_MOVED} AS moved_at FROM requests AS request
        WHERE request.state IN {OPEN_REQUESTS} AND request.created_at < now() - CAST(:days AS float) * interval '1 day'
    ) AS stood
    WHERE stood.moved_at < now() - CAST(:days AS float) * interval '1 day'
      AND {not_told(EventKind.REQUEST_STUCK, "stood.id::text", "stood.moved_at")})"""

STANDING = f"""
    SELECT stood.id, stood.moved_at
    FROM (SELECT request.id, {_MOVED} AS moved_at FROM requests AS request
          WHERE request.state IN {OPEN_REQUESTS}) AS stood
    WHERE stood.moved_at < $1::text::timestamptz - $2::text::interval ORDER BY stood.moved_at, stood.id"""
"""Open requests of which nothing has moved for longer than ``$2`` before ``$1``: told of before, or not."""


def tell_stuck(database: Database, after_days: float) -> int:
    """Write an event of each open request of which nothing has moved for so long, unless it was told since; how
    many."""
    with database.begin() as connection:
        hold(connection, Lock.REQUESTS)
        return tell(connection, EventKind.REQUEST_STUCK, event_rows(_STUCK), {"days": after_days})
