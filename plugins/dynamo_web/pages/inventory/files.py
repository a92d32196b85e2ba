"""Files: those of a dataset, and all about one: where it can be read, what is to come or to go."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.query.contents import FILES, ContentFilter, files_by_name
from dynamo_ops.query.dataset import dataset_name
from dynamo_ops.query.explanation import why_file
from dynamo_ops.query.locate import locate
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import to_file, to_site, to_subscription
from dynamo_web.pages.part.listed import Listed
from dynamo_web.pages.part.table import Column, Table

router = APIRouter(dependencies=[needs(Action.READ)])

LIST = Listed(
    tab="data",
    path="data/{dataset_id}/files",
    title="Its files",
    noun="files",
    listing=FILES,
    columns=(
        Column("block", "block"),
        Column("lfn", "file", link=to_file),
        Column("size_bytes", "size", "size"),
        Column("adler32", "adler32"),
    ),
    asked=lambda chosen: ContentFilter(chosen["name"]),
    template="of_dataset.html",
)
COPIES = (
    Column("site", "site", link=to_site),
    Column("storage_type", "storage"),
    Column("standing", "state", "state"),
    Column("is_readable", "readable now", "yes"),
    Column("pfn", "address"),
)
WAITING = (
    Column("subscription_id", "subscription", link=to_subscription),
    Column("action", "what"),
    Column("site", "site", link=to_site),
    Column("state", "state", "state"),
    Column("because", "because", "long"),
)


@router.get("/data/file")
def show_file(request: Request, person: Who, lfn: str) -> Response:
    """Where a file is, by which addresses it can be read, and what is to come or to go."""
    why = why_file(reading(), lfn)
    (file,) = files_by_name(reading(), [lfn])
    copies = [copy for place in locate(reading(), [lfn]) for copy in place["copies"]]
    subscriptions = [vars(one) for one in why.subscriptions]
    return page(
        request,
        person,
        "data",
        "file.html",
        lfn=lfn,
        file=file,
        why=why,
        copies=Table(COPIES, copies, nothing="Nowhere."),
        waiting=Table(WAITING, subscriptions, nothing="Nothing."),
    )


@router.get("/data/{dataset_id}/files")
def list_files(request: Request, person: Who, lister: ListerDep, dataset_id: Id) -> Response:
    """Its files by block."""
    with reading().begin() as connection:
        name = dataset_name(connection, dataset_id)
    return LIST.answer(request, person, lister, {"dataset_id": str(dataset_id), "name": name}, name=name)
