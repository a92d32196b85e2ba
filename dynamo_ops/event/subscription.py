"""Who is sent which events: made and ended by persons for themselves, and for groups by who looks after them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target, may
from dynamo_ops.access.audit import Act, acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.glob import glob_regex_sql
from dynamo_ops.base.http.redirect import origin
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.event.address import Hosts, check_mail
from dynamo_ops.event.kinds import kinds_meant
from dynamo_ops.event.settings import event_settings
from dynamo_ops.event.states import Channel, DeliveryState, EventScope

EVERYTHING = "*"
MOST_GLOBS = 50
LONGEST_GLOB = 500
SECRET_START = "whsec_"  # noqa: S105
GLOB_SCOPES = (EventScope.GROUP, EventScope.SITE, EventScope.DATASET)


@dataclass(frozen=True)
class NewSubscription:
    """``secret``: of a webhook, to be shown once: by it who is called knows that it is us."""

    id: int
    kinds: tuple[str, ...]
    scope: str
    channel: Channel
    secret: str | None

    @property
    def document(self) -> dict[str, Any]:
        """All of it, plainly."""
        return {**vars(self), "kinds": list(self.kinds), "channel": self.channel.value}


@dataclass(frozen=True)
class _Scope:
    kind: EventScope
    regex: str | None = None


def subscribe(
    database: Database,
    settings: Settings,
    kinds: Sequence[str],
    *,
    by: Person,
    scope: str | None = None,
    mail: str | None = None,
    webhook: str | None = None,
    group: str | None = None,
) -> NewSubscription:
    """Have events of ``kinds`` (names or globs) sent to a mail address or a webhook (a URL), from now on.

    ``scope``: ``own``, ``*``, or ``group:``, ``site:``, ``dataset:`` and a name or glob; without it one's own, or those
    of the ``group`` for which it is. Raises AccessError, and InventoryError that says what to mend.
    """
    owner = f"group {group}" if group else by.name
    said = scope or (f"group:{group}" if group else EventScope.OWN)
    channel, address = _way(settings, mail, webhook)
    action = Action.SUBSCRIBE_OTHERS if group else Action.SUBSCRIBE
    what = f"events {' '.join(kinds)} of {said} to {owner} by {channel} ({_shown(channel, address)})"
    with acting(database, by, action, what) as act:
        act.check(Target(groups=(group,)) if group else Target(owner=by.name))
        meant = _scope(said, is_for_group=group is not None)
        _check_globs(kinds)
        group_id = _group_id(act.connection, group) if group else None
        _check_number(act, event_settings(settings).per_owner, group_id, owner)
        secret = SECRET_START + secrets.token_urlsafe(32) if channel is Channel.WEBHOOK else None
        subscription_id = act.connection.execute(
            text("""
            INSERT INTO event_subscriptions (person, group_id, kinds, kinds_regex, scope, scope_kind, scope_regex,
                                             channel, address, secret, created_by, seen_event_id)
            SELECT :person, CAST(:group AS smallint), CAST(:kinds AS text[]), :kinds_regex, :scope, :scope_kind,
                   :scope_regex, :channel, :address, CAST(:secret AS bytea), :by,
                   coalesce((SELECT max(event.id) FROM events AS event), 0)
            RETURNING id"""),
            {
                "person": None if group else by.name,
                "group": group_id,
                "kinds": list(kinds),
                "kinds_regex": "|".join(glob_regex_sql(glob) for glob in kinds),
                "scope": said,
                "scope_kind": meant.kind,
                "scope_regex": meant.regex,
                "channel": channel,
                "address": address,
                "secret": secret and secret.encode(),
                "by": by.name,
            },
        ).scalar_one()
        act.ids.append(int(subscription_id))
    return NewSubscription(int(subscription_id), tuple(kinds), said, channel, secret)


def unsubscribe(database: Database, subscription_id: int, *, by: Person) -> None:
    """Send nothing more by it. One's own; that of a group by who looks after it; operators and admins any."""
    with acting(database, by, Action.SUBSCRIBE, f"event subscription {subscription_id}, ended") as act:
        act.ids.append(subscription_id)
        row = act.connection.execute(
            text("""
            SELECT subscription.person, owner.name AS group_name FROM event_subscriptions AS subscription
            LEFT JOIN groups AS owner ON owner.id = subscription.group_id WHERE subscription.id = :id
            FOR UPDATE OF subscription"""),
            {"id": subscription_id},
        ).one_or_none()
        if row is None:
            raise UnknownNameError(f"there is no event subscription {subscription_id}", value=subscription_id)
        if row.person == by.name:
            act.check(Target(owner=by.name))
        else:
            act.action = Action.SUBSCRIBE_OTHERS
            act.check(Target(groups=(row.group_name,) if row.group_name else ()))
        act.connection.execute(text("DELETE FROM event_subscriptions WHERE id = :id"), {"id": subscription_id})


