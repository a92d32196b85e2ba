"""The DAG files as Airflow reads them: which DAGs there are, what each of them has, and what a wrong setting does."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import settings
from tests.dags.house import DAG_IDS, RECIPIENT, ROOT, environment

FILES = sorted((ROOT / "dags").glob("*.py"))
HEAVY = (
    "adbc_driver_postgresql",
    "great_expectations",
    "polars",
    "psycopg2",
    "pyarrow",
    "requests",
    "httpx",
    "lark",
    "fsspec",
)
"""Each would cost its import time in every parse of every file, again and again."""
LIGHT = {"dynamo_ops", "dynamo_ops.base.errors", "dynamo_ops.base.settings", "dynamo_ops.base.times"}

SETTINGS: dict[str, Any] = {
    "metadata_sources": [{"name": "dbs", "type": "dbs", "options": {"url": "https://dbs.example.org"}}],
    "site_sources": [{"name": "sites", "type": "json", "options": {"url": "https://sites.example.org"}}],
    "access_sources": [{"name": "accesses", "type": "json", "options": {"url": "https://accesses.example.org"}}],
    "retries": {"count": 4, "delay_s": 7, "max_delay_s": 70},
    "mail": {"recipients": [RECIPIENT]},
}


def read_dags() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(ROOT / "dags")


@pytest.fixture(scope="module")
def bag(airflow: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with environment(tmp_path_factory.mktemp("parse"), SETTINGS):
        yield read_dags()


def test_all_files_are_read_and_make_the_expected_dags(bag: Any) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == DAG_IDS


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_every_dag_explains_itself_retries_by_our_errors_and_tells_when_it_fails_or_is_late(
    bag: Any, dag_id: str
) -> None:
    from airflow.sdk import DeadlineAlert, ExceptionRetryPolicy
    from dynamo_airflow.alerts import tell_failure

    dag = bag.dags[dag_id]
    assert dag.doc_md.strip().startswith("### ")
    assert "dynamo" in dag.tags
    assert dag.tags & {"reads", "decides", "acts", "tells"}
    assert not dag.catchup
    assert dag.max_active_runs <= (200 if dag_id == "transfers" else 4)  # those sleep while they wait
    assert all(isinstance(alert, DeadlineAlert) for alert in dag.deadline)
    assert len(dag.deadline) == 1
    for task in dag.tasks:
        given = task.partial_kwargs if task.is_mapped else vars(task)
        assert given["retries"] == 4, task.task_id
        assert isinstance(given["retry_policy"], ExceptionRetryPolicy), task.task_id
        assert given["on_failure_callback"] == [tell_failure], task.task_id


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_every_dag_says_to_a_data_manager_what_it_does_and_what_to_do_when_a_task_is_red(bag: Any, dag_id: str) -> None:
    dag = bag.dags[dag_id]
    assert dag.dag_display_name != dag_id
    assert len(dag.dag_display_name) <= 64
    for said in (
        "Reads",
        "hanges",
        "#### When a task is red",
        "#### Where to look in Dynamo",
        "/plugin/dynamo/dynamo/ui/",
    ):
        assert said in dag.doc_md, said
    assert "{" not in dag.doc_md, "something was not filled in"
    unnamed = [task.task_id for task in dag.tasks if task.task_display_name == task.task_id]
    assert unnamed == []


def test_no_two_dags_have_one_name(bag: Any) -> None:
    names = [dag.dag_display_name for dag in bag.dags.values()]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_every_parameter_of_the_trigger_form_has_a_title_and_a_description(bag: Any, dag_id: str) -> None:
    for name, param in bag.dags[dag_id].params.items():
        schema = bag.dags[dag_id].params.get_param(name).schema
        assert schema.get("title"), name
        assert schema.get("description") or bag.dags[dag_id].params.get_param(name).description, name
        del param


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_every_task_that_calls_out_is_in_a_pool_that_we_ship(bag: Any, dag_id: str) -> None:
    shipped = set(yaml.safe_load((ROOT / "include" / "config" / "pools.json").read_text())) | {"default_pool"}
    pools = {task.task_id: task.pool for task in bag.dags[dag_id].tasks}
    assert {task: pool for task, pool in pools.items() if pool not in shipped} == {}


def test_nobody_is_told_where_the_settings_name_nobody(airflow: None, tmp_path: Path) -> None:
    with environment(tmp_path, SETTINGS | {"mail": {}}):
        dags = read_dags().dags.values()
    assert [dag.dag_id for dag in dags if dag.deadline or dag.default_args["on_failure_callback"]] == []


def test_partitions_are_what_the_files_are(airflow: None, tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "muons.txt").write_text("Partition muons\n")
    with environment(tmp_path, SETTINGS, DYNAMO_POLICY_DIR=str(policies)) as config:
        (config / "dealer" / "express.yaml").rename(config / "dealer" / "muons.yaml")
        found = set(read_dags().dags)
    assert {dag_id for dag_id in found if dag_id.startswith(("detox_", "dealer_"))} == {
        "detox_muons",
        "dealer_muons",
        "dealer_physics",
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(
            {"fts": {"poll_interval_s": 0}}, ["dynamo.yaml", "fts.poll_interval_s", "greater than 0"], id="value"
        ),
        pytest.param({"fst": {}}, ["dynamo.yaml", "fst", "there is no such setting"], id="unknown key"),
        pytest.param({"retries": {"count": "many"}}, ["dynamo.yaml", "retries.count", "'many'"], id="kind"),
    ],
)
def test_a_wrong_setting_is_an_import_error_that_names_file_key_and_reason(
    airflow: None, tmp_path: Path, change: dict[str, Any], named: list[str]
) -> None:
    with environment(tmp_path, SETTINGS | change):
        errors = read_dags().import_errors
    assert len(errors) == len(FILES)
    for error in errors.values():
        assert [text for text in named if text not in error] == []


def test_a_home_that_was_never_initialised_is_an_import_error_that_says_what_to_do(
    airflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNAMO_HOME", str(tmp_path))
    settings.cache_clear()
    errors = read_dags().import_errors
    assert len(errors) == len(FILES)
    assert [error for error in errors.values() if f"`dynamo init {tmp_path}` makes one there" not in error] == []
    assert list(tmp_path.iterdir()) == []


def test_a_task_makes_no_database_where_there_was_none(
    airflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dynamo_airflow.channels import alert_database
    from dynamo_airflow.defaults import database

    monkeypatch.delenv("DYNAMO_DB_URL", raising=False)  # of a fixture that lives longer than a test
    with environment(tmp_path, SETTINGS):
        for connect in (database, alert_database):
            with pytest.raises(SettingsError, match="postgres holds no PostgreSQL"):
                connect()
        monkeypatch.delenv("DYNAMO_HOME")
        monkeypatch.chdir(tmp_path)
        settings.cache_clear()
        with pytest.raises(SettingsError, match="no installation here: DYNAMO_HOME is not set"):
            database()
    assert sorted(place.name for place in (tmp_path / "home").iterdir()) == ["dynamo.toml"]


def test_reading_the_files_imports_nothing_heavy(airflow: None, tmp_path: Path) -> None:
    script = f"""
import runpy, sys
import airflow.sdk, airflow.providers.standard.operators.hitl, airflow.providers.smtp.notifications.smtp
import dynamo_ops.base.settings
before = set(sys.modules)
for file in {[str(file) for file in FILES]}:
    runpy.run_path(file)
print(*sorted(set(sys.modules) - before))
"""
    with environment(tmp_path, SETTINGS):
        path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
        made = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": path},
            check=True,
            capture_output=True,
            text=True,
        )
    added = made.stdout.splitlines()[-1].split()
    assert "dynamo_airflow.defaults" in added
    assert [name for name in added if name.split(".")[0] in HEAVY] == []
    assert {name for name in added if name.startswith("dynamo_ops")} <= LIGHT


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_at_their_top_the_files_import_settings_only_of_ours(file: Path) -> None:
    imported = [node.module for node in ast.parse(file.read_text()).body if isinstance(node, ast.ImportFrom)]
    assert {name for name in imported if name and name.startswith("dynamo_ops")} <= {"dynamo_ops.base.settings"}
