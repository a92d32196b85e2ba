"""What is expected of datasets, blocks, files and sites that were pulled, before they are merged."""

from __future__ import annotations

from collections.abc import Sequence

from dynamo_ops.inventory.database import Database
from dynamo_ops.inventory.schema.catalogue import DATASET_STATUSES, SITE_STATUSES, STORAGE_TYPES
from dynamo_ops.quality.checks import SqlCheck, literal
from dynamo_ops.quality.gate import GateReport, run_gate
from dynamo_ops.quality.thresholds import Gates, MetadataThresholds, SiteThresholds


def check_metadata(
    db: Database, run_key: str, sources: Sequence[str], site_sources: Sequence[str], thresholds: Gates
) -> list[GateReport]:
    """Judge all that a run staged of these sources, the sites first. Raises the GateError of the first refused one."""
    return [
        *(check_sites(db, run_key, source, thresholds.sites) for source in site_sources),
        *(check_source(db, run_key, source, thresholds.metadata) for source in sources),
    ]


def check_source(db: Database, run_key: str, source: str, thresholds: MetadataThresholds) -> GateReport:
    """Judge the datasets, blocks and files that (run_key, source) staged. Raises GateError; changes nothing."""
    run = f"run_key = {literal(run_key)} AND source = {literal(source)}"
    checks = [
        *_pull_checks(run, thresholds.max_datasets_lost_fraction),
        *_dataset_checks(run),
        *_block_checks(run),
        *_file_checks(run),
        *_known_file_checks(run),
    ]
    return run_gate(db, "metadata", f"source {source!r}", run_key, checks, thresholds.warn_only)


def check_sites(db: Database, run_key: str, source: str, thresholds: SiteThresholds) -> GateReport:
    """Judge the sites that (run_key, source) staged. Raises GateError; changes nothing."""
    run = f"run_key = {literal(run_key)} AND source = {literal(source)}"
    checks = [*_site_checks(run), *_site_set_checks(run, source, thresholds)]
    return run_gate(db, "sites", f"source {source!r}", run_key, checks, thresholds.warn_only)


def _pull_checks(run: str, max_lost: float) -> list[SqlCheck]:
    rows = f"""
        SELECT p.source, p.since_at, p.num_source_datasets AS num_datasets, s.num_datasets AS num_before,
               (SELECT count(DISTINCT dataset) FROM staged_datasets WHERE {run}) AS num_listed
        FROM (SELECT * FROM staged_pulls WHERE {run} AND kind = 'metadata') AS p
        LEFT JOIN source_states AS s USING (source)"""
    return [
        SqlCheck(
            "datasets_lost",
            f"the source lost more than {max_lost:.0%} of its datasets",
            "pull",
            rows,
            "SELECT num_before, num_datasets FROM {batch}"
            f" WHERE num_before > 0 AND coalesce(num_datasets, 0) < {1 - max_lost} * num_before",
        ),
        SqlCheck(
            "datasets_listed",
            "the source listed no dataset, or far fewer than it counts,",
            "full pull",
            rows,
            "SELECT num_datasets, num_listed FROM {batch} WHERE since_at IS NULL"
            f" AND (num_listed = 0 OR num_listed < {1 - max_lost} * num_datasets)",
        ),
    ]


def _dataset_checks(run: str) -> list[SqlCheck]:
    rows = f"SELECT dataset, status, is_open, last_update_at FROM staged_datasets WHERE {run}"
    return [
        SqlCheck(
            "dataset_fields",
            "a field is missing",
            "dataset",
            rows,
            _where(
                "dataset, status, is_open, last_update_at",
                "coalesce(dataset, '') = '' OR status IS NULL OR is_open IS NULL OR last_update_at IS NULL",
            ),
        ),
        SqlCheck(
            "dataset_status",
            "status is unknown to us",
            "dataset",
            rows,
            _where("dataset, status", f"status NOT IN ({_listed(DATASET_STATUSES)})"),
        ),
        SqlCheck("dataset_once", "listed more than once", "dataset", rows, _repeated("dataset")),
    ]


def _block_checks(run: str) -> list[SqlCheck]:
    rows = f"""
        SELECT b.dataset, b.block, b.is_open, b.size_bytes, b.num_files, b.last_update_at, f.num_listed
        FROM (SELECT * FROM staged_blocks WHERE {run}) AS b
        LEFT JOIN (SELECT dataset, block, count(*) AS num_listed FROM staged_files WHERE {run} GROUP BY 1, 2) AS f
        USING (dataset, block)"""
    return [
        SqlCheck(
            "block_fields",
            "a field is missing",
            "block",
            rows,
            _where(
                "dataset, block, is_open, size_bytes, last_update_at",
                "coalesce(dataset, '') = '' OR coalesce(block, '') = '' OR is_open IS NULL OR size_bytes IS NULL"
                " OR last_update_at IS NULL",
            ),
        ),
        SqlCheck(
            "block_size",
            "size_bytes is negative",
            "block",
            rows,
            _where("dataset, block, size_bytes", "size_bytes < 0"),
        ),
        SqlCheck(
            "block_dataset",
            "the dataset is unknown",
            "block",
            rows,
            _where(
                "dataset, block",
                f"NOT EXISTS (SELECT FROM staged_datasets AS d WHERE {run} AND d.dataset = told.dataset)"
                " AND NOT EXISTS (SELECT FROM datasets AS d WHERE d.name = told.dataset)",
            ),
        ),
        SqlCheck("block_once", "listed more than once", "block", rows, _repeated("dataset, block")),
        SqlCheck(
            "block_num_files",
            "the number of files is not the one told",
            "closed block",
            rows,
            _where("dataset, block, num_files, num_listed", "NOT is_open AND num_files <> coalesce(num_listed, 0)"),
        ),
    ]


