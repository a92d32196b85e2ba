"""The trigger that waits for FTS jobs: its arguments travel as they are, and it says exactly one last word."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RetryableRemoteError
from dynamo_ops.fts import watch

JOBS = ["11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"]
FTS, OTHER = "https://fts:8446", "https://other:8446"
FAR = 4_000_000_000.0
Answer = dict[str, bool] | Exception


def arguments(**changes: Any) -> dict[str, Any]:
    return {
        "jobs": {FTS: JOBS},
        "ca": "/ca.pem",
        "cert": "/cert.pem",
        "key": None,
        "token_file": None,
        "wait_for": "finished",
        "poll_interval_s": 0.01,
        "deadline": FAR,
        **changes,
    }


@pytest.fixture
def make(airflow: None) -> Callable[..., Any]:
    def made(**changes: Any) -> Any:
        from dynamo_airflow.triggers import FtsJobsTrigger

        return FtsJobsTrigger(**arguments(**changes))

    return made


@pytest.fixture
def fts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """An FTS that gives these answers one after the other, the last for ever; the calls it got."""

    def answers(*given: Answer) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        async def poll(url: str, **kwargs: Any) -> dict[str, Any]:
            answer = given[min(len(calls), len(given) - 1)]
            calls.append({"url": url, **kwargs})
            if isinstance(answer, Exception):
                raise answer
            return {job: {**ACTIVE, **answer} for job in kwargs["job_ids"]}

        monkeypatch.setattr(watch, "poll", poll)
        return calls

    return answers


def events(trigger: Any) -> list[dict[str, Any]]:
    """Everything that the trigger says until it ends by itself."""

    async def collect() -> list[dict[str, Any]]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(asyncio.wait_for(collect(), 20))


def test_a_token_is_read_anew_at_every_look(make: Callable[..., Any], fts: Callable[..., Any], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    asked = fts(ACTIVE, ENDED)
    trigger = make(token_file=str(token))
    waiting_for = trigger._waiting_for

    async def renewed() -> int:
        found: int = await waiting_for()
        token.write_text("second")
        return found

    trigger._waiting_for = renewed
    assert events(trigger)[0]["status"] == "done"
    assert [(call["token"], call["cert"]) for call in asked] == [("first", None), ("second", None)]


ACTIVE = {"is_staging": False, "is_archiving": False, "is_ended": False}
STAGING: Answer = {"is_staging": True}
ARCHIVING: Answer = {"is_archiving": True}
ENDED: Answer = {"is_ended": True}
AWAY = RetryableRemoteError("no answer")


def test_arguments_survive_the_way_to_another_host(make: Callable[..., Any]) -> None:
    path, given = make(wait_for="staged").serialize()
    module, name = path.rsplit(".", 1)
    again = getattr(import_module(module), name)(**given)
    assert given == arguments(wait_for="staged")
    assert again.serialize() == (path, given)


def test_arguments_are_plain_values_that_airflow_can_store(make: Callable[..., Any]) -> None:
    from airflow.sdk.serde import deserialize, serialize

    _, given = make().serialize()
    assert deserialize(serialize(given)) == given


def test_a_wait_that_nobody_knows_is_refused(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="wait_for='eaten'"):
        make(wait_for="eaten")


@pytest.mark.parametrize(
    ("wait_for", "answers", "calls"),
    [
        pytest.param("staged", [STAGING, STAGING, ACTIVE], 3, id="from tape: over when the copies begin"),
        pytest.param("staged", [ACTIVE], 1, id="nothing from tape: over at once"),
        pytest.param("finished", [STAGING, ACTIVE, ENDED], 3, id="copies: over when the jobs are"),
        pytest.param("finished", [ENDED], 1, id="jobs that are over already"),
        pytest.param("copied", [STAGING, ACTIVE, ARCHIVING], 3, id="to tape: over when all has arrived"),
        pytest.param("copied", [ENDED], 1, id="to tape: over when the jobs are"),
        pytest.param("finished", [ACTIVE, ARCHIVING, ENDED], 3, id="onto tape: over when the jobs are"),
        pytest.param("finished", [ACTIVE, AWAY, AWAY, ENDED], 4, id="FTS was away in between"),
        pytest.param("finished", [AWAY, ENDED], 2, id="FTS was away at first"),
    ],
)
def test_done(
    make: Callable[..., Any], fts: Callable[..., Any], wait_for: str, answers: list[Answer], calls: int
) -> None:
    asked = fts(*answers)
    assert events(make(wait_for=wait_for)) == [{"status": "done", "message": f"2 jobs {wait_for}", "open_jobs": 0}]
    assert len(asked) == calls
    assert asked[0] == {
        "url": FTS,
        "ca": "/ca.pem",
        "cert": "/cert.pem",
        "key": None,
        "token": None,
        "job_ids": JOBS,
    }


@pytest.mark.parametrize("answer", [ACTIVE, AWAY], ids=["jobs hang", "FTS is away"])
def test_timeout_tells_how_many_are_open(make: Callable[..., Any], fts: Callable[..., Any], answer: Answer) -> None:
    fts(answer)
    assert events(make(deadline=time.time() + 0.05)) == [
        {"status": "timeout", "message": "2 of 2 FTS jobs are not finished in time", "open_jobs": 2}
    ]


@pytest.mark.parametrize(
    "error",
    [PermanentRemoteError("FTS says no"), CredentialError("FTS says no")],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_ends_the_wait_with_its_message(
    make: Callable[..., Any], fts: Callable[..., Any], error: Exception
) -> None:
    fts(ACTIVE, error)
    assert events(make()) == [{"status": "error", "message": "FTS says no", "open_jobs": 2}]


def test_the_last_answer_is_looked_at_even_when_time_is_over(make: Callable[..., Any], fts: Callable[..., Any]) -> None:
    fts(ENDED)
    assert events(make(deadline=time.time() - 100))[0]["status"] == "done"


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Two servers, each of which gives its answers one after the other, the last for ever."""

    def answers(**given: list[Answer]) -> None:
        left = {FTS: list(given["fts"]), OTHER: list(given["other"])}

        async def poll(url: str, *, job_ids: list[str], **_: Any) -> dict[str, Any]:
            answer = left[url].pop(0) if len(left[url]) > 1 else left[url][0]
            if isinstance(answer, Exception):
                raise answer
            return {job: {**ACTIVE, **answer} for job in job_ids}

        monkeypatch.setattr(watch, "poll", poll)

    return answers


