"""Two names of one storage: equal or nested prefixes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.deletion.claim import claim_chunk
from dynamo_ops.deletion.execute import execute_batch
from dynamo_ops.deletion.queue import plan_deletions
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.inventory.site.shared import (
    SHARED_STORAGE,
    Common,
    common,
    declare,
    others_on_storage,
    shared_storages,
    withdraw,
)
from dynamo_ops.query.explanation import why
from dynamo_ops.transfer.batches import plan_batches
from dynamo_ops.transfer.submission.submit import HELD_BY_PARTNER, submit_batch
from tests.deletion.test_deletions import Answers
from tests.inventory.factory import SIZE, Inventory
from tests.people import ADA
from tests.transfer.test_submit import Fts


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
        ("davs://se.org:8443/cms", "root://se.org:1094//cms", True),
        ("davs://se.org:8443/cms/tape", "root://se.org//cms", True),
        ("davs://se.org:8443/cms", "root://se.org//atlas", False),
        ("davs://se.org/cms", "file:///cms", False),
        ("file:///x/./share", "file:///x/share", True),
        ("file:///x/.share", "file:///x/share", False),
        ("file:///x/y/../share", "file:///x/share", True),
        ("file:///x/%2E%2e/share", "file:///share", True),
        ("file://localhost/x/share", "file:///x/share", True),
        ("file:///x/share/.", "file:///x/share", True),
        ("davs://se.org:443/cms", "davs://se.org/cms", True),
        ("davs://se.org:0443/cms", "davs://se.org/cms", True),
        ("davs://se.org:/cms", "davs://se.org/cms", True),
        ("davs://SE.org./cms", "davs://se.org/cms", True),
        ("davs://user@se.org/cms", "davs://se.org/cms", True),
        ("davs://user:secret@se.org:443/cms", "davs://se.org/cms", True),
        ("davs://se.org/c%6ds", "davs://se.org/cms", True),
        ("davs://se.org/c%6ds", "davs://se.org/atlas", True),
        ("davs://se.org/x/c%6ds", "davs://se.org/atlas", False),
        ("davs://se.org/cms?a=b", "davs://se.org/cms", True),
        ("davs://se.org?a=b", "davs://se.org/cms", True),
        ("davs://[2001:db8::1]/cms", "davs://[2001:DB8::1]:443/cms", True),
        ("davs://[2001:db8::1]/cms", "davs://[2001:db8::2]/cms", False),
        ("root://se.org//cms", "root://se.org:1094//cms", True),
        ("root://se.org//cms", "xroot://se.org:1094/cms", True),
        ("root://se.org:1095//cms", "root://se.org//cms", False),
    ],
)
def test_prefixes(inventory: Inventory, one: str, other: str, is_shared: bool) -> None:
    inventory.site("T2_A", prefix=one)
    inventory.site("T2_B", prefix=other)
    inventory.site("T2_C")
    inventory.rows("UPDATE site_endpoints SET protocol = ltrim(split_part(prefix, ':', 1), 'x')")
    with inventory.db.begin() as connection:
        assert others_on_storage(connection, inventory.site_ids["T2_A"]) == (["T2_B"] if is_shared else [])
    shared = {row[0] for row in inventory.rows(f"SELECT name FROM sites WHERE id IN {SHARED_STORAGE}")}
    assert shared == ({"T2_A", "T2_B"} if is_shared else set())


@pytest.mark.parametrize(
    ("mapping", "is_shared"),
    [
        ([[["/store/(.*)", "davs://se.org/cms/$1"]]], True),
        ([[["(.*)", "davs://se.org/cms$1"]]], True),
        ([[["/store/tape/(.*)", "davs://se.org/tape/$1"]], [["/store/(.*)", "davs://se.org/disk/$1"]]], False),
        ([[["/store/(.*)", "$1"]]], False),
    ],
    ids=["a chain that begins there", "a name that begins there", "chains that lead elsewhere", "nothing to tell"],
)
def test_chains(inventory: Inventory, mapping: list[Any], is_shared: bool) -> None:
    inventory.site("T2_A", prefix="davs://se.org/cms")
    inventory.site("T2_B", prefix="davs://se2.org/x")
    inventory.rows(
        "UPDATE site_endpoints SET mapping = CAST(:m AS jsonb) WHERE site_id = :s",
        m=json.dumps(mapping),
        s=inventory.site_ids["T2_B"],
    )
    with inventory.db.begin() as connection:
        assert others_on_storage(connection, inventory.site_ids["T2_A"]) == (["T2_B"] if is_shared else [])


@pytest.fixture
def twins(inventory: Inventory) -> Inventory:
    """T2_A and T2_B are one storage, T2_C is not; b1 is at all three."""
    for site, prefix in (("T2_A", "davs://se.org/cms"), ("T2_B", "davs://se.org/cms"), ("T2_C", "davs://se2.org/cms")):
        inventory.site(site, prefix=prefix)
    inventory.block("b1", 2)
    for site in ("T2_A", "T2_B", "T2_C"):
        inventory.replica("b1", site)
    return inventory


def share(stock: Inventory) -> None:
    declare(stock.db, "T2_B", "T2_A", by=ADA, reason="one dCache, two names")


def test_declared_what_the_other_has_stays_and_what_it_has_not_goes(twins: Inventory) -> None:
    share(twins)
    twins.subscription("delete", twins.files_of["b1"], "T2_A")
    assert plan_deletions(twins.db) == []
    number = twins.scalar("SELECT min(id) FROM subscriptions")
    assert why(twins.db, number).because == "queued: it waits, since a site that shares this storage has the file"
    twins.rows("DELETE FROM block_replicas WHERE site_id = :s", s=twins.site_ids["T2_B"])
    (batch,) = plan_deletions(twins.db)
    twins.replica("b1", "T2_B")
    chunk = claim_chunk(twins.db, batch, 10)
    assert chunk is not None
    assert (chunk.claimed, chunk.num_left_out) == ({}, 2)
    reasons = twins.rows("SELECT DISTINCT last_error FROM subscriptions")
    assert reasons == [("not deleted: a site that shares this storage has it",)]


def test_declared_what_both_are_to_delete_goes_at_both(twins: Inventory) -> None:
    share(twins)
    for site in ("T2_A", "T2_B"):
        twins.subscription("delete", twins.files_of["b1"], site)
    assert len(plan_deletions(twins.db)) == 2


def test_what_went_at_one_is_gone_at_the_other_too(twins: Inventory) -> None:
    """Last copies may go at T2_A, not at T2_B: whose deletion would wait, be taken back, and say that it has them."""
    share(twins)
    twins.rows("DELETE FROM block_replicas WHERE site_id = :s", s=twins.site_ids["T2_C"])
    for site in ("T2_A", "T2_B"):
        twins.subscription("delete", twins.files_of["b1"], site, is_last_allowed=site == "T2_A")
    (batch,) = plan_deletions(twins.db)
    execute_batch(twins.db, batch, Answers())  # type: ignore[arg-type]
    assert set(twins.subscriptions().values()) == {"done"}
    assert [twins.replica_state("b1", site) for site in ("T2_A", "T2_B")] == [None, None]


@pytest.mark.parametrize("is_declared", [True, False])
def test_no_copy_is_written_over_what_the_other_has(
    twins: Inventory, identity: FtsIdentity, *, is_declared: bool
) -> None:
    """FTS deletes what is at the destination before it writes: half a copy would be all that is left of T2_B's."""
    if is_declared:
        share(twins)
    twins.rows("DELETE FROM block_replicas WHERE site_id = :s", s=twins.site_ids["T2_A"])
    twins.block("b2", 1)
    twins.replica("b2", "T2_C")
    twins.subscription("copy", [*twins.files_of["b1"], *twins.files_of["b2"]], "T2_A")
    (batch,) = plan_batches(twins.db, identity).all
    fts = Fts()
    assert submit_batch(twins.db, fts, batch).num_files == 1  # type: ignore[arg-type]
    (job,) = fts.jobs
    assert [file["destinations"] for file in job["files"]] == [["davs://se.org/cms/store/b2/f0"]]
    held = twins.rows("SELECT hold_reason, last_error FROM subscriptions WHERE state = 'held'")
    assert held == [("refused", HELD_BY_PARTNER)] * 2


