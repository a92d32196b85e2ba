"""What was done to a dataset, newest first: deletions, hand-overs and copies of plans, what Detox said of it when it
changed, and what was asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.inventory.names import EVER_KNOWN_DATASETS
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.inventory.states import SubscriptionAction
from dynamo_ops.plan.states import Decision, PlanKind
from dynamo_ops.query.paging.condition import Conditions, moment_asked
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class PastFilter:
    """Of one dataset, also of one that was declared invalid. ``sites``: names or globs; requests name none, and are
    left out then."""

    dataset_id: int
    sites: Sequence[str] = ()
    since: str | None = None


REQUEST = "request"
"""What acted: an engine, or a person who asked for something."""

_PAST = f"""
    SELECT history.dataset_id, history.site_id, plan.committed_at AS at, '{PlanKind.DETOX}' AS by,
           history.plan_id, plan.partition, site.name AS site, history.decision, history.line::bigint AS line,
           CASE WHEN history.decision = '{Decision.LEFT_OUT}' THEN (
               SELECT string_agg(DISTINCT kept.reason, '; ') FROM detox_left_out AS kept
               WHERE kept.plan_id = history.plan_id AND kept.dataset_id = history.dataset_id
                 AND kept.site_id = history.site_id) ELSE line.text END AS why,
           NULL::bigint AS request_id, history.num_blocks::bigint AS num_blocks, history.size_bytes,
           'd' || history.plan_id || ' ' || history.site_id || ' ' || history.decision || ' ' || history.line AS act
    FROM detox_history AS history JOIN plans AS plan ON plan.id = history.plan_id
    JOIN sites AS site ON site.id = history.site_id
    LEFT JOIN policy_lines AS line ON line.policy_version_id = plan.policy_version_id AND line.line = history.line
    UNION ALL
    SELECT copied.dataset_id, copied.site_id, plan.committed_at, '{PlanKind.DEALER}', copied.plan_id, plan.partition,
           site.name, '{SubscriptionAction.COPY}', NULL, copied.plugin || ': ' || copied.reason
               || coalesce('; left out: ' || copied.num_left_out || ' of ' || copied.num_blocks || ' blocks: '
                           || copied.left_out, ''),
           copied.request_id, copied.num_blocks, copied.size_bytes,
           'c' || copied.plan_id || ' ' || copied.site_id || ' ' || copied.copy
    FROM dealer_history AS copied JOIN plans AS plan ON plan.id = copied.plan_id
    JOIN sites AS site ON site.id = copied.site_id
    UNION ALL
    SELECT DISTINCT item.dataset_id, NULL::smallint, request.created_at, '{REQUEST}', NULL::bigint, NULL, NULL,
           request.kind || ' asked for by ' || request.requested_by, NULL::bigint, request.reason, request.id,
           NULL::bigint, NULL::bigint, 'r' || request.id
    FROM request_items AS item JOIN requests AS request ON request.id = item.request_id"""


def _narrow(connection: Connection, asked: PastFilter, as_of: datetime) -> Conditions:
    conditions = Conditions()
    conditions.add("listed.dataset_id = :dataset", dataset=asked.dataset_id)
    if asked.sites:
        site_ids = [site.id for site in find_sites(connection, asked.sites)]
        conditions.add("listed.site_id = ANY(CAST(:site_ids AS smallint[]))", site_ids=site_ids)
    if asked.since is not None:
        conditions.add("listed.at >= :since", since=moment_asked(asked.since, as_of))
    return conditions


def _explain_nothing(connection: Connection, asked: PastFilter) -> None:
    known = f"SELECT EXISTS (SELECT FROM {EVER_KNOWN_DATASETS} AS known WHERE known.id = :dataset)"
    if not connection.execute(text(known), {"dataset": asked.dataset_id}).scalar():
        raise UnknownNameError(f"there is no dataset {asked.dataset_id}", dataset_id=asked.dataset_id)


PAST: Listing[PastFilter] = Listing(
    "acts",
    _PAST,
    ("at", "by", "plan_id", "partition", "site", "decision", "line", "why", "request_id", "num_blocks", "size_bytes"),
    key=("at", "act"),
    narrow=_narrow,
    explain_nothing=_explain_nothing,
    is_newest_first=True,
)
"""``by``: detox, dealer, or request (somebody asked). ``why``: the policy line, or why it was left out; of a copy the
plugin and its reason; of a request what was said."""
