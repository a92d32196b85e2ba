"""Locks, gates, and the audit: what nobody may delete, what gates said, who did what."""

from __future__ import annotations

from typing import Annotated, Any

import fsspec
from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.base.settings import settings
from dynamo_ops.lock import store
from dynamo_ops.lock.covered import lock_coverage
from dynamo_ops.quality.data_docs import PAGES, page_name
from dynamo_ops.quality.thresholds import read_thresholds
from dynamo_ops.quality.verdicts import GATES as GATE_NAMES
from dynamo_ops.quality.verdicts import Verdict
from dynamo_ops.query.record.audit import AUDIT, AuditFilter
from dynamo_ops.query.record.gate import GATE_RESULTS, GateFilter
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import PATIENCE_S, Id, ListerDep
from dynamo_web.pages.part.act import REASON, Act, Field, FieldKind, offered
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import Row, to_run, to_site
from dynamo_web.pages.part.listed import Chosen, Listed
from dynamo_web.pages.part.table import Choice, Column, Filter, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])
admins = APIRouter(dependencies=[needs(Action.READ_AUDIT)])

SINCE = Choice("since", "Since", hint="2026-01-31, or 7d")
SANDBOX = {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
"""Of a judgement's page: it holds what sources told, and styles of its own; it runs nothing, and knows nobody."""
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


def _gates(chosen: Chosen) -> GateFilter:
    subjects = [chosen["subject"]] if chosen["subject"] else ()
    runs = [chosen["run"]] if chosen["run"] else ()
    return GateFilter(globs(chosen["gate"]), globs(chosen["verdict"]), subjects, runs, chosen["since"] or None)


def _records(chosen: Chosen) -> AuditFilter:
    persons, actions, outcomes = (globs(chosen[name]) for name in ("person", "action", "outcome"))
    return AuditFilter(persons, actions, outcomes, chosen["about"] or None, chosen["since"] or None)


def to_judgement(row: Row) -> str:
    """The page of a gate's judgement."""
    return f"gates/judgements/{page_name(row['gate'], row['subject'], row['run_key'])}"


GATES = Listed(
    tab="gates",
    path="gates",
    title="Gates",
    noun="results",
    listing=GATE_RESULTS,
    columns=(
        Column("checked_at", "when", "moment"),
        Column("gate", "gate", link=to_judgement),
        Column("subject", "of"),
        Column("check", "check"),
        Column("verdict", "verdict", "state"),
        Column("num_unexpected", "rows at fault", "number"),
        Column("observed", "observed", "long"),
        Column("run_key", "run", link=to_run),
    ),
    asked=_gates,
    choices=(
        Choice("gate", "Gate", tuple(GATE_NAMES)),
        Choice("verdict", "Verdict", tuple(Verdict)),
        Choice("subject", "Of", hint="a glob"),
        Choice("run", "Run", hint="a glob"),
        SINCE,
    ),
    about="The name of a gate leads to the page of that judgement.",
    template="gates.html",
)
RECORDS = Listed(
    tab="audit",
    path="audit",
    title="Audit",
    noun="records",
    listing=AUDIT,
    columns=(
        Column("at", "when", "moment"),
        Column("person", "who"),
        Column("known_by", "known by"),
        Column("action", "what"),
        Column("object", "of"),
        Column("outcome", "outcome", "state"),
        Column("reason", "reason", "long"),
    ),
    asked=_records,
    choices=(
        Choice("person", "Who", hint="a name or glob"),
        Choice("action", "What"),
        Choice("outcome", "Outcome"),
        Choice("about", "Of", hint="a part of it"),
        SINCE,
    ),
)
GATES.serve(router)
RECORDS.serve(admins)


@router.get("/gates/index.html")
def show_index(request: Request) -> Response:
    """Where pages of judgements lead to."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/gates", 302)


@router.get("/gates/judgements/{name}")
def show_judgement(name: Annotated[str, Path(pattern=r"^[A-Za-z0-9-]+\.html$")]) -> Response:
    """What Great Expectations shows of one judgement. They are kept for so many as gates.data_docs.keep says."""
    location = read_thresholds(settings()).data_docs.location
    if location is None:
        raise UnknownNameError("pages of gates are off here: gates.data_docs", name=name)
    files, root = fsspec.core.url_to_fs(location)
    try:
        text = files.cat_file(f"{root}/{PAGES}/{name}")
    except FileNotFoundError:
        raise UnknownNameError(f"the page {name} is not kept any more; its results are at Gates", name=name) from None
    return Response(text, media_type="text/html", headers=SANDBOX)


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
