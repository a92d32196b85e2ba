"""What a person says of a site: its status, and its downtimes; and what is in doubt about its storage."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site import ambiguous, downtime, override, shared
from dynamo_ops.inventory.site.evacuation import evacuate
from dynamo_ops.query.only_here import only_here_in_all
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep, json_answer, rows_answer
from dynamo_web.lists import Query as Parameters
from dynamo_web.writes import Body, Reason, Write, WriteQuery, Writer, does, moment_of

router = APIRouter()


class Status(Body):
    """``status``: ready, waitroom or morgue. ``until``: then it is what its source says; without it until taken
    back."""

    status: str
    reason: Reason
    until: str | None = None


class NewDowntime(Body):
    """``begin``: a date, a time, or in how long; without it now. ``until``: without it until it is resumed."""

    reason: Reason
    begin: str | None = None
    until: str | None = None


class GivenUp(Body):
    """Why a site is given up."""

    reason: Reason


class SaidQuery(Parameters):
    """``site``: a name or a glob. ``over``: also those that are over."""

    site: str | None = None
    over: bool = False


class ResumeQuery(WriteQuery):
    """``planned``: downtimes that are to come, too."""

    planned: bool = False


class Resumer(Writer):
    """The end of downtimes."""

    def __init__(self, request: Request, person: Who, query: Annotated[ResumeQuery, Query()]) -> None:
        super().__init__(request, person, query)
        self.planned = query.planned


@router.put("/sites/{name}/status", dependencies=[does(Action.OPERATE_SITE)])
def set_status(name: str, said: Status, write: Write) -> Response:
    """It has this status from now on, whatever its source says."""
    end = moment_of("until", said.until)

    def act(database: Database) -> dict[str, Any]:
        given = override.set_status(database, name, said.status, by=write.by, reason=said.reason, ends_at=end)
        return _said(asdict(given), write)

    return write.do(act)


@router.delete("/sites/{name}/status", dependencies=[does(Action.OPERATE_SITE)])
def unset_status(name: str, write: Write) -> Response:
    """It is what its source says again."""

    def act(database: Database) -> dict[str, Any]:
        status = override.unset_status(database, name, by=write.by, stable_h=settings().site_status.stable_h)
        return {"site": name, "status": status}

    return write.do(act)


@router.post("/sites/{name}/downtimes", dependencies=[does(Action.OPERATE_SITE)])
def add_downtime(name: str, said: NewDowntime, write: Write) -> Response:
    """Nothing to or from it until then."""
    begin, end = moment_of("begin", said.begin), moment_of("until", said.until)

    def act(database: Database) -> dict[str, Any]:
        return asdict(downtime.drain(database, name, by=write.by, reason=said.reason, begins_at=begin, ends_at=end))

    return write.create(act, "/sites/{site}")


@router.delete("/sites/{name}/downtimes", dependencies=[does(Action.OPERATE_SITE)])
def end_downtimes(name: str, write: Annotated[Resumer, Depends()]) -> Response:
    """Those that last now end."""

    def act(database: Database) -> dict[str, Any]:
        return {"site": name, "ended": downtime.resume(database, name, by=write.by, planned=write.planned)}

    return write.do(act)


@router.post("/sites/{name}/evacuation", dependencies=[does(Action.SET_PARTITION_QUOTA)])
def give_up(name: str, said: GivenUp, write: Write) -> Response:
    """It is in the morgue, and its quotas are 0: the Dealer copies away what only it has. Nothing is deleted for it."""

    def act(database: Database) -> dict[str, Any]:
        only_here = {"only_here": asdict(only_here_in_all(database, name))} if write.is_trial else {}
        return _said({**evacuate(database, name, by=write.by, reason=said.reason).document, **only_here}, write)

    return write.do(act)


@router.get("/sites/{name}/evacuation", dependencies=[needs(Action.READ)])
def show_what_is_left(name: str, lister: ListerDep) -> Response:
    """How much only it has, and of how much a copy is to come elsewhere."""
    with lister.heavy():
        return json_answer({"site": name, **asdict(only_here_in_all(reading(), name))})


@router.get("/overrides", dependencies=[needs(Action.READ)])
def list_overrides(query: Annotated[SaidQuery, Query()]) -> Response:
    """Statuses that people gave to sites, newest first."""
    return rows_answer(override.overrides(reading(), query.site, over=query.over).to_dicts())


@router.get("/downtimes", dependencies=[needs(Action.READ)])
def list_downtimes(query: Annotated[SaidQuery, Query()]) -> Response:
    """Downtimes that last or are to come, newest begin first."""
    return rows_answer(downtime.downtimes(reading(), query.site, over=query.over).to_dicts())


@router.get("/shared-storages", dependencies=[needs(Action.READ)])
def list_shared_storages() -> Response:
    """Sites that are one storage under two names, by their endpoints or as declared."""
    return rows_answer(shared.shared_storages(reading()).to_dicts())


@router.get("/doubtful-mappings", dependencies=[needs(Action.READ)])
def list_doubtful_mappings() -> Response:
    """Mappings that may give two files one name, and why."""
    return rows_answer(ambiguous.ambiguous_mappings(reading()).to_dicts())


def _said(document: dict[str, Any], write: Writer) -> dict[str, Any]:
    """Without the number of what a dry run has not made."""
    return {field: value for field, value in document.items() if field != "id" or not write.is_trial}
