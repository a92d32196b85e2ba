"""Sites that are one storage under two names: equal or nested prefixes on one host (SEMANTICS §10).

What one of them deletes the other loses, and what the other holds looks like an orphan of the first. Until somebody
tells them apart nothing is deleted at either. A fault of these sites only.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

_PLACES = """
    SELECT site_id, protocol, regexp_replace(regexp_replace(prefix, '([^:])/{2,}', '\\1/', 'g'), '/+$', '') AS place
    FROM site_endpoints"""

_PAIRS = f"""
    WITH places AS MATERIALIZED ({_PLACES})
    SELECT one.site_id, other.site_id AS other_id FROM places AS one JOIN places AS other
        ON other.protocol = one.protocol AND other.site_id <> one.site_id
            AND (one.place = other.place OR starts_with(one.place, other.place || '/')
                 OR starts_with(other.place, one.place || '/'))"""

SHARED_STORAGE = f"(SELECT site_id FROM ({_PAIRS}) AS pairs)"
"""Ids of sites of which another site has an equal or nested prefix by the same protocol."""


def others_on_storage(connection: Connection, site_id: int) -> list[str]:
    """Names of the sites that share the storage of this one."""
    return list(
        connection.execute(
            text(f"""
            SELECT DISTINCT site.name FROM ({_PAIRS}) AS pairs JOIN sites AS site ON site.id = pairs.other_id
            WHERE pairs.site_id = :site ORDER BY 1"""),
            {"site": site_id},
        ).scalars()
    )
