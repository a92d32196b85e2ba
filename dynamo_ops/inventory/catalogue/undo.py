"""An invalidation is taken back: what it named may come in again, told by a source or injected, since it is made again.

Nothing comes back by itself: the inventory forgot it, and what is on the storages are orphans. The row stays, so that
histories know the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.glob import glob_regex_sql, is_glob
from dynamo_ops.base.times import time_text
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.inventory.kinds import CatalogueKind
from dynamo_ops.inventory.names import BARRED_NAMES

SHOWN_NAMES = 20


@dataclass(frozen=True)
class UndoSummary:
    """Names that may come in again (in a dry run: would be able to), by kind; ``num_files`` and ``size_bytes``: what
    was below them when they went. ``names``: the first of them."""

    num_datasets: int
    num_blocks: int
    num_named_files: int
    num_files: int
    size_bytes: int
    names: tuple[str, ...]

    @property
    def num_names(self) -> int:
        """In all."""
        return self.num_datasets + self.num_blocks + self.num_named_files

    def document(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        return {"num_names": self.num_names, **asdict(self), "names": list(self.names)}


def undo_invalidation(
    db: Database,
    names: Sequence[str],
    *,
    reason: str,
    by: Person,
    keep: timedelta,
    dry_run: bool = False,
    expected_names: int | None = None,
) -> UndoSummary:
    """Take back what was declared invalid within ``keep``: datasets, ``dataset#block`` or LFNs, by name or glob; all of
    it in one transaction.

    Raises UnknownNameError for a name or glob that means nothing that is invalid; InventoryError for one that was
    declared longer ago, and when not ``expected_names`` come free, as a person confirmed.
    """
    if not (reason := reason.strip()):
        raise InventoryError("say why (reason is empty); it is kept with every name")
    if not names:
        raise InventoryError("no name is given to take back", name=[])
    with acting(db, by, Action.INVALIDATE, f"undo: {', '.join(names)[:200]}", reason) as act:
        act.is_dry_run = dry_run
        connection = act.connection
        hold(connection, Lock.INVENTORY)
        _find(connection, names, keep)
        summary = _summary(connection)
        act.what = f"undo: {summary.num_names:,} names"
        act.check(Target(datasets=_datasets(connection), num_files=summary.num_files))
        if expected_names not in (None, summary.num_names):
            raise InventoryError(
                f"{summary.num_names} names would come free by now, not {expected_names}; look again and confirm"
            )
        connection.execute(text(_UNDO), {"by": by.name, "reason": reason})
        connection.execute(text("DROP TABLE taken_back"))
    return summary


def _find(connection: Connection, names: Sequence[str], keep: timedelta) -> None:
    """Make ``taken_back`` (id, kind, name, num_files, size_bytes)."""
    connection.execute(
        text("""CREATE TEMPORARY TABLE taken_back (id bigint PRIMARY KEY, kind text, name text, num_files bigint,
                size_bytes bigint) ON COMMIT DROP""")
    )
    for name in dict.fromkeys(names):
        if is_glob(name):
            meant = connection.execute(text(_TAKE_GLOB), {"name": glob_regex_sql(name), "keep": keep})
        else:
            meant = connection.execute(text(_TAKE_NAME), {"name": name, "keep": keep})
        num_meant, num_old, oldest_at = meant.one()
        if not num_meant:
            raise UnknownNameError(f"nothing that is invalid is called {name!r} (dynamo invalidated)", name=name)
        if num_old:
            raise InventoryError(
                f"{name!r}: {num_old:,} of {num_meant:,} names were declared invalid more than {keep.days:,} days ago "
                f"(damage.undo_days), the first on {time_text(oldest_at)}: nothing is taken back",
                name=name,
            )


def _summary(connection: Connection) -> UndoSummary:
    datasets, blocks, files, num_files, size_bytes = connection.execute(text(_COUNTS)).one()
    names = tuple(connection.execute(text(_FIRST)).scalars())
    return UndoSummary(datasets, blocks, files, num_files, size_bytes, names)


def _datasets(connection: Connection) -> tuple[str, ...]:
    """Of what comes free; of a file nobody knows its dataset any more: then nothing is named, which is everything."""
    named = connection.execute(text(_DATASETS)).scalars().all()
    return () if None in named else tuple(name for name in named if name is not None)


_TAKE = f"""
    WITH meant AS (
        SELECT id, kind, name, num_files, size_bytes, created_at, created_at < now() - CAST(:keep AS interval) AS is_old
        FROM {BARRED_NAMES} AS barred WHERE {{condition}}),
    taken AS (INSERT INTO taken_back SELECT id, kind, name, num_files, size_bytes FROM meant WHERE NOT is_old
              ON CONFLICT DO NOTHING)
    SELECT count(*), count(*) FILTER (WHERE is_old), min(created_at) FROM meant"""
_TAKE_GLOB = _TAKE.format(condition="name ~ :name")
_TAKE_NAME = _TAKE.format(condition="md5(name)::uuid = md5(:name)::uuid AND name = :name")

_COUNTS = f"""
    SELECT count(*) FILTER (WHERE kind = '{CatalogueKind.DATASET}'),
           count(*) FILTER (WHERE kind = '{CatalogueKind.BLOCK}'),
           count(*) FILTER (WHERE kind = '{CatalogueKind.FILE}'),
           coalesce(sum(num_files), 0)::bigint, coalesce(sum(size_bytes), 0)::bigint
    FROM taken_back"""

_FIRST = f"SELECT name FROM taken_back ORDER BY kind, name LIMIT {SHOWN_NAMES}"

_DATASETS = f"""
    SELECT DISTINCT CASE WHEN kind <> '{CatalogueKind.FILE}' THEN split_part(name, '#', 1) END FROM taken_back"""

_UNDO = """
    UPDATE invalidations AS invalidation SET undone_at = now(), undone_by = :by, undone_because = :reason
    FROM taken_back WHERE invalidation.id = taken_back.id"""
