"""A whole house for DAGs: Airflow on the session's PostgreSQL, a pocket grid, and settings that name both.

Airflow reads its configuration from the environment when it is first imported, so nothing here imports it at the top.
"""

from __future__ import annotations

import html
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg2
import yaml
from sqlalchemy import text

from demo.proof import Proof, prove
from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from simgrid.grid import Grid
from simgrid.scenario import Scenario
from tests import ROOT
from tests.conftest import TEMPLATE
from tests.installation import installed
from tests.people import inject

TINY = ROOT / "include" / "scenarios" / "tiny.yaml"
AIRFLOW_DATABASE = "airflow"
RECIPIENT = "operators@localhost"
DAG_IDS = {
    "daily_digest",
    "dealer_express",
    "dealer_physics",
    "deletions",
    "detox_express",
    "detox_physics",
    "detox_relval",
    "detox_unclaimed",
    "errands",
    "events",
    "housekeeping",
    "look_for_work",
    "metadata_sync",
    "popularity_aggregation",
    "site_consistency",
    "transfers",
}
_prepared: set[str] = set()


def prepare_airflow(postgres: EmbeddedPostgres, home: Path) -> None:
    """Airflow of this process, on a database of its own in ``postgres``: once a process, before its first import."""
    if _prepared:
        return
    postgres.create_database(AIRFLOW_DATABASE)
    url = postgres.url(AIRFLOW_DATABASE).replace("postgresql://", "postgresql+psycopg2://")
    os.environ.update(
        {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX": "regexp",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
    )
    from airflow.utils.db import initdb

    initdb()
    _prepared.add(url)


def leave_airflow() -> None:
    """Close Airflow's connections, before its database goes."""
    from airflow import settings as airflow_settings

    if _prepared:
        airflow_settings.Session.remove()
        airflow_settings.dispose_orm()
        _prepared.clear()


def configuration(grid: Grid) -> dict[str, Any]:
    """``dynamo.yaml`` for a pocket grid: everything quick."""
    ends = grid.endpoints
    return {
        "metadata_sources": [{"name": "dbs", "type": "dbs", "options": {"url": ends["dbs"]}}],
        "site_sources": [{"name": "site_status", "type": "json", "options": {"url": ends["site_status"]}}],
        "access_sources": [{"name": "accesses", "type": "json", "options": {"url": ends["accesses"]}}],
        "tls": {"ca": ends["ca"], "cert": ends["user_cert"], "key": ends["user_key"]},
        "fts": {"url": ends["fts"], "poll_interval_s": 0.2, "timeout_h": 0.05, "retry_delay_s": 0},
        "transfers": {"backoff_s": 0},
        "deletion": {"backoff_s": 0},
        "popularity": {"wait_h": 0},
        "retries": {"count": 2, "delay_s": 0.1, "max_delay_s": 0.2},
        "mail": {"sender": "dynamo@localhost", "recipients": [RECIPIENT]},
    }


@contextmanager
def environment(folder: Path, values: dict[str, Any], **variables: str) -> Iterator[Path]:
    """A configuration folder like the shipped one, with ``values`` as its ``dynamo.yaml``, in force."""
    config = folder / "config"
    shutil.copytree(ROOT / "include" / "config", config)
    (config / "dynamo.yaml").write_text(yaml.safe_dump(values))
    named = {"DYNAMO_HOME": installed(folder / "home", config), **variables}
    with patch.dict(os.environ, named):
        settings.cache_clear()
        yield config
    settings.cache_clear()


def dag(dag_id: str) -> Any:
    """A DAG, read anew: a run leaves its parameters in the object."""
    from airflow.dag_processing.dagbag import DagBag

    name = dag_id.split("_")[0] if dag_id.startswith(("dealer_", "detox_")) else dag_id
    bag = DagBag(ROOT / "dags" / f"{name}.py")
    assert not bag.import_errors
    found = bag.dags[dag_id]
    found.deadline = None  # dag.test() of Airflow 3.3 fails over it: it looks for the alert's row by its content
    return found


@dataclass
class Run:
    """One run of a DAG. ``tasks``: (task, map index) → state; the index is -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    state: str
    tasks: dict[tuple[str, int], str]
    dag_run: Any = field(repr=False)

    def states(self, task_id: str) -> Counter[str]:
        """How many instances of a task ended in which state."""
        return Counter(state for (name, _), state in self.tasks.items() if name == task_id)

    @property
    def failed(self) -> set[str]:
        """The tasks that failed themselves."""
        return {name for (name, _), state in self.tasks.items() if state == "failed"}

    @property
    def not_green(self) -> dict[str, str]:
        """Tasks, with their states, that did not end well: those that were skipped, too."""
        return {name: state for (name, _), state in self.tasks.items() if state != "success"}

    def link(self, task_id: str, link: str, map_index: int = -1) -> str | None:
        """Where a button of a task leads, as Airflow has kept it; None where it has not."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            kept = XComModel.get_many(
                key=f"_link_{link}",
                task_ids=task_id,
                dag_ids=self.dag_id,
                run_id=self.run_id,
                map_indexes=map_index,
            )
            rows = session.execute(kept.with_only_columns(XComModel.value)).scalars().all()
        return str(rows[0]) if rows else None

    @property
    def assets(self) -> set[str]:
        """Of which assets the run has told."""
        from airflow.models.asset import AssetEvent, AssetModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            told = select(AssetModel.uri).join(AssetEvent, AssetEvent.asset_id == AssetModel.id)
            own = told.where(AssetEvent.source_dag_id == self.dag_id, AssetEvent.source_run_id == self.run_id)
            return set(session.execute(own).scalars())


