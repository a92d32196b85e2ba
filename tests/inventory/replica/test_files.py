"""Files arrive at and leave block replicas; completeness, size and existence follow."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamo_ops.inventory.replica import files as replicas
from tests.inventory.factory import SIZE, Inventory, fill_changed


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    inventory.site("T2_A")
    inventory.block("b1", 3)
    return inventory


def change(inventory: Inventory, kind: str, lfns: list[str]) -> replicas.ReplicaChange:
    frame = pl.DataFrame(
        {"file_id": [inventory.file_ids[lfn] for lfn in lfns], "site_id": [inventory.site_ids["T2_A"]] * len(lfns)},
        schema={"file_id": pl.Int64, "site_id": pl.Int64},
    )
    with inventory.db.begin() as connection:
        fill_changed(connection, frame)
        return replicas.arrive(connection) if kind == "add" else replicas.leave(connection)


def test_grows_until_complete(stock: Inventory) -> None:
    lfns = stock.files_of["b1"]
    change(stock, "add", lfns[:1])
    assert stock.replica_state("b1", "T2_A") == (False, SIZE, 1)
    change(stock, "add", lfns[:2])
    assert stock.replica_state("b1", "T2_A") == (False, 2 * SIZE, 2)
    assert change(stock, "add", lfns[2:]).num_completed == 1
    assert stock.replica_state("b1", "T2_A") == (True, 3 * SIZE, 0)
    change(stock, "add", lfns[2:])
    assert stock.replica_state("b1", "T2_A") == (True, 3 * SIZE, 0)


def test_complete_replica_that_loses_a_file(stock: Inventory) -> None:
    stock.replica("b1", "T2_A")
    lfns = stock.files_of["b1"]
    for _ in range(2):
        change(stock, "remove", lfns[:1])
        assert stock.replica_state("b1", "T2_A") == (False, 2 * SIZE, 2)


def test_last_file_takes_the_replicas_with_it(stock: Inventory) -> None:
    stock.replica("b1", "T2_A")
    done = change(stock, "remove", stock.files_of["b1"])
    assert (done.num_removed, done.num_dataset_replicas_removed) == (1, 1)
    assert stock.replica_state("b1", "T2_A") is None
    assert stock.rows("SELECT * FROM dataset_replicas") == []


@pytest.mark.parametrize("growing", [True, False], ids=["growing", "another block left"])
def test_dataset_replica_stays(stock: Inventory, growing: bool) -> None:
    stock.block("b2", 1)
    stock.replica("b1", "T2_A", growing=growing)
    if not growing:
        stock.replica("b2", "T2_A")
    change(stock, "remove", stock.files_of["b1"])
    assert stock.replica_state("b1", "T2_A") is None
    assert len(stock.rows("SELECT * FROM dataset_replicas")) == 1


def test_empty_replica_with_a_copy_pending_stays(stock: Inventory) -> None:
    stock.replica("b1", "T2_A", present=stock.files_of["b1"][:1])
    stock.subscription("copy", stock.files_of["b1"][1:2], "T2_A")
    change(stock, "remove", stock.files_of["b1"][:1])
    assert stock.replica_state("b1", "T2_A") == (False, 0, 0)


def test_zero_size_placeholder_is_not_touched(stock: Inventory) -> None:
    stock.block("b2", 2)
    stock.replica("b2", "T2_A", present=[], owned=False)
    stock.replica("b1", "T2_A")
    change(stock, "remove", stock.files_of["b1"])
    assert stock.replica_state("b2", "T2_A") == (False, 0, 0)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.sets(st.integers(0, 2))), max_size=6))
def test_any_history_leaves_the_right_files(stock: Inventory, steps: list[tuple[str, set[int]]]) -> None:
    lfns, present = stock.files_of["b1"], set()
    change(stock, "remove", lfns)
    for kind, numbers in steps:
        change(stock, kind, [lfns[n] for n in numbers])
        present = present | numbers if kind == "add" else present - numbers
        expected = (
            (len(present) == 3, len(present) * SIZE, 0 if len(present) == 3 else len(present)) if present else None
        )
        assert stock.replica_state("b1", "T2_A") == expected
