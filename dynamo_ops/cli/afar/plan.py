"""Plans over REST."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dynamo_ops.cli.afar.server import get, rows, server, whole
from dynamo_ops.cli.terminal.tables import Record, Records


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
    asked = {"partition": partition, "state": state, "kind": kind, "since": since, "before": before}
    return rows("/plans", limit, **asked, fields=",".join(fields))


def story(plan_id: int) -> Record:
    """What became of one, without its files; ``summary`` has the figures that were stored with it."""
    return get(f"/plans/{plan_id}/story")


def inputs(plan_id: int) -> Record | None:
    """What one was made of; None for one that was stored without."""
    made_of: Record | None = server().get(f"/plans/{plan_id}/policy")["inputs"]  # its times are texts here, too
    return made_of


def sites(plan_id: int) -> Records:
    """Its sites before and after."""
    return whole(f"/plans/{plan_id}/sites")
