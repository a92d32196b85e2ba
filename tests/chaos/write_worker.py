"""The process that gets killed while it does a call that may be sent twice. See ``tests.chaos.worker``."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dynamo_ops.access.once import Answer, once
from dynamo_ops.access.person import ALL_RIGHTS, KnownBy, Person
from dynamo_ops.database.connection import Database
from dynamo_ops.lock.store import add_lock
from dynamo_ops.request.copy_request import request_copy
from tests.chaos.worker import Points, main, watch_database

ADA = Person("ada", KnownBy.TOKEN, ALL_RIGHTS)
DATASET = "/A/B-v1/AOD"
TASKS = ("lock", "copy")
_LASTING = re.compile(r"(INSERT INTO|UPDATE|DELETE FROM) (idempotency|locks|requests|request_items|audit)")


def run_task(db: Database, task: str, key: str) -> Answer:
    """One call: something new each time that it is done, so that nothing hides that it was done twice."""
    by = replace(ADA, key=key)

    def lock(within: Database) -> Answer:
        made = add_lock(within, f"/{key}/*", reason="why", by=by, now=datetime.now(UTC))
        return Answer(201, json.dumps({"id": made.id}), f"/locks/{made.id}")

    def copy(within: Database) -> Answer:
        """The same open request asked again is counted: that would be seen."""
        request_id = request_copy(within, DATASET, ["T2_B"], num_copies=1, group="ops", by=by)
        return Answer(201, json.dumps({"id": request_id}), f"/requests/{request_id}")

    return once(db, by, hashlib.sha256(f"{task} {key}".encode()).digest(), {"lock": lock, "copy": copy}[task])


def carry_out(order: dict[str, Any]) -> None:
    points = Points(order["kill_at"], order["kill_after"])
    watch_database(points, _LASTING)
    answer = run_task(Database(order["database"]), order["task"], order["endpoints"]["key"])
    points.reach("answer not sent")
    Path(order["report"]).write_text(json.dumps([*points.passed, json.dumps(asdict(answer))]))


if __name__ == "__main__":
    main(carry_out)
