"""What a demo that has nothing to do costs: CPU, memory, log, and a run that finds nothing: of ``look_for_work``, which
the clock starts, and of ``transfers`` and ``deletions``, which a person may.

    make demo && python -m benchmarks.idle            # --seconds 300: how long it is watched

CPU is that of all its processes, ended children included: PostgreSQL, Airflow, the pocket grid. Memory is the
proportional set size, so that what processes share counts once. Schedules go on meanwhile: runs that begin in the time
are named. Machines differ; compare two states on one machine.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from demo import processes
from demo.airflow_api import ENDED, LOOK, Airflow
from demo.instance import Instance

MB = 1_000_000
LOGS = ("logs", "airflow/logs")
KINDS = ("postgres", "api_server", "scheduler", "dag_processor", "triggerer", "simgrid", "LocalExecutor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=300, help="how long it is watched (default: 300)")
    seconds = parser.parse_args().seconds
    instance = Instance()
    airflow = Airflow.of(instance)
    wait_until_idle(airflow)

    runs = {run["dag_run_id"] for run in all_runs(airflow)}
    cpu, log, began = cpu_seconds(instance), log_bytes(instance), time.monotonic()
    time.sleep(seconds)
    wall = time.monotonic() - began
    idle = {name: used - cpu.get(name, 0) for name, used in cpu_seconds(instance).items()}
    grown = log_bytes(instance) - log
    memory = memory_mb(instance)
    print(f"{'':<16}{'% of a core':>12}{'MB':>8}")
    for name in sorted(memory, key=memory.__getitem__, reverse=True):
        print(f"{name:<16}{100 * idle[name] / wall:>12.1f}{memory[name]:>8.0f}")
    print(f"{'all':<16}{100 * sum(idle.values()) / wall:>12.1f}{sum(memory.values()):>8.0f}")
    print(f"log: {grown / MB * 3600 / wall:.1f} MB an hour")
    begun = Counter(run["dag_id"] for run in all_runs(airflow) if run["dag_run_id"] not in runs)
    print(f"in {wall:.0f} s; runs that began: {', '.join(f'{n} {dag}' for dag, n in begun.items()) or 'none'}")

    for dag_id in (LOOK, "transfers", "deletions"):
        wait_until_idle(airflow)
        before, began = sum(cpu_seconds(instance).values()), time.monotonic()
        run_id = airflow.trigger(dag_id)
        while airflow.run_state(dag_id, run_id) not in ENDED:
            time.sleep(0.5)
        time.sleep(5)
        wall = time.monotonic() - began
        used = sum(cpu_seconds(instance).values()) - before
        usual = wall * sum(idle.values()) / seconds
        print(
            f"a run of {dag_id} with nothing to do: {used:.1f} CPU s in {wall:.0f} s, {used - usual:.1f} above the rest"
        )


def all_runs(airflow: Airflow) -> list[dict[str, Any]]:
    """Those of the look, too."""
    return [*airflow.runs(), *airflow.runs(LOOK)]


def wait_until_idle(airflow: Airflow) -> None:
    """Until no run is under way."""
    while any(run["state"] not in ENDED for run in all_runs(airflow)):
        time.sleep(2)
    time.sleep(10)


def cpu_seconds(instance: Instance) -> dict[str, float]:
    """CPU seconds so far, by kind of process, ended children included."""
    return _by_kind(instance, lambda process: sum(process.cpu_times()[:4]))


def memory_mb(instance: Instance) -> dict[str, float]:
    """Proportional set size by kind of process."""
    return _by_kind(instance, lambda process: process.memory_full_info().pss / MB)


def _by_kind(instance: Instance, amount: Callable[[psutil.Process], float]) -> dict[str, float]:
    amounts: dict[str, float] = defaultdict(float)
    for process in _processes(instance):
        with suppress(psutil.Error):
            amounts[kind(process)] += amount(process)
    return amounts


def _processes(instance: Instance) -> list[psutil.Process]:
    """Those of the instance, PostgreSQL's too, which are another user's."""
    pid = int((Path(instance.home) / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    postgres = psutil.Process(pid)
    return list({*processes.of_instance(instance), postgres, *postgres.children(recursive=True)})


def kind(process: psutil.Process) -> str:
    """What a process is, by its words."""
    words = " ".join(process.cmdline()).replace("-", "_")
    return next((name for name in KINDS if name in words), "other")


def log_bytes(instance: Instance) -> int:
    """Bytes of all log files."""
    folders = [Path(instance.home) / name for name in LOGS]
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
