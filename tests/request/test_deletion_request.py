"""Deletion requests: what may go goes as by Detox, what must stay is refused with the reason."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.settings import RequestSettings
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.lock.store import add_lock
from dynamo_ops.request import deletion_request as module
from dynamo_ops.request.deletion_request import DeletionAnswer
from tests.inventory.factory import SIZE
from tests.people import BOB
from tests.request.stock import DATASET, NOW, OTHER, Stock


def reasons(answer: DeletionAnswer) -> dict[tuple[str, str], str | None]:
    """(item, site) → reason; None: accepted."""
    return {row[:2]: row[2] for row in answer.verdicts.select("item", "site", "reason").iter_rows()}


def test_what_may_go_loses_its_owner_and_gets_subscriptions(asked: Stock) -> None:
    answer = asked.delete()
    assert answer.request_id is not None
    assert answer.verdicts.rows() == [(DATASET, "T2_A", "queued", None, 2, 6 * SIZE)]
    assert (answer.state, answer.accepted_bytes) == ("activated", 6 * SIZE)
    assert (asked.owner("b1", "T2_A"), asked.owner("b1", "T2_B")) == (None, "ops")
    assert asked.subscriptions() == {("delete", lfn, "T2_A"): "new" for lfn in asked.files}
    assert asked.scalar("SELECT DISTINCT origin FROM subscriptions") == f"request {answer.request_id}"
    assert asked.actions(answer.request_id) == {("b1", "T2_A"): "queued", ("b2", "T2_A"): "queued"}
    row = asked.rows("SELECT kind, state, reason, requested_by, created_at FROM requests")
    assert row == [("deletion", "activated", "not needed", "ada", NOW)]


def test_one_block_goes_and_the_other_stays(asked: Stock) -> None:
    answer = asked.delete(f"{DATASET}#b1")
    assert reasons(answer) == {(f"{DATASET}#b1", "T2_A"): None}
    assert (asked.owner("b1", "T2_A"), asked.owner("b2", "T2_A")) == (None, "ops")


def test_what_is_deleted_whole_stops_growing(asked: Stock) -> None:
    asked.rows("UPDATE dataset_replicas SET is_growing = true")
    asked.delete(f"{DATASET}#b1")
    assert asked.grows("T2_A")
    asked.delete(f"{DATASET}#b2")
    assert (asked.grows("T2_A"), asked.grows("T2_B")) == (False, True)


def test_a_dry_run_says_the_same_and_changes_nothing(asked: Stock) -> None:
    add_lock(asked.db, f"{DATASET}#b2", reason="thesis", by=BOB, now=NOW)
    before = asked.everything()
    tried = asked.delete(dry_run=True)
    assert (tried.request_id, asked.everything()) == (None, before)
    done = asked.delete()
    assert done.verdicts.equals(tried.verdicts)
    assert done.verdicts["state"].to_list() == ["queued", "refused"]


LOCKED, LAST, SOURCE = "it is locked", "it is the last copy", "it is the only source of a copy that is still pending"


def lock(stock: Stock) -> None:
    add_lock(stock.db, DATASET, sites="T2_A", reason="thesis", by=BOB, now=NOW)


def drop_b(stock: Stock) -> None:
    stock.rows("DELETE FROM block_replicas WHERE site_id = :s", s=stock.site_ids["T2_B"])


def condemn_b(stock: Stock) -> None:
    stock.rows("UPDATE block_replicas SET group_id = NULL WHERE site_id = :s", s=stock.site_ids["T2_B"])
    stock.subscription("delete", stock.files, "T2_B")


def incomplete_b(stock: Stock) -> None:
    drop_b(stock)
    for block in ("b1", "b2"):
        stock.replica(block, "T2_B", present=stock.files_of[block][:1])


def incomplete_a(stock: Stock) -> None:
    stock.rows("DELETE FROM block_replicas")
    for block in ("b1", "b2"):
        stock.replica(block, "T2_A", present=stock.files_of[block][:1])


def only_source(stock: Stock) -> None:
    drop_b(stock)
    stock.subscription("copy", stock.files, "T2_C")


def custodial(stock: Stock) -> None:
    stock.rows("UPDATE block_replicas SET is_custodial = true")


def being_deleted(stock: Stock) -> None:
    stock.rows("UPDATE block_replicas SET group_id = NULL WHERE site_id = :s", s=stock.site_ids["T2_A"])
    stock.subscription("delete", stock.files, "T2_A")


@pytest.mark.parametrize(
    ("prepare", "given", "reason"),
    [
        pytest.param(lock, {}, LOCKED, id="locked"),
        pytest.param(drop_b, {}, LAST, id="no other replica"),
        pytest.param(condemn_b, {}, LAST, id="the other is being deleted"),
        pytest.param(incomplete_a, {}, LAST, id="incomplete, but all there is"),
        pytest.param(incomplete_b, {}, SOURCE, id="the other waits for it"),
        pytest.param(only_source, {}, SOURCE, id="a subscription elsewhere waits for it"),
        pytest.param(custodial, {}, "it is custodial", id="custodial"),
        pytest.param(being_deleted, {}, "it is being deleted already", id="being deleted"),
        pytest.param(
            lambda _: None, {"group": "users"}, "it is owned by group ops, not by group users", id="another group's"
        ),
        pytest.param(lambda _: None, {"sites": ("T2_C",)}, "it is not there", id="not there"),
    ],
)
def test_what_must_stay_is_refused_with_the_reason(
    asked: Stock, prepare: Callable[[Stock], None], given: dict[str, Any], reason: str
) -> None:
    prepare(asked)
    before = asked.everything()
    answer = asked.delete(**given)
    assert set(reasons(answer).values()) == {reason}
    assert answer.request_id is not None
    assert (answer.state, asked.state(answer.request_id)) == ("rejected", "rejected")
    assert asked.because(answer.request_id) == f"nothing may be deleted: {reason}"
    assert set(asked.actions(answer.request_id).values()) == {"refused"}
    assert asked.everything()["block_replicas"] == before["block_replicas"]
    assert asked.everything()["subscriptions"] == before["subscriptions"]


def test_two_copies_asked_for_at_once_do_not_rely_on_each_other(asked: Stock) -> None:
    answer = asked.delete(sites=("T2_*",))
    assert set(answer.verdicts["reason"]) == {LAST}
    assert asked.active("delete", "T2_A") == asked.active("delete", "T2_B") == 0


def test_the_last_copy_is_told_after_what_stays_for_other_reasons(asked: Stock) -> None:
    add_lock(asked.db, DATASET, sites="T2_B", reason="thesis", by=BOB, now=NOW)
    answer = asked.delete(sites=("T2_*",))
    assert reasons(answer) == {(DATASET, "T2_A"): None, (DATASET, "T2_B"): LOCKED}


def test_tape_is_deleted_only_when_it_is_said(asked: Stock) -> None:
    asked.replica("b1", "T1_Tape")
    item = f"{DATASET}#b1"
    assert reasons(asked.delete(item, sites=("T1_Tape",))) == {(item, "T1_Tape"): "it is on tape"}
    assert reasons(asked.delete(item, sites=("T1_Tape",), allow_tape=True)) == {(item, "T1_Tape"): None}


def test_part_of_it_is_enough(asked: Stock) -> None:
    asked.rows(
        "DELETE FROM block_replicas WHERE block_id = :b AND site_id = :s",
        b=asked.block_ids["b2"],
        s=asked.site_ids["T2_B"],
    )
    answer = asked.delete()
    assert answer.verdicts.select("state", "reason", "num_blocks").rows() == [("queued", None, 1), ("refused", LAST, 1)]
    assert (asked.owner("b1", "T2_A"), asked.owner("b2", "T2_A")) == (None, "ops")


def test_a_glob_is_silent_about_sites_that_do_not_have_it(asked: Stock) -> None:
    assert set(reasons(asked.delete(sites=("T2_[AC]*",)))) == {(DATASET, "T2_A")}
    asked.other_dataset("c1")
    answer = asked.delete(OTHER, sites=("T2_[AC]*",))
    assert reasons(answer) == {(OTHER, "T2_A"): "it is not there", (OTHER, "T2_C"): "it is not there"}


def test_a_replica_without_files_is_gone_at_once(asked: Stock) -> None:
    asked.replica("b1", "T2_C", present=[])
    asked.subscription("copy", asked.files_of["b1"], "T2_C")
    answer = asked.delete(f"{DATASET}#b1", sites=("T2_C",))
    assert answer.accepted.height == 1
    assert asked.subscriptions()["copy", asked.files_of["b1"][0], "T2_C"] == "cancelled"


# -- what the policy said ----------------------------------------------------------------------------------------------


PROTECTED = "it is protected by the policy of physics, line 3: Protect dataset.name == /line3/*"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param([[("protect", 3)]], PROTECTED, id="protected"),
        pytest.param([[("keep", 0)]], None, id="kept"),
        pytest.param([[("protect", 3)], [("keep", 0)]], None, id="not any more"),
        pytest.param([[("keep", 0)], [("protect", 3)]], PROTECTED, id="since"),
        pytest.param([[("protect", 3)], [("delete", 1)]], None, id="deleted since"),
        pytest.param([[("protect", 3), ("delete", 1)], [("delete", 1)]], PROTECTED, id="both, said again"),
        pytest.param([[("protect", 3), ("keep", 0)]], PROTECTED, id="part of it"),
    ],
)
def test_what_the_policy_protected_last_stays(
    asked: Stock, said: list[list[tuple[str, int]]], reason: str | None
) -> None:
    for decisions in said:
        asked.detox_said("T2_A", *decisions)
    assert reasons(asked.delete()) == {(DATASET, "T2_A"): reason}


def test_a_copy_that_nobody_owns_is_a_copy(asked: Stock) -> None:
    asked.rows("UPDATE block_replicas SET group_id = NULL WHERE site_id = :s", s=asked.site_ids["T2_B"])
    assert reasons(asked.delete()) == {(DATASET, "T2_A"): None}


def test_each_partition_has_its_say(asked: Stock) -> None:
    asked.detox_said("T2_A", ("protect", 3))
    asked.detox_said("T2_A", ("keep", 0), partition="express")
    assert reasons(asked.delete()) == {(DATASET, "T2_A"): PROTECTED}


# -- asking again, limits, wrong questions -----------------------------------------------------------------------------


def test_asked_again_it_is_counted_and_the_refused_looked_at_once_more(asked: Stock) -> None:
    asked.replica("b1", "T2_C")
    asked.subscription("delete", asked.files_of["b2"], "T2_B")
    first = asked.delete()
    assert first.verdicts["reason"].to_list() == [None, LAST]
    asked.rows("UPDATE subscriptions SET state = 'cancelled' WHERE site_id = :s", s=asked.site_ids["T2_B"])
    again = asked.delete(by=BOB)
    assert again.request_id == first.request_id
    assert again.verdicts.select("item", "site", "state", "num_blocks").rows() == [(DATASET, "T2_A", "queued", 1)]
    assert first.request_id is not None
    assert set(asked.actions(first.request_id).values()) == {"queued"}
    assert asked.rows("SELECT num_asked, requested_by, last_asked_by FROM requests") == [(2, "ada", "bob")]
    assert asked.active("delete", "T2_A") == 6


def test_a_rejected_request_does_not_stand_in_the_way(asked: Stock) -> None:
    first = asked.delete(sites=("T2_C",))
    assert asked.delete(sites=("T2_C",)).request_id != first.request_id


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reason": " "}, r"say why \(reason is empty\)"),
        ({"sites": ("T9_X",)}, "there is no site 'T9_X'"),
        ({"group": "opps"}, "there is no group 'opps'; groups are ops, users"),
        (
            {"limits": RequestSettings(max_size_tb=5e-9)},
            r"deletion of /A/B-v1/AOD: 6.00 kB in all, and requests.max_size_tb is 5e-09 TB",
        ),
    ],
    ids=["no reason", "site", "group", "too large"],
)
def test_a_wrong_question_changes_nothing(asked: Stock, given: dict[str, Any], message: str) -> None:
    before = asked.everything()
    with pytest.raises(InventoryError, match=message):
        asked.delete(**given)
    assert asked.everything() == before


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("/A/B-v2/AOD", r"unknown dataset '/A/B-v2/AOD'\. Did you mean /A/B-v1/AOD\?"),
        (f"{DATASET}#b3", r"/A/B-v1/AOD has no block 'b3'"),
        (f"{DATASET}#", "is no item: expected a dataset or dataset#block"),
    ],
)
def test_an_unknown_item_is_named(asked: Stock, item: str, message: str) -> None:
    with pytest.raises(InventoryError, match=message):
        asked.delete(DATASET, item)


@pytest.mark.parametrize("step", ["refuse_what_must_stay", "insert_request", "let_go"])
def test_killed_on_the_way_it_has_changed_nothing(asked: Stock, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    before = asked.everything()
    real: Callable[..., Any] = getattr(module, step)

    def killed(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            asked.delete()
    assert asked.everything() == before
    assert asked.delete().accepted.height == 1


WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def test_it_waits_for_a_detox_commit_and_sees_what_that_took(asked: Stock) -> None:
    answers: list[DeletionAnswer] = []
    waiting = threading.Thread(target=lambda: answers.append(asked.delete()))
    with asked.db.begin() as detox:
        hold(detox, Lock.DELETIONS)
        waiting.start()
        while waiting.is_alive() and not asked.scalar(WAITING):
            pass
        assert not answers
        detox.execute(
            text("""INSERT INTO subscriptions (file_id, site_id, action, origin)
                    SELECT id, :s, 'delete', 'detox' FROM files"""),
            {"s": asked.site_ids["T2_B"]},
        )
    waiting.join()
    assert set(answers[0].verdicts["reason"]) == {LAST}


def test_no_order_of_two_requests_deletes_both_copies(asked: Stock) -> None:
    answers: dict[str, DeletionAnswer] = {}

    def ask(site: str) -> None:
        answers[site] = asked.delete(sites=(site,))

    threads = [threading.Thread(target=ask, args=(site,)) for site in ("T2_A", "T2_B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.state for answer in answers.values()) == ["activated", "rejected"]


def test_verdicts_have_their_columns_when_there_is_nothing_to_say(asked: Stock) -> None:
    asked.delete()
    again = asked.delete()
    assert again.verdicts.is_empty()
    assert again.verdicts.schema["size_bytes"] == pl.Int64
    assert again.state == "activated"


def test_a_person_who_names_their_number_lets_last_copies_go(asked: Stock) -> None:
    drop_b(asked)
    tried = asked.delete(dry_run=True)
    assert (set(tried.verdicts["reason"]), tried.num_last_files) == ({LAST}, 6)
    with pytest.raises(InventoryError, match=r"6 files would lose their last copy, not 5\. .*--allow-last 6"):
        asked.delete(allow_last=5)
    assert asked.subscriptions() == {}
    assert asked.delete(allow_last=6).refused.is_empty()
    assert asked.scalar("SELECT bool_and(is_last_allowed) FROM subscriptions") is True


def test_what_is_not_the_last_copy_gets_no_permission_to_be(asked: Stock) -> None:
    asked.rows(
        "DELETE FROM block_replicas WHERE site_id = :s AND block_id = :b",
        s=asked.site_ids["T2_B"],
        b=asked.block_ids["b1"],
    )
    asked.delete(allow_last=3)
    allowed = asked.rows("""SELECT b.name, bool_and(s.is_last_allowed), bool_or(s.is_last_allowed) FROM subscriptions s
        JOIN files f ON f.id = s.file_id JOIN blocks b ON b.id = f.block_id GROUP BY 1 ORDER BY 1""")
    assert [tuple(row) for row in allowed] == [("b1", True, True), ("b2", False, False)]


POOR = {
    "in the waitroom": "UPDATE sites SET status = 'waitroom' WHERE id = :s",
    "in the morgue": "UPDATE sites SET status = 'morgue' WHERE id = :s",
    "unknown": "UPDATE sites SET status = 'unknown' WHERE id = :s",
    "its last check was refused": """INSERT INTO consistency_checks (run_key, site_id, state)
        VALUES ('x', :s, 'refused')""",
    "missed there": """WITH judged AS (INSERT INTO consistency_checks (run_key, site_id, state)
            VALUES ('x', :s, 'compared') RETURNING id)
        INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes, file_id)
        SELECT judged.id, 'missing', 'seen', f.lfn, 1, f.id FROM judged, files f""",
    "being deleted": """INSERT INTO subscriptions (file_id, site_id, action, origin)
        SELECT f.id, :s, 'delete', 'test' FROM files f""",
}


@pytest.mark.parametrize("poor", POOR.values(), ids=POOR)
def test_a_copy_that_is_none_lets_no_other_go(asked: Stock, poor: str) -> None:
    asked.rows(poor, s=asked.site_ids["T2_B"])
    assert reasons(asked.delete()) == {(DATASET, "T2_A"): LAST}
