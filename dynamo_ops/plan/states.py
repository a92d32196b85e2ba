"""Which engine makes a plan, and what a plan can be."""

from __future__ import annotations

from enum import StrEnum

from dynamo_ops.database.words import Words


class PlanKind(StrEnum):
    """The engine that makes it."""

    DETOX = "detox"
    DEALER = "dealer"


class PlanState(StrEnum):
    """``planned``: stored; ``refused``: by a gate or a person; ``approved``: may be committed."""

    PLANNED = "planned"
    REFUSED = "refused"
    APPROVED = "approved"
    COMMITTED = "committed"


COMMITTABLE = Words((PlanState.APPROVED, PlanState.COMMITTED))
