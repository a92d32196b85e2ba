"""Requests of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.here.listed import Here
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.dealer.tasks import served_groups
from dynamo_ops.query.movement.subscription import queue_rules
from dynamo_ops.query.record.request import REQUESTS, RequestFilter
from dynamo_ops.query.waiting import with_waits
from dynamo_ops.request import cancel as cancellation
from dynamo_ops.request.copy_request import request_copy
from dynamo_ops.request.deletion_request import request_deletion
from dynamo_ops.request.registry import request_details


def copy(items: Sequence[str], sites: Sequence[str], *, copies: int, group: str, by: str | None) -> int:
    """Ask for copies: the number of the request."""
    config = settings()
    return request_copy(
        database(),
        items,
        sites,
        num_copies=copies,
        group=group,
        by=who(by),
        served=served_groups(config),
        limits=config.requests,
    )


def delete(
    items: Sequence[str],
    sites: Sequence[str],
    *,
    reason: str,
    group: str | None,
    allow_tape: bool,
    allow_last: int,
    by: str | None,
    dry_run: bool,
) -> Record:
    """Have something deleted, or only say what would go: ``request_id``, ``state``, ``verdicts`` …"""
    answer = request_deletion(
        database(),
        items,
        sites,
        reason=reason,
        by=who(by),
        now=datetime.now(UTC),
        group=group,
        allow_tape=allow_tape,
        allow_last=allow_last,
        limits=settings().requests,
        dry_run=dry_run,
    )
    return {"request_id": answer.request_id, **answer.document}


def listed(*, state: str | None, kind: str | None, user: str | None, dataset: str | None, limit: int) -> Records:
    """The newest so many."""
    kinds, states, users, datasets = ([part] if part is not None else [] for part in (kind, state, user, dataset))
    return Here(database(), REQUESTS, RequestFilter(kinds, states, users, datasets)).rows((), limit)


def asked(request_id: int) -> Record:
    """One, as it was asked."""
    return request_details(database(), request_id).request


def shown(request_id: int) -> Record:
    """One, with its ``actions``: by item and site how far it is and why it waits."""
    db = database()
    details = request_details(db, request_id)
    return {**details.request, "actions": with_waits(db, details, queue_rules(settings())).to_dicts()}


def cancel(request_id: int, *, reason: str, by: str | None) -> Record:
    """Take one back: what became of its parts."""
    summary = cancellation.cancel(database(), request_id, by=who(by), reason=reason)
    return {"request_id": request_id, **asdict(summary)}
