"""Copy requests: asked for, activated by a Dealer cycle, completed when the data are there (SEMANTICS §4)."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

import polars as pl
from sqlalchemy import text

from dynamo_ops.errors import InventoryError
from dynamo_ops.inventory.database import Database

OPEN = "('new', 'activated')"


def request_copy(
    database: Database,
    dataset: str,
    sites: list[str],
    *,
    num_copies: int,
    group: str,
    by: str,
    served: Collection[str] | None = None,
) -> int:
    """Ask for ``num_copies`` of ``dataset`` over ``sites`` (names or globs; 0 copies: one at each). Returns the
    request's id.

    ``served``: the groups that some Dealer places for (None: not checked). The same open request is not made twice: its
    id is returned. Raises InventoryError naming what is unknown.
    """
    if served is not None and group not in served:
        raise InventoryError(
            f"no dealer configuration places for group {group!r}; served are {', '.join(sorted(served)) or 'none'}",
            group=group,
        )
    if num_copies < 0:
        raise InventoryError(f"copy request for {dataset}: num_copies={num_copies} is negative", num_copies=num_copies)
    with database.begin() as connection:
        dataset_id = connection.execute(text("SELECT id FROM datasets WHERE name = :n"), {"n": dataset}).scalar()
        if dataset_id is None:
            raise InventoryError(f"unknown dataset {dataset!r}", dataset=dataset)
        group_id = connection.execute(text("SELECT id FROM groups WHERE name = :n"), {"n": group}).scalar()
        known = list(connection.execute(text("SELECT name FROM groups ORDER BY name")).scalars())
        if group_id is None:
            raise InventoryError(f"unknown group {group!r}; groups are {', '.join(known) or 'none yet'}", group=group)
        names = list(connection.execute(text("SELECT name FROM sites")).scalars())
        nothing = [pattern for pattern in sites if not any(fnmatchcase(name, pattern) for name in names)]
        if nothing or not sites:
            raise InventoryError(f"no site matches {', '.join(map(repr, nothing)) or 'an empty list'}", sites=nothing)
        matching = [name for name in names if any(fnmatchcase(name, pattern) for pattern in sites)]
        if num_copies > len(matching):
            raise InventoryError(
                f"{num_copies} copies of {dataset} were asked for, but only {len(matching)} sites match: "
                f"{', '.join(sorted(matching))}",
                num_copies=num_copies,
            )
        values = {"dataset": dataset_id, "sites": sorted(set(sites)), "copies": num_copies, "group": group_id, "by": by}
        same = connection.execute(
            text(f"""
            SELECT id FROM copy_requests WHERE dataset_id = :dataset AND sites = CAST(:sites AS text[])
            AND num_copies = :copies AND group_id = :group AND state IN {OPEN} FOR UPDATE"""),
            values,
        ).scalar()
        return int(
            same
            or connection.execute(
                text("""
            INSERT INTO copy_requests (dataset_id, sites, num_copies, group_id, requested_by)
            VALUES (:dataset, CAST(:sites AS text[]), :copies, :group, :by) RETURNING id"""),
                values,
            ).scalar_one()
        )


def open_requests(database: Database, group: str) -> pl.DataFrame:
    """What the Dealer plugin takes: request_id, dataset, sites (list of globs), num_copies, group; oldest first.

    Only requests for ``group``: a request is answered by the one Dealer whose configuration places for that group.
    """
    return database.frame(
        f"""
        SELECT r.id AS request_id, d.name AS dataset, r.sites, r.num_copies::bigint AS num_copies, g.name AS "group"
        FROM copy_requests r JOIN datasets d ON d.id = r.dataset_id JOIN groups g ON g.id = r.group_id
        WHERE r.state IN {OPEN} AND g.name = $1 ORDER BY r.created_at, r.id""",
        (group,),
    )


def list_requests(database: Database, limit: int = 100) -> pl.DataFrame:
    """The newest requests with their states, for people."""
    return database.frame(
        """
        SELECT r.id, d.name AS dataset, array_to_string(r.sites, ' ') AS sites, r.num_copies, g.name AS "group",
        r.state,
               r.requested_by, r.created_at, r.closed_at
        FROM copy_requests r JOIN datasets d ON d.id = r.dataset_id JOIN groups g ON g.id = r.group_id
        ORDER BY r.id DESC LIMIT $1""",
        (limit,),
    )


def activate(database: Database, request_ids: list[int]) -> int:
    """A Dealer cycle has made copies for these requests."""
    with database.begin() as connection:
        return connection.execute(
            text("""
            UPDATE copy_requests SET state = 'activated', updated_at = now()
            WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'new'"""),
            {"ids": request_ids},
        ).rowcount


def close_completed(database: Database) -> int:
    """Requests whose data are there become ``completed``: a full replica of their group at enough (0 copies: at each)
    of their sites. One for a dataset that has no block yet stays open."""
    with database.begin() as connection:
        names = connection.execute(text("SELECT id, name FROM sites")).all()
        asked = connection.execute(text(f"SELECT id, sites FROM copy_requests WHERE state IN {OPEN} FOR UPDATE")).all()
        pairs = [
            (request, site)
            for request, patterns in asked
            for site, name in names
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        ]
        return connection.execute(
            text("""
            WITH here AS (
                SELECT r.id, count(*) AS num_sites, count(*) FILTER (WHERE NOT EXISTS (
                    SELECT FROM blocks b LEFT JOIN block_replicas c ON c.block_id = b.id AND c.site_id = w.site_id
                    WHERE b.dataset_id = r.dataset_id
                      AND (c.is_complete IS NOT TRUE OR c.group_id IS DISTINCT FROM r.group_id))) AS num_full
                FROM unnest(CAST(:requests AS bigint[]), CAST(:sites AS smallint[])) AS w (request_id, site_id)
                JOIN copy_requests r ON r.id = w.request_id
                WHERE EXISTS (SELECT FROM blocks b WHERE b.dataset_id = r.dataset_id) GROUP BY r.id)
            UPDATE copy_requests r SET state = 'completed', updated_at = now(), closed_at = now() FROM here h
            WHERE h.id = r.id AND h.num_full >= CASE WHEN r.num_copies = 0 THEN h.num_sites ELSE r.num_copies END
            """),
            {"requests": [request for request, _ in pairs], "sites": [site for _, site in pairs]},
        ).rowcount
