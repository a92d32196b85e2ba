"""How much a request asks for, and how much of it is where it is asked for already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.lookup import find_sites

_BLOCKS = """
    SELECT block.id, block.size_bytes, block.num_files
    FROM request_items AS item JOIN blocks AS block
        ON block.dataset_id = item.dataset_id AND (item.block_id IS NULL OR block.id = item.block_id)
    WHERE item.request_id = :request"""
_WHOLE = f"""
    SELECT coalesce(sum(num_files), 0)::bigint, coalesce(sum(size_bytes), 0)::bigint FROM ({_BLOCKS}) AS asked"""
_THERE = f"""
    WITH asked AS ({_BLOCKS})
    SELECT site.name AS site, coalesce(sum(replica.size_bytes), 0)::bigint AS there_bytes
    FROM sites AS site LEFT JOIN (
        block_replicas AS replica JOIN asked ON asked.id = replica.block_id) ON replica.site_id = site.id
    WHERE site.id = ANY(CAST(:sites AS smallint[])) GROUP BY site.name ORDER BY site.name"""


@dataclass(frozen=True)
class Volume:
    """``num_files``, ``size_bytes``: of one copy of all that is asked for. ``at``: the sites that it may come to or go
    from: site, there_bytes (on disk there already)."""

    num_files: int
    size_bytes: int
    at: list[dict[str, Any]]


def request_volume(database: Database, request_id: int) -> Volume:
    """Of a request."""
    with database.begin() as connection:
        globs = connection.execute(
            text("SELECT sites FROM requests WHERE id = :request"), {"request": request_id}
        ).scalar_one()
        site_ids = [site.id for site in find_sites(connection, globs)]
        num_files, size_bytes = connection.execute(text(_WHOLE), {"request": request_id}).one()
        places = connection.execute(text(_THERE), {"request": request_id, "sites": site_ids}).mappings()
        return Volume(num_files, size_bytes, [dict(place) for place in places])
