"""Copies and deletions of the database: how they stand, why, and the operator's hands on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import settings
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.fts.servers import job_page
from dynamo_ops.inventory.subscription import operate
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_ops.query.explanation import why, why_file
from dynamo_ops.query.movement import series as ended
from dynamo_ops.query.movement.figures import all_standing
from dynamo_ops.query.movement.series import Span
from dynamo_ops.query.movement.subscription import file_document, queue_rules, subscription_document
from dynamo_ops.transfer import recovery

Chosen = Mapping[str, Sequence[Any]]
"""Subscriptions, as they are chosen: parts of ``Selection`` by their names."""


def standing(sites: Sequence[str], since: datetime) -> Record:
    """In figures: ``subscriptions``, ``under_way``, ``ended``, ``servers``."""
    return all_standing(database(), sites, since)


def why_file_is_there(lfn: str, site: str | None) -> Record:
    """Where a file is, and what is subscribed where."""
    return file_document(why_file(database(), lfn, site, queue_rules(settings())), partial(job_page, settings().fts))


def why_it_stands(subscription_id: int) -> Record:
    """Why a subscription stands where it stands, with its attempts."""
    explained = why(database(), subscription_id, queue_rules(settings()))
    return subscription_document(explained, partial(job_page, settings().fts))


def hold(chosen: Chosen, *, reason: str, by: str | None, dry_run: bool) -> Record:
    """Hold them, or only say what would be touched: what was touched."""
    db, selection = database(), Selection(**chosen)
    if dry_run:
        return operate.look(db, "hold", selection, reason=reason).document
    return operate.hold(db, selection, by=who(by), reason=reason).document


def release(chosen: Chosen, *, reason: str, by: str | None, dry_run: bool) -> Record:
    """Free them, likewise."""
    db, selection = database(), Selection(**chosen)
    if dry_run:
        return operate.look(db, "release", selection, reason=reason).document
    return operate.release(db, selection, by=who(by), reason=reason).document


def retry(chosen: Chosen, *, reason: str, by: str | None, dry_run: bool) -> Record:
    """Try them now, likewise."""
    db, selection = database(), Selection(**chosen)
    if dry_run:
        return operate.look(db, "retry", selection, reason=reason).document
    return operate.retry(db, selection, by=who(by), reason=reason).document


def cancel(chosen: Chosen, *, reason: str, by: str | None, disown: bool, dry_run: bool) -> Record:
    """Withdraw them, likewise."""
    db, selection = database(), Selection(**chosen)
    if dry_run:
        return operate.look(db, "cancel", selection, reason=reason, disown=disown).document
    return operate.cancel(db, selection, by=who(by), reason=reason, disown=disown).document


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
    span = Span(since, until, sites, sources)
    return ended.transfer_series(database(), span, by, step=step, outcomes=outcomes).to_dicts()


def deletion_series(
    by: Sequence[str], *, since: str, until: str | None, step: str, sites: Sequence[str], outcomes: Sequence[str]
) -> Records:
    """Likewise of deletions."""
    return ended.deletion_series(database(), Span(since, until, sites), by, step=step, outcomes=outcomes).to_dicts()


def links(*, since: str, until: str | None, sites: Sequence[str], sources: Sequence[str]) -> Records:
    """What came from where."""
    return ended.links(database(), Span(since, until, sites, sources)).to_dicts()


def errors(*, since: str, until: str | None, sites: Sequence[str], sources: Sequence[str]) -> Records:
    """Copies that failed, by class of error, source and site."""
    return ended.errors(database(), Span(since, until, sites, sources)).to_dicts()


def check_servers(former: str, address: str) -> None:
    """Raises SettingsError unless dynamo.yaml names ``address`` and no longer ``former``."""
    named = [server.url for server in settings().fts.named_servers]
    if former in named or address not in named:
        wrong = f"{former} is still" if former in named else f"{address} is not"
        raise SettingsError(
            f"{wrong} a server of dynamo.yaml ({', '.join(named) or 'it names none'}): name there those that shall be "
            "asked from now on, then readdress",
            key="fts.servers",
            reason="former and new server",
        )
    database()


def readdress(former: str, address: str) -> int:
    """Ask another FTS server for the open jobs of one: how many."""
    return recovery.readdress(database(), former, address)
