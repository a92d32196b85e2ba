"""The DAG transfers beside the great cycle: copies without FTS, and a run that leaves its jobs to the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.inventory.subscription.subscribe import subscribe
from tests.dags.house import House, fresh_database, open_house
from tests.world import second_fts

UNPOPULAR = "/Muons/Run2025B-v1/AOD"
"""Complete at T1_AA_Disk, not at T2_CC."""


@pytest.fixture
def stocked(airflow: None, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[House]:
    """A house of its own, that knows what is where."""
    with fresh_database(postgres, "transfers") as database, open_house(tmp_path, database) as house:
        house.sync()
        yield house


def change_settings(house: House, **changes: dict[str, object]) -> None:
    file = house.config / "dynamo.yaml"
    given = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(given | {name: given.get(name, {}) | change for name, change in changes.items()}))
    house.read_settings_again()


def subscription_for(house: House, site: str, dataset: str = UNPOPULAR) -> int:
    """Subscription for the files of a dataset at a site that has none of them."""
    with house.database.begin() as connection:
        return subscribe(
            connection,
            "copy",
            """SELECT f.id AS file_id, s.id AS site_id FROM datasets d JOIN blocks b ON b.dataset_id = d.id
            JOIN files f ON f.block_id = b.id, sites s WHERE d.name = :dataset AND s.name = :site""",
            origin="test",
            params={"dataset": dataset, "site": site},
        ).num_created


@pytest.mark.parametrize("has_fts", [True, False], ids=["for some pairs", "no FTS at all"])
def test_copies_without_fts(stocked: House, has_fts: bool) -> None:
    number = subscription_for(stocked, "T2_CC")
    if has_fts:
        change_settings(stocked, transfers={"direct": [{"destinations": ["T2_CC"]}]})
        assert stocked.run("transfers").state == "success"  # plans; the next copies, since copies do not wait for FTS
    else:
        change_settings(stocked, fts={"url": None})
    run = stocked.run("transfers")
    assert run.state == "success", stocked.last_mail_text()
    assert run.states("copy_directly") == {"success": 1}
    copies = stocked.rows("""
        SELECT b.backend, t.state, count(*) FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id
        GROUP BY 1, 2""")
    assert copies == [("direct", "done", number)]
    assert stocked.rows("SELECT state, count(*) FROM subscriptions GROUP BY 1") == [("done", number)]


def test_copies_by_two_servers(stocked: House) -> None:
    number = subscription_for(stocked, "T2_CC") + subscription_for(stocked, "T2_BB", "/Jets/Run2025B-v2/RAW")
    with second_fts(stocked.grid) as second:
        first = stocked.grid.endpoints["fts"]
        servers = [{"url": second.url, "destinations": ["T2_CC"]}, {"url": first}]
        change_settings(stocked, fts={"url": None, "servers": servers})
        run = stocked.run("transfers")
        assert run.state == "success", stocked.last_mail_text()
        assert run.states("wait_for_copies") == {"success": 1}
        assert len(second.store.jobs) == 1
    batches = dict(stocked.rows("SELECT server, count(*) FROM transfer_batches GROUP BY 1"))
    assert batches == {first: 1, second.url: 1}
    assert stocked.rows("SELECT state, count(*) FROM subscriptions GROUP BY 1") == [("done", number)]


def test_copies_to_tape_are_waited_for_apart(stocked: House) -> None:
    number = subscription_for(stocked, "T1_AA_Tape", "/SimTop/Run2026A-v1/MINI") + subscription_for(stocked, "T2_CC")
    run = stocked.run("transfers")
    assert run.state == "success", stocked.last_mail_text()
    for task in ("wait_for_copies", "wait_for_arrival", "wait_for_archiving", "apply_archived"):
        assert run.states(task) == {"success": 1}, task
    assert run.not_green == {}, "nothing of it came from tape, and that is well"
    assert stocked.rows("SELECT count(*) FROM transfer_batches WHERE state = 'finished'") == [(2,)]
    assert stocked.rows("SELECT state, count(*) FROM subscriptions GROUP BY 1") == [("done", number)]


@pytest.mark.slow
def test_a_run_leaves_jobs_that_take_too_long_to_the_next(stocked: House) -> None:
    number = subscription_for(stocked, "T2_CC")
    stocked.grid.fault(fts={"paused": True})
    change_settings(stocked, fts={"timeout_h": 2 / 3600})
    first = stocked.run("transfers")
    assert first.state == "success"
    assert stocked.rows("SELECT state, count(*) FROM subscriptions GROUP BY 1") == [("inbatch", number)]
    stocked.grid.heal()
    while stocked.rows("SELECT 1 FROM subscriptions WHERE state = 'inbatch'"):
        second = stocked.run("transfers")
        assert second.state == "success"
    assert stocked.rows("SELECT state, count(*) FROM subscriptions GROUP BY 1") == [("done", number)]
    assert stocked.rows("SELECT count(*) FROM transfer_batches") == [(1,)]  # nothing was submitted again
