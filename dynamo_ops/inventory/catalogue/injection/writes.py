"""An injected document into the inventory, set-wise: SQL over its temporary tables (``injection.TABLES``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, text

from dynamo_ops.database.upsert import new_and_changed
from dynamo_ops.inventory.kinds import DatasetStatus
from dynamo_ops.inventory.replica import declared
from dynamo_ops.inventory.replica.grown import grow, keep_old_files
from dynamo_ops.inventory.site.quota import change_quotas
from dynamo_ops.inventory.site.status import NO_SOURCE, OVERRIDE_IN_FORCE

TABLES = (
    "known_files",
    "new_blocks",
    "new_files",
    "grown_blocks",
    *declared.TABLES,
)
"""Temporary tables made on the way."""


class Count(NamedTuple):
    """Of what a document names: rows that are new, that were there and are different now, and the rest."""

    new: int
    changed: int
    unchanged: int

    @property
    def written(self) -> int:
        """New or changed."""
        return self.new + self.changed


@dataclass(frozen=True)
class Catalogue:
    """What became of datasets, blocks and files, as in ``InjectionSummary``."""

    datasets: Count
    blocks: Count
    files: Count
    new_bytes: int
    replicas_made_incomplete: int
    replicas_grown: int


def identify(connection: Connection) -> None:
    """``known_files``: files of the document that the inventory has already, with what it knows of them."""
    _run(connection, *_IDENTIFY)


def write_sites(connection: Connection) -> Count:
    """A site that no feed tells of belongs to source ``injection``, so that none loses it. What a feed tells of is as
    the document says, or it was refused: only its endpoints and status are not touched."""
    new, total = connection.execute(text(_COUNT_SITES)).one()
    _run(connection, _CHANGED_SITES, _INSERT_SITES)
    connection.execute(text(_OWN_SITES), {"source": NO_SOURCE})
    _run(connection, *_SITE_STATUS, *_ENDPOINTS)
    changed = connection.execute(text("SELECT count(*) FROM changed_sites")).scalar_one()
    _run(connection, "DROP TABLE changed_sites")
    return Count(new, changed, total - new - changed)


def write_groups(connection: Connection) -> Count:
    """Of a known group the level is changed."""
    return _upsert(connection, _UPSERT_GROUPS, "injected_groups")


def write_quotas(connection: Connection, by: str) -> Count:
    """Each change is kept in their history."""
    new, total = connection.execute(text(_COUNT_QUOTAS)).one()
    written = change_quotas(connection, _WANTED_QUOTAS, by=by, reason="injected")
    return Count(new, written - new, total - written)


def write_catalogue(connection: Connection) -> Catalogue:
    """Datasets, blocks and files. Complete replicas of blocks that gain files keep the files they have and are
    incomplete; new blocks of growing dataset replicas get empty block replicas. Sums follow the files.

    Replicas that the document names are there from now on, still empty if they are new, and locked as those of blocks
    that gain files are."""
    datasets = _insert_and_change(connection, _INSERT_DATASETS, _CHANGE_DATASETS, "injected_datasets")
    num_blocks = connection.execute(text(_INSERT_BLOCKS)).one()[0]
    changed = _rows(connection, _CHANGE_BLOCKS)
    blocks = Count(num_blocks, changed, _total(connection, "injected_blocks") - num_blocks - changed)
    _run(connection, *_GROWN_BLOCKS)
    declared.take(connection)
    num_files, new_bytes = connection.execute(text(_INSERT_FILES)).one()
    _run(connection, "ANALYZE new_blocks", "ANALYZE new_files")
    filled = _rows(connection, _FILL_CHECKSUMS)
    files = Count(num_files, filled, _total(connection, "injected_files") - num_files - filled)
    incomplete = keep_old_files(connection)
    _run(connection, _SUM_BLOCKS, _SUM_DATASETS)
    grown = grow(connection, "SELECT id AS block_id, dataset_id FROM new_blocks")
    return Catalogue(datasets, blocks, files, new_bytes, incomplete, grown)


def write_dataset_replicas(connection: Connection) -> Count:
    """Where they are, and whether they grow, for whom. Of known ones only what the document says."""
    new = _total(connection, "new_replicas")
    changed = declared.change_dataset_replicas(connection)
    return Count(new, changed, _total(connection, "injected_replicas") - new - changed)


def write_block_replicas(connection: Connection) -> tuple[Count, int]:
    """What is there: all of the block, or the files that are named beside those that are known to be there. Also the
    bytes of those new or changed."""
    new, changed, size_bytes = declared.fill(connection)
    total = _total(connection, "wanted_copies")
    return Count(new, changed, total - new - changed), size_bytes


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(text(statement))


def _rows(connection: Connection, statement: str) -> int:
    return connection.execute(text(statement)).rowcount


def _total(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def _upsert(connection: Connection, upsert: str, table: str) -> Count:
    new, changed = new_and_changed(connection, upsert)
    return Count(new, changed, _total(connection, table) - new - changed)


def _insert_and_change(connection: Connection, insert: str, change: str, table: str) -> Count:
    new, changed = _rows(connection, insert), _rows(connection, change)
    return Count(new, changed, _total(connection, table) - new - changed)


_IDENTIFY = (
    """CREATE TEMPORARY TABLE known_files ON COMMIT DROP AS
       SELECT i.block, i.place, f.id, f.block_id, f.size_bytes, f.adler32
       FROM injected_files AS i JOIN files AS f ON md5(f.lfn)::uuid = md5(i.lfn)::uuid AND f.lfn = i.lfn""",
    "CREATE TEMPORARY TABLE new_blocks (id bigint, dataset_id bigint) ON COMMIT DROP",
    "CREATE TEMPORARY TABLE new_files (id bigint, block_id bigint, size_bytes bigint) ON COMMIT DROP",
    "ANALYZE known_files",
)

_COUNT_SITES = """
    SELECT count(*) FILTER (WHERE s.id IS NULL), count(*)
    FROM injected_sites AS i LEFT JOIN sites AS s ON s.name = i.name"""

TOLD_ENDPOINTS = """
    SELECT s.id AS site_id, e.protocol, e.prefix, CAST(e.mapping AS jsonb) AS mapping
    FROM injected_endpoints AS e JOIN injected_sites AS i ON i.row = e.site JOIN sites AS s ON s.name = i.name"""

DIFFERENT_ENDPOINTS = f"""
    i.has_endpoints AND EXISTS (
        SELECT FROM (SELECT * FROM ({TOLD_ENDPOINTS}) AS t WHERE t.site_id = s.id) AS told
        FULL JOIN (SELECT * FROM site_endpoints AS o WHERE o.site_id = s.id) AS old USING (protocol)
        WHERE (told.prefix, told.mapping) IS DISTINCT FROM (old.prefix, nullif(old.mapping, 'null'::jsonb)))"""
"""The site ``s`` has other endpoints than the document's site ``i``."""

