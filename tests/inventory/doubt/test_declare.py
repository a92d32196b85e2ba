"""A person calls copies bad, suspicious or good: what counts from then on, what is fetched again, who is told."""

from __future__ import annotations

import polars as pl
import pytest

from dynamo_ops.access import audit
from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.errors import InventoryError, PausedError, UnknownNameError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.doubt.declare import call_good, declare_bad, judge_again, report_suspicious
from dynamo_ops.inventory.doubt.recovery import fetch_again
from dynamo_ops.inventory.replica import files as replicas
from dynamo_ops.inventory.replica.copies import is_last_copy
from dynamo_ops.pause.pauses import PauseKind, stop
from tests.inventory.factory import SIZE, Inventory, fill_changed
from tests.people import ADA, BOB

WHY = "the pool is broken"


@pytest.fixture
def stock(database: Database) -> Inventory:
    """b1 at T2_A and T2_B, b2 at T2_A only; both are of ops. b1 also at T1_T, which is tape."""
    inventory = Inventory(database)
    inventory.site("T2_A")
    inventory.site("T2_B")
    inventory.site("T1_T", storage_type="mss")
    inventory.block("b1", 3)
    inventory.block("b2", 2)
    for block, site in (("b1", "T2_A"), ("b1", "T2_B"), ("b1", "T1_T"), ("b2", "T2_A")):
        inventory.replica(block, site)
    return inventory


def called(stock: Inventory) -> dict[tuple[str, str], tuple[str, str, str]]:
    rows = stock.rows("""SELECT f.lfn, s.name, c.state, c.reason, c.created_by FROM bad_replicas c
                         JOIN files f ON f.id = c.file_id JOIN sites s ON s.id = c.site_id ORDER BY 1, 2""")
    return {row[:2]: row[2:] for row in rows}


def last_copies(stock: Inventory, lfn: str) -> set[str]:
    """Sites at which it would be the last copy."""
    sql = f"SELECT s.name FROM files f CROSS JOIN sites s WHERE f.lfn = :lfn AND {is_last_copy('f.id', 's.id')}"
    return {name for (name,) in stock.rows(sql, lfn=lfn)}


def test_a_bad_copy_is_fetched_again_and_its_owner_stays(stock: Inventory) -> None:
    lfn = "/store/b1/f0"
    summary = declare_bad(stock.db, "T2_A", [lfn], reason=WHY, by=ADA)
    assert (summary.num_files, summary.num_new, summary.num_copying, summary.size_bytes) == (1, 1, 1, SIZE)
    assert called(stock) == {(lfn, "T2_A"): ("copying", WHY, "ada")}
    assert stock.replica_state("b1", "T2_A") == (False, 2 * SIZE, 2)
    assert stock.subscriptions() == {("copy", lfn, "T2_A"): "new"}
    owner = "SELECT group_id FROM block_replicas WHERE site_id = :s AND block_id = :b"
    assert stock.scalar(owner, s=stock.site_ids["T2_A"], b=stock.block_ids["b1"]) == stock.group_id
    # It has arrived anew: nothing is said against it any more.
    with stock.db.begin() as connection:
        fill_changed(connection, changed(stock, lfn, "T2_A"))
        replicas.arrive(connection)
    assert (called(stock), stock.replica_state("b1", "T2_A")) == ({}, (True, 3 * SIZE, 0))


def test_where_no_other_copy_is_good_a_person_decides(stock: Inventory) -> None:
    lfn = "/store/b2/f1"
    summary = declare_bad(stock.db, "T2_A", [lfn], reason=WHY, by=ADA)
    assert (summary.num_last_copy, summary.last_copies, summary.num_copying) == (1, (lfn,), 0)
    assert stock.replica_state("b2", "T2_A") == (True, 2 * SIZE, 0)
    assert (stock.subscriptions(), called(stock)[lfn, "T2_A"][0]) == ({}, "last_copy")
    assert last_copies(stock, lfn) == {"T2_A", "T2_B", "T1_T"}
    # Somebody has found a good one: the next look fetches it.
    stock.replica("b2", "T2_B")
    assert judge_again(stock.db)["num_copying"] == 1
    assert (called(stock)[lfn, "T2_A"][0], stock.subscriptions()) == ("copying", {("copy", lfn, "T2_A"): "new"})


def test_the_copies_of_two_sites_that_are_bad_do_not_vouch_for_each_other(stock: Inventory) -> None:
    lfn = "/store/b1/f0"
    stock.rows("DELETE FROM block_replicas WHERE site_id = :s", s=stock.site_ids["T1_T"])
    assert declare_bad(stock.db, "T2_A", [lfn], reason=WHY, by=ADA).num_copying == 1
    assert declare_bad(stock.db, "T2_B", [lfn], reason=WHY, by=ADA).num_last_copy == 1
    assert stock.replica_state("b1", "T2_B") == (True, 3 * SIZE, 0)


