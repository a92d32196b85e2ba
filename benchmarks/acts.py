"""What people asked, what moved and what was checked, over a filled catalogue (``catalogue``): a year of it at size 1.

Statements of the server only; figures are those of a large collaboration, times the size.
"""

from __future__ import annotations

from sqlalchemy import text

from dynamo_ops.database.connection import Database

ACTS = (
    """INSERT INTO requests (kind, digest, state, sites, num_copies, requested_by, last_asked_by, reason, created_at)
       SELECT CASE WHEN n % 9 = 0 THEN 'deletion' ELSE 'copy' END, 'bench ' || n,
              CASE WHEN n % 40 = 0 THEN 'activated' ELSE 'completed' END, ARRAY['T2_*'],
              CASE WHEN n % 9 > 0 THEN 1 END, 'user' || n % 500, 'user' || n % 500, 'for an analysis',
              now() - n * interval '10 minutes'
       FROM generate_series(1, CAST(50000 * :size AS int)) AS n""",
    """INSERT INTO request_items (request_id, number, dataset_id)
       SELECT request.id, part, 1 + (request.id * 7 + part * 13) % (SELECT max(id) FROM datasets)
       FROM requests AS request, generate_series(1, 3) AS part""",
    """INSERT INTO audit (at, person, known_by, action, object, outcome, ids)
       SELECT now() - n * interval '1 minute', 'user' || n % 500, 'token', 'ask for copies', '/a/dataset', 'done', '{}'
       FROM generate_series(1, CAST(500000 * :size AS int)) AS n""",
    """INSERT INTO policy_versions (kind, partition, sha256, text) VALUES ('detox', 'bench', 'x', 'x')""",
    """INSERT INTO plans (kind, partition, run_key, state, policy_version_id, location, summary, planned_for_at,
                          created_at, committed_at)
       SELECT 'detox', 'bench', 'run ' || n, 'committed', (SELECT max(id) FROM policy_versions), 'nowhere', '{}', now(),
              now() - n * interval '3 hours', now() - n * interval '3 hours'
       FROM generate_series(1, 3000) AS n""",
    """INSERT INTO detox_history (dataset_id, site_id, plan_id, decision, line, num_blocks, size_bytes)
       SELECT replica.dataset_id, replica.site_id,
              (SELECT min(id) FROM plans) + (replica.dataset_id * 31 + n * 97) % 3000, 'keep', n, 3, 1000
       FROM dataset_replicas AS replica, generate_series(1, 8) AS n ON CONFLICT DO NOTHING""",
    """INSERT INTO gate_results (gate, run_key, subject, expectation, is_success, is_blocking, examples, checked_at)
       SELECT 'metadata', 'run ' || n / 12, 'dbs', 'check' || n % 12 || ': fine', n % 999 > 0, true, '[]',
              now() - n * interval '2 minutes'
       FROM generate_series(1, CAST(300000 * :size AS int)) AS n""",
    """INSERT INTO consistency_checks (run_key, site_id, state, started_at, storage_listed_at)
       SELECT 'run ' || n, site.id, 'repaired', at, at
       FROM sites AS site, generate_series(1, 20) AS n,
            LATERAL (SELECT now() - (n - 0.5) * interval '1 day' AS at) AS moment""",
    """INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes)
       SELECT (SELECT min(id) FROM consistency_checks) + n / (1 + CAST(2000 * :size AS int)),
              CASE WHEN n % 3 > 0 THEN 'orphan' ELSE 'missing' END, 'repaired', '/store/bench/' || n, 1000
       FROM generate_series(1, CAST(4000000 * :size AS int)) AS n""",
    """INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state, finished_at)
       SELECT 'bench ' || n, gen_random_uuid(), (SELECT min(id) FROM sites) + n % 90, false, 'finished', now()
       FROM generate_series(1, CAST(20000 * :size AS int)) AS n""",
    """INSERT INTO subscriptions (file_id, site_id, action, origin, state, created_at, updated_at)
       SELECT file.id, (SELECT min(id) FROM sites) + file.id % 90, 'copy', 'dealer', 'done', now(), now()
       FROM files AS file ORDER BY file.id LIMIT CAST(4000000 * :size AS int)""",
    """INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, size_bytes)
       SELECT (SELECT min(id) FROM transfer_batches) + row_number() OVER () / 201, id, row_number() OVER (),
              1 + id % 97, 2000000000
       FROM subscriptions WHERE action = 'copy'""",
    """UPDATE transfers SET state = CASE WHEN id % 20 = 0 THEN 'failed' ELSE 'done' END,
              reason = CASE WHEN id % 20 = 0 THEN 'SOURCE [2] there is no such file' END,
              started_at = now() - id % 8000 * interval '5 minutes' - interval '3 minutes',
              finished_at = now() - id % 8000 * interval '5 minutes'""",
    """INSERT INTO quota_changes (site_id, partition, old_bytes, new_bytes, changed_by, reason)
       SELECT site.id, 'bench', n, n + 1, 'ops', 'more' FROM sites AS site, generate_series(1, 200) AS n""",
    """INSERT INTO accesses_daily (day, source, dataset_id, site_id, num_accesses)
       SELECT CURRENT_DATE - n, 'jobs', replica.dataset_id, replica.site_id, n
       FROM dataset_replicas AS replica, generate_series(1, 20) AS n WHERE replica.dataset_id % 5 = 0""",
)


def fill(database: Database, size: float) -> None:
    """All of it, and statistics."""
    for statement in ACTS:
        with database.begin() as connection:
            connection.execute(text(statement), {"size": size})
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