_CHANGED_SITES = f"""
    CREATE TEMPORARY TABLE changed_sites ON COMMIT DROP AS
    SELECT s.id FROM injected_sites AS i JOIN sites AS s ON s.name = i.name
    LEFT JOIN site_sources AS o ON o.site_id = s.id
    WHERE s.storage_type <> i.storage_type OR coalesce(o.told_status, s.status) <> i.status OR {DIFFERENT_ENDPOINTS}"""

_INSERT_SITES = """
    INSERT INTO sites AS old (name, storage_type, status)
    SELECT name, storage_type, status FROM injected_sites ORDER BY row
    ON CONFLICT (name) DO UPDATE SET storage_type = excluded.storage_type
    WHERE old.storage_type <> excluded.storage_type"""

_OWN_SITES = """
    INSERT INTO site_sources AS old (site_id, source, told_status)
    SELECT s.id, :source, i.status FROM injected_sites AS i JOIN sites AS s ON s.name = i.name
    ON CONFLICT (site_id) DO UPDATE
    SET told_status = excluded.told_status, told_since_at = NULL
    WHERE old.source = excluded.source AND old.told_status IS DISTINCT FROM excluded.told_status"""

_SITE_STATUS = (
    f"""UPDATE sites AS s SET status = i.status, status_changed_at = now()
        FROM injected_sites AS i
        WHERE s.name = i.name AND s.status <> i.status AND s.id IN (SELECT id FROM changed_sites)
          AND NOT EXISTS (SELECT FROM site_overrides AS o WHERE o.site_id = s.id AND {OVERRIDE_IN_FORCE})""",
)

