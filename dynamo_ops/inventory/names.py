"""Names of datasets and blocks by id, also of those that were declared invalid, for histories and closed requests; and
those that look like a name that is not known; and which group a name is."""

from __future__ import annotations

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.base.text import near
from dynamo_ops.base.times import time_text
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.kinds import CatalogueKind

FEW = 200
NEAR_ENOUGH = 2_000

BARRED_NAMES = "(SELECT * FROM invalidations WHERE undone_at IS NULL)"
"""SQL: the rows of ``invalidations`` in force: what they name does not come in."""

EVER_KNOWN_DATASETS = f"""(SELECT id, name FROM datasets
    UNION ALL SELECT thing_id, name FROM invalidations WHERE kind = '{CatalogueKind.DATASET}'
      AND thing_id IS NOT NULL)"""
"""SQL: id and name of datasets."""

EVER_KNOWN_BLOCKS = f"""(SELECT id, name FROM blocks
    UNION ALL SELECT thing_id, split_part(name, '#', 2) FROM invalidations WHERE kind = '{CatalogueKind.BLOCK}'
        AND thing_id IS NOT NULL)"""
"""SQL: id and name (without the dataset's) of blocks; not of those that went with their dataset."""


def find_group(connection: Connection, name: str) -> int:
    """The id of the group of that very name. Raises UnknownNameError with those that there are."""
    groups = connection.execute(text("SELECT name, id FROM groups ORDER BY name"))
    ids = {str(group.name): int(group.id) for group in groups}
    if name not in ids:
        known = ", ".join(ids) or "none yet"
        raise UnknownNameError(f"there is no group {name!r}; groups are {known}.{near(name, ids)}", group=name)
    return ids[name]


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
    """Datasets that may have been meant by ``name``, or by a glob, for ``near``.

    Those that begin as its first half does, if there are some and not too many. Else the slip is there: those that have
    whole parts in common with it, or its beginning, the more the better, and then those of about its length; for that
    all names are looked at, on the server: some 0.1 s for 200,000.
    """
    name = name.replace("*", "")
    half = name[: len(name) // 2]
    names = list(connection.execute(text(_BEGIN_ALIKE), {"half": half, "most": FEW + 1}).scalars())
    if 0 < len(names) <= FEW:
        return names
    parts = dict(zip(("primary", "processed", "tier"), [*name.split("/"), "", "", ""][1:4], strict=True))
    known = {"half": half, "quarter": name[: len(name) // 4], "length": len(name), "most": NEAR_ENOUGH}
    return list(connection.execute(text(_LIKE), {**parts, **known}).scalars())


_BEGIN_ALIKE = "SELECT name FROM datasets WHERE starts_with(name, :half) LIMIT :most"
_LIKE = """
    SELECT name FROM (
        SELECT name, (split_part(name, '/', 2) = :primary)::integer + (split_part(name, '/', 3) = :processed)::integer
                   + (split_part(name, '/', 4) = :tier)::integer + starts_with(name, :half)::integer AS num_alike,
               starts_with(name, :quarter) AS begins_alike
        FROM datasets) AS scored
    ORDER BY num_alike DESC, begins_alike DESC, abs(length(name) - :length), name LIMIT :most"""


def blocks_like(connection: Connection, name: str) -> list[str]:
    """As ``datasets_like``, for a block that is written ``dataset#block``: blocks of that dataset, written so; where
    there is no such dataset, those that may have been meant."""
    dataset = name.partition("#")[0]
    block_names = connection.execute(
        text("""
        SELECT dataset.name || '#' || block.name FROM datasets AS dataset JOIN blocks AS block
            ON block.dataset_id = dataset.id
        WHERE dataset.name = :dataset ORDER BY block.name LIMIT :most"""),
        {"dataset": dataset, "most": NEAR_ENOUGH},
    )
    return list(block_names.scalars()) or datasets_like(connection, dataset)


def no_file(connection: Connection, name: str) -> str:
    """The end of a message that names an unknown LFN: what else is called so, or when it was declared invalid.

    LFNs that look like it are not looked for: files are found by the digest of their whole name alone.
    """
    dataset, _, block = name.partition("#")
    kind, since, by = connection.execute(
        text(f"""
        SELECT CASE
                 WHEN :block = '' AND EXISTS (SELECT FROM datasets WHERE name = :dataset)
                   THEN '{CatalogueKind.DATASET}'
                 WHEN EXISTS (SELECT FROM datasets AS dataset JOIN blocks AS block ON block.dataset_id = dataset.id
                              WHERE dataset.name = :dataset AND block.name = :block)
                   THEN '{CatalogueKind.BLOCK}' END,
               invalidation.created_at, invalidation.created_by
        FROM (SELECT) AS one LEFT JOIN LATERAL (
            SELECT created_at, created_by FROM {BARRED_NAMES} AS barred
            WHERE kind = '{CatalogueKind.FILE}' AND md5(name)::uuid = md5(:name)::uuid AND name = :name)
            AS invalidation ON true"""),
        {"name": name, "dataset": dataset, "block": block},
    ).one()
    if kind is not None:
        return f" It is a {kind}"
    return f" It was declared invalid at {time_text(since)} by {by}" if since is not None else ""


def is_dataset(database: Database, name: str) -> bool:
    """Whether a dataset is, or was, called so."""
    return not database.frame(f"SELECT id FROM {EVER_KNOWN_DATASETS} AS known WHERE name = $1", (name,)).is_empty()
