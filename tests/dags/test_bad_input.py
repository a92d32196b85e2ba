"""What a source or a service can do to us, and what that must not do to the inventory."""

from __future__ import annotations

import pytest

from dynamo_ops.base.errors import PermanentRemoteError
from tests.dags.house import House
from tests.quality.bad_input import unchanged
from tests.sources.pocket import inventory_counts

DATASET = "/Muons/Run2025B-v1/AOD"


@pytest.mark.parametrize(
    ("fault", "task", "named"),
    [
        pytest.param(
            "negative_size",
            "gate",
            [
                "metadata gate refused source 'dbs': ",
                "size_bytes is negative in 6 files: /Electrons/Run2026A-v1/MINI#",
                "size_bytes=-",
                "All results: dynamo gate results --run 'metadata_sync/",
                "Page: ",
                "/home/data_docs/pages/metadata-source-dbs-",
            ],
            id="negative_size",
        ),
        pytest.param(
            "broken_json",
            "pull_datasets",
            ["dbs: the service is ill", "a list that was cut", "/datasets", "the data are not at fault"],
            id="broken_json",
        ),
        pytest.param("http_500", "pull_datasets", ["dbs", "answered 500", "/datasets"], id="http_500"),
    ],
)
def test_bad_metadata_is_refused_told_and_leaves_the_inventory_alone(
    house: House, fault: str, task: str, named: list[str]
) -> None:
    house.grid.fault(dbs={fault: True})
    with unchanged(house.database):
        run = house.run("metadata_sync", full=True)
    assert run.state == "failed"
    assert run.failed == {task}
    mail = house.last_mail_text()
    assert [text for text in named if text not in mail] == []
    assert [f"metadata_sync.{task}" in each["Subject"] for each in house.mails()] == [True]


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        pytest.param({"unknown_status": True}, 1, id="bad data are not asked for again"),
        pytest.param({"broken_json": True}, 3, id="a service that is ill is asked until the retries are used up"),
        pytest.param({"down": True}, 3, id="so is one that is away", marks=pytest.mark.slow),
    ],
)
def test_tries_follow_the_class_of_the_error(house: House, fault: dict[str, bool], tries: int) -> None:
    house.grid.fault(dbs=fault)
    run = house.run("metadata_sync", full=True)
    assert run.failed == {"pull_datasets"}
    assert run.dag_run.get_task_instance("pull_datasets", map_index=0).try_number == tries
    assert f"failed on try {tries}" in house.last_mail_text()


def test_a_source_that_comes_back_is_asked_again_and_nobody_is_troubled(house: House) -> None:
    house.grid.fault(dbs={"http_500": 4})  # the client asks three times a try: the second try gets through
    run = house.run("metadata_sync")
    assert run.state == "success"
    assert run.dag_run.get_task_instance("pull_datasets", map_index=0).try_number == 2
    assert house.mails() == []


def test_a_run_after_the_source_was_mended_goes_through(house: House) -> None:
    house.grid.fault(dbs={"negative_size": True})
    assert house.run("metadata_sync", full=True).state == "failed"
    house.grid.heal()
    before = inventory_counts(house.database)
    house.runs("metadata_sync", full=True)
    assert inventory_counts(house.database) == before
    verdicts = house.rows(
        "SELECT gate, is_accepted, count(DISTINCT run_key) FROM gate_metrics GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert [row for row in verdicts if row[0] == "metadata"] == [("metadata", False, 1), ("metadata", True, 2)]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"broken_json": True}, id="broken_json"),
        pytest.param({"unknown_status": ["T2_BB"]}, id="a status that nobody defined", marks=pytest.mark.slow),
        pytest.param({"vanished": ["T1_AA_Disk", "T2_BB", "T2_CC"]}, id="most sites are gone"),
    ],
)
def test_a_bad_site_list_changes_no_site(house: House, fault: dict[str, object]) -> None:
    house.grid.fault(site_status=fault)
    with unchanged(house.database):
        assert house.run("metadata_sync").state == "failed"
    assert "site_status" in house.last_mail_text()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"broken_json": True}, id="broken_json"),
        pytest.param({"http_500": True}, id="http_500", marks=pytest.mark.slow),
    ],
)
def test_bad_accesses_change_no_rank(house: House, fault: dict[str, object]) -> None:
    house.grid.fault(accesses=fault)
    with unchanged(house.database):
        run = house.run("popularity_aggregation")
    assert run.failed == {"pull"}
    assert "accesses" in house.last_mail_text()


def test_where_late_days_cannot_be_chosen_the_own_day_is_ranked_all_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise PermanentRemoteError("the drops may not be read", service="accesses", url="/drops", status=403)

    monkeypatch.setattr("dynamo_ops.popularity.days.reopened_days", away)
    run = house.run("popularity_aggregation")
    assert run.failed == {"choose_late_days"}
    assert run.states("rank") == {"success": 1}


def test_fts_that_is_away_for_a_while_delays_copies_and_loses_none(house: House) -> None:
    wanted = house.rows(
        """
        SELECT f.id FROM files f JOIN block_replicas r ON r.block_id = f.block_id JOIN sites s ON s.id = r.site_id
        JOIN datasets d ON d.id = r.dataset_id WHERE d.name = :dataset AND s.name = 'T1_AA_Disk'
        ORDER BY f.id LIMIT 2""",
        dataset=DATASET,
    )
    house.rows(
        """
        INSERT INTO subscriptions (file_id, site_id, action, origin)
        SELECT f, s.id, 'copy', 'test' FROM unnest(CAST(:files AS bigint[])) f, sites s WHERE s.name = 'T2_CC'""",
        files=[file for (file,) in wanted],
    )
    house.grid.fault(fts={"http_500": 2})
    run = house.run("transfers")
    assert run.state == "success", house.last_mail_text()
    assert run.dag_run.get_task_instance("plan_batches").try_number > 1
    assert house.rows("SELECT state, count(*) FROM subscriptions GROUP BY state") == [("done", 2)]


@pytest.mark.slow
def test_fts_that_stays_away_is_told_and_the_next_run_finishes_the_work(house: House) -> None:
    house.rows(
        """
        INSERT INTO subscriptions (file_id, site_id, action, origin)
        SELECT f.id, s.id, 'copy', 'test' FROM files f JOIN blocks b ON b.id = f.block_id
        JOIN datasets d ON d.id = b.dataset_id, sites s WHERE d.name = :dataset AND s.name = 'T2_CC'""",
        dataset=DATASET,
    )
    house.grid.fault(fts={"down": True})
    run = house.run("transfers")
    assert run.failed == {"plan_batches"}
    assert "What to do next" in house.last_mail_text()
    assert "Check it, then clear the task" in house.last_mail_text()
    house.grid.heal()
    house.runs("transfers")
    assert house.rows("SELECT DISTINCT state FROM subscriptions") == [("done",)]
