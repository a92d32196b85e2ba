"""Plans of the database, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dynamo_ops.cli.here.listed import Here
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.query.decision.plan import PLANS, PlanFilter, plan_sites, plan_story, plan_texts


def listed(
    fields: Sequence[str],
    *,
    partition: str | None,
    state: str | None,
    kind: str | None,
    since: datetime | None,
    before: int | None,
    limit: int,
) -> Records:
    """Plans of both engines, newest first. ``before``: of lower numbers."""
    asked = PlanFilter(
        [kind] if kind else [],
        [partition] if partition else [],
        [state] if state else [],
        since=since.isoformat() if since else None,
        before=before,
    )
    return Here(database(), PLANS, asked).rows(fields, limit)


def story(plan_id: int) -> Record:
    """What became of one, without its files; ``summary`` has the figures that were stored with it."""
    return plan_story(database(), plan_id)


def inputs(plan_id: int) -> Record | None:
    """What one was made of; None for one that was stored without."""
    made_of: Record | None = plan_texts(database(), plan_id)["inputs"]
    return made_of


def sites(plan_id: int) -> Records:
    """Its sites before and after."""
    return plan_sites(database(), plan_id)
