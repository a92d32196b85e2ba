"""What a run pulled from a source, kept apart until a gate has let it in.

Rows are known by (run_key, source), details also by page, so that a task which is run again replaces what it brought
before. They stay after a merge, so that the merge can be run again too. Nothing here touches the inventory.

A task that was given up may still be at work while its next try runs: both lock what they replace, so that one of them
waits for the other and then replaces all of it. What it brings after the gate looked is not merged: each staging makes
the pull another one (``staged_pulls.id``), and only the one that a gate accepted goes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.inventory.checksum import adler32_digits
from dynamo_ops.inventory.kinds import DatasetStatus, FaultStage, PullKind
from dynamo_ops.inventory.properties import with_properties
from dynamo_ops.inventory.staging.faults import asked_again, drop_details, stage_faults, without_nul

OVERLAP = timedelta(minutes=10)
"""Asked again at the start of every pull: clocks differ, and a source may show a change late."""

SILENT_AT_MOST = "30min"
"""A pull that brings nothing for so long while it holds a lock, or whose host is gone, is given up by the server."""

TABLES_OF = {
    "metadata": ("staged_datasets", "staged_blocks", "staged_files", "staged_faults"),
    "sites": ("staged_sites",),
    "accesses": ("staged_accesses",),
    "demand": ("staged_demand",),
}
"""Where the rows of a kind of pull are staged."""
STAGING_TABLES = ("staged_pulls", *(table for tables in TABLES_OF.values() for table in tables))


class Interval(NamedTuple):
    """What to ask a source for: changes in [since, until]; ``since`` None is everything."""

    since: datetime | None
    until: datetime


class Staged(NamedTuple):
    """What a gate is about to judge. ``id``: of the pull as it is staged now; null if nothing is."""

    source: str
    kind: str
    id: int | None


class Pull(NamedTuple):
    """What a run asked a source for: ``since`` None is everything; ``num_source_datasets``, ``fingerprint`` as told.

    ``asked_at``: of accesses and demand, when, by the clock of the database.
    """

    since: datetime | None
    num_source_datasets: int | None
    fingerprint: str | None
    asked_at: datetime


def interval_to_pull(
    db: Database, source: str, interval_start: datetime, interval_end: datetime, full: bool = False
) -> Interval:
    """What a run that owns [interval_start, interval_end] has to ask ``source`` for.

    Everything, if ``full`` or if the source was never merged whole. Else from the start of the interval, or from where
    the last merge ended if that is earlier (runs in between failed), a little overlap included.
    """
    state = db.frame("SELECT full_sync_at, merged_until FROM source_states WHERE source = $1", (source,))
    if full or state.is_empty() or state["full_sync_at"].item() is None:
        return Interval(None, interval_end)
    merged_until = state["merged_until"].item() or interval_start
    return Interval(min(interval_start, merged_until) - OVERLAP, interval_end)


@span("metadata.stage_datasets")
def stage_datasets(
    db: Database,
    run_key: str,
    source: str,
    frame: pl.DataFrame,
    page_size: int,
    *,
    max_pages: int | None = None,
    since: datetime | None = None,
    num_source_datasets: int | None = None,
) -> list[int]:
    """The numbers of the pages (from 0) whose details are to be pulled, ``page_size`` datasets each, or as many more as
    it takes to have ``max_pages`` at most.

    ``frame``: columns of ``sources.source.DATASETS``, pulled with ``since``. On an incremental pull (``since`` given)
    the open datasets of the inventory come along as the inventory knows them, so that their new blocks are seen; and
    those that are set aside, so that it is seen when they are mended. ``num_source_datasets``: the answer to
    ``count_datasets``. All that (run_key, source) staged before is replaced.
    """
    if page_size < 1:
        raise InventoryError(f"page_size is {page_size}, must be at least 1", source=source, value=page_size)
    frame, faults = _without_faults(frame)
    frame = with_properties(frame).with_columns(is_listed=pl.lit(True), is_again=pl.lit(False))
    if since is not None:
        for more in (asked_again(db, source), _open_datasets(db, source)):
            frame = pl.concat([frame, more.select(frame.columns).join(frame, on="dataset", how="anti")])
    page_size = max(page_size, -(-frame.height // max_pages)) if max_pages else page_size
    rows = frame.with_row_index("row").with_columns(page=pl.col("row") // page_size).drop("row")
    with db.begin() as connection:
        lock_staged(connection, run_key, source)
        for table in TABLES_OF["metadata"]:
            _clear(connection, table, run_key, source)
        _note_pull(connection, run_key, source, "metadata", since, num_source_datasets)
        _insert(connection, "staged_datasets", run_key, source, rows)
        stage_faults(connection, run_key, source, FaultStage.LISTING, faults)
    return list(range(-(-frame.height // page_size)))


def staged_datasets(db: Database, run_key: str, source: str, page: int) -> list[str]:
    """The names of the datasets of one page, in order; not of those whose own record is bad."""
    names = db.frame(
        f"""SELECT DISTINCT s.dataset FROM staged_datasets AS s
           WHERE s.run_key = $1 AND s.source = $2 AND s.page = $3 AND s.dataset IS NOT NULL
             AND NOT EXISTS (SELECT FROM staged_faults AS f WHERE f.run_key = s.run_key AND f.source = s.source
                             AND f.stage = '{FaultStage.LISTING}' AND f.dataset = s.dataset)
           ORDER BY dataset""",
        (run_key, source, page),
    )
    return names["dataset"].to_list()


@span("metadata.stage_details")
def stage_details(
    db: Database, run_key: str, source: str, page: int, parts: Iterable[Sequence[pl.DataFrame]]
) -> tuple[int, int]:
    """Store what is in the datasets of one page, replacing it, part by part as it comes in, in one transaction.

    ``parts``: frames of blocks, of files, and of faults if there are any (columns ``BLOCKS``, ``FILES``, ``FAULTS`` of
    ``sources.source``); of a dataset with a fault nothing else is kept. Returns the number of blocks and of files told.
    """
    num_blocks = num_files = 0
    faults: list[pl.DataFrame] = []
    with db.begin() as connection:
        lock_staged(connection, run_key, source, page)
        for table in ("staged_blocks", "staged_files"):
            _clear(connection, table, run_key, source, page)
        for blocks, files, *more in parts:
            blocks, no_blocks = without_nul(blocks)
            files, no_files = without_nul(files.with_columns(adler32_digits()))
            faults += [of_part for of_part in (*more, no_blocks, no_files) if of_part.height]
            _insert(connection, "staged_blocks", run_key, source, blocks.with_columns(page=pl.lit(page)))
            _insert(connection, "staged_files", run_key, source, files.with_columns(page=pl.lit(page)))
            num_blocks, num_files = num_blocks + blocks.height, num_files + files.height
        bad = pl.concat(faults) if faults else pl.DataFrame()
        stage_faults(connection, run_key, source, FaultStage.DETAILS, bad, page)
        if faults:
            drop_details(connection, run_key, source, page, bad["dataset"].unique().to_list())
        connection.execute(
            text("UPDATE staged_datasets SET has_details = true WHERE run_key = :r AND source = :s AND page = :p"),
            {"r": run_key, "s": source, "p": page},
        )
        # last, so that pages which are pulled side by side do not wait for each other
        connection.execute(text(_RENEW), {"run_key": run_key, "source": source})
    return num_blocks, num_files


def stage_sites(db: Database, run_key: str, source: str, frame: pl.DataFrame) -> None:
    """Store the sites of a source (columns of ``sources.source.SITES``), replacing what (run_key, source) staged."""
    _replace(db, "staged_sites", run_key, source, "sites", frame)


def stage_accesses(
    db: Database,
    run_key: str,
    source: str,
    frame: pl.DataFrame,
    fingerprint: str | None = None,
    asked_at: datetime | None = None,
) -> None:
    """Store accesses (columns ``ACCESSES`` of ``sources.usage.source``), replacing what (run_key, source) staged.

    ``asked_at``: when the source was asked, by the database's clock; null: now.
    """
    _replace(db, "staged_accesses", run_key, source, "accesses", frame, fingerprint, asked_at)


def stage_demand(
    db: Database,
    run_key: str,
    source: str,
    frame: pl.DataFrame,
    fingerprint: str | None = None,
    asked_at: datetime | None = None,
) -> None:
    """Store demand (columns ``DEMAND`` of ``sources.usage.source``); else as ``stage_accesses``."""
    _replace(db, "staged_demand", run_key, source, "demand", frame, fingerprint, asked_at)


def _open_datasets(db: Database, source: str) -> pl.DataFrame:
    """Open datasets that the source told of last, or nobody, as the inventory has them."""
    return db.frame(
        f"SELECT d.name AS dataset, d.status, coalesce(o.is_open, d.status = '{DatasetStatus.PRODUCTION}') AS is_open,"
        " d.software_release, d.last_update_at, d.properties::text AS properties, false AS is_listed,"
        " false AS is_again"
        " FROM datasets AS d LEFT JOIN dataset_sources AS o ON o.dataset_id = d.id"
        " WHERE d.is_open AND coalesce(o.source, $1) = $1 ORDER BY d.name",
        (source,),
    )


def _without_faults(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The list of datasets without its column ``fault``, and those that have one, or a NUL."""
    frame, faults = without_nul(frame)
    if "fault" not in frame.columns:
        return frame, faults
    unread = frame.filter(pl.col("fault").is_not_null()).select("dataset", "fault")
    return frame.drop("fault"), pl.concat([faults, unread]) if faults.height else unread


