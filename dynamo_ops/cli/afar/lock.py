"""Locks over REST."""

from __future__ import annotations

from datetime import datetime

from dynamo_ops.cli.afar.server import delete, get, post, whole
from dynamo_ops.cli.terminal.tables import Record, Records


def add(
    item: str, *, site: str, group: str, until: datetime | None, reason: str, by: str | None, force: bool
) -> Record:
    """Set one: ``id``, ``warnings``, ``given_back``."""
    end = until.isoformat() if until else None
    body = {"item": item, "site": site, "group": group, "until": end, "reason": reason, "force": force}
    return post("/locks", body, by=by)


def listed(item: str | None, *, over: bool) -> Records:
    """Those in force, or those that are over; newest first."""
    return whole("/locks", item=item, over=over)


def coverage(lock_id: int) -> Record:
    """One, and what it covers now by site."""
    return get(f"/locks/{lock_id}/coverage")


def unprotected(lock_id: int) -> Record:
    """What no lock would cover any more if this one were removed."""
    return get(f"/locks/{lock_id}/unprotected")


def remove(lock_id: int, *, reason: str, by: str | None) -> Record:
    """Take one back: what nothing covers any more."""
    return delete(f"/locks/{lock_id}", by=by, reason=reason)
