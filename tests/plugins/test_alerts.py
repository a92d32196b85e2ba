"""The mails: what happened, what to do next, and nothing that could be taken for markup."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dynamo_ops.errors import DynamoError, GateError, PermanentRemoteError, RetryableRemoteError

START, END = datetime(2026, 3, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, 2, tzinfo=UTC)
LOG = "http://localhost:8080/dags/transfers/runs/r1?a=1&b=2"


@pytest.fixture
def sent(configured: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The mails that were sent, as rendered."""
    from dynamo_airflow.alerts import FailureMail

    mails: list[Any] = []
    monkeypatch.setattr(FailureMail, "notify", lambda self, _: mails.append(self))
    return mails


def fail(error: BaseException | None, task_id: str = "submit", **values: Any) -> None:
    """A task has failed with ``error``; who is to be called is called."""
    from airflow.sdk import DAG
    from dynamo_airflow.alerts import failure_callbacks

    ti = SimpleNamespace(task_id=task_id, try_number=3, run_id="manual__<1>", log_url=LOG)
    for callback in failure_callbacks():
        callback({"dag": DAG("transfers"), "ti": ti, "exception": error, **values})


@pytest.mark.parametrize(
    "error",
    [
        GateError("metadata gate refused source 'dbs': size_bytes is negative"),
        RetryableRemoteError("FTS answered 503"),
        PermanentRemoteError("FTS answered 400"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_mail_says_what_happened_and_what_to_do_next(sent: list[Any], error: DynamoError) -> None:
    fail(error, data_interval_start=START, data_interval_end=END)
    text = html.unescape(sent[0].html_content)
    assert sent[0].subject == "Dynamo: transfers.submit failed"
    assert sent[0].to == ["operators@localhost"]
    for part in (str(error), type(error).__name__, error.next_step, f"{START} to {END}", "failed on try 3", LOG):
        assert part in text


def test_what_a_message_holds_is_shown_and_not_rendered(sent: list[Any]) -> None:
    fail(GateError("dataset=/<script>alert(1)</script>/&{{ ti.task_id }}"))
    content = sent[0].html_content
    assert "<script>" not in content
    assert "&lt;script&gt;alert(1)&lt;/script&gt;/&amp;{{ ti.task_id }}" in content
    assert "manual__&lt;1&gt;" in content
    assert f'href="{LOG.replace("&", "&amp;")}"' in content


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division by zero"), None], ids=["not of ours", "lost with its process"]
)
def test_an_error_that_nobody_foresaw_is_told_too(sent: list[Any], error: BaseException | None) -> None:
    fail(error)
    text = html.unescape(sent[0].html_content)
    assert (str(error) if error else "not known") in text
    assert DynamoError.next_step in text
    assert "<td>none</td>" in text


def test_two_failures_in_one_process_are_two_different_mails(sent: list[Any]) -> None:
    from airflow.sdk import DAG
    from dynamo_airflow.alerts import failure_callbacks

    (callback,) = failure_callbacks()
    for task_id, error in (("submit", "first"), ("apply", "second")):
        ti = SimpleNamespace(task_id=task_id, try_number=1, run_id="r1", log_url=LOG)
        callback({"dag": DAG("transfers"), "ti": ti, "exception": GateError(error)})
    assert [mail.subject for mail in sent] == ["Dynamo: transfers.submit failed", "Dynamo: transfers.apply failed"]
    assert ["first" in mail.html_content for mail in sent] == [True, False]


def test_a_late_run_is_told_once_the_limit_is_over(configured: Path) -> None:
    from dynamo_airflow.alerts import late_after

    alert = late_after("transfers", timedelta(hours=80))
    assert alert is not None
    assert alert.interval == timedelta(hours=80)
    assert alert.callback.kwargs["to"] == ["operators@localhost"]
    assert alert.callback.kwargs["subject"] == "Dynamo: transfers is late"
    assert "3 days, 8:00:00" in alert.callback.kwargs["html_content"]


def test_the_notifier_of_a_late_run_takes_what_it_is_given(configured: Path) -> None:
    from airflow.sdk.module_loading import import_string
    from dynamo_airflow.alerts import late_after

    alert = late_after("transfers", timedelta(hours=1))
    assert alert is not None
    mail = import_string(alert.callback.path)(**alert.callback.kwargs)
    assert mail.subject == "Dynamo: transfers is late"
