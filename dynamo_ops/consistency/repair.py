"""Findings → orphans deleted, missing files subscribed again. Every finding is judged once more before it is acted on.

Between listing and repair may lie days and a person's approval: what the inventory says now decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import PlanError
from dynamo_ops.base.spans import span
from dynamo_ops.base.times import time_text
from dynamo_ops.consistency.freshness import ALL_MERGED, MetadataSources, knowledge
from dynamo_ops.consistency.settings import AS_SHIPPED, SiteRules
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.deletion.directories import directories_due, with_parents
from dynamo_ops.deletion.same_directory import objection
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import tell
from dynamo_ops.inventory.checks import (
    DOUBTS,
    JUDGED_CHECKS,
    UNKNOWN_TO_INVENTORY,
    CheckState,
    FindingKind,
    FindingState,
)
from dynamo_ops.inventory.doubt.recovery import Verdict, fetch_again
from dynamo_ops.inventory.replica.copies import is_held_by_partner, is_last_copy
from dynamo_ops.inventory.site.ambiguous import ambiguous_mapping
from dynamo_ops.inventory.site.downtime import downtime_since
from dynamo_ops.inventory.site.shared import others_on_storage
from dynamo_ops.inventory.states import ACTIVE, LIVE_TRANSFERS, DeletionObservation
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.storage.protocol import Condition, Storage, delete_if
from dynamo_ops.storage.registry import SiteStorage

FILES_PER_CHUNK = 500
SHOWN_BLOCKS = 20
"""Of a dataset of which files are lost, in the event."""


@dataclass(frozen=True)
class RepairSummary:
    """``num_resubscribed``: missing files copied again. ``num_lost``: missing, no other copy. ``num_skipped``: findings
    that the inventory has overtaken. ``num_failed``: deletions that the storage refused or could not do.
    """

    check_id: int
    num_resubscribed: int = 0
    num_lost: int = 0
    num_deleted: int = 0
    bytes_deleted: int = 0
    num_failed: int = 0
    num_skipped: int = 0
    num_directories_removed: int = 0


# What the inventory says of the file of a finding now, whatever it said when the lists were made. It is at the site,
# expected or being copied there; or it is in an unmanaged area, and yet somebody's; or nobody else has a good copy.
STAYS_BECAUSE = f"""(
    SELECT CASE
      WHEN EXISTS (SELECT FROM block_replicas r WHERE r.block_id = f.block_id AND r.site_id = :site)
        OR EXISTS (SELECT FROM subscriptions s WHERE s.file_id = f.id AND s.site_id = :site AND s.state IN
                 {ACTIVE})
        OR EXISTS (SELECT FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id
                 WHERE s.file_id = f.id AND s.site_id = :site
                   AND t.state IN {LIVE_TRANSFERS})
        OR EXISTS (SELECT FROM blocks b JOIN dataset_replicas d ON d.dataset_id = b.dataset_id
                 WHERE b.id = f.block_id AND d.site_id = :site AND d.is_growing)
        THEN 'the inventory has come to know it since the check'
      WHEN {is_held_by_partner("f.id", ":site")} THEN 'a site that shares this storage has it, or shall have it'
      WHEN x.kind = '{FindingKind.UNMANAGED}' THEN 'the inventory knows it: it is not unmanaged'
      WHEN {is_last_copy("f.id", ":site")} THEN 'the catalogue knows it, and no other site has a good copy'
    END FROM files f WHERE md5(f.lfn)::uuid = md5(x.lfn)::uuid AND f.lfn = x.lfn)"""

# A check of before migration 0012: one sight was enough for it, and whether the file was changed since cannot be seen.
UNDATED = """CASE WHEN x.modified_at IS NULL THEN
    'nobody noted when the file was changed (the check is of before an upgrade): the next check decides' END"""

# By id, from where the chunk before ended: the index leads to the next ones, past all that are done.
JUDGE_CHUNK = f"""
    WITH chunk AS (
      SELECT x.id, coalesce({STAYS_BECAUSE}, {UNDATED}) AS stays_because FROM consistency_findings x
      WHERE x.check_id = :check AND x.kind = :kind AND x.id > :after AND x.state = '{FindingState.FOUND}'
      ORDER BY x.id LIMIT :size)
    UPDATE consistency_findings x SET
      state = CASE WHEN chunk.stays_because IS NULL THEN x.state ELSE '{FindingState.FAILED}' END,
      reason = coalesce(chunk.stays_because, x.reason),
      claimed_at = CASE WHEN chunk.stays_because IS NULL THEN now() ELSE x.claimed_at END
    FROM chunk WHERE x.id = chunk.id
    RETURNING x.id, x.lfn, x.size_bytes, x.modified_at, x.state"""


# One row per file that is missing or of a wrong size. (One that is to be deleted elsewhere will do as source.)
TO_JUDGE = f"""
    SELECT x.file_id, CAST(:site AS smallint) AS site_id, x.kind = '{FindingKind.WRONG_SIZE}' AS is_there,
           false AS must_be_good
    FROM consistency_findings x
    WHERE x.check_id = :check AND x.kind IN {DOUBTS} AND x.state = '{FindingState.FOUND}' AND x.file_id IS NOT NULL"""


LOST_BY_DATASET = f"""
    SELECT dataset.name AS object_name, CAST(NULL AS text) AS person,
           ARRAY(SELECT DISTINCT owner.name
                 FROM block_replicas AS replica JOIN groups AS owner ON owner.id = replica.group_id
                 WHERE replica.dataset_id = dataset.id AND replica.site_id = CAST(:site AS smallint)
                 ORDER BY 1) AS groups,
           ARRAY[site.name] AS sites, ARRAY[dataset.name] AS datasets,
           jsonb_build_object(
               'check', CAST(:check AS bigint), 'num_files', count(*), 'size_bytes', sum(file.size_bytes)::bigint,
               'num_blocks', count(DISTINCT block.id),
               'blocks', to_jsonb((array_agg(DISTINCT block.name ORDER BY block.name))[1 : {SHOWN_BLOCKS}])) AS facts
    FROM judged JOIN files AS file ON file.id = judged.file_id JOIN blocks AS block ON block.id = file.block_id
        JOIN datasets AS dataset ON dataset.id = block.dataset_id
        JOIN sites AS site ON site.id = CAST(:site AS smallint)
    WHERE judged.verdict = '{Verdict.LOST}' GROUP BY dataset.id, dataset.name, site.name"""


@span("consistency.repair")
def repair(
    db: Database,
    check_id: int,
    open_storage: SiteStorage,
    rules: SiteRules = AS_SHIPPED,
    *,
    sources: MetadataSources = ALL_MERGED,
) -> RepairSummary:
    """Act on the ``found`` findings of a compared check. Safe to run again after a kill: what was done stays done.

    ``PlanError`` unless the check is ``compared`` (a refused one is never repaired), when its storage was listed longer
    than ``rules.max_age`` ago, and when the site was in a downtime since: to clear an old red task does no harm.
    Nothing that the inventory does not know is deleted while ``sources`` are not in. What a repaired check only
    reported stays so.
    """
    look(db, PauseKind.CONSISTENCY)
    check = _check_to_repair(db, check_id, rules.max_age)
    if check.state == CheckState.REPAIRED:
        return RepairSummary(check_id)
    resubscribed, lost, skipped = _repair_missing(db, check) if rules.repair_missing else (0, 0, 0)
    kinds = [FindingKind.ORPHAN] * rules.delete_orphans + [FindingKind.UNMANAGED] * rules.delete_unmanaged
    deleted = _delete_loose(db, check, kinds, open_storage, sources, rules.clean_directories) if kinds else {}
    with db.begin() as connection:
        connection.execute(
            text(f"""
            UPDATE consistency_checks SET state = '{CheckState.REPAIRED}', finished_at = now() WHERE id = :id"""),
            {"id": check_id},
        )
    return RepairSummary(check_id, resubscribed, lost, num_skipped=skipped + deleted.pop("skipped", 0), **deleted)


@dataclass(frozen=True)
class _Check:
    """A check that may be repaired. ``read_at``: when its lists were begun."""

    id: int
    site_id: int
    state: str
    read_at: datetime

    def refuse_downtime(self, connection: Connection) -> None:
        """``PlanError`` when the site was in a downtime since: what was there then may not be what is there now."""
        downtime = downtime_since(connection, self.site_id, self.read_at)
        if downtime:
            raise PlanError(
                f"consistency check {self.id} is void, nothing more is repaired: {downtime}. Run it anew after that",
                plan_id=self.id,
                state=self.state,
            )


def _check_to_repair(db: Database, check_id: int, max_age: timedelta) -> _Check:
    with db.begin() as connection:
        row = connection.execute(
            text("""
            SELECT site_id, state, refused_because, inventory_read_at, storage_listed_at,
                   storage_listed_at < now() - CAST(:max_age AS interval) AS is_old
            FROM consistency_checks WHERE id = :id"""),
            {"id": check_id, "max_age": max_age},
        ).one_or_none()
    if row is None or row.state not in JUDGED_CHECKS:
        state = row.state if row else "unknown"
        raise PlanError(
            f"consistency check {check_id} is {state}, not compared"
            + (f": {row.refused_because}" if row and row.refused_because else ""),
            plan_id=check_id,
            state=state,
        )
    if row.is_old and row.state != CheckState.REPAIRED:
        raise PlanError(
            f"consistency check {check_id} listed the storage at "
            f"{time_text(row.storage_listed_at)}, longer ago than max_age of consistency.yaml "
            f"({max_age}): nothing is repaired. Run the check anew",
            plan_id=check_id,
            state=row.state,
        )
    return _Check(check_id, int(row.site_id), row.state, row.inventory_read_at)


def _repair_missing(db: Database, check: _Check) -> tuple[int, int, int]:
    """Missing and wrong files leave the replica and are subscribed again, if there is a good copy; else a person
    must decide, nothing is changed. One transaction. Returns (resubscribed, lost, skipped).
    """
    params = {"check": check.id, "site": check.site_id}
    with db.begin() as connection:
        check.refuse_downtime(connection)
        fetch_again(connection, TO_JUDGE, origin="consistency", parameters=params)
        _settle_missing(connection, check.id)
        tell(connection, EventKind.FILE_LOST, LOST_BY_DATASET, params)
        rows = connection.execute(text("SELECT verdict, count(*) FROM judged GROUP BY verdict"))
        counts = {str(verdict): int(number) for verdict, number in rows}
    num_left = counts.get(Verdict.SKIP, 0) + counts.get(Verdict.TAPE, 0)
    return counts.get(Verdict.REPAIR, 0), counts.get(Verdict.LOST, 0), num_left


def _settle_missing(connection: Connection, check_id: int) -> None:
    connection.execute(
        text(f"""
        UPDATE consistency_findings x SET
          state = CASE j.verdict WHEN '{Verdict.REPAIR}' THEN '{FindingState.REPAIRED}'
            WHEN '{Verdict.LOST}' THEN '{FindingState.LOST}' ELSE '{FindingState.FAILED}' END,
          reason = CASE j.verdict WHEN '{Verdict.REPAIR}' THEN 'copied again'
                   WHEN '{Verdict.LOST}' THEN 'no other copy'
                   WHEN '{Verdict.TAPE}' THEN 'on tape nothing is overwritten: a person must decide'
                   ELSE 'the inventory has changed since the check' END
        FROM judged j
        WHERE x.check_id = :check AND x.file_id = j.file_id AND x.kind IN {DOUBTS}
          AND x.state = '{FindingState.FOUND}'"""),
        {"check": check_id},
    )


def _delete_loose(
    db: Database,
    check: _Check,
    kinds: Sequence[FindingKind],
    open_storage: SiteStorage,
    sources: MetadataSources,
    clean_directories: bool,
) -> dict[str, int]:
    """Delete findings of ``kinds``, chunk by chunk; then the directories that this left empty."""
    totals = {"num_deleted": 0, "bytes_deleted": 0, "num_failed": 0, "skipped": 0}
    storage = open_storage(check.site_id)
    try:
        for judged in _judged_chunks(db, check, kinds, sources, storage):
            look(db, PauseKind.CONSISTENCY)
            chunk = [finding for finding in judged if finding.state == FindingState.FOUND]
            totals["skipped"] += len(judged) - len(chunk)
            for name, number in (_delete_chunk(db, storage, chunk) if chunk else {}).items():
                totals[name] += number
        removed = _clean(db, check.id, check.site_id, storage) if clean_directories else 0
    finally:
        storage.close()
    return totals | {"num_directories_removed": removed}


def _judged_chunks(
    db: Database, check: _Check, kinds: Sequence[FindingKind], sources: MetadataSources, storage: Storage
) -> Iterator[Sequence[Any]]:
    """Chunk by chunk, each when the one before is done with."""
    for kind in kinds:
        params = {"check": check.id, "site": check.site_id, "kind": kind.value, "after": 0}
        while judged := _judge_chunk(db, check, params, sources, storage):
            yield judged
            params["after"] = max(finding.id for finding in judged)


def _judge_chunk(
    db: Database, check: _Check, params: dict[str, Any], sources: MetadataSources, storage: Storage
) -> Sequence[Any]:
    """The next findings, judged once more: those that stay, with the reason; the others claimed. Who says from now on
    that one of these is there (``dynamo inject``) is refused. An injection that has begun is waited for."""
    stale = knowledge(db, sources).stale_because or objection(db, check.site_id, storage)
    with db.begin() as connection:
        hold(connection, Lock.INVENTORY, shared=True)
        check.refuse_downtime(connection)
        if reason := stale or _shared(connection, check.site_id) or ambiguous_mapping(connection, check.site_id):
            return _keep_all(connection, params, reason)
        return connection.execute(text(JUDGE_CHUNK), params | {"size": FILES_PER_CHUNK}).all()


def _shared(connection: Connection, site_id: int) -> str | None:
    """Where another site has the same storage, its files look like orphans."""
    others = others_on_storage(connection, site_id)
    return f"{', '.join(others)} has the same storage, or a part of it" if others else None


def _keep_all(connection: Connection, params: dict[str, Any], reason: str) -> Sequence[Any]:
    return connection.execute(
        text(f"""
        UPDATE consistency_findings SET state = '{FindingState.FAILED}', reason = :reason
        WHERE check_id = :check AND kind = :kind AND state = '{FindingState.FOUND}' RETURNING id, state"""),
        {"check": params["check"], "kind": params["kind"], "reason": f"nothing is deleted: {reason}"},
    ).all()


def _delete_chunk(db: Database, storage: Storage, chunk: Sequence[Any]) -> dict[str, int]:
    as_listed = {row.lfn: Condition(size_bytes=row.size_bytes, modified_at=row.modified_at) for row in chunk}
    outcomes = delete_if(storage, as_listed)
    gone = {DeletionObservation.DELETED, DeletionObservation.NOT_FOUND}
    states = ["repaired" if outcome.observation in gone else "failed" for outcome in outcomes]
    with db.begin() as connection:
        connection.execute(
            text("""
            UPDATE consistency_findings x SET state = o.state, reason = o.reason
            FROM unnest(CAST(:ids AS bigint[]), CAST(:states AS text[]), CAST(:reasons AS text[]))
              AS o (id, state, reason)
            WHERE x.id = o.id"""),
            {
                "ids": [row.id for row in chunk],
                "states": states,
                "reasons": [outcome.reason or outcome.observation.value for outcome in outcomes],
            },
        )
    deleted = [
        row for row, outcome in zip(chunk, outcomes, strict=True) if outcome.observation == DeletionObservation.DELETED
    ]
    return {
        "num_deleted": len(deleted),
        "bytes_deleted": sum(row.size_bytes for row in deleted),
        "num_failed": states.count("failed"),
    }


def _clean(db: Database, check_id: int, site_id: int, storage: Storage) -> int:
    with db.begin() as connection:
        directories = (
            connection.execute(
                text(f"""
            SELECT DISTINCT regexp_replace(lfn, '/[^/]*$', '') FROM consistency_findings
            WHERE check_id = :check AND kind IN {UNKNOWN_TO_INVENTORY} AND state = '{FindingState.REPAIRED}'"""),
                {"check": check_id},
            )
            .scalars()
            .all()
        )
        due = directories_due(connection, site_id)
    keep = with_parents(due)
    return storage.remove_empty_directories([name for name in directories if name not in keep], keep)
