"""The process that gets killed in a metadata synchronisation. See ``tests.chaos.worker``."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dynamo_ops.base.settings import Settings, SourceSettings, Tls
from dynamo_ops.database.connection import Database
from dynamo_ops.sources import tasks as steps
from tests.chaos.worker import Points, main, watch_copies, watch_database, watch_requests
from tests.inventory.told import accept

RUN = "next"
TASKS = ("pull_datasets", "pull_details 0", "pull_details 1", "gate", "merge")
"""Those of a run with two pages. The gate lets in what is staged: its judgement is another matter."""
NEXT = datetime.fromisoformat(os.environ.setdefault("TESTED_SYNC_ENDS_AT", datetime.now(UTC).isoformat()))
FIRST = NEXT - timedelta(minutes=1)
"""Ends of the intervals, the same for all processes: later than anything that the grid was built with, and past."""
_LASTING = re.compile(
    r"(INSERT INTO|UPDATE|DELETE FROM|COPY) "
    r"(staged_\w+|datasets|blocks|files|block_replicas|dataset_sources|source_states|vanished)"
)


def settings_for(endpoints: dict[str, Any]) -> Settings:
    """One thread: the points have an order."""
    options = {"url": endpoints["dbs"], "threads": 1}
    return Settings(
        metadata_sources=[SourceSettings(name="dbs", type="dbs", options=options)], tls=Tls(ca=Path(endpoints["ca"]))
    )


def run_task(db: Database, settings: Settings, task: str) -> None:
    """One task of the DAG."""
    step, _, page = task.partition(" ")
    if step == "pull_datasets":
        steps.pull_datasets(db, settings, RUN, "dbs", FIRST, NEXT, full=True, page_size=2)
    elif step == "pull_details":
        steps.pull_details(db, settings, RUN, "dbs", int(page))
    elif step == "gate":
        accept(db, RUN)
    else:
        steps.merge(db, RUN, ["dbs"], [], NEXT)


def carry_out(order: dict[str, Any]) -> None:
    points = Points(order["kill_at"], order["kill_after"])
    watch_database(points, _LASTING)
    watch_requests(points)
    watch_copies(points)
    run_task(Database(order["database"]), settings_for(order["endpoints"]), order["task"])
    Path(order["report"]).write_text(json.dumps(points.passed))


if __name__ == "__main__":
    main(carry_out)
