"""What the inventory says against an injected document: SQL over its temporary tables (``injection.TABLES``)."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, text

from dynamo_ops.inventory.catalogue.faults import Faults, near_block, near_dataset, near_of, near_site
from dynamo_ops.inventory.catalogue.injection.writes import DIFFERENT_ENDPOINTS
from dynamo_ops.inventory.checks import FindingState
from dynamo_ops.inventory.kinds import CatalogueKind
from dynamo_ops.inventory.lfn import CARRY_ALL, MAY_NOT_BE_CARRIED, WHY_NOT_CARRIED
from dynamo_ops.inventory.names import BARRED_NAMES
from dynamo_ops.inventory.replica.copies import DOOMED_FILES
from dynamo_ops.inventory.site.status import NO_SOURCE
from dynamo_ops.inventory.states import SubscriptionAction
from dynamo_ops.inventory.subscription.under_way import OPEN_TRANSFERS


def check_catalogue(connection: Connection, faults: Faults) -> None:
    """Sites, datasets, blocks and files, before they are written: the rules of the metadata gate, and what was declared
    invalid."""
    faults.query(connection, _FOREIGN_SITES, source=NO_SOURCE)
    for query in (_FUTURE, _INVALID_DATASETS, _INVALID_BLOCKS, _INVALID_FILES, _CHANGED_FILES):
        faults.query(connection, query)


def check_replicas(connection: Connection, faults: Faults) -> None:
    """What replicas name, when the document's sites, groups, datasets, blocks and files are there, and the replicas are
    locked: nobody can begin to delete them now."""
    faults.query(connection, _unknown("injected_replicas", "dataset_replicas", "site", "sites"), near_site)
    faults.query(connection, _UNKNOWN_GROUPS, _near_group)
    faults.query(connection, _unknown("injected_replicas", "dataset_replicas", "dataset", "datasets"), _dataset_hint)
    faults.query(connection, _OTHER_BLOCKS)
    faults.query(connection, _UNKNOWN_BLOCKS, _block_hint)
    faults.query(connection, _UNKNOWN_FILES)
    faults.query(connection, _NOT_CARRIED)
    faults.query(connection, _BEING_DELETED)
    faults.query(connection, _BEING_COPIED)
    faults.query(connection, _ORPHAN_BEING_DELETED)


def check_quotas(connection: Connection, faults: Faults, partitions: Collection[str] | None) -> None:
    """Sites, and where the caller knows any, partitions that are defined."""
    faults.query(connection, _unknown("injected_quotas", "quotas", "site", "sites"), near_site)
    if partitions is not None:
        partition_names = ", ".join(sorted(partitions))
        faults.query(
            connection,
            """SELECT format('quotas[%s].partition', row) AS path,
                      format('unknown partition ''%s''; known: %s', partition, CAST(:known AS text)) AS message
               FROM injected_quotas WHERE NOT partition = ANY(CAST(:partitions AS text[])) ORDER BY row""",
            partitions=list(partitions),
            known=partition_names,
        )


def _dataset_hint(connection: Connection, name: str) -> str:
    return _invalid(connection, "dataset", name) or near_dataset(connection, name)


def _block_hint(connection: Connection, name: str) -> str:
    return _invalid(connection, "block", name) or near_block(connection, name)


def _near_group(connection: Connection, name: str) -> str:
    return near_of(name, connection.execute(text("SELECT name FROM groups")).scalars())


def _invalid(connection: Connection, kind: str, name: str) -> str:
    sql = f"SELECT {_SAID} FROM {BARRED_NAMES} AS v WHERE v.kind = :kind AND md5(v.name)::uuid = md5(:name)::uuid"
    reason_text = connection.execute(text(sql), {"kind": kind, "name": name}).scalar()
    return f": it {reason_text}" if reason_text else ""


def _unknown(table: str, part: str, field: str, known: str) -> str:
    return f"""
        SELECT format('{part}[%s].{field}', i.row) AS path, format('unknown {field} ''%s''', i.{field}) AS message,
               i.{field} AS name
        FROM {table} AS i WHERE NOT EXISTS (SELECT FROM {known} AS k WHERE k.name = i.{field}) ORDER BY i.row"""


_SAID = """format('was declared invalid by %s on %s: %s', v.created_by,
                  to_char(v.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), v.reason)"""

_FOREIGN_SITES = f"""
    SELECT format('sites[%s]', i.row) AS path,
           format('''%s'' is told by source ''%s'', as storage_type %s, status %s%s: what it is belongs there; '
                  'for another status: dynamo site set', i.name, o.source, s.storage_type, o.told_status,
                  CASE WHEN {DIFFERENT_ENDPOINTS} THEN ', with other endpoints' ELSE '' END) AS message
    FROM injected_sites AS i JOIN sites AS s ON s.name = i.name
    JOIN site_sources AS o ON o.site_id = s.id AND o.source <> :source
    WHERE (s.storage_type, coalesce(o.told_status, s.status)) IS DISTINCT FROM (i.storage_type, i.status)
       OR {DIFFERENT_ENDPOINTS}
    ORDER BY i.row"""

_INVALID_DATASETS = f"""
    SELECT format('datasets[%s]', i.row) AS path, format('''%s'' ', i.name) || {_SAID} AS message
    FROM injected_datasets AS i
    JOIN {BARRED_NAMES} AS v ON v.kind = '{CatalogueKind.DATASET}' AND md5(v.name)::uuid = md5(i.name)::uuid
      ORDER BY i.row"""

_BLOCK_PATH = "format('datasets[%s].blocks[%s]', b.dataset, b.place)"
_FILE_PATH = "format('datasets[%s].blocks[%s].files[%s]', b.dataset, b.place, i.place)"

MAX_CLOCK_SKEW_H = 24

_FUTURE = f"""
    SELECT path || '.last_update_at' AS path,
           format('is more than {MAX_CLOCK_SKEW_H} h ahead: %s, and it is %s (UTC)', at AT TIME ZONE 'UTC',
                  date_trunc('second', now() AT TIME ZONE 'UTC')) AS message
    FROM (SELECT i.row, -1 AS place, format('datasets[%s]', i.row) AS path, i.last_update_at AS at
          FROM injected_datasets AS i
          UNION ALL SELECT b.dataset, b.place, {_BLOCK_PATH}, b.last_update_at FROM injected_blocks AS b) AS t
    WHERE at > now() + interval '{MAX_CLOCK_SKEW_H} hours' ORDER BY row, place"""
"""No source ever tells a later time: it would be heard no more."""

_INVALID_BLOCKS = f"""
    SELECT {_BLOCK_PATH} AS path, format('''%s'' ', v.name) || {_SAID} AS message
    FROM injected_blocks AS b JOIN injected_datasets AS d ON d.row = b.dataset
    JOIN {BARRED_NAMES} AS v ON v.kind = '{CatalogueKind.BLOCK}'
      AND md5(v.name)::uuid = md5(d.name || '#' || b.name)::uuid
    ORDER BY b.row"""

_INVALID_FILES = f"""
    SELECT {_FILE_PATH} || '.lfn' AS path, format('''%s'' ', i.lfn) || {_SAID} AS message
    FROM injected_files AS i JOIN injected_blocks AS b ON b.row = i.block
    JOIN {BARRED_NAMES} AS v ON v.kind = '{CatalogueKind.FILE}' AND md5(v.name)::uuid = md5(i.lfn)::uuid
      ORDER BY i.row"""

_CHANGED_FILES = f"""
    SELECT {_FILE_PATH} || '.' || k.field AS path, format(k.words, i.lfn, k.before, k.told) AS message
    FROM known_files AS f JOIN injected_files AS i ON i.block = f.block AND i.place = f.place
    JOIN injected_blocks AS b ON b.row = i.block JOIN injected_datasets AS d ON d.row = b.dataset
    JOIN blocks AS o ON o.id = f.block_id JOIN datasets AS p ON p.id = o.dataset_id
    CROSS JOIN LATERAL (VALUES
        ('lfn', '''%s'' is in block ''%s'' of the inventory, told in ''%s''', p.name || '#' || o.name,
         d.name || '#' || b.name),
        ('size_bytes', 'the size of ''%s'' is known to be %s, told %s', f.size_bytes::text, i.size_bytes::text),
        ('adler32', 'the adler32 of ''%s'' is known to be %s, told %s', f.adler32, i.adler32)
        ) AS k (field, words, before, told)
    WHERE k.before <> k.told ORDER BY i.row"""

_UNKNOWN_GROUPS = """
    SELECT path, format('unknown group ''%s''', name) AS message, name FROM (
        SELECT row, -1 AS place, format('dataset_replicas[%s].group', row) AS path, "group" AS name
        FROM injected_replicas
        UNION ALL
        SELECT replica, place, format('dataset_replicas[%s].blocks[%s].group', replica, place), "group"
        FROM injected_copies) AS i
    WHERE name IS NOT NULL AND NOT EXISTS (SELECT FROM groups AS g WHERE g.name = i.name) ORDER BY row, place"""

_COPY_PATH = "format('dataset_replicas[%s].blocks[%s]', c.replica, c.place)"

_OTHER_BLOCKS = f"""
    SELECT {_COPY_PATH} AS path, format('block ''%s'' is not one of dataset ''%s''', c.name, r.dataset) AS message
    FROM injected_copies AS c JOIN injected_replicas AS r ON r.row = c.replica
    WHERE c.dataset <> r.dataset ORDER BY c.row"""

_UNKNOWN_BLOCKS = f"""
    SELECT {_COPY_PATH} AS path, format('unknown block ''%s''', c.name) AS message, c.name
    FROM injected_copies AS c JOIN injected_replicas AS r ON r.row = c.replica AND r.dataset = c.dataset
    JOIN datasets AS d ON d.name = c.dataset
    LEFT JOIN blocks AS b ON b.dataset_id = d.id AND b.name = c.block
    WHERE b.id IS NULL ORDER BY c.row"""

_UNKNOWN_FILES = f"""
    SELECT {_COPY_PATH} || format('.files[%s]', i.place) AS path,
           format('''%s'' is not a file of block ''%s''', i.lfn, c.name) AS message
    FROM injected_copy_files AS i JOIN injected_copies AS c ON c.row = i.copy
    JOIN datasets AS d ON d.name = c.dataset JOIN blocks AS b ON b.dataset_id = d.id AND b.name = c.block
    LEFT JOIN files AS f ON md5(f.lfn)::uuid = md5(i.lfn)::uuid AND f.lfn = i.lfn AND f.block_id = b.id
    WHERE f.id IS NULL ORDER BY i.row"""

_NOT_CARRIED = f"""
    SELECT CASE WHEN wanted.place IS NULL THEN format('dataset_replicas[%s]', wanted.replica)
                ELSE format('dataset_replicas[%s].blocks[%s]', wanted.replica, wanted.place) END AS path,
           format('''%s'' at ''%s'' could be neither copied nor deleted: {WHY_NOT_CARRIED} %s', odd.lfn, site.name,
                  endpoint.protocol) AS message
    FROM (SELECT block_id, lfn FROM files
          WHERE {MAY_NOT_BE_CARRIED} AND block_id IN (SELECT block_id FROM wanted_copies)) AS odd
    JOIN wanted_copies AS wanted USING (block_id) JOIN sites AS site ON site.id = wanted.site_id
    JOIN site_endpoints AS endpoint ON endpoint.site_id = wanted.site_id
      AND endpoint.protocol NOT IN {CARRY_ALL}
    WHERE wanted.copy IS NULL OR EXISTS (
        SELECT FROM injected_copy_files AS listed WHERE listed.copy = wanted.copy AND listed.lfn = odd.lfn)
    ORDER BY wanted.replica, wanted.place, odd.lfn, endpoint.protocol"""
"""By any protocol of the site: what was copied by one is deleted by another."""

_BEING_DELETED = f"""
    SELECT CASE WHEN w.place IS NULL THEN format('dataset_replicas[%s]', w.replica)
                ELSE format('dataset_replicas[%s].blocks[%s]', w.replica, w.place) END AS path,
           format('block ''%s'' at ''%s'' is being deleted (%s files, by %s): wait, or cancel that first',
                  d.name || '#' || b.name, s.name, x.num_files, x.origins) AS message
    FROM wanted_copies AS w
    JOIN (SELECT f.block_id, x.site_id, count(DISTINCT f.id) AS num_files,
                 string_agg(DISTINCT asked.origin, ', ' ORDER BY asked.origin) AS origins
          FROM {DOOMED_FILES} AS x JOIN files AS f ON f.id = x.file_id
          CROSS JOIN LATERAL (
              SELECT deletion.origin FROM subscriptions AS deletion
              WHERE deletion.file_id = x.file_id AND deletion.site_id = x.site_id
                AND deletion.action = '{SubscriptionAction.DELETE}' ORDER BY deletion.id DESC LIMIT 1) AS asked
          WHERE f.block_id IN (SELECT block_id FROM wanted_copies) GROUP BY f.block_id, x.site_id) AS x
        ON x.block_id = w.block_id AND x.site_id = w.site_id
    JOIN blocks AS b ON b.id = w.block_id JOIN datasets AS d ON d.id = w.dataset_id JOIN sites AS s ON s.id = w.site_id
    ORDER BY w.replica, w.place, b.name"""
"""Whole dataset replicas name each block of theirs."""

_BEING_COPIED = f"""
    SELECT CASE WHEN w.place IS NULL THEN format('dataset_replicas[%s]', w.replica)
                ELSE format('dataset_replicas[%s].blocks[%s]', w.replica, w.place) END AS path,
           format('%s files of block ''%s'' are being copied to ''%s'', over what is there: wait, or cancel that first',
                  count(*), d.name || '#' || b.name, s.name) AS message
    FROM wanted_copies AS w JOIN files AS f ON f.block_id = w.block_id
    JOIN {OPEN_TRANSFERS} AS x ON x.file_id = f.id AND x.site_id = w.site_id
    JOIN blocks AS b ON b.id = w.block_id JOIN datasets AS d ON d.id = w.dataset_id JOIN sites AS s ON s.id = w.site_id
    WHERE w.copy IS NULL OR EXISTS (
        SELECT FROM injected_copy_files AS listed WHERE listed.copy = w.copy AND listed.lfn = f.lfn)
    GROUP BY w.place, w.replica, d.name, b.name, s.name ORDER BY w.replica, w.place, b.name"""
"""What arrives there broken would be left of a good file."""

_ORPHAN_BEING_DELETED = f"""
    SELECT CASE WHEN w.place IS NULL THEN format('dataset_replicas[%s]', w.replica)
                ELSE format('dataset_replicas[%s].blocks[%s]', w.replica, w.place) END AS path,
           format('''%s'' at ''%s'' is being deleted at this moment, since the inventory did not know it: '
                  'wait some minutes, and look whether it is still there', x.lfn, s.name) AS message
    FROM consistency_findings AS x JOIN consistency_checks AS k ON k.id = x.check_id JOIN sites AS s ON s.id = k.site_id
    JOIN files AS f ON md5(f.lfn)::uuid = md5(x.lfn)::uuid AND f.lfn = x.lfn
    JOIN wanted_copies AS w ON w.block_id = f.block_id AND w.site_id = k.site_id
    WHERE x.state = '{FindingState.FOUND}' AND x.claimed_at > now() - interval '1 day' ORDER BY x.lfn"""
"""The repair of a check has claimed it. A claim of yesterday is of a task that died: what it asked for has happened."""
