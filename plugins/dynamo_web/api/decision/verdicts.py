"""Deciding about plans: letting one through, stopping one, having one committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from dynamo_ops.errand.commit import ask_commit, needs_yes
from dynamo_ops.plan import store, verdict
from dynamo_web.databases import writing
from dynamo_web.run.form import answer_form
from dynamo_web.writes import Body, Reason, Write, does

router = APIRouter(dependencies=[does(Action.DECIDE_PLAN)])
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


SHOWN = ("kind", "partition", "state", "approved_by", "refused_by", "summary")
"""Of the plan: ``summary`` has its figures."""


class Refusal(Body):
    """``reason``: why."""

    reason: Reason


@router.post("/plans/{plan_id}/approve")
def approve(plan_id: Id, write: Write) -> Response:
    """A plan that its gate let pass, and that waits for a person."""
    answer = _decided(plan_id, write, lambda database: verdict.approve(database, plan_id, write.by, needs_gate=True))
    return _told(plan_id, write, answer)


@router.post("/plans/{plan_id}/refuse")
def refuse(plan_id: Id, refusal: Refusal, write: Write) -> Response:
    """It can never be committed."""
    answer = _decided(plan_id, write, lambda database: verdict.refuse(database, plan_id, refusal.reason, by=write.by))
    return _told(plan_id, write, answer)


@router.post("/plans/{plan_id}/commit")
def commit(plan_id: Id, write: Write) -> Response:
    """202: a run commits it. One that was stored by hand, or approved; where a person must say yes, this is it: a dry
    run says so (``needs_yes``)."""
    seen = write.seen

    def ask(database: Database) -> int:
        return ask_commit(database, plan_id, etag=seen, by=write.by)

    def about(database: Database) -> dict[str, Any]:
        return {"needs_yes": needs_yes(database, settings(), plan_id)}

    return _decided(plan_id, write, ask, about) if write.is_trial else write.send_off(ask)


def _told(plan_id: int, write: Write, answer: Response) -> Response:
    """The run that asks in Airflow's form goes on; also where the call was sent again, because the first one died."""
    if not write.is_trial:
        answer_form(store.load(writing(), plan_id), write.by.name)
    return answer


def _decided(
    plan_id: int,
    write: Write,
    decide: Callable[[Database], object],
    about: Callable[[Database], dict[str, Any]] = lambda _: {},
) -> Response:
    """Of a plan as they have seen it. ``about``: what else is answered. ``etag``: which it has now; after a dry run
    that is what If-Match takes."""
    seen = write.seen

    def act(database: Database) -> dict[str, Any]:
        with database.begin() as connection:
            before = verdict.as_seen(connection, plan_id, seen)
        decide(database)
        after = store.load(database, plan_id)
        shown = {name: getattr(after, name) for name in SHOWN}
        return {"id": plan_id, **shown, **about(database), "etag": before.etag if write.is_trial else after.etag}

    return write.do(act)
