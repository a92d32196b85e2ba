"""Names of datasets and blocks by id, also of those that were declared invalid, for histories and closed requests; and
those that look like a name that is not known."""

from __future__ import annotations

from sqlalchemy import Connection, text

from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.kinds import CatalogueKind

NEAR_ENOUGH = 2_000

EVER_KNOWN_DATASETS = f"""(SELECT id, name FROM datasets
    UNION ALL SELECT thing_id, name FROM invalidations WHERE kind = '{CatalogueKind.DATASET}'
      AND thing_id IS NOT NULL)"""
"""SQL: id and name of datasets."""

EVER_KNOWN_BLOCKS = f"""(SELECT id, name FROM blocks
    UNION ALL SELECT thing_id, split_part(name, '#', 2) FROM invalidations WHERE kind = '{CatalogueKind.BLOCK}'
        AND thing_id IS NOT NULL)"""
"""SQL: id and name (without the dataset's) of blocks; not of those that went with their dataset."""


def item_name(row: str) -> str:
    """SQL: ``dataset`` or ``dataset#block`` of ``row``, which has a ``block_id`` (null: the dataset) and is joined with
    ``EVER_KNOWN_DATASETS`` as ``d``, and left joined with ``EVER_KNOWN_BLOCKS`` as ``b``."""
    return f"""d.name || coalesce('#' || b.name, CASE WHEN {row}.block_id IS NOT NULL
        THEN '#(block ' || {row}.block_id || ', gone with it)' END, '')"""


def near_dataset(database: Database, name: str) -> str:
    """The end of a message that names an unknown dataset: `` Did you mean …?``, or nothing."""
    with database.begin() as connection:
        return near(name, datasets_like(connection, name))


def datasets_like(connection: Connection, name: str) -> list[str]:
    """Names that begin as ``name`` does, the longer the better: to be told as near ones."""
    length = len(name)
    while length > 1:
        length //= 2
        matches = connection.execute(
            text("SELECT name FROM datasets WHERE starts_with(name, :start) ORDER BY name LIMIT :most"),
            {"start": name[:length], "most": NEAR_ENOUGH},
        )
        names = list(matches.scalars())
        if names:
            return names
    return []


def is_dataset(database: Database, name: str) -> bool:
    """Whether a dataset is, or was, called so."""
    return not database.frame(f"SELECT id FROM {EVER_KNOWN_DATASETS} AS known WHERE name = $1", (name,)).is_empty()
