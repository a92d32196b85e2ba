"""What sources told of once and do not tell any more: noted for a person to decide on, never taken away.

* A dataset has vanished when a newer full pull of its source did not list it, or the source had nothing to tell about
  what is in it, though the inventory has blocks of it.
* A block or file has vanished when the newest pull of its dataset's details did not tell it, or told the file as not
  valid.

What is in something that vanished is not noted by itself, and nothing of a dataset that is set aside. All follows from
the ends of the pulls' intervals, not from the order of the merges; a thing that is told again is no longer noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.kinds import CatalogueKind

KINDS = tuple(CatalogueKind)


@dataclass(frozen=True)
class VanishedCounts:
    """How many things a merge noted, and how many it took off the list since they are told again."""

    datasets: int
    blocks: int
    files: int
    told_again: int


def vanished(db: Database, kind: str | None = None, source: str | None = None) -> pl.DataFrame:
    """One row a thing that vanished: kind, name, source, size_bytes, vanished_at; by kind, then name.

    ``name``: of the dataset, ``dataset#block`` or LFN. ``vanished_at``: when the merge noticed. ``size_bytes``: of all
    that the inventory has in it.
    """
    return db.frame(
        "SELECT kind, name, source, size_bytes, vanished_at FROM vanished"
        " WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR source = $2)"
        f' ORDER BY array_position(ARRAY{[kind.value for kind in KINDS]}, kind), name COLLATE "C"',
        (kind, source),
    )


def vanished_document(db: Database, kinds: Sequence[str] = (), sources: Sequence[str] = ()) -> dict[str, list[str]]:
    """What vanished, of these kinds and sources (none: all), as a document for `dynamo invalidate`: names by kind."""
    gone = vanished(db)
    for column, wanted in (("kind", kinds), ("source", sources)):
        gone = gone.filter(pl.col(column).is_in(list(wanted))) if wanted else gone
    names = {f"{kind}s": gone.filter(pl.col("kind") == kind)["name"].to_list() for kind in KINDS}
    return {key: listed for key, listed in names.items() if listed}


def note_vanished(connection: Connection, source: str, *, is_full: bool) -> VanishedCounts:
    """Bring the list up to date in a merge, by its temporary tables (see ``inventory.catalogue.merge``)."""
    key = {"source": source, "is_full": is_full}

    def run(sql: str) -> int:
        return connection.execute(text(sql), key).rowcount

    run(_DATASETS)
    again = run(_DATASETS_AGAIN) + run(_BLOCKS_AGAIN) + run(_FILES_AGAIN)
    counts = VanishedCounts(run(_LACKING_DATASETS), run(_LACKING_BLOCKS), run(_LACKING_FILES), again)
    if counts.datasets or counts.blocks:
        run(_DROP_BLOCKS_INSIDE)
        run(_DROP_FILES_INSIDE)
    run(_SIZES_OF_DATASETS)
    run(_SIZES_OF_BLOCKS)
    run("DROP TABLE known_datasets")
    return counts


_DATASETS = """
    CREATE TEMPORARY TABLE known_datasets ON COMMIT DROP AS
    SELECT d.id, d.name, d.size_bytes,
           coalesce(s.full_until > coalesce(o.known_until, '-infinity'), false)
               OR coalesce(o.lost_until > coalesce(o.known_until, '-infinity'), false) AND d.num_blocks > 0
               AS has_vanished
    FROM dataset_sources AS o JOIN datasets AS d ON d.id = o.dataset_id JOIN source_states AS s ON s.source = o.source
    WHERE o.source = :source AND (:is_full OR o.dataset_id IN (SELECT id FROM told_datasets))
      AND NOT EXISTS (SELECT FROM set_aside_datasets AS a WHERE a.source = :source AND a.dataset = d.name)"""

_DATASETS_AGAIN = f"""
    DELETE FROM vanished AS v USING known_datasets AS d
    WHERE v.kind = '{CatalogueKind.DATASET}' AND v.name = d.name AND NOT d.has_vanished"""

_BLOCKS_AGAIN = f"""
    DELETE FROM vanished AS v USING told_blocks AS b
    WHERE v.kind = '{CatalogueKind.BLOCK}' AND v.name = b.dataset || '#' || b.block AND b.compares"""

_FILES_AGAIN = f"""
    DELETE FROM vanished AS v USING file_changes AS c JOIN told_blocks AS b ON b.id = c.block_id
    WHERE v.kind = '{CatalogueKind.FILE}' AND v.name = c.lfn AND c.file_id IS NOT NULL AND c.is_valid AND b.compares"""

_LACKING_DATASETS = f"""
    INSERT INTO vanished (source, kind, name, size_bytes)
    SELECT :source, '{CatalogueKind.DATASET}', name, size_bytes FROM known_datasets WHERE has_vanished ORDER BY name
    ON CONFLICT DO NOTHING"""

_LACKING_BLOCKS = f"""
    INSERT INTO vanished (source, kind, name, size_bytes)
    SELECT :source, '{CatalogueKind.BLOCK}', t.dataset || '#' || b.name, b.size_bytes
    FROM told_datasets AS t JOIN blocks AS b ON b.dataset_id = t.id LEFT JOIN told_blocks AS told ON told.id = b.id
    WHERE CASE WHEN told.id IS NULL THEN t.compares ELSE t.is_stale AND told.is_new END
      AND NOT EXISTS (SELECT FROM vanished AS v WHERE v.kind = '{CatalogueKind.DATASET}' AND v.name = t.dataset)
    ORDER BY t.dataset, b.name
    ON CONFLICT DO NOTHING"""

_LACKING_FILES = f"""
    INSERT INTO vanished (source, kind, name, size_bytes)
    SELECT :source, '{CatalogueKind.FILE}', f.lfn, f.size_bytes
    FROM (SELECT c.file_id, c.block_id FROM file_changes AS c JOIN told_blocks AS b ON b.id = c.block_id
          WHERE b.compares AND c.file_id IS NOT NULL AND (c.lfn IS NULL OR NOT c.is_valid)
          UNION ALL
          SELECT n.id, n.block_id FROM new_files AS n JOIN told_blocks AS b ON b.id = n.block_id WHERE b.is_stale)
         AS lacking
    JOIN files AS f ON f.id = lacking.file_id JOIN told_blocks AS b ON b.id = lacking.block_id
    WHERE NOT EXISTS (SELECT FROM vanished AS v WHERE v.kind = '{CatalogueKind.DATASET}' AND v.name = b.dataset)
      AND NOT EXISTS (SELECT FROM vanished AS v WHERE v.kind = '{CatalogueKind.BLOCK}'
        AND v.name = b.dataset || '#' || b.block)
    ON CONFLICT DO NOTHING"""

_DROP_BLOCKS_INSIDE = f"""
    DELETE FROM vanished AS v USING vanished AS whole, datasets AS d, blocks AS b
    WHERE whole.kind = '{CatalogueKind.DATASET}' AND d.name = whole.name AND b.dataset_id = d.id
      AND v.kind = '{CatalogueKind.BLOCK}' AND v.name = d.name || '#' || b.name"""

_DROP_FILES_INSIDE = f"""
    DELETE FROM vanished AS v USING files AS f, blocks AS b, datasets AS d
    WHERE v.kind = '{CatalogueKind.FILE}' AND md5(f.lfn)::uuid = md5(v.name)::uuid AND b.id = f.block_id
      AND d.id = b.dataset_id
      AND (EXISTS (SELECT FROM vanished AS w WHERE w.kind = '{CatalogueKind.DATASET}' AND w.name = d.name)
           OR EXISTS (SELECT FROM vanished AS w WHERE w.kind = '{CatalogueKind.BLOCK}'
             AND w.name = d.name || '#' || b.name))"""

_SIZES_OF_DATASETS = f"""
    UPDATE vanished AS v SET size_bytes = d.size_bytes FROM told_datasets AS t JOIN datasets AS d ON d.id = t.id
    WHERE v.kind = '{CatalogueKind.DATASET}' AND v.name = t.dataset AND v.size_bytes <> d.size_bytes"""

_SIZES_OF_BLOCKS = f"""
    UPDATE vanished AS v SET size_bytes = b.size_bytes FROM told_blocks AS t JOIN blocks AS b ON b.id = t.id
    WHERE v.kind = '{CatalogueKind.BLOCK}' AND v.name = t.dataset || '#' || t.block AND v.size_bytes <> b.size_bytes"""
