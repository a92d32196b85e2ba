"""What is expected of datasets, blocks and files that were pulled, before they are merged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from dynamo_ops.database.connection import Database
from dynamo_ops.database.words import Words
from dynamo_ops.inventory.kinds import LOST_DATASETS, USABLE_DATASETS, DatasetStatus, PullKind
from dynamo_ops.inventory.staging.pull import staged_now
from dynamo_ops.quality.checks import SqlCheck, literal
from dynamo_ops.quality.figures import Figures
from dynamo_ops.quality.gate import GateReport, run_gate
from dynamo_ops.quality.suites.aside import Aside, set_aside_check
from dynamo_ops.quality.suites.files import file_checks
from dynamo_ops.quality.suites.listing import listing_checks
from dynamo_ops.quality.suites.listing import prepared as prepared_for_listing
from dynamo_ops.quality.suites.rows import ITS_DATASET, empty, null, of_run, unusable
from dynamo_ops.quality.suites.sites import check_sites
from dynamo_ops.quality.thresholds import DataDocs, Gates, MetadataThresholds

GONE = Words((DatasetStatus.INVALID, DatasetStatus.DEPRECATED, DatasetStatus.DELETED))


def check_metadata(
    db: Database,
    run_key: str,
    sources: Sequence[str],
    site_sources: Sequence[str],
    thresholds: Gates,
    as_of: datetime | None = None,
) -> list[GateReport]:
    """Judge all that a run staged of these sources, the sites first. Raises the GateError of the first refused one.

    ``as_of``: the end of the run's interval; null: now.
    """
    moment = as_of or datetime.now(UTC)
    docs = thresholds.data_docs
    return [
        *(check_sites(db, run_key, source, thresholds.sites, moment, docs) for source in site_sources),
        *(check_source(db, run_key, source, thresholds.metadata, moment, docs) for source in sources),
    ]


def check_source(
    db: Database,
    run_key: str,
    source: str,
    thresholds: MetadataThresholds,
    as_of: datetime | None = None,
    docs: DataDocs | None = None,
) -> GateReport:
    """Judge the datasets, blocks and files that (run_key, source) staged. Raises GateError; changes nothing.

    Datasets with a bad record are set aside, if they are few (``quality.suites.aside``): the report warns of them.
    """
    staged = staged_now(db, run_key, source, "metadata")
    run, moment = of_run(run_key, source), as_of or datetime.now(UTC)
    latest = f"now() + interval '{thresholds.max_clock_skew_h} hours'"
    checks = [
        *_pull_checks(run, thresholds.max_datasets_lost_fraction),
        set_aside_check(thresholds),
        *_dataset_checks(run, run_key, source, latest, thresholds),
        *_volume_checks(thresholds),
        *listing_checks(run, thresholds),
        *_block_checks(run, latest, thresholds.max_name_bytes),
        *file_checks(run, thresholds),
    ]
    return run_gate(
        db,
        "metadata",
        f"source {source!r}",
        run_key,
        checks,
        thresholds.warn_only,
        staged=staged,
        prepare=_prepared(run) | prepared_for_listing(run, _time(moment)),
        figures=Figures(source, moment, _figures(run)),
        docs=docs,
        sieve=Aside(run_key, source, thresholds),
    )


def _time(moment: datetime) -> str:
    return f"'{moment.astimezone(UTC).isoformat()}'::timestamptz"


def _prepared(run: str) -> dict[str, str]:
    """``listed_blocks``: blocks with the sums of their listed files. ``known_datasets``: told ones of the inventory."""
    return {
        "listed_blocks": f"""
            SELECT dataset, block, count(*) AS num_listed, coalesce(sum(size_bytes), 0) AS listed_bytes,
                   coalesce(sum(size_bytes) FILTER (WHERE is_valid), 0) AS valid_bytes
            FROM staged_files WHERE {run} GROUP BY dataset, block""",
        "known_datasets": f"""
            SELECT d.id, d.name AS dataset, d.status AS status_before, t.status, d.size_bytes AS before_bytes,
                   coalesce(b.told_bytes, 0) AS told_bytes, t.has_details
            FROM (SELECT dataset, min(status) AS status, bool_and(has_details) AS has_details
                  FROM staged_datasets WHERE {run} GROUP BY dataset) AS t
            JOIN datasets AS d ON d.name = t.dataset
            LEFT JOIN (SELECT dataset, sum(size_bytes) AS told_bytes FROM staged_blocks WHERE {run} GROUP BY dataset)
              AS b ON b.dataset = d.name""",
    }


def _figures(run: str) -> str:
    return f"""
        SELECT coalesce((SELECT max(num_source_datasets) FROM staged_pulls
          WHERE {run} AND kind = '{PullKind.METADATA}'), 0)
                 AS source_datasets,
               (SELECT count(DISTINCT dataset) FROM staged_datasets WHERE {run} AND is_listed) AS datasets,
               (SELECT count(*) FROM known_datasets) AS known_datasets, b.blocks, b.block_bytes, f.files, f.file_bytes
        FROM (SELECT count(*) AS blocks, coalesce(sum(size_bytes), 0) AS block_bytes
              FROM staged_blocks WHERE {run}) AS b,
             (SELECT coalesce(sum(num_listed), 0) AS files, coalesce(sum(listed_bytes), 0) AS file_bytes
              FROM listed_blocks) AS f"""


def _pull_checks(run: str, max_lost: float) -> list[SqlCheck]:
    pulls_query = f"""
        SELECT p.source, p.since_at, p.num_source_datasets AS num_datasets, s.num_datasets AS num_before,
               (SELECT count(DISTINCT dataset) FROM staged_datasets WHERE {run} AND is_listed) AS num_listed
        FROM (SELECT * FROM staged_pulls WHERE {run} AND kind = '{PullKind.METADATA}') AS p
        LEFT JOIN source_states AS s USING (source)"""
    return [
        SqlCheck(
            "datasets_lost",
            f"the source lost more than {max_lost:.0%} of its datasets",
            "pull",
            pulls_query,
            f"num_before > 0 AND coalesce(num_datasets, 0) < {1 - max_lost} * num_before",
            "num_before, num_datasets",
        ),
        SqlCheck(
            "datasets_listed",
            "the source listed no dataset, or far fewer than it counts,",
            "full pull",
            pulls_query,
            f"since_at IS NULL AND (num_listed = 0 OR num_listed < {1 - max_lost} * num_datasets)",
            "num_datasets, num_listed",
        ),
    ]


def _dataset_checks(run: str, run_key: str, source: str, latest: str, thresholds: MetadataThresholds) -> list[SqlCheck]:
    datasets_query = f"""
        SELECT dataset, status, is_open, last_update_at FROM staged_datasets
        WHERE {run} AND (dataset IS NULL OR dataset NOT IN (SELECT dataset FROM unreadable))"""
    return [
        SqlCheck(
            "dataset_fields",
            "a field is missing",
            "dataset",
            datasets_query,
            f"{empty('dataset')} OR {null('status', 'is_open', 'last_update_at')}",
            "dataset, status, is_open, last_update_at",
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "dataset_name",
            f"the name has a blank, #, * or ?, or more than {thresholds.max_name_bytes} bytes,",
            "dataset",
            datasets_query,
            unusable("dataset", thresholds.max_name_bytes),
            "dataset",
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "dataset_status",
            "status is unknown to us",
            "dataset",
            datasets_query,
            f"status NOT IN {Words(DatasetStatus)}",
            "dataset, status",
            datasets=ITS_DATASET,
        ),
        _time_check("dataset", datasets_query, "dataset", latest),
        SqlCheck(
            "dataset_details",
            "its blocks and files were not pulled",
            "dataset",
            f"SELECT dataset, has_details FROM staged_datasets WHERE {run}",
            "NOT has_details",
            "dataset",
        ),
        SqlCheck(
            "dataset_once",
            "listed more than once",
            "dataset",
            f"SELECT dataset, count(*) AS times FROM staged_datasets WHERE {run} GROUP BY dataset",
            "times > 1",
            "dataset, times",
            datasets=ITS_DATASET,
        ),
        _other_source_check(run_key, source),
    ]


def _time_check(noun: str, query: str, shown: str, latest: str) -> SqlCheck:
    """A time of 0 is none: a policy would take what has it for ancient."""
    return SqlCheck(
        f"{noun}_time",
        "last_update_at is in the future, or not after 1970-01-01,",
        noun,
        query,
        f"last_update_at > {latest} OR last_update_at <= '1970-01-01'::timestamptz",
        f"{shown}, last_update_at",
        datasets=ITS_DATASET,
    )


def _other_source_check(run_key: str, source: str) -> SqlCheck:
    """Two sources that both are asked and tell of one dataset would undo each other's word, run by run."""
    overlap_query = f"""
        SELECT t.dataset, o.source AS other_source FROM staged_datasets AS t
        JOIN staged_datasets AS o ON o.dataset = t.dataset AND o.run_key = t.run_key AND o.source <> t.source
        WHERE t.run_key = {literal(run_key)} AND t.source = {literal(source)}
        UNION
        SELECT t.dataset, o.source FROM staged_datasets AS t
        JOIN datasets AS d ON d.name = t.dataset JOIN dataset_sources AS o ON o.dataset_id = d.id
        WHERE t.run_key = {literal(run_key)} AND t.source = {literal(source)} AND o.source <> t.source
          AND EXISTS (SELECT FROM staged_pulls AS p
                      WHERE p.run_key = t.run_key AND p.source = o.source AND p.kind = '{PullKind.METADATA}')"""
    return SqlCheck(
        "dataset_other_source",
        "another source tells of it too,",
        "dataset",
        overlap_query,
        "other_source IS NOT NULL",
        "dataset, other_source",
    )


