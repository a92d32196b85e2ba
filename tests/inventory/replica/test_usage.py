"""The sums that are kept are those of a recount: after any changes, in any order of transactions, folded or not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.database.locks import alone
from dynamo_ops.inventory.replica import block_replica, files
from dynamo_ops.inventory.replica.usage import FOLDING, PLACES, UNIQUE, USAGE, UsageCheck, check, fold, keep, prune
from dynamo_ops.inventory.subscription.let_go import let_go
from tests.inventory.factory import SIZE, Inventory, fill_changed

KEPT = f"""
    SELECT dataset_id, site_id, group_id, sum(num_blocks), sum(num_complete), sum(size_bytes), sum(projected_bytes)
    FROM {USAGE} AS usage GROUP BY 1, 2, 3 HAVING sum(num_blocks) <> 0 ORDER BY 1, 2, 3"""
COUNTED = """
    SELECT replica.dataset_id, replica.site_id, coalesce(replica.group_id, 0), count(*),
           count(*) FILTER (WHERE replica.is_complete), sum(replica.size_bytes), sum(block.size_bytes)
    FROM block_replicas AS replica JOIN blocks AS block ON block.id = replica.block_id GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3"""
KEPT_PLACES = f"""
    SELECT site_id, group_id, sum(num_blocks), sum(num_complete), sum(size_bytes), sum(projected_bytes)
    FROM {PLACES} AS usage GROUP BY 1, 2 HAVING sum(num_blocks) <> 0 ORDER BY 1, 2"""
COUNTED_PLACES = """
    SELECT replica.site_id, coalesce(replica.group_id, 0), count(*), count(*) FILTER (WHERE replica.is_complete),
           sum(replica.size_bytes), sum(block.size_bytes)
    FROM block_replicas AS replica JOIN blocks AS block ON block.id = replica.block_id GROUP BY 1, 2 ORDER BY 1, 2"""
KEPT_UNIQUE = f"SELECT group_id, num_blocks, size_bytes FROM {UNIQUE} AS owned WHERE num_blocks <> 0 ORDER BY 1"
COUNTED_UNIQUE = """
    SELECT owned.group_id, count(*), sum(block.size_bytes)
    FROM (SELECT DISTINCT group_id, block_id FROM block_replicas WHERE group_id IS NOT NULL) AS owned
    JOIN blocks AS block ON block.id = owned.block_id GROUP BY 1 ORDER BY 1"""


def assert_as_counted(db: Database) -> None:
    with db.begin() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        assert rows(connection, KEPT) == rows(connection, COUNTED)
        assert rows(connection, KEPT_PLACES) == rows(connection, COUNTED_PLACES)
        assert rows(connection, KEPT_UNIQUE) == rows(connection, COUNTED_UNIQUE)


def rows(connection: Connection, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(sql))]


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    """b1 and b2 at T2_A, of ops; b1 at T2_B too."""
    for name in ("T2_A", "T2_B"):
        inventory.site(name)
    for block in ("b1", "b2"):
        inventory.block(block)
        inventory.replica(block, "T2_A")
    inventory.replica("b1", "T2_B")
    return inventory


def sums(stock: Inventory) -> list[tuple[Any, ...]]:
    """By site and owner, what ``KEPT`` has."""
    names = {site_id: name for name, site_id in stock.site_ids.items()}
    with stock.db.begin() as connection:
        return [(names[row[1]], "ops" if row[2] else "nobody", *map(int, row[3:])) for row in rows(connection, KEPT)]


def test_sums_follow_what_acts_do_before_and_after_they_are_folded(stock: Inventory) -> None:
    for is_folded in (False, True):
        assert sums(stock) == [("T2_A", "ops", 2, 2, 4 * SIZE, 4 * SIZE), ("T2_B", "ops", 1, 1, 2 * SIZE, 2 * SIZE)]
        assert_as_counted(stock.db)
        if not is_folded:
            assert fold(stock.db) > 0
    with stock.db.begin() as connection:
        ids = {"file_id": [stock.file_ids["/store/b1/f0"]], "site_id": [stock.site_ids["T2_B"]]}
        fill_changed(connection, pl.DataFrame(ids))
        files.leave(connection)
    assert sums(stock)[1] == ("T2_B", "ops", 1, 0, SIZE, 2 * SIZE)
    with stock.db.begin() as connection:
        going = "(SELECT block_id, dataset_id, site_id FROM block_replicas WHERE site_id = 1)"
        let_go(connection, going, origin="test")
    assert sums(stock)[0] == ("T2_A", "nobody", 2, 2, 4 * SIZE, 4 * SIZE)
    assert_as_counted(stock.db)
    assert fold(stock.db) > 0
    assert_as_counted(stock.db)
    assert stock.scalar("SELECT count(*) FROM usage_changes") == 0


def test_what_is_rolled_back_is_not_noted(stock: Inventory) -> None:
    fold(stock.db)
    with stock.db.engine.connect() as connection:
        block_replica.drop_all(connection, "SELECT id AS block_id FROM blocks")
        connection.rollback()
    assert fold(stock.db) == 0
    assert_as_counted(stock.db)


def test_a_change_of_nothing_that_is_summed_leaves_no_note(stock: Inventory) -> None:
    fold(stock.db)
    stock.rows("UPDATE block_replicas SET last_update_at = now(), former_group_id = NULL")
    stock.rows("UPDATE blocks SET last_update_at = now()")
    assert fold(stock.db) == 0


def test_what_is_gone_leaves_no_row(stock: Inventory) -> None:
    fold(stock.db)
    stock.rows("DELETE FROM block_replicas")
    fold(stock.db)
    assert stock.rows("SELECT * FROM usage_now") == []
    assert stock.rows("SELECT sum(num_blocks), sum(size_bytes) FROM usage_unique") == [(0, 0)]


def test_a_block_that_leaves_the_inventory_is_counted_at_the_size_that_it_had(stock: Inventory) -> None:
    fold(stock.db)
    with stock.db.begin() as connection:
        connection.execute(text("UPDATE blocks SET size_bytes = size_bytes + 3"))
        block_replica.drop_all(connection, "SELECT id AS block_id FROM blocks WHERE name = 'b1'")
        connection.execute(text("DELETE FROM files WHERE block_id = (SELECT id FROM blocks WHERE name = 'b1')"))
        connection.execute(text("DELETE FROM blocks WHERE name = 'b1'"))
    assert sums(stock) == [("T2_A", "ops", 1, 1, 2 * SIZE, 2 * SIZE + 3)]
    assert_as_counted(stock.db)
    fold(stock.db)
    assert_as_counted(stock.db)


def test_one_folds_at_a_time(stock: Inventory) -> None:
    with alone(stock.db, FOLDING) as mine:
        assert mine is not None
        assert fold(stock.db) == 0
        assert check(stock.db) is None
    assert fold(stock.db) > 0


def test_a_transaction_that_is_open_while_others_are_folded_is_folded_later(stock: Inventory) -> None:
    """Its notes are not seen, nor is what it did."""
    fold(stock.db)
    with stock.db.begin() as connection:
        connection.execute(text("UPDATE block_replicas SET group_id = NULL WHERE site_id = 2"))
        stock.rows("UPDATE block_replicas SET group_id = NULL WHERE site_id = 1")
        assert fold(stock.db) == 4
        assert_as_counted(stock.db)
    assert_as_counted(stock.db)
    fold(stock.db)
    assert_as_counted(stock.db)


@pytest.mark.parametrize("first", ["block", "replica"])
def test_a_block_that_grows_while_a_replica_of_it_is_made_or_changes_hands(stock: Inventory, first: str) -> None:
    """Neither of the two sees the other."""
    fold(stock.db)
    grows = "UPDATE blocks SET size_bytes = size_bytes + 70, num_files = 3"
    hands = "UPDATE block_replicas SET group_id = NULL WHERE site_id = 2"
    makes = f"""INSERT INTO block_replicas (block_id, site_id, dataset_id, group_id, is_complete, size_bytes,
                                           last_update_at)
                VALUES ({stock.block_ids["b2"]}, 2, {stock.dataset_id}, 1, false, 0, now())"""
    orders = {"block": ([grows], [hands, makes]), "replica": ([hands, makes], [grows])}
    with stock.db.engine.connect() as one, stock.db.engine.connect() as other:
        for connection, statements in zip((one, other), orders[first], strict=True):
            for statement in statements:
                connection.execute(text(statement))
        other.commit()
        assert_as_counted(stock.db)
        fold(stock.db)
        assert_as_counted(stock.db)
        one.commit()
    assert_as_counted(stock.db)
    fold(stock.db)
    assert_as_counted(stock.db)


def test_a_check_finds_what_is_wrong_and_mends_it(stock: Inventory) -> None:
    assert check(stock.db) == UsageCheck(0, 0, 0, 0)
    fold(stock.db)
    stock.rows("UPDATE usage_now SET size_bytes = size_bytes + 5 WHERE site_id = 1")
    stock.rows("DELETE FROM usage_now WHERE site_id = 2")
    stock.rows("INSERT INTO usage_now VALUES (77, 1, 0, 1, 1, 10, 10)")
    stock.rows("UPDATE usage_unique SET num_blocks = 9")
    stock.rows("UPDATE block_replicas SET group_id = NULL WHERE site_id = 2")
    assert check(stock.db) == UsageCheck(3, 3, 1, 5 + 2 * SIZE + 10)
    assert_as_counted(stock.db)
    stock.rows("UPDATE usage_places SET num_complete = 7 WHERE site_id = 1")
    assert check(stock.db) == UsageCheck(0, 1, 0, 0)
    assert_as_counted(stock.db)
    assert check(stock.db) == UsageCheck(0, 0, 0, 0)


def test_a_day_is_recorded_as_it_is_and_again_if_asked_again(
    stock: Inventory, caplog: pytest.LogCaptureFixture
) -> None:
    day = date(2026, 3, 1)
    none_wrong = dict.fromkeys(("num_wrong", "num_wrong_places", "num_wrong_groups", "wrong_bytes"), 0)
    assert keep(stock.db, day) == {**none_wrong, "num_rows_of_day": 2}
    stock.rows("UPDATE block_replicas SET group_id = NULL WHERE site_id = 1")
    stock.rows("DELETE FROM block_replicas WHERE site_id = 2")
    keep(stock.db, day)
    keep(stock.db, date(2026, 3, 2))
    columns = "day::text, site_id, group_id, status, tier, num_blocks, size_bytes"
    of_site = (1, 0, "valid", "AOD", 2, 4 * SIZE)
    assert stock.rows(f"SELECT {columns} FROM usage_daily ORDER BY 1") == [
        ("2026-03-01", *of_site),
        ("2026-03-02", *of_site),
    ]
    assert not caplog.records
    stock.rows("UPDATE usage_now SET size_bytes = 1")
    keep(stock.db, day)
    assert "sums of usage were wrong and are mended: 1 of a dataset at a site" in caplog.text
    assert prune(stock.db, before=date(2026, 3, 2)) == 1


# -- anything, in any order ------------------------------------------------------------------------------------------

GROUPS, SITES, BLOCKS, WRITERS = 2, 3, 5, 3
CHANGES = (
    """INSERT INTO block_replicas (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
       SELECT id, {site}, dataset_id, {group}, {flag}, {size}, now() FROM blocks WHERE id = {block}
       ON CONFLICT DO NOTHING""",
    "DELETE FROM block_replicas WHERE block_id = {block} AND site_id = {site}",
    "UPDATE block_replicas SET group_id = {group} WHERE block_id = {block} AND site_id = {site}",
    "UPDATE block_replicas SET is_complete = {flag}, size_bytes = {size} WHERE block_id = {block} AND site_id = {site}",
    "UPDATE blocks SET size_bytes = {size} WHERE id = {block}",
    "UPDATE block_replicas SET size_bytes = size_bytes + 1 WHERE site_id = {site} AND block_id % {writers} = {writer}",
)
STEPS = [*range(len(CHANGES)), "commit", "commit", "rollback", "fold", "look"]


@pytest.fixture(scope="module")
def many(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """Blocks of two datasets, and nothing anywhere."""
    postgres.create_database("usage_many", template="dynamo_template")
    db = Database(postgres.url("usage_many"))
    stock = Inventory(db)
    stock.rows("INSERT INTO groups (name, ownership_level) VALUES ('users', 'block')")
    for number in range(SITES):
        stock.site(f"T2_{number}")
    other = stock.scalar(
        """INSERT INTO datasets (name, status, is_open, last_update_at) VALUES ('/C/D-v1/AOD', 'valid', false, now())
           RETURNING id"""
    )
    for number in range(BLOCKS):
        stock.block(f"b{number}", 0)
        stock.dataset_id, other = other, stock.dataset_id
    yield db
    db.dispose()
    postgres.drop_database("usage_many")


@trials(max_examples=20)
@given(st.integers(0, 2**32))
def test_any_changes_of_several_writers_at_once_come_to_a_recount(many: Database, seed: int) -> None:
    """Each writer has blocks of its own to write replicas of, so that none waits for another; sizes of blocks are
    changed by whoever does not hold a replica of the block."""
    chance = random.Random(seed)
    writers = [many.engine.connect() for _ in range(WRITERS)]
    for _ in range(25):
        writer = chance.randrange(WRITERS)
        step = chance.choice(STEPS)
        if step == "fold":
            fold(many)
        elif step == "look":
            assert_as_counted(many)
        elif step in ("commit", "rollback"):
            getattr(writers[writer], str(step))()
        else:
            own = [block for block in range(1, BLOCKS + 1) if block % WRITERS == writer]
            sql = CHANGES[int(step)].format(
                block=chance.choice(own),
                site=chance.randint(1, SITES),
                group=chance.choice(["NULL", *range(1, GROUPS + 1)]),
                flag=chance.choice(["true", "false"]),
                size=chance.randint(0, 9),
                writer=writer,
                writers=WRITERS,
            )
            writers[writer].execute(text(sql))
    for connection in writers:
        connection.commit()
        connection.close()
    assert_as_counted(many)
    fold(many)
    assert_as_counted(many)
    assert check(many) == UsageCheck(0, 0, 0, 0)
