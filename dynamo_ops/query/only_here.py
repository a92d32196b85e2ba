"""What only one site has: block replicas with files of which no other site has a good copy (SEMANTICS §10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.copies import is_last_copy, is_present, is_whole_elsewhere
from dynamo_ops.inventory.site.lookup import find_site
from dynamo_ops.inventory.states import ACTIVE, SubscriptionAction
from dynamo_ops.query.dataset import check_named, dataset_condition
from dynamo_ops.query.paging.condition import Conditions
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class OnlyHereFilter:
    """At which site (a name), and of which datasets (names or globs; none: all)."""

    site: str
    datasets: Sequence[str] = ()


# Whole blocks first: where another site has the block, its files are not looked at. OFFSET 0: a dataset for each
# replica; the planner, which takes the test for dear, went through all replicas of the site for each dataset.
_ONLY_HERE = f"""
    SELECT replica.site_id, replica.dataset_id, replica.block_id, dataset.name AS dataset, dataset.status,
           block.name AS block,
           owner.name AS "group", replica.is_complete, last.num_files, block.num_files AS num_files_of_block,
           last.size_bytes
    FROM block_replicas AS replica CROSS JOIN LATERAL (
        SELECT known.name COLLATE "C" AS name, known.status FROM datasets AS known
        WHERE known.id = replica.dataset_id OFFSET 0) AS dataset
    JOIN blocks AS block ON block.id = replica.block_id LEFT JOIN groups AS owner ON owner.id = replica.group_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS num_files, coalesce(sum(held.size_bytes), 0)::bigint AS size_bytes
        FROM files AS held
        WHERE held.block_id = replica.block_id AND {is_present("held.id", "replica")}
          AND {is_last_copy("held.id", "replica.site_id")}) AS last
    WHERE NOT {is_whole_elsewhere("replica")} AND last.num_files > 0"""


_TOTALS = f"""
    SELECT count(*) AS num_blocks, coalesce(sum(single.num_files), 0)::bigint AS num_files,
           coalesce(sum(single.size_bytes), 0)::bigint AS size_bytes,
           count(*) FILTER (WHERE single.is_coming) AS num_blocks_coming
    FROM (SELECT listed.num_files, listed.size_bytes, EXISTS (
              SELECT FROM files AS wanted JOIN subscriptions AS copy ON copy.file_id = wanted.id
              WHERE wanted.block_id = listed.block_id AND copy.action = '{SubscriptionAction.COPY}'
                AND copy.state IN {ACTIVE} AND copy.site_id <> listed.site_id) AS is_coming
          FROM ({_ONLY_HERE}) AS listed WHERE listed.site_id = CAST(:site AS smallint)) AS single"""


@dataclass(frozen=True)
class OnlyHere:
    """``num_blocks`` with files of which no other site has a good copy, and how many files and bytes those are;
    ``num_blocks_coming``: of these blocks, those of which files are to be copied to another site."""

    num_blocks: int
    num_files: int
    size_bytes: int
    num_blocks_coming: int


def only_here_in_all(database: Database, site: str) -> OnlyHere:
    """What only ``site`` (a name) has. All its block replicas are looked at: seconds, where it has many. Raises
    UnknownNameError."""
    with database.begin() as connection:
        connection.execute(text("SELECT set_config('work_mem', :size, true)"), {"size": ONLY_HERE.work_mem})
        return OnlyHere(*connection.execute(text(_TOTALS), {"site": find_site(connection, site).id}).one())


def _narrow(connection: Connection, asked: OnlyHereFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    conditions.add("listed.site_id = CAST(:site AS smallint)", site=find_site(connection, asked.site).id)
    if asked.datasets:
        condition, params = dataset_condition(asked.datasets, "listed.dataset")
        conditions.add(condition, **params)
    return conditions


ONLY_HERE: Listing[OnlyHereFilter] = Listing(
    "last copies",
    _ONLY_HERE,
    ("dataset", "status", "block", "group", "is_complete", "num_files", "num_files_of_block", "size_bytes"),
    key=("dataset_id", "block_id"),
    narrow=_narrow,
    explain_nothing=lambda connection, asked: check_named(connection, asked.datasets),
    work_mem="256MB",
)
"""By the ids of dataset and block, as a site's replicas are indexed. ``num_files`` and ``size_bytes``: of the files
that nobody else has, doomed here or not."""