def _volume_checks(thresholds: MetadataThresholds) -> list[SqlCheck]:
    """Of the datasets that the inventory has, all together: against what it has of them."""
    volumes_query = f"""
        SELECT dataset, status_before, status, before_bytes, told_bytes, lost_bytes,
               sum(before_bytes) OVER () AS all_before_bytes, sum(lost_bytes) OVER () AS all_lost_bytes,
               (SELECT count(*) FROM datasets WHERE status IN {USABLE_DATASETS}) AS num_usable,
               sum(is_invalidated::int) OVER () AS num_invalidated, is_invalidated
        FROM (SELECT *, CASE WHEN has_details AND status IN {USABLE_DATASETS}
                               THEN greatest(before_bytes - told_bytes, 0) ELSE 0 END
                          AS lost_bytes,
                     status_before IN {USABLE_DATASETS} AND status IN {GONE} AS is_invalidated
              FROM known_datasets) AS k"""
    fraction, bytes_lost = thresholds.max_bytes_lost_fraction, thresholds.bytes_lost_tolerated
    share, number = thresholds.max_invalidated_fraction, thresholds.invalidated_tolerated
    return [
        SqlCheck(
            "dataset_back",
            "was invalid or deleted in the inventory, and is told to be usable again,",
            "dataset",
            volumes_query,
            f"status_before IN {LOST_DATASETS} AND status IN {USABLE_DATASETS}",
            "dataset, status_before, status",
        ),
        SqlCheck(
            "datasets_invalidated",
            f"more than {share:.0%} of the usable datasets are invalid, deprecated or deleted at once,",
            "dataset",
            volumes_query,
            f"is_invalidated AND num_invalidated > greatest({number}, {share} * num_usable)",
            "dataset, status_before, status",
        ),
        SqlCheck(
            "bytes_lost",
            f"the blocks told are more than {fraction:.0%} smaller, all together, than those of the inventory,",
            "dataset",
            volumes_query,
            f"lost_bytes > 0 AND all_lost_bytes > greatest({bytes_lost}, {fraction} * all_before_bytes)",
            "dataset, before_bytes, told_bytes",
        ),
    ]


