"""What happens when the metadata source goes wrong: planted on an instance that is up, shown, and healed again."""

from __future__ import annotations

import email
import email.policy
import time
from collections.abc import Callable
from pathlib import Path

import requests

from demo.airflow_api import ENDED, Airflow
from demo.instance import DemoError, Instance
from demo.up import database_url, grid
from dynamo_ops.database.connection import Database

FAULT = {"dbs": {"negative_size": True}}
TABLES = ("sites", "datasets", "blocks", "files", "dataset_replicas", "block_replicas", "block_replica_files")


def show_bad_metadata(instance: Instance, say: Callable[[str], None]) -> int:
    """DBS gives a negative size: the run turns red, a mail goes out, the inventory stays. Returns 0 if all
    of it is so."""
    peers = grid(instance)
    database = Database(database_url(instance))
    airflow = Airflow.of(instance)
    mail_folder = Path(str(peers["mail_dir"]))
    before, mails = _counts(database), set(mail_folder.glob("*.eml"))
    say(f"inventory before: {before}")
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM alerts")  # or an earlier show would be the same failure: told once
    _post_faults(str(peers["control"]), FAULT)
    try:
        run_id = airflow.trigger("metadata_sync", full=True)
        say(f"DBS now gives a file a negative size; metadata_sync {run_id} pulls everything")
        state = _wait(airflow, run_id)
    finally:
        _post_faults(str(peers["control"]), {"dbs": {"negative_size": None}})
    after = _counts(database)
    new_mails = _wait_for_mail(mail_folder, mails)
    say(f"run: {state}; inventory after: {after}")
    for mail in new_mails:
        say(f"mail: {_subject_and_text(mail)}")
    return 0 if state == "failed" and before == after and new_mails else 1


def _counts(database: Database) -> dict[str, int]:
    return {table: int(database.frame(f"SELECT count(*) AS n FROM {table}").item()) for table in TABLES}


def _post_faults(control: str, faults: dict[str, dict[str, bool | None]]) -> None:
    answer = requests.post(f"{control}/faults", json=faults, timeout=30)
    answer.raise_for_status()


def _wait(airflow: Airflow, run_id: str, timeout_s: float = 300) -> str:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        states = [str(run["state"]) for run in airflow.runs("metadata_sync") if run["dag_run_id"] == run_id]
        if states and states[0] in ENDED:
            return states[0]
        time.sleep(1)
    raise DemoError(f"metadata_sync {run_id} has not ended after {timeout_s:.0f} s")


def _wait_for_mail(folder: Path, known: set[Path], timeout_s: float = 30) -> list[Path]:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := sorted(set(folder.glob("*.eml")) - known):
            return found
        time.sleep(1)
    return []


def _subject_and_text(file: Path) -> str:
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    body = message.get_body(preferencelist=("html", "plain"))
    return f"{message['Subject']} (to {message['To']})\n{body.get_content() if body else ''}"
