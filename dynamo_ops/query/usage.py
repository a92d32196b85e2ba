"""How much there is, by what is asked for: site, group, status, tier, release; now, or day by day. Read from the sums
that are kept (``inventory.replica.usage``)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.usage import FIGURES, NOBODY, PLACES, USAGE, tier
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.query.group import find_groups

IDLE = {"up to 30 days": 30, "31 to 90 days": 90, "91 to 180 days": 180, "181 to 365 days": 365}
"""Since when nobody read a dataset, in days at most."""
LONG_IDLE, NEVER_READ = "more than a year", "never read"
_IDLE_S = "extract(epoch FROM now()) - read.value"
NOW = {
    "site": "site.name",
    "group": "coalesce(owner.name, 'none')",
    "status": "dataset.status",
    "tier": tier("dataset"),
    "release": "coalesce(dataset.software_release, 'none')",
    "idle": f"""CASE WHEN read.value IS NULL THEN '{NEVER_READ}'
        {" ".join(f"WHEN {_IDLE_S} <= {days * 86_400} THEN '{label}'" for label, days in IDLE.items())}
        ELSE '{LONG_IDLE}' END""",
}
"""What usage can be summed by, and how it is called there. ``none``: what nobody owns; what no release is known of.
``idle``: since when nobody read the dataset, as popularity knows."""
BY_DAY = {"site": NOW["site"], "group": NOW["group"], "status": "usage.status", "tier": "usage.tier"}
_OF_DATASET = {"status", "tier", "release", "idle"}
_LAST_READ = """ LEFT JOIN dataset_attributes AS read
    ON read.dataset_id = dataset.id AND read.name = 'last_access'"""
_SUMS = ", ".join(f"sum(usage.{name})::bigint AS {name}" for name in FIGURES)


def usage_now(
    database: Database, by: Sequence[str] = ("site",), *, sites: Sequence[str] = (), groups: Sequence[str] = ()
) -> pl.DataFrame:
    """A row for each combination of ``by`` (names of ``NOW``) of which there is something: these, num_blocks (block
    replicas), num_complete, size_bytes (on disk), projected_bytes (once all has come). ``sites``, ``groups``: names or
    globs, to which it is narrowed. InventoryError for what cannot be summed by, and for unknown names."""
    by = _checked(by, list(NOW))
    of_dataset = f"{USAGE} AS usage JOIN datasets AS dataset ON dataset.id = usage.dataset_id"
    source = of_dataset if _OF_DATASET & {*by} else f"{PLACES} AS usage"
    source += _LAST_READ if "idle" in by else ""
    with database.begin() as connection:
        where, params = _narrowed(connection, sites, groups)
        return _frame(connection, by, _grouped([NOW[name] for name in by], source, where), params)


def usage_by_day(
    database: Database,
    since: date,
    by: Sequence[str] = ("site",),
    *,
    sites: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> pl.DataFrame:
    """As ``usage_now``, with a ``day`` first, for each day from ``since`` on that housekeeping recorded. There are no
    release and no idle: they would multiply the rows of each day."""
    by = _checked(by, list(BY_DAY))
    with database.begin() as connection:
        where, params = _narrowed(connection, sites, groups)
        sql = _grouped(
            ["usage.day::text", *(BY_DAY[name] for name in by)],
            "usage_daily AS usage",
            f"{where} AND usage.day >= :since",
        )
        return _frame(connection, ["day", *by], sql, {**params, "since": since})


def _grouped(dimensions: Sequence[str], source: str, where: str) -> str:
    columns = ", ".join(dimensions)
    numbers = ", ".join(str(number + 1) for number in range(len(dimensions)))
    return f"""
        SELECT {columns}, {_SUMS} FROM {source} JOIN sites AS site ON site.id = usage.site_id
        LEFT JOIN groups AS owner ON owner.id = usage.group_id
        WHERE {where} GROUP BY {numbers} HAVING sum(usage.num_blocks) <> 0 ORDER BY {numbers}"""


def _frame(connection: Connection, by: Sequence[str], sql: str, params: dict[str, Any]) -> pl.DataFrame:
    rows = [tuple(row) for row in connection.execute(text(sql), params)]
    schema = {**dict.fromkeys(by, pl.String), **dict.fromkeys(FIGURES, pl.Int64)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _narrowed(connection: Connection, sites: Sequence[str], groups: Sequence[str]) -> tuple[str, dict[str, Any]]:
    parts, params = ["true"], dict[str, Any]()
    if sites:
        parts.append("usage.site_id = ANY(CAST(:site_ids AS smallint[]))")
        params["site_ids"] = [site.id for site in find_sites(connection, sites)]
    if groups:
        parts.append("usage.group_id = ANY(CAST(:group_ids AS smallint[]))")
        named = [name for name in groups if name != "none"]
        params["group_ids"] = [*find_groups(connection, named), *([NOBODY] if "none" in groups else [])]
    return " AND ".join(parts), params


def _checked(by: Sequence[str], known: Sequence[str]) -> list[str]:
    for name in by:
        if name not in known:
            raise InventoryError(
                f"usage cannot be summed by {name!r}: by {', '.join(known)}.{near(name, known)}", by=name
            )
    if not by:
        raise InventoryError(f"say what usage shall be summed by: {', '.join(known)}")
    return list(dict.fromkeys(by))
