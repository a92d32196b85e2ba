"""What stands still because a person said so."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.subscription.under_way import stopped
from dynamo_ops.pause import pauses
from dynamo_ops.pause.pauses import PauseKind
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Query as Parameters
from dynamo_web.lists import json_answer, rows_answer
from dynamo_web.writes import Body, Reason, Remove, RemoveQuery, Remover, Write, does, end_of

router = APIRouter()
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


class PauseQuery(Parameters):
    """``limit``: the newest so many."""

    limit: int = Field(100, ge=1, le=10**9)


class NewPause(Body):
    """``kind``: of acts; without it everything. ``partition``: of detox and dealer. ``until``: without it until it is
    resumed."""

    reason: Reason
    kind: str | None = None
    partition: str | None = None
    until: str | None = None


class EndQuery(RemoveQuery):
    """``pause``: numbers; without any all."""

    pause: Annotated[list[Annotated[int, Field(ge=1, le=2**63 - 1)]], Field(default=[])]


class Resumer(Remover):
    """Several pauses that end, all or none."""

    def __init__(self, request: Request, person: Who, query: Annotated[EndQuery, Query()]) -> None:
        super().__init__(request, person, query)
        self.pauses = query.pause or None


@router.get("/pauses", dependencies=[needs(Action.READ)])
def list_pauses(query: Annotated[PauseQuery, Query()]) -> Response:
    """What stands still, and what stood still; newest first."""
    return rows_answer(pauses.pauses(reading(), limit=query.limit).to_dicts())


@router.get("/pauses/{pause_id}", dependencies=[needs(Action.READ)])
def show_pause(pause_id: Id) -> Response:
    """One, over or not."""
    return json_answer(pauses.one(reading(), pause_id))


@router.post("/pauses", dependencies=[does(Action.PAUSE)])
def stop(asked: NewPause, write: Write) -> Response:
    """Everything, a kind of acts, or a partition stands still from now on. What FTS has it goes on with."""
    kind, end = _kind(asked.kind), end_of(asked.until)

    def act(database: Database) -> dict[str, Any]:
        pause = pauses.stop(database, kind, asked.partition, by=write.by, reason=asked.reason, until=end)
        return stopped(database, pause)

    return write.create(act, "/pauses/{id}")


@router.delete("/pauses", dependencies=[does(Action.PAUSE)])
def resume_several(write: Annotated[Resumer, Depends()]) -> Response:
    """What stood still by these, or all that stands still, goes on."""
    return write.do(lambda database: {"ended": _resumed(database, write.pauses, write)})


@router.delete("/pauses/{pause_id}", dependencies=[does(Action.PAUSE)])
def resume(pause_id: Id, write: Remove) -> Response:
    """What stood still by this one goes on."""
    return write.do(lambda database: {"ended": _resumed(database, [pause_id], write)})


def _resumed(database: Database, pause_ids: list[int] | None, write: Remover) -> list[dict[str, Any]]:
    return [asdict(pause) for pause in pauses.resume(database, pause_ids, by=write.by, reason=write.reason)]


def _kind(name: str | None) -> PauseKind | None:
    if name is not None and name not in [*PauseKind]:
        message = f"there is no kind {name!r}: these are {', '.join(PauseKind)}.{near(name, PauseKind)}"
        raise InventoryError(message, kind=name)
    return None if name is None else PauseKind(name)
