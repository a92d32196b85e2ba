"""The sensors of the transfers DAG: no job, no wait; else they sleep in the triggerer and wake to one of three ends."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.base.errors import PermanentRemoteError
from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from tests.inventory.factory import Inventory
from tests.plugins.conftest import FTS

JOBS = ["11111111-1111-1111-1111-111111111111", "", "22222222-2222-2222-2222-222222222222"]
ASKED = [job for job in JOBS if job]
OTHER = "https://other.example.org:8446"
WAITS = {
    "FtsStagingSensor": "staged",
    "FtsTransferSensor": "finished",
    "FtsArrivalSensor": "copied",
    "FtsArchivingSensor": "finished",
}


@pytest.fixture
def inventory(configured: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Inventory:
    """What the installation's database has: nothing."""
    monkeypatch.setenv("DYNAMO_DB_URL", database.url)
    settings.cache_clear()
    return Inventory(database)


@pytest.fixture
def at_other(inventory: Inventory) -> Inventory:
    """A batch with the second job, at another server than that of the settings."""
    inventory.site("T2_B")
    inventory.rows(
        """INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state, server)
           VALUES ('s', CAST(:job AS uuid), :site, false, 'submitted', :server)""",
        job=ASKED[1],
        site=inventory.site_ids["T2_B"],
        server=OTHER,
    )
    return inventory


def sensor(kind: str, job_ids: Any) -> Any:
    from dynamo_airflow import sensors

    return getattr(sensors, kind)(task_id="wait", job_ids=job_ids)


@pytest.mark.parametrize("kind", WAITS)
@pytest.mark.parametrize(
    "job_ids", [[], [""], [{"disk": [], "tape": []}]], ids=["no batch", "nothing was submitted", "a lot of nothing"]
)
def test_without_a_job_there_is_nothing_to_wait_for(configured: Path, kind: str, job_ids: Any) -> None:
    assert sensor(kind, job_ids).execute({}) == []


@pytest.mark.parametrize(("kind", "wait_for"), WAITS.items())
def test_a_job_is_waited_for_in_the_triggerer(inventory: Inventory, kind: str, wait_for: str) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        sensor(kind, JOBS).execute({})
    _, given = deferred.value.trigger.serialize()
    deadline = given.pop("deadline")
    assert deferred.value.method_name == "resume"
    assert 2 * 3600 <= deadline - before < 2 * 3600 + 60
    assert given == {
        "jobs": {FTS: ASKED},
        "ca": "/tls/ca.pem",
        "cert": "/tls/cert.pem",
        "key": "/tls/key.pem",
        "token_file": None,
        "wait_for": wait_for,
        "poll_interval_s": 3.0,
    }


@pytest.mark.parametrize("given", [JOBS, [{"disk": [ASKED[0]]}, None, {"disk": [ASKED[1]]}]], ids=["ids", "lots"])
@pytest.mark.parametrize("status", ["done", "timeout"])
def test_the_jobs_are_handed_on_also_when_time_is_up(configured: Path, status: str, given: Any) -> None:
    event = {"status": status, "message": "what FTS said", "open_jobs": 0}
    assert sensor("FtsTransferSensor", given).resume({}, event) == ASKED


def test_only_jobs_of_its_kind_are_waited_for(configured: Path) -> None:
    from dynamo_airflow import sensors

    event = {"status": "done", "message": "", "open_jobs": 0}
    lots = [{"disk": [ASKED[0]], "tape": []}, {"disk": [], "tape": [ASKED[1]]}]
    waiting = {
        kind: sensors.FtsStagingSensor(task_id="wait", job_ids=lots, of_kind=kind).resume({}, event)
        for kind in ("disk", "tape", None)
    }
    assert waiting == {"disk": [ASKED[0]], "tape": [ASKED[1]], None: ASKED}


def test_a_refusal_is_an_error_that_is_not_retried(configured: Path) -> None:
    event = {"status": "error", "message": "what FTS said", "open_jobs": 1}
    with pytest.raises(PermanentRemoteError, match="what FTS said"):
        sensor("FtsTransferSensor", JOBS).resume({}, event)


@pytest.mark.parametrize(
    ("job_ids", "address"),
    [
        pytest.param(["", ASKED[0]], f"{FTS}/jobs/{ASKED[0]}", id="the first job"),
        pytest.param([{"tape": []}, {"tape": [ASKED[0]]}], f"{FTS}/jobs/{ASKED[0]}", id="the first job of the lots"),
        pytest.param(deque([{"disk": [ASKED[0]]}]), f"{FTS}/jobs/{ASKED[0]}", id="as mapped tasks give it: no list"),
        pytest.param([], "", id="no job"),
        pytest.param("{{ not rendered }}", "", id="not rendered"),
    ],
)
def test_a_button_leads_to_the_job(inventory: Inventory, job_ids: Any, address: str) -> None:
    from dynamo_airflow.links import FtsJobsLink

    assert FtsJobsLink().get_link(sensor("FtsTransferSensor", job_ids), ti_key=None) == address


def test_each_server_is_asked_for_its_own_jobs(at_other: Inventory) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    with pytest.raises(TaskDeferred) as deferred:
        sensor("FtsTransferSensor", JOBS).execute({})
    assert deferred.value.trigger.serialize()[1]["jobs"] == {FTS: [ASKED[0]], OTHER: [ASKED[1]]}


def test_the_button_leads_to_the_server_of_the_job(at_other: Inventory) -> None:
    from dynamo_airflow.links import FtsJobsLink

    page = FtsJobsLink().get_link(sensor("FtsTransferSensor", [ASKED[1]]), ti_key=None)
    assert page == f"{OTHER}/jobs/{ASKED[1]}"
