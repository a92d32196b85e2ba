"""Failures and late runs on their way to people, over real sockets: the grid's mail sink and its chat."""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import DynamoError, GateError, PermanentRemoteError, PlanError, RetryableRemoteError
from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from simgrid.http import Server
from simgrid.mail import MailSink
from simgrid.tls import Credentials, make_credentials
from simgrid.webhook import PATH, WebhookSink
from tests.dags.house import ROOT, environment
from tests.patience import wait_until

START, END = datetime(2026, 3, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, 2, tzinfo=UTC)
LOG = "http://localhost:8080/dags/transfers/runs/r1?a=1&b=2"


@dataclass
class Sinks:
    """What arrived, and the switches of both channels."""

    mail: MailSink
    chat: Server
    folder: Path

    def mails(self, wanted: int = 0) -> list[Any]:
        """The mails, oldest first; waits for as many as wanted (the sink writes after it has answered)."""
        wait_until(lambda: len(list(self.mail.directory.glob("*.eml"))) >= wanted)
        files = sorted(self.mail.directory.glob("*.eml"))
        return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]

    def posts(self) -> list[str]:
        """The texts that the chat got, oldest first."""
        return [json.loads(file.read_text())["text"] for file in sorted(self.folder.glob("*.json"))]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return make_credentials(tmp_path_factory.mktemp("tls"), "/CN=nobody", ["127.0.0.1"])


@pytest.fixture
def sinks(airflow: None, database: Database, tls: Credentials, tmp_path: Path) -> Iterator[Sinks]:
    """Both channels open, settings that name them, and an inventory."""
    mail = MailSink(tmp_path / "mail", "127.0.0.1", 0)
    chat = Server(WebhookSink(tmp_path / "chat"), "127.0.0.1", 0, tls.server_context())
    chat.start()
    values = {
        "mail": {"sender": "dynamo@localhost", "recipients": ["operators@localhost"]},
        "alerts": {"webhooks": [{"url": f"https://127.0.0.1:{chat.port}{PATH}", "ca": str(tls.ca)}]},
    }
    smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mail.port}
    smtp["extra"] = {"disable_ssl": True, "disable_tls": True, "retry_limit": 0, "timeout": 2}
    with environment(tmp_path, values, DYNAMO_DB_URL=database.url, AIRFLOW_CONN_SMTP_DEFAULT=json.dumps(smtp)):
        yield Sinks(mail, chat, tmp_path / "chat")
    mail.close()
    chat.close()


def context(error: object, task_id: str = "submit", map_index: int = -1, **values: Any) -> dict[str, Any]:
    """What Airflow gives to a callback of a failed task."""
    from airflow.sdk import DAG

    label = f"T2_{map_index}" if map_index >= 0 else None
    ti = SimpleNamespace(
        task_id=task_id, try_number=3, run_id="manual__<1>", log_url=LOG, map_index=map_index, rendered_map_index=label
    )
    return {"dag": DAG("transfers"), "ti": ti, "exception": error, **values}


def fail(error: object, task_id: str = "submit", map_index: int = -1, **values: Any) -> None:
    """A task has failed with ``error``; who is to be called is called."""
    from dynamo_airflow.alerts import failure_callbacks

    for callback in failure_callbacks():
        callback(context(error, task_id, map_index, **values))


def body(mail: Any) -> str:
    return html.unescape(mail.get_body(("html",)).get_content())


