"""From staging into the inventory, in one transaction a source, by set-based SQL.

A merge only adds and updates: what a source no longer tells stays, because an answer that lacks something is more often
a broken answer than a deletion (a site is the exception: it becomes ``unknown``, so that nothing new goes there). To
merge the same staged rows again changes nothing. That the rows make sense is the gate's work, done before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from dynamo_ops.inventory.database import Database
from dynamo_ops.inventory.staging import Pull, staged_pull


@dataclass(frozen=True)
class MergeSummary:
    """What a merge of metadata did. ``changed`` counts rows that were there and are different now.

    ``replicas_made_incomplete``: block replicas that were complete until their block gained files.
    ``replicas_grown``: new, empty block replicas at sites with a growing replica of the dataset.
    """

    new_datasets: int
    changed_datasets: int
    new_blocks: int
    changed_blocks: int
    new_files: int
    new_bytes: int
    replicas_made_incomplete: int
    replicas_grown: int


@dataclass(frozen=True)
class SiteSummary:
    """What a merge of sites did. ``lost``: sites that the source told before and no longer tells, now ``unknown``."""

    new: int
    changed: int
    lost: int


def merge_metadata(db: Database, run_key: str, source: str, until: datetime) -> MergeSummary:
    """Merge what (run_key, source) staged; the source then counts as merged up to ``until``.

    Raises InventoryError if nothing was staged under this key.
    """
    with db.begin() as connection:
        _lock(connection)
        pull = staged_pull(connection, run_key, source, "metadata")
        _prepare(connection, run_key, source)
        new_datasets, changed_datasets = _merge_datasets(connection)
        new_blocks, changed_blocks = _merge_blocks(connection)
        new_files, new_bytes = _merge_files(connection)
        incomplete = _open_replicas(connection)
        grown = _grow_replicas(connection)
        _sum_up(connection)
        _note_pull(connection, source, until, pull)
    return MergeSummary(
        new_datasets,
        changed_datasets,
        new_blocks,
        changed_blocks,
        new_files,
        new_bytes,
        replicas_made_incomplete=incomplete,
        replicas_grown=grown,
    )


def merge_sites(db: Database, run_key: str, source: str) -> SiteSummary:
    """Merge the sites that (run_key, source) staged. Raises InventoryError if nothing was staged under this key."""
    with db.begin() as connection:
        _lock(connection)
        staged_pull(connection, run_key, source, "sites")
        key = {"run_key": run_key, "source": source}
        connection.execute(text(_SITES_OF_RUN), key)
        lost = connection.execute(text(_LOSE_SITES), key).rowcount
        new, changed = _new_and_changed(connection, _UPSERT_SITES)
        connection.execute(text(_UPSERT_SITE_SOURCES), key)
        connection.execute(text(_UPSERT_ENDPOINTS))
        connection.execute(text(_DROP_OLD_ENDPOINTS))
        connection.execute(text(_NOTE_SITES), key)
        connection.execute(text("DROP TABLE merged_sites"))
    return SiteSummary(new, changed, lost)


def _lock(connection: Connection) -> None:
    """One merge at a time: two that insert the same names in another order would wait for each other."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('dynamo_ops.inventory.merge'))"))


def _prepare(connection: Connection, run_key: str, source: str) -> None:
    """Temporary tables of the staged names, each once, and empty ones for what turns out to be new."""
    for statement in _PREPARE:
        connection.execute(text(statement), {"run_key": run_key, "source": source})


def _merge_datasets(connection: Connection) -> tuple[int, int]:
    counts = _new_and_changed(connection, _UPSERT_DATASETS)
    connection.execute(text("UPDATE merged_datasets AS m SET id = d.id FROM datasets AS d WHERE d.name = m.dataset"))
    connection.execute(text("ANALYZE merged_datasets"))
    return counts


def _merge_blocks(connection: Connection) -> tuple[int, int]:
    connection.execute(text(_IDENTIFY_BLOCKS))
    connection.execute(text(_NOTE_NEW_BLOCKS))
    counts = _new_and_changed(connection, _UPSERT_BLOCKS)
    connection.execute(text(_IDENTIFY_BLOCKS))
    connection.execute(text("ANALYZE merged_blocks"))
    return counts


