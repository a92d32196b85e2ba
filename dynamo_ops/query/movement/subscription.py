"""Subscriptions that are active: files that shall come to a site or go from it; and why one stands where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.glob import is_glob
from dynamo_ops.base.settings import Settings
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.inventory.states import ACTIVE, HoldReason, SubscriptionAction
from dynamo_ops.query.dataset import check_named, dataset_condition
from dynamo_ops.query.explanation import Explanation, FileExplanation, QueueRules
from dynamo_ops.query.paging.condition import Conditions, check_words
from dynamo_ops.query.paging.listing import Listing
from dynamo_ops.transfer.submission.limits import transfer_limits
from dynamo_ops.transfer.tasks import plan_rules

JobPage = Callable[[str | None, str], str | None]
"""The page of a job, by the server that is recorded with its batch, and its id."""


@dataclass(frozen=True)
class SubscriptionFilter:
    """Which subscriptions. ``lfns``, ``datasets``, ``sites``, ``origins`` (``dealer``, ``request 7``): names or globs,
    of LFNs globs only with ``datasets``; ``blocks``: names behind the ``#``."""

    lfns: Sequence[str] = ()
    datasets: Sequence[str] = ()
    blocks: Sequence[str] = ()
    sites: Sequence[str] = ()
    actions: Sequence[str] = ()
    states: Sequence[str] = ()
    hold_reasons: Sequence[str] = ()
    origins: Sequence[str] = ()
    activities: Sequence[str] = ()


_SUBSCRIPTIONS = f"""
    SELECT subscription.id, subscription.file_id, subscription.site_id, subscription.action, subscription.state,
           subscription.hold_reason, file.lfn COLLATE "C" AS lfn, block.dataset_id,
           dataset.name COLLATE "C" AS dataset, block.name COLLATE "C" AS block, site.name AS site, file.size_bytes,
           subscription.origin COLLATE "C" AS origin, subscription.activity, subscription.num_attempts,
           subscription.last_error, subscription.note, subscription.created_at, subscription.updated_at
    FROM subscriptions AS subscription JOIN files AS file ON file.id = subscription.file_id
    JOIN blocks AS block ON block.id = file.block_id JOIN datasets AS dataset ON dataset.id = block.dataset_id
    JOIN sites AS site ON site.id = subscription.site_id
    WHERE subscription.state IN {ACTIVE}"""

_FILE_IDS = """
    SELECT file.id FROM unnest(CAST(:lfns AS text[])) AS asked (lfn)
    JOIN files AS file ON md5(file.lfn)::uuid = md5(asked.lfn)::uuid AND file.lfn = asked.lfn"""


def queue_rules(settings: Settings) -> QueueRules:
    """What the place in the queue depends on, as this installation is set."""
    return QueueRules(transfer_limits(settings), settings.deletion, dict(plan_rules(settings).head_starts))


def subscription_document(subscription: Explanation, page: JobPage) -> dict[str, Any]:
    """One subscription for programs; attempts with the page of their FTS job (url)."""
    attempts = [{**attempt, "url": job_url(attempt, page)} for attempt in subscription.attempts]
    return {**asdict(subscription), "attempts": attempts}


def file_document(file: FileExplanation, page: JobPage) -> dict[str, Any]:
    """One file for programs, with its subscriptions."""
    return {
        **asdict(file),
        "subscriptions": [subscription_document(subscription, page) for subscription in file.subscriptions],
    }


def job_url(attempt: Mapping[str, Any], page: JobPage) -> str | None:
    """The page of an attempt's job; None where it has none."""
    return page(attempt["server"], attempt["job_id"]) if attempt.get("job_id") else None


def _file_ids(connection: Connection, lfns: Sequence[str]) -> list[int]:
    return list(connection.execute(text(_FILE_IDS), {"lfns": list(lfns)}).scalars())


def _narrow(connection: Connection, asked: SubscriptionFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.actions, SubscriptionAction, "action of a subscription")
    check_words(asked.states, ACTIVE, "state of an active subscription")
    check_words(asked.hold_reasons, HoldReason, "reason to hold a subscription")
    conditions.add_any("listed.action", asked.actions, "actions")
    conditions.add_any("listed.state", asked.states, "states")
    conditions.add_any("listed.hold_reason", asked.hold_reasons, "hold_reasons")
    conditions.add_any("listed.activity", asked.activities, "activities")
    conditions.add_names("listed.origin", asked.origins, "origin")
    if any(map(is_glob, asked.lfns)) and not asked.datasets:
        raise InventoryError("globs of LFNs are looked for in datasets: name these", parameter="lfn, dataset")
    if asked.lfns and not any(map(is_glob, asked.lfns)):
        conditions.add("listed.file_id = ANY(:file_ids)", file_ids=_file_ids(connection, asked.lfns))
    else:
        conditions.add_names("listed.lfn", asked.lfns, "lfn")
    conditions.add_names("listed.block", asked.blocks, "block")
    if asked.datasets:
        condition, params = dataset_condition(asked.datasets, "listed.dataset")
        conditions.add(condition, **params)
    if asked.sites:
        site_ids = [site.id for site in find_sites(connection, asked.sites)]
        conditions.add("listed.site_id = ANY(CAST(:site_ids AS smallint[]))", site_ids=site_ids)
    return conditions


SUBSCRIPTIONS: Listing[SubscriptionFilter] = Listing(
    "subscriptions",
    _SUBSCRIPTIONS,
    (
        "id",
        "action",
        "state",
        "hold_reason",
        "lfn",
        "dataset",
        "block",
        "site",
        "size_bytes",
        "origin",
        "activity",
        "num_attempts",
        "last_error",
        "note",
        "created_at",
        "updated_at",
    ),
    key=("file_id", "site_id"),
    narrow=_narrow,
    explain_nothing=lambda connection, asked: check_named(connection, asked.datasets),
)
"""By file, in the order in which files became known, and site: of these there is one active subscription."""
