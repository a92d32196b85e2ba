"""The sensors of the transfers DAG: no job, no wait; else they sleep in the triggerer and wake to one of three ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.errors import PermanentRemoteError, RetryableRemoteError
from tests.plugins.conftest import FTS

JOBS = ["11111111-1111-1111-1111-111111111111", "", "22222222-2222-2222-2222-222222222222"]
ASKED = [job for job in JOBS if job]


def sensor(kind: str, job_ids: list[str]) -> Any:
    from dynamo_airflow import sensors

    return getattr(sensors, kind)(task_id="wait", job_ids=job_ids)


@pytest.mark.parametrize("kind", ["FtsStagingSensor", "FtsTransferSensor"])
@pytest.mark.parametrize("job_ids", [[], [""]], ids=["no batch", "a batch of which nothing was submitted"])
def test_without_a_job_there_is_nothing_to_wait_for(configured: Path, kind: str, job_ids: list[str]) -> None:
    assert sensor(kind, job_ids).execute({}) == []


@pytest.mark.parametrize(("kind", "wait_for"), [("FtsStagingSensor", "staged"), ("FtsTransferSensor", "finished")])
def test_a_job_is_waited_for_in_the_triggerer(configured: Path, kind: str, wait_for: str) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        sensor(kind, JOBS).execute({})
    _, given = deferred.value.trigger.serialize()
    deadline = given.pop("deadline")
    assert deferred.value.method_name == "resume"
    assert 2 * 3600 <= deadline - before < 2 * 3600 + 60
    assert given == {
        "url": FTS,
        "ca": "/tls/ca.pem",
        "cert": "/tls/cert.pem",
        "key": "/tls/key.pem",
        "job_ids": ASKED,
        "wait_for": wait_for,
        "poll_interval_s": 3.0,
    }


def test_done_hands_the_jobs_on(configured: Path) -> None:
    event = {"status": "done", "message": "2 jobs finished", "open_jobs": 0}
    assert sensor("FtsTransferSensor", JOBS).resume({}, event) == ASKED


@pytest.mark.parametrize(("status", "kind"), [("timeout", RetryableRemoteError), ("error", PermanentRemoteError)])
def test_other_ends_are_errors_of_the_class_that_decides_on_the_retry(
    configured: Path, status: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="what FTS said") as raised:
        sensor("FtsTransferSensor", JOBS).resume({}, {"status": status, "message": "what FTS said", "open_jobs": 1})
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("job_ids", "address"),
    [
        pytest.param(["", ASKED[0]], f"{FTS}/jobs/{ASKED[0]}", id="the first job"),
        pytest.param([], "", id="no job"),
        pytest.param("{{ not rendered }}", "", id="not rendered"),
    ],
)
def test_a_button_leads_to_the_job(configured: Path, job_ids: Any, address: str) -> None:
    from dynamo_airflow.links import FtsJobsLink

    assert FtsJobsLink().get_link(sensor("FtsTransferSensor", job_ids), ti_key=None) == address