REFUSED = CredentialError("FTS says no")


@pytest.mark.parametrize(
    ("fts", "other"),
    [
        pytest.param([ACTIVE, ENDED], [ENDED], id="the one, then the other"),
        pytest.param([ENDED], [AWAY, AWAY, ENDED], id="one was away"),
        pytest.param([ENDED], [REFUSED, ENDED], id="one refused for a while"),
    ],
)
def test_the_jobs_of_all_servers_are_waited_for(
    make: Callable[..., Any], two: Callable[..., None], fts: list[Answer], other: list[Answer]
) -> None:
    two(fts=fts, other=other)
    trigger = make(jobs={FTS: JOBS[:1], OTHER: JOBS[1:]})
    assert events(trigger) == [{"status": "done", "message": "2 jobs finished", "open_jobs": 0}]


@pytest.mark.parametrize("answer", [AWAY, REFUSED], ids=["away", "refuses"])
def test_an_ill_server_is_more_waiting_until_the_deadline(
    make: Callable[..., Any], two: Callable[..., None], answer: Answer
) -> None:
    two(fts=[ENDED], other=[answer])
    trigger = make(jobs={FTS: JOBS[:1], OTHER: JOBS[1:]}, deadline=time.time() + 0.05)
    assert events(trigger) == [
        {"status": "timeout", "message": "1 of 2 FTS jobs are not finished in time", "open_jobs": 1}
    ]


def test_when_every_server_refuses_the_wait_is_over(make: Callable[..., Any], two: Callable[..., None]) -> None:
    two(fts=[REFUSED], other=[PermanentRemoteError("nor here")])
    (event,) = events(make(jobs={FTS: JOBS[:1], OTHER: JOBS[1:]}))
    assert (event["status"], event["message"]) == ("error", "FTS says no")