def staged_now(db: Database, run_key: str, source: str, kind: str) -> Staged:
    """Which pull of (run_key, source) is staged. A gate asks before it reads the first row."""
    found = db.frame(
        "SELECT id FROM staged_pulls WHERE run_key = $1 AND source = $2 AND kind = $3", (run_key, source, kind)
    )
    return Staged(source, kind, None if found.is_empty() else found.item())


def note_judgement(connection: Connection, run_key: str, staged: Staged, *, is_accepted: bool) -> None:
    """That a gate accepted or refused what was staged when it began. What was staged since then stays unjudged."""
    sql = """UPDATE staged_pulls SET accepted_id = :accepted
             WHERE run_key = :run_key AND source = :source AND kind = :kind"""
    key = {"run_key": run_key, "source": staged.source, "kind": staged.kind}
    connection.execute(text(sql), {**key, "accepted": staged.id if is_accepted else None})


def staged_pull(connection: Connection, run_key: str, source: str, kind: str) -> Pull:
    """What (run_key, source) asked for. Until the end of the transaction its rows are neither replaced nor removed.

    Raises InventoryError if it staged nothing, the staged rows are lost, or they are not what a gate accepted.
    """
    sql = """SELECT id, accepted_id, since_at, num_source_datasets, fingerprint, asked_at FROM staged_pulls
             WHERE run_key = :run_key AND source = :source AND kind = :kind FOR SHARE"""
    key = {"run_key": run_key, "source": source, "kind": kind}
    row = connection.execute(text(sql), key).first()
    if row is None:
        raise InventoryError(f"run {run_key!r} staged no {kind} of source {source!r}; pull them again", **key)
    if row.id != row.accepted_id:
        why = "no gate let it in" if row.accepted_id is None else "it was staged again after the gate looked"
        raise InventoryError(f"{kind} of source {source!r}, run {run_key!r}: {why}; clear the gate task", **key)
    return Pull(*row[2:])