_ENDPOINTS = (
    f"""INSERT INTO site_endpoints AS old (site_id, protocol, prefix, mapping) {TOLD_ENDPOINTS}
        ON CONFLICT (site_id, protocol) DO UPDATE SET prefix = excluded.prefix, mapping = excluded.mapping,
            proposed_prefix = NULL, proposed_mapping = NULL, proposed_at = NULL
        WHERE (old.prefix, old.mapping) IS DISTINCT FROM (excluded.prefix, excluded.mapping)""",
    f"""DELETE FROM site_endpoints AS old USING injected_sites AS i JOIN sites AS s ON s.name = i.name
        WHERE old.site_id = s.id AND i.has_endpoints
          AND NOT EXISTS (SELECT FROM ({TOLD_ENDPOINTS}) AS told
                          WHERE told.site_id = old.site_id AND told.protocol = old.protocol)""",
)

_UPSERT_GROUPS = """
    INSERT INTO groups AS old (name, ownership_level) SELECT name, ownership_level FROM injected_groups ORDER BY row
    ON CONFLICT (name) DO UPDATE SET ownership_level = excluded.ownership_level
    WHERE old.ownership_level <> excluded.ownership_level"""

_WANTED_QUOTAS = """
    SELECT s.id AS site_id, q.partition, q.quota_bytes FROM injected_quotas AS q JOIN sites AS s ON s.name = q.site"""

_COUNT_QUOTAS = f"""
    SELECT count(*) FILTER (WHERE q.site_id IS NULL), count(*)
    FROM ({_WANTED_QUOTAS}) AS w LEFT JOIN quotas AS q USING (site_id, partition)"""

# A dataset is open while one of its blocks is, as where sources tell of it.
_DATASETS = """
    SELECT i.*, EXISTS (SELECT FROM injected_blocks AS b WHERE b.dataset = i.row AND b.is_open) AS has_open_block
    FROM injected_datasets AS i"""

_INSERT_DATASETS = f"""
    INSERT INTO datasets (name, status, is_open, software_release, last_update_at, properties)
    SELECT name, coalesce(status, '{DatasetStatus.VALID}'), coalesce(is_open, false) OR has_open_block,
           software_release,
           coalesce(last_update_at, now()), coalesce(CAST(properties AS jsonb), '{{}}')
    FROM ({_DATASETS}) AS i ORDER BY row
    ON CONFLICT (name) DO NOTHING"""

_CHANGE_DATASETS = f"""
    UPDATE datasets AS d
    SET status = n.status, is_open = n.is_open, software_release = n.software_release,
        last_update_at = n.last_update_at, properties = n.properties
    FROM (SELECT o.id, coalesce(i.status, o.status) AS status,
                 coalesce(i.is_open, o.is_open) OR i.has_open_block AS is_open,
                 coalesce(i.software_release, o.software_release) AS software_release,
                 coalesce(i.last_update_at, o.last_update_at) AS last_update_at,
                 o.properties || coalesce(CAST(i.properties AS jsonb), '{{}}') AS properties
          FROM ({_DATASETS}) AS i JOIN datasets AS o ON o.name = i.name) AS n
    WHERE d.id = n.id AND (d.status, d.is_open, d.software_release, d.last_update_at, d.properties)
          IS DISTINCT FROM (n.status, n.is_open, n.software_release, n.last_update_at, n.properties)"""

