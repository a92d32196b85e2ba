"""Why a file is where it is, and a subscription stands where it stands: in a sentence, with attempts and sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.base.settings import DELETION, DeletionSettings
from dynamo_ops.base.times import time_text
from dynamo_ops.database.connection import Database
from dynamo_ops.deletion.queue import WAITS, queue_params
from dynamo_ops.inventory.kinds import SiteStatus, StorageType
from dynamo_ops.inventory.names import no_file
from dynamo_ops.inventory.replica.copies import is_doomed, is_present_by_join, listed_join
from dynamo_ops.inventory.site.ambiguous import ambiguous_mapping
from dynamo_ops.inventory.site.endpoint import MOVING
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.inventory.site.shared import others_on_storage
from dynamo_ops.inventory.site.usable import READABLE, WRITABLE
from dynamo_ops.inventory.states import (
    ACTIVE,
    CLOSED,
    LIVE_TRANSFERS,
    QUEUED,
    Backend,
    HoldReason,
    SubscriptionAction,
    SubscriptionState,
    TransferObservation,
    TransferState,
)
from dynamo_ops.inventory.subscription.backoff import backoff_of
from dynamo_ops.inventory.subscription.blame import WHOSE
from dynamo_ops.inventory.subscription.give_back import TAKEN_BACK
from dynamo_ops.inventory.subscription.illness import ill_places
from dynamo_ops.inventory.subscription.under_way import OPEN_DELETIONS, OPEN_TRANSFERS, is_archiving
from dynamo_ops.transfer.submission.limits import DEFAULT_TRANSFER_LIMITS, TransferLimits

MAX_ATTEMPTS = 100
OF_FILE = f"""(
    SELECT * FROM subscriptions WHERE file_id = :file AND state IN {ACTIVE}
    UNION ALL SELECT * FROM subscriptions WHERE file_id = :file AND state IN {CLOSED})"""
"""Every subscription for the file ever made: two halves, since each has an index of its own."""
_LIVE = {TransferObservation.ARCHIVING.value, *(state.value for state in LIVE_TRANSFERS)}


@dataclass(frozen=True)
class QueueRules:
    """What the place in the queue depends on: pauses after failures, and the head start of each activity."""

    transfers: TransferLimits = DEFAULT_TRANSFER_LIMITS
    deletions: DeletionSettings = DELETION
    head_starts: Mapping[str, timedelta] = field(default_factory=dict)


DEFAULT_RULES = QueueRules()


@dataclass(frozen=True)
class Explanation:
    """One subscription. ``because``: why it stands where it stands.

    ``attempts``, newest first, those of earlier subscriptions for the same here included: subscription_id, batch_id,
    backend, server (the address of its FTS, where it is recorded), job_id, source, state, reason, is_recoverable,
    blame (whose fault it was: ``inventory.subscription.blame``), is_excused (not counted: a whole site was ill),
    verified_by (``inventory.states.VerifiedBy``), started_at, finished_at (of one that is archiving: when it had
    arrived). ``sources``, of a copy: as of ``FileExplanation``, with num_failed and last_error of this subscription.
    """

    subscription_id: int
    lfn: str
    size_bytes: int
    site: str
    action: str
    state: str
    hold_reason: str | None
    last_error: str | None
    note: str | None
    origin: str
    activity: str
    num_attempts: int
    created_at: datetime
    updated_at: datetime
    because: str
    attempts: list[dict[str, Any]]
    sources: list[dict[str, Any]]


@dataclass(frozen=True)
class FileExplanation:
    """One file. ``subscriptions``: at each site the active one, or the last. ``sources``: the sites that have it: site,
    storage_type, status, is_usable (for copies, now), because."""

    lfn: str
    dataset: str
    block: str
    size_bytes: int
    sources: list[dict[str, Any]]
    subscriptions: list[Explanation]


def why(db: Database, subscription_id: int, rules: QueueRules = DEFAULT_RULES) -> Explanation:
    """Why a subscription stands where it stands; ``InventoryError`` when there is none with this id."""
    with db.begin() as connection:
        return _explain(connection, subscription_id, rules)


def why_file(db: Database, lfn: str, site: str | None = None, rules: QueueRules = DEFAULT_RULES) -> FileExplanation:
    """Where a file is and its subscriptions, at ``site`` (a name or glob) or anywhere. InventoryError: unknown."""
    with db.begin() as connection:
        file = connection.execute(
            text("""
            SELECT f.id, f.lfn, f.size_bytes, a.name AS dataset, b.name AS block
            FROM files f JOIN blocks b ON b.id = f.block_id JOIN datasets a ON a.id = b.dataset_id
            WHERE md5(f.lfn)::uuid = md5(:lfn)::uuid AND f.lfn = :lfn"""),
            {"lfn": lfn},
        ).one_or_none()
        if file is None:
            hint = no_file(connection, lfn)
            raise UnknownNameError(f"there is no file {lfn}.{hint}" if hint else f"there is no file {lfn}", lfn=lfn)
        sites = None if site is None else [known.id for known in find_sites(connection, [site])]
        subscriptions = connection.execute(
            text(f"""
            SELECT DISTINCT ON (s.site_id) s.id FROM {OF_FILE} s
            WHERE (CAST(:sites AS smallint[]) IS NULL OR s.site_id = ANY(:sites))
            ORDER BY s.site_id, s.state IN {ACTIVE} DESC, s.id DESC"""),
            {"file": file.id, "sites": sites},
        ).scalars()
        return FileExplanation(
            file.lfn,
            file.dataset,
            file.block,
            file.size_bytes,
            _sources(connection, file.id, None, None),
            [_explain(connection, subscription, rules) for subscription in list(subscriptions)],
        )


_WHENS = " ".join(f"WHEN {condition} THEN '{why}'" for why, condition in WAITS.items())
_WHY_IT_WAITS = f"CASE {_WHENS} END"


def _explain(connection: Connection, subscription_id: int, rules: QueueRules) -> Explanation:
    subscription = connection.execute(
        text(f"""
        SELECT s.id AS subscription_id, f.lfn, f.size_bytes, d.name AS site, s.action, s.state, s.hold_reason,
               s.last_error, s.note, s.origin, s.activity, s.num_attempts, s.num_excused, s.created_at, s.updated_at,
               s.file_id,
               s.site_id, s.site_id IN {WRITABLE} AS is_writable, s.site_id IN {MOVING} AS is_moving,
               d.status AS site_status, now() AS now, s.protects_until,
               CASE WHEN s.action = '{SubscriptionAction.DELETE}' THEN {_WHY_IT_WAITS} END AS why_it_waits
        FROM subscriptions s JOIN files f ON f.id = s.file_id JOIN sites d ON d.id = s.site_id WHERE s.id = :id"""),
        {"id": subscription_id, **queue_params(rules.deletions)},
    ).one_or_none()
    if subscription is None:
        raise UnknownNameError(f"there is no subscription {subscription_id}", subscription_id=subscription_id)
    attempts = _attempts(connection, subscription)
    sources = (
        _sources(connection, subscription.file_id, subscription_id, subscription.site_id)
        if subscription.action == SubscriptionAction.COPY
        else []
    )
    told = {name: value for name, value in subscription._mapping.items() if name in Explanation.__dataclass_fields__}
    because = _because(connection, subscription, attempts, sources, rules)
    return Explanation(**told, because=because, attempts=attempts, sources=sources)


def _attempts(connection: Connection, subscription: Any) -> list[dict[str, Any]]:
    rows = connection.execute(
        text(f"""
        SELECT s.id AS subscription_id, t.batch_id, b.backend, b.server, CASE WHEN b.backend = '{Backend.FTS}'
          THEN b.job_id::text END
               AS job_id, o.name AS source,
               CASE WHEN {is_archiving("t")} THEN '{TransferObservation.ARCHIVING}' ELSE t.state END AS state,
               t.reason, t.is_recoverable, t.blame, t.is_excused, t.verified_by, t.started_at, t.finished_at
        FROM {OF_FILE} s JOIN transfers t ON t.subscription_id = s.id
        JOIN transfer_batches b ON b.id = t.batch_id JOIN sites o ON o.id = t.source_site_id
        WHERE s.site_id = :site AND s.action = :action
        UNION ALL
        SELECT s.id, x.batch_id, 'deletion', NULL, NULL, NULL, x.state, x.reason, x.is_recoverable, NULL, NULL,
               NULL, NULL, x.finished_at
        FROM {OF_FILE} s JOIN deletions x ON x.subscription_id = s.id
        WHERE s.site_id = :site AND s.action = :action
        ORDER BY 1 DESC, 2 DESC LIMIT :limit"""),
        {
            "file": subscription.file_id,
            "site": subscription.site_id,
            "action": subscription.action,
            "limit": MAX_ATTEMPTS,
        },
    )
    return [dict(row) for row in rows.mappings()]


def _sources(
    connection: Connection, file_id: int, subscription_id: int | None, but_site_id: int | None
) -> list[dict[str, Any]]:
    """The sites that have the file, those that can be read first."""
    rows = connection.execute(
        text(f"""
        SELECT o.name AS site, o.storage_type, o.status, o.id IN {READABLE} AS is_readable,
               (SELECT string_agg(reason || ', until ' || coalesce(
                         to_char(ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'), 'resumed'), '; ' ORDER BY id)
                FROM site_downtimes
                WHERE site_id = o.id AND begins_at <= now() AND (ends_at IS NULL OR ends_at > now())) AS downtime,
               {is_doomed("f.id", "o.id")} AS is_doomed,
               coalesce(past.num_failed, 0) AS num_failed, coalesce(past.is_refused, false) AS is_refused,
               past.last_error
        FROM files f JOIN block_replicas r ON r.block_id = f.block_id JOIN sites o ON o.id = r.site_id
        {listed_join("f.id", "r", "p")}
        LEFT JOIN LATERAL (
          SELECT count(*) FILTER (WHERE t.state = '{TransferState.FAILED}') AS num_failed,
                 (array_agg(t.state = '{TransferState.FAILED}' AND t.is_recoverable IS FALSE
                   ORDER BY t.id DESC))[1] AS is_refused,
                 (array_agg(t.reason ORDER BY t.id DESC) FILTER (WHERE t.state = '{TransferState.FAILED}'))[1]
                   AS last_error
          FROM transfers t WHERE t.subscription_id = :subscription
            AND (t.source_site_id = r.site_id OR r.site_id = ANY(t.other_source_site_ids))) past ON true
        WHERE f.id = :file AND {is_present_by_join("r", "p")} AND r.site_id IS DISTINCT FROM :but
        ORDER BY 4 DESC, o.status <> '{SiteStatus.READY}', o.storage_type = '{StorageType.MSS}', o.name"""),
        {"subscription": subscription_id, "file": file_id, "but": but_site_id},
    ).mappings()
    return [_judged(row) for row in rows]


def _judged(row: Any) -> dict[str, Any]:
    source = {name: row[name] for name in ("site", "storage_type", "status", "num_failed", "last_error")}
    usable, because = True, "can be read"
    if row["downtime"]:
        usable, because = False, f"in a downtime: {row['downtime']}"
    elif not row["is_readable"]:
        usable, because = False, f"its status is {row['status']}"
    elif row["is_refused"]:
        usable, because = False, f"the last attempt from there failed for good: {row['last_error']}"
    elif row["is_doomed"]:
        because = "can be read, but is to be deleted there"
    elif row["status"] == SiteStatus.MORGUE:
        because = "can be read as a last resort: the site is in the morgue"
    elif row["storage_type"] == StorageType.MSS:
        because = "can be read, from tape"
    return {**source, "is_usable": usable, "because": because}


def _because(
    connection: Connection,
    subscription: Any,
    attempts: Sequence[dict[str, Any]],
    sources: list[dict[str, Any]],
    rules: QueueRules,
) -> str:
    if subscription.state == SubscriptionState.HELD:
        return _why_held(subscription, sources)
    if subscription.state == SubscriptionState.INBATCH:
        return _why_in_batch(subscription, attempts)
    if subscription.state == SubscriptionState.DONE:
        return f"done: the file {'is there' if subscription.action == SubscriptionAction.COPY else 'is gone'}"
    if subscription.state == SubscriptionState.CANCELLED:
        if subscription.note:
            return f"withdrawn by {subscription.note}"
        if (subscription.last_error or "").startswith(TAKEN_BACK):
            return f"withdrawn: {subscription.last_error}"
        return "withdrawn: the opposite was subscribed, or it was made anew"
    return _why_queued(connection, subscription, rules)


def _why_held(subscription: Any, sources: Sequence[dict[str, Any]]) -> str:
    where = f"{subscription.site} ({_why_not_writable(subscription)})"
    if subscription.hold_reason == HoldReason.NO_SOURCE:
        if sources:
            return f"held: no site had the file; now {sources[0]['site']} has: the next run releases it"
        return "held: no site has the file; released by itself as soon as one has it"
    if subscription.hold_reason == HoldReason.SITE_UNAVAILABLE:
        if not subscription.is_writable:
            return f"held: nothing can be written or deleted at {where}; released by itself when it is back"
        if subscription.action == SubscriptionAction.COPY and not any(source["is_usable"] for source in sources):
            return "held: no site that has the file can be read now; released by itself when one is back"
        return "held: a site was not available; it is again: the next run releases it"
    if subscription.hold_reason == HoldReason.ALL_FAILED and subscription.action == SubscriptionAction.DELETE:
        return (
            f"held: given up after {subscription.num_attempts} attempts ({subscription.last_error}); "
            "released by hand only"
        )
    if subscription.hold_reason == HoldReason.ALL_FAILED:
        return (
            "held: the last attempt from each site that has the file failed for good; released by itself when another "
            "site has it, or by hand once what failed is mended"
        )
    if subscription.hold_reason == HoldReason.SUSPENDED:
        is_kept = subscription.protects_until is None or subscription.protects_until > subscription.now
        until = "" if subscription.protects_until is None else f" until {subscription.protects_until:%Y-%m-%d}"
        excused = f" ({subscription.num_excused} not counted)" if subscription.num_excused else ""
        kept = f"its last source is kept{until}" if is_kept else "its last source is not kept any more"
        return (
            f"suspended: {subscription.num_attempts} attempts failed{excused}, the last with "
            f"{subscription.last_error}; nothing is tried until a person releases it, once that is mended; {kept}"
        )
    if subscription.hold_reason == HoldReason.OPERATOR:
        return f"held by hand ({subscription.note}); released by hand only"
    return f"held: refused ({subscription.last_error}); released by hand only, once that is mended"


def _why_not_writable(subscription: Any) -> str:
    return (
        "in a downtime" if subscription.site_status == SiteStatus.READY else f"its status is {subscription.site_status}"
    )


def _why_in_batch(subscription: Any, attempts: Sequence[dict[str, Any]]) -> str:
    live = [a for a in attempts if a["subscription_id"] == subscription.subscription_id and a["state"] in _LIVE]
    if not live:
        return "in no batch any more: the next run queues it again"
    found = live[0]
    if subscription.action == SubscriptionAction.DELETE:
        return f"being deleted, in deletion batch {found['batch_id']}"
    if found["backend"] == Backend.DIRECT:
        return f"being copied from {found['source']} by Dynamo itself, in batch {found['batch_id']}"
    told = {
        "planned": "chosen to be copied from {source}; to be submitted to FTS as job {job_id}",
        "submitted": "waiting in FTS to be copied from {source}, job {job_id}",
        "staging": "being brought online from tape at {source}, FTS job {job_id}",
        "active": "being copied from {source}, FTS job {job_id}",
        "archiving": "copied from {source}, not on tape yet (archiving since {since}), FTS job {job_id}",
    }
    arrived_at = found["finished_at"]
    since = time_text(arrived_at) if arrived_at else ""
    return told[found["state"]].format(**found, since=since)


def _why_queued(connection: Connection, subscription: Any, rules: QueueRules) -> str:
    if not subscription.is_writable:
        return (
            f"queued; the next run holds it: {subscription.site} is not available ({_why_not_writable(subscription)})"
        )
    if subscription.action == SubscriptionAction.DELETE:
        reason = _why_nothing_is_deleted(connection, subscription)
        if reason:
            return f"queued: it waits, since {reason}"
    if subscription.is_moving:
        return (
            f"queued: it waits, since the source of {subscription.site} reports another endpoint: the old one is in "
            "force until nothing is under way there, or somebody accepts the new one (dynamo site accept)"
        )
    if _is_busy(connection, subscription):
        return "queued: it waits for what an earlier subscription began with the same file there"
    reason = _why_it_is_ill(connection, subscription, rules) if subscription.action == SubscriptionAction.COPY else None
    if reason:
        return f"queued: it waits, since {reason}"
    if subscription.why_it_waits:
        return f"queued: it waits, since {subscription.why_it_waits}"
    until = _paused_until(subscription, rules)
    if until is not None and until > subscription.now:
        return f"failed ({subscription.last_error}); to be tried again from {time_text(until)} on"
    place, number = _place(connection, subscription, rules)
    kind = "copies to" if subscription.action == SubscriptionAction.COPY else "deletions at"
    return f"queued: number {place:,} of {number:,} {kind} {subscription.site} that wait"


def _why_it_is_ill(connection: Connection, subscription: Any, rules: QueueRules) -> str | None:
    """At the whole destination."""
    for place in ill_places(connection, rules.transfers):
        if (place.site_id, place.source_site_id) == (subscription.site_id, None):
            return (
                f"nearly all copies to {place.site} fail (fault of {WHOSE[place.blame]}, last: {place.reason}); "
                f"{rules.transfers.probe_files} files are tried every {rules.transfers.probe_every_min:g} minutes, and "
                "when they arrive it goes on by itself"
            )
    return None


def _why_nothing_is_deleted(connection: Connection, subscription: Any) -> str | None:
    """At the whole site."""
    others = others_on_storage(connection, subscription.site_id)
    if others:
        return (
            f"{', '.join(others)} has the same storage as {subscription.site}, or a part of it "
            "(prefixes that are equal or lie in each other)"
        )
    return ambiguous_mapping(connection, subscription.site_id)


def _paused_until(subscription: Any, rules: QueueRules) -> datetime | None:
    limits = rules.transfers if subscription.action == SubscriptionAction.COPY else rules.deletions
    return backoff_of(limits).until(subscription.num_attempts, subscription.updated_at, subscription.num_excused)


def _is_busy(connection: Connection, subscription: Any) -> bool:
    """Whether another task has the file in its hands at that site, for whatever subscription."""
    is_copy = subscription.action == SubscriptionAction.COPY
    at = "site_id = :site" if is_copy else "(site_id = :site OR source_site_id = :site)"
    tables = f"SELECT FROM {OPEN_TRANSFERS} t WHERE file_id = :file AND {at}"
    if is_copy:
        tables += f" UNION ALL SELECT FROM {OPEN_DELETIONS} d WHERE file_id = :file AND site_id = :site"
    return bool(
        connection.execute(
            text(f"SELECT EXISTS ({tables})"), {"file": subscription.file_id, "site": subscription.site_id}
        ).scalar_one()
    )


def _place(connection: Connection, subscription: Any, rules: QueueRules) -> tuple[int, int]:
    """Its place among the queued subscriptions of its kind at its site, from 1, and their number."""
    row = connection.execute(
        text(f"""
        WITH queued AS (
          SELECT s.id, s.created_at - coalesce(h.seconds, 0) * interval '1 second' AS since FROM subscriptions s
          LEFT JOIN unnest(CAST(:activities AS text[]), CAST(:seconds AS float8[])) AS h (activity, seconds)
            ON h.activity = s.activity
          WHERE s.action = :action AND s.site_id = :site AND s.state IN {QUEUED})
        SELECT count(*) FILTER (WHERE (q.since, q.id) <= (w.since, w.id)), count(*)
        FROM queued q, queued w WHERE w.id = :id"""),
        {
            "activities": list(rules.head_starts),
            "seconds": [head_start.total_seconds() for head_start in rules.head_starts.values()],
            "action": subscription.action,
            "site": subscription.site_id,
            "id": subscription.subscription_id,
        },
    ).one()
    return int(row[0]), int(row[1])
