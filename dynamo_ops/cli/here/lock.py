"""Locks of the database."""

from __future__ import annotations

from datetime import UTC, datetime

from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.lock import store
from dynamo_ops.lock.covered import lock_coverage, removal, unprotected_without


def add(
    item: str, *, site: str, group: str, until: datetime | None, reason: str, by: str | None, force: bool
) -> Record:
    """Set one: ``id``, ``warnings``, ``given_back``."""
    added = store.add_lock(
        database(),
        item,
        sites=site,
        groups=group,
        until=until.isoformat() if until else None,
        reason=reason,
        by=who(by),
        now=datetime.now(UTC),
        force=force,
    )
    return {"id": added.id, "warnings": list(added.warnings), "given_back": vars(added.given_back)}


def listed(item: str | None, *, over: bool) -> Records:
    """Those in force, or those that are over; newest first."""
    return store.list_locks(database(), item=item, expired=over).to_dicts()


def coverage(lock_id: int) -> Record:
    """One, and what it covers now by site."""
    return lock_coverage(database(), lock_id).document


def unprotected(lock_id: int) -> Record:
    """What no lock would cover any more if this one were removed."""
    return unprotected_without(database(), lock_id).document


def remove(lock_id: int, *, reason: str, by: str | None) -> Record:
    """Take one back: what nothing covers any more."""
    return removal(database(), lock_id, reason=reason, by=who(by))
