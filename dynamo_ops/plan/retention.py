"""The files of plans that are long over go; the plan itself stays, with its figures and what it was made under."""

from __future__ import annotations

import re
from datetime import datetime

import fsspec
from sqlalchemy import text

from dynamo_ops.base.errors import PlanError
from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.states import ACTIVE
from dynamo_ops.plan.states import PlanState

PLANS_PER_CHUNK = 100
_FOLDER = re.compile(r".+/[^/]+/[^/]+/[0-9a-f]{32}")
"""What ``store.save`` makes: the folder of one plan, and of no other."""

# The last that was committed of a partition is what the next is compared with; one that can still be committed, and one
# whose subscriptions are open, may have to be looked at.
_OVER = f"""
    SELECT plan.id, plan.location FROM plans AS plan
    WHERE plan.files_removed_at IS NULL AND plan.created_at < :before
      AND plan.state IN ('{PlanState.REFUSED}', '{PlanState.COMMITTED}')
      AND NOT EXISTS (SELECT FROM subscriptions AS active WHERE active.plan_id = plan.id AND active.state IN {ACTIVE})
      AND (plan.state = '{PlanState.REFUSED}' OR EXISTS (
        SELECT FROM plans AS newer WHERE newer.kind = plan.kind AND newer.partition = plan.partition
          AND newer.state = '{PlanState.COMMITTED}' AND newer.committed_at > plan.committed_at))
    ORDER BY plan.id LIMIT {PLANS_PER_CHUNK}"""


@span("plan.remove_files")
def remove_files(db: Database, *, before: datetime) -> int:
    """Remove the files of plans that were made earlier, chunk by chunk; of how many. Files first: a plan that has some
    is looked at again after a kill. Raises PlanError for a location that is no plan's own folder: nothing there is
    touched."""
    number = 0
    while plans := _over(db, before):
        for plan_id, location in plans:
            _remove(plan_id, location)
        with db.begin() as connection:
            connection.execute(
                text("UPDATE plans SET files_removed_at = now() WHERE id = ANY(:ids)"),
                {"ids": [plan_id for plan_id, _ in plans]},
            )
        number += len(plans)
    return number


def _over(db: Database, before: datetime) -> list[tuple[int, str]]:
    with db.begin() as connection:
        rows = connection.execute(text(_OVER), {"before": before})
        return [(plan_id, location) for plan_id, location in rows]


def _remove(plan_id: int, location: str) -> None:
    if not _FOLDER.fullmatch(location):
        raise PlanError(
            f"plan {plan_id}: its location {location!r} is no folder of one plan; its files are not removed",
            plan_id=plan_id,
            state=None,
        )
    filesystem, path = fsspec.url_to_fs(location)
    if filesystem.exists(path):
        filesystem.rm(path, recursive=True)