def _merge_files(connection: Connection) -> tuple[int, int]:
    """Number and bytes of the new files, which are noted in ``new_files``."""
    connection.execute(text(_INSERT_FILES))
    connection.execute(text("ANALYZE new_files"))
    connection.execute(text(_FILL_CHECKSUMS))
    row = connection.execute(text("SELECT count(*), coalesce(sum(size_bytes), 0)::bigint FROM new_files")).one()
    return row[0], row[1]


def _open_replicas(connection: Connection) -> int:
    """Complete replicas of blocks that gained files keep the files they had, and are incomplete from now on."""
    connection.execute(text(_KEEP_OLD_FILES))
    return connection.execute(text(_MAKE_INCOMPLETE)).rowcount


def _grow_replicas(connection: Connection) -> int:
    return connection.execute(text(_GROW_REPLICAS)).rowcount


def _sum_up(connection: Connection) -> None:
    """Sizes and numbers of blocks and datasets again from their files; then the temporary tables may go."""
    connection.execute(text(_SUM_BLOCKS))
    connection.execute(text(_SUM_DATASETS))
    connection.execute(text("DROP TABLE merged_datasets, merged_blocks, merged_files, new_blocks, new_files"))


def _note_pull(connection: Connection, source: str, until: datetime, pull: Pull) -> None:
    connection.execute(
        text(_NOTE_PULL),
        {"source": source, "until": until, "is_full": pull.since is None, "num_datasets": pull.num_source_datasets},
    )


def _new_and_changed(connection: Connection, upsert: str) -> tuple[int, int]:
    """How many rows an upsert inserted and updated. In PostgreSQL only a row just inserted has ``xmax`` 0."""
    counted = f"""WITH done AS ({upsert} RETURNING xmax = 0 AS is_new)
                  SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM done"""
    row = connection.execute(text(counted)).one()
    return row[0], row[1]


_PREPARE = (
    """
    CREATE TEMPORARY TABLE merged_datasets ON COMMIT DROP AS
    SELECT DISTINCT ON (s.dataset) NULL::bigint AS id, s.dataset, s.status, s.software_release, s.last_update_at,
           s.is_open OR EXISTS (SELECT FROM staged_blocks AS b WHERE b.run_key = :run_key AND b.source = :source
                                AND b.dataset = s.dataset AND b.is_open) AS is_open
    FROM staged_datasets AS s
    WHERE s.run_key = :run_key AND s.source = :source AND s.dataset IS NOT NULL
    ORDER BY s.dataset, s.last_update_at DESC NULLS LAST, s.id DESC
    """,
    """
    CREATE TEMPORARY TABLE merged_blocks ON COMMIT DROP AS
    SELECT DISTINCT ON (dataset, block) NULL::bigint AS id, dataset, block, is_open, last_update_at
    FROM staged_blocks
    WHERE run_key = :run_key AND source = :source AND block IS NOT NULL
    ORDER BY dataset, block, last_update_at DESC NULLS LAST, id DESC
    """,
    """
    CREATE TEMPORARY TABLE merged_files ON COMMIT DROP AS
    SELECT DISTINCT ON (lfn) dataset, block, lfn, size_bytes,
           CASE WHEN adler32 ~ '^[0-9a-f]{8}$' THEN adler32 END AS adler32
    FROM staged_files
    WHERE run_key = :run_key AND source = :source AND lfn IS NOT NULL AND is_valid
    ORDER BY lfn, id
    """,
    "CREATE TEMPORARY TABLE new_blocks (dataset text, block text) ON COMMIT DROP",
    "CREATE TEMPORARY TABLE new_files (id bigint, block_id bigint, size_bytes bigint) ON COMMIT DROP",
    "ANALYZE merged_datasets",
    "ANALYZE merged_blocks",
    "ANALYZE merged_files",
)

