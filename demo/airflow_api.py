"""What the demo does in Airflow, it does as a user would: over the REST API."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import requests

from demo.instance import DemoError, Instance
from demo.people import OPERATOR, password_of

ENDED = ("success", "failed")
LOOK = "look_for_work"
SHOWN = {"running": "", "deferred": " waiting", "up_for_retry": " to be tried again"}
SAY_EVERY_S = 5


class Airflow:
    """The REST API of one instance, as somebody."""

    @classmethod
    def of(cls, instance: Instance, name: str = OPERATOR) -> Airflow:
        """As one of the demo's people."""
        return cls(instance.ui, name, password_of(instance, name))

    def __init__(self, url: str, name: str, password: str | None) -> None:
        self.url, self.name = url, name
        self._session = requests.Session()
        self._session.trust_env = False
        if password is None:  # everybody is let in
            token = self._session.get(f"{url}/auth/token", timeout=30)
        else:
            token = self._session.post(f"{url}/auth/token", json={"username": name, "password": password}, timeout=30)
        token.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {token.json()['access_token']}"

    def wait_for_dags(self, wanted: set[str], timeout_s: float = 120) -> None:
        """Until the dag-processor has read all DAGs. Raises DemoError with the import errors if there are any."""
        end = time.monotonic() + timeout_s
        while not wanted <= {dag["dag_id"] for dag in self._call("GET", "dags", limit=200)["dags"]}:
            errors = self._call("GET", "importErrors")["import_errors"]
            if errors or time.monotonic() > end:
                raise DemoError(
                    "\n".join(error["stack_trace"] for error in errors) or f"DAGs not read: {sorted(wanted)}"
                )
            time.sleep(1)

    def unpause(self, dag_id: str) -> None:
        self._call("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, **params: Any) -> str:
        """Start a run by hand; returns its id."""
        return str(
            self._call("POST", f"dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": params})["dag_run_id"]
        )

    def trigger_interval(self, dag_id: str, start: datetime, end: datetime) -> str:
        """Start the run that owns an interval; returns its id."""
        body = {
            "logical_date": start.isoformat(),
            "data_interval_start": start.isoformat(),
            "data_interval_end": end.isoformat(),
            "conf": {},
        }
        return str(self._call("POST", f"dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """queued, running, success or failed."""
        return str(self._call("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"])

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Make Airflow forget a run."""
        self._call("DELETE", f"dags/{dag_id}/dagRuns/{run_id}")

    def backfill(self, dag_id: str, start: datetime, end: datetime) -> int:
        """Run the intervals from ``start`` to ``end`` that were not run; returns the backfill's id."""
        body = {
            "dag_id": dag_id,
            "from_date": start.isoformat(),
            "to_date": end.isoformat(),
            "max_active_runs": 1,
            "run_backwards": False,
            "dag_run_conf": {},
            "reprocess_behavior": "none",
        }
        return int(self._call("POST", "backfills", json=body)["id"])

    def runs(self, dag_id: str = "~") -> list[dict[str, Any]]:
        """All runs, newest first; of all DAGs without those of the look, which nobody asked for."""
        found = self._call("GET", f"dags/{dag_id}/dagRuns", limit=500, order_by="-run_after")["dag_runs"]
        return [run for run in found if dag_id != "~" or run["dag_id"] != LOOK]

    def progress(self, run: dict[str, Any]) -> str:
        """How far a run is: its tasks done, and those that run, wait or are tried again."""
        tasks = self._call("GET", f"dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances", limit=500)
        states = Counter(task["state"] for task in tasks["task_instances"])
        active = Counter(
            f"{task['task_id']}{SHOWN[task['state']]}" for task in tasks["task_instances"] if task["state"] in SHOWN
        )
        done = states["success"] + states["skipped"]
        names = ", ".join(name if count == 1 else f"{count} {name}" for name, count in sorted(active.items()))
        return f"{run['dag_id']} {done}/{len(tasks['task_instances'])}" + (f" ({names})" if names else "")

    def wait_until_settled(
        self,
        say: Callable[[str], None],
        done: Callable[[], bool] = lambda: True,
        *,
        at_least: int = 0,
        timeout_s: float = 900,
        failed_before: Collection[str] = (),
    ) -> None:
        """Until at least that many runs exist, none is queued or running, and ``done()``. Says what is going on
        meanwhile.

        Raises DemoError at once when a run has failed, naming its failed tasks; ``failed_before``: ids of runs that
        may, since an earlier show made them fail.
        """
        end, last, said, quiet = time.monotonic() + timeout_s, "", 0.0, 0
        while quiet < 3:
            runs = self.runs()
            self.check([run for run in runs if run["dag_run_id"] not in failed_before])
            busy = [run for run in runs if run["state"] not in ENDED]
            quiet = 0 if busy or len(runs) < at_least or not done() else quiet + 1
            text = "; ".join(self.progress(run) for run in busy)
            if text and text != last and time.monotonic() - said > SAY_EVERY_S:
                say(f"  {text}")
                last, said = text, time.monotonic()
            if time.monotonic() > end:
                raise DemoError(f"not settled after {timeout_s:.0f} s: {text or 'no run is active, but work is left'}")
            time.sleep(1)

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Task → state of a run; of mapped tasks any instance."""
        tasks = self._call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=500)["task_instances"]
        return {task["task_id"]: str(task["state"]) for task in tasks}

    def question(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any] | None:
        """What a task asks a person: subject, body, options, …; None while it has not asked."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        found = self._session.get(f"{self.url}/api/v2/{path}", timeout=60)
        return dict(found.json()) if found.ok else None

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> dict[str, Any]:
        """Choose an option of a question, as a button of the UI does; returns what Airflow recorded."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        return self._call("PATCH", path, json={"chosen_options": [option]})

    def check(self, runs: list[dict[str, Any]]) -> None:
        """Raise DemoError if a run has failed."""
        failed = [run for run in runs if run["state"] == "failed"]
        for run in failed:
            tasks = self._call("GET", f"dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances", limit=500)
            names = [task["task_id"] for task in tasks["task_instances"] if task["state"] == "failed"]
            raise DemoError(
                f"run {run['dag_run_id']} of {run['dag_id']} failed in {', '.join(names) or 'no task'}: "
                f"{self.url}/dags/{run['dag_id']}/runs/{run['dag_run_id']}"
            )

    def _call(self, method: str, path: str, json: Any = None, **params: Any) -> dict[str, Any]:
        answer = self._session.request(method, f"{self.url}/api/v2/{path}", json=json, params=params, timeout=60)
        if not answer.ok:
            raise DemoError(f"Airflow's REST API: {method} {path}: {answer.status_code} {answer.text[:500]}")
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found
