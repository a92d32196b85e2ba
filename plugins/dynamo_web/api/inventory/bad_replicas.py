"""Single copies that are called bad, suspicious, or good after all; and which there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.doubt.declare import BadSummary, GoodSummary, call_good, declare_bad, report_suspicious
from dynamo_ops.query.movement.bad_replica import BAD_REPLICAS, BadReplicaFilter
from dynamo_web.caller.login import needs
from dynamo_web.lists import ListerDep, ListQuery, Names
from dynamo_web.writes import Body, Name, Reason, Write, Writer, does

router = APIRouter()


class BadReplicaQuery(ListQuery):
    """``site``, ``dataset``, ``lfn``: names or globs. ``state``: without it all but ``good``."""

    site: Names
    dataset: Names
    lfn: Names
    state: Names


class NamedCopies(Body):
    """``site``: a name. ``lfns``: the files."""

    site: Name
    lfns: list[str] = Field(min_length=1)
    reason: Reason


@router.get("/replicas/bad", dependencies=[needs(Action.READ)])
def list_bad_replicas(query: Annotated[BadReplicaQuery, Query()], lister: ListerDep) -> Response:
    """Copies that are called bad or suspicious, newest first."""
    return lister.answer(BAD_REPLICAS, BadReplicaFilter(query.site, query.dataset, query.lfn, query.state), query)


@router.post("/replicas/bad", dependencies=[does(Action.DECLARE_BAD)])
def declare(asked: NamedCopies, write: Write) -> Response:
    """They count for nothing, and are fetched again where another site has a good copy."""
    return _done(declare_bad, asked, write)


@router.post("/replicas/suspicious", dependencies=[does(Action.REPORT_BAD)])
def report(asked: NamedCopies, write: Write) -> Response:
    """They count for nothing until a person says whether they are bad."""
    return _done(report_suspicious, asked, write)


@router.post("/replicas/good", dependencies=[does(Action.DECLARE_BAD)])
def take_back(asked: NamedCopies, write: Write) -> Response:
    """They are good after all, whoever called them otherwise."""
    return _done(call_good, asked, write)


def _done(act: Callable[..., BadSummary | GoodSummary], asked: NamedCopies, write: Writer) -> Response:
    def do(database: Database) -> dict[str, Any]:
        summary = act(database, asked.site, asked.lfns, reason=asked.reason, by=write.by, dry_run=write.is_trial)
        return summary.document()

    return write.do(do)