_UPSERT_DATASETS = """
    INSERT INTO datasets AS old (name, status, is_open, software_release, last_update_at)
    SELECT dataset, status, is_open, software_release, last_update_at FROM merged_datasets ORDER BY dataset
    ON CONFLICT (name) DO UPDATE
    SET status = excluded.status, is_open = excluded.is_open, last_update_at = excluded.last_update_at,
        software_release = coalesce(excluded.software_release, old.software_release)
    WHERE (old.status, old.is_open, old.last_update_at, old.software_release) IS DISTINCT FROM
          (excluded.status, excluded.is_open, excluded.last_update_at,
           coalesce(excluded.software_release, old.software_release))"""

_IDENTIFY_BLOCKS = """
    UPDATE merged_blocks AS m SET id = b.id
    FROM merged_datasets AS d JOIN blocks AS b ON b.dataset_id = d.id
    WHERE d.dataset = m.dataset AND b.name = m.block"""

_NOTE_NEW_BLOCKS = "INSERT INTO new_blocks SELECT dataset, block FROM merged_blocks WHERE id IS NULL"

_UPSERT_BLOCKS = """
    INSERT INTO blocks AS old (dataset_id, name, is_open, last_update_at)
    SELECT d.id, m.block, m.is_open, m.last_update_at
    FROM merged_blocks AS m JOIN merged_datasets AS d ON d.dataset = m.dataset
    ORDER BY d.id, m.block
    ON CONFLICT (dataset_id, name) DO UPDATE
    SET is_open = excluded.is_open, last_update_at = excluded.last_update_at
    WHERE (old.is_open, old.last_update_at) IS DISTINCT FROM (excluded.is_open, excluded.last_update_at)"""

_INSERT_FILES = """
    WITH inserted AS (
        INSERT INTO files (block_id, lfn, size_bytes, adler32)
        SELECT b.id, m.lfn, m.size_bytes, m.adler32
        FROM merged_files AS m JOIN merged_blocks AS b ON b.dataset = m.dataset AND b.block = m.block
        WHERE b.id IS NOT NULL
        ORDER BY b.id
        ON CONFLICT ((md5(lfn)::uuid)) DO NOTHING
        RETURNING id, block_id, size_bytes)
    INSERT INTO new_files SELECT id, block_id, size_bytes FROM inserted"""

_FILL_CHECKSUMS = """
    UPDATE files AS f SET adler32 = m.adler32
    FROM merged_files AS m
    WHERE md5(f.lfn)::uuid = md5(m.lfn)::uuid AND f.adler32 IS NULL AND m.adler32 IS NOT NULL
      AND f.size_bytes = m.size_bytes"""

_KEEP_OLD_FILES = """
    INSERT INTO block_replica_files (block_id, site_id, file_id)
    SELECT r.block_id, r.site_id, f.id
    FROM (SELECT DISTINCT block_id FROM new_files) AS grown
    JOIN block_replicas AS r ON r.block_id = grown.block_id AND r.is_complete
    JOIN files AS f ON f.block_id = r.block_id
    WHERE NOT EXISTS (SELECT FROM new_files AS n WHERE n.id = f.id)
    ON CONFLICT DO NOTHING"""

_MAKE_INCOMPLETE = """
    UPDATE block_replicas AS r SET is_complete = false
    FROM (SELECT DISTINCT block_id FROM new_files) AS grown
    WHERE r.block_id = grown.block_id AND r.is_complete"""

_GROW_REPLICAS = """
    INSERT INTO block_replicas (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
    SELECT b.id, g.site_id, g.dataset_id, g.group_id, false, 0, now()
    FROM new_blocks AS n
    JOIN merged_blocks AS b ON b.dataset = n.dataset AND b.block = n.block
    JOIN merged_datasets AS d ON d.dataset = n.dataset
    JOIN dataset_replicas AS g ON g.dataset_id = d.id AND g.is_growing
    ON CONFLICT DO NOTHING"""

_SUM_BLOCKS = """
    UPDATE blocks AS b SET size_bytes = f.size_bytes, num_files = f.num_files
    FROM (SELECT block_id, sum(size_bytes)::bigint AS size_bytes, count(*) AS num_files FROM files
          WHERE block_id IN (SELECT block_id FROM new_files) GROUP BY block_id) AS f
    WHERE b.id = f.block_id"""

