"""Copies and deletions over REST: how they stand, why, and the operator's hands on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dynamo_ops.cli.afar.server import get, post, whole
from dynamo_ops.cli.terminal.tables import Record, Records

Chosen = Mapping[str, Sequence[Any]]
"""Subscriptions, as they are chosen: parts of ``Selection`` by their names."""


def standing(sites: Sequence[str], since: datetime) -> Record:
    """In figures: ``subscriptions``, ``under_way``, ``ended``, ``servers``."""
    copies, deletions = (get(path, site=sites, since=since) for path in ("/transfers", "/deletions"))
    return {
        "subscriptions": [*copies["subscribed"], *deletions["subscribed"]],
        "under_way": [*deletions["under_way"], *copies["under_way"]],
        "ended": [*copies["ended"], *deletions["ended"]],
        "servers": copies["servers"],
    }


def why_file_is_there(lfn: str, site: str | None) -> Record:
    """Where a file is, and what is subscribed where."""
    return get("/files/why", lfn=lfn, site=site)


def why_it_stands(subscription_id: int) -> Record:
    """Why a subscription stands where it stands, with its attempts."""
    return get(f"/subscriptions/{subscription_id}")


def hold(chosen: Chosen, *, reason: str, by: str | None, dry_run: bool) -> Record:
    """Hold them, or only say what would be touched: what was touched."""
    return post("/subscriptions/hold", {**chosen, "reason": reason}, by=by, dry_run=dry_run)


def release(chosen: Chosen, *, reason: str, by: str | None, dry_run: bool) -> Record:
    """Free them, likewise."""
    return post("/subscriptions/release", {**chosen, "reason": reason}, by=by, dry_run=dry_run)


def retry(chosen: Chosen, *, reason: str, by: str | None, dry_run: bool) -> Record:
    """Try them now, likewise."""
    return post("/subscriptions/retry", {**chosen, "reason": reason}, by=by, dry_run=dry_run)


def cancel(chosen: Chosen, *, reason: str, by: str | None, disown: bool, dry_run: bool) -> Record:
    """Withdraw them, likewise."""
    body = {**chosen, "reason": reason, "disown": disown}
    return post("/subscriptions/cancel", body, by=by, dry_run=dry_run)


def transfer_series(
    by: Sequence[str],
    *,
    since: str,
    until: str | None,
    step: str,
    sites: Sequence[str],
    sources: Sequence[str],
    outcomes: Sequence[str],
) -> Records:
    """Copies that ended, by hour or day, and by what is asked for."""
    asked = {"since": since, "until": until, "step": step, "site": sites, "source": sources, "outcome": outcomes}
    return whole("/transfers/series", by=by, **asked)


def deletion_series(
    by: Sequence[str], *, since: str, until: str | None, step: str, sites: Sequence[str], outcomes: Sequence[str]
) -> Records:
    """Likewise of deletions."""
    asked = {"since": since, "until": until, "step": step, "site": sites, "outcome": outcomes}
    return whole("/deletions/series", by=by, **asked)


def links(*, since: str, until: str | None, sites: Sequence[str], sources: Sequence[str]) -> Records:
    """What came from where."""
    return whole("/transfers/links", since=since, until=until, site=sites, source=sources)


def errors(*, since: str, until: str | None, sites: Sequence[str], sources: Sequence[str]) -> Records:
    """Copies that failed, by class of error, source and site."""
    return whole("/transfers/errors", since=since, until=until, site=sites, source=sources)