def _block_checks(run: str, latest: str, max_name_bytes: int) -> list[SqlCheck]:
    blocks_query = f"""
        SELECT b.dataset, b.block, b.is_open, b.size_bytes, b.num_files, b.last_update_at,
               coalesce(f.num_listed, 0) AS num_listed, coalesce(f.listed_bytes, 0) AS listed_bytes,
               coalesce(f.valid_bytes, 0) AS valid_bytes, t.dataset IS NOT NULL OR d.id IS NOT NULL AS is_of_known
        FROM (SELECT * FROM staged_blocks WHERE {run}) AS b
        LEFT JOIN listed_blocks AS f USING (dataset, block)
        LEFT JOIN (SELECT DISTINCT dataset FROM staged_datasets WHERE {run}) AS t ON t.dataset = b.dataset
        LEFT JOIN datasets AS d ON d.name = b.dataset"""
    return [
        SqlCheck(
            "block_fields",
            "a field is missing",
            "block",
            blocks_query,
            f"{empty('dataset', 'block')} OR {null('is_open', 'size_bytes', 'last_update_at')}",
            "dataset, block, is_open, size_bytes, last_update_at",
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "block_name",
            f"the name has a blank, #, * or ?, or more than {max_name_bytes} bytes,",
            "block",
            blocks_query,
            unusable("block", max_name_bytes),
            "dataset, block",
            datasets=ITS_DATASET,
        ),
        _time_check("block", blocks_query, "dataset, block", latest),
        SqlCheck(
            "block_size",
            "size_bytes is negative",
            "block",
            blocks_query,
            "size_bytes < 0",
            "dataset, block, size_bytes",
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "block_dataset",
            "the dataset is unknown",
            "block",
            blocks_query,
            "NOT is_of_known",
            "dataset, block",
            datasets="ARRAY[NULL]::text[]",  # which dataset lacks it, nobody knows
        ),
        SqlCheck(
            "block_num_files",
            "the number of files is not the one told",
            "closed block",
            blocks_query,
            "NOT is_open AND num_files <> num_listed",
            "dataset, block, num_files, num_listed",
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "block_file_sizes",
            "size_bytes is not that of its files",
            "closed block",
            blocks_query,
            "NOT is_open AND size_bytes NOT IN (listed_bytes, valid_bytes)",
            "dataset, block, size_bytes, listed_bytes",
            datasets=ITS_DATASET,
        ),
        SqlCheck(
            "block_once",
            "listed more than once",
            "block",
            f"SELECT dataset, block, count(*) AS times FROM staged_blocks WHERE {run} GROUP BY dataset, block",
            "times > 1",
            "dataset, block, times",
            datasets=ITS_DATASET,
        ),
    ]