def _file_checks(run: str) -> list[SqlCheck]:
    rows = f"SELECT dataset, block, lfn, size_bytes, adler32, is_valid FROM staged_files WHERE {run}"
    same_block = "b.dataset = told.dataset AND b.block = told.block"
    return [
        SqlCheck(
            "file_fields",
            "a field is missing",
            "file",
            rows,
            _where(
                "dataset, block, lfn, size_bytes, is_valid",
                "coalesce(dataset, '') = '' OR coalesce(block, '') = '' OR coalesce(lfn, '') = '' OR size_bytes IS NULL"
                " OR is_valid IS NULL",
            ),
        ),
        SqlCheck(
            "file_size",
            "size_bytes is negative",
            "file",
            rows,
            _where("dataset, block, lfn, size_bytes", "size_bytes < 0"),
        ),
        SqlCheck(
            "file_lfn",
            "the LFN is not a clean absolute path",
            "file",
            rows,
            _where(
                "dataset, block, lfn", r"lfn !~ '^/' OR lfn ~ '(^|/)[.]{{1,2}}(/|$)' OR lfn ~ '//|/$|[\x01-\x1f\x7f]'"
            ),
        ),
        SqlCheck(
            "file_adler32",
            "adler32 is not a checksum",
            "file",
            rows,
            _where("dataset, block, lfn, adler32", "adler32 !~ '^[0-9a-f]{{8}}$'"),
        ),
        SqlCheck(
            "file_once",
            "the LFN is listed more than once",
            "file",
            rows,
            _repeated("lfn", "min(dataset || '#' || block) AS first_block, max(dataset || '#' || block) AS last_block"),
        ),
        SqlCheck(
            "file_block",
            "the block is unknown",
            "file",
            rows,
            _where(
                "dataset, block, lfn",
                f"NOT EXISTS (SELECT FROM staged_blocks AS b WHERE {run} AND {same_block})"
                " AND NOT EXISTS (SELECT FROM datasets AS d JOIN blocks AS b ON b.dataset_id = d.id"
                " WHERE d.name = told.dataset AND b.name = told.block)",
            ),
        ),
    ]


def _known_file_checks(run: str) -> list[SqlCheck]:
    """Of files that the inventory has already: they stay what and where they are."""
    rows = f"""
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
            rows,
            _where(
                "dataset, block, lfn, dataset_before || '#' || block_before AS inventory_block",
                "(dataset, block) <> (dataset_before, block_before)",
            ),
        ),
        SqlCheck(
            "file_size_changed",
            "size_bytes of a known file changed",
            "file",
            rows,
            _where("dataset, block, lfn, size_before, size_bytes", "size_bytes <> size_before"),
        ),
        SqlCheck(
            "file_adler32_changed",
            "adler32 of a known file changed",
            "file",
            rows,
            _where("dataset, block, lfn, adler32_before, adler32", "adler32 <> adler32_before"),
        ),
    ]


def _site_checks(run: str) -> list[SqlCheck]:
    rows = f"SELECT site, storage_type, status, endpoints FROM staged_sites WHERE {run}"
    return [
        SqlCheck(
            "site_fields",
            "a field is missing",
            "site",
            rows,
            _where("site, storage_type, status", "coalesce(site, '') = '' OR storage_type IS NULL OR status IS NULL"),
        ),
        SqlCheck(
            "site_known_values",
            "storage_type or status is unknown to us",
            "site",
            rows,
            _where(
                "site, storage_type, status",
                f"storage_type NOT IN ({_listed(STORAGE_TYPES)}) OR status NOT IN ({_listed(SITE_STATUSES)})",
            ),
        ),
        SqlCheck("site_once", "listed more than once", "site", rows, _repeated("site")),
        SqlCheck(
            "site_endpoint",
            "no endpoint is given",
            "ready site",
            rows,
            _where("site", "status = 'ready' AND coalesce(jsonb_array_length(endpoints), 0) = 0"),
        ),
    ]


def _site_set_checks(run: str, source: str, thresholds: SiteThresholds) -> list[SqlCheck]:
    """Of the sites as a whole, against those that the source told when it was merged last."""
    listed = f"SELECT count(*) AS num_listed FROM staged_sites WHERE {run}"
    ready = f"""
        SELECT s.name AS site, coalesce(t.status, '(not listed)') AS status,
               count(*) OVER () AS num_before, sum((t.status IS DISTINCT FROM 'ready')::int) OVER () AS num_lost
        FROM sites AS s JOIN site_sources AS o ON o.site_id = s.id AND o.source = {literal(source)}
        LEFT JOIN (SELECT site, max(status) AS status FROM staged_sites WHERE {run} GROUP BY site) AS t
        ON t.site = s.name
        WHERE s.status = 'ready'"""
    lost = f"more than {thresholds.max_ready_lost_fraction:.0%} of the ready sites are not ready any more,"
    limit = f"greatest({thresholds.ready_lost_tolerated}, {thresholds.max_ready_lost_fraction} * num_before)"
    return [
        SqlCheck("sites_listed", "no site is listed", "pull", listed, _where("num_listed", "num_listed = 0")),
        SqlCheck(
            "ready_lost", lost, "site", ready, _where("site, status", f"status <> 'ready' AND num_lost > {limit}")
        ),
    ]


def _where(columns: str, condition: str) -> str:
    return f"SELECT {columns} FROM (SELECT * FROM {{batch}}) AS told WHERE {condition}"


def _repeated(columns: str, shown: str = "") -> str:
    extra = f", {shown}" if shown else ""
    return f"SELECT {columns}{extra}, count(*) AS times FROM {{batch}} GROUP BY {columns} HAVING count(*) > 1"


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)
