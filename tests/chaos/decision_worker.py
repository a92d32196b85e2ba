"""The process that gets killed while a plan of Detox or the Dealer is committed, or a site is repaired. See
``tests.chaos.worker``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dynamo_ops.consistency.repair import repair
from dynamo_ops.consistency.settings import SiteRules
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer.commit import commit as commit_copies
from dynamo_ops.detox.commit import commit as commit_deletions
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.posix import PosixStorage
from dynamo_ops.storage.protocol import StorageOptions
from tests.chaos.worker import Points, main, watch_database

TASKS = ("repair", "commit deletions", "commit copies")
_LASTING = re.compile(
    r"(INSERT INTO|UPDATE|DELETE FROM|COPY) (subscriptions|block_replicas|block_replica_files|dataset_replicas|plans|"
    r"plan_\w+|consistency_\w+|events|requests|detox_\w+|dealer_\w+|replica_\w+)"
)


def run_task(db: Database, task: str, folder: Path) -> None:
    """``folder``: what is at T2_A."""
    plans = dict(db.frame("SELECT kind, id FROM plans").rows())
    if task == "repair":
        check_id = db.frame("SELECT id FROM consistency_checks").item()
        endpoint = Endpoint("T2_A", "file", folder.as_uri())
        repair(db, check_id, lambda _: PosixStorage(endpoint, StorageOptions()), SiteRules())
    elif task == "commit deletions":
        commit_deletions(db, plans["detox"])
    else:
        commit_copies(db, plans["dealer"])


def carry_out(order: dict[str, Any]) -> None:
    points = Points(order["kill_at"], order["kill_after"])
    watch_database(points, _LASTING)
    run_task(Database(order["database"]), order["task"], Path(order["endpoints"]["T2_A"]))
    points.reach("nobody was told that it is done")
    Path(order["report"]).write_text(json.dumps(points.passed))


if __name__ == "__main__":
    main(carry_out)
