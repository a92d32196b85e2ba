"""What was declared invalid may come in again: by whom, within how long, and what does not come back by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dynamo_ops.access import audit
from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.inventory.catalogue.undo import UndoSummary, undo_invalidation
from dynamo_ops.inventory.names import is_dataset
from dynamo_ops.query.paging.listing import stream
from dynamo_ops.query.record.invalidation import INVALIDATIONS, InvalidationFilter
from tests.inventory.factory import Inventory
from tests.inventory.told import block, dataset, file, merge
from tests.people import ADA, BOB, inject

DATASET, BLOCK, LFN = "/A/B-v1/AOD", "/A/B-v1/AOD#b1", "/store/b2/f0"
KEEP = timedelta(days=90)
REASONS = ("reason", "undone_by", "undone_because")


@pytest.fixture
def stock(database: Database) -> Inventory:
    """b1 and b2 of one dataset at T2_A; b1 and a file of b2 are declared invalid."""
    inventory = Inventory(database)
    inventory.site("T2_A")
    for name in ("b1", "b2"):
        inventory.block(name, 2)
        inventory.replica(name, "T2_A")
    invalidate(database, {"blocks": [BLOCK], "files": [LFN]}, reason="wrong field", by=ADA)
    return inventory


def undo(stock: Inventory, *names: str, **options: Any) -> UndoSummary:
    return undo_invalidation(stock.db, names, **{"reason": "made again", "by": BOB, "keep": KEEP, **options})


def barred(stock: Inventory) -> list[str]:
    return [name for (name,) in stock.rows("SELECT name FROM invalidations WHERE undone_at IS NULL ORDER BY kind, id")]


def told(stock: Inventory) -> list[tuple[str, ...]]:
    """Blocks and files once the source has told of all."""
    merge(
        stock.db,
        [dataset(DATASET)],
        [block("b1", DATASET), block("b2", DATASET)],
        [
            file("/store/b1/f0", DATASET, "b1"),
            file(LFN, DATASET, "b2"),
            file("/store/b2/f1", DATASET, "b2", size_bytes=1000),
        ],
    )
    return stock.rows("SELECT b.name, f.lfn FROM files f JOIN blocks b ON b.id = f.block_id ORDER BY 1, 2")


def test_what_is_taken_back_comes_in_from_its_source(stock: Inventory) -> None:
    assert told(stock) == [("b2", "/store/b2/f1")]
    summary = undo(stock, BLOCK)
    assert (summary.num_names, summary.num_blocks, summary.num_files, summary.names) == (1, 1, 2, (BLOCK,))
    assert stock.rows("SELECT name FROM blocks") == [("b2",)], "nothing comes back by itself"
    assert told(stock) == [("b1", "/store/b1/f0"), ("b2", "/store/b2/f1")]
    undo(stock, LFN)
    assert told(stock) == [("b1", "/store/b1/f0"), ("b2", LFN), ("b2", "/store/b2/f1")]
    assert stock.replica_state("b1", "T2_A") is None, "the inventory does not know that it is anywhere"


def test_what_is_taken_back_can_be_injected_and_be_declared_invalid_again(stock: Inventory) -> None:
    document = {"datasets": [{"name": DATASET, "blocks": [{"name": "b1", "files": []}]}]}
    with pytest.raises(InventoryError, match="was declared invalid by ada"):
        inject(stock.db, document)
    undo(stock, BLOCK)
    inject(stock.db, document)
    invalidate(stock.db, {"blocks": [BLOCK]}, reason="wrong again", by=ADA)
    with pytest.raises(InventoryError, match=r"was declared invalid by ada on .*: wrong again"):
        inject(stock.db, document)
    _, pieces = stream(stock.db, INVALIDATIONS, InvalidationFilter([BLOCK]), REASONS)
    assert [row for piece in pieces for row in piece] == [
        ("wrong again", None, None),
        ("wrong field", "bob", "made again"),
    ]


def test_globs_and_kinds(stock: Inventory) -> None:
    assert undo(stock, "/store/b*", dry_run=True).names == (LFN,)
    summary = undo(stock, "/A/*", "/store/b?/f[0-9]", expected_names=2)
    assert (summary.num_blocks, summary.num_named_files, barred(stock)) == (1, 1, [])
    assert audit.records(stock.db)["object"].to_list()[:2] == ["undo: 2 names", "undo: 1 names"]


def test_a_dataset_is_still_known_by_its_name_to_histories(stock: Inventory) -> None:
    invalidate(stock.db, {"datasets": [DATASET]}, reason="wrong", by=ADA)
    undo(stock, DATASET)
    assert is_dataset(stock.db, DATASET)


def test_what_is_wrong_is_named_and_nothing_is_taken_back(stock: Inventory) -> None:
    with pytest.raises(UnknownNameError, match="nothing that is invalid is called '/A/none'"):
        undo(stock, BLOCK, "/A/none")
    with pytest.raises(InventoryError, match="1 names would come free by now, not 7"):
        undo(stock, BLOCK, expected_names=7)
    with pytest.raises(InventoryError, match="say why"):
        undo(stock, BLOCK, reason=" ")
    with pytest.raises(InventoryError, match="no name"):
        undo(stock)
    stock.rows("UPDATE invalidations SET created_at = now() - interval '91 days' WHERE kind = 'file'")
    with pytest.raises(InventoryError, match=r"1 of 1 names were declared invalid more than 90 days ago \(damage\."):
        undo(stock, BLOCK, "/store/*")
    assert barred(stock) == [BLOCK, LFN]
    undo(stock, BLOCK)
    with pytest.raises(UnknownNameError):
        undo(stock, BLOCK)


def test_who_may_declare_it_may_take_it_back(stock: Inventory) -> None:
    """Whose dataset a file was nobody knows any more: only who may everywhere takes it back."""
    petra = Person("petra", KnownBy.TOKEN, (Grant(Role.PRODUCER, Scope.parse("namespace:/A/*")),))
    vera = Person("vera", KnownBy.TOKEN, (Grant(Role.VIEWER),))
    for person, name in ((vera, BLOCK), (petra, LFN)):
        with pytest.raises(AccessError, match="may not invalidate"):
            undo(stock, name, by=person)
    assert undo(stock, BLOCK, by=petra).num_names == 1
    assert barred(stock) == [LFN]
