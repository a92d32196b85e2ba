"""Who is sent which events."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from dynamo_ops.event import subscription
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, rows_answer
from dynamo_web.writes import Body, Name, Write, does

router = APIRouter()


class NewSubscription(Body):
    """``kinds``: names or globs. ``scope``: ``own``, ``*``, or ``group:``, ``site:``, ``dataset:`` and a name or glob.
    One of ``mail``, an address, and ``webhook``, a URL."""

    kinds: Annotated[list[Name], Field(min_length=1, max_length=subscription.MOST_GLOBS)]
    scope: Name | None = None
    mail: Name | None = None
    webhook: Annotated[str, Field(max_length=2_000)] | None = None


@router.get("/me/event-subscriptions", dependencies=[needs(Action.READ)])
def list_own(person: Who) -> Response:
    """One's own: what waits, what was given up, why; no secrets, and of webhooks the host only."""
    return rows_answer(subscription.subscriptions(reading(), by=person).to_dicts())


@router.post("/me/event-subscriptions", dependencies=[does(Action.SUBSCRIBE)])
def subscribe(asked: NewSubscription, write: Write) -> Response:
    """Have events sent to oneself from now on. A webhook's secret is in this answer, and nowhere else."""
    return _made(asked, write, None)


@router.delete("/me/event-subscriptions/{subscription_id}", dependencies=[does(Action.SUBSCRIBE)])
def unsubscribe(subscription_id: Id, write: Write) -> Response:
    """Send nothing more by it. One's own; a group's by who looks after it; operators and admins any."""

    def act(database: Database) -> dict[str, Any]:
        subscription.unsubscribe(database, subscription_id, by=write.by)
        return {"id": subscription_id, "is_ended": True}

    return write.do(act)


@router.get("/groups/{name}/event-subscriptions", dependencies=[needs(Action.READ)])
def list_of_group(name: str, person: Who) -> Response:
    """Those of a group, for who may end them."""
    return rows_answer(subscription.subscriptions(reading(), by=person, group=name).to_dicts())


@router.post("/groups/{name}/event-subscriptions", dependencies=[does(Action.SUBSCRIBE_OTHERS)])
def subscribe_group(name: str, asked: NewSubscription, write: Write) -> Response:
    """Have events sent to a group from now on."""
    return _made(asked, write, name)


def _made(asked: NewSubscription, write: Write, group: str | None) -> Response:
    def act(database: Database) -> dict[str, Any]:
        made = subscription.subscribe(
            database,
            settings(),
            asked.kinds,
            by=write.by,
            scope=asked.scope,
            mail=asked.mail,
            webhook=asked.webhook,
            group=group,
        )
        return made.document

    place = "/me/event-subscriptions" if group is None else f"/groups/{group}/event-subscriptions"
    return write.create(act, place.replace("{", "{{").replace("}", "}}"), secrets=("secret",))
