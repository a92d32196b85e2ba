"""The queries of the digest. ``$1`` and ``$2``: begin and end of its window, as text."""

from __future__ import annotations

from dynamo_ops.alerts.alert import UNTOLD, AlertKind
from dynamo_ops.event.states import DeliveryState
from dynamo_ops.inventory.checks import NOT_REPAIRABLE, BadState, FindingKind, FindingState
from dynamo_ops.inventory.kinds import SiteStatus
from dynamo_ops.inventory.replica.copies import is_protecting
from dynamo_ops.inventory.site.usable import WRITABLE
from dynamo_ops.inventory.states import (
    DONE_DELETIONS,
    OPEN_BATCHES,
    QUEUED,
    Backend,
    DeletionState,
    HoldReason,
    SubscriptionAction,
    SubscriptionState,
    TransferState,
)
from dynamo_ops.inventory.subscription.give_back import TAKEN_BACK

_WINDOW = "{0} >= $1::text::timestamptz AND {0} < $2::text::timestamptz"

ALERTS = f"""
    SELECT key, kind, dag_id, task_id, error, num_times, first_at, last_at, told_at, message
    FROM alerts
    WHERE kind NOT IN ('{AlertKind.DIGEST}', '{AlertKind.ILL}')
      AND ((first_at < $2::text::timestamptz AND last_at >= $1::text::timestamptz) OR ({UNTOLD}))
    ORDER BY ({UNTOLD}) DESC, last_at DESC, key"""

GATES = f"""
    SELECT gate, subject, split_part(expectation, ':', 1) AS expectation, is_blocking, count(*) AS num_runs,
           max(checked_at) AS last_at, (array_agg(observed ORDER BY checked_at DESC))[1] AS observed
    FROM gate_results WHERE NOT is_success AND {_WINDOW.format("checked_at")}
    GROUP BY 1, 2, 3, 4 ORDER BY is_blocking DESC, 1, 2, 3"""

SOURCES = "SELECT source, merged_until, num_datasets, num_sites_ready, updated_at FROM source_states"

AGGREGATED = """
    SELECT source, kind, min(day) AS first_day, max(day) AS last_day,
           coalesce(array_agg(day ORDER BY day) FILTER (WHERE day BETWEEN $1::text::date AND $2::text::date),
                    '{}') AS days
    FROM aggregated_days GROUP BY source, kind"""

PLANS = f"""
    SELECT kind, partition, state, count(*) AS num_plans,
           coalesce(sum((summary->'commit'->>'size_bytes')::numeric), 0)::bigint AS size_bytes,
           (array_agg(refused_because ORDER BY id DESC) FILTER (WHERE refused_because IS NOT NULL))[1] AS because
    FROM plans WHERE {_WINDOW.format("coalesce(committed_at, refused_at, created_at)")}
    GROUP BY 1, 2, 3 ORDER BY kind DESC, partition, state"""

TRANSFERS = f"""
    SELECT d.name AS site, count(*) FILTER (WHERE t.state = '{TransferState.DONE}') AS num_done,
           coalesce(sum(t.size_bytes) FILTER (WHERE t.state = '{TransferState.DONE}'), 0)::bigint AS done_bytes,
           count(*) FILTER (WHERE t.state = '{TransferState.FAILED}') AS num_failed,
           coalesce(sum(t.size_bytes) FILTER (WHERE t.state = '{TransferState.FAILED}'), 0)::bigint AS failed_bytes,
           mode() WITHIN GROUP (ORDER BY left(t.reason, 200)) FILTER (WHERE t.state = '{TransferState.FAILED}')
             AS reason
    FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id JOIN sites d ON d.id = b.site_id
    WHERE t.state IN ('{TransferState.DONE}', '{TransferState.FAILED}') AND {_WINDOW.format("t.finished_at")}
    GROUP BY 1 ORDER BY num_failed DESC, done_bytes DESC, 1"""

OPEN_JOBS = f"""
    SELECT coalesce(server, 'the only server') AS server, count(*) AS num_jobs, min(created_at) AS oldest_at
    FROM transfer_batches WHERE state IN {OPEN_BATCHES} AND backend = '{Backend.FTS}'
      AND created_at < $1::text::timestamptz - $2::text::interval
    GROUP BY 1 ORDER BY 1"""
"""FTS jobs that are open for longer than ``$2`` before ``$1``: a server that is away for good says nothing of them."""

HELD = f"""
    SELECT s.action, s.hold_reason, count(*) AS num_files, sum(f.size_bytes)::bigint AS size_bytes,
           count(DISTINCT s.site_id) AS num_sites, min(s.created_at) AS oldest_at
    FROM subscriptions s JOIN files f ON f.id = s.file_id WHERE s.state = '{SubscriptionState.HELD}'
      GROUP BY 1, 2 ORDER BY 1, 2"""

