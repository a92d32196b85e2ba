"""The errands of large documents: an injection, an invalidation. What was sent is read when they are done."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dynamo_ops.access.actions import AccessError, check_may_some
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.text import is_storable
from dynamo_ops.base.units import size_text
from dynamo_ops.database.connection import Database
from dynamo_ops.errand import store
from dynamo_ops.errand.states import ACTIONS, ErrandKind
from dynamo_ops.errand.store import Errand
from dynamo_ops.inventory.catalogue.injection.inject import inject
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.policy.files import known_partitions

Reason = Annotated[str, Field(max_length=2_000)]
"""Why; others read it. Whether it may be empty, the act says."""


class Invalidation(BaseModel):
    """``document``: names of ``datasets``, ``blocks``, ``files``. ``expected_files``: so many, as a dry run said."""

    model_config = ConfigDict(extra="forbid", strict=True)

    document: Any
    reason: Reason
    expected_files: int | None = None


def check_asker(database: Database, kind: ErrandKind, *, by: Person) -> None:
    """Raise AccessError, which is in the audit, where they may do this to nothing: before anything is read of what they
    send."""
    try:
        check_may_some(by, ACTIONS[kind])
    except AccessError:
        with acting(database, by, ACTIONS[kind], f"a large {kind}"):
            raise


def ask_document(
    database: Database, kind: ErrandKind, *, size_bytes: int, pieces: Iterable[bytes], dry_run: bool, by: Person
) -> int:
    """Ask for it; whether they may do what it says, is asked when it is done, of what it names. ``pieces``: of what was
    sent, compressed (``store.Packer``). Returns the errand's id. Raises AccessError where they may do this to
    nothing."""
    what = f"{size_text(size_bytes)} of JSON{', dry run' if dry_run else ''}"
    with acting(database, by, ACTIONS[kind], f"asked for an {kind}: {what}") as act:
        check_may_some(by, ACTIONS[kind])
        arguments = {"size_bytes": size_bytes, "dry_run": dry_run}
        return store.add(act.connection, kind, what, arguments, by=by, pieces=pieces)


def inject_sent(
    database: Database, settings: Settings, errand: Errand, by: Person, _prepared: object
) -> dict[str, Any]:
    """All of the document, or nothing."""
    partitions = known_partitions(settings, datetime.now(UTC))
    is_trial = bool(errand.arguments["dry_run"])
    summary = inject(database, _sent(database, errand), dry_run=is_trial, partitions=partitions, by=by)
    return {**summary.document(), "dry_run": is_trial}


def invalidate_sent(
    database: Database, settings: Settings, errand: Errand, by: Person, _prepared: object
) -> dict[str, Any]:
    """What it names leaves the inventory for good."""
    del settings
    try:
        asked = Invalidation.model_validate(_sent(database, errand))
    except ValidationError as error:
        faults = [{"parameter": ".".join(map(str, fault["loc"])), "reason": fault["msg"]} for fault in error.errors()]
        detail = "; ".join(f"{fault['parameter']}: {fault['reason']}" for fault in faults)
        raise InventoryError(detail, faults=faults) from None
    is_trial = bool(errand.arguments["dry_run"])
    summary = invalidate(
        database,
        asked.document,
        reason=asked.reason,
        by=by,
        dry_run=is_trial,
        expected_files=asked.expected_files,
    )
    return {**summary.document(), "dry_run": is_trial}


def _sent(database: Database, errand: Errand) -> Any:
    with database.begin() as connection:
        body = store.sent(connection, errand.id)
    if not is_storable(body):
        raise InventoryError("there is a NUL in the body, or half a character")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InventoryError(f"the body is no JSON that can be read: {error}") from None
