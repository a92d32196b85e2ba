"""All about one dataset on one card: where it is, whose, what protects it, what is asked of it, what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.glob import glob_matches
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.copies import doomed_in, is_block_awaited, num_full_copies
from dynamo_ops.query.dataset import find_dataset
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_ops.query.replica import DATASET_REPLICAS, ReplicaFilter
from dynamo_ops.request.states import OPEN_REQUESTS

SITES = 1_000
"""Sites are not that many."""


@dataclass(frozen=True)
class DatasetCard:
    """``dataset``: as in a list of datasets, with num_copies, attributes (by name: value) and source. ``sites``: its
    dataset replicas (``replica.DATASET_REPLICAS``), and num_doomed_blocks, num_awaited_blocks (of which something is to
    be deleted, or to come), decision (the newest of Detox that was committed: decision, line, policy_line, partition,
    plan_id, at; null: none). ``locks``: in force, of it or of blocks of it. ``requests``: open ones of it.
    ``set_aside``: by source, why nothing of it was merged, and since when (reason, first_at)."""

    dataset: dict[str, Any]
    sites: list[dict[str, Any]]
    locks: list[dict[str, Any]]
    requests: list[dict[str, Any]]
    set_aside: list[dict[str, Any]]


_DATASET = f"""
    SELECT dataset.id, dataset.name, dataset.status, dataset.is_open, dataset.software_release AS release,
           dataset.size_bytes, dataset.num_blocks, dataset.num_files, {num_full_copies("dataset")} AS num_copies,
           dataset.last_update_at, origin.source, dataset.properties
    FROM datasets AS dataset LEFT JOIN dataset_sources AS origin ON origin.dataset_id = dataset.id
    WHERE dataset.id = :dataset"""

_ATTRIBUTES = "SELECT name, value FROM dataset_attributes WHERE dataset_id = :dataset ORDER BY name"

_BLOCKS = "SELECT block.id FROM blocks AS block WHERE block.dataset_id = :dataset"
_DOOMED = f"""
    SELECT doomed.site_id, count(DISTINCT doomed.block_id) AS number FROM {doomed_in(_BLOCKS)} AS doomed
    GROUP BY doomed.site_id"""

_AWAITED = f"""
    WITH held AS MATERIALIZED (SELECT block_id, site_id, is_complete FROM block_replicas WHERE dataset_id = :dataset)
    SELECT replica.site_id, count(*) AS number FROM held AS replica
    WHERE NOT replica.is_complete AND {is_block_awaited("replica.block_id", "replica.site_id")}
    GROUP BY replica.site_id"""
"""Materialized, or all incomplete block replicas would be looked through."""

_DECISIONS = """
    SELECT DISTINCT ON (history.site_id) history.site_id, history.decision, history.line::bigint AS line,
           line.text AS policy_line, plan.partition, plan.id AS plan_id, plan.committed_at AS at
    FROM detox_history AS history JOIN plans AS plan ON plan.id = history.plan_id
    LEFT JOIN policy_lines AS line ON line.policy_version_id = plan.policy_version_id AND line.line = history.line
    WHERE history.dataset_id = :dataset
    ORDER BY history.site_id, plan.committed_at DESC NULLS LAST, plan.id DESC, history.num_blocks DESC"""

_LOCKS = """
    SELECT id, item, sites, groups, reason, created_by, created_at, expires_at FROM locks
    WHERE removed_at IS NULL AND (expires_at IS NULL OR expires_at > now())
      AND (split_part(item, '#', 1) = :name OR split_part(item, '#', 1) ~ '[*?]')
    ORDER BY id"""

_REQUESTS = f"""
    SELECT request.id, request.kind, request.state, array_to_string(request.sites, ' ') AS sites,
           request.num_copies::bigint AS num_copies, owner.name AS "group", request.requested_by, request.created_at,
           count(item.block_id) AS num_blocks
    FROM request_items AS item JOIN requests AS request ON request.id = item.request_id
    LEFT JOIN groups AS owner ON owner.id = request.group_id
    WHERE item.dataset_id = :dataset AND request.state IN {OPEN_REQUESTS}
    GROUP BY request.id, owner.name ORDER BY request.id"""

_SET_ASIDE = """
    SELECT source, reason, first_at, last_at, num_runs FROM set_aside_datasets
    WHERE md5(dataset)::uuid = md5(:name)::uuid AND dataset = :name ORDER BY source"""

_SITE_IDS = "SELECT name, id FROM sites"


def dataset_card(database: Database, name: str) -> DatasetCard:
    """The card of the dataset of that name. Raises InventoryError with near names."""
    with database.begin() as connection:
        key = {"dataset": find_dataset(connection, name)}
        dataset = dict(connection.execute(text(_DATASET), key).mappings().one())
        attributes = {row.name: row.value for row in connection.execute(text(_ATTRIBUTES), key)}
        site_ids = {row.name: row.id for row in connection.execute(text(_SITE_IDS))}
        doomed, awaited = _numbers(connection, _DOOMED, key), _numbers(connection, _AWAITED, key)
        decisions = {row["site_id"]: dict(row) for row in connection.execute(text(_DECISIONS), key).mappings()}
        locks = [
            dict(row)
            for row in connection.execute(text(_LOCKS), {"name": name}).mappings()
            if glob_matches(name, row["item"].partition("#")[0])
        ]
        set_aside = [dict(row) for row in connection.execute(text(_SET_ASIDE), {"name": name}).mappings()]
        requests = [dict(row) for row in connection.execute(text(_REQUESTS), key).mappings()]
    replicas = read_page(database, DATASET_REPLICAS, ReplicaFilter(datasets=[name]), Window(limit=SITES)).records()
    sites = [
        {
            **replica,
            "num_doomed_blocks": doomed.get(site_ids[replica["site"]], 0),
            "num_awaited_blocks": awaited.get(site_ids[replica["site"]], 0),
            "decision": _without_site(decisions.get(site_ids[replica["site"]])),
        }
        for replica in replicas
    ]
    properties = dataset.pop("properties")
    return DatasetCard({**dataset, "attributes": {**properties, **attributes}}, sites, locks, requests, set_aside)


def _numbers(connection: Connection, sql: str, key: Mapping[str, Any]) -> dict[int, int]:
    return {row.site_id: row.number for row in connection.execute(text(sql), dict(key))}


def _without_site(decision: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if decision is None else {name: value for name, value in decision.items() if name != "site_id"}