def _note_pull(
    connection: Connection,
    run_key: str,
    source: str,
    kind: str,
    since: datetime | None = None,
    num_source_datasets: int | None = None,
    fingerprint: str | None = None,
    asked_at: datetime | None = None,
) -> None:
    sql = """INSERT INTO staged_pulls (run_key, source, kind, since_at, num_source_datasets, fingerprint, asked_at)
             VALUES (:run_key, :source, :kind, :since, :num_source_datasets, :fingerprint, coalesce(:asked_at, now()))
             ON CONFLICT (run_key, source, kind) DO UPDATE
             SET id = excluded.id, staged_at = now(), since_at = excluded.since_at, asked_at = excluded.asked_at,
                 num_source_datasets = excluded.num_source_datasets, fingerprint = excluded.fingerprint"""
    connection.execute(
        text(sql),
        {
            "run_key": run_key,
            "source": source,
            "kind": kind,
            "since": since,
            "num_source_datasets": num_source_datasets,
            "fingerprint": fingerprint,
            "asked_at": asked_at,
        },
    )


_RENEW = f"""
    UPDATE staged_pulls SET id = DEFAULT, staged_at = now()
    WHERE run_key = :run_key AND source = :source AND kind = '{PullKind.METADATA}'"""


def _replace(
    db: Database,
    table: str,
    run_key: str,
    source: str,
    kind: str,
    frame: pl.DataFrame,
    fingerprint: str | None = None,
    asked_at: datetime | None = None,
) -> None:
    with db.begin() as connection:
        lock_staged(connection, run_key, source)
        _clear(connection, table, run_key, source)
        _note_pull(connection, run_key, source, kind, fingerprint=fingerprint, asked_at=asked_at)
        _insert(connection, table, run_key, source, frame)


def lock_staged(connection: Connection, run_key: str, source: str, page: int | None = None) -> None:
    """Until the end of the transaction nobody else replaces the page of (run_key, source), or anything of it."""
    settings = ("idle_in_transaction_session_timeout = :t", "tcp_keepalives_idle = 60", "tcp_keepalives_interval = 30")
    for setting in settings:
        connection.execute(text(f"SET LOCAL {setting}"), {"t": SILENT_AT_MOST})
    hold(connection, Lock.STAGED_RUN, source, run_key, shared=page is not None)
    if page is not None:
        hold(connection, Lock.STAGED_PAGE, page, source, run_key)


def _clear(connection: Connection, table: str, run_key: str, source: str, page: int | None = None) -> None:
    where = "run_key = :run_key AND source = :source" + (" AND page = :page" if page is not None else "")
    connection.execute(text(f"DELETE FROM {table} WHERE {where}"), {"run_key": run_key, "source": source, "page": page})


def _insert(connection: Connection, table: str, run_key: str, source: str, frame: pl.DataFrame) -> None:
    keyed = frame.with_columns(run_key=pl.lit(run_key), source=pl.lit(source))
    insert_frame(connection, table, keyed)
