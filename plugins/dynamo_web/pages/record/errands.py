"""Errands: what was asked for and is done by a run, and what came of it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action, Target, may
from dynamo_ops.errand.states import OPEN, ErrandKind, ErrandState
from dynamo_ops.query.record.errand import ERRANDS, ErrandFilter, errand_card
from dynamo_web.api.record.errands import sees_all
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep
from dynamo_web.pages.decision.trials import tables_of_trial
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.listed import Chosen, Listed
from dynamo_web.pages.part.table import Choice, Column, globs
from dynamo_web.run.start import page_of

router = APIRouter(dependencies=[needs(Action.READ)])


def _asked(chosen: Chosen) -> ErrandFilter:
    return ErrandFilter(globs(chosen["kind"]), globs(chosen["state"]), chosen["person"] or None)


LIST = Listed(
    tab="plans",
    path="errands",
    title="Asked for, and done by a run",
    noun="errands",
    listing=ERRANDS,
    columns=(
        Column("id", "errand", link=lambda row: f"errands/{row['id']}"),
        Column("kind", "kind"),
        Column("state", "state", "state"),
        Column("what", "what"),
        Column("person", "by"),
        Column("created_at", "asked for", "moment"),
        Column("ended_at", "ended", "moment"),
    ),
    asked=_asked,
    choices=(Choice("kind", "Kind", tuple(ErrandKind)), Choice("state", "State", tuple(ErrandState))),
)


@router.get("/errands")
def list_errands(request: Request, person: Who, lister: ListerDep) -> Response:
    """One's own, newest first; those of all for operators and admins."""
    return LIST.answer(request, person, lister, {"person": "" if sees_all(person) else person.name})


@router.get("/errands/{errand_id}")
def show_errand(request: Request, person: Who, errand_id: Id) -> Response:
    """One: its state, its run, its answer or problem. The page looks again by itself until it has ended."""
    card = errand_card(reading(), errand_id)
    may(person, Action.READ_ERRAND, Target(owner=card["person"]))
    answer = card["answer"] or {}
    tables: dict[str, Any] = {}
    if card["kind"] == ErrandKind.TRIAL and answer:
        tables = tables_of_trial(answer)
    return page(
        request,
        person,
        "plans",
        "errand.html",
        card=card,
        answer=answer,
        is_open=card["state"] in OPEN,
        run=page_of(card["run_key"]),
        **tables,
    )
