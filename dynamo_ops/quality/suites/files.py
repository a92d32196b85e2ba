"""What is expected of files that were pulled: by themselves, among each other, and against the inventory's."""

from __future__ import annotations

from dynamo_ops.inventory.lfn import DOTS, OURS
from dynamo_ops.quality.checks import SqlCheck, literal
from dynamo_ops.quality.suites.rows import ITS_DATASET, empty, null
from dynamo_ops.quality.thresholds import MetadataThresholds

_UNCLEAN = rf"{DOTS}|{OURS}|//|/$|[\x01-\x1f\x7f\\]"
"""What makes a name none of ``inventory.lfn.CANONICAL``, or one of ours."""

_CLAIMANTS = """ARRAY(
    SELECT claim.dataset FROM (SELECT d AS dataset, count(*) AS times FROM unnest(datasets) AS d GROUP BY d) AS claim
    WHERE claim.times > 1 OR NOT EXISTS (
        SELECT FROM files AS f JOIN blocks AS b ON b.id = f.block_id JOIN datasets AS d ON d.id = b.dataset_id
        WHERE md5(f.lfn)::uuid = md5(wrong_rows.lfn)::uuid AND d.name = claim.dataset))"""
"""The datasets that claim one LFN. The one of the inventory has it rightly, if it tells it once."""


def file_checks(run: str, thresholds: MetadataThresholds) -> list[SqlCheck]:
    """Checks of the files that ``run`` (a condition) picks; the temporary table ``listed_blocks`` has their blocks."""
    return [*_file_checks(run, thresholds), *_among_each_other(run), *_known_file_checks(run)]


def _file_checks(run: str, thresholds: MetadataThresholds) -> list[SqlCheck]:
    files_query = f"SELECT dataset, block, lfn, size_bytes, adler32, is_valid FROM staged_files WHERE {run}"
    sized = "dataset, block, lfn, size_bytes"
    return [
        SqlCheck(
            "file_fields",
            "a field is missing",
            "file",
            files_query,
            f"{empty('dataset', 'block', 'lfn')} OR {null('size_bytes', 'is_valid')}",
            "dataset, block, lfn, size_bytes, is_valid",
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "file_size",
            "size_bytes is negative",
            "file",
            files_query,
            "size_bytes < 0",
            sized,
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "file_absurd",
            f"size_bytes is above {thresholds.max_file_size_bytes:,}",
            "file",
            files_query,
            f"size_bytes > {thresholds.max_file_size_bytes}",
            sized,
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "file_lfn",
            "the LFN is not a clean absolute path, or an unfinished upload of ours is called so,",
            "file",
            files_query,
            f"lfn !~ '^/' OR lfn ~ '{_UNCLEAN}'",
            "dataset, block, lfn",
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "file_lfn_length",
            f"the LFN is longer than {thresholds.max_lfn_bytes} bytes",
            "file",
            files_query,
            f"octet_length(lfn) > {thresholds.max_lfn_bytes}",
            "dataset, block, lfn",
            datasets=ITS_DATASET,
        ),
        _prefix_check(files_query, thresholds.lfn_prefix),
        SqlCheck(
            "file_adler32",
            "adler32 is not a checksum",
            "file",
            files_query,
            "adler32 !~ '^[0-9a-f]{8}$'",
            "dataset, block, lfn, adler32",
            datasets=ITS_DATASET,
        ),
    ]


def _prefix_check(files_query: str, prefix: str | None) -> SqlCheck:
    folder = (prefix or "/").rstrip("/") + "/"
    return SqlCheck(
        "file_prefix",
        f"the LFN is not below {folder}",
        "file",
        files_query,
        f"NOT starts_with(lfn, {literal(folder)})",
        "dataset, block, lfn",
        datasets=ITS_DATASET,
    )


def _among_each_other(run: str) -> list[SqlCheck]:
    """A hash finds the few LFNs that may be there twice; only those are compared. Blocks are looked up once each."""
    again = f"""
        SELECT lfn, count(*) AS times, min(dataset || '#' || block) AS first_block,
               max(dataset || '#' || block) AS last_block, array_agg(dataset) AS datasets
        FROM staged_files
        WHERE {run} AND hashtextextended(lfn, 0) IN (
            SELECT hashtextextended(lfn, 0) FROM staged_files WHERE {run} AND lfn IS NOT NULL
            GROUP BY 1 HAVING count(*) > 1)
        GROUP BY lfn"""
    astray = f"""
        SELECT s.dataset, s.block, s.lfn FROM staged_files AS s
        JOIN (SELECT f.dataset, f.block FROM listed_blocks AS f
              LEFT JOIN (SELECT DISTINCT dataset, block FROM staged_blocks WHERE {run}) AS t USING (dataset, block)
              LEFT JOIN datasets AS d ON d.name = f.dataset
              LEFT JOIN blocks AS b ON b.dataset_id = d.id AND b.name = f.block
              WHERE t.block IS NULL AND b.id IS NULL) AS unknown USING (dataset, block)
        WHERE {run}"""
    return [
        SqlCheck(
            "file_once",
            "the LFN is listed more than once",
            "file",
            again,
            "times > 1",
            "lfn, first_block, last_block, times",
            datasets=_CLAIMANTS,
        ),
        SqlCheck(
            "file_block",
            "the block is unknown",
            "file",
            astray,
            "lfn IS NOT NULL",
            "dataset, block, lfn",
            datasets=ITS_DATASET,
        ),
    ]


def _known_file_checks(run: str) -> list[SqlCheck]:
    """Of files that the inventory has already: they stay what and where they are."""
    known_files_query = f"""
        SELECT s.dataset, s.block, s.lfn, s.size_bytes, s.adler32, f.size_bytes AS size_before,
               f.adler32 AS adler32_before, d.name AS dataset_before, b.name AS block_before
        FROM staged_files AS s JOIN files AS f ON md5(f.lfn)::uuid = md5(s.lfn)::uuid
        JOIN blocks AS b ON b.id = f.block_id JOIN datasets AS d ON d.id = b.dataset_id
        WHERE {run}"""
    return [
        SqlCheck(
            "file_moved",
            "the LFN is in another block of the inventory",
            "file",
            known_files_query,
            "(dataset, block) <> (dataset_before, block_before)",
            "dataset, block, lfn, dataset_before || '#' || block_before AS inventory_block",
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "file_size_changed",
            "size_bytes of a known file changed",
            "file",
            known_files_query,
            "size_bytes <> size_before",
            "dataset, block, lfn, size_before, size_bytes",
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "file_adler32_changed",
            "adler32 of a known file changed",
            "file",
            known_files_query,
            "adler32 <> adler32_before",
            "dataset, block, lfn, adler32_before, adler32",
            datasets=ITS_DATASET,
        ),
    ]
