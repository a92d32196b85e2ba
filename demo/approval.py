"""A large deletion waits for a person: where the demo has run, once refused and once approved over REST."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from demo.airflow_api import ENDED, Airflow
from demo.instance import DemoError, Instance
from demo.people import OPERATOR, password_of
from demo.up import database_url
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.quota import change_quotas

PARTITION, DAG_ID, TASK = "physics", "detox_physics", "approval"
BY = "demo"
LIMITS = {"approval_above_bytes": 0}
SETTLE_S = 10
"""A person reads first. An answer in the second of the question would meet Airflow's scheduler before it has noted that
the task waits: it takes the task for a lost one and asks again, and the answer is gone."""
Say = Callable[[str], None]

FILLED_SQL = """
    SELECT q.site_id, q.partition, sum(r.size_bytes)::bigint AS quota_bytes
    FROM quotas q JOIN block_replicas r ON r.site_id = q.site_id
    JOIN groups g ON g.id = r.group_id AND g.name = q.partition JOIN sites s ON s.id = r.site_id
    WHERE q.partition = :partition AND s.storage_type = 'disk' AND s.status = 'ready' GROUP BY 1, 2"""
BEFORE_SQL = """
    SELECT x.site_id, CAST(:partition AS text) AS partition, x.quota_bytes
    FROM unnest(CAST(:sites AS smallint[]), CAST(:quotas AS bigint[])) AS x (site_id, quota_bytes)"""
PLAN_SQL = """
    SELECT id, state, approved_by, approved_at, refused_by, refused_at, refused_because,
           (summary->>'num_deletions')::bigint AS num_deletions,
           (summary->'commit'->>'num_files')::bigint AS num_files
    FROM plans WHERE kind = 'detox' AND partition = $1 ORDER BY created_at DESC LIMIT 1"""
SUBSCRIPTIONS_SQL = "SELECT count(*) AS n FROM subscriptions WHERE action = 'delete' AND origin = 'detox'"


def show_approval(instance: Instance, say: Say) -> int:
    """Two plans that wait for a person: a no leaves all as it was, a yes is committed. Returns 0 if it is so."""
    database = Database(database_url(instance))
    airflow = Airflow.of(instance)  # an operator: an answer of who may not is not counted
    by = None if password_of(instance, OPERATOR) is None else f"{OPERATOR} in Airflow"
    with _everything_asks(instance), _full_sites(database):
        say(f"quotas of {PARTITION} set to what is there, so that much is to be deleted; every plan asks for approval")
        refused = _one(airflow, database, "Reject", say)
        approved = _one(airflow, database, "Approve", say)
    good = (
        refused["state"] == "refused"
        and refused["refused_by"] == (by or refused["refused_by"])
        and refused["refused_by"]
        and refused["refused_at"]
        and refused["new_subscriptions"] == 0
        and refused["tasks"] == {"approval": "success", "commit": "skipped", "refused": "success"}
        and approved["state"] == "committed"
        and approved["approved_by"] == (by or approved["approved_by"])
        and approved["approved_by"]
        and approved["new_subscriptions"] == approved["num_files"] > 0
        and approved["tasks"] == {"approval": "success", "commit": "success", "refused": "success"}
    )
    return 0 if good else 1


def _one(airflow: Airflow, database: Database, option: str, say: Say) -> dict[str, Any]:
    """One cycle up to its question, answered by ``option``; the plan's row, new subscriptions and task states."""
    before = int(database.frame(SUBSCRIPTIONS_SQL).item())
    run_id = airflow.trigger(DAG_ID)
    question = _wait_for(lambda: _asked(airflow, run_id), f"{DAG_ID} {run_id} has not asked for approval")
    say(f"{DAG_ID} {run_id} waits for a person: {question['subject']}\n{question['body']}")
    time.sleep(SETTLE_S)
    told = airflow.answer(DAG_ID, run_id, TASK, option)
    say(f"answered over REST: {told['chosen_options']}")
    state = _wait_for(lambda: _ended(airflow, run_id), f"{DAG_ID} {run_id} has not ended")
    plan = database.frame(PLAN_SQL, (PARTITION,)).row(0, named=True)
    tasks = {name: state for name, state in airflow.task_states(DAG_ID, run_id).items() if name in SHOWN_TASKS}
    new = int(database.frame(SUBSCRIPTIONS_SQL).item()) - before
    who = f"by {plan['approved_by'] or plan['refused_by']} at {plan['approved_at'] or plan['refused_at']}"
    say(f"run {state}, tasks {tasks}; plan {plan['id']} {plan['state']} {who}; {new} files to be deleted")
    return {**plan, "new_subscriptions": new, "tasks": tasks}


SHOWN_TASKS = ("approval", "commit", "refused")


def _asked(airflow: Airflow, run_id: str) -> dict[str, Any] | None:
    """The question, once it is asked. Raises DemoError when the run ends without one."""
    if state := _ended(airflow, run_id):
        raise DemoError(f"{DAG_ID} {run_id} ended ({state}) without a question: {airflow.task_states(DAG_ID, run_id)}")
    return airflow.question(DAG_ID, run_id, TASK)


def _ended(airflow: Airflow, run_id: str) -> str | None:
    states = [str(run["state"]) for run in airflow.runs(DAG_ID) if run["dag_run_id"] == run_id]
    return states[0] if states and states[0] in ENDED else None


def _wait_for(look: Callable[[], Any], otherwise: str, timeout_s: float = 300) -> Any:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(1)
    raise DemoError(f"{otherwise} after {timeout_s:.0f} s")


@contextmanager
def _everything_asks(instance: Instance) -> Iterator[None]:
    """Own limits for one policy: each deletion needs a yes."""
    file = instance.config_folder / "gates.yaml"
    shipped = file.read_text()
    gates = yaml.safe_load(shipped)
    gates["detox"].setdefault("policies", {})[PARTITION] = LIMITS
    file.write_text(yaml.safe_dump(gates))
    try:
        yield
    finally:
        file.write_text(shipped)


@contextmanager
def _full_sites(database: Database) -> Iterator[None]:
    """Disk sites may take no more than they have, as long as this lasts: all are above their high watermark."""
    rows = database.frame(
        "SELECT site_id::bigint AS site_id, quota_bytes FROM quotas WHERE partition = $1", (PARTITION,)
    )
    with database.begin() as connection:
        change_quotas(connection, FILLED_SQL, by=BY, reason="full sites, for once", params={"partition": PARTITION})
    try:
        yield
    finally:
        before = {"sites": rows["site_id"].to_list(), "quotas": rows["quota_bytes"].to_list()}
        with database.begin() as connection:
            change_quotas(connection, BEFORE_SQL, by=BY, reason="as before", params={"partition": PARTITION, **before})
