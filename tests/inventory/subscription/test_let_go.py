"""Block replicas are let go: nobody owns them, deletions are subscribed, growth stops when nothing owned stays."""

from __future__ import annotations

import pytest

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.subscription.let_go import LetGo, let_go
from tests.inventory.factory import Inventory


@pytest.fixture
def stock(database: Database) -> Inventory:
    """Blocks ``b`` and ``c`` of two files each, both at T2_A, whose dataset replica grows."""
    made = Inventory(database)
    made.site("T2_A")
    for block in ("b", "c"):
        made.block(block)
        made.replica(block, "T2_A", growing=True)
    return made


def release(stock: Inventory, *blocks: str) -> LetGo:
    ids = ", ".join(str(stock.block_ids[block]) for block in blocks)
    with stock.db.begin() as connection:
        return let_go(
            connection,
            f"(SELECT block_id, dataset_id, site_id FROM block_replicas WHERE block_id IN ({ids}))",
            origin="test",
        )


def growing(stock: Inventory) -> list[bool]:
    return [row[0] for row in stock.rows("SELECT is_growing FROM dataset_replicas")]


def owned(stock: Inventory) -> list[str]:
    sql = """SELECT block.name FROM block_replicas AS replica JOIN blocks AS block ON block.id = replica.block_id
             WHERE replica.group_id IS NOT NULL ORDER BY 1"""
    return [row[0] for row in stock.rows(sql)]


def test_what_is_let_go_is_nobodys_and_its_files_are_to_be_deleted(stock: Inventory) -> None:
    assert release(stock, "b") == LetGo(num_files=2, num_dataset_replicas=0)
    assert owned(stock) == ["c"]
    assert stock.subscriptions() == {("delete", f"/store/b/f{n}", "T2_A"): "new" for n in (0, 1)}


def test_growth_goes_on_while_something_owned_stays(stock: Inventory) -> None:
    release(stock, "b")
    assert growing(stock) == [True]


def test_growth_stops_with_the_last_owned_block_replica(stock: Inventory) -> None:
    release(stock, "b")
    assert release(stock, "c").num_dataset_replicas == 1
    assert growing(stock) == [False]


def test_what_was_let_go_before_is_no_reason_to_grow(stock: Inventory) -> None:
    stock.rows("UPDATE block_replicas SET group_id = NULL WHERE block_id = :b", b=stock.block_ids["b"])
    assert release(stock, "c").num_dataset_replicas == 1
    assert growing(stock) == [False]


def test_what_holds_no_file_goes_at_once_and_the_dataset_replica_with_the_last(stock: Inventory) -> None:
    stock.site("T2_B")
    stock.block("d")
    stock.replica("d", "T2_B", present=[])
    assert release(stock, "d") == LetGo(num_files=0, num_dataset_replicas=1)
    assert stock.replica_state("d", "T2_B") is None
    assert stock.rows("SELECT s.name FROM dataset_replicas r JOIN sites s ON s.id = r.site_id") == [("T2_A",)]


def test_a_copy_under_way_is_subscribed_away_and_the_replica_waits_for_that(stock: Inventory) -> None:
    stock.site("T2_B")
    stock.block("d")
    stock.replica("d", "T2_B", present=[])
    stock.subscription("copy", ["/store/d/f0"], "T2_B")
    release(stock, "d")
    assert stock.subscriptions()["copy", "/store/d/f0", "T2_B"] == "cancelled"
    assert stock.subscriptions()["delete", "/store/d/f0", "T2_B"] == "new"
    assert stock.replica_state("d", "T2_B") == (False, 0, 0)
