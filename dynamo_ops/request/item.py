"""What a request names: datasets and blocks, sites, a group; looked up, with an error that says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.text import near
from dynamo_ops.inventory.names import NEAR_ENOUGH, datasets_like


@dataclass(frozen=True)
class Item:
    """A dataset (``block_id`` None) or a block (``dataset#block``) that a request names. ``status``: the dataset's."""

    name: str
    dataset_id: int
    block_id: int | None
    status: str

    @property
    def key(self) -> str:
        """The same for the same item, whatever it is called."""
        return f"d{self.dataset_id}" if self.block_id is None else f"b{self.block_id}"


def find_items(connection: Connection, names: Sequence[str]) -> list[Item]:
    """The items of these names, each once, by name; blocks of a dataset that is named whole are left out.

    Raises InventoryError that names the first that is unknown, with near names.
    """
    if not names:
        raise InventoryError("name at least one dataset or dataset#block", items=[])
    parts = {name.strip(): name.strip().partition("#") for name in names}
    for name, (dataset, separator, block) in parts.items():
        if not dataset or (separator and not block):
            raise InventoryError(f"{name!r} is no item: expected a dataset or dataset#block", item=name)
    wanted = sorted({dataset for dataset, _, _ in parts.values()})
    dataset_rows = connection.execute(
        text("SELECT name, id, status FROM datasets WHERE name = ANY(CAST(:names AS text[]))"), {"names": wanted}
    )
    datasets: dict[str, tuple[int, str]] = {
        dataset_row[0]: (dataset_row[1], dataset_row[2]) for dataset_row in dataset_rows
    }
    for dataset in wanted:
        if dataset not in datasets:
            raise UnknownNameError(
                f"unknown dataset {dataset!r}.{near(dataset, datasets_like(connection, dataset))}", dataset=dataset
            )
    blocks = _block_ids(connection, [(datasets[d][0], b) for d, separator, b in parts.values() if separator])
    items = []
    for name, (dataset, separator, block) in sorted(parts.items()):
        dataset_id, status = datasets[dataset]
        if separator and (dataset_id, block) not in blocks:
            raise _unknown_block(connection, dataset, dataset_id, block)
        items.append(Item(name, dataset_id, blocks[dataset_id, block] if separator else None, status))
    whole = {item.dataset_id for item in items if item.block_id is None}
    return [item for item in items if item.block_id is None or item.dataset_id not in whole]


def datasets_of(items: Sequence[Item]) -> tuple[str, ...]:
    """The datasets that the items are, or are blocks of."""
    return tuple(sorted({item.name.partition("#")[0] for item in items}))


def load_items(connection: Connection, items: Sequence[Item]) -> None:
    """The transaction's tables ``asked_items`` (number from 1, dataset_id, block_id) and ``asked_blocks``
    (block_id)."""
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE asked_items ON COMMIT DROP AS
        SELECT number::integer AS number, dataset_id, block_id
        FROM unnest(CAST(:datasets AS bigint[]), CAST(:blocks AS bigint[]))
            WITH ORDINALITY AS i (dataset_id, block_id, number)"""),
        {"datasets": [item.dataset_id for item in items], "blocks": [item.block_id for item in items]},
    )
    connection.execute(text("ANALYZE asked_items"))
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE asked_blocks ON COMMIT DROP AS
        SELECT b.id AS block_id FROM asked_items i JOIN blocks b ON b.dataset_id = i.dataset_id
        WHERE i.block_id IS NULL OR b.id = i.block_id""")
    )
    connection.execute(text("ANALYZE asked_blocks"))


def _block_ids(connection: Connection, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """Ids of those (dataset_id, name) that there are."""
    block_rows = connection.execute(
        text("""
        SELECT b.dataset_id, b.name, b.id FROM blocks b
        JOIN unnest(CAST(:datasets AS bigint[]), CAST(:names AS text[])) AS w (dataset_id, name)
            USING (dataset_id, name)"""),
        {"datasets": [dataset for dataset, _ in wanted], "names": [name for _, name in wanted]},
    )
    return {(block_row[0], block_row[1]): int(block_row[2]) for block_row in block_rows}


def _unknown_block(connection: Connection, dataset: str, dataset_id: int, block: str) -> InventoryError:
    names = connection.execute(
        text("SELECT name FROM blocks WHERE dataset_id = :dataset ORDER BY name LIMIT :most"),
        {"dataset": dataset_id, "most": NEAR_ENOUGH},
    ).scalars()
    return UnknownNameError(f"{dataset} has no block {block!r}.{near(block, names)}", dataset=dataset, block=block)
