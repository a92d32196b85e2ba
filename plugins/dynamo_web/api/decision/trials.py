"""What a policy that is not installed would decide."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from dynamo_ops.errand.states import ErrandKind
from dynamo_ops.errand.trial import ask_trial
from dynamo_web.api.decision.policies import LONGEST
from dynamo_web.api.record.errands import errand_answer
from dynamo_web.caller.login import Who, needs
from dynamo_web.lists import Id, ListerDep
from dynamo_web.writes import Body, Name, Write, does

router = APIRouter()


class Trial(Body):
    """``partition``: of which; ``policy``: the text. ``against``: the number of a plan of Detox that it is compared
    with."""

    partition: Name
    policy: str = Field(max_length=LONGEST)
    against: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None


@router.post("/trials", dependencies=[does(Action.TRY_POLICY)])
def try_policy(tried: Trial, write: Write, lister: ListerDep) -> Response:
    """202: a run decides on the inventory of then; nothing is changed, and nobody can commit it."""

    def ask(database: Database) -> int:
        return ask_trial(
            database, settings(), partition=tried.partition, policy=tried.policy, against=tried.against, by=write.by
        )

    def say(database: Database) -> dict[str, Any]:
        ask(database)
        return {"partition": tried.partition, "against": tried.against}

    with lister.heavy():
        return write.do(say) if write.is_trial else write.send_off(ask)


@router.get("/trials/{errand_id}", dependencies=[needs(Action.READ)])
def show_trial(errand_id: Id, person: Who) -> Response:
    """The errand: its answer has the figures of the plan that it would be, and how it differs."""
    return errand_answer(errand_id, person, ErrandKind.TRIAL)