def subscriptions(database: Database, *, by: Person, group: str | None = None) -> pl.DataFrame:
    """One's own, or those of a group, which who may end them sees; oldest first. Columns: id, person, group, kinds,
    scope, channel, address (of a webhook its host only), created_by, created_at, num_waiting, num_given_up,
    failing_since, next_at, last_error. Raises AccessError, UnknownNameError."""
    if group is not None:
        with database.begin() as connection:
            _group_id(connection, group)
        may(by, Action.SUBSCRIBE_OTHERS, Target(groups=(group,)))
    listed = database.frame(
        f"""
        SELECT subscription.id, subscription.person, owner.name AS "group", subscription.kinds, subscription.scope,
               subscription.channel, subscription.address, subscription.created_by, subscription.created_at,
               coalesce(sent.num_waiting, 0)::bigint AS num_waiting,
               coalesce(sent.num_given_up, 0)::bigint AS num_given_up, subscription.failing_since,
               subscription.next_at, subscription.last_error
        FROM event_subscriptions AS subscription LEFT JOIN groups AS owner ON owner.id = subscription.group_id
        LEFT JOIN (
            SELECT delivery.subscription_id, count(*) FILTER (WHERE delivery.state = '{DeliveryState.WAITING}')
                       AS num_waiting, count(*) FILTER (WHERE delivery.state = '{DeliveryState.GIVEN_UP}')
                       AS num_given_up
            FROM event_deliveries AS delivery GROUP BY delivery.subscription_id) AS sent
            ON sent.subscription_id = subscription.id
        WHERE CASE WHEN $1::text IS NULL THEN subscription.person = $2 ELSE owner.name = $1 END
        ORDER BY subscription.id""",
        (group, by.name),
    )
    shown = [_shown(Channel(channel), address) for channel, address in listed.select("channel", "address").rows()]
    return listed.with_columns(pl.Series("address", shown, dtype=pl.String))


def _way(settings: Settings, mail: str | None, webhook: str | None) -> tuple[Channel, str]:
    if (mail is None) == (webhook is None):
        raise InventoryError("name one way: a mail address, or the URL of a webhook", parameter="mail, webhook")
    if mail is not None:
        check_mail(mail)
        return Channel.MAIL, mail
    assert webhook is not None
    Hosts.of(settings).check(webhook)
    return Channel.WEBHOOK, webhook


def _shown(channel: Channel, address: str) -> str:
    """The path of a webhook's URL often is its password."""
    return address if channel is Channel.MAIL else origin(address)


def _scope(said: str, *, is_for_group: bool) -> _Scope:
    if said == EventScope.OWN and not is_for_group:
        return _Scope(EventScope.OWN)
    if said == EVERYTHING:
        return _Scope(EventScope.ALL)
    kind, _, glob = said.partition(":")
    if kind in GLOB_SCOPES and glob and len(glob) <= LONGEST_GLOB:
        return _Scope(EventScope(kind), glob_regex_sql(glob))
    own = "" if is_for_group else f"{EventScope.OWN}, "
    written = f"{own}{EVERYTHING}, {', '.join(f'{known}:GLOB' for known in GLOB_SCOPES)}"
    raise InventoryError(f"{said!r} says not of what the events are: write one of {written}", scope=said)


def _check_globs(kinds: Sequence[str]) -> None:
    if not 1 <= len(kinds) <= MOST_GLOBS:
        raise InventoryError(f"{len(kinds)} kinds of events: name 1 to {MOST_GLOBS}, or globs", kinds=list(kinds))
    kinds_meant(kinds)


def _group_id(connection: Connection, group: str) -> int:
    group_id = connection.execute(text("SELECT id FROM groups WHERE name = :name"), {"name": group}).scalar()
    if group_id is None:
        known = connection.execute(text("SELECT name FROM groups")).scalars()
        raise UnknownNameError(f"there is no group {group!r}.{near(group, known)}", group=group)
    return int(group_id)


def _check_number(act: Act, most: int, group_id: int | None, owner: str) -> None:
    number = act.connection.execute(
        text("""
        SELECT count(*) FROM event_subscriptions
        WHERE CASE WHEN CAST(:group AS smallint) IS NULL THEN person = :person ELSE group_id = :group END"""),
        {"group": group_id, "person": act.by.name},
    ).scalar_one()
    if number >= most:
        raise InventoryError(
            f"{owner} has {number} event subscriptions, and events.per_owner is {most}: end one first", num_there=number
        )
