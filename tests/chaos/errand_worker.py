"""The process that gets killed while it carries errands out. See ``tests.chaos.worker``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.errand.carry import carry_out
from tests.chaos.worker import Points, main, watch_database

_LASTING = re.compile(
    r"(INSERT INTO|UPDATE|DELETE FROM) (errands|errand_pieces|datasets|plans|gate_results|audit|subscriptions)"
)


def carry(order: dict[str, Any]) -> None:
    points = Points(order["kill_at"], order["kill_after"])
    watch_database(points, _LASTING)
    folder = Path(order["endpoints"]["home"])
    settings = Settings(
        home=folder, config_dir=folder / "config", policy_dir=folder / "policies", db_url=order["database"]
    )
    counts = carry_out(Database(order["database"]), settings, f"errands/{order['endpoints']['run']}")
    points.reach("the run has not ended")
    Path(order["report"]).write_text(json.dumps([*points.passed, json.dumps(counts)]))


if __name__ == "__main__":
    main(carry)
