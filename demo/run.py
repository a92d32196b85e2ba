"""One full cycle on the pocket grid, as Airflow runs, and the proof that the inventory tells the truth."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from demo import people, processes, report
from demo.airflow_api import Airflow
from demo.instance import Instance
from demo.proof import prove
from demo.up import grid, up
from dynamo_ops.cli.terminal.cells import size
from dynamo_ops.database.connection import Database

Say = Callable[[str], None]
CYCLE = ("dealer_express", "dealer_physics", "deletions", "transfers", "detox_express", "detox_physics")
DAGS = {*CYCLE, "metadata_sync", "popularity_aggregation", "site_consistency", "housekeeping"}
NOTHING_LEFT = "SELECT count(*) FROM subscriptions WHERE state IN ('new', 'inbatch', 'retry', 'held')"


def run(instance: Instance, say: Say, *, keep: bool) -> int:
    """The demo; returns 0 if the proof holds."""
    began = time.monotonic()
    environment = up(instance, say)
    database = Database(environment["DYNAMO_DB_URL"])
    airflow = Airflow.of(instance)
    airflow.wait_for_dags(DAGS)
    _metadata_and_replicas(instance, environment, database, airflow, say)
    _popularity(airflow, say)
    before = report.occupancy(database)
    alone = report.last_copies(database)
    _requests(instance, environment, database, say)
    _consistency(airflow, database, say, "first look: what is missing or too much now is only noted")
    _cycle(airflow, database, say)
    _consistency(
        airflow, database, say, "second look: what is still missing is fetched again, what is still too much goes"
    )
    airflow.trigger("housekeeping")
    airflow.unpause("housekeeping")
    airflow.wait_until_settled(say)
    report.show_report(database, before)
    saved = _evacuated(alone, report.last_copies(database), say)
    answered = _answered(database, say)
    runs = airflow.runs()
    say(
        f"{len(runs)} DAG runs, all green: "
        + ", ".join(
            f"{name} {sum(found['dag_id'] == name for found in runs)}"
            for name in sorted({found["dag_id"] for found in runs})
        )
    )
    holds = _prove(instance, environment, say)
    cpu = _cpu_seconds(instance)
    say(f"wall time {time.monotonic() - began:.0f} s, CPU time of all processes about {cpu:.0f} s")
    if keep:
        say(f"the UI stays up: {instance.ui} (who may log in stands above); `make down` ends everything")
    return 0 if holds and saved and answered else 1


def _metadata_and_replicas(
    instance: Instance, environment: dict[str, str], database: Database, airflow: Airflow, say: Say
) -> None:
    say("metadata sync: datasets, blocks and files from DBS, sites from the status feed")
    airflow.unpause("metadata_sync")
    airflow.wait_until_settled(say, at_least=1)
    say("what is where, whose it is, and the quotas: the production system's document, by `dynamo inject`")
    call_dynamo(instance, environment, "inject", str(instance.grid_folder / "replicas.json"))
    say(call_dynamo(instance, environment, "inventory", "summary"))
    people.join_group(database)


def _popularity(airflow: Airflow, say: Say) -> None:
    say("popularity: yesterday by schedule, the two days before by an Airflow backfill")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    airflow.unpause("popularity_aggregation")
    airflow.backfill("popularity_aggregation", today - timedelta(days=3), today - timedelta(days=2))
    airflow.wait_until_settled(say, at_least=4)


def _requests(instance: Instance, environment: dict[str, str], database: Database, say: Say) -> None:
    """Ask for copies of two datasets that only tapes have, for one that is too large, and for one by mistake; and for a
    deletion that may not be."""
    tape_only = database.frame("""
        SELECT d.name FROM datasets d WHERE d.status = 'valid' AND d.num_files > 0
          AND EXISTS (SELECT FROM block_replicas r JOIN sites s ON s.id = r.site_id
                      WHERE r.dataset_id = d.id AND s.storage_type = 'mss' AND s.status = 'ready')
          AND NOT EXISTS (SELECT FROM block_replicas r JOIN sites s ON s.id = r.site_id
                          WHERE r.dataset_id = d.id AND s.storage_type <> 'mss') ORDER BY d.size_bytes, d.name LIMIT
                          3""")["name"].to_list()
    largest = database.frame("SELECT name FROM datasets WHERE status = 'production' ORDER BY size_bytes DESC LIMIT 1")

    def ask(*arguments: str, code: int = 0) -> None:
        say(call_dynamo(instance, environment, "request", *arguments, code=code))

    for dataset in tape_only[:2]:
        ask("copy", dataset, "--site", "T2_*", "--group", "physics")
    for dataset in (largest.item(), tape_only[2]):
        ask("copy", dataset, "--site", "T2_FF", "--group", "physics")
    mistaken = database.frame("SELECT max(id) FROM requests").item()
    ask("cancel", str(mistaken), "--reason", "the wrong dataset")
    alone = database.frame("SELECT d.name FROM datasets d WHERE d.name LIKE '/Rare%' ORDER BY 1 LIMIT 1").item()
    ask("delete", alone, "--site", "T2_HH", "--reason", "is anybody using it?", "--yes", code=REJECTED)


REJECTED = 1
"""Exit code of a request of which nothing is done."""
EXPECTED_REQUESTS = {"completed": 2, "rejected": 2, "cancelled": 1}


def _answered(database: Database, say: Say) -> bool:
    """Whether the requests ended as they should, nobody having touched anything."""
    states = dict(database.frame("SELECT state, count(*) FROM requests GROUP BY state").iter_rows())
    if states != EXPECTED_REQUESTS:
        say(f"REQUESTS: expected {EXPECTED_REQUESTS}, found {states}")
    return states == EXPECTED_REQUESTS


def _consistency(airflow: Airflow, database: Database, say: Say, what: str) -> None:
    say(f"site consistency, {what}")
    for dag_id in ("transfers", "deletions"):
        airflow.unpause(dag_id)
    airflow.unpause("site_consistency")
    number = len(airflow.runs())
    airflow.trigger("site_consistency", repair=True)
    airflow.wait_until_settled(say, lambda: _nothing_left(database), at_least=number + 1)


def _cycle(airflow: Airflow, database: Database, say: Say) -> None:
    say("detox → dealer → transfers and deletions, each started by what the one before has emitted")
    number = len(airflow.runs())
    for dag_id in CYCLE:
        airflow.unpause(dag_id)
    for partition in ("physics", "express"):
        airflow.trigger(f"detox_{partition}")
    airflow.wait_until_settled(say, lambda: _nothing_left(database), at_least=number + 6)


def _evacuated(before: pl.DataFrame, after: pl.DataFrame, say: Say) -> bool:
    """Say whether what only sites in the morgue had is somewhere else now. True too where there was nothing."""
    report.show_last_copies(before, after)
    if not after.is_empty():
        say(f"EVACUATION FAILED: {after['blocks'].sum()} blocks are still only at sites in the morgue")
        return False
    saved = size(int(before["size_bytes"].sum()))
    say(f"evacuated: {before['blocks'].sum()} blocks that only sites in the morgue had ({saved})")
    return True


def _nothing_left(database: Database) -> bool:
    return int(database.frame(NOTHING_LEFT).item()) == 0


def _prove(instance: Instance, environment: dict[str, str], say: Say) -> bool:
    sites = grid(instance)["sites"]
    assert isinstance(sites, dict)
    proof = prove(environment["DYNAMO_DB_URL"], {name: Path(site["root"]) for name, site in sites.items()})
    if proof.differences:
        say(f"PROOF FAILED: {len(proof.differences)} differences between inventory and storage")
        for difference in proof.differences[:20]:
            say(f"  {difference}")
        return False
    unmanaged = f" ({proof.num_unmanaged} files in unmanaged areas, not compared)" if proof.num_unmanaged else ""
    say(f"inventory = storage: {proof.num_files} files, {proof.size_bytes} bytes ({size(proof.size_bytes)}){unmanaged}")
    return True


def call_dynamo(instance: Instance, environment: dict[str, str], *arguments: str, code: int = 0) -> str:
    """Run the CLI as a user would; returns what it printed. ``code``: how it must end."""
    log = instance.logs / "cli.log"
    began = log.stat().st_size if log.exists() else 0
    processes.run(instance, "cli", processes.python("-m", "dynamo_ops.cli", *arguments), environment, codes=(code,))
    return log.read_bytes()[began:].decode().rstrip()


def _cpu_seconds(instance: Instance) -> float:
    """CPU seconds of the instance's processes (their ended children included) and of ourselves."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    own = used.ru_utime + used.ru_stime
    return own + sum(sum(process.cpu_times()[:4]) for process in processes.of_instance(instance))