@pytest.mark.parametrize(
    "error",
    [
        GateError("metadata gate refused source 'dbs': size_bytes is negative", gate="metadata", failures=["size"]),
        RetryableRemoteError("FTS answered 503"),
        PermanentRemoteError("FTS answered 400"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_mail_and_chat_say_what_happened_and_what_to_do_next(sinks: Sinks, error: DynamoError) -> None:
    fail(error, map_index=4, data_interval_start=START, data_interval_end=END)
    (mail,), (post,) = sinks.mails(1), sinks.posts()
    assert mail["Subject"] == "Dynamo: transfers.submit failed"
    assert (mail["To"], mail["From"]) == ("operators@localhost", "dynamo@localhost")
    assert mail["Auto-Submitted"] == "auto-generated"
    for part in (
        str(error),
        type(error).__name__,
        error.next_step,
        "2026-03-01T01:00Z to 2026-03-01T02:00Z",
        "failed on try 3",
        "manual__<1>",
        "transfers.submit (T2_4)",
        LOG,
    ):
        assert part in body(mail)
        assert part in post


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(ZeroDivisionError("division by zero"), "ZeroDivisionError", id="not of ours"),
        pytest.param(None, "lost process", id="lost with its process"),
        pytest.param("set to failed", "lost process", id="a text instead"),
    ],
)
def test_an_error_that_nobody_foresaw_is_told_too(sinks: Sinks, error: object, kind: str) -> None:
    fail(error)
    text = sinks.posts()[0]
    assert (str(error) if error else "The task's process was lost") in text
    assert DynamoError.next_step in text
    assert f"Kind of error: {kind}" in text
    assert "Data interval: none" in text


def test_different_failures_are_different_messages(sinks: Sinks) -> None:
    fail(GateError("first"))
    fail(GateError("second"), task_id="apply")
    fail(PermanentRemoteError("third"), task_id="apply")
    subjects = [mail["Subject"] for mail in sinks.mails(3)]
    assert subjects == ["Dynamo: transfers.submit failed", *["Dynamo: transfers.apply failed"] * 2]
    assert [word in text for word, text in zip(("first", "second", "third"), sinks.posts(), strict=True)] == [True] * 3


def test_a_hundred_mapped_tasks_that_fail_at_once_are_one_mail_and_one_post(sinks: Sinks, database: Database) -> None:
    def one(number: int) -> None:
        error = RetryableRemoteError(f"T2_{number}: no answer", service="storage", url=f"davs://t2_{number}")
        fail(error, task_id="delete", map_index=number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(100)))
    assert (len(sinks.mails(1)), len(sinks.posts())) == (1, 1)
    assert database.frame("SELECT num_times, num_untold, told_at IS NULL AS untold FROM alerts").row(0) == (
        100,
        99,
        False,
    )


def test_what_goes_on_for_hours_is_told_again_with_the_number(sinks: Sinks, database: Database) -> None:
    for _ in range(3):
        fail(RetryableRemoteError("FTS answered 503", service="fts"))
    assert len(sinks.posts()) == 1
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE alerts SET told_at = told_at - interval '7 hours'")
    fail(RetryableRemoteError("FTS answered 502", service="fts"))
    assert sinks.mails(2)[1]["Subject"] == "Dynamo: transfers.submit failed again (3 more)"
    assert "3 more since you were told last, " in sinks.posts()[1]
    assert "FTS answered 502" in sinks.posts()[1]


# -- channels and the database that are down ---------------------------------------------------------------------------


def test_a_chat_that_is_down_does_not_hide_the_mail(sinks: Sinks, caplog: pytest.LogCaptureFixture) -> None:
    sinks.chat.close()
    fail(GateError("refused"))
    assert len(sinks.mails(1)) == 1
    assert "a message could not be sent by webhook https://127.0.0.1" in caplog.text
    assert PATH not in caplog.text
    fail(GateError("refused"))
    assert len(sinks.mails()) == 1


def test_mail_that_is_down_does_not_hide_the_chat(sinks: Sinks, caplog: pytest.LogCaptureFixture) -> None:
    sinks.mail.close()
    fail(GateError("refused"))
    assert len(sinks.posts()) == 1
    assert "a message could not be sent by mail" in caplog.text


def test_where_nobody_could_be_told_the_next_failure_tries_again(
    sinks: Sinks, database: Database, tmp_path: Path, tls: Credentials
) -> None:
    sinks.mail.close()
    sinks.chat.close()
    fail(GateError("refused"))
    assert database.frame("SELECT num_untold, claimed_at IS NULL AND told_at IS NULL AS free FROM alerts").row(0) == (
        1,
        True,
    )
    again = Server(WebhookSink(sinks.folder), "127.0.0.1", sinks.chat.port, tls.server_context())
    again.start()
    fail(GateError("refused"))
    again.close()
    assert "2 times since " in sinks.posts()[0]


