"""A day in which much went wrong, as the tables hold it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dynamo_ops.base.settings import AlertSettings, PopularitySettings, Settings, SourceSettings
from dynamo_ops.database.connection import Database
from tests.inventory.factory import Inventory

UNTIL = datetime(2026, 3, 2, 6, tzinfo=UTC)
MOMENTS = ("2026-03-01 18:00+00", "2026-03-01 05:59+00", "2026-03-02 06:00+00")
"""One in the 24 hours to UNTIL, and one just before and just after: all that happened happened at all three."""


@pytest.fixture
def sources() -> Settings:
    """Settings with sources of each kind; nothing of the metadata source ``other`` was ever merged."""

    def source(name: str) -> SourceSettings:
        return SourceSettings(name=name, type="any")

    return Settings(
        metadata_sources=[source("dbs"), source("other")],
        site_sources=[source("cric")],
        access_sources=[source("monit")],
        demand_sources=[source("queue")],
        popularity=PopularitySettings(look_back_days=5),
        alerts=AlertSettings(stale_after_h=6),
    )


@pytest.fixture
def bad_day(database: Database) -> Inventory:
    """Everything that a digest can tell of."""
    inventory = Inventory(database)
    for site in ("T2_A", "T2_B", "T2_C", "T2_D"):
        inventory.site(site)
    lfns = inventory.block("b1", 6)
    inventory.subscription("copy", lfns[:4], "T2_A")
    inventory.subscription("delete", lfns[4:], "T2_B")
    for at in MOMENTS:
        for statement in HAPPENED:
            inventory.rows(statement.replace("{at}", f"timestamptz '{at}'"))
    for statement in STANDS:
        inventory.rows(statement)
    inventory.rows("UPDATE site_endpoints SET prefix = 'davs://se.org/x' WHERE site_id IN (3, 4)")
    inventory.rows(
        """UPDATE site_endpoints SET mapping = '[[["/store/[a-z]+/(.*)", "davs://b.org/$1"]]]' WHERE site_id = 2"""
    )
    inventory.rows(
        """UPDATE site_endpoints SET proposed_prefix = 'davs://n.org/', prefix = 'davs://o.org/',
           proposed_at = '2026-03-01 18:00+00' WHERE site_id = 1"""
    )
    return inventory


HAPPENED = (
    r"""INSERT INTO alerts (key, kind, dag_id, task_id, error, message, first_at, last_at, num_times, num_untold,
                            told_at)
        VALUES ('f' || {at}, 'failure', 'metadata_sync', 'gate', 'GateError', E'gate refused <dbs>\nsecond line',
                {at}, {at}, 12, 11, {at}),
               ('l' || {at}, 'late', 'transfers', NULL, 'DeadlineMissed', 'r1 has not ended', {at}, {at}, 1, 0, {at}),
               ('d' || {at}, 'digest', 'daily_digest', NULL, 'Digest', 'text', {at}, {at}, 1, 0, {at})""",
    """INSERT INTO gate_results (gate, run_key, subject, expectation, is_success, is_blocking, observed,
                                 num_unexpected, examples, checked_at)
       VALUES ('metadata', 'r2', 'source ''dbs''', 'size: x', false, true, 'size_bytes is negative in 2 rows', 2, '[]',
               {at} + interval '1 second'),
              ('metadata', 'r1', 'source ''dbs''', 'size: x', false, true, 'size_bytes is negative in 3 rows', 3, '[]',
               {at}),
              ('accesses', 'r1', 'source ''monit''', 'known: x', false, false, 'one site is unknown', 1, '[]', {at}),
              ('accesses', 'r1', 'source ''monit''', 'fields: given', true, true, NULL, 0, '[]', {at})""",
    """INSERT INTO set_aside_datasets (source, dataset, reason, is_of_record, until, first_at, run_key)
       VALUES ('dbs', '/A/' || {at}, 'record 7: size_bytes is big', false, {at}, {at}, 'r')""",
    """INSERT INTO vanished (source, kind, name, size_bytes, vanished_at)
       SELECT 'dbs', 'block', n || '-' || {at}, 1000000, {at} FROM generate_series(1, 2) n""",
    """INSERT INTO invalidations (kind, name, thing_id, size_bytes, num_files, reason, created_by, created_at)
       VALUES ('dataset', {at}, 1, 5000000, 7, 'wrong calibration', 'ada', {at})""",
    """WITH c AS (
           INSERT INTO consistency_checks (run_key, site_id, state, refused_because, finished_at)
           SELECT {at}, s.id, x.state, x.because, {at} FROM sites s JOIN (VALUES
               ('T2_A', 'repaired', NULL), ('T2_B', 'refused', '2,000 orphans, more than max_orphan allows (100)')
           ) x (site, state, because) ON x.site = s.name RETURNING id)
       INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes)
       SELECT c.id, x.kind, x.state, '/store/x', 1000 FROM c,
           (VALUES ('missing', 'seen'), ('missing', 'found'), ('missing', 'lost'), ('orphan', 'repaired'),
                   ('orphan', 'repaired')) x (kind, state)""",
    """INSERT INTO policy_versions (kind, partition, sha256, text)
       VALUES ('detox', 'physics', {at}, 'x'), ('dealer', 'physics', {at}, 'x')""",
    """INSERT INTO plans (kind, partition, run_key, state, policy_version_id, location, summary, planned_for_at,
                          created_at, committed_at, refused_at, refused_because)
       SELECT v.kind, 'physics', s.state || {at}, s.state, v.id, '', s.summary::jsonb, {at}, {at},
              CASE WHEN s.state = 'committed' THEN {at} END, CASE WHEN s.state = 'refused' THEN {at} END, s.because
       FROM policy_versions v JOIN (VALUES
           ('detox', 'committed', '{"commit": {"size_bytes": 12000000000000}}', NULL),
           ('detox', 'refused', '{}', 'the plan deletes too much'),
           ('dealer', 'committed', '{"commit": {"size_bytes": 3000000000000}}', NULL)
       ) s (kind, state, summary, because) ON s.kind = v.kind WHERE v.sha256 = ({at})::text""",
    """WITH b AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
                  SELECT {at}, md5({at}::text)::uuid, id, false, 'finished' FROM sites WHERE name = 'T2_A' RETURNING id)
       INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, reason, size_bytes,
                              finished_at)
       SELECT b.id, s.id, row_number() OVER (ORDER BY s.id), 2,
              CASE WHEN row_number() OVER (ORDER BY s.id) > 3 THEN 'failed' ELSE 'done' END, 'checksum differs',
              2000000, {at}
       FROM b, subscriptions s WHERE s.action = 'copy'""",
    """WITH b AS (INSERT INTO deletion_batches (site_id, state) SELECT id, 'finished' FROM sites WHERE name = 'T2_B'
                  RETURNING id)
       INSERT INTO deletions (batch_id, subscription_id, state, size_bytes, finished_at)
       SELECT b.id, s.id, CASE WHEN row_number() OVER (ORDER BY s.id) > 1 THEN 'gone' ELSE 'done' END, 3000000, {at}
       FROM b, subscriptions s WHERE s.action = 'delete' AND s.state <> 'cancelled'""",
    """INSERT INTO subscriptions (file_id, site_id, action, state, origin, last_error, updated_at)
       SELECT f.id, s.id, 'delete', 'cancelled', 'detox', 'taken back: lock 7 covers it', {at}
       FROM sites s, (SELECT id FROM files ORDER BY id LIMIT 2) f WHERE s.name = 'T2_C'""",
    """WITH happened AS (INSERT INTO events (kind, object_kind, object_name) VALUES ('site.full', 'site', 'T2_A')
                         RETURNING id),
       subscribed AS (INSERT INTO event_subscriptions (person, kinds, kinds_regex, scope, scope_kind, channel, address,
                                                       created_by, seen_event_id)
                      VALUES ('ada', ARRAY['*'], '.', 'own', 'own', 'webhook', 'https://a.org/', 'ada', 0) RETURNING id)
       INSERT INTO event_deliveries (event_id, subscription_id, state, ended_at, last_error)
       SELECT happened.id, subscribed.id, 'given_up', {at}, 'answered 500' FROM happened, subscribed""",
)
STANDS = (
    """INSERT INTO alerts (key, kind, dag_id, task_id, error, message, first_at, last_at, num_times, num_untold)
       VALUES ('never told', 'failure', 'deletions', 'delete', 'KeyError', 'x', '2026-02-01', '2026-02-01', 3, 3)""",
    """INSERT INTO source_states (source, merged_until, num_datasets, num_sites_ready, updated_at)
       VALUES ('dbs', '2026-03-01 20:00+00', 1234, NULL, now()), ('cric', NULL, NULL, 3, '2026-03-02 05:00+00')""",
    """INSERT INTO aggregated_days (day, source, kind, num_told, most_told, aggregated_at)
       SELECT day, 'monit', 'accesses', 1, 1, now() FROM generate_series(date '2026-01-01', '2026-03-01', '1 day') day
       WHERE day NOT IN ('2026-02-26', '2026-02-10', '2026-02-28')""",
    """INSERT INTO aggregated_days (day, source, kind, num_told, most_told, aggregated_at)
       VALUES ('2026-03-01', 'queue', 'demand', 1, 1, now())""",
    """INSERT INTO bad_replicas (file_id, site_id, state, reason, created_by, created_at)
       SELECT f.id, s.id, x.state, 'the pool is <b>broken</b>', 'ada', x.at::timestamptz FROM (VALUES
           (1, 'T2_A', 'last_copy', '2026-02-01 10:00+00'), (2, 'T2_A', 'last_copy', '2026-03-01 18:00+00'),
           (3, 'T2_A', 'copying', '2026-03-01 18:00+00'), (4, 'T2_A', 'good', '2026-03-01 18:00+00'),
           (1, 'T2_B', 'suspicious', '2026-02-01 10:00+00')) x (number, site, state, at)
       JOIN sites s ON s.name = x.site JOIN (SELECT id, row_number() OVER (ORDER BY id) AS number FROM files) f
           ON f.number = x.number""",
    """WITH b AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
                  SELECT 'ill', gen_random_uuid(), id, false, 'finished' FROM sites WHERE name = 'T2_A' RETURNING id)
       INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, blame, reason, size_bytes,
                              finished_at)
       SELECT b.id, 1, n, 2, 'failed', 'destination', 'DESTINATION [28] <full>', 1, now() - interval '1 minute'
       FROM b, generate_series(1, 20) n""",
    """INSERT INTO transfer_hours SELECT hour::timestamptz, 2, 1, outcome, '', 20, 20, 0, false FROM (VALUES
           ('2026-02-28 20:00+00', 'failed'), ('2026-03-01 17:00+00', 'done'), ('2026-03-01 18:00+00', 'failed'),
           ('2026-03-01 19:00+00', 'failed')) AS ended (hour, outcome)""",
    "UPDATE sites SET status = 'waitroom', status_changed_at = '2026-03-02 01:00+00' WHERE name = 'T2_C'",
    "UPDATE sites SET status = 'morgue', status_changed_at = '2025-03-02 01:00+00' WHERE name = 'T2_D'",
    """INSERT INTO site_sources (site_id, source, told_status) SELECT id, 'cric', 'ready' FROM sites
       WHERE name = 'T2_C'""",
    """INSERT INTO site_overrides (site_id, status, reason, created_by, ends_at)
       SELECT id, 'ready', 'feed is wrong', 'ada', timestamptz '2100-01-01 12:00+00' FROM sites WHERE name = 'T2_B'""",
    """INSERT INTO site_overrides (site_id, status, reason, created_by, ended_by)
       SELECT id, 'morgue', 'over', 'ada', 'bob' FROM sites WHERE name = 'T2_A'""",
    """INSERT INTO site_downtimes (site_id, begins_at, reason, created_by)
       SELECT id, '2026-03-01', 'new switch', 'bob' FROM sites WHERE name = 'T2_A'""",
    """UPDATE subscriptions SET state = 'held', created_at = '2026-02-20 10:00+00',
              hold_reason = CASE WHEN id % 2 = 0 THEN 'no_source' ELSE 'site_unavailable' END WHERE action = 'copy'""",
)
