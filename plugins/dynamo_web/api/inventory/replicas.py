"""What is where: replicas of datasets or blocks, and files with their PFNs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.query.locate import locate
from dynamo_ops.query.replica import BLOCK_REPLICAS, DATASET_REPLICAS, ReplicaFilter
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep, ListQuery, Names, rows_answer
from dynamo_web.lists import Query as Parameters
from dynamo_web.writes import Body

router = APIRouter(dependencies=[needs(Action.READ)])
LEVELS = {"dataset": DATASET_REPLICAS, "block": BLOCK_REPLICAS}


class ReplicaQuery(ListQuery):
    """``dataset``, ``site``, ``group`` (``none``: nobody's): names or globs. ``block``, of one dataset."""

    dataset: Names
    block: Names
    site: Names
    group: Names
    complete: bool | None = None
    custodial: bool | None = None
    level: Literal["dataset", "block"] = "dataset"


class LocateQuery(Parameters):
    """``lfn``: names; or ``dataset``, a name (``name#block``: of that block). ``protocol``: in order of preference."""

    lfn: Names
    dataset: str | None = None
    protocol: Names


class LocateMany(Body):
    """``lfns``: up to 10,000 names. ``protocols``: in order of preference."""

    lfns: list[str]
    protocols: list[str] = Field(default_factory=list)


@router.get("/replicas")
def list_replicas(query: Annotated[ReplicaQuery, Query()], lister: ListerDep) -> Response:
    """Replicas by dataset (and block) and site."""
    asked = ReplicaFilter(query.dataset, query.block, query.site, query.group, query.complete, query.custodial)
    return lister.answer(LEVELS[query.level], asked, query)


@router.get("/replicas/locate")
def locate_files(query: Annotated[LocateQuery, Query()]) -> Response:
    """Files with their copies, what can be read best first."""
    if bool(query.lfn) == (query.dataset is not None):
        raise InventoryError("say which files: either lfn, once or more often, or dataset", parameter="lfn, dataset")
    return rows_answer(locate(reading(), query.lfn, dataset=query.dataset, protocols=query.protocol))


@router.post("/replicas/locate")
def locate_many_files(asked: LocateMany, lister: ListerDep) -> Response:
    """The same of more names than an address can hold. Nothing is written."""
    with lister.heavy():
        return rows_answer(locate(reading(), asked.lfns, protocols=asked.protocols))
