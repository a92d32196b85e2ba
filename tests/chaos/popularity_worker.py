"""The process that gets killed while a day of popularity is made. See ``tests.chaos.worker``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dynamo_ops.base.settings import Settings, SourceSettings, Tls
from dynamo_ops.database.connection import Database
from dynamo_ops.popularity import tasks as steps
from dynamo_ops.popularity.days import DayOfSource
from tests.chaos.worker import Points, main, watch_copies, watch_database, watch_requests
from tests.inventory.told import accept

RUN = "next"
TASKS = ("pull accesses", "pull demand", "gate", "replace_day accesses", "replace_day demand", "rank")
"""Those of a run with one source of each kind. The gate lets in what is staged: its judgement is another matter."""
_LASTING = re.compile(
    r"(INSERT INTO|UPDATE|DELETE FROM|COPY) "
    r"(staged_\w+|\w+_daily|unknown_use|use_resolved|aggregated_days|attributes|dataset_attributes)"
)


def settings_for(endpoints: dict[str, Any]) -> Settings:
    """A feed of accesses to files, and a file of submitted jobs."""
    feed = {"url": endpoints["accesses"], "level": "file"}
    return Settings(
        access_sources=[SourceSettings(name="monit", type="json", options=feed)],
        demand_sources=[
            SourceSettings(name="queue", type="files", options={"path": endpoints["demand"], "day_from": "path"})
        ],
        tls=Tls(ca=Path(endpoints["ca"])),
    )


def run_task(db: Database, settings: Settings, task: str, day: str, run: str = RUN) -> None:
    """One task of the DAG, for that day."""
    days = {"accesses": DayOfSource(day, "monit", "accesses"), "demand": DayOfSource(day, "queue", "demand")}
    step, _, kind = task.partition(" ")
    if step == "pull":
        steps.pull(db, settings, run, days[kind])
    elif step == "gate":
        for what in days.values():
            accept(db, steps.staging_key(run, day), what.source, what.kind)
    elif step == "replace_day":
        steps.replace_day(db, run, days[kind])
    else:
        steps.rank(db, settings)


def carry_out(order: dict[str, Any]) -> None:
    points = Points(order["kill_at"], order["kill_after"])
    watch_database(points, _LASTING)
    watch_requests(points)
    watch_copies(points)
    endpoints = order["endpoints"]
    run_task(Database(order["database"]), settings_for(endpoints), order["task"], endpoints["day"])
    Path(order["report"]).write_text(json.dumps(points.passed))


if __name__ == "__main__":
    main(carry_out)
