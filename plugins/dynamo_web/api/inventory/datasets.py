"""Datasets, their blocks and files."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.units import parse_size
from dynamo_ops.query.contents import BLOCKS, FILES, ContentFilter, block_name, files_by_name
from dynamo_ops.query.dataset import DATASETS, DatasetFilter, dataset_name
from dynamo_ops.query.dataset_card import dataset_card
from dynamo_ops.query.decision.past import PAST, PastFilter
from dynamo_ops.query.decision.why import explain
from dynamo_ops.query.record.popularity import popularity
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep, ListQuery, Names, json_answer, rows_answer
from dynamo_web.lists import Query as Parameters
from dynamo_web.writes import Body

router = APIRouter(dependencies=[needs(Action.READ)])


class DatasetQuery(ListQuery):
    """``name``, ``release``, ``site``, ``group``: names or globs; each may be repeated (or). ``larger``: bytes, or
    ``2 PB``. ``updated_since``: a date, a time, or how long ago (``3d``)."""

    name: Names
    status: Names
    release: Names
    site: Names
    group: Names
    open: bool | None = None
    larger: str | None = Field(None, max_length=40)
    updated_since: str | None = None

    @property
    def filter(self) -> DatasetFilter:
        """Raises InventoryError for what is no size."""
        try:
            larger = None if self.larger is None else parse_size(self.larger)
        except ValueError as error:
            raise InventoryError(f"larger: {error}", larger=self.larger) from None
        return DatasetFilter(
            self.name, self.status, self.release, self.site, self.group, self.open, larger, self.updated_since
        )


class BlockQuery(ListQuery):
    """``block``: names or globs."""

    block: Names


class FileQuery(ListQuery):
    """``lfn``: names or globs."""

    lfn: Names


class ContentQuery(FileQuery):
    """``block``: names or globs, too."""

    block: Names


class ExplainQuery(Parameters):
    """``site``: a name. ``plan``: the number of one; else the newest that knows the dataset, of the ``partition``."""

    site: str
    plan: int | None = Field(None, ge=1, le=2**63 - 1)
    partition: str | None = None


class HistoryQuery(ListQuery):
    """``site``: names or globs; then without requests. ``since``: a date, a time, or how long ago."""

    site: Names
    since: str | None = None


class PopularityQuery(Parameters):
    """``dataset``: names or globs, whose days are added up. ``days``: so many, today included."""

    dataset: Names
    days: int = Field(30, ge=1, le=3660)


class FilesByName(Parameters):
    """``lfn``: up to 1,000 names."""

    lfn: list[str]


class FileNames(Body):
    """``lfns``: up to 1,000 names."""

    lfns: list[str]


@router.get("/datasets")
def list_datasets(query: Annotated[DatasetQuery, Query()], lister: ListerDep) -> Response:
    """Datasets by name."""
    return lister.answer(DATASETS, query.filter, query)


@router.get("/datasets/{dataset_id}")
def show_dataset(dataset_id: Id) -> Response:
    """All about one: dataset, sites, locks, requests."""
    return json_answer(asdict(dataset_card(reading(), _dataset(dataset_id))))


@router.get("/datasets/{dataset_id}/explain")
def explain_dataset(dataset_id: Id, query: Annotated[ExplainQuery, Query()], lister: ListerDep) -> Response:
    """Why it is at a site or not: each line of the policy tried, who wanted a copy, in which plan."""
    with lister.heavy():
        name = _dataset(dataset_id)
        return json_answer(explain(reading(), name, query.site, plan_id=query.plan, partition=query.partition))


@router.get("/datasets/{dataset_id}/history")
def list_past(dataset_id: Id, query: Annotated[HistoryQuery, Query()], lister: ListerDep) -> Response:
    """What was done to it, newest first: deletions, hand-overs, copies, requests."""
    return lister.answer(PAST, PastFilter(dataset_id, query.site, query.since), query)


@router.get("/popularity")
def show_popularity(query: Annotated[PopularityQuery, Query()]) -> Response:
    """Accesses by day and site, jobs by day, and what was computed of them."""
    since = datetime.now(UTC).date() - timedelta(days=query.days - 1)
    return json_answer(popularity(reading(), query.dataset, since))


@router.get("/datasets/{dataset_id}/blocks")
def list_blocks(dataset_id: Id, query: Annotated[BlockQuery, Query()], lister: ListerDep) -> Response:
    """Its blocks by name."""
    return lister.answer(BLOCKS, ContentFilter(_dataset(dataset_id), query.block), query)


@router.get("/datasets/{dataset_id}/files")
def list_files(dataset_id: Id, query: Annotated[ContentQuery, Query()], lister: ListerDep) -> Response:
    """Its files by block and LFN."""
    return lister.answer(FILES, ContentFilter(_dataset(dataset_id), query.block, query.lfn), query)


@router.get("/blocks/{block_id}/files")
def list_files_of_block(block_id: Id, query: Annotated[FileQuery, Query()], lister: ListerDep) -> Response:
    """The files of a block by LFN."""
    with reading().begin() as connection:
        dataset, block = block_name(connection, block_id)
    return lister.answer(FILES, ContentFilter(dataset, [block], query.lfn), query)


@router.get("/files")
def find_files(query: Annotated[FilesByName, Query()]) -> Response:
    """Files of these very names, in the order asked; one that is not known has no row."""
    return rows_answer(files_by_name(reading(), query.lfn))


@router.post("/files")
def find_many_files(names: FileNames, lister: ListerDep) -> Response:
    """The same of more names than an address can hold. Nothing is written."""
    with lister.heavy():
        return rows_answer(files_by_name(reading(), names.lfns))


def _dataset(dataset_id: int) -> str:
    with reading().begin() as connection:
        return dataset_name(connection, dataset_id)