SUSPENDED = f"""
    SELECT site.name AS site, count(*) AS num_files,
           min(coalesce(tried.failing_since, copy.created_at)) AS failing_since,
           count(*) FILTER (WHERE NOT {is_protecting("copy")}) AS num_unprotected,
           mode() WITHIN GROUP (ORDER BY left(copy.last_error, 200)) AS reason
    FROM subscriptions AS copy JOIN sites AS site ON site.id = copy.site_id
    LEFT JOIN LATERAL (
        SELECT min(attempt.finished_at) AS failing_since FROM transfers AS attempt
        WHERE attempt.subscription_id = copy.id) AS tried ON true
    WHERE copy.state = '{SubscriptionState.HELD}' AND copy.hold_reason = '{HoldReason.SUSPENDED}'
    GROUP BY 1 ORDER BY num_files DESC, 1"""
"""Copies that nobody tries any more, by destination; how long they had failed and what most of them failed of."""

LEFT_ALONE = f"""
    SELECT site.name AS site, count(*) AS num_files,
           min(deletion.created_at) AS failing_since,
           mode() WITHIN GROUP (ORDER BY left(deletion.last_error, 200)) AS reason
    FROM subscriptions AS deletion JOIN sites AS site ON site.id = deletion.site_id
    WHERE deletion.action = '{SubscriptionAction.DELETE}' AND deletion.state IN {QUEUED} AND deletion.num_attempts > 0
      AND deletion.site_id IN {WRITABLE}
      AND deletion.created_at < $1::text::timestamptz - $2::text::interval
    GROUP BY 1 ORDER BY num_files DESC, 1"""
"""Deletions that were begun and left alone again for longer than ``$2`` before ``$1``, at sites that take deletions."""

DELETIONS = f"""
    SELECT d.name AS site, count(*) FILTER (WHERE x.state IN {DONE_DELETIONS}) AS num_done,
           coalesce(sum(x.size_bytes) FILTER (WHERE x.state IN {DONE_DELETIONS}), 0)::bigint AS done_bytes,
           count(*) FILTER (WHERE x.state = '{DeletionState.FAILED}') AS num_failed,
           coalesce(sum(x.size_bytes) FILTER (WHERE x.state = '{DeletionState.FAILED}'), 0)::bigint AS failed_bytes,
           mode() WITHIN GROUP (ORDER BY left(x.reason, 200)) FILTER (WHERE x.state = '{DeletionState.FAILED}')
             AS reason
    FROM deletions x JOIN deletion_batches b ON b.id = x.batch_id JOIN sites d ON d.id = b.site_id
    WHERE x.state IN ('{DeletionState.DONE}', '{DeletionState.GONE}', '{DeletionState.FAILED}')
      AND {_WINDOW.format("x.finished_at")}
    GROUP BY 1 ORDER BY num_failed DESC, done_bytes DESC, 1"""

GIVEN_BACK = f"""
    SELECT d.name AS site, count(*) AS num_files, sum(f.size_bytes)::bigint AS size_bytes,
           mode() WITHIN GROUP (ORDER BY s.last_error) AS reason
    FROM subscriptions s JOIN files f ON f.id = s.file_id JOIN sites d ON d.id = s.site_id
    WHERE s.action = '{SubscriptionAction.DELETE}' AND s.state = '{SubscriptionState.CANCELLED}'
      AND s.last_error LIKE '{TAKEN_BACK}: %' AND {_WINDOW.format("s.updated_at")}
    GROUP BY 1 ORDER BY num_files DESC, 1"""

SITES = f"""
    SELECT s.name AS site, s.status, s.status_changed_at AS since_at, t.told_status, o.override, d.downtime
    FROM sites s LEFT JOIN site_sources t ON t.site_id = s.id
    LEFT JOIN (
        SELECT site_id, string_agg(format('%s by %s (%s)%s', status, created_by, reason, {{until}}), '; ' ORDER BY id)
                   AS override
        FROM site_overrides WHERE ended_by IS NULL AND (ends_at IS NULL OR ends_at > now()) GROUP BY 1) o
        ON o.site_id = s.id
    LEFT JOIN (
        SELECT site_id, string_agg(format('%s (%s)%s', reason, created_by, {{until}}), '; ' ORDER BY id) AS downtime
        FROM site_downtimes WHERE begins_at <= now() AND (ends_at IS NULL OR ends_at > now()) GROUP BY 1) d
        ON d.site_id = s.id
    WHERE s.status <> '{SiteStatus.READY}' OR o.site_id IS NOT NULL OR d.site_id IS NOT NULL ORDER BY s.name""".format(
    until="coalesce(to_char(ends_at AT TIME ZONE 'UTC', '\" until \"YYYY-MM-DD\"T\"HH24:MI\"Z\"'), '')"
)

