"""Locks: which there are, setting one, taking one back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.database.connection import Database
from dynamo_ops.lock import store
from dynamo_ops.lock.covered import lock_coverage, removal, unprotected_without
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep, json_answer, rows_answer
from dynamo_web.lists import Query as Parameters
from dynamo_web.writes import Body, Reason, Remove, Write, does

router = APIRouter()
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


class LockQuery(Parameters):
    """``item``: of a lock, or a glob. ``over``: those that are expired or removed, instead of those in force."""

    item: str | None = None
    over: bool = False


class NewLock(Body):
    """``item``: dataset, dataset#block, or globs. ``site``, ``group``: a name or a glob (``None``: what nobody owns);
    empty: all. ``until``: an end, or how long; without it for ever. ``force``: also what is not known yet."""

    item: str = Field(max_length=1_000)
    reason: Reason
    site: str = ""
    group: str = ""
    until: str | None = None
    force: bool = False


@router.get("/locks", dependencies=[needs(Action.READ)])
def list_locks(query: Annotated[LockQuery, Query()]) -> Response:
    """The locks in force, newest first; or those that are over."""
    return rows_answer(store.list_locks(reading(), item=query.item, expired=query.over).to_dicts())


@router.get("/locks/{lock_id}", dependencies=[needs(Action.READ)])
def show_lock(lock_id: Id) -> Response:
    """One, over or not."""
    return json_answer(store.lock_row(reading(), lock_id))


@router.get("/locks/{lock_id}/coverage", dependencies=[needs(Action.READ)])
def show_coverage(lock_id: Id, lister: ListerDep) -> Response:
    """What it covers now, by site."""
    with lister.heavy():
        return json_answer(lock_coverage(reading(), lock_id).document)


@router.get("/locks/{lock_id}/unprotected", dependencies=[needs(Action.READ)])
def show_unprotected(lock_id: Id, lister: ListerDep) -> Response:
    """What nothing would protect any more without it, by site."""
    with lister.heavy():
        return json_answer(unprotected_without(reading(), lock_id).document)


@router.post("/locks", dependencies=[does(Action.LOCK)])
def add_lock(lock: NewLock, write: Write) -> Response:
    """Lock it; deletions of what it covers that nobody has begun are taken back."""

    def act(database: Database) -> dict[str, Any]:
        made = store.add_lock(
            database,
            lock.item,
            sites=lock.site,
            groups=lock.group,
            until=lock.until,
            reason=lock.reason,
            by=write.by,
            now=datetime.now(UTC),
            force=lock.force,
        )
        return {"id": made.id, "item": lock.item, "warnings": made.warnings, "given_back": vars(made.given_back)}

    return write.create(act, "/locks/{id}")


@router.delete("/locks/{lock_id}", dependencies=[does(Action.UNLOCK)])
def remove_lock(lock_id: Id, write: Remove) -> Response:
    """Take it back; it stays to be seen."""

    def act(database: Database) -> dict[str, Any]:
        return removal(database, lock_id, reason=write.reason, by=write.by)

    return write.do(act)
