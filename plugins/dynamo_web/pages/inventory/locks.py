"""Locks: what nobody may delete, until when, and how much that is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.lock import store
from dynamo_ops.lock.covered import lock_coverage
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import PATIENCE_S, Id, ListerDep
from dynamo_web.pages.part.act import REASON, Act, Field, FieldKind, offered
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import to_site
from dynamo_web.pages.part.table import Choice, Column, Filter, Table

router = APIRouter(dependencies=[needs(Action.READ)])

LOCKS = (
    Column("id", "lock", link=lambda row: f"locks/{row['id']}"),
    Column("item", "what"),
    Column("sites", "at sites"),
    Column("groups", "of groups"),
    Column("expires_at", "until", "moment"),
    Column("created_by", "by"),
    Column("reason", "reason", "long"),
)
COVERED = (
    Column("site", "site", link=to_site),
    Column("num_block_replicas", "block replicas", "number"),
    Column("size_bytes", "size", "size"),
)
LOCK = Act(
    title="Lock something",
    about="Nothing deletes it until the lock is over or removed. Deletions that nobody has begun are taken back.",
    action=Action.LOCK,
    method="POST",
    path="/locks",
    fields=(
        Field("item", "What", hint="dataset, dataset#block, or globs", is_required=True),
        Field("site", "At site", hint="a name or a glob; empty: everywhere"),
        Field("group", "Owned by", hint="a group; empty: all"),
        Field("until", "Until", hint="2026-12-31, or 90 days; empty: for ever"),
        REASON,
        Field("force", "Also what is not known yet", FieldKind.FLAG),
    ),
    then="locks/{id}",
)


@router.get("/locks")
def list_locks(request: Request, person: Who, item: str = "", over: str = "") -> Response:
    """Those in force, newest first; or those that are over."""
    return page(
        request,
        person,
        "locks",
        "locks.html",
        locks=Table(
            LOCKS,
            store.list_locks(reading(), item=item or None, expired=bool(over)).to_dicts(),
            nothing="Nothing is locked.",
        ),
        asked=Filter(
            "locks",
            (Choice("item", "What", hint="of a lock, or a glob"), Choice("over", "Over", ("yes",))),
            {"item": item, "over": over},
        ),
        acts=offered(person, LOCK),
    )


@router.get("/locks/{lock_id}")
def show_lock(request: Request, person: Who, lister: ListerDep, lock_id: Id) -> Response:
    """One, and what it covers now."""
    lock = store.lock_row(reading(), lock_id)
    covered: dict[str, Any] = {"sites": [], "warnings": [], "size_bytes": 0, "num_block_replicas": 0}
    if lock["is_in_force"]:
        with lister.heavy(PATIENCE_S):
            covered = lock_coverage(reading(), lock_id).document
    remove = Act(
        title="Remove it",
        about="What nothing else protects may be deleted by the next cycle.",
        action=Action.UNLOCK,
        method="DELETE",
        path=f"/locks/{lock_id}",
        fields=(REASON,),
        confirm=f"lock {lock_id}",
        in_query=True,
        then=f"locks/{lock_id}",
    )
    return page(
        request,
        person,
        "locks",
        "lock.html",
        lock=lock,
        covered=covered,
        sites=Table(COVERED, covered["sites"], nothing="Nothing, now."),
        acts=offered(person, *((remove,) if lock["is_in_force"] else ())),
    )
