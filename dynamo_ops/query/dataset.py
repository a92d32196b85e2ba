"""Datasets by name, status, release, site, group and size, in the order of their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.base.glob import is_glob
from dynamo_ops.base.text import near
from dynamo_ops.inventory.kinds import DatasetStatus
from dynamo_ops.inventory.names import datasets_like
from dynamo_ops.inventory.replica.copies import num_full_copies
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.query.group import find_groups
from dynamo_ops.query.paging.condition import Conditions, check_words, moment_asked, name_condition
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class DatasetFilter:
    """Which datasets. Of each field any of its values will do, and all fields must hold; an empty one asks nothing.

    ``names``, ``releases``, ``sites``, ``groups``: names or globs. ``sites`` and ``groups`` together: one of the groups
    owns something at one of the sites. ``min_size_bytes``: more than so many. ``updated_since``: a date, a time, or
    how long ago (``3d``).
    """

    names: Sequence[str] = ()
    statuses: Sequence[str] = ()
    releases: Sequence[str] = ()
    sites: Sequence[str] = ()
    groups: Sequence[str] = ()
    is_open: bool | None = None
    min_size_bytes: int | None = None
    updated_since: str | None = None


_COLUMNS = (
    "id",
    "name",
    "status",
    "is_open",
    "release",
    "size_bytes",
    "num_blocks",
    "num_files",
    "num_sites",
    "num_copies",
    "last_update_at",
)
_DATASETS = f"""
    SELECT dataset.id, dataset.name COLLATE "C" AS name, dataset.status, dataset.is_open,
           dataset.software_release COLLATE "C" AS release, dataset.size_bytes, dataset.num_blocks, dataset.num_files,
           (SELECT count(*) FROM dataset_replicas AS replica WHERE replica.dataset_id = dataset.id) AS num_sites,
           {num_full_copies("dataset")} AS num_copies, dataset.last_update_at
    FROM datasets AS dataset"""


def find_dataset(connection: Connection, name: str) -> int:
    """The id of the dataset of that very name. Raises InventoryError with near names."""
    dataset_id = connection.execute(
        text('SELECT id FROM datasets AS dataset WHERE dataset.name COLLATE "C" = :name'), {"name": name}
    ).scalar()
    if dataset_id is None:
        raise _unknown(connection, name)
    return int(dataset_id)


def dataset_name(connection: Connection, dataset_id: int) -> str:
    """The name of the dataset of that id. Raises UnknownNameError."""
    name = connection.execute(text("SELECT name FROM datasets WHERE id = :id"), {"id": dataset_id}).scalar()
    if name is None:
        raise UnknownNameError(f"there is no dataset {dataset_id}", dataset_id=dataset_id)
    return str(name)


def dataset_condition(names: Sequence[str], column: str = "listed.name") -> tuple[str, dict[str, Any]]:
    """The condition that ``column``, a name of a dataset in collation "C", is one of ``names`` (or globs)."""
    return name_condition(column, names, "dataset")


def check_named(connection: Connection, names: Sequence[str]) -> None:
    """Raises InventoryError, with near names, for the first of ``names`` (or globs) that means no dataset."""
    for name in names:
        condition, params = dataset_condition([name], 'dataset.name COLLATE "C"')
        is_known = f"SELECT EXISTS (SELECT FROM datasets AS dataset WHERE {condition})"
        if not connection.execute(text(is_known), params).scalar():
            raise _unknown(connection, name)


def _narrow(connection: Connection, asked: DatasetFilter, as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.statuses, DatasetStatus, "status of a dataset")
    if asked.names:
        condition, params = dataset_condition(asked.names)
        conditions.add(condition, **params)
    if asked.statuses:
        conditions.add("listed.status = ANY(:statuses)", statuses=list(asked.statuses))
    if asked.releases:
        condition, params = name_condition("listed.release", asked.releases, "release")
        conditions.add(condition, **params)
    if asked.is_open is not None:
        conditions.add("listed.is_open = :is_open", is_open=asked.is_open)
    if asked.min_size_bytes is not None:
        conditions.add("listed.size_bytes > :min_size", min_size=asked.min_size_bytes)
    if asked.updated_since is not None:
        since = moment_asked(asked.updated_since, as_of, "updated_since")
        conditions.add("listed.last_update_at >= :since", since=since)
    _narrow_to_place(connection, asked, conditions)
    return conditions


def _narrow_to_place(connection: Connection, asked: DatasetFilter, conditions: Conditions) -> None:
    site_ids = [site.id for site in find_sites(connection, asked.sites)] if asked.sites else None
    if asked.groups:
        conditions.add(
            """EXISTS (SELECT FROM block_replicas AS replica
               WHERE replica.dataset_id = listed.id AND replica.group_id = ANY(:group_ids)
                 AND (CAST(:site_ids AS smallint[]) IS NULL
                      OR replica.site_id = ANY(CAST(:site_ids AS smallint[]))))""",
            group_ids=list(find_groups(connection, asked.groups)),
            site_ids=site_ids,
        )
    elif site_ids is not None:
        conditions.add(
            """EXISTS (SELECT FROM dataset_replicas AS replica
               WHERE replica.dataset_id = listed.id AND replica.site_id = ANY(CAST(:site_ids AS smallint[])))""",
            site_ids=site_ids,
        )


def _unknown(connection: Connection, name: str) -> UnknownNameError:
    hint = near(name, datasets_like(connection, name))
    what = f"no dataset matches {name!r}" if is_glob(name) else f"there is no dataset {name!r}"
    return UnknownNameError(f"{what}.{hint}" if hint else what, dataset=name)


DATASETS: Listing[DatasetFilter] = Listing(
    "datasets",
    _DATASETS,
    _COLUMNS,
    key=("name",),
    narrow=_narrow,
    explain_nothing=lambda connection, asked: check_named(connection, asked.names),
    on_request=frozenset({"num_copies"}),
)
"""``release``: the software's, or null. ``num_sites``: that have some of it, or shall have. ``num_copies``: sites that
have all of it, nothing doomed or doubtful. Sizes in bytes, each file once."""