def test_nothing_is_copied_from_a_storage_to_itself(twins: Inventory, identity: FtsIdentity) -> None:
    for site in ("T2_B", "T2_C"):
        twins.rows("DELETE FROM block_replicas WHERE site_id = :s", s=twins.site_ids[site])
    twins.subscription("copy", twins.files_of["b1"], "T2_B")
    assert plan_batches(twins.db, identity).num_files == 0
    ((state, reason),) = set(twins.rows("SELECT state, last_error FROM subscriptions"))
    assert state == "held"
    assert "the same storage under another name" in reason


@pytest.mark.parametrize(("other", "is_found"), [("T2_B", True), ("T2_C", False)])
def test_what_two_sites_have_in_common(twins: Inventory, other: str, is_found: bool) -> None:
    twins.block("b2", 1)
    twins.replica("b2", "T2_A")
    assert common(twins.db, "T2_A", other) == Common(False, is_found, num_blocks=1, size_bytes=4 * SIZE)
    declare(twins.db, "T2_A", other, by=ADA, reason="one dCache, two names")
    assert common(twins.db, other, "T2_A").is_declared


def test_who_shares_is_shown_with_who_said_so(twins: Inventory) -> None:
    twins.site("T2_D", prefix="davs://se.org/cms/deep")
    share(twins)
    shown = shared_storages(twins.db).select("site", "other", "is_equal", "is_found", "created_by").rows()
    assert shown == [
        ("T2_A", "T2_B", True, True, "ada"),
        ("T2_A", "T2_D", False, True, None),
        ("T2_B", "T2_D", False, True, None),
    ]
    assert withdraw(twins.db, "T2_A", "T2_B", by=ADA)
    assert not withdraw(twins.db, "T2_A", "T2_B", by=ADA)
    with twins.db.begin() as connection:
        assert others_on_storage(connection, twins.site_ids["T2_A"]) == ["T2_B", "T2_D"]


@pytest.mark.parametrize(
    ("pair", "reason", "message"),
    [
        (("T2_A", "T2_D"), "x", "lie in each other"),
        (("T2_A", "T2_E"), "x", "cannot be told apart"),
        (("T2_A", "T2_A"), "x", "is one site"),
        (("T2_A", "T2_Q"), "x", "T2_Q"),
        (("T2_A", "T2_B"), " ", "say why"),
    ],
)
def test_what_cannot_be_declared(twins: Inventory, pair: tuple[str, str], reason: str, message: str) -> None:
    twins.site("T2_D", prefix="davs://se.org/cms/deep")
    twins.site("T2_E", prefix="davs://se.org/cms/d%65ep")
    with pytest.raises(InventoryError, match=message):
        declare(twins.db, *pair, by=ADA, reason=reason)


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
