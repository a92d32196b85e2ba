"""What is expected of the files of a pull as a whole: that those which blocks tell of, and known ones, are listed.

One file more or less is a warning elsewhere. In masses it is a listing that broke off: the merge would make blocks that
seem empty, and note known files as vanished.
"""

from __future__ import annotations

from dynamo_ops.inventory.kinds import USABLE_DATASETS, CatalogueKind
from dynamo_ops.quality.checks import SqlCheck
from dynamo_ops.quality.suites.aside import IS_LEFT
from dynamo_ops.quality.thresholds import MetadataThresholds


def prepared(run: str, moment: str) -> dict[str, str]:
    """``lost_files``: by block, known files of pulled, usable datasets that are not told, or told as invalid.

    What has vanished before does not count again, nor what the pull of an interval that ends after ``moment`` (SQL)
    told. Needs the temporary table ``known_datasets``.
    """
    return {
        "lost_files": f"""
            SELECT k.dataset, b.name AS block, count(*) AS num_lost, sum(f.size_bytes) AS lost_bytes
            FROM known_datasets AS k JOIN blocks AS b ON b.dataset_id = k.id JOIN files AS f ON f.block_id = b.id
            WHERE k.has_details AND k.status IN {USABLE_DATASETS}
              AND NOT EXISTS (SELECT FROM dataset_sources AS o WHERE o.dataset_id = k.id AND o.details_until > {moment})
              AND NOT EXISTS (SELECT FROM staged_files AS s WHERE {run} AND s.is_valid AND s.lfn = f.lfn)
              AND NOT EXISTS (SELECT FROM vanished AS v WHERE v.kind = '{CatalogueKind.FILE}' AND v.name = f.lfn)
              AND NOT EXISTS (SELECT FROM vanished AS v WHERE v.kind = '{CatalogueKind.BLOCK}'
                AND v.name = k.dataset || '#' || b.name)
              AND NOT EXISTS (SELECT FROM vanished AS v WHERE v.kind = '{CatalogueKind.DATASET}' AND v.name = k.dataset)
            GROUP BY k.dataset, b.name""",
    }


def listing_checks(run: str, thresholds: MetadataThresholds) -> list[SqlCheck]:
    """Checks of the pull that ``run`` (a condition) picks, by its blocks; temporary tables as ``prepared`` says."""
    return [_listed_check(run, thresholds), _lost_check(thresholds)]


def _listed_check(run: str, thresholds: MetadataThresholds) -> SqlCheck:
    """Files that closed blocks tell of, by number or by bytes. Of an open block files come later.

    Where no file is listed at all nothing is tolerated: the blocks of a new dataset would come in empty.
    """
    closed = f"""
        SELECT b.dataset, b.block, b.num_files, b.size_bytes, coalesce(f.num_listed, 0) AS num_listed,
               coalesce(f.listed_bytes, 0) AS listed_bytes,
               greatest(coalesce(b.num_files, 0) - coalesce(f.num_listed, 0), 0) AS lacking,
               greatest(coalesce(b.size_bytes, 0) - coalesce(f.listed_bytes, 0), 0) AS lacking_bytes
        FROM (SELECT * FROM staged_blocks AS s WHERE {run} AND NOT is_open AND {IS_LEFT.format(table="s")}) AS b
        JOIN (SELECT DISTINCT dataset FROM staged_datasets WHERE {run} AND has_details AND status IN {USABLE_DATASETS})
          AS t USING (dataset)
        LEFT JOIN listed_blocks AS f USING (dataset, block)"""
    blocks_query = f"""
        SELECT * FROM ({closed}) AS b,
               (SELECT sum(num_files) AS all_files, sum(size_bytes) AS all_bytes, sum(num_listed) AS all_listed,
                       sum(lacking) AS all_lacking, sum(lacking_bytes) AS all_lacking_bytes
                FROM ({closed}) AS c) AS s"""
    above = _above(thresholds, "all_lacking", "all_files", "all_lacking_bytes", "all_bytes")
    return SqlCheck(
        "files_listed",
        f"more than {thresholds.max_files_lost_fraction:.0%} of the files that blocks tell of, all together, are not"
        " listed,",
        "closed block",
        blocks_query,
        f"(lacking > 0 OR lacking_bytes > 0) AND (all_listed = 0 OR {above})",
        "dataset, block, num_files, num_listed, size_bytes, listed_bytes",
    )


def _lost_check(thresholds: MetadataThresholds) -> SqlCheck:
    files_query = f"""
        SELECT * FROM lost_files,
               (SELECT sum(num_lost) AS all_lost, sum(lost_bytes) AS all_lost_bytes FROM lost_files) AS l,
               (SELECT sum(d.num_files) AS all_files, sum(d.size_bytes) AS all_bytes
                FROM known_datasets AS k JOIN datasets AS d ON d.id = k.id
                WHERE k.has_details AND k.status IN {USABLE_DATASETS}) AS a"""
    return SqlCheck(
        "files_lost",
        f"more than {thresholds.max_files_lost_fraction:.0%} of the known files, all together, are not told any more,",
        "block",
        files_query,
        _above(thresholds, "all_lost", "all_files", "all_lost_bytes", "all_bytes"),
        "dataset, block, num_lost, lost_bytes",
    )


def _above(thresholds: MetadataThresholds, files: str, all_files: str, size: str, all_bytes: str) -> str:
    """True where the number of files or the bytes that lack are above what is tolerated, and above the fraction."""
    fraction = thresholds.max_files_lost_fraction
    return (
        f"({files} > greatest({thresholds.files_lost_tolerated}, {fraction} * {all_files})"
        f" OR {size} > greatest({thresholds.file_bytes_lost_tolerated}, {fraction} * {all_bytes}))"
    )
