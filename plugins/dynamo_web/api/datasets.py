"""Datasets, their blocks and files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.units import parse_size
from dynamo_ops.query.contents import BLOCKS, FILES, ContentFilter, block_name, files_by_name
from dynamo_ops.query.dataset import DATASETS, DatasetFilter, dataset_name
from dynamo_ops.query.dataset_card import dataset_card
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep, ListQuery, Names, json_answer, rows_answer
from dynamo_web.lists import Query as Parameters
from dynamo_web.login import needs

router = APIRouter(dependencies=[needs(Action.READ)])
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


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


class FilesByName(Parameters):
    """``lfn``: up to 1,000 names."""

    lfn: list[str]


@router.get("/datasets")
def list_datasets(query: Annotated[DatasetQuery, Query()], lister: ListerDep) -> Response:
    """Datasets by name."""
    return lister.answer(DATASETS, query.filter, query)


@router.get("/datasets/{dataset_id}")
def show_dataset(dataset_id: Id) -> Response:
    """All about one: dataset, sites, locks, requests."""
    return json_answer(asdict(dataset_card(reading(), _dataset(dataset_id))))


@router.get("/datasets/{dataset_id}/blocks")
def list_blocks(dataset_id: Id, query: Annotated[BlockQuery, Query()], lister: ListerDep) -> Response:
    """Its blocks by name."""
    return lister.answer(BLOCKS, ContentFilter(_dataset(dataset_id), query.block), query)


@router.get("/datasets/{dataset_id}/files")
def list_files(dataset_id: Id, query: Annotated[FileQuery, Query()], lister: ListerDep) -> Response:
    """Its files by block and LFN."""
    return lister.answer(FILES, ContentFilter(_dataset(dataset_id), lfns=query.lfn), query)


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


def _dataset(dataset_id: int) -> str:
    with reading().begin() as connection:
        return dataset_name(connection, dataset_id)
