"""Groups: which one somebody means, what it owns where, and of how much it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.glob import glob_matches, is_glob
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory import names
from dynamo_ops.inventory.replica.usage import FIGURES, USAGE
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.query.paging.condition import Conditions, name_condition
from dynamo_ops.query.paging.listing import Listing
from dynamo_ops.request.unique_quota import group_usage

LARGEST = 10
"""Datasets on the card of a group."""


@dataclass(frozen=True)
class OwnedFilter:
    """What which group (a name) owns. ``sites``, ``datasets``: names or globs; none: all."""

    group: str
    sites: Sequence[str] = ()
    datasets: Sequence[str] = ()


@dataclass(frozen=True)
class GroupCard:
    """``group``: group, ownership_level, quota_bytes (negative: unlimited), unique_bytes, free_bytes (null: unlimited).
    ``sites``: by name, site, num_datasets, and the figures of ``usage.FIGURES``. ``largest``: the datasets of which it
    has most on disk: dataset, num_sites, size_bytes."""

    group: dict[str, Any]
    sites: list[dict[str, Any]]
    largest: list[dict[str, Any]]


_SUMS = ", ".join(f"sum(usage.{name})::bigint AS {name}" for name in FIGURES)
_KEPT = f"""(SELECT group_id, dataset_id, site_id, {_SUMS} FROM {USAGE} AS usage
    GROUP BY group_id, dataset_id, site_id HAVING sum(num_blocks) <> 0)"""
"""A row a key: what is noted and not folded yet is added up."""

_OWNED = f"""
    SELECT usage.group_id, usage.dataset_id, usage.site_id, dataset.name COLLATE "C" AS dataset,
           site.name COLLATE "C" AS site, dataset.status, usage.num_blocks, usage.num_complete,
           dataset.num_blocks AS num_blocks_of_dataset, usage.size_bytes, usage.projected_bytes
    FROM {_KEPT} AS usage
    JOIN datasets AS dataset ON dataset.id = usage.dataset_id JOIN sites AS site ON site.id = usage.site_id"""

# Both are of the same rows, of which a group can have a hundred thousand: they are read once.
_HELD = f"""
    WITH kept AS MATERIALIZED (
        SELECT usage.dataset_id, usage.site_id, {", ".join(f"usage.{name}" for name in FIGURES)} FROM {_KEPT} AS usage
        WHERE usage.group_id = CAST(:group AS smallint))
    SELECT (SELECT coalesce(json_agg(line), '[]') FROM (
                SELECT site.name AS site, held.num_datasets, {", ".join(f"held.{name}" for name in FIGURES)} FROM (
                    SELECT usage.site_id, count(*) AS num_datasets, {_SUMS} FROM kept AS usage
                    GROUP BY usage.site_id) AS held
                JOIN sites AS site ON site.id = held.site_id ORDER BY site.name) AS line) AS sites,
           (SELECT coalesce(json_agg(line), '[]') FROM (
                SELECT dataset.name AS dataset, most.num_sites, most.size_bytes
                FROM (SELECT usage.dataset_id, count(*) AS num_sites, sum(usage.size_bytes)::bigint AS size_bytes
                      FROM kept AS usage GROUP BY usage.dataset_id
                      ORDER BY size_bytes DESC, usage.dataset_id LIMIT {LARGEST}) AS most
                JOIN datasets AS dataset ON dataset.id = most.dataset_id
                ORDER BY size_bytes DESC, dataset) AS line) AS largest"""


def find_groups(connection: Connection, patterns: Sequence[str]) -> dict[int, str]:
    """The groups that a name or glob of ``patterns`` means: names by id, in the order of names. Raises InventoryError
    with near names for a pattern that means none."""
    groups = connection.execute(text("SELECT id, name FROM groups ORDER BY name"))
    names = {int(group.id): str(group.name) for group in groups}
    for pattern in patterns:
        if not any(glob_matches(name, pattern) for name in names.values()):
            what = "no group matches" if is_glob(pattern) else "there is no group"
            raise UnknownNameError(
                f"{what} {pattern!r}; groups are {', '.join(names.values()) or 'none yet'}."
                f"{near(pattern, names.values())}",
                group=pattern,
            )
    return {group: name for group, name in names.items() if any(glob_matches(name, pattern) for pattern in patterns)}


def find_group(connection: Connection, name: str) -> int:
    """The id of the group of that very name. Raises InventoryError with near names."""
    try:
        return names.find_group(connection, name)
    except InventoryError:
        if is_glob(name):
            raise InventoryError(f"group {name!r}: expected a name, not a glob", group=name) from None
        raise


def group_card(database: Database, name: str) -> GroupCard:
    """The card of the group of that name. Raises InventoryError with near names."""
    with database.begin() as connection:
        key = {"group": find_group(connection, name)}
        level = connection.execute(text("SELECT ownership_level FROM groups WHERE id = :group"), key).scalar_one()
        held = connection.execute(text(_HELD), key).one()
    quota = group_usage(database, name).row(0, named=True)
    return GroupCard({**quota, "ownership_level": level}, held.sites, held.largest)


def _narrow(connection: Connection, asked: OwnedFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    conditions.add("listed.group_id = CAST(:group AS smallint)", group=find_group(connection, asked.group))
    if asked.sites:
        site_ids = [site.id for site in find_sites(connection, asked.sites)]
        conditions.add("listed.site_id = ANY(CAST(:site_ids AS smallint[]))", site_ids=site_ids)
    if asked.datasets:
        condition, params = name_condition("listed.dataset", asked.datasets, "dataset")
        conditions.add(condition, **params)
    return conditions


OWNED: Listing[OwnedFilter] = Listing(
    "datasets of a group",
    _OWNED,
    (
        "dataset",
        "site",
        "status",
        "num_blocks",
        "num_complete",
        "num_blocks_of_dataset",
        "size_bytes",
        "projected_bytes",
    ),
    key=("dataset", "site"),
    narrow=_narrow,
)
"""By dataset and site. ``num_blocks``: block replicas of the group. Bytes on disk, and once all has come."""
