"""Requests over REST."""

from __future__ import annotations

from collections.abc import Sequence

from dynamo_ops.cli.afar.server import get, post, rows
from dynamo_ops.cli.terminal.tables import Record, Records


def copy(items: Sequence[str], sites: Sequence[str], *, copies: int, group: str, by: str | None) -> int:
    """Ask for copies: the number of the request."""
    body = {"items": list(items), "sites": list(sites), "copies": copies, "group": group}
    return int(post("/requests/copies", body, by=by)["id"])


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
    body = {"items": list(items), "sites": list(sites), "reason": reason, "group": group}
    limits = {"allow_tape": allow_tape, "allow_last": allow_last}
    answer = dict(post("/requests/deletions", {**body, **limits}, by=by, dry_run=dry_run))
    del answer["num_asked"]
    return {"request_id": answer.pop("id", None), **answer}


def listed(*, state: str | None, kind: str | None, user: str | None, dataset: str | None, limit: int) -> Records:
    """The newest so many."""
    return rows("/requests", limit, state=state, kind=kind, user=user, dataset=dataset)


def asked(request_id: int) -> Record:
    """One, as it was asked."""
    return {name: field for name, field in shown(request_id).items() if name != "actions"}


def shown(request_id: int) -> Record:
    """One, with its ``actions``: by item and site how far it is and why it waits."""
    return get(f"/requests/{request_id}")


def cancel(request_id: int, *, reason: str, by: str | None) -> Record:
    """Take one back: what became of its parts."""
    summary = dict(post(f"/requests/{request_id}/cancel", {"reason": reason}, by=by))
    return {"request_id": summary.pop("id"), **summary}
