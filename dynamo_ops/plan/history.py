"""What plans of either engine did, asked for long after by name or glob; the statements are the engines' own."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.base.glob import is_glob, texts_expr
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.names import EVER_KNOWN_DATASETS, near_dataset


def history_of_dataset(
    database: Database, sql: str, dataset: str, *, since: datetime, site: str | None, most: int | None = None
) -> pl.DataFrame:
    """What ``sql`` says of a dataset, or of those that a glob matches. InventoryError when nothing is called so.

    ``sql`` has three parameters: ids of datasets, the moment from which on, ids of sites (null: all of them). ``most``:
    the first so many of its rows.
    """
    sites = ids_of(database, "sites", site) if site else None
    cut = sql if most is None else f"{sql} LIMIT {most}"
    return database.frame(cut, (ids_of(database, "datasets", dataset), since.isoformat(), sites))


def ids_of(database: Database, table: str, name: str) -> str:
    """Ids of what is called so, or matches the glob, as PostgreSQL writes an array. Raises InventoryError when nothing
    is. ``datasets``: also those that were declared invalid."""
    known_table = f"{EVER_KNOWN_DATASETS} AS known" if table == "datasets" else table
    if is_glob(name):
        names = database.frame(f"SELECT id::bigint AS id, name FROM {known_table}")
        matching = names.filter(texts_expr([name], pl.col("name")))
    else:
        matching = database.frame(f"SELECT id::bigint AS id FROM {known_table} WHERE name = $1", (name,))
    if matching.is_empty():
        noun = table.removesuffix("s")
        message = f"no {noun} {'matches' if is_glob(name) else 'is called'} {name!r}"
        hint = near_dataset(database, name) if table == "datasets" else near(name, _names(database, table))
        raise UnknownNameError(f"{message}.{hint}" if hint else message, **{noun: name})
    return "{" + ",".join(map(str, matching["id"])) + "}"


def _names(database: Database, table: str) -> list[str]:
    return list(database.frame(f"SELECT name FROM {table}")["name"])
