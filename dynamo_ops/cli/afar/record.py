"""What gates found, the digest, and what happened, over REST."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import chain, groupby, islice
from typing import Any
from urllib.parse import quote

from dynamo_ops.cli.afar.server import ROWS_A_PAGE, delete, get, part, plain, post, server, whole
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.quality.verdicts import Verdict

FOUND = ("checked_at", "gate", "subject", "run_key", "check", "verdict", "num_unexpected", "observed", "examples")
"""What is shown of a check."""


def found(*, gate: str | None, run: str | None, subject: str | None, failed: bool, limit: int) -> Records:
    """What single checks found, the newest so many. ``run``, ``subject``: a part of the name."""
    checks = server().pages(
        "/gates/results",
        limit=min(limit, ROWS_A_PAGE),
        fields=",".join(("id", *FOUND)),
        gate=gate,
        run=part(run),
        subject=part(subject),
        verdict=[Verdict.REFUSED, Verdict.WARNED] if failed else None,
    )
    judgements = (sorted(same, key=_place) for _, same in groupby(checks, lambda check: check["checked_at"]))
    return list(map(_shown, islice(chain.from_iterable(judgements), limit)))


def trend(gate: str, subject: str, metric: str, days: int) -> Records:
    """One figure of a source over time, oldest first."""
    return whole("/gates/trend", gate=gate, subject=subject, metric=metric, days=days)


def digest(day: date | None) -> Record:
    """What the message of a morning says, or of now."""
    return get("/digest", day=day)


def told(day: date | None) -> str:
    """The same in lines."""
    return str(get("/digest", day=day, text=True)["text"])


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
    """What happened, the newest so many."""
    asked = {"person": person, "group": group, "site": site, "dataset": dataset, "since": since}
    size = min(limit, ROWS_A_PAGE)
    found = server().pages("/events", limit=size, kind=list(kinds), object=list(objects), **asked)
    return [{**event, "at": plain(event["at"])} for event in islice(found, limit)]


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
    body = {"kinds": list(kinds), "mail": mail, "webhook": webhook, "scope": scope}
    place = "/me/event-subscriptions" if group is None else f"/groups/{quote(group, safe='')}/event-subscriptions"
    return post(place, body, by=by)


def unsubscribe_events(number: int, *, by: str | None) -> None:
    """Send nothing more by it."""
    delete(f"/me/event-subscriptions/{number}", by=by)


def event_subscriptions(group: str | None) -> Records:
    """One's own, or those of a group."""
    return whole("/me/event-subscriptions" if group is None else f"/groups/{quote(group, safe='')}/event-subscriptions")


def _place(check: Record) -> tuple[Any, ...]:
    """Of one judgement, in the order of its suite."""
    return check["gate"], check["subject"], check["id"]


def _shown(check: Record) -> dict[str, Any]:
    """Examples are as they are: what looks like a time in them is a text of a source."""
    return {name: check[name] if name == "examples" else plain(check[name]) for name in FOUND}
