"""Which events go to whom: new ones are given to the subscriptions that mean them, each once, set-wise."""

from __future__ import annotations

from sqlalchemy import text

from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.event.states import DeliveryState, EventScope

EVENTS_AT_ONCE = 10_000
"""Of one transaction."""

_YOUNG = """
    SELECT min(subscription.seen_event_id) AS first_id
    FROM event_subscriptions AS subscription WHERE subscription.seen_event_id < :last"""
_MEANT = f"""
    INSERT INTO event_deliveries (event_id, subscription_id)
    WITH young AS MATERIALIZED (
        SELECT event.* FROM events AS event WHERE event.id > :first AND event.id <= :last),
    wanted AS MATERIALIZED (
        SELECT subscription.*, kinds.kind
        FROM event_subscriptions AS subscription JOIN (SELECT DISTINCT young.kind FROM young) AS kinds
            ON kinds.kind ~ subscription.kinds_regex
        WHERE subscription.seen_event_id < :last),
    named AS MATERIALIZED (
        SELECT young.id, young.kind, '{EventScope.GROUP}' AS scope_kind, unnest(young.groups) AS name FROM young
        UNION ALL
        SELECT young.id, young.kind, '{EventScope.SITE}', unnest(young.sites) FROM young
        UNION ALL
        SELECT young.id, young.kind, '{EventScope.DATASET}', unnest(young.datasets) FROM young),
    matching AS MATERIALIZED (
        SELECT names.scope_kind, names.name, scopes.scope_regex
        FROM (SELECT DISTINCT named.scope_kind, named.name FROM named) AS names
        JOIN (SELECT DISTINCT wanted.scope_kind, wanted.scope_regex FROM wanted
              WHERE wanted.scope_regex IS NOT NULL) AS scopes
            ON scopes.scope_kind = names.scope_kind AND names.name ~ scopes.scope_regex),
    meant AS (
        SELECT young.id AS event_id, wanted.id AS subscription_id
        FROM young JOIN wanted ON wanted.kind = young.kind AND wanted.person = young.person
        WHERE wanted.scope_kind = '{EventScope.OWN}'
        UNION
        SELECT young.id, wanted.id FROM young JOIN wanted ON wanted.kind = young.kind
        WHERE wanted.scope_kind = '{EventScope.ALL}'
        UNION
        SELECT named.id, wanted.id FROM named
        JOIN matching ON matching.scope_kind = named.scope_kind AND matching.name = named.name
        JOIN wanted ON wanted.kind = named.kind AND wanted.scope_kind = matching.scope_kind
            AND wanted.scope_regex = matching.scope_regex)
    SELECT meant.event_id, meant.subscription_id
    FROM meant JOIN young ON young.id = meant.event_id
        JOIN event_subscriptions AS subscription ON subscription.id = meant.subscription_id
    WHERE young.id > subscription.seen_event_id AND (NOT young.is_private OR young.person = subscription.person)
    ORDER BY meant.event_id, meant.subscription_id ON CONFLICT DO NOTHING"""
"""Each name is compared with each glob once, however many events have the one and subscriptions the other."""


@span("event.fan_out")
def fan_out(database: Database, most: int = EVENTS_AT_ONCE) -> int:
    """Give events to the subscriptions that mean them; how many deliveries that makes. Safe to repeat: a subscription
    knows up to which event it has looked."""
    number = 0
    while True:
        with database.begin() as connection:
            last = connection.execute(text("SELECT coalesce(max(event.id), 0) FROM events AS event")).scalar_one()
            first = connection.execute(text(_YOUNG), {"last": last}).one().first_id
            if first is None:
                return number
            span = {"first": first, "last": min(last, first + most)}
            connection.execute(
                text("""
                SELECT count(*) FROM (SELECT subscription.id FROM event_subscriptions AS subscription
                    WHERE subscription.seen_event_id < :last ORDER BY subscription.id FOR UPDATE) AS held"""),
                {"last": span["last"]},
            )
            number += connection.execute(text(_MEANT), span).rowcount
            connection.execute(
                text("UPDATE event_subscriptions SET seen_event_id = :last WHERE seen_event_id < :last"),
                {"last": span["last"]},
            )


def give_up(database: Database, after_days: float) -> int:
    """Send no more what was not taken for so long: from its own first attempt on, or since its subscription fails at
    all; how many."""
    with database.begin() as connection:
        return connection.execute(
            text(f"""
            UPDATE event_deliveries AS delivery
            SET state = '{DeliveryState.GIVEN_UP}', ended_at = now(),
                last_error = coalesce(delivery.last_error, subscription.last_error)
            FROM event_subscriptions AS subscription
            WHERE subscription.id = delivery.subscription_id AND delivery.state = '{DeliveryState.WAITING}'
              AND (delivery.tried_at < now() - CAST(:days AS float) * interval '1 day'
                   OR subscription.failing_since < now() - CAST(:days AS float) * interval '1 day'
                      AND delivery.created_at < now() - CAST(:days AS float) * interval '1 day')"""),
            {"days": after_days},
        ).rowcount


def forget(database: Database, keep_days: float) -> int:
    """Remove events that are older, and what became of sending them; how many events."""
    with database.begin() as connection:
        return connection.execute(
            text("DELETE FROM events WHERE at < now() - CAST(:days AS float) * interval '1 day'"), {"days": keep_days}
        ).rowcount