@dataclass
class House:
    """Everything that a cycle needs, in one hand."""

    grid: Grid
    database: Database
    config: Path

    def run(
        self,
        dag_id: str,
        *,
        logical_date: datetime | None = None,
        by_asset: bool = False,
        mark_success_pattern: str | None = None,
        **params: Any,
    ) -> Run:
        """Run a DAG from its first task to its last in this process, triggers and callbacks included.

        ``by_asset``: as if an asset had started it, without a logical date and without a data interval.
        """
        given = {"logical_date": logical_date} if logical_date or by_asset else {}
        found = dag(dag_id).test(run_conf=params or None, mark_success_pattern=mark_success_pattern, **given)
        tasks = {(ti.task_id, ti.map_index): str(ti.state) for ti in found.get_task_instances()}
        return Run(dag_id, found.run_id, str(found.state), tasks, found)

    def runs(self, *dag_ids: str, **params: Any) -> None:
        """Run these DAGs one after the other; all must end well."""
        for dag_id in dag_ids:
            run = self.run(dag_id, **params)
            assert run.state == "success", f"{run}\n{self.last_mail_text()}"

    def sync(self) -> None:
        """Metadata in, then what is where, as the production system tells."""
        self.runs("metadata_sync")
        inject(self.database, json.loads(Path(self.grid.endpoints["replicas"]).read_text()))

    def read_settings_again(self) -> None:
        settings.cache_clear()

    def close_connections(self) -> None:
        """End all connections to the database, those that ended tasks have left in pools included."""
        self.database.dispose()
        with closing(psycopg2.connect(self.database.url)) as connection, connection.cursor() as cursor:
            cursor.execute("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                              WHERE datname = current_database() AND pid <> pg_backend_pid()""")

    # -- what can be seen -------------------------------------------------------------------------------------------

    def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.database.begin() as connection:
            result = connection.execute(text(sql), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    def mails(self) -> list[Any]:
        """The mails in the grid's sink, oldest first."""
        folder = Path(self.grid.endpoints["mail_dir"])
        return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in sorted(folder.glob("*.eml"))]

    def empty_mailbox(self) -> None:
        for file in Path(self.grid.endpoints["mail_dir"]).glob("*.eml"):
            file.unlink()

    def last_mail_text(self) -> str:
        """What the newest mail says to its reader; empty without one."""
        mails = self.mails()
        return html.unescape(mails[-1].get_body(("html",)).get_content()) if mails else ""

    def prove(self) -> Proof:
        """Every file on every storage against the inventory."""
        sites = self.grid.endpoints["sites"]
        return prove(self.database.url, {name: Path(site["root"]) for name, site in sites.items()})

    def site_path(self, site: str, lfn: str) -> Path:
        """Where a site has a file."""
        return Path(self.grid.endpoints["sites"][site]["root"]) / lfn.lstrip("/")


@contextmanager
def fresh_database(postgres: EmbeddedPostgres, name: str) -> Iterator[Database]:
    """A database like that of the fixture ``database``, for a fixture that lives longer than a test."""
    postgres.create_database(name, template=TEMPLATE)
    database = Database(postgres.url(name))
    yield database
    database.dispose()
    postgres.drop_database(name)


@contextmanager
def open_house(folder: Path, database: Database, scenario: Scenario | Path = TINY) -> Iterator[House]:
    """A house with a grid of its own, over ``database``."""
    with Grid(scenario, folder / "grid") as grid:
        smtp = grid.endpoints["smtp"]
        connection = json.dumps(
            {
                "conn_type": "smtp",
                "host": smtp["host"],
                "port": smtp["port"],
                "extra": {"disable_ssl": True, "disable_tls": True},
            }
        )
        with environment(
            folder, configuration(grid), DYNAMO_DB_URL=database.url, AIRFLOW_CONN_SMTP_DEFAULT=connection
        ) as config:
            yield House(grid, database, config)
