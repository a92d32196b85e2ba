"""Telling the inventory what there is, and what is lost, by documents: small ones at once, large ones by a run; and
what was declared lost, and is taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from dynamo_ops.errand.document import Invalidation
from dynamo_ops.errand.states import ErrandKind
from dynamo_ops.inventory.catalogue.injection.inject import inject
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.inventory.catalogue.undo import undo_invalidation
from dynamo_ops.inventory.doubt.settings import damage_settings
from dynamo_ops.policy.files import known_partitions
from dynamo_ops.query.record.invalidation import INVALIDATIONS, InvalidationFilter
from dynamo_web.caller.login import Who, needs
from dynamo_web.large import LargeRoute, take_in
from dynamo_web.lists import ListerDep, ListQuery, Names
from dynamo_web.writes import RemoveQuery, Remover, Write, does

router = APIRouter()
large = APIRouter(route_class=LargeRoute, include_in_schema=False)


class InvalidationQuery(ListQuery):
    """``name``: names or globs, of datasets, ``dataset#block`` or LFNs."""

    name: Names
    kind: Names


class UndoQuery(RemoveQuery):
    """``name``: names or globs, as of the list. ``expected_names``: so many a dry run has said."""

    name: Names
    expected_names: int | None = None


class Undoer(Remover):
    """One call that takes names back."""

    def __init__(self, request: Request, person: Who, query: Annotated[UndoQuery, Query()]) -> None:
        super().__init__(request, person, query)
        self.names, self.expected_names = query.name, query.expected_names


@large.post("/injections", dependencies=[does(Action.INJECT)])
async def inject_large(request: Request, write: Write) -> Response:
    """A large document: 202, and a run does it."""
    return await take_in(request, write, ErrandKind.INJECTION)


@large.post("/invalidations", dependencies=[does(Action.INVALIDATE)])
async def invalidate_large(request: Request, write: Write) -> Response:
    """Likewise."""
    return await take_in(request, write, ErrandKind.INVALIDATION)


router.include_router(large)


@router.post("/injections", dependencies=[does(Action.INJECT)])
def inject_document(document: Annotated[Any, Body()], write: Write) -> Response:
    """All of the document, or nothing (docs/injection.md)."""

    def act(database: Database) -> dict[str, Any]:
        partitions = known_partitions(settings(), datetime.now(UTC))
        return inject(database, document, partitions=partitions, by=write.by).document()

    return write.do(act)


@router.post("/invalidations", dependencies=[does(Action.INVALIDATE)])
def invalidate_names(asked: Invalidation, write: Write) -> Response:
    """It leaves the inventory for good. A dry run says how many files."""

    def act(database: Database) -> dict[str, Any]:
        summary = invalidate(
            database,
            asked.document,
            reason=asked.reason,
            by=write.by,
            dry_run=write.is_trial,
            expected_files=asked.expected_files,
        )
        return summary.document()

    return write.do(act)


@router.delete("/invalidations", dependencies=[does(Action.INVALIDATE)])
def undo(write: Annotated[Undoer, Depends()]) -> Response:
    """The names may come in again. A dry run says which."""
    keep = timedelta(days=damage_settings(settings()).undo_days)

    def act(database: Database) -> dict[str, Any]:
        summary = undo_invalidation(
            database,
            write.names,
            reason=write.reason,
            by=write.by,
            keep=keep,
            dry_run=write.is_trial,
            expected_names=write.expected_names,
        )
        return summary.document()

    return write.do(act)


@router.get("/invalidations", dependencies=[needs(Action.READ)])
def list_invalidations(query: Annotated[InvalidationQuery, Query()], lister: ListerDep) -> Response:
    """What was declared invalid, by whom, when and why, newest first."""
    return lister.answer(INVALIDATIONS, InvalidationFilter(query.name, query.kind), query)
