"""Single copies and deletions of files: those under way, and those that ended, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.inventory.states import (
    ENDED_TRANSFERS,
    LIVE_TRANSFERS,
    Backend,
    DeletionState,
    TransferObservation,
)
from dynamo_ops.inventory.subscription.under_way import is_archiving
from dynamo_ops.query.paging.condition import Conditions, check_words, moment_asked
from dynamo_ops.query.paging.listing import Listing

ENDED_DELETIONS = tuple(state for state in DeletionState if state != DeletionState.PLANNED)


@dataclass(frozen=True)
class AttemptFilter:
    """Which attempts. ``sites`` (destinations, or where is deleted), ``sources``: names or globs. ``because``: a part
    of the reason. ``since``, ``until``: when they ended."""

    sites: Sequence[str] = ()
    sources: Sequence[str] = ()
    states: Sequence[str] = ()
    activities: Sequence[str] = ()
    because: str | None = None
    since: str | None = None
    until: str | None = None


_TRANSFERS = f"""
    SELECT attempt.id, attempt.subscription_id, attempt.batch_id, batch.backend, batch.server,
           CASE WHEN batch.backend = '{Backend.FTS}' THEN batch.job_id::text END AS job_id,
           file.lfn, source.name AS source, attempt.source_site_id, site.name AS site, batch.site_id, batch.activity,
           batch.is_staging, attempt.state,
           CASE WHEN {is_archiving("attempt")} THEN '{TransferObservation.ARCHIVING}' ELSE attempt.state END AS stage,
           attempt.reason, attempt.is_recoverable, attempt.blame, attempt.is_excused, attempt.verified_by,
           attempt.size_bytes, attempt.started_at, attempt.finished_at
    FROM transfers AS attempt JOIN transfer_batches AS batch ON batch.id = attempt.batch_id
    JOIN subscriptions AS subscription ON subscription.id = attempt.subscription_id
    JOIN files AS file ON file.id = subscription.file_id JOIN sites AS site ON site.id = batch.site_id
    JOIN sites AS source ON source.id = attempt.source_site_id
    WHERE attempt.state IN {{states}}"""
_DELETIONS = """
    SELECT attempt.id, attempt.subscription_id, attempt.batch_id, file.lfn, site.name AS site, batch.site_id,
           attempt.state, attempt.reason, attempt.is_recoverable, attempt.size_bytes, attempt.claimed_at,
           attempt.finished_at
    FROM deletions AS attempt JOIN deletion_batches AS batch ON batch.id = attempt.batch_id
    JOIN subscriptions AS subscription ON subscription.id = attempt.subscription_id
    JOIN files AS file ON file.id = subscription.file_id JOIN sites AS site ON site.id = batch.site_id
    WHERE attempt.state {states}"""


def _narrow(connection: Connection, asked: AttemptFilter, as_of: datetime) -> Conditions:
    conditions = Conditions()
    conditions.add_any("listed.state", asked.states, "states")
    for column, patterns in (("site_id", asked.sites), ("source_site_id", asked.sources)):
        if patterns:
            site_ids = [site.id for site in find_sites(connection, patterns)]
            conditions.add(f"listed.{column} = ANY(CAST(:{column} AS smallint[]))", **{column: site_ids})
    conditions.add_any("listed.activity", asked.activities, "activities")
    if asked.because is not None:
        conditions.add("strpos(listed.reason, :because) > 0", because=asked.because)
    if asked.since is not None:
        conditions.add("listed.finished_at >= :since", since=moment_asked(asked.since, as_of))
    if asked.until is not None:
        conditions.add("listed.finished_at < :until", until=moment_asked(asked.until, as_of, "until"))
    return conditions


def _narrow_live(connection: Connection, asked: AttemptFilter, as_of: datetime) -> Conditions:
    check_words(asked.states, LIVE_TRANSFERS, "state of a transfer under way")
    return _narrow(connection, asked, as_of)


def _narrow_ended(connection: Connection, asked: AttemptFilter, as_of: datetime) -> Conditions:
    check_words(asked.states, ENDED_TRANSFERS, "state of a transfer that ended")
    return _narrow(connection, asked, as_of)


def _narrow_deletions(connection: Connection, asked: AttemptFilter, as_of: datetime) -> Conditions:
    check_words(asked.states, ENDED_DELETIONS, "state of a deletion that ended")
    return _narrow(connection, asked, as_of)


_OF_TRANSFERS = (
    "id",
    "subscription_id",
    "lfn",
    "source",
    "site",
    "state",
    "stage",
    "reason",
    "is_recoverable",
    "blame",
    "is_excused",
    "verified_by",
    "size_bytes",
    "activity",
    "is_staging",
    "batch_id",
    "backend",
    "server",
    "job_id",
    "started_at",
    "finished_at",
)
_OF_DELETIONS = (
    "id",
    "subscription_id",
    "lfn",
    "site",
    "state",
    "reason",
    "is_recoverable",
    "size_bytes",
    "batch_id",
    "claimed_at",
    "finished_at",
)

TRANSFERS_UNDER_WAY: Listing[AttemptFilter] = Listing(
    "transfers", _TRANSFERS.format(states=LIVE_TRANSFERS), _OF_TRANSFERS, key=("subscription_id",), narrow=_narrow_live
)
"""By subscription, of which each has one. ``stage``: the state, or archiving: arrived, and not on tape yet, since
``finished_at``."""

TRANSFERS_ENDED: Listing[AttemptFilter] = Listing(
    "transfers",
    _TRANSFERS.format(states=ENDED_TRANSFERS),
    _OF_TRANSFERS,
    key=("finished_at", "id"),
    narrow=_narrow_ended,
    is_newest_first=True,
)
"""``verified_by``, of one that is done: how it was compared with the catalogue (``inventory.states.VerifiedBy``); null:
before that was kept."""

DELETIONS_UNDER_WAY: Listing[AttemptFilter] = Listing(
    "deletions",
    _DELETIONS.format(states=f"= '{DeletionState.PLANNED}'"),
    _OF_DELETIONS,
    key=("subscription_id",),
    narrow=_narrow,
)
"""``claimed_at``: since then the storage may have been asked."""

DELETIONS_ENDED: Listing[AttemptFilter] = Listing(
    "deletions",
    _DELETIONS.format(states=f"<> '{DeletionState.PLANNED}'"),
    _OF_DELETIONS,
    key=("finished_at", "id"),
    narrow=_narrow_deletions,
    is_newest_first=True,
)
"""``gone``: it was not there any more."""
