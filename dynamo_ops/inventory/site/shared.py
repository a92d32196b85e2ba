"""Sites that are one storage under two names: equal or nested prefixes on one host (SEMANTICS §10).

What one of them deletes the other loses, and what the other holds looks like an orphan of the first. Until somebody
declares that they share it on purpose, nothing is deleted at either. A fault of these sites only.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.lookup import find_site
from dynamo_ops.inventory.site.place import PLACES

_PAIRS = f"""
    WITH places AS MATERIALIZED ({PLACES})
    SELECT one.site_id, other.site_id AS other_id,
           bool_and(one.area = other.area AND one.is_clear AND other.is_clear) AS is_equal
    FROM places AS one JOIN places AS other ON other.site_id <> one.site_id AND (
        other.protocol = one.protocol AND (one.place = other.place OR starts_with(one.place, other.place || '/')
            OR starts_with(other.place, one.place || '/'))
        OR other.protocol <> one.protocol AND (one.area = other.area OR starts_with(one.area, other.area || '/')
            OR starts_with(other.area, one.area || '/')))
    GROUP BY one.site_id, other.site_id"""

DECLARED = """(SELECT site_id, other_id FROM shared_storages
    UNION ALL SELECT other_id, site_id FROM shared_storages)"""
"""(site_id, other_id): sites that share their storage on purpose, both ways."""

STORAGE_PAIRS = f"""(
    SELECT site_id, other_id, coalesce(pairs.is_equal, true) AND declared.site_id IS NOT NULL AS is_declared
    FROM ({_PAIRS}) AS pairs FULL JOIN {DECLARED} AS declared USING (site_id, other_id))"""
"""(site_id, other_id, is_declared): two names of one storage, both ways. ``is_declared``: somebody said that they share
it on purpose, which nested ones cannot: one file has two names there."""

SHARED_STORAGE = f"(SELECT site_id FROM {STORAGE_PAIRS} AS pairs WHERE NOT is_declared)"
"""Ids of sites of which another site has an equal or nested place, and nobody declared that they share it."""

SAME_STORAGE = f"(SELECT site_id, other_id FROM {STORAGE_PAIRS} AS pairs)"
"""(site_id, other_id): two names of one storage, both ways; declared or not."""


def others_on_storage(connection: Connection, site_id: int) -> list[str]:
    """Names of the sites that share the storage of this one, and nobody declared it."""
    return list(
        connection.execute(
            text(f"""
            SELECT DISTINCT site.name FROM {STORAGE_PAIRS} AS pairs JOIN sites AS site ON site.id = pairs.other_id
            WHERE pairs.site_id = :site AND NOT pairs.is_declared ORDER BY 1"""),
            {"site": site_id},
        ).scalars()
    )


SHARED = f"""
    SELECT one.name AS site, other.name AS other, coalesce(pairs.is_equal, false) AS is_equal,
           pairs.site_id IS NOT NULL AS is_found, declared.created_by, declared.created_at, declared.reason
    FROM (SELECT * FROM ({_PAIRS}) AS found WHERE site_id < other_id) AS pairs
    FULL JOIN shared_storages AS declared USING (site_id, other_id)
    JOIN sites AS one ON one.id = coalesce(pairs.site_id, declared.site_id)
    JOIN sites AS other ON other.id = coalesce(pairs.other_id, declared.other_id) ORDER BY 1, 2"""


def shared_storages(database: Database) -> pl.DataFrame:
    """Pairs of sites on one storage, found by their endpoints or declared: site, other, is_equal (the places are equal,
    not nested), is_found (by the endpoints of now), created_by, created_at, reason (null: not declared)."""
    return database.frame(SHARED)


def declare(database: Database, site: str, other: str, *, by: Person, reason: str) -> None:
    """Two sites share their storage on purpose: what either has is no orphan of the other, and goes at neither while
    the other has it. InventoryError when a site is unknown, it is one site, or their places lie in each other."""
    if not reason.strip():
        raise InventoryError(f"{site} and {other}: say why they share a storage (reason is empty)", site=site)
    with acting(database, by, Action.OPERATE_SITE, f"{site} and {other} share a storage", reason.strip()) as act:
        act.check(Target(sites=(site, other)))
        connection = act.connection
        pair = _pair(connection, site, other)
        is_equal = connection.execute(
            text(f"SELECT is_equal FROM ({_PAIRS}) AS pairs WHERE site_id = :site_id AND other_id = :other_id"), pair
        ).scalar_one_or_none()
        if is_equal is False:
            raise InventoryError(
                f"the prefixes of {site} and {other} lie in each other, or cannot be told apart (.., %, ?): a file may "
                "have two names there, and nothing can be deleted safely. Give them prefixes that are equal, or apart",
                site=site,
                other=other,
            )
        connection.execute(
            text("""
            INSERT INTO shared_storages (site_id, other_id, reason, created_by)
            VALUES (:site_id, :other_id, :reason, :by) ON CONFLICT DO NOTHING"""),
            {**pair, "reason": reason.strip(), "by": by.name},
        )


def withdraw(database: Database, site: str, other: str, *, by: Person) -> bool:
    """They do not share it on purpose any more; whether that was declared."""
    with acting(database, by, Action.OPERATE_SITE, f"{site} and {other} share no storage") as act:
        act.check(Target(sites=(site, other)))
        connection = act.connection
        deleted = connection.execute(
            text("DELETE FROM shared_storages WHERE site_id = :site_id AND other_id = :other_id"),
            _pair(connection, site, other),
        )
        return deleted.rowcount > 0


@dataclass(frozen=True)
class Common:
    """What two sites have in common. ``is_declared``: that they share their storage; ``is_found``: so do their
    endpoints say. ``num_blocks``, ``size_bytes``: of blocks that both have something of; bytes at either, added."""

    is_declared: bool
    is_found: bool
    num_blocks: int
    size_bytes: int


def common(database: Database, site: str, other: str) -> Common:
    """What a deletion at one of two sites would take from the other if they are one storage."""
    with database.begin() as connection:
        pair = _pair(connection, site, other)
        row = connection.execute(
            text(f"""
            SELECT EXISTS (SELECT FROM shared_storages WHERE site_id = :site_id AND other_id = :other_id),
                   EXISTS (SELECT FROM ({_PAIRS}) AS pairs WHERE site_id = :site_id AND other_id = :other_id),
                   count(*), coalesce(sum(one.size_bytes + other.size_bytes), 0)
            FROM block_replicas AS one JOIN block_replicas AS other USING (block_id)
            WHERE one.site_id = :site_id AND other.site_id = :other_id"""),
            pair,
        ).one()
    is_declared, is_found, num_blocks, size_bytes = row
    return Common(is_declared, is_found, int(num_blocks), int(size_bytes))


def _pair(connection: Connection, site: str, other: str) -> dict[str, int]:
    ids = sorted(find_site(connection, name).id for name in (site, other))
    if ids[0] == ids[1]:
        raise InventoryError(f"{site} is one site: name the other that has the same storage", site=site)
    return {"site_id": ids[0], "other_id": ids[1]}
