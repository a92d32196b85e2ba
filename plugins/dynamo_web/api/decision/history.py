"""What plans did, cycle by cycle: whole lists, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.query.decision import cycle
from dynamo_ops.query.paging.condition import moment_asked
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep, rows_answer
from dynamo_web.lists import Query as Parameters

router = APIRouter(dependencies=[needs(Action.READ)])


class _Since(Parameters):
    since: str = "1y"

    @property
    def moment(self) -> datetime:
        return moment_asked(self.since, datetime.now(UTC))


class DatasetsQuery(_Since):
    """``dataset``, ``site``: a name or glob. ``since``: a date, a time, or how long ago it was committed."""

    dataset: str
    site: str | None = None


class CyclesQuery(_Since):
    """``partition``: a name. ``kind``: ``detox`` or ``dealer``. ``since``: a date, a time, or how long ago."""

    partition: str
    kind: str = PlanKind.DETOX


class SitesQuery(_Since):
    """``site``: a name or glob. ``partition``: a name. ``since``: a date, a time, or how long ago."""

    site: str
    partition: str | None = None


@router.get("/history/datasets")
def list_acts(query: Annotated[DatasetsQuery, Query()], lister: ListerDep) -> Response:
    """What was done to datasets: deletions, hand-overs, copies; the rest when it changed."""
    with lister.heavy():
        return rows_answer(
            cycle.of_datasets(reading(), query.dataset, since=query.moment, site=query.site, most=cycle.MOST)
        )


@router.get("/history/cycles")
def list_cycles(query: Annotated[CyclesQuery, Query()], lister: ListerDep) -> Response:
    """The cycles of a partition, refused ones too."""
    with lister.heavy():
        return rows_answer(
            cycle.of_partition(reading(), query.partition, kind=query.kind, since=query.moment, most=cycle.MOST)
        )


@router.get("/history/sites")
def list_site_states(query: Annotated[SitesQuery, Query()], lister: ListerDep) -> Response:
    """Sites before and after each cycle of Detox."""
    with lister.heavy():
        return rows_answer(
            cycle.of_sites(reading(), query.site, since=query.moment, partition=query.partition, most=cycle.MOST)
        )
