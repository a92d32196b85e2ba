"""What was asked for and is done by a run: what became of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from dynamo_ops.access.actions import Action, Target, is_allowed, may
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.errand.states import OPEN, ErrandKind
from dynamo_ops.query.record.errand import ERRANDS, ErrandFilter, errand_card
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep, ListQuery, Names, json_answer
from dynamo_web.run.start import page_of

router = APIRouter(dependencies=[needs(Action.READ)])
RETRY_AFTER_S = 5


class ErrandQuery(ListQuery):
    """``kind``, ``state``: one of them, or several."""

    kind: Names
    state: Names


@router.get("/errands")
def list_errands(query: Annotated[ErrandQuery, Query()], lister: ListerDep, person: Who) -> Response:
    """One's own, newest first; those of all for operators and admins."""
    own = None if sees_all(person) else person.name
    return lister.answer(ERRANDS, ErrandFilter(query.kind, query.state, own), query)


@router.get("/errands/{errand_id}")
def show_errand(errand_id: Id, person: Who) -> Response:
    """One: its state, its run, its answer or problem. ``Retry-After``: it has not ended."""
    return errand_answer(errand_id, person)


def errand_answer(errand_id: int, person: Person, kind: ErrandKind | None = None) -> Response:
    """For who asked for it, operators and admins. ``kind``: it must be one of these."""
    card = errand_card(reading(), errand_id)
    if kind is not None and card["kind"] != kind:
        raise UnknownNameError(f"there is no {kind} {errand_id}", errand_id=errand_id)
    may(person, Action.READ_ERRAND, Target(owner=card["person"]))
    answer = json_answer({**card, "run": page_of(card["run_key"])})
    if card["state"] in OPEN:
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def sees_all(person: Person) -> bool:
    """Whether they see errands of others."""
    return is_allowed(person, Action.READ_ERRAND)
