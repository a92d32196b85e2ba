"""A source reports another place of a site: believed at once only where nothing is under way (SEMANTICS §10)."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.deletion.claim import claim_chunk
from dynamo_ops.deletion.queue import plan_deletions
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.inventory.site.endpoint import accept, follow
from dynamo_ops.query.explanation import why
from dynamo_ops.transfer.batches import plan_batches
from tests.inventory.factory import Inventory

OLD, NEW = "davs://se.org/old", "davs://se.org/new"


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    """b1 at T2_A (davs://se.org/old) and T2_B; T2_C has nothing."""
    for site in ("T2_A", "T2_B", "T2_C"):
        inventory.site(site, prefix=OLD if site == "T2_A" else None)
    inventory.block("b1", 2)
    for site in ("T2_A", "T2_B"):
        inventory.replica("b1", site)
    return inventory


def report(stock: Inventory, prefix: str = NEW, site: str = "T2_A", protocol: str = "davs") -> None:
    with stock.db.begin() as connection:
        follow(
            connection,
            """SELECT id AS site_id, CAST(:protocol AS text) AS protocol, CAST(:prefix AS text) AS prefix,
                      CAST(NULL AS jsonb) AS mapping FROM sites WHERE name = :site""",
            {"prefix": prefix, "site": site, "protocol": protocol},
        )


def place(stock: Inventory, site: str = "T2_A") -> Any:
    """In force, and proposed."""
    ((prefix, proposed),) = stock.rows(
        "SELECT prefix, proposed_prefix FROM site_endpoints WHERE site_id = :s", s=stock.site_ids[site]
    )
    return prefix, proposed


def test_a_quiet_site_follows_at_once(stock: Inventory) -> None:
    report(stock)
    assert place(stock) == (NEW, None)
    report(stock, "root://se.org//x", protocol="root")
    protocols = stock.rows("SELECT protocol FROM site_endpoints WHERE site_id = :s", s=stock.site_ids["T2_A"])
    assert protocols == [("root",)]


def test_while_something_is_to_be_deleted_the_old_place_stays_in_force(stock: Inventory) -> None:
    stock.subscription("delete", stock.files_of["b1"], "T2_A")
    (batch,) = plan_deletions(stock.db)
    report(stock)
    assert place(stock) == (OLD, NEW)
    chunk = claim_chunk(stock.db, batch, 1)  # what is under way ends where it began
    assert chunk is not None
    assert len(chunk.claimed) == 1
    stock.rows("UPDATE subscriptions SET state = 'retry', num_attempts = 0")
    stock.rows("DELETE FROM deletions")
    assert plan_deletions(stock.db) == []  # nothing new is begun
    because = why(stock.db, stock.scalar("SELECT min(id) FROM subscriptions")).because
    assert because.startswith("queued: it waits, since the source of T2_A reports another endpoint")
    report(stock, OLD)
    assert place(stock) == (OLD, None)
    assert len(plan_deletions(stock.db)) == 1


@pytest.mark.parametrize("to", ["T2_A", "T2_C"], ids=["to it", "from it"])
def test_while_something_is_copied_the_old_place_stays_in_force(
    stock: Inventory, identity: FtsIdentity, to: str
) -> None:
    gone = "T2_A" if to == "T2_A" else "T2_B"
    stock.rows("DELETE FROM block_replicas WHERE site_id = :s", s=stock.site_ids[gone])
    stock.subscription("copy", stock.files_of["b1"][:1], to)
    assert plan_batches(stock.db, identity).num_files == 1
    report(stock)
    assert place(stock) == (OLD, NEW)
    stock.subscription("copy", stock.files_of["b1"][1:], to)
    assert plan_batches(stock.db, identity).num_files == 0
    stock.rows("UPDATE transfer_batches SET state = 'finished'")
    report(stock)
    assert place(stock) == (NEW, None)
    assert plan_batches(stock.db, identity).num_files == 1


def test_a_person_accepts_it_whatever_is_under_way(stock: Inventory) -> None:
    stock.subscription("delete", stock.files_of["b1"], "T2_A")
    report(stock)
    assert accept(stock.db, "T2_A") == 1
    assert place(stock) == (NEW, None)
    with pytest.raises(InventoryError, match="reports no other endpoint"):
        accept(stock.db, "T2_A")
    with pytest.raises(InventoryError, match="T2_Q"):
        accept(stock.db, "T2_Q")


def test_other_sites_are_not_touched(stock: Inventory) -> None:
    stock.subscription("delete", stock.files_of["b1"], "T2_A")
    before = place(stock, "T2_B")
    report(stock)
    stock.subscription("delete", stock.files_of["b1"], "T2_B")
    assert place(stock, "T2_B") == before
