"""Downtimes hold what waits for a site, and let it go when they are over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.inventory.site.downtime import downtimes, drain, resume, site_states
from dynamo_ops.transfer.hold import hold_and_release
from tests.inventory.factory import SIZE, Inventory
from tests.people import ADA, BOB

WHY: Any = {"by": ADA, "reason": "new switch"}
HOUR = timedelta(hours=1)


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    """b1 of two files is complete at T2_A and subscribed at T2_B."""
    inventory.site("T2_A")
    inventory.site("T2_B")
    inventory.block("b1", 2)
    inventory.replica("b1", "T2_A")
    inventory.subscription("copy", inventory.files_of["b1"], "T2_B")
    return inventory


def state(stock: Inventory) -> set[str]:
    hold_and_release(stock.db)
    return set(stock.subscriptions().values())


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("site", ["T2_A", "T2_B"], ids=["the only source", "the destination"])
def test_a_downtime_holds_and_its_end_releases(stock: Inventory, site: str) -> None:
    made = drain(stock.db, site, **WHY)
    assert state(stock) == {"held/site_unavailable"}
    assert resume(stock.db, site, by=BOB) == [made.id]
    assert state(stock) == {"retry"}
    (row,) = downtimes(stock.db, over=True).to_dicts()
    assert (row["site"], row["state"], row["reason"], row["created_by"], row["ended_by"]) == (
        site,
        "over",
        "new switch",
        "ada",
        "bob",
    )
    assert downtimes(stock.db).is_empty()


def test_it_comes_and_goes_by_itself(stock: Inventory) -> None:
    drain(stock.db, "T2_B", begins_at=now() + HOUR, ends_at=now() + 2 * HOUR, **WHY)
    assert state(stock) == {"new"}
    assert downtimes(stock.db, "T2_B")["state"].to_list() == ["planned"]
    stock.rows("UPDATE site_downtimes SET begins_at = now() - interval '1 hour'")
    assert state(stock) == {"held/site_unavailable"}
    stock.rows("UPDATE site_downtimes SET ends_at = now()")
    assert state(stock) == {"retry"}


def test_of_several_the_last_counts(stock: Inventory) -> None:
    drain(stock.db, "T2_B", ends_at=now() + HOUR, **WHY)
    drain(stock.db, "T2_B", by=BOB, reason="power", ends_at=now() + 3 * HOUR)
    row = site_states(stock.db).row(1, named=True)
    assert (row["downtime"], row["is_readable"], row["is_writable"]) == ("new switch; power", False, False)
    assert row["downtime_until"] > now() + 2 * HOUR
    stock.rows("UPDATE site_downtimes SET ends_at = now() WHERE reason = 'power'")
    assert state(stock) == {"held/site_unavailable"}
    drain(stock.db, "T2_B", **WHY)
    assert site_states(stock.db).row(1, named=True)["downtime_until"] is None
    assert len(resume(stock.db, "T2_B", by=ADA)) == 2
    assert state(stock) == {"retry"}


def test_one_to_come_is_ended_only_when_that_is_asked(stock: Inventory) -> None:
    drain(stock.db, "T2_B", begins_at=now() + HOUR, **WHY)
    with pytest.raises(InventoryError, match="T2_B is in no downtime now; 1 to come"):
        resume(stock.db, "T2_B", by=ADA)
    assert len(resume(stock.db, "T2_B", by=ADA, planned=True)) == 1
    assert downtimes(stock.db).is_empty()
    assert downtimes(stock.db, over=True)["state"].to_list() == ["over"]
    with pytest.raises(InventoryError, match=r"T2_B is in no downtime now$"):
        resume(stock.db, "T2_B", by=ADA, planned=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"site": "T2_a"}, "there is no site 'T2_a'. Did you mean T2_A"),
        ({"reason": " "}, "say why"),
        ({"begins_at": 2, "ends_at": 1}, "must be after its begin"),
        ({"begins_at": -2, "ends_at": -1}, "and after now"),
    ],
    ids=str,
)
def test_what_cannot_be_a_downtime(stock: Inventory, given: dict[str, object], message: str) -> None:
    asked = {"site": "T2_A", **WHY, **given}
    for name in ("begins_at", "ends_at"):
        if name in asked:
            asked[name] = now() + asked[name] * HOUR
    with pytest.raises(InventoryError, match=message):
        drain(stock.db, **asked)
    assert downtimes(stock.db, over=True).is_empty()
    with pytest.raises(InventoryError, match="there is no site"):
        resume(stock.db, "T9", by=ADA)


def test_sites_are_told_with_what_waits_there(stock: Inventory) -> None:
    stock.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'no_source' WHERE id = 1")
    stock.subscription("delete", stock.files_of["b1"], "T2_A")
    stock.rows("""WITH b AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging)
                  VALUES ('x', gen_random_uuid(), 2, false) RETURNING id)
                  INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, size_bytes)
                  SELECT id, 2, 0, 1, 1000 FROM b""")
    first, second = site_states(stock.db).to_dicts()
    assert (first["site"], first["storage_type"], first["status"], first["is_writable"]) == (
        "T2_A", "disk", "ready", True,
    )  # fmt: skip
    assert (first["num_copies_to"], first["num_copies_from"], first["bytes_from"]) == (0, 1, SIZE)
    assert first["num_deletions"] == 2
    assert (second["num_copies_to"], second["bytes_to"], second["num_held"]) == (2, 2 * SIZE, 1)
    assert (second["downtime"], second["num_copies_from"]) == (None, 0)
