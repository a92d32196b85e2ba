"""Housekeeping with Airflow's database at hand: its old history goes, the rest stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.dags.house import House


def test_airflows_history_is_trimmed_where_its_database_is_named(house: House) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMO_AIRFLOW_DB_URL", os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
        house.read_settings_again()
        old = Path(os.environ["AIRFLOW_HOME"]) / "logs" / "old.log"
        old.parent.mkdir(exist_ok=True)
        old.touch()
        os.utime(old, (0, 0))
        run = house.run("housekeeping", keep_days=30)
    house.read_settings_again()
    assert run.state == "success", house.last_mail_text()
    assert run.states("trim_airflow_history") == {"success": 1}
    assert not old.exists()
    assert run.dag_run.get_task_instances()  # this run is younger than thirty days


def test_without_it_the_other_chores_are_done_all_the_same(house: House) -> None:
    house.rows("INSERT INTO locks (item, reason, created_by, expires_at) VALUES ('x', 'y', 'ada', '2001-01-01')")
    run = house.run("housekeeping")
    assert run.state == "success"
    assert run.not_green == {}
    assert house.rows("SELECT count(*) FROM locks") == [(0,)]
