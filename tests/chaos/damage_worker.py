"""The process that gets killed while a person calls copies bad, takes that back, or takes an invalidation back. See
``tests.chaos.worker``."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.undo import undo_invalidation
from dynamo_ops.inventory.doubt.declare import call_good, declare_bad
from tests.chaos.worker import Points, main, watch_database
from tests.people import ADA

TASKS = ("bad", "good", "undo")
FILES = ["/store/b1/f0", "/store/b1/f1", "/store/b2/f0"]
_LASTING = re.compile(
    r"(INSERT INTO|UPDATE|DELETE FROM|COPY) "
    r"(bad_replicas|subscriptions|block_replicas|block_replica_files|events|audit|invalidations)"
)


def run_task(db: Database, task: str) -> None:
    """One act of a person. Done before, it finds nothing to do: ``good`` and ``undo`` say so."""
    if task == "bad":
        declare_bad(db, "T2_A", FILES, reason="the pool is broken", by=ADA)
    elif task == "good":
        if db.frame("SELECT id FROM bad_replicas WHERE state <> 'good'").height:
            call_good(db, "T2_A", FILES, reason="wrong pool", by=ADA)
    elif db.frame("SELECT id FROM invalidations WHERE undone_at IS NULL").height:
        undo_invalidation(db, ["/A/*", "/store/*"], reason="made again", by=ADA, keep=timedelta(days=90))


def carry_out(order: dict[str, Any]) -> None:
    points = Points(order["kill_at"], order["kill_after"])
    watch_database(points, _LASTING)
    run_task(Database(order["database"]), order["task"])
    points.reach("nobody was told that it is done")
    Path(order["report"]).write_text(json.dumps(points.passed))


if __name__ == "__main__":
    main(carry_out)
