"""What a policy or a dealer configuration that is not installed would decide."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from dynamo_ops.errand.states import ErrandKind
from dynamo_ops.errand.trial import Tried, ask_trial
from dynamo_web.api.decision.policies import LONGEST
from dynamo_web.api.record.errands import errand_answer
from dynamo_web.caller.login import Who, needs
from dynamo_web.lists import Id, ListerDep
from dynamo_web.writes import Body, Name, Write, does

router = APIRouter()


Text = Annotated[str, Field(max_length=LONGEST)]


class Trial(Body):
    """``partition``: of which; ``policy``: the text, or ``dealer``: the configuration, in YAML. ``against``: the number
    of a plan of Detox that a policy is compared with."""

    partition: Name
    policy: Text | None = None
    dealer: Text | None = None
    against: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None


@router.post("/trials", dependencies=[does(Action.TRY_POLICY)])
def try_policy(sent: Trial, write: Write, lister: ListerDep) -> Response:
    """202: a run decides on the inventory of then; nothing is changed, and nobody can commit it."""
    tried = Tried(sent.policy, sent.dealer, sent.against)

    def ask(database: Database) -> int:
        return ask_trial(database, settings(), partition=sent.partition, tried=tried, by=write.by)

    def say(database: Database) -> dict[str, Any]:
        ask(database)
        return {"partition": sent.partition, "against": sent.against}

    with lister.heavy():
        return write.do(say) if write.is_trial else write.send_off(ask)


@router.get("/trials/{errand_id}", dependencies=[needs(Action.READ)])
def show_trial(errand_id: Id, person: Who) -> Response:
    """The errand: its answer has the figures of the plan that it would be, and how it differs."""
    return errand_answer(errand_id, person, ErrandKind.TRIAL)