_INSERT_BLOCKS = """
    WITH inserted AS (
        INSERT INTO blocks (dataset_id, name, is_open, last_update_at)
        SELECT d.id, b.name, coalesce(b.is_open, false), coalesce(b.last_update_at, i.last_update_at, now())
        FROM injected_blocks AS b JOIN injected_datasets AS i ON i.row = b.dataset
        JOIN datasets AS d ON d.name = i.name ORDER BY d.id, b.name
        ON CONFLICT (dataset_id, name) DO NOTHING RETURNING id, dataset_id),
    noted AS (INSERT INTO new_blocks SELECT id, dataset_id FROM inserted RETURNING id)
    SELECT count(*) FROM noted"""

_BLOCK_IDS = """
    SELECT b.row, o.id, b.is_open, b.last_update_at
    FROM injected_blocks AS b JOIN injected_datasets AS i ON i.row = b.dataset JOIN datasets AS d ON d.name = i.name
    JOIN blocks AS o ON o.dataset_id = d.id AND o.name = b.name"""
"""Row and id of the document's blocks, and what it says of them."""

_CHANGE_BLOCKS = f"""
    UPDATE blocks AS b
    SET is_open = coalesce(n.is_open, b.is_open), last_update_at = coalesce(n.last_update_at, b.last_update_at)
    FROM ({_BLOCK_IDS}) AS n
    WHERE b.id = n.id AND (b.is_open, b.last_update_at)
          IS DISTINCT FROM (coalesce(n.is_open, b.is_open), coalesce(n.last_update_at, b.last_update_at))"""

_INSERT_FILES = f"""
    WITH inserted AS (
        INSERT INTO files (block_id, lfn, size_bytes, adler32)
        SELECT b.id, i.lfn, i.size_bytes, i.adler32
        FROM injected_files AS i JOIN ({_BLOCK_IDS}) AS b ON b.row = i.block
        WHERE NOT EXISTS (SELECT FROM known_files AS k WHERE k.block = i.block AND k.place = i.place)
        ORDER BY b.id, i.place
        ON CONFLICT ((md5(lfn)::uuid)) DO NOTHING RETURNING id, block_id, size_bytes),
    noted AS (INSERT INTO new_files SELECT id, block_id, size_bytes FROM inserted RETURNING size_bytes)
    SELECT count(*), coalesce(sum(size_bytes), 0)::bigint FROM noted"""

_FILL_CHECKSUMS = """
    UPDATE files AS f SET adler32 = i.adler32
    FROM known_files AS k JOIN injected_files AS i ON i.block = k.block AND i.place = k.place
    WHERE f.id = k.id AND f.adler32 IS NULL AND i.adler32 IS NOT NULL"""

_SUM_BLOCKS = """
    UPDATE blocks AS b SET size_bytes = f.size_bytes, num_files = f.num_files
    FROM (SELECT block_id, sum(size_bytes)::bigint AS size_bytes, count(*) AS num_files FROM files
          WHERE block_id IN (SELECT block_id FROM new_files) GROUP BY block_id) AS f
    WHERE b.id = f.block_id"""

_SUM_DATASETS = """
    UPDATE datasets AS d SET size_bytes = b.size_bytes, num_blocks = b.num_blocks, num_files = b.num_files
    FROM (SELECT dataset_id, sum(size_bytes)::bigint AS size_bytes, count(*) AS num_blocks,
                 sum(num_files)::bigint AS num_files
          FROM blocks
          WHERE dataset_id IN (SELECT o.id FROM injected_datasets AS i JOIN datasets AS o ON o.name = i.name)
          GROUP BY dataset_id) AS b
    WHERE d.id = b.dataset_id
      AND (d.size_bytes, d.num_blocks, d.num_files) IS DISTINCT FROM (b.size_bytes, b.num_blocks, b.num_files)"""

_GROWN_BLOCKS = (
    f"""CREATE TEMPORARY TABLE grown_blocks ON COMMIT DROP AS
        SELECT DISTINCT b.id AS block_id FROM injected_files AS i JOIN ({_BLOCK_IDS}) AS b ON b.row = i.block
        WHERE NOT EXISTS (SELECT FROM known_files AS k WHERE k.block = i.block AND k.place = i.place)""",
    "ANALYZE grown_blocks",
)
