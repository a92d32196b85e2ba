"""Data: which datasets there are, and all about one: where it is, whose, what protects it, what was done to it, why."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.glob import is_glob
from dynamo_ops.base.units import parse_size
from dynamo_ops.inventory.kinds import DatasetStatus
from dynamo_ops.query.dataset import DATASETS, DatasetFilter, dataset_name, find_dataset
from dynamo_ops.query.dataset_card import dataset_card
from dynamo_ops.query.decision.past import PAST, PastFilter
from dynamo_ops.query.decision.why import explain
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_ops.query.record.popularity import popularity
from dynamo_ops.query.replica import BLOCK_REPLICAS, ReplicaFilter
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import PATIENCE_S, Id, ListerDep
from dynamo_web.pages.part.act import REASON, Act, Field, FieldKind, offered
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import Row, address, to_dataset, to_plan, to_site
from dynamo_web.pages.part.listed import Chosen, Listed
from dynamo_web.pages.part.plot import Plot, PlotKind, Unit
from dynamo_web.pages.part.table import Choice, Column, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])
SHOWN_DAYS = 90
"""Of accesses."""


def _asked(chosen: Chosen) -> DatasetFilter:
    return DatasetFilter(
        globs(chosen["name"]),
        globs(chosen["status"]),
        sites=globs(chosen["site"]),
        groups=globs(chosen["group"]),
        min_size_bytes=size_asked(chosen["larger"]),
        updated_since=chosen["since"] or None,
    )


LIST = Listed(
    tab="data",
    path="data",
    title="Data",
    noun="datasets",
    listing=DATASETS,
    columns=(
        Column("name", "dataset", link=to_dataset),
        Column("status", "status", "state"),
        Column("is_open", "open", "yes", note="whether it may still grow"),
        Column("size_bytes", "size", "size"),
        Column("num_blocks", "blocks", "number"),
        Column("num_files", "files", "number"),
        Column("num_sites", "sites", "number", note="that have some of it"),
        Column("num_copies", "full copies", "number", note="sites that have all of it"),
        Column("last_update_at", "updated", "moment"),
    ),
    hidden=("id",),
    asked=_asked,
    choices=(
        Choice("name", "Name", hint="/Primary/Processed/TIER, or a glob"),
        Choice("site", "At site", hint="T2_*"),
        Choice("group", "Owned by", hint="a group, or a glob"),
        Choice("status", "Status", tuple(DatasetStatus)),
        Choice("larger", "Larger than", hint="10 TB"),
        Choice("since", "Updated since", hint="2026-01-31, or 30d"),
    ),
    counts=True,
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
    Column("said", "Detox said last", "long"),
    Column("why", "why", "long", link=lambda row: row["why_at"]),
)
DONE = (
    Column("at", "when", "moment"),
    Column("by", "by"),
    Column("plan_id", "plan", link=to_plan),
    Column("site", "site", link=to_site),
    Column("explain", "reasons", link=lambda row: row["why_at"]),
    Column("decision", "what", "state"),
    Column("line", "line", "line", note="of the policy"),
    Column("why", "why", "long"),
    Column("num_blocks", "blocks", "number"),
    Column("size_bytes", "size", "size"),
)
LOCKS = (
    Column("id", "lock", link=lambda row: f"locks/{row['id']}"),
    Column("item", "of"),
    Column("created_by", "by"),
    Column("reason", "reason", "long"),
    Column("expires_at", "until", "moment"),
)
REQUESTS = (
    Column("id", "request", link=lambda row: f"requests/{row['id']}"),
    Column("kind", "asks for"),
    Column("state", "state", "state"),
    Column("requested_by", "by"),
    Column("created_at", "since", "moment"),
)
ACCESSES = (Column("day", "day"), Column("site", "site", link=to_site), Column("num_accesses", "accesses", "number"))
LINES = (
    Column("number", "line", note="as counted without comments"),
    Column("holds", "holds", "yes"),
    Column("text", "policy", "long"),
    Column("said", "its conditions, with their values", "long"),
)
BLOCKS = Listed(
    tab="data",
    path="data/{dataset_id}/blocks",
    title="Its blocks at its sites",
    noun="block replicas",
    listing=BLOCK_REPLICAS,
    columns=(
        Column("block", "block"),
        Column("site", "site", link=to_site),
        Column("group", "owned by"),
        Column("is_complete", "complete", "yes"),
        Column("num_files", "files there", "number"),
        Column("num_files_of_block", "of", "number"),
        Column("size_bytes", "on disk", "size"),
        Column("is_custodial", "custodial", "yes", note="to be kept for ever"),
        Column("last_update_at", "updated", "moment"),
    ),
    asked=lambda chosen: ReplicaFilter(
        [chosen["name"]],
        sites=globs(chosen["site"]),
        is_complete={"yes": True, "no": False}.get(chosen["complete"]),
    ),
    choices=(Choice("site", "Site", hint="T2_*"), Choice("complete", "Complete", ("yes", "no"))),
    template="of_dataset.html",
)


@router.get("/data")
def find(request: Request, person: Who, lister: ListerDep) -> Response:
    """Datasets by name. The name of one leads to its page."""
    name = request.query_params.get("name", "")
    is_alone = bool(name) and not any(text for key, text in request.query_params.items() if key != "name")
    if is_alone and not is_glob(name):
        return find_one(request, name)
    return LIST.answer(request, person, lister)


@router.get("/data/named")
def find_one(request: Request, name: str) -> Response:
    """The page of the dataset that is called so, whatever is in its name."""
    with reading().begin() as connection:
        row = {"id": find_dataset(connection, name.strip())}
    return RedirectResponse(f"{request.scope.get('root_path', '')}/{to_dataset(row)}", 302)


@router.get("/data/{dataset_id}")
def show(request: Request, person: Who, dataset_id: Id) -> Response:
    """One dataset: where, whose, locks, requests, what was done to it."""
    name = _name(dataset_id)
    card = asdict(dataset_card(reading(), name))
    past = read_page(
        reading(),
        PAST,
        PastFilter(dataset_id),
        Window(20, fields=[column.name for column in DONE if column.name != "explain"]),
    )
    since = datetime.now(UTC).date() - timedelta(days=SHOWN_DAYS)
    accesses = popularity(reading(), [name], since)["accesses"]
    return page(
        request,
        person,
        "data",
        "dataset.html",
        card=card,
        places=Table(PLACES, [_place(dataset_id, site) for site in card["sites"]], nothing="It is nowhere."),
        done=Table(
            DONE, [_explained(dataset_id, row) for row in past.records()], nothing="Nothing was ever done to it."
        ),
        locks=Table(LOCKS, card["locks"], nothing="Nothing locks it."),
        requests=Table(REQUESTS, card["requests"], nothing="Nobody asks for anything."),
        accesses=Table(ACCESSES, accesses, nothing=f"Nobody read it in {SHOWN_DAYS} days."),
        plots=[Plot(PlotKind.STACK, "Accesses by day", "accesses", "day", ("num_accesses",), Unit.NUMBER, "site")],
        acts=offered(person, *_acts(name)),
    )


@router.get("/data/{dataset_id}/explain")
def show_why(
    request: Request, person: Who, lister: ListerDep, dataset_id: Id, site: str, plan: int | None = None
) -> Response:
    """Why it is at a site or not: each line of the policy tried, who wanted a copy."""
    name = _name(dataset_id)
    with lister.heavy(PATIENCE_S):
        why = explain(reading(), name, site, plan_id=plan)
    tables = {}
    if why["detox"]:
        tables = {"lines": Table(LINES, [_line(line) for line in why["detox"]["lines"]], most=300)}
    return page(request, person, "data", "explain.html", dataset_id=dataset_id, why=why, **tables)


@router.get("/data/{dataset_id}/blocks")
def list_blocks(request: Request, person: Who, lister: ListerDep, dataset_id: Id) -> Response:
    """Its block replicas: what is complete where."""
    name = _name(dataset_id)
    return BLOCKS.answer(request, person, lister, {"dataset_id": str(dataset_id), "name": name}, name=name)


def _place(dataset_id: int, site: dict[str, Any]) -> dict[str, Any]:
    said = site["decision"]
    text = f"{said['decision']}, plan {said['plan_id']}, line {said['line']}: {said['policy_line']}" if said else ""
    why_at = address(f"data/{dataset_id}/explain", {"site": site["site"]})
    return {**site, "said": text, "why": "explain", "why_at": why_at}


def _explained(dataset_id: int, row: Row) -> Row:
    """With where it says why, of what a plan decided at a site."""
    asked = {"site": row["site"], "plan": row["plan_id"]}
    is_known = bool(row["site"] and row["plan_id"])
    why_at = address(f"data/{dataset_id}/explain", asked) if is_known else None
    return {**row, "explain": "explain" if is_known else None, "why_at": why_at}


def _line(line: dict[str, Any]) -> dict[str, Any]:
    tried = "; ".join(
        f"{one['text']}: {'' if one['holds'] else 'not, '}it is {one['value']}" for one in line["predicates"]
    )
    return {**line, "said": tried if line["in_force"] else f"not in force: {tried}"}


def _acts(name: str) -> tuple[Act, ...]:
    return (
        Act(
            "Ask for a copy",
            "The next cycle of the Dealer looks at it.",
            Action.COPY,
            "POST",
            "/requests/copies",
            (
                Field(
                    "sites",
                    "At which of these sites",
                    FieldKind.NAMES,
                    hint="T2_DE_A, or T2_*; one a line",
                    is_required=True,
                ),
                Field("copies", "How many copies", FieldKind.NUMBER, start="1", hint="0: one at each"),
                Field("group", "For the group", is_required=True),
            ),
            sent={"items": [name]},
            then="requests/{id}",
        ),
        Act(
            "Lock it",
            "Nothing deletes it until the lock is over or removed. Deletions that nobody has begun are taken back.",
            Action.LOCK,
            "POST",
            "/locks",
            (
                Field("site", "At site", hint="a name or a glob; empty: everywhere"),
                Field("group", "Owned by", hint="a group; empty: all"),
                Field("until", "Until", hint="2026-12-31, or 90 days; empty: for ever"),
                REASON,
            ),
            sent={"item": name},
            then="locks/{id}",
        ),
        Act(
            "Ask for its deletion",
            "What may go goes; what must stay is refused, each with its reason.",
            Action.DELETE,
            "POST",
            "/requests/deletions",
            (
                Field(
                    "sites", "At which sites", FieldKind.NAMES, hint="T2_DE_A, or T2_*; one a line", is_required=True
                ),
                Field("group", "Only what this group owns", hint="a group; empty: all"),
                Field("allow_tape", "Also on tape", FieldKind.FLAG),
                Field("allow_last", "Files that may lose their last copy", FieldKind.NUMBER, start="0"),
                REASON,
            ),
            sent={"items": [name]},
            confirm=name,
            then="requests/{id}",
        ),
    )


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
