"""Fifty thousand files, moved for real through the DAGs, and the proof that the inventory tells the truth.

With ``DEMO_KILL_EVERY_S`` a task of Airflow, whichever runs, is killed with -9 every so many seconds meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from demo.airflow_api import Airflow
from demo.instance import Instance
from demo.killer import Killer
from demo.processes import cpu_seconds
from demo.proof import prove
from demo.run import DAGS, NOTHING_LEFT, call_dynamo
from demo.up import grid, up
from dynamo_ops.cli.terminal.cells import size
from dynamo_ops.database.connection import Database

Say = Callable[[str], None]
SITES = ("T2_DD", "T2_EE", "T2_FF")
TIMEOUT_S = 3600
IDLE_S = 60
"""So long nothing is asked for, to see what an installation takes by itself."""
FOLLOWED = ("dealer_physics", "transfers", "deletions")
MOVED = """
    SELECT count(*) AS files, coalesce(sum(t.size_bytes), 0)::bigint AS size_bytes, count(DISTINCT t.batch_id) AS jobs,
           count(*) FILTER (WHERE b.is_staging) AS staged, min(b.submitted_at) AS first_at,
           max(t.finished_at) AS last_at
    FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id WHERE t.state = 'done'"""


def move_in_bulk(instance: Instance, say: Say) -> int:
    """Ask for a copy of everything and follow it; 0 if all files arrived and the storages agree with the inventory."""
    environment = up(instance, say)
    database = Database(environment["DYNAMO_DB_URL"])
    airflow = Airflow.of(instance)
    airflow.wait_for_dags(DAGS)
    airflow.unpause("metadata_sync")
    airflow.wait_until_settled(say, at_least=1)
    call_dynamo(instance, environment, "inject", str(instance.grid_folder / "replicas.json"))
    wanted = int(database.frame("SELECT count(*) FROM files").item())
    say(f"{wanted} files in the catalogue; a copy of each is asked for")
    datasets = database.frame("SELECT name FROM datasets ORDER BY name")["name"].to_list()
    where = [argument for site in SITES for argument in ("--site", site)]
    say(call_dynamo(instance, environment, "request", "copy", *datasets, "--group", "physics", *where))
    idle_cores = _idle_cores(instance)
    began, before = time.monotonic(), cpu_seconds(instance)
    number = len(airflow.runs())
    for dag_id in FOLLOWED:
        airflow.unpause(dag_id)
    airflow.trigger("dealer_physics")
    with Killer(instance, float(os.environ.get("DEMO_KILL_EVERY_S", "0"))) as killer:
        airflow.wait_until_settled(
            say, lambda: _moved(database) >= wanted and _left(database) == 0, at_least=number + 2, timeout_s=TIMEOUT_S
        )
    took, after = time.monotonic() - began, cpu_seconds(instance)
    files, bytes_moved, jobs, staged, first, last = database.frame(MOVED).row(0)
    failed = database.frame("SELECT count(*) FROM transfers WHERE state <> 'done'").item()
    say(f"{files} files ({size(bytes_moved)}) in {jobs} jobs, {staged} of them from tape; {failed} attempts failed")
    say(f"first submit to last copy {(last - first).total_seconds():.0f} s; request to settled {took:.0f} s")
    ms = {kind: (after[kind] - before[kind]) * 1000 / files for kind in after}
    of_all, of_idle = ms["airflow"] + ms["databases"], idle_cores * took * 1000 / files
    say(
        f"CPU of all processes but the grid: {of_all:.2f} ms a file (Airflow and Dynamo {ms['airflow']:.2f}, databases"
        f" {ms['databases']:.2f}); {of_all - of_idle:.2f} without the {idle_cores:.0%} of a core that they take when"
        f" there is nothing to do; of the grid {ms['grid']:.2f}"
    )
    runs = [run for run in airflow.runs() if run["dag_id"] == "transfers"]
    say(f"{len(runs)} runs of transfers, all green; {killer.num_killed} tasks were killed with -9 and tried again")
    return 0 if _holds(instance, environment, files == wanted, say) else 1


def _idle_cores(instance: Instance) -> float:
    """What all processes but the grid take while there is nothing to do, in cores."""
    before = cpu_seconds(instance)
    time.sleep(IDLE_S)
    after = cpu_seconds(instance)
    return sum(after[kind] - before[kind] for kind in ("airflow", "databases")) / IDLE_S


def _moved(database: Database) -> int:
    return int(database.frame("SELECT count(*) FROM transfers WHERE state = 'done'").item())


def _left(database: Database) -> int:
    return int(database.frame(NOTHING_LEFT).item())


def _holds(instance: Instance, environment: dict[str, str], all_once: bool, say: Say) -> bool:
    sites = grid(instance)["sites"]
    assert isinstance(sites, dict)
    proof = prove(environment["DYNAMO_DB_URL"], {name: Path(site["root"]) for name, site in sites.items()})
    for difference in proof.differences[:20]:
        say(f"  {difference}")
    say(
        f"inventory = storage: {proof.num_files} files, {size(proof.size_bytes)}"
        if not proof.differences
        else f"PROOF FAILED: {len(proof.differences)} differences between inventory and storage"
    )
    if not all_once:
        say("PROOF FAILED: not every file was moved exactly once")
    return all_once and not proof.differences
