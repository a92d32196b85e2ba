"""Nothing is deleted where two LFNs may be one file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dynamo_ops.deletion.claim import claim_chunk
from dynamo_ops.deletion.queue import plan_deletions, recover_deletions
from dynamo_ops.inventory.site.ambiguous import ambiguous_mapping, ambiguous_mappings, ambiguous_sites
from dynamo_ops.query.explanation import why
from tests.inventory.factory import Inventory

CLEAR = [[["/+store/(.*)", "davs://se.org/cms/$1"]]]
AMBIGUOUS = [[["/store/user/(.*)", "davs://se.org/cms/$1"]], [["/store/(.*)", "davs://se.org/cms/$1"]]]
REASON = (
    "the davs mapping of T2_A cannot be shown to be one-to-one, and a file may be another's as well (chain 1 (for "
    "/store/user/…) and chain 2 (for /store/…) may both lead to the same name below se.org/cms/)"
)


def map_by(stock: Inventory, mapping: Any, site: str = "T2_A") -> None:
    stock.rows(
        "UPDATE site_endpoints SET mapping = CAST(:m AS jsonb) WHERE site_id = :s",
        m=json.dumps(mapping),
        s=stock.site_ids[site],
    )


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    """b1 (two files) is to be deleted at T2_A and T2_B."""
    for site in ("T2_A", "T2_B"):
        inventory.site(site)
    inventory.block("b1", 2)
    for site in ("T2_A", "T2_B"):
        inventory.replica("b1", site)
        inventory.subscription("delete", inventory.files_of["b1"], site)
    return inventory


def sites_of(stock: Inventory, batches: list[int]) -> list[str]:
    return [
        stock.scalar("SELECT s.name FROM deletion_batches b JOIN sites s ON s.id = b.site_id WHERE b.id = :b", b=batch)
        for batch in batches
    ]


def test_deletions_wait_there_and_only_there_until_the_mapping_is_mended(stock: Inventory) -> None:
    map_by(stock, AMBIGUOUS)
    assert sites_of(stock, plan_deletions(stock.db)) == ["T2_B"]
    number = stock.scalar("SELECT min(id) FROM subscriptions WHERE site_id = :s", s=stock.site_ids["T2_A"])
    assert why(stock.db, number).because == f"queued: it waits, since {REASON}"
    map_by(stock, CLEAR)
    assert sites_of(stock, plan_deletions(stock.db)) == ["T2_A"]


def test_a_batch_that_was_planned_before_goes_back(stock: Inventory) -> None:
    batch = min(plan_deletions(stock.db))
    map_by(stock, AMBIGUOUS)
    chunk = claim_chunk(stock.db, batch, 10)
    assert chunk is not None
    assert (chunk.claimed, chunk.begun, chunk.num_left_out) == ({}, {}, 2)
    reasons = stock.rows("SELECT DISTINCT state, last_error FROM subscriptions WHERE state = 'retry'")
    assert reasons == [("retry", f"not deleted: {REASON}")]
    assert claim_chunk(stock.db, batch, 10) is None
    assert batch in recover_deletions(stock.db).unfinished


def test_what_a_killed_task_may_have_deleted_is_looked_at(stock: Inventory) -> None:
    batch = min(plan_deletions(stock.db))
    assert claim_chunk(stock.db, batch, 1) is not None
    map_by(stock, AMBIGUOUS)
    chunk = claim_chunk(stock.db, batch, 10)
    assert chunk is not None
    assert (chunk.claimed, len(chunk.begun), chunk.num_left_out) == ({}, 1, 1)


@pytest.mark.parametrize("mapping", [None, [], CLEAR], ids=["a prefix", "no chains", "one-to-one"])
def test_what_is_clear(stock: Inventory, mapping: Any) -> None:
    map_by(stock, mapping)
    with stock.db.begin() as connection:
        assert ambiguous_sites(connection) == {}
        assert ambiguous_mapping(connection, stock.site_ids["T2_A"]) is None
    assert ambiguous_mappings(stock.db).rows() == []


@pytest.mark.parametrize("mapping", ["davs://x", [["a", "b"]], [[["/store/(", "davs://x/$1"]]]], ids=repr)
def test_what_cannot_be_read_is_not_clear(stock: Inventory, mapping: Any) -> None:
    map_by(stock, mapping)
    with stock.db.begin() as connection:
        assert list(ambiguous_sites(connection)) == [stock.site_ids["T2_A"]]
    assert ambiguous_mappings(stock.db).select("site", "protocol").rows() == [("T2_A", "davs")]
