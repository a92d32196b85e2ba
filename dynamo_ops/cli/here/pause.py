"""Pauses of the database, and downtimes of its sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.inventory.site import downtime
from dynamo_ops.inventory.site.lookup import names_like
from dynamo_ops.inventory.subscription.under_way import stopped
from dynamo_ops.pause import pauses
from dynamo_ops.pause.pause import PauseKind


def stop(
    kind: PauseKind | None, *, partition: str | None, reason: str, until: datetime | None, by: str | None
) -> Record:
    """Let acts stand still: the pause, and ``at_fts``."""
    db = database()
    return stopped(db, pauses.stop(db, kind, partition, by=who(by), reason=reason, until=until))


def stop_sites(pattern: str, *, reason: str, until: datetime | None, by: str | None) -> Records:
    """Put the sites that a name or glob means into a downtime each."""
    db = database()
    names = names_like(db, pattern)
    return [asdict(downtime.drain(db, name, by=who(by), reason=reason, ends_at=until)) for name in names]


def resume(numbers: Sequence[int], *, by: str | None) -> Records:
    """End these, or all."""
    return [asdict(pause) for pause in pauses.resume(database(), numbers or None, by=who(by))]


def listed(limit: int) -> Records:
    """The newest so many."""
    return pauses.pauses(database(), limit=limit).to_dicts()
