"""Events are written in the transaction of what they tell of: no effect is without its event, and no event without its
effect.

Who writes holds ``Lock.EVENTS`` until the commit. So the numbers of events have the order of their commits: who has
read all up to a number misses none, and the events of one object are in the order in which they happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.event.kinds import KINDS, EventKind

MOST_NAMES = 1_000
"""Datasets of one event that are named."""


def moment_text(moment: str) -> str:
    """SQL: a time as facts have it, whatever the time zone of the connection."""
    return f"to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"


def in_order(connection: Connection) -> None:
    """From here to the end of the transaction nobody else writes events: call it as late as can be."""
    hold(connection, Lock.EVENTS)


def events_of(kind: EventKind, rows: str) -> str:
    """What stands behind INSERT INTO, so that an event of each row of ``rows`` is written: a SELECT of ``object_name``,
    ``person``, ``groups``, ``sites``, ``datasets`` (arrays of names) and ``facts`` (jsonb).

    ``in_order`` comes first."""
    about = KINDS[kind]
    return f"""
        events (kind, object_kind, is_private, object_name, person, groups, sites, datasets, facts)
        SELECT '{kind}', '{about.object_kind}', {str(about.is_private).lower()}, happened.object_name, happened.person,
               happened.groups, happened.sites, happened.datasets, jsonb_strip_nulls(happened.facts)
        FROM ({rows}) AS happened ORDER BY happened.object_name"""


def tell(connection: Connection, kind: EventKind, rows: str, parameters: Mapping[str, Any] | None = None) -> int:
    """Write an event of each row of ``rows`` (``events_of``); how many."""
    in_order(connection)
    return connection.execute(text(f"INSERT INTO {events_of(kind, rows)}"), dict(parameters or {})).rowcount


def not_told(kind: EventKind, object_name: str, since: str) -> str:
    """SQL: no event of the kind about the object (an expression) was written at ``since`` (an expression) or later."""
    return f"""NOT EXISTS (
        SELECT FROM events AS earlier WHERE earlier.object_kind = '{KINDS[kind].object_kind}'
          AND earlier.object_name = {object_name} AND earlier.kind = '{kind}' AND earlier.at >= {since})"""
