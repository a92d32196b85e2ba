"""Copies and deletions as lists: what waits, is under way, ended; and what an operator can do to what waits."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.access.person import Person
from dynamo_ops.inventory.states import HoldReason, SubscriptionAction, SubscriptionState
from dynamo_ops.query.movement import attempt
from dynamo_ops.query.movement.attempt import AttemptFilter
from dynamo_ops.query.movement.subscription import SUBSCRIPTIONS, SubscriptionFilter
from dynamo_web.caller.login import Who, needs
from dynamo_web.lists import ListerDep
from dynamo_web.pages.part.act import Act, Field, FieldKind, Offer, offered
from dynamo_web.pages.part.links import to_site, to_source, to_subscription
from dynamo_web.pages.part.listed import Chosen, Listed
from dynamo_web.pages.part.table import Choice, Column, globs

router = APIRouter(dependencies=[needs(Action.READ)])


def _attempts(chosen: Chosen) -> AttemptFilter:
    return AttemptFilter(
        globs(chosen["site"]),
        globs(chosen.get("source")),
        globs(chosen["state"]),
        (),
        chosen["because"] or None,
        chosen.get("since") or None,
    )


def _ended(chosen: Chosen) -> AttemptFilter:
    return _attempts({**chosen, "since": chosen["since"] or "7d"})


def _queued(action: SubscriptionAction, chosen: Chosen) -> SubscriptionFilter:
    return SubscriptionFilter(
        (),
        globs(chosen["dataset"]),
        (),
        globs(chosen["site"]),
        [action],
        globs(chosen["state"]),
        globs(chosen["hold_reason"]),
        globs(chosen["origin"]),
    )


SITE = Choice("site", "To site", hint="T2_*")
AT = Choice("site", "At site", hint="T2_*")
SOURCE = Choice("source", "From site", hint="T1_*")
WHY = Choice("because", "Reason has", hint="a part of it")
SINCE = Choice("since", "Since", hint="7d")
STATE = Choice("state", "State")
LFN = Column("lfn", "file", link=to_subscription)
QUEUE = (
    Choice("dataset", "Dataset", hint="a name or glob"),
    AT,
    Choice("state", "State", tuple(SubscriptionState)),
    Choice("hold_reason", "Held because", tuple(HoldReason)),
    Choice("origin", "Asked for by", hint="dealer, request 7"),
)
QUEUED = (
    Column("id", "subscription", link=to_subscription),
    Column("state", "state", "state"),
    Column("hold_reason", "held because"),
    Column("site", "site", link=to_site),
    Column("lfn", "file"),
    Column("size_bytes", "size", "size"),
    Column("origin", "asked for by"),
    Column("num_attempts", "attempts", "number"),
    Column("last_error", "last error", "long"),
    Column("created_at", "since", "moment"),
)
MOVING = Listed(
    tab="transfers",
    path="transfers/under-way",
    title="Copies under way",
    noun="copies",
    listing=attempt.TRANSFERS_UNDER_WAY,
    columns=(
        LFN,
        Column("source", "from", link=to_source),
        Column("site", "to", link=to_site),
        Column("state", "state", "state"),
        Column("size_bytes", "size", "size"),
        Column("activity", "activity"),
        Column("backend", "by"),
        Column("started_at", "since", "moment"),
    ),
    asked=_attempts,
    choices=(SITE, SOURCE, STATE, WHY),
    hidden=("subscription_id",),
)
MOVED = Listed(
    tab="transfers",
    path="transfers/ended",
    title="Copies that ended",
    noun="copies",
    listing=attempt.TRANSFERS_ENDED,
    columns=(
        LFN,
        Column("source", "from", link=to_source),
        Column("site", "to", link=to_site),
        Column("state", "state", "state"),
        Column("blame", "fault of", note="whose fault it was that it failed"),
        Column("verified_by", "verified by"),
        Column("reason", "because", "long"),
        Column("size_bytes", "size", "size"),
        Column("finished_at", "ended", "moment"),
    ),
    asked=_ended,
    choices=(SITE, SOURCE, STATE, WHY, SINCE),
    hidden=("subscription_id",),
    about="Of a week, if nothing else is asked for.",
)
GONE = Listed(
    tab="deletions",
    path="deletions/ended",
    title="Deletions that ended",
    noun="deletions",
    listing=attempt.DELETIONS_ENDED,
    columns=(
        LFN,
        Column("site", "at", link=to_site),
        Column("state", "state", "state"),
        Column("reason", "because", "long"),
        Column("size_bytes", "size", "size"),
        Column("finished_at", "ended", "moment"),
    ),
    asked=_ended,
    choices=(AT, STATE, WHY, SINCE),
    hidden=("subscription_id",),
    about="Of a week, if nothing else is asked for.",
)
GOING = Listed(
    tab="deletions",
    path="deletions/under-way",
    title="Deletions under way",
    noun="deletions",
    listing=attempt.DELETIONS_UNDER_WAY,
    columns=(
        LFN,
        Column("site", "at", link=to_site),
        Column("state", "state", "state"),
        Column("size_bytes", "size", "size"),
        Column("claimed_at", "since", "moment"),
    ),
    asked=_attempts,
    choices=(AT, STATE, WHY),
    hidden=("subscription_id",),
)
TO_COME = Listed(
    tab="transfers",
    path="transfers/queue",
    title="Copies that are subscribed",
    noun="subscriptions",
    listing=SUBSCRIPTIONS,
    columns=QUEUED,
    asked=partial(_queued, SubscriptionAction.COPY),
    choices=QUEUE,
    template="queue.html",
)
TO_GO = Listed(
    tab="deletions",
    path="deletions/queue",
    title="Deletions that are subscribed",
    noun="subscriptions",
    listing=SUBSCRIPTIONS,
    columns=QUEUED,
    asked=partial(_queued, SubscriptionAction.DELETE),
    choices=QUEUE,
    template="queue.html",
)
MOVES = {
    "hold": ("Hold", "Until somebody releases them. What FTS is copying is cancelled there by the next run."),
    "release": ("Release", "Whatever held them; sources that failed count as untried."),
    "retry": ("Retry", "Now, without the pause: what failed, and what is held but for refused and operator."),
    "cancel": ("Cancel", "They are withdrawn, and nothing asks for them any more."),
}

for listed in (MOVING, MOVED, GOING, GONE):
    listed.serve(router)


@router.get("/transfers/queue")
def list_to_come(request: Request, person: Who, lister: ListerDep) -> Response:
    """Files that shall come."""
    return TO_COME.answer(request, person, lister, acts=_acts(request, person, SubscriptionAction.COPY))


@router.get("/deletions/queue")
def list_to_go(request: Request, person: Who, lister: ListerDep) -> Response:
    """Files that shall go."""
    return TO_GO.answer(request, person, lister, acts=_acts(request, person, SubscriptionAction.DELETE))


def _acts(request: Request, person: Person, action: SubscriptionAction) -> list[Offer]:
    """On what the filter selects, on all pages of it."""
    asked = request.query_params
    chosen = {
        "datasets": globs(asked.get("dataset")),
        "sites": globs(asked.get("site")),
        "states": globs(asked.get("state")),
        "hold_reasons": globs(asked.get("hold_reason")),
        "origins": [asked["origin"]] if asked.get("origin") else [],
    }
    sent = {"actions": [action.value], **{name: given for name, given in chosen.items() if given}}
    reason = Field("reason", "Why", hint="others read it")
    disown = Field("disown", "Also give up the block replicas that lack these copies", FieldKind.FLAG)
    return offered(
        person,
        *(
            Act(
                title=title,
                about=about,
                action=Action.OPERATE_SUBSCRIPTIONS,
                method="POST",
                path=f"/subscriptions/{move}",
                fields=(reason, disown) if move == "cancel" else (reason,),
                sent=sent,
                takes={"expected_files": "num_files"},
                confirm="{num_files}",
            )
            for move, (title, about) in MOVES.items()
        ),
    )
