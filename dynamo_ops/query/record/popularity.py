"""How datasets are used: accesses by day and site, jobs that asked for them, and what was computed of both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.query.dataset import check_named, dataset_condition

MOST_DATASETS = 1_000
"""That names and globs may mean: their days are added up."""

_DATASETS = """
    SELECT dataset.id FROM datasets AS dataset WHERE {condition} ORDER BY dataset.id LIMIT :most"""
_ACCESSES = """
    SELECT access.day, site.name AS site, sum(access.num_accesses)::bigint AS num_accesses
    FROM accesses_daily AS access JOIN sites AS site ON site.id = access.site_id
    WHERE access.dataset_id = ANY(:ids) AND access.day >= :since GROUP BY access.day, site.name ORDER BY 1, 2"""
_DEMAND = """
    SELECT day, sum(num_jobs)::bigint AS num_jobs FROM demand_daily
    WHERE dataset_id = ANY(:ids) AND day >= :since GROUP BY day ORDER BY day"""
_ATTRIBUTES = """
    SELECT dataset.name AS dataset, attribute.name AS attribute, attribute.value
    FROM dataset_attributes AS attribute JOIN datasets AS dataset ON dataset.id = attribute.dataset_id
    WHERE attribute.dataset_id = ANY(:ids) ORDER BY 1, 2"""


def popularity(database: Database, datasets: Sequence[str], since: date) -> dict[str, Any]:
    """As a document, for all that ``datasets`` (names or globs) mean together: num_datasets; accesses (day, site,
    num_accesses) and demand (day, num_jobs) from ``since`` on, by day; attributes (dataset, attribute, value: ranks,
    weights; times are unix seconds). Raises InventoryError for an unknown name, and for more than ``MOST_DATASETS``."""
    if not datasets:
        raise InventoryError("say which datasets: names or globs", parameter="dataset")
    condition, params = dataset_condition(datasets, 'dataset.name COLLATE "C"')
    with database.begin() as connection:
        check_named(connection, datasets)
        asked = text(_DATASETS.format(condition=condition))
        ids = list(connection.execute(asked, {**params, "most": MOST_DATASETS + 1}).scalars())
        if len(ids) > MOST_DATASETS:
            raise InventoryError(
                f"these are more than {MOST_DATASETS:,} datasets: ask for fewer", dataset=" ".join(datasets)
            )
        key = {"ids": ids, "since": since}
        parts = {
            name: [dict(row) for row in connection.execute(text(sql), key).mappings()]
            for name, sql in (("accesses", _ACCESSES), ("demand", _DEMAND), ("attributes", _ATTRIBUTES))
        }
    return {"num_datasets": len(ids), **parts}
