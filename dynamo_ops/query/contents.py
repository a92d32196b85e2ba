"""What is in a dataset: its blocks, and the files of these; and files by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.glob import is_glob
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.query.dataset import find_dataset
from dynamo_ops.query.paging.condition import Conditions, name_condition
from dynamo_ops.query.paging.listing import Listing

MOST_FILES = 1_000
"""Files that are looked up by name at once."""


@dataclass(frozen=True)
class ContentFilter:
    """What of which dataset (a name). ``blocks``: names behind the ``#``, or globs. ``lfns``, of files: names or globs,
    which are looked for in these blocks only."""

    dataset: str
    blocks: Sequence[str] = ()
    lfns: Sequence[str] = ()


_BLOCKS = """
    SELECT block.id, block.dataset_id, block.name AS block, block.is_open, block.size_bytes, block.num_files,
           (SELECT count(*) FROM block_replicas AS replica
            WHERE replica.block_id = block.id AND replica.is_complete) AS num_complete,
           (SELECT count(*) FROM block_replicas AS replica WHERE replica.block_id = block.id) AS num_sites,
           block.last_update_at
    FROM blocks AS block"""
_FILES = """
    SELECT file.id, block.dataset_id, block.name AS block, file.lfn COLLATE "C" AS lfn, file.size_bytes, file.adler32
    FROM blocks AS block JOIN files AS file ON file.block_id = block.id"""
_BY_NAME = """
    SELECT file.id, dataset.name AS dataset, block.name AS block, file.lfn, file.size_bytes, file.adler32
    FROM unnest(CAST(:lfns AS text[])) WITH ORDINALITY AS asked (lfn, place)
    JOIN files AS file ON md5(file.lfn)::uuid = md5(asked.lfn)::uuid AND file.lfn = asked.lfn
    JOIN blocks AS block ON block.id = file.block_id JOIN datasets AS dataset ON dataset.id = block.dataset_id
    ORDER BY asked.place"""


def files_by_name(database: Database, lfns: Sequence[str]) -> list[dict[str, Any]]:
    """The files of these names, in the order asked: id, dataset, block, lfn, size_bytes, adler32; a name that is not
    known has no row. Raises InventoryError for more than ``MOST_FILES``."""
    if len(lfns) > MOST_FILES:
        raise InventoryError(f"{len(lfns):,} LFNs: at most {MOST_FILES:,} at once", num_lfns=len(lfns))
    with database.begin() as connection:
        return [dict(row) for row in connection.execute(text(_BY_NAME), {"lfns": list(lfns)}).mappings()]


def block_name(connection: Connection, block_id: int) -> tuple[str, str]:
    """Of the block of that id, its dataset's name and its own. Raises UnknownNameError."""
    row = connection.execute(
        text("""SELECT dataset.name AS dataset, block.name AS block
                FROM blocks AS block JOIN datasets AS dataset ON dataset.id = block.dataset_id WHERE block.id = :id"""),
        {"id": block_id},
    ).one_or_none()
    if row is None:
        raise UnknownNameError(f"there is no block {block_id}", block_id=block_id)
    return str(row.dataset), str(row.block)


def file_name(connection: Connection, file_id: int) -> str:
    """The LFN of the file of that id. Raises UnknownNameError."""
    lfn = connection.execute(text("SELECT lfn FROM files WHERE id = :id"), {"id": file_id}).scalar()
    if lfn is None:
        raise UnknownNameError(f"there is no file {file_id}", file_id=file_id)
    return str(lfn)


def _narrow(connection: Connection, asked: ContentFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    conditions.add("listed.dataset_id = :dataset", dataset=find_dataset(connection, asked.dataset))
    if asked.blocks:
        condition, params = name_condition("listed.block", asked.blocks, "block")
        conditions.add(condition, **params)
    if asked.lfns:
        condition, params = name_condition("listed.lfn", asked.lfns, "lfn")
        conditions.add(condition, **params)
    return conditions


def _explain_nothing(connection: Connection, asked: ContentFilter) -> None:
    """A dataset may be empty, a block that is named must be there."""
    dataset_id = find_dataset(connection, asked.dataset)
    for pattern in asked.blocks:
        condition, params = name_condition("block.name", [pattern], "block")
        is_known = f"SELECT EXISTS (SELECT FROM blocks AS block WHERE block.dataset_id = :dataset AND ({condition}))"
        if not connection.execute(text(is_known), {"dataset": dataset_id, **params}).scalar():
            names = connection.execute(
                text("SELECT name FROM blocks WHERE dataset_id = :dataset ORDER BY name LIMIT 2000"),
                {"dataset": dataset_id},
            ).scalars()
            what = "no block matches" if is_glob(pattern) else "there is no block"
            raise UnknownNameError(f"{asked.dataset}: {what} {pattern!r}.{near(pattern, names)}", block=pattern)


BLOCKS: Listing[ContentFilter] = Listing(
    "blocks",
    _BLOCKS,
    ("id", "block", "is_open", "size_bytes", "num_files", "num_complete", "num_sites", "last_update_at"),
    key=("block",),
    narrow=_narrow,
    explain_nothing=_explain_nothing,
)
"""By name. ``num_sites``: that have some of it or shall have, ``num_complete``: all of it, as it is stored."""

FILES: Listing[ContentFilter] = Listing(
    "files",
    _FILES,
    ("id", "block", "lfn", "size_bytes", "adler32"),
    key=("block", "lfn"),
    narrow=_narrow,
    explain_nothing=_explain_nothing,
)
"""By block and LFN."""