def test_on_tape_nothing_is_overwritten(stock: Inventory) -> None:
    summary = declare_bad(stock.db, "T1_T", ["/store/b1/f0"], reason=WHY, by=ADA)
    assert (summary.num_on_tape, stock.subscriptions()) == (1, {})
    assert stock.replica_state("b1", "T1_T") == (True, 3 * SIZE, 0)
    assert judge_again(stock.db)["num_copying"] == 0


@pytest.mark.parametrize("status", ["waitroom", "morgue", "unknown"])
def test_a_copy_at_a_site_that_is_away_vouches_for_nothing(stock: Inventory, status: str) -> None:
    stock.rows("UPDATE sites SET status = :t WHERE name <> 'T2_A'", t=status)
    assert declare_bad(stock.db, "T2_A", ["/store/b1/f0"], reason=WHY, by=ADA).num_last_copy == 1


def test_what_is_suspicious_is_doubted_and_stays_where_it_is(stock: Inventory) -> None:
    lfn = "/store/b1/f0"
    for site in ("T2_B", "T1_T"):
        report_suspicious(stock.db, site, [lfn], reason="reads fail", by=ADA)
    assert last_copies(stock, lfn) == {"T2_A", "T2_B", "T1_T"} - {"T2_B", "T1_T"}
    assert stock.subscriptions() == {}
    # A person confirms one, and takes the other back.
    assert declare_bad(stock.db, "T2_B", [lfn], reason=WHY, by=BOB).num_copying == 1
    assert called(stock)[lfn, "T2_B"] == ("copying", WHY, "bob")
    assert report_suspicious(stock.db, "T2_B", [lfn], reason="again", by=ADA).num_new == 0
    assert called(stock)[lfn, "T2_B"] == ("copying", WHY, "bob")
    assert call_good(stock.db, "T1_T", [lfn], reason="read it whole", by=BOB).num_good == 1
    assert last_copies(stock, lfn) == set()


def test_who_was_wrong_takes_it_back_before_anything_is_copied(stock: Inventory) -> None:
    files = stock.files_of["b1"]
    declare_bad(stock.db, "T2_A", files, reason=WHY, by=ADA)
    stock.rows("""UPDATE subscriptions SET state = 'inbatch'
                  WHERE file_id = (SELECT id FROM files WHERE lfn = '/store/b1/f2')""")
    summary = call_good(stock.db, "T2_A", files, reason="wrong pool", by=ADA)
    assert (summary.num_files, summary.num_good, summary.num_restored, summary.num_too_late) == (3, 2, 2, 1)
    assert stock.replica_state("b1", "T2_A") == (False, 2 * SIZE, 2)
    assert {lfn: state for (lfn, _), (state, *_) in called(stock).items()} == {
        "/store/b1/f0": "good",
        "/store/b1/f1": "good",
        "/store/b1/f2": "copying",
    }
    assert sorted(stock.subscriptions().values()) == ["cancelled", "cancelled", "inbatch"]
    with pytest.raises(InventoryError, match="nothing is said against '/store/b1/f0' at T2_A"):
        call_good(stock.db, "T2_A", files[:1], reason="again", by=ADA)


def test_where_nothing_comes_any_more_nothing_is_said_either(stock: Inventory) -> None:
    """Who cancels the copy has nothing there by the inventory: calling it good brings nothing back."""
    lfn = "/store/b1/f0"
    declare_bad(stock.db, "T2_A", [lfn], reason=WHY, by=ADA)
    stock.rows("UPDATE subscriptions SET state = 'cancelled'")
    summary = call_good(stock.db, "T2_A", [lfn], reason="nobody wants it there", by=ADA)
    assert (summary.num_good, summary.num_restored, summary.num_too_late) == (1, 0, 0)
    assert (called(stock)[lfn, "T2_A"][0], stock.replica_state("b1", "T2_A")) == ("good", (False, 2 * SIZE, 2))


def test_what_is_being_deleted_is_left_to_that_and_judged_when_it_is_not(stock: Inventory) -> None:
    lfn = "/store/b1/f0"
    stock.subscription("delete", [lfn], "T2_A")
    assert declare_bad(stock.db, "T2_A", [lfn], reason=WHY, by=ADA).num_bad == 1
    assert stock.subscriptions() == {("delete", lfn, "T2_A"): "new"}
    stock.rows("UPDATE subscriptions SET state = 'cancelled'")
    assert judge_again(stock.db)["num_copying"] == 1


def test_what_is_deleted_is_not_called_bad_any_more(stock: Inventory) -> None:
    declare_bad(stock.db, "T1_T", ["/store/b1/f0"], reason=WHY, by=ADA)
    with stock.db.begin() as connection:
        fill_changed(connection, changed(stock, "/store/b1/f0", "T1_T"))
        replicas.leave(connection, is_deleted=True)
    assert called(stock) == {}


