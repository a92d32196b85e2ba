"""The look that starts transfers and deletions: it tells of what waits, and of nothing where nothing does."""

from __future__ import annotations

import pytest

from dynamo_ops.inventory.subscription.subscribe import subscribe
from dynamo_ops.pause.pauses import PauseKind, stop
from tests.dags.house import House
from tests.dags.test_transfers import UNPOPULAR, subscription_for
from tests.people import ADA

COPIES, DELETIONS = "dynamo://subscriptions/copies", "dynamo://subscriptions/deletions"


def deletion_at(house: House, site: str) -> int:
    """Deletions of a dataset at a site that has it; others have it, too."""
    with house.database.begin() as connection:
        return subscribe(
            connection,
            "delete",
            """SELECT f.id AS file_id, s.id AS site_id FROM datasets d JOIN blocks b ON b.dataset_id = d.id
            JOIN files f ON f.block_id = b.id, sites s WHERE d.name = :dataset AND s.name = :site""",
            origin="test",
            params={"dataset": UNPOPULAR, "site": site},
        ).num_created


def test_where_nothing_waits_it_is_green_and_starts_nothing(house: House) -> None:
    run = house.run("look_for_work")
    assert (run.state, run.not_green, run.assets) == ("success", {}, set())


def test_it_tells_each_of_the_two_of_what_waits_for_it_until_it_is_done(house: House) -> None:
    assert subscription_for(house, "T2_CC")
    assert house.run("look_for_work").assets == {COPIES}
    house.runs("transfers")
    assert house.run("look_for_work").assets == set()
    assert deletion_at(house, "T1_AA_Disk")
    assert house.run("look_for_work").assets == {DELETIONS}
    house.runs("deletions")
    assert house.run("look_for_work").assets == set()


def test_what_a_killed_run_has_left_is_work(house: House) -> None:
    from dynamo_ops.base.settings import settings
    from dynamo_ops.transfer.tasks import plan_transfer_batches

    subscription_for(house, "T2_CC")
    assert plan_transfer_batches(house.database, settings())
    assert house.rows("SELECT DISTINCT state FROM subscriptions") == [("inbatch",)]
    assert house.run("look_for_work").assets == {COPIES}


def test_what_cannot_be_done_now_is_no_work(house: House) -> None:
    subscription_for(house, "T2_CC")
    house.rows("UPDATE sites SET status = 'morgue' WHERE name = 'T2_CC'")
    run = house.run("look_for_work")
    assert (run.not_green, run.assets) == ({}, set())
    assert house.rows("SELECT DISTINCT state FROM subscriptions") == [("held",)]


def test_what_stands_still_is_shown_and_not_started(house: House) -> None:
    subscription_for(house, "T2_CC")
    deletion_at(house, "T1_AA_Disk")
    stop(house.database, PauseKind.TRANSFERS, by=ADA, reason="the network is mended")
    run = house.run("look_for_work")
    assert (run.state, run.not_green, run.assets) == ("success", {"copies": "skipped"}, {DELETIONS})


@pytest.mark.parametrize("dag_id", ["transfers", "deletions", "metadata_sync", "events", "errands"])
def test_a_run_that_finds_nothing_to_do_is_all_green(house: House, dag_id: str) -> None:
    run = house.run(dag_id)
    assert (run.state, run.not_green) == ("success", {})
