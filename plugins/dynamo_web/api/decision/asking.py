"""Asking for copies and for deletions, and taking a request back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer.tasks import served_groups
from dynamo_ops.request import cancel as cancellation
from dynamo_ops.request.copy_request import request_copy
from dynamo_ops.request.deletion_request import request_deletion
from dynamo_ops.request.registry import times_asked
from dynamo_ops.request.volume import request_volume
from dynamo_web.writes import Body, Reason, Write, does, is_first

router = APIRouter()
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
Listed = Annotated[list[str], Field(min_length=1, max_length=10_000)]


class Copies(Body):
    """``items``: datasets, or dataset#block. ``sites``: names or globs. ``copies``: over the sites; 0: one at each.
    ``group``: who will own them."""

    items: Listed
    sites: Listed
    group: str
    copies: int = Field(1, ge=0, le=10_000)


class Deletions(Body):
    """``items``, ``sites``: as of copies. ``group``: only what it owns. ``allow_tape``: also on tape. ``allow_last``:
    so many files may lose their last copy."""

    items: Listed
    sites: Listed
    reason: Reason
    group: str | None = None
    allow_tape: bool = False
    allow_last: int = Field(0, ge=0, le=2**63 - 1)


class Because(Body):
    """``reason``: why."""

    reason: Reason


@router.post("/requests/copies", dependencies=[does(Action.COPY)])
def ask_for_copies(asked: Copies, write: Write) -> Response:
    """The next cycle of the Dealer looks at it. The same open request is made once, and counted."""

    def act(database: Database) -> dict[str, Any]:
        request_id = request_copy(
            database,
            asked.items,
            asked.sites,
            num_copies=asked.copies,
            group=asked.group,
            by=write.by,
            served=served_groups(settings()),
            limits=settings().requests,
        )
        volume = asdict(request_volume(database, request_id))
        return {"id": request_id, "num_asked": times_asked(database, request_id), **volume}

    return write.create(act, "/requests/{id}", is_new=is_first)


@router.post("/requests/deletions", dependencies=[does(Action.DELETE)])
def ask_for_deletions(asked: Deletions, write: Write) -> Response:
    """What may go goes; what must stay is refused, each with its reason."""

    def act(database: Database) -> dict[str, Any]:
        answer = request_deletion(
            database,
            asked.items,
            asked.sites,
            reason=asked.reason,
            by=write.by,
            now=datetime.now(UTC),
            group=asked.group,
            allow_tape=asked.allow_tape,
            allow_last=asked.allow_last,
            limits=settings().requests,
        )
        assert answer.request_id is not None
        num_asked = times_asked(database, answer.request_id)
        return {"id": answer.request_id, "num_asked": num_asked, **answer.document}

    return write.create(act, "/requests/{id}", is_new=is_first)


@router.post("/requests/{request_id}/cancel", dependencies=[does(Action.CANCEL_REQUEST)])
def cancel_request(request_id: Id, because: Because, write: Write) -> Response:
    """What is there stays; what is not done yet is withdrawn."""

    def act(database: Database) -> dict[str, Any]:
        summary = cancellation.cancel(database, request_id, by=write.by, reason=because.reason)
        return {"id": request_id, **asdict(summary)}

    return write.do(act)
