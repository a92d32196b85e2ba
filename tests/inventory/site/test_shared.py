"""Two names of one storage: equal or nested prefixes."""

from __future__ import annotations

import pytest

from dynamo_ops.deletion.claim import claim_chunk
from dynamo_ops.deletion.queue import plan_deletions
from dynamo_ops.inventory.site.shared import SHARED_STORAGE, others_on_storage
from dynamo_ops.query.explanation import why
from tests.inventory.factory import Inventory


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        ("davs://se.org/cms", "davs://se.org/cms", True),
        ("davs://se.org/cms/", "davs://se.org//cms", True),
        ("davs://se.org/cms", "davs://se.org/cms/tape", True),
        ("davs://se.org/cms/tape", "davs://se.org/cms", True),
        ("davs://se.org/", "davs://se.org/cms", True),
        ("davs://se.org/cms", "davs://se.org/cms2", False),
        ("davs://se.org/cms", "davs://se2.org/cms", False),
        ("davs://se.org:1094/cms", "davs://se.org:1095/cms", False),
    ],
)
def test_prefixes(inventory: Inventory, one: str, other: str, is_shared: bool) -> None:
    inventory.site("T2_A", prefix=one)
    inventory.site("T2_B", prefix=other)
    inventory.site("T2_C")
    with inventory.db.begin() as connection:
        assert others_on_storage(connection, inventory.site_ids["T2_A"]) == (["T2_B"] if is_shared else [])
    shared = {row[0] for row in inventory.rows(f"SELECT name FROM sites WHERE id IN {SHARED_STORAGE}")}
    assert shared == ({"T2_A", "T2_B"} if is_shared else set())


def test_nothing_is_deleted_at_either(inventory: Inventory) -> None:
    for site in ("T2_A", "T2_B"):
        inventory.site(site, prefix=f"davs://se.org/{site}")
    lfns = inventory.block("b1", 2)
    inventory.replica("b1", "T2_A")
    inventory.subscription("delete", lfns, "T2_A")
    (batch,) = plan_deletions(inventory.db)
    inventory.rows("UPDATE site_endpoints SET prefix = 'davs://se.org/T2_A'")
    assert claim_chunk(inventory.db, batch, 10) is None
    inventory.rows("DELETE FROM deletions")
    inventory.rows("UPDATE subscriptions SET state = 'new'")
    assert plan_deletions(inventory.db) == []
    number = inventory.scalar("SELECT min(id) FROM subscriptions")
    assert why(inventory.db, number).because.startswith(
        "queued: it waits, since T2_B has the same storage as T2_A, or a part of it"
    )
