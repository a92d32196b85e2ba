"""Telling the inventory what there is, and what is lost, by documents of some size."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.injection.inject import inject
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.policy.files import known_partitions
from dynamo_web.writes import Body as Fields
from dynamo_web.writes import Reason, Write, does

router = APIRouter()


class Invalidation(Fields):
    """``document``: names of ``datasets``, ``blocks``, ``files``. ``expected_files``: so many, as a dry run said."""

    document: dict[str, Any]
    reason: Reason
    expected_files: int | None = None


@router.post("/injections", dependencies=[does(Action.INJECT)])
def inject_document(document: Annotated[dict[str, Any], Body()], write: Write) -> Response:
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
