"""Which engine makes a plan, what a plan can be, and what one of Detox decides."""

from __future__ import annotations

from enum import StrEnum

from dynamo_ops.base.errors import PlanError
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


class Decision(StrEnum):
    """Of a block replica. ``reowned``: handed over instead of deleted. ``left_out``: to be deleted, but the commit
    found that it must not be."""

    DELETE = "delete"
    REOWNED = "reowned"
    LEFT_OUT = "left_out"
    PROTECT = "protect"
    KEEP = "keep"
    IGNORE = "ignore"


COMMITTABLE = Words((PlanState.APPROVED, PlanState.COMMITTED))
STANDING = Words((Decision.PROTECT, Decision.KEEP, Decision.IGNORE))
"""Decisions that hold until another is made: they are written to the history when they change."""
DECISIONS = ("delete", "reowned", "keep", "protect", "ignored")
"""How decisions are spelt and sorted where people read them."""
ENGINES = {PlanKind.DETOX: "Detox", PlanKind.DEALER: "the Dealer"}
"""What messages call the engine that makes plans of a kind."""


def check_kind(plan_id: int, kind: str, state: str, wanted: str) -> None:
    """Raises PlanError where a plan is one of the other kind."""
    if kind != wanted:
        raise PlanError(
            f"plan {plan_id} is a plan of {ENGINES[PlanKind(kind)]}; `dynamo {kind} show {plan_id}` shows it",
            plan_id=plan_id,
            state=state,
        )
