"""Rights, tokens and the audit over REST. Identities are set at the installation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from dynamo_ops.access.actions import Action
from dynamo_ops.access.person import Grant
from dynamo_ops.cli.afar.server import delete, get, nobody_else, part, post, put, rows, whole
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.cli.terminal.way import WayError


def grant(subject: str, given: Grant, *, reason: str, until: datetime | None, by: str | None) -> None:
    """Give somebody a role."""
    end = until.isoformat() if until else None
    post("/grants", {"subject": subject, **_held(given), "until": end, "reason": reason}, by=by)


def revoke(subject: str, taken: Grant, *, reason: str, by: str | None) -> None:
    """Take it back."""
    delete("/grants", by=by, subject=subject, role=taken.role, scope=taken.scope, reason=reason)


def granted(subject: str | None) -> Records:
    """Who was given which role: all, or one."""
    return whole("/grants", subject=subject)


def set_member(group: str, person: str, *, is_member: bool, by: str | None) -> None:
    """Make somebody a member of a group, or no longer."""
    place = f"/groups/{quote(group, safe='')}/members/{quote(person, safe='')}"
    if is_member:
        put(place, by=by)
    else:
        delete(place, by=by)


def members(group: str | None) -> Records:
    """Who is a member of which group: of all, or of one."""
    return whole("/members", group=group)


def make_token(name: str, *, person: str | None, days: float, limits: Sequence[Grant] | None, by: str | None) -> Record:
    """A token of one's own: ``id``, ``person``, ``secret``, ``until``."""
    nobody_else(by)
    me = get("/me")["name"]
    if person not in (None, me):
        raise WayError("--person: a token of somebody else is made on the installation itself, not over REST")
    held = None if limits is None else list(map(_held, limits))
    made = post("/me/tokens", {"name": name, "days": days, "grants": held}, by=by)
    return {"person": me, **{field: made[field] for field in ("id", "secret", "until")}}


def tokens(person: str | None) -> Records:
    """Which there are: of all, or of one person."""
    if person is not None and person == get("/me")["name"]:
        return whole("/me/tokens")
    return whole("/tokens", person=person)


def revoke_token(token_id: int, *, by: str | None) -> None:
    """Refuse it from now on."""
    delete(f"/me/tokens/{token_id}", by=by)


def audited(
    *, person: str | None, action: str | None, outcome: str | None, since: datetime | None, limit: int
) -> Records:
    """Who did what, the newest so many. ``person``, ``action``: a part of the name."""
    actions = [known for known in Action if action is None or action in known]
    if not actions:
        return []
    asked = {"person": part(person), "action": None if action is None else actions, "outcome": outcome, "since": since}
    return [
        {name: field for name, field in record.items() if name != "id"} for record in rows("/audit", limit, **asked)
    ]


def _held(given: Grant) -> dict[str, str]:
    return {"role": given.role.value, "scope": str(given.scope)}
