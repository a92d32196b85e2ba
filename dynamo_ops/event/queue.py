"""What waits to be sent, by subscription. Before something is sent, its attempt is noted: who is killed behind that
sends it again, and says so.

An event of an object waits for the one before it: of each object only the first that waits is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from dynamo_ops.database.connection import Database
from dynamo_ops.event.settings import EventSettings
from dynamo_ops.event.states import Channel, DeliveryState

A_BATCH = 100
"""Calls whose attempts are noted together, and what came of them: so many are sent again after a kill, at most."""
A_MAIL = 500
"""Events in one mail."""


@dataclass(frozen=True)
class Destination:
    """A subscription to which something is to be sent. ``what``: in words, for who gets it."""

    id: int
    channel: Channel
    address: str
    secret: bytes | None
    what: str


@dataclass(frozen=True)
class Parcel:
    """An event on its way. ``id``: of the delivery, the same however often it is sent; ``attempt``: from 1."""

    id: int
    attempt: int
    event_id: int
    at: datetime
    kind: str
    object_kind: str
    object_name: str
    person: str | None
    groups: Sequence[str]
    sites: Sequence[str]
    datasets: Sequence[str]
    facts: dict[str, Any]

    @property
    def about(self) -> str:
        """Its object in words."""
        return f"{self.object_kind} {self.object_name}"


@dataclass
class Outcome:
    """What came of a parcel. ``error`` None: it was taken, if it ``is_sent``."""

    parcel: Parcel
    is_sent: bool = False
    error: str | None = None


_DUE = f"""
    SELECT subscription.id, subscription.channel, subscription.address, subscription.secret,
           array_to_string(subscription.kinds, ' ') || ' of ' || subscription.scope || ', for '
               || coalesce(subscription.person, 'group ' || owner.name) || ', by ' || subscription.created_by AS what
    FROM event_subscriptions AS subscription LEFT JOIN groups AS owner ON owner.id = subscription.group_id
    WHERE (subscription.next_at IS NULL OR subscription.next_at <= now()) AND EXISTS (
        SELECT FROM event_deliveries AS delivery
        WHERE delivery.subscription_id = subscription.id AND delivery.state = '{DeliveryState.WAITING}'
          AND (delivery.next_at IS NULL OR delivery.next_at <= now()))
    ORDER BY subscription.tried_at NULLS FIRST, subscription.id"""
_HEADS = f"""
    SELECT head.id FROM (
        SELECT DISTINCT ON (event.object_kind, event.object_name) delivery.id, delivery.event_id, delivery.next_at
        FROM event_deliveries AS delivery JOIN events AS event ON event.id = delivery.event_id
        WHERE delivery.subscription_id = :subscription AND delivery.state = '{DeliveryState.WAITING}'
        ORDER BY event.object_kind, event.object_name, event.id) AS head
    WHERE head.next_at IS NULL OR head.next_at <= now() ORDER BY head.event_id LIMIT :most"""
_ALL = f"""
    SELECT delivery.id FROM event_deliveries AS delivery
    WHERE delivery.subscription_id = :subscription AND delivery.state = '{DeliveryState.WAITING}'
    ORDER BY delivery.event_id LIMIT :most"""
"""One mail has the events of an object in their order: all of them may go."""
_NOTE = """
    WITH noted AS (
        UPDATE event_deliveries AS delivery
        SET attempts = delivery.attempts + 1, tried_at = coalesce(delivery.tried_at, now())
        FROM ({due}) AS due WHERE delivery.id = due.id RETURNING delivery.id, delivery.attempts, delivery.event_id)
    SELECT noted.id, noted.attempts AS attempt, event.id AS event_id, event.at, event.kind, event.object_kind,
           event.object_name, event.person, event.groups, event.sites, event.datasets, event.facts
    FROM noted JOIN events AS event ON event.id = noted.event_id ORDER BY event.id"""
_PAUSE = "least(:max_s, :first_s * power(2, least({failures}, 30))) * interval '1 second'"
_SETTLE = f"""
    UPDATE event_deliveries AS delivery
    SET state = CASE WHEN outcome.is_taken THEN '{DeliveryState.DELIVERED}' ELSE delivery.state END,
        ended_at = CASE WHEN outcome.is_taken THEN now() END,
        attempts = delivery.attempts - CASE WHEN outcome.is_sent THEN 0 ELSE 1 END,
        tried_at = CASE WHEN outcome.is_sent OR delivery.attempts > 1 THEN delivery.tried_at END,
        next_at = CASE WHEN outcome.error IS NOT NULL
                       THEN now() + {_PAUSE.format(failures="delivery.attempts - 1")} END,
        last_error = CASE WHEN outcome.is_sent THEN outcome.error ELSE delivery.last_error END
    FROM unnest(CAST(:ids AS bigint[]), CAST(:sent AS boolean[]), CAST(:taken AS boolean[]), CAST(:errors AS text[]))
        AS outcome (id, is_sent, is_taken, error)
    WHERE delivery.id = outcome.id AND delivery.state = '{DeliveryState.WAITING}'"""
_PROGRESS = f"""
    UPDATE event_subscriptions AS subscription
    SET tried_at = now(), last_error = CAST(:error AS text),
        failures = CASE WHEN CAST(:error AS text) IS NULL THEN 0 WHEN :is_any_taken THEN 1
                        ELSE subscription.failures + 1 END,
        failing_since = CASE WHEN CAST(:error AS text) IS NULL THEN NULL WHEN :is_any_taken THEN now()
                             ELSE coalesce(subscription.failing_since, now()) END,
        next_at = CASE WHEN CAST(:error AS text) IS NOT NULL THEN now() + {
    _PAUSE.format(failures="CASE WHEN :is_any_taken THEN 0 ELSE subscription.failures END")
} END
    WHERE subscription.id = :subscription"""


def due(database: Database) -> list[Destination]:
    """Subscriptions to which something can be sent now; first those that were tried longest ago."""
    with database.begin() as connection:
        rows = connection.execute(text(_DUE)).all()
    return [
        Destination(row.id, Channel(row.channel), row.address, row.secret and bytes(row.secret), row.what)
        for row in rows
    ]


def take(database: Database, to: Destination) -> list[Parcel]:
    """What is to be sent next, its attempts noted; empty: nothing is due."""
    waiting, most = (_HEADS, A_BATCH) if to.channel is Channel.WEBHOOK else (_ALL, A_MAIL)
    with database.begin() as connection:
        rows = connection.execute(text(_NOTE.format(due=waiting)), {"subscription": to.id, "most": most})
        return [Parcel(**row._mapping) for row in rows]


def settle(
    database: Database, to: Destination, outcomes: Sequence[Outcome], config: EventSettings, error: str | None
) -> None:
    """Note what came of parcels that were taken. ``error``: why nothing more is sent there now; the subscription is
    left alone for a while, longer each time."""
    pauses = {"first_s": config.backoff_s, "max_s": config.max_backoff_s}
    taken = [outcome.is_sent and outcome.error is None for outcome in outcomes]
    with database.begin() as connection:
        connection.execute(
            text(_SETTLE),
            {
                "ids": [outcome.parcel.id for outcome in outcomes],
                "sent": [outcome.is_sent for outcome in outcomes],
                "taken": taken,
                "errors": [outcome.error for outcome in outcomes],
                **pauses,
            },
        )
        connection.execute(
            text(_PROGRESS), {"subscription": to.id, "error": error, "is_any_taken": any(taken), **pauses}
        )
