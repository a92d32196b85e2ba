"""What people are told: a task that fails, a gate that refuses, a run that is late, the same failure again, the digest.

Planted on an instance that is up, told by the real scheduler, triggerer and tasks, and healed again. The deadline is
not waited for: its row in Airflow's database is moved to now, and a slow DBS keeps the run busy meanwhile.
"""

from __future__ import annotations

import email
import email.policy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import requests

from demo.airflow_api import ENDED, Airflow
from demo.instance import DemoError, Instance
from demo.up import database_url, grid
from dynamo_ops.database import embedded
from dynamo_ops.database.connection import Database

Say = Callable[[str], None]
DAG_ID = "metadata_sync"
SLOW_S = 15.0


@dataclass
class Channels:
    """The folders of the grid's mail and chat sinks."""

    mail: Path
    chat: Path

    def seen(self) -> tuple[int, int]:
        """How many mails and posts there are."""
        return len(list(self.mail.glob("*.eml"))), len(list(self.chat.glob("*.json")))

    def wait(self, before: tuple[int, int], timeout_s: float = 60) -> bool:
        """Until both channels have more than before; False when that does not happen in time."""
        end = time.monotonic() + timeout_s
        while any(now <= then for now, then in zip(self.seen(), before, strict=True)):
            if time.monotonic() > end:
                return False
            time.sleep(0.5)
        return True

    def newest(self) -> str:
        """The newest mail's subject and recipient, and the newest post, as they arrived."""
        mail = email.message_from_bytes(max(self.mail.glob("*.eml")).read_bytes(), policy=email.policy.default)
        post = json.loads(max(self.chat.glob("*.json")).read_text())["text"]
        return f"mail to {mail['To']}: {mail['Subject']}\nchat:\n{post}\n"


def show_alerts(instance: Instance, say: Say) -> int:
    """Returns 0 if each of them was told by mail and by chat, and the same failure once."""
    peers = grid(instance)
    channels = Channels(Path(str(peers["mail_dir"])), Path(str(peers["chat_dir"])))
    airflow, control = Airflow.of(instance), str(peers["control"])
    database = Database(database_url(instance))
    airflow.wait_for_dags({DAG_ID, "daily_digest"})
    for dag_id in (DAG_ID, "daily_digest"):
        airflow.unpause(dag_id)
    failed_before = [str(run["dag_run_id"]) for run in airflow.runs(DAG_ID) if run["state"] == "failed"]
    airflow.wait_until_settled(say, lambda: _has_datasets(database), at_least=1, failed_before=failed_before)
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM alerts")  # what earlier shows of this instance have told already
    told = [
        _failed(airflow, control, channels, say, "a task fails", {"unknown_status": True}),
        _failed(airflow, control, channels, say, "a gate refuses", {"negative_size": True}),
        not _failed(airflow, control, channels, say, "the gate refuses once more", {"negative_size": True}, wait_s=10),
        _late(instance, airflow, control, channels, say),
        _digest(airflow, channels, say),
    ]
    return 0 if all(told) else 1


def _failed(
    airflow: Airflow,
    control: str,
    channels: Channels,
    say: Say,
    what: str,
    fault: dict[str, bool],
    wait_s: float = 60,
) -> bool:
    before = channels.seen()
    _set_faults(control, fault)
    try:
        run_id = airflow.trigger(DAG_ID, full=True)
        state = _wait(airflow, DAG_ID, run_id)
    finally:
        _set_faults(control, dict.fromkeys(fault))
    said = channels.wait(before, wait_s)
    say(f"{what}: {DAG_ID} {run_id} {state}; " + (f"told:\n{channels.newest()}" if said else "nobody is told, counted"))
    return said


def _late(instance: Instance, airflow: Airflow, control: str, channels: Channels, say: Say) -> bool:
    before = channels.seen()
    _set_faults(control, {"slow_s": SLOW_S})
    try:
        run_id = airflow.trigger(DAG_ID, full=True)
        _pass_deadline(instance, run_id)
        said = channels.wait(before)
    finally:
        _set_faults(control, {"slow_s": None})
    say(f"a run is late: {DAG_ID} {run_id}; " + (f"told:\n{channels.newest()}" if said else "NOBODY IS TOLD"))
    say(f"it goes on by itself, and ends: {_wait(airflow, DAG_ID, run_id)}")
    return said


def _digest(airflow: Airflow, channels: Channels, say: Say) -> bool:
    before = channels.seen()
    run_id = airflow.trigger("daily_digest", again=True)
    state = _wait(airflow, "daily_digest", run_id)
    said = channels.wait(before)
    say(f"the digest: {run_id} {state}; " + (f"told:\n{channels.newest()}" if said else "NOBODY IS TOLD"))
    return said


def _pass_deadline(instance: Instance, run_id: str, timeout_s: float = 60) -> None:
    """The run's deadline is now, as if its hours had passed."""
    server = embedded.find(instance.home / "postgres")
    if server is None:
        raise DemoError("the demo is not up: `make up` or `make demo` first")
    connection = psycopg2.connect(server.url("airflow"))
    end = time.monotonic() + timeout_s
    try:
        while time.monotonic() < end:
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    """
                    UPDATE deadline SET deadline_time = now() WHERE dagrun_id IN (
                        SELECT id FROM dag_run WHERE dag_id = %s AND run_id = %s AND state = 'running')""",
                    (DAG_ID, run_id),
                )
                if cursor.rowcount:
                    return
            time.sleep(0.5)
    finally:
        connection.close()
    raise DemoError(f"{DAG_ID} {run_id} has no deadline")


def _set_faults(control: str, faults: dict[str, bool | None] | dict[str, bool] | dict[str, float | None]) -> None:
    requests.post(f"{control}/faults", json={"dbs": faults}, timeout=30).raise_for_status()


def _has_datasets(database: Database) -> bool:
    return bool(database.frame("SELECT EXISTS (SELECT FROM datasets)").item())


def _wait(airflow: Airflow, dag_id: str, run_id: str, timeout_s: float = 300) -> str:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        states = [str(run["state"]) for run in airflow.runs(dag_id) if run["dag_run_id"] == run_id]
        if states and states[0] in ENDED:
            return states[0]
        time.sleep(1)
    raise DemoError(f"{dag_id} {run_id} has not ended after {timeout_s:.0f} s")
