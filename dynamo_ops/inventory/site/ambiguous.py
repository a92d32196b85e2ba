"""Sites whose chains cannot be shown to be one-to-one: nothing is deleted there (SEMANTICS §1, §10).

What one LFN's deletion takes may be another LFN's file. A fault of these sites only; what is copied there is written as
before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database
from dynamo_ops.database.reading import Snapshot
from dynamo_ops.inventory.site.chains import why_not_one_to_one
from dynamo_ops.inventory.site.mapping import Endpoint, parse_chains

_CHAINED = """
    SELECT site.id::bigint AS site_id, site.name AS site, endpoint.protocol, endpoint.mapping::text AS mapping
    FROM site_endpoints AS endpoint JOIN sites AS site ON site.id = endpoint.site_id
    WHERE coalesce(jsonb_typeof(endpoint.mapping), 'null') <> 'null' AND endpoint.mapping <> '[]'"""

_MAPPINGS = {"site": pl.String, "protocol": pl.String, "because": pl.String}


def ambiguous_sites(connection: Connection) -> dict[int, str]:
    """Why nothing is deleted there, by site id: of each protocol whose chains are in doubt. Any protocol counts, for
    what was copied by one is deleted by another."""
    return _by_site(connection.execute(text(f"{_CHAINED} ORDER BY 2, 3")))


def ambiguous_mapping(connection: Connection, site_id: int) -> str | None:
    """As ``ambiguous_sites``, of one."""
    endpoints = connection.execute(text(f"{_CHAINED} AND site.id = :site ORDER BY 2, 3"), {"site": site_id})
    return _by_site(endpoints).get(site_id)


def ambiguous_mappings(database: Database | Snapshot) -> pl.DataFrame:
    """Endpoints whose chains are in doubt: site, protocol, because."""
    doubtful = [
        (site, protocol, reason)
        for _, site, protocol, reason in _judged(database.frame(f"{_CHAINED} ORDER BY 2, 3").iter_rows())
    ]
    return pl.DataFrame(doubtful, schema=_MAPPINGS, orient="row")


def _by_site(endpoints: Iterable[Any]) -> dict[int, str]:
    reasons: dict[int, list[str]] = {}
    for site_id, site, protocol, reason in _judged(endpoints):
        reasons.setdefault(site_id, []).append(
            f"the {protocol} mapping of {site} cannot be shown to be one-to-one, and a file may be another's as well "
            f"({reason})"
        )
    return {site_id: "; ".join(said) for site_id, said in reasons.items()}


def _judged(endpoints: Iterable[Any]) -> Iterator[tuple[int, str, str, str]]:
    for site_id, site, protocol, mapping in endpoints:
        reason = _why_not(site, protocol, mapping)
        if reason:
            yield int(site_id), site, protocol, reason


def _why_not(site: str, protocol: str, mapping: str) -> str | None:
    """Of any absolute LFN: whatever area is managed."""
    try:
        chains = parse_chains(json.loads(mapping))
    except (TypeError, ValueError):
        return "it is no list of chains of (regex, replacement)"
    return why_not_one_to_one(Endpoint(site, protocol, "", chains, managed_prefix="/"))
