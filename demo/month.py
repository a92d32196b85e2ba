"""A month in which a week is lost and then backfilled, through the real scheduler."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import requests
import yaml
from sqlalchemy import text

from demo import processes
from demo.airflow_api import Airflow
from demo.dump import differences, dump
from demo.instance import DemoError, Instance
from demo.up import AIRFLOW, grid, up
from dynamo_ops.access.person import task_person
from dynamo_ops.database import embedded
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.injection.inject import inject
from simgrid.build import placement_document
from simgrid.catalogue import Catalogue
from simgrid.scenario import Scenario, load_scenario

Say = Callable[[str], None]

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LOST = range(11, 18)
DAGS = ("metadata_sync", "popularity_aggregation")
RUN_TIMEOUT_S = 600


def show_backfill(instance: Instance, say: Say) -> int:
    """Live a month twice, once with a lost week that is backfilled; 0 if both came to the same tables.

    ``DEMO_DAYS``: fewer days than 30; the lost ones are then those from the 11th on that there are.
    """
    num_days = int(os.environ.get("DEMO_DAYS", "30"))
    month = _Month(instance, say)
    lost = [day for day in LOST if day <= num_days]
    month.begin()
    say(f"once undisturbed: {num_days} days, each with a run of {' and '.join(DAGS)}")
    for day in range(1, num_days + 1):
        if day == lost[0]:
            month.remember()
        month.live(day)
    undisturbed = dump(month.database)
    month.go_back(lost[0])
    say(f"once more from day {lost[0]} on, but nothing runs until day {lost[-1]} is over")
    for day in range(lost[-1] + 1, num_days + 1):
        month.live(day)
    before = dump(month.database)
    say(f"without them {len(differences(undisturbed, before, shown=10**9))} rows differ")
    month.backfill(lost[0], lost[-1], now=num_days)
    after = dump(month.database)
    for difference in differences(undisturbed, after):
        say(f"  {difference}")
    rows = sum(len(table.splitlines()) - 1 for table in after.values())
    say(
        f"after the backfill: {len(after)} tables, {rows} rows, "
        + ("equal to the byte" if after == undisturbed else "NOT EQUAL")
    )
    return 0 if after == undisturbed and before != undisturbed else 1


class _Month:
    """An instance that lives through January."""

    def __init__(self, instance: Instance, say: Say) -> None:
        self._instance = instance
        self._say = say
        self._environment = up(instance, say)
        self.database = Database(self._environment["DYNAMO_DB_URL"])
        self._airflow = Airflow.of(instance)

    def begin(self) -> None:
        """What there was before January, with its replicas."""
        file = self._instance.config_folder / "dynamo.yaml"
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "metadata_schedule": "@daily"}))
        self._set_clock(BEGIN)
        self._airflow.wait_for_dags(set(DAGS))
        for dag_id in DAGS:
            self._airflow.unpause(dag_id)  # starts a run for yesterday: the first pull of all
        self._airflow.wait_until_settled(self._say, at_least=len(DAGS))
        catalogue = Catalogue.load(self._instance.grid_folder / "catalogue.json")
        inject(
            self.database,
            known_replicas(catalogue, load_scenario(self._instance.scenario), BEGIN),
            by=task_person("demo"),
        )
        with self.database.begin() as connection:
            for statement in _FORGET_YESTERDAY:
                connection.execute(text(statement), {"begin": BEGIN})

    def remember(self) -> None:
        """Keep the inventory as it is now."""
        self._copy("dynamo", "remembered")

    def go_back(self, day: int) -> None:
        """The inventory as it was remembered; Airflow forgets the runs of January from ``day`` on."""
        first = (BEGIN + timedelta(days=day - 1)).isoformat()
        for run in self._airflow.runs():
            if first[:10] <= (run["logical_date"] or "")[:10] < "2026-02":
                self._airflow.delete_run(run["dag_id"], run["dag_run_id"])
        self._copy("remembered", "dynamo")

    def live(self, day: int) -> None:
        """The runs of a day, at its end."""
        self._set_clock(BEGIN + timedelta(days=day))
        start = BEGIN + timedelta(days=day - 1)
        runs = [(dag_id, self._airflow.trigger_interval(dag_id, start, start + timedelta(days=1))) for dag_id in DAGS]
        self._wait(runs)
        if day % 5 == 0:
            self._say(f"  day {day}")

    def backfill(self, first: int, last: int, *, now: int) -> None:
        """`airflow backfill create` for both DAGs, as an operator would, at the end of day ``now``."""
        self._set_clock(BEGIN + timedelta(days=now))
        days = [(BEGIN + timedelta(days=day - 1)).date().isoformat() for day in (first, last)]
        for dag_id in DAGS:
            arguments = ["backfill", "create", "--dag-id", dag_id, "--from-date", days[0], "--to-date", days[1]]
            self._say("$ airflow " + " ".join(arguments))
            command = processes.python(*AIRFLOW, *arguments)
            processes.run(self._instance, f"backfill-{dag_id}", command, self._environment)
        self._airflow.wait_until_settled(self._say, at_least=1)

    def _wait(self, runs: list[tuple[str, str]]) -> None:
        end = time.monotonic() + RUN_TIMEOUT_S
        while runs:
            states = {(dag_id, run_id): self._airflow.run_state(dag_id, run_id) for dag_id, run_id in runs}
            if "failed" in states.values() or time.monotonic() > end:
                raise DemoError(f"not all runs ended well: {states}; see {self._instance.ui}")
            runs = [run for run, state in states.items() if state != "success"]
            time.sleep(0.5)

    def _set_clock(self, moment: datetime) -> None:
        url = f"{grid(self._instance)['control']}/clock"
        requests.post(url, json={"at": moment.isoformat()}, timeout=30).raise_for_status()

    def _copy(self, origin: str, target: str) -> None:
        """A database in the place of another, which is dropped if it is there."""
        server = embedded.find(self._instance.home / "postgres")
        assert server is not None
        self.database.dispose()
        with closing(psycopg2.connect(server.url("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN (%s, %s)", (origin, target)
                )
                cursor.execute(f'DROP DATABASE IF EXISTS "{target}"')
                cursor.execute(f'CREATE DATABASE "{target}" TEMPLATE "{origin}"')


def known_replicas(catalogue: Catalogue, scenario: Scenario, moment: datetime) -> dict[str, Any]:
    """The placement document as it was at ``moment``: only datasets and blocks that existed."""
    at = int(moment.timestamp())
    blocks = {block.name for dataset in catalogue.datasets for block in dataset.blocks if block.created_at <= at}
    document = placement_document(scenario, catalogue)
    for replica in document["dataset_replicas"]:
        replica["blocks"] = [name for name in replica["blocks"] if name in blocks]
    document["dataset_replicas"] = [replica for replica in document["dataset_replicas"] if replica["blocks"]]
    return document


_FORGET_YESTERDAY = (
    "DELETE FROM aggregated_days",
    "UPDATE source_states SET merged_until = :begin WHERE merged_until IS NOT NULL",
)
"""The first pull was made by a run of today: as if it had been made when January began."""