_SUM_DATASETS = """
    UPDATE datasets AS d SET size_bytes = b.size_bytes, num_blocks = b.num_blocks, num_files = b.num_files
    FROM (SELECT dataset_id, sum(size_bytes)::bigint AS size_bytes, count(*) AS num_blocks,
                 sum(num_files)::bigint AS num_files
          FROM blocks WHERE dataset_id IN (SELECT id FROM merged_datasets) GROUP BY dataset_id) AS b
    WHERE d.id = b.dataset_id
      AND (d.size_bytes, d.num_blocks, d.num_files) IS DISTINCT FROM (b.size_bytes, b.num_blocks, b.num_files)"""

_NOTE_PULL = """
    INSERT INTO source_states AS old (source, full_sync_at, merged_until, num_datasets, updated_at)
    VALUES (:source, CASE WHEN :is_full THEN now() END, :until, :num_datasets, now())
    ON CONFLICT (source) DO UPDATE
    SET full_sync_at = coalesce(excluded.full_sync_at, old.full_sync_at),
        merged_until = greatest(old.merged_until, excluded.merged_until),
        num_datasets = coalesce(excluded.num_datasets, old.num_datasets), updated_at = now()"""

_SITES_OF_RUN = """
    CREATE TEMPORARY TABLE merged_sites ON COMMIT DROP AS
    SELECT DISTINCT ON (site) site, storage_type, status, endpoints FROM staged_sites
    WHERE run_key = :run_key AND source = :source AND site IS NOT NULL
    ORDER BY site, id DESC"""

_LOSE_SITES = """
    UPDATE sites AS s SET status = 'unknown', status_changed_at = now()
    FROM site_sources AS o
    WHERE o.site_id = s.id AND o.source = :source AND s.status <> 'unknown'
      AND NOT EXISTS (SELECT FROM merged_sites AS m WHERE m.site = s.name)"""

_UPSERT_SITES = """
    INSERT INTO sites AS old (name, storage_type, status)
    SELECT site, storage_type, status FROM merged_sites ORDER BY site
    ON CONFLICT (name) DO UPDATE
    SET storage_type = excluded.storage_type, status = excluded.status,
        status_changed_at = CASE WHEN old.status = excluded.status THEN old.status_changed_at ELSE now() END
    WHERE (old.storage_type, old.status) IS DISTINCT FROM (excluded.storage_type, excluded.status)"""

_UPSERT_SITE_SOURCES = """
    INSERT INTO site_sources (site_id, source)
    SELECT s.id, :source FROM merged_sites AS m JOIN sites AS s ON s.name = m.site
    ON CONFLICT (site_id) DO UPDATE SET source = excluded.source"""

_TOLD_ENDPOINTS = """
    SELECT DISTINCT ON (s.id, e.protocol) s.id AS site_id, e.protocol, e.prefix,
           nullif(e.mapping, 'null'::jsonb) AS mapping
    FROM merged_sites AS m JOIN sites AS s ON s.name = m.site,
         jsonb_to_recordset(m.endpoints) AS e(protocol text, prefix text, mapping jsonb)
    WHERE e.protocol IS NOT NULL AND e.prefix IS NOT NULL"""

_UPSERT_ENDPOINTS = f"""
    INSERT INTO site_endpoints AS old (site_id, protocol, prefix, mapping) {_TOLD_ENDPOINTS}
    ON CONFLICT (site_id, protocol) DO UPDATE SET prefix = excluded.prefix, mapping = excluded.mapping
    WHERE (old.prefix, old.mapping) IS DISTINCT FROM (excluded.prefix, excluded.mapping)"""

_DROP_OLD_ENDPOINTS = f"""
    DELETE FROM site_endpoints AS old USING merged_sites AS m JOIN sites AS s ON s.name = m.site
    WHERE old.site_id = s.id
      AND NOT EXISTS (SELECT FROM ({_TOLD_ENDPOINTS}) AS told
                      WHERE told.site_id = old.site_id AND told.protocol = old.protocol)"""

_NOTE_SITES = """
    INSERT INTO source_states (source, num_sites_ready, updated_at)
    SELECT :source, count(*) FILTER (WHERE status = 'ready'), now() FROM merged_sites
    ON CONFLICT (source) DO UPDATE SET num_sites_ready = excluded.num_sites_ready, updated_at = now()"""
