"""What an errand is about, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from dynamo_ops.access.actions import Action
from dynamo_ops.database.words import Words


class ErrandKind(StrEnum):
    """``TRIAL``: what a policy that is not installed would decide."""

    COMMIT = "commit"
    INJECTION = "injection"
    INVALIDATION = "invalidation"
    TRIAL = "trial"


class ErrandState(StrEnum):
    """``RUNNING``: begun, and not ended: who does it holds its row, or has died. ``FAILED``: refused too; nothing of it
    was done."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


OPEN = Words((ErrandState.WAITING, ErrandState.RUNNING))

ACTIONS: Mapping[ErrandKind, Action] = {
    ErrandKind.COMMIT: Action.DECIDE_PLAN,
    ErrandKind.INJECTION: Action.INJECT,
    ErrandKind.INVALIDATION: Action.INVALIDATE,
    ErrandKind.TRIAL: Action.TRY_POLICY,
}
"""What they must be allowed to do, when they ask and when it is done."""
