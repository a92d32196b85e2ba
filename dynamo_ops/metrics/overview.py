"""Figures of the whole installation, for a scraper that is not logged in: no name of a site, partition, source, person
or of data is in them."""

from __future__ import annotations

from dynamo_ops.database.connection import Database
from dynamo_ops.errand.states import OPEN as OPEN_ERRANDS
from dynamo_ops.inventory.checks import COMPARED_CHECKS
from dynamo_ops.inventory.kinds import PullKind
from dynamo_ops.inventory.replica.usage import PLACES
from dynamo_ops.inventory.site.usable import READABLE, WRITABLE
from dynamo_ops.inventory.states import ACTIVE, SubscriptionAction
from dynamo_ops.metrics.metric import Metric, Query, metrics_of
from dynamo_ops.pause.pauses import IN_FORCE
from dynamo_ops.plan.states import PlanState
from dynamo_ops.quality.results import VERDICT
from dynamo_ops.quality.verdicts import Verdict
from dynamo_ops.query.status import UNDER_WAY
from dynamo_ops.request.states import OPEN_REQUESTS

_AGE = "extract(epoch FROM greatest(now(), {0}) - {0})::float8"

# Without their size: it stands with the files, and to look up that of a million takes seconds.
_SUBSCRIPTIONS = f"""
    SELECT action, state, hold_reason, count(*)::float8 AS num_files, {_AGE.format("min(created_at)")} AS age_s
    FROM subscriptions WHERE state IN {ACTIVE} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
_UNDER_WAY = f"""
    SELECT backend, state, sum(num_files)::float8 AS num_files, sum(size_bytes)::float8 AS size_bytes,
           {_AGE.format("min(created_at)")} AS age_s
    FROM {UNDER_WAY} AS batch GROUP BY 1, 2 ORDER BY 1, 2"""
_ENDED = f"""
    SELECT action, outcome, sum(num_files)::float8 AS num_files, sum(size_bytes)::float8 AS size_bytes
    FROM (SELECT '{SubscriptionAction.COPY}' AS action, outcome, num_files, size_bytes FROM transfer_hours
          WHERE NOT is_removed AND hour >= date_trunc('hour', now(), 'UTC') - interval '23 hours'
          UNION ALL
          SELECT '{SubscriptionAction.DELETE}', outcome, num_files, size_bytes FROM deletion_hours
          WHERE NOT is_removed AND hour >= date_trunc('hour', now(), 'UTC') - interval '23 hours') AS ended
    GROUP BY 1, 2 ORDER BY 1, 2"""
_SITES = f"""
    SELECT site.storage_type, site.status, count(*)::float8 AS num_sites,
           count(*) FILTER (WHERE site.id IN {READABLE})::float8 AS num_readable,
           count(*) FILTER (WHERE site.id IN {WRITABLE})::float8 AS num_writable
    FROM sites AS site GROUP BY 1, 2 ORDER BY 1, 2"""
_USAGE = f"""
    SELECT site.storage_type, sum(usage.num_blocks)::float8 AS num_blocks, sum(usage.size_bytes)::float8 AS size_bytes,
           sum(usage.projected_bytes)::float8 AS projected_bytes
    FROM {PLACES} AS usage JOIN sites AS site ON site.id = usage.site_id GROUP BY 1 ORDER BY 1"""
_FRESHNESS = f"""
    SELECT (SELECT {_AGE.format("min(least(merged_until, updated_at))")} FROM source_states
            WHERE merged_until IS NOT NULL) AS metadata_s,
           (SELECT {_AGE.format("(min(newest.day) + 1)::timestamp AT TIME ZONE 'UTC'")}
            FROM (SELECT max(day) AS day FROM aggregated_days
                  WHERE kind = '{PullKind.ACCESSES}' AND day <= (now() AT TIME ZONE 'UTC')::date
                  GROUP BY source) AS newest) AS accesses_s"""
_GATES = f"""
    SELECT gate, CASE WHEN bool_or(verdict = '{Verdict.REFUSED}') THEN '{Verdict.REFUSED}'
                      WHEN bool_or(verdict = '{Verdict.WARNED}') THEN '{Verdict.WARNED}'
                      ELSE '{Verdict.PASSED}' END AS verdict
    FROM (SELECT gate, run_key, subject, {VERDICT} AS verdict FROM gate_results
          WHERE checked_at >= now() - interval '24 hours') AS looked GROUP BY gate, run_key, subject"""
_VERDICTS = f"SELECT gate, verdict, count(*)::float8 AS number FROM ({_GATES}) AS judged GROUP BY 1, 2 ORDER BY 1, 2"
_PLANS = f"""
    SELECT kind, state, count(*)::float8 AS number, {_AGE.format("min(created_at)")} AS age_s
    FROM plans WHERE state IN ('{PlanState.PLANNED}', '{PlanState.APPROVED}') GROUP BY 1, 2 ORDER BY 1, 2"""
_COMMITTED = f"SELECT kind, {_AGE.format('max(committed_at)')} AS age_s FROM plans GROUP BY 1 ORDER BY 1"
_REQUESTS = f"""
    SELECT kind, state, count(*)::float8 AS number, {_AGE.format("min(created_at)")} AS age_s
    FROM requests WHERE state IN {OPEN_REQUESTS} GROUP BY 1, 2 ORDER BY 1, 2"""
_ERRANDS = f"""
    SELECT kind, state, count(*)::float8 AS number, {_AGE.format("min(created_at)")} AS age_s
    FROM errands WHERE state IN {OPEN_ERRANDS} GROUP BY 1, 2 ORDER BY 1, 2"""
_PAUSES = f"SELECT count(*)::float8 AS number FROM pauses WHERE {IN_FORCE}"
_ALERTS = """
    SELECT kind, count(*)::float8 AS number FROM alerts WHERE last_at >= now() - interval '24 hours'
    GROUP BY 1 ORDER BY 1"""
_CHECKS = f"""
    SELECT newest.state, count(*)::float8 AS number, {_AGE.format("min(newest.at)")} AS age_s
    FROM (SELECT DISTINCT ON (site_id) site_id, state, coalesce(finished_at, started_at) AS at
          FROM consistency_checks WHERE state IN {COMPARED_CHECKS} ORDER BY site_id, started_at DESC, id DESC) AS newest
    GROUP BY 1 ORDER BY 1"""

QUERIES = (
    Query(
        _SUBSCRIPTIONS,
        ("action", "state", "hold_reason"),
        {
            "num_files": ("dynamo_subscriptions_files", "Files that shall come (copy) or go (delete) and have not."),
            "age_s": ("dynamo_subscriptions_oldest_seconds", "Age of the oldest of them."),
        },
    ),
    Query(
        _UNDER_WAY,
        ("backend", "state"),
        {
            "num_files": ("dynamo_under_way_files", "Files of batches that have not ended, by the state of the file."),
            "size_bytes": ("dynamo_under_way_bytes", "Their size."),
            "age_s": ("dynamo_under_way_oldest_seconds", "Age of the oldest batch that has not ended."),
        },
    ),
    Query(
        _ENDED,
        ("action", "outcome"),
        {
            "num_files": ("dynamo_ended_in_24h_files", "Attempts that ended in this hour and the 23 before it."),
            "size_bytes": ("dynamo_ended_in_24h_bytes", "Their size."),
        },
    ),
    Query(
        _SITES,
        ("storage_type", "status"),
        {
            "num_sites": ("dynamo_sites", "Sites."),
            "num_readable": ("dynamo_sites_readable", "Sites from which can be copied now."),
            "num_writable": ("dynamo_sites_writable", "Sites to which can be copied now."),
        },
    ),
    Query(
        _USAGE,
        ("storage_type",),
        {
            "num_blocks": ("dynamo_block_replicas", "Block replicas."),
            "size_bytes": ("dynamo_stored_bytes", "What is there."),
            "projected_bytes": ("dynamo_projected_bytes", "What will be there once all has come."),
        },
    ),
    Query(
        _FRESHNESS,
        (),
        {
            "metadata_s": ("dynamo_metadata_age_seconds", "Age of what the source that was merged longest ago told."),
            "accesses_s": ("dynamo_accesses_age_seconds", "Since the newest day of accesses that all sources have."),
        },
    ),
    Query(
        _VERDICTS,
        ("gate", "verdict"),
        {"number": ("dynamo_gates_in_24h", "Looks of gates in the last 24 hours, by the worst that they found.")},
    ),
    Query(
        _PLANS,
        ("kind", "state"),
        {
            "number": ("dynamo_plans_open", "Plans that are neither committed nor refused."),
            "age_s": ("dynamo_plans_open_oldest_seconds", "Age of the oldest of them."),
        },
    ),
    Query(_COMMITTED, ("kind",), {"age_s": ("dynamo_last_commit_seconds", "Since the last commit.")}),
    Query(
        _REQUESTS,
        ("kind", "state"),
        {
            "number": ("dynamo_requests_open", "Requests that are not completed, rejected or cancelled."),
            "age_s": ("dynamo_requests_open_oldest_seconds", "Age of the oldest of them."),
        },
    ),
    Query(
        _ERRANDS,
        ("kind", "state"),
        {
            "number": ("dynamo_errands_open", "What was asked for over REST and waits for its run, or is in it."),
            "age_s": ("dynamo_errands_open_oldest_seconds", "Age of the oldest of them."),
        },
    ),
    Query(_PAUSES, (), {"number": ("dynamo_pauses", "Pauses in force.")}),
    Query(_ALERTS, ("kind",), {"number": ("dynamo_alerts_in_24h", "Alerts that were raised in the last 24 hours.")}),
    Query(
        _CHECKS,
        ("state",),
        {
            "number": ("dynamo_checks", "Sites by the state of their newest check; refused: too much differs."),
            "age_s": ("dynamo_checks_oldest_seconds", "Age of the oldest of these checks."),
        },
    ),
)


def overview(database: Database) -> list[Metric]:
    """Figures of all sites together, as of one moment. ``hold_reason`` is empty of what is not held; where there is
    nothing, there is no sample."""
    with database.snapshot() as snapshot:
        return [
            metric for query in QUERIES for metric in metrics_of(snapshot.frame(query.sql), query.labels, query.figures)
        ]
