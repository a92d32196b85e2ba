"""The digest as a DAG run: once a day, to all that are named, with what nobody had been told of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.dags.house import House

MORNING = datetime.now(UTC).replace(hour=6, minute=0, second=0, microsecond=0)


def test_a_day_is_told_once_and_again_when_asked(house: House) -> None:
    for again, wanted in ((False, 1), (False, 1), (True, 2)):
        run = house.run("daily_digest", logical_date=MORNING, again=again)
        assert run.state == "success"
        assert len(house.mails()) == wanted
    house.run("daily_digest", logical_date=MORNING + timedelta(days=1))
    subjects = [mail["Subject"] for mail in house.mails()]
    assert [subject.split(",")[0] for subject in subjects] == [
        *[f"Dynamo: {MORNING:%Y-%m-%d}"] * 2,
        f"Dynamo: {MORNING + timedelta(days=1):%Y-%m-%d}",
    ]
    (kept,) = house.rows(
        "SELECT message FROM alerts WHERE key = :key", key=f"digest daily_digest Digest {MORNING:%Y-%m-%d}"
    )
    assert kept[0].startswith(f"*Dynamo, the 24 hours to {MORNING:%Y-%m-%d}T06:00Z*")


def test_it_tells_of_failed_runs_and_of_those_that_nobody_had_been_told_of(house: House) -> None:
    house.grid.fault(dbs={"negative_size": True})
    assert house.run("metadata_sync", full=True).state == "failed"
    house.rows("UPDATE alerts SET told_at = NULL, claimed_at = now() - interval '1 hour', claimed_by = 'died'")
    house.empty_mailbox()
    house.runs("daily_digest")
    text = house.last_mail_text()
    assert "1 kind of failure: metadata_sync.gate" in text
    assert "gates refused: metadata (source 'dbs')" in text
    assert "size_bytes is negative" in text
    assert house.rows("SELECT told_at IS NOT NULL, num_untold FROM alerts WHERE kind = 'failure'") == [(True, 0)]


def test_a_digest_that_nobody_took_is_tried_again_and_then_told_as_a_failure(house: House) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", '{"conn_type": "smtp", "host": "127.0.0.1", "port": 1}')
        run = house.run("daily_digest", logical_date=MORNING)
    assert run.state == "failed"
    assert run.dag_run.get_task_instance("send").try_number == 3
    assert house.run("daily_digest", logical_date=MORNING).state == "success"
    assert len(house.mails()) == 1
    assert "daily_digest.send" in house.last_mail_text()


def test_without_anybody_to_send_it_to_it_is_green_and_sends_nothing(house: House) -> None:
    file = Path(house.config) / "dynamo.yaml"
    before = file.read_text()
    file.write_text(yaml.safe_dump(yaml.safe_load(before) | {"mail": {}}))
    house.read_settings_again()
    run = house.run("daily_digest")
    file.write_text(before)
    house.read_settings_again()
    assert run.states("send") == {"success": 1}
    assert house.rows("SELECT count(*) FROM alerts WHERE kind = 'digest'") == [(0,)]
