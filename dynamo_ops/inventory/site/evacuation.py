"""A site that is given up: it is in the morgue, and nothing may be there.

What it alone has is copied away by the Dealer's undertaker (docs/operating.md, "Evacuating a site"); nothing is deleted
there for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from sqlalchemy import text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.database.within import together
from dynamo_ops.inventory.kinds import SiteStatus
from dynamo_ops.inventory.site.override import Override, set_status
from dynamo_ops.inventory.site.quota import change_quotas

_HELD = """
    SELECT quota.partition, quota.quota_bytes FROM quotas AS quota JOIN sites AS site ON site.id = quota.site_id
    WHERE site.name = :site AND quota.quota_bytes <> 0 ORDER BY quota.partition"""
_NOTHING_MAY_BE_THERE = """
    SELECT quota.site_id, quota.partition, CAST(0 AS bigint) AS quota_bytes
    FROM quotas AS quota JOIN sites AS site ON site.id = quota.site_id WHERE site.name = :site"""


@dataclass(frozen=True)
class Evacuation:
    """``override``: the status that was given. ``quotas``: those that were taken, by partition: partition, old_bytes
    (negative: unlimited); to be set again if it was a mistake."""

    override: Override
    quotas: pl.DataFrame

    @property
    def document(self) -> dict[str, object]:
        """All of it, plainly."""
        return {**vars(self.override), "quotas": self.quotas.to_dicts()}


def evacuate(database: Database, site: str, *, by: Person, reason: str) -> Evacuation:
    """Put ``site`` in the morgue until that is taken back, and set its quotas to 0: both, or nothing.

    Partitions that have no quota there keep none: nothing is placed where it is unknown. Raises UnknownNameError,
    InventoryError without a reason; AccessError for who may not do both.
    """
    with (
        together(database) as within,
        acting(within, by, Action.SET_PARTITION_QUOTA, f"{site} is given up", reason.strip()) as act,
    ):
        act.check(Target(sites=(site,)))
        override = set_status(within, site, SiteStatus.MORGUE, by=by, reason=reason)
        hold(act.connection, Lock.QUOTAS)  # what is answered is what is taken
        held = act.connection.execute(text(_HELD), {"site": site}).all()
        change_quotas(act.connection, _NOTHING_MAY_BE_THERE, by=by.name, reason=reason.strip(), params={"site": site})
    return Evacuation(
        override,
        pl.DataFrame([tuple(quota) for quota in held], {"partition": pl.String, "old_bytes": pl.Int64}, orient="row"),
    )