def test_a_database_that_is_away_keeps_no_message_back(
    sinks: Sinks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DYNAMO_DB_URL", "postgresql://dynamo:secret@127.0.0.1:1/dynamo")
    settings.cache_clear()
    for _ in range(2):
        fail(RetryableRemoteError("database is away", service="postgresql"))
    assert (len(sinks.mails(2)), len(sinks.posts())) == (2, 2)
    assert "It could not be grouped with others of the kind, so you may be told of each: database" in sinks.posts()[0]
    assert "secret" not in sinks.posts()[0] + body(sinks.mails()[0]) + caplog.text


def test_a_failure_of_the_telling_is_not_one_of_the_task(sinks: Sinks, caplog: pytest.LogCaptureFixture) -> None:
    from dynamo_airflow.alerts import tell_failure

    tell_failure({"ti": None})
    assert "nobody could be told of this failure" in caplog.text


# -- deadlines -----------------------------------------------------------------------------------------------------


def missed(dag_id: str, limit: timedelta, **dag_run: Any) -> Any:
    """The outcome of a missed deadline, by the way that the callback takes: with the serialised DAG, with the context
    that the scheduler adds, through the trigger's row, into the triggerer."""
    from airflow.models.trigger import Trigger
    from airflow.sdk import AsyncCallback
    from airflow.triggers.callback import CallbackTrigger
    from dynamo_airflow.alerts import late_after

    alert = late_after(dag_id, limit)
    assert alert is not None
    assert alert.interval == limit
    stored = AsyncCallback.deserialize(json.loads(json.dumps(alert.callback.serialize())), 1)
    added = {"dag_run": dag_run, "deadline": {"id": "1", "deadline_time": END}}
    row = Trigger.from_object(CallbackTrigger(stored.path, {**stored.kwargs, "context": added}))

    async def run() -> list[Any]:
        return [event.payload async for event in CallbackTrigger(**row.kwargs).run()]

    return asyncio.run(run())[-1]


RUN = {
    "dag_run_id": "scheduled__2026-03-01T02:00:00+00:00",
    "state": "running",
    "queued_at": "2026-03-01T02:00:01Z",
    "start_date": "2026-03-01T02:00:02Z",
    "data_interval_start": "2026-03-01T01:00:00Z",
    "data_interval_end": "2026-03-01T02:00:00Z",
}


def test_a_missed_deadline_is_told_with_the_run_and_once(sinks: Sinks) -> None:
    payload = missed("metadata_sync", timedelta(hours=3), **RUN)
    assert str(payload["state"]) == "success", payload
    assert payload["body"].startswith("late metadata_sync DeadlineMissed: sent by webhook https://127.0.0.1:")
    assert missed("metadata_sync", timedelta(hours=3), **RUN)["body"].startswith("counted only")
    (mail,), (post,) = sinks.mails(1), sinks.posts()
    assert mail["Subject"] == "Dynamo: metadata_sync is late"
    page = "http://localhost:8080/dags/metadata_sync/runs/scheduled__2026-03-01T02%3A00%3A00%2B00%3A00"
    for part in (
        "has not ended 3 h after it was queued",
        RUN["dag_run_id"],
        "2026-03-01T01:00Z to 2026-03-01T02:00Z",
        "goes on by itself",
        page,
    ):
        assert part in body(mail)
        assert part in post


def test_a_missed_deadline_that_nobody_could_be_told_of_is_a_failed_callback(sinks: Sinks) -> None:
    sinks.mail.close()
    sinks.chat.close()
    payload = missed("transfers", timedelta(hours=80), **RUN)
    assert str(payload["state"]) == "failed"
    assert "sent to nobody; webhook https://127.0.0.1:" in payload["body"]
    assert "mail: " in payload["body"]


def test_a_missed_deadline_of_which_little_is_known_is_told_too(sinks: Sinks) -> None:
    assert str(missed("transfers", timedelta(hours=80))["state"]) == "success"
    assert "not known" in sinks.posts()[0]
    assert "3 days 8 h" in sinks.posts()[0]


def test_nobody_is_called_where_the_settings_name_nobody(airflow: None, tmp_path: Path) -> None:
    from dynamo_airflow.alerts import failure_callbacks, late_after

    with environment(tmp_path, {}):
        assert failure_callbacks() == []
        assert late_after("transfers", timedelta(hours=1)) is None


PAGES = "https://airflow.example.org/af/plugin/dynamo/dynamo/ui"


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow knows under which address people reach it."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org/af/")


