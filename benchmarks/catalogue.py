"""An inventory of CMS's size in a PostgreSQL of its own, made inside the server: no row travels.

``size`` 1 is 200,000 datasets, 5 M blocks, 6 M block replicas, 6 M files, 100 sites (7 of them tape), 8 groups. The
number of blocks of a dataset follows a long tail; a block has one file, but those of each hundredth dataset, which have
20; one replica in 70 is incomplete, one in 100 is being deleted.
"""

from __future__ import annotations

import sys
import time

from sqlalchemy import text

from dynamo_ops.database import migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica import usage

DATASETS, SITES, GROUPS = 200_000, 100, 8
TIERS = "{AODSIM,MINIAODSIM,RAW,AOD,RECO,MINIAOD,GEN-SIM,NANOAODSIM}"

STATEMENTS = (
    f"""INSERT INTO sites (name, storage_type, status)
        SELECT CASE WHEN n < 7 THEN 'T1_' || n || '_MSS' ELSE 'T2_' || n || '_Disk' END,
               CASE WHEN n < 7 THEN 'mss' ELSE 'disk' END, CASE WHEN n % 33 = 32 THEN 'waitroom' ELSE 'ready' END
        FROM generate_series(0, {SITES - 1}) AS n""",
    """INSERT INTO site_endpoints (site_id, protocol, prefix)
       SELECT id, 'davs', 'davs://' || lower(name) || '.invalid:443/cms' FROM sites""",
    f"""INSERT INTO groups (name, ownership_level)
        SELECT 'group' || n, CASE WHEN n % 2 = 0 THEN 'dataset' ELSE 'block' END
        FROM generate_series(1, {GROUPS}) AS n""",
    f"""INSERT INTO datasets (name, status, is_open, software_release, last_update_at)
        SELECT '/Data' || n % 9973 || '/Run' || n || '-v' || n % 4 || '/' || (CAST('{TIERS}' AS text[]))[1 + n % 8],
               CASE WHEN n % 30 = 0 THEN 'production' WHEN n % 97 = 0 THEN 'invalid' ELSE 'valid' END, n % 30 = 0,
               'CMSSW_' || 8 + n % 5 || '_0_0', now() - n % 900 * interval '1 day'
        FROM generate_series(1, CAST(:datasets AS int)) AS n""",
    """INSERT INTO blocks (dataset_id, name, is_open, num_files, last_update_at)
       SELECT dataset.id, md5(dataset.id || '-' || n), false, CASE WHEN dataset.id % 100 = 0 THEN 20 ELSE 1 END,
              dataset.last_update_at
       FROM datasets AS dataset,
            generate_series(1, least(2000, CAST(4.9 / (1 - dataset.id * 7919 % 10000 / 10001.0) ^ 0.9 AS int))) AS n""",
    """INSERT INTO files (block_id, lfn, size_bytes, adler32)
       SELECT block.id, '/store/data/' || block.dataset_id || '/' || block.name || '/' || n || '.root',
              1000000000 + block.id % 1000 * 1000000, '0123abcd'
       FROM blocks AS block, generate_series(1, block.num_files) AS n ORDER BY block.id""",
    """UPDATE blocks AS block SET size_bytes = num_files * (1000000000 + id % 1000 * 1000000)""",
    """UPDATE datasets AS dataset
       SET num_blocks = sums.num_blocks, num_files = sums.num_files, size_bytes = sums.size_bytes
       FROM (SELECT dataset_id, count(*) AS num_blocks, sum(num_files) AS num_files, sum(size_bytes) AS size_bytes
             FROM blocks GROUP BY dataset_id) AS sums WHERE sums.dataset_id = dataset.id""",
    f"""INSERT INTO dataset_replicas (dataset_id, site_id)
        SELECT dataset.id, 1 + (dataset.id * 31 + copy * 47) % {SITES}
        FROM datasets AS dataset, generate_series(0, CASE WHEN dataset.id % 5 = 0 THEN 1 ELSE 0 END) AS copy""",
    f"""INSERT INTO block_replicas (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
        SELECT block.id, replica.site_id, block.dataset_id,
               CASE WHEN replica.dataset_id % 50 = 0 AND block.id % 2 = 0 THEN NULL
                    ELSE 1 + (block.dataset_id + block.id % 2) % {GROUPS} END,
               block.id % 70 <> 0, CASE WHEN block.id % 70 <> 0 THEN block.size_bytes ELSE 0 END, block.last_update_at
        FROM dataset_replicas AS replica JOIN blocks AS block ON block.dataset_id = replica.dataset_id
        ORDER BY block.id, replica.site_id""",
    """INSERT INTO subscriptions (file_id, site_id, action, state, origin, activity)
       SELECT file.id, replica.site_id, 'delete', 'new', 'detox', 'default'
       FROM block_replicas AS replica JOIN files AS file ON file.block_id = replica.block_id
       WHERE replica.group_id IS NULL AND replica.is_complete AND replica.site_id % 2 = 0""",
)


def fill(database: Database, size: float) -> None:
    """Migrate the database and fill it, with a line a step on standard error. The sums of usage are made at the end."""
    migrate.upgrade(database)
    _switch_triggers(database, "DISABLE")
    for statement in STATEMENTS:
        began = time.monotonic()
        with database.begin() as connection:
            params = {"datasets": int(DATASETS * size)} if ":datasets" in statement else {}
            number = connection.execute(text(statement), params).rowcount
        told = " ".join(statement.split())[:50]
        print(f"{number:>10,} rows  {time.monotonic() - began:6.1f} s  {told}", file=sys.stderr, flush=True)
    _switch_triggers(database, "ENABLE")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    usage.check(database)


def _switch_triggers(database: Database, switch: str) -> None:
    """The triggers that note what is different."""
    with database.begin() as connection:
        for table in ("blocks", "block_replicas"):
            connection.execute(text(f"ALTER TABLE {table} {switch} TRIGGER USER"))
