"""Locks: what must not be deleted. Set with a reason and, better, an end; taken back, never erased (SEMANTICS §9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.glob import is_glob, texts_expr
from dynamo_ops.base.text import near
from dynamo_ops.base.times import moment_after, time_text, too_far
from dynamo_ops.database.connection import Database, insert_frame, select_frame
from dynamo_ops.database.locks import Lock as AdvisoryLock
from dynamo_ops.database.locks import hold
from dynamo_ops.database.reading import Snapshot
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import LOCKABLE, InventoryFrames, empty
from dynamo_ops.inventory.names import is_dataset, near_dataset
from dynamo_ops.inventory.replica.copies import DOOMED_FILES, doomed_in
from dynamo_ops.inventory.subscription.give_back import GivenBack, give_back
from dynamo_ops.lock.coverage import covered_names
from dynamo_ops.lock.rows import locked_rows

LONGEST_DAYS = 3_660
"""Ten years, longer than a thesis or the analysis of a run. What is to stay for longer is locked without an end, which
somebody looks at again; a year 2099 is mostly a slip."""
IN_FORCE = "l.removed_at IS NULL AND (l.expires_at IS NULL OR l.expires_at > now())"
COLUMNS = f"""
    SELECT l.id, l.item, l.sites, l.groups, l.reason, l.created_by, l.created_at, l.expires_at, l.removed_at,
           l.removed_by, l.removed_because, ({IN_FORCE}) AS is_in_force FROM locks l"""


@dataclass(frozen=True)
class NewLock:
    """A lock that was set. ``warnings``: what its author may not have meant. ``given_back``: deletions that it took
    back."""

    id: int
    warnings: tuple[str, ...]
    given_back: GivenBack


def add_lock(
    database: Database,
    item: str,
    *,
    sites: str = "",
    groups: str = "",
    until: str | None = None,
    reason: str,
    by: Person,
    now: datetime,
    force: bool = False,
) -> NewLock:
    """Lock ``item`` (dataset, dataset#block, or globs of these) at ``sites`` for ``groups`` (a name or glob each).

    ``sites``, ``groups`` empty: all. ``until``: a date, or how long from ``now`` (``90 days``); None: for ever.
    ``force``: also what the inventory does not know. Deletions of what it covers that no executor has claimed are taken
    back, and the former owners have it again; what is decided over deletions at this moment is waited for. Raises
    AccessError, and InventoryError that names what to mend.
    """
    item, reason = item.strip(), reason.strip()
    if not reason:
        raise InventoryError(f"lock of {item!r}: say why (reason is empty)", item=item)
    expires_at = resolve_until(until, now) if until else None
    with database.snapshot() as snapshot:
        warnings = _checked_item(database, snapshot, item, force=force)
        warnings += scope_warnings(sites_and_groups(snapshot), sites.strip(), groups.strip())
    with acting(database, by, Action.LOCK, lock_words(item, sites, groups, expires_at), reason) as act:
        act.check(_target(item, sites, groups, days=(expires_at - now) / timedelta(days=1) if expires_at else None))
        connection = act.connection
        hold(connection, AdvisoryLock.DELETIONS)
        lock_id = connection.execute(
            text("""
            INSERT INTO locks (item, sites, groups, reason, created_by, created_at, expires_at)
            VALUES (:item, :sites, :groups, :reason, :by, :now, :until) RETURNING id"""),
            {
                "item": item,
                "sites": sites.strip(),
                "groups": groups.strip(),
                "reason": reason,
                "by": by.name,
                "now": now,
                "until": expires_at,
            },
        ).scalar_one()
        given_back = _take_back(connection, int(lock_id), item)
        act.ids.append(int(lock_id))
    return NewLock(int(lock_id), tuple(warnings), given_back)


def _condemned(doomed: str) -> str:
    return f"""
    CREATE TEMPORARY TABLE condemned ON COMMIT DROP AS
    SELECT r.block_id, r.dataset_id, r.site_id, coalesce(r.group_id, r.former_group_id) AS group_id
    FROM block_replicas r WHERE (r.block_id, r.site_id) IN ({doomed})
    ORDER BY r.block_id, r.site_id FOR UPDATE OF r"""


CONDEMNED = _condemned(f"SELECT f.block_id, d.site_id FROM {DOOMED_FILES} AS d JOIN files f ON f.id = d.file_id")
"""Block replicas of which something is being deleted, with the owner that a lock is about."""
_OF_ONE = """SELECT b.id FROM blocks b JOIN datasets o ON o.id = b.dataset_id WHERE o.name COLLATE "C" = :dataset"""
CONDEMNED_OF_ONE = _condemned(f"SELECT block_id, site_id FROM {doomed_in(_OF_ONE)} AS of_one")
"""The same of one dataset."""


def _take_back(connection: Connection, lock_id: int, item: str) -> GivenBack:
    dataset = item.partition("#")[0]
    connection.execute(text(CONDEMNED if is_glob(dataset) else CONDEMNED_OF_ONE), {"dataset": dataset})
    connection.execute(text("ANALYZE condemned"))
    replicas = select_frame(connection, f"SELECT {', '.join(LOCKABLE)} FROM condemned", LOCKABLE)
    connection.execute(text("CREATE TEMPORARY TABLE now_locked (block_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "now_locked", locked_rows(connection, "condemned", replicas))
    return give_back(connection, "SELECT block_id, site_id FROM now_locked", reason=f"lock {lock_id} covers it")


def resolve_until(until: str, now: datetime) -> datetime:
    """The end of a lock, in UTC: a date, a moment (ISO 8601), or a time from now (``90 days``, ``3d``).

    Raises InventoryError when it is none of these, not after ``now``, or later than ``LONGEST_DAYS``.
    """
    try:
        end = moment_after(until, now)
    except ValueError as error:
        raise InventoryError(f"until {error}", until=until) from error
    if end <= now:
        raise InventoryError(f"until {until!r} is {time_text(end)}, which is over: nothing is locked", until=until)
    if far := too_far(end, now, LONGEST_DAYS):
        raise InventoryError(
            f"until {far}, the longest that a lock may last; without an end it is for ever", until=until
        )
    return end


def lock_words(item: str, sites: str, groups: str, until: datetime | None = None) -> str:
    """A lock in words: ``/A/* at T2_* of physics until 2026-12-01T00:00Z``."""
    end = f"until {time_text(until)}" if until else ""
    return " ".join(filter(None, (item, sites and f"at {sites}", groups and f"of {groups}", end)))


def _target(item: str, sites: str, groups: str, *, days: float | None = None, owner: str | None = None) -> Target:
    """What a lock touches: empty sites and groups are all."""
    return Target(
        datasets=(item.partition("#")[0],),
        sites=tuple(filter(None, (sites.strip(),))),
        groups=tuple(filter(None, (groups.strip(),))),
        days=days,
        owner=owner,
    )


def remove_lock(database: Database, lock_id: int, *, reason: str, by: Person) -> None:
    """Take a lock back; it stays to be seen. Raises AccessError, InventoryError: it is not in force, or no reason is
    given."""
    if not reason.strip():
        raise InventoryError(f"lock {lock_id}: say why it is removed (reason is empty)", lock_id=lock_id)
    lock = lock_row(database, lock_id)
    named = str(lock["item"]), str(lock["sites"]), str(lock["groups"])
    with acting(database, by, Action.UNLOCK, f"lock {lock_id}: {lock_words(*named)}", reason.strip()) as act:
        act.check(_target(*named, owner=str(lock["created_by"])))
        act.ids.append(lock_id)
        changed = act.connection.execute(
            text(f"""
            UPDATE locks l SET removed_at = now(), removed_by = :by, removed_because = :reason
            WHERE l.id = :id AND {IN_FORCE}"""),
            {"id": lock_id, "by": by.name, "reason": reason.strip()},
        ).rowcount
        if not changed:
            raise not_in_force(lock_row(database, lock_id))


def not_in_force(lock: Mapping[str, object]) -> InventoryError:
    """What is said of a lock that is over, to who wants to remove it."""
    over = (
        f"it was removed by {lock['removed_by']}: {lock['removed_because']}"
        if lock["removed_at"]
        else f"it expired at {lock['expires_at']:%Y-%m-%dT%H:%MZ}"
    )
    return InventoryError(f"lock {lock['id']} is not in force: {over}", lock_id=lock["id"])


def list_locks(database: Database, *, item: str | None = None, expired: bool = False) -> pl.DataFrame:
    """Locks in force, newest first; with ``expired`` instead those that are over (expired or removed).

    ``item``: only locks of this item, or of items that the glob matches. Columns: id, item, sites, groups, reason,
    created_by, created_at, expires_at, removed_at, removed_by, removed_because, is_in_force.
    Raises InventoryError, with near names, for an item that is neither a lock's nor a dataset's.
    """
    locks = database.frame(f"{COLUMNS} WHERE {'NOT ' if expired else ''}({IN_FORCE}) ORDER BY l.id DESC")
    if item is None:
        return locks
    named = locks.filter(texts_expr([item], pl.col("item")))
    if named.is_empty() and not is_glob(item) and not is_dataset(database, item.partition("#")[0]):
        hint = near(item, locks["item"]) or near_dataset(database, item)
        message = f"no lock is on {item!r}, nor is a dataset called so"
        raise UnknownNameError(f"{message}.{hint}" if hint else message, item=item)
    return named


def lock_row(database: Database, lock_id: int) -> dict[str, object]:
    """A lock, over or not: the columns of ``list_locks``. Raises InventoryError if there is none."""
    locks = database.frame(f"{COLUMNS} WHERE l.id = $1", (lock_id,))
    if locks.is_empty():
        raise UnknownNameError(f"there is no lock {lock_id}", lock_id=lock_id)
    return locks.row(0, named=True)


def sites_and_groups(snapshot: Snapshot) -> InventoryFrames:
    """Sites and groups; nothing else."""
    sites = snapshot.frame("SELECT id::bigint AS site_id, name AS site, storage_type, status FROM sites")
    groups = snapshot.frame('SELECT id::bigint AS group_id, name AS "group", ownership_level FROM groups')
    return InventoryFrames(
        sites,
        groups,
        empty(f.DATASETS),
        empty(f.BLOCKS),
        empty(f.DATASET_REPLICAS),
        empty(f.BLOCK_REPLICAS),
    )


def named_datasets(snapshot: Snapshot, dataset: str) -> pl.DataFrame:
    """``dataset_id``, ``dataset`` of those that the name or glob means."""
    if not is_glob(dataset):
        return snapshot.frame("SELECT id AS dataset_id, name AS dataset FROM datasets WHERE name = $1", (dataset,))
    names = snapshot.frame("SELECT id AS dataset_id, name AS dataset FROM datasets")
    return names.filter(texts_expr([dataset], pl.col("dataset")))


def _checked_item(database: Database, snapshot: Snapshot, item: str, *, force: bool) -> list[str]:
    """Warnings about the item; raises InventoryError for one that can cover nothing."""
    dataset, separator, block = item.partition("#")
    if not dataset or (separator and not block) or any(char.isspace() for char in item):
        raise InventoryError(
            f"{item!r} is no item: expected a dataset, dataset#block, or globs of these, without spaces", item=item
        )
    datasets = named_datasets(snapshot, dataset)
    if datasets.is_empty():
        if is_glob(dataset):
            hint = near_dataset(database, dataset)
            return [f"no dataset matches {dataset} now: it will cover those that come{f'.{hint}' if hint else ''}"]
        if force:
            return [f"dataset {dataset} is not known now: it is covered once it comes"]
        raise UnknownNameError(
            f"unknown dataset {dataset!r}.{near_dataset(database, dataset)} "
            "Force it to lock a dataset that is still to come",
            dataset=dataset,
        )
    if not block or is_glob(dataset):
        return []
    blocks = snapshot.frame("SELECT name FROM blocks WHERE dataset_id = $1", (int(datasets["dataset_id"][0]),))["name"]
    if blocks.to_frame("name").select(texts_expr([block], pl.col("name"))).to_series().any():
        return []
    if is_glob(block) or force:
        return [f"no block of {dataset} is called {block} now: it will cover those that come"]
    raise UnknownNameError(
        f"{dataset} has no block {block!r}.{near(block, blocks)} Force it to lock a block that is still to come",
        dataset=dataset,
        block=block,
    )


def scope_warnings(frames: InventoryFrames, sites: str, groups: str) -> list[str]:
    """What somebody may not have meant who wrote these ``sites`` and ``groups`` of a lock."""
    covered = covered_names(frames, sites, groups)
    return [
        f"no {noun} matches {pattern!r}: the lock counts for all {noun}s"
        for noun, pattern, names in (("site", sites, covered["sites"]), ("group", groups, covered["groups"]))
        if pattern and not names
    ]