def gate_error(page: str) -> GateError:
    """As a gate raises it that has published a page."""
    from dynamo_ops.quality.checks import Outcome
    from dynamo_ops.quality.gate import _refusal

    outcome = Outcome("size", "is negative", "file", is_success=False, is_blocking=True, num_unexpected=1, examples=[])
    return _refusal("metadata", "source 'dbs'", "metadata_sync/r1", [outcome], page)


@pytest.mark.parametrize(
    ("error", "link"),
    [
        pytest.param(
            lambda: gate_error("/srv/dynamo/data_docs/pages/x.html"),
            f"Gate results: {PAGES}/gates?gate=metadata&subject=source%20%27dbs%27",
            id="gate",
        ),
        pytest.param(lambda: PlanError("too old", plan_id=17), f"The plan: {PAGES}/plans/17", id="plan"),
        pytest.param(
            lambda: KeyError("x"), f"In Dynamo: {PAGES}/runs?dag=transfers&run=manual__%3C1%3E", id="anything else"
        ),
    ],
)
def test_where_people_reach_airflow_messages_link_to_the_page(
    sinks: Sinks, reached: None, error: Callable[[], Exception], link: str
) -> None:
    fail(error())
    (mail,), (post,) = sinks.mails(1), sinks.posts()
    assert link in post.splitlines()
    assert link.partition(": ")[2] in body(mail)
    assert "/srv/dynamo" not in post + body(mail)


def test_where_nobody_said_how_people_reach_airflow_the_gates_own_page_is_named(sinks: Sinks) -> None:
    fail(gate_error("/srv/dynamo/data_docs/pages/x.html"))
    assert "Page: /srv/dynamo/data_docs/pages/x.html" in sinks.posts()[0].splitlines()
    assert "plugin/dynamo" not in sinks.posts()[0]


def test_a_page_that_is_served_is_named_beside_ours(sinks: Sinks, reached: None) -> None:
    fail(gate_error("https://docs.example.org/pages/x.html"))
    assert "Page: https://docs.example.org/pages/x.html" in sinks.posts()[0].splitlines()


def test_a_late_run_and_the_digest_link_to_pages_too(sinks: Sinks, reached: None) -> None:
    from dynamo_airflow.digest import send_digest

    missed("transfers", timedelta(hours=80))
    send_digest(END, again=False)
    late, digest = sinks.posts()
    assert f"In Dynamo: {PAGES}/runs?dag=transfers&run=not%20known" in late.splitlines()
    assert digest.splitlines()[1] == f"{PAGES}/today"


# -- by way of Airflow -------------------------------------------------------------------------------------------------


MAPPED = """
from airflow.sdk import dag, task
from dynamo_airflow.defaults import dag_defaults

from dynamo_ops.base.errors import RetryableRemoteError


@dag(**dag_defaults("storm", "Storm"), schedule=None)
def storm():
    @task(map_index_template="T2_{{ task.op_kwargs['number'] }}", retries=0)
    def delete(number):
        raise RetryableRemoteError(f"T2_{number}: no answer from davs://t2-{number}", service="storage")

    delete.expand(number=list(range(20)))


storm()
"""


def test_a_run_of_which_all_mapped_tasks_fail_is_one_mail_and_one_post(sinks: Sinks, tmp_path: Path) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    (tmp_path / "storm.py").write_text(MAPPED)
    bag = DagBag(tmp_path / "storm.py")
    assert not bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    run = bag.dags["storm"].test()
    assert [str(ti.state) for ti in run.get_task_instances()] == ["failed"] * 20
    (mail,), (post,) = sinks.mails(1), sinks.posts()
    assert mail["Subject"] == "Dynamo: storm.delete failed"
    assert "Task: storm.delete (T2_" in post
    assert f"Run: `{run.run_id}`" in post
    assert f"/dags/storm/runs/{quote(run.run_id)}/tasks/delete/mapped/" in post