CHECKS = f"""
    SELECT s.name AS site, c.state, c.refused_because, c.num_storage_files, f.num_missing, f.missing_bytes,
           f.num_orphan, f.orphan_bytes, f.num_lost, f.lost_bytes, f.num_unmanaged, f.unmanaged_bytes
    FROM consistency_checks c JOIN sites s ON s.id = c.site_id
    LEFT JOIN LATERAL (
        SELECT count(*) FILTER (WHERE {{missing}}) AS num_missing,
               coalesce(sum(size_bytes) FILTER (WHERE {{missing}}), 0)::bigint AS missing_bytes,
               count(*) FILTER (WHERE kind = '{FindingKind.ORPHAN}') AS num_orphan,
               coalesce(sum(size_bytes) FILTER (WHERE kind = '{FindingKind.ORPHAN}'), 0)::bigint AS orphan_bytes,
               count(*) FILTER (WHERE state = '{FindingState.LOST}') AS num_lost,
               coalesce(sum(size_bytes) FILTER (WHERE state = '{FindingState.LOST}'), 0)::bigint AS lost_bytes,
               count(*) FILTER (WHERE kind = '{FindingKind.UNMANAGED}') AS num_unmanaged,
               coalesce(sum(size_bytes) FILTER (WHERE kind = '{FindingKind.UNMANAGED}'), 0)::bigint AS unmanaged_bytes
        FROM consistency_findings WHERE check_id = c.id) f ON true
    WHERE {_WINDOW.format("coalesce(c.finished_at, c.storage_listed_at, c.started_at)")}
    ORDER BY s.name, c.id""".format(missing=f"kind = '{FindingKind.MISSING}' AND state NOT IN {NOT_REPAIRABLE}")

BAD = f"""
    SELECT site.name AS site, called.state, count(*) AS num_files, sum(file.size_bytes)::bigint AS size_bytes,
           count(*) FILTER (WHERE {_WINDOW.format("called.created_at")}) AS num_new,
           min(called.created_at) AS oldest_at, mode() WITHIN GROUP (ORDER BY left(called.reason, 200)) AS reason
    FROM bad_replicas AS called JOIN sites AS site ON site.id = called.site_id
    JOIN files AS file ON file.id = called.file_id
    WHERE called.state <> '{BadState.GOOD}' GROUP BY 1, 2 ORDER BY 1, 2"""

VANISHED = """
    SELECT source, kind, count(*) FILTER (WHERE {new}) AS num_new,
           coalesce(sum(size_bytes) FILTER (WHERE {new}), 0)::bigint AS new_bytes,
           count(*) AS num_all, sum(size_bytes)::bigint AS all_bytes
    FROM vanished GROUP BY 1, 2 ORDER BY 1, 2""".format(new=_WINDOW.format("vanished_at"))

_SHORT = "left(regexp_replace({}, '[[:cntrl:]]', '?', 'g'), 200)"
"""SQL: what a source told, as a line can show it."""

SET_ASIDE = """
    SELECT source, count(*) AS num_datasets, count(*) FILTER (WHERE {new}) AS num_new, min(first_at) AS oldest_at,
           (array_agg({dataset} ORDER BY first_at, id))[1] AS dataset,
           (array_agg({reason} ORDER BY first_at, id))[1] AS reason
    FROM set_aside_datasets GROUP BY 1 ORDER BY 1""".format(
    new=_WINDOW.format("first_at"), **{name: _SHORT.format(name) for name in ("dataset", "reason")}
)

EVENTS = f"""
    SELECT subscription.id AS subscription, coalesce(subscription.person, 'group ' || owner.name) AS owner,
           subscription.channel, coalesce(given_up.number, 0) AS num_given_up, subscription.failing_since,
           coalesce(subscription.last_error, given_up.reason) AS reason
    FROM event_subscriptions AS subscription LEFT JOIN groups AS owner ON owner.id = subscription.group_id
    LEFT JOIN (
        SELECT delivery.subscription_id, count(*) AS number, max(delivery.last_error) AS reason
        FROM event_deliveries AS delivery
        WHERE delivery.state = '{DeliveryState.GIVEN_UP}' AND {_WINDOW.format("delivery.ended_at")}
        GROUP BY 1) AS given_up ON given_up.subscription_id = subscription.id
    WHERE given_up.number > 0 OR subscription.failing_since IS NOT NULL
    ORDER BY num_given_up DESC, subscription.id"""

INVALIDATED = f"""
    SELECT kind, created_by, count(*) AS num_things, sum(num_files)::bigint AS num_files,
           sum(size_bytes)::bigint AS size_bytes, max(reason) AS reason
    FROM invalidations WHERE {_WINDOW.format("created_at")} GROUP BY 1, 2 ORDER BY 1, 2"""
