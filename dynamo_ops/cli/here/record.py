"""What gates found, the digest, and what happened, by the database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime

from dynamo_ops.alerts.digest import MORNING, Digest, read_digest
from dynamo_ops.alerts.digest_text import digest_text
from dynamo_ops.base.settings import settings
from dynamo_ops.cli.here.listed import Here
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.event import subscription
from dynamo_ops.quality import results
from dynamo_ops.query.record.event import EVENTS, EventFilter


def found(*, gate: str | None, run: str | None, subject: str | None, failed: bool, limit: int) -> Records:
    """What single checks found, the newest so many. ``run``, ``subject``: a part of the name."""
    frame = results.results(database(), gate=gate, run_key=run, subject=subject, failed=failed, limit=limit)
    return [{**check, "examples": json.loads(check["examples"])} for check in frame.to_dicts()]


def trend(gate: str, subject: str, metric: str, days: int) -> Records:
    """One figure of a source over time, oldest first."""
    return results.trend(database(), gate, subject, metric, days).to_dicts()


def digest(day: date | None) -> Record:
    """What the message of a morning says, or of now."""
    return _read(day).document()


def told(day: date | None) -> str:
    """The same in lines."""
    return digest_text(_read(day))


def events(
    *,
    kinds: Sequence[str],
    objects: Sequence[str],
    person: str | None,
    group: str | None,
    site: str | None,
    dataset: str | None,
    since: str,
    limit: int,
) -> Records:
    """What happened, the newest so many. Who is there may read all but what is for somebody else's eyes."""
    persons, groups, sites, datasets = ([name] if name else [] for name in (person, group, site, dataset))
    asked = EventFilter(kinds, objects, persons, groups, sites, datasets, since=since, reader=who(None).name)
    return Here(database(), EVENTS, asked).rows((), limit)


def subscribe_events(
    kinds: Sequence[str],
    *,
    mail: str | None,
    webhook: str | None,
    scope: str | None,
    group: str | None,
    by: str | None,
) -> Record:
    """Have events sent: ``id``, ``kinds``, ``scope``, ``channel``, ``secret`` (of a webhook)."""
    made = subscription.subscribe(
        database(), settings(), kinds, by=who(by), scope=scope, mail=mail, webhook=webhook, group=group
    )
    return made.document


def unsubscribe_events(number: int, *, by: str | None) -> None:
    """Send nothing more by it."""
    subscription.unsubscribe(database(), number, by=who(by))


def event_subscriptions(group: str | None) -> Records:
    """One's own, or those of a group."""
    return subscription.subscriptions(database(), by=who(None), group=group).to_dicts()


def _read(day: date | None) -> Digest:
    until = datetime.combine(day, MORNING) if day else datetime.now(UTC)
    return read_digest(database(), settings(), until)