@pytest.mark.parametrize("with_context", [True, False])
def test_a_task_whose_process_was_killed_is_told_by_the_dag_processor(sinks: Sinks, with_context: bool) -> None:
    import structlog
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun, TaskInstance, TIRunContext
    from airflow.callbacks.callback_requests import TaskCallbackRequest
    from airflow.dag_processing.dagbag import DagBag
    from airflow.dag_processing.processor import _execute_task_callbacks

    bag = DagBag(ROOT / "dags" / "deletions.py")
    assert not bag.import_errors
    names = {"dag_id": "deletions", "run_id": "scheduled__2026-03-01"}
    ti = TaskInstance(id=uuid4(), task_id="delete", try_number=2, dag_version_id=uuid4(), map_index=3, **names)
    run = DagRun(
        **names, logical_date=END, data_interval_start=START, data_interval_end=END, run_after=END, start_date=END,
        end_date=None, run_type="scheduled", state="running", consumed_asset_events=[], partition_key=None,
    )  # fmt: skip
    server = TIRunContext(dag_run=run, max_tries=2) if with_context else None
    request = TaskCallbackRequest(
        filepath="deletions.py",
        bundle_name="dags",
        bundle_version=None,
        msg="killed",
        ti=ti,
        context_from_server=server,
    )
    _execute_task_callbacks(bag, TaskCallbackRequest.from_json(request.to_json()), structlog.get_logger())
    (post,) = sinks.posts()
    assert len(sinks.mails(1)) == 1
    assert "*Dynamo: deletions.delete failed on try 2*" in post
    assert "The task's process was lost" in post
    assert "Kind of error: lost process" in post
    assert "Task: deletions.delete (3)" in post
    assert ("2026-03-01T01:00Z to 2026-03-01T02:00Z" in post) == with_context


@pytest.mark.parametrize(("is_mail_up", "shown"), [(True, 40), (False, 15)], ids=["mail and chat", "chat only"])
def test_the_digest_takes_over_no_failure_that_it_does_not_show(
    sinks: Sinks, database: Database, is_mail_up: bool, shown: int
) -> None:
    from dynamo_airflow.digest import send_digest

    with database.begin() as connection:
        connection.execute(
            text("""
            INSERT INTO alerts (key, kind, dag_id, task_id, error, message, first_at, last_at, num_times, num_untold)
            SELECT 'k' || n, 'failure', 'd' || n, 't', 'KeyError', 'x', now() - interval '1 hour',
                   now() - interval '1 hour', 1, 1 FROM generate_series(1, 60) n""")
        )
    if not is_mail_up:
        sinks.mail.close()
    send_digest(datetime.now(UTC), again=False)
    count = "SELECT count(*) FROM alerts WHERE kind = 'failure' AND told_at IS NOT NULL"
    assert database.frame(count).item() == shown
    assert sum("nobody was told so far" in line for line in sinks.posts()[0].splitlines()) == 15


def test_what_is_ill_as_a_whole_is_told_once(sinks: Sinks, database: Database) -> None:
    """Not once a file, nor once a run; and nothing where all is well."""
    from dynamo_airflow.alerts import tell_illness

    tell_illness()
    with database.begin() as connection:
        connection.execute(text("INSERT INTO sites (name, storage_type, status) VALUES ('T2_A', 'disk', 'ready')"))
        connection.execute(
            text("""
            WITH batch AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
                           SELECT 's', gen_random_uuid(), id, false, 'finished' FROM sites RETURNING id, site_id)
            INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, blame, reason,
                                   size_bytes, finished_at)
            SELECT batch.id, n, n, batch.site_id, 'failed', 'destination', 'DESTINATION [13] no directory', 1, now()
            FROM batch, generate_series(1, 500) AS n""")
        )
    for _ in range(3):
        tell_illness()
    (mail,), (post,) = sinks.mails(1), sinks.posts()
    assert mail["Subject"] == "Dynamo: copies to T2_A fail at the destination"
    for part in ("0 files wait, last words: DESTINATION [13] no directory", "no copy is held"):
        assert part in body(mail)
        assert part in post
