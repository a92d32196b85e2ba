"""Datasets of which a source told a bad record: set aside whole, noted here, and asked for again by the next pull.

Of such a dataset a merge takes nothing, so that it never has one half of what was told: what the inventory knows of it
stays as it was, and nothing of it vanishes. The row goes when a pull that is not older lets the dataset in, when a full
pull does not list it any more, or when a person declares it invalid. As everything that merges write, the rows follow
from the ends of the pulls' intervals, not from the order of the merges.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.kinds import CatalogueKind
from dynamo_ops.inventory.names import BARRED_NAMES

LONGEST_REASON = 2000
"""Characters that are kept of a reason: a value in it may be as long as the source's answer."""


def set_aside(db: Database, source: str | None = None) -> pl.DataFrame:
    """One row a dataset that is set aside: dataset, source, reason, first_at, last_at, until, num_runs, run_key,
    is_known; the longest first. ``is_known``: the inventory has it, as it was told before."""
    return db.frame(
        """SELECT a.dataset, a.source, a.reason, a.first_at, a.last_at, a.until, a.num_runs, a.run_key,
                  d.id IS NOT NULL AS is_known
           FROM set_aside_datasets AS a LEFT JOIN datasets AS d ON d.name = a.dataset
           WHERE $1::text IS NULL OR a.source = $1 ORDER BY a.first_at, a.dataset COLLATE "C", a.source""",
        (source,),
    )


def find_faulty(connection: Connection, run_key: str, source: str) -> int:
    """Make ``faulty`` of a merge's transaction: the datasets that it leaves out, with ``listed``: how the source listed
    them, where that was good. Returns how many there are that nobody declared invalid."""
    connection.execute(text(_FAULTY), {"run_key": run_key, "source": source, "longest": LONGEST_REASON})
    connection.execute(text("ANALYZE faulty"))
    return int(connection.execute(text("SELECT count(*) FROM faulty")).scalar_one())


def note_set_aside(connection: Connection, run_key: str, source: str, until: datetime, *, is_full: bool) -> None:
    """Bring the table up to date in a merge, by its temporary tables (see ``inventory.catalogue.merge``)."""
    key: dict[str, Any] = {"run_key": run_key, "source": source, "until": until}
    for statement in (_LET_IN, _BARRED, *([_NOT_LISTED] if is_full else []), _NOTE):
        connection.execute(text(statement), key)


_BARRED_DATASET = f"FROM {BARRED_NAMES} AS i WHERE i.kind = '{CatalogueKind.DATASET}' AND i.name"

_FAULTY = f"""
    CREATE TEMPORARY TABLE faulty ON COMMIT DROP AS
    SELECT f.dataset, f.reason, f.is_of_record,
           CASE WHEN NOT f.is_of_record THEN (
               SELECT jsonb_build_object('status', s.status, 'is_open', s.is_open,
                          'software_release', s.software_release, 'last_update_at', s.last_update_at,
                          'properties', s.properties)
               FROM staged_datasets AS s
               WHERE s.run_key = :run_key AND s.source = :source AND s.dataset = f.dataset
                 AND (s.is_listed OR s.is_again)
               ORDER BY s.id DESC LIMIT 1) END AS listed
    FROM (SELECT dataset, left(min(fault), :longest) AS reason, bool_or(is_of_record) AS is_of_record
          FROM (SELECT *, rank() OVER (PARTITION BY dataset ORDER BY id) AS place FROM staged_faults
                WHERE run_key = :run_key AND source = :source) AS ranked
          WHERE place = 1 OR is_of_record GROUP BY dataset) AS f
    WHERE NOT EXISTS (SELECT {_BARRED_DATASET} = f.dataset)"""

_LET_IN = """
    DELETE FROM set_aside_datasets AS a USING told_datasets AS t
    WHERE a.dataset = t.dataset AND t.is_known AND a.until <= :until"""

_BARRED = f"""
    DELETE FROM set_aside_datasets AS a WHERE EXISTS (SELECT {_BARRED_DATASET} = a.dataset)"""

_NOT_LISTED = """
    DELETE FROM set_aside_datasets AS a
    WHERE a.source = :source AND a.until <= :until
      AND NOT EXISTS (SELECT FROM staged_datasets AS s
                      WHERE s.run_key = :run_key AND s.source = :source AND s.dataset = a.dataset)
      AND NOT EXISTS (SELECT FROM faulty AS f WHERE f.dataset = a.dataset)"""

# Not what a newer pull, of whatever source, told well: then this one is only late.
_NOTE = """
    INSERT INTO set_aside_datasets AS old (source, dataset, reason, is_of_record, listed, until, run_key)
    SELECT :source, f.dataset, f.reason, f.is_of_record, f.listed, :until, :run_key FROM faulty AS f
    WHERE NOT EXISTS (SELECT FROM datasets AS d JOIN dataset_sources AS o ON o.dataset_id = d.id
                      WHERE d.name = f.dataset AND o.known_until > :until)
    ORDER BY f.dataset
    ON CONFLICT (source, (md5(dataset)::uuid)) DO UPDATE
    SET reason = excluded.reason, until = excluded.until, last_at = now(), run_key = excluded.run_key,
        is_of_record = excluded.is_of_record OR old.is_of_record AND excluded.listed IS NULL,
        listed = CASE WHEN NOT excluded.is_of_record THEN coalesce(excluded.listed, old.listed) END,
        num_runs = old.num_runs + (old.run_key <> excluded.run_key)::int
    WHERE old.until <= excluded.until"""
