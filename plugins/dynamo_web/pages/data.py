"""Data: which datasets there are, and all about one: where it is, whose, what protects it, what was done to it, why."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.glob import is_glob
from dynamo_ops.base.units import parse_size
from dynamo_ops.inventory.kinds import DatasetStatus
from dynamo_ops.query.contents import FILES, ContentFilter, files_by_name
from dynamo_ops.query.dataset import DATASETS, DatasetFilter, dataset_name
from dynamo_ops.query.dataset_card import dataset_card
from dynamo_ops.query.decision.past import PAST, PastFilter
from dynamo_ops.query.decision.why import explain
from dynamo_ops.query.explanation import why_file
from dynamo_ops.query.locate import locate
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import address, to_dataset, to_file, to_plan, to_site
from dynamo_web.pages.part.table import Choice, Column, Filter, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])
ROWS = 50
"""Of a page."""

CHOICES = (
    Choice("name", "Name", hint="/Primary/Processed/TIER, or a glob"),
    Choice("site", "At site", hint="T2_*"),
    Choice("group", "Owned by", hint="a group, or a glob"),
    Choice("status", "Status", tuple(DatasetStatus)),
    Choice("larger", "Larger than", hint="10 TB"),
    Choice("since", "Updated since", hint="2026-01-31, or 30d"),
)


FOUND = (
    Column("name", "dataset", link=to_dataset),
    Column("status", "status", "state"),
    Column("is_open", "open", "yes", note="whether it may still grow"),
    Column("size_bytes", "size", "size"),
    Column("num_blocks", "blocks", "number"),
    Column("num_files", "files", "number"),
    Column("num_sites", "sites", "number", note="that have some of it"),
    Column("num_copies", "full copies", "number", note="sites that have all of it"),
    Column("last_update_at", "updated", "moment"),
)
PLACES = (
    Column("site", "site", link=to_site),
    Column("storage_type", "storage"),
    Column("site_status", "status", "state"),
    Column("groups", "owned by"),
    Column("num_complete", "complete", "number", note="blocks of which all files are there"),
    Column("num_blocks", "blocks", "number"),
    Column("size_bytes", "on disk", "size"),
    Column("num_awaited_blocks", "to come", "number", note="blocks of which something is being copied there"),
    Column("num_doomed_blocks", "to go", "number", note="blocks of which something is to be deleted"),
)
DONE = (
    Column("at", "when", "moment"),
    Column("by", "by"),
    Column("plan_id", "plan", link=to_plan),
    Column("site", "site"),
    Column("decision", "what", "state"),
    Column("line", "line", note="of the policy"),
    Column("why", "why"),
    Column("num_blocks", "blocks", "number"),
    Column("size_bytes", "size", "size"),
)
CONTENT = (
    Column("block", "block"),
    Column("lfn", "file", link=to_file),
    Column("size_bytes", "size", "size"),
    Column("adler32", "adler32"),
)


@router.get("/data")
def find(
    request: Request,
    person: Who,
    lister: ListerDep,
    name: str = "",
    site: str = "",
    group: str = "",
    status: str = "",
    larger: str = "",
    since: str = "",
    cursor: str | None = None,
    form: str = "",
) -> Response:
    """Datasets by name. The name of one leads to its page."""
    chosen = {"name": name, "site": site, "group": group, "status": status, "larger": larger, "since": since}
    if globs(name) == [name] and not is_glob(name) and not any((site, group, status, larger, since, form)):
        return find_one(request, name)
    asked = DatasetFilter(
        globs(name), globs(status), (), globs(site), globs(group), None, size_asked(larger), since or None
    )
    if form == "csv":
        return lister.csv(DATASETS, asked, "datasets.csv")
    fields = ["id", *(column.name for column in FOUND)]
    found = read_page(reading(), DATASETS, asked, Window(ROWS, cursor, fields, with_count=True))
    table = Table(
        FOUND,
        found.records(),
        following=address("data", {**chosen, "cursor": found.next}) if found.next else None,
        whole=address("data", {**chosen, "form": "csv"}),
        nothing="No dataset is like that.",
    )
    number = "more than 10,000" if found.count is None else f"{found.count:,}"
    return page(
        request, person, "data", "data.html", table=table, filter=Filter("data", CHOICES, chosen), number=number
    )


@router.get("/data/named")
def find_one(request: Request, name: str) -> Response:
    """The page of the dataset that is called so, whatever is in its name."""
    (one,) = read_page(reading(), DATASETS, DatasetFilter(names=[name]), Window(1, fields=["id"])).records()
    return RedirectResponse(f"{request.scope.get('root_path', '')}/{to_dataset(one)}", 302)


@router.get("/data/file")
def show_file(request: Request, person: Who, lfn: str) -> Response:
    """Where a file is, by which addresses it can be read, and what is to come or to go."""
    (file,) = files_by_name(reading(), [lfn]) or (None,)
    places = locate(reading(), [lfn])
    return page(request, person, "data", "file.html", lfn=lfn, file=file, places=places, why=why_file(reading(), lfn))


@router.get("/data/{dataset_id}")
def show(request: Request, person: Who, dataset_id: Id) -> Response:
    """One dataset: where, whose, locks, requests, what was done to it."""
    name = _name(dataset_id)
    card = asdict(dataset_card(reading(), name))
    past = read_page(reading(), PAST, PastFilter(dataset_id), Window(20, fields=[column.name for column in DONE]))
    return page(
        request,
        person,
        "data",
        "dataset.html",
        card=card,
        places=Table(PLACES, card["sites"], nothing="It is nowhere."),
        done=Table(DONE, past.records(), nothing="Nothing was ever done to it."),
        has_more=past.next is not None,
    )


@router.get("/data/{dataset_id}/explain")
def show_why(
    request: Request, person: Who, lister: ListerDep, dataset_id: Id, site: str, plan: int | None = None
) -> Response:
    """Why it is at a site or not: each line of the policy tried, who wanted a copy."""
    name = _name(dataset_id)
    with lister.heavy():
        told = explain(reading(), name, site, plan_id=plan)
    return page(request, person, "data", "explain.html", dataset_id=dataset_id, told=told)


@router.get("/data/{dataset_id}/files")
def list_files(
    request: Request, person: Who, lister: ListerDep, dataset_id: Id, cursor: str | None = None, form: str = ""
) -> Response:
    """Its files by block."""
    name = _name(dataset_id)
    if form == "csv":
        return lister.csv(FILES, ContentFilter(name), "files.csv")
    found = read_page(reading(), FILES, ContentFilter(name), Window(ROWS, cursor, [column.name for column in CONTENT]))
    here = f"data/{dataset_id}/files"
    following = address(here, {"cursor": found.next}) if found.next else None
    table = Table(CONTENT, found.records(), following, address(here, {"form": "csv"}), "It has no file.")
    return page(request, person, "data", "files.html", name=name, dataset_id=dataset_id, table=table)


def _name(dataset_id: int) -> str:
    with reading().begin() as connection:
        return dataset_name(connection, dataset_id)


def size_asked(written: str) -> int | None:
    """Bytes of a size as people write it. Raises InventoryError."""
    if not written.strip():
        return None
    try:
        return parse_size(written)
    except ValueError as error:
        raise InventoryError(f"larger: {error}", larger=written) from None