def test_again_it_does_no_more(stock: Inventory) -> None:
    files = [*stock.files_of["b1"], *stock.files_of["b2"]]
    first = declare_bad(stock.db, "T2_A", files, reason=WHY, by=ADA)
    before = called(stock), stock.subscriptions()
    second = declare_bad(stock.db, "T2_A", [*files, *files], reason="again", by=BOB)
    assert (first.num_new, second.num_new, second.num_copying, second.num_last_copy) == (5, 0, 3, 2)
    assert (called(stock), stock.subscriptions()) == before
    assert stock.scalar("SELECT count(*) FROM events") == 1


def test_a_dry_run_says_the_same_and_leaves_nothing(stock: Inventory) -> None:
    files = stock.files_of["b1"]
    tried = declare_bad(stock.db, "T2_A", files, reason=WHY, by=ADA, dry_run=True)
    assert (called(stock), stock.subscriptions(), stock.scalar("SELECT count(*) FROM events")) == ({}, {}, 0)
    assert declare_bad(stock.db, "T2_A", files, reason=WHY, by=ADA) == tried
    assert audit.records(stock.db)["outcome"].to_list() == ["done", "dry_run"]


def test_a_name_that_is_wrong_is_named_and_nothing_is_done(stock: Inventory) -> None:
    named = ["/store/b1/f0", "/store/none", "/store/b2/f0"]
    with pytest.raises(InventoryError) as refused:
        declare_bad(stock.db, "T2_B", named, reason=WHY, by=ADA)
    assert refused.value.facts["faults"] == [
        "lfns[1]: unknown file '/store/none'",
        "lfns[2]: '/store/b2/f0' is not at T2_B by the inventory",
    ]
    with pytest.raises(UnknownNameError, match="there is no site 'T2_X'"):
        declare_bad(stock.db, "T2_X", named, reason=WHY, by=ADA)
    with pytest.raises(InventoryError, match="say why"):
        declare_bad(stock.db, "T2_B", named, reason=" ", by=ADA)
    with pytest.raises(InventoryError, match="no file is named"):
        declare_bad(stock.db, "T2_B", [], reason=WHY, by=ADA)
    assert (called(stock), stock.subscriptions()) == ({}, {})


def test_owners_are_told_of_what_became_of_it(stock: Inventory) -> None:
    declare_bad(stock.db, "T2_A", [*stock.files_of["b1"], *stock.files_of["b2"]], reason=WHY, by=ADA)
    ((kind, name, groups, sites, facts),) = stock.rows("SELECT kind, object_name, groups, sites, facts FROM events")
    assert (kind, name, groups, sites) == ("file.bad", "/A/B-v1/AOD", ["ops"], ["T2_A"])
    counts = {"num_files": 5, "num_copying": 3, "num_last_copy": 2, "num_suspicious": 0}
    assert facts == {"by": "ada", "reason": WHY, "size_bytes": 5 * SIZE, **counts}


def test_who_looks_after_a_site_declares_there_others_report(stock: Inventory) -> None:
    sam = Person("sam", KnownBy.TOKEN, (Grant(Role.SITE_ADMIN, Scope.parse("site:T2_A")),))
    uma = Person("uma", KnownBy.TOKEN, (Grant(Role.USER),))
    lfns = ["/store/b1/f0"]
    for act, site, person in ((declare_bad, "T2_B", sam), (declare_bad, "T2_A", uma), (call_good, "T2_A", uma)):
        report_suspicious(stock.db, "T2_A", lfns, reason=WHY, by=ADA)
        with pytest.raises(AccessError, match="may not declare bad replicas"):
            act(stock.db, site, lfns, reason=WHY, by=person)
    assert declare_bad(stock.db, "T2_A", lfns, reason=WHY, by=sam).num_copying == 1
    assert report_suspicious(stock.db, "T2_B", lfns, reason=WHY, by=uma).num_suspicious == 1


def changed(stock: Inventory, lfn: str, site: str) -> pl.DataFrame:
    return pl.DataFrame({"file_id": [stock.file_ids[lfn]], "site_id": [stock.site_ids[site]]})


def test_what_a_check_has_fetched_again_is_not_suspicious_any_more(stock: Inventory) -> None:
    """Other bytes will be there; what a person called good stays so."""
    first, second = stock.files_of["b1"][:2]
    report_suspicious(stock.db, "T2_A", [first, second], reason="reads fail", by=ADA)
    call_good(stock.db, "T2_A", [second], reason="read it whole", by=ADA)
    with stock.db.begin() as connection:
        fetch_again(
            connection,
            "SELECT id AS file_id, CAST(:site AS smallint) AS site_id, false AS is_there, false AS must_be_good"
            " FROM files WHERE lfn = ANY(:lfns)",
            origin="consistency",
            parameters={"site": stock.site_ids["T2_A"], "lfns": [first, second]},
        )
    assert [state for state, *_ in called(stock).values()] == ["copying", "good"]
    assert set(stock.subscriptions().values()) == {"new"}


def test_nothing_is_judged_while_consistency_stands_still(stock: Inventory) -> None:
    stop(stock.db, PauseKind.CONSISTENCY, by=ADA, reason="new disks")
    with pytest.raises(PausedError, match="new disks"):
        judge_again(stock.db)
