"""Copies that are called bad or suspicious: who says so, since when and why, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from dynamo_ops.inventory.checks import ALL_BAD, BadState
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.inventory.states import ACTIVE, SubscriptionAction
from dynamo_ops.query.dataset import check_named
from dynamo_ops.query.paging.condition import Conditions, check_words
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class BadReplicaFilter:
    """Which. ``sites``, ``datasets``, ``lfns``: names or globs. ``states``: without any all but ``good``."""

    sites: Sequence[str] = ()
    datasets: Sequence[str] = ()
    lfns: Sequence[str] = ()
    states: Sequence[str] = ()


_BAD_REPLICAS = f"""
    SELECT called.id, called.site_id, called.state, site.name AS site, block.dataset_id,
           dataset.name COLLATE "C" AS dataset, block.name COLLATE "C" AS block, file.lfn COLLATE "C" AS lfn,
           file.size_bytes, called.reason, called.created_by, called.created_at,
           (SELECT copy.state FROM subscriptions AS copy WHERE copy.file_id = called.file_id
              AND copy.site_id = called.site_id AND copy.action = '{SubscriptionAction.COPY}'
              AND copy.state IN {ACTIVE}) AS copy_state
    FROM bad_replicas AS called JOIN sites AS site ON site.id = called.site_id
    JOIN files AS file ON file.id = called.file_id JOIN blocks AS block ON block.id = file.block_id
    JOIN datasets AS dataset ON dataset.id = block.dataset_id"""


def _narrow(connection: Connection, asked: BadReplicaFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.states, BadState, "state of a bad copy")
    states = asked.states or [state for state in ALL_BAD if state != BadState.GOOD]
    conditions.add_any("listed.state", states, "states")
    if asked.sites:
        site_ids = [site.id for site in find_sites(connection, asked.sites)]
        conditions.add("listed.site_id = ANY(CAST(:site_ids AS smallint[]))", site_ids=site_ids)
    conditions.add_names("listed.dataset", asked.datasets, "dataset")
    conditions.add_names("listed.lfn", asked.lfns, "lfn")
    return conditions


BAD_REPLICAS: Listing[BadReplicaFilter] = Listing(
    "bad_replicas",
    _BAD_REPLICAS,
    (
        "id",
        "state",
        "site",
        "dataset",
        "block",
        "lfn",
        "size_bytes",
        "reason",
        "created_by",
        "created_at",
        "copy_state",
    ),
    key=("id",),
    narrow=_narrow,
    explain_nothing=lambda connection, asked: check_named(connection, asked.datasets),
    is_newest_first=True,
)
"""``state``: as ``inventory.checks.BadState``. ``created_by``: who called it so (``transfers``: so many failed), and
``created_at``: when. ``copy_state``: of the subscription by which it is fetched again; null: there is none."""
