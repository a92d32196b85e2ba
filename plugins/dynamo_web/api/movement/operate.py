"""The operator's hands on subscriptions: hold, release, retry, cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.subscription import operate
from dynamo_ops.inventory.subscription.operate import Touched
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_web.writes import Body, Reason, Write, does

router = APIRouter(dependencies=[does(Action.OPERATE_SUBSCRIPTIONS)])
Chosen = Annotated[list[str], Field(default_factory=list, max_length=10_000)]


class Selected(Body):
    """Subscriptions that meet every part that is given; of a part, one of its values: names, or globs.
    ``expected_files``: so many, as a dry run said; else nothing is done."""

    ids: Annotated[list[Annotated[int, Field(ge=1, le=2**63 - 1)]], Field(default_factory=list, max_length=10_000)]
    files: Chosen
    datasets: Chosen
    blocks: Chosen
    sites: Chosen
    actions: Chosen
    states: Chosen
    hold_reasons: Chosen
    origins: Chosen
    expected_files: int | None = None
    reason: Reason = ""

    @property
    def selection(self) -> Selection:
        """Which."""
        return Selection(**{name: getattr(self, name) for name in Selection.__dataclass_fields__})


class Cancelled(Selected):
    """``disown``: the block replicas that lack these copies as well."""

    disown: bool = False


@router.post("/subscriptions/hold")
def hold(chosen: Selected, write: Write) -> Response:
    """Until somebody releases them. What FTS is copying is cancelled there by the next run."""

    def act(database: Database) -> Touched:
        return operate.hold(
            database, chosen.selection, by=write.by, reason=chosen.reason, expected_files=chosen.expected_files
        )

    return _do(write, act)


@router.post("/subscriptions/release")
def release(chosen: Selected, write: Write) -> Response:
    """Whatever held them; sources that failed count as untried."""

    def act(database: Database) -> Touched:
        return operate.release(
            database, chosen.selection, by=write.by, reason=chosen.reason, expected_files=chosen.expected_files
        )

    return _do(write, act)


@router.post("/subscriptions/retry")
def retry(chosen: Selected, write: Write) -> Response:
    """Now, without the pause: what failed, and what is held but for ``refused`` and ``operator``."""

    def act(database: Database) -> Touched:
        return operate.retry(
            database, chosen.selection, by=write.by, reason=chosen.reason, expected_files=chosen.expected_files
        )

    return _do(write, act)


@router.post("/subscriptions/cancel")
def cancel(chosen: Cancelled, write: Write) -> Response:
    """They are withdrawn."""

    def act(database: Database) -> Touched:
        return operate.cancel(
            database,
            chosen.selection,
            by=write.by,
            reason=chosen.reason,
            disown=chosen.disown,
            expected_files=chosen.expected_files,
        )

    return _do(write, act)


def _do(write: Write, act: Callable[[Database], Touched]) -> Response:
    return write.do(lambda database: act(database).document)
