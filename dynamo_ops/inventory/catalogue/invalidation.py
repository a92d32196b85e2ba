"""Declaring datasets, blocks and files invalid: they leave the inventory, and nothing brings them back by itself.

For what is lost or bad beyond repair. The files stay on the storages as orphans, until a consistency check of the site
removes them. Names are kept in ``invalidations`` with who, when and why: merges leave these out, injections of them are
refused, until that is taken back (``undo``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import translate
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database, insert_frame, select_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.database.schema.request import OPEN_REQUESTS
from dynamo_ops.inventory.catalogue.faults import (
    MAX_FAULTS,
    Faults,
    near_block,
    near_dataset,
    shown,
    text_fault,
    what_else,
)
from dynamo_ops.inventory.catalogue.removal import ITEM_IS_GONE, remove_doomed
from dynamo_ops.inventory.kinds import CatalogueKind
from dynamo_ops.inventory.names import BARRED_NAMES
from dynamo_ops.inventory.replica.copies import is_present
from dynamo_ops.inventory.replica.removal import lock_replicas
from dynamo_ops.inventory.states import LIVE_TRANSFERS, DeletionState, SubscriptionAction, SubscriptionState

KINDS = {f"{kind}s": kind for kind in CatalogueKind}
"""Lists of the document, and what they name."""

NAMED: Mapping[str, Any] = {"kind": pl.String, "place": pl.Int64, "name": pl.String, "dataset": pl.String,
                            "block": pl.String}  # fmt: skip
ORPHANED: Mapping[str, Any] = {
    "site": pl.String,
    "storage_type": pl.String,
    "num_block_replicas": pl.Int64,
    "num_files": pl.Int64,
    "size_bytes": pl.Int64,
    "custodial_bytes": pl.Int64,
    "num_only_files": pl.Int64,
    "only_bytes": pl.Int64,
    "num_copies": pl.Int64,
    "num_deletions": pl.Int64,
}


@dataclass(frozen=True)
class InvalidationSummary:
    """What left the inventory (in a dry run: would leave it), with all below what was named.

    ``num_known``: names that were declared invalid before, and are no more work. ``sites``: what stays on the storages
    as orphans, a row a site (columns ``ORPHANED``): block replicas, files and bytes, of these the bytes in custodial
    block replicas, and the files that no other site has; active copy and delete subscriptions that go. ``requests``:
    open requests that name any of it: ``id``, ``kind``, ``requested_by``, ``is_closed`` (it named nothing else).
    """

    num_datasets: int
    num_blocks: int
    num_files: int
    size_bytes: int
    num_known: int
    sites: pl.DataFrame
    requests: pl.DataFrame

    @property
    def is_nothing(self) -> bool:
        """All of it was done before."""
        return not (self.num_datasets or self.num_blocks or self.num_files)

    def document(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        return {**asdict(self), "sites": self.sites.to_dicts(), "requests": self.requests.to_dicts()}


def invalidate(
    db: Database,
    document: object,
    *,
    reason: str,
    by: Person,
    dry_run: bool = False,
    expected_files: int | None = None,
) -> InvalidationSummary:
    """Take all that the document names out of the inventory, in one transaction; the same document again does nothing.

    ``document``: ``{"datasets": [name…], "blocks": ["dataset#block"…], "files": [LFN…]}``, names and no globs. Raises
    InventoryError that names each fault by its place in the document when a name is unknown, a lock covers it (wherever
    the lock counts), or a transfer or deletion of a file of it is under way; and when not ``expected_files`` go, as a
    person confirmed. What goes does not come back by an undo, only its name may: a dry run tells the same and takes it
    back.
    """
    reason = reason.strip()
    if not reason:
        raise InventoryError("invalidation: say why (reason is empty); it is kept with every name")
    named = _parsed(document)
    with acting(db, by, Action.INVALIDATE, f"{named.height:,} names", reason) as act:
        connection = act.connection
        act.is_dry_run = dry_run
        hold(connection, Lock.INVENTORY)
        faults = Faults()
        num_known = _find(connection, named, faults)
        faults.refuse("invalidation")
        if not dry_run:
            lock_replicas(connection)
            connection.execute(text("LOCK TABLE subscriptions IN SHARE ROW EXCLUSIVE MODE"))
        _check_locks(connection, faults)
        faults.query(connection, _UNDER_WAY)
        faults.refuse("invalidation")
        summary = _summary(connection, num_known)
        act.what = f"{summary.num_datasets:,} datasets, {summary.num_blocks:,} blocks, {summary.num_files:,} files"
        act.check(Target(datasets=_datasets_named(connection), num_files=summary.num_files))
        if expected_files not in (None, summary.num_files):
            raise InventoryError(
                f"invalidation: {summary.num_files} files would go by now, not {expected_files}; look again and confirm"
            )
        if not dry_run:
            connection.execute(text(_NOTE), {"reason": reason, "by": by.name})
            remove_doomed(connection, by=by.name, because=f"declared invalid by {by.name}: {reason}")
            connection.execute(text("DROP TABLE named, doomed_datasets, doomed_blocks, doomed_files"))
    return summary


def _parsed(document: object) -> pl.DataFrame:
    """The names of the document (columns ``NAMED``; ``dataset`` and ``block`` of a block). Raises InventoryError."""
    faults = Faults()
    listed: list[tuple[str, int, str]] = []
    if not isinstance(document, dict):
        faults.add("", f"must be an object with {', '.join(KINDS)}, got {shown(document)}")
        document = {}
    for key, names in document.items():
        if key not in KINDS:
            faults.add(str(key), f"unknown key; known: {', '.join(KINDS)}")
        elif not isinstance(names, list):
            faults.add(key, f"must be a list of names, got {shown(names)}")
        else:
            faults.add_all((f"{key}[{n}]", fault) for n, name in enumerate(names) if (fault := _name_fault(name)))
            listed += [(KINDS[key], n, name) for n, name in enumerate(names) if _name_fault(name) is None]
    parts = pl.col("name").str.splitn("#", 2).struct
    named = pl.DataFrame(listed, schema={"kind": pl.String, "place": pl.Int64, "name": pl.String}, orient="row")
    named = named.with_columns(dataset=parts.field("field_0"), block=parts.field("field_1"))
    odd = named.filter(
        (pl.col("kind") == CatalogueKind.BLOCK) & pl.col("block").fill_null("").eq("") & (pl.col("name") != "")
    )
    faults.add_all(
        (f"blocks[{place}]", f"{shown(name, 200)} is not of the form dataset#block")
        for place, name in odd.select("place", "name").iter_rows()
    )
    faults.refuse("invalidation")
    return named.unique(["kind", "name"], keep="first", maintain_order=True).select(*NAMED)


def _name_fault(name: object) -> str | None:
    if not isinstance(name, str) or not name:
        return f"must be a name, got {shown(name)}"
    return text_fault(name)


def _find(connection: Connection, named: pl.DataFrame, faults: Faults) -> int:
    """Make ``named``, and the ``doomed`` tables with all below. Returns how many names were declared invalid before."""
    connection.execute(text(_NAMED_TABLE))
    insert_frame(connection, "named", named)
    for statement in _IDENTIFY:
        connection.execute(text(statement))
    for kind, hint in (("dataset", near_dataset), ("block", near_block), ("file", what_else)):
        faults.query(connection, _UNKNOWN, hint, kind=kind)
    for statement in _DOOM:
        connection.execute(text(statement))
    num_known: int = connection.execute(text("SELECT count(*) FROM named WHERE id IS NULL AND is_known")).scalar_one()
    return num_known


def _datasets_named(connection: Connection) -> tuple[str, ...]:
    """The datasets of all that goes: a file's or a block's too."""
    doomed = """SELECT name FROM datasets WHERE id IN (
        SELECT dataset_id FROM doomed_datasets UNION SELECT dataset_id FROM doomed_blocks
        UNION SELECT dataset_id FROM doomed_files)"""
    return tuple(connection.execute(text(doomed)).scalars())


def _check_locks(connection: Connection, faults: Faults) -> None:
    """Each named thing of which a lock in force covers anything, whatever its sites and groups: a lock says keep."""
    locks = connection.execute(text(_LOCKS)).all()
    if not locks:
        return
    covers = [(lock, re.compile(_regex(lock.item))) for lock in locks]
    any_lock = re.compile("|".join(f"(?:{_regex(lock.item)})" for lock in locks))
    names = select_frame(connection, _LOCKABLE, {"kind": pl.String, "place": pl.Int64, "name": pl.String})
    hit = names.filter(pl.Series([any_lock.match(name) is not None for name in names["name"]], dtype=pl.Boolean))
    first = hit.unique(["kind", "place"], keep="first", maintain_order=True).sort("kind", "place")
    for number, (kind, place, name) in enumerate(first.iter_rows()):
        lock = next(covering for covering, regex in covers if regex.match(name)) if number < MAX_FAULTS else locks[0]
        faults.add(
            f"{kind}s[{place}]",
            f"{name.removesuffix('#')!r} is locked: lock {lock.id} of {lock.item!r} by {lock.created_by}:"
            f" {lock.reason}; have the lock removed first (dynamo lock remove {lock.id})",
        )


def _regex(item: str) -> str:
    return translate(item) if "*" in item or "?" in item else rf"{re.escape(item)}\Z"


def _summary(connection: Connection, num_known: int) -> InvalidationSummary:
    for statement in _ORPHANED:
        connection.execute(text(statement))
    counts = connection.execute(text(_COUNTS)).one()
    sites = select_frame(connection, _BY_SITE, ORPHANED)
    schema = {"id": pl.Int64, "kind": pl.String, "requested_by": pl.String, "num_left": pl.Int64}
    requests = select_frame(connection, _REQUESTS, schema)
    connection.execute(text("DROP TABLE orphaned_files"))
    requests = requests.with_columns(is_closed=pl.col("num_left") == 0).drop("num_left")
    return InvalidationSummary(
        counts.num_datasets, counts.num_blocks, counts.num_files, counts.size_bytes, num_known, sites, requests
    )


_NAMED_TABLE = """
    CREATE TEMPORARY TABLE named (kind text, place bigint, name text, dataset text, block text, id bigint,
                                  is_known boolean DEFAULT false) ON COMMIT DROP"""

_IDENTIFY = (
    f"UPDATE named AS n SET id = d.id FROM datasets AS d WHERE n.kind = '{CatalogueKind.DATASET}' AND d.name = n.name",
    f"""UPDATE named AS n SET id = b.id FROM datasets AS d JOIN blocks AS b ON b.dataset_id = d.id
       WHERE n.kind = '{CatalogueKind.BLOCK}' AND d.name = n.dataset AND b.name = n.block""",
    f"""UPDATE named AS n SET id = f.id FROM files AS f
       WHERE n.kind = '{CatalogueKind.FILE}' AND md5(f.lfn)::uuid = md5(n.name)::uuid AND f.lfn = n.name""",
    f"""UPDATE named AS n SET is_known = true FROM {BARRED_NAMES} AS i
       WHERE i.kind = n.kind AND md5(i.name)::uuid = md5(n.name)::uuid""",
    "ANALYZE named",
)

_UNKNOWN = """
    SELECT format('%ss[%s]', kind, place) AS path, format('unknown %s ''%s''', kind, name) AS message, name
    FROM named WHERE kind = :kind AND id IS NULL AND NOT is_known ORDER BY place"""

_DOOM = (
    f"""CREATE TEMPORARY TABLE doomed_datasets ON COMMIT DROP AS
       SELECT id AS dataset_id, place FROM named WHERE kind = '{CatalogueKind.DATASET}' AND id IS NOT NULL""",
    "ANALYZE doomed_datasets",
    f"""CREATE TEMPORARY TABLE doomed_blocks ON COMMIT DROP AS
       SELECT DISTINCT ON (block_id) block_id, dataset_id, kind, place FROM (
           SELECT b.id AS block_id, b.dataset_id, '{CatalogueKind.DATASET}' AS kind, d.place
           FROM doomed_datasets AS d JOIN blocks AS b USING (dataset_id)
           UNION ALL
           SELECT b.id, b.dataset_id, n.kind, n.place FROM named AS n JOIN blocks AS b ON b.id = n.id
           WHERE n.kind = '{CatalogueKind.BLOCK}') AS found
       ORDER BY block_id, kind DESC""",
    "ANALYZE doomed_blocks",
    f"""CREATE TEMPORARY TABLE doomed_files ON COMMIT DROP AS
       SELECT f.id AS file_id, f.block_id, b.dataset_id, f.size_bytes, b.kind, b.place
       FROM doomed_blocks AS b JOIN files AS f USING (block_id)
       UNION ALL
       SELECT f.id, f.block_id, b.dataset_id, f.size_bytes, n.kind, n.place
       FROM named AS n JOIN files AS f ON f.id = n.id JOIN blocks AS b ON b.id = f.block_id
       WHERE n.kind = '{CatalogueKind.FILE}'
         AND NOT EXISTS (SELECT FROM doomed_blocks AS d WHERE d.block_id = f.block_id)""",
    "ANALYZE doomed_files",
)

_LOCKS = """
    SELECT id, item, reason, created_by FROM locks
    WHERE removed_at IS NULL AND (expires_at IS NULL OR expires_at > now()) ORDER BY id"""

# A lock on ``dataset#*`` is one on the dataset, also if that has no block.
_LOCKABLE = f"""
    SELECT x.kind, x.place, d.name || t.tail FROM (
        SELECT '{CatalogueKind.DATASET}' AS kind, place, dataset_id FROM doomed_datasets
        UNION SELECT kind, min(place), dataset_id FROM doomed_blocks GROUP BY 1, 3
        UNION SELECT kind, min(place), dataset_id FROM doomed_files GROUP BY 1, 3) AS x
    JOIN datasets AS d ON d.id = x.dataset_id CROSS JOIN (VALUES (''), ('#')) AS t (tail)
    UNION ALL
    SELECT x.kind, x.place, d.name || '#' || b.name FROM (
        SELECT kind, place, block_id FROM doomed_blocks
        UNION SELECT kind, min(place), block_id FROM doomed_files GROUP BY 1, 3) AS x
    JOIN blocks AS b ON b.id = x.block_id JOIN datasets AS d ON d.id = b.dataset_id"""

_UNDER_WAY = f"""
    SELECT format('%ss[%s]', w.kind, w.place) AS path,
           format('%s of its files are being %s at %s; cancel that (dynamo transfers cancel), or wait until'
                  ' they are done, and invalidate again', count(*),
                  CASE w.action WHEN '{SubscriptionAction.COPY}' THEN 'copied' ELSE 'deleted' END, w.site) AS message
    FROM (SELECT f.kind, f.place, s.action, d.name AS site
          FROM doomed_files AS f JOIN subscriptions AS s ON s.file_id = f.file_id JOIN sites AS d ON d.id = s.site_id
          WHERE s.state = '{SubscriptionState.INBATCH}'
             OR EXISTS (SELECT FROM transfers AS t WHERE t.subscription_id = s.id AND t.state IN {LIVE_TRANSFERS})
             OR EXISTS (SELECT FROM deletions AS t
                        WHERE t.subscription_id = s.id AND t.state = '{DeletionState.PLANNED}')) AS w
    GROUP BY w.kind, w.place, w.action, w.site ORDER BY w.kind, w.place, w.action, w.site"""

_ORPHANED = (
    f"""CREATE TEMPORARY TABLE orphaned_files ON COMMIT DROP AS
       SELECT f.file_id, r.block_id, r.site_id, f.size_bytes, r.is_custodial
       FROM doomed_files AS f JOIN block_replicas AS r USING (block_id)
       WHERE {is_present("f.file_id", "r")}""",
    "ANALYZE orphaned_files",
)

_COUNTS = """
    SELECT (SELECT count(*) FROM doomed_datasets) AS num_datasets, (SELECT count(*) FROM doomed_blocks) AS num_blocks,
           count(*) AS num_files, coalesce(sum(size_bytes), 0)::bigint AS size_bytes
    FROM doomed_files"""

_BY_SITE = f"""
    WITH files_there AS (
        SELECT site_id, count(DISTINCT block_id) AS num_block_replicas, count(*) AS num_files,
               sum(size_bytes)::bigint AS size_bytes,
               coalesce(sum(size_bytes) FILTER (WHERE is_custodial), 0)::bigint AS custodial_bytes,
               count(*) FILTER (WHERE num_sites = 1) AS num_only_files,
               coalesce(sum(size_bytes) FILTER (WHERE num_sites = 1), 0)::bigint AS only_bytes
        FROM orphaned_files JOIN (SELECT file_id, count(*) AS num_sites FROM orphaned_files GROUP BY 1) AS n
            USING (file_id) GROUP BY 1),
    outstanding AS (
        SELECT s.site_id, count(*) FILTER (WHERE s.action = '{SubscriptionAction.COPY}') AS num_copies,
               count(*) FILTER (WHERE s.action = '{SubscriptionAction.DELETE}') AS num_deletions
        FROM doomed_files AS f JOIN subscriptions AS s ON s.file_id = f.file_id
        WHERE s.state IN ('{SubscriptionState.NEW}', '{SubscriptionState.RETRY}', '{SubscriptionState.HELD}')
          GROUP BY 1)
    SELECT d.name, d.storage_type, coalesce(f.num_block_replicas, 0), coalesce(f.num_files, 0),
           coalesce(f.size_bytes, 0), coalesce(f.custodial_bytes, 0), coalesce(f.num_only_files, 0),
           coalesce(f.only_bytes, 0), coalesce(w.num_copies, 0), coalesce(w.num_deletions, 0)
    FROM sites AS d LEFT JOIN files_there AS f ON f.site_id = d.id LEFT JOIN outstanding AS w ON w.site_id = d.id
    WHERE f.site_id IS NOT NULL OR w.site_id IS NOT NULL ORDER BY d.name"""

_REQUESTS = f"""
    SELECT r.id, r.kind, r.requested_by, count(*) FILTER (WHERE NOT x.is_doomed AND NOT {ITEM_IS_GONE}) AS num_left
    FROM requests AS r JOIN request_items AS i ON i.request_id = r.id
    CROSS JOIN LATERAL (SELECT i.dataset_id IN (SELECT dataset_id FROM doomed_datasets)
                            OR coalesce(i.block_id IN (SELECT block_id FROM doomed_blocks), false) AS is_doomed) AS x
    WHERE r.{OPEN_REQUESTS} GROUP BY r.id HAVING bool_or(x.is_doomed) ORDER BY r.id"""

_NOTE = f"""
    INSERT INTO invalidations (kind, name, thing_id, size_bytes, num_files, reason, created_by)
    SELECT n.kind, n.name, n.id, coalesce(d.size_bytes, b.size_bytes, f.size_bytes),
           coalesce(d.num_files, b.num_files, 1), :reason, :by
    FROM named AS n LEFT JOIN datasets AS d ON n.kind = '{CatalogueKind.DATASET}' AND d.id = n.id
    LEFT JOIN blocks AS b ON n.kind = '{CatalogueKind.BLOCK}' AND b.id = n.id
    LEFT JOIN files AS f ON n.kind = '{CatalogueKind.FILE}' AND f.id = n.id
    WHERE n.id IS NOT NULL ORDER BY n.kind, n.place
    ON CONFLICT (kind, (md5(name)::uuid)) WHERE undone_at IS NULL DO NOTHING"""
