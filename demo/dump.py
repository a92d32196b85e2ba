"""What the inventory says, as text that two databases can be compared by: names instead of ids, no times of loading."""

from __future__ import annotations

from dynamo_ops.database.connection import Database

TABLES = {
    "sites": "SELECT name, storage_type, status FROM sites",
    "site_endpoints": """
        SELECT s.name AS site, e.protocol, e.prefix, e.mapping::text
        FROM site_endpoints e JOIN sites s ON s.id = e.site_id""",
    "datasets": """
        SELECT name, status, is_open, software_release, size_bytes, num_blocks, num_files, last_update_at
        FROM datasets""",
    "blocks": """
        SELECT d.name AS dataset, b.name AS block, b.is_open, b.size_bytes, b.num_files, b.last_update_at
        FROM blocks b JOIN datasets d ON d.id = b.dataset_id""",
    "files": """
        SELECT d.name AS dataset, b.name AS block, f.lfn, f.size_bytes, f.adler32
        FROM files f JOIN blocks b ON b.id = f.block_id JOIN datasets d ON d.id = b.dataset_id""",
    "dataset_replicas": """
        SELECT d.name AS dataset, s.name AS site, r.is_growing, g.name AS owner
        FROM dataset_replicas r JOIN datasets d ON d.id = r.dataset_id JOIN sites s ON s.id = r.site_id
        LEFT JOIN groups g ON g.id = r.group_id""",
    "block_replicas": """
        SELECT d.name AS dataset, b.name AS block, s.name AS site, g.name AS owner, r.is_complete, r.is_custodial,
               r.size_bytes, r.last_update_at
        FROM block_replicas r JOIN blocks b ON b.id = r.block_id JOIN datasets d ON d.id = r.dataset_id
        JOIN sites s ON s.id = r.site_id LEFT JOIN groups g ON g.id = r.group_id""",
    "block_replica_files": """
        SELECT f.lfn, s.name AS site FROM block_replica_files r JOIN files f ON f.id = r.file_id
        JOIN sites s ON s.id = r.site_id""",
    "dataset_sources": """
        SELECT d.name AS dataset, o.source, o.is_open, o.release_at
        FROM dataset_sources o JOIN datasets d ON d.id = o.dataset_id""",
    "source_states": "SELECT source, merged_until, num_datasets, num_sites_ready FROM source_states",
    "site_sources": """
        SELECT s.name AS site, o.source, o.told_status FROM site_sources o JOIN sites s ON s.id = o.site_id""",
    "vanished": "SELECT source, kind, name, size_bytes FROM vanished",
    "accesses_daily": """
        SELECT a.day, a.source, d.name AS dataset, s.name AS site, a.num_accesses
        FROM accesses_daily a JOIN datasets d ON d.id = a.dataset_id JOIN sites s ON s.id = a.site_id""",
    "demand_daily": """
        SELECT a.day, a.source, d.name AS dataset, a.num_jobs
        FROM demand_daily a JOIN datasets d ON d.id = a.dataset_id""",
    "aggregated_days": "SELECT day, source, kind, num_told, most_told FROM aggregated_days",
    "unknown_use": "SELECT day, source, kind, dataset, lfn, site, number FROM unknown_use",
    "attributes": """
        SELECT name, producer, CASE WHEN producer <> 'catalogue' THEN produced_at END AS produced_at FROM attributes""",
    "dataset_attributes": """
        SELECT a.name, d.name AS dataset, a.value FROM dataset_attributes a JOIN datasets d ON d.id = a.dataset_id""",
}
"""``produced_at`` of the catalogue's attributes, which follow from the present inventory, is a time of loading. So are
``dataset_sources.…_until``: which runs told of a dataset, and up to when."""


def dump(database: Database) -> dict[str, str]:
    """Table → its rows as CSV, sorted by all columns: equal texts are equal contents, to the byte."""
    with database.snapshot() as snapshot:
        frames = {name: snapshot.frame(sql) for name, sql in TABLES.items()}
    return {name: frame.sort(frame.columns, nulls_last=True).write_csv() for name, frame in frames.items()}


def differences(one: dict[str, str], other: dict[str, str], shown: int = 5) -> list[str]:
    """Lines that only one of two dumps has, some of each table."""
    found = []
    for name in TABLES:
        lines = set(one[name].splitlines()) ^ set(other[name].splitlines())
        found += [f"{name}: {'-' if line in one[name] else '+'} {line}" for line in sorted(lines)[:shown]]
    return found
