"""The operator's hands: which subscriptions are meant, what becomes of them, and that it stays so."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.glob import glob_regex_sql
from dynamo_ops.deletion import execute, queue
from dynamo_ops.inventory.states import TransferObservation as Seen
from dynamo_ops.inventory.subscription import operate
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_ops.inventory.subscription.subscribe import resubscribe_incomplete
from dynamo_ops.transfer import batches, hold, observe, recovery
from dynamo_ops.transfer.hold import hold_and_release
from dynamo_ops.transfer.observations import OBSERVATIONS
from dynamo_ops.transfer.observe import apply_observations
from dynamo_ops.transfer.submission.submit import submit_batch
from tests.inventory.factory import SIZE, Inventory
from tests.patience import wait_until
from tests.people import ADA, BOB
from tests.world import World

DATASET = "/A/B-v1/AOD"
BY: Any = {"by": ADA, "reason": "broken disk"}


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    """Blocks b1 (3 files) and b2 (2), complete at T2_A; subscribed at T2_B (b1) and T2_C (b2)."""
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    for block, site, number in (("b1", "T2_B", 3), ("b2", "T2_C", 2)):
        inventory.block(block, number)
        inventory.replica(block, "T2_A")
        inventory.subscription(
            "copy", inventory.files_of[block], site, origin="dealer" if block == "b1" else "request 7"
        )
    return inventory


def states(stock: Inventory, block: str) -> set[str]:
    lfns = set(stock.files_of[block])
    return {state for (_, lfn, _), state in stock.subscriptions().items() if lfn in lfns}


def set_state(stock: Inventory, state: str, reason: str | None = None) -> None:
    stock.rows("UPDATE subscriptions SET state = :s, hold_reason = :r", s=state, r=reason)


MEANT: list[tuple[dict[str, Any], int]] = [
    ({"ids": [1, 2, 999]}, 2),
    ({"files": ["/store/b1/f0"]}, 1),
    ({"files": ["/store/b1/*"]}, 3),
    ({"files": ["/store/b?/f[01]"]}, 4),
    ({"files": ["/store/b?/f[!01]", "/store/b2/f0"]}, 2),
    ({"datasets": [DATASET]}, 5),
    ({"datasets": ["/A/*/AOD"]}, 5),
    ({"datasets": ["/B/*"]}, 0),
    ({"blocks": [f"{DATASET}#b1"]}, 3),
    ({"blocks": ["*#b2"]}, 2),
    ({"blocks": [f"{DATASET}#b1", "/A/*#b?"]}, 5),
    ({"sites": ["T2_B"]}, 3),
    ({"sites": ["T2_*"], "origins": ["request *"]}, 2),
    ({"origins": ["dealer"]}, 3),
    ({"actions": ["copy"]}, 5),
    ({"actions": ["delete"]}, 0),
    ({"states": ["new"]}, 5),
    ({"states": ["retry", "held"]}, 0),
    ({"hold_reasons": ["no_source"]}, 0),
    ({"sites": ["T2_B"], "blocks": ["*#b2"]}, 0),
]


def test_who_is_meant(stock: Inventory) -> None:
    found = [(given, operate.look(stock.db, "hold", Selection(**given))) for given, _ in MEANT]
    assert [(given, touched.num_files) for given, touched in found] == MEANT
    assert all(touched.size_bytes == touched.num_files * SIZE for _, touched in found)


MEANINGLESS: list[tuple[dict[str, Any], str]] = [
    ({}, "say which subscriptions"),
    ({"sites": ["T2_b"]}, "there is no site 'T2_b'. Did you mean T2_B"),
    ({"sites": ["T1_*"]}, r"no site matches 'T1_\*"),
    ({"files": ["/store/b1/f9"]}, "there is no file /store/b1/f9"),
    ({"datasets": ["/A/B"]}, "there is no dataset /A/B"),
    ({"blocks": [f"{DATASET}#b9"]}, "there is no block"),
    ({"actions": ["move"]}, "there is no action 'move', only copy, delete"),
    ({"states": ["done"]}, "there is no active state 'done'"),
    ({"hold_reasons": ["no_sourc"]}, "there is no hold reason 'no_sourc'"),
]


def test_what_means_nothing_is_an_error(stock: Inventory) -> None:
    for given, message in MEANINGLESS:
        with pytest.raises(InventoryError, match=message):
            operate.hold(stock.db, Selection(**given), **BY)
    assert states(stock, "b1") == {"new"}


GLOBS = [  # glob, a name that it matches, one that it does not
    ("/a/*", "/a/b/c", "/ab/c"),
    ("*.root", "/x.root", "/xroot"),
    ("a?c", "abc", "abbc"),
    ("*[!a-c]", "xd", "xb"),
    ("*[]x]", "a]", "ay"),
    ("*[^]", "a^", "ab"),
    ("*[a-]", "x-", "xb"),
    (r"*\d+(x|y)$", r"a\d+(x|y)$", "a1x"),
    ("*[é]?", "xéy", "xey"),
]


def test_globs_of_the_database_are_those_of_the_shell(inventory: Inventory) -> None:
    with inventory.db.begin() as connection:
        for glob, matching, other in [*GLOBS, ("*[!z-a]", "z", ""), ("a?", "a\n", "*[z-a]")]:
            found = [
                connection.execute(
                    text("SELECT CAST(:t AS text) ~ :r"), {"t": name, "r": glob_regex_sql(glob)}
                ).scalar()
                for name in (matching, other)
            ]
            assert (glob, found) == (glob, [fnmatchcase(matching, glob), fnmatchcase(other, glob)])
            assert found == [True, False], glob


@pytest.mark.parametrize("state", ["new", "inbatch", "retry", "held"])
def test_what_an_operator_holds_only_an_operator_releases(stock: Inventory, state: str) -> None:
    set_state(stock, state, "no_source" if state == "held" else None)
    assert operate.hold(stock.db, Selection(sites=["T2_B"]), **BY).num_files == 3
    assert states(stock, "b1") == {"held/operator"}
    assert stock.rows("SELECT DISTINCT note FROM subscriptions WHERE state = 'held' AND hold_reason = 'operator'") == [
        ("ada: broken disk",)
    ]
    hold_and_release(stock.db)
    assert operate.retry(stock.db, Selection(sites=["T2_B"]), by=BOB).num_files == 0
    assert operate.hold(stock.db, Selection(sites=["T2_B"]), by=BOB, reason="again").num_files == 0
    assert states(stock, "b1") == {"held/operator"}
    assert operate.release(stock.db, Selection(hold_reasons=["operator"]), by=BOB).num_files == 3
    assert states(stock, "b1") == {"new"}


def test_a_held_file_that_arrives_all_the_same_is_done(stock: Inventory) -> None:
    operate.hold(stock.db, Selection(sites=["T2_B"]), **BY)
    stock.replica("b1", "T2_B")
    hold_and_release(stock.db)
    assert states(stock, "b1") == {"done"}


def test_a_hold_keeps_replicas_from_being_subscribed_for_again(stock: Inventory) -> None:
    stock.replica("b1", "T2_B", present=[])
    operate.hold(stock.db, Selection(sites=["T2_B"]), **BY)
    assert resubscribe_incomplete(stock.db).num_created == 0


def test_release_makes_subscriptions_anew_and_keeps_their_place(stock: Inventory) -> None:
    stock.rows("""UPDATE subscriptions SET state = 'held', hold_reason = 'refused', num_attempts = 3,
                  activity = 'recovery', created_at = '2026-01-01T00:00Z'""")
    assert operate.release(stock.db, Selection(files=["/store/b1/f0"]), by=BOB, reason="mended").num_files == 1
    assert stock.rows("""SELECT state, num_attempts, activity, origin, note, created_at::date::text
                         FROM subscriptions ORDER BY id DESC LIMIT 1""") == [
        ("new", 0, "recovery", "dealer", "bob: mended", "2026-01-01")
    ]
    assert stock.scalar("SELECT state || num_attempts FROM subscriptions WHERE id = 1") == "cancelled3"


@pytest.mark.parametrize(
    ("state", "reason", "number"),
    [
        ("retry", None, 5),
        ("held", "no_source", 5),
        ("held", "site_unavailable", 5),
        ("held", "all_failed", 5),
        ("held", "refused", 0),
        ("held", "operator", 0),
        ("inbatch", None, 0),
        ("new", None, 0),
    ],
)
def test_retry_is_for_what_failed_or_we_held(stock: Inventory, state: str, reason: str | None, number: int) -> None:
    set_state(stock, state, reason)
    stock.rows("UPDATE subscriptions SET num_attempts = 4")
    assert operate.retry(stock.db, Selection(actions=["copy"]), by=BOB).num_files == number
    assert stock.scalar("SELECT count(*) FROM subscriptions WHERE state = 'new' AND num_attempts = 0") == number


def test_cancelled_subscriptions_without_a_replica_stay_cancelled(stock: Inventory) -> None:
    assert operate.cancel(stock.db, Selection(sites=["T2_B"]), **BY).num_files == 3
    resubscribe_incomplete(stock.db)
    assert (states(stock, "b1"), states(stock, "b2")) == ({"cancelled"}, {"new"})
    assert stock.scalar("SELECT DISTINCT note FROM subscriptions WHERE state = 'cancelled'") == "ada: broken disk"


def test_a_cancel_that_would_not_stick_is_refused(stock: Inventory) -> None:
    stock.replica("b1", "T2_B", present=stock.files_of["b1"][:1])
    for act in (
        lambda: operate.look(stock.db, "cancel", Selection(sites=["T2_B"])),
        lambda: operate.cancel(stock.db, Selection(actions=["copy"]), **BY),
    ):
        with pytest.raises(InventoryError, match="3 of these copies are wanted by 1 incomplete block replicas"):
            act()
    assert states(stock, "b1") == {"new"}


@pytest.mark.parametrize("present", [1, 0], ids=["half there", "nothing there"])
def test_disowning_cancels_the_whole_block_for_good(stock: Inventory, present: int) -> None:
    stock.replica("b1", "T2_B", present=stock.files_of["b1"][:present])
    selected = Selection(files=["/store/b1/f2"])
    for touched in (
        operate.look(stock.db, "cancel", selected, disown=True),
        operate.cancel(stock.db, selected, disown=True, **BY),
    ):
        assert (touched.num_files, touched.num_more_files) == (3, 2)
        assert (touched.num_disowned, touched.num_removed) == (1, 1 - present)
    assert resubscribe_incomplete(stock.db).num_created == 0
    assert states(stock, "b1") == {"cancelled"}
    assert states(stock, "b2") == {"new"}
    replica = stock.replica_state("b1", "T2_B")
    assert replica == ((False, SIZE, 1) if present else None)
    datasets = stock.scalar("SELECT count(*) FROM dataset_replicas WHERE site_id = :s", s=stock.site_ids["T2_B"])
    assert datasets == present


def test_a_cancelled_deletion_keeps_the_file_for_nobody(stock: Inventory) -> None:
    stock.replica("b1", "T2_C", owned=False)
    stock.subscription("delete", stock.files_of["b1"], "T2_C")
    touched = operate.cancel(stock.db, Selection(actions=["delete"]), **BY)
    assert (touched.num_files, touched.num_unowned, touched.num_disowned) == (3, 1, 0)
    assert resubscribe_incomplete(stock.db).num_created == 0
    assert stock.replica_state("b1", "T2_C") == (True, 3 * SIZE, 0)


@pytest.mark.parametrize("move", ["hold", "cancel"])
def test_a_reason_is_needed(stock: Inventory, move: str) -> None:
    with pytest.raises(InventoryError, match=f"{move}: say why"):
        getattr(operate, move)(stock.db, Selection(sites=["T2_B"]), by=ADA, reason="  ")


def test_what_is_touched_is_told_by_site_and_state(stock: Inventory) -> None:
    stock.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'no_source' WHERE id = 1")
    touched = operate.look(stock.db, "cancel", Selection(datasets=[DATASET]))
    assert touched.rows.rows() == [
        ("copy", "held", "no_source", "T2_B", 1, SIZE),
        ("copy", "new", None, "T2_B", 2, 2 * SIZE),
        ("copy", "new", None, "T2_C", 2, 2 * SIZE),
    ]


# -- what is under way at that moment ----------------------------------------------------------------------------------


def follow(world: World) -> None:
    """Observe until no job is open."""

    def all_ended() -> bool:
        observe.observe_and_apply(world.inventory.db, world.client)
        return not observe.open_batch_job_ids(world.inventory.db)

    wait_until(all_ended, lambda: "jobs did not end")


def submit(world: World) -> None:
    """What is queued goes to FTS."""
    hold.hold_and_release(world.inventory.db)
    for batch in batches.plan_batches(world.inventory.db, world.client.whoami()).all:
        submit_batch(world.inventory.db, world.client, batch)


def test_a_job_of_held_subscriptions_is_cancelled_and_made_again_when_they_are_released(world: World) -> None:
    contents = world.block("b1", "T1_TAPE", num_files=2)
    world.inventory.subscription("copy", list(contents), "T2_B")
    submit(world)
    db, selected = world.inventory.db, Selection(sites=["T2_B"])
    assert operate.hold(db, selected, **BY).rows["state"].to_list() == ["inbatch"]
    assert recovery.recover(db, world.client).num_cancelled_jobs == 1
    follow(world)
    assert set(world.inventory.subscriptions().values()) == {"held/operator"}
    assert world.inventory.rows("SELECT DISTINCT state FROM transfers") == [("cancelled",)]
    operate.release(db, selected, by=ADA)
    submit(world)
    follow(world)
    assert set(world.inventory.subscriptions().values()) == {"done"}
    assert {lfn: world.pocket.path("T2_B", lfn).read_bytes() for lfn in contents} == contents


@pytest.mark.parametrize(
    ("observation", "state", "is_there"),
    [(Seen.FINISHED, "done", True), (Seen.FAILED, "held", False), (Seen.CANCELLED, "held", False)],
)
def test_what_an_attempt_brings_after_the_hold(stock: Inventory, observation: Seen, state: str, is_there: bool) -> None:
    stock.rows("""WITH b AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
                  VALUES ('s', gen_random_uuid(), 2, false, 'submitted') RETURNING id)
                  INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, size_bytes, state)
                  SELECT b.id, 1, 0, 1, 1000, 'active' FROM b""")
    set_state(stock, "inbatch")
    operate.hold(stock.db, Selection(ids=[1]), **BY)
    seen = pl.DataFrame(
        [(1, observation.value, SIZE, "x", True, None, None, None, None)], schema=dict(OBSERVATIONS), orient="row"
    )
    with stock.db.begin() as connection:
        apply_observations(connection, seen)
    assert stock.scalar("SELECT state FROM subscriptions WHERE id = 1") == state
    assert (stock.replica_state("b1", "T2_B") is not None) == is_there


@pytest.mark.parametrize("move", ["hold", "cancel"])
def test_a_deletion_taken_back_in_time_is_not_made(world: World, move: str) -> None:
    contents = world.block("b1", "T2_A", "T2_B", num_files=2)
    first, second = contents
    db = world.inventory.db
    world.inventory.subscription("delete", list(contents), "T2_B")
    (batch,) = queue.plan_deletions(db)
    getattr(operate, move)(db, Selection(files=[first]), **BY)
    assert execute.execute_batch(db, batch, world.open_storage).num_deleted == 1
    assert (world.pocket.path("T2_B", first).exists(), world.pocket.path("T2_B", second).exists()) == (True, False)
    if move == "hold":
        operate.release(db, Selection(files=[first]), by=ADA)
        (batch,) = queue.plan_deletions(db)
        assert execute.execute_batch(db, batch, world.open_storage).num_deleted == 1
        assert not world.pocket.path("T2_B", first).exists()
